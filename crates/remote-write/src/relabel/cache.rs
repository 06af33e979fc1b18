//! What pipelines made of series that came before: keyed by a 64-bit hash, bounded in bytes, shared by all threads.
//!
//! Each shard has two generations. When the younger one is full, it becomes the older one, whose results are forgotten,
//! except those asked for since.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::{Mutex, MutexGuard, PoisonError};

const SHARDS: usize = 16;

/// A slot of the table with its control byte, of which at most seven in eight are taken.
const SLOT_BYTES: usize = (size_of::<(u64, Verdict)>() + 1) * 8 / 7 + 1;

/// The smallest table that is allocated.
const MIN_SLOTS: usize = 4;

/// What became of a series.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Dropped,
    /// Kept as it is; with its hash for footprints.
    Unchanged(u32),
    /// Kept with other labels.
    Edited(Edited),
}

/// Where the recipe of an edited series' labels is among others, how long the labels become, and their hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Edited {
    start: u32,
    length: u32,
    size: u32,
    pub(super) hash: u32,
}

impl Edited {
    /// Copies a recipe to the end of `all`; `None` when that is beyond what can be addressed.
    pub(super) fn put(all: &mut Vec<u8>, recipe: &[u8], size: usize, hash: u32) -> Option<Self> {
        let [start, length, size] = [all.len(), recipe.len(), size].map(u32::try_from);
        let edited = Self { start: start.ok()?, length: length.ok()?, size: size.ok()?, hash };
        all.extend_from_slice(recipe);
        Some(edited)
    }

    /// How long the labels become, in bytes.
    pub(super) const fn len(self) -> usize {
        self.size as usize
    }

    /// The recipe.
    pub(super) fn of(self, all: &[u8]) -> &[u8] {
        all.get(self.start as usize..).and_then(|rest| rest.get(..self.length as usize)).unwrap_or_default()
    }
}

/// A series that is looked for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Query {
    pub(super) key: u64,
    /// What was found, or worked out after nothing was.
    pub(super) verdict: Option<Verdict>,
    /// Whether the cache is to learn the verdict.
    pub(super) fresh: bool,
}

/// Results of relabeling. One cache serves any number of pipelines and threads.
#[derive(Debug)]
pub struct Cache {
    shards: Vec<Mutex<Shard>>,
    /// Bytes that one generation of one shard may take.
    budget: usize,
}

impl Cache {
    /// A cache that takes at most `max_bytes` of memory, and none before it is used.
    pub fn new(max_bytes: usize) -> Self {
        let shards = (0..SHARDS).map(|_| Mutex::default()).collect();
        Self { shards, budget: max_bytes / SHARDS / 2 }
    }

    /// How many bytes the cache takes.
    pub fn bytes(&self) -> usize {
        let bytes = |shard| {
            let shard = lock(shard);
            shard.young.bytes() + shard.old.bytes()
        };
        self.shards.iter().map(bytes).sum()
    }

    /// Fills in the verdicts that are known; `recipes` gets those of edited series. Each shard is locked once.
    pub(super) fn find(&self, queries: &mut [Query], order: &mut Order, recipes: &mut Vec<u8>) {
        order.by_shard(queries, |_| true);
        for (shard, indexes) in self.shards.iter().zip(order.shards()) {
            if indexes.is_empty() {
                continue;
            }
            let mut shard = lock(shard);
            for &index in indexes {
                if let Some(query) = queries.get_mut(index as usize) {
                    query.verdict = shard.find(query.key, self.budget, recipes);
                }
            }
        }
    }

    /// Learns the verdicts that are fresh, and forgets others for them.
    pub(super) fn learn(&self, queries: &[Query], order: &mut Order, recipes: &[u8]) {
        order.by_shard(queries, |query| query.fresh);
        for (shard, indexes) in self.shards.iter().zip(order.shards()) {
            if indexes.is_empty() {
                continue;
            }
            let mut shard = lock(shard);
            for &index in indexes {
                if let Some(Query { key, verdict: Some(verdict), .. }) = queries.get(index as usize) {
                    shard.put(*key, *verdict, recipes, self.budget);
                }
            }
        }
    }
}

/// Nothing that panics is done under the lock, and a shard is valid between any two statements.
fn lock(shard: &Mutex<Shard>) -> MutexGuard<'_, Shard> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The indexes of queries in the order of their shards; reused from request to request.
#[derive(Debug, Default)]
pub(super) struct Order {
    indexes: Vec<u32>,
    /// For each shard, where its indexes end.
    ends: [u32; SHARDS],
}

impl Order {
    /// Counts, then places: queries of one shard keep their order.
    fn by_shard(&mut self, queries: &[Query], wanted: impl Fn(&Query) -> bool) {
        let mut counts = [0; SHARDS];
        queries.iter().filter(|query| wanted(query)).for_each(|query| counts[shard_of(query.key)] += 1);
        let mut total = 0;
        for (end, count) in self.ends.iter_mut().zip(counts) {
            *end = total;
            total += count;
        }
        self.indexes.clear();
        self.indexes.resize(total as usize, 0);
        for (index, query) in (0..).zip(queries).filter(|(_, query)| wanted(query)) {
            let place = &mut self.ends[shard_of(query.key)];
            self.indexes[*place as usize] = index;
            *place += 1;
        }
    }

    fn shards(&self) -> impl Iterator<Item = &[u32]> {
        let mut start = 0;
        self.ends.iter().map(move |&end| {
            let indexes = self.indexes.get(start as usize..end as usize).unwrap_or_default();
            start = end;
            indexes
        })
    }
}

/// The bits that choose a shard are none of those that choose a slot.
const fn shard_of(key: u64) -> usize {
    (key >> 40) as usize % SHARDS
}

#[derive(Debug, Default)]
struct Shard {
    young: Generation,
    old: Generation,
}

impl Shard {
    /// The verdict of `key`, with its recipe copied to `recipes`; one that only the older generation knows is renewed.
    #[inline]
    fn find(&mut self, key: u64, budget: usize, recipes: &mut Vec<u8>) -> Option<Verdict> {
        if let Some(verdict) = self.young.table.get(&key) {
            return copied(*verdict, &self.young.recipes, recipes);
        }
        let verdict = copied(*self.old.table.get(&key)?, &self.old.recipes, recipes)?;
        self.put(key, verdict, recipes, budget);
        Some(verdict)
    }

    fn put(&mut self, key: u64, verdict: Verdict, recipes: &[u8], budget: usize) {
        let needed = if let Verdict::Edited(edited) = verdict { edited.length as usize } else { 0 };
        if self.young.bytes_with(needed) > budget {
            std::mem::swap(&mut self.young, &mut self.old);
            self.young = Generation::default();
            if self.young.bytes_with(needed) > budget {
                return;
            }
        }
        if let Some(verdict) = copied(verdict, recipes, &mut self.young.recipes) {
            self.young.table.insert(key, verdict);
        }
    }
}

/// The same verdict with its recipe copied.
fn copied(verdict: Verdict, from: &[u8], to: &mut Vec<u8>) -> Option<Verdict> {
    match verdict {
        Verdict::Edited(edited) => Edited::put(to, edited.of(from), edited.len(), edited.hash).map(Verdict::Edited),
        Verdict::Dropped | Verdict::Unchanged(_) => Some(verdict),
    }
}

#[derive(Debug, Default)]
struct Generation {
    table: HashMap<u64, Verdict, BuildHasherDefault<AsIs>>,
    recipes: Vec<u8>,
}

impl Generation {
    fn bytes(&self) -> usize {
        self.table.capacity() * SLOT_BYTES + self.recipes.capacity()
    }

    /// What it would take with one more verdict that has so many bytes of recipe: both double when they are full.
    fn bytes_with(&self, recipes: usize) -> usize {
        let slots = self.table.capacity();
        let slots = if self.table.len() < slots { slots } else { (slots * 2 + 1).max(MIN_SLOTS) };
        let (length, capacity) = (self.recipes.len() + recipes, self.recipes.capacity());
        slots * SLOT_BYTES + if length <= capacity { capacity } else { length.max(capacity * 2) }
    }
}

/// The keys are hashes already, with a secret in them.
#[derive(Debug, Default)]
struct AsIs(u64);

impl Hasher for AsIs {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        // Keys are written as u64 only; other bytes are folded in all the same.
        bytes.iter().for_each(|&byte| self.0 = self.0.rotate_left(8) ^ u64::from(byte));
    }

    fn write_u64(&mut self, key: u64) {
        self.0 = key;
    }
}
