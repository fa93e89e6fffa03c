//! Things read once and kept while there is room, the least recently used going first.

use lru::LruCache;
use std::borrow::Borrow;
use std::hash::Hash;
use std::sync::{Mutex, PoisonError};

/// A cache that is bounded by the bytes of its contents.
#[derive(Debug)]
pub(crate) struct ByteCache<K: Hash + Eq, V> {
    limit: u64,
    held: Mutex<Held<K, V>>,
}

#[derive(Debug)]
struct Held<K: Hash + Eq, V> {
    bytes: u64,
    entries: LruCache<K, (V, u64)>,
}

impl<K: Hash + Eq, V: Clone> ByteCache<K, V> {
    /// A cache of at most `limit` bytes.
    pub(crate) fn new(limit: u64) -> Self {
        Self {
            limit,
            held: Mutex::new(Held {
                bytes: 0,
                entries: LruCache::unbounded(),
            }),
        }
    }

    pub(crate) fn get<Q: Hash + Eq + ?Sized>(&self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
    {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        held.entries.get(key).map(|(value, _)| value.clone())
    }

    /// Keeps `value`, which takes `bytes`; what is larger than the whole cache is not kept.
    pub(crate) fn put(&self, key: K, value: V, bytes: u64) {
        if bytes > self.limit {
            return;
        }
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        held.bytes += bytes;
        if let Some((_, (_, old))) = held.entries.push(key, (value, bytes)) {
            held.bytes -= old;
        }
        while held.bytes > self.limit {
            let Some((_, (_, old))) = held.entries.pop_lru() else {
                return;
            };
            held.bytes -= old;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn least_recently_used_goes_first_and_bytes_are_bounded() {
        let cache = ByteCache::new(10);
        cache.put(1, 'a', 4);
        cache.put(2, 'b', 4);
        assert_eq!(cache.get(&1), Some('a'));
        cache.put(3, 'c', 4);
        assert_eq!(
            (cache.get(&1), cache.get(&2), cache.get(&3)),
            (Some('a'), None, Some('c'))
        );
        cache.put(3, 'd', 6);
        assert_eq!((cache.get(&1), cache.get(&3)), (Some('a'), Some('d')));
        cache.put(4, 'e', 11);
        assert_eq!(cache.get(&4), None);
    }
}
