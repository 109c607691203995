//! A client of the part of Wire's API that manages SCIM tokens.

use std::path::Path;

use serde::Deserialize;
use serde_json::{Value, json};
use ureq::http::{Method, StatusCode};

use super::Failure;
use crate::cli::backend::{Answer, Backend};
use crate::secret::Secret;
use crate::token;

/// The first API version in which tokens have names.
const NAMES_SINCE: u32 = 8;

/// Why Wire refused a request.
pub enum Error {
    /// A second-factor code is required.
    CodeRequired,
    /// One sentence for people.
    Refused(String),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Running(match error {
            Error::CodeRequired => {
                "Wire does not accept the second-factor code; run the command again without it to \
                                  get a new one"
                    .into()
            }
            Error::Refused(sentence) => sentence,
        })
    }
}

/// A Wire backend.
pub struct Wire {
    backend: Backend,
    version: u32,
}

/// A Wire backend with a session.
pub struct Login {
    wire: Wire,
    access_token: Secret,
}

/// A token, as Wire lists it.
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

/// The attributes of a new token.
pub struct NewToken<'a> {
    pub description: &'a str,
    pub name: Option<&'a str>,
    pub idp: Option<&'a str>,
}

impl Wire {
    pub fn new(url: &str, ca: Option<&Path>, version: Option<u32>) -> Result<Self, Failure> {
        let backend = Backend::new(url, ca)?;
        let mut wire = Self { backend, version: version.unwrap_or(0) };
        if version.is_none() {
            wire.version = wire.find_version()?;
        }
        Ok(wire)
    }

    /// Whether requests go over the network in clear text.
    pub fn is_exposed(&self) -> bool {
        self.backend.is_exposed()
    }

    /// The newest API version that both sides support: 8 if Wire has it, else its newest one.
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
                        "Wire supports none of the API versions up to 8 any more; name one with --api-version"
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
                wire: Self { backend: self.backend.clone(), ..*self },
                access_token: Secret::new(token),
            }),
            _ => Err(self.explain(status, &answer, "/login")),
        }
    }

    /// Makes Wire send a second-factor code by email.
    pub fn send_code(&self, action: &str, email: &str) -> Result<(), Error> {
        let path = self.versioned("/verification-code/send");
        let body = json!({"action": action, "email": email});
        let (status, answer) = self.send(&Method::POST, &path, None, Some(&body))?;
        // Too many requests: a code was sent recently and is still valid.
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
        let bearer = login.map(|login| format!("Bearer {}", login.reveal()));
        let mut headers = vec![("accept", "application/json")];
        headers.extend(bearer.as_deref().map(|bearer| ("authorization", bearer)));
        headers.extend(body.map(|_| ("content-type", "application/json")));
        let answer = self.backend.send(method, path, &headers, body.map(Value::to_string));
        let Answer { status, headers, mut body } = answer.map_err(Error::Refused)?;
        if let (Some(rule), Value::Object(fields)) = (headers.get("scim-guard-rule"), &mut body) {
            fields.insert("rule".into(), rule.to_str().unwrap_or("").into());
        }
        Ok((status, body))
    }

    /// Explains an error of Wire, or of a guard in front of it.
    fn explain(&self, status: StatusCode, answer: &Value, path: &str) -> Error {
        let text = |key: &str| answer[key].as_str().unwrap_or_default();
        let (code, base) = (status.as_u16(), self.backend.base());
        let sentence = match text("label") {
            "code-authentication-required" | "code-authentication-failed" => {
                return Error::CodeRequired;
            }
            "invalid-credentials" => {
                "Wire does not know this email address with this password".into()
            }
            "password-authentication-failed" | "access-denied" => {
                "Wire does not accept this password".into()
            }
            "insufficient-permissions" | "no-permission" => {
                "this account may not manage SCIM tokens; log in as an admin or owner of the team"
                    .into()
            }
            "no-team-member" | "not-a-team-member" => {
                "this account belongs to no team; log in as an admin or owner of the team".into()
            }
            "token-limit-reached" => {
                "the team has as many SCIM tokens as Wire allows; delete one that \
                                      is no longer used (`token list`, `token delete`)"
                    .into()
            }
            "more-than-one-idp" | "no-single-idp" => {
                "the team has several identity providers and this Wire associates tokens with \
                                    one; name it with --idp on a Wire that supports API version 8"
                    .into()
            }
            "idp-not-found" | "not-found" if path.contains("auth-tokens") && code != 405 => {
                "the team has no such identity provider or token".into()
            }
            "unsupported-version" => format!(
                "this Wire does not support API version {}; leave out --api-version",
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
                "Wire reports too many requests; try again in some seconds".into()
            }
            _ if status.is_redirection() => {
                format!("{base} redirects {path}; name the address that it redirects to")
            }
            "" => format!("{base} answered {path} with {code}, and not in Wire's format"),
            label => format!("Wire answered {code} ({label}): {}", text("message")),
        };
        Error::Refused(sentence)
    }
}

impl Login {
    pub fn send_code(&self, action: &str, email: &str) -> Result<(), Error> {
        self.wire.send_code(action, email)
    }

    /// Whether tokens have names on this Wire.
    pub fn has_names(&self) -> bool {
        self.wire.version >= NAMES_SINCE
    }

    /// Creates a token; returns it and its description.
    pub fn create(
        &self,
        wanted: &NewToken<'_>,
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
                "Wire's answer contains no valid token; `token list` shows whether one \
                 was created, and `token delete` deletes it"
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
