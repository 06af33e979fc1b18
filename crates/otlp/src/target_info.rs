//! `target_info`: what is known of a resource beside `job` and `instance`, as labels of a gauge that is always 1.

use std::collections::HashSet;

use remote_write::check::series_hash_64;
use remote_write::model::{Label, Metadata, Sample, Series};

use crate::labels::{IDENTIFYING, LabelSet, OfResource};
use crate::message::Pair;
use crate::options::{Limits, MAX_TARGET_INFO, Options};
use crate::refused::Failure;
use crate::translate::{Pass, millis};

const NAME: &str = "target_info";
/// Half of what queries look back, in nanoseconds: so it is found between any two samples.
const EVERY: u64 = 150_000_000_000;

/// The first and the last time of a resource's points, in nanoseconds.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Times(Option<(u64, u64)>);

impl Times {
    pub(crate) fn add(&mut self, time: u64) {
        let (first, last) = self.0.unwrap_or((time, time));
        self.0 = Some((first.min(time), last.max(time)));
    }

    /// Every two and a half minutes from the first to the last, the last included; of a span longer than a day its end.
    fn samples(self) -> impl Iterator<Item = i64> {
        let (first, last) = self.0.unwrap_or((1, 0));
        let first = first.max(last.saturating_sub((MAX_TARGET_INFO - 1) * EVERY));
        let step = usize::try_from(EVERY).unwrap_or(usize::MAX);
        let end = self.0.map(|_| millis(last));
        (first..last).step_by(step).map(millis).chain(end)
    }
}

/// What was written of `target_info` in a request: several resources may have the same.
pub(crate) type Seen = HashSet<(u64, i64)>;

impl Pass<'_> {
    /// Writes `target_info` of a resource that has points, if there is something to say and someone to say it of.
    pub(crate) fn target_info(
        &mut self,
        attributes: &[Pair<'_>],
        added: &OfResource<'_>,
        times: Times,
    ) -> Result<(), Failure> {
        let Some(labels) = labels(attributes, added, self.rules.options, self.rules.limits) else { return Ok(()) };
        let named = labels.named(NAME, None).labels;
        let hash = series_hash_64(&named);
        for timestamp in times.samples() {
            if self.target_info.insert((hash, timestamp)) {
                self.put_target_info(&named, timestamp)?;
            }
        }
        Ok(())
    }

    fn put_target_info(&mut self, labels: &[Label<'_>], timestamp: i64) -> Result<(), Failure> {
        self.put_of(
            &Series {
                labels: labels.to_vec(),
                samples: vec![Sample { value: 1.0, timestamp, start_timestamp: 0 }],
                metadata: Some(Metadata { kind: 2, help: b"Target metadata", ..Metadata::default() }),
                ..Series::default()
            },
            None,
        )
    }
}

/// The labels, or `None` where there is nothing to tell. More than a series may have are not told either: the points are stored.
fn labels<'a>(
    attributes: &[Pair<'a>],
    added: &'a OfResource<'_>,
    options: &Options,
    limits: Limits,
) -> Option<LabelSet<'a>> {
    let is_identifying = |key: &str| IDENTIFYING.contains(&key);
    if attributes.iter().all(|(key, value)| is_identifying(key) || value.is_empty()) {
        return None;
    }
    let keeps = |key: &str| options.keep_identifying_resource_attributes || !is_identifying(key);
    let mut told: Vec<_> = attributes.iter().filter(|(key, _)| keeps(key)).cloned().collect();
    // An attribute that no label can be named after is left out alone.
    told.retain(|(key, _)| crate::name::label_name(key, options).is_some());
    let mut labels = LabelSet::of(&mut told, options).ok()?;
    for (name, value) in added.identity().iter() {
        labels.set(name.into(), value.into());
    }
    let is_known = labels.has("job") || labels.has("instance");
    (is_known && labels.check(limits, 1, NAME).is_ok()).then_some(labels)
}
