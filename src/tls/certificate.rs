//! One certificate, parsed before rustls uses it.

use std::path::Path;

use rustls::pki_types::CertificateDer;
use time::OffsetDateTime;
use time::macros::format_description;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::file::Files;
use super::pem;
use super::subject::SubjectName;

/// A certificate and its relevant fields.
#[derive(Debug, Clone)]
pub struct Certificate {
    pub der: CertificateDer<'static>,
    /// The line on which it begins in its file.
    pub line: usize,
    pub names: Vec<SubjectName>,
    /// It also names IP addresses.
    pub has_addresses: bool,
    /// Seconds since 1970.
    pub not_before: i64,
    pub not_after: i64,
    /// The encoded names.
    pub subject: Vec<u8>,
    pub issuer: Vec<u8>,
    pub is_authority: bool,
}

impl Certificate {
    /// Reads an encoded certificate.
    pub fn read(der: Vec<u8>, line: usize) -> Result<Self, &'static str> {
        const MALFORMED: &str = "this is not a certificate, or a damaged one";
        let (rest, read) = X509Certificate::from_der(&der).map_err(|_| MALFORMED)?;
        if !rest.is_empty() {
            return Err(MALFORMED);
        }
        let alternatives = read
            .subject_alternative_name()
            .map_err(|_| "the subject alternative names of the certificate cannot be read")?;
        let mut names = Vec::new();
        let mut has_addresses = false;
        for name in alternatives.iter().flat_map(|extension| &extension.value.general_names) {
            match name {
                GeneralName::DNSName(name) => names.push(SubjectName::Dns((*name).into())),
                GeneralName::URI(name) => names.push(SubjectName::Uri((*name).into())),
                GeneralName::RFC822Name(name) => names.push(SubjectName::Email((*name).into())),
                GeneralName::IPAddress(_) => has_addresses = true,
                _ => {}
            }
        }
        let constraints = read.basic_constraints().ok().flatten();
        let certificate = Self {
            line,
            names,
            has_addresses,
            not_before: read.validity().not_before.timestamp(),
            not_after: read.validity().not_after.timestamp(),
            subject: read.subject().as_raw().into(),
            issuer: read.issuer().as_raw().into(),
            is_authority: constraints.is_some_and(|constraints| constraints.value.ca),
            der: CertificateDer::from(Vec::new()),
        };
        Ok(Self { der: CertificateDer::from(der), ..certificate })
    }

    /// Why it is not valid at this time, if it is not.
    pub fn is_out_of_date(&self, now: i64) -> Option<String> {
        if now > self.not_after {
            return Some(format!("the certificate expired on {}", date(self.not_after)));
        }
        (now < self.not_before)
            .then(|| format!("the certificate is not valid before {}", date(self.not_before)))
    }
}

/// All certificates of a file; `None`: there was an error, or none.
pub fn read_all(path: &Path, files: &mut Files) -> Option<Vec<Certificate>> {
    let bytes = files.read(path)?;
    let blocks = match pem::blocks(&bytes) {
        Ok(blocks) => blocks,
        Err(fault) => {
            note(path, fault, files);
            return None;
        }
    };
    let is_certificate = |label: &str| matches!(label, "CERTIFICATE" | "X509 CERTIFICATE");
    let mut read = Vec::new();
    let mut failed = false;
    for block in blocks.iter().filter(|block| is_certificate(block.label)) {
        let der = block.der().map(|(_, der)| der);
        let certificate = der.and_then(|der| {
            Certificate::read(der, block.line).map_err(|why| (Some(block.line), why.into()))
        });
        match certificate {
            Ok(certificate) => read.push(certificate),
            Err(fault) => {
                note(path, fault, files);
                failed = true;
            }
        }
    }
    if read.is_empty() && !failed {
        let label = blocks.first().map_or("", |block| block.label);
        let swapped = if label.ends_with("PRIVATE KEY") {
            "; are the files of certificate and key swapped?"
        } else {
            ""
        };
        files.error(path, format!("there is no certificate in it, only {label}{swapped}"));
    }
    (!failed && !read.is_empty()).then_some(read)
}

/// Records an error in a file.
pub(super) fn note(path: &Path, (line, why): pem::Fault, files: &mut Files) {
    match line {
        Some(line) => files.error_at(path, line, why),
        None => files.error(path, why),
    }
}

/// A time in a readable form.
pub(super) fn date(seconds: i64) -> String {
    let form = format_description!("[year]-[month]-[day] [hour]:[minute] UTC");
    let time = OffsetDateTime::from_unix_timestamp(seconds).ok();
    time.and_then(|time| time.format(form).ok()).unwrap_or_else(|| "an unknown date".into())
}
