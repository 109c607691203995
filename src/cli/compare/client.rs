//! Sends the requests of a comparison: at a low rate, with retries when the backend is overloaded, and not to another
//! guard.

use std::thread::sleep;
use std::time::{Duration, Instant};

use time::OffsetDateTime;
use time::format_description::well_known::Rfc2822;
use ureq::http::{HeaderMap, Method};

use crate::cli::Failure;
use crate::cli::backend::{Answer, Backend};
use crate::secret::Secret;

/// At most five requests per second.
const INTERVAL: Duration = Duration::from_millis(200);

/// How often one request is sent.
const MAX_ATTEMPTS: u32 = 5;

/// The longest pause that a backend may ask for.
const MAX_PAUSE: Duration = Duration::from_secs(120);

pub struct Client {
    backend: Backend,
    token: Option<Secret>,
    last: Option<Instant>,
}

/// A request to send.
pub struct Request<'a> {
    pub method: Method,
    pub target: &'a str,
    /// In addition to the default ones; they replace those of the same name.
    pub headers: &'a [(&'a str, String)],
    pub body: Option<String>,
    pub with_token: bool,
}

impl Client {
    pub fn new(backend: Backend, token: Option<Secret>) -> Self {
        Self { backend, token, last: None }
    }

    /// The answer to a request; the request is sent again after a 420, 429 or 503.
    pub fn ask(&mut self, request: &Request<'_>) -> Result<Answer, Failure> {
        let mut pause = Duration::from_secs(1);
        for attempt in 1..=MAX_ATTEMPTS {
            let answer = self.send(request)?;
            let status = answer.status.as_u16();
            match status {
                420 | 429 | 503 if attempt < MAX_ATTEMPTS => {
                    let wanted = retry_after(&answer.headers, OffsetDateTime::now_utc());
                    let wait = wanted.unwrap_or(pause);
                    if wait > MAX_PAUSE {
                        return Err(self.unusable(&format!(
                            "answered {status} and asks for a pause of {} seconds; run the command again \
                             after that",
                            wait.as_secs()
                        )));
                    }
                    sleep(wait);
                    pause *= 2;
                }
                420 | 429 | 503 => {}
                502 | 504 => {
                    return Err(self.unusable(&format!(
                        "answered {status}: the proxy in front of Wire does not reach it"
                    )));
                }
                _ => return Ok(answer),
            }
        }
        Err(self.unusable(&format!(
            "answered {MAX_ATTEMPTS} times that it is overloaded (420, 429 or 503); run the command again later"
        )))
    }

    /// An error message that begins with the backend's URL.
    pub fn unusable(&self, what: &str) -> Failure {
        Failure::Unusable(format!("{} {what}", self.backend.base()))
    }

    fn send(&mut self, request: &Request<'_>) -> Result<Answer, Failure> {
        if let Some(last) = self.last {
            sleep(INTERVAL.saturating_sub(last.elapsed()));
        }
        self.last = Some(Instant::now());
        let bearer = match &self.token {
            Some(token) if request.with_token => Some(format!("Bearer {}", token.reveal())),
            _ => None,
        };
        let mut headers = vec![("accept", "application/scim+json")];
        headers.extend(bearer.as_deref().map(|bearer| ("authorization", bearer)));
        headers.extend(request.body.as_ref().map(|_| ("content-type", "application/scim+json")));
        for (name, value) in request.headers {
            headers.retain(|(default, _)| default != name);
            headers.push((name, value));
        }
        let Request { method, target, body, .. } = request;
        let answer = self.backend.send(method, target, &headers, body.clone());
        let answer = answer.map_err(Failure::Unusable)?;
        if answer.headers.contains_key("scim-guard-rule") {
            return Err(self.unusable(
                "is a wire-scim-guard (it answers with Scim-Guard-Rule); name the Wire backend after it as \
                 --backend",
            ));
        }
        Ok(answer)
    }
}

/// The value of Retry-After: a number of seconds, or a date.
fn retry_after(headers: &HeaderMap, now: OffsetDateTime) -> Option<Duration> {
    let value = headers.get("retry-after")?.to_str().ok()?.trim();
    if let Ok(seconds) = value.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = OffsetDateTime::parse(value, &Rfc2822).ok()?;
    Some(Duration::try_from(date - now).unwrap_or(Duration::ZERO))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_is_a_number_of_seconds_or_a_date() {
        let now = OffsetDateTime::parse("Sun, 06 Nov 1994 08:49:37 GMT", &Rfc2822).unwrap();
        for (value, pause) in [
            ("7", Some(7)),
            ("0", Some(0)),
            ("Sun, 06 Nov 1994 08:49:47 GMT", Some(10)),
            ("Sun, 06 Nov 1994 08:49:27 GMT", Some(0)),
            ("-1", None),
            ("soon", None),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert("retry-after", value.parse().unwrap());
            assert_eq!(retry_after(&headers, now), pause.map(Duration::from_secs), "{value}");
        }
    }
}
