//! A fraction of requests, and an even selection of it.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

/// A number from 0 to 1, as a part of 2⁶⁴.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fraction(u64);

impl Fraction {
    pub const NONE: Self = Self(0);
    pub const ALL: Self = Self(u64::MAX);

    /// Reads a decimal number.
    pub fn parse(text: &str) -> Option<Self> {
        let is_decimal = text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
        let number = text.parse::<f64>().ok().filter(|number| (0.0..=1.0).contains(number))?;
        // The conversion saturates: 1 is all.
        is_decimal.then_some(Self((number * 2_f64.powi(64)) as u64))
    }

    /// Whether an item with this random number is selected.
    pub fn includes(self, random: u64) -> bool {
        self == Self::ALL || random < self.0
    }
}

impl fmt::Display for Fraction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0 as f64 / 2_f64.powi(64))
    }
}

/// Selects a fraction of the items evenly: for a tenth every tenth one.
#[derive(Debug, Default)]
pub struct Sampler(AtomicU64);

impl Sampler {
    pub fn next(&self, fraction: Fraction) -> bool {
        if fraction == Fraction::ALL {
            return true;
        }
        let before = self.0.fetch_add(fraction.0, Ordering::Relaxed);
        before.checked_add(fraction.0).is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_chosen_evenly() {
        let chosen = |text: &str| {
            let (sampler, fraction) = (Sampler::default(), Fraction::parse(text).unwrap());
            (0..1000).filter(|_| sampler.next(fraction)).count()
        };
        assert_eq!((chosen("0"), chosen("1"), chosen("0.5"), chosen("1.0")), (0, 1000, 500, 1000));
        assert!((99..=100).contains(&chosen("0.1")));
        for wrong in ["", "1.1", "-0.1", "nan", "inf", "1e-3", "a"] {
            assert!(Fraction::parse(wrong).is_none(), "{wrong}");
        }
    }

    #[test]
    fn random_numbers_are_included_by_share() {
        let tenth = Fraction::parse("0.1").unwrap();
        assert!(tenth.includes(0) && !tenth.includes(u64::MAX / 2));
        assert!(Fraction::ALL.includes(u64::MAX) && !Fraction::NONE.includes(0));
    }
}
