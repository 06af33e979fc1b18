//! The real OpenTelemetry Collector in front of the gateway, with each exporter that its users have. All get the same
//! points from it; all must arrive, and say the same.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method};
use remote_write::model::Histogram;
use serde_json::{Value as Json, json};
use testkit::endpoint::{Endpoint, EndpointSettings, Keep};
use testkit::peers::Peer;
use testkit::process::{Process, free_port};
use testkit::sender::Sender;

use crate::gateway::{self, Gateway, unbalanced};
use crate::http::settled;
use crate::peers::{found, free_base};
use crate::samples::metric;
use crate::secured::issue;

/// How long all of it may take.
const LIMIT: Duration = Duration::from_secs(90);
/// How many times each series says something, once a second by its own clock.
const ROUNDS: u64 = 20;
/// An exporter's name in the configuration, and that of its certificate, by which the gateway knows its tenant.
const EXPORTERS: [(&str, &str); 3] =
    [("prometheusremotewrite", "remote-write"), ("otlphttp", "otlp-http"), ("otlp", "otlp-grpc")];

#[test]
fn the_opentelemetry_collector_delivers_all_by_each_of_its_exporters_over_mutual_tls() {
    let directory = tempfile::tempdir().expect("a directory");
    let binary = gateway::binary();
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let run = async { tokio::time::timeout(2 * LIMIT, run(&binary, directory.path())).await };
    runtime.block_on(run).expect("it ends in time");
}

async fn run(binary: &Path, directory: &Path) {
    let Some(mut command) = found(Peer::OtelCollector) else { return };
    issue(directory, &EXPORTERS.map(|(_, client)| client));
    let sink = Endpoint::launch(EndpointSettings { keep: Keep::Requests, ..EndpointSettings::default() });
    let sink = sink.await.expect("an endpoint");
    let port = free_port().expect("a free port");
    let keys = format!(
        "listeners:\n- address: 127.0.0.1:{port}\n  otlp: true\n  grpc: true\n  tls_config: {{cert_file: server.crt, key_file: server.key, \
         client_auth: require, client_ca_file: ca.crt}}\nauthentication: [{{client_certificate: {{pattern: \
         \"{{tenant}}.agents.example.org\"}}}}]\ntenants: [{{name: \"*\"}}]\notlp: \
         {{promote_scope_metadata: true}}\n"
    );
    let endpoint = format!("name: sink, url: \"{}\", tenant_header: X-Scope-OrgID", sink.url());
    let gateway = Gateway::start_on(binary, directory, &keys, &[endpoint]).await;

    let (input, own) = (free_base(), free_base());
    let config = directory.join("collector.yml");
    std::fs::write(&config, configuration(directory, port, &input, &own)).expect("the configuration is written");
    command.arg(format!("--config={}", config.display()));
    let mut process = Process::start(command, &directory.join("collector.log")).expect("the collector starts");
    process.ready(&format!("{own}/metrics"), LIMIT).await.expect("the collector becomes ready");

    let collected = Sender::new(&format!("{input}/v1/metrics")).expect("an url");
    // It answers for its metrics before it receives any.
    let connects = async || collected.get().await.err().map(|error| error.to_string());
    assert_eq!(settled(Instant::now() + LIMIT, connects).await, None);
    let mut headers = HeaderMap::new();
    headers.insert(http::header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    for round in 1..=ROUNDS {
        let answer =
            collected.send(Method::POST, headers.clone(), Bytes::from(points(round))).await.expect("an answer");
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
    let started = Instant::now();
    let log = || process.log().unwrap_or_default();
    let mut ticks = tokio::time::interval(Duration::from_millis(200));
    let heard = loop {
        ticks.tick().await;
        let heard = heard(&sink);
        if EXPORTERS.iter().all(|(_, tenant)| heard.get(*tenant).is_some_and(is_complete)) {
            break heard;
        }
        assert!(started.elapsed() < LIMIT, "{heard:#?}\n{}\n{}", log(), gateway.metrics().await);
    };
    // The collector translates for remote write, the gateway what comes by OTLP: both by the same rules. (The collector's scope
    // is labels by default, Prometheus' is not.)
    let first = &heard[EXPORTERS[0].1];
    for (exporter, tenant) in EXPORTERS {
        let said = &heard[tenant];
        let differ = first.keys().chain(said.keys()).find(|series| first.get(*series) != said.get(*series));
        let told = |series: &Series| differ.map(|name| (name, series.get(name).cloned()));
        assert!(differ.is_none(), "{exporter}:\n{:#?}\n{:#?}", told(first), told(said));
    }
    let told = crate::http::get(&format!("{own}/metrics")).await;
    for failed in
        ["otelcol_exporter_send_failed_metric_points_total", "otelcol_exporter_enqueue_failed_metric_points_total"]
    {
        assert_eq!(metric(&told, failed, &[]).unwrap_or(0.0), 0.0, "{failed}\n{}", log());
    }
    drop(process);
    let endpoints = EXPORTERS.map(|_| "sink");
    while let Some(problem) = unbalanced(&gateway.ledger().await, &endpoints) {
        assert!(started.elapsed() < LIMIT, "{problem}");
        ticks.tick().await;
    }
}

/// What is known of each series, by the times in its points.
type Series = BTreeMap<String, BTreeMap<i64, String>>;

/// What the endpoint was told, by tenant.
fn heard(sink: &Endpoint) -> BTreeMap<String, Series> {
    let mut heard: BTreeMap<String, Series> = BTreeMap::new();
    for received in sink.requests() {
        let tenant = received.header("x-scope-orgid").expect("a tenant").to_owned();
        let all = heard.entry(tenant).or_default();
        for series in received.request().expect("a request").series {
            let labels = series.labels.iter().filter(|label| label.name != EXTERNAL.as_bytes());
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            let labels: Vec<String> =
                labels.map(|label| format!("{}={:?}", text(label.name), text(label.value))).collect();
            let known = all.entry(labels.join(",")).or_default();
            known.extend(series.samples.iter().map(|sample| (sample.timestamp, format!("{:?}", sample.value))));
            known.extend(series.histograms.into_iter().map(|histogram| {
                let timestamp = histogram.timestamp;
                // Remote write 1.0 has no start.
                (timestamp, format!("{:?}", Histogram { start_timestamp: 0, ..histogram }))
            }));
        }
    }
    heard
}

/// Whether of each metric everything is there.
fn is_complete(series: &Series) -> bool {
    METRICS.iter().all(|name| {
        let name = format!("__name__=\"{name}\"");
        let mut those = series.iter().filter(|(labels, _)| labels.split(',').any(|label| label == name)).peekable();
        those.peek().is_some() && those.all(|(_, points)| points.len() == ROUNDS as usize)
    })
}

/// What the points below become.
const METRICS: [&str; 11] = [
    "http_server_requests_total",
    "process_memory_bytes",
    "cpu_utilization_ratio",
    "queue_length",
    "rpc_duration_milliseconds_bucket",
    "rpc_duration_milliseconds_sum",
    "rpc_duration_milliseconds_count",
    "payload_size_bytes",
    "gc_pause_seconds",
    "gc_pause_seconds_count",
    "target_info",
];

/// What an application's SDK says once a second, in OTLP's JSON form.
fn points(round: u64) -> String {
    let (start, now) = (1_760_000_000_000_000_000_u64, 1_760_000_000_000_000_000 + round * 1_000_000_000);
    let factor = round as f64;
    let attributes = |pairs: &[(&str, &str)]| -> Json {
        pairs.iter().map(|(key, value)| json!({"key": key, "value": {"stringValue": value}})).collect()
    };
    let point = |mut fields: Json| {
        fields["startTimeUnixNano"] = start.to_string().into();
        fields["timeUnixNano"] = now.to_string().into();
        fields
    };
    let metric = |name: &str, unit: &str, kind: &str, mut data: Json, points: Vec<Json>| {
        data["dataPoints"] = points.into_iter().map(point).collect();
        json!({"name": name, "unit": unit, "description": format!("Of {name}."), kind: data})
    };
    let get = attributes(&[("http.method", "GET"), ("http.status_code", "200")]);
    let post = attributes(&[("http.method", "POST"), ("url.path", "/a b")]);
    let requests = vec![
        json!({"attributes": get, "asInt": (round * 3).to_string()}),
        json!({"attributes": post, "asInt": round.to_string()}),
    ];
    let duration = json!({
        "count": (round * 3).to_string(),
        "sum": factor * 12.5,
        "bucketCounts": [round.to_string(), round.to_string(), "0", round.to_string()],
        "explicitBounds": [0.5, 10, 250],
    });
    let size = json!({
        "count": (round * 3 + 1).to_string(),
        "sum": factor * 9.75,
        "scale": 3,
        "zeroCount": round.to_string(),
        "positive": {"offset": -2, "bucketCounts": [round.to_string(), "0", "0", "0", round.to_string(), "1"]},
        "negative": {},
    });
    let pause = json!({
        "count": round.to_string(),
        "sum": factor * 0.5,
        "quantileValues": [{"quantile": 0.5, "value": 0.125}, {"quantile": 0.99, "value": 1.5}],
    });
    let cumulative = || json!({"aggregationTemporality": 2});
    let monotonic = json!({"aggregationTemporality": 2, "isMonotonic": true});
    let metrics = json!([
        metric("http.server.requests", "{request}", "sum", monotonic, requests),
        metric("process.memory", "By", "gauge", json!({}), vec![json!({"asInt": (1000 + round).to_string()})]),
        metric("cpu.utilization", "1", "gauge", json!({}), vec![json!({"asDouble": 0.25 / factor})]),
        metric("queue.length", "{item}", "sum", cumulative(), vec![json!({"asInt": (round % 7).to_string()})]),
        metric("rpc.duration", "ms", "histogram", cumulative(), vec![duration]),
        metric("payload.size", "By", "exponentialHistogram", cumulative(), vec![size]),
        metric("gc.pause", "s", "summary", json!({}), vec![pause]),
    ]);
    let resource = attributes(&[
        ("service.name", "shop"),
        ("service.namespace", "eu"),
        ("service.instance.id", "shop-0"),
        ("host.name", "machine"),
    ]);
    let scope = json!({"scope": {"name": "library", "version": "1.0"}, "metrics": metrics});
    json!({"resourceMetrics": [{"resource": {"attributes": resource}, "scopeMetrics": [scope]}]}).to_string()
}

/// The label that the remote write exporter adds.
const EXTERNAL: &str = "label1";

/// The collector's configuration; of the remote write exporter, what its users are told to write.
fn configuration(directory: &Path, port: u16, input: &str, own: &str) -> String {
    let at = |name: &str| directory.join(name).display().to_string();
    let tls = |client: &str| {
        format!(
            "tls: {{ca_file: {}, cert_file: {}, key_file: {}}}",
            at("ca.crt"),
            at(&format!("{client}.crt")),
            at(&format!("{client}.key"))
        )
    };
    let exporters = EXPORTERS.map(|(exporter, client)| match exporter {
        "prometheusremotewrite" => format!(
            "  prometheusremotewrite:\n    endpoint: https://localhost:{port}/api/v1/receive\n    wal: {{directory: {}, \
             buffer_size: 100, truncate_frequency: 45s}}\n    external_labels: {{{EXTERNAL}: value1}}\n    {}\n",
            at("prom_rw"),
            tls(client)
        ),
        exporter => format!("  {exporter}:\n    endpoint: https://localhost:{port}\n    {}\n", tls(client)),
    });
    let names = EXPORTERS.map(|(exporter, _)| exporter);
    let (host, own_port) = own.trim_start_matches("http://").split_once(':').expect("host and port");
    format!(
        "receivers: {{otlp: {{protocols: {{http: {{endpoint: '{}'}}}}}}}}\nprocessors: {{batch: {{timeout: 200ms}}}}\nexporters:\n{}\
         service:\n  telemetry: {{metrics: {{level: detailed, readers: [{{pull: {{exporter: {{prometheus: {{host: {host}, port: \
         {own_port}}}}}}}}}]}}}}\n  pipelines: {{metrics: {{receivers: [otlp], processors: [batch], exporters: [{}]}}}}\n",
        input.trim_start_matches("http://"),
        exporters.concat(),
        names.join(", ")
    )
}
