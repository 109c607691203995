//! The releases of Wire that read payloads differently.

/// A reading of Wire's SCIM API: which releases read alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Release {
    /// 5.34 and older.
    R5_34,
    /// 5.35 and newer.
    R5_35,
}

impl Release {
    /// From the oldest to the newest.
    pub const ALL: [Self; 2] = [Self::R5_34, Self::R5_35];

    /// What an unknown, newer release is taken for.
    pub const NEWEST: Self = Self::R5_35;

    pub fn as_str(self) -> &'static str {
        match self {
            Self::R5_34 => "5.34",
            Self::R5_35 => "5.35",
        }
    }

    /// The reading of a release number `N.N`: the newest known one that is not newer than it, and the
    /// oldest known one for what came before.
    pub fn parse(text: &str) -> Option<Self> {
        let wanted = number(text)?;
        let known = Self::ALL.into_iter().rev();
        let mut older = known.filter(|known| number(known.as_str()).is_some_and(|n| n <= wanted));
        Some(older.next().unwrap_or(Self::ALL[0]))
    }
}

fn number(text: &str) -> Option<(u32, u32)> {
    let (major, minor) = text.split_once('.')?;
    let part = |digits: &str| {
        // `parse` alone would take a sign.
        digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok())?
    };
    Some((part(major)?, part(minor)?))
}

#[cfg(test)]
mod tests {
    use super::Release;

    #[test]
    fn a_number_reads_as_the_nearest_known_release_that_is_not_newer() {
        for (text, release) in [
            ("5.34", Some(Release::R5_34)),
            ("5.35", Some(Release::R5_35)),
            ("5.36", Some(Release::R5_35)),
            ("6.0", Some(Release::R5_35)),
            ("5.9", Some(Release::R5_34)),
            ("4.99", Some(Release::R5_34)),
            ("5", None),
            ("5.35.0", None),
            ("5.", None),
            (".35", None),
            ("+5.35", None),
            ("5.35 ", None),
            ("any", None),
            ("", None),
        ] {
            assert_eq!(Release::parse(text), release, "{text:?}");
        }
    }
}
