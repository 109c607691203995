//! Repairs in the running proxy: on the wire, in headers, metrics and logs, and by token.

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use wire_scim_guard::config::Config;
use wire_scim_guard::policy::Action;
use wire_scim_guard::repair::{Repair, Repairs};

use crate::support::{
    Backend, Guarded, OTHER, Reply, TOKEN, answer, entry, registry_file, user, with_length,
};

const SPOKEN: &str = r#"{"userName":"al" , "displayName":"Al","externalId":"a@example.com","preferredLanguage":"EN-us"}"#;

fn with(repairs: &[Repair]) -> impl FnOnce(&mut Config) {
    let repairs = Repairs::of(repairs);
    move |config| config.repairs = Some(repairs)
}

fn post(headers: &str, body: &[u8]) -> Vec<u8> {
    let head = format!(
        "POST /scim/v2/Users HTTP/1.1\r\nHost: wire.example\r\nAuthorization: Bearer {TOKEN}\r\n\
         {headers}Content-Length: {}\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}

fn counted(repair: Repair) -> String {
    format!("scim_guard_repairs_total{{repair=\"{}\"}}", repair.name())
}

#[test]
fn a_repaired_body_is_unchanged_outside_the_repair() {
    let backend = Backend::start(|_| {
        let answer = answer(201, "{}");
        let text = String::from_utf8(answer).unwrap();
        Reply::Bytes(text.replacen("\r\n", "\r\nScim-Guard-Repaired: forged\r\n", 1).into_bytes())
    });
    let guarded = Guarded::configured(&[backend.addr], with(&[Repair::Language]));
    let answer = guarded.ask(with_length("POST", "/scim/v2/Users", SPOKEN.as_bytes()));
    assert_eq!((answer.status, answer.header("scim-guard-repaired")), (201, Some("language")));
    let seen = backend.wait(1);
    assert_eq!(String::from_utf8(seen.body.clone()).unwrap(), SPOKEN.replace("EN-us", "en-us"));
    assert_eq!(seen.header("content-length"), [seen.body.len().to_string()]);
    assert_eq!(guarded.metric(&counted(Repair::Language)), 1.0);
    let line = guarded.access_line(1);
    assert_eq!(line["repaired"], serde_json::json!(["language"]));
    assert_eq!(line["verdict"], "forwarded");
}

#[test]
fn a_request_without_need_of_repair_passes_byte_for_byte_without_a_forged_header() {
    let backend = Backend::start(|_| {
        let text = String::from_utf8(answer(201, "{}")).unwrap();
        Reply::Bytes(text.replacen("\r\n", "\r\nScim-Guard-Repaired: forged\r\n", 1).into_bytes())
    });
    let guarded =
        Guarded::configured(&[backend.addr], |config| config.repairs = Some(Repairs::all()));
    let body = user(900);
    let request = post(
        "Accept: application/json\r\nContent-Type: application/json\r\nscim-guard-repaired: me\r\n",
        &body,
    );
    let answer = guarded.ask(request);
    assert_eq!((answer.status, answer.header("scim-guard-repaired")), (201, None));
    let seen = backend.wait(1);
    assert_eq!(seen.body, body);
    assert_eq!(seen.header("accept"), ["application/json"]);
    assert_eq!(seen.header("content-type"), ["application/json"]);
    assert!(seen.header("scim-guard-repaired").is_empty());
    assert!(guarded.access_line(1).get("repaired").is_none());
}

#[test]
fn headers_are_repaired_but_html_and_xml_stay_refused() {
    let backend = Backend::fine();
    let guarded =
        Guarded::configured(&[backend.addr], with(&[Repair::Accept, Repair::ContentType]));
    let body = user(300);
    let answer = guarded.ask(post(
        "Accept: text/json\r\nAccept: text/html\r\nContent-Type: application/json;\r\n",
        &body,
    ));
    assert_eq!(answer.header("scim-guard-repaired"), Some("accept, content_type"));
    let seen = backend.wait(1);
    assert_eq!(seen.body, body);
    for name in ["accept", "content-type"] {
        assert_eq!(seen.header(name), ["application/scim+json;charset=utf-8"], "{name}");
    }
    guarded
        .ask(post("Accept: text/html\r\nContent-Type: application/json\r\n", &body))
        .refused("headers.accept");
    guarded.ask(post("Content-Type: text/xml\r\n", &body)).refused("body.media_type");
    assert_eq!(guarded.ask(post("", &body)).status, 200);
    // A request that is refused nevertheless was not repaired.
    let refused = guarded.ask(post("", b"{"));
    refused.refused("json.syntax");
    assert_eq!(refused.header("scim-guard-repaired"), None);
    guarded.access_line(5);
    let lines = guarded.access_lines();
    let refused = lines.iter().find(|line| line["rule"] == "json.syntax").unwrap();
    assert!(refused.get("repaired").is_none());
    assert_eq!(guarded.metric(&counted(Repair::ContentType)), 2.0);
}

#[test]
fn a_repaired_gzip_body_is_forwarded_without_its_coding() {
    let backend = Backend::fine();
    let guarded = Guarded::configured(&[backend.addr], with(&[Repair::Language]));
    let gzipped = |body: &[u8]| {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(body).unwrap();
        encoder.finish().unwrap()
    };
    let headers = "Content-Type: application/json\r\nContent-Encoding: gzip\r\n";
    assert_eq!(guarded.ask(post(headers, &gzipped(SPOKEN.as_bytes()))).status, 200);
    let seen = backend.wait(1);
    assert_eq!(String::from_utf8(seen.body.clone()).unwrap(), SPOKEN.replace("EN-us", "en-us"));
    assert!(seen.header("content-encoding").is_empty());
    assert_eq!(seen.header("content-length"), [seen.body.len().to_string()]);
    // Without a repair it passes unchanged.
    let sound = gzipped(&user(300));
    assert_eq!(guarded.ask(post(headers, &sound)).status, 200);
    let seen = backend.wait(2);
    assert_eq!((seen.body.as_slice(), seen.header("content-encoding")), (&sound[..], vec!["gzip"]));
}

#[test]
fn an_entry_of_the_registry_has_its_own_repairs_and_an_unknown_or_expired_one_has_none() {
    let backend = Backend::fine();
    let path = registry_file(&[
        entry("plain", TOKEN, "repairs: []"),
        entry("own", OTHER, "repairs: [language, accept]"),
    ]);
    let guarded = Guarded::configured(&[backend.addr], |config| {
        config.repairs = Some(Repairs::of(&[Repair::Language]));
        config.tokens = Some(path);
    });
    let request = with_length("POST", "/scim/v2/Users", SPOKEN.as_bytes());
    guarded.ask(&request).refused("user.language");
    let by = |token: &str, headers: &str| {
        let text = String::from_utf8(request.clone()).unwrap().replace(TOKEN, token);
        text.replacen("\r\n", &format!("\r\n{headers}"), 1)
    };
    assert_eq!(guarded.ask(by(OTHER, "Accept: text/json\r\n")).status, 200);
    let unknown = "AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI=";
    guarded.ask(by(unknown, "")).refused("token.unknown");
    // Its Accept is judged before the token, as always, and nothing repairs it.
    guarded.ask(by(unknown, "Accept: text/json\r\n")).refused("headers.accept");
    let path = registry_file(&[entry("old", TOKEN, "repairs: [accept], expires: 2020-01-01")]);
    let guarded = Guarded::configured(&[backend.addr], |config| {
        config.repairs = Some(Repairs::all());
        config.tokens = Some(path);
    });
    guarded.ask(by(TOKEN, "Accept: text/json\r\n")).refused("headers.accept");
    guarded.ask(&request).refused("token.expired");
    // Discovery requires no token, and uses the configured repairs.
    let discovery = "GET /scim/v2/Schemas HTTP/1.1\r\nHost: a\r\nAccept:\r\n\r\n";
    assert_eq!(guarded.ask(discovery).status, 200);
}

#[test]
fn repairs_apply_when_rules_are_reported_but_not_when_they_are_off() {
    let backend = Backend::fine();
    let text = |mode: &str| {
        format!(
            "listen: [\"127.0.0.1:8080\"]\nupstream: {{servers: [\"{}\"]}}\nrules: {{mode: {mode}}}\n\
             repairs: [language]\n",
            backend.addr
        )
    };
    let bodies = ["report", "off"].map(|mode| {
        let read = wire_scim_guard::config::file::parse(&text(mode)).unwrap();
        let warned = read.warnings.iter().any(|warning| warning.to_string().contains("repairs"));
        assert_eq!(warned, mode == "off");
        let guarded = Guarded::configured(&[backend.addr], |config| {
            config.repairs = read.repairs;
            config.policy.cap(Action::Report);
        });
        guarded.ask(with_length("POST", "/scim/v2/Users", SPOKEN.as_bytes()));
        let verdict = guarded.access_line(1)["verdict"].clone();
        assert_eq!(verdict, if mode == "off" { "reported" } else { "forwarded" });
        String::from_utf8(backend.wait(backend.seen().len()).body).unwrap()
    });
    assert_eq!(bodies, [SPOKEN.replace("EN", "en"), SPOKEN.to_owned()]);
}

#[test]
fn a_repaired_body_is_bounded_by_the_limit_for_bodies() {
    let backend = Backend::fine();
    let guarded = Guarded::configured(&[backend.addr], with(&[Repair::GroupsMembers]));
    let members = |count: usize| {
        let member = r#"{"value":"3aab60e5-5f1f-4c4d-a7d6-1b2d0ee8d4f3"}"#;
        let members = vec![member; count].join(",");
        format!(r#"{{"schemas":[],"displayName":"a","members":[{members}]}}"#)
    };
    let fits = guarded.ask(with_length("POST", "/scim/v2/Groups", members(6_000).as_bytes()));
    assert_eq!((fits.status, fits.header("scim-guard-repaired")), (200, Some("groups.members")));
    assert!(backend.wait(1).body.len() > 400_000);
    guarded
        .ask(with_length("POST", "/scim/v2/Groups", members(9_000).as_bytes()))
        .refused("body.too_large");
    let put = format!("/scim/v2/Groups/{}", "3aab60e5-5f1f-4c4d-a7d6-1b2d0ee8d4f3");
    guarded
        .ask(with_length("PUT", &put, br#"{"schemas":[],"displayName":"a","members":null}"#))
        .refused("group.members");
}
