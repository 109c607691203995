//! `standin`: the embedded Wire on its own, for tests that put something in front of it.

use std::io::Write;
use std::net::SocketAddr;
use std::process::ExitCode;

use super::{Failure, Outcome};
use crate::standin::{Standin, TOKEN};

/// Start the embedded Wire alone, for trying and testing only.
///
/// Prints where it listens and a SCIM token that it takes. Stays in the foreground until it is
/// killed.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Where it listens; port 0 takes a free port
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:0")]
    listen: SocketAddr,
}

pub fn run(arguments: &Arguments, out: &mut impl Write) -> Outcome {
    let standin = Standin::start(arguments.listen).map_err(|error| {
        Failure::Running(format!("cannot listen on {}: {error}", arguments.listen))
    })?;
    writeln!(out, "standin http://{}\ntoken {TOKEN}\nready", standin.addr())?;
    out.flush()?;
    standin.wait();
    Ok(ExitCode::SUCCESS)
}
