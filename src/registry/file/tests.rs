use super::*;
use crate::policy::Identity;

const EXAMPLE: &str = include_str!("../../../conf/tokens.yaml");
const TOKEN: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

fn hash(token: &str) -> String {
    StoredHash::wire(token.as_bytes()).to_string()
}

fn errors(text: &str) -> Vec<String> {
    parse(text).err().unwrap_or_default().iter().map(ToString::to_string).collect()
}

fn entry(lines: &str) -> Entry {
    let text = format!("tokens:\n- label: a\n  hash: \"{}\"\n  {lines}\n", hash(TOKEN));
    let mut registry = parse(&text).unwrap_or_else(|errors| panic!("{errors:?}"));
    registry.entries.remove(0)
}

#[test]
fn the_example_is_valid() {
    let registry = parse(EXAMPLE).unwrap_or_else(|errors| panic!("{errors:?}"));
    assert!(registry.entries().len() > 2);
}

#[test]
fn a_file_without_entries_is_a_registry_without_tokens() {
    for text in ["", "# nobody\n", "tokens: []\n", "{}"] {
        assert_eq!(parse(text).unwrap().entries().len(), 0, "{text:?}");
    }
    // A key without a value is more likely a error than the intention to refuse all tokens.
    assert_eq!(errors("tokens:\n").len(), 1);
}

#[test]
fn every_key_is_taken() {
    let entry = entry(
        "expires: 2027-06-30T12:00:00+02:00\n  networks: [192.0.2.0/24, \"::1\"]\n  \
         methods: [GET, DELETE]\n  resources: [Groups]\n  identity: saml\n  rate: 600/m",
    );
    let expires = SystemTime::UNIX_EPOCH + Duration::from_secs(1_814_349_600);
    assert_eq!(entry.expires, Some(expires));
    assert!(!entry.has_expired(expires - Duration::from_nanos(1)) && entry.has_expired(expires));
    assert!(entry.admits(Some("192.0.2.1".parse().unwrap())));
    assert!(!entry.admits(Some("192.0.3.1".parse().unwrap())));
    assert!(entry.methods.allow(&http::Method::DELETE) && !entry.methods.allow(&http::Method::PUT));
    assert_eq!(entry.resources, Resources { users: false, groups: true });
    assert_eq!(entry.identity, Some(Identity::Saml));
    assert_eq!(entry.rate, Some(Rate::new(600, Duration::from_secs(60))));
}

#[test]
fn a_day_counts_to_its_end() {
    let expires = entry("expires: 2027-06-30").expires.unwrap();
    let midnight = SystemTime::UNIX_EPOCH + Duration::from_secs(1_814_400_000);
    assert_eq!(expires, midnight);
}

#[test]
fn the_first_and_the_last_possible_day_can_be_written() {
    let now = SystemTime::now();
    assert!(entry("expires: 0000-01-01").has_expired(now));
    assert!(entry("expires: 1969-12-31").has_expired(now));
    assert!(!entry("expires: 9999-12-31").has_expired(now));
    assert!(!entry("expires: 9999-12-31T23:59:59Z").has_expired(now));
}

#[test]
fn all_errors_are_reported_at_once_with_their_positions() {
    let hash = hash(TOKEN);
    let text = format!(
        "tokens:\n\
         - label: a b\n  hash: sha256:12\n  expires: soon\n  networks: []\n\
         - {{label: a, hash: \"{hash}\", methods: [get], rate: 5, expired: 1}}\n\
         - {{label: a, hash: \"{hash}\", identity: any, resources: [users]}}\n\
         - nonsense\n\
         token: 1\n"
    );
    assert_eq!(
        errors(&text),
        [
            "2:10: tokens[0].label: a label has 1 to 64 characters out of a-z A-Z 0-9 . _ -",
            "3:9: tokens[0].hash: 64 hexadecimal digits must follow `sha256:`",
            "4:12: tokens[0].expires: \"soon\" is not a time; write a day such as 2027-06-30, which counts to \
             its end in UTC, or 2027-06-30T12:00:00Z",
            "5:13: tokens[0].networks: the list is empty; leave it out to allow all networks",
            "6:129: tokens[1].methods[0]: \"get\" is none of: GET, HEAD, POST, PUT, PATCH, DELETE",
            "6:141: tokens[1].rate: \"5\" is not a rate; write 1 to 1000000 requests in a second, a minute or an \
             hour, such as 20/s or 600/m",
            "6:144: tokens[1].expired is an unknown key; did you mean `expires`?",
            "7:3: the hash of a is given twice; first on line 6",
            "7:3: the label a is given twice; first on line 6",
            "7:129: tokens[2].identity: \"any\" is none of: email, saml",
            "7:146: tokens[2].resources[0]: \"users\" is none of: Users, Groups; did you mean `Users`?",
            "8:3: tokens[3]: expected a mapping (key: value), found \"nonsense\"",
            "9:1: token is an unknown key; did you mean `tokens`?",
        ]
    );
}

#[test]
fn a_registry_is_bounded() {
    let entries = |count: usize| {
        let entry = |n: usize| {
            format!("- {{label: t{n}, hash: \"{}\"}}\n", StoredHash::short(&n.to_be_bytes()))
        };
        format!("tokens:\n{}", (0..count).map(entry).collect::<String>())
    };
    assert_eq!(parse(&entries(MAX_ENTRIES)).unwrap().entries().len(), MAX_ENTRIES);
    assert_eq!(
        errors(&entries(MAX_ENTRIES + 1)),
        ["2:3: tokens: the list has 10001 items; 10000 are the most that is read here"]
    );
}

#[test]
fn no_error_repeats_a_token() {
    for text in [
        TOKEN.to_string(),
        format!("tokens: {TOKEN}"),
        format!("{TOKEN}: []"),
        format!("tokens:\n- {TOKEN}"),
        format!("tokens:\n- label: {TOKEN}\n  hash: {TOKEN}"),
        format!("tokens:\n- label: a\n  hash: Bearer {TOKEN}"),
        format!("tokens:\n- label: a\n  {TOKEN}: {TOKEN}"),
        format!("tokens:\n- expires: {TOKEN}\n  rate: {TOKEN}\n  networks: [{TOKEN}]"),
        format!("tokens:\n- methods: [{TOKEN}]\n  identity: {TOKEN}"),
        format!("tokens: *{TOKEN}"),
        format!("tokens: !{TOKEN} a"),
        format!("? {TOKEN}\n: : {TOKEN}"),
    ] {
        let errors = errors(&text);
        assert!(!errors.is_empty(), "{text}");
        assert!(!errors.concat().contains(&TOKEN[..20]), "{errors:?}");
    }
}
