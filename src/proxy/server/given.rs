//! Listening sockets that another process has opened: systemd (`LISTEN_FDS`), or the guard that this process replaces.
//!
//! They are matched with `listen` and `admin.listen` by their local address. Addresses without a given socket are
//! bound as usual.

use std::io::Write as _;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;

use listenfd::ListenFd;
use socket2::SockRef;

use super::{ServeError, upgrade};
use crate::config::Config;
use crate::proxy::listeners::BACKLOG;

/// Sockets that were passed to the process.
#[derive(Debug, Default)]
pub(super) struct Given {
    sockets: Vec<(SocketAddr, TcpListener)>,
    /// Those that cannot be used, and why.
    errors: Vec<String>,
    /// Where the process that this one replaces waits for the readiness message.
    replaced: Option<UnixStream>,
}

impl Given {
    /// Takes all of them. Called before there are other threads, as it changes the environment.
    pub(super) fn from_env() -> Self {
        let mut given = Self::default();
        let mut fds = ListenFd::from_env();
        let mut count = fds.len();
        if std::env::var_os(upgrade::REPLACES).is_some() && count > 0 {
            count -= 1;
            let stream = fds.take_unix_listener(count).ok().flatten();
            given.replaced = stream.map(|socket| UnixStream::from(OwnedFd::from(socket)));
        }
        for number in 0..count {
            let socket = fds.take_tcp_listener(number).ok().flatten();
            let usable = socket.and_then(|socket| Some((socket.local_addr().ok()?, socket)));
            match usable {
                // A socket that is connected already (`Accept=yes`) cannot listen.
                Some((address, socket)) if can_listen(&socket) => {
                    given.sockets.push((address, socket));
                }
                Some((address, _)) => given.errors.push(format!(
                    "LISTEN_FDS: the socket {address} cannot be listened on; write Accept=no in its .socket unit"
                )),
                None => given.errors.push(format!(
                    "LISTEN_FDS: socket {} is not a TCP socket; write ListenStream= with an IP address and a port \
                     in its .socket unit",
                    number + 1
                )),
            }
        }
        given
    }

    pub(super) fn take(&mut self, address: SocketAddr) -> Option<TcpListener> {
        let at = self.sockets.iter().position(|(given, _)| *given == address)?;
        Some(self.sockets.swap_remove(at).1)
    }

    /// Fails if a socket is left that the configuration does not name: nothing would accept from
    /// it. A socket of the replaced process is closed instead, as the configuration may have
    /// changed since.
    pub(super) fn finish(&mut self, config: &Config) -> Result<(), ServeError> {
        for (address, _) in std::mem::take(&mut self.sockets) {
            if self.replaced.is_some() {
                tracing::info!(%address, "a listener of the replaced process is closed: the config no longer has it");
                continue;
            }
            let configured = config.listen.iter().map(|listener| listener.address.to_string());
            let configured: Vec<String> = configured.collect();
            self.errors.push(format!(
                "LISTEN_FDS: the socket {address} is neither in listen ({}) nor admin.listen ({}); correct the \
                 config or the .socket unit",
                configured.join(", "),
                config.admin
            ));
        }
        match std::mem::take(&mut self.errors) {
            errors if errors.is_empty() => Ok(()),
            errors => Err(ServeError::Given(errors.join("\n"))),
        }
    }

    pub(super) fn is_upgrade(&self) -> bool {
        self.replaced.is_some()
    }

    /// Notifies the process that this one replaces that it may end.
    pub(super) fn report_ready(self) {
        if let Some(mut replaced) = self.replaced
            && let Err(error) = replaced.write_all(upgrade::READY)
        {
            tracing::warn!(%error, "cannot notify the replaced process that this one is ready");
        }
    }
}

fn can_listen(socket: &TcpListener) -> bool {
    SockRef::from(socket).listen(BACKLOG).is_ok() && socket.set_nonblocking(true).is_ok()
}
