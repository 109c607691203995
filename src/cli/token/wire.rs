//! The part of Wire's API that manages SCIM tokens, as a client.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};
use ureq::http::{Method, Request, Response, StatusCode, Uri};
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig};
use ureq::{Agent, Proxy};

use super::Failure;
use crate::secret::Secret;
use crate::token;

const DEADLINE: Duration = Duration::from_secs(30);

/// The largest answer that is read.
const MAX_ANSWER: u64 = 4 * 1024 * 1024;

/// From this version on tokens have names.
const NAMES_SINCE: u32 = 8;

/// Why Wire did not do what it was asked to.
pub enum Error {
    /// A second-factor code is wanted.
    CodeWanted,
    /// One sentence for people.
    Refused(String),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Running(match error {
            Error::CodeWanted => {
                "Wire does not take the second-factor code; ask for a new one by running \
                                  the command again without it"
                    .into()
            }
            Error::Refused(sentence) => sentence,
        })
    }
}

/// A Wire backend.
pub struct Wire {
    agent: Agent,
    /// Without a slash at its end.
    base: String,
    version: u32,
}

/// A Wire backend that knows who asks.
pub struct Login {
    wire: Wire,
    access_token: Secret,
}

/// What Wire tells of a token.
#[derive(Deserialize)]
pub struct Info {
    pub id: String,
    #[serde(default)]
    pub name: Option<String>,
    #[serde(default)]
    pub description: String,
    #[serde(default)]
    pub created_at: String,
    #[serde(default)]
    pub idp: Option<String>,
}

/// What a new token is to be.
pub struct Wanted<'a> {
    pub description: &'a str,
    pub name: Option<&'a str>,
    pub idp: Option<&'a str>,
}

impl Wire {
    pub fn new(url: &str, ca: Option<&Path>, version: Option<u32>) -> Result<Self, Failure> {
        let base = url.trim_end_matches('/').to_owned();
        let host = ["https://", "http://"].iter().find_map(|scheme| base.strip_prefix(scheme));
        let readable = host.is_some_and(|host| {
            !host.is_empty() && !host.contains(['/', '?', '#', '@', ' ']) && is_server(&base)
        });
        if !readable {
            // SECURITY: not repeated, as a password may stand in it.
            return Err(Failure::Unusable(
                "--backend is not the URL of a server; write https://HOST or https://HOST:PORT, without a \
                 path, a user or a password"
                    .into(),
            ));
        }
        let agent = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .timeout_global(Some(DEADLINE))
            // What is for this machine goes nowhere else.
            .proxy(Proxy::try_from_env().filter(|_| !super::is_local(&base)))
            .user_agent(concat!("wire-scim-guard/", env!("CARGO_PKG_VERSION")))
            .tls_config(TlsConfig::builder().root_certs(roots(ca)?).build())
            .build()
            .new_agent();
        let mut wire = Self { agent, base, version: version.unwrap_or(0) };
        if version.is_none() {
            wire.version = wire.find_version()?;
        }
        Ok(wire)
    }

    /// The newest API version that both sides speak: 8 if Wire has it, else its newest one.
    fn find_version(&self) -> Result<u32, Error> {
        #[derive(Deserialize)]
        struct Versions {
            supported: Vec<u32>,
        }
        let (status, body) = self.send(&Method::GET, "/api-version", None, None)?;
        match serde_json::from_value::<Versions>(body.clone()) {
            Ok(Versions { supported }) if status.is_success() => {
                let usable = supported.into_iter().filter(|version| *version <= NAMES_SINCE);
                usable.max().ok_or_else(|| {
                    Error::Refused(
                        "Wire speaks none of the API versions up to 8 any more; name one with --api-version"
                            .into(),
                    )
                })
            }
            _ => Err(self.explain(status, &body, "/api-version")),
        }
    }

    pub fn login(
        &self,
        email: &str,
        password: &Secret,
        code: Option<&str>,
    ) -> Result<Login, Error> {
        let mut body = json!({"email": email, "password": password.reveal()});
        if let Some(code) = code {
            body["verification_code"] = code.into();
        }
        let path = self.versioned("/login");
        let (status, answer) = self.send(&Method::POST, &path, None, Some(&body))?;
        match answer["access_token"].as_str() {
            Some(token) if status.is_success() => Ok(Login {
                wire: Self { agent: self.agent.clone(), base: self.base.clone(), ..*self },
                access_token: Secret::new(token),
            }),
            _ => Err(self.explain(status, &answer, "/login")),
        }
    }

    /// Has Wire send a second-factor code by email.
    pub fn send_code(&self, action: &str, email: &str) -> Result<(), Error> {
        let path = self.versioned("/verification-code/send");
        let body = json!({"action": action, "email": email});
        let (status, answer) = self.send(&Method::POST, &path, None, Some(&body))?;
        // Too many requests: a code was sent a moment ago, and that one counts.
        if status.is_success() || status.as_u16() == 429 {
            return Ok(());
        }
        Err(self.explain(status, &answer, "/verification-code/send"))
    }

    fn versioned(&self, path: &str) -> String {
        if self.version == 0 { path.into() } else { format!("/v{}{path}", self.version) }
    }

    fn send(
        &self,
        method: &Method,
        path: &str,
        login: Option<&Secret>,
        body: Option<&Value>,
    ) -> Result<(StatusCode, Value), Error> {
        let mut request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.base))
            .header("accept", "application/json");
        if let Some(login) = login {
            request = request.header("authorization", format!("Bearer {}", login.reveal()));
        }
        let answer = match body {
            Some(body) => {
                let request = request.header("content-type", "application/json");
                request.body(body.to_string()).map(|request| self.agent.run(request))
            }
            None => request.body(()).map(|request| self.agent.run(request)),
        };
        let unusable = |_| Error::Refused(format!("{} is not a usable --backend", self.base));
        let answer = answer.map_err(unusable)?.map_err(|error| self.unreachable(&error))?;
        self.read(answer)
    }

    fn read(&self, mut answer: Response<ureq::Body>) -> Result<(StatusCode, Value), Error> {
        let status = answer.status();
        // SECURITY: whatever a server sends is bounded, and shown to people in parts only.
        let text = answer
            .body_mut()
            .with_config()
            .limit(MAX_ANSWER)
            .read_to_string()
            .map_err(|error| self.unreachable(&error))?;
        let mut body: Value = serde_json::from_str(&text).unwrap_or(Value::Null);
        if let (Some(rule), Value::Object(fields)) =
            (answer.headers().get("scim-guard-rule"), &mut body)
        {
            fields.insert("rule".into(), rule.to_str().unwrap_or("").into());
        }
        Ok((status, body))
    }

    /// Why there was no answer.
    fn unreachable(&self, error: &ureq::Error) -> Error {
        let base = &self.base;
        let text = error.to_string();
        Error::Refused(match error {
            ureq::Error::HostNotFound => format!("{base}: no address is known for this name"),
            ureq::Error::Timeout(_) => {
                format!("{base}: no answer within {} seconds", DEADLINE.as_secs())
            }
            _ if text.contains("certificate") || text.contains("UnknownIssuer") => format!(
                "{base}: the server's certificate is not trusted ({text}); name the authority that \
                 issued it with --ca FILE"
            ),
            _ if text.contains("Corrupt") || text.contains("InvalidContentType") => {
                format!("{base}: no TLS is spoken there; is it http:// that you mean?")
            }
            _ => format!("{base}: cannot be reached ({text})"),
        })
    }

    /// What Wire, or a guard in front of it, means by an error.
    fn explain(&self, status: StatusCode, answer: &Value, path: &str) -> Error {
        let text = |key: &str| answer[key].as_str().unwrap_or_default();
        let (code, base) = (status.as_u16(), &self.base);
        let sentence = match text("label") {
            "code-authentication-required" | "code-authentication-failed" => {
                return Error::CodeWanted;
            }
            "invalid-credentials" => {
                "Wire does not know this email address with this password".into()
            }
            "password-authentication-failed" | "access-denied" => {
                "Wire does not take this password".into()
            }
            "insufficient-permissions" | "no-permission" => {
                "this account may not manage SCIM tokens; log in as an admin or owner of the team"
                    .into()
            }
            "no-team-member" | "not-a-team-member" => {
                "this account is in no team; log in as an admin or owner of the team".into()
            }
            "token-limit-reached" => {
                "the team has as many SCIM tokens as Wire allows; delete one that \
                                      is not used any more (`token list`, `token delete`)"
                    .into()
            }
            "more-than-one-idp" | "no-single-idp" => {
                "the team has several identity providers and this Wire ties tokens to \
                                    one; name it with --idp on a Wire that speaks API version 8"
                    .into()
            }
            "idp-not-found" | "not-found" if path.contains("auth-tokens") && code != 405 => {
                "Wire does not know this identity provider or token in the team".into()
            }
            "unsupported-version" => format!(
                "this Wire does not speak API version {}; leave out --api-version",
                self.version
            ),
            "suspended" | "pending-activation" => {
                "this account is suspended or not activated".into()
            }
            _ if text("rule") == "target.not_found" => format!(
                "the guard at {base} does not forward {path}: set `other_paths: forward` and \
                 `auth_tokens: forward` in its config, or name Wire itself as --backend"
            ),
            _ if !text("rule").is_empty() => {
                format!(
                    "the guard at {base} answered {code} ({}): {}",
                    text("rule"),
                    text("detail")
                )
            }
            _ if code == 404 || code == 405 => {
                format!("there is no {path} at {base}; is this the address of a Wire backend?")
            }
            _ if code == 420 || code == 429 => {
                "Wire gets too many requests from here; try again in some seconds".into()
            }
            _ if status.is_redirection() => {
                format!("{base} redirects {path}; name the address that it redirects to")
            }
            "" => format!("{base} answered {path} with {code}, and not as Wire does"),
            label => format!("Wire answered {code} ({label}): {}", text("message")),
        };
        Error::Refused(sentence)
    }
}

impl Login {
    pub fn send_code(&self, action: &str, email: &str) -> Result<(), Error> {
        self.wire.send_code(action, email)
    }

    /// Whether this Wire gives names to tokens.
    pub fn has_names(&self) -> bool {
        self.wire.version >= NAMES_SINCE
    }

    /// Creates a token; gives it, and its id.
    pub fn create(
        &self,
        wanted: &Wanted<'_>,
        password: &Secret,
        code: Option<&str>,
    ) -> Result<(Secret, Info), Error> {
        let mut body = json!({"description": wanted.description, "password": password.reveal()});
        for (key, value) in
            [("verification_code", code), ("name", wanted.name), ("idp", wanted.idp)]
        {
            if let Some(value) = value {
                body[key] = value.into();
            }
        }
        let answer = self.ask(&Method::POST, "", Some(&body))?;
        let info = serde_json::from_value(answer["info"].clone());
        match (answer["token"].as_str(), info) {
            (Some(token), Ok(info)) if token::is_wire_token(token.as_bytes()) => {
                Ok((Secret::new(token), info))
            }
            _ => Err(Error::Refused(
                "Wire answered without a token, or with none that Wire has; `token list` shows whether one \
                 was created, and `token delete` takes it away"
                    .into(),
            )),
        }
    }

    pub fn list(&self) -> Result<Vec<Info>, Error> {
        let answer = self.ask(&Method::GET, "", None)?;
        serde_json::from_value(answer["tokens"].clone())
            .map_err(|_| Error::Refused("Wire's list of tokens cannot be read".into()))
    }

    pub fn rename(&self, id: &str, name: &str) -> Result<(), Error> {
        self.ask(&Method::PUT, &format!("/{id}"), Some(&json!({"name": name}))).map(|_| ())
    }

    pub fn delete(&self, id: &str) -> Result<(), Error> {
        self.ask(&Method::DELETE, &format!("?id={id}"), None).map(|_| ())
    }

    fn ask(&self, method: &Method, rest: &str, body: Option<&Value>) -> Result<Value, Error> {
        const PATH: &str = "/scim/auth-tokens";
        let path = self.wire.versioned(&format!("{PATH}{rest}"));
        let (status, answer) = self.wire.send(method, &path, Some(&self.access_token), body)?;
        if status.is_success() {
            return Ok(answer);
        }
        Err(self.wire.explain(status, &answer, PATH))
    }
}

/// The authorities that are trusted: those of the file, or of the system, or of the program where a
/// container has none.
fn roots(ca: Option<&Path>) -> Result<RootCerts, Failure> {
    let Some(path) = ca else {
        let system = rustls_native_certs::load_native_certs().certs;
        if system.is_empty() {
            return Ok(RootCerts::WebPki);
        }
        let system: Vec<Certificate<'static>> =
            system.iter().map(|der| Certificate::from_der(der).to_owned()).collect();
        return Ok(RootCerts::Specific(Arc::new(system)));
    };
    let pem = std::fs::read(path).map_err(|error| {
        Failure::Unusable(format!("{}: cannot be read: {error}", path.display()))
    })?;
    let certificates: Vec<Certificate<'static>> = ureq::tls::parse_pem(&pem)
        .filter_map(|item| match item {
            Ok(PemItem::Certificate(certificate)) => Some(certificate),
            _ => None,
        })
        .collect();
    if certificates.is_empty() {
        return Err(Failure::Unusable(format!("{}: holds no certificate (PEM)", path.display())));
    }
    Ok(RootCerts::Specific(Arc::new(certificates)))
}

/// Whether a URL names a server, and with a port that there is if it names one.
fn is_server(url: &str) -> bool {
    let Ok(uri) = Uri::try_from(url) else { return false };
    uri.authority().is_some_and(|authority| {
        let has_none = authority.as_str() == authority.host();
        has_none || authority.port_u16().is_some_and(|port| port != 0)
    })
}
