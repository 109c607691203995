//! Invariants that hold for every input, one function of bytes for each: for the fuzzer, and for the test that
//! checks them on the corpus without it.

use std::net::IpAddr;

use wire_scim_guard::api::{BodyKind, Handler};
use wire_scim_guard::evaluator::CheckKind;
use wire_scim_guard::findings::Findings;
use wire_scim_guard::json::{self, JsonError, Name, Type, Value};
use wire_scim_guard::policy::{Identity, Policy, Profile};
use wire_scim_guard::preflight::ldif::{self, Fault as LdifFault, Record};
use wire_scim_guard::proxy::chunked::Chunked;
use wire_scim_guard::proxy::head::{self, Extent, HeadRules};
use wire_scim_guard::proxy::proxy_header;
use wire_scim_guard::repair::group_document::GroupDocument;
use wire_scim_guard::repair::group_patch;
use wire_scim_guard::repair::group_search::{Found, GroupSearch};
use wire_scim_guard::repair::user_search::UserSearch;
use wire_scim_guard::repair::{self, Judged, Repair, Repairs};
use wire_scim_guard::standin::reading::{self, Fault};
use wire_scim_guard::target;
use wire_scim_guard::wire::filter::{self, Attribute, Literal, Operator, Path};

#[path = "../tests/support/readings.rs"]
mod readings;

use readings::{JUDGES, Judge, agree, stored};

/// A function that panics when its invariant does not hold.
pub type Invariant = fn(&[u8]);

/// All of them, by name.
pub const ALL: [(&str, Invariant); 14] = [
    ("target", read_target),
    ("document", read_document),
    ("user", judge_user),
    ("patch", judge_patch),
    ("group", judge_group),
    ("repair", repair_bodies),
    ("group_patch", patch_groups),
    ("search", search_by_name),
    ("filter", judge_filter),
    ("path", read_path),
    ("head", read_head),
    ("chunks", pass_chunks),
    ("ldif", read_ldif),
    ("proxy_header", read_proxy_header),
];

/// Parsing a target is idempotent, and a target that is not a SCIM route of Wire does not become one, however often
/// it is decoded on the way.
pub fn read_target(bytes: &[u8]) {
    let Ok(read) = target::read(bytes) else { return };
    let leaving = read.canonical.as_deref().unwrap_or(bytes);
    let again = target::read(leaving).expect("a canonical target is refused");
    assert_eq!(again.handler, read.handler);
    assert_eq!(again.canonical, None, "a canonical target is rewritten");
    assert_eq!(again.query, read.query);
    let path = leaving.split(|byte| *byte == b'?').next().unwrap_or_default();
    let mut decoded = path.to_ascii_lowercase();
    for _ in 0..3 {
        let segments: Vec<&[u8]> = decoded.split(|byte| *byte == b'/').collect();
        assert!(!segments.iter().any(|s| matches!(*s, b"i" | b"." | b"..")));
        if read.handler == Handler::Other {
            assert!(!segments.iter().any(|s| s.starts_with(b"scim")));
        }
        decoded = percent_decoded(&decoded).to_ascii_lowercase();
    }
}

fn percent_decoded(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let [first, tail @ ..] = rest {
        let digits = tail.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
        let byte = digits.filter(|_| *first == b'%').and_then(|d| u8::from_str_radix(d, 16).ok());
        out.push(byte.unwrap_or(*first));
        rest = if byte.is_some() { &tail[2..] } else { tail };
    }
    out
}

/// The document contains the same values that serde_json, the slow reference, reads from the same bytes.
pub fn read_document(bytes: &[u8]) {
    let reference = serde_json::from_slice::<serde_json::Value>(bytes);
    match json::parse(bytes) {
        Ok(document) => {
            let scanned = serde_json::from_slice::<serde::de::IgnoredAny>(bytes);
            let deep = scanned.as_ref().is_err_and(|error| error.to_string().contains("recursion"));
            assert!(deep || scanned.is_ok(), "parsed although it is not JSON: {scanned:?}");
            if let Ok(reference) = reference {
                alike(document.root(), &reference);
            }
        }
        // serde_json does not have these limits.
        Err(JsonError::Depth { .. } | JsonError::Number { .. }) => {}
        Err(error) => assert!(reference.is_err(), "refused although it is JSON: {error}"),
    }
}

fn alike(value: Value<'_>, reference: &serde_json::Value) {
    use serde_json::Value as Reference;
    match (value.get(), reference) {
        (Type::Null, Reference::Null) => {}
        (Type::Bool(value), Reference::Bool(reference)) => assert_eq!(value, *reference),
        (Type::Number(text), Reference::Number(reference)) => {
            let number: serde_json::Number = serde_json::from_str(text).expect("a number");
            assert_eq!(number, *reference);
        }
        (Type::String(text), Reference::String(reference)) => assert_eq!(text, reference),
        (Type::Array(array), Reference::Array(reference)) => {
            assert_eq!(array.len(), reference.len());
            for (value, reference) in array.elements().zip(reference) {
                alike(value, reference);
            }
        }
        (Type::Object(object), Reference::Object(reference)) => {
            let mut last = std::collections::HashMap::new();
            for member in object.members() {
                assert_eq!(member.name(), Name::of(member.key()));
                last.insert(member.key(), member.value);
            }
            // serde_json keeps the last of equal names.
            assert_eq!(last.len(), reference.len());
            for (key, value) in last {
                alike(value, &reference[key]);
            }
        }
        (value, reference) => panic!("{value:?} is not {reference:?}"),
    }
}

/// The guard and the stand-in, which share no code, agree on a user.
pub fn judge_user(bytes: &[u8]) {
    for Judge { guard, release, mode } in JUDGES.iter() {
        let outcome =
            reading::user(bytes).and_then(|user| reading::validate(&user, *mode, *release));
        agree(&shown(bytes), &guard.check(CheckKind::User, bytes), &[outcome]);
    }
}

/// The same for a PATCH of several stored users.
pub fn judge_patch(bytes: &[u8]) {
    for Judge { guard, release, mode } in JUDGES.iter() {
        let outcomes: Vec<_> = stored()
            .into_iter()
            .map(|user| {
                let patched = reading::patch(bytes)?.apply(&user, *release)?;
                reading::validate(&patched, *mode, *release)
            })
            .collect();
        agree(&shown(bytes), &guard.check(CheckKind::Patch, bytes), &outcomes);
    }
}

/// The same for a group.
pub fn judge_group(bytes: &[u8]) {
    let outcome = reading::group(bytes).map(|group| group.display_name);
    agree(&shown(bytes), &JUDGES[0].guard.check(CheckKind::Group, bytes), &[outcome]);
}

/// A repaired body is JSON within the limit, repairing it again changes nothing, and what the stand-in stores of
/// a body that it serves stays the same, unless a repair fills what the client left out.
pub fn repair_bodies(bytes: &[u8]) {
    const LIMIT: usize = 16 * 1024;
    let Ok(document) = json::parse(bytes) else { return };
    let filling = Repairs::of(&[Repair::DisplayName, Repair::ExternalId, Repair::PatchPathless]);
    let single = usize::from(bytes.first().copied().unwrap_or_default()) + bytes.len();
    let single = Repairs::of(&[Repair::ALL[single % Repair::ALL.len()]]);
    let kinds = [
        BodyKind::NewUser,
        BodyKind::User,
        BodyKind::Patch,
        BodyKind::NewGroup,
        BodyKind::Group,
        BodyKind::GroupPatch,
    ];
    let judged = Judged { case: true };
    for set in [Repairs::all(), Repairs::all().without(filling), single] {
        for kind in kinds {
            let Some(repaired) = repair::repair_body(kind, &document, set, judged, LIMIT) else {
                continue;
            };
            assert!(!repaired.by.is_empty() && repaired.by.without(set).is_empty());
            let Some(body) = repaired.body else { continue };
            assert!(body.len() <= LIMIT);
            let again = json::parse(&body);
            let again = again.unwrap_or_else(|error| panic!("{error}: {}", shown(&body)));
            let twice = repair::repair_body(kind, &again, set, judged, LIMIT);
            assert_eq!(twice, None, "repaired twice: {}", shown(&body));
            if set.without(filling) == set {
                stays_served(kind, bytes, &body);
            }
        }
    }
}

/// What the stand-in serves of the first body, it stores alike of the second.
fn stays_served(kind: BodyKind, before: &[u8], after: &[u8]) {
    for Judge { release, mode, .. } in JUDGES.iter() {
        match kind {
            BodyKind::NewUser | BodyKind::User => {
                let read = |body| {
                    reading::user(body).and_then(|user| reading::validate(&user, *mode, *release))
                };
                same(read(before), || read(after), after);
            }
            BodyKind::Patch => {
                for user in stored() {
                    let read = |body| {
                        let patched = reading::patch(body)?.apply(&user, *release)?;
                        reading::validate(&patched, *mode, *release)
                    };
                    same(read(before), || read(after), after);
                }
            }
            _ => {
                let read = |body| reading::group(body).map(|group| group.display_name);
                same(read(before), || read(after), after);
            }
        }
    }
}

fn same<T: serde::Serialize>(
    before: Result<T, Fault>,
    after: impl FnOnce() -> Result<T, Fault>,
    body: &[u8],
) {
    let Ok(before) = before else { return };
    let value = |read: &T| serde_json::to_value(read).expect("a value");
    let after = after().map(|after| value(&after)).ok();
    assert_eq!(after, Some(value(&before)), "interpreted differently: {}", shown(body));
}

/// The group that a PATCH makes of another one is a group that Wire serves, and the PATCH changes nothing more of it.
pub fn patch_groups(bytes: &[u8]) {
    const GROUP: &[u8] = br#"{"displayName": "Staff", "members": [
        {"type": "User", "value": "AAAAAAAA-0000-4000-8000-000000000000"},
        {"value": "bbbbbbbb-0000-4000-8000-000000000000"}]}"#;
    let Ok(document) = json::parse(bytes) else { return };
    let policy = Policy::new(Profile::Documented, Identity::Any);
    let mut findings = Findings::new(&policy);
    let read = group_patch::read(document.root(), Repairs::all(), &mut findings);
    let Ok(Some(patch)) = read else { return };
    let group = GroupDocument::read(GROUP).expect("a group");
    let Some(patched) = group.patched(&patch) else { return };
    assert_eq!(patched.patched(&patch), None, "patched twice: {}", shown(bytes));
    let put = patched.to_put();
    let report = JUDGES[0].guard.check(CheckKind::Group, &put);
    assert!(report.refusal.is_none(), "{} gives {}", shown(bytes), shown(&put));
    let again = GroupDocument::read(&put).expect("the body of the PUT");
    assert_eq!(again.patched(&patch), None, "read back: {}", shown(&put));
}

/// Searches that are rewritten are parsed from the query in the first line; the rest of the bytes
/// is Wire's answer. What Wire is asked for is a search of the same resource, and the client
/// receives JSON that contains only what was found.
pub fn search_by_name(bytes: &[u8]) {
    let mut parts = bytes.splitn(2, |byte| *byte == b'\n');
    let query = parts.next().unwrap_or_default();
    let answer = parts.next().unwrap_or_default();
    let target_of = |path: &str| [path.as_bytes(), b"?", query].concat();
    // A head never has blanks in its target, and what no target may have is refused before it is a search.
    let is_blank = query.iter().any(|byte| *byte <= b' ' || *byte == 0x7f);
    let is_read = |path| target::read(&target_of(path)).is_ok();
    if is_blank || !is_read("/scim/v2/Groups") || !is_read("/scim/v2/Users") {
        return;
    }
    let asked = |target: &[u8], handler: Handler| {
        let read = target::read(target);
        let read = read.unwrap_or_else(|_| panic!("asks for {}", shown(target)));
        assert_eq!((read.handler, &read.canonical), (handler, &None), "{}", shown(target));
    };
    if let Some(search) = GroupSearch::read(&target_of("/scim/v2/Groups")) {
        let mut found = Found::default();
        asked(&search.next_target(&found), Handler::Groups);
        if search.take(&mut found, answer).is_ok() {
            asked(&search.next_target(&found), Handler::Groups);
            listed(&search.answer(&found), answer);
        }
    }
    if let Some(search) = UserSearch::read(&target_of("/scim/v2/Users")) {
        asked(&search.target, Handler::Users);
        if let Ok(Some(other)) = search.answer(answer) {
            listed(&other, answer);
        }
    }
}

/// A list for a client, every element of which Wire has answered.
fn listed(list: &[u8], answer: &[u8]) {
    let list: serde_json::Value = serde_json::from_slice(list).expect("a list");
    // Bytes that are no UTF-8 may be in a part of it that nobody reads.
    let Ok(answer) = serde_json::from_slice::<serde_json::Value>(answer) else { return };
    let of_wire = answer["Resources"].as_array();
    for element in list["Resources"].as_array().expect("elements") {
        assert!(of_wire.is_some_and(|all| all.contains(element)), "{element} was not found");
    }
}

/// The same for the filters of users and of groups.
pub fn judge_filter(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let outcome = reading::user_filter(text).map(|_| ());
    agree(text, &JUDGES[0].guard.check(CheckKind::Filter, bytes), &[outcome]);
    let outcome = reading::group_filter(text).map(|_| ());
    if !matches!(outcome, Err(Fault::Rule { status: 500, .. })) {
        agree(text, &JUDGES[0].guard.check(CheckKind::GroupFilter, bytes), &[outcome]);
    }
}

/// A parsed filter or PATCH path is parsed to the same value after it is serialised.
pub fn read_path(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Some(read) = filter::read(text) {
        let keyword = |(_, operator): &&(&str, Operator)| *operator == read.operator;
        let (operator, _) = Operator::ALL.iter().find(keyword).expect("an operator has a keyword");
        let literal = match read.literal {
            Literal::String(written) => written,
            Literal::Boolean(true) => "true",
            Literal::Boolean(false) => "false",
            Literal::Other => "1",
        };
        let text = format!("{} {operator} {literal}", written(&read.attribute));
        assert_eq!(filter::read(&text), Some(read), "{text}");
        assert_eq!(filter::read(&format!("{text} and {text}")), None);
    }
    match filter::read_path(text) {
        Some(Path::Attribute(attribute)) => {
            let text = written(&attribute);
            assert_eq!(filter::read_path(&text), Some(Path::Attribute(attribute)), "{text}");
        }
        Some(Path::Value(_)) => {
            assert!(text.contains('['));
            assert_eq!(filter::read_path(&format!("{text}[")), None);
        }
        None => {}
    }
}

fn written(attribute: &Attribute<'_>) -> String {
    let schema = attribute.schema.map(|schema| format!("{schema}:")).unwrap_or_default();
    let sub = attribute.sub.map(|sub| format!(".{sub}")).unwrap_or_default();
    format!("{schema}{}{sub}", attribute.name)
}

/// A head that is accepted is accepted by httparse, another parser, as well, with the same number of header
/// lines and the same Content-Length.
pub fn read_head(bytes: &[u8]) {
    let Some(end) = head::end(bytes, 0) else { return };
    let rules = HeadRules { headers: 100, hosts: &[], body: 512, websocket: true };
    let Ok(read) = rules.check(&bytes[..end]) else { return };
    let bytes = read.rewritten.unwrap_or_else(|| bytes[..end].to_vec());
    let mut headers = [httparse::EMPTY_HEADER; 100];
    let mut request = httparse::Request::new(&mut headers);
    assert_eq!(request.parse(&bytes), Ok(httparse::Status::Complete(bytes.len())));
    let values = |name: &str| -> Vec<&[u8]> {
        let named = request.headers.iter().filter(|h| h.name.eq_ignore_ascii_case(name));
        named.map(|header| header.value.trim_ascii()).collect()
    };
    assert_eq!(values("host").len(), 1);
    assert_eq!(values("upgrade").len(), 0);
    match read.extent {
        Extent::Chunked(_) => {
            assert!(values("content-length").is_empty());
            let codings = values("transfer-encoding");
            assert!(codings.len() == 1 && codings[0].eq_ignore_ascii_case(b"chunked"));
        }
        Extent::Length(length) => {
            assert!(values("transfer-encoding").is_empty());
            let said = values("content-length");
            let said = said.first().map(|said| std::str::from_utf8(said).expect("digits"));
            assert_eq!(said.map_or(0, |said| said.parse().expect("a number")), length);
        }
        Extent::Endless => panic!("HTTP/1 says where its bodies end"),
    }
}

/// A PROXY protocol header that is accepted names the client that it contains, whatever else it
/// contains.
pub fn read_proxy_header(bytes: &[u8]) {
    if let Ok(Some(client)) = proxy_header::v1(bytes) {
        assert!(bytes.len() <= 107);
        let (family, ip) = (if client.is_ipv4() { "TCP4" } else { "TCP6" }, client.ip());
        let line = format!("PROXY {family} {ip} {ip} {} 0\r\n", client.port());
        assert_eq!(proxy_header::v1(line.as_bytes()), Ok(Some(client)));
        assert!(bytes.starts_with(format!("PROXY {family} ").as_bytes()));
    }
    let Some((head, rest)) = bytes.split_first_chunk::<{ proxy_header::V2_HEAD }>() else { return };
    let Ok(length) = proxy_header::v2_length(head) else { return };
    assert!(length <= 4096);
    let Some(rest) = rest.get(..length) else { return };
    if let Ok(Some(client)) = proxy_header::v2(head, rest) {
        let address = match client.ip() {
            IpAddr::V4(address) => address.octets().to_vec(),
            IpAddr::V6(address) => address.octets().to_vec(),
        };
        assert!(rest.starts_with(&address));
        // Additional fields change nothing.
        assert_eq!(proxy_header::v2(head, &[rest, b"\x04\0\0"].concat()), Ok(Some(client)));
    }
}

/// A chunked body that is forwarded ends where httparse, which reads it next, finds its end, however it
/// is split.
pub fn pass_chunks(bytes: &[u8]) {
    let mut body = Chunked::default();
    let passed = body.pass(bytes);
    for size in [1, 5] {
        let mut again = Chunked::default();
        let pieces: Result<usize, _> = bytes.chunks(size).map(|piece| again.pass(piece)).sum();
        match passed {
            Ok(passed) => assert_eq!((pieces, again), (Ok(passed), body)),
            Err(_) => assert!(pieces.is_err()),
        }
    }
    let (Ok(passed), true) = (passed, body.has_ended()) else { return };
    let mut rest = &bytes[..passed];
    loop {
        let read = httparse::parse_chunk_size(rest).expect("a size");
        let httparse::Status::Complete((line, size)) = read else { panic!("no whole line") };
        rest = &rest[line..];
        if size == 0 {
            break;
        }
        rest = &rest[size as usize..];
        assert!(rest.starts_with(b"\r\n"));
        rest = &rest[2..];
    }
    // The rest consists of trailers, each of them a header field.
    assert!(rest.ends_with(b"\r\n"));
    for line in rest.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii_end) {
        assert!(line.is_empty() || line.contains(&b':'));
    }
}

/// LDIF is parsed to the same records however it is split; attributes that are not requested don't affect the
/// others; and serialised records are parsed to the same records again.
pub fn read_ldif(bytes: &[u8]) {
    let all = records(bytes, 8192, true);
    assert_eq!(records(bytes, 1, true), all);
    let names = |records: &[Result<Record, u64>]| -> Vec<Vec<u8>> {
        let entries = records.iter().filter_map(|record| match record {
            Ok(Record::Entry(entry)) => Some(entry.dn.clone()),
            _ => None,
        });
        entries.collect()
    };
    let unkept = records(bytes, 3, false);
    // A NUL is detected only in values that are kept.
    if !bytes.contains(&0) {
        assert_eq!(names(&unkept), names(&all));
        assert_eq!(unkept.len(), all.len());
    }
    let entries: Vec<_> =
        all.into_iter().filter(|record| matches!(record, Ok(Record::Entry(_)))).collect();
    let mut written = Vec::new();
    for entry in entries.iter().flatten() {
        let Record::Entry(entry) = entry else { continue };
        ldif::write::write(&mut written, entry).expect("memory");
    }
    assert_eq!(records(&written, 8192, true), entries);
}

/// The records of a file that is read in pieces of this size; for errors, their line.
fn records(bytes: &[u8], piece: usize, wanted: bool) -> Vec<Result<Record, u64>> {
    let mut reader = ldif::Reader::new(std::io::BufReader::with_capacity(piece, bytes));
    let next = || {
        let record = reader.next(&|_| wanted)?;
        Some(record.map_err(|fault| match fault {
            LdifFault::Broken { line, .. } => line,
            LdifFault::Encoding => 0,
            LdifFault::Io(error) => panic!("memory cannot fail: {error}"),
        }))
    };
    std::iter::from_fn(next).collect()
}

fn shown(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
