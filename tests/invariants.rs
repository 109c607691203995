//! The fuzzer's invariants on the corpus and on a few thousand deterministic mutations of it, so that they are
//! checked without the fuzzer.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test stops at what it does not expect"
)]

use base64::Engine;

#[path = "support/corpus.rs"]
#[allow(dead_code, reason = "each test binary uses its part")]
mod corpus;
#[path = "../fuzz/invariants.rs"]
mod invariants;

/// Mutations for each invariant, over all its seeds.
const MUTATIONS: usize = 4000;

/// The seeds of an invariant, taken from the corpus.
fn seeds(invariant: &str) -> Vec<Vec<u8>> {
    let of_kind = |kind: &str| -> Vec<Vec<u8>> {
        let rows = corpus::rows("payloads.jsonl");
        rows.iter().filter(|row| row["kind"] == kind).map(corpus::body).collect()
    };
    let requests = || corpus::rows("requests.jsonl");
    match invariant {
        "target" => corpus::rows("targets.jsonl")
            .iter()
            .filter_map(|row| Some(row["target"].as_str()?.as_bytes().to_vec()))
            .collect(),
        "head" => requests().iter().map(|row| corpus::request(row, None)).collect(),
        "chunks" => {
            let mut bodies = of_kind("user");
            bodies.truncate(60);
            let size = |at: usize| at * 7 % 90 + 1;
            let chunked = |(at, body): (usize, Vec<u8>)| {
                let chunk = |part: &[u8]| {
                    [format!("{:x};n=\"v\"\r\n", part.len()).as_bytes(), part, b"\r\n"].concat()
                };
                let parts = body.chunks(size(at)).map(chunk).collect::<Vec<_>>().concat();
                [&parts[..], b"0\r\nX-Trailer: 1\r\n\r\nGET / HTTP/1.1\r\n"].concat()
            };
            bodies.into_iter().enumerate().map(chunked).collect()
        }
        "ldif" => {
            let text = std::fs::read_to_string("tests/corpus/ldap-scim-bridge.ldif").unwrap();
            let records = text.split("\n\n").map(|record| format!("{record}\n"));
            let forms = records.flat_map(|record| {
                let folded = record.replace('e', "e\n ");
                let changed = record.replacen('\n', "\nchangetype: add\n", 1);
                let windows = format!("version: 1\n# folded\n{record}").replace('\n', "\r\n");
                [folded, changed, windows, record]
            });
            let values = of_kind("user").into_iter().take(60).map(|body| {
                let value = base64::engine::general_purpose::STANDARD.encode(body);
                format!("dn: cn=x\ncn:: {value}\nphoto: x\n\n")
            });
            forms.chain(values).map(String::into_bytes).collect()
        }
        "proxy_header" => {
            let v2 = |protocol: u8, length: u8| {
                let mut header = b"\r\n\r\n\0\r\nQUIT\n\x21".to_vec();
                header.extend_from_slice(&[protocol, 0, length]);
                header.extend((0..length).map(|at| at.wrapping_mul(7)));
                header
            };
            let lines =
                ["TCP4 192.0.2.1 198.51.100.1 5000 443", "TCP6 2001:db8::1 ::1 1 2", "UNKNOWN"];
            let lines = lines.map(|line| format!("PROXY {line}\r\n").into_bytes());
            // Every kind of address, with too few bytes for it, just enough, and more.
            let protocols = [0x00, 0x11, 0x12, 0x21, 0x22, 0x31];
            let lengths = [0, 11, 12, 36, 40, 216];
            let binary = protocols.map(|protocol| lengths.map(|length| v2(protocol, length)));
            [&lines[..], &binary.concat()].concat()
        }
        "repair" => {
            let sent = requests().into_iter().filter_map(|row| Some(row["body"].as_str()?.into()));
            let bodies = [of_kind("user"), of_kind("patch"), of_kind("group")].concat();
            sent.chain(bodies).collect()
        }
        "group_patch" => {
            let member = "aaaaaaaa-0000-4000-8000-000000000000";
            let operations = [
                format!(r#"{{"op":"add","path":"members","value":[{{"value":"{member}"}}]}}"#),
                format!(r#"{{"op":"Remove","path":"members[value eq \"{member}\"]"}}"#),
                r#"{"op":"replace","path":"members","value":[]}"#.into(),
                format!(
                    r#"{{"op":"replace","value":{{"displayName":"Other","members":[{{"value":"{member}"}}]}}}}"#
                ),
            ];
            let patch = |operations: &str| {
                format!(
                    r#"{{"schemas":["urn:ietf:params:scim:api:messages:2.0:PatchOp"],"Operations":[{operations}]}}"#
                )
                .into_bytes()
            };
            let all = patch(&operations.join(","));
            let own = operations.iter().map(|operation| patch(operation)).chain([all]);
            own.chain(of_kind("patch")).collect()
        }
        "search" => {
            let group = r#"{"totalResults":1,"Resources":[{"id":"1","displayName":"Staff"}]}"#;
            let user = r#"{"totalResults":1,"Resources":[{"externalId":"bob@a.example","emails":[{"value":"bob@b.example"}]}]}"#;
            let own = [
                ("filter=displayName+eq+%22Staff%22&startIndex=1&count=100".into(), group),
                ("excludedAttributes=members&filter=displayName%20eq%20%22Staff%22".into(), group),
                ("filter=userName+eq+%22bob%40a.example%22".into(), user),
                ("filter=userName%20eq%20%22Bob@c.example%22&count=1".into(), user),
            ];
            let encoded = |filter: &[u8]| {
                filter.iter().map(|byte| format!("%{byte:02x}")).collect::<String>()
            };
            let filters = [(of_kind("filter"), user), (of_kind("group_filter"), group)];
            let of_corpus = filters.into_iter().flat_map(|(filters, answer)| {
                filters
                    .into_iter()
                    .map(move |filter| (format!("filter={}", encoded(&filter)), answer))
            });
            let with_answer = |(query, answer)| format!("{query}\n{answer}").into_bytes();
            own.into_iter().chain(of_corpus).map(with_answer).collect()
        }
        "document" => [of_kind("user"), of_kind("patch"), of_kind("group")].concat(),
        "filter" => [of_kind("filter"), of_kind("group_filter")].concat(),
        "path" => {
            let mut paths = of_kind("filter");
            for body in of_kind("patch") {
                let body: serde_json::Value = serde_json::from_slice(&body).unwrap_or_default();
                let operations = body["Operations"].as_array().cloned().unwrap_or_default();
                let named = operations.iter().filter_map(|operation| operation["path"].as_str());
                paths.extend(named.map(|path| path.as_bytes().to_vec()));
            }
            paths
        }
        kind => of_kind(kind),
    }
}

/// Pseudo-random numbers that are the same in every run.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % end.max(1) as u64) as usize
    }
}

/// The entries of the fuzzer's dictionary.
fn words() -> Vec<Vec<u8>> {
    let text = std::fs::read_to_string("fuzz/dictionary").unwrap();
    let quoted = |line: &str| line.strip_prefix('"')?.strip_suffix('"').map(unescaped);
    text.lines().filter_map(quoted).collect()
}

fn unescaped(text: &str) -> Vec<u8> {
    let (mut out, mut rest) = (Vec::new(), text.as_bytes());
    while let [first, tail @ ..] = rest {
        (out, rest) = match (first, tail) {
            (b'\\', [b'x', high, low, tail @ ..]) => {
                let digit = |byte: &u8| (*byte as char).to_digit(16).unwrap() as u8;
                ([out, vec![digit(high) * 16 + digit(low)]].concat(), tail)
            }
            (b'\\', [quoted, tail @ ..]) => ([out, vec![*quoted]].concat(), tail),
            _ => ([out, vec![*first]].concat(), tail),
        };
    }
    out
}

fn mutate(numbers: &mut Numbers, seeds: &[Vec<u8>], words: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = seeds[numbers.below(seeds.len())].clone();
    for _ in 0..=numbers.below(4) {
        let at = numbers.below(bytes.len() + 1);
        let end = (at + numbers.below(8)).min(bytes.len());
        match numbers.below(6) {
            0 => drop(bytes.drain(at..end)),
            1 => drop(bytes.splice(at..at, words[numbers.below(words.len())].clone())),
            2 => drop(bytes.splice(at..end, words[numbers.below(words.len())].clone())),
            3 if at < bytes.len() => bytes[at] ^= 1 << numbers.below(8),
            4 => drop(bytes.splice(at..at, bytes[at..end].to_vec())),
            _ => {
                // The beginning of one seed and the end of another one.
                let other = &seeds[numbers.below(seeds.len())];
                bytes.truncate(at);
                bytes.extend_from_slice(&other[numbers.below(other.len() + 1)..]);
            }
        }
    }
    bytes
}

#[test]
fn invariants_hold_on_the_corpus_and_on_mutations_of_it() {
    let words = words();
    assert!(words.len() > 50);
    for (name, invariant) in invariants::ALL {
        let seeds = seeds(name);
        assert!(seeds.len() > 30, "{name}: {} seeds", seeds.len());
        let mut numbers = Numbers(0x9e37_79b9_7f4a_7c15);
        let mutations = (0..MUTATIONS).map(|_| mutate(&mut numbers, &seeds, &words));
        for bytes in seeds.iter().cloned().chain(mutations) {
            let held = std::panic::catch_unwind(|| invariant(&bytes));
            assert!(held.is_ok(), "{name}: {}", bytes.escape_ascii());
        }
    }
}
