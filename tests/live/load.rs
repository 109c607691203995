//! Clients that continuously send requests, over new and over persistent connections.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::Scope;

use crate::support::client::complete;
use crate::support::{WAIT_TIMEOUT, wait_until};

/// What the clients observed.
#[derive(Default)]
pub struct Load {
    answered: AtomicUsize,
    /// Connections that were refused, and requests without a complete answer.
    failed: Mutex<Vec<String>>,
    stop: AtomicBool,
}

/// A request that is sent repeatedly, and its possible answers.
pub struct Ask {
    pub request: Vec<u8>,
    pub expect: fn(status: u16, answer: &str) -> bool,
}

impl Load {
    /// Two clients for each request: one with a persistent connection, and one that opens a
    /// connection for each request.
    pub fn run<'a>(&'a self, scope: &'a Scope<'a, '_>, addr: SocketAddr, asks: &'a [Ask]) {
        for ask in asks {
            for keeps in [true, false] {
                scope.spawn(move || self.client(addr, ask, keeps));
            }
        }
    }

    pub fn answered(&self) -> usize {
        self.answered.load(Ordering::SeqCst)
    }

    /// Waits for this many more answers.
    pub fn wait(&self, more: usize) {
        let until = self.answered() + more;
        wait_until("load", || self.answered() >= until || !self.failed().is_empty());
    }

    pub fn stop(&self) {
        self.stop.store(true, Ordering::SeqCst);
    }

    pub fn failed(&self) -> Vec<String> {
        self.failed.lock().unwrap().clone()
    }

    fn client(&self, addr: SocketAddr, ask: &Ask, keeps: bool) {
        let mut kept = None;
        while !self.stop.load(Ordering::SeqCst) {
            // A guard that stops may close a connection that has been idle for a while.
            let open = kept.take().filter(is_open);
            match exchange(addr, open, &ask.request) {
                Ok((status, answer, stream)) if (ask.expect)(status, &answer) => {
                    self.answered.fetch_add(1, Ordering::SeqCst);
                    kept = stream.filter(|_| keeps);
                }
                Ok((status, answer, _)) => self.fail(format!("{status}: {answer}")),
                Err(error) => self.fail(format!("kept: {keeps}, {error}")),
            }
        }
    }

    fn fail(&self, why: String) {
        let mut failed = self.failed.lock().unwrap();
        if failed.len() < 20 {
            failed.push(why);
        }
    }
}

fn is_open(stream: &TcpStream) -> bool {
    stream.set_nonblocking(true).unwrap();
    let peeked = stream.peek(&mut [0]);
    stream.set_nonblocking(false).unwrap();
    peeked.is_err_and(|error| error.kind() == ErrorKind::WouldBlock)
}

/// The status, the complete answer, and the connection if it stays open.
type Answer = (u16, String, Option<TcpStream>);

fn exchange(addr: SocketAddr, kept: Option<TcpStream>, request: &[u8]) -> Result<Answer, String> {
    let mut stream = match kept {
        Some(stream) => stream,
        None => TcpStream::connect(addr).map_err(|error| format!("cannot connect: {error}"))?,
    };
    stream.set_read_timeout(Some(WAIT_TIMEOUT)).unwrap();
    stream.write_all(request).map_err(|error| format!("cannot write: {error}"))?;
    let mut seen = Vec::new();
    loop {
        if let Some((status, stays_open)) = complete(&seen) {
            let answer = String::from_utf8_lossy(&seen).into_owned();
            return Ok((status, answer, stays_open.then_some(stream)));
        }
        let mut chunk = [0; 4096];
        match stream.read(&mut chunk) {
            Ok(0) => return Err(format!("closed after {} bytes of an answer", seen.len())),
            Err(error) => return Err(format!("{error} after {} bytes of an answer", seen.len())),
            Ok(n) => seen.extend_from_slice(&chunk[..n]),
        }
    }
}
