//! An HTTP/2 client, with prior knowledge over cleartext, and by ALPN over TLS.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, Request};
use rustls::ClientConfig;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;

use super::tls;

/// The answer to one request.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn rule(&self) -> &str {
        self.headers.get("scim-guard-rule").map_or("-", |value| value.to_str().unwrap())
    }
}

/// A request and its body.
type Asked = (Request<()>, Vec<u8>);

/// Sends these requests one after the other on one connection; a reset stream is an error.
pub fn ask(addr: SocketAddr, requests: Vec<Asked>) -> Vec<Result<Answer, String>> {
    ask_on(connect(addr), requests)
}

/// As `ask`, over TLS with these settings.
pub fn ask_over(
    addr: SocketAddr,
    config: &Arc<ClientConfig>,
    requests: Vec<Asked>,
) -> Vec<Result<Answer, String>> {
    ask_on(connect_over(addr, Arc::clone(config)), requests)
}

fn ask_on(
    connecting: impl Future<Output = Box<dyn Io>>,
    requests: Vec<Asked>,
) -> Vec<Result<Answer, String>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let stream = connecting.await;
        let (mut sender, connection) = h2::client::handshake(stream).await.unwrap();
        tokio::spawn(connection);
        let mut answers = Vec::new();
        for (request, body) in requests {
            let work = async {
                sender = sender.clone().ready().await?;
                let (response, mut stream) = sender.send_request(request, body.is_empty())?;
                let sending = async {
                    let mut body = Bytes::from(body);
                    while !body.is_empty() {
                        stream.reserve_capacity(body.len().min(16 * 1024));
                        let capacity = std::future::poll_fn(|cx| stream.poll_capacity(cx)).await;
                        let Some(Ok(capacity)) = capacity else { return };
                        let piece = body.split_to(capacity.min(body.len()));
                        if stream.send_data(piece, body.is_empty()).is_err() {
                            return;
                        }
                    }
                };
                // An early answer may arrive before the body has been sent.
                let (_, response) = tokio::join!(sending, response);
                let (parts, mut incoming) = response?.into_parts();
                let mut received = Vec::new();
                while let Some(data) = incoming.data().await {
                    let data = data?;
                    let _ = incoming.flow_control().release_capacity(data.len());
                    received.extend_from_slice(&data);
                }
                Ok::<_, h2::Error>(Answer {
                    status: parts.status.as_u16(),
                    headers: parts.headers,
                    body: received,
                })
            };
            let answer = tokio::time::timeout(super::WAIT_TIMEOUT, work).await.expect("an answer");
            answers.push(answer.map_err(|error| error.to_string()));
        }
        answers
    })
}

/// A connection, over cleartext or TLS.
pub trait Io: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// Connects to a guard, over TLS if it speaks that.
pub async fn connect(addr: SocketAddr) -> Box<dyn Io> {
    if tls::is_noted(addr) {
        return connect_over(addr, tls::shared_config(&["h2"])).await;
    }
    Box::new(tokio::net::TcpStream::connect(addr).await.unwrap())
}

async fn connect_over(addr: SocketAddr, config: Arc<ClientConfig>) -> Box<dyn Io> {
    let stream = tokio::net::TcpStream::connect(addr).await.unwrap();
    let connector = TlsConnector::from(config);
    Box::new(connector.connect(tls::server_name(tls::NAME), stream).await.unwrap())
}

/// A request head with a token and a content type.
pub fn head(method: &str, path: &str, addr: SocketAddr) -> http::request::Builder {
    Request::builder()
        .method(method)
        .uri(format!("http://{addr}{path}"))
        .header("authorization", format!("Bearer {}", super::TOKEN))
        .header("content-type", "application/scim+json")
}
