//! A memory that forgets: bounded in number and in time, at a constant cost for each use.

use std::collections::HashMap;
use std::hash::Hash;

/// Keeps what was put in for `life` at least, unless more than `most` different keys come in that
/// time: then the oldest half is forgotten as a whole.
///
/// There are two generations. What is put in goes into the young one; when that is full or as old
/// as `life`, it becomes the old one, and the old one is dropped. So nothing is ever searched for
/// something to drop, and at most twice `most` keys are held.
pub struct Generations<K, V> {
    young: HashMap<K, V>,
    old: HashMap<K, V>,
    began: u64,
    life: u64,
    most: usize,
}

impl<K: Hash + Eq, V: Copy> Generations<K, V> {
    /// `life` is in nanoseconds.
    pub fn new(most: usize, life: u64) -> Self {
        Self { young: HashMap::new(), old: HashMap::new(), began: 0, life, most: most.max(1) }
    }

    pub fn put(&mut self, key: K, value: V, now: u64) {
        if now.saturating_sub(self.began) >= self.life
            || (self.young.len() >= self.most && !self.young.contains_key(&key))
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

    /// How many keys are held; one that stands in both generations counts twice.
    pub fn len(&self) -> usize {
        self.young.len() + self.old.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_put_in_is_kept_for_its_life_and_then_forgotten() {
        let mut memory = Generations::new(100, 10);
        memory.put("a", 1, 1000);
        memory.put("b", 2, 1009);
        assert_eq!((memory.find(&"a"), memory.find(&"b")), (Some(1), Some(2)));
        memory.put("c", 3, 1010);
        assert_eq!((memory.find(&"a"), memory.find(&"c")), (Some(1), Some(3)));
        memory.put("d", 4, 1020);
        assert_eq!((memory.find(&"a"), memory.find(&"c")), (None, Some(3)));
        memory.put("c", 5, 1021);
        assert_eq!(memory.find(&"c"), Some(5));
        memory.remove(&"c");
        assert_eq!(memory.find(&"c"), None);
    }

    #[test]
    fn it_never_holds_more_than_twice_its_bound() {
        let mut memory = Generations::new(100, u64::MAX);
        for key in 0..100_000 {
            memory.put(key, (), 5);
            assert!(memory.len() <= 200);
            assert!(memory.find(&key).is_some());
        }
        // What comes again and again does not push others out.
        for _ in 0..1000 {
            memory.put(99_999, (), 5);
        }
        assert!(memory.find(&99_998).is_some());
    }
}
