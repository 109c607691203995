//! The section `log` of the config file.

use std::path::Path;

use super::file::secret_file;
use super::words::{LEVELS, LOG_FORMATS};
use super::{AccessLines, Audit, Log, value};
use crate::hash_key::HashKey;
use crate::input::diagnostic::Diagnostics;
use crate::input::field::Field;
use crate::input::section::{Section, set};

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
