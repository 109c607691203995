//! Serialises changes of one group: a request that changes a group in two steps waits until others
//! have finished, or its second step would undo their changes.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Mutex as AsyncMutex, OwnedMutexGuard};

/// The maximum number of groups that are being changed.
const MAX_GROUPS: usize = 4096;

/// The maximum number of requests that change one group or wait to do so.
const MAX_REQUESTS: usize = 64;

/// The groups that are being changed, by all workers.
#[derive(Debug, Default)]
pub(in crate::proxy) struct Turns {
    groups: Mutex<HashMap<Vec<u8>, Group>>,
}

#[derive(Debug, Default)]
struct Group {
    turn: Arc<AsyncMutex<()>>,
    /// Requests that have the turn or wait for it.
    requests: usize,
}

/// The right to change one group, released when it is dropped.
#[derive(Debug)]
pub(in crate::proxy) struct Turn {
    _place: Place,
    _turn: OwnedMutexGuard<()>,
}

/// A request that has the turn or waits for it.
#[derive(Debug)]
struct Place {
    turns: Arc<Turns>,
    id: Vec<u8>,
}

impl Turns {
    /// Waits for the turn to change a group, at most this long. `None`: too many other requests
    /// wait.
    pub(in crate::proxy) async fn wait(
        self: &Arc<Self>,
        id: &[u8],
        longest: Duration,
    ) -> Option<Turn> {
        let (place, turn) = self.enter(id.to_ascii_lowercase())?;
        let turn = tokio::time::timeout(longest, turn.lock_owned()).await.ok()?;
        Some(Turn { _place: place, _turn: turn })
    }

    fn enter(self: &Arc<Self>, id: Vec<u8>) -> Option<(Place, Arc<AsyncMutex<()>>)> {
        let mut groups = self.groups();
        if groups.len() >= MAX_GROUPS && !groups.contains_key(&id) {
            return None;
        }
        let group = groups.entry(id.clone()).or_default();
        if group.requests >= MAX_REQUESTS {
            return None;
        }
        group.requests += 1;
        let turn = Arc::clone(&group.turn);
        Some((Place { turns: Arc::clone(self), id }, turn))
    }

    fn groups(&self) -> MutexGuard<'_, HashMap<Vec<u8>, Group>> {
        self.groups.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut groups = self.turns.groups();
        if let Some(group) = groups.get_mut(&self.id) {
            group.requests -= 1;
            if group.requests == 0 {
                groups.remove(&self.id);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(3600);

    #[tokio::test]
    async fn a_group_is_changed_by_one_request_at_a_time_whatever_the_case_of_its_id() {
        let turns = Arc::new(Turns::default());
        let first = turns.wait(b"AB", LONG).await.unwrap();
        let other = turns.wait(b"cd", LONG).await.unwrap();
        assert!(turns.wait(b"ab", Duration::ZERO).await.is_none());
        let (waiting, ()) = tokio::join!(turns.wait(b"ab", LONG), async { drop(first) });
        assert!(waiting.is_some());
        drop((waiting, other));
        assert!(turns.groups().is_empty());
    }

    #[tokio::test]
    async fn groups_and_requests_are_bounded() {
        let turns = Arc::new(Turns::default());
        let first = turns.wait(b"a", LONG).await.unwrap();
        let waiting: Vec<_> =
            (1..MAX_REQUESTS).map(|_| turns.enter(b"a".into()).unwrap()).collect();
        assert!(turns.enter(b"a".into()).is_none());
        let others: Vec<_> =
            (1..MAX_GROUPS).map(|nth| turns.enter(nth.to_string().into()).unwrap()).collect();
        assert!(turns.enter(b"b".into()).is_none());
        drop((first, waiting, others));
        assert!(turns.groups().is_empty());
    }
}
