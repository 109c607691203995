//! Where the commands meet the proxy, its logs and the embedded Wire.

use std::net::SocketAddr;

use super::Failure;
use crate::config::Config;
use crate::logging;
use crate::proxy::{self, ServeError};

/// Runs the guard until SIGINT or SIGTERM.
pub fn serve(config: Config) -> Result<(), Failure> {
    logging::init(&config.log);
    proxy::serve(config).map_err(|error| match error {
        ServeError::Guard(message) => Failure::Unusable(message),
        error => Failure::Running(error.to_string()),
    })
}

/// The embedded Wire, for as long as the value lives.
#[derive(Debug)]
pub struct Backend {
    addr: SocketAddr,
    token: String,
}

impl Backend {
    /// Starts it on a free port of this machine, with one user of this id in it.
    pub fn start(_user: &str) -> Result<Self, Failure> {
        Err(Failure::Running("this build has no embedded Wire".into()))
    }

    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The token that it takes.
    pub fn token(&self) -> &str {
        &self.token
    }
}
