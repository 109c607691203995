//! What a failed handshake with a backend server means, and how to fix it, as the end of a
//! sentence.

use std::io;

use pingora::{BError, Error};
use rustls::{AlertDescription, CertificateError};

/// Why a server refuses a client that has no certificate, or one that it does not accept.
pub(super) const NO_CERTIFICATE: &str =
    "it requires a client certificate: name one with upstream.tls.certificate and upstream.tls.key";
pub(super) const REFUSED_CERTIFICATE: &str =
    "it does not accept the client certificate (upstream.tls.certificate)";

/// How the end of a connection appears: a plain end of stream, or a reset because of unread bytes.
const ENDS: [io::ErrorKind; 3] =
    [io::ErrorKind::UnexpectedEof, io::ErrorKind::ConnectionReset, io::ErrorKind::BrokenPipe];

/// Why a handshake with a server that has to prove this name failed.
pub(super) fn of_handshake(error: &io::Error, name: &str) -> String {
    match rustls_error(error) {
        Some(fault) => of_tls(fault, name),
        None if ENDS.contains(&error.kind()) => {
            "it closes the connection during the TLS handshake: does this port speak TLS, and is the name right \
             that it is asked for?"
                .into()
        }
        None => format!("the TLS handshake breaks off: {error}"),
    }
}

/// Why an answer could not be read, if the server ended TLS with an alert: in TLS 1.3 that is how
/// it refuses a client certificate.
pub(super) fn of_alert(error: &Error) -> Option<String> {
    let mut error = error;
    loop {
        let cause = error.cause.as_deref()?;
        if let Some(error) = cause.downcast_ref::<io::Error>() {
            let fault = rustls_error(error)?;
            return matches!(fault, rustls::Error::AlertReceived(_)).then(|| of_tls(fault, ""));
        }
        error = cause.downcast_ref::<BError>()?;
    }
}

fn rustls_error(error: &io::Error) -> Option<&rustls::Error> {
    error.get_ref()?.downcast_ref()
}

fn of_tls(fault: &rustls::Error, name: &str) -> String {
    use rustls::Error as E;
    match fault {
        E::InvalidCertificate(fault) => of_certificate(fault, name),
        E::InvalidMessage(_) | E::InappropriateMessage { .. } | E::PeerSentOversizedRecord => {
            "it does not speak TLS on this port: name the port that does, or write http:// if its connections are \
             to be cleartext"
                .into()
        }
        E::AlertReceived(alert) => of_description(*alert),
        E::PeerIncompatible(_) => {
            "it has no version or cipher of TLS in common with the guard, which speaks TLS 1.2 and 1.3".into()
        }
        E::NoCertificatesPresented => "it has no certificate".into(),
        E::NoApplicationProtocol => "it does not speak HTTP/1.1 over TLS (ALPN)".into(),
        fault => format!("the TLS handshake fails: {fault}"),
    }
}

fn of_certificate(fault: &CertificateError, name: &str) -> String {
    use CertificateError as E;
    match fault {
        E::UnknownIssuer => "its certificate is self-signed, or issued by an authority that is not trusted here, or \
             comes without the certificates in between: name the file with that authority, or with the self-signed \
             certificate itself, as upstream.tls.ca"
            .into(),
        E::NotValidForName => format!(
            "its certificate is not for {name}: write the name that it is for in upstream.servers or as upstream.host"
        ),
        E::NotValidForNameContext { presented, .. } if presented.is_empty() => format!(
            "its certificate is for no name at all: it needs {name} as a subject alternative name (SAN)"
        ),
        E::NotValidForNameContext { presented, .. } => format!(
            "its certificate is for {} and not for {name}: write the name that it is for in upstream.servers or as \
             upstream.host",
            presented.iter().map(|name| bare(name)).collect::<Vec<_>>().join(", ")
        ),
        E::Expired | E::ExpiredContext { .. } => {
            "its certificate, or one of its issuers, has expired: renew it, or set the clock of this machine".into()
        }
        E::NotValidYet | E::NotValidYetContext { .. } => {
            "its certificate is not valid yet: set the clock of the machine that is wrong".into()
        }
        E::InvalidPurpose | E::InvalidPurposeContext { .. } => {
            "its certificate is not one for servers (extended key usage serverAuth)".into()
        }
        E::BadSignature => {
            "the signature of its certificate is not of the authority that is named as its issuer: is upstream.tls.ca \
             an older authority of the same name?"
                .into()
        }
        E::Revoked => "its certificate was revoked".into(),
        fault if fault.to_string().contains("CaUsedAsEndEntity") => {
            "its certificate is that of an authority (CA:TRUE), which cannot be used by a server: issue one with \
             basicConstraints CA:FALSE, and name what it is signed by as upstream.tls.ca"
                .into()
        }
        fault if fault.to_string().contains("UnsupportedCertVersion") => {
            "its certificate has an outdated form (version 1, without subject alternative names): issue a new one"
                .into()
        }
        fault => format!("its certificate cannot be verified: {fault}"),
    }
}

/// A name in a certificate, without the kind that is written around it.
fn bare(name: &str) -> &str {
    name.split_once("(\"").and_then(|(_, name)| name.strip_suffix("\")")).unwrap_or(name)
}

fn of_description(alert: AlertDescription) -> String {
    use AlertDescription as A;
    match alert {
        A::CertificateRequired => NO_CERTIFICATE.into(),
        A::BadCertificate
        | A::UnsupportedCertificate
        | A::CertificateRevoked
        | A::CertificateExpired
        | A::CertificateUnknown
        | A::UnknownCA
        | A::AccessDenied => format!("{REFUSED_CERTIFICATE}, or requires one: its alert is {alert:?}"),
        A::UnrecognisedName => {
            "it does not know the name that it is asked for: write its own in upstream.servers or as upstream.host".into()
        }
        A::ProtocolVersion | A::HandshakeFailure | A::InsufficientSecurity => format!(
            "it has no version or cipher of TLS in common with the guard, which speaks TLS 1.2 and 1.3, or requires a \
             client certificate: its alert is {alert:?}"
        ),
        A::NoApplicationProtocol => "it does not speak HTTP/1.1 over TLS (ALPN)".into(),
        alert => format!("it ends the TLS handshake with the alert {alert:?}"),
    }
}
