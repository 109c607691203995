//! A guard as a separate process, whose config is changed while it runs.

use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use command_fds::{CommandFdExt, FdMapping};

use crate::support::program::{PROGRAM, send_signal};
use crate::support::{Backend, Client, Response, control, unused_addr, wait_until};

/// A folder with the config in it.
pub struct Place {
    pub folder: PathBuf,
    pub addr: SocketAddr,
    pub admin: SocketAddr,
}

impl Place {
    pub fn new(name: &str) -> Self {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("live-{name}"));
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(&folder).unwrap();
        Self { folder, addr: unused_addr(), admin: unused_addr() }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    pub fn config(&self) -> PathBuf {
        self.path("config.yaml")
    }

    /// A config in front of a backend, with more lines.
    pub fn text(&self, backend: &Backend, more: &str) -> String {
        self.text_for(&format!("\"{}\"", self.addr), backend, more)
    }

    pub fn text_for(&self, listen: &str, backend: &Backend, more: &str) -> String {
        format!(
            "listen: [{listen}]\nadmin: {{listen: \"{}\"}}\nthreads: 2\nupstream: {{servers: [\"{}\"]}}\n{more}",
            self.admin, backend.addr
        )
    }

    /// Replaces the config by renaming a new file over it.
    pub fn write(&self, text: &str) {
        self.replace("config.yaml", text);
    }

    pub fn replace(&self, name: &str, text: &str) {
        let new = self.path("new");
        std::fs::write(&new, text).unwrap();
        std::fs::rename(new, self.path(name)).unwrap();
    }

    /// Starts the guard and waits until it serves.
    pub fn start(&self) -> Guard {
        let guard = self.spawn(self.command(PROGRAM));
        self.wait_ready();
        guard
    }

    pub fn command(&self, program: impl AsRef<Path>) -> Command {
        let mut command = Command::new(program.as_ref());
        command.args(["serve", "--config"]).arg(self.config());
        command
    }

    /// A command line of the guard, with its log in a file.
    pub fn spawn(&self, mut command: Command) -> Guard {
        let log = self.path("log");
        let file = std::fs::OpenOptions::new().create(true).append(true).open(&log).unwrap();
        let child = command.stdout(Stdio::null()).stderr(file).spawn().unwrap();
        Guard { child, log }
    }

    /// The same with listening sockets, passed as systemd does.
    pub fn spawn_with(&self, mut command: Command, sockets: &[&TcpListener]) -> Guard {
        let mappings = sockets.iter().zip(3..).map(|(socket, child_fd)| FdMapping {
            parent_fd: OwnedFd::from(socket.try_clone().unwrap()),
            child_fd,
        });
        command.env("LISTEN_FDS", sockets.len().to_string());
        command.fd_mappings(mappings.collect()).unwrap();
        self.spawn(command)
    }

    pub fn wait_ready(&self) {
        wait_until("the guard", || {
            std::net::TcpStream::connect(self.admin)
                .is_ok_and(|_| self.ready().starts_with("ready"))
        });
    }

    /// The body of `/i/ready`; empty if no process answers.
    pub fn ready(&self) -> String {
        self.get("/i/ready")
            .map_or_else(String::new, |ready| String::from_utf8(ready.body).unwrap())
    }

    /// The value of one metric series, 0 if it does not exist.
    pub fn metric(&self, series: &str) -> f64 {
        let Some(answer) = self.get("/metrics") else { return 0.0 };
        let text = String::from_utf8(answer.body).unwrap();
        let value = |line: &str| line.strip_prefix(series)?.strip_prefix(' ')?.parse().ok();
        text.lines().find_map(value).unwrap_or(0.0)
    }

    fn get(&self, path: &str) -> Option<Response> {
        let stream = std::net::TcpStream::connect(self.admin).ok()?;
        drop(stream);
        let mut client = Client::connect(self.admin);
        client.send(format!("GET {path} HTTP/1.1\r\n\r\n"));
        client.response_to("GET")
    }

    pub fn reloads(&self, outcome: &str) -> f64 {
        self.metric(&format!("scim_guard_reloads_total{{outcome=\"{outcome}\"}}"))
    }

    pub fn ask(&self, request: impl AsRef<[u8]>) -> Response {
        let mut client = Client::connect(self.addr);
        client.send(request);
        client.response()
    }

    pub fn status(&self) -> u16 {
        self.ask(control()).status
    }
}

/// A running guard, and those that replace it.
pub struct Guard {
    pub child: Child,
    log: PathBuf,
}

impl Guard {
    pub fn signal(&self, signal: &str) {
        send_signal(signal, self.child.id());
    }

    pub fn exit_code(&mut self) -> Option<i32> {
        self.child.wait().unwrap().code()
    }

    pub fn logged(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap()
    }

    /// The messages of the log lines.
    pub fn messages(&self) -> Vec<String> {
        let log = self.logged();
        let lines = log.lines().filter_map(|line| serde_json::from_str(line).ok());
        lines.map(|line: serde_json::Value| line["msgs"].to_string()).collect()
    }

    /// The processes that have replaced this one, in order.
    pub fn successors(&self) -> Vec<u32> {
        let of = |line: &String| {
            let process = line.split("\"process=").nth(1)?;
            process.split('"').next()?.parse().ok()
        };
        self.messages()
            .iter()
            .filter(|line| line.contains("upgraded: the new"))
            .filter_map(of)
            .collect()
    }

    /// Sends SIGHUP and waits until a reload has ended with this outcome.
    pub fn reload(&self, place: &Place, outcome: &str) {
        let before = place.reloads(outcome);
        self.signal("-HUP");
        wait_until(outcome, || place.reloads(outcome) > before);
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        for process in self.successors() {
            let _ = Command::new("kill")
                .args(["-KILL", &process.to_string()])
                .stderr(Stdio::null())
                .status();
        }
    }
}
