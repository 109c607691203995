//! The releases of Wire whose interpretation of SCIM the guard knows.
//!
//! Everything that judges takes the release from [`crate::policy::Policy`], so that a new
//! interpretation is a variant here and a `match` where it differs from the previous one.

/// An interpretation of Wire's SCIM API, named by the first release known to have it.
///
/// A release between two interpretations has the older one: `5.34` means all releases up to 5.34,
/// `5.35` those from 5.35 on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Release {
    /// Up to 5.34: no value path in a PATCH; of several primary addresses the first one is used.
    R5_34,
    /// From 5.35: value paths into `emails`; at most one primary address.
    R5_35,
}

impl Release {
    /// All interpretations, oldest first.
    pub const ALL: [Self; 2] = [Self::R5_34, Self::R5_35];
    /// The newest interpretation, which is assumed of later releases too.
    pub const NEWEST: Self = Self::R5_35;

    /// The release as it is written in configuration and on the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::R5_34 => "5.34",
            Self::R5_35 => "5.35",
        }
    }

    /// The interpretation of a release `N.N`: a later release has the newest known one, an earlier
    /// one the oldest. `None` if `text` has another form.
    pub fn parse(text: &str) -> Option<Self> {
        let (major, minor) = text.split_once('.')?;
        let number = |digits: &str| {
            let plain = digits.bytes().all(|byte| byte.is_ascii_digit());
            digits.parse::<u32>().ok().filter(|_| plain)
        };
        let release = (number(major)?, number(minor)?);
        let reading = Self::ALL.into_iter().rev().find(|reading| release >= reading.first());
        Some(reading.unwrap_or(Self::ALL[0]))
    }

    /// The first release that is known to have this interpretation, as major and minor number.
    fn first(self) -> (u32, u32) {
        match self {
            Self::R5_34 => (5, 34),
            Self::R5_35 => (5, 35),
        }
    }
}

/// What is known of the backend's release.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Releases {
    /// Nothing: only what every release refuses is refused.
    Any,
    Only(Release),
}

impl Releases {
    /// The interpretations that the backend may have, newest first.
    pub fn candidates(self) -> &'static [Release] {
        match self {
            Self::Any => &[Release::R5_35, Release::R5_34],
            Self::Only(Release::R5_34) => &[Release::R5_34],
            Self::Only(Release::R5_35) => &[Release::R5_35],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_release_reads_scim_as_the_newest_known_one_before_it() {
        for (text, release) in [
            ("5.14", Release::R5_34),
            ("5.34", Release::R5_34),
            ("5.35", Release::R5_35),
            ("5.100", Release::R5_35),
            ("6.0", Release::R5_35),
            ("4.99", Release::R5_34),
        ] {
            assert_eq!(Release::parse(text), Some(release), "{text}");
        }
        for text in ["", "5", "5.", ".35", "5.35.0", "5.x", "+5.35", "v5.35", " 5.35", "any"] {
            assert_eq!(Release::parse(text), None, "{text}");
        }
    }

    #[test]
    fn any_release_means_all_of_them_newest_first() {
        let mut all = Release::ALL;
        all.reverse();
        assert_eq!(Releases::Any.candidates(), all);
        for release in Release::ALL {
            assert_eq!(Releases::Only(release).candidates(), [release]);
            assert_eq!(Release::parse(release.as_str()), Some(release));
        }
    }
}
