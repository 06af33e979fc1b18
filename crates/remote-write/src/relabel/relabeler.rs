//! Takes requests through a pipeline: finds what the cache knows, works out the rest, and writes what changes.
//! A v1 request is spliced, a v2 request that changes is encoded anew because its symbols do.

use super::beside;
use super::cache::{Cache, Edited, Order, Query, Verdict};
use super::escape::Scheme;
use super::label_set::LabelSet;
use super::pipeline::Pipeline;
use super::recipe::{self, Labels, Step};
use super::scan::{self, Found, Keys};
use crate::check::{family_hash, hash_of_canonical};
use crate::encode::V2Encoder;
use crate::model::Label;
use crate::series_text;
use crate::source::{Fields, SeriesParts, Source};
use crate::wire::{Malformed, Reader, WireType, begin_message, end_message, put_tag, put_varint};
use crate::{Counts, Protocol, read};

/// Scratch memory above this many bytes is given back after a request.
const KEPT_BYTES: usize = 1 << 20;

/// All labels that a request's series are given may take so many times its bytes, and so many more.
const MOST_TIMES: usize = 8;
const GROWS_BY: usize = 8 << 20;

/// What became of a request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Relabeled {
    /// If not, the output is empty and the request is to be used as it is.
    pub changed: bool,
    /// Data points of the series that are kept.
    pub kept: Counts,
    /// Data points of the series that were dropped, and exemplars that were.
    pub dropped: Counts,
    /// Series that are kept. With none of them, a changed output is empty but for v1 metadata.
    pub series: u32,
    /// v1: metadata families that were dropped.
    pub families_dropped: u32,
    /// The first series that was dropped or lost an exemplar, as `name{label="value"}`, at most 512 bytes.
    pub first_dropped: Option<String>,
}

/// Relabels requests one after the other in the same memory. One per thread.
#[derive(Debug, Default)]
pub struct Relabeler {
    scratch: Scratch,
    encoder: V2Encoder,
    /// A v1 request on its way to `out`, before its families are.
    unfinished: Vec<u8>,
}

#[derive(Debug, Default)]
struct Scratch {
    found: Vec<Found>,
    /// One for each that was found.
    queries: Vec<Query>,
    order: Order,
    keys: Keys,
    /// What the queries' verdicts refer to.
    recipes: Vec<u8>,
    /// Bytes of labels that were set in this request.
    edited: usize,
    /// Labels of one series, before and after, and how these come out of those.
    before: Labels,
    after: Labels,
    recipe: Vec<u8>,
    /// The hashes of the series that are kept, if somebody wants them.
    footprint: Option<Vec<u32>>,
}

impl Relabeler {
    /// Takes no memory to speak of until the first request.
    pub fn new() -> Self {
        Self::default()
    }

    /// Writes the request `decoded` as `pipeline` leaves it, in place of what `out` holds. `out` stays empty if nothing
    /// changes.
    ///
    /// Data points are copied with exemplars and metadata, their bits untouched. v1 metadata beside the series passes;
    /// only a [`Scheme`] is also for the names of families and of exemplars' labels.
    /// Series that come out with the same labels stay apart. Where rules would make the labels of a request more than eight
    /// times as large as all of it and 8 MiB, the series beyond that are dropped.
    ///
    /// # Errors
    /// When the bytes are not a checked request of this protocol; `out` is then useless.
    pub fn relabel(
        &mut self,
        pipeline: &Pipeline,
        cache: &Cache,
        protocol: Protocol,
        decoded: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<Relabeled, Malformed> {
        out.clear();
        let source = Source::new(protocol, decoded)?.under(pipeline.scheme());
        self.scratch.begin();
        let mut relabeled = match protocol {
            Protocol::V1 => self.relabel_v1(pipeline, cache, source, decoded, out)?,
            Protocol::V2 => self.relabel_v2(pipeline, cache, source, decoded, out)?,
        };
        if let Some(scheme) = pipeline.scheme().filter(|_| protocol == Protocol::V1) {
            self.bring_families_under(scheme, decoded, &mut relabeled, out)?;
        }
        if let Some(footprint) = &mut self.scratch.footprint {
            complete_footprint(pipeline, &Source::new(protocol, decoded)?, footprint)?;
        }
        self.scratch.shrink();
        Ok(relabeled)
    }

    /// The next request that is relabeled leaves its [`Self::footprint`], too: for [`Self::noted_footprint`].
    pub fn note_footprint(&mut self) {
        self.scratch.footprint = Some(Vec::new());
    }

    /// The footprint of the request that was relabeled last, once, if it was to be noted.
    pub const fn noted_footprint(&mut self) -> Option<Vec<u32>> {
        self.scratch.footprint.take()
    }

    /// Replaces what `out` holds by the footprint of the request as `pipeline` leaves it: the sorted, distinct hashes of
    /// its series ([`crate::check::series_hash`]) and of its v1 families ([`family_hash`]).
    ///
    /// # Errors
    /// When the bytes are not a checked request of this protocol.
    pub fn footprint(
        &mut self,
        pipeline: &Pipeline,
        cache: &Cache,
        protocol: Protocol,
        decoded: &[u8],
        out: &mut Vec<u32>,
    ) -> Result<(), Malformed> {
        let mut source = Source::new(protocol, decoded)?;
        self.scratch.footprint = Some(std::mem::take(out));
        self.scratch.begin();
        let mut series = source.series();
        while self.scratch.judge_next(pipeline, cache, &mut source, decoded, &mut series)? {}
        *out = self.scratch.footprint.take().unwrap_or_default();
        complete_footprint(pipeline, &source, out)?;
        self.scratch.shrink();
        Ok(())
    }

    fn relabel_v1<'a>(
        &mut self,
        pipeline: &Pipeline,
        cache: &Cache,
        mut source: Source<'a>,
        decoded: &'a [u8],
        out: &mut Vec<u8>,
    ) -> Result<Relabeled, Malformed> {
        let mut relabeled = Relabeled::default();
        // What is in front of it has been written, or left out.
        let mut written = 0;
        let mut series = source.series();
        while self.scratch.judge_next(pipeline, cache, &mut source, decoded, &mut series)? {
            for (found, verdict) in self.scratch.judged() {
                relabeled.book(found, verdict, pipeline.scheme(), &source, decoded)?;
                let recipe = match verdict {
                    Verdict::Unchanged(_) if found.foreign_exemplars == 0 => continue,
                    Verdict::Edited(edited) => Some(edited),
                    Verdict::Unchanged(_) | Verdict::Dropped => None,
                };
                out.extend_from_slice(decoded.get(written..found.start).unwrap_or_default());
                written = found.end;
                if verdict == Verdict::Dropped {
                    continue;
                }
                let fields = found.label_fields(decoded)?;
                let put_labels = |out: &mut Vec<u8>| match recipe {
                    Some(edited) => recipe::apply_v1(edited.of(&self.scratch.recipes), fields, out),
                    None => {
                        out.extend_from_slice(fields.rest());
                        Ok(())
                    }
                };
                if let Some(scheme) = pipeline.scheme().filter(|_| found.foreign_exemplars > 0) {
                    let start = begin_message(out, read::V1_TIMESERIES);
                    put_labels(out)?;
                    beside::put_data_v1(out, scheme, &mut source, found.data_fields(decoded)?)?;
                    end_message(out, start);
                } else {
                    let unchanged = fields.rest().len();
                    let size = recipe.map_or(unchanged, Edited::len);
                    put_tag(out, read::V1_TIMESERIES, WireType::Len);
                    put_varint(out, (size + found.end - found.data) as u64);
                    put_labels(out)?;
                    written = found.data;
                }
            }
        }
        if relabeled.changed {
            out.extend_from_slice(decoded.get(written..).unwrap_or_default());
        }
        Ok(relabeled)
    }

    /// v1: the families of what has been relabeled.
    fn bring_families_under(
        &mut self,
        scheme: Scheme,
        decoded: &[u8],
        relabeled: &mut Relabeled,
        out: &mut Vec<u8>,
    ) -> Result<(), Malformed> {
        if beside::leaves_families(scheme, decoded)? {
            return Ok(());
        }
        std::mem::swap(out, &mut self.unfinished);
        let request = if relabeled.changed { &self.unfinished } else { decoded };
        relabeled.families_dropped = beside::put_families(out, scheme, request)?;
        relabeled.changed = true;
        self.unfinished.clear();
        self.unfinished.shrink_to(KEPT_BYTES);
        Ok(())
    }

    fn relabel_v2<'a>(
        &mut self,
        pipeline: &Pipeline,
        cache: &Cache,
        mut source: Source<'a>,
        decoded: &'a [u8],
        out: &mut Vec<u8>,
    ) -> Result<Relabeled, Malformed> {
        let mut relabeled = Relabeled::default();
        let mut parts = SeriesParts::default();
        let mut ahead = source.series();
        // Encoding starts with the first series that changes, and then catches up.
        let mut behind = source.series();
        let mut unchanged = 0;
        self.encoder.clear();
        while self.scratch.judge_next(pipeline, cache, &mut source, decoded, &mut ahead)? {
            for (found, verdict) in self.scratch.judged() {
                relabeled.book(found, verdict, pipeline.scheme(), &source, decoded)?;
            }
            if !relabeled.changed {
                unchanged += self.scratch.queries.len();
                continue;
            }
            for series in behind.by_ref().take(std::mem::take(&mut unchanged)) {
                source.take_apart(series?.0, &mut parts)?;
                self.encoder.put_parts(&mut source, &parts)?;
            }
            for ((found, verdict), series) in self.scratch.judged().zip(behind.by_ref()) {
                let content = series?.0;
                if verdict == Verdict::Dropped {
                    continue;
                }
                source.take_apart(content, &mut parts)?;
                if let Some(scheme) = pipeline.scheme().filter(|scheme| scheme.drops() && found.foreign_exemplars > 0) {
                    beside::leave_out_foreign(scheme, &mut source, &mut parts.exemplars)?;
                }
                if let Verdict::Edited(edited) = verdict {
                    let recipe = edited.of(&self.scratch.recipes);
                    put_relabeled(&mut self.encoder, &mut source, &parts, recipe)?;
                } else {
                    self.encoder.put_parts(&mut source, &parts)?;
                }
            }
        }
        if relabeled.changed && relabeled.series > 0 {
            self.encoder.finish(out);
        }
        Ok(relabeled)
    }
}

/// Adds the families to a footprint of series, and puts it in order.
fn complete_footprint(pipeline: &Pipeline, source: &Source<'_>, footprint: &mut Vec<u32>) -> Result<(), Malformed> {
    for field in source.metadata() {
        let content = field?.0;
        let family = read::family(content)?.value;
        match pipeline.scheme() {
            Some(scheme) => {
                let name = beside::family_name(scheme, &family, &content)?;
                footprint.extend(name.map(|name| family_hash(name.as_bytes())));
            }
            None => footprint.push(family_hash(family.family)),
        }
    }
    footprint.sort_unstable();
    footprint.dedup();
    Ok(())
}

/// Appends a v2 series with the labels that a recipe makes of its own.
fn put_relabeled<'a>(
    encoder: &mut V2Encoder,
    source: &mut Source<'a>,
    parts: &SeriesParts<'a>,
    recipe: &[u8],
) -> Result<(), Malformed> {
    let mut relabeled: Vec<Label<'_>> = Vec::new();
    let mut old = parts.references.as_chunks().0.iter();
    for Step { skip, keep, new } in recipe::steps(recipe) {
        for &[name, value] in old.by_ref().skip(skip).take(keep) {
            relabeled.push(Label { name: source.symbol(name)?, value: source.symbol(value)? });
        }
        scan::label_messages(Reader::new(new), |label| {
            relabeled.push(label);
            Ok(())
        })?;
    }
    encoder.put_parts_labelled(source, parts, &relabeled)
}

impl Relabeled {
    fn book(
        &mut self,
        found: &Found,
        verdict: Verdict,
        scheme: Option<Scheme>,
        source: &Source<'_>,
        decoded: &[u8],
    ) -> Result<(), Malformed> {
        let is_kept = verdict != Verdict::Dropped;
        let dropped = match scheme {
            _ if !is_kept => found.counts,
            Some(scheme) if scheme.drops() => Counts { exemplars: found.foreign_exemplars, ..Counts::default() },
            Some(_) | None => Counts::default(),
        };
        self.changed |= !matches!(verdict, Verdict::Unchanged(_)) || found.foreign_exemplars > 0;
        self.series += u32::from(is_kept);
        self.kept += found.counts - dropped;
        self.dropped += dropped;
        if (!is_kept || !dropped.is_zero()) && self.first_dropped.is_none() {
            let mut labels = Vec::new();
            scan::for_each_label(source, found.label_fields(decoded)?, |label| {
                labels.push(label);
                Ok(())
            })?;
            self.first_dropped = Some(series_text::describe(&labels));
        }
        Ok(())
    }
}

impl Scratch {
    /// Finds the next series and what becomes of each; returns whether there are any.
    fn judge_next<'a>(
        &mut self,
        pipeline: &Pipeline,
        cache: &Cache,
        source: &mut Source<'a>,
        decoded: &'a [u8],
        series: &mut Fields<'a>,
    ) -> Result<bool, Malformed> {
        scan::next_chunk(source.protocol, series, &mut self.found)?;
        self.queries.clear();
        self.recipes.clear();
        for found in &self.found {
            let key = self.keys.key(source, found.label_fields(decoded)?, pipeline.seed)?;
            self.queries.push(Query { key, verdict: None, fresh: false });
        }
        cache.find(&mut self.queries, &mut self.order, &mut self.recipes);
        if self.queries.iter().any(|query| query.verdict.is_none()) {
            self.work_out(pipeline, source, decoded)?;
            cache.learn(&self.queries, &mut self.order, &self.recipes);
        }
        self.bound(decoded.len());
        if let Some(scheme) = pipeline.scheme() {
            self.judge_exemplars(scheme, source, decoded)?;
        }
        if let Some(footprint) = &mut self.footprint {
            footprint.extend(self.queries.iter().filter_map(|query| match query.verdict? {
                Verdict::Dropped => None,
                Verdict::Unchanged(hash) => Some(hash),
                Verdict::Edited(edited) => Some(edited.hash),
            }));
        }
        Ok(!self.found.is_empty())
    }

    fn begin(&mut self) {
        self.keys.clear();
        self.edited = 0;
        if let Some(footprint) = &mut self.footprint {
            footprint.clear();
        }
    }

    /// Drops what would make the request many times as large as it came.
    fn bound(&mut self, decoded: usize) {
        for query in &mut self.queries {
            let Some(Verdict::Edited(edited)) = query.verdict else { continue };
            self.edited += edited.len();
            if self.edited > MOST_TIMES * decoded + GROWS_BY {
                query.verdict = Some(Verdict::Dropped);
            }
        }
    }

    /// Looks for exemplars that the scheme does not leave as they are. A series that is nothing but dropped exemplars is
    /// dropped; the cache knows nothing of that, because it knows labels of series only.
    fn judge_exemplars<'a>(
        &mut self,
        scheme: Scheme,
        source: &mut Source<'a>,
        decoded: &'a [u8],
    ) -> Result<(), Malformed> {
        for (found, query) in
            self.found.iter_mut().zip(&mut self.queries).filter(|(found, _)| found.counts.exemplars > 0)
        {
            found.foreign_exemplars = beside::count_foreign(scheme, source, found.data_fields(decoded)?)?;
            let foreign = Counts { exemplars: found.foreign_exemplars, ..Counts::default() };
            if scheme.drops() && foreign == found.counts {
                query.verdict = Some(Verdict::Dropped);
            }
        }
        Ok(())
    }

    /// Applies the pipeline to the series that the cache does not know.
    fn work_out<'a>(&mut self, pipeline: &Pipeline, source: &Source<'a>, decoded: &'a [u8]) -> Result<(), Malformed> {
        let mut labels = LabelSet::default();
        for (found, query) in self.found.iter().zip(&mut self.queries).filter(|(_, query)| query.verdict.is_none()) {
            query.fresh = true;
            labels.clear();
            let fields = found.label_fields(decoded)?;
            let mut is_plain = true;
            scan::for_each_label(source, fields, |label| {
                is_plain &= !label.value.is_empty();
                labels.push_own(text(label.name, found)?, text(label.value, found)?);
                Ok(())
            })?;
            scan::put_canonical(&mut self.before, labels.labels());
            query.verdict = Some(if !pipeline.apply(&mut labels) {
                Verdict::Dropped
            } else {
                scan::put_canonical(&mut self.after, labels.labels());
                let hash = hash_of_canonical(&self.after.bytes);
                if self.after.bytes == self.before.bytes {
                    Verdict::Unchanged(hash)
                } else {
                    // A recipe counts label fields: there must be one for each label, written as here.
                    is_plain &= source.protocol == Protocol::V2 || fields.rest() == self.before.bytes;
                    recipe::write(is_plain.then_some(&self.before), &self.after, &mut self.recipe);
                    let edited = Edited::put(&mut self.recipes, &self.recipe, self.after.bytes.len(), hash);
                    Verdict::Edited(
                        edited.ok_or(Malformed { offset: found.start, what: "labels become larger than 4 GiB" })?,
                    )
                }
            });
        }
        Ok(())
    }

    /// The series that were found, each with what becomes of it.
    fn judged(&self) -> impl Iterator<Item = (&Found, Verdict)> {
        self.found.iter().zip(&self.queries).filter_map(|(found, query)| Some((found, query.verdict?)))
    }

    /// Gives back what a request of unusual labels took.
    fn shrink(&mut self) {
        for memory in [&mut self.recipes, &mut self.recipe] {
            memory.clear();
            memory.shrink_to(KEPT_BYTES);
        }
        self.before.shrink_to(KEPT_BYTES);
        self.after.shrink_to(KEPT_BYTES);
    }
}

/// The check lets UTF-8 pass only.
fn text<'a>(label: &'a [u8], found: &Found) -> Result<&'a str, Malformed> {
    let malformed = Malformed { offset: found.start, what: "a label is not UTF-8" };
    std::str::from_utf8(label).map_err(|_invalid| malformed)
}
