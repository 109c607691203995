//! The section `limits`: the resources that clients and backends may use.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::Limits;
use crate::input::diagnostic::{At, Diagnostics};
use crate::input::section::{Section, set};
use crate::input::value::size_text;

const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;
const GIB: u64 = 1024 * MIB;

/// Sizes and counts that no deployment has a good reason to exceed.
const BODY: RangeInclusive<u64> = 1..=8 * MIB;
const BUFFERED: RangeInclusive<u64> = 1..=256 * GIB;
/// The HTTP parser takes at most 1 MiB, and 256 headers with those that are added.
const HEADER_BYTES: RangeInclusive<u64> = KIB..=MIB;
const HEADERS: RangeInclusive<u64> = 1..=250;
const REQUESTS: RangeInclusive<u64> = 1..=u32::MAX as u64;
const CONNECTIONS: RangeInclusive<u64> = 1..=1_000_000;
const STREAMS: RangeInclusive<u64> = 1..=10_000;
const UPGRADES: RangeInclusive<u64> = 0..=1_000_000;
const TIME: RangeInclusive<Duration> = Duration::from_millis(10)..=Duration::from_secs(3600);
const SHUTDOWN: RangeInclusive<Duration> = Duration::ZERO..=Duration::from_secs(3600);

pub fn read(mut section: Section<'_, '_>, diagnostics: &Diagnostics) -> Limits {
    let mut limits = Limits::default();
    let body = size(&mut section, "body", BODY, &mut limits.body);
    let all = size(&mut section, "buffered_bytes", BUFFERED, &mut limits.buffered_bytes);
    if let Some(at) = all.or(body).filter(|_| limits.buffered_bytes < limits.body) {
        let message = format!(
            "limits.buffered_bytes ({}) is less than limits.body ({}): no body of full size could \
             ever be read; raise the one or lower the other",
            size_text(limits.buffered_bytes as u64),
            size_text(limits.body as u64)
        );
        diagnostics.error(at, message);
    }
    size(&mut section, "header_bytes", HEADER_BYTES, &mut limits.header_bytes);

    count(&mut section, "headers", HEADERS, &mut limits.headers);
    count(&mut section, "requests_per_connection", REQUESTS, &mut limits.requests_per_connection);
    count(&mut section, "connections", CONNECTIONS, &mut limits.connections);
    count(
        &mut section,
        "connections_per_address",
        CONNECTIONS,
        &mut limits.connections_per_address,
    );
    count(&mut section, "streams", STREAMS, &mut limits.streams);
    count(&mut section, "upgrades", UPGRADES, &mut limits.upgrades);

    let mut time = |key, range, place: &mut Duration| {
        set(place, section.field(key).and_then(|field| field.duration(range)));
    };
    time("header_timeout", TIME, &mut limits.header_timeout);
    time("body_timeout", TIME, &mut limits.body_timeout);
    time("request_timeout", TIME, &mut limits.request_timeout);
    time("keepalive_timeout", TIME, &mut limits.keepalive_timeout);
    time("write_timeout", TIME, &mut limits.write_timeout);
    time("upstream_connect_timeout", TIME, &mut limits.upstream_connect_timeout);
    time("upstream_timeout", TIME, &mut limits.upstream_timeout);
    time("upstream_idle_timeout", TIME, &mut limits.upstream_idle_timeout);
    time("group_patch_wait", TIME, &mut limits.group_patch_wait);
    time("upgrade_idle_timeout", TIME, &mut limits.upgrade_idle_timeout);
    time("shutdown_timeout", SHUTDOWN, &mut limits.shutdown_timeout);
    section.close();
    limits
}

/// Reads a number of bytes into `place`; returns its position.
fn size(
    section: &mut Section<'_, '_>,
    key: &'static str,
    range: RangeInclusive<u64>,
    place: &mut usize,
) -> Option<At> {
    let field = section.field(key)?;
    set(place, field.size(range).and_then(|size| usize::try_from(size).ok()));
    Some(field.at)
}

fn count<T: TryFrom<u64>>(
    section: &mut Section<'_, '_>,
    key: &'static str,
    range: RangeInclusive<u64>,
    place: &mut T,
) {
    let count = section.field(key).and_then(|field| field.count(range));
    set(place, count.and_then(|count| T::try_from(count).ok()));
}
