//! The section `limits`: the resources that clients and backends may use.

use std::time::Duration;

use super::Limits;
use crate::input::diagnostic::{At, Diagnostics};
use crate::input::key::{Absent, Key, Kind};
use crate::input::section::{Section, set};
use crate::input::value::{duration_text, size_text};

const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;
const GIB: u64 = 1024 * MIB;

pub(super) const KEYS: &[Key] = &[
    Key::new(
        "body",
        Kind::Size(1, 8 * MIB),
        Absent::Value(|| size_text(Limits::default().body as u64)),
        "Maximum size of a request body, before and after decompression. nginz has the same \
         limit.",
    ),
    Key::new(
        "buffered_bytes",
        Kind::Size(1, 256 * GIB),
        Absent::Value(|| size_text(Limits::default().buffered_bytes as u64)),
        "Memory for all clients together: bodies that are being read or judged, large or \
         unfinished heads, open HTTP/2 requests (16 KiB each and their headers), and buffered \
         answers. Requests for which there is no memory are answered 503. One address (IPv6: one \
         /64) may use half of it, one connection an eighth, but at least what one request needs; \
         bodies of requests whose token is not in the token registry and has not been accepted \
         by Wire within the last hour may use three eighths, those from one address half of \
         that. When memory is short, the requests that have waited for their client longest, and \
         for more than a second, are given up first. It is at least `body`.",
    ),
    // The HTTP parser takes at most 1 MiB, and 256 headers with those that are added.
    Key::new(
        "header_bytes",
        Kind::Size(KIB, MIB),
        Absent::Value(|| size_text(Limits::default().header_bytes as u64)),
        "Maximum size of a request head over HTTP/1.",
    ),
    Key::new(
        "headers",
        Kind::Count(1, 250),
        Absent::Value(|| Limits::default().headers.to_string()),
        "Maximum number of header lines.",
    ),
    Key::new(
        "header_timeout",
        TIME,
        Absent::Value(|| duration_text(Limits::default().header_timeout)),
        "From the first byte of a request head to its end, and from the opening of a connection \
         to its first byte.",
    ),
    Key::new(
        "body_timeout",
        TIME,
        Absent::Value(|| duration_text(Limits::default().body_timeout)),
        "From the end of the head to the end of the body.",
    ),
    Key::new(
        "request_timeout",
        TIME,
        Absent::Value(|| duration_text(Limits::default().request_timeout)),
        "From the end of the head to the end of the answer, whichever side is slow. It does not \
         apply to requests that are streamed without being judged: `/scim/auth-tokens`, and \
         paths forwarded by `other_paths: forward`.",
    ),
    Key::new(
        "keepalive_timeout",
        TIME,
        Absent::Value(|| duration_text(Limits::default().keepalive_timeout)),
        "How long a connection may be idle between two requests. It has to be longer than the \
         idle timeout of the load balancer in front (AWS load balancers and ingress-nginx: 60s): \
         if the guard closes a connection just as the load balancer sends a request on it, the \
         load balancer answers that request with a 502.",
    ),
    Key::new(
        "requests_per_connection",
        Kind::Count(1, u32::MAX as u64),
        Absent::Value(|| Limits::default().requests_per_connection.to_string()),
        "Maximum number of requests per connection (HTTP/1).",
    ),
    Key::new(
        "write_timeout",
        TIME,
        Absent::Value(|| duration_text(Limits::default().write_timeout)),
        "How long a client may read nothing of its answer.",
    ),
    Key::new(
        "connections",
        Kind::Count(1, 1_000_000),
        Absent::Value(|| Limits::default().connections.to_string()),
        "Maximum number of open client connections on all listeners together.",
    ),
    Key::new(
        "connections_per_address",
        Kind::Count(1, 1_000_000),
        Absent::Value(|| Limits::default().connections_per_address.to_string()),
        "Maximum number of open connections of one address (IPv6: one /64), except for \
         `trusted_proxies`.",
    ),
    Key::new(
        "streams",
        Kind::Count(1, 10_000),
        Absent::Value(|| Limits::default().streams.to_string()),
        "Maximum number of streams per HTTP/2 connection.",
    ),
    Key::new(
        "upgrades",
        Kind::Count(0, 1_000_000),
        Absent::Value(|| Limits::default().upgrades.to_string()),
        "Maximum number of connections that have switched to WebSocket (`other_paths: forward`); \
         each takes a connection of a client and one to the backend.",
    ),
    Key::new(
        "upgrade_idle_timeout",
        TIME,
        Absent::Value(|| duration_text(Limits::default().upgrade_idle_timeout)),
        "How long one of them may be without a byte in either direction: Wire's nginx allows 1h. \
         On a stop they are closed after 5s, or after half of `shutdown_timeout` if that is \
         less.",
    ),
    Key::new(
        "upstream_connect_timeout",
        TIME,
        Absent::Value(|| duration_text(Limits::default().upstream_connect_timeout)),
        "Maximum time to connect to the backend.",
    ),
    Key::new(
        "upstream_timeout",
        TIME,
        Absent::Value(|| duration_text(Limits::default().upstream_timeout)),
        "Maximum time without data from the backend, before or during an answer.",
    ),
    Key::new(
        "upstream_idle_timeout",
        TIME,
        Absent::Value(|| duration_text(Limits::default().upstream_idle_timeout)),
        "How long an idle backend connection is kept for reuse. It has to be shorter than the \
         backend's own timeout, or requests fail on connections that the backend has just \
         closed.",
    ),
    Key::new(
        "group_patch_wait",
        TIME,
        Absent::Value(|| duration_text(Limits::default().group_patch_wait)),
        "How long a PATCH of a group waits for others of the same group, with the repair \
         groups.patch.",
    ),
    Key::new(
        "shutdown_delay",
        Kind::Duration(Duration::ZERO, HOUR),
        Absent::Value(|| duration_text(Limits::default().shutdown_delay)),
        "How long everything is served on after SIGTERM, while `/i/ready` fails, so that load \
         balancers send connections elsewhere before the listeners close. For Kubernetes before \
         1.30, which has no `preStop` that waits without a program in the image; a second signal \
         ends the process at once.",
    ),
    Key::new(
        "shutdown_timeout",
        Kind::Duration(Duration::ZERO, HOUR),
        Absent::Value(|| duration_text(Limits::default().shutdown_timeout)),
        "How long requests in flight may take to finish after SIGTERM and `shutdown_delay`.",
    ),
];

const TIME: Kind = Kind::Duration(Duration::from_millis(10), HOUR);
const HOUR: Duration = Duration::from_secs(3600);

pub fn read(mut section: Section<'_, '_>, diagnostics: &Diagnostics) -> Limits {
    let mut limits = Limits::default();
    let body = size(&mut section, "body", &mut limits.body);
    let all = size(&mut section, "buffered_bytes", &mut limits.buffered_bytes);
    if let Some(at) = all.or(body).filter(|_| limits.buffered_bytes < limits.body) {
        let message = format!(
            "limits.buffered_bytes ({}) is less than limits.body ({}): no body of full size \
             could ever be read; raise the one or lower the other",
            size_text(limits.buffered_bytes as u64),
            size_text(limits.body as u64)
        );
        diagnostics.error(at, message);
    }
    size(&mut section, "header_bytes", &mut limits.header_bytes);

    count(&mut section, "headers", &mut limits.headers);
    count(&mut section, "requests_per_connection", &mut limits.requests_per_connection);
    count(&mut section, "connections", &mut limits.connections);
    count(&mut section, "connections_per_address", &mut limits.connections_per_address);
    count(&mut section, "streams", &mut limits.streams);
    count(&mut section, "upgrades", &mut limits.upgrades);

    let mut time = |key, place: &mut Duration| {
        set(place, section.field(key).and_then(|field| field.duration()));
    };
    time("header_timeout", &mut limits.header_timeout);
    time("body_timeout", &mut limits.body_timeout);
    time("request_timeout", &mut limits.request_timeout);
    time("keepalive_timeout", &mut limits.keepalive_timeout);
    time("write_timeout", &mut limits.write_timeout);
    time("upstream_connect_timeout", &mut limits.upstream_connect_timeout);
    time("upstream_timeout", &mut limits.upstream_timeout);
    time("upstream_idle_timeout", &mut limits.upstream_idle_timeout);
    time("group_patch_wait", &mut limits.group_patch_wait);
    time("upgrade_idle_timeout", &mut limits.upgrade_idle_timeout);
    time("shutdown_delay", &mut limits.shutdown_delay);
    time("shutdown_timeout", &mut limits.shutdown_timeout);
    section.close();
    limits
}

/// Reads a number of bytes into `place`; returns its position.
fn size(section: &mut Section<'_, '_>, key: &'static str, place: &mut usize) -> Option<At> {
    let field = section.field(key)?;
    set(place, field.size().and_then(|size| usize::try_from(size).ok()));
    Some(field.at)
}

fn count<T: TryFrom<u64>>(section: &mut Section<'_, '_>, key: &'static str, place: &mut T) {
    let count = section.field(key).and_then(|field| field.count());
    set(place, count.and_then(|count| T::try_from(count).ok()));
}
