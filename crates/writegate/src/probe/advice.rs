//! What to do with an endpoint that behaves like this: lines of its `remote_write` entry, and what no line can say. Pure.

use serde::Serialize;

use super::facts::{Facts, Step};

/// For the configuration of who sends there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Advice {
    /// In the order in which they are written.
    pub(crate) entry: Vec<Line>,
    /// Sentences.
    pub(crate) notes: Vec<String>,
}

/// `key: value`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Line {
    pub(crate) key: &'static str,
    /// YAML.
    pub(crate) value: &'static str,
    pub(crate) why: &'static str,
}

pub(super) fn advice(facts: &Facts) -> Advice {
    let mut advice = Advice::default();
    if facts.takes_v1() || facts.stores_v2() {
        advice.entry = entry(facts);
        advice.notes = notes(facts);
    }
    advice
}

fn entry(facts: &Facts) -> Vec<Line> {
    let mut lines = Vec::new();
    let mut line = |key, value, why| lines.push(Line { key, value, why });
    match (facts.takes_v1(), facts.stores_v2()) {
        (true, true) => line("protobuf_message", "auto", "each request goes in the protocol in which it came"),
        (true, false) if facts.ignores_v2() => {
            line("protobuf_message", "prometheus.WriteRequest", "2.0 would be answered and not stored");
        }
        (true, false) => line("protobuf_message", "prometheus.WriteRequest", "2.0 is not taken"),
        (false, _) => line("protobuf_message", "io.prometheus.write.v2.Request", "1.0 is not taken"),
    }
    if facts.takes_zstd() {
        line("compression", "zstd", "less traffic, for some CPU time");
    } else {
        line("compression", "snappy", "zstd is not taken");
    }
    let histograms = if facts.stores_v2() { Step::HistogramV2 } else { Step::HistogramV1 };
    if facts.refused(histograms) {
        line("send_native_histograms", "false", "they are refused; what this drops is counted");
    }
    let not_written = |step: Step| {
        let said = facts.get(step).filter(|said| said.is_success());
        said.is_some_and(|said| said.written().is_some_and(|written| written.exemplars < said.sent.exemplars))
    };
    if facts.refused(Step::ExemplarV2) || facts.refused(Step::ExemplarV1) || not_written(Step::ExemplarV2) {
        line("send_exemplars", "false", "they are not kept");
    }
    if facts.refused(Step::Metadata) {
        line("metadata_config", "{send: false}", "metadata is refused");
    }
    lines
}

fn notes(facts: &Facts) -> Vec<String> {
    let mut notes = Vec::new();
    let mut note = |text: &str| notes.push(text.to_owned());
    if facts.ignores_v2() {
        note(
            "A Prometheus that sends 2.0 there itself loses everything; Writegate notices, and sends 1.0 for an hour \
             before it tries again.",
        );
    }
    if facts.refused(Step::OlderBySecond) {
        note(
            "Nothing older than the newest sample of its series is taken: replays and retried dead letters will be refused. \
             Prometheus has storage.tsdb.out_of_order_time_window against that, Mimir out_of_order_time_window.",
        );
    }
    if facts.refused(Step::HoursOld) {
        note(
            "A series that begins two hours ago is refused: what waited that long in an outage may become dead letters.",
        );
    }
    if facts.refused(Step::Mixed) && facts.taken(Step::MixedAgain) {
        note(
            "One bad sample costs its whole request: Writegate looks for it and delivers the rest, plain senders do not.",
        );
    }
    if facts.get(Step::Repeated).and_then(|said| said.status()).is_some_and(|status| status.is_server_error()) {
        note("A series with a label twice is answered 5xx, for ever. Writegate takes none from its senders.");
    }
    if facts.dry_run {
        note(
            "Only requests without data were sent. Without --dry-run order, duplicates, histograms and exemplars are tried.",
        );
    }
    notes
}
