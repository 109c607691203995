//! CSV, for spreadsheets.

use std::io::{self, Write};

use super::{Judged, Sink, Summary};

/// Writes a row for each entry. The summary is not part of it.
#[allow(missing_debug_implementations, reason = "the writer has none")]
pub struct Rows<W: Write> {
    out: csv::Writer<W>,
    left: u64,
}

const COLUMNS: [&str; 12] = [
    "entry",
    "class",
    "ok",
    "rule",
    "detail",
    "userName",
    "externalId",
    "displayName",
    "email",
    "conflicts",
    "proposal",
    "reason",
];

impl<W: Write> Rows<W> {
    pub fn new(out: W, limit: Option<u64>) -> io::Result<Self> {
        let mut out = csv::Writer::from_writer(out);
        out.write_record(COLUMNS)?;
        Ok(Self { out, left: limit.unwrap_or(u64::MAX) })
    }
}

impl<W: Write> Sink for Rows<W> {
    fn line(&mut self, judged: &Judged<'_>) -> io::Result<()> {
        if self.left == 0 {
            return Ok(());
        }
        self.left -= 1;
        let candidate = judged.candidate;
        let known = &candidate.identifiers;
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        let conflicts =
            judged.conflicts.iter().map(|(on, name)| format!("{}: {name}", on.as_str()));
        let ok = judged.verdict.as_ref().map(|verdict| verdict.refusal.is_none());
        let row = [
            candidate.name.to_string(),
            candidate.class.as_str().into(),
            ok.map_or_else(String::new, |ok| ok.to_string()),
            judged.refusal().map_or("", |(rule, _)| rule.id()).into(),
            judged.refusal().map_or("", |(_, detail)| detail).into(),
            text(&known.user_name),
            text(&known.external_id),
            text(&known.display_name),
            text(&known.email),
            conflicts.collect::<Vec<_>>().join("\n"),
            judged.proposal.unwrap_or_default().into(),
            text(&candidate.reason),
        ];
        self.out.write_record(row.map(harmless)).map_err(io::Error::from)
    }

    fn finish(&mut self, _: &Summary) -> io::Result<()> {
        self.out.flush()
    }
}

/// SECURITY: a spreadsheet would run a value that begins like a formula, and anyone may have
/// written it into the directory.
fn harmless(cell: String) -> String {
    if cell.starts_with(['=', '+', '-', '@', '\t', '\r']) { format!("'{cell}") } else { cell }
}
