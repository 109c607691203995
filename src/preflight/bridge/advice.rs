//! Advice that follows from the config alone: errors with which the bridge starts and then fails,
//! and settings that are rarely intended.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::config::{BridgeConfig, DeleteOn, Placed, Search};
use super::note::{Note, Severity};
use crate::input::diagnostic::At;

/// Attributes that a search without a list of attributes does not return, with OpenLDAP.
const OPERATIONAL: [&str; 13] = [
    "memberOf",
    "entryUUID",
    "entryDN",
    "createTimestamp",
    "modifyTimestamp",
    "creatorsName",
    "modifiersName",
    "structuralObjectClass",
    "subschemaSubentry",
    "hasSubordinates",
    "pwdAccountLockedTime",
    "pwdChangedTime",
    "nsUniqueId",
];

/// Attributes of Active Directory whose values are binary.
const BINARY: [&str; 4] = ["objectGUID", "objectSid", "jpegPhoto", "thumbnailPhoto"];

/// All advice that does not depend on an entry.
pub fn advise(config: &BridgeConfig) -> Vec<Note> {
    let mut notes = Vec::new();
    mapping(config, &mut notes);
    operational(config, &mut notes);
    token(config, &mut notes);
    target(config, &mut notes);
    source(config, &mut notes);
    notes
}

/// The target that is mapped from the same attribute as `userName`.
pub fn shares_user_name(config: &BridgeConfig) -> Option<(&'static str, At)> {
    let user_name = &config.mapping.user_name.value;
    let mut others = config.mapping.pairs().filter(|(target, _)| *target != "userName");
    others.find(|(_, name)| name.value == *user_name).map(|(target, name)| (target, name.at))
}

fn mapping(config: &BridgeConfig, notes: &mut Vec<Note>) {
    let mapping = &config.mapping;
    if let Some((target, at)) = shares_user_name(config) {
        notes.push(Note::new(
            at,
            Severity::Error,
            format!(
                "mapping.userName and mapping.{target} name the same attribute; the bridge (0.10 and newer) ends \
                 with `impossible: []` at the first entry to keep, before anything is sent. Map another attribute \
                 to one of them."
            ),
        ));
    }
    if mapping.display_name.is_none() {
        notes.push(Note::warning(
            mapping.at,
            "mapping.displayName is missing; Wire shows the email address instead of a name, and the profile \
             `documented` refuses every user. Map displayName or cn.",
        ));
    }
}

fn operational(config: &BridgeConfig, notes: &mut Vec<Note>) {
    let mapped = config.mapping.pairs().map(|(target, name)| (format!("mapping.{target}"), name));
    let marks = config.delete_on.iter().map(|on| ("deleteOnAttribute.key".to_string(), &on.key));
    for (place, Placed { at, value }) in mapped.chain(marks) {
        let is_in = |names: &[&str]| names.iter().any(|name| name.eq_ignore_ascii_case(value));
        if is_in(&OPERATIONAL) {
            notes.push(Note::warning(
                *at,
                format!(
                    "{place} is {value}, which OpenLDAP treats as an operational attribute and does not return to the \
                     bridge's search; it can only be used as a filter of the search."
                ),
            ));
        } else if is_in(&BINARY) {
            notes.push(Note::warning(
                *at,
                format!("{place} is {value}, whose values are binary. Map an attribute that is a string."),
            ));
        }
    }
}

/// The name of an attribute in the form in which servers compare it.
pub fn is_plain_name(name: &str) -> bool {
    let allowed =
        |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b';' | b'_');
    name.starts_with(|c: char| c.is_ascii_alphanumeric()) && name.bytes().all(allowed)
}

fn token(config: &BridgeConfig, notes: &mut Vec<Note>) {
    let Placed { at, value } = &config.target.token;
    let text = value.reveal();
    let mut error = |message: &str| notes.push(Note::new(*at, Severity::Error, message));
    if text.trim() != text || text.contains(['\n', '\r']) {
        return error(
            "scimTarget.token has white space or a line break around it, which is sent unchanged; Wire refuses \
             every request. Write it on one line in quotes.",
        );
    }
    let Some(token) = text.strip_prefix("Bearer ") else {
        return error(
            "scimTarget.token does not begin with `Bearer `; it is sent as the whole Authorization header, and Wire \
             refuses every request. Write \"Bearer \" before the token.",
        );
    };
    if token.len() != 44 || STANDARD.decode(token).is_err() {
        error(
            "scimTarget.token is not a token of Wire, which is 44 characters of base64 after `Bearer `; Wire answers \
             401 to the first request, and the bridge ends there. Copy the whole token from Wire's team management.",
        );
    }
}

fn target(config: &BridgeConfig, notes: &mut Vec<Note>) {
    let target = &config.target;
    let Placed { at, value: path } = &target.path;
    if path.ends_with('/') {
        notes.push(Note::new(
            *at,
            Severity::Error,
            "scimTarget.path ends in a slash; the bridge appends `/Users`, and Wire answers 404 to `//Users`. Remove \
             the slash.",
        ));
    } else if !path.ends_with("/scim/v2") {
        notes.push(Note::warning(
            *at,
            "scimTarget.path does not end in /scim/v2, where Wire serves SCIM; without a guard in front that corrects \
             it, every request is answered with 404.",
        ));
    }
    let host = target.host.value.as_str();
    if host == "spar" || host.starts_with("spar.") {
        notes.push(Note::warning(
            target.host.at,
            "scimTarget.host is spar itself: requests bypass the guard. Name the guard here, with its port.",
        ));
    }
    let is_local = matches!(host, "localhost" | "::1" | "[::1]") || host.starts_with("127.");
    if !target.tls.value && !is_local {
        notes.push(Note::warning(
            target.tls.at,
            "scimTarget.tls is false: the token and everybody's data go over the network unencrypted, unless \
             something else encrypts them.",
        ));
    }
}

fn source(config: &BridgeConfig, notes: &mut Vec<Note>) {
    let directory = &config.directory;
    let Placed { at, value: host } = &directory.host;
    let is_local = matches!(&**host, "localhost" | "::1") || host.starts_with("127.");
    if !directory.tls.value && !is_local {
        let message = "ldapSource.tls is false: the password and the directory go over the network unencrypted, and \
                       Active Directory refuses to bind so. Set it to true, with the port of LDAPS (636).";
        notes.push(Note::warning(directory.tls.at, message));
    }
    if host.contains("://") || host.contains('/') {
        let message = "ldapSource.host must be a host name alone, without ldap:// or a path.";
        notes.push(Note::new(*at, Severity::Error, message));
    }
    let password = &directory.password;
    if !password.value.reveal().is_ascii() {
        notes.push(Note::warning(
            password.at,
            "ldapSource.password has characters beyond ASCII, of which the bridge sends only the low 8 bits; a server \
             that expects UTF-8 refuses it. Use a password in ASCII.",
        ));
    }
    if config.renders_all.value {
        notes.push(Note::warning(
            config.renders_all.at,
            "logLevel Debug or Trace writes whole entries, which are personal data, to the log; and values that are not valid in \
             the codec then stop the run. Use Info.",
        ));
    }
    if let Some(DeleteOn { value, .. }) = &config.delete_on
        && matches!(&*value.value, "true" | "false")
    {
        let upper = value.value.to_uppercase();
        notes.push(Note::warning(
            value.at,
            format!(
                "deleteOnAttribute.value is compared byte by byte, and LDAP servers write booleans in capitals: \
                 \"{upper}\"."
            ),
        ));
    }
    for Search { filters, .. } in std::iter::once(&config.search).chain(&config.delete_from) {
        for (name, value) in filters {
            let mut warn = |message: String| notes.push(Note::warning(name.at, message));
            let attribute = &name.value;
            if !is_plain_name(attribute) {
                warn(format!(
                    "the filter {attribute:?} is not the name of an attribute; every filter is a comparison for equality, \
                     so this one matches no entry"
                ));
            } else if value.contains('*') {
                warn(format!(
                    "the filter {attribute} has a `*`, which matches itself only: there are no wildcards"
                ));
            } else if value.starts_with('(') || value.starts_with('!') {
                warn(format!(
                    "the filter {attribute} looks like an LDAP filter expression; it is compared literally"
                ));
            }
        }
    }
}
