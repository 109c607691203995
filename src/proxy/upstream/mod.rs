//! The path to the backend: `servers` chooses a server and `check` asks whether they are healthy;
//! `dial` opens connections, over TLS (`tls`) where the server speaks it, `pool` keeps them
//! (`conn`), and `lack` recognises a shortage on this machine. `forward` decides which headers are
//! forwarded in each direction, with `lookalike`; `origin` finds the client's address, and
//! `throttle` translates the answers by which Wire's nginx throttles.

pub(in crate::proxy) mod check;
pub(in crate::proxy) mod conn;
pub(in crate::proxy) mod dial;
pub(in crate::proxy) mod forward;
pub(in crate::proxy) mod io;
pub(in crate::proxy) mod lack;
mod lookalike;
pub(in crate::proxy) mod origin;
pub(in crate::proxy) mod pool;
pub(in crate::proxy) mod servers;
pub(in crate::proxy) mod throttle;
pub(in crate::proxy) mod tls;

pub use servers::Upstreams;
