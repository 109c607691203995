//! The request target: parsed, brought into Wire's canonical form, and matched to a route; or
//! refused.
//!
//! Wire's router is case-sensitive, decodes percent-encoded letters, accepts one trailing slash and
//! resolves neither dot segments nor `%2F`; the nginx in front of it matches the decoded path but
//! passes the raw one on. Whatever these two could interpret differently is refused here. Common
//! errors of SCIM clients with the base URL (no `/v2`, two of them, doubled slashes) are
//! corrected.

use crate::api::{self, Handler, Id, Route};
use crate::refusal::Refusal;
use crate::rule::Rule;

/// The maximum length of a target, in bytes: nginx's own limit for a request line.
pub const MAX_TARGET: usize = 8192;

/// A target that was parsed.
#[derive(Debug, PartialEq, Eq)]
pub struct Target<'a> {
    pub handler: Handler,
    /// What is sent to the backend; `None` if the target was sent in canonical form.
    pub canonical: Option<Vec<u8>>,
    /// The query after the first `?`, undecoded, without the `?`; `None` without one.
    pub query: Option<&'a [u8]>,
}

impl Target<'_> {
    /// What is sent to the backend for a target that was received as `raw`.
    pub fn sent<'t>(&'t self, raw: &'t [u8]) -> &'t [u8] {
        self.canonical.as_deref().unwrap_or(raw)
    }

    /// What is sent to the backend with another query; `None` if the target would be too long.
    pub fn with_query(&self, raw: &[u8], query: &[u8]) -> Option<Vec<u8>> {
        let target = self.canonical.as_deref().unwrap_or(raw);
        let path = &target[..memchr::memchr(b'?', target).unwrap_or(target.len())];
        let target = [path, b"?", query].concat();
        (target.len() <= MAX_TARGET).then_some(target)
    }
}

/// Parses a request target. Errors are `target.*` refusals.
///
/// Paths outside SCIM yield [`Handler::Other`]; the caller decides whether these are served.
/// Nothing that Wire would route to SCIM, and nothing at or below `/i`, does.
pub fn read(raw: &[u8]) -> Result<Target<'_>, Refusal> {
    if raw.len() > MAX_TARGET {
        return Err(too_long());
    }
    let (path, query) = match memchr::memchr(b'?', raw) {
        Some(at) => (&raw[..at], Some(&raw[at + 1..])),
        None => (raw, None),
    };
    if let Some(handler) = canonical_already(path) {
        if let Some(query) = query {
            check_query(query)?;
        }
        return Ok(Target { handler, canonical: None, query });
    }
    let decoded = decode_path(path)?;
    if let Some(query) = query {
        check_query(query)?;
    }
    let segments: Vec<&[u8]> = decoded.split(|b| *b == b'/').filter(|s| !s.is_empty()).collect();
    if let Some(dots) = segments.iter().find(|s| matches!(**s, b"." | b"..")) {
        let dots = String::from_utf8_lossy(dots);
        return Err(ambiguous(&format!("the path has a `{dots}` segment")));
    }
    let (version, rest) = match segments.split_first() {
        Some((first, rest)) if is_version(first) => (Some(*first), rest),
        _ => (None, segments.as_slice()),
    };
    let target = match rest {
        [scim, tail @ ..] if scim.eq_ignore_ascii_case(b"scim") => {
            read_scim(path, version, scim, tail, query)?
        }
        // SECURITY: `/v07/scim`, `/x/scim` and `/scim:` are not SCIM paths of Wire, but a reader
        // that matches prefixes or strips them differently might treat them as such: never
        // forwarded.
        _ if segments.iter().any(|s| s.len() >= 4 && s[..4].eq_ignore_ascii_case(b"scim")) => {
            return Err(not_found("nothing may come before /scim but an API version such as /v8"));
        }
        _ => Target { handler: Handler::Other, canonical: None, query },
    };
    // SECURITY: `/i` holds the backend's internal API, which trusts every caller.
    if segments.iter().any(|s| s.eq_ignore_ascii_case(b"i")) {
        return Err(not_found("internal paths (/i) are not served here"));
    }
    Ok(target)
}

/// The hot path: targets that are canonical already, recognised without decoding them.
fn canonical_already(path: &[u8]) -> Option<Handler> {
    let resource = path.strip_prefix(b"/scim/v2/")?;
    let (name, id) = match memchr::memchr(b'/', resource) {
        Some(at) => (&resource[..at], Some(&resource[at + 1..])),
        None => (resource, None),
    };
    let Route { handler, id: form, .. } = api::find(name, id.is_some())?;
    match (form, id) {
        (Id::Absent, None) => Some(*handler),
        (Id::Uuid, Some(id)) if is_uuid(id) => Some(*handler),
        _ => None,
    }
}

/// Parses what follows `/scim`, as decoded segments without the empty ones.
fn read_scim<'a>(
    path: &[u8],
    version: Option<&[u8]>,
    scim: &[u8],
    tail: &[&[u8]],
    query: Option<&'a [u8]>,
) -> Result<Target<'a>, Refusal> {
    if let [name, rest @ ..] = tail
        && name.eq_ignore_ascii_case(b"auth-tokens")
    {
        return read_auth_tokens(path, version, rest, query);
    }
    if scim != b"scim" {
        return Err(not_found("paths are case-sensitive"));
    }
    let resource = tail.iter().position(|s| *s != b"v2").map_or(&[][..], |at| &tail[at..]);
    let handler = match resource {
        [] => return Err(not_found("the base URL alone is not a resource")),
        [b"v1", ..] => return Err(not_found("Wire speaks SCIM 2.0 only")),
        [b"scim", ..] => return Err(not_found("it contains the base URL twice")),
        [name, ids @ ..] => match (api::find(name, !ids.is_empty()), ids) {
            (Some(route), [id]) if route.id == Id::Uuid => uuid_route(id, route.handler)?,
            (Some(route), [] | [_]) => route.handler,
            (Some(_), _) => {
                return Err(not_found("at most one id follows Users, Groups or Schemas"));
            }
            (None, _) if api::is_collection(name) => {
                return Err(not_found("nothing follows ServiceProviderConfig and ResourceTypes"));
            }
            (None, _) => {
                return Err(not_found(
                    "Wire serves Users, Groups, ServiceProviderConfig, Schemas and ResourceTypes, in exactly this \
                     spelling",
                ));
            }
        },
    };
    let canonical = write_canonical(version, resource, query);
    let unchanged = path.len() + query.map_or(0, |q| q.len() + 1) == canonical.len()
        && canonical.starts_with(path);
    Ok(Target { handler, canonical: (!unchanged).then_some(canonical), query })
}

/// SECURITY: the token API is recognised by exact bytes only, because its login is checked by the
/// nginx of the backend, which interprets a path in its own way.
fn read_auth_tokens<'a>(
    path: &[u8],
    version: Option<&[u8]>,
    rest: &[&[u8]],
    query: Option<&'a [u8]>,
) -> Result<Target<'a>, Refusal> {
    let mut exact = Vec::with_capacity(path.len());
    if let Some(version) = version {
        exact.push(b'/');
        exact.extend_from_slice(version);
    }
    exact.extend_from_slice(b"/scim/auth-tokens");
    match rest {
        [] => {}
        [id] if is_uuid(id) => {
            exact.push(b'/');
            exact.extend_from_slice(id);
        }
        _ => return Err(not_found("at most the UUID of a token follows /scim/auth-tokens")),
    }
    if path == exact || (path.strip_suffix(b"/") == Some(exact.as_slice()) && rest.is_empty()) {
        Ok(Target { handler: Handler::AuthTokens, canonical: None, query })
    } else {
        Err(Refusal::new(
            Rule::TargetAmbiguous,
            "Servers differ in which spellings they accept for /scim/auth-tokens. It is served in exactly this spelling only.",
        ))
    }
}

fn uuid_route(id: &[u8], handler: Handler) -> Result<Handler, Refusal> {
    if is_uuid(id) {
        return Ok(handler);
    }
    Err(Refusal::new(
        Rule::TargetId,
        "The id after Users/ or Groups/ is not a UUID (8-4-4-4-12 hexadecimal digits). Use the \
         `id` that Wire returned when the resource was created or looked up, not userName or \
         externalId.",
    ))
}

/// Percent-decodes a path; refuses every byte that two readers could interpret differently.
fn decode_path(path: &[u8]) -> Result<Vec<u8>, Refusal> {
    if path.first() != Some(&b'/') {
        return Err(ambiguous("it does not start with a slash"));
    }
    let mut decoded = Vec::with_capacity(path.len());
    let mut rest = path.iter();
    while let Some(&byte) = rest.next() {
        let byte = if byte == b'%' {
            let hex = |b: Option<&u8>| b.and_then(|b| (*b as char).to_digit(16));
            let (Some(high), Some(low)) = (hex(rest.next()), hex(rest.next())) else {
                return Err(ambiguous(
                    "a `%` in the path is not followed by two hexadecimal digits",
                ));
            };
            let byte = (high * 16 + low) as u8;
            if matches!(byte, b'/' | b'%' | b'?' | b'#') {
                return Err(ambiguous(&format!("the path has an encoded `{}`", byte as char)));
            }
            byte
        } else {
            byte
        };
        match byte {
            b'\\' | b';' | b'#' | b'*' => {
                return Err(ambiguous(&format!("the path has a `{}`", byte as char)));
            }
            0..=b' ' | 0x7f.. => {
                let what = match byte {
                    b' ' => "a space".to_owned(),
                    b'\t' => "a tab".to_owned(),
                    b'\r' | b'\n' => "a line break".to_owned(),
                    0x80.. => format!("a character that is not ASCII (byte 0x{byte:02X})"),
                    _ => format!("the byte 0x{byte:02X}"),
                };
                return Err(ambiguous(&format!(
                    "the path has {what}, which may have been pasted with the base URL"
                )));
            }
            _ => decoded.push(byte),
        }
    }
    Ok(decoded)
}

/// A query is forwarded unchanged, so it must not contain a byte that ends a target early.
fn check_query(query: &[u8]) -> Result<(), Refusal> {
    match query.iter().find(|b| matches!(b, 0..=b' ' | b'#' | 0x7f)) {
        None => Ok(()),
        Some(byte) => Err(Refusal::new(
            Rule::TargetAmbiguous,
            format!(
                "The query has the byte 0x{byte:02X}, at which some readers end it. Write it as %{byte:02X}."
            ),
        )),
    }
}

/// `/vN/scim/v2/Resource[/id][?query]`.
fn write_canonical(version: Option<&[u8]>, resource: &[&[u8]], query: Option<&[u8]>) -> Vec<u8> {
    let mut out = Vec::with_capacity(64 + query.map_or(0, <[u8]>::len));
    for segment in version.into_iter().chain([&b"scim"[..], b"v2"]).chain(resource.iter().copied())
    {
        out.push(b'/');
        encode(segment, &mut out);
    }
    if let Some(query) = query {
        out.push(b'?');
        out.extend_from_slice(query);
    }
    out
}

/// Percent-encodes the bytes that are not valid in a URI; `None` if there are none.
pub(crate) fn encoded(target: &[u8]) -> Option<Vec<u8>> {
    let first = target.iter().position(|byte| !is_uri_byte(*byte))?;
    let mut out = Vec::with_capacity(target.len() + 32);
    out.extend_from_slice(&target[..first]);
    encode(&target[first..], &mut out);
    Some(out)
}

fn encode(bytes: &[u8], out: &mut Vec<u8>) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    for byte in bytes {
        if is_uri_byte(*byte) {
            out.push(*byte);
        } else {
            let digits = [HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]];
            out.push(b'%');
            out.extend_from_slice(&digits);
        }
    }
}

/// The bytes that need no encoding anywhere in a path and a query (RFC 3986 §3.3, §3.4), and some
/// that all readers accept unencoded.
fn is_uri_byte(byte: u8) -> bool {
    const TABLE: [bool; 256] = {
        let mut table = [false; 256];
        let mut byte = 0;
        while byte < 256 {
            table[byte] = matches!(
                byte as u8,
                b'!' | b'$'..=b';' | b'=' | b'?'..=b'_' | b'a'..=b'z' | b'|' | b'~'
            );
            byte += 1;
        }
        table
    };
    TABLE[usize::from(byte)]
}

/// An API version segment: `v` and a decimal number without leading zeros.
fn is_version(segment: &[u8]) -> bool {
    match segment {
        [b'v', b'0'] => true,
        [b'v', b'1'..=b'9', rest @ ..] => rest.iter().all(u8::is_ascii_digit),
        _ => false,
    }
}

/// The id of the user in a target of [`Handler::User`], in which it is the last segment of the path;
/// 0 where that is not an id. Ids are compared as numbers, as their digits may be written in either
/// case.
pub fn user_id(target: &[u8]) -> u128 {
    let path = &target[..memchr::memchr(b'?', target).unwrap_or(target.len())];
    let path = path.strip_suffix(b"/").unwrap_or(path);
    let id = path.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
    uuid::Uuid::try_parse_ascii(id).map_or(0, |id| id.as_u128())
}

/// Whether this is a UUID of the form 8-4-4-4-12, in upper or lower case.
pub fn is_uuid(text: &[u8]) -> bool {
    text.len() == 36
        && text.iter().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => *byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        })
}

fn ambiguous(what: &str) -> Refusal {
    Refusal::new(
        Rule::TargetAmbiguous,
        format!(
            "The request target can be read in more than one way: {what}. Send the plain path, such as /scim/v2/Users."
        ),
    )
}

/// The 414 for a target of more than [`MAX_TARGET`] bytes.
pub fn too_long() -> Refusal {
    let detail =
        format!("The request target is longer than {MAX_TARGET} bytes; no longer one is read.");
    Refusal::new(Rule::TargetTooLong, detail)
}

/// The 404 that names the right base URL.
pub fn not_found(why: &str) -> Refusal {
    Refusal::new(
        Rule::TargetNotFound,
        format!(
            "There is no SCIM resource at this path: {why}. The base URL (tenant URL) of Wire's \
             SCIM API is https://<host>/scim/v2, the users are at https://<host>/scim/v2/Users."
        ),
    )
}
