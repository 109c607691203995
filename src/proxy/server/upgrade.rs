//! SIGUSR2: replaces the running program by the one that is installed now, without closing a
//! listening socket.
//!
//! The new process receives the listening sockets as systemd would pass them (`LISTEN_FDS`), and
//! one more, on which it reports that it is ready. Both processes accept from the same queues, so
//! that no connection is refused at any moment; the old one then finishes its requests. If the new
//! one does not become ready, it is ended and nothing has changed.

use std::ffi::OsString;
use std::io::{self, Read as _};
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use command_fds::{CommandFdExt as _, FdMapping};

/// Set for a process that replaces another one, to the other's process id.
pub(super) const REPLACES: &str = "WIRE_SCIM_GUARD_REPLACES";

/// What the new process writes when it serves.
pub(super) const READY: &[u8] = b"ready";

/// How long the new process may take.
const READY_TIMEOUT: Duration = Duration::from_secs(30);

/// How often it is checked whether the process is stopping meanwhile.
const CHECK_INTERVAL: Duration = Duration::from_millis(100);

/// The first descriptor of `LISTEN_FDS`.
const FIRST_FD: i32 = 3;

/// The program and its arguments, as they were at the start.
#[derive(Debug, Clone)]
pub struct Program {
    /// Absolute: a package upgrade replaces the file that runs, and the process may be started by a name in PATH.
    path: PathBuf,
    arguments: Vec<OsString>,
}

impl Program {
    /// The running program.
    pub(super) fn current() -> io::Result<Self> {
        let mut arguments = std::env::args_os();
        let name = PathBuf::from(arguments.next().unwrap_or_default());
        let path = match name.components().count() {
            0 => std::env::current_exe()?,
            1 => in_path(&name)?,
            // Links are kept, as an upgrade may change what they point to.
            _ => std::path::absolute(name)?,
        };
        Ok(Self { path, arguments: arguments.collect() })
    }

    /// Starts the program again and waits until it serves from these sockets. On failure the new
    /// process has ended, and the error says why.
    pub(super) fn replace(
        &self,
        sockets: Vec<TcpListener>,
        cancelled: &AtomicBool,
    ) -> Result<u32, String> {
        let path = self.path.display();
        let (mut child, ready) =
            self.start(sockets).map_err(|error| format!("cannot start {path}: {error}"))?;
        match wait(ready, cancelled) {
            Ok(()) if !cancelled.load(Ordering::Relaxed) => Ok(child.id()),
            Ok(()) => Err(end(&mut child, "this process is stopping")),
            Err(why) => Err(end(&mut child, why)),
        }
    }

    fn start(&self, sockets: Vec<TcpListener>) -> io::Result<(Child, UnixStream)> {
        let (ready, reported) = UnixStream::pair()?;
        let fds = sockets.into_iter().map(OwnedFd::from).chain([OwnedFd::from(reported)]);
        let mappings: Vec<_> = (FIRST_FD..)
            .zip(fds)
            .map(|(child_fd, parent_fd)| FdMapping { parent_fd, child_fd })
            .collect();
        let mut command = Command::new(&self.path);
        command
            .args(&self.arguments)
            .env("LISTEN_FDS", mappings.len().to_string())
            .env_remove("LISTEN_PID")
            .env_remove("LISTEN_FDNAMES")
            .env_remove("LISTEN_FDS_FIRST_FD")
            .env(REPLACES, std::process::id().to_string());
        command.fd_mappings(mappings).map_err(io::Error::other)?;
        let child = command.spawn()?;
        // With the command this process's copies of the sockets are dropped.
        Ok((child, ready))
    }
}

/// Waits until the new process is ready.
fn wait(mut ready: UnixStream, cancelled: &AtomicBool) -> Result<(), &'static str> {
    let failed = |_| "cannot wait for it";
    ready.set_read_timeout(Some(CHECK_INTERVAL)).map_err(failed)?;
    let began = Instant::now();
    let mut read = [0; READY.len()];
    let mut length = 0;
    while length < READY.len() {
        if cancelled.load(Ordering::Relaxed) {
            return Err("this process is stopping");
        }
        if began.elapsed() > READY_TIMEOUT {
            return Err("it was not ready within 30 seconds");
        }
        match ready.read(&mut read[length..]) {
            Ok(0) => return Err("it ended before it was ready; its own messages say why"),
            Ok(more) => length += more,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return Err("cannot wait for it"),
        }
    }
    Ok(())
}

/// Ends the new process, and returns why and how it ended.
fn end(child: &mut Child, why: &str) -> String {
    // A process that has just ended gets a moment to be seen as such.
    std::thread::sleep(CHECK_INTERVAL);
    let ended = matches!(child.try_wait(), Ok(Some(_)));
    if !ended {
        let _ = child.kill();
    }
    match child.wait() {
        Ok(status) if ended => format!("process {}: {why} ({status})", child.id()),
        _ => format!("process {}: {why}", child.id()),
    }
}

/// The program that a shell would start by this name.
fn in_path(name: &Path) -> io::Result<PathBuf> {
    let folders = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&folders).map(|folder| folder.join(name));
    match found.into_iter().find(|path| path.is_file()) {
        Some(path) => std::path::absolute(path),
        None => std::env::current_exe(),
    }
}
