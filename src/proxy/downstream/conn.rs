//! A client's connection as Pingora sees it: `Downstream` reads heads from it first, and Pingora
//! then gets exactly the bytes of one message.
//!
//! Pingora consumes whatever a read returns, including the beginning of the next request, and then
//! drops the connection, or fails the current request if the bytes arrive while it waits for the
//! backend. This type knows where the body ends, and keeps what follows for the next request.

use std::fmt;
use std::future::poll_fn;
use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use async_trait::async_trait;
use bytes::{Buf, BufMut, BytesMut};
use pingora::protocols::raw_connect::ProxyDigest;
use pingora::protocols::{
    GetProxyDigest, GetSocketDigest, GetTimingDigest, Peek, Shutdown, SocketDigest, Ssl, Stream,
    TimingDigest, UniqueID, UniqueIDType,
};
use pingora::server::ShutdownWatch;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::time::Sleep;

use crate::config::Limits;
use crate::refusal::Refusal;
use crate::snapshot::{Snapshot, Snapshots};
use crate::tls::subject::SubjectName;

use super::chunked::Misframed;
use super::extent::Extent;
use super::h2_heads::H2Heads;
use super::head::{Head, HeadRules};
use crate::proxy::memory::{Connection, Place};
use crate::proxy::websocket::Tunnel;

/// How much is read at a time while a head is expected: most requests fit as a whole.
const READ_CHUNK: usize = 4 * 1024;

/// How much is read at a time of a request that arrives before the current one is answered.
const IDLE_CHUNK: usize = 512;

/// How much is collected before it is written: a head and a short body are sent in one segment.
const WRITE_BUFFER: usize = 16 * 1024;

/// How long notifying a client that its idle connection ends may take.
const CLOSE_TIMEOUT: Duration = Duration::from_millis(500);

/// A client's connection.
pub(in crate::proxy) struct ClientConn {
    io: Stream,
    /// Read from the socket and not consumed yet.
    read_ahead: BytesMut,
    extent: Extent,
    /// The chunked body of the current message is malformed.
    misframed: AtomicBool,
    write_through: AtomicBool,
    /// The target of the message as the client sent it, if Pingora received a different spelling.
    sent_target: Option<Box<[u8]>>,
    /// To be written to the socket.
    write_buffer: BytesMut,
    /// Of the current request.
    snapshot: Arc<Snapshot>,
    /// Set while the client reads nothing.
    stalled: Option<Stall>,
    /// The account that memory is counted for.
    account: Option<Arc<Connection>>,
    /// HTTP/2 only.
    h2_heads: Option<H2Heads>,
    /// The size of the current message's head, in bytes.
    head: usize,
    /// The number of reads, if it is counted.
    reads: Option<Arc<AtomicUsize>>,
    /// Becomes true when the connection is to end.
    closing: Option<ShutdownWatch>,
    /// Over TLS: the names of the client's verified certificate, none without one.
    tls: Option<Arc<[SubjectName]>>,
    /// The current message asks to switch to WebSocket.
    websocket: bool,
    /// What the connection continues as after the current message.
    tunnel: Mutex<Option<Box<Tunnel>>>,
}

/// SECURITY: data that was read ahead contains requests with their tokens.
impl fmt::Debug for ClientConn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientConn").field("extent", &self.extent).finish_non_exhaustive()
    }
}

impl ClientConn {
    pub(in crate::proxy) fn new(io: Stream, snapshot: Arc<Snapshot>) -> Self {
        Self {
            io,
            read_ahead: BytesMut::new(),
            extent: Extent::Endless,
            misframed: AtomicBool::new(false),
            write_through: AtomicBool::new(false),
            sent_target: None,
            write_buffer: BytesMut::new(),
            snapshot,
            stalled: None,
            account: None,
            h2_heads: None,
            head: 0,
            reads: None,
            closing: None,
            tls: None,
            websocket: false,
            tunnel: Mutex::new(None),
        }
    }

    /// A connection over TLS, whose client has a certificate with these names.
    pub(in crate::proxy) fn over_tls(
        io: Stream,
        snapshot: Arc<Snapshot>,
        names: Arc<[SubjectName]>,
    ) -> Self {
        Self { tls: Some(names), ..Self::new(io, snapshot) }
    }

    /// Over TLS: the names of the client's verified certificate, none without one.
    pub(in crate::proxy) fn tls(&self) -> Option<&[SubjectName]> {
        self.tls.as_deref()
    }

    /// The snapshot of the current request, or of the connection while there is none.
    pub(in crate::proxy) fn snapshot(&self) -> &Arc<Snapshot> {
        &self.snapshot
    }

    pub(in crate::proxy) fn limits(&self) -> &Limits {
        &self.snapshot.config.limits
    }

    /// Takes the current snapshot for the next request.
    pub(in crate::proxy) fn refresh(&mut self, snapshots: &Snapshots) {
        snapshots.refresh(&mut self.snapshot);
    }

    /// Sets the signal that becomes true when the connection is to end.
    pub(in crate::proxy) fn set_closing(&mut self, closing: ShutdownWatch) {
        self.closing = Some(closing);
    }

    /// Whether the connection ends after the current request.
    pub(in crate::proxy) fn is_closing(&self) -> bool {
        self.closing.as_ref().is_some_and(|closing| *closing.borrow())
    }

    /// Sets the account for the memory of the connection and of its requests.
    pub(in crate::proxy) fn set_account(&mut self, account: Arc<Connection>) {
        self.account = Some(account);
    }

    pub(in crate::proxy) fn account(&self) -> Option<&Arc<Connection>> {
        self.account.as_ref()
    }

    /// The size of the current message's head, in bytes.
    pub(in crate::proxy) fn head(&self) -> usize {
        self.head
    }

    /// Counts from now on what the HTTP/2 codec holds of heads.
    pub(in crate::proxy) fn count_heads(&mut self) {
        let header_timeout = self.limits().header_timeout;
        let tls = self.tls.clone();
        let heads = |account| H2Heads::new(account, header_timeout, tls);
        self.h2_heads = self.account.as_ref().map(heads);
    }

    /// Counts reads from the client from now on.
    pub(in crate::proxy) fn count_reads(&mut self) -> Arc<AtomicUsize> {
        Arc::clone(self.reads.get_or_insert_default())
    }

    /// The connection in a stream that Pingora returns.
    pub(in crate::proxy) fn recover(stream: Stream) -> Option<Box<Self>> {
        stream.into_any().downcast().ok()
    }

    /// What was read ahead.
    pub(in crate::proxy) fn buffered(&mut self) -> &mut BytesMut {
        &mut self.read_ahead
    }

    /// Reads more into the buffer; 0 means the end of the stream.
    ///
    /// Nothing is allocated before there is data to keep: most connections are idle most of the
    /// time.
    pub(in crate::proxy) async fn read_more(&mut self) -> io::Result<usize> {
        poll_fn(|cx| {
            let mut chunk = [const { MaybeUninit::uninit() }; READ_CHUNK];
            let mut chunk = ReadBuf::uninit(&mut chunk);
            ready!(Pin::new(&mut self.io).poll_read(cx, &mut chunk))?;
            self.read_ahead.extend_from_slice(chunk.filled());
            Poll::Ready(Ok(chunk.filled().len()))
        })
        .await
    }

    /// Checks the head that was read ahead and has this size.
    pub(in crate::proxy) fn check_head(&self, end: usize) -> Result<Head, Refusal> {
        HeadRules::of(&self.snapshot.config).check(&self.read_ahead[..end])
    }

    /// Takes the head and what was read of its body, for Pingora to parse; the rest of the body is
    /// read through this connection, and data after the message stays here.
    pub(in crate::proxy) fn take_message(&mut self, head: usize, extent: Extent) -> BytesMut {
        *self.misframed.get_mut() = false;
        *self.write_through.get_mut() = false;
        self.extent = extent;
        self.head = head;
        // Malformed data is not passed on; reading the body returns the error.
        let taken = self.belonging_to_message(head).unwrap_or(0);
        self.read_ahead.split_to(head + taken)
    }

    /// How many of the bytes that were read ahead, starting at `from`, belong to the current
    /// message.
    fn belonging_to_message(&mut self, from: usize) -> io::Result<usize> {
        self.extent.pass(&self.read_ahead[from..]).map_err(|Misframed| self.misframed_error())
    }

    fn misframed_error(&self) -> io::Error {
        self.misframed.store(true, Ordering::Relaxed);
        io::ErrorKind::InvalidData.into()
    }

    /// Whether the body of the current message is malformed.
    pub(in crate::proxy) fn is_misframed(&self) -> bool {
        self.misframed.load(Ordering::Relaxed)
    }

    /// Writes every piece of the current answer immediately, as the next one may take long.
    pub(in crate::proxy) fn write_through(&self) {
        self.write_through.store(true, Ordering::Relaxed);
    }

    /// Stores the target as the client sent it, for a message that Pingora receives with a
    /// different spelling.
    pub(in crate::proxy) fn set_sent_target(&mut self, target: Option<Box<[u8]>>) {
        self.sent_target = target;
    }

    pub(in crate::proxy) fn sent_target(&self) -> Option<&[u8]> {
        self.sent_target.as_deref()
    }

    /// Ends the connection. Over TLS the client is notified (close_notify), as anyone on the path
    /// could have closed the TCP connection.
    pub(in crate::proxy) async fn close(mut self: Box<Self>) {
        if self.tls.is_some() {
            let _ = tokio::time::timeout(CLOSE_TIMEOUT, Shutdown::shutdown(&mut *self)).await;
        }
    }

    /// Stores whether the current message asks to switch to WebSocket.
    pub(in crate::proxy) fn set_websocket(&mut self, asked: bool) {
        self.websocket = asked;
    }

    pub(in crate::proxy) fn asks_for_websocket(&self) -> bool {
        self.websocket
    }

    /// Continues the connection as a tunnel after the current message.
    pub(in crate::proxy) fn switch(&self, tunnel: Box<Tunnel>) {
        *self.tunnel.lock().unwrap_or_else(PoisonError::into_inner) = Some(tunnel);
    }

    /// The tunnel that the connection continues as, if it switched: it is a plain byte stream then.
    pub(in crate::proxy) fn take_tunnel(&mut self) -> Option<Box<Tunnel>> {
        let tunnel = self.tunnel.get_mut().unwrap_or_else(PoisonError::into_inner).take()?;
        self.extent = Extent::Endless;
        self.write_through();
        Some(tunnel)
    }

    /// Closes so that the client reads the answer before it sees the end: closing with unread bytes
    /// would reset the connection, and the reset would overtake the answer.
    pub(in crate::proxy) async fn linger(mut self, timeout: Duration) {
        let closing = async {
            Shutdown::shutdown(&mut self).await;
            loop {
                self.read_ahead.clear();
                match self.read_more().await {
                    Ok(0) | Err(_) => break,
                    Ok(_) => {}
                }
            }
        };
        let _ = tokio::time::timeout(timeout, closing).await;
    }

    fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.write_buffer.is_empty() {
            let written = Pin::new(&mut self.io).poll_write(cx, &self.write_buffer);
            let written = ready!(self.watch(cx, written))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.write_buffer.advance(written);
        }
        Poll::Ready(Ok(()))
    }

    /// SECURITY: a client that requests much and reads nothing would hold its answer, and the
    /// backend's work for it, indefinitely: Pingora waits for a flush without a limit. What the
    /// HTTP/2 codec has buffered is released earlier if others need the memory.
    fn watch<T>(
        &mut self,
        cx: &mut Context<'_>,
        written: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.stalled = None;
            return written;
        }
        let write_timeout = self.snapshot.config.limits.write_timeout;
        let (heads, account) = (&self.h2_heads, &self.account);
        let stalled = self.stalled.get_or_insert_with(|| Stall {
            timeout: Box::pin(tokio::time::sleep(write_timeout)),
            place: heads.as_ref().and(account.as_ref()).map(Connection::stall),
        });
        let has_to_end = stalled.timeout.as_mut().poll(cx).is_ready()
            || stalled.place.as_ref().is_some_and(|place| place.poll_gave_way(cx).is_ready());
        if !has_to_end {
            return Poll::Pending;
        }
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }

    /// The message has been read: Pingora only waits for the client to disconnect. Bytes that
    /// arrive are the next request and are kept.
    fn poll_idle(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.read_ahead.is_empty() {
            return Poll::Pending;
        }
        let mut chunk = [0; IDLE_CHUNK];
        let mut buf = ReadBuf::new(&mut chunk);
        ready!(Pin::new(&mut self.io).poll_read(cx, &mut buf))?;
        if buf.filled().is_empty() {
            return Poll::Ready(Ok(()));
        }
        self.read_ahead.extend_from_slice(buf.filled());
        Poll::Pending
    }
}

/// A client that reads nothing.
struct Stall {
    timeout: Pin<Box<Sleep>>,
    place: Option<Place>,
}

impl AsyncRead for ClientConn {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.extent.has_ended() {
            return this.poll_idle(cx);
        }
        if *this.misframed.get_mut() {
            return Poll::Ready(Err(this.misframed_error()));
        }
        if let Some(heads) = &mut this.h2_heads {
            ready!(heads.poll_ready(cx))?;
        }
        let before = buf.filled().len();
        if this.read_ahead.is_empty() {
            ready!(Pin::new(&mut this.io).poll_read(cx, buf))?;
        } else {
            let there = this.read_ahead.len().min(buf.remaining());
            buf.put_slice(&this.read_ahead.split_to(there));
        }
        // Data after the end of the message belongs to the next one.
        let came = &buf.filled()[before..];
        if let Some(heads) = &mut this.h2_heads {
            heads.pass(came);
        }
        let Ok(taken) = this.extent.pass(came) else {
            return Poll::Ready(Err(this.misframed_error()));
        };
        if taken < came.len() {
            let mut next = BytesMut::from(&came[taken..]);
            next.unsplit(this.read_ahead.split());
            this.read_ahead = next;
            buf.set_filled(before + taken);
        }
        if let Some(reads) = this.reads.as_ref().filter(|_| taken > 0) {
            reads.fetch_add(1, Ordering::Relaxed);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for ClientConn {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let holds = !*this.write_through.get_mut();
        if holds && this.write_buffer.len() + bytes.len() <= WRITE_BUFFER {
            this.write_buffer.put_slice(bytes);
            return Poll::Ready(Ok(bytes.len()));
        }
        ready!(this.poll_drain(cx))?;
        let written = Pin::new(&mut this.io).poll_write(cx, bytes);
        this.watch(cx, written)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_drain(cx))?;
        // TLS may still hold data.
        let flushed = Pin::new(&mut this.io).poll_flush(cx);
        this.watch(cx, flushed)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_drain(cx))?;
        let closed = Pin::new(&mut this.io).poll_shutdown(cx);
        this.watch(cx, closed)
    }
}

#[async_trait]
impl Shutdown for ClientConn {
    async fn shutdown(&mut self) {
        // An error means that the client has closed already.
        let _ = AsyncWriteExt::shutdown(self).await;
    }
}

#[async_trait]
impl Peek for ClientConn {
    /// Only data that was read ahead can be peeked at; enough was read before Pingora peeks.
    async fn try_peek(&mut self, buf: &mut [u8]) -> io::Result<bool> {
        let Some(bytes) = self.read_ahead.get(..buf.len()) else { return Ok(false) };
        buf.copy_from_slice(bytes);
        Ok(true)
    }
}

impl UniqueID for ClientConn {
    fn id(&self) -> UniqueIDType {
        self.io.id()
    }
}

impl Ssl for ClientConn {}

impl GetTimingDigest for ClientConn {
    fn get_timing_digest(&self) -> Vec<Option<TimingDigest>> {
        self.io.get_timing_digest()
    }
}

impl GetProxyDigest for ClientConn {
    fn get_proxy_digest(&self) -> Option<Arc<ProxyDigest>> {
        match &self.h2_heads {
            Some(heads) => heads.digest(),
            None => self.io.get_proxy_digest(),
        }
    }
}

impl GetSocketDigest for ClientConn {
    fn get_socket_digest(&self) -> Option<Arc<SocketDigest>> {
        self.io.get_socket_digest()
    }
}
