//! Pingora alone with its default settings: forwards everything without checks. The guard's cost is compared
//! with it.
//!
//! ```text
//! cargo run --example bare_proxy -- 127.0.0.1:8080 127.0.0.1:8088
//! ```
//!
//! The first address is the listener, the second the backend.
#![allow(clippy::print_stderr, reason = "it speaks to who starts it")]

use std::net::SocketAddr;
use std::process::ExitCode;

use async_trait::async_trait;
use pingora::Result;
use pingora::proxy::{ProxyHttp, Session, http_proxy_service};
use pingora::server::Server;
use pingora::upstreams::peer::HttpPeer;

struct Forward {
    backend: SocketAddr,
}

#[async_trait]
impl ProxyHttp for Forward {
    type CTX = ();

    fn new_ctx(&self) {}

    async fn upstream_peer(&self, _: &mut Session, (): &mut ()) -> Result<Box<HttpPeer>> {
        Ok(Box::new(HttpPeer::new(self.backend, false, String::new())))
    }
}

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let (Some(listen), Some(Ok(backend))) =
        (arguments.next(), arguments.next().map(|backend| backend.parse()))
    else {
        eprintln!("usage: bare_proxy LISTEN BACKEND, both as ADDRESS:PORT");
        return ExitCode::from(2);
    };
    let mut server = match Server::new(None) {
        Ok(server) => server,
        Err(error) => {
            eprintln!("bare_proxy: {error}");
            return ExitCode::FAILURE;
        }
    };
    server.bootstrap();
    let mut service = http_proxy_service(&server.configuration, Forward { backend });
    service.add_tcp(&listen);
    server.add_service(service);
    server.run_forever()
}
