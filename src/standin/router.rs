//! Wire's routes, and the order in which Wire checks the parts of a request.

use std::borrow::Cow;
use std::io::Read;

use super::http::{Request, Response};
use super::store::Store;
use super::{discovery, login, scim};

/// The newest API version.
const NEWEST: u32 = 15;
/// The most bytes that a gzip body is inflated to.
const MAX_INFLATED: u64 = 8 * 1024 * 1024;

/// A route.
enum Route {
    Users,
    User(String),
    Groups,
    Group(String),
    Discovery(discovery::Document),
    AuthTokens,
    AuthToken(String),
    Login,
    ApiVersion,
}

/// Answers one request.
pub(super) fn answer(store: &mut Store, request: &Request) -> Response {
    let target = without_authority(&request.target);
    let (path, query) = match target.iter().position(|byte| *byte == b'?') {
        Some(at) => (&target[..at], &target[at + 1..]),
        None => (target, &b""[..]),
    };
    let segments = segments(path);
    let mut segments: Vec<&[u8]> = segments.iter().map(AsRef::as_ref).collect();
    let version = match segments.first().copied().map(version) {
        Some(Some(version)) if version > NEWEST => return unsupported(),
        Some(Some(version)) => {
            segments.remove(0);
            version
        }
        _ => 0,
    };
    let route = match route(&segments) {
        Ok(Some(route)) => route,
        Ok(None) => return Response::empty(404),
        Err(answer) => return answer,
    };
    let query = parameters(query);
    match route {
        Route::Users | Route::User(_) | Route::Groups | Route::Group(_) => {
            answer_scim(store, request, &route, &query)
        }
        Route::Discovery(document) => match request.method.as_str() {
            "GET" | "HEAD" if accepts(request) => document.answer(),
            "GET" | "HEAD" => Response::empty(406),
            _ => Response::empty(405),
        },
        Route::AuthTokens => login::tokens(store, request, &query, version),
        Route::AuthToken(id) => login::rename(store, request, &id, version),
        Route::Login => login::login(store, request),
        Route::ApiVersion => Response::json(
            200,
            &serde_json::json!({
                "development": [NEWEST + 1],
                "domain": "example.com",
                "federation": false,
                "supported": (0..=NEWEST).collect::<Vec<u32>>(),
            }),
        ),
    }
}

fn unsupported() -> Response {
    let message = "this API version is not supported";
    Response::json(
        404,
        &serde_json::json!({"code": 404, "label": "unsupported-version", "message": message}),
    )
}

/// Removes scheme and authority from a target in absolute form.
fn without_authority(target: &[u8]) -> &[u8] {
    let rest = target.strip_prefix(b"http://").or_else(|| target.strip_prefix(b"https://"));
    let path = rest.and_then(|rest| Some(&rest[rest.iter().position(|byte| *byte == b'/')?..]));
    path.unwrap_or(target)
}

/// The decoded segments of a path, without the empty one after a trailing slash. The leading slash may be missing.
fn segments(path: &[u8]) -> Vec<Cow<'_, [u8]>> {
    let path = path.strip_prefix(b"/").unwrap_or(path);
    let mut segments: Vec<_> = path.split(|byte| *byte == b'/').map(decode).collect();
    segments.pop_if(|last| last.is_empty());
    segments
}

/// An API version: `v` and a number without leading zeros.
fn version(segment: &[u8]) -> Option<u32> {
    let digits = std::str::from_utf8(segment.strip_prefix(b"v")?).ok()?;
    let plain = digits.bytes().all(|byte| byte.is_ascii_digit())
        && (digits == "0" || !digits.starts_with('0'));
    if plain { digits.parse().ok() } else { None }
}

fn route(segments: &[&[u8]]) -> Result<Option<Route>, Response> {
    let id = |id: &[u8]| match uuid::Uuid::try_parse_ascii(id) {
        Ok(uuid) if id.len() == 36 => Ok(uuid.to_string()),
        _ => Err(Response::text(400, "invalid UUID")),
    };
    Ok(Some(match segments {
        [b"scim", b"v2", b"Users"] => Route::Users,
        [b"scim", b"v2", b"Users", user] => Route::User(id(user)?),
        [b"scim", b"v2", b"Groups"] => Route::Groups,
        [b"scim", b"v2", b"Groups", group] => Route::Group(id(group)?),
        [b"scim", b"v2", document @ ..] => match discovery::Document::find(document) {
            Some(document) => Route::Discovery(document),
            None => return Ok(None),
        },
        [b"scim", b"auth-tokens"] => Route::AuthTokens,
        [b"scim", b"auth-tokens", token] => Route::AuthToken(id(token)?),
        [b"login"] => Route::Login,
        [b"api-version"] => Route::ApiVersion,
        _ => return Ok(None),
    }))
}

/// Percent-decodes; a `%` that is not followed by two digits is kept.
fn decode(bytes: &[u8]) -> Cow<'_, [u8]> {
    if !bytes.contains(&b'%') {
        return Cow::Borrowed(bytes);
    }
    let mut out = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let escaped = (bytes[at] == b'%').then(|| bytes.get(at + 1..at + 3)).flatten();
        let code = escaped.and_then(|e| u8::from_str_radix(std::str::from_utf8(e).ok()?, 16).ok());
        match code.filter(|_| escaped.is_some_and(|e| e.iter().all(u8::is_ascii_hexdigit))) {
            Some(byte) => {
                out.push(byte);
                at += 3;
            }
            None => {
                out.push(bytes[at]);
                at += 1;
            }
        }
    }
    Cow::Owned(out)
}

/// The parameters of a query: the name, and the value if there is a `=`.
fn parameters(query: &[u8]) -> Vec<(String, Option<String>)> {
    let text = |bytes: &[u8]| {
        let spaced: Vec<u8> = bytes.iter().map(|b| if *b == b'+' { b' ' } else { *b }).collect();
        String::from_utf8_lossy(&decode(&spaced)).into_owned()
    };
    let parameter = |pair: &[u8]| match pair.iter().position(|byte| *byte == b'=') {
        Some(at) => (text(&pair[..at]), Some(text(&pair[at + 1..]))),
        None => (text(pair), None),
    };
    query.split(|byte| matches!(byte, b'&' | b';')).map(parameter).collect()
}

/// The order of the checks: method, Accept, Content-Type, query, Authorization, body, token, rules.
fn answer_scim(
    store: &mut Store,
    request: &Request,
    route: &Route,
    query: &[(String, Option<String>)],
) -> Response {
    let reads = matches!(request.method.as_str(), "GET" | "HEAD");
    let writes = match (route, request.method.as_str()) {
        (Route::Users | Route::Groups, "POST")
        | (Route::User(_) | Route::Group(_), "PUT" | "PATCH") => true,
        (Route::User(_) | Route::Group(_), "DELETE") => false,
        _ if reads => false,
        _ => return Response::empty(405),
    };
    if request.method != "DELETE" && !accepts(request) {
        return Response::empty(406);
    }
    if writes && !is_json_type(request) {
        return Response::empty(415);
    }
    let search = match route {
        Route::Users if reads => scim::user_search(query).map(Some),
        Route::Groups if reads => scim::group_search(query).map(Some),
        _ => Ok(None),
    };
    let search = match search {
        Err(scim::Refused::Now(answer)) => return answer,
        Err(scim::Refused::Later(answer)) => Some(Err(answer)),
        Ok(search) => search.map(Ok),
    };
    let token = match request.header("authorization") {
        None => None,
        Some(line) => match line.strip_prefix(b"Bearer ") {
            Some(token) if std::str::from_utf8(token).is_ok() => Some(token),
            _ => {
                return Response::text(
                    400,
                    "Error parsing header Authorization failed: Invalid bearer token",
                );
            }
        },
    };
    let body = match if writes { inflated(request) } else { Ok(Cow::Borrowed(&[][..])) } {
        Ok(body) => body,
        Err(answer) => return answer,
    };
    let write = match if writes {
        scim::parse(request, matches!(route, Route::Group(_) | Route::Groups), &body)
    } else {
        Ok(None)
    } {
        Ok(write) => write,
        Err(answer) => return answer,
    };
    let mode = match token.map(|token| store.mode_of(token)) {
        None => return scim::error(401, None, "authorization failed: Token not provided"),
        Some(None) => return scim::error(401, None, "authorization failed: Invalid SCIM token"),
        Some(Some(mode)) => mode,
    };
    match (route, search) {
        (_, Some(Err(answer))) => answer,
        (_, Some(Ok(search))) => scim::list(store, &search),
        (Route::Users | Route::Groups, None) => scim::create(store, mode, write),
        (Route::User(id), None) => scim::on_user(store, mode, &request.method, id, write),
        (Route::Group(id), None) => scim::on_group(store, &request.method, id, write),
        _ => Response::empty(404),
    }
}

/// The body to parse: Wire inflates it if Content-Encoding is exactly `gzip`.
fn inflated(request: &Request) -> Result<Cow<'_, [u8]>, Response> {
    if request.header("content-encoding") != Some(b"gzip") {
        return Ok(Cow::Borrowed(&request.body));
    }
    let mut inflated = Vec::new();
    let mut decoder = flate2::read::GzDecoder::new(request.body.as_slice()).take(MAX_INFLATED);
    match decoder.read_to_end(&mut inflated) {
        Ok(_) => Ok(Cow::Owned(inflated)),
        Err(_) => Err(Response::text(500, "Something went wrong")),
    }
}

fn accepts(request: &Request) -> bool {
    let Some(line) = request.header("accept") else { return true };
    String::from_utf8_lossy(line).to_ascii_lowercase().split(',').any(|range| {
        let range = range.replace([' ', '\t'], "");
        let (kind, parameters) =
            range.split_once(';').map_or((range.as_str(), None), |(k, p)| (k, Some(p)));
        match kind {
            "*/*" | "application/*" => parameters.is_none_or(|all| all.split(';').all(has_weight)),
            "application/json" | "application/scim+json" => parameters.is_none_or(|all| {
                all.split(';').all(|one| one == "charset=utf-8" || has_weight(one))
            }),
            _ => false,
        }
    })
}

/// Whether a parameter is a non-zero quality value.
fn has_weight(parameter: &str) -> bool {
    parameter.strip_prefix("q=").and_then(|q| q.parse::<f32>().ok()).is_some_and(|q| q > 0.0)
}

fn is_json_type(request: &Request) -> bool {
    let Some(line) = request.header("content-type") else { return false };
    let line = String::from_utf8_lossy(line).to_ascii_lowercase();
    let mut parts = line.split(';').map(str::trim);
    let kind = parts.next().unwrap_or_default();
    matches!(kind, "application/json" | "application/scim+json")
        && parts
            .all(|parameter| parameter.split_once('=').is_some_and(|(_, value)| !value.is_empty()))
}
