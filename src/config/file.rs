//! The config file: YAML text to a [`Config`], or every mistake in it at once.

use std::fmt;
use std::fs::FileType;
use std::io::{self, Read};
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

pub use super::diagnostic::Diagnostic;
use super::diagnostic::{At, Diagnostics};
use super::reader::{Field, Section};
use super::words::{IDENTITIES, LEVELS, PATH_POLICIES};
use super::{
    Config, RefusalCacheSettings, Server, UpstreamCheck, ZHeaders, limits, rules, value, warnings,
    yaml,
};
use crate::policy::{Identity, Policy, Profile};
use crate::release::Releases;
use crate::secret;

/// The characters of rich info that `wire.rich_info_limit` may allow.
const RICH_INFO_LIMIT: std::ops::RangeInclusive<u64> = 0..=1_000_000;

/// The largest file that is read, in bytes.
const MAX_FILE: u64 = 1024 * 1024;

/// What the command line says in place of the file.
#[derive(Debug, Clone, Copy, Default)]
pub struct Overrides {
    pub profile: Option<Profile>,
    pub identity: Option<Identity>,
    pub releases: Option<Releases>,
}

/// Why a file gives no config.
#[derive(Debug)]
pub enum LoadError {
    Unreadable {
        path: PathBuf,
        source: io::Error,
    },
    TooLarge {
        path: PathBuf,
        most: u64,
    },
    /// It is not what is read there.
    Unread {
        path: PathBuf,
        why: String,
    },
    Mistakes {
        path: PathBuf,
        mistakes: Vec<Diagnostic>,
    },
}

impl fmt::Display for LoadError {
    /// One line for each mistake, in the form that editors jump to.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::Unreadable { path, .. }
        | Self::TooLarge { path, .. }
        | Self::Unread { path, .. }
        | Self::Mistakes { path, .. }) = self;
        // SECURITY: a token may have been written where a path belongs.
        let path = secret::blotted(&path.display().to_string());
        match self {
            Self::Unreadable { source, .. } => write!(f, "{path}: cannot be read: {source}"),
            Self::TooLarge { most, .. } => {
                let most = value::size_text(*most);
                write!(f, "{path}: is larger than {most}, the most that is read here")
            }
            Self::Unread { why, .. } => write!(f, "{path}: {why}"),
            Self::Mistakes { mistakes, .. } => {
                for (index, mistake) in mistakes.iter().enumerate() {
                    let end = if index == 0 { "" } else { "\n" };
                    write!(f, "{end}{path}:{mistake}")?;
                }
                Ok(())
            }
        }
    }
}

impl std::error::Error for LoadError {}

/// Reads the file at `path`, as far as it can be read, and what is wrong with it. A config that comes with
/// an error is good only for being looked at further. Relative paths in it begin at the file's own folder.
pub fn load(path: &Path, overrides: Overrides) -> (Option<Config>, Option<LoadError>) {
    let folder = path.parent().unwrap_or(Path::new(""));
    let notes = Diagnostics::default();
    let read = read_file(path, MAX_FILE, |text| Ok(read(text, Some(folder), overrides, &notes)));
    match read {
        Err(error) => (None, Some(error)),
        Ok(config) => {
            let mistakes = notes.into_mistakes();
            let error = LoadError::Mistakes { path: path.into(), mistakes };
            let wrong =
                matches!(&error, LoadError::Mistakes { mistakes, .. } if !mistakes.is_empty());
            (config, wrong.then_some(error))
        }
    }
}

/// Reads a whole text file of at most so many bytes, and what it says. It has to be a regular one, or a
/// link to one.
pub(crate) fn read_file<T>(
    path: &Path,
    most: u64,
    parse: impl FnOnce(&str) -> Result<T, Vec<Diagnostic>>,
) -> Result<T, LoadError> {
    let unreadable = |source| LoadError::Unreadable { path: path.into(), source };
    // SECURITY: reading a pipe or a terminal waits for whoever writes to it, and a device may have no end.
    let kind = std::fs::metadata(path).map_err(unreadable)?.file_type();
    if let Some(what) = irregular(kind) {
        let why = format!("this is {what}, and only regular files are read");
        return Err(LoadError::Unread { path: path.into(), why });
    }
    read_any(path, most, parse)
}

/// As [`read_file`], from whatever can be read, such as a pipe from another program.
pub(crate) fn read_any<T>(
    path: &Path,
    most: u64,
    parse: impl FnOnce(&str) -> Result<T, Vec<Diagnostic>>,
) -> Result<T, LoadError> {
    let unreadable = |source| LoadError::Unreadable { path: path.into(), source };
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).map_err(unreadable)?;
    file.take(most + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > most {
        return Err(LoadError::TooLarge { path: path.into(), most });
    }
    let mistakes = |mistakes| LoadError::Mistakes { path: path.into(), mistakes };
    let text = String::from_utf8(bytes).map_err(|error| mistakes(vec![not_text(&error)]))?;
    parse(&text).map_err(mistakes)
}

/// What a file is called that is no regular one.
fn irregular(kind: FileType) -> Option<&'static str> {
    match kind {
        kind if kind.is_file() => None,
        kind if kind.is_dir() => Some("a folder"),
        kind if kind.is_fifo() => Some("a pipe (FIFO)"),
        kind if kind.is_socket() => Some("a socket"),
        _ => Some("a device"),
    }
}

fn not_text(error: &std::string::FromUtf8Error) -> Diagnostic {
    let valid = error.utf8_error().valid_up_to();
    let before = String::from_utf8_lossy(&error.as_bytes()[..valid]);
    Diagnostic::new(At::of(&before, valid), "this is not UTF-8; save the file as UTF-8")
}

/// Reads a config. On failure the mistakes are in the order of the text.
pub fn parse(text: &str) -> Result<Config, Vec<Diagnostic>> {
    parse_with(text, Overrides::default())
}

/// As [`parse`], with what the command line says in place of the text.
pub fn parse_with(text: &str, overrides: Overrides) -> Result<Config, Vec<Diagnostic>> {
    let notes = Diagnostics::default();
    let config = read(text, None, overrides, &notes);
    let mistakes = notes.into_mistakes();
    match config {
        Some(config) if mistakes.is_empty() => Ok(config),
        _ => Err(mistakes),
    }
}

/// Reads what can be read. A config that comes with mistakes in `notes` is not to be used. The files that
/// it names are looked for if it is known in which folder.
fn read(
    text: &str,
    folder: Option<&Path>,
    overrides: Overrides,
    notes: &Diagnostics,
) -> Option<Config> {
    let (node, mistakes) = yaml::read(text);
    let unreadable = node.is_none() && !mistakes.is_empty();
    notes.add(mistakes);
    if unreadable {
        return None;
    }
    let mut top = Section::top(node.as_ref(), notes);
    let listen =
        top.required("listen", "write where clients connect: listen: [\"127.0.0.1:8080\"]");
    let listen = listen.and_then(|field| {
        field.filled_list("give one address at least", |item| item.parsed(value::listener))
    });
    let (upstream, check) = read_upstream(top.section("upstream"));
    let mut config = Config::new(values(&listen), values(&upstream));
    config.upstream_check = check;

    let mut admin = top.section("admin");
    let written = admin.field("listen");
    let own = written.as_ref().and_then(|field| field.parsed(value::listener));
    set(&mut config.admin, own);
    if own.is_some() == written.is_some() {
        let at = written.map(|field| field.at);
        check_addresses(listen.as_deref(), upstream.as_deref(), (config.admin, at), notes);
    }
    admin.close();

    let threads = top.field("threads").and_then(|field| field.count(1..=1024));
    set(&mut config.threads, threads.and_then(|threads| usize::try_from(threads).ok()));
    let passage = |field: Field<'_, '_>| field.choice(&PATH_POLICIES);
    set(&mut config.other_paths, top.field("other_paths").and_then(passage));
    set(&mut config.auth_tokens, top.field("auth_tokens").and_then(passage));
    set(&mut config.z_headers, top.field("z_headers").and_then(read_z_headers));

    let identity = top.field("identity").and_then(|field| field.choice(&IDENTITIES));
    let identity = overrides.identity.or(identity).unwrap_or(Identity::Any);
    config.policy = rules::read(top.section("rules"), overrides.profile, identity);
    read_wire(top.section("wire"), &mut config.policy);
    set(&mut config.policy.releases, overrides.releases);

    config.schemas = top.field("schemas").and_then(|field| named(&field, folder));
    let hosts = top.field("hosts").and_then(|field| field.list(|item| item.parsed(value::host)));
    set(&mut config.hosts, hosts);
    let proxies = top.field("trusted_proxies");
    let proxies = proxies.and_then(|field| field.list(|item| item.parsed(value::network)));
    set(&mut config.trusted_proxies, proxies);

    config.tokens = top.field("tokens").and_then(|field| named(&field, folder));
    let (shield, tuned) = read_shield(top.section("shield"));
    config.shield = shield;
    set(&mut config.map_420, top.field("map_420").and_then(|field| field.flag()));

    let mut log = top.section("log");
    set(&mut config.log.level, log.field("level").and_then(|field| field.choice(&LEVELS)));
    set(&mut config.log.access, log.field("access").and_then(|field| field.flag()));
    log.close();

    config.limits = limits::read(top.section("limits"), notes);
    top.close();
    warnings::find(&config, listen.as_deref().unwrap_or_default(), tuned, notes);
    config.warnings = notes.warnings();
    Some(config)
}

/// The path of a file or folder beside this one, which has to be there.
fn named(field: &Field<'_, '_>, folder: Option<&Path>) -> Option<PathBuf> {
    let path = field.parsed(value::file)?;
    let Some(folder) = folder else { return Some(path) };
    let path = folder.join(path);
    match std::fs::metadata(&path) {
        Ok(_) => Some(path),
        Err(error) => {
            field.mistake(format_args!("{} cannot be read: {error}", path.display()));
            None
        }
    }
}

pub(super) fn set<T>(place: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *place = value;
    }
}

type Upstream = (Option<Vec<(At, Server)>>, Option<UpstreamCheck>);

/// What is known of the Wire backend.
fn read_wire(mut section: Section<'_, '_>, policy: &mut Policy) {
    let releases = section.field("release").and_then(|field| field.string(value::releases));
    set(&mut policy.releases, releases);
    let limit = section.field("rich_info_limit").and_then(|field| field.count(RICH_INFO_LIMIT));
    set(&mut policy.rich_info_limit, limit.and_then(|limit| usize::try_from(limit).ok()));
    section.close();
}

fn read_upstream(mut upstream: Section<'_, '_>) -> Upstream {
    let servers = upstream
        .required("servers", "write where Wire listens: upstream: {servers: [\"nginz:8080\"]}");
    let servers = servers.and_then(|field| {
        field.filled_list("give one server at least", |item| item.parsed(value::server))
    });
    let check = upstream.field("check").and_then(|field| read_check(field.section()));
    upstream.close();
    (servers, check)
}

fn read_check(mut section: Section<'_, '_>) -> Option<UpstreamCheck> {
    let path = section.required("path", "write what a well server answers: path: /status");
    let path = path.and_then(|field| field.parsed(value::path));
    let mut every = Duration::from_secs(5);
    let second = Duration::from_secs(1);
    set(
        &mut every,
        section.field("every").and_then(|field| field.duration(second..=3600 * second)),
    );
    section.close();
    path.map(|path| UpstreamCheck { path, every })
}

/// The settings, and where the count of failures is set to another value than the default.
fn read_shield(mut section: Section<'_, '_>) -> (RefusalCacheSettings, Option<At>) {
    let default = RefusalCacheSettings::default();
    let mut shield = default;
    let hour = Duration::from_secs(3600);
    let refused_for = section.field("refused_for");
    set(
        &mut shield.refused_for,
        refused_for.and_then(|field| field.duration(Duration::ZERO..=hour)),
    );
    let failures = section.field("failures");
    let count = failures.as_ref().and_then(|field| field.count(1..=1_000_000));
    set(&mut shield.failures, count.and_then(|count| u32::try_from(count).ok()));
    let window = section.field("window");
    let time = window.as_ref().and_then(|field| field.duration(Duration::from_secs(1)..=hour));
    set(&mut shield.window, time);
    shield.by_address = section.field("by_address").and_then(|field| field.flag());
    section.close();
    let failures = failures.filter(|_| shield.failures != default.failures);
    let window = window.filter(|_| shield.window != default.window);
    (shield, failures.or(window).map(|field| field.at))
}

/// `strip`, or `{keep_from: [networks]}`.
fn read_z_headers(field: Field<'_, '_>) -> Option<ZHeaders> {
    if !field.is_mapping() {
        return field.parsed(|text| match text {
            "strip" => Ok(ZHeaders::Strip),
            _ => Err(format!(
                "{} is neither strip nor {{keep_from: [networks]}}",
                value::quoted(text)
            )),
        });
    }
    let mut section = field.section();
    let networks = section.required("keep_from", "name the networks, or write z_headers: strip");
    let networks = networks.and_then(|field| {
        field.filled_list("write z_headers: strip to keep none", |item| item.parsed(value::network))
    });
    section.close();
    networks.is_some().then(|| ZHeaders::KeepFrom(values(&networks)))
}

/// The items of a list without their places.
fn values<T: Clone>(list: &Option<Vec<(At, T)>>) -> Vec<T> {
    list.iter().flatten().map(|(_, value)| value.clone()).collect()
}

/// Addresses that cannot stand beside each other.
fn check_addresses(
    listen: Option<&[(At, SocketAddr)]>,
    upstream: Option<&[(At, Server)]>,
    (admin, admin_at): (SocketAddr, Option<At>),
    notes: &Diagnostics,
) {
    let listen = listen.unwrap_or_default();
    for (index, (at, address)) in listen.iter().enumerate() {
        if let Some((_, other)) = listen[..index].iter().find(|(_, o)| overlap(*o, *address)) {
            let message =
                format!("listen: {address} and {other} take the same port; keep one of them");
            notes.mistake(*at, message);
        }
        if overlap(*address, admin) {
            let message = format!(
                "listen ({address}) and admin.listen ({admin}) take the same port; metrics and \
                 probes need a port of their own"
            );
            notes.mistake(admin_at.unwrap_or(*at), message);
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
            notes.mistake(*at, message);
        }
    }
}

/// Whether two listeners cannot be open at one time. `[::]` stands for all IPv4 addresses as well.
fn overlap(a: SocketAddr, b: SocketAddr) -> bool {
    let covers =
        |a: SocketAddr, b: SocketAddr| a.ip().is_unspecified() && (a.is_ipv6() || b.is_ipv4());
    a.port() == b.port() && (a.ip() == b.ip() || covers(a, b) || covers(b, a))
}

#[cfg(test)]
mod tests;
