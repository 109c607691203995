//! Asks the backend to switch to WebSocket, and returns its answer.

use std::io;

use bytes::BytesMut;
use http::StatusCode;
use pingora::http::{HeaderNameVariant, ResponseHeader};
use pingora::protocols::http::v1::client::HttpSession as Backend;
use pingora::proxy::Session;
use pingora::{Error, ErrorSource, ErrorType, OrErr, Result};
use tokio::io::AsyncReadExt;

use crate::proxy::downstream::conn::ClientConn;
use crate::proxy::exchange::too_slow;
use crate::proxy::request::RequestFilter;
use crate::proxy::upstream::conn::{self, BackendConn, MAX_INTERIM};
use crate::proxy::upstream::tls;
use crate::proxy::{GuardProxy, ProxyCtx, pingora_internals};

use super::{Slot, Tunnel};

/// The maximum size of an answer's head, in bytes, and of its header lines.
const HEAD_BYTES: usize = 16 * 1024;
const HEADERS: usize = 100;

/// What the backend answers.
enum Answer {
    /// It switches. Data after its head belongs to the other protocol.
    Switched(Box<ResponseHeader>, BytesMut),
    /// Anything else, which is read again from its first byte.
    Other,
}

impl GuardProxy {
    /// Asks the backend to switch. If it does, the client's connection continues as a tunnel; any
    /// other answer is passed on.
    ///
    /// SECURITY: neither connection carries another request, whatever the answer: what the client
    /// has sent already may be data of the other protocol.
    pub(in crate::proxy) async fn upgrade(
        &self,
        session: &mut Session,
        ctx: &mut ProxyCtx,
        slot: Slot,
    ) -> Result<()> {
        session.set_keepalive(None);
        // A reused connection may be closing, and this request is not sent twice.
        let mut conn = self.connect(ctx, true).await?;
        let secured = ctx.secured()?;
        let to = conn.held();
        RequestFilter::write_upgrade_head(session, &mut ctx.filter, secured.as_deref(), to)?;
        let answered = self.ask_to_switch(session, ctx, conn, slot).await;
        answered.inspect_err(|error| {
            if error.esource() == &ErrorSource::Upstream {
                self.upstreams.failed(&ctx.attempts, error);
            }
        })
    }

    async fn ask_to_switch(
        &self,
        session: &mut Session,
        ctx: &mut ProxyCtx,
        mut conn: Box<BackendConn>,
        slot: Slot,
    ) -> Result<()> {
        let timeout = ctx.filter.limits().upstream_timeout;
        let answer = tokio::time::timeout(timeout, read_answer(&mut conn)).await;
        match answer.map_err(|_| too_slow("limits.upstream_timeout").into_up())?? {
            Answer::Switched(mut head, rest) => {
                self.filter.switched(&mut head, &mut ctx.filter)?;
                let client = session.stream();
                let client = client.and_then(|s| s.as_any().downcast_ref::<ClientConn>());
                let client = client.ok_or_else(|| Error::new(ErrorType::InternalError))?;
                let mut first = to_bytes(&head)?;
                first.unsplit(rest);
                slot.switched();
                client.switch(Box::new(Tunnel::new(*conn, first, ctx.filter.switch(), slot)));
                pingora_internals::give_back(session);
                Ok(())
            }
            Answer::Other => {
                conn.set_whole();
                let mut backend = Backend::new(conn);
                backend.read_timeout = Some(timeout);
                let read = conn::read_head(&mut backend).await;
                read.map_err(|e| tls::of_answer(e, conn::is_alerted(&backend)).into_up())?;
                self.return_answer(&mut backend, session, ctx).await.map(drop)
            }
        }
    }
}

/// Reads the head of the final answer, and returns it to be read again unless the backend switches.
async fn read_answer(conn: &mut BackendConn) -> Result<Answer> {
    let mut bytes = BytesMut::new();
    let mut interim = 0;
    loop {
        let mut lines = [httparse::EMPTY_HEADER; HEADERS];
        let mut answer = httparse::Response::new(&mut lines);
        let parsed = answer.parse(&bytes);
        if let Ok(httparse::Status::Complete(end)) = parsed {
            let switched = answer.code == Some(StatusCode::SWITCHING_PROTOCOLS.as_u16());
            if switched {
                let head = header(&answer)?;
                let rest = bytes.split_off(end);
                return Ok(Answer::Switched(head, rest));
            }
            interim += 1;
            if matches!(answer.code, Some(100..200)) && interim <= MAX_INTERIM {
                let _ = bytes.split_to(end);
                continue;
            }
        }
        // Pingora's reader reports what is malformed.
        if !matches!(parsed, Ok(httparse::Status::Partial)) || bytes.len() >= HEAD_BYTES {
            conn.unread(bytes);
            return Ok(Answer::Other);
        }
        let read = conn.read_buf(&mut bytes).await;
        let read = read.and_then(|read| match read {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        });
        let read = read.or_err(ErrorType::ReadError, "reading the answer");
        read.map_err(|error| tls::of_answer(error, false).into_up())?;
    }
}

fn header(answer: &httparse::Response<'_, '_>) -> Result<Box<ResponseHeader>> {
    let status = StatusCode::SWITCHING_PROTOCOLS;
    let mut head = Box::new(ResponseHeader::build(status, Some(answer.headers.len()))?);
    for line in &*answer.headers {
        head.append_header(line.name.to_owned(), line.value).map_err(Error::into_up)?;
    }
    Ok(head)
}

fn to_bytes(head: &ResponseHeader) -> Result<BytesMut> {
    let mut bytes = BytesMut::from(&b"HTTP/1.1 101 Switching Protocols\r\n"[..]);
    head.map(|name, value| {
        let name = match &name {
            HeaderNameVariant::Case(name) => name.as_slice(),
            HeaderNameVariant::Titled(name) => name.as_bytes(),
        };
        for part in [name, b": ", value.as_bytes(), b"\r\n"] {
            bytes.extend_from_slice(part);
        }
        Ok(())
    })?;
    bytes.extend_from_slice(b"\r\n");
    Ok(bytes)
}
