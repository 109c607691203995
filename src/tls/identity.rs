//! A certificate chain with its private key, with which a listener, or the guard as a client,
//! identifies itself.

use std::path::Path;
use std::sync::Arc;

use rustls::crypto::ring::sign::any_supported_type;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;
use rustls::sign::{CertifiedKey, SigningKey};

use super::certificate::{Certificate, note, read_all};
use super::file::Files;
use super::pem;
use crate::config::CertificateFiles;

/// A chain and its key, which belong together.
#[derive(Debug, Clone)]
pub struct Identity {
    pub certified: Arc<CertifiedKey>,
    /// The first certificate of the chain.
    pub own: Certificate,
    /// The earliest expiry of a certificate in the chain, in seconds since 1970.
    pub not_after: i64,
}

impl Identity {
    /// Reads and checks both files. `None`: the errors are in `files`.
    pub fn load(paths: &CertificateFiles, files: &mut Files) -> Option<Self> {
        let path = &paths.certificate;
        let chain = read_all(path, files);
        let key = read_key(&paths.key, files);
        let (chain, key) = chain.zip(key)?;
        let fits = |certificate: &Certificate| {
            let pair = CertifiedKey::new(vec![certificate.der.clone()], Arc::clone(&key));
            pair.keys_match().is_ok()
        };
        let own = chain.iter().position(fits);
        match own {
            Some(0) => {}
            Some(place) => {
                let why = format!(
                    "the chain is in the wrong order: certificate {} is the one of the key; put it first, and \
                     each issuer after what it issued",
                    place + 1
                );
                files.error_at(path, chain[place].line, why);
                return None;
            }
            None => {
                let why = format!(
                    "the key in {} does not belong to this certificate",
                    paths.key.display()
                );
                files.error_at(path, chain[0].line, why);
                return None;
            }
        }
        let mut good = true;
        for (place, pair) in chain.windows(2).enumerate() {
            if pair[0].issuer != pair[1].subject {
                let why = format!(
                    "certificate {} of the chain is not the issuer of certificate {}, which is before it: order \
                     them from the server's own to its issuers, and leave out what is not in its chain",
                    place + 2,
                    place + 1
                );
                files.error_at(path, pair[1].line, why);
                good = false;
            }
        }
        for certificate in &chain {
            if let Some(why) = certificate.is_out_of_date(files.now()) {
                files.error_at(path, certificate.line, why);
                good = false;
            }
        }
        let not_after = chain.iter().map(|certificate| certificate.not_after).min()?;
        let ders = chain.iter().map(|certificate| certificate.der.clone()).collect();
        let own = chain.into_iter().next()?;
        let certified = Arc::new(CertifiedKey::new(ders, key));
        good.then_some(Self { certified, own, not_after })
    }
}

/// SECURITY: no part of a key is in any message.
fn read_key(path: &Path, files: &mut Files) -> Option<Arc<dyn SigningKey>> {
    let bytes = files.read(path)?;
    match key_in(&bytes) {
        Ok(key) => Some(key),
        Err(fault) => {
            note(path, fault, files);
            None
        }
    }
}

fn key_in(text: &[u8]) -> Result<Arc<dyn SigningKey>, pem::Fault> {
    let blocks = pem::blocks(text)?;
    let mut keys = blocks.iter().filter(|block| block.label.ends_with("PRIVATE KEY"));
    let Some(block) = keys.next() else {
        let label = blocks.first().map_or("", |block| block.label);
        let swapped = if label == "CERTIFICATE" {
            "; are the files of certificate and key swapped?"
        } else {
            ""
        };
        return Err((None, format!("there is no private key in it, only {label}{swapped}")));
    };
    if let Some(second) = keys.next() {
        return Err((Some(second.line), "this is a second private key; keep one".into()));
    }
    let at = Some(block.line);
    if block.is_encrypted() {
        let why = "the key is encrypted, and its password cannot be asked for: write it without \
                   (openssl pkey -in OLD -out NEW), readable for the guard's user alone";
        return Err((at, why.into()));
    }
    let (kind, der) = block.der()?;
    let Some(key) = PrivateKeyDer::from_pem(kind, der) else {
        return Err((
            at,
            format!("{} is not a kind of private key that is supported", block.label),
        ));
    };
    any_supported_type(&key).map_err(|_| {
        let why = "the key is damaged, or of a kind that is not supported: use ECDSA with P-256 or P-384, RSA with \
                   2048 to 4096 bits, or Ed25519";
        (at, why.into())
    })
}
