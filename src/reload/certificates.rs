//! Detects changes of certificates, keys and authorities.

use crate::tls::LoadedTls;
use crate::tls::file::TlsFile;

/// What was seen of the TLS files that the configuration in use names.
#[derive(Debug)]
pub(super) struct Certificates {
    /// When they were last loaded, with or without success.
    tried: Vec<TlsFile>,
    seen: Vec<TlsFile>,
}

impl Certificates {
    pub(super) fn new(in_use: &LoadedTls) -> Self {
        Self { tried: in_use.files().to_vec(), seen: in_use.files().to_vec() }
    }

    /// Checks once. A change counts once, and only when two checks in a row find the same: a
    /// certificate and its key are often written one after the other.
    pub(super) fn have_changed(&mut self, in_use: &LoadedTls) -> bool {
        let now: Vec<_> = in_use.files().iter().map(|file| TlsFile::of(&file.path)).collect();
        let is_settled = self.seen == now;
        self.seen.clone_from(&now);
        let is_new = is_settled && self.tried != now;
        if is_new {
            self.tried = now;
        }
        is_new
    }
}
