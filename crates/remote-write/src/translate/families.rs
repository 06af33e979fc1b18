//! Metadata of families (v1) from and to metadata of series (v2).

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};

use super::KnownFamilies;
use crate::encode::put_family;
use crate::model::Metadata;
use crate::read;
use crate::source::Source;
use crate::wire::Malformed;

const COUNTER: i32 = 1;
const HISTOGRAM: i32 = 3;
const GAUGE_HISTOGRAM: i32 = 4;
const SUMMARY: i32 = 5;
const INFO: i32 = 6;

/// What the names of a family's series may end with, beyond the family's own name, by the family's type.
/// `_gcount` and `_gsum` are `OpenMetrics`' own for gauge histograms.
const PART_SUFFIXES: &[(&[u8], &[i32])] = &[
    (b"_bucket", &[HISTOGRAM, GAUGE_HISTOGRAM]),
    (b"_count", &[HISTOGRAM, GAUGE_HISTOGRAM, SUMMARY]),
    (b"_sum", &[HISTOGRAM, GAUGE_HISTOGRAM, SUMMARY]),
    (b"_gcount", &[GAUGE_HISTOGRAM]),
    (b"_gsum", &[GAUGE_HISTOGRAM]),
];

/// In `OpenMetrics`, but not in the older text format, families of these types are named without their series' suffix. Which
/// of the two a v2 series came from cannot be told, so these are only taken off to find a family, not to name one.
const NAME_SUFFIXES: &[(&[u8], &[i32])] = &[(b"_total", &[COUNTER]), (b"_info", &[INFO])];

/// The families that a v1 request describes, and those that are known otherwise.
#[derive(Default)]
pub(super) struct Families<'a> {
    by_name: HashMap<&'a [u8], Metadata<'a>>,
    known: Option<&'a dyn KnownFamilies>,
    /// The metric that was asked for last, and what is known of it: neighbours are often of the same.
    last: Option<(&'a [u8], Option<Metadata<'a>>)>,
}

impl<'a> Families<'a> {
    /// All of the request; there are none in v2. The first word on a family holds, and what the request says comes
    /// before what is `known`.
    pub(super) fn read(source: &Source<'a>, known: Option<&'a dyn KnownFamilies>) -> Result<Self, Malformed> {
        let mut by_name = HashMap::new();
        for field in source.metadata() {
            let metadata = read::family(field?.0)?.value;
            if let Entry::Vacant(entry) = by_name.entry(metadata.family) {
                entry.insert(metadata);
            }
        }
        Ok(Self { by_name, known, last: None })
    }

    pub(super) fn is_empty(&self) -> bool {
        self.by_name.is_empty() && self.known.is_none()
    }

    /// What is known of the family of a series with this metric name.
    pub(super) fn of_series(&mut self, name: &'a [u8]) -> Option<Metadata<'a>> {
        if let Some((last, metadata)) = self.last
            && last == name
        {
            return metadata;
        }
        let described = family_of(name, |family| self.by_name.get(family).copied());
        let metadata = described.or_else(|| {
            let known = self.known?;
            family_of(name, |family| known.family(family))
        });
        self.last = Some((name, metadata));
        metadata
    }
}

/// The family that a series of this name is of.
fn family_of<'a>(name: &[u8], family: impl Fn(&[u8]) -> Option<Metadata<'a>>) -> Option<Metadata<'a>> {
    family(name).or_else(|| {
        let suffixes = PART_SUFFIXES.iter().chain(NAME_SUFFIXES);
        suffixes
            .filter_map(|(suffix, kinds)| Some((name.strip_suffix(*suffix)?, kinds)))
            .find_map(|(name, kinds)| family(name).filter(|metadata| kinds.contains(&metadata.kind)))
    })
}

/// Collects what the series of a v2 request say of themselves, as one entry a family. The first word on a family holds.
#[derive(Debug, Default)]
pub(super) struct Described<'a> {
    seen: HashSet<&'a [u8]>,
    /// The neighbours of a series are mostly of its family: they need no look into `seen`.
    last: &'a [u8],
    families: Vec<Metadata<'a>>,
}

impl<'a> Described<'a> {
    /// Takes note of what a series says of itself.
    pub(super) fn series(&mut self, name: &'a [u8], metadata: Metadata<'a>, has_histograms: bool) {
        if metadata.kind == 0 && metadata.help.is_empty() && metadata.unit.is_empty() {
            return;
        }
        // A native histogram is a whole family in one series, whatever its name ends with.
        let family = if has_histograms { name } else { family_name(name, metadata.kind) };
        if family == self.last {
            return;
        }
        self.last = family;
        if self.seen.insert(family) {
            self.families.push(Metadata { family, ..metadata });
        }
    }

    /// Appends the entries to a v1 request and returns how many.
    pub(super) fn finish(self, out: &mut Vec<u8>) -> u32 {
        let mut count = 0;
        for metadata in &self.families {
            put_family(out, metadata);
            count += 1;
        }
        count
    }
}

/// The family of a float series of this name, if the family is of this type.
fn family_name(name: &[u8], kind: i32) -> &[u8] {
    let fitting = PART_SUFFIXES.iter().filter(|(_, kinds)| kinds.contains(&kind));
    fitting.filter_map(|(suffix, _)| name.strip_suffix(*suffix)).find(|family| !family.is_empty()).unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::family_name;

    #[test]
    fn a_family_is_named_without_the_suffixes_of_its_type_only() {
        let check = |name: &str, kind: i32, expected: &str| {
            assert_eq!(family_name(name.as_bytes(), kind), expected.as_bytes(), "{name} of type {kind}");
        };
        check("up", 2, "up");
        check("requests_total", 1, "requests_total");
        check("requests_count", 1, "requests_count");
        check("build_info", 6, "build_info");
        for suffix in ["_bucket", "_count", "_sum"] {
            check(&format!("latency{suffix}"), 3, "latency");
            check(&format!("latency{suffix}"), 4, "latency");
            check(&format!("latency{suffix}"), 0, &format!("latency{suffix}"));
        }
        check("latency_bucket", 5, "latency_bucket");
        check("latency_count", 5, "latency");
        check("latency_sum", 5, "latency");
        check("latency", 5, "latency");
        check("queue_gcount", 4, "queue");
        check("queue_gsum", 4, "queue");
        check("queue_gsum", 3, "queue_gsum");
        check("_sum", 3, "_sum");
    }
}
