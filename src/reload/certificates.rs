//! Finds out when certificates, keys and authorities have changed.

use crate::tls::LoadedTls;
use crate::tls::file::TlsFile;

/// What was seen of the files that the configuration in use names for TLS.
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

    /// Looks once. A change counts once, and only when two looks in a row find the same: a certificate and its key
    /// are often written one after the other.
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
