//! One direction of a tunnel.

use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// How much is read at a time, and so how much is held of one direction.
const CHUNK: usize = 8 * 1024;

/// Copies from a reader to a writer, and reads no more until the writer has taken what was read.
#[derive(Debug, Default)]
pub(super) struct Pipe {
    /// Read and not written yet.
    held: BytesMut,
    /// Something was written and not flushed yet.
    unflushed: bool,
    ended: bool,
    finished: bool,
    copied: u64,
}

/// Which side of a pipe has failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Broken {
    Reader,
    Writer,
}

impl Pipe {
    /// A pipe that writes these bytes first.
    pub(super) fn new(first: BytesMut) -> Self {
        Self { held: first, ..Self::default() }
    }

    /// How many bytes wait for the writer.
    pub(super) fn held(&self) -> usize {
        self.held.len()
    }

    /// How many bytes were written.
    pub(super) fn copied(&self) -> u64 {
        self.copied
    }

    /// Ready when the reader has ended and the writer has been shut down.
    pub(super) fn poll_copy<R, W>(
        &mut self,
        cx: &mut Context<'_>,
        reader: &mut R,
        writer: &mut W,
    ) -> Poll<Result<(), Broken>>
    where
        R: AsyncRead + Unpin,
        W: AsyncWrite + Unpin,
    {
        while !self.finished {
            ready!(self.poll_write(cx, writer)).map_err(|_| Broken::Writer)?;
            if self.ended {
                self.finished = true;
                break;
            }
            let mut chunk = [const { MaybeUninit::uninit() }; CHUNK];
            let mut chunk = ReadBuf::uninit(&mut chunk);
            let read = ready!(Pin::new(&mut *reader).poll_read(cx, &mut chunk));
            read.map_err(|_| Broken::Reader)?;
            self.ended = chunk.filled().is_empty();
            self.held.extend_from_slice(chunk.filled());
        }
        Poll::Ready(Ok(()))
    }

    /// Writes what is held, and shuts the writer down if the reader has ended.
    fn poll_write<W>(&mut self, cx: &mut Context<'_>, writer: &mut W) -> Poll<io::Result<()>>
    where
        W: AsyncWrite + Unpin,
    {
        while !self.held.is_empty() {
            let written = ready!(Pin::new(&mut *writer).poll_write(cx, &self.held))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.held.advance(written);
            self.copied += written as u64;
            self.unflushed = true;
        }
        // Most tunnels are idle most of the time, and then hold nothing.
        self.held = BytesMut::new();
        if self.ended {
            return Pin::new(&mut *writer).poll_shutdown(cx);
        }
        if self.unflushed {
            ready!(Pin::new(&mut *writer).poll_flush(cx))?;
            self.unflushed = false;
        }
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[tokio::test]
    async fn no_more_is_read_than_the_writer_takes() {
        let (mut sender, mut reader) = tokio::io::duplex(1024 * 1024);
        let (mut writer, mut receiver) = tokio::io::duplex(1000);
        let sent: Vec<u8> = (0..200_000u32).map(|at| (at % 251) as u8).collect();
        sender.write_all(&sent).await.unwrap();
        drop(sender);
        let mut pipe = Pipe::new(BytesMut::from(&b"first"[..]));
        let copying = async {
            poll_fn(|cx| {
                let polled = pipe.poll_copy(cx, &mut reader, &mut writer);
                assert!(pipe.held() <= CHUNK);
                polled
            })
            .await
        };
        let mut received = Vec::new();
        let (copied, read) = tokio::join!(copying, receiver.read_to_end(&mut received));
        copied.unwrap();
        read.unwrap();
        assert_eq!(received, [b"first", &sent[..]].concat());
        assert_eq!(pipe.copied(), received.len() as u64);
    }
}
