//! A map that drops old entries: bounded in size and in time, at a constant cost for each use.

use std::collections::HashMap;
use std::hash::Hash;

use super::MAX_REMEMBERED;

/// Keeps every key for its lifetime at least, unless more than `capacity` different keys are put in
/// during that time: then the oldest half is dropped as a whole.
///
/// There are two generations. A new key is added to the young one; when that is full, or as old as
/// the lifetime, it becomes the old one, and the previous old one is dropped. So nothing is ever
/// searched for keys to drop, and at most twice `capacity` keys are held.
pub struct Generations<K, V> {
    young: HashMap<K, V>,
    old: HashMap<K, V>,
    began: u64,
    capacity: usize,
}

impl<K, V> Default for Generations<K, V> {
    fn default() -> Self {
        let (young, old) = (HashMap::new(), HashMap::new());
        Self { young, old, began: 0, capacity: MAX_REMEMBERED }
    }
}

impl<K: Hash + Eq, V: Copy> Generations<K, V> {
    /// `now` and `lifetime` are in nanoseconds.
    pub fn put(&mut self, key: K, value: V, now: u64, lifetime: u64) {
        if now.saturating_sub(self.began) >= lifetime
            || (self.young.len() >= self.capacity && !self.young.contains_key(&key))
        {
            self.old = std::mem::take(&mut self.young);
            self.began = now;
        }
        self.young.insert(key, value);
    }

    pub fn find(&self, key: &K) -> Option<V> {
        self.young.get(key).or_else(|| self.old.get(key)).copied()
    }

    pub fn remove(&mut self, key: &K) {
        self.young.remove(key);
        self.old.remove(key);
    }

    pub fn is_empty(&self) -> bool {
        self.young.is_empty() && self.old.is_empty()
    }

    /// How many keys are held; one that is in both generations counts twice.
    pub fn len(&self) -> usize {
        self.young.len() + self.old.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_kept_for_its_lifetime_and_then_forgotten() {
        let mut memory = Generations { capacity: 100, ..Generations::default() };
        memory.put("a", 1, 1000, 10);
        memory.put("b", 2, 1009, 10);
        assert_eq!((memory.find(&"a"), memory.find(&"b")), (Some(1), Some(2)));
        memory.put("c", 3, 1010, 10);
        assert_eq!((memory.find(&"a"), memory.find(&"c")), (Some(1), Some(3)));
        memory.put("d", 4, 1020, 10);
        assert_eq!((memory.find(&"a"), memory.find(&"c")), (None, Some(3)));
        memory.put("c", 5, 1021, 10);
        assert_eq!(memory.find(&"c"), Some(5));
        memory.remove(&"c");
        assert_eq!(memory.find(&"c"), None);
    }

    #[test]
    fn at_most_twice_the_capacity_is_held() {
        let mut memory = Generations { capacity: 100, ..Generations::default() };
        for key in 0..100_000 {
            memory.put(key, (), 5, u64::MAX);
            assert!(memory.len() <= 200);
            assert!(memory.find(&key).is_some());
        }
        // A repeated key does not evict others.
        for _ in 0..1000 {
            memory.put(99_999, (), 5, u64::MAX);
        }
        assert!(memory.find(&99_998).is_some());
    }
}
