//! From one protocol to the other and back: nothing that both can say is lost, the rest is counted.

use remote_write::model::{Metadata, Request, Sample, Series};
use remote_write::wire::Reader;
use remote_write::{Compression, Protocol};
use testkit::endpoint::{Endpoint, EndpointSettings, Judge};

use crate::harness::{
    PATIENCE, Setup, TestGateway, assert_exactly, bounded, compress, raw_headers, receiver, receiver_that,
};
use crate::message::{With, custom_histogram, encode, everything, integer_histogram, points, request, series};

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
            let sorted = |series: &Series<'_>| series.labels.is_sorted_by(|a, b| a.name < b.name);
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

/// Pushes and waits until it is delivered, so that the next push is a later one for every delivery.
async fn deliver(gateway: &TestGateway, protocol: Protocol, request: &Request<'_>) {
    gateway.accept(protocol, request).await;
    gateway.settled().await;
}

/// What the series that a v2 endpoint got say of themselves: name, type, help, unit.
fn described(sink: &Endpoint) -> Vec<(String, i32, String, String)> {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let requests = sink.requests();
    assert!(requests.iter().all(|received| received.protocol == Protocol::V2));
    let of_series = |series: &Series<'_>| {
        let Metadata { kind, help, unit, .. } = series.metadata.unwrap_or_default();
        (text(series.labels[0].value), kind, text(help), text(unit))
    };
    requests
        .iter()
        .flat_map(|received| received.request().unwrap().series.iter().map(of_series).collect::<Vec<_>>())
        .collect()
}

fn of(name: &str, kind: i32, help: &str, unit: &str) -> (String, i32, String, String) {
    (name.to_owned(), kind, help.to_owned(), unit.to_owned())
}

#[test]
fn w72_v1_to_v2_says_what_earlier_metadata_requests_said_or_nothing() {
    bounded(async {
        let sink = receiver().await;
        let mut gateway = Setup::new().endpoint_with("a", &sink, V2).start().await;
        let families = |families: &[Metadata<'static>]| Request { metadata: families.to_vec(), ..Request::default() };
        let names = ["requests_total", "wait_seconds_bucket", "wait_seconds", "other_sum"];
        let at = |timestamp| request(names.map(|name| series(&[("__name__", name)]).sample(1.0, timestamp)));
        let nothing = names.map(|name| of(name, 0, "", ""));

        deliver(&gateway, Protocol::V1, &at(1_000)).await;
        assert_eq!(described(&sink), nothing, "nobody said anything yet");

        let told = families(&[
            family("requests_total", 1, "How many.", ""),
            family("wait_seconds", 3, "How long.", "seconds"),
        ]);
        deliver(&gateway, Protocol::V1, &told).await;
        deliver(&gateway, Protocol::V1, &at(2_000)).await;
        let known = [
            of("requests_total", 1, "How many.", ""),
            of("wait_seconds_bucket", 3, "How long.", "seconds"),
            of("wait_seconds", 3, "How long.", "seconds"),
            of("other_sum", 0, "", ""),
        ];
        assert_eq!(described(&sink)[4..], known);

        // The last word holds, and what a request says itself comes first.
        deliver(&gateway, Protocol::V1, &families(&[family("requests_total", 1, "Another word.", "")])).await;
        let own = Request { metadata: vec![family("other", 5, "Its own.", "")], ..at(3_000) };
        deliver(&gateway, Protocol::V1, &own).await;
        let latest = &described(&sink)[8..];
        assert_eq!(latest[0], of("requests_total", 1, "Another word.", ""));
        assert_eq!(latest[3], of("other_sum", 5, "Its own.", ""));

        // It is in memory only.
        gateway = gateway.restart().await;
        deliver(&gateway, Protocol::V1, &at(4_000)).await;
        assert_eq!(described(&sink)[12..], nothing);
        gateway.finish().await;
    });
}

#[test]
fn w72_what_one_tenant_says_of_families_describes_no_series_of_another() {
    bounded(async {
        let sink = receiver().await;
        let keys = format!("{V2}, tenant_header: X-Scope-OrgID");
        let gateway = Setup::new()
            .listener("tenant: default, tenant_from: [{header: X-Scope-OrgID}]")
            .endpoint_with("a", &sink, &keys)
            .start()
            .await;
        let sent = request([series(&[("__name__", "up")]).sample(1.0, 1_000)]);
        let told = Request { metadata: vec![family("up", 2, "Whether it is up.", "")], ..Request::default() };
        let mut headers = raw_headers(Protocol::V1);
        headers.push(("X-Scope-OrgID".to_owned(), "other".to_owned()));
        let headers: Vec<_> = headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let body = compress(Compression::Snappy, &encode(Protocol::V1, &told));
        assert_eq!(gateway.post(&headers, body).await.status, 204);
        deliver(&gateway, Protocol::V1, &sent).await;
        assert_eq!(described(&sink), [of("up", 0, "", "")]);
        gateway.finish().await;
    });
}

#[test]
fn w74_exemplars_in_a_series_of_their_own_never_make_a_strict_v2_endpoint_refuse_the_batch() {
    bounded(async {
        // As Cortex does: one series without samples or histograms costs the whole request.
        let is_bare = |series: &Series<'_>| series.samples.is_empty() && series.histograms.is_empty();
        let judge =
            Judge::new(400).all_or_nothing().refusing(move |series| is_bare(series).then(|| "no samples".into()));
        let sink = receiver_that(EndpointSettings { judge: Some(judge), ..EndpointSettings::default() }).await;
        let gateway = Setup::new().endpoint_with("a", &sink, V2).start().await;
        let up = [("__name__", "up")];
        for protocol in [Protocol::V1, Protocol::V2] {
            let sent = request([
                series(&up).sample(1.0, 1_000),
                series(&up).exemplar(1.0, 1_000),
                series(&[("__name__", "nowhere")]).exemplar(1.0, 1_000),
            ]);
            let answer = gateway.push(protocol, &sent).await;
            assert_eq!(answer.status, 204, "{}", answer.text());
        }
        gateway.settled().await;
        let row = gateway.ledger("default", "a").await;
        assert_eq!((row.samples.delivered, row.exemplars.delivered), (2, 2), "{row:?}");
        assert_eq!(row.exemplars.dropped.get("untranslatable"), Some(&2), "{row:?}");
        assert_eq!(sink.judged().refused_requests, 0);
        gateway.finish().await;
    });
}
