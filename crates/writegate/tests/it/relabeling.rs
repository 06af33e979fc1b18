//! Rules on the way to an endpoint, through the whole gateway: what they change, what they drop and how that is booked, and
//! that they turn no order around, not even where they make one series of two.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::time::Duration;

use http::{HeaderName, HeaderValue};
use remote_write::model::{Request, Series};
use remote_write::{Compression, Protocol};
use testkit::chaos::Chaos;
use testkit::endpoint::{Endpoint, Received};
use testkit::ledger::Point;
use testkit::sender::Sender;
use tokio::task::JoinSet;

use crate::harness::{PATIENCE, Setup, TestGateway, assert_exactly, bounded, compress, receiver, takes};
use crate::message::{With, encode, everything, integer_histogram, points, request, sample_of, series};

const V1: &str = "protobuf_message: prometheus.WriteRequest";
const V2: &str = "protobuf_message: io.prometheus.write.v2.Request";
const BOTH: [(Protocol, &str); 2] = [(Protocol::V1, V1), (Protocol::V2, V2)];

/// Rules of an endpoint, in YAML's flow style.
fn rules(rules: &[&str]) -> String {
    format!("write_relabel_configs: [{}]", rules.join(", "))
}

/// The label sets of everything that was taken, as `name{label="value",…}`, in the order of their arrival.
fn arrived(sink: &Endpoint) -> Vec<String> {
    sink.requests().iter().flat_map(labels_of).collect()
}

fn labels_of(received: &Received) -> Vec<String> {
    received.request().unwrap().series.iter().map(written).collect()
}

fn written(series: &Series<'_>) -> String {
    let mut text = String::new();
    for label in &series.labels {
        let [name, value] = [label.name, label.value].map(String::from_utf8_lossy);
        write!(text, "{}{name}={value}", if text.is_empty() { "" } else { "," }).unwrap();
    }
    text
}

/// What becomes of one series at an endpoint with these rules, in each protocol on either side; `None`: it is dropped.
async fn check(rule: &[&str], labels: &[(&str, &str)], expected: Option<&str>) {
    for (came, _) in BOTH {
        for (_, message) in BOTH {
            let sink = receiver().await;
            let keys = format!("{message}, {}", rules(rule));
            let gateway = Setup::new().endpoint_with("a", &sink, &keys).start().await;
            gateway.accept(came, &request([series(labels).sample(1.0, 1_000)])).await;
            gateway.settled().await;
            assert_eq!(arrived(&sink), Vec::from_iter(expected.map(str::to_owned)), "{rule:?} {came:?} {message}");
            let row = gateway.ledger("default", "a").await;
            let dropped = u64::from(expected.is_none());
            assert_eq!(row.samples.delivered, 1 - dropped, "{row:?}");
            assert_eq!(row.samples.dropped.get("relabel").copied().unwrap_or(0), dropped, "{row:?}");
            gateway.finish().await;
        }
    }
}

#[test]
fn w68_keep_and_drop_choose_series() {
    bounded(async {
        let labels = [("__name__", "up"), ("job", "api")];
        check(&["{source_labels: [job], regex: 'a.*', action: keep}"], &labels, Some("__name__=up,job=api")).await;
        check(&["{source_labels: [job], regex: 'b.*', action: keep}"], &labels, None).await;
        // Anchored on both sides, as Prometheus' expressions are.
        check(&["{source_labels: [job], regex: 'ap', action: drop}"], &labels, Some("__name__=up,job=api")).await;
        check(&["{source_labels: [__name__, job], regex: 'up;api', action: drop}"], &labels, None).await;
    });
}

#[test]
fn w68_replace_rewrites_labels_and_names_and_an_empty_value_removes() {
    bounded(async {
        let labels = [("__name__", "up"), ("instance", "node-7:9100"), ("job", "api")];
        let host = "{source_labels: [instance], regex: '(.+):.*', target_label: host, replacement: '$1'}";
        check(&[host], &labels, Some("__name__=up,host=node-7,instance=node-7:9100,job=api")).await;
        let rename = "{source_labels: [__name__], target_label: __name__, replacement: 'team_$1'}";
        let gone = "{target_label: instance, replacement: ''}";
        check(&[rename, gone], &labels, Some("__name__=team_up,job=api")).await;
    });
}

#[test]
fn w68_labeldrop_labelkeep_and_labelmap_change_the_set_of_names() {
    bounded(async {
        let labels = [("__name__", "up"), ("job", "api"), ("replica", "a")];
        check(&["{regex: replica, action: labeldrop}"], &labels, Some("__name__=up,job=api")).await;
        check(&["{regex: '__name__|job', action: labelkeep}"], &labels, Some("__name__=up,job=api")).await;
        let map = "{regex: 'rep(.*)', action: labelmap, replacement: 'r_$1'}";
        check(&[map], &labels, Some("__name__=up,job=api,r_lica=a,replica=a")).await;
    });
}

#[test]
fn w68_lowercase_uppercase_keepequal_and_dropequal_compare_and_write_as_prometheus_does() {
    bounded(async {
        let labels = [("__name__", "up"), ("job", "Api"), ("same", "Api")];
        let lower = "{source_labels: [job], target_label: low, action: lowercase}";
        let upper = "{source_labels: [job], target_label: job, action: uppercase}";
        check(&[lower, upper], &labels, Some("__name__=up,job=API,low=api,same=Api")).await;
        let equal = |action| format!("{{source_labels: [job], target_label: same, action: {action}}}");
        check(&[&equal("keepequal")], &labels, Some("__name__=up,job=Api,same=Api")).await;
        check(&[&equal("dropequal")], &labels, None).await;
        check(&[upper, &equal("keepequal")], &labels, None).await;
    });
}

/// Prometheus drops what has no label left (`storage/remote/queue_manager.go`, `StoreSeries`).
#[test]
fn w68_a_series_that_rules_leave_without_a_label_is_dropped() {
    bounded(check(&["{regex: nothing, action: labelkeep}"], &[("__name__", "up"), ("job", "api")], None));
}

/// The value is from Prometheus' own tests (`model/relabel/relabel_test.go`).
#[test]
fn w68_hashmod_computes_what_prometheus_computes() {
    bounded(async {
        let labels = [("__name__", "up"), ("c", "baz")];
        let shard = "{source_labels: [c], modulus: 1000, target_label: d, action: hashmod}";
        check(&[shard], &labels, Some("__name__=up,c=baz,d=976")).await;
        let other = "{source_labels: [d], regex: '976', action: drop}";
        check(&[shard, other], &labels, None).await;
    });
}

#[test]
fn w68_what_a_rule_drops_is_booked_by_kind_with_an_example_and_costs_no_request() {
    bounded(async {
        for (came, _) in BOTH {
            let sink = receiver().await;
            let keys = rules(&["{source_labels: [__name__], regex: 'debug_.*', action: drop}"]);
            let gateway = Setup::new().endpoint_with("a", &sink, &keys).start().await;
            let debug = [
                series(&[("__name__", "debug_calls"), ("who", "me")]).sample(1.0, 1_000).exemplar(1.0, 1_000),
                series(&[("__name__", "debug_seconds"), ("who", "me")]).histogram(integer_histogram(), 1_000),
            ];
            gateway.accept(came, &request(debug.clone())).await;
            gateway.settled().await;
            assert_eq!(sink.stats().requests, 0, "there is nothing to send");
            let up = sample_of("up", 1_000);
            gateway.accept(came, &request(debug.into_iter().chain([up.clone()]))).await;
            gateway.settled().await;
            assert_exactly(&sink, &points(&request([up])));

            let row = gateway.ledger("default", "a").await;
            let dropped = BTreeMap::from([("relabel".to_owned(), 2)]);
            for (book, delivered) in [(&row.samples, 1), (&row.histograms, 0), (&row.exemplars, 0)] {
                assert_eq!((book.delivered, &book.dropped, book.expired), (delivered, &dropped, 0), "{row:?}");
            }
            let example = &row.examples["relabel"];
            assert!(example.starts_with("debug_") && example.contains(r#"who="me""#), "{example}");
            for kind in ["samples", "histograms", "exemplars"] {
                let labels = r#"tenant="default",endpoint="a",reason="relabel""#;
                let counted = gateway.metric(&format!("writegate_dropped_{kind}_total{{{labels}}}")).await;
                assert_eq!(counted, 2.0, "{kind}");
            }
            gateway.finish().await;
        }
    });
}

#[test]
fn w68_each_endpoint_has_its_own_rules() {
    bounded(async {
        let (plain, eu, none) = (receiver().await, receiver().await, receiver().await);
        let gateway = Setup::new()
            .endpoint("plain", &plain)
            .endpoint_with("eu", &eu, &rules(&["{target_label: region, replacement: eu}"]))
            .endpoint_with("none", &none, &rules(&["{source_labels: [job], regex: test, action: drop}"]))
            .start()
            .await;
        for (protocol, timestamp) in [(Protocol::V1, 1_000), (Protocol::V2, 2_000)] {
            gateway.accept(protocol, &request([sample_of("up", timestamp)])).await;
            gateway.settled().await;
        }
        assert_eq!(arrived(&plain), ["__name__=up,job=test"; 2]);
        assert_eq!(arrived(&eu), ["__name__=up,job=test,region=eu"; 2]);
        assert_eq!(arrived(&none), Vec::<String>::new());
        gateway.finish().await;
    });
}

#[test]
fn w68_endpoints_with_the_same_rules_get_the_same_bytes() {
    bounded(async {
        let sinks = [receiver().await, receiver().await, receiver().await];
        let same = rules(&["{source_labels: [__name__], target_label: team}", "{regex: utf8, action: labeldrop}"]);
        let other = rules(&["{source_labels: [__name__], target_label: group}", "{regex: utf8, action: labeldrop}"]);
        let gateway = Setup::new()
            .endpoint_with("one", &sinks[0], &same)
            .endpoint_with("two", &sinks[1], &same)
            .endpoint_with("other", &sinks[2], &other)
            .start()
            .await;
        for (protocol, timestamp) in [(Protocol::V1, 1_000), (Protocol::V2, 2_000)] {
            gateway.accept(protocol, &everything(timestamp)).await;
            gateway.settled().await;
        }
        let bodies = sinks.each_ref().map(|sink| Vec::from_iter(sink.requests().into_iter().map(|one| one.decoded)));
        assert_eq!(bodies[0].len(), 2);
        assert_eq!(bodies[0], bodies[1]);
        assert_ne!(bodies[0], bodies[2], "what is shared is shared among the same rules only");
        gateway.finish().await;
    });
}

#[test]
fn w68_rules_leave_values_histograms_and_exemplars_as_they_are() {
    bounded(async {
        for (came, _) in BOTH {
            for (_, message) in BOTH {
                let sink = receiver().await;
                let keys = format!("{message}, {}", rules(&["{target_label: region, replacement: eu}"]));
                let gateway = Setup::new().endpoint_with("a", &sink, &keys).start().await;
                let sent = everything(1_000);
                gateway.accept(came, &sent).await;
                gateway.settled().await;
                let region = series(&[("region", "eu")]).labels[0];
                let mut expected = sent;
                expected.series.iter_mut().for_each(|series| series.labels.push(region));
                assert_exactly(&sink, &points(&expected));
                gateway.finish().await;
            }
        }
    });
}

fn tenants(line: &str) -> Setup {
    let listener = "tenant: default, tenant_from: [{header: x-tenant}]";
    Setup::new().listener(listener).top(&format!("tenants: [{line}, {{name: '*'}}]"))
}

fn sender_of(gateway: &TestGateway, tenant: &str) -> Sender {
    gateway.sender().with_header(HeaderName::from_static("x-tenant"), HeaderValue::from_str(tenant).unwrap())
}

pub(crate) async fn accept_from(sender: &Sender, protocol: Protocol, request: &Request<'_>) {
    let body = compress(Compression::Snappy, &encode(protocol, request));
    let answer = sender.push(protocol, Compression::Snappy, body).await.unwrap();
    assert_eq!(answer.status, 204, "{}", answer.text());
}

#[test]
fn w68_external_labels_are_added_where_a_series_does_not_say_it_itself_and_rules_see_them() {
    bounded(async {
        let sink = receiver().await;
        let gateway = tenants(
            "{name: blue, external_labels: {team: blue, zone: z1}, \
             write_relabel_configs: [{source_labels: [zone], target_label: place}]}",
        )
        .endpoint_with("a", &sink, &rules(&["{regex: zone, action: labeldrop}"]))
        .start()
        .await;
        for (protocol, timestamp) in [(Protocol::V1, 1_000), (Protocol::V2, 2_000)] {
            let own = series(&[("__name__", "own"), ("team", "its own")]).sample(1.0, timestamp);
            let sent = request([own, sample_of("up", timestamp)]);
            accept_from(&sender_of(&gateway, "blue"), protocol, &sent).await;
            gateway.settled().await;
        }
        accept_from(&sender_of(&gateway, "red"), Protocol::V1, &request([sample_of("up", 1_000)])).await;
        gateway.settled().await;
        let of_blue = ["__name__=own,place=z1,team=its own", "__name__=up,job=test,place=z1,team=blue"];
        let expected: Vec<&str> = of_blue.into_iter().chain(of_blue).chain(["__name__=up,job=test"]).collect();
        assert_eq!(arrived(&sink), expected);
        gateway.finish().await;
    });
}

#[test]
fn w68_the_tenant_label_says_the_tenants_id_whatever_the_series_says() {
    bounded(async {
        let sink = receiver().await;
        let gateway = tenants("{name: blue, id: '4711', external_labels: {tenant: red}}")
            .endpoint_with("a", &sink, "tenant_label: tenant")
            .start()
            .await;
        for (protocol, timestamp) in [(Protocol::V1, 1_000), (Protocol::V2, 2_000)] {
            let spoofed = series(&[("__name__", "spoofed"), ("tenant", "red")]).sample(1.0, timestamp);
            let sent = request([spoofed, sample_of("up", timestamp)]);
            accept_from(&sender_of(&gateway, "blue"), protocol, &sent).await;
            accept_from(&sender_of(&gateway, "green"), protocol, &sent).await;
            gateway.settled().await;
        }
        let arrived: BTreeSet<String> = arrived(&sink).into_iter().collect();
        let expected = ["4711", "green"]
            .map(|id| [format!("__name__=spoofed,tenant={id}"), format!("__name__=up,job=test,tenant={id}")]);
        assert_eq!(arrived, expected.into_iter().flatten().collect());
        gateway.finish().await;
    });
}

#[test]
fn w68_r_o9_the_tenant_header_carries_the_tenants_id_and_never_what_the_sender_said() {
    bounded(async {
        let (sink, thanos) = (receiver().await, receiver().await);
        // An endpoint of Observatorium's list gets the header that Thanos reads.
        let list = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(&list, format!("- name: thanos\n  url: {}\n", thanos.url())).unwrap();
        let setup = tenants("{name: blue, id: '4711'}").endpoint_with("a", &sink, "tenant_header: X-Scope-OrgID");
        let gateway = setup.top(&format!("remote_write_files: ['{}']", list.path().display())).start().await;
        for (tenant, id, timestamp) in [("blue", "4711", 1_000), ("green", "green", 2_000)] {
            let forged = HeaderValue::from_static("forged");
            let mut sender = sender_of(&gateway, tenant);
            for name in ["x-scope-orgid", "thanos-tenant"] {
                sender = sender.with_header(HeaderName::from_static(name), forged.clone());
            }
            accept_from(&sender, Protocol::V1, &request([sample_of("up", timestamp)])).await;
            gateway.settled().await;
            let received = sink.requests().pop().unwrap();
            let sent: Vec<_> = received.headers.get_all("x-scope-orgid").iter().collect();
            assert_eq!(sent, [id], "{tenant}");
            assert_eq!(received.header("thanos-tenant"), None);
            let received = thanos.requests().pop().unwrap();
            let sent: Vec<_> = received.headers.get_all("thanos-tenant").iter().collect();
            assert_eq!(sent, [id], "{tenant}");
            assert_eq!(received.header("x-scope-orgid"), None);
        }
        gateway.finish().await;
    });
}

#[test]
fn r_o8_an_endpoint_gets_protocol_headers_its_own_credentials_and_configured_headers_and_none_of_the_senders() {
    bounded(async {
        let sink = receiver().await;
        let keys = "authorization: {credentials: its-own}, headers: {X-Team: blue}";
        let gateway = Setup::new().endpoint_with("a", &sink, keys).start().await;
        let mut sender = gateway.sender();
        for name in [
            "authorization",
            "cookie",
            "x-forwarded-for",
            "x-forwarded-proto",
            "forwarded",
            "via",
            "te",
            "traceparent",
            "x-scope-orgid",
            "x-team",
            "retry-attempt",
        ] {
            sender = sender.with_header(HeaderName::from_static(name), HeaderValue::from_static("the-senders"));
        }
        for (protocol, version) in [(Protocol::V1, "0.1.0"), (Protocol::V2, "2.0.0")] {
            accept_from(&sender, protocol, &request([sample_of("up", 1_000)])).await;
            gateway.settled().await;
            let received = sink.requests().pop().unwrap();
            let names: BTreeSet<&str> = received.headers.keys().map(HeaderName::as_str).collect();
            let own = ["authorization", "content-encoding", "content-length", "content-type", "host", "user-agent"];
            let own = own.into_iter().chain(["x-prometheus-remote-write-version", "x-team"]);
            assert_eq!(names, own.collect::<BTreeSet<_>>());
            assert_eq!(received.header("authorization"), Some("Bearer its-own"));
            assert_eq!(received.header("x-team"), Some("blue"));
            assert_eq!(received.header("x-prometheus-remote-write-version"), Some(version));
        }
        gateway.finish().await;
    });
}

/// The tenants' series are told apart by nothing but the label: without it they would be merged and their order lost.
#[test]
fn w68_a_batch_never_mixes_tenants() {
    bounded(async {
        let sink = receiver().await;
        let gateway = tenants("{name: blue}").endpoint_with("a", &sink, "tenant_header: X-Scope-OrgID").start().await;
        gateway.is_down(&sink).await;
        for timestamp in 1..=10 {
            for tenant in ["blue", "green"] {
                let name = format!("of_{tenant}");
                accept_from(&sender_of(&gateway, tenant), Protocol::V1, &request([sample_of(&name, timestamp)])).await;
            }
        }
        sink.start().await.unwrap();
        takes(&sink, 21).await;
        for received in sink.requests() {
            let tenant = received.header("x-scope-orgid").unwrap().to_owned();
            let own = format!("__name__=of_{tenant},job=test");
            let names = labels_of(&received);
            assert!(tenant == "default" || names.iter().all(|labels| *labels == own), "{tenant}: {names:?}");
        }
        gateway.settle_and_finish().await;
    });
}

/// How many senders push at once where rules merge their series.
const SENDERS: usize = 16;
const ROUNDS: i64 = 40;

/// Pushes what a replica says: several replicas say the same thing in turn, one series each, that rules make one of.
async fn push_replica(sender: &Sender, protocol: Protocol, number: usize, which: &str, timestamp: i64) {
    let number = number.to_string();
    let labels = [("__name__", "merged"), ("replica", which), ("sender", &number)];
    accept_from(sender, protocol, &request([series(&labels).sample(1.0, timestamp)])).await;
}

async fn merged_in_order(protocol: Protocol, message: &str, rule: &str) {
    let (slow, twin) = (receiver().await, receiver().await);
    let chaos = Chaos::seeded(fastrand::u64(..)).delays_up_to(Duration::from_millis(20)).unavailable(0.05);
    let seed = chaos.seed();
    slow.answer_with(move |_| chaos.reply());
    let keys = format!("{message}, {}, queue_config: {{min_backoff: 5ms, max_backoff: 20ms}}", rules(&[rule]));
    let gateway = Setup::new().endpoint_with("slow", &slow, &keys).endpoint_with("twin", &twin, &keys).start().await;
    let mut senders = JoinSet::new();
    for number in 0..SENDERS {
        let sender = gateway.sender();
        senders.spawn(async move {
            for timestamp in 0..ROUNDS {
                let which = ["a", "b"][timestamp as usize % 2];
                push_replica(&sender, protocol, number, which, timestamp).await;
            }
        });
    }
    while let Some(ended) = senders.join_next().await {
        ended.unwrap();
    }
    gateway.settled().await;
    let mut expected: Vec<Point> = Vec::new();
    for number in 0..SENDERS {
        let number = number.to_string();
        let merged = series(&[("__name__", "merged"), ("sender", number.as_str())]);
        let all = (0..ROUNDS).fold(merged, |merged, timestamp| merged.sample(1.0, timestamp));
        expected.extend(points(&request([all])));
    }
    for sink in [&slow, &twin] {
        sink.ledger(|ledger| {
            assert_eq!(ledger.missing(expected.iter().copied()), [], "{protocol:?}, seed {seed}");
            assert_eq!(ledger.out_of_order(), [], "{protocol:?}, seed {seed}");
            assert_eq!(ledger.series(), SENDERS);
        });
    }
    gateway.finish().await;
}

#[test]
fn w52_rules_that_merge_two_series_keep_the_order_in_which_their_samples_were_accepted() {
    bounded(async {
        for (protocol, message) in BOTH {
            merged_in_order(protocol, message, "{regex: replica, action: labeldrop}").await;
        }
    });
}

#[test]
fn w52_series_that_are_merged_out_of_a_backlog_keep_their_order_too() {
    bounded(async {
        let sink = receiver().await;
        let keys = rules(&["{regex: replica, action: labeldrop}"]);
        let gateway = Setup::new().endpoint_with("a", &sink, &keys).start().await;
        gateway.is_down(&sink).await;
        for timestamp in 0..60 {
            let which = ["a", "b", "c"][timestamp as usize % 3];
            push_replica(&gateway.sender(), Protocol::V1, 0, which, timestamp).await;
        }
        sink.start().await.unwrap();
        sink.wait_until(PATIENCE, |stats| stats.taken.samples >= 61).await.unwrap();
        sink.ledger(|ledger| {
            assert_eq!((ledger.out_of_order(), ledger.conflicts()), ([].as_slice(), [].as_slice()));
            assert_eq!(ledger.series(), 2);
        });
        for received in sink.requests() {
            let labels = labels_of(&received);
            let distinct: BTreeSet<&String> = labels.iter().collect();
            assert_eq!(distinct.len(), labels.len(), "a series of one request comes from one record: {labels:?}");
        }
        gateway.settle_and_finish().await;
    });
}

#[test]
fn w52_series_of_one_request_that_are_merged_keep_their_order() {
    bounded(async {
        for (came, _) in BOTH {
            for (_, message) in BOTH {
                let sink = receiver().await;
                let keys = format!("{message}, {}", rules(&["{regex: replica, action: labeldrop}"]));
                let gateway = Setup::new().endpoint_with("a", &sink, &keys).start().await;
                let replica =
                    |which, timestamp| series(&[("__name__", "merged"), ("replica", which)]).sample(1.0, timestamp);
                for first in [1, 11] {
                    let sent =
                        ["b", "a", "c"].into_iter().zip(first..).map(|(which, timestamp)| replica(which, timestamp));
                    gateway.accept(came, &request(sent)).await;
                }
                gateway.settled().await;
                let merged = series(&[("__name__", "merged")]);
                let expected =
                    [1, 2, 3, 11, 12, 13].into_iter().fold(merged, |merged, timestamp| merged.sample(1.0, timestamp));
                assert_exactly(&sink, &points(&request([expected])));
                assert_eq!(gateway.ledger("default", "a").await.samples.delivered, 6);
                gateway.finish().await;
            }
        }
    });
}

/// The rules change while data waits: what is sent afterwards follows the new ones, in order.
#[test]
fn w65_rules_changed_by_a_reload_hold_for_what_is_still_in_the_log() {
    bounded(async {
        let sink = receiver().await;
        let setup = |region: &str| {
            let rule = format!("{{target_label: region, replacement: {region}}}");
            Setup::new().endpoint_with("a", &sink, &rules(&[&rule]))
        };
        let mut gateway = setup("eu").start().await;
        gateway.accept(Protocol::V1, &request([sample_of("up", 1_000)])).await;
        gateway.settled().await;
        gateway.is_down(&sink).await;
        gateway.accept(Protocol::V1, &request([sample_of("up", 2_000)])).await;
        gateway.reload(setup("us")).await;
        sink.start().await.unwrap();
        gateway.settled().await;
        let of_up: Vec<String> = arrived(&sink).into_iter().filter(|labels| labels.contains("=up,")).collect();
        assert_eq!(of_up, ["__name__=up,job=test,region=eu", "__name__=up,job=test,region=us"]);
        gateway.finish().await;
    });
}

/// Rules see a series' labels sorted whatever its sender did, and what they make is sorted again.
#[test]
fn w68_what_rules_make_is_sorted() {
    bounded(async {
        let sink = receiver().await;
        let keys = rules(&["{target_label: AAA, replacement: first}", "{target_label: zzz, replacement: last}"]);
        let gateway = Setup::new().endpoint_with("a", &sink, &keys).start().await;
        let unsorted = series(&[("job", "test"), ("b", "1"), ("__name__", "unsorted")]).sample(1.0, 1_000);
        for protocol in [Protocol::V1, Protocol::V2] {
            gateway.accept(protocol, &request([unsorted.clone()])).await;
            gateway.settled().await;
        }
        assert_eq!(arrived(&sink), ["AAA=first,__name__=unsorted,b=1,job=test,zzz=last"; 2]);
        gateway.finish().await;
    });
}

#[test]
fn w68_a_tenants_rules_drop_for_every_endpoint_and_are_booked_at_each() {
    bounded(async {
        let sinks = [receiver().await, receiver().await];
        let gateway = tenants(
            "{name: blue, write_relabel_configs: [{source_labels: [__name__], regex: 'debug_.*', action: drop}]}",
        )
        .endpoint("a", &sinks[0])
        .endpoint("b", &sinks[1])
        .start()
        .await;
        let sent = request([sample_of("debug_up", 1_000), sample_of("up", 1_000)]);
        accept_from(&sender_of(&gateway, "blue"), Protocol::V1, &sent).await;
        accept_from(&sender_of(&gateway, "green"), Protocol::V1, &sent).await;
        gateway.settled().await;
        for (endpoint, sink) in ["a", "b"].into_iter().zip(&sinks) {
            assert_eq!(sink.stats().taken.samples, 3);
            let blue = gateway.ledger("blue", endpoint).await.samples;
            assert_eq!((blue.delivered, blue.dropped.get("relabel")), (1, Some(&1)));
            let green = gateway.ledger("green", endpoint).await.samples;
            assert_eq!((green.delivered, green.dropped.len()), (2, 0));
        }
        gateway.finish().await;
    });
}
