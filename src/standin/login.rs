//! The login of the demo team's admin, and the tokens that an admin manages.

use std::collections::{BTreeMap, HashSet};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use uuid::Uuid;

use super::http::{Request, Response};
use super::reading::Mode;
use super::store::Store;

/// The email address of the demo team's admin.
pub const ADMIN_EMAIL: &str = "admin@example.com";

/// The password of the demo team's admin; it is not secret, as it protects nothing.
pub const ADMIN_PASSWORD: &str = "secret123";

/// How many SCIM tokens a team may have, in addition to those of the demo.
const MAX_TOKENS: usize = 8;
/// The first API version in which tokens have names.
const NAMES_SINCE: u32 = 8;

/// SCIM tokens, and the logins of admins.
#[derive(Debug)]
pub(super) struct Tokens {
    demo: Vec<(String, Mode)>,
    created: BTreeMap<String, Token>,
    logins: HashSet<String>,
}

#[derive(Debug)]
struct Token {
    secret: String,
    description: String,
    name: String,
    idp: Option<String>,
    created: String,
}

impl Tokens {
    pub(super) fn new(demo: [(&str, Mode); 2]) -> Self {
        let demo = demo.map(|(token, mode)| (token.to_owned(), mode)).to_vec();
        Self { demo, created: BTreeMap::new(), logins: HashSet::new() }
    }

    pub(super) fn mode_of(&self, token: &[u8]) -> Option<Mode> {
        let demo = self.demo.iter().find(|(known, _)| known.as_bytes() == token);
        let created = || self.created.values().find(|known| known.secret.as_bytes() == token);
        demo.map(|(_, mode)| *mode).or_else(|| {
            created().map(|token| if token.idp.is_some() { Mode::Saml } else { Mode::Email })
        })
    }
}

fn failed(status: u16, label: &str, message: &str) -> Response {
    Response::json(status, &json!({"code": status, "label": label, "message": message}))
}

fn body_of(request: &Request) -> Option<Value> {
    serde_json::from_slice(&request.body).ok()
}

fn is_admin(login: &Value) -> bool {
    login["email"] == ADMIN_EMAIL && login["password"] == ADMIN_PASSWORD
}

/// `POST /login`.
pub(super) fn login(store: &mut Store, request: &Request) -> Response {
    if request.method != "POST" {
        return Response::empty(405);
    }
    let Some(login) = body_of(request) else { return Response::text(400, "Error in $: not JSON") };
    if !is_admin(&login) {
        return failed(403, "invalid-credentials", "Authentication failed");
    }
    let access = Uuid::new_v4().to_string();
    store.tokens.logins.insert(access.clone());
    let body = json!({"access_token": access, "expires_in": 900, "token_type": "Bearer", "user": Uuid::new_v4().to_string()});
    let cookie = format!("zuid={}; Path=/access; HttpOnly; Secure", Uuid::new_v4());
    Response { headers: vec![("Set-Cookie", cookie)], ..Response::json(200, &body) }
}

/// Whether the request is authenticated: by an access token, or by nginz in front of it.
fn is_logged_in(store: &Store, request: &Request) -> bool {
    let bearer = request.header("authorization").and_then(|line| line.strip_prefix(b"Bearer "));
    let login = bearer.and_then(|token| std::str::from_utf8(token).ok());
    request.header("z-user").is_some()
        || login.is_some_and(|token| store.tokens.logins.contains(token))
}

/// `/scim/auth-tokens`.
pub(super) fn tokens(
    store: &mut Store,
    request: &Request,
    query: &[(String, Option<String>)],
    version: u32,
) -> Response {
    if !["GET", "HEAD", "POST", "DELETE"].contains(&request.method.as_str()) {
        return Response::empty(405);
    }
    if request.method == "POST"
        && request.header("content-type").is_none_or(|t| !t.starts_with(b"application/json"))
    {
        return Response::empty(415);
    }
    if !is_logged_in(store, request) {
        return failed(401, "unauthorized", "no login");
    }
    match request.method.as_str() {
        "POST" => create(store, request, version),
        "DELETE" => {
            let id = query.iter().find(|(name, _)| name == "id").and_then(|(_, id)| id.as_deref());
            let Some(id) = id else { return Response::text(400, "Query parameter id is required") };
            store.tokens.created.remove(id);
            Response::empty(204)
        }
        _ => {
            let created = store.tokens.created.iter();
            let infos: Vec<Value> = created.map(|(id, token)| info(id, token, version)).collect();
            Response::json(200, &json!({"tokens": infos}))
        }
    }
}

fn create(store: &mut Store, request: &Request, version: u32) -> Response {
    let Some(requested) = body_of(request) else {
        return Response::text(400, "Error in $: not JSON");
    };
    let Some(description) = requested["description"].as_str() else {
        return Response::text(400, "Error in $: key \"description\" not found");
    };
    if requested["password"] != ADMIN_PASSWORD {
        return failed(403, "access-denied", "You do not have permission to access this resource");
    }
    if store.tokens.created.len() >= MAX_TOKENS {
        return failed(403, "token-limit-reached", "The limit of SCIM tokens is reached");
    }
    let id = Uuid::new_v4().to_string();
    let secret = [Uuid::new_v4().into_bytes(), Uuid::new_v4().into_bytes()].concat();
    let named = (version >= NAMES_SINCE).then(|| requested["name"].as_str()).flatten();
    let now = time::OffsetDateTime::now_utc();
    let token = Token {
        secret: STANDARD.encode(secret),
        description: description.to_owned(),
        name: named.unwrap_or(&id).to_owned(),
        idp: requested["idp"].as_str().filter(|_| version >= NAMES_SINCE).map(str::to_owned),
        created: now.format(&time::format_description::well_known::Rfc3339).unwrap_or_default(),
    };
    let answer = json!({"token": token.secret, "info": info(&id, &token, version)});
    store.tokens.created.insert(id, token);
    Response::json(200, &answer)
}

/// The description of a token, which does not contain the token.
fn info(id: &str, token: &Token, version: u32) -> Value {
    let mut info = json!({
        "id": id,
        "team": "00000000-0000-4000-8000-000000000001",
        "created_at": token.created,
        "description": token.description,
    });
    if version >= NAMES_SINCE {
        info["name"] = token.name.as_str().into();
        info["idp"] = json!(token.idp);
    }
    info
}

/// `PUT /scim/auth-tokens/{id}`, in the versions in which tokens have names.
pub(super) fn rename(store: &mut Store, request: &Request, id: &str, version: u32) -> Response {
    if version < NAMES_SINCE {
        return Response::empty(404);
    }
    if request.method != "PUT" {
        return Response::empty(405);
    }
    if !is_logged_in(store, request) {
        return failed(401, "unauthorized", "no login");
    }
    let name = body_of(request).and_then(|body| body["name"].as_str().map(str::to_owned));
    let Some(name) = name else { return Response::text(400, "Error in $: key \"name\" not found") };
    // An unknown id is not an error.
    if let Some(token) = store.tokens.created.get_mut(id) {
        token.name = name;
    }
    Response::empty(200)
}
