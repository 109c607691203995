//! The audit line of one request, while the request is in progress.

use http::StatusCode;
use uuid::Uuid;

use crate::body;
use crate::timestamp::Timestamp;

use super::line::{AuditLine, Outcome};
use super::queue::Slot;
use super::{Action, Contents, Resource};

/// The maximum size of an answer that is read, in bytes, after decompression.
const MAX_ANSWER: usize = 256 * 1024;

/// The line, which is written when this is dropped, so also if the request is aborted.
#[derive(Debug)]
pub struct Entry {
    slot: Option<Slot>,
    line: Option<AuditLine>,
}

impl Entry {
    pub(super) fn new(slot: Slot, action: Action, resource: Resource) -> Self {
        let line = AuditLine {
            level: "Info",
            msgs: ["audit"],
            time: Timestamp::now(),
            request: String::new(),
            token: None,
            client: None,
            action,
            resource,
            id: None,
            attributes: Vec::new(),
            person: None,
            repaired: Vec::new(),
            outcome: Outcome::Unknown,
            status: None,
            rule: None,
        };
        Self { slot: Some(slot), line: Some(line) }
    }

    /// Records who sends the request, and the id that its target names.
    pub fn sent_by(
        &mut self,
        request_id: &str,
        token: Option<&str>,
        client: Option<std::net::IpAddr>,
        target: &[u8],
    ) {
        let Some(line) = &mut self.line else { return };
        line.request = request_id.to_owned();
        line.token = token.map(str::to_owned);
        line.client = client;
        line.id = id_in(target);
    }

    /// Records what the body sets.
    pub fn sets(&mut self, contents: Contents) {
        let Some(line) = &mut self.line else { return };
        let Contents { attributes, active, person } = contents;
        line.action = match (line.action, active) {
            (Action::Replace | Action::Patch, Some(false)) => Action::Deactivate,
            (Action::Patch, Some(true)) => Action::Reactivate,
            (action, _) => action,
        };
        line.attributes = attributes;
        line.person = person;
    }

    /// Records the id of a created resource from Wire's answer.
    ///
    /// SECURITY: the answer to the creation of a token contains the token, and is not read.
    pub fn answered(&mut self, status: StatusCode, encoding: Option<&[u8]>, body: &[u8]) {
        let Some(line) = &mut self.line else { return };
        let is_created = line.action == Action::Create && status.is_success();
        if !is_created || line.resource == Resource::Token {
            return;
        }
        let gzip = match encoding {
            None => false,
            Some(b"gzip") => true,
            Some(_) => return,
        };
        #[derive(serde::Deserialize)]
        struct Created {
            id: String,
        }
        let Ok(body) = body::decoded(body, gzip, MAX_ANSWER) else { return };
        let created = serde_json::from_slice(&body).ok();
        line.id = created.and_then(|Created { id }| hyphenated(&id));
    }

    /// Records how the request ended, and writes the line. `rule`: the guard's rule that answered;
    /// `wire`: the status of Wire's answer.
    pub fn end(
        mut self,
        status: u16,
        rule: Option<&'static str>,
        wire: Option<u16>,
        repaired: Vec<&'static str>,
    ) {
        let Some(line) = &mut self.line else { return };
        line.status = (status != 499).then_some(status);
        line.rule = rule;
        line.repaired = repaired;
        line.outcome = match wire {
            Some(200..=299) => Outcome::Done,
            Some(300..=499) => Outcome::Rejected,
            Some(_) => Outcome::Unknown,
            None if rule.is_some_and(|rule| !rule.starts_with("upstream.")) => Outcome::Refused,
            None => Outcome::Unknown,
        };
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        if let (Some(slot), Some(line)) = (self.slot.take(), self.line.take()) {
            slot.write(line);
        }
    }
}

/// The last id in a target: of a path, or of a query such as `id=...`.
fn id_in(target: &[u8]) -> Option<String> {
    let parts = target.rsplit(|byte| b"/?&=".contains(byte));
    parts.filter_map(|part| hyphenated(std::str::from_utf8(part).ok()?)).next()
}

/// SECURITY: only UUIDs are taken from a target or an answer.
fn hyphenated(text: &str) -> Option<String> {
    let id = Uuid::try_parse(text).ok().filter(|_| text.len() == 36)?;
    Some(id.hyphenated().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_ids_are_taken_from_targets() {
        let id = "3aab60e5-5f1f-4c4d-a7d6-1b2d0ee8d4f3";
        for target in ["/scim/v2/Users/@", "/v8/scim/v2/Users/@?x=y", "/scim/auth-tokens?id=@"] {
            assert_eq!(id_in(target.replace('@', id).as_bytes()).as_deref(), Some(id));
            assert_eq!(
                id_in(target.replace('@', &id.to_uppercase()).as_bytes()).as_deref(),
                Some(id)
            );
        }
        for target in ["", "/scim/v2/Users", "/scim/auth-tokens?id=alice@example.com", "/\u{fc}"] {
            assert_eq!(id_in(target.as_bytes()), None, "{target}");
        }
    }
}
