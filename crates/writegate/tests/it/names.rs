//! Names outside what Prometheus took before 3.0: they pass, unless an endpoint is to get them escaped or not at all.

use std::collections::BTreeSet;

use remote_write::Protocol;
use remote_write::model::{Exemplar, Label, Metadata, Request};
use testkit::endpoint::Endpoint;

use crate::harness::{Setup, assert_exactly, bounded, receiver};
use crate::message::{With, integer_histogram, points, request, series};

/// Every name that an endpoint got: of metrics, labels, exemplars' labels and families.
fn names(endpoint: &Endpoint) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    let mut add = |name: &[u8]| names.extend([String::from_utf8(name.to_vec()).unwrap()]);
    for received in endpoint.requests() {
        let request = received.request().unwrap();
        for series in &request.series {
            series.exemplars.iter().flat_map(|exemplar| &exemplar.labels).for_each(|label| add(label.name));
            for label in &series.labels {
                add(if label.name == b"__name__" { label.value } else { label.name });
            }
        }
        request.metadata.iter().for_each(|metadata| add(metadata.family));
    }
    names
}

fn texts(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

fn exemplar(name: &'static str) -> Exemplar<'static> {
    let labels = vec![Label { name: name.as_bytes(), value: b"0af7651916cd43dd" }];
    Exemplar { labels, value: 0.5, timestamp: 1_000, bad_reference: false }
}

fn family(name: &'static str) -> Metadata<'static> {
    Metadata { kind: 1, family: name.as_bytes(), help: b"How many.", unit: b"" }
}

/// Foreign names wherever there can be one, and a series of plain ones.
fn foreign() -> Request<'static> {
    let mut traced = series(&[("__name__", "traced")]).sample(3.0, 1_000);
    traced.exemplars = vec![exemplar("trace.id")];
    let all = [
        series(&[("__name__", "http.requests"), ("k8s.pod", "ä")]).sample(1.0, 1_000),
        series(&[("__name__", "wait"), ("a-b", "1"), ("a.b", "2")]).histogram(integer_histogram(), 1_000),
        traced,
        series(&[("__name__", "plain:sum"), ("job_name", "x")]).sample(2.0, 1_000).exemplar(0.5, 1_000),
    ];
    Request { metadata: vec![family("http.requests"), family("plain")], ..request(all) }
}

#[test]
fn r_x20_utf8_names_of_metrics_labels_and_families_pass() {
    bounded(async {
        for (came_in, goes_out) in [("v1", "prometheus.WriteRequest"), ("v2", "io.prometheus.write.v2.Request")] {
            let sink = receiver().await;
            let keys = format!("protobuf_message: {goes_out}");
            let gateway = Setup::new().endpoint_with("a", &sink, &keys).start().await;
            let protocol = if came_in == "v1" { Protocol::V1 } else { Protocol::V2 };
            gateway.accept(protocol, &foreign()).await;
            gateway.settled().await;
            assert_exactly(&sink, &points(&foreign()));
            assert!(names(&sink).contains("http.requests") && names(&sink).contains("trace.id"));
            gateway.finish().await;
        }
    });
}

#[test]
fn r_x20_each_endpoint_gets_names_as_it_is_told_to() {
    bounded(async {
        let plain = ["job_name", "plain", "plain:sum", "trace_id", "traced", "wait"];
        let cases = [
            ("allow-utf-8", &["a-b", "a.b", "http.requests", "k8s.pod", "trace.id"][..], &plain[..]),
            ("underscores", &["a_b", "http_requests", "k8s_pod"], &plain),
            (
                "dots",
                &["a__b", "a_dot_b", "http_dot_requests", "k8s_dot_pod", "trace_dot_id", "job__name", "trace__id"],
                &["plain", "plain:sum", "traced", "wait"],
            ),
            ("values", &["U__a_2d_b", "U__a_2e_b", "U__http_2e_requests", "U__k8s_2e_pod", "U__trace_2e_id"], &plain),
        ];
        let mut sinks = Vec::new();
        let mut setup = Setup::new();
        for (scheme, _, _) in cases {
            let sink = receiver().await;
            setup = setup.endpoint_with(scheme, &sink, &format!("metric_name_escaping_scheme: {scheme}"));
            sinks.push(sink);
        }
        let gateway = setup.start().await;
        gateway.accept(Protocol::V1, &foreign()).await;
        gateway.settled().await;
        for ((scheme, changed, same), sink) in cases.iter().zip(&sinks) {
            assert_eq!(names(sink), texts(&[*changed, *same].concat()), "{scheme}");
            let row = gateway.ledger("default", scheme).await;
            assert_eq!(
                (row.samples.delivered, row.histograms.delivered, row.exemplars.delivered),
                (3, 1, 2),
                "{scheme}"
            );
        }
        gateway.finish().await;
    });
}

fn assert_legacy(sink: &Endpoint) {
    for name in names(sink) {
        let fits = |(index, letter): (usize, char)| {
            letter.is_ascii_alphabetic() || letter == '_' || letter == ':' || (letter.is_ascii_digit() && index > 0)
        };
        assert!(name.char_indices().all(fits), "{name} was sent raw");
    }
}

#[test]
fn w73_no_name_is_sent_raw_whatever_rules_and_protocols_make_of_it() {
    bounded(async {
        let rules = "write_relabel_configs: [{target_label: 'from.rule', replacement: x}], tenant_label: 'tenant.id'";
        for protocol in ["prometheus.WriteRequest", "io.prometheus.write.v2.Request"] {
            for scheme in ["underscores", "dots", "values"] {
                let sink = receiver().await;
                let keys = format!("{rules}, protobuf_message: {protocol}, metric_name_escaping_scheme: {scheme}");
                let gateway = Setup::new()
                    .endpoint_with("a", &sink, &keys)
                    .top("tenants: [{name: default, external_labels: {'external.label': y}}]")
                    .start()
                    .await;
                for came_in in [Protocol::V1, Protocol::V2] {
                    gateway.accept(came_in, &foreign()).await;
                }
                gateway.settled().await;
                assert_legacy(&sink);
                let row = gateway.ledger("default", "a").await;
                assert_eq!((row.samples.delivered, row.exemplars.delivered), (6, 4), "{protocol} {scheme}");
                gateway.finish().await;
            }
        }
    });
}

#[test]
fn w73_labels_that_get_one_name_become_one_label_of_all_their_values() {
    bounded(async {
        let sink = receiver().await;
        let gateway = Setup::new().endpoint_with("a", &sink, "metric_name_escaping_scheme: underscores").start().await;
        let before = series(&[("__name__", "up"), ("a-b", "1"), ("a.b", "2"), ("a_b", "3")]).sample(1.0, 1_000);
        gateway.accept(Protocol::V2, &request([before])).await;
        gateway.settled().await;
        let after = series(&[("__name__", "up"), ("a_b", "1;2;3")]).sample(1.0, 1_000);
        assert_exactly(&sink, &points(&request([after])));
        gateway.finish().await;
    });
}

#[test]
fn w73_what_has_such_names_is_dropped_and_booked_where_they_are_not_wanted() {
    bounded(async {
        for protocol in [Protocol::V1, Protocol::V2] {
            let sink = receiver().await;
            let gateway = Setup::new().endpoint_with("a", &sink, "metric_name_escaping_scheme: drop").start().await;
            gateway.accept(protocol, &foreign()).await;
            gateway.settled().await;
            assert_legacy(&sink);
            let row = gateway.ledger("default", "a").await;
            assert_eq!((row.samples.delivered, row.samples.dropped.get("relabel")), (2, Some(&1)));
            assert_eq!((row.histograms.delivered, row.histograms.dropped.get("relabel")), (0, Some(&1)));
            assert_eq!((row.exemplars.delivered, row.exemplars.dropped.get("relabel")), (1, Some(&1)));
            gateway.finish().await;
        }
    });
}
