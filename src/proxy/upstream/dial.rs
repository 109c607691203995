//! Opens connections to the backend servers, over TLS where they speak it.

use std::io;
use std::net::SocketAddr;
use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use pingora::connectors::L4Connect;
use pingora::protocols::l4::socket::SocketAddr as PingoraAddr;
use pingora::protocols::l4::stream::Stream as L4Stream;
use pingora::protocols::l4::virt::VirtualSocketStream;
use pingora::{BError, Error, ErrorType, Result};
use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::tls::client::Secured;

use super::io::Io;
use super::{lack, tls};

/// Where a connection goes, and how it is secured.
#[derive(Debug, Clone)]
pub(in crate::proxy) struct Destination {
    pub address: SocketAddr,
    pub secured: Option<Arc<Secured>>,
}

/// The properties that connections share if one can replace another.
pub(in crate::proxy) type Key = (SocketAddr, Option<NonZeroU64>);

impl Destination {
    pub(in crate::proxy) fn key(&self) -> Key {
        (self.address, self.secured.as_ref().map(|secured| secured.id()))
    }

    /// Connects; with TLS the certificate has been verified then.
    pub(super) async fn connect(&self, timeout: Duration) -> Result<Io> {
        let deadline = Instant::now() + timeout;
        let stream = tokio::time::timeout_at(deadline, TcpStream::connect(self.address)).await;
        let stream = stream.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
        // Buffering is done here; the kernel is not to wait for more data.
        let stream = stream.and_then(|stream| stream.set_nodelay(true).map(|()| stream));
        let stream = stream.map_err(cannot_connect)?;
        let Some(secured) = &self.secured else { return Ok(Io::Tcp(stream)) };
        let handshake = Box::pin(tls::handshake(stream, secured));
        match tokio::time::timeout_at(deadline, handshake).await {
            Ok(connected) => connected,
            Err(_) => Err(tls::too_slow()),
        }
    }
}

/// The connector for Pingora's own path to the backend.
#[derive(Debug)]
pub(super) struct Dial {
    pub destination: Destination,
    pub timeout: Duration,
}

#[async_trait]
impl L4Connect for Dial {
    async fn connect(&self, _: &PingoraAddr) -> Result<L4Stream> {
        let io = self.destination.connect(self.timeout).await?;
        Ok(VirtualSocketStream::new(Box::new(io)).into())
    }
}

fn cannot_connect(error: io::Error) -> BError {
    if lack::is_lack(&error) {
        return lack::error();
    }
    let kind = match error.kind() {
        io::ErrorKind::ConnectionRefused => ErrorType::ConnectRefused,
        io::ErrorKind::TimedOut => ErrorType::ConnectTimedout,
        io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => {
            ErrorType::ConnectNoRoute
        }
        _ => ErrorType::ConnectError,
    };
    Error::because(kind, "connecting to the backend", error).into_up()
}
