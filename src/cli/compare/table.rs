//! The table of probes.
//!
//! SECURITY: they are sent to production servers. A probe is a GET, or a PUT or PATCH of a random id
//! or of the test user; a PUT carries no token, and never names the test user. A PATCH of the test user is
//! an empty one or a trial, which [`super::test_user`] makes harmless.

use super::probe::{Body, Expected, Needs, Probe, Verb};
use crate::release::Release;

const RELEASES: usize = Release::ALL.len();

const SEARCH: &str = "/scim/v2/Users?filter=externalId%20eq%20%22{random}%22";
const RANDOM_USER: &str = "/scim/v2/Users/{random}";
const RANDOM_GROUP: &str = "/scim/v2/Groups/{random}";
const TEST_USER: &str = "/scim/v2/Users/{user}";

/// In the order in which they are sent.
#[rustfmt::skip]
pub const PROBES: &[Probe] = &[
    // Wire does not decode the slash. A guard refuses this target in every configuration, so that one is
    // recognised by its first answer.
    get("path.encoded_slash", "/scim/v2/Users%2F{random}", all(404)),
    get("path.trailing_slash", "/scim/v2/ServiceProviderConfig/", all(200)),
    get("path.me", "/scim/v2/Me", all(404)),
    get("path.resource_type", "/scim/v2/ResourceTypes/User", all(404)),
    get("path.malformed_id", "/scim/v2/Users/not-a-uuid", all(400)),
    get("discovery.schemas", "/scim/v2/Schemas", all(200)),
    get("discovery.resource_types", "/scim/v2/ResourceTypes", all(200)),
    with(&[("accept", "text/html")], get("headers.accept", SEARCH, all(406))),
    with(&[("content-type", "text/plain")], put("headers.content_type", RANDOM_USER, "{", all(415))),
    with(&[("authorization", "Basic {random}")], get("token.basic", SEARCH, all(400))),
    with(&[("authorization", "bearer {random}")], get("token.lower_case", SEARCH, all(400))),
    get("token.missing", SEARCH, all(401)),

    get("filter.and", "/scim/v2/Users?filter=userName%20eq%20%22{random}%22%20and%20active%20eq%20true", all(400)),
    get("filter.presence", "/scim/v2/Users?filter=userName%20pr", all(400)),
    get("filter.empty", "/scim/v2/Users?filter=", all(400)),
    get("groups.pagination", "/scim/v2/Groups?startIndex=first", all(400)),

    put("user.json", RANDOM_USER, "{", all(400)),
    put("user.user_name.missing", RANDOM_USER, r#"{"externalId":"{random}"}"#, all(400)),
    put("user.active", RANDOM_USER, r#"{"userName":"probe","active":"yes"}"#, all(400)),
    put("user.roles.objects", RANDOM_USER, r#"{"userName":"probe","roles":[{"value":"member"}]}"#, all(400)),
    put("user.emails.address", RANDOM_USER, r#"{"userName":"probe","emails":[{"value":"probe"}]}"#, all(400)),
    put("user.photos.relative", RANDOM_USER, r#"{"userName":"probe","photos":[{"value":"probe.png"}]}"#, all(400)),
    put("user.profile_url.empty", RANDOM_USER, r#"{"userName":"probe","profileUrl":""}"#, all(400)),
    put("group.members.missing", RANDOM_GROUP, r#"{"schemas":[],"displayName":"probe"}"#, all(400)),
    put("group.members.type", RANDOM_GROUP, r#"{"schemas":[],"displayName":"probe","members":[{"value":"{random}"}]}"#, all(400)),

    patch("patch.schemas", Body::Raw(r#"{"schemas":[],"Operations":[]}"#), all(400)),
    patch("patch.op", Body::Patch(r#"{"op":"move","path":"displayName","value":"probe"}"#), all(400)),
    patch("patch.path.enterprise", Body::Patch(r#"{"op":"add","path":"urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:department","value":"probe"}"#), all(400)),
    patch("patch.path.slash", Body::Patch(r#"{"op":"add","path":"/displayName","value":"probe"}"#), all(400)),
    patch("patch.path.and", Body::Patch(r#"{"op":"add","path":"emails[type eq \"work\" and primary eq true].value","value":"probe@example.com"}"#), all(400)),
    patch("patch.path.blank", Body::Patch(r#"{"op":"add","path":"emails[ type eq \"work\"].value","value":"probe@example.com"}"#), all(400)),
    with(
        &[("content-type", "application/scim+json; charset=utf-8")],
        patch("patch.path.values", Body::Patch(r#"{"op":"Add","path":"emails[type eq \"work\"].value","value":"probe@example.com"}"#), all(401)),
    ),
    patch("patch.path.prefix", Body::Patch(r#"{"op":"add","path":"urn:wire:scim:schemas:profile:1.0:emails.x[type eq \"work\"].value","value":"probe@example.com"}"#), all(401)),

    with_token(get("users.no_filter", "/scim/v2/Users", all_400("tooMany"))),
    with_token(get("filter.operator", "/scim/v2/Users?filter=userName%20co%20%22{random}%22", all_400("invalidFilter"))),
    with_token(get("filter.number", "/scim/v2/Users?filter=userName%20eq%201", all_400("invalidFilter"))),
    with_token(get("filter.attribute", "/scim/v2/Users?filter=displayName%20eq%20%22{random}%22", all_400("invalidFilter"))),
    with_token(get("filter.impossible", "/scim/v2/Users?filter=userName%20eq%20%22{random}%40example.com%22", all(200))),
    with_token(get("groups.search", "/scim/v2/Groups?filter=displayName%20co%20%22{random}%22", all(200))),
    with_token(get("groups.search.equal", "/scim/v2/Groups?filter=displayName%20eq%20%22{random}%22", all(500))),
    with_token(get("user.unknown", RANDOM_USER, all(404))),
    with_token(get("group.unknown", RANDOM_GROUP, all(404))),
    with_token(patch("patch.unknown", Body::Patch(r#"{"op":"add","path":"nickName","value":"probe"}"#), all(404))),
    with_token(Probe { target: RANDOM_GROUP, ..patch("group.patch", Body::Patch(""), all(500)) }),

    Probe { target: TEST_USER, needs: Needs::TestUser, ..patch("patch.empty", Body::Patch(""), all(200)) },
    trial("patch.values.value", r#"{"op":"Add","path":"emails[type eq \"{random}\"].value","value":"probe@example.com"}"#, each_400(["invalidPath", APPLIED])),
    trial("patch.values.type", r#"{"op":"replace","path":"emails[type eq \"{random}\"].type","value":"{random}"}"#, each_400(["invalidPath", APPLIED])),
    trial("patch.values.primary", r#"{"op":"replace","path":"emails[type eq \"{random}\"].primary","value":"False"}"#, each_400(["invalidPath", APPLIED])),
    trial("patch.values.entry", r#"{"op":"add","path":"emails[type eq \"{random}\"]","value":[{"value":"probe@example.com","type":"{random}"}]}"#, each_400(["invalidPath", APPLIED])),
    trial("patch.values.remove", r#"{"op":"remove","path":"emails[type eq \"{random}\"]"}"#, each_400(["invalidPath", APPLIED])),
    trial("patch.values.no_value", r#"{"op":"add","path":"emails[type eq \"{random}\"].value"}"#, each_400(["invalidPath", "invalidValue"])),
    trial("patch.values.address", r#"{"op":"add","path":"emails[type eq \"{random}\"].value","value":"probe"}"#, each_400(["invalidPath", "invalidValue"])),
    trial("patch.values.boolean", r#"{"op":"add","path":"emails[type eq \"{random}\"].primary","value":"maybe"}"#, each_400(["invalidPath", "invalidValue"])),
    trial("patch.values.shape", r#"{"op":"add","path":"emails[type eq \"{random}\"]","value":{"type":"{random}"}}"#, each_400(["invalidPath", "invalidValue"])),
    trial("patch.values.sub", r#"{"op":"add","path":"emails[type eq \"{random}\"].display","value":"probe"}"#, all_400("invalidPath")),
    trial("patch.values.other", r#"{"op":"add","path":"phoneNumbers[type eq \"{random}\"].value","value":"probe"}"#, all_400("invalidPath")),
    trial("patch.values.other.no_value", r#"{"op":"add","path":"phoneNumbers[type eq \"{random}\"].value"}"#, each_400(["invalidPath", "invalidValue"])),
    trial("patch.emails", r#"{"op":"add","path":"emails","value":[{"value":"probe@example.com"}]}"#, all_400("invalidPath")),
    trial("patch.name", r#"{"op":"add","path":"name.givenName","value":"probe"}"#, all_400("invalidPath")),
    trial("patch.no_value", r#"{"op":"add","path":"nickName"}"#, all_400("invalidValue")),
    trial("patch.active", r#"{"op":"replace","path":"active","value":1}"#, all_400("invalidValue")),
    trial("patch.roles", r#"{"op":"add","path":"roles","value":[{"value":"member"}]}"#, all_400("invalidValue")),
    trial("patch.remove", r#"{"op":"remove","path":"nickName"}"#, all_400(APPLIED)),
    trial("patch.pathless", r#"{"op":"replace","value":{"active":true}}"#, all_400("invalidValue")),
    trial("patch.pathless.other", r#"{"op":"replace","value":{"userName":"probe","nickName":"probe"}}"#, all_400("invalidPath")),
];

/// The scimType by which Wire refuses a trial whose operation could be applied.
const APPLIED: &str = "noTarget";

const fn get(name: &'static str, target: &'static str, expected: [Expected; RELEASES]) -> Probe {
    let (needs, body) = (Needs::Nothing, Body::None);
    Probe { name, needs, verb: Verb::Get, target, headers: &[], body, expected }
}

const fn put(
    name: &'static str,
    target: &'static str,
    body: &'static str,
    expected: [Expected; RELEASES],
) -> Probe {
    Probe { verb: Verb::Put, body: Body::Raw(body), ..get(name, target, expected) }
}

const fn patch(name: &'static str, body: Body, expected: [Expected; RELEASES]) -> Probe {
    Probe { verb: Verb::Patch, body, ..get(name, RANDOM_USER, expected) }
}

const fn trial(
    name: &'static str,
    operation: &'static str,
    expected: [Expected; RELEASES],
) -> Probe {
    Probe {
        needs: Needs::TestUser,
        target: TEST_USER,
        ..patch(name, Body::Trial(operation), expected)
    }
}

const fn with(headers: &'static [(&'static str, &'static str)], probe: Probe) -> Probe {
    Probe { headers, ..probe }
}

/// Sent with the token.
const fn with_token(probe: Probe) -> Probe {
    Probe { needs: Needs::Token, ..probe }
}

/// Every release answers with this status.
const fn all(status: u16) -> [Expected; RELEASES] {
    [Expected { status, scim_type: None }; RELEASES]
}

/// Every release answers 400 with this scimType.
const fn all_400(scim_type: &'static str) -> [Expected; RELEASES] {
    each_400([scim_type; RELEASES])
}

/// Each release answers 400 with a scimType of its own.
const fn each_400(scim_types: [&'static str; RELEASES]) -> [Expected; RELEASES] {
    let mut expected = all(400);
    let mut at = 0;
    while at < RELEASES {
        expected[at].scim_type = Some(scim_types[at]);
        at += 1;
    }
    expected
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[test]
    fn names_are_unique_and_operations_are_json() {
        let mut names: Vec<&str> = PROBES.iter().map(|probe| probe.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), PROBES.len());
        for probe in PROBES {
            if let Body::Patch(text) | Body::Trial(text) = probe.body
                && !text.is_empty()
            {
                assert!(serde_json::from_str::<Value>(text).is_ok(), "{}", probe.name);
            }
        }
    }

    #[test]
    fn the_test_user_gets_only_trials_and_an_empty_patch() {
        for probe in PROBES {
            let is_trial = matches!(probe.body, Body::Trial(_) | Body::Patch(""));
            let on_test_user = probe.target.contains("{user}");
            assert_eq!(on_test_user, probe.needs == Needs::TestUser, "{}", probe.name);
            assert!(!on_test_user || is_trial && probe.verb == Verb::Patch, "{}", probe.name);
            assert!(probe.verb != Verb::Put || probe.needs == Needs::Nothing, "{}", probe.name);
            let is_random = probe.target.ends_with("/{random}");
            assert!(probe.verb == Verb::Get || is_random || on_test_user, "{}", probe.name);
        }
    }

    #[test]
    fn every_release_refuses_every_trial() {
        for probe in PROBES.iter().filter(|probe| matches!(probe.body, Body::Trial(_))) {
            assert!(probe.expected.iter().all(|expected| expected.status == 400), "{}", probe.name);
        }
    }
}
