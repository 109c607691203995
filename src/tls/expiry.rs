//! When certificates expire, and warnings in advance.

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use super::certificate::date;

/// How long before the expiry operators are warned.
const NOTICE: Duration = Duration::from_secs(14 * 86_400);

/// The end of one certificate chain.
#[derive(Debug, Clone)]
pub struct Expiry {
    /// The listener's address and the number of the certificate in its list, from 1.
    pub certificate: String,
    pub path: PathBuf,
    pub line: usize,
    /// Seconds since 1970.
    pub not_after: i64,
}

impl Expiry {
    /// FILE:LINE:COLUMN: warning: sentence, if it expires soon or has expired.
    pub fn warning(&self, now: SystemTime) -> Option<String> {
        let now = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let left = self.not_after.saturating_sub(i64::try_from(now.as_secs()).unwrap_or(i64::MAX));
        let when = match u64::try_from(left) {
            Ok(left) if left > NOTICE.as_secs() => return None,
            Ok(left) if left <= 86_400 => "expires within a day".into(),
            Ok(left) => format!("expires in {} days", left.div_ceil(86_400)),
            Err(_) => "has expired".to_owned(),
        };
        let (path, line, date) = (self.path.display(), self.line, date(self.not_after));
        Some(format!(
            "{path}:{line}:1: warning: the certificate {} {when} ({date}); replace it",
            self.certificate
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn warnings_begin_fourteen_days_before_the_end() {
        let day = 86_400;
        let expiry = Expiry {
            certificate: "127.0.0.1:8443/1".into(),
            path: "a.pem".into(),
            line: 3,
            not_after: 100 * day,
        };
        let at = |days: u64| {
            let seconds = days * 86_400;
            expiry.warning(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds))
        };
        assert_eq!(at(85), None);
        let warning = at(86).unwrap();
        assert!(warning.starts_with(
            "a.pem:3:1: warning: the certificate 127.0.0.1:8443/1 expires in 14 days"
        ));
        assert!(at(98).unwrap().contains("expires in 2 days ("));
        assert!(at(100).unwrap().contains("expires within a day"));
        assert!(at(101).unwrap().contains("has expired"));
    }
}
