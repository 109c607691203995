//! For every rule that a single request can hit: one that does, and the most similar one that does not.

use std::io::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Value, json};
use wire_scim_guard::config::{Config, OnFailure};
use wire_scim_guard::deprovisioning::Limit;
use wire_scim_guard::policy::Action;
use wire_scim_guard::release::{Release, Releases};
use wire_scim_guard::rule::Rule;

use crate::support::{
    OTHER, TOKEN, chunked, entry, head, registry_file, shared, user, with_length,
};

const USER: &str = "5b8c4d6e-1f2a-4b3c-8d9e-0a1b2c3d4e5f";
const GROUP: &str = "9d2f7c1a-3b4e-4c5d-a6f7-8091a2b3c4d5";
const PATCH_OP: &str = "urn:ietf:params:scim:api:messages:2.0:PatchOp";
const WIRE_USER: &str = "urn:ietf:params:scim:schemas:extension:wire:1.0:User";
const WIRE_PROFILE: &str = "urn:wire:scim:schemas:profile:1.0";

/// A rule with a request that hits it and the nearest valid one.
pub struct Case {
    pub rule: Rule,
    pub configure: fn(&mut Config),
    pub hit: Vec<u8>,
    pub miss: Vec<u8>,
}

/// A store that nothing listens for.
fn without_store(config: &mut Config) {
    config.deprovisioning = Some(Limit { at_most: 1, within: Duration::from_secs(3600) });
    config.shared = Some(shared(1, Duration::from_millis(20), OnFailure::Refuse));
}

fn case(rule: Rule, hit: Vec<u8>, miss: Vec<u8>) -> Case {
    configured(rule, |_| {}, hit, miss)
}

fn configured(rule: Rule, configure: fn(&mut Config), hit: Vec<u8>, miss: Vec<u8>) -> Case {
    Case { rule, configure, hit, miss }
}

fn get(target: &str) -> Vec<u8> {
    get_with(target, "")
}

fn get_with(target: &str, lines: &str) -> Vec<u8> {
    format!(
        "GET {target} HTTP/1.1\r\nHost: wire.example\r\nAuthorization: Bearer {TOKEN}\r\n{lines}\r\n"
    )
    .into_bytes()
}

/// A GET with these Authorization lines.
pub fn authorized(lines: &str) -> Vec<u8> {
    format!("GET /scim/v2/Users/{USER} HTTP/1.1\r\nHost: wire.example\r\n{lines}\r\n").into_bytes()
}

/// Three addresses, of which this many are primary.
fn primaries(count: usize) -> Value {
    let entry = |at| json!({"value": format!("a{at}@example.com"), "primary": at < count});
    json!({"emails": (0..3).map(entry).collect::<Vec<_>>()})
}

pub fn post_user(body: &str) -> Vec<u8> {
    with_length("POST", "/scim/v2/Users", body.as_bytes())
}

/// A POST of a user with these headers in place of the usual ones.
fn post_with(lines: &str, body: &[u8]) -> Vec<u8> {
    let mut request = format!(
        "POST /scim/v2/Users HTTP/1.1\r\nHost: wire.example\r\nAuthorization: Bearer {TOKEN}\r\n{lines}\r\n"
    )
    .into_bytes();
    request.extend_from_slice(body);
    request
}

/// A valid user with some attributes changed; null removes one.
pub fn changed(changes: &Value) -> String {
    let mut user = json!({
        "schemas": ["urn:ietf:params:scim:schemas:core:2.0:User"],
        "userName": "alice",
        "externalId": "alice@example.com",
        "displayName": "Alice"
    });
    for (name, value) in changes.as_object().unwrap() {
        if value.is_null() {
            user.as_object_mut().unwrap().remove(name);
        } else {
            user[name] = value.clone();
        }
    }
    user.to_string()
}

fn users(rule: Rule, hit: &Value, miss: &Value) -> Case {
    case(rule, post_user(&changed(hit)), post_user(&changed(miss)))
}

/// A rule that is off by default.
fn opt_in(rule: Rule, hit: &str, miss: &str) -> Case {
    let switch_on: fn(&mut Config) =
        |config| config.policy.set("user.text.*", Action::Enforce).unwrap();
    let named = |name: &str| post_user(&changed(&json!({"displayName": name})));
    configured(rule, switch_on, named(hit), named(miss))
}

pub fn with_token(token: &str) -> String {
    format!("Authorization: Bearer {token}\r\n")
}

fn patch(body: &Value) -> Vec<u8> {
    with_length("PATCH", &format!("/scim/v2/Users/{USER}"), body.to_string().as_bytes())
}

fn operation(operation: &Value) -> Vec<u8> {
    patch(&json!({"schemas": [PATCH_OP], "Operations": [operation]}))
}

fn patches(rule: Rule, hit: &Value, miss: &Value) -> Case {
    case(rule, operation(hit), operation(miss))
}

fn group(changes: &Value) -> Vec<u8> {
    let mut group = json!({"schemas": [], "displayName": "Engineers", "members": []});
    for (name, value) in changes.as_object().unwrap() {
        group[name] = value.clone();
    }
    with_length("POST", "/scim/v2/Groups", group.to_string().as_bytes())
}

fn groups(rule: Rule, hit: &Value, miss: &Value) -> Case {
    case(rule, group(hit), group(miss))
}

/// A folder with schemas of an operator that are stricter than the built-in ones.
fn own_schemas(config: &mut Config) {
    let folder: PathBuf = [env!("CARGO_TARGET_TMPDIR"), "schemas"].iter().collect();
    std::fs::create_dir_all(&folder).unwrap();
    let write = |name: &str, change: fn(&mut Value)| {
        let text = std::fs::read_to_string(format!("schemas/{name}")).unwrap();
        let mut schema: Value = serde_json::from_str(&text).unwrap();
        change(&mut schema);
        std::fs::write(folder.join(name), schema.to_string()).unwrap();
    };
    write("user.json", |schema| {
        schema["properties"]["userName"]["pattern"] = "^[a-z]+[.][a-z]+$".into();
    });
    write("patch.json", |schema| schema["properties"]["Operations"]["maxItems"] = 1.into());
    write("group.json", |schema| schema["properties"]["displayName"]["pattern"] = "^Team ".into());
    config.schemas = Some(folder);
}

fn gzip(body: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(body).unwrap();
    encoder.finish().unwrap()
}

fn filter_of_length(bytes: usize) -> String {
    let start = "/scim/v2/Users?filter=externalId%20eq%20%22";
    format!("{start}{}%22", "a".repeat(bytes - start.len() - 3))
}

fn extra_headers(count: usize) -> String {
    (0..count).map(|at| format!("X-{at}: 1\r\n")).collect()
}

/// One case for every rule that a single request can hit.
pub fn cases() -> Vec<Case> {
    use Rule as R;
    let path = format!("/scim/v2/Users/{USER}");
    let alice = changed(&json!({}));
    let json_type = "Content-Type: application/scim+json\r\n";
    let sized = |lines: &str, body: &[u8]| {
        post_with(&format!("{json_type}{lines}Content-Length: {}\r\n", body.len()), body)
    };
    let typed = |kind: &str| {
        post_with(&format!("{kind}Content-Length: {}\r\n", alice.len()), alice.as_bytes())
    };
    let nested = |depth: usize| {
        let list = format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        post_user(&alice.replacen('{', &format!("{{\"x\":{list},"), 1))
    };
    let number = |digits: usize| {
        post_user(&alice.replacen('{', &format!("{{\"x\":{},", "1".repeat(digits)), 1))
    };
    let bearer = |token: &str| authorized(&format!("Authorization: Bearer {token}\r\n"));
    let short: fn(&mut Config) = |config| {
        config.limits.header_timeout = Duration::from_millis(300);
        config.limits.body_timeout = Duration::from_millis(300);
    };
    let rich = |size: usize| json!({WIRE_USER: {"Department": "x".repeat(size - 10)}});
    vec![
        case(R::TargetAmbiguous, get(&format!("/scim/v2/./Users/{USER}")), get(&path)),
        case(R::TargetNotFound, get(&format!("/scim/v2/User/{USER}")), get(&path)),
        case(R::TargetTooLong, get(&filter_of_length(8193)), get(&filter_of_length(8192))),
        case(R::TargetId, get("/scim/v2/Users/alice"), get(&path)),
        case(R::FramingMessage, get(&path).into_iter().filter(|b| *b != b'\r').collect(), get(&path)),
        case(
            R::FramingLength,
            post_with(&format!("{json_type}Content-Length: {0}\r\nContent-Length: {0}\r\n", alice.len()), alice.as_bytes()),
            sized("", alice.as_bytes()),
        ),
        case(
            R::FramingTransferEncoding,
            post_with(&format!("{json_type}Transfer-Encoding: gzip, chunked\r\n"), b"0\r\n\r\n"),
            chunked("POST", "/scim/v2/Users", alice.as_bytes()),
        ),
        configured(
            R::FramingHost,
            |config| config.hosts = vec!["wire.example".into()],
            format!("GET {path} HTTP/1.1\r\nHost: other.example\r\nAuthorization: Bearer {TOKEN}\r\n\r\n").into(),
            get(&path),
        ),
        case(R::FramingHeader, get_with(&path, "X-A : 1\r\n"), get_with(&path, "X-A: 1\r\n")),
        case(
            R::FramingUpgrade,
            get_with(&path, "Connection: upgrade\r\nUpgrade: websocket\r\n"),
            get_with(&path, "Connection: keep-alive\r\n"),
        ),
        case(
            R::MethodNotAllowed,
            with_length("PUT", "/scim/v2/Users", alice.as_bytes()),
            with_length("PUT", &path, alice.as_bytes()),
        ),
        case(
            R::HeadersAccept,
            get_with(&path, "Accept: text/json\r\n"),
            get_with(&path, "Accept: application/json\r\n"),
        ),
        case(
            R::HeadersDuplicate,
            typed("Content-Type: application/json\r\nContent-Type: text/plain\r\n"),
            typed("Content-Type: application/json\r\n"),
        ),
        case(R::TokenMissing, authorized(""), bearer(TOKEN)),
        case(R::TokenMalformed, bearer(&TOKEN[1..]), bearer(TOKEN)),
        case(
            R::TokenDuplicate,
            authorized(&format!("Authorization: Bearer {TOKEN}\r\n").repeat(2)),
            bearer(TOKEN),
        ),
        case(
            R::BodyMediaType,
            typed("Content-Type: text/json\r\n"),
            typed("Content-Type: application/json; charset=utf-8\r\n"),
        ),
        case(
            R::BodyEncoding,
            sized("Content-Encoding: br\r\n", alice.as_bytes()),
            sized("Content-Encoding: gzip\r\n", &gzip(alice.as_bytes())),
        ),
        configured(
            R::BodyTooLarge,
            |config| config.limits.body = 1000,
            with_length("POST", "/scim/v2/Users", &user(1001)),
            with_length("POST", "/scim/v2/Users", &user(1000)),
        ),
        configured(
            R::BodyTimeout,
            short,
            post_with(&format!("{json_type}Content-Length: 10\r\n"), b"{"),
            sized("", alice.as_bytes()),
        ),
        case(R::JsonSyntax, post_user(&alice.replace("}", ",}")), post_user(&alice.replace("}", " }"))),
        case(
            R::JsonDuplicateKey,
            post_user(&alice.replacen('{', "{\"USERNAME\":\"bob\",", 1)),
            post_user(&alice.replacen('{', "{\"x\":1,\"x\":2,", 1)),
        ),
        case(R::JsonDepth, nested(512), nested(511)),
        case(R::JsonObject, post_user("[]"), post_user(&alice)),
        case(R::JsonNumber, number(4097), number(4096)),
        configured(
            R::UserSchema,
            own_schemas,
            post_user(&alice),
            post_user(&changed(&json!({"userName": "alice.example"}))),
        ),
        users(R::UserType, &json!({"active": 1}), &json!({"active": "TRUE"})),
        users(R::UserUserName, &json!({"userName": "alice@example.com"}), &json!({"userName": "alice_example.c-m"})),
        users(R::UserUserNameCase, &json!({"userName": "Alice"}), &json!({"userName": "alice"})),
        users(R::UserUserNameReserved, &json!({"userName": "admin"}), &json!({"userName": "admin1"})),
        users(
            R::UserDisplayName,
            &json!({"displayName": "ü".repeat(129)}),
            &json!({"displayName": "ü".repeat(128)}),
        ),
        users(R::UserDisplayNameRequired, &json!({"displayName": null}), &json!({"displayName": " "})),
        users(R::UserExternalIdRequired, &json!({"externalId": null}), &json!({})),
        configured(
            R::UserExternalIdEmail,
            |config| config.policy.identity = wire_scim_guard::policy::Identity::Email,
            post_user(&changed(&json!({"externalId": "alice"}))),
            post_user(&changed(&json!({"externalId": "alice", "emails": [{"value": "a@b"}]}))),
        ),
        users(R::UserEmails, &json!({"emails": [{"value": "a@b_c"}]}), &json!({"emails": [{"value": "a_b@c"}]})),
        configured(
            R::UserEmailsPrimary,
            |config| config.policy.releases = Releases::Only(Release::R5_35),
            post_user(&changed(&primaries(2))),
            post_user(&changed(&primaries(1))),
        ),
        users(R::UserPassword, &json!({"password": ""}), &json!({"password": null})),
        users(R::UserRoles, &json!({"roles": ["Admin"]}), &json!({"roles": ["admin"]})),
        users(R::UserLanguage, &json!({"preferredLanguage": "EN"}), &json!({"preferredLanguage": "en-US"})),
        users(
            R::UserRichInfo,
            &json!({WIRE_PROFILE: {"richInfo": {"version": 1, "fields": []}}}),
            &json!({WIRE_PROFILE: {"richInfo": {"version": 0, "fields": []}}}),
        ),
        users(R::UserRichInfoSize, &rich(5001), &rich(5000)),
        users(R::UserProfileUrl, &json!({"profileUrl": "example.com"}), &json!({"profileUrl": "https:example.com"})),
        opt_in(R::UserTextControl, "Al\u{7}ice", "Al ice"),
        configured(
            R::TokenUnknown,
            |config| config.tokens = Some(registry_file(&[entry("known", TOKEN, "")])),
            authorized(&with_token(OTHER)),
            authorized(&with_token(TOKEN)),
        ),
        configured(
            R::TokenExpired,
            |config| {
                let old = entry("old", OTHER, "expires: 2020-02-29");
                let new = entry("new", TOKEN, "expires: 9999-12-30");
                config.tokens = Some(registry_file(&[old, new]));
            },
            authorized(&with_token(OTHER)),
            authorized(&with_token(TOKEN)),
        ),
        configured(
            R::TokenNetwork,
            |config| {
                let elsewhere = entry("elsewhere", OTHER, "networks: [127.0.0.2, 192.0.2.0/24]");
                let here = entry("here", TOKEN, "networks: [192.0.2.0/24, 127.0.0.1]");
                config.tokens = Some(registry_file(&[elsewhere, here]));
            },
            authorized(&with_token(OTHER)),
            authorized(&with_token(TOKEN)),
        ),
        configured(
            R::TokenCertificate,
            |config| {
                let certified = entry("certified", OTHER, "client_certificate: \"dns:idp.example\"");
                config.tokens = Some(registry_file(&[certified, entry("free", TOKEN, "")]));
            },
            authorized(&with_token(OTHER)),
            authorized(&with_token(TOKEN)),
        ),
        configured(
            R::TokenOperation,
            |config| config.tokens = Some(registry_file(&[entry("audit", TOKEN, "methods: [GET]")])),
            post_user(&changed(&json!({}))),
            get(&path),
        ),
        opt_in(R::UserTextBidirectional, "Al\u{202e}ice", "Al\u{200d}ice"),
        opt_in(R::UserTextInvisible, "Al\u{200b}ice", "Al\u{200d}ice"),
        opt_in(R::UserTextBlank, "\u{2003}", "\u{2003}."),
        configured(
            R::PatchSchema,
            own_schemas,
            patch(&json!({"schemas": [PATCH_OP], "Operations": [{"op": "remove", "path": "title"}, {"op": "remove", "path": "title"}]})),
            patch(&json!({"schemas": [PATCH_OP], "Operations": [{"op": "remove", "path": "title"}]})),
        ),
        case(
            R::PatchSchemas,
            patch(&json!({"schemas": [PATCH_OP.to_lowercase()], "Operations": []})),
            patch(&json!({"schemas": [PATCH_OP, "x"], "Operations": []})),
        ),
        case(
            R::PatchOperations,
            patch(&json!({"schemas": [PATCH_OP], "Operations": {}})),
            patch(&json!({"schemas": [PATCH_OP], "Operations": []})),
        ),
        patches(
            R::PatchOp,
            &json!({"op": "set", "path": "active", "value": true}),
            &json!({"op": "REPLACE", "path": "active", "value": true}),
        ),
        patches(
            R::PatchPath,
            &json!({"op": "replace", "path": "phoneNumbers[type eq \"work\"].value", "value": "a@b"}),
            &json!({"op": "replace", "path": "emails[type eq \"work\"].value", "value": "a@b"}),
        ),
        patches(
            R::PatchValue,
            &json!({"op": "replace", "value": {"active": false}}),
            &json!({"op": "replace", "path": "active", "value": false}),
        ),
        patches(R::PatchNoTarget, &json!({"op": "remove"}), &json!({"op": "remove", "path": "title"})),
        patches(
            R::PatchMutability,
            &json!({"op": "remove", "path": "userName"}),
            &json!({"op": "remove", "path": "nickName"}),
        ),
        configured(R::GroupSchema, own_schemas, group(&json!({})), group(&json!({"displayName": "Team A"}))),
        groups(R::GroupType, &json!({"displayName": 5}), &json!({"displayName": "5"})),
        groups(
            R::GroupDisplayName,
            &json!({"displayName": "x".repeat(4001)}),
            &json!({"displayName": "x".repeat(4000)}),
        ),
        groups(
            R::GroupMembers,
            &json!({"members": [{"value": USER, "display": "Alice"}]}),
            &json!({"members": [{"value": USER, "type": "User", "$ref": ""}]}),
        ),
        case(
            R::GroupPatch,
            with_length("PATCH", &format!("/scim/v2/Groups/{GROUP}"), b"{}"),
            with_length(
                "PUT",
                &format!("/scim/v2/Groups/{GROUP}"),
                br#"{"schemas":[],"displayName":"x","members":[]}"#,
            ),
        ),
        case(
            R::FilterRequired,
            get("/scim/v2/Users?count=1"),
            get("/scim/v2/Users?count=1&filter=userName%20eq%20%22a%22"),
        ),
        case(
            R::FilterSyntax,
            get("/scim/v2/Users?filter=userName+eq+%22a%22+and+active+eq+true"),
            get("/scim/v2/Users?filter=userName+eq+%22a%22"),
        ),
        case(
            R::FilterUnsupported,
            get("/scim/v2/Groups?filter=displayName+eq+%22a%22"),
            get("/scim/v2/Groups?filter=displayName+co+%22a%22"),
        ),
        case(R::QueryPagination, get("/scim/v2/Groups?count=1.5"), get("/scim/v2/Groups?count=-1")),
        case(R::LimitsHeaders, get_with(&path, &extra_headers(99)), get_with(&path, &extra_headers(98))),
        configured(R::LimitsHeaderTimeout, short, get(&path)[..40].to_vec(), get(&path)),
        configured(
            R::LimitsBufferedBytes,
            |config| config.limits.buffered_bytes = 1000,
            with_length("POST", "/scim/v2/Users", &user(1001)),
            with_length("POST", "/scim/v2/Users", &user(1000)),
        ),
        configured(
            R::SharedUnavailable,
            without_store,
            format!("{}\r\n", head("DELETE", &path)).into_bytes(),
            get(&path),
        ),
    ]
}
