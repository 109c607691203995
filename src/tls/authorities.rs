//! The certificates of authorities, with which other certificates are verified.

use std::path::Path;
use std::sync::Arc;

use rustls::RootCertStore;

use super::certificate::read_all;
use super::file::Files;

/// Reads the authorities in a file. `None`: the errors are in `files`.
///
/// SECURITY: rustls does not check the validity period of authorities. Those that are not valid now
/// are left out, with a warning, as long as others remain.
pub fn load(path: &Path, files: &mut Files) -> Option<Arc<RootCertStore>> {
    let certificates = read_all(path, files)?;
    let mut store = RootCertStore::empty();
    let mut good = true;
    let mut left_out = Vec::new();
    for certificate in certificates {
        let line = certificate.line;
        if !certificate.is_authority && certificate.issuer != certificate.subject {
            let why = "this is not the certificate of an authority (CA), but one that an authority has issued; name \
                       the authority's";
            files.error_at(path, line, why);
            good = false;
        } else if let Some(why) = certificate.is_out_of_date(files.now()) {
            left_out.push((line, why));
        } else if store.add(certificate.der).is_err() {
            files.error_at(path, line, "the certificate of this authority cannot be used");
            good = false;
        }
    }
    for (line, why) in left_out {
        if store.is_empty() {
            files.error_at(path, line, why);
            good = false;
        } else {
            files.warn_at(path, line, &format!("{why}, so it is left out"));
        }
    }
    good.then(|| Arc::new(store))
}
