//! Remembers what was verified, so that a signature or a slow password hash is checked once and not for every push.
//!
//! The cache knows credentials only by a keyed digest, is bounded, and forgets everything when the configuration changes.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;

/// How many locks share the entries of a large cache.
const SHARDS: usize = 16;
/// A cache of fewer entries has one lock.
const SHARDED_FROM: usize = 1024;

/// What was verified, by credential. `T` is cloned for every hit: an `Arc` is right.
///
/// Each part of the cache has two halves. New entries go to the recent one; when it is full it becomes the older one, and
/// what was there is forgotten. A hit in the older half moves the entry to the recent one, so that what is in use stays.
/// Neither many credentials nor many hits make it grow.
pub struct VerifiedCache<T> {
    key: hmac::Key,
    generation: AtomicU64,
    shards: Box<[Mutex<Halves<T>>]>,
    /// Entries of one half of one shard.
    half: usize,
}

/// Which configuration, keys and revocations a credential was verified under.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Generation(u64);

/// A credential as the cache knows it: HMAC-SHA-256 under a key that nobody else has.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct CacheKey([u8; 32]);

struct Halves<T> {
    recent: HashMap<CacheKey, Entry<T>>,
    older: HashMap<CacheKey, Entry<T>>,
}

struct Entry<T> {
    value: T,
    /// Seconds since 1970; from then on it is no hit.
    expires: i64,
    generation: Generation,
}

/// The system gave no random bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the system gave no random bytes")]
pub struct NoRandomness;

impl<T: Clone> VerifiedCache<T> {
    /// An empty cache that never holds more than `max_entries` (two at least), under a random key of its own.
    ///
    /// # Errors
    /// If the system has no random bytes for the key.
    pub fn new(max_entries: usize) -> Result<Self, NoRandomness> {
        let Ok(key) = hmac::Key::generate(hmac::HMAC_SHA256, &SystemRandom::new()) else { return Err(NoRandomness) };
        let shards = if max_entries < SHARDED_FROM { 1 } else { SHARDS };
        let empty = || Mutex::new(Halves { recent: HashMap::new(), older: HashMap::new() });
        Ok(Self {
            key,
            generation: AtomicU64::new(0),
            shards: (0..shards).map(|_| empty()).collect(),
            half: (max_entries / shards / 2).max(1),
        })
    }

    /// What the cache calls a credential of these parts, for instance a scheme, a user and a password. Other parts have
    /// another key, even if they are the same bytes when joined.
    #[must_use]
    pub fn key_of(&self, parts: &[&[u8]]) -> CacheKey {
        let mut context = hmac::Context::with_key(&self.key);
        for part in parts {
            context.update(&(part.len() as u64).to_le_bytes());
            context.update(part);
        }
        let mut key = [0; 32];
        key.copy_from_slice(context.sign().as_ref());
        CacheKey(key)
    }

    /// The generation of this moment: to be asked for *before* reading the configuration, keys and revocations that a
    /// credential is then verified under.
    #[must_use]
    pub fn generation(&self) -> Generation {
        Generation(self.generation.load(Ordering::Acquire))
    }

    /// Configuration, keys or revocations have changed: no older entry is a hit from here on. To be called *after* they can be
    /// read.
    pub fn start_generation(&self) {
        self.generation.fetch_add(1, Ordering::AcqRel);
    }

    /// What was verified of this credential, if that still holds at `now` (seconds since 1970).
    #[must_use]
    pub fn get(&self, key: &CacheKey, now: i64) -> Option<T> {
        let generation = self.generation();
        let mut halves = self.shard(key).lock().unwrap_or_else(PoisonError::into_inner);
        let holds = |entry: &Entry<T>| entry.generation == generation && now < entry.expires;
        if let Some(entry) = halves.recent.get(key) {
            if holds(entry) {
                return Some(entry.value.clone());
            }
            halves.recent.remove(key);
            return None;
        }
        let entry = halves.older.remove(key).filter(holds)?;
        let value = entry.value.clone();
        halves.insert(*key, entry, self.half);
        Some(value)
    }

    /// Remembers until `expires` (seconds since 1970) what was verified under a generation. If that is over, nothing is
    /// remembered.
    pub fn insert(&self, key: CacheKey, value: T, expires: i64, generation: Generation) {
        let mut halves = self.shard(&key).lock().unwrap_or_else(PoisonError::into_inner);
        if generation == self.generation() {
            halves.older.remove(&key);
            halves.insert(key, Entry { value, expires, generation }, self.half);
        }
    }

    /// How many entries there are, those included that are no hits any more.
    #[must_use]
    pub fn len(&self) -> usize {
        let entries = |shard: &Mutex<Halves<T>>| {
            let halves = shard.lock().unwrap_or_else(PoisonError::into_inner);
            halves.recent.len() + halves.older.len()
        };
        self.shards.iter().map(entries).sum()
    }

    /// Whether there is no entry.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// A credential does not choose its shard: it does not know the key.
    fn shard(&self, key: &CacheKey) -> &Mutex<Halves<T>> {
        &self.shards[usize::from(key.0[0]) % self.shards.len()]
    }
}

impl<T> Halves<T> {
    fn insert(&mut self, key: CacheKey, entry: Entry<T>, half: usize) {
        if self.recent.len() >= half && !self.recent.contains_key(&key) {
            self.older = std::mem::take(&mut self.recent);
        }
        self.recent.insert(key, entry);
    }
}

impl<T> fmt::Debug for VerifiedCache<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VerifiedCache").field("generation", &self.generation).finish_non_exhaustive()
    }
}

impl fmt::Debug for CacheKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CacheKey(..)")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn cache(max_entries: usize) -> VerifiedCache<u32> {
        VerifiedCache::new(max_entries).unwrap()
    }

    fn key(cache: &VerifiedCache<u32>, number: u32) -> CacheKey {
        cache.key_of(&[&number.to_le_bytes()])
    }

    #[test]
    fn an_entry_is_a_hit_until_it_expires() {
        let cache = cache(10);
        let key = key(&cache, 1);
        assert_eq!(cache.get(&key, 0), None);
        cache.insert(key, 7, 100, cache.generation());
        assert_eq!(cache.get(&key, 99), Some(7));
        assert_eq!(cache.get(&key, 100), None);
        assert!(cache.is_empty(), "what has expired is forgotten when it is asked for");
    }

    #[test]
    fn a_new_generation_makes_all_older_entries_misses() {
        let cache = cache(10);
        let (one, two) = (key(&cache, 1), key(&cache, 2));
        cache.insert(one, 1, 100, cache.generation());
        let before = cache.generation();
        cache.start_generation();
        assert_eq!(cache.get(&one, 0), None);
        cache.insert(two, 2, 100, before);
        assert_eq!(cache.get(&two, 0), None, "verified under keys that may be gone");
        cache.insert(two, 3, 100, cache.generation());
        assert_eq!(cache.get(&two, 0), Some(3));
    }

    #[test]
    fn parts_do_not_run_into_each_other_and_every_cache_has_its_own_key() {
        let (a, b) = (cache(10), cache(10));
        assert_eq!(a.key_of(&[b"user", b"password"]), a.key_of(&[b"user", b"password"]));
        assert_ne!(a.key_of(&[b"user", b"password"]), a.key_of(&[b"userp", b"assword"]));
        assert_ne!(a.key_of(&[b"user", b""]), a.key_of(&[b"user"]));
        assert_ne!(a.key_of(&[b"token"]), b.key_of(&[b"token"]));
    }

    #[test]
    fn what_is_in_use_stays_while_others_come_and_go() {
        let cache = cache(10_000);
        let kept = key(&cache, 0);
        cache.insert(kept, 0, 100, cache.generation());
        for number in 1..100_000 {
            cache.insert(key(&cache, number), number, 100, cache.generation());
            if number % 100 == 0 {
                assert_eq!(cache.get(&kept, 0), Some(0), "after {number}");
            }
        }
        assert!(cache.len() <= 10_000);
    }

    proptest! {
        #[test]
        fn a_cache_never_outgrows_its_bound_and_never_answers_for_another(
            max_entries in 2_usize..40,
            actions in proptest::collection::vec((0_u32..60, 0_i64..20, any::<bool>(), 0_u8..30), 0..300),
        ) {
            let cache = cache(max_entries);
            let mut model: HashMap<u32, i64> = HashMap::new();
            for (number, time, insert, new_generation) in actions {
                if new_generation == 0 {
                    cache.start_generation();
                    model.clear();
                }
                let key = key(&cache, number);
                if insert {
                    cache.insert(key, number, time, cache.generation());
                    model.insert(number, time);
                } else if let Some(found) = cache.get(&key, time) {
                    prop_assert_eq!(found, number);
                    prop_assert!(model.get(&number).is_some_and(|expires| time < *expires));
                }
                prop_assert!(cache.len() <= max_entries);
            }
        }
    }
}
