//! Which requests remove a user.

use wire_scim_guard::repair::{Repair, Repairs};

use crate::requests::{
    HELD, TOTAL, USED, deactivate, delete, limited, limited_with, patch, path, put,
};
use crate::support::{Backend, Guarded, user, with_length};

/// Asks a guard without a free place whether this request is refused.
fn is_held(request: &[u8]) -> bool {
    let backend = Backend::fine();
    let guarded = limited(&backend, 1);
    assert_eq!(guarded.ask(delete(0)).status, 200);
    decide(&guarded, request)
}

fn decide(guarded: &Guarded, request: &[u8]) -> bool {
    let answer = guarded.ask(request);
    if answer.status == 429 {
        answer.refused(HELD);
        return true;
    }
    assert_eq!(answer.status, 200, "{}", answer.head);
    false
}

#[test]
fn a_put_counts_if_wire_reads_it_as_inactive() {
    for (active, held) in [
        ("false", true),
        ("\"False\"", true),
        ("\"FALSE\"", true),
        ("true", false),
        ("\"True\"", false),
        ("null", false),
        ("", false),
    ] {
        assert_eq!(is_held(&put(1, active)), held, "{active}");
    }
}

#[test]
fn a_patch_counts_by_what_its_operations_leave() {
    let set = |value: &str| format!(r#"{{"op":"replace","path":"active","value":{value}}}"#);
    let no = set("false");
    let yes = set("true");
    let name = r#"{"op":"add","path":"displayName","value":"N"}"#.to_owned();
    let whole = |active: &str| {
        format!(
            r#"{{"op":"replace","value":{{"userName":"u1","displayName":"U","externalId":"u1@example.com"{active}}}}}"#
        )
    };
    for (operations, held) in [
        (no.clone(), true),
        (set("\"False\""), true),
        (no.replace("\"active\"", "\"urn:ietf:params:scim:schemas:core:2.0:User:Active\""), true),
        (no.replace("replace", "Add"), true),
        (format!("{name},{no}"), true),
        (format!("{yes},{no}"), true),
        (whole(r#","active":false"#), true),
        (format!("{yes},{}", whole(r#","active":"false""#)), true),
        (format!("{no},{yes}"), false),
        (format!("{no},{}", whole("")), false),
        (format!(r#"{no},{{"op":"remove","path":"active"}}"#), false),
        (name, false),
        (yes, false),
    ] {
        assert_eq!(is_held(&patch(1, &operations)), held, "{operations}");
    }
}

#[test]
fn a_repaired_request_counts_as_what_it_has_become() {
    let pathless = patch(1, r#"{"op":"replace","value":{"active":false}}"#);
    let other = patch(1, r#"{"op":"replace","value":{"displayName":"N"}}"#);
    let backend = Backend::fine();
    let guarded = limited_with(&backend, 1, |config| {
        config.repairs = Some(Repairs::of(&[Repair::PatchPathless]));
    });
    assert!(!decide(&guarded, &delete(0)));
    assert!(decide(&guarded, &pathless));
    assert!(!decide(&guarded, &other));
    // A user who counts already can still be patched.
    let answer = guarded.ask(patch(0, r#"{"op":"replace","value":{"active":false}}"#));
    assert_eq!(
        (answer.status, answer.header("scim-guard-repaired")),
        (200, Some("patch.pathless"))
    );
    assert_eq!(backend.seen().len(), 3);
}

#[test]
fn groups_new_users_and_reading_do_not_count() {
    let group = path(1).replace("Users", "Groups");
    let members = br#"{"schemas":["urn:ietf:params:scim:schemas:core:2.0:Group"],"displayName":"g","members":[]}"#;
    let head = crate::support::head("DELETE", &group);
    assert!(!is_held(format!("{head}\r\n").as_bytes()));
    assert!(!is_held(&with_length("PUT", &group, members)));
    assert!(!is_held(&crate::requests::get(1)));
    let new = String::from_utf8(user(300)).unwrap().replacen('{', "{\"active\":false,", 1);
    assert!(!is_held(&with_length("POST", "/scim/v2/Users", new.as_bytes())));
}

#[test]
fn a_user_is_the_same_in_every_spelling_of_its_path() {
    let backend = Backend::fine();
    let guarded = limited(&backend, 1);
    let spelled = |path: String| format!("{}\r\n", crate::support::head("DELETE", &path));
    let id = path(0xabc);
    for same in [
        id.clone(),
        id.replace("abc", "ABC").replace("aab60e5", "AAB60E5"),
        format!("{id}/"),
        format!("/v7{id}"),
        format!("{id}?x=/scim/v2/Users/y"),
        id.replace("/v2", ""),
        id.replace("Users/3", "Users/%33"),
    ] {
        assert_eq!(guarded.ask(spelled(same.clone())).status, 200, "{same}");
    }
    assert_eq!((guarded.metric(USED), guarded.metric(TOTAL)), (1.0, 1.0));
    guarded.ask(spelled(path(0xabd))).refused(HELD);
    guarded.ask(deactivate(0xabd)).refused(HELD);
}
