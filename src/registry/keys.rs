//! The keys of the token registry's file.

use super::Methods;
use super::file::MAX_ENTRIES;
use crate::api::Resource;
use crate::config::deprovisioning::{AT_MOST, MOST_USERS, WITHIN};
use crate::config::{forms, repairs};
use crate::input::key::{Absent, Form, Key, Kind, MAX_ITEMS, names};
use crate::policy::Identity;

/// The whole file.
pub const REGISTRY: Kind = Kind::Map(&[Key::new(
    "tokens",
    Kind::List(&Kind::Map(ENTRY), 0, MAX_ENTRIES),
    Absent::Otherwise("no token is allowed", ""),
    "The tokens that are allowed.",
)]);

/// The identity modes that an entry may have.
pub(super) const IDENTITIES: [(&str, Identity); 2] =
    [("email", Identity::Email), ("saml", Identity::Saml)];

const LABEL: Form = Form { name: "label", pattern: Some("^[A-Za-z0-9._-]{1,64}$"), number: true };
const HASH: Form = Form { name: "hash", pattern: Some("^sha(256|512):"), number: false };
const TIME: Form = Form { name: "day or time (RFC 3339)", pattern: Some("^[0-9]"), number: false };
const RATE: Form = Form { name: "rate", pattern: Some("^[0-9]+/[smh]$"), number: false };
const SUBJECT: Form =
    Form { name: "name in a certificate", pattern: Some("^(dns|uri|email):"), number: false };

const ENTRY: &[Key] = &[
    Key::new(
        "label",
        Kind::Text(&LABEL),
        Absent::Refused("okta"),
        "The name of the token in logs and metrics: 1 to 64 characters from `a-z A-Z 0-9 . _ -`.",
    ),
    Key::new(
        "hash",
        Kind::Text(&HASH),
        Absent::Refused(
            "\"sha256:b63982b73a142ba137c1f1fd38d8648b4e842e7337412e2705ca8f7de8b535e6\"",
        ),
        "The hash of the token: `sha512:` and base64, as Wire stores it in its database and \
         `wire-scim-guard token hash` prints it, or `sha256:` and what `printf %s TOKEN | \
         sha256sum` prints.",
    ),
    Key::new(
        "expires",
        Kind::Text(&TIME),
        Absent::Otherwise("never", "2026-12-31"),
        "The last valid day, in UTC, or a time such as `2026-12-31T22:00:00Z`. `9999-12-31` \
         means never.",
    ),
    Key::new(
        "networks",
        forms::SOME_NETWORKS,
        Absent::Otherwise("any network", "[10.20.0.0/16]"),
        "The networks from which the token may be used.",
    ),
    Key::new(
        "client_certificate",
        Kind::Text(&SUBJECT),
        Absent::Otherwise("no certificate is needed", "\"dns:bridge.example.com\""),
        "The client has to present a certificate with this name (`dns:`, `uri:` or `email:`), on \
         a listener with `tls.client_auth`.",
    ),
    Key::new(
        "methods",
        Kind::List(&Kind::Word(|| Methods::NAMES.to_vec()), 1, MAX_ITEMS),
        Absent::Otherwise("all methods", "[GET, POST, PUT, PATCH]"),
        "The methods for which the token may be used. GET includes HEAD.",
    ),
    Key::new(
        "resources",
        Kind::List(&Kind::Word(|| names(&Resource::NAMED)), 1, MAX_ITEMS),
        Absent::Otherwise("all resources", "[Users]"),
        "The resources for which the token may be used.",
    ),
    Key::new(
        "identity",
        Kind::Word(|| names(&IDENTITIES)),
        Absent::Otherwise("`identity` of the config", "email"),
        "How the token's team logs in.",
    ),
    Key::new(
        "rate",
        Kind::Text(&RATE),
        Absent::Otherwise("no limit", "20/s"),
        "Requests per second (`s`), minute (`m`) or hour (`h`), 1 to 1,000,000; bursts of up to \
         the same number.",
    ),
    Key::new(
        "repairs",
        repairs::KIND,
        Absent::Otherwise("`repairs` of the config", "[okta]"),
        "Repairs of the requests of this token.",
    ),
    Key::new(
        "deprovisioning",
        Kind::Map(DEPROVISIONING),
        Absent::Otherwise("`deprovisioning` of the config", "{at_most: 20, within: 1h}"),
        "How many users may be deleted or deactivated with this token.",
    ),
];

const FROM_CONFIG: Absent = Absent::Otherwise("the limit of the config, if `allow` is set", "");

const DEPROVISIONING: &[Key] = &[
    Key { absent: FROM_CONFIG, ..AT_MOST },
    Key { absent: FROM_CONFIG, ..WITHIN },
    Key::new(
        "allow",
        Kind::Map(ALLOW),
        Absent::Otherwise("nothing beyond the limit", ""),
        "What is allowed beyond the limit, for a planned change: `wire-scim-guard deprovisioning \
         allow` writes it.",
    ),
];

const ALLOW: &[Key] = &[
    Key::new(
        "count",
        Kind::Count(1, MOST_USERS),
        Absent::Refused("450"),
        "How many users more may be deleted or deactivated.",
    ),
    Key::new(
        "until",
        Kind::Text(&TIME),
        Absent::Refused("2027-06-30T18:00:00Z"),
        "Until when: a day, which counts to its end in UTC, or a time.",
    ),
];
