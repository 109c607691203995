//! The memory that clients can make the guard hold, for all of them together.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use pingora::http::RequestHeader;

use crate::rule::Rule;
use crate::verdict::Refusal;

/// What a request of HTTP/2 takes of memory by itself, and each of its headers beside its text, in
/// bytes: measured, and rounded up.
const STREAM: usize = 16 * 1024;
const HEADER: usize = 128;

/// What a request of HTTP/2 takes without its body, in bytes.
pub(super) fn of_stream(head: &RequestHeader) -> usize {
    let header = |(name, value): (&http::HeaderName, &http::HeaderValue)| {
        HEADER + name.as_str().len() + value.len()
    };
    STREAM + head.headers.iter().map(header).sum::<usize>()
}

/// The memory that all requests of HTTP/2, all bodies, and what is gathered of answers may take together.
///
/// SECURITY: without it, connections times the body limit is what clients can make the guard
/// hold. Only bytes that came count, so that announcing a body costs the others nothing.
#[derive(Debug)]
pub(super) struct Budget {
    limit: usize,
    used: AtomicUsize,
}

impl Budget {
    pub(super) fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self { limit, used: AtomicUsize::new(0) })
    }

    /// Whether less than half of it is taken.
    pub(super) fn is_ample(&self) -> bool {
        self.used.load(Ordering::Relaxed) < self.limit / 2
    }
}

/// A request's part of the budget, given back when it is dropped.
#[derive(Debug)]
pub(super) struct Share {
    budget: Arc<Budget>,
    bytes: usize,
}

impl Share {
    pub(super) fn of(budget: &Arc<Budget>) -> Self {
        Self { budget: Arc::clone(budget), bytes: 0 }
    }

    pub(super) fn give_back(&mut self) {
        self.shrink_to(0);
    }

    /// Gives back what is more than `bytes`.
    pub(super) fn shrink_to(&mut self, bytes: usize) {
        let more = self.bytes.saturating_sub(bytes);
        self.budget.used.fetch_sub(more, Ordering::Relaxed);
        self.bytes -= more;
    }

    pub(super) fn grow(&mut self, bytes: usize) -> Result<(), Refusal> {
        let before = self.budget.used.fetch_add(bytes, Ordering::Relaxed);
        self.bytes += bytes;
        if before + bytes <= self.budget.limit {
            return Ok(());
        }
        Err(Refusal::new(
            Rule::LimitsBufferedBytes,
            "The guard holds as many requests and bodies as it may. Try again later.",
        ))
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.give_back();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_goes_back_to_the_budget() {
        let budget = Budget::new(10);
        let mut first = Share::of(&budget);
        let mut second = Share::of(&budget);
        assert!(first.grow(6).is_ok());
        assert_eq!(second.grow(6).unwrap_err().rule, Rule::LimitsBufferedBytes);
        drop(second);
        assert!(first.grow(4).is_ok());
        first.shrink_to(7);
        assert_eq!(budget.used.load(Ordering::Relaxed), 7);
        first.shrink_to(8);
        assert_eq!(budget.used.load(Ordering::Relaxed), 7);
        drop(first);
        assert_eq!(budget.used.load(Ordering::Relaxed), 0);
    }
}
