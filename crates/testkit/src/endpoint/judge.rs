//! Judges data, series by series, as real receivers do: what is stored, what is refused, what the answer says.
//!
//! The order of data is judged as Prometheus does it (`storage/remote/write_handler.go` over a TSDB without an
//! out-of-order window): first against what is stored, then stored point by point. Must not look at headers and bodies.

use std::cmp::Ordering;
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::Arc;

use http::{HeaderMap, StatusCode};
use remote_write::model::{Label, Request, Series};
use remote_write::{Counts, Protocol};

use super::count::Contents;
use super::reply::status_code;
use super::{Refusal, Reply, ReplyBody};
use crate::ledger::{Kind, Point, for_each_point_of};

/// The longest text of an answer, in bytes; a longer one is cut.
const MAX_TEXT: usize = 300;

/// Prometheus' words (`storage.ErrOutOfOrderSample` and its neighbours).
const OUT_OF_ORDER: &str = "out of order sample";
const DUPLICATE: &str = "duplicate sample for timestamp";
const EXEMPLAR_OUT_OF_ORDER: &str = "out of order exemplar";

type Poison = Arc<dyn Fn(&Series<'_>) -> Option<String> + Send + Sync>;

/// Which data a receiver refuses, and how. As made it refuses nothing.
#[derive(Clone)]
pub struct Judge {
    status: StatusCode,
    poisons: Vec<Poison>,
    order: Order,
    good_part: GoodPart,
    max_samples: Option<Limit>,
    max_decoded_bytes: Option<Limit>,
}

/// How much is asked of the order of a series' points.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Order {
    Any,
    Rising,
    RisingWithoutRepeats,
}

/// What becomes of the good part of a request with a refused series.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum GoodPart {
    ByProtocol,
    Lost,
    Stored,
}

#[derive(Clone, Copy, Debug)]
struct Limit {
    max: u64,
    status: StatusCode,
}

impl Judge {
    /// Answers that status to a request with a refused series; numbers that are no status become 500.
    ///
    /// Unless told otherwise the good part of such a request has Prometheus' fate: lost in v1; stored in v2, but lost
    /// there too when the status is 5xx, because the sender comes again with all of it.
    pub fn new(status: u16) -> Self {
        Self {
            status: status_code(status),
            poisons: Vec::new(),
            order: Order::Any,
            good_part: GoodPart::ByProtocol,
            max_samples: None,
            max_decoded_bytes: None,
        }
    }

    /// Refuses the series for which the predicate gives a reason. Several predicates are asked in order.
    ///
    /// It is asked while the endpoint's books are open: it must neither block nor call the endpoint.
    #[must_use]
    pub fn refusing(mut self, poison: impl Fn(&Series<'_>) -> Option<String> + Send + Sync + 'static) -> Self {
        self.poisons.push(Arc::new(poison));
        self
    }

    /// Refuses, per series and kind, what is older than the newest stored point, even its exact repeat, and what has
    /// its timestamp and other contents. The exact repeat of the newest point is accepted and not stored again.
    ///
    /// As in Prometheus: a series' good points are not held liable for its bad ones; a point that another of the same
    /// request makes too old is accepted and silently not stored; exemplars out of order are refused in v2 only, and
    /// one timestamp may have several.
    #[must_use]
    pub fn ordered(mut self) -> Self {
        self.order = self.order.max(Order::Rising);
        self
    }

    /// [`Self::ordered`], and the exact repeat of the newest sample or histogram is refused as well.
    #[must_use]
    pub fn refusing_repeats(mut self) -> Self {
        self.order = Order::RisingWithoutRepeats;
        self
    }

    /// Stores nothing of a request with a refused series, in either protocol.
    #[must_use]
    pub fn all_or_nothing(mut self) -> Self {
        self.good_part = GoodPart::Lost;
        self
    }

    /// Stores the good part of a request with a refused series, in either protocol and whatever the status: as Mimir
    /// and Thanos.
    #[must_use]
    pub fn storing_the_good_part(mut self) -> Self {
        self.good_part = GoodPart::Stored;
        self
    }

    /// Refuses requests with more samples and histograms than that whole, with that status (413 or 400).
    #[must_use]
    pub fn max_samples(mut self, max: u64, status: u16) -> Self {
        self.max_samples = Some(Limit { max, status: status_code(status) });
        self
    }

    /// Refuses requests whose message is longer than that whole, with that status (413 or 400).
    #[must_use]
    pub fn max_decoded_bytes(mut self, max: u64, status: u16) -> Self {
        self.max_decoded_bytes = Some(Limit { max, status: status_code(status) });
        self
    }

    /// Judges a request and hands over what is to be stored.
    pub(super) fn rule(&self, case: &Case<'_>, docket: &mut Docket, store: impl FnMut(Point)) -> Ruling {
        if let Some(refusal) = self.oversized(case) {
            docket.stats.refused_requests += 1;
            docket.stats.oversized_requests += 1;
            return Ruling { refusal: Some(refusal), ..Ruling::default() };
        }
        let mut good = Vec::new();
        let mut first = None;
        for series in &case.request.series {
            let Some(reason) = self.examine(series, case.protocol, docket, &mut good) else { continue };
            first.get_or_insert_with(|| text(&reason, &series.labels));
            *docket.stats.refused_series.entry(reason).or_default() += 1;
        }
        let refusal = first.map(|text| (self.status, text));
        docket.stats.refused_requests += u64::from(refusal.is_some());
        if refusal.is_some() && !self.stores_the_good_part(case.protocol) {
            return Ruling { refusal, ..Ruling::default() };
        }
        let stored = self.store(&good, docket, store);
        Ruling { written: count(&good), stored, refusal }
    }

    fn oversized(&self, case: &Case<'_>) -> Option<Refusal> {
        let samples = case.contents.counts.samples + case.contents.counts.histograms;
        let sizes =
            [(self.max_samples, samples, "samples"), (self.max_decoded_bytes, case.decoded_bytes as u64, "bytes")];
        sizes.into_iter().find_map(|(limit, found, unit)| {
            let Limit { max, status } = limit.filter(|limit| found > limit.max)?;
            Some((status, format!("the request has {found} {unit}, the limit is {max}")))
        })
    }

    /// Adds a series' good points; a reason when the series or one of its points is refused, the first.
    fn examine(
        &self,
        series: &Series<'_>,
        protocol: Protocol,
        docket: &Docket,
        good: &mut Vec<Point>,
    ) -> Option<String> {
        let poisoned = self.poisons.iter().find_map(|poison| poison(series));
        if poisoned.is_some() {
            return poisoned;
        }
        let mut reason = None;
        for_each_point_of(series, |point| match self.objection(&point, protocol, docket) {
            Some(objection) => reason = reason.or(Some(objection)),
            None => good.push(point),
        });
        reason.map(str::to_owned)
    }

    fn objection(&self, point: &Point, protocol: Protocol, docket: &Docket) -> Option<&'static str> {
        if self.order == Order::Any {
            return None;
        }
        let is_exemplar = point.kind == Kind::Exemplar;
        match docket.place(point) {
            Place::Older if is_exemplar => (protocol == Protocol::V2).then_some(EXEMPLAR_OUT_OF_ORDER),
            Place::Older => Some(OUT_OF_ORDER),
            Place::Conflict => Some(DUPLICATE),
            Place::Repeat => (!is_exemplar && self.order == Order::RisingWithoutRepeats).then_some(DUPLICATE),
            Place::Next => None,
        }
    }

    fn stores_the_good_part(&self, protocol: Protocol) -> bool {
        match self.good_part {
            GoodPart::ByProtocol => protocol == Protocol::V2 && !self.status.is_server_error(),
            GoodPart::Lost => false,
            GoodPart::Stored => true,
        }
    }

    fn store(&self, good: &[Point], docket: &mut Docket, mut store: impl FnMut(Point)) -> Counts {
        let mut stored = Counts::default();
        for point in good {
            if self.order == Order::Any || docket.admit(point) {
                point.kind.count_in(&mut stored);
                store(*point);
            }
        }
        stored
    }
}

impl fmt::Debug for Judge {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Judge")
            .field("status", &self.status)
            .field("poisons", &self.poisons.len())
            .field("order", &self.order)
            .field("good_part", &self.good_part)
            .field("max_samples", &self.max_samples)
            .field("max_decoded_bytes", &self.max_decoded_bytes)
            .finish()
    }
}

/// What the judge did, also for requests whose answer was another than its own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct JudgeStats {
    /// Requests refused whole or in part.
    pub refused_requests: u64,
    /// Of them, those beyond a limit, whose series nobody looked at.
    pub oversized_requests: u64,
    /// `TimeSeries` messages refused whole or in part, by the first reason for each; again whenever they come again.
    pub refused_series: BTreeMap<String, u64>,
    /// Points accepted and not stored, because they are their series' newest point already.
    pub repeats: u64,
    /// Points accepted and silently lost: what another point of their request made too old or contradicts, and v1's
    /// exemplars out of order.
    pub overtaken: u64,
}

/// A request before the judge.
pub(super) struct Case<'a> {
    pub(super) protocol: Protocol,
    pub(super) contents: Contents,
    pub(super) body_bytes: usize,
    pub(super) decoded_bytes: usize,
    pub(super) request: Request<'a>,
}

/// What is done with a request's data, and what the answer says.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Ruling {
    /// What was accepted and not rolled back, repeats of what is stored included.
    pub(super) written: Counts,
    /// What of it was stored.
    pub(super) stored: Counts,
    /// Of the request or of a part of it.
    pub(super) refusal: Option<Refusal>,
}

impl Ruling {
    /// Everything is stored.
    pub(super) fn all(counts: Counts) -> Self {
        Self { written: counts, stored: counts, refusal: None }
    }

    /// Makes it the answer. v2 answers say what was written, refusals too (remote write 2.0 "Partial Write").
    pub(super) fn put_into(self, reply: &mut Reply, protocol: Protocol) {
        if protocol == Protocol::V2 {
            put_written(&mut reply.headers, self.written);
        }
        if let Some((status, text)) = self.refusal {
            reply.status = status;
            reply.body = ReplyBody::Bytes(format!("{text}\n").into());
        }
    }
}

fn put_written(headers: &mut HeaderMap, counts: Counts) {
    headers.insert("x-prometheus-remote-write-samples-written", counts.samples.into());
    headers.insert("x-prometheus-remote-write-histograms-written", counts.histograms.into());
    headers.insert("x-prometheus-remote-write-exemplars-written", counts.exemplars.into());
}

/// What a judge knows of the store, and what it did so far.
#[derive(Debug, Default)]
pub(super) struct Docket {
    newest: HashMap<(u64, Kind), Newest>,
    stats: JudgeStats,
}

#[derive(Debug)]
struct Newest {
    timestamp: i64,
    /// One for samples and histograms; exemplars may share a timestamp.
    bits: Vec<u64>,
}

/// Where a point stands in relation to the newest of its series and kind.
enum Place {
    Next,
    Repeat,
    Conflict,
    Older,
}

impl Docket {
    pub(super) fn stats(&self) -> &JudgeStats {
        &self.stats
    }

    fn place(&self, point: &Point) -> Place {
        let Some(newest) = self.newest.get(&(point.series, point.kind)) else { return Place::Next };
        match point.timestamp.cmp(&newest.timestamp) {
            Ordering::Less => Place::Older,
            Ordering::Greater => Place::Next,
            Ordering::Equal if newest.bits.contains(&point.bits) => Place::Repeat,
            Ordering::Equal if point.kind == Kind::Exemplar => Place::Next,
            Ordering::Equal => Place::Conflict,
        }
    }

    /// Makes the point its series' newest and says whether it is to be stored.
    fn admit(&mut self, point: &Point) -> bool {
        match self.place(point) {
            Place::Next => {
                let fresh = || Newest { timestamp: point.timestamp, bits: Vec::new() };
                let newest = self.newest.entry((point.series, point.kind)).or_insert_with(fresh);
                if newest.timestamp < point.timestamp {
                    *newest = fresh();
                }
                newest.bits.push(point.bits);
                true
            }
            Place::Repeat => {
                self.stats.repeats += 1;
                false
            }
            Place::Conflict | Place::Older => {
                self.stats.overtaken += 1;
                false
            }
        }
    }
}

fn count(points: &[Point]) -> Counts {
    let mut counts = Counts::default();
    points.iter().for_each(|point| point.kind.count_in(&mut counts));
    counts
}

/// The reason and the series it is about, as Prometheus writes them, at most [`MAX_TEXT`] bytes.
fn text(reason: &str, labels: &[Label<'_>]) -> String {
    let mut text = format!("{reason} for series {{");
    for (index, label) in labels.iter().enumerate() {
        if text.len() > MAX_TEXT {
            break;
        }
        let shown = |bytes| String::from_utf8_lossy(<[u8]>::get(bytes, ..MAX_TEXT).unwrap_or(bytes));
        let comma = if index == 0 { "" } else { ", " };
        text.push_str(&format!("{comma}{}={:?}", shown(label.name), shown(label.value)));
    }
    text.push('}');
    text.truncate(text.floor_char_boundary(MAX_TEXT));
    text
}

#[cfg(test)]
mod tests;
