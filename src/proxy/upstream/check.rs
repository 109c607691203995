//! Health checks of the backend servers, where they are configured.
//!
//! Without them only requests show it: a server that refuses a connection, or fails several requests
//! in a row, is skipped for a while.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::BufMut as _;
use pingora::protocols::http::v1::client::HttpSession as Backend;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::snapshot::Snapshots;

use super::conn::{self, BackendConn};
use super::lack;
use super::servers::Upstreams;

/// How long a server may take to answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// Checks every server, for as long as it is polled.
pub(in crate::proxy) async fn keep_checking(upstreams: Arc<Upstreams>, snapshots: Arc<Snapshots>) {
    let mut reconfigured = upstreams.subscribe();
    loop {
        reconfigured.mark_unchanged();
        let Some(check) = snapshots.current().config.upstream_check.clone() else {
            // The sender lives as long as `upstreams`.
            let _ = reconfigured.changed().await;
            continue;
        };
        let mut asked = JoinSet::new();
        for (server, _) in upstreams.states() {
            let path = check.path.clone();
            asked.spawn(async move {
                let answer = tokio::time::timeout(ANSWER_TIMEOUT, ask(server, &path)).await;
                (server, answer.unwrap_or_else(|_| Some(Err("no answer in time".into()))))
            });
        }
        while let Some(answer) = asked.join_next().await {
            if let Ok((server, Some(answer))) = answer {
                // Counts until the check after the next one.
                upstreams.checked(server, answer.err(), 2 * check.every + ANSWER_TIMEOUT);
            }
        }
        let _ = tokio::time::timeout(check.every, reconfigured.changed()).await;
    }
}

/// Why a server is unhealthy; `None` if it could not be asked, for a reason on this machine.
async fn ask(server: SocketAddr, path: &str) -> Option<Result<(), String>> {
    match TcpStream::connect(server).await {
        Ok(stream) => Some(ask_over(stream, server, path).await),
        Err(error) if lack::is_lack(&error) => None,
        Err(error) => Some(Err(error.to_string())),
    }
}

async fn ask_over(stream: TcpStream, server: SocketAddr, path: &str) -> Result<(), String> {
    let mut conn = BackendConn::new(stream, server).map_err(|error| error.to_string())?;
    let head = format!(
        "GET {path} HTTP/1.1\r\nHost: {server}\r\nUser-Agent: wire-scim-guard\r\nConnection: close\r\n\r\n"
    );
    conn.held().put_slice(head.as_bytes());
    let mut backend = Backend::new(Box::new(conn));
    conn::read_head(&mut backend).await.map_err(|error| error.etype().as_str().to_owned())?;
    match backend.get_status() {
        Some(status) if status.as_u16() < 400 => Ok(()),
        Some(status) => Err(format!("status {}", status.as_u16())),
        None => Err("no answer".into()),
    }
}
