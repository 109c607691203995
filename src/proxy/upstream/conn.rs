//! A connection to a backend server, as Pingora's HTTP/1 client sees it.
//!
//! What is written is sent when the answer is read, or when it exceeds the buffer, so that a
//! request of common size takes one segment.

use std::fmt;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::AsRawFd;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use async_trait::async_trait;
use bytes::{Buf, BytesMut};
use http::StatusCode;
use pingora::protocols::http::v1::client::HttpSession as Backend;
use pingora::protocols::{GetSocketDigest, Shutdown, SocketDigest, UniqueID, UniqueIDType};
use pingora::{Error, ErrorType, Result};
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use crate::proxy::pingora_internals::stream_without_details;

use super::dial::Key;
use super::io::Io;
use super::tls;

/// How many bytes are held back at most.
const WRITE_BUFFER: usize = 16 * 1024;

/// How much is read of an answer that arrives before the server has read the request.
const EARLY_CHUNK: usize = 4 * 1024;

/// How many bytes of interim answers are kept before the server has read the request.
const INTERIM_BYTES: usize = 16 * 1024;

/// The maximum number of interim answers (1xx) before the final one.
pub(in crate::proxy) const MAX_INTERIM: usize = 16;

/// How often data is read that TLS has received while a connection was idle.
const MAX_RECORDS: usize = 16;

/// A connection to a backend server.
pub(in crate::proxy) struct BackendConn {
    io: Io,
    server: Key,
    /// To be written to the socket.
    held: BytesMut,
    /// The server answered, or closed, before it had read the whole request.
    early: Option<BytesMut>,
    /// It has carried a request before.
    reused: bool,
    /// Nothing had arrived at the last check, and nothing was written since.
    quiet: bool,
    /// Something arrived before the whole request had been written.
    unsolicited: bool,
    /// A byte of an answer to the request has been read.
    answered: bool,
    /// The request is complete: anything else that is written is discarded.
    whole: bool,
    /// Over TLS: what was written may not have been sent.
    unflushed: bool,
    /// In cleartext: the answer begins like the alert of a server that speaks TLS.
    alerted: bool,
}

/// Data that a server has sent without a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::proxy) enum Arrived {
    Nothing,
    Bytes,
    End,
}

/// What is written next.
#[derive(Clone, Copy)]
enum Part<'a> {
    Held,
    More(&'a [u8]),
}

/// SECURITY: the buffer contains a request with its token.
impl fmt::Debug for BackendConn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BackendConn").field("server", &self.server.0).finish_non_exhaustive()
    }
}

/// Whether everything that has arrived so far is interim answers (RFC 9110 §15.2): the server goes
/// on reading the request, and the final answer follows.
fn is_interim(mut answers: &[u8]) -> bool {
    const INTERIM: &[u8] = b"HTTP/1.? 1";
    if answers.len() > INTERIM_BYTES {
        return false;
    }
    loop {
        let begins = |(at, byte): (usize, &u8)| at == 7 || *byte == INTERIM[at];
        if !answers.iter().take(INTERIM.len()).enumerate().all(begins) {
            return false;
        }
        match memchr::memmem::find(answers, b"\r\n\r\n") {
            Some(end) => answers = &answers[end + 4..],
            None => return true,
        }
    }
}

impl BackendConn {
    pub(in crate::proxy) fn new(io: Io, server: Key) -> Self {
        Self {
            io,
            server,
            held: BytesMut::new(),
            early: None,
            reused: false,
            quiet: false,
            unsolicited: false,
            answered: false,
            whole: false,
            unflushed: false,
            alerted: false,
        }
    }

    /// Makes these bytes, which were read already, be read again first.
    pub(in crate::proxy) fn unread(&mut self, bytes: BytesMut) {
        let mut bytes = bytes;
        bytes.extend_from_slice(self.early.as_deref().unwrap_or_default());
        self.early = Some(bytes);
    }

    /// The underlying connection, for what follows a switch of protocols, and the data of it that
    /// was read.
    pub(in crate::proxy) fn into_stream(self) -> (Io, BytesMut) {
        (self.io, self.early.unwrap_or_default())
    }

    pub(in crate::proxy) fn server(&self) -> Key {
        self.server
    }

    /// The buffer that the head of a request is written to.
    pub(in crate::proxy) fn held(&mut self) -> &mut BytesMut {
        &mut self.held
    }

    /// It has carried a request before, and no byte of an answer has come to this one.
    pub(in crate::proxy) fn is_stale(&self) -> bool {
        self.reused && !self.answered
    }

    /// Marks the request as complete. Pingora's client, which has to see that a request is a HEAD
    /// to read the answer, may write a head of its own.
    pub(in crate::proxy) fn set_whole(&mut self) {
        self.whole = true;
    }

    /// Prepares the connection for another request, if the server has read this one completely and
    /// has not answered before.
    ///
    /// SECURITY: a server that answers early may parse the rest of a request as another one, and
    /// the answer to that would go to the next client.
    pub(in crate::proxy) fn make_reusable(&mut self) -> bool {
        self.reused = true;
        self.quiet = false;
        self.answered = false;
        self.whole = false;
        self.held.is_empty() && self.early.is_none() && !self.unsolicited && !self.unflushed
    }

    /// What has arrived since the last answer. The socket itself is asked, as tokio does not know
    /// yet what arrived while this thread was busy.
    pub(in crate::proxy) fn arrived(&mut self) -> Arrived {
        let arrived = match &mut self.io {
            Io::Tcp(stream) => arrived_in_cleartext(stream),
            Io::Tls(stream) => arrived_over_tls(stream),
        };
        self.quiet = arrived == Arrived::Nothing;
        arrived
    }

    /// Writes a part of the request, and records whether anything arrived before it.
    fn poll_send(&mut self, cx: &mut Context<'_>, part: Part<'_>) -> Poll<io::Result<usize>> {
        if !std::mem::take(&mut self.quiet) && self.arrived() != Arrived::Nothing {
            self.unsolicited = true;
        }
        self.quiet = false;
        let part = match part {
            Part::Held => &self.held[..],
            Part::More(bytes) => bytes,
        };
        let written = Pin::new(&mut self.io).poll_write(cx, part);
        self.unflushed = matches!(self.io, Io::Tls(_));
        self.unless_answered(cx, written)
    }

    /// Sends what TLS buffers while the answer is read: a server that answers before it has read
    /// the whole request may never read the rest.
    fn poll_send_rest(&mut self, cx: &mut Context<'_>) {
        if Pin::new(&mut self.io).poll_flush(cx).is_ready() {
            self.unflushed = false;
        }
    }

    fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.held.is_empty() {
            let written = ready!(self.poll_send(cx, Part::Held))?;
            self.held.advance(written);
        }
        Poll::Ready(Ok(()))
    }

    /// A server that refuses a large body answers without reading it, and reads nothing more: then
    /// the rest is not written, and its answer counts.
    fn unless_answered(
        &mut self,
        cx: &mut Context<'_>,
        written: Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        match written {
            Poll::Ready(Ok(1..)) => return written,
            Poll::Ready(_) => {
                // What it may have sent before it closed is still to be read.
                self.early.get_or_insert_default();
            }
            Poll::Pending => loop {
                let mut chunk = [0; EARLY_CHUNK];
                let mut read = ReadBuf::new(&mut chunk);
                ready!(Pin::new(&mut self.io).poll_read(cx, &mut read))?;
                let early = self.early.get_or_insert_default();
                early.extend_from_slice(read.filled());
                if read.filled().is_empty() || !is_interim(early) {
                    break;
                }
            },
        }
        self.held.clear();
        Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()))
    }
}

fn arrived_in_cleartext(stream: &TcpStream) -> Arrived {
    match SockRef::from(stream).peek(&mut [MaybeUninit::uninit()]) {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Arrived::Nothing,
        Ok(1..) => Arrived::Bytes,
        _ => Arrived::End,
    }
}

/// What has arrived within TLS: session tickets arrive at any time, and do not concern the
/// connection above.
fn arrived_over_tls(stream: &mut TlsStream<TcpStream>) -> Arrived {
    let (socket, session) = stream.get_mut();
    let socket = SockRef::from(&*socket);
    for _ in 0..MAX_RECORDS {
        match session.process_new_packets() {
            Ok(state) if state.plaintext_bytes_to_read() > 0 => return Arrived::Bytes,
            Ok(state) if state.peer_has_closed() => return Arrived::End,
            Ok(_) => {}
            Err(_) => return Arrived::End,
        }
        match session.read_tls(&mut &*socket) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Arrived::Nothing,
            Ok(1..) => {}
            _ => return Arrived::End,
        }
    }
    Arrived::Bytes
}

/// Whether a server that was spoken to in cleartext has shown that it speaks TLS.
pub(in crate::proxy) fn is_alerted(backend: &Backend) -> bool {
    let conn = backend.stream().as_any().downcast_ref::<BackendConn>();
    conn.is_some_and(|conn| conn.alerted)
}

/// Reads the head of the final answer.
pub(in crate::proxy) async fn read_head(backend: &mut Backend) -> Result<()> {
    for _ in 0..MAX_INTERIM {
        backend.read_response().await?;
        match backend.get_status() {
            Some(StatusCode::SWITCHING_PROTOCOLS) => return Ok(()),
            Some(status) if status.is_informational() => {}
            _ => return Ok(()),
        }
    }
    Err(Error::explain(ErrorType::InvalidHTTPHeader, "no final answer"))
}

impl AsyncRead for BackendConn {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if !this.held.is_empty() {
            // A request that the server did not read may have been answered anyway.
            let _ = ready!(this.poll_drain(cx));
        }
        if this.unflushed {
            this.poll_send_rest(cx);
        }
        if let Some(early) = this.early.as_mut().filter(|early| !early.is_empty()) {
            let taken = early.len().min(buf.remaining());
            buf.put_slice(&early[..taken]);
            early.advance(taken);
            this.answered = true;
            return Poll::Ready(Ok(()));
        }
        let before = buf.filled().len();
        ready!(Pin::new(&mut this.io).poll_read(cx, buf))?;
        if !this.answered {
            let arrived = &buf.filled()[before..];
            this.answered = !arrived.is_empty();
            this.alerted = tls::is_alert(arrived) && matches!(this.io, Io::Tcp(_));
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for BackendConn {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if this.whole {
            return Poll::Ready(Ok(bytes.len()));
        }
        if this.held.len() + bytes.len() <= WRITE_BUFFER {
            this.held.extend_from_slice(bytes);
            return Poll::Ready(Ok(bytes.len()));
        }
        ready!(this.poll_drain(cx))?;
        this.poll_send(cx, Part::More(bytes))
    }

    /// Reading the answer flushes.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_shutdown(cx)
    }
}

#[async_trait]
impl Shutdown for BackendConn {
    async fn shutdown(&mut self) {
        // An error means that the server has closed already.
        let _ = tokio::io::AsyncWriteExt::shutdown(self).await;
    }
}

impl UniqueID for BackendConn {
    fn id(&self) -> UniqueIDType {
        self.io.as_raw_fd()
    }
}

stream_without_details!(BackendConn);

impl GetSocketDigest for BackendConn {
    fn get_socket_digest(&self) -> Option<Arc<SocketDigest>> {
        None
    }
}
