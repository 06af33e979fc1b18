//! What a tenant's senders said of metric families in remote write 1.0, where they say it apart from the series: for
//! deliveries in 2.0, where each series says it of itself. Only in memory: after a start it is learned again, which
//! takes as long as senders take to repeat it (Prometheus: a minute).

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use remote_write::model::Metadata;
use remote_write::read;
use remote_write::translate::KnownFamilies;
use remote_write::wire::Malformed;

/// What a tenant's families may take, in bytes: about 5,000 families as Kubernetes has them. Beyond it, those that were
/// described longest ago are given up.
const MAX_BYTES: usize = 1 << 20;

/// What a family takes beside its texts: two allocations with their counts, and a slot of the table.
const FAMILY_BYTES: usize = 160;

/// A family as a request describes it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Family {
    name: Box<[u8]>,
    description: Description,
}

#[derive(Debug, PartialEq, Eq)]
struct Description {
    kind: i32,
    help: Box<[u8]>,
    unit: Box<[u8]>,
}

impl Family {
    fn of(metadata: &Metadata<'_>) -> Self {
        let description = Description { kind: metadata.kind, help: metadata.help.into(), unit: metadata.unit.into() };
        Self { name: metadata.family.into(), description }
    }
}

impl Description {
    fn bytes(&self, name: &[u8]) -> usize {
        FAMILY_BYTES + name.len() + self.help.len() + self.unit.len()
    }
}

/// The families that a v1 request describes, up to what can be kept.
///
/// # Errors
/// When the bytes are not a v1 request.
pub(crate) fn families(decoded: &[u8]) -> Result<Vec<Family>, Malformed> {
    let (mut families, mut bytes) = (Vec::new(), 0);
    read::for_each_metadata(decoded, |metadata| {
        bytes += FAMILY_BYTES + metadata.family.len() + metadata.help.len() + metadata.unit.len();
        if bytes <= MAX_BYTES {
            families.push(Family::of(&metadata));
        }
    })?;
    Ok(families)
}

/// What is known of a tenant's families.
#[derive(Debug, Default)]
pub(crate) struct FamilyMetadata {
    learned: Mutex<Learned>,
}

#[derive(Debug, Default)]
struct Learned {
    known: Arc<Known>,
    /// What `known` takes.
    bytes: usize,
    /// Requests that described families.
    requests: u64,
}

/// What was known at one moment.
#[derive(Clone, Debug, Default)]
pub(crate) struct Known {
    families: HashMap<Arc<[u8]>, Arc<Entry>>,
}

#[derive(Debug)]
struct Entry {
    description: Description,
    /// The request that described it last.
    request: AtomicU64,
}

impl FamilyMetadata {
    /// Takes in what an accepted request describes. The last word on a family holds.
    pub(crate) fn learn(&self, families: Vec<Family>) {
        if families.is_empty() {
            return;
        }
        let mut learned = self.learned.lock().unwrap_or_else(PoisonError::into_inner);
        learned.requests += 1;
        families.into_iter().for_each(|family| learned.put(family));
    }

    /// What is known at this moment; `None` if that is nothing.
    pub(crate) fn known(&self) -> Option<Arc<Known>> {
        let learned = self.learned.lock().unwrap_or_else(PoisonError::into_inner);
        (!learned.known.families.is_empty()).then(|| Arc::clone(&learned.known))
    }
}

impl Learned {
    /// Copies what is known only if that changes while a delivery uses it: senders mostly repeat themselves.
    fn put(&mut self, Family { name, description }: Family) {
        if let Some(entry) = self.known.families.get(&*name)
            && entry.description == description
        {
            entry.request.store(self.requests, Ordering::Relaxed);
            return;
        }
        self.bytes += description.bytes(&name);
        let entry = Arc::new(Entry { description, request: AtomicU64::new(self.requests) });
        let known = Arc::make_mut(&mut self.known);
        let name: Arc<[u8]> = name.into();
        if let Some(replaced) = known.families.insert(Arc::clone(&name), entry) {
            self.bytes -= replaced.description.bytes(&name);
        }
        if self.bytes > MAX_BYTES {
            self.give_up();
        }
    }

    /// Gives up what was described longest ago, an eighth of all, so that it need not happen with each family.
    fn give_up(&mut self) {
        let known = Arc::make_mut(&mut self.known);
        let mut by_age: Vec<(u64, Arc<[u8]>)> = known
            .families
            .iter()
            .map(|(name, entry)| (entry.request.load(Ordering::Relaxed), Arc::clone(name)))
            .collect();
        by_age.sort_unstable();
        for (_, name) in by_age {
            if self.bytes <= MAX_BYTES / 8 * 7 {
                break;
            }
            if let Some(entry) = known.families.remove(&name) {
                self.bytes -= entry.description.bytes(&name);
            }
        }
    }
}

impl KnownFamilies for Known {
    fn family(&self, name: &[u8]) -> Option<Metadata<'_>> {
        let (name, entry) = self.families.get_key_value(name)?;
        let Description { kind, help, unit } = &entry.description;
        Some(Metadata { kind: *kind, family: name, help, unit })
    }
}

#[cfg(test)]
mod tests {
    use remote_write::encode::encode_v1;
    use remote_write::model::Request;

    use super::*;

    fn described(kind: i32, family: &str, help: &str) -> Family {
        Family::of(&Metadata { kind, family: family.as_bytes(), help: help.as_bytes(), unit: b"" })
    }

    fn kind_of(store: &FamilyMetadata, name: &str) -> Option<i32> {
        store.known()?.family(name.as_bytes()).map(|metadata| metadata.kind)
    }

    #[test]
    fn the_last_word_on_a_family_holds_and_what_a_delivery_holds_stays() {
        let store = FamilyMetadata::default();
        assert!(store.known().is_none());
        store.learn(vec![described(1, "a", "first"), described(2, "b", "")]);
        let before = store.known().unwrap();
        store.learn(vec![described(3, "a", "second")]);
        assert_eq!(before.family(b"a"), Some(Metadata { kind: 1, family: b"a", help: b"first", unit: b"" }));
        assert_eq!((kind_of(&store, "a"), kind_of(&store, "b"), kind_of(&store, "c")), (Some(3), Some(2), None));
    }

    #[test]
    fn what_was_described_longest_ago_is_given_up_for_what_is_new() {
        let store = FamilyMetadata::default();
        let help = "x".repeat(1000);
        let name = |number: usize| format!("family_{number}");
        store.learn(vec![described(1, "kept", &help), described(1, "forgotten", &help)]);
        for number in 0..10_000 {
            store.learn(vec![described(1, &name(number), &help), described(1, "kept", &help)]);
            let learned = store.learned.lock().unwrap();
            assert!(learned.bytes <= MAX_BYTES);
            let families = learned.known.families.iter();
            let bytes: usize = families.map(|(name, entry)| entry.description.bytes(name)).sum();
            assert_eq!(bytes, learned.bytes);
        }
        let known = store.known().unwrap();
        assert!(known.families.len() > MAX_BYTES / 8 * 7 / (FAMILY_BYTES + 1000 + 12) - 1, "{}", known.families.len());
        for (name, is_there) in [("kept", true), ("forgotten", false), (&name(9_999), true), (&name(9_000), false)] {
            assert_eq!(known.family(name.as_bytes()).is_some(), is_there, "{name}");
        }
    }

    #[test]
    fn of_a_request_no_more_is_read_than_can_be_kept() {
        let help = vec![b'x'; MAX_BYTES / 4];
        let one = Metadata { kind: 1, family: b"a", help: &help, unit: b"" };
        let mut decoded = Vec::new();
        encode_v1(&Request { series: Vec::new(), metadata: vec![one; 10] }, &mut decoded);
        assert_eq!(families(&decoded).unwrap().len(), 3);
    }
}
