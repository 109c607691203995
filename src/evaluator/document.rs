//! Parsing a body as a JSON document, and judging it by the rules of its kind.

use crate::api::BodyKind;
use crate::findings::Findings;
use crate::json::{self, Document, JsonError};
use crate::refusal::Refusal;
use crate::rule::Rule;
use crate::schema::Schemas;
use crate::scim::user::{self, Lifecycle};
use crate::scim::{group, patch};

pub(super) fn read_document(bytes: &[u8]) -> Result<Document<'_>, Refusal> {
    json::parse(bytes).map_err(|error| match error {
        JsonError::Syntax { at, what } => {
            let what = match bytes {
                [] => "it is empty".to_owned(),
                [0xEF, 0xBB, 0xBF, ..] => "it begins with a byte order mark (U+FEFF)".to_owned(),
                _ => format!("{what} at {}", position(bytes, at)),
            };
            let detail = format!("The body is not a JSON document in UTF-8: {what}.");
            Refusal::new(Rule::JsonSyntax, detail)
        }
        JsonError::Depth { at } => Refusal::new(
            Rule::JsonDepth,
            format!(
                "The body nests arrays and objects deeper than {} levels at {}.",
                json::MAX_DEPTH,
                position(bytes, at)
            ),
        ),
        JsonError::Number { at } => Refusal::new(
            Rule::JsonNumber,
            format!(
                "The body has a number of more than {} characters at {}.",
                json::MAX_NUMBER,
                position(bytes, at)
            ),
        ),
    })
}

/// The position of a byte, counted from 1.
fn position(bytes: &[u8], at: usize) -> String {
    let before = &bytes[..at.min(bytes.len())];
    let line = memchr::memchr_iter(b'\n', before).count() + 1;
    let column = at - memchr::memrchr(b'\n', before).map_or(0, |end| end + 1) + 1;
    format!("line {line}, byte {column}")
}

pub(super) fn judge_document(
    schemas: &Schemas,
    kind: BodyKind,
    document: &Document<'_>,
    findings: &mut Findings<'_>,
) -> Result<(), Refusal> {
    let root = document.root();
    if root.as_object().is_none() && kind != BodyKind::GroupPatch {
        return findings.hit(Rule::JsonObject, "body", || NO_OBJECT);
    }
    let user = |lifecycle, findings: &mut Findings<'_>| {
        user::judge(root, lifecycle, &schemas.user, findings).map(|_| ())
    };
    match kind {
        BodyKind::NewUser => user(Lifecycle::New, findings),
        BodyKind::User => user(Lifecycle::Existing, findings),
        BodyKind::Patch => patch::judge(root, schemas, findings),
        BodyKind::NewGroup | BodyKind::Group => group::judge(root, &schemas.group, findings),
        BodyKind::GroupPatch => findings.hit(Rule::GroupPatch, "method", || {
            "Wire has no PATCH for groups. Send the whole group by PUT, or turn off the provisioning of \
             groups in the client."
        }),
        BodyKind::Unserved => Ok(()),
    }
}

const NO_OBJECT: &str = "The body is JSON, but not an object. A user is {\"userName\": ..., \"externalId\": ..., \
     \"displayName\": ...}, a PATCH {\"schemas\": [...], \"Operations\": [...]}, a group {\"schemas\": [...], \
     \"displayName\": ..., \"members\": [...]}.";
