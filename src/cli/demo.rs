//! `demo`: the guard in front of an embedded Wire, and lines to try it with.

use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::process::ExitCode;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::parts::{self, Backend};
use super::{Failure, Outcome};
use crate::config::{Config, Server};

/// Start the guard in front of an embedded Wire, for trying and testing only.
///
/// Prints curl lines for a whole provisioning cycle, refusals included, each with the status to
/// expect. The embedded Wire keeps everything in memory. Stays in the foreground until SIGINT
/// (Ctrl-C) or SIGTERM.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
                        wire-scim-guard demo\n  \
                        wire-scim-guard demo --listen 127.0.0.1:18080 --admin 127.0.0.1:19090")]
pub struct Arguments {
    /// Where clients connect; default: 127.0.0.1:8080, or a free port if that is taken
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<SocketAddr>,

    /// Where metrics and probes are served; default: 127.0.0.1:9090, or a free port if that is
    /// taken
    #[arg(long, value_name = "ADDRESS")]
    admin: Option<SocketAddr>,
}

/// How long the guard may take to listen.
const START: Duration = Duration::from_secs(10);

pub fn run(arguments: &Arguments, out: &mut impl Write) -> Outcome {
    let backend = Backend::start(DEMO_USER)?;
    let upstream = Server { host: backend.addr().ip().to_string(), port: backend.addr().port() };
    // Both are held until both are found: they cannot be the same.
    let (listen, held) = listener(arguments.listen, 8080)?;
    let (admin, held_too) = listener(arguments.admin, 9090)?;
    drop((held, held_too));

    let mut config = Config::new(vec![listen], vec![upstream]);
    config.admin = admin;
    let guard = std::thread::spawn(move || parts::serve(config));
    let guard = match wait_for([listen, admin], guard) {
        Ok(guard) => guard,
        Err(outcome) => return outcome.map(|()| ExitCode::SUCCESS),
    };
    write_lines(out, reachable(listen), reachable(admin), backend.token())?;
    end_of(guard).map(|()| ExitCode::SUCCESS)
}

/// Finds where to listen: as told, or at the default port, or at a free one.
fn listener(wanted: Option<SocketAddr>, port: u16) -> Result<(SocketAddr, TcpListener), Failure> {
    let local = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let bound = match wanted {
        Some(address) => TcpListener::bind(address),
        None => TcpListener::bind(local(port)).or_else(|_| TcpListener::bind(local(0))),
    };
    bound.and_then(|listener| Ok((listener.local_addr()?, listener))).map_err(|error| {
        let address = wanted.unwrap_or(local(port));
        Failure::Running(format!("cannot listen on {address}: {error}"))
    })
}

/// Waits until the guard listens. `Err` is how it ended instead.
fn wait_for(
    addresses: [SocketAddr; 2],
    guard: JoinHandle<Result<(), Failure>>,
) -> Result<JoinHandle<Result<(), Failure>>, Result<(), Failure>> {
    let start = Instant::now();
    let pause = Duration::from_millis(10);
    let open = |address| TcpStream::connect_timeout(&reachable(address), START).is_ok();
    while !guard.is_finished() {
        if addresses.into_iter().all(open) {
            return Ok(guard);
        }
        if start.elapsed() > START {
            let message = format!("the guard does not listen after {} s", START.as_secs());
            return Err(Err(Failure::Running(message)));
        }
        std::thread::sleep(pause);
    }
    Err(end_of(guard))
}

fn end_of(guard: JoinHandle<Result<(), Failure>>) -> Result<(), Failure> {
    let ended_in_panic = |_| Err(Failure::Running("the guard ended by a fault of its own".into()));
    guard.join().unwrap_or_else(ended_in_panic)
}

/// Where a listener is reached from this machine.
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
) -> io::Result<()> {
    writeln!(out, "guard http://{guard}")?;
    writeln!(out, "metrics http://{admin}/metrics")?;
    for Try { method, path, login, body, expect } in TRIES {
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
    expect: u16,
}

const fn get(path: &'static str, expect: u16) -> Try {
    Try { method: "GET", path, login: true, body: None, expect }
}

const fn send(method: &'static str, path: &'static str, body: &'static str, expect: u16) -> Try {
    Try { method, path, login: true, body: Some(body), expect }
}

/// The user who is there from the start.
const DEMO_USER: &str = "5b8c4d6e-1f2a-4b3c-8d9e-0a1b2c3d4e5f";

const USER: &str = "/scim/v2/Users/5b8c4d6e-1f2a-4b3c-8d9e-0a1b2c3d4e5f";

/// A provisioning cycle, and then what the guard refuses. All lines but the first creation and the
/// deletion give the same status in any order.
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
    // Base URLs as clients are given them: without /v2, doubled, behind an API version.
    get("/scim/Users?filter=externalId%20eq%20%22new.user%40example.com%22", 200),
    get("/v7/scim/v2/v2//Users/?filter=userName%20eq%20%22new.user%22", 200),
    get("/scim/v2/ServiceProviderConfig", 200),
    Try { method: "DELETE", path: USER, login: true, body: None, expect: 204 },
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
    use crate::guard::{Guard, Head};
    use crate::verdict::Outcome;

    #[test]
    fn the_guard_refuses_exactly_what_the_lines_expect() {
        let guard = Guard::new(&Config::new(Vec::new(), Vec::new())).unwrap();
        let token = "Bearer AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
        for Try { method, path, login, body, expect } in TRIES {
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
            let head =
                Head { method: &method, target: path.as_bytes(), headers: &headers, client: None };
            let refused = match guard.evaluate(head, body).outcome {
                Outcome::Forward { .. } => None,
                Outcome::Refuse(refusal) => Some(refusal.status()),
            };
            let expected = (*expect >= 400).then_some(*expect);
            assert_eq!(refused, expected, "{method} {path}");
        }
    }

    #[test]
    fn the_user_of_the_lines_is_the_one_that_is_there() {
        assert!(USER.ends_with(DEMO_USER));
    }

    #[test]
    fn a_taken_default_port_is_replaced_and_a_taken_choice_is_not() {
        let (taken, _held) = listener(None, 0).ok().unwrap();
        let (other, _) = listener(None, taken.port()).ok().unwrap();
        assert_ne!(taken, other);
        assert!(listener(Some(taken), 0).is_err());
    }

    #[test]
    fn what_is_printed_begins_and_ends_as_promised() {
        let mut out = Vec::new();
        let guard = "127.0.0.1:8080".parse().unwrap();
        write_lines(&mut out, guard, "127.0.0.1:9090".parse().unwrap(), "TOKEN").unwrap();
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
