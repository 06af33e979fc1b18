//! Encodes a request of the load once, noting where values and timestamps stand.
//!
//! Field numbers: `prometheus.WriteRequest` (remote write 1.0) and `io.prometheus.write.v2.Request` (2.0-rc.4).

use std::collections::HashMap;
use std::ops::Range;

use remote_write::Counts;

use super::{Workload, histogram, trace_id, value};
use crate::series::{FAMILIES, Labels, family_of};

/// Timestamps take 6 bytes as a varint from 1971 to 2109; others are moved to the nearest end of what 6 bytes hold.
const MAX_TIMESTAMP: i64 = (1 << 42) - 1;
const TIMESTAMP_BYTES: usize = 6;

/// An encoded request whose values and timestamps can be replaced.
#[derive(Debug)]
pub struct Template {
    raw: Vec<u8>,
    slots: Vec<Slot>,
    counts: Counts,
}

/// Where one point's value and timestamp stand in the body.
#[derive(Debug)]
struct Slot {
    series: u32,
    value_at: u32,
    timestamp_at: u32,
}

impl Template {
    /// Puts a round's values and timestamp in, and gives the body. `timestamp` is in milliseconds since the epoch.
    pub fn fill(&mut self, sequence: u32, timestamp: i64) -> &[u8] {
        let timestamp = timestamp_varint(timestamp);
        for slot in &self.slots {
            put_at(&mut self.raw, slot.value_at, &value(slot.series, sequence).to_le_bytes());
            put_at(&mut self.raw, slot.timestamp_at, &timestamp);
        }
        &self.raw
    }

    /// What the request holds.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// How long the body is, in bytes.
    pub fn len(&self) -> usize {
        self.raw.len()
    }

    /// Whether the body has no byte at all.
    pub fn is_empty(&self) -> bool {
        self.raw.is_empty()
    }
}

fn put_at(raw: &mut [u8], at: u32, bytes: &[u8]) {
    let at = at as usize;
    if let Some(place) = raw.get_mut(at..at + bytes.len()) {
        place.copy_from_slice(bytes);
    }
}

fn timestamp_varint(timestamp: i64) -> [u8; TIMESTAMP_BYTES] {
    let mut rest = timestamp.clamp(0, MAX_TIMESTAMP).cast_unsigned();
    let mut bytes = [0; TIMESTAMP_BYTES];
    for (index, byte) in bytes.iter_mut().enumerate() {
        *byte = (rest & 0x7f) as u8;
        if index + 1 < TIMESTAMP_BYTES {
            *byte |= 0x80;
        }
        rest >>= 7;
    }
    bytes
}

/// The bytes of one message under construction and the slots in it, relative to its beginning.
#[derive(Default)]
struct Message {
    bytes: Vec<u8>,
    slots: Vec<Slot>,
}

impl Message {
    fn clear(&mut self) {
        self.bytes.clear();
        self.slots.clear();
    }

    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.bytes.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.bytes.push(value as u8);
    }

    fn field(&mut self, number: u32, value: u64) {
        self.varint(u64::from(number << 3));
        self.varint(value);
    }

    fn delimited(&mut self, number: u32, bytes: &[u8]) {
        self.varint(u64::from(number << 3 | 2));
        self.varint(bytes.len() as u64);
        self.bytes.extend_from_slice(bytes);
    }

    fn double(&mut self, number: u32, value: f64) -> u32 {
        self.varint(u64::from(number << 3 | 1));
        let at = self.bytes.len() as u32;
        self.bytes.extend_from_slice(&value.to_le_bytes());
        at
    }

    fn timestamp(&mut self, number: u32) -> u32 {
        self.varint(u64::from(number << 3));
        let at = self.bytes.len() as u32;
        self.bytes.extend_from_slice(&timestamp_varint(0));
        at
    }

    fn slot(&mut self, series: u32, value_at: u32, timestamp_at: u32) {
        self.slots.push(Slot { series, value_at, timestamp_at });
    }

    /// Appends `inner` as a sub-message, its slots moved along.
    fn message(&mut self, number: u32, inner: &Self) {
        self.delimited(number, &inner.bytes);
        let moved = (self.bytes.len() - inner.bytes.len()) as u32;
        self.slots.extend(inner.slots.iter().map(|slot| Slot {
            series: slot.series,
            value_at: slot.value_at + moved,
            timestamp_at: slot.timestamp_at + moved,
        }));
    }

    fn sample(&mut self, series: u32) {
        let value_at = self.double(1, 0.0);
        let timestamp_at = self.timestamp(2);
        self.slot(series, value_at, timestamp_at);
    }

    fn histogram(&mut self, series: u32) {
        let histogram = histogram(0.0);
        self.field(1, 10);
        let value_at = self.double(3, 0.0);
        self.field(4, zigzag(i64::from(histogram.schema)));
        self.double(5, histogram.zero_threshold);
        self.field(6, 1);
        for span in &histogram.positive_spans {
            let mut inner = Self::default();
            inner.field(1, zigzag(i64::from(span.offset)));
            inner.field(2, u64::from(span.length));
            self.message(11, &inner);
        }
        let mut deltas = Self::default();
        for delta in &histogram.positive_deltas {
            deltas.varint(zigzag(*delta));
        }
        self.message(12, &deltas);
        let timestamp_at = self.timestamp(15);
        self.slot(series, value_at, timestamp_at);
    }
}

fn zigzag(value: i64) -> u64 {
    (value << 1 ^ value >> 63).cast_unsigned()
}

pub(super) fn v1(workload: &Workload, range: Range<u32>) -> Template {
    let mut request = Message::default();
    let mut counts = Counts::default();
    let [mut series, mut labels, mut inner] = [(); 3].map(|()| Message::default());
    let mut names = Labels::default();
    for index in range {
        workload.write_labels(index, &mut names);
        labels.clear();
        for (name, value) in names.iter() {
            v1_label(&mut labels, &mut inner, name, value);
        }
        series.clear();
        series.bytes.extend_from_slice(&labels.bytes);
        inner.clear();
        if workload.is_histogram(index) {
            inner.histogram(index);
            series.message(4, &inner);
            counts.histograms += 1;
        } else {
            inner.sample(index);
            series.message(2, &inner);
            counts.samples += 1;
        }
        request.message(1, &series);
        if workload.has_exemplar(index) {
            let mut exemplar = Message::default();
            v1_label(&mut exemplar, &mut inner, "trace_id", &trace_id(index));
            let value_at = exemplar.double(2, 0.0);
            let timestamp_at = exemplar.timestamp(3);
            exemplar.slot(index, value_at, timestamp_at);
            series.clear();
            series.bytes.extend_from_slice(&labels.bytes);
            series.message(3, &exemplar);
            request.message(1, &series);
            counts.exemplars += 1;
        }
    }
    Template { raw: request.bytes, slots: request.slots, counts }
}

fn v1_label(into: &mut Message, scratch: &mut Message, name: &str, value: &str) {
    scratch.clear();
    scratch.delimited(1, name.as_bytes());
    scratch.delimited(2, value.as_bytes());
    into.delimited(1, &scratch.bytes);
}

pub(super) fn v1_metadata() -> Vec<u8> {
    let mut request = Message::default();
    for family in &FAMILIES {
        let mut metadata = Message::default();
        metadata.field(1, u64::from(family.kind.unsigned_abs()));
        metadata.delimited(2, family.name.as_bytes());
        metadata.delimited(4, family.help.as_bytes());
        if !family.unit.is_empty() {
            metadata.delimited(5, family.unit.as_bytes());
        }
        request.message(3, &metadata);
    }
    request.bytes
}

/// A v2 request's symbol table; symbol 0 is the empty string.
struct Symbols {
    places: HashMap<String, u64>,
    encoded: Message,
}

impl Symbols {
    fn new() -> Self {
        let mut symbols = Self { places: HashMap::new(), encoded: Message::default() };
        symbols.place("");
        symbols
    }

    fn place(&mut self, symbol: &str) -> u64 {
        if let Some(place) = self.places.get(symbol) {
            return *place;
        }
        let place = self.places.len() as u64;
        self.places.insert(symbol.to_owned(), place);
        self.encoded.delimited(4, symbol.as_bytes());
        place
    }
}

pub(super) fn v2(workload: &Workload, range: Range<u32>) -> Template {
    let mut symbols = Symbols::new();
    let mut all = Message::default();
    let mut counts = Counts::default();
    let [mut series, mut references, mut inner] = [(); 3].map(|()| Message::default());
    let mut names = Labels::default();
    for index in range {
        workload.write_labels(index, &mut names);
        references.clear();
        for (name, value) in names.iter() {
            references.varint(symbols.place(name));
            references.varint(symbols.place(value));
        }
        series.clear();
        series.message(1, &references);
        inner.clear();
        if workload.is_histogram(index) {
            inner.histogram(index);
            series.message(3, &inner);
            counts.histograms += 1;
        } else {
            inner.sample(index);
            series.message(2, &inner);
            counts.samples += 1;
        }
        v2_metadata(workload, index, &mut symbols, &mut series);
        all.message(5, &series);
        if workload.has_exemplar(index) {
            let mut exemplar = Message::default();
            inner.clear();
            inner.varint(symbols.place("trace_id"));
            inner.varint(symbols.place(&trace_id(index)));
            exemplar.message(1, &inner);
            let value_at = exemplar.double(2, 0.0);
            let timestamp_at = exemplar.timestamp(3);
            exemplar.slot(index, value_at, timestamp_at);
            series.clear();
            series.message(1, &references);
            series.message(4, &exemplar);
            v2_metadata(workload, index, &mut symbols, &mut series);
            all.message(5, &series);
            counts.exemplars += 1;
        }
    }
    // The symbols stand first, as Prometheus writes them, so the slots move by their length.
    let mut request = symbols.encoded;
    let moved = request.bytes.len() as u32;
    request.bytes.extend_from_slice(&all.bytes);
    for slot in &mut all.slots {
        slot.value_at += moved;
        slot.timestamp_at += moved;
    }
    Template { raw: request.bytes, slots: all.slots, counts }
}

fn v2_metadata(workload: &Workload, index: u32, symbols: &mut Symbols, series: &mut Message) {
    if !workload.settings().metadata {
        return;
    }
    let family = family_of(index);
    let mut metadata = Message::default();
    metadata.field(1, u64::from(family.kind.unsigned_abs()));
    metadata.field(3, symbols.place(family.help));
    if !family.unit.is_empty() {
        metadata.field(4, symbols.place(family.unit));
    }
    series.message(5, &metadata);
}
