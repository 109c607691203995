//! The program as a separate process, started by a shell script.

use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use super::{Backend, Client, Response, control, unused_addr, wait_until};

pub const PROGRAM: &str = env!("CARGO_BIN_EXE_wire-scim-guard");

/// How many descriptors a guard may have that is run with [`few_descriptors`].
const FEW_DESCRIPTORS: u32 = 40;

/// The script for `run` of a guard that can be starved.
pub fn few_descriptors() -> String {
    format!("ulimit -n {FEW_DESCRIPTORS} && exec \"$@\"")
}

/// The addresses and files of a guard.
pub struct Place {
    pub addr: SocketAddr,
    pub admin: SocketAddr,
    pub config: PathBuf,
    pub log: PathBuf,
}

impl Place {
    pub fn new(name: &str, backend: &Backend, more: &str) -> Self {
        Self::before(name, &[backend], &format!("threads: 2\n{more}"))
    }

    pub fn before(name: &str, backends: &[&Backend], more: &str) -> Self {
        let (addr, admin) = (unused_addr(), unused_addr());
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let (config, log) =
            (folder.join(format!("faults-{name}.yaml")), folder.join(format!("faults-{name}.log")));
        let servers: Vec<String> =
            backends.iter().map(|backend| format!("\"{}\"", backend.addr)).collect();
        let text = format!(
            "listen: [\"{addr}\"]\nadmin: {{listen: \"{admin}\"}}\nupstream: {{servers: [{}]}}\n{more}",
            servers.join(", ")
        );
        std::fs::write(&config, text).unwrap();
        Self { addr, admin, config, log }
    }

    /// Runs the guard by a shell script, in which `"$@"` is its command line.
    pub fn run(&self, script: &str, log: Stdio) -> Running {
        let child = Command::new("sh")
            .args(["-c", script, "sh", PROGRAM, "serve", "--config"])
            .arg(&self.config)
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        self.wait();
        Running(child)
    }

    /// Like `run`, with the log in a file.
    pub fn run_logged(&self, script: &str) -> Running {
        self.run(script, std::fs::File::create(&self.log).unwrap().into())
    }

    pub fn logged(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap()
    }

    pub fn wait(&self) {
        wait_until("the guard", || TcpStream::connect(self.addr).is_ok());
    }

    pub fn status(&self) -> u16 {
        let mut client = Client::connect(self.addr);
        client.send(control());
        client.response().status
    }

    /// The body of `/i/ready`.
    pub fn ready(&self) -> String {
        let mut client = Client::connect(self.admin);
        client.send("GET /i/ready HTTP/1.1\r\n\r\n");
        String::from_utf8(client.response().body).unwrap()
    }

    /// Runs a guard whose standard error is not read, and sends changes until one is refused
    /// because it cannot be audited. The config has to switch the audit log on, and access lines
    /// off.
    pub fn fill_audit_log(&self) -> (Running, Response) {
        let guard = self.run("exec \"$@\"", Stdio::piped());
        let mut client = Client::connect(self.addr);
        let refused = (0..20_000).find_map(|_| {
            client.send(control());
            let response = client.response();
            (response.status != 200).then_some(response)
        });
        (guard, refused.expect("a full queue"))
    }

    /// Uses up all descriptors of a guard that was run with few, for as long as the returned
    /// connections are held.
    pub fn starve(&self, guard: &Running) -> Vec<TcpStream> {
        // It needs some to start.
        wait_until("the guard to be ready", || self.logged().contains("[\"ready\""));
        let connections = (0..60).map(|_| TcpStream::connect(self.addr).unwrap()).collect();
        wait_until("the guard to be out of descriptors", || guard.is_starved());
        connections
    }
}

pub struct Running(Child);

impl Running {
    pub fn signal(&self, signal: &str) {
        send_signal(signal, self.0.id());
    }

    pub fn id(&self) -> u32 {
        self.0.id()
    }

    /// Whether all of its few descriptors are open.
    pub fn is_starved(&self) -> bool {
        let folder = PathBuf::from(format!("/proc/{}/fd", self.id()));
        (0..FEW_DESCRIPTORS).all(|nth| folder.join(nth.to_string()).exists())
    }

    pub fn exit_code(&mut self) -> Option<i32> {
        self.0.wait().unwrap().code()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub fn send_signal(signal: &str, pid: u32) {
    let kill = Command::new("kill").args([signal, &pid.to_string()]).status().unwrap();
    assert!(kill.success());
}
