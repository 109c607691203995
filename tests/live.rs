//! What changes while the program runs: its config, its listening sockets, and the program itself.
#![allow(clippy::unwrap_used, reason = "a test stops at what it does not expect")]

mod support;

#[path = "live/backend.rs"]
mod backend;
#[path = "live/certificates.rs"]
mod certificates;
#[path = "live/guard.rs"]
mod guard;
#[path = "live/listeners.rs"]
mod listeners;
#[path = "live/load.rs"]
mod load;
#[path = "live/reload.rs"]
mod reload;
#[path = "live/sockets.rs"]
mod sockets;
#[path = "live/stop.rs"]
mod stop;
#[path = "upstream_tls/terminator.rs"]
mod terminator;
#[path = "live/upgrade.rs"]
mod upgrade;
#[path = "live/watch.rs"]
mod watch;
