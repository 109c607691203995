//! Times as logs and the admin listener show them: RFC 3339, in UTC, with milliseconds.

use std::fmt;
use std::time::SystemTime;

use serde::{Serialize, Serializer};
use time::OffsetDateTime;

/// A time that is shown as `2026-11-28T20:15:30.123Z`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timestamp(pub SystemTime);

impl Timestamp {
    pub fn now() -> Self {
        Self(SystemTime::now())
    }

    /// For people, without the fraction of the second.
    pub fn seconds(self) -> String {
        let text = self.to_string();
        text.get(..19).unwrap_or(&text).replace('T', " ") + " UTC"
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = OffsetDateTime::from(self.0);
        let (date, time) = (at.date(), at.time());
        write!(
            f,
            "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}Z",
            date.year(),
            u8::from(date.month()),
            date.day(),
            time.hour(),
            time.minute(),
            time.second(),
            time.millisecond()
        )
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    #[test]
    fn a_time_is_shown_in_utc_with_milliseconds() {
        let at = Timestamp(UNIX_EPOCH + Duration::from_millis(1_795_896_930_007));
        assert_eq!(at.to_string(), "2026-11-28T20:15:30.007Z");
        assert_eq!(at.seconds(), "2026-11-28 20:15:30 UTC");
        assert_eq!(Timestamp(UNIX_EPOCH).to_string(), "1970-01-01T00:00:00.000Z");
    }
}
