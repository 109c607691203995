//! Addresses in the config that conflict.

use std::net::{IpAddr, SocketAddr};

use super::{Listener, Server};
use crate::input::diagnostic::{At, Diagnostics};

/// Reports listeners on the same port, and servers that are the guard itself.
pub(super) fn check_addresses(
    listen: Option<&[(At, Listener)]>,
    upstream: Option<&[(At, Server)]>,
    (admin, admin_at): (SocketAddr, Option<At>),
    diagnostics: &Diagnostics,
) {
    let listen: Vec<(At, SocketAddr)> =
        listen.unwrap_or_default().iter().map(|(at, listener)| (*at, listener.address)).collect();
    for (index, (at, address)) in listen.iter().enumerate() {
        if let Some((_, other)) = listen[..index].iter().find(|(_, o)| overlap(*o, *address)) {
            let message =
                format!("listen: {address} and {other} take the same port; keep one of them");
            diagnostics.error(*at, message);
        }
        if overlap(*address, admin) {
            let message = format!(
                "listen ({address}) and admin.listen ({admin}) take the same port; metrics and \
                 probes need a port of their own"
            );
            diagnostics.error(admin_at.unwrap_or(*at), message);
        }
    }
    for (at, server) in upstream.unwrap_or_default() {
        let host = if server.host == "localhost" { "127.0.0.1" } else { &server.host };
        let Ok(ip) = host.parse::<IpAddr>() else { continue };
        let address = SocketAddr::new(ip, server.port);
        let here = ip.is_loopback() || ip.is_unspecified();
        let is_own = |own: SocketAddr| own == address || here && overlap(own, address);
        if listen.iter().any(|(_, own)| is_own(*own)) || is_own(admin) {
            let message =
                format!("upstream.servers: {server} is this guard itself; name the backend");
            diagnostics.error(*at, message);
        }
    }
}

/// Whether two listeners cannot be open at the same time. `[::]` includes all IPv4 addresses.
fn overlap(a: SocketAddr, b: SocketAddr) -> bool {
    let covers =
        |a: SocketAddr, b: SocketAddr| a.ip().is_unspecified() && (a.is_ipv6() || b.is_ipv4());
    a.port() == b.port() && (a.ip() == b.ip() || covers(a, b) || covers(b, a))
}
