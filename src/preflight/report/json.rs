//! JSON lines, for programs.

use std::io::{self, Write};

use serde::Serialize;
use serde_json::value::RawValue;

use super::{Judged, Sink, Summary};
use crate::preflight::candidate::{Class, Name};
use crate::preflight::keys::On;

/// Writes a line for each entry, and one for the summary.
#[derive(Debug)]
pub struct JsonLines<W> {
    out: W,
    /// How many more entries are written.
    left: u64,
}

#[derive(Serialize)]
struct Line<'a> {
    entry: &'a Name,
    class: Class,
    user: Option<&'a RawValue>,
    ok: Option<bool>,
    rule: Option<&'static str>,
    detail: Option<&'a str>,
    conflicts: Vec<Conflict<'a>>,
    proposal: Option<&'a str>,
    reason: Option<&'a str>,
}

#[derive(Serialize)]
struct Conflict<'a> {
    on: On,
    entry: &'a Name,
}

#[derive(Serialize)]
struct Last<'a> {
    summary: &'a Summary,
}

impl<W: Write> JsonLines<W> {
    pub fn new(out: W, limit: Option<u64>) -> Self {
        Self { out, left: limit.unwrap_or(u64::MAX) }
    }

    fn write(&mut self, line: &impl Serialize) -> io::Result<()> {
        serde_json::to_writer(&mut self.out, line)?;
        self.out.write_all(b"\n")
    }
}

impl<W: Write> Sink for JsonLines<W> {
    fn line(&mut self, judged: &Judged<'_>) -> io::Result<()> {
        if self.left == 0 {
            return Ok(());
        }
        self.left -= 1;
        let candidate = judged.candidate;
        let refusal = judged.refusal();
        let line = Line {
            entry: &candidate.name,
            class: candidate.class,
            // Text that is not JSON cannot be embedded here; the rule reports it.
            user: candidate.body.as_deref().and_then(|body| serde_json::from_slice(body).ok()),
            ok: judged.verdict.as_ref().map(|verdict| verdict.refusal.is_none()),
            rule: refusal.map(|(rule, _)| rule.id()),
            detail: refusal.map(|(_, detail)| detail),
            conflicts: judged
                .conflicts
                .iter()
                .map(|(on, entry)| Conflict { on: *on, entry })
                .collect(),
            proposal: judged.proposal,
            reason: candidate.reason.as_deref(),
        };
        self.write(&line)
    }

    fn finish(&mut self, summary: &Summary) -> io::Result<()> {
        self.write(&Last { summary })
    }
}
