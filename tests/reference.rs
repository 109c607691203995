//! The reference pages, the example config and the schemas of the config are those of this program: each is generated
//! from the definition that the program itself uses. `UPDATE_DOCS=1` writes them.
#![allow(clippy::unwrap_used, reason = "a test stops at what it does not expect")]

#[path = "reference/command_line.rs"]
mod command_line;
#[path = "reference/config.rs"]
mod config;
#[path = "reference/example.rs"]
mod example;
#[path = "reference/man.rs"]
mod man;
#[path = "reference/metrics.rs"]
mod metrics;
#[path = "reference/schema.rs"]
mod schema;
mod support;

/// Asserts that a file is what was generated, or makes it so.
fn is_current(path: &str, generated: &str) {
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(path, generated).unwrap();
    }
    let written = std::fs::read_to_string(path).unwrap_or_default();
    let run = "UPDATE_DOCS=1 cargo test --test reference";
    assert!(written == generated, "{path} is out of date: run {run}");
}

/// Runs the program and returns its exit code, standard output and standard error.
fn run(arguments: &[&str]) -> (i32, String, String) {
    let program = env!("CARGO_BIN_EXE_wire-scim-guard");
    let output = std::process::Command::new(program).args(arguments).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}
