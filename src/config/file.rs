//! The config file: YAML text to a [`Config`], or every error in it at once.

use std::path::{Path, PathBuf};

use super::addresses::check_addresses;
use super::words::{IDENTITIES, PATH_POLICIES};
use super::{
    Config, KEYS, RefusalCacheSettings, Tracing, ZHeaders, deprovisioning, limits, listen, log,
    repairs, rules, shared, upstream, value, warnings,
};
use crate::admin::AdminToken;
use crate::fingerprint;
use crate::fraction::Fraction;
use crate::input::diagnostic::{At, Diagnostic, Diagnostics};
use crate::input::field::Field;
use crate::input::load::{LoadError, read_file};
use crate::input::section::{Section, set};
use crate::input::value::{network, quoted};
use crate::input::yaml;
use crate::policy::{Action, Identity, Policy, Profile};
use crate::release::Releases;
use crate::repair::Repairs;

/// The largest file that is read, in bytes.
const MAX_FILE: u64 = 1024 * 1024;

/// The largest file with a key or a token that is read, in bytes.
const MAX_SECRET: u64 = 64 * 1024;

/// Settings that the command line overrides.
#[derive(Debug, Clone, Copy, Default)]
pub struct Overrides {
    pub profile: Option<Profile>,
    pub identity: Option<Identity>,
    pub releases: Option<Releases>,
    pub repairs: Option<Repairs>,
}

/// Reads the file at `path`, as far as it can be read, and its errors. A config with errors may
/// only be examined further, not used. Relative paths in it are relative to the file's folder.
pub fn load(path: &Path, overrides: Overrides) -> (Option<Config>, Option<LoadError>) {
    let folder = path.parent().unwrap_or(Path::new(""));
    let diagnostics = Diagnostics::default();
    let read = read_file(path, MAX_FILE, |text| {
        let config = read(text, Some(folder), overrides, &diagnostics);
        Ok(config.map(|config| Config { file: Some(path.into()), ..config }))
    });
    match read {
        Err(error) => (None, Some(error)),
        Ok(config) => {
            let errors = diagnostics.into_errors();
            let error = LoadError::Invalid { path: path.into(), errors };
            let wrong = matches!(&error, LoadError::Invalid { errors, .. } if !errors.is_empty());
            (config, wrong.then_some(error))
        }
    }
}

/// Reads a config. On failure the errors are in the order of the text.
pub fn parse(text: &str) -> Result<Config, Vec<Diagnostic>> {
    parse_with(text, Overrides::default())
}

/// As [`parse`], with what the command line overrides.
pub fn parse_with(text: &str, overrides: Overrides) -> Result<Config, Vec<Diagnostic>> {
    let diagnostics = Diagnostics::default();
    let config = read(text, None, overrides, &diagnostics);
    let errors = diagnostics.into_errors();
    match config {
        Some(config) if errors.is_empty() => Ok(config),
        _ => Err(errors),
    }
}

/// Reads what can be read. A config that comes with errors in `diagnostics` must not be used. The
/// files that it names are checked if the folder is known.
fn read(
    text: &str,
    folder: Option<&Path>,
    overrides: Overrides,
    diagnostics: &Diagnostics,
) -> Option<Config> {
    let (node, errors) = yaml::read(text);
    let unreadable = node.is_none() && !errors.is_empty();
    diagnostics.add(errors);
    if unreadable {
        return None;
    }
    let mut top = Section::top(node.as_ref(), &KEYS, diagnostics);
    let listen =
        top.required("listen", "write where clients connect: listen: [\"127.0.0.1:8080\"]");
    let listen = listen.and_then(|field| {
        field.filled_list("give one address at least", |item| listen::read(item, folder))
    });
    let upstream = upstream::read(top.section("upstream"), folder);
    let servers = upstream.servers;
    let mut config = Config::new(Vec::new(), values(&servers));
    config.listen = values(&listen);
    config.upstream_check = upstream.check;
    config.upstream_host = upstream.host;
    config.upstream_tls = upstream.tls;

    let mut admin = top.section("admin");
    let written = admin.field("listen");
    let own = written.as_ref().and_then(|field| field.parsed(value::listener));
    set(&mut config.admin, own);
    let token_file = admin.field("token_file");
    config.admin_token =
        token_file.as_ref().and_then(|field| secret_file(field, folder, AdminToken::read));
    if let (Some(field), None) = (&written, token_file)
        && !config.admin.ip().to_canonical().is_loopback()
    {
        let message = "admin.listen can be reached from other machines, and everybody there can read what was \
                       refused to whom; give it a token with admin: {token_file: FILE}, or a loopback address";
        diagnostics.warn(field.at, message);
    }
    if own.is_some() == written.is_some() {
        let at = written.map(|field| field.at);
        check_addresses(listen.as_deref(), servers.as_deref(), (config.admin, at), diagnostics);
    }
    config.admin_tls = admin.field("tls").map(|field| listen::read_tls(field.section(), folder));
    admin.close();

    let threads = top.field("threads").and_then(|field| field.count());
    set(&mut config.threads, threads.and_then(|threads| usize::try_from(threads).ok()));
    let passage = |field: Field<'_, '_>| field.choice(&PATH_POLICIES);
    set(&mut config.other_paths, top.field("other_paths").and_then(passage));
    set(&mut config.auth_tokens, top.field("auth_tokens").and_then(passage));
    set(&mut config.z_headers, top.field("z_headers").and_then(read_z_headers));

    let identity = top.field("identity").and_then(|field| field.choice(&IDENTITIES));
    let identity = overrides.identity.or(identity).unwrap_or(Identity::Any);
    let (policy, mode) = rules::read(top.section("rules"), overrides.profile, identity);
    config.policy = policy;
    let repairing = top.field("repairs");
    let chosen = repairing.as_ref().and_then(repairs::read);
    let chosen = overrides.repairs.or(chosen);
    let is_judged = mode != Some(Action::Off);
    config.repairs = is_judged.then(|| chosen.unwrap_or_default());
    read_wire(top.section("wire"), &mut config.policy);
    set(&mut config.policy.releases, overrides.releases);

    config.schemas = top.field("schemas").and_then(|field| named(&field, folder));
    let hosts = top.field("hosts").and_then(|field| field.list(|item| item.parsed(value::host)));
    set(&mut config.hosts, hosts);
    let proxies = top.field("trusted_proxies");
    let proxies = proxies.and_then(|field| field.list(|item| item.parsed(network)));
    set(&mut config.trusted_proxies, proxies);

    let tokens = top.field("tokens");
    let registered = tokens.as_ref().map(|field| field.at);
    config.tokens = tokens.and_then(|field| named(&field, folder));
    let (shield, tuned) = read_shield(top.section("shield"));
    config.shield = shield;
    let removals = top.field("deprovisioning");
    let limited = removals.as_ref().map(|field| field.at);
    config.deprovisioning = removals.and_then(deprovisioning::read);
    config.shared = top.field("shared").and_then(|field| shared::read(field, folder, diagnostics));
    set(&mut config.map_420, top.field("map_420").and_then(|field| field.flag()));

    (config.log, config.audit) = log::read(top.section("log"), folder, diagnostics);
    let mut metrics = top.section("metrics");
    let wire_dashboard = metrics.field("wire_dashboard").and_then(|field| field.flag());
    set(&mut config.metrics.wire_dashboard, wire_dashboard);
    metrics.close();

    config.tracing = top.field("tracing").and_then(read_tracing);
    config.limits = limits::read(top.section("limits"), diagnostics);

    let mut reload = top.section("reload");
    set(&mut config.reload_watch, reload.field("watch").and_then(|field| field.flag()));
    reload.close();
    top.close();
    let idle = repairing.filter(|_| !is_judged && chosen.is_some_and(|chosen| !chosen.is_empty()));
    let idle = idle.map(|field| field.at);
    warnings::find(&config, listen.as_deref().unwrap_or_default(), tuned, idle, diagnostics);
    if let Some(at) = registered {
        warnings::find_idle_registry(&config, at, diagnostics);
    }
    if let Some(at) = limited {
        warnings::find_idle_limit(&config, at, diagnostics);
    }
    config.warnings = diagnostics.warnings();
    config.secret_files = diagnostics.files();
    config.fingerprint = fingerprint::of([text]);
    Some(config)
}

/// The path of a file or folder beside this one, which has to be there.
pub(super) fn named(field: &Field<'_, '_>, folder: Option<&Path>) -> Option<PathBuf> {
    named_or_missing(field, folder).filter(|path| folder.is_none() || path.exists())
}

/// As [`named`], but the path is returned even if the file is missing, which is noted: what belongs to the file is looked
/// at all the same.
pub(super) fn named_or_missing(field: &Field<'_, '_>, folder: Option<&Path>) -> Option<PathBuf> {
    let path = field.parsed(value::file)?;
    let Some(folder) = folder else { return Some(path) };
    let path = folder.join(path);
    if let Err(error) = std::fs::metadata(&path) {
        field.error(format_args!("{} cannot be read: {error}", path.display()));
    }
    Some(path)
}

/// The content of a file that only the guard should be able to read. Without the folder, nothing is
/// read.
pub(super) fn secret_file<T>(
    field: &Field<'_, '_>,
    folder: Option<&Path>,
    read: impl FnOnce(&str) -> Result<T, String>,
) -> Option<T> {
    let path = named_or_missing(field, folder)?;
    folder?;
    field.note_file(&path);
    if !path.exists() {
        return None;
    }
    match read_file(&path, MAX_SECRET, |text| Ok(read(text))) {
        Ok(Ok(secret)) => Some(secret),
        Ok(Err(why)) => {
            field.error(format_args!("{} {why}", path.display()));
            None
        }
        Err(error) => {
            field.error(error);
            None
        }
    }
}

/// What is known of the Wire backend.
fn read_wire(mut section: Section<'_, '_>, policy: &mut Policy) {
    let releases = section.field("release").and_then(|field| field.string(value::releases));
    set(&mut policy.releases, releases);
    let limit = section.field("rich_info_limit").and_then(|field| field.count());
    set(&mut policy.rich_info_limit, limit.and_then(|limit| usize::try_from(limit).ok()));
    section.close();
}

/// The settings, and where the number of failures is set to a value other than the default.
fn read_shield(mut section: Section<'_, '_>) -> (RefusalCacheSettings, Option<At>) {
    let default = RefusalCacheSettings::default();
    let mut shield = default;
    let refused_for = section.field("refused_for");
    set(&mut shield.refused_for, refused_for.and_then(|field| field.duration()));
    let failures = section.field("failures");
    let count = failures.as_ref().and_then(Field::count);
    set(&mut shield.failures, count.and_then(|count| u32::try_from(count).ok()));
    let window = section.field("window");
    let time = window.as_ref().and_then(Field::duration);
    set(&mut shield.window, time);
    shield.by_address = section.field("by_address").and_then(|field| field.flag());
    section.close();
    let failures = failures.filter(|_| shield.failures != default.failures);
    let window = window.filter(|_| shield.window != default.window);
    (shield, failures.or(window).map(|field| field.at))
}

/// `{otlp: URL, sample: 0.1}`.
fn read_tracing(field: Field<'_, '_>) -> Option<Tracing> {
    if cfg!(not(feature = "otlp")) {
        field.error("this program was built without it (feature otlp); leave it out");
        return None;
    }
    let mut section = field.section();
    let otlp = section
        .required("otlp", "write the collector's URL: otlp: \"http://127.0.0.1:4318\"")
        .and_then(|field| field.parsed(value::collector));
    let sample = section.field("sample").and_then(|field| field.parsed(value::fraction));
    section.close();
    otlp.map(|otlp| Tracing { otlp, sample: sample.unwrap_or(Fraction::ALL) })
}

/// `strip`, or `{keep_from: [networks]}`.
fn read_z_headers(field: Field<'_, '_>) -> Option<ZHeaders> {
    if !field.is_mapping() {
        return field.parsed(|text| match text {
            "strip" => Ok(ZHeaders::Strip),
            _ => Err(format!("{} is neither strip nor {{keep_from: [networks]}}", quoted(text))),
        });
    }
    let mut section = field.section();
    let networks = section.required("keep_from", "name the networks, or write z_headers: strip");
    let networks = networks.and_then(|field| {
        field.filled_list("write z_headers: strip to keep none", |item| item.parsed(network))
    });
    section.close();
    networks.is_some().then(|| ZHeaders::KeepFrom(values(&networks)))
}

/// The items of a list without their positions.
fn values<T: Clone>(list: &Option<Vec<(At, T)>>) -> Vec<T> {
    list.iter().flatten().map(|(_, value)| value.clone()).collect()
}

#[cfg(test)]
mod tests;
