//! Why TLS handshakes with clients fail.

use prometheus::{IntCounter, IntCounterVec, Opts, Registry};
use strum::{EnumCount, IntoEnumIterator, IntoStaticStr};

use super::register;

/// Why a handshake failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, strum::EnumIter, strum::EnumCount, IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum HandshakeFailure {
    /// The client closed the connection.
    Closed,
    /// It was not finished within limits.header_timeout.
    Timeout,
    /// It gave way to others, as too many were in progress.
    Displaced,
    /// What was received is not TLS.
    NotTls,
    /// No version, cipher suite, kind of key or protocol in common.
    Incompatible,
    /// The client's certificate is missing, or was not verified.
    ClientCertificate,
    /// The client aborted, usually because it does not trust the certificate.
    Alert,
    Other,
}

impl HandshakeFailure {
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

/// The counters, by reason.
pub(super) type Handshakes = [IntCounter; HandshakeFailure::COUNT];

pub(super) fn counters(registry: &Registry) -> Result<Handshakes, prometheus::Error> {
    let failures = register(
        registry,
        IntCounterVec::new(
            Opts::new(
                "scim_guard_tls_handshake_failures_total",
                "TLS handshakes with clients that failed, by reason.",
            ),
            &["reason"],
        )?,
    )?;
    let mut reasons = HandshakeFailure::iter();
    Ok(std::array::from_fn(|_| {
        let reason = reasons.next().map_or("other", HandshakeFailure::as_str);
        failures.with_label_values(&[reason])
    }))
}
