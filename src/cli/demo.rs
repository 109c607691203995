//! `demo`: the guard in front of an embedded Wire, and command lines to try it.

use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::process::ExitCode;
use std::sync::Arc;

use super::{Failure, Outcome, one_of};
use crate::config::words::PROFILES;
use crate::config::{Config, PathPolicy, Server};
use crate::logging::{self, AccessLog};
use crate::policy::{Identity, Policy, Profile};
use crate::proxy::{self, Running, ServeError, Signals};
use crate::release::{Release, Releases};
use crate::standin::{Standin, TOKEN};

/// Start the guard in front of an embedded Wire, for trials and tests only.
///
/// Prints curl lines for a whole provisioning cycle, refusals included, each with the expected
/// status. The embedded Wire keeps everything in memory. Stays in the foreground until SIGINT
/// (Ctrl-C) or SIGTERM.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
                        wire-scim-guard demo\n  \
                        wire-scim-guard demo --listen 127.0.0.1:18080 --admin 127.0.0.1:19090\n  \
                        wire-scim-guard demo --release 5.34\n\n\
                        The embedded Wire has a team admin for trying `token`: admin@example.com, password \
                        secret123:\n  \
                        wire-scim-guard token list --backend http://127.0.0.1:8080 --email admin@example.com")]
pub struct Arguments {
    /// The address for clients; default: 127.0.0.1:8080, or a free port if that is in use
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<SocketAddr>,

    /// The address for metrics and probes; default: 127.0.0.1:9090, or a free port if that is
    /// in use
    #[arg(long, value_name = "ADDRESS")]
    admin: Option<SocketAddr>,

    /// Require what Wire's documentation requires, or only what Wire's server does
    #[arg(long, value_name = "PROFILE", default_value = "documented",
          value_parser = one_of(&PROFILES))]
    profile: Profile,

    /// The Wire release that the embedded Wire answers as: 5.34 (that and older) or 5.35 (that and
    /// newer)
    #[arg(long, value_name = "RELEASE", default_value = Release::NEWEST.as_str(),
          value_parser = super::standin::release)]
    release: Release,
}

const LISTEN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8080);
const ADMIN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9090);
const FREE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

pub fn run(arguments: &Arguments, out: &mut impl Write) -> Outcome {
    let standin = Standin::of_release(FREE, arguments.release)
        .map_err(|error| Failure::Running(format!("the embedded Wire cannot listen: {error}")))?;
    let upstream = Server::cleartext(standin.addr().ip().to_string(), standin.addr().port());
    let mut config = Config::new(vec![arguments.listen.unwrap_or(LISTEN)], vec![upstream]);
    config.admin = arguments.admin.unwrap_or(ADMIN);
    config.policy = Policy::new(arguments.profile, Identity::Any);
    config.policy.releases = Releases::Only(arguments.release);
    // `token` logs in through the guard.
    config.other_paths = PathPolicy::Forward;
    logging::init(&config.log);
    let signals = Signals::listen().map_err(ServeError::from)?;
    let running = start(arguments, config)?;
    let guard = running.addrs().first().copied().unwrap_or(LISTEN);
    let admin = reachable(running.admin_addr());
    write_lines(out, reachable(guard), admin, TOKEN, arguments.release)?;
    signals.then_stop(running);
    Ok(ExitCode::SUCCESS)
}

/// Starts the guard; if a default port is in use, on a free one.
fn start(arguments: &Arguments, mut config: Config) -> Result<Running, Failure> {
    let access = AccessLog::new(&config.log);
    loop {
        let evaluator = Arc::new(super::guard(&config)?);
        match proxy::start(evaluator, access.clone()) {
            Err(ServeError::Listen { address, .. })
                if address == LISTEN && arguments.listen.is_none() =>
            {
                config.listen = vec![FREE.into()];
            }
            Err(ServeError::Listen { address, .. })
                if address == ADMIN && arguments.admin.is_none() =>
            {
                config.admin = FREE;
            }
            started => return started.map_err(Failure::from),
        }
    }
}

/// The address of a listener as seen from this machine.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::from(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::from(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

fn write_lines(
    out: &mut impl Write,
    guard: SocketAddr,
    admin: SocketAddr,
    token: &str,
    release: Release,
) -> io::Result<()> {
    writeln!(out, "guard http://{guard}")?;
    writeln!(out, "metrics http://{admin}/metrics")?;
    for Try { method, path, login, body, expect, expect_5_34 } in TRIES {
        let older = expect_5_34.filter(|_| release == Release::R5_34);
        let expect = older.unwrap_or(*expect);
        write!(out, "curl -sS -i")?;
        if !matches!(*method, "GET") {
            write!(out, " -X {method}")?;
        }
        if *login {
            write!(out, " -H 'Authorization: Bearer {token}'")?;
        }
        if let Some(body) = body {
            write!(out, " -H 'Content-Type: application/scim+json' -d '{body}'")?;
        }
        writeln!(out, " 'http://{guard}{path}' # expect: {expect}")?;
    }
    writeln!(out, "curl -sS -i 'http://{admin}/metrics' # expect: 200")?;
    writeln!(out, "ready")?;
    out.flush()
}

/// A request to try.
struct Try {
    method: &'static str,
    path: &'static str,
    login: bool,
    body: Option<&'static str>,
    /// The status of the answer.
    expect: u16,
    /// The status of Wire 5.34, if it differs.
    expect_5_34: Option<u16>,
}

const fn get(path: &'static str, expect: u16) -> Try {
    Try { method: "GET", path, login: true, body: None, expect, expect_5_34: None }
}

const fn send(method: &'static str, path: &'static str, body: &'static str, expect: u16) -> Try {
    Try { method, path, login: true, body: Some(body), expect, expect_5_34: None }
}

/// The user that exists at the start.
const USER: &str = "/scim/v2/Users/5b8c4d6e-1f2a-4b3c-8d9e-0a1b2c3d4e5f";

/// A provisioning cycle, and then requests that the guard refuses. Except for the first creation and the deletion,
/// the statuses do not depend on the order.
const TRIES: &[Try] = &[
    send(
        "POST",
        "/scim/v2/Users",
        r#"{"schemas":["urn:ietf:params:scim:schemas:core:2.0:User"],"userName":"new.user","displayName":"New User","externalId":"new.user@example.com"}"#,
        201,
    ),
    get("/scim/v2/Users?filter=userName%20eq%20%22new.user%22", 200),
    get(USER, 200),
    send(
        "PUT",
        USER,
        r#"{"schemas":["urn:ietf:params:scim:schemas:core:2.0:User"],"userName":"demo.user","displayName":"Demo User (renamed)","externalId":"demo.user@example.com"}"#,
        200,
    ),
    send(
        "PATCH",
        USER,
        r#"{"schemas":["urn:ietf:params:scim:api:messages:2.0:PatchOp"],"Operations":[{"op":"replace","path":"active","value":false}]}"#,
        200,
    ),
    // The change of an email address, as Entra ID sends it.
    Try {
        expect_5_34: Some(400),
        ..send(
            "PATCH",
            USER,
            r#"{"schemas":["urn:ietf:params:scim:api:messages:2.0:PatchOp"],"Operations":[{"op":"Add","path":"emails[type eq \"work\"].value","value":"demo.user@example.com"}]}"#,
            200,
        )
    },
    // Base URLs that clients are configured with: without /v2, doubled, after an API version.
    get("/scim/Users?filter=externalId%20eq%20%22new.user%40example.com%22", 200),
    get("/v7/scim/v2/v2//Users/?filter=userName%20eq%20%22new.user%22", 200),
    get("/scim/v2/ServiceProviderConfig", 200),
    Try { method: "DELETE", path: USER, login: true, body: None, expect: 204, expect_5_34: None },
    // An email address as userName, as Entra ID sends it by default.
    send(
        "POST",
        "/scim/v2/Users",
        r#"{"schemas":["urn:ietf:params:scim:schemas:core:2.0:User"],"userName":"new.user@example.com","displayName":"New User","externalId":"new.user@example.com"}"#,
        400,
    ),
    // Roles as objects.
    send(
        "POST",
        "/scim/v2/Users",
        r#"{"schemas":["urn:ietf:params:scim:schemas:core:2.0:User"],"userName":"new.user","displayName":"New User","externalId":"new.user@example.com","roles":[{"value":"member"}]}"#,
        400,
    ),
    // A deactivation without a path, as Okta sends it.
    send(
        "PATCH",
        USER,
        r#"{"schemas":["urn:ietf:params:scim:api:messages:2.0:PatchOp"],"Operations":[{"op":"replace","value":{"active":false}}]}"#,
        400,
    ),
    get("/scim/v2/Users", 400),
    Try {
        method: "GET",
        path: "/scim/v2/Users?filter=userName%20eq%20%22new.user%22",
        login: false,
        body: None,
        expect: 401,
        expect_5_34: None,
    },
    get("/scim/v2/User", 404),
    get("/i/status", 404),
    send(
        "PATCH",
        "/scim/v2/Groups/0c9d8e7f-6a5b-4c3d-9e2f-1a0b9c8d7e6f",
        r#"{"schemas":["urn:ietf:params:scim:api:messages:2.0:PatchOp"],"Operations":[]}"#,
        501,
    ),
];

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderValue, Method};

    use super::*;
    use crate::evaluator::{Evaluator, Head};
    use crate::verdict::Outcome;

    #[test]
    fn the_guard_refuses_exactly_what_the_lines_expect() {
        let guard = Evaluator::new(&Config::new(Vec::new(), Vec::new())).unwrap();
        let token = "Bearer AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
        for Try { method, path, login, body, expect, .. } in TRIES {
            let mut headers = HeaderMap::new();
            headers.insert("accept", HeaderValue::from_static("*/*"));
            if *login {
                headers.insert("authorization", HeaderValue::from_static(token));
            }
            if body.is_some() {
                let json = HeaderValue::from_static("application/scim+json");
                headers.insert("content-type", json);
            }
            let method = Method::from_bytes(method.as_bytes()).unwrap();
            let body = body.unwrap_or_default().as_bytes();
            let head = Head {
                method: &method,
                target: path.as_bytes(),
                headers: &headers,
                client: None,
                certificate: &[],
            };
            let refused = match guard.evaluate(head, body).outcome {
                Outcome::Forward { .. } => None,
                Outcome::Refuse(refusal) => Some(refusal.status()),
            };
            let expected = (*expect >= 400).then_some(*expect);
            assert_eq!(refused, expected, "{method} {path}");
        }
    }

    #[test]
    fn the_user_of_the_lines_exists_in_the_standin() {
        assert!(USER.ends_with(crate::standin::USER_ID));
    }

    #[test]
    fn the_output_begins_with_the_addresses_and_ends_with_ready() {
        let mut out = Vec::new();
        let guard = "127.0.0.1:8080".parse().unwrap();
        write_lines(&mut out, guard, "127.0.0.1:9090".parse().unwrap(), "TOKEN", Release::NEWEST)
            .unwrap();
        let out = String::from_utf8(out).unwrap();
        let lines: Vec<&str> = out.lines().collect();
        assert_eq!(lines[0], "guard http://127.0.0.1:8080");
        assert_eq!(lines[1], "metrics http://127.0.0.1:9090/metrics");
        assert_eq!(lines.last(), Some(&"ready"));
        for line in &lines[2..lines.len() - 1] {
            assert!(line.starts_with("curl ") && line.contains(" # expect: "), "{line}");
            assert_eq!(line.matches('\'').count() % 2, 0, "{line}");
        }
    }
}
