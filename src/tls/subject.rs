//! The subject alternative names of a certificate (RFC 5280 §4.2.1.6).

use std::fmt;

use crate::input::value::quoted;

/// One name, as operators write it: `dns:idp.example`, `uri:spiffe://example/idp`, `email:idp@example.com`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SubjectName {
    Dns(String),
    Uri(String),
    Email(String),
}

impl SubjectName {
    /// Errors are the end of a sentence.
    pub fn parse(text: &str) -> Result<Self, String> {
        let found = quoted(text);
        let (kind, name) = text.split_once(':').unwrap_or(("", text));
        let name_of: fn(String) -> Self = match kind {
            "dns" => Self::Dns,
            "uri" => Self::Uri,
            "email" => Self::Email,
            _ => {
                return Err(format!(
                    "{found} has no kind of name; write dns:NAME, uri:URI or email:ADDRESS, as the certificate \
                     lists it among its subject alternative names"
                ));
            }
        };
        let plain = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_graphic());
        let of_kind = match kind {
            "uri" => name.contains(':'),
            "email" => name.contains('@'),
            _ => !name.contains([':', '/', '@']),
        };
        if !plain || !of_kind {
            return Err(format!("{found} has no name of that kind after the colon"));
        }
        Ok(name_of(name.into()))
    }
}

impl fmt::Display for SubjectName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dns(name) => write!(f, "dns:{name}"),
            Self::Uri(name) => write!(f, "uri:{name}"),
            Self::Email(name) => write!(f, "email:{name}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_a_kind() {
        for text in ["dns:idp.example", "uri:spiffe://example/idp", "email:idp@example.com"] {
            assert_eq!(SubjectName::parse(text).unwrap().to_string(), text);
        }
        for wrong in [
            "",
            "dns:",
            "idp.example",
            "DNS:a",
            "ip:10.0.0.1",
            "dns:a b",
            "email:a",
            "uri:a",
            "dns:https://a",
        ] {
            assert!(SubjectName::parse(wrong).is_err(), "{wrong}");
        }
    }
}
