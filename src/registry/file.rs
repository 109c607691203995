//! The registry's file: YAML like the config, so that there is only one format to learn, entries can have
//! comments, and every error has a line and a column.
//!
//! ```yaml
//! tokens:
//!   - label: okta
//!     hash: "sha512:..."
//!     expires: 2027-06-30
//!     networks: [203.0.113.0/24]
//!     client_certificate: "dns:idp.example.com"
//!     methods: [GET, POST, PUT, PATCH]
//!     resources: [Users]
//!     identity: saml
//!     rate: 20/s
//!     repairs: [okta]
//!     deprovisioning: {at_most: 20, within: 1h}
//! ```

use std::collections::HashMap;
use std::path::Path;
use std::time::{Duration, SystemTime};

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::api::Resource;
use crate::config::repairs;
use crate::digest::StoredHash;
use crate::fingerprint;
use crate::input::diagnostic::{At, Diagnostic, Diagnostics};
use crate::input::field::Field;
pub use crate::input::load::LoadError;
use crate::input::load::read_file;
use crate::input::section::Section;
use crate::input::{value, yaml};
use crate::rate::Rate;
use crate::tls::subject::SubjectName;

use super::keys::{IDENTITIES, REGISTRY};
use super::{Entry, Methods, Resources, TokenRegistry, deprovisioning};

/// The largest file that is read, in bytes.
pub const MAX_FILE: u64 = 8 * 1024 * 1024;

/// Tokens in a registry: their labels become label values of a metric.
pub(super) const MAX_ENTRIES: usize = 10_000;

/// The longest label.
const MAX_LABEL: usize = 64;

/// Reads the file at `path`.
pub fn load(path: &Path) -> Result<TokenRegistry, LoadError> {
    read_file(path, MAX_FILE, parse)
}

/// Parses a registry. On failure the errors are in the order of the file.
///
/// A file without any entry is a registry without tokens.
pub fn parse(text: &str) -> Result<TokenRegistry, Vec<Diagnostic>> {
    let notes = Diagnostics::default();
    let (node, errors) = yaml::read(text);
    let unreadable = node.is_none() && !errors.is_empty();
    notes.add(errors);
    let mut entries = Vec::new();
    if !unreadable {
        let mut top = Section::top(node.as_ref(), &REGISTRY, &notes);
        let tokens = top.field("tokens");
        let read = tokens.as_ref().and_then(|field| field.list(|item| Some(read_entry(item))));
        top.close();
        let read = read.unwrap_or_default();
        note_repetitions(&read, &notes);
        entries = read.into_iter().filter_map(|(_, entry)| entry).collect();
    }
    let errors = notes.into_errors();
    if !errors.is_empty() {
        return Err(errors);
    }
    Ok(TokenRegistry { fingerprint: fingerprint::of([text]), ..TokenRegistry::new(entries) })
}

/// Where an entry begins, and what could be read of it.
type Read = (At, Option<Entry>);

fn read_entry(item: &Field<'_, '_>) -> Read {
    let at = item.at;
    let mut section = item.clone().section();
    let label = section.required("label", "give the token a name for logs and metrics");
    let label = label.and_then(|field| field.parsed(|text| read_label(text).map(str::to_owned)));
    let hash = section
        .required("hash", "write the hash of the token, as `wire-scim-guard token hash` prints it");
    let hash = hash.and_then(|field| field.parsed(|text| Ok(StoredHash::parse(text)?)));
    let expires = section.field("expires").and_then(|field| field.parsed(read_time));
    let networks = section.field("networks").and_then(|field| {
        field.filled_list("leave it out to allow all networks", |item| item.parsed(value::network))
    });
    let client_certificate =
        section.field("client_certificate").and_then(|field| field.parsed(SubjectName::parse));
    let methods = section.field("methods").and_then(|field| {
        field.filled_list("leave it out to allow all methods", |item| item.parsed(read_method))
    });
    let resources = section.field("resources").and_then(|field| {
        field.filled_list("leave it out to allow all resources", |item| {
            item.choice(&Resource::NAMED)
        })
    });
    let identity = section.field("identity").and_then(|field| field.choice(&IDENTITIES));
    let rate = section.field("rate").and_then(|field| field.parsed(read_rate));
    let repairs = section.field("repairs").and_then(|field| repairs::read(&field));
    let deprovisioning = section.field("deprovisioning").and_then(deprovisioning::read);
    section.close();
    let entry = label.zip(hash).map(|(label, hash)| Entry {
        expires,
        networks: networks.map(|list| list.into_iter().map(|(_, network)| network).collect()),
        client_certificate,
        methods: methods.map_or(Methods::ALL, union),
        resources: resources.map_or(Resources::ALL, |list| Resources {
            users: list.iter().any(|(_, one)| *one == Resource::Users),
            groups: list.iter().any(|(_, one)| *one == Resource::Groups),
        }),
        identity,
        rate,
        repairs,
        deprovisioning,
        ..Entry::new(&label, hash)
    });
    (at, entry)
}

/// Two entries with the same label could not be distinguished in logs, and of two for the same
/// token only the first would apply.
fn note_repetitions(read: &[Read], notes: &Diagnostics) {
    let mut labels = HashMap::new();
    let mut hashes = HashMap::new();
    for (at, entry) in read {
        let Some(entry) = entry else { continue };
        let label = entry.label.as_str();
        if let Some(first) = labels.insert(label, at.line) {
            notes.error(*at, format!("the label {label} is given twice; first on line {first}"));
        }
        if let Some(first) = hashes.insert(entry.hash.to_string(), at.line) {
            notes.error(*at, format!("the hash of {label} is given twice; first on line {first}"));
        }
    }
}

fn read_method(text: &str) -> Result<Methods, String> {
    Methods::named(text).ok_or_else(|| {
        let found = value::quoted(text);
        format!("{found} is none of: {}", Methods::NAMES.join(", "))
    })
}

fn union(list: Vec<(At, Methods)>) -> Methods {
    list.into_iter().map(|(_, one)| one).fold(Methods::NONE, Methods::and)
}

/// A label: short, and made of characters that need no escaping anywhere.
///
/// SECURITY: the error does not repeat the text, which may be a token that was pasted here.
fn read_label(text: &str) -> Result<&str, String> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    if (1..=MAX_LABEL).contains(&text.len()) && text.bytes().all(allowed) {
        return Ok(text);
    }
    Err(format!("a label has 1 to {MAX_LABEL} characters out of a-z A-Z 0-9 . _ -"))
}

/// A time in the format of RFC 3339, or a day, which counts to its end.
pub(crate) fn read_time(text: &str) -> Result<SystemTime, String> {
    let time = |text: &str| OffsetDateTime::parse(text, &Rfc3339).ok().map(SystemTime::from);
    // The end of 9999-12-31, which people write for "never", is not representable as a date, but as
    // a time.
    let day = || time(&format!("{text}T00:00:00Z"))?.checked_add(Duration::from_secs(86_400));
    let read = if text.len() == "2027-06-30".len() { day() } else { time(text) };
    read.ok_or_else(|| {
        format!(
            "{} is not a time; write a day such as 2027-06-30, which counts to its end in UTC, or \
             2027-06-30T12:00:00Z",
            value::quoted(text)
        )
    })
}

/// Requests in a second, a minute or an hour, and as many at once.
fn read_rate(text: &str) -> Result<Rate, String> {
    let parts = text.split_once('/').and_then(|(count, unit)| {
        let seconds = match unit {
            "s" => 1,
            "m" => 60,
            "h" => 3600,
            _ => return None,
        };
        let digits = count.bytes().all(|byte| byte.is_ascii_digit());
        let count =
            count.parse::<u32>().ok().filter(|count| digits && (1..=1_000_000).contains(count));
        Some((count?, Duration::from_secs(seconds)))
    });
    parts.map(|(count, period)| Rate::new(count, period)).ok_or_else(|| {
        format!(
            "{} is not a rate; write 1 to 1000000 requests in a second, a minute or an hour, such as 20/s or 600/m",
            value::quoted(text)
        )
    })
}

#[cfg(test)]
mod tests;
