//! Writes the first inputs of each corpus: `cargo run -p fuzz --example seeds`. What exploring finds is added to them.
#![expect(clippy::unwrap_used, reason = "run by a person, who sees what is wrong")]

use std::path::Path;

use remote_write::compression::Compressor;
use remote_write::model::{Count, Exemplar, Histogram, Label, Metadata, Request, Sample, Series, Span};
use remote_write::{Compression, Protocol, encode};

fn main() {
    for protocol in [Protocol::V1, Protocol::V2] {
        let requests: Vec<Vec<u8>> = requests().iter().map(|request| encoded(protocol, request)).collect();
        let name = if protocol == Protocol::V1 { "v1" } else { "v2" };
        write(name, &requests);
        if protocol == Protocol::V1 {
            for compression in [Compression::Snappy, Compression::Zstd] {
                let mut bodies: Vec<Vec<u8>> = requests.iter().map(|request| packed(compression, request)).collect();
                bodies.push(packed(compression, &[7; 70_000]));
                bodies.push(packed(compression, b""));
                write(if compression == Compression::Snappy { "snappy" } else { "zstd" }, &bodies);
            }
        }
    }
    write("otlp", &otlp_requests());
    write("relabel", &relabelings());
    write("configuration", &CONFIGURATIONS.map(|text| text.as_bytes().to_vec()));
    let damages: Vec<Vec<u8>> = (0..12_u8)
        .map(|number| match number % 4 {
            0 => vec![number, number * 10, 0, 0xff],
            1 => vec![number, number, number / 2, 0, 0, 0, 0],
            2 => vec![number, 0xff, 0xff],
            _ => [&[number, 0xff, 0xff][..], &[number; 200]].concat(),
        })
        .collect();
    write("log_segment", &damages);
    write("log_cursors", &damages);
    let body = packed(Compression::Snappy, &encoded(Protocol::V1, &requests()[0]));
    write("push", &pushes(&body));
    write("admin", &ADMIN.map(|text| text.replace('\n', "\r\n").into_bytes()));
}

fn write(target: &str, inputs: &[Vec<u8>]) {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target);
    std::fs::create_dir_all(&directory).unwrap();
    for (number, input) in inputs.iter().enumerate() {
        std::fs::write(directory.join(format!("seed-{number:02}")), input).unwrap();
    }
}

fn encoded(protocol: Protocol, request: &Request<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    match protocol {
        Protocol::V1 => encode::encode_v1(request, &mut out),
        Protocol::V2 => encode::encode_v2(request, &mut out),
    }
    out
}

fn packed(compression: Compression, raw: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    Compressor::new().compress(compression, raw, &mut out).unwrap();
    out
}

fn label<'a>((name, value): &(&'a str, &'a str)) -> Label<'a> {
    Label { name: name.as_bytes(), value: value.as_bytes() }
}

fn series<'a>(labels: &[(&'a str, &'a str)]) -> Series<'a> {
    Series { labels: labels.iter().map(label).collect(), ..Series::default() }
}

fn sampled<'a>(labels: &[(&'a str, &'a str)], timestamps: &[i64]) -> Series<'a> {
    let sample = |&timestamp| Sample { value: timestamp as f64 / 3.0, timestamp, start_timestamp: 0 };
    Series { samples: timestamps.iter().map(sample).collect(), ..series(labels) }
}

fn requests() -> Vec<Request<'static>> {
    let up = [("__name__", "up"), ("instance", "a:9090"), ("job", "node")];
    let of = |series: Vec<Series<'static>>| Request { series, metadata: Vec::new() };
    let histogram = Histogram {
        count: Some(Count::Int(5)),
        sum: 3.5,
        zero_count: Some(Count::Int(1)),
        zero_threshold: 0.001,
        positive_spans: vec![Span { offset: 0, length: 2 }, Span { offset: 1, length: 1 }],
        positive_deltas: vec![1, 1, -1],
        timestamp: 1_700_000_000_000,
        ..Histogram::default()
    };
    let floats = Histogram {
        count: Some(Count::Float(3.0)),
        zero_count: Some(Count::Float(1.0)),
        positive_spans: vec![Span { offset: 0, length: 2 }],
        positive_deltas: Vec::new(),
        positive_counts: vec![1.0, 1.0],
        reset_hint: 3,
        ..histogram.clone()
    };
    let custom = Histogram { schema: -53, custom_values: vec![1.0, 2.0, 5.0], zero_count: None, ..histogram.clone() };
    let exemplar = Exemplar {
        labels: vec![Label { name: b"trace_id", value: b"4bf92f3577b34da6a3ce929d0e0e4736" }],
        value: 0.25,
        timestamp: 1_700_000_000_000,
        ..Exemplar::default()
    };
    let described = Metadata { kind: 1, family: b"", help: b"Whether it is up.", unit: b"seconds" };
    vec![
        of(vec![sampled(&up, &[1_700_000_000_000])]),
        of(vec![sampled(&up, &[1, 2, 3, 4, 5]), sampled(&[("__name__", "b"), ("z", "1")], &[6])]),
        of(vec![Series { histograms: vec![histogram], ..series(&up) }]),
        of(vec![Series { histograms: vec![floats, custom], ..series(&up) }]),
        of(vec![Series { exemplars: vec![exemplar.clone()], ..sampled(&up, &[1, 2]) }]),
        of(vec![Series { metadata: Some(described), ..sampled(&up, &[i64::MIN, i64::MAX]) }]),
        // Refused or mended: no name, unsorted, twice the same label, no value, not UTF-8, no data.
        of(vec![sampled(&[("job", "x")], &[1]), sampled(&up, &[2])]),
        of(vec![sampled(&[("job", "x"), ("__name__", "up")], &[1])]),
        of(vec![sampled(&[("__name__", "up"), ("a", "1"), ("a", "2")], &[1]), sampled(&up, &[2])]),
        of(vec![sampled(&[("__name__", "up"), ("a", ""), ("vm_account_id", "7")], &[1])]),
        of(vec![series(&up), Series { exemplars: vec![exemplar], ..series(&up) }]),
        Request {
            series: vec![sampled(&up, &[1])],
            metadata: vec![Metadata { kind: 2, family: b"up", help: b"Whether it is up.", unit: b"" }],
        },
    ]
}

fn relabelings() -> Vec<Vec<u8>> {
    let rules = [
        "0|job|;|(.*)|kind|0|$1-x",
        "0|job,instance|;|([^;]+);(.+)|both|0|${2}_${1}",
        "1|__name__|;|up|||",
        "1|__name__|;|up||0|",
        "2|job|;|node||0|",
        "3|job|;||instance|0|",
        "4|job|;||job|0|",
        "5|instance|;||shard|4|",
        "6||;|inst(.*)||0|x_$1",
        "7||;|instance||0|",
        "8||;|__name__|job||0|",
        "9|job|;||job|0|",
        "10|job|;||job|0|\n0|job|;|N(.*)|name|0|$1\n7||;|job||0|",
    ];
    let requests = requests();
    let bytes = |(number, rules): (usize, &&str)| {
        let request = &requests[number % requests.len()];
        let (digit, protocol) = if number % 2 == 0 { (b'1', Protocol::V1) } else { (b'2', Protocol::V2) };
        [rules.as_bytes(), b"\n\n", &[digit], &encoded(protocol, request)].concat()
    };
    rules.iter().enumerate().map(bytes).collect()
}

fn pushes(body: &[u8]) -> Vec<Vec<u8>> {
    let head = |line: &str, headers: &str| format!("{line} HTTP/1.1\r\nhost: x\r\n{headers}\r\n").into_bytes();
    let v1 = "content-type: application/x-protobuf\r\ncontent-encoding: snappy\r\nx-prometheus-remote-write-version: 0.1.0\r\n";
    let length = format!("content-length: {}\r\n", body.len());
    let whole = [head("POST /api/v1/write", &format!("{v1}{length}")), body.to_vec()].concat();
    let chunk = [format!("{:x}\r\n", body.len()).as_bytes(), body, b"\r\n0\r\n\r\n"].concat();
    vec![
        whole.clone(),
        [whole.clone(), whole.clone()].concat(),
        [head("POST /api/v1/write", &format!("{v1}transfer-encoding: chunked\r\n")), chunk].concat(),
        [head("POST /api/v1/push", &format!("{v1}expect: 100-continue\r\n{length}")), body.to_vec()].concat(),
        [head("POST /insert/7/prometheus/api/v1/write", &format!("{v1}{length}")), body.to_vec()].concat(),
        head("GET /api/v1/write?get_vm_proto_version=1", ""),
        head("POST /api/v1/write", &format!("{v1}content-length: 99999999\r\n")),
        head("POST /api/v1/write", &format!("{v1}content-length: 3\r\ncontent-length: 4\r\n")),
        head("POST /nowhere", "content-length: 0\r\n"),
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0".to_vec(),
        b"POST".to_vec(),
        whole[..whole.len() / 2].to_vec(),
        otlp_push("application/json", OTLP[0].as_bytes()),
        otlp_push("application/x-protobuf", &otlp_protobuf(OTLP[4])),
        otlp_push("application/json\r\ncontent-encoding: gzip", b"\x1f\x8b\x08\0\0\0\0\0\0\x03"),
    ]
}

fn otlp_push(kind: &str, body: &[u8]) -> Vec<u8> {
    let length = body.len();
    let head =
        format!("POST /v1/metrics HTTP/1.1\r\nhost: x\r\ncontent-type: {kind}\r\ncontent-length: {length}\r\n\r\n");
    [head.as_bytes(), body].concat()
}

/// One of each kind of point, with what goes wrong with it.
const OTLP: [&str; 7] = [
    r#"{"resourceMetrics":[{"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"s"}},{"key":"a.b","value":{"intValue":"7"}}]},"scopeMetrics":[{"scope":{"name":"lib","attributes":[{"key":"x","value":{"boolValue":true}}]},"metrics":[{"name":"m.x","unit":"By/s","gauge":{"dataPoints":[{"timeUnixNano":"1700000000000000000","asDouble":1.5,"attributes":[{"key":"a.b","value":{"stringValue":"1"}},{"key":"a_b","value":{"stringValue":"2"}}]},{"asInt":"-3"},{}]}}]}]}]}"#,
    r#"{"resourceMetrics":[{"scopeMetrics":[{"metrics":[{"name":"n","unit":"1","sum":{"aggregationTemporality":2,"isMonotonic":true,"dataPoints":[{"asInt":1,"startTimeUnixNano":"1","timeUnixNano":"1700000000000000000","exemplars":[{"asDouble":1,"traceId":"0af7651916cd43dd8448eb211c80319c","spanId":"b7ad6b7169203331","filteredAttributes":[{"key":"k","value":{"stringValue":"v"}}]}]},{"flags":1}]}}]}]}]}"#,
    r#"{"resourceMetrics":[{"scopeMetrics":[{"metrics":[{"name":"h","unit":"s","histogram":{"aggregationTemporality":2,"dataPoints":[{"count":3,"sum":4.5,"explicitBounds":[1,2],"bucketCounts":[1,0,2],"exemplars":[{"asDouble":1.5}]},{"count":1,"explicitBounds":[2,1],"bucketCounts":[1]},{"explicitBounds":["Infinity"],"bucketCounts":[1,1],"count":2}]}}]}]}]}"#,
    r#"{"resourceMetrics":[{"scopeMetrics":[{"metrics":[{"name":"e","exponentialHistogram":{"aggregationTemporality":2,"dataPoints":[{"count":5,"sum":1,"scale":20,"zeroCount":1,"positive":{"offset":-1,"bucketCounts":[1,0,0,0,2]},"negative":{"offset":3,"bucketCounts":[1]}},{"scale":-5},{"flags":1,"scale":2}]}}]}]}]}"#,
    r#"{"resourceMetrics":[{"scopeMetrics":[{"metrics":[{"name":"q","summary":{"dataPoints":[{"count":2,"sum":3,"quantileValues":[{"quantile":0.5,"value":1},{"quantile":1,"value":2}]}]}},{"name":"..."},{"name":"","gauge":{"dataPoints":[{"asInt":1}]}}]}]}]}"#,
    r#"{"resourceMetrics":[{"scopeMetrics":[{"metrics":[{"name":"d","sum":{"aggregationTemporality":1,"dataPoints":[{"asInt":1,"startTimeUnixNano":"1","timeUnixNano":"2"},{"asInt":1,"startTimeUnixNano":"2","timeUnixNano":"3"},{"asInt":1,"startTimeUnixNano":"1","timeUnixNano":"2"}]}},{"name":"dh","histogram":{"aggregationTemporality":1,"dataPoints":[{"count":1,"timeUnixNano":"2","explicitBounds":[1],"bucketCounts":[1,0]}]}},{"name":"de","exponentialHistogram":{"aggregationTemporality":1,"dataPoints":[{"count":1,"timeUnixNano":"2","scale":8,"positive":{"offset":9,"bucketCounts":[1]}},{"count":1,"timeUnixNano":"3","scale":2,"positive":{"offset":90,"bucketCounts":[1]}}]}}]}]}]}"#,
    r#"{"resourceMetrics":[{"resource":{"attributes":[{"key":"service.instance.id","value":{"arrayValue":{"values":[{"doubleValue":1e30},{"kvlistValue":{"values":[{"key":"k","value":{"bytesValue":"AQI="}}]}},{}]}}},{"key":"host","value":{"stringValue":"h"}}]},"scopeMetrics":[{"metrics":[{"name":"m","gauge":{"dataPoints":[{"asInt":1,"timeUnixNano":"0"},{"asInt":1,"timeUnixNano":"18446744073709551615"}]}}]}]}]}"#,
];

fn otlp_protobuf(json: &str) -> Vec<u8> {
    let mut protobuf = Vec::new();
    otlp::protobuf_of_json(json.as_bytes(), usize::MAX, &mut protobuf).unwrap();
    protobuf
}

fn otlp_requests() -> Vec<Vec<u8>> {
    let one = |(choice, json): (u8, &&str)| {
        let prefix = [choice.wrapping_mul(37)];
        [[&prefix, json.as_bytes()].concat(), [&prefix[..], &otlp_protobuf(json)].concat()]
    };
    (0..).zip(&OTLP).flat_map(one).collect()
}

const ADMIN: [&str; 14] = [
    "GET /metrics HTTP/1.1\nhost: 127.0.0.1\n\n",
    "GET /api/v1/status HTTP/1.1\nhost: 127.0.0.1\n\n",
    "GET /api/v1/ledger?tenant=a&endpoint=b HTTP/1.1\nhost: 127.0.0.1\n\n",
    "GET /api/v1/dead-letters?limit=3&after=7&tenant=%41 HTTP/1.1\nhost: 127.0.0.1\n\n",
    "POST /api/v1/dead-letters/retry HTTP/1.1\nhost: 127.0.0.1\ncontent-length: 9\n\n{\"ids\":[]}",
    "POST /api/v1/dead-letters/drop HTTP/1.1\nhost: 127.0.0.1\ncontent-length: 16\n\n{\"tenant\":\"a\"} ",
    "POST /api/v1/replays HTTP/1.1\nhost: 127.0.0.1\ncontent-length: 54\n\n{\"tenant\":\"a\",\"endpoint\":\"b\",\"from\":\"-1h\",\"to\":\"now\"}",
    "DELETE /api/v1/replays/7 HTTP/1.1\nhost: 127.0.0.1\n\n",
    "GET /api/v1/explain?series=up%7Bjob%3D%22a%22%7D HTTP/1.1\nhost: 127.0.0.1\n\n",
    "POST /-/reload HTTP/1.1\nhost: 127.0.0.1\ncontent-length: 0\n\n",
    "GET /-/ready HTTP/1.0\n\n",
    "GET /nowhere?%ff=%zz HTTP/1.1\nhost: 127.0.0.1\n\n",
    "OPTIONS * HTTP/1.1\nhost: 127.0.0.1\n\n",
    "POST /api/v1/explain HTTP/1.1\nhost: 127.0.0.1\ncontent-length: 40\n\n{\"series\":\"up{job=\\\"node\\\"}\",\"tenant\":1}  ",
];

const CONFIGURATIONS: [&str; 12] = [
    "",
    "remote_write:\n- {name: a, url: 'http://b/write'}\n",
    "listeners:\n- address: 127.0.0.1:9009\n  tenant: default\n  tenant_from: [{host: '{tenant}.x'}, {header: X-Scope-OrgID}, {path: true}]\n",
    "log: {path: d, retain: 2h, max_size: 20GiB, max_total_size: 90%, min_free: 1GiB, on_full: refuse}\n",
    "limits: {request_bytes: 1MiB, decoded_bytes: 0, label_names: 7}\ndead_letters: {max_size: 1KB}\n",
    "tenants:\n- name: a\n  id: b\n  external_labels: {x: y}\n  write_relabel_configs: [{action: drop, source_labels: [a], regex: 'b.*'}]\n- {name: '*'}\n",
    "remote_write:\n- name: a\n  url: https://u:p@h/x?y=z\n  basic_auth: {username: u, password_file: p}\n  headers: {A: b}\n  queue_config: {max_samples_per_send: 5, min_backoff: 1s, max_backoff: 5s}\n",
    "remote_write:\n- name: a\n  url: http://h\n  write_relabel_configs:\n  - {source_labels: [__name__], regex: '(a|b)+', action: keep}\n  - {action: labelmap, regex: 'x(.*)', replacement: 'y${1}'}\n",
    "remote_write:\n- {name: a, url: 'http://h', tenants: ['a*', b], from: 3h, max_age: 1d, on_full: refuse, protobuf_message: io.prometheus.write.v2.Request}\n",
    "admin: {address: '0.0.0.0:9010', bearer_token_file: t, public: [metrics]}\n",
    "remote_write_files: [a.yml]\nremote_write: &x\n- *x\n",
    "listeners: [1, {address: nowhere, nope: 1}]\nlog: {retain: forever}\nremote_write: {}\n",
];
