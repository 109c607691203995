//! The keys of the config file that are not in the file of their own section.

use std::time::Duration;

use super::words::{IDENTITIES, PATH_POLICIES};
use super::{
    Config, RefusalCacheSettings, deprovisioning, forms, limits, listen, log, repairs, rules,
    shared, upstream,
};
use crate::input::key::{Absent, Key, Kind, MAX_ITEMS, name_of, names};
use crate::input::value::duration_text;

/// The whole file.
pub const CONFIG: Kind = Kind::Map(&[
    Key::new(
        "listen",
        Kind::List(&Kind::Either(&[forms::ADDRESS, Kind::Map(listen::KEYS)]), 1, MAX_ITEMS),
        Absent::Refused("[\"127.0.0.1:8080\"]"),
        "The addresses to listen on, as IP addresses with ports: cleartext HTTP/1.1, and HTTP/2 \
         with prior knowledge (h2c). Use `0.0.0.0:8080` or `[::]:8080` for all interfaces. An \
         entry may be a mapping, with TLS and the PROXY protocol. A reload opens and closes \
         listeners; sockets from systemd (LISTEN_FDS) are used where their addresses are the \
         same.",
    ),
    Key::new(
        "upstream",
        Kind::Map(upstream::KEYS),
        Absent::Section,
        "The Wire backend, and how the guard speaks to it.",
    ),
    Key::new(
        "admin",
        Kind::Map(ADMIN),
        Absent::Section,
        "A page for people (`/`), the same as JSON (`/i/state`), metrics (`/metrics`), liveness \
         (`/i/status`) and readiness (`/i/ready`). Clients must not be able to reach this port.",
    ),
    Key::new(
        "threads",
        Kind::Count(1, 1024),
        Absent::Otherwise("the number of available processors", "2"),
        "Worker threads.",
    )
    .at_restart(),
    Key::new(
        "other_paths",
        Kind::Word(|| names(&PATH_POLICIES)),
        Absent::Value(|| name_of(&PATH_POLICIES, &defaults().other_paths)),
        "Paths outside of SCIM: `refuse` answers 404; `forward` forwards them without judging \
         them, for installations with all of Wire behind the guard, and lets them switch to \
         WebSocket (a GET over HTTP/1.1), as Wire's clients do at `/await`. `/i`, the backend's \
         internal API, is refused in both cases.",
    ),
    Key::new(
        "auth_tokens",
        Kind::Word(|| names(&PATH_POLICIES)),
        Absent::Value(|| name_of(&PATH_POLICIES, &defaults().auth_tokens)),
        "Wire's own token API, `/scim/auth-tokens`, which requires an admin's login instead of a \
         SCIM token: `forward` forwards requests without judging them, `refuse` answers 404.",
    ),
    Key::new(
        "z_headers",
        Kind::Either(&[Kind::Word(|| vec!["strip"]), Kind::Map(Z_HEADERS)]),
        Absent::Value(|| "strip".into()),
        "`Z-User`, `Z-Connection` and similar headers, by which Wire's nginz passes the \
         logged-in user to the services. `strip` removes them from every request: required if \
         clients or the internet are in front. If nginz itself is in front of the guard, list \
         its networks.",
    ),
    Key::new(
        "identity",
        Kind::Word(|| names(&IDENTITIES)),
        Absent::Value(|| name_of(&IDENTITIES, &defaults().policy.identity)),
        "How teams log in: `email` (no SAML: externalId has to be an email address), `saml`, or \
         `any` for both kinds of teams. `any` refuses only what Wire refuses for both.",
    ),
    Key::new(
        "wire",
        Kind::Map(WIRE),
        Absent::Section,
        "The release and the settings of Wire. `wire-scim-guard compare` determines the release \
         of a running backend.",
    ),
    Key::new("rules", Kind::Map(rules::KEYS), Absent::Section, "Which rules refuse requests."),
    Key::new(
        "repairs",
        repairs::KIND,
        Absent::Value(|| "[]".into()),
        "Repairs of what well-known clients send and Wire refuses: names of repairs, or of \
         presets such as `entra` and `okta`, which are lists of them. docs/repair.md says what \
         each does. Entries of the token registry may have their own. Nothing is repaired with \
         `rules.mode: off`.",
    ),
    Key::new(
        "schemas",
        forms::FOLDER,
        Absent::Otherwise("the built-in schemas", "schemas"),
        "A folder with user.json, patch.json or group.json in JSON Schema (draft 2020-12), each \
         of which replaces the built-in one; it must not contain other .json files. Relative \
         paths are relative to the folder of this file. An invalid schema prevents the start.",
    ),
    Key::new(
        "hosts",
        Kind::List(&forms::HOST, 0, MAX_ITEMS),
        Absent::Value(|| "[]".into()),
        "Accepted values of the Host header, without port; others are refused. Empty: all.",
    ),
    Key::new(
        "trusted_proxies",
        forms::NETWORKS,
        Absent::Value(|| "[]".into()),
        "Networks of the proxies in front whose X-Forwarded-For is trusted. Empty: the peer's \
         address is the client's. `config check` warns if `listen` can be reached from other \
         machines and neither this nor `shield.by_address` states whether clients connect \
         directly.",
    ),
    Key::new(
        "tokens",
        forms::FILE,
        Absent::Otherwise("every well-formed token is forwarded for Wire to judge", "tokens.yaml"),
        "The token registry: a file that lists which tokens are allowed, until when, from where, \
         and at which rate. With it, tokens that are not in it are refused. See tokens.yaml and \
         docs/tokens.md. Relative paths are relative to the folder of this file.",
    ),
    Key::new(
        "shield",
        Kind::Map(SHIELD),
        Absent::Section,
        "The refusal cache and the failure limiter, which keep useless requests away from Wire. \
         Their state belongs to this process.",
    ),
    Key::new(
        "deprovisioning",
        Kind::Map(deprovisioning::KEYS),
        Absent::Otherwise("no limit", ""),
        "How many different users each token may delete or deactivate in any interval of a \
         length. Further ones are answered 429 and do not reach Wire, so that a wrong filter in \
         a client does not take everyone's account away. Entries of the token registry may have \
         their own, and allow more for a planned change. The counts belong to this process, \
         unless they are `shared`. See docs/deprovisioning.md.",
    ),
    Key::new(
        "shared",
        Kind::Map(shared::KEYS),
        Absent::Otherwise("each replica is on its own", ""),
        "Several replicas share rates of tokens and the counts of `deprovisioning` through a \
         Redis or Valkey server, and tell each other which tokens Wire refused and which \
         addresses fail. See docs/scaling.md.",
    ),
    Key::new(
        "map_420",
        Kind::Flag,
        Absent::Value(|| defaults().map_420.to_string()),
        "Wire's nginx answers 420 when requests are too frequent, a status that no client knows: \
         it is passed on as 429 with Retry-After.",
    ),
    Key::new("log", Kind::Map(log::KEYS), Absent::Section, "Logs are written to standard error."),
    Key::new(
        "metrics",
        Kind::Map(METRICS),
        Absent::Section,
        "Metrics of the guard itself are always there; docs/monitoring.md has a dashboard and \
         alerts.",
    ),
    Key::new(
        "tracing",
        Kind::Map(TRACING),
        Absent::Otherwise("no traces", ""),
        "Traces over OTLP (HTTP with protobuf): a span for each request, with one for judging \
         and one for the backend.",
    )
    .at_restart(),
    Key::new(
        "limits",
        Kind::Map(limits::KEYS),
        Absent::Section,
        "What clients and backends may take: bytes, counts and times.",
    ),
    Key::new("reload", Kind::Map(RELOAD), Absent::Section, "When changed files are applied."),
]);

const ADMIN: &[Key] = &[
    Key::new(
        "listen",
        forms::ADDRESS,
        Absent::Value(|| format!("\"{}\"", defaults().admin)),
        "The address and port of the admin listener.",
    )
    .at_restart(),
    Key::new(
        "token_file",
        forms::FILE,
        Absent::Otherwise("nothing is required", "admin.token"),
        "A file with a token of at least 16 characters, which is then required for everything \
         but liveness and readiness: as Bearer token, or as password with any user name. Without \
         it, `config check` warns if the port can be reached from other machines.",
    ),
    Key::new(
        "tls",
        Kind::Map(listen::TLS),
        Absent::Otherwise("cleartext", "{certificates: [{certificate: tls.crt, key: tls.key}]}"),
        "TLS, as for `listen`.",
    ),
];

const Z_HEADERS: &[Key] = &[Key::new(
    "keep_from",
    forms::SOME_NETWORKS,
    Absent::Refused("[\"10.0.0.0/8\"]"),
    "From these peers the headers are kept, on `/scim/auth-tokens` only.",
)];

const WIRE: &[Key] = &[
    Key::new(
        "release",
        forms::RELEASE,
        Absent::Value(|| "any".into()),
        "The release of Wire, in quotes. `\"5.34\"` means 5.34 and earlier, `\"5.35\"` means \
         5.35 and later; `any` refuses only what every release refuses. Set it to `any` before \
         an upgrade, and to the new release after it.",
    ),
    Key::new(
        "rich_info_limit",
        Kind::Count(0, 1_000_000),
        Absent::Value(|| defaults().policy.rich_info_limit.to_string()),
        "The maximum total number of characters in keys and values of a user's rich info: the \
         value `richInfoLimit` of Wire's spar chart.",
    ),
];

const SHIELD: &[Key] = &[
    Key::new(
        "refused_for",
        Kind::Duration(Duration::ZERO, HOUR),
        Absent::Value(|| duration_text(RefusalCacheSettings::default().refused_for)),
        "How long a token that Wire has refused is refused by the guard; `0s` turns it off. \
         Tokens that Wire accepted within the last hour are never cached as refused.",
    ),
    Key::new(
        "failures",
        Kind::Count(1, 1_000_000),
        Absent::Value(|| RefusalCacheSettings::default().failures.to_string()),
        "How many requests with invalid tokens one address (IPv6: one /64) may send within \
         `window`; further ones are answered 429.",
    ),
    Key::new(
        "window",
        Kind::Duration(Duration::from_secs(1), HOUR),
        Absent::Value(|| duration_text(RefusalCacheSettings::default().window)),
        "The interval for `failures`.",
    ),
    Key::new(
        "by_address",
        Kind::Flag,
        Absent::Otherwise("`true` if `trusted_proxies` is set, else `false`", "true"),
        "Whether failures are counted by address at all: behind a proxy that is not listed in \
         `trusted_proxies` all clients share one address, and one of them could cause refusals \
         for the others. `true` states that clients connect directly.",
    ),
];

const METRICS: &[Key] = &[Key::new(
    "wire_dashboard",
    Kind::Flag,
    Absent::Value(|| defaults().metrics.wire_dashboard.to_string()),
    "Whether requests are also reported as Wire's own services report them: \
     `http_request_duration_seconds` with handler, method and status_code, so that Wire's \
     dashboard \"Wire Services\" shows the guard.",
)
.at_restart()];

const TRACING: &[Key] = &[
    Key::new(
        "otlp",
        forms::COLLECTOR,
        Absent::Refused("\"http://127.0.0.1:4318\""),
        "The base URL of the collector.",
    )
    .at_restart(),
    Key::new(
        "sample",
        Kind::Share,
        Absent::Otherwise("`1`", "0.1"),
        "The share of requests; from `trusted_proxies` the sampled flag of traceparent counts \
         instead.",
    )
    .at_restart(),
];

const RELOAD: &[Key] = &[Key::new(
    "watch",
    Kind::Flag,
    Absent::Value(|| defaults().reload_watch.to_string()),
    "Whether a change of this file, of a schema, or of a file with a token or a key is applied \
     without SIGHUP, within a few seconds. The contents are compared, so that renamed files and \
     the links by which Kubernetes replaces mounted files are noticed. A file with errors \
     changes nothing: the log, `scim_guard_reload_failed` and `/i/ready` show them. The token \
     registry and certificates are always watched.",
)];

const HOUR: Duration = Duration::from_secs(3600);

/// A config without any key.
fn defaults() -> Config {
    Config::new(Vec::new(), Vec::new())
}
