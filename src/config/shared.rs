//! `shared`: the store that several replicas keep budgets and refusals in.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::file::{named, secret_file};
use super::words::ON_FAILURE;
use super::{Server, forms, value};
use crate::hash_key::HashKey;
use crate::input::diagnostic::Diagnostics;
use crate::input::field::Field;
use crate::input::key::{Absent, Form, Key, Kind, name_of, names};
use crate::input::section::set;
use crate::input::value::{duration_text, quoted};
use crate::secret::Secret;

const DEFAULT_TIMEOUT: Duration = Duration::from_millis(20);
const DEFAULT_PREFIX: &str = "scim-guard:";

/// Ports that servers and Sentinels listen on by default.
const PORT: u16 = 6379;
const SENTINEL_PORT: u16 = 26379;

/// The most Sentinels, or members of a cluster, that are asked.
const MAX_MEMBERS: usize = 16;

/// The most characters of a prefix: it is a part of each key.
const MAX_PREFIX: usize = 64;

const EXAMPLE: &str = "write redis://redis.example.com:6379/0, rediss:// for TLS, or \
                       redis-sentinel://s1.example.com,s2.example.com/0#NAME for Sentinels and the name of their master, \
                       redis-cluster://r1.example.com,r2.example.com for a cluster";

const DEFAULT_ON_FAILURE: OnFailure = OnFailure::Local;

const URL: Form = Form {
    name: "URL of a Redis or Valkey server, of Sentinels, or of a cluster",
    pattern: Some("^(redis|valkey)s?(-sentinel|-cluster)?://"),
    number: false,
};
const PREFIX: Form =
    Form { name: "1 to 64 characters", pattern: Some("^[!-z|~]{1,64}$"), number: false };

pub(super) const KEYS: &[Key] = &[
    Key::new(
        "redis",
        Kind::Text(&URL),
        Absent::Refused("\"rediss-sentinel://redis-1.example.com,redis-2.example.com/0#mymaster\""),
        "The server (`redis://HOST:PORT/DATABASE`), Sentinels and the name of their master, or \
         members of a cluster (`redis-cluster://HOST:PORT,HOST:PORT`); with `rediss` over TLS. \
         Users and passwords are in files.",
    ),
    Key::new(
        "prefix",
        Kind::Text(&PREFIX),
        Absent::Value(|| format!("\"{DEFAULT_PREFIX}\"")),
        "What keys and channels begin with: the same in all replicas, and another one for each \
         other group of them.",
    ),
    Key::new(
        "timeout",
        Kind::Duration(Duration::from_millis(1), Duration::from_secs(10)),
        Absent::Value(|| duration_text(DEFAULT_TIMEOUT)),
        "How long a request that a budget concerns waits for the store. After three that got no \
         answer none waits, until the store answers again.",
    ),
    Key::new(
        "on_failure",
        Kind::Word(|| names(&ON_FAILURE)),
        Absent::Value(|| name_of(&ON_FAILURE, &DEFAULT_ON_FAILURE)),
        "What happens to requests that a budget concerns while the store does not answer: \
         `local` decides by what this process has counted, `refuse` answers 503. All others are \
         served.",
    ),
    Key::new(
        "key_file",
        forms::FILE,
        Absent::Otherwise(
            "hashes are not keyed, and failures by address are not shared",
            "shared.key",
        ),
        "A file with a key for the hashes in the store, of 32 characters at least: `openssl rand \
         -base64 32`. The same in all replicas.",
    ),
    Key::new(
        "username_file",
        forms::FILE,
        Absent::Otherwise("the default user", "shared.user"),
        "A file with the user, in one line; it takes `password_file`.",
    ),
    Key::new(
        "password_file",
        forms::FILE,
        Absent::Otherwise("no password", "shared.password"),
        "A file with the password, in one line.",
    ),
    Key::new(
        "ca",
        forms::FILE,
        Absent::Otherwise("those of the platform", "redis-ca.pem"),
        "The authorities that issue the server's certificate.",
    ),
];

/// State that is shared with other replicas.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shared {
    pub store: Store,
    /// How long a request waits for the store.
    pub timeout: Duration,
    pub on_failure: OnFailure,
}

/// What happens to requests that a budget concerns while the store does not answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnFailure {
    /// This process decides by what it has counted itself.
    Local,
    Refuse,
}

impl OnFailure {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::Refuse => "refuse",
        }
    }
}

/// A Redis or Valkey server, and what is kept there.
#[derive(Clone, PartialEq, Eq)]
pub struct Store {
    pub location: Location,
    pub database: u32,
    /// Whether it is spoken to over TLS, and so are Sentinels.
    pub tls: bool,
    /// The authorities that issue its certificate; `None`: those of the platform.
    pub ca: Option<PathBuf>,
    /// What all keys and channels begin with.
    pub prefix: String,
    /// For the hashes in keys; `None`: they are not keyed.
    pub key: Option<HashKey>,
    pub username: Option<String>,
    pub password: Option<Password>,
}

/// Where the server is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Location {
    Server(Server),
    /// Some members of a cluster, which know the others.
    Cluster(Vec<Server>),
    /// The Sentinels know which server is the master of this name.
    Sentinels {
        sentinels: Vec<Server>,
        master: String,
    },
}

/// A password that can be compared and not shown.
#[derive(Clone)]
pub struct Password(Secret);

impl Password {
    pub fn reveal(&self) -> &str {
        self.0.reveal()
    }
}

impl PartialEq for Password {
    fn eq(&self, other: &Self) -> bool {
        self.reveal() == other.reveal()
    }
}

impl Eq for Password {}

/// SECURITY: neither the user nor the password is shown.
impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").field("location", &self.location).finish_non_exhaustive()
    }
}

/// Names the store in logs and on the page of the admin listener.
impl fmt::Display for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let s = if self.tls { "s" } else { "" };
        match &self.location {
            Location::Server(server) => write!(f, "redis{s}://{}", server.authority()),
            Location::Cluster(members) => {
                let all: Vec<String> = members.iter().map(Server::authority).collect();
                write!(f, "redis{s}-cluster://{}", all.join(","))
            }
            Location::Sentinels { sentinels, master } => {
                let all: Vec<String> = sentinels.iter().map(Server::authority).collect();
                write!(f, "redis{s}-sentinel://{}#{master}", all.join(","))
            }
        }
    }
}

pub(super) fn read(
    field: Field<'_, '_>,
    folder: Option<&Path>,
    diagnostics: &Diagnostics,
) -> Option<Shared> {
    if cfg!(not(feature = "shared")) {
        field.error("this program was built without it (feature shared); leave it out");
        return None;
    }
    let at = field.at;
    let mut section = field.section();
    let url = section.required("redis", EXAMPLE).and_then(|field| field.parsed(url));
    let mut prefix = DEFAULT_PREFIX.to_owned();
    set(&mut prefix, section.field("prefix").and_then(|field| field.parsed(prefix_of)));
    let mut timeout = DEFAULT_TIMEOUT;
    set(&mut timeout, section.field("timeout").and_then(|field| field.duration()));
    let on_failure = section.field("on_failure").and_then(|field| field.choice(&ON_FAILURE));
    let ca = section.field("ca");
    let key_file = section.field("key_file");
    let has_key = key_file.is_some();
    let key = secret(key_file, folder, HashKey::read);
    let (username, password) = (section.field("username_file"), section.field("password_file"));
    if let (Some(field), None) = (&username, &password) {
        field.error("a user takes a password as well: name its file with shared.password_file");
    }
    let username = secret(username, folder, single_line);
    let password = secret(password, folder, single_line);
    let ca_path = ca.as_ref().and_then(|field| named(field, folder));
    if let (Some(field), Some(path)) = (&ca, &ca_path) {
        field.note_file(path);
    }
    if let (Some(field), Some(url)) = (&ca, &url)
        && !url.tls
    {
        field.error("shared.redis speaks cleartext; write rediss://, or leave out the authorities");
    }
    section.close();
    if !has_key {
        diagnostics.warn(
            at,
            "shared: without key_file, hashes in the store are not keyed, and failures by \
             address are not shared, as an address could be found by trying; write openssl rand \
             -base64 32 into a file, and name it in each replica with key_file",
        );
    }
    let Url { location, database, tls } = url?;
    let password = password.map(|text| Password(Secret::new(text)));
    let store = Store { location, database, tls, ca: ca_path, prefix, key, username, password };
    Some(Shared { store, timeout, on_failure: on_failure.unwrap_or(DEFAULT_ON_FAILURE) })
}

/// Reads the content of a file, if one is named.
fn secret<T>(
    field: Option<Field<'_, '_>>,
    folder: Option<&Path>,
    read: impl FnOnce(&str) -> Result<T, String>,
) -> Option<T> {
    secret_file(&field?, folder, read)
}

/// A user or a password: one line, without the line's end. The error is the end of a sentence about the file.
fn single_line(text: &str) -> Result<String, String> {
    let line = text.strip_suffix('\n').unwrap_or(text);
    let line = line.strip_suffix('\r').unwrap_or(line);
    match line {
        "" => Err("is empty; write one line into it, or leave out the key".into()),
        _ if line.contains(['\n', '\r', '\0']) => Err("has more than one line".into()),
        _ => Ok(line.into()),
    }
}

/// What keys begin with.
fn prefix_of(text: &str) -> Result<String, String> {
    let plain = text.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'{' | b'}'));
    if text.is_empty() || !plain || text.len() > MAX_PREFIX {
        return Err(format!(
            "{} is no prefix; write 1 to {MAX_PREFIX} characters of ASCII without blanks and \
             braces, such as scim-guard:",
            quoted(text)
        ));
    }
    Ok(text.into())
}

/// What a URL names.
enum Named {
    Server,
    Sentinel,
    Cluster,
}

#[derive(Debug, PartialEq, Eq)]
struct Url {
    location: Location,
    database: u32,
    tls: bool,
}

/// SECURITY: a password may have been written into the URL, so that a text with an @ is not repeated.
fn url(text: &str) -> Result<Url, String> {
    let wrong =
        || format!("{} is not the URL of a Redis or Valkey server; {EXAMPLE}", quoted(text));
    if text.contains('@') {
        return Err("has a user or a password before the @, which do not belong into this file; name files with \
                    username_file and password_file"
            .into());
    }
    let (scheme, rest) = text.split_once("://").ok_or_else(wrong)?;
    let (named, tls) = match scheme {
        "redis" | "valkey" => (Named::Server, false),
        "rediss" | "valkeys" => (Named::Server, true),
        "redis-sentinel" | "valkey-sentinel" => (Named::Sentinel, false),
        "rediss-sentinel" | "valkeys-sentinel" => (Named::Sentinel, true),
        "redis-cluster" | "valkey-cluster" => (Named::Cluster, false),
        "rediss-cluster" | "valkeys-cluster" => (Named::Cluster, true),
        _ => return Err(wrong()),
    };
    let (rest, master) = match rest.split_once('#') {
        Some((rest, master)) => (rest, Some(master)),
        None => (rest, None),
    };
    let (servers, database) = rest.split_once('/').unwrap_or((rest, ""));
    let database = match database {
        "" => 0,
        digits => digits
            .parse()
            .ok()
            .filter(|_| digits.bytes().all(|byte| byte.is_ascii_digit()))
            .ok_or_else(|| {
                format!("{} has no number of a database after the slash", quoted(text))
            })?,
    };
    let found = quoted(text);
    let server = |place: &str, port| {
        let (host, port) = value::host_and_port(place, &found, Some(port))?;
        Ok::<_, String>(Server { host, port, tls })
    };
    let list = |port| {
        let members: Result<Vec<_>, _> =
            servers.split(',').map(|place| server(place, port)).collect();
        let members = members?;
        if members.len() > MAX_MEMBERS {
            return Err(format!("{found} has more than {MAX_MEMBERS} servers; name some of them"));
        }
        Ok(members)
    };
    let location = match (named, master) {
        (Named::Server, None) => Location::Server(server(servers, PORT)?),
        (Named::Cluster, None) if database != 0 => {
            return Err(format!("{found} has a database, which a cluster has not"));
        }
        (Named::Cluster, None) => Location::Cluster(list(PORT)?),
        (Named::Server | Named::Cluster, Some(_)) => {
            return Err(format!("{found} has a name after a #, which only redis-sentinel:// has"));
        }
        (Named::Sentinel, None | Some("")) => {
            return Err(format!(
                "{found} does not name the master; write its name at the end: #mymaster"
            ));
        }
        (Named::Sentinel, Some(master)) => {
            Location::Sentinels { sentinels: list(SENTINEL_PORT)?, master: master.into() }
        }
    };
    Ok(Url { location, database, tls })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_name_a_server_or_sentinels_and_their_master() {
        let server = |host: &str, port, tls| Server { host: host.into(), port, tls };
        for (text, expected) in [
            ("redis://a", (Location::Server(server("a", 6379, false)), 0, false)),
            (
                "redis://127.0.0.1:7000/3",
                (Location::Server(server("127.0.0.1", 7000, false)), 3, false),
            ),
            ("rediss://[::1]:7000/", (Location::Server(server("::1", 7000, true)), 0, true)),
            ("valkeys://a:1", (Location::Server(server("a", 1, true)), 0, true)),
            (
                "redis-sentinel://a,b:1/2#main",
                (
                    Location::Sentinels {
                        sentinels: vec![server("a", 26379, false), server("b", 1, false)],
                        master: "main".into(),
                    },
                    2,
                    false,
                ),
            ),
            (
                "rediss-cluster://a,b:1",
                (Location::Cluster(vec![server("a", 6379, true), server("b", 1, true)]), 0, true),
            ),
        ] {
            let (location, database, tls) = expected;
            assert_eq!(url(text), Ok(Url { location, database, tls }), "{text}");
        }
        for wrong in [
            "",
            "a:6379",
            "http://a",
            "redis://",
            "redis://a:0",
            "redis://a/x",
            "redis://a/-1",
            "redis://a/0/1",
            "redis://a#main",
            "redis-sentinel://a",
            "redis-sentinel://a#",
            "redis-sentinel://a,,b#m",
            "redis://a?x=1",
            "redis-cluster://a/1",
            "redis-cluster://a#m",
        ] {
            assert!(url(wrong).is_err(), "{wrong}");
        }
        let error = url("redis://:hunter2@a:6379").unwrap_err();
        assert!(!error.contains("hunter2") && error.contains("password_file"), "{error}");
    }
}
