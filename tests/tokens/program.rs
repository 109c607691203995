//! The program as operators run it, with a token registry.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use crate::support::{Client, TOKEN, entry, registry_file, unused_addr, wait_until};

pub const PROGRAM: &str = env!("CARGO_BIN_EXE_wire-scim-guard");

/// A new folder.
pub fn folder(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("tokens-{name}"));
    let _ = std::fs::remove_dir_all(&path);
    std::fs::create_dir_all(&path).unwrap();
    path
}

pub fn run(arguments: &[&str]) -> (i32, String, String) {
    let Output { status, stdout, stderr } =
        Command::new(PROGRAM).args(arguments).stdin(Stdio::null()).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.code().unwrap(), text(stdout), text(stderr))
}

/// A guard in a process of its own, which writes to the file `output`.
pub struct Process {
    pub addr: SocketAddr,
    pub admin: SocketAddr,
    pub output: PathBuf,
    child: Child,
}

impl Process {
    pub fn start(folder: &Path, backend: SocketAddr, more: &str) -> Self {
        let (addr, admin) = (unused_addr(), unused_addr());
        let config = folder.join("config.yaml");
        std::fs::write(&config, text(addr, admin, backend, more)).unwrap();
        let output = folder.join("output");
        let file = std::fs::File::create(&output).unwrap();
        let child = Command::new(PROGRAM)
            .args(["serve", "--config"])
            .arg(&config)
            .stdout(file.try_clone().unwrap())
            .stderr(file)
            .spawn()
            .unwrap();
        wait_until("the guard", || std::net::TcpStream::connect(addr).is_ok());
        Self { addr, admin, output, child }
    }

    pub fn client(&self) -> Client {
        Client::connect(self.addr)
    }

    /// Stops it as an operator would, and returns its output.
    pub fn stop(mut self) -> String {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
        self.child.wait().unwrap();
        std::fs::read_to_string(&self.output).unwrap()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn text(addr: SocketAddr, admin: SocketAddr, backend: SocketAddr, more: &str) -> String {
    format!(
        "listen: [\"{addr}\"]\nadmin: {{listen: \"{admin}\"}}\nupstream: {{servers: [\"{backend}\"]}}\n\
         threads: 2\n{more}"
    )
}

#[test]
fn an_invalid_registry_prevents_the_start_and_reports_all_errors() {
    let folder = folder("bad");
    let config = folder.join("config.yaml");
    std::fs::write(
        &config,
        text(unused_addr(), unused_addr(), unused_addr(), "tokens: tokens.yaml\n"),
    )
    .unwrap();
    let tokens = folder.join("tokens.yaml");
    std::fs::write(&tokens, "tokens:\n- label: a\n- hash: sha256:00\n  label: a b\n").unwrap();
    let (config, tokens) = (config.to_str().unwrap(), tokens.to_str().unwrap());
    for arguments in
        [["serve", "--config", config].as_slice(), &["config", "check", "--config", config]]
    {
        let (code, out, errors) = run(arguments);
        assert_eq!((code, out.as_str()), (2, ""), "{errors}");
        for place in ["2:3", "3:9", "4:10"] {
            assert!(errors.contains(&format!("{tokens}:{place}: tokens[")), "{errors}");
        }
        assert_eq!(errors.trim_end().lines().count(), 3, "{errors}");
    }
    std::fs::remove_file(tokens).unwrap();
    let (code, _, errors) = run(&["serve", "--config", config]);
    assert_eq!(code, 2);
    assert!(errors.contains("tokens.yaml cannot be read"), "{errors}");
}

#[test]
fn a_relative_registry_path_is_resolved_from_the_config_folder() {
    let folder = folder("relative");
    std::fs::copy(registry_file(&[entry("known", TOKEN, "")]), folder.join("known.yaml")).unwrap();
    let config = folder.join("config.yaml");
    std::fs::write(
        &config,
        text(unused_addr(), unused_addr(), unused_addr(), "tokens: known.yaml\n"),
    )
    .unwrap();
    let (code, out, errors) = run(&["config", "check", "--config", config.to_str().unwrap()]);
    assert_eq!((code, errors.as_str()), (0, ""));
    assert!(out.ends_with(": ok\n"));
}
