//! The guard embedded in another Pingora service: a reverse proxy with its own logic, which calls the guard in
//! each phase.
//!
//! ```text
//! cargo run --example plugin -- 127.0.0.1:8080 127.0.0.1:8088
//! ```
//!
//! The first address is the listener, the second the backend.
#![allow(clippy::print_stderr, reason = "it speaks to who starts it")]

use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::proxy::{FailToProxy, ProxyHttp, ProxyWarnLogContext, Session, http_proxy};
use pingora::server::Server;
use pingora::services::listening::Service;
use pingora::upstreams::peer::HttpPeer;
use pingora::{BError, Error, Result};
use wire_scim_guard::config::Config;
use wire_scim_guard::evaluator::Evaluator;
use wire_scim_guard::logging::AccessLog;
use wire_scim_guard::metrics::Metrics;
use wire_scim_guard::proxy::{Connections, Downstream, FilterCtx, RequestFilter};

/// A service that adds a header to every answer, and guards SCIM requests.
struct MyService {
    filter: Arc<RequestFilter>,
    backend: SocketAddr,
}

/// The context contains the request filter's context and the service's own data.
struct MyCtx {
    filter: FilterCtx,
}

#[async_trait]
impl ProxyHttp for MyService {
    type CTX = MyCtx;

    fn new_ctx(&self) -> MyCtx {
        MyCtx { filter: self.filter.new_ctx() }
    }

    // The only phase before Pingora connects to the backend: `true` means that the guard has answered.
    async fn request_filter(&self, session: &mut Session, ctx: &mut MyCtx) -> Result<bool> {
        self.filter.request_filter(session, &mut ctx.filter).await
    }

    async fn upstream_peer(&self, _: &mut Session, ctx: &mut MyCtx) -> Result<Box<HttpPeer>> {
        ctx.filter.set_upstream(self.backend);
        Ok(Box::new(ctx.filter.peer(self.backend)))
    }

    async fn upstream_request_filter(
        &self,
        session: &mut Session,
        request: &mut RequestHeader,
        ctx: &mut MyCtx,
    ) -> Result<()> {
        self.filter.upstream_request_filter(session, request, &mut ctx.filter).await
    }

    async fn request_body_filter(
        &self,
        _: &mut Session,
        body: &mut Option<Bytes>,
        end_of_stream: bool,
        _: &mut MyCtx,
    ) -> Result<()> {
        self.filter.request_body_filter(body, end_of_stream).await;
        Ok(())
    }

    async fn response_filter(
        &self,
        session: &mut Session,
        response: &mut ResponseHeader,
        _: &mut MyCtx,
    ) -> Result<()> {
        self.filter.response_filter(session, response).await;
        Ok(())
    }

    async fn upstream_response_filter(
        &self,
        _: &mut Session,
        response: &mut ResponseHeader,
        ctx: &mut MyCtx,
    ) -> Result<()> {
        self.filter.upstream_response_filter(response, &mut ctx.filter).await?;
        response.insert_header("X-My-Service", "1")
    }

    fn error_while_proxy(
        &self,
        _: &HttpPeer,
        _: &mut Session,
        error: BError,
        _: &mut MyCtx,
        _reused: bool,
    ) -> BError {
        self.filter.error_while_proxy(error)
    }

    async fn fail_to_proxy(
        &self,
        session: &mut Session,
        error: &Error,
        ctx: &mut MyCtx,
    ) -> FailToProxy {
        self.filter.fail_to_proxy(session, error, &mut ctx.filter).await
    }

    async fn logging(&self, session: &mut Session, error: Option<&Error>, ctx: &mut MyCtx) {
        self.filter.logging(session, error, &mut ctx.filter).await;
    }

    // Pingora's own log lines about requests contain targets with their queries.
    fn suppress_error_log(&self, _: &Session, _: &MyCtx, _: &Error) -> bool {
        true
    }

    fn suppress_proxy_warn_log(
        &self,
        _: &Session,
        _: &MyCtx,
        _: &Error,
        _: ProxyWarnLogContext,
    ) -> bool {
        true
    }

    fn request_summary(&self, _: &Session, _: &MyCtx) -> String {
        String::new()
    }
}

/// Serves until the process is stopped.
pub fn run(listen: &str, backend: &str) -> Result<(), Box<dyn std::error::Error>> {
    let backend: SocketAddr = backend.parse()?;
    let config = Config::new(vec![listen.parse()?], Vec::new());
    let guard = Arc::new(Evaluator::new(&config)?);
    let metrics = Arc::new(Metrics::new(&guard)?);
    let access = AccessLog::new(&config.log);

    let mut server = Server::new(None)?;
    server.bootstrap();
    let filter = Arc::new(RequestFilter::new(guard, metrics, access).behind_downstream());
    let service = MyService { filter: Arc::clone(&filter), backend };
    let app = http_proxy(&server.configuration, service);
    // `Downstream` reads HTTP/1 heads strictly before Pingora parses them. A service without it
    // leaves out `behind_downstream` above, and hosts `app` itself.
    let connections = Arc::new(Connections::default());
    let downstream = Downstream::new(Arc::new(app), &filter, connections);
    let mut service = Service::new("guarded proxy".to_owned(), downstream);
    service.add_tcp(listen);
    server.add_service(service);
    eprintln!("listening on {listen}, forwarding to {backend}");
    server.run_forever()
}

fn main() -> ExitCode {
    let mut args = std::env::args().skip(1);
    let (Some(listen), Some(backend)) = (args.next(), args.next()) else {
        eprintln!("usage: plugin LISTEN BACKEND, as in 127.0.0.1:8080 127.0.0.1:8088");
        return ExitCode::from(2);
    };
    match run(&listen, &backend) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("plugin: {error}");
            ExitCode::from(2)
        }
    }
}
