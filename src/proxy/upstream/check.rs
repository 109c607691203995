//! Health checks of the backend servers, if they are configured.
//!
//! Without them only requests reveal failures: a server that refuses a connection, or fails several
//! requests in a row, is skipped for a while.

use std::sync::Arc;
use std::time::Duration;

use bytes::BufMut as _;
use pingora::Error;
use pingora::protocols::http::v1::client::HttpSession as Backend;
use tokio::task::JoinSet;

use crate::snapshot::Snapshots;

use super::conn::{self, BackendConn};
use super::dial::Destination;
use super::servers::Upstreams;
use super::{forward, lack, tls};

/// How long a server may take to answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// Checks every server, for as long as it is polled.
pub(in crate::proxy) async fn keep_checking(upstreams: Arc<Upstreams>, snapshots: Arc<Snapshots>) {
    let mut reconfigured = upstreams.subscribe();
    loop {
        reconfigured.mark_unchanged();
        let snapshot = snapshots.current();
        let Some(check) = snapshot.config.upstream_check.clone() else {
            drop(snapshot);
            // The sender lives as long as `upstreams`.
            let _ = reconfigured.changed().await;
            continue;
        };
        let mut asked = JoinSet::new();
        for server in upstreams.endpoints() {
            let path = check.path.clone();
            let secured = snapshot.tls.server(&server.server).cloned();
            // The Host of forwarded requests; where that is the client's, the server's own name.
            let host = forward::host(&snapshot.config, secured.as_deref())
                .map_or_else(|| server.server.authority(), str::to_owned);
            let destination = Destination { address: server.address, secured };
            asked.spawn(async move {
                let answer = ask(&destination, &host, &path);
                let answer = tokio::time::timeout(ANSWER_TIMEOUT, answer).await;
                (server, answer.unwrap_or_else(|_| Some(Err("no answer in time".into()))))
            });
        }
        drop(snapshot);
        while let Some(answer) = asked.join_next().await {
            if let Ok((server, Some(answer))) = answer {
                // Counts until the check after the next one.
                upstreams.checked(&server, answer.err(), 2 * check.every + ANSWER_TIMEOUT);
            }
        }
        let _ = tokio::time::timeout(check.every, reconfigured.changed()).await;
    }
}

/// Why a server is unhealthy; `None` if it could not be checked, for a reason on this machine.
async fn ask(to: &Destination, host: &str, path: &str) -> Option<Result<(), String>> {
    match to.connect(ANSWER_TIMEOUT).await {
        Ok(io) => Some(ask_over(BackendConn::new(io, to.key()), host, path).await),
        Err(error) if lack::caused(&error) => None,
        Err(error) => Some(Err(explain(&error))),
    }
}

async fn ask_over(mut conn: BackendConn, host: &str, path: &str) -> Result<(), String> {
    let head = format!(
        "GET {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: wire-scim-guard\r\nConnection: close\r\n\r\n"
    );
    conn.held().put_slice(head.as_bytes());
    let mut backend = Backend::new(Box::new(conn));
    let read = conn::read_head(&mut backend).await;
    read.map_err(|error| explain(&tls::of_answer(error, conn::is_alerted(&backend))))?;
    match backend.get_status() {
        Some(status) if status.as_u16() < 400 => Ok(()),
        Some(status) => Err(format!("status {}", status.as_u16())),
        None => Err("no answer".into()),
    }
}

fn explain(error: &Error) -> String {
    match (tls::sentence(error), &error.cause) {
        (Some(why), _) => why.to_owned(),
        (None, Some(cause)) => cause.to_string(),
        (None, None) => error.etype().as_str().to_owned(),
    }
}
