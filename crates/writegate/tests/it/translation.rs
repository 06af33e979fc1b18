//! From one protocol to the other and back: nothing that both can say is lost, the rest is counted.

use remote_write::model::{Metadata, Sample};
use remote_write::wire::Reader;
use remote_write::{Compression, Protocol};

use crate::harness::{PATIENCE, Setup, assert_exactly, bounded, receiver};
use crate::message::{With, custom_histogram, everything, integer_histogram, points, request, series};

const V1: &str = "protobuf_message: prometheus.WriteRequest";
const V2: &str = "protobuf_message: io.prometheus.write.v2.Request";

#[test]
fn w70_v1_to_v2_and_back_to_v1_keeps_every_bit() {
    bounded(async {
        let (sink, between) = (receiver().await, receiver().await);
        let second = Setup::new().endpoint_with("last", &sink, V1).start().await;
        let first = Setup::new().endpoint_with("between", &between, V2).start().await;
        let sent = everything(1_000);
        first.accept(Protocol::V1, &sent).await;
        first.settled().await;
        assert_exactly(&between, &points(&sent));
        for received in between.requests() {
            assert_eq!(received.protocol, Protocol::V2);
            let answer = second.push_raw(Protocol::V2, Compression::Snappy, &received.decoded).await;
            assert_eq!(answer.status, 204, "{}", answer.text());
        }
        second.settled().await;
        assert_exactly(&sink, &points(&sent));
        assert!(sink.requests().iter().all(|received| received.protocol == Protocol::V1));
        first.finish().await;
        second.finish().await;
    });
}

#[test]
fn w70_v2_to_v1_keeps_every_bit_of_what_v1_can_say() {
    bounded(async {
        let sink = receiver().await;
        let gateway = Setup::new().endpoint_with("a", &sink, V1).start().await;
        let sent = everything(1_000);
        gateway.accept(Protocol::V2, &sent).await;
        gateway.settled().await;
        assert_exactly(&sink, &points(&sent));
        for received in sink.requests() {
            assert_eq!(received.protocol, Protocol::V1);
            let sorted = |series: &remote_write::model::Series<'_>| series.labels.is_sorted_by(|a, b| a.name < b.name);
            assert!(received.request().unwrap().series.iter().all(sorted));
        }
        gateway.finish().await;
    });
}

fn family(name: &'static str, kind: i32, help: &'static str, unit: &'static str) -> Metadata<'static> {
    Metadata { kind, family: name.as_bytes(), help: help.as_bytes(), unit: unit.as_bytes() }
}

/// Samples have no field 3, histograms no field 16 and 17.
fn assert_no_v2_fields(message: &[u8]) {
    let mut message = Reader::new(message);
    while !message.is_empty() {
        let tag = message.tag().unwrap();
        let mut series = message.message().unwrap();
        while tag.field == 1 && !series.is_empty() {
            let tag = series.tag().unwrap();
            let mut data = series.message().unwrap();
            while !data.is_empty() {
                let inner = data.tag().unwrap();
                assert!(tag.field != 2 || inner.field <= 2, "field {} of a sample", inner.field);
                assert!(tag.field != 4 || inner.field <= 15, "field {} of a histogram", inner.field);
                data.skip(inner).unwrap();
            }
        }
    }
}

#[test]
fn w71_v2_to_v1_drops_start_times_tells_families_and_counts_custom_buckets() {
    bounded(async {
        let sink = receiver().await;
        let gateway = Setup::new().endpoint_with("a", &sink, V1).start().await;
        let mut started = series(&[("__name__", "requests_total")]).sample(1.0, 1_000).described(1, "How many.", "");
        started.samples[0] = Sample { start_timestamp: 500, ..started.samples[0] };
        let of_family = |name| series(&[("__name__", name)]).sample(1.0, 1_000).described(3, "How long.", "seconds");
        let custom = series(&[("__name__", "custom")]).histogram(custom_histogram(), 1_000);
        let native = series(&[("__name__", "native")]).histogram(integer_histogram(), 1_000);
        let can_say = [started, of_family("wait_seconds_sum"), of_family("wait_seconds_count"), native];
        let sent = request(can_say.iter().cloned().chain([custom]));
        assert_eq!(gateway.push(Protocol::V2, &sent).await.status, 204);
        gateway.settled().await;
        sink.wait_until(PATIENCE, |stats| stats.metadata >= 2).await.unwrap();
        assert_exactly(&sink, &points(&request(can_say)));

        let requests = sink.requests();
        let families: Vec<_> = requests.iter().flat_map(|received| received.request().unwrap().metadata).collect();
        let expected =
            [family("requests_total", 1, "How many.", ""), family("wait_seconds", 3, "How long.", "seconds")];
        assert_eq!(families, expected);
        for received in &requests {
            assert_no_v2_fields(&received.decoded);
        }
        let row = gateway.ledger("default", "a").await;
        assert_eq!(row.histograms.dropped.get("untranslatable"), Some(&1));
        assert_eq!(row.histograms.delivered, 1);
        let dropped = r#"writegate_dropped_histograms_total{tenant="default",endpoint="a",reason="untranslatable"}"#;
        assert_eq!(gateway.metric(dropped).await, 1.0);
        gateway.finish().await;
    });
}
