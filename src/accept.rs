//! Accepts connections, also while the system lacks resources for them.

use std::io;
use std::time::Duration;

use nix::errno::Errno;
use tokio::net::{TcpListener, TcpStream};

use crate::logging::Limited;

/// How long to wait before another attempt when the system lacks a resource, such as descriptors:
/// the only remedy is that others free some.
pub(crate) const LACK_INTERVAL: Duration = Duration::from_millis(100);

/// The next connection.
pub(crate) async fn accept(listener: &TcpListener) -> TcpStream {
    static LOGGED: Limited = Limited::new();
    loop {
        match listener.accept().await {
            Ok((stream, _)) => return stream,
            // SECURITY: a client that causes this keeps no other waiting.
            Err(error) if is_of_one_connection(&error) => {}
            Err(error) => {
                if LOGGED.is_due() {
                    tracing::warn!(
                        %error,
                        "no connection can be accepted: if this machine is out of descriptors or memory for the \
                         guard, raise the limit of open files, or lower limits.connections"
                    );
                }
                tokio::time::sleep(LACK_INTERVAL).await;
            }
        }
    }
}

/// Whether the connection has failed before it was accepted (accept(2)): the next one has not.
fn is_of_one_connection(error: &io::Error) -> bool {
    let code = error.raw_os_error().map(Errno::from_raw);
    matches!(
        code,
        Some(
            Errno::ECONNABORTED
                | Errno::EHOSTDOWN
                | Errno::EHOSTUNREACH
                | Errno::ENETDOWN
                | Errno::ENETUNREACH
                | Errno::ENONET
                | Errno::ENOPROTOOPT
                | Errno::EOPNOTSUPP
                | Errno::EPROTO
        )
    )
}
