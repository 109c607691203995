//! An HTTP client of a Wire backend, for the commands that need one.

use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use ureq::http::{HeaderMap, Method, Request, StatusCode, Uri};
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig};
use ureq::{Agent, Proxy};

use super::Failure;

const TIMEOUT: Duration = Duration::from_secs(30);

/// Bytes of the largest answer that is read.
const MAX_ANSWER: u64 = 4 * 1024 * 1024;

#[derive(Clone)]
pub struct Backend {
    agent: Agent,
    /// Without a trailing slash.
    base: String,
}

/// What the backend answered.
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    /// Null if the body is not JSON.
    pub body: Value,
}

impl Backend {
    pub fn new(url: &str, ca: Option<&Path>) -> Result<Self, Failure> {
        let base = url.trim_end_matches('/').to_owned();
        let host = ["https://", "http://"].iter().find_map(|scheme| base.strip_prefix(scheme));
        let readable = host.is_some_and(|host| {
            !host.is_empty() && !host.contains(['/', '?', '#', '@', ' ']) && is_server(&base)
        });
        if !readable {
            // SECURITY: the URL is not repeated, because it may contain a password.
            return Err(Failure::Unusable(
                "--backend is not the URL of a server; write https://HOST or https://HOST:PORT, without a \
                 path, a user or a password"
                    .into(),
            ));
        }
        let agent = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .timeout_global(Some(TIMEOUT))
            // Requests to this machine must not go to a proxy.
            .proxy(Proxy::try_from_env().filter(|_| !is_local(&base)))
            .user_agent(concat!("wire-scim-guard/", env!("CARGO_PKG_VERSION")))
            .tls_config(TlsConfig::builder().root_certs(roots(ca)?).build())
            .build()
            .new_agent();
        Ok(Self { agent, base })
    }

    /// Its URL, without a trailing slash.
    pub fn base(&self) -> &str {
        &self.base
    }

    /// Whether requests go over the network in clear text.
    pub fn is_exposed(&self) -> bool {
        self.base.starts_with("http://") && !is_local(&self.base)
    }

    /// Sends a request. The error says in one sentence why there is no answer.
    pub fn send(
        &self,
        method: &Method,
        target: &str,
        headers: &[(&str, &str)],
        body: Option<String>,
    ) -> Result<Answer, String> {
        let request = Request::builder().method(method).uri(format!("{}{target}", self.base));
        let request =
            headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        let answer = match body {
            Some(body) => request.body(body).map(|request| self.agent.run(request)),
            None => request.body(()).map(|request| self.agent.run(request)),
        };
        let unusable = |_| format!("{} is not a usable --backend", self.base);
        let mut answer = answer.map_err(unusable)?.map_err(|error| self.unreachable(&error))?;
        // SECURITY: the size of an answer is bounded, and only parts of it are printed.
        let body = answer
            .body_mut()
            .with_config()
            .limit(MAX_ANSWER)
            .read_to_vec()
            .map_err(|error| self.unreachable(&error))?;
        Ok(Answer {
            status: answer.status(),
            headers: answer.headers().clone(),
            body: serde_json::from_slice(&body).unwrap_or(Value::Null),
        })
    }

    /// Why there was no answer.
    fn unreachable(&self, error: &ureq::Error) -> String {
        let base = &self.base;
        let text = error.to_string();
        match error {
            ureq::Error::HostNotFound => format!("{base}: no address is known for this name"),
            ureq::Error::Timeout(_) => {
                format!("{base}: no answer within {} seconds", TIMEOUT.as_secs())
            }
            _ if text.contains("certificate") || text.contains("UnknownIssuer") => format!(
                "{base}: the server's certificate is not trusted ({text}); name the authority that \
                 issued it with --ca FILE"
            ),
            _ if text.contains("Corrupt") || text.contains("InvalidContentType") => {
                format!("{base}: the server does not speak TLS; did you mean http://?")
            }
            _ => format!("{base}: cannot be reached ({text})"),
        }
    }
}

/// Whether a URL names this machine.
fn is_local(url: &str) -> bool {
    let host =
        url.split_once("://").map_or(url, |(_, host)| host).split('/').next().unwrap_or_default();
    let host = host.rsplit_once(':').map_or(host, |(host, _)| host).trim_matches(['[', ']']);
    host == "localhost" || host.parse().is_ok_and(|address: IpAddr| address.is_loopback())
}

/// The trusted certificate authorities: those of the file, or of the system, or, where the system has none, as in
/// some containers, those compiled into the program.
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
        return Err(Failure::Unusable(format!(
            "{}: contains no certificate (PEM)",
            path.display()
        )));
    }
    Ok(RootCerts::Specific(Arc::new(certificates)))
}

/// Whether a URL names a server, with a valid port if it has one.
fn is_server(url: &str) -> bool {
    let Ok(uri) = Uri::try_from(url) else { return false };
    uri.authority().is_some_and(|authority| {
        let has_no_port = authority.as_str() == authority.host();
        has_no_port || authority.port_u16().is_some_and(|port| port != 0)
    })
}
