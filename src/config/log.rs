//! The section `log` of the config file.

use std::path::Path;

use super::file::secret_file;
use super::words::{LEVELS, LOG_FORMATS};
use super::{AccessLines, Audit, Log, forms, value};
use crate::hash_key::HashKey;
use crate::input::diagnostic::Diagnostics;
use crate::input::field::Field;
use crate::input::key::{Absent, Key, Kind, name_of, names};
use crate::input::section::{Section, set};

pub(super) const KEYS: &[Key] = &[
    Key::new(
        "level",
        Kind::Word(|| names(&LEVELS)),
        Absent::Value(|| name_of(&LEVELS, &Log::default().level)),
        "The least level of lines; access lines are not affected by it.",
    ),
    Key::new(
        "access",
        Kind::Either(&[Kind::Flag, Kind::Map(ACCESS)]),
        Absent::Value(|| (Log::default().access == AccessLines::All).to_string()),
        "One line for each request: route, verdict, rules, times. Never a body, query or token. \
         Under heavy load, a share of them.",
    ),
    Key::new(
        "audit",
        Kind::Flag,
        Absent::Value(|| "false".into()),
        "One line for each request that changes a user, a group or a token: when, by which token \
         and client, what, on which id, the names of the attributes that it sets, and how it \
         ended; never a value. These lines are not dropped: if standard error does not take \
         them, such requests are answered 503 (`limits.audit`).",
    ),
    Key::new(
        "audit_key_file",
        forms::FILE,
        Absent::Otherwise("audit lines have no hash", "audit.key"),
        "A file with a key of at least 32 characters: with it, audit lines have a keyed hash of \
         the externalId, by which a person can be followed.",
    ),
    Key::new(
        "time",
        Kind::Flag,
        Absent::Value(|| Log::default().time.to_string()),
        "Whether lines have `time`, in UTC (RFC 3339). journald and container runtimes add the \
         time themselves.",
    ),
    Key::new(
        "format",
        Kind::Word(|| names(&LOG_FORMATS)),
        Absent::Value(|| name_of(&LOG_FORMATS, &Log::default().format)),
        "`json`: one object per line, as Wire's services write them. `text`: lines for people at \
         a terminal.",
    ),
];

const ACCESS: &[Key] = &[Key::new(
    "sample",
    Kind::Share,
    Absent::Refused("0.1"),
    "The share of requests that have a line; all that were refused, failed, repaired or are \
     audited have one as well.",
)];

pub(super) fn read(
    mut section: Section<'_, '_>,
    folder: Option<&Path>,
    diagnostics: &Diagnostics,
) -> (Log, Option<Audit>) {
    let mut log = Log::default();
    set(&mut log.level, section.field("level").and_then(|field| field.choice(&LEVELS)));
    set(&mut log.access, section.field("access").and_then(read_access));
    set(&mut log.time, section.field("time").and_then(|field| field.flag()));
    set(&mut log.format, section.field("format").and_then(|field| field.choice(&LOG_FORMATS)));
    let is_audited = section.field("audit").and_then(|field| field.flag()).unwrap_or(false);
    let key_file = section.field("audit_key_file");
    let key = key_file.as_ref().and_then(|field| secret_file(field, folder, HashKey::read));
    if let Some(field) = key_file.filter(|_| !is_audited) {
        let message = "log.audit_key_file has no effect without log.audit: true";
        diagnostics.warn(field.at, message);
    }
    section.close();
    (log, is_audited.then_some(Audit { key }))
}

/// `true`, `false`, or `{sample: 0.1}`.
fn read_access(field: Field<'_, '_>) -> Option<AccessLines> {
    if !field.is_mapping() {
        let all = field.flag()?;
        return Some(if all { AccessLines::All } else { AccessLines::None });
    }
    let mut section = field.section();
    let share = section.required("sample", "write the share of requests: sample: 0.1");
    let share = share.and_then(|field| field.parsed(value::fraction));
    section.close();
    share.map(AccessLines::Sample)
}
