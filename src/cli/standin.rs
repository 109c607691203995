//! `standin`: the embedded Wire without a guard, for tests that run something else in front of it.

use std::io::Write;
use std::net::SocketAddr;
use std::process::ExitCode;

use super::{Failure, Outcome};
use crate::release::Release;
use crate::standin::{Standin, TOKEN};

/// Start the embedded Wire without a guard, for trials and tests only.
///
/// Prints its address and a SCIM token that it accepts. Stays in the foreground until it is killed.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The address to listen on; port 0 takes a free port
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:0")]
    listen: SocketAddr,

    /// The Wire release that it answers as, such as 5.34 (that and older) or 5.35 (that and newer)
    #[arg(long, value_name = "RELEASE", default_value = Release::NEWEST.as_str(),
          value_parser = release)]
    release: Release,
}

pub fn run(arguments: &Arguments, out: &mut impl Write) -> Outcome {
    let Arguments { listen, release } = *arguments;
    let standin = Standin::of_release(listen, release)
        .map_err(|error| Failure::Running(format!("cannot listen on {listen}: {error}")))?;
    writeln!(out, "standin http://{}\ntoken {TOKEN}\nready", standin.addr())?;
    out.flush()?;
    standin.wait();
    Ok(ExitCode::SUCCESS)
}

/// Parses a release on the command line.
pub fn release(text: &str) -> Result<Release, String> {
    let known = Release::ALL.map(Release::as_str).join(" or ");
    Release::parse(text).ok_or_else(|| format!("write a release of Wire as {known}"))
}
