//! The cases of the compliance suites for senders that need a scraper: a real Prometheus scrapes pages that change as
//! told and pushes to the gateway; the cases are about what an endpoint behind the gateway gets. Writes a section of
//! `docs/conformance.md`.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use testkit::conformance::{Case, Level, Outcome, agree, table};
use testkit::endpoint::{Endpoint, EndpointSettings, Keep, Received};
use testkit::peers::Peer;
use tokio::net::TcpListener;

use crate::gateway::{self, Gateway};
use crate::peers::{Running, found, prometheus_command};
use crate::target::now_ms;

use Level::{Must, Should};

/// How long it may take until enough has come.
const LIMIT: Duration = Duration::from_secs(90);
/// The coming and going series is there for so many scrapes.
const THERE: u64 = 4;
/// So many samples of one series are enough.
const ENOUGH: usize = 10;
const STALE: u64 = 0x7ff0_0000_0000_0002;
const NAN: u64 = 0x7ff8_0000_0000_0001;

/// The page of a scrape, in OpenMetrics.
fn page(scrape: u64) -> String {
    let mut page = format!(
        "# TYPE suite_requests counter\n# HELP suite_requests Counted.\nsuite_requests_total {scrape} # {{trace_id=\"{scrape:016x}\"}} 1\n\
         # TYPE suite_temperature gauge\nsuite_temperature {}\n\
         # TYPE suite_seconds histogram\nsuite_seconds_bucket{{le=\"0.1\"}} {scrape}\nsuite_seconds_bucket{{le=\"1.0\"}} {}\n\
         suite_seconds_bucket{{le=\"+Inf\"}} {}\nsuite_seconds_count {}\nsuite_seconds_sum {}\n\
         # TYPE suite_size summary\nsuite_size{{quantile=\"0.5\"}} {scrape}\nsuite_size{{quantile=\"0.99\"}} {}\nsuite_size_count {scrape}\nsuite_size_sum {scrape}\n\
         # TYPE suite_labels gauge\nsuite_labels{{zone=\"z\",Alpha=\"A\",beta=\"b\",_under=\"u\"}} 1\n\
         # TYPE suite_text gauge\nsuite_text{{text=\"Zürich \\\"東京\\\" \\\\ \\n\"}} 1\n\
         # TYPE suite_empty gauge\nsuite_empty{{gone=\"\",kept=\"k\"}} 1\n\
         # TYPE suite_owned gauge\nsuite_owned{{job=\"theirs\",instance=\"theirs\"}} 1\n\
         # TYPE suite_odd gauge\nsuite_odd{{kind=\"nan\"}} NaN\nsuite_odd{{kind=\"inf\"}} +Inf\nsuite_odd{{kind=\"minus\"}} -Inf\nsuite_odd{{kind=\"tiny\"}} 5e-324\n",
        scrape as f64 / 8.0 - 1.0,
        scrape * 2,
        scrape * 3,
        scrape * 3,
        scrape as f64 * 1.5,
        scrape * 2,
    );
    if scrape < THERE {
        page.push_str("# TYPE suite_leaving gauge\nsuite_leaving 1\n");
    }
    page.push_str("# EOF\n");
    page
}

/// Serves the page, and others that are no good; counts the scrapes of the good one from 0.
async fn serve() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
    let address = listener.local_addr().expect("its address");
    let scrapes = Arc::new(AtomicU64::new(0));
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let scrapes = Arc::clone(&scrapes);
            let service = service_fn(move |request: Request<Incoming>| {
                let text = match request.uri().path() {
                    "/page" => page(scrapes.fetch_add(1, Ordering::Relaxed)),
                    "/honored" => {
                        "# TYPE suite_honored gauge\nsuite_honored{job=\"theirs\",instance=\"own\"} 1\n# EOF\n"
                            .to_owned()
                    }
                    "/twice" => "# TYPE suite_twice gauge\nsuite_twice{a=\"1\",a=\"2\"} 1\n# EOF\n".to_owned(),
                    "/nameless" => "{a=\"1\"} 1\n# EOF\n".to_owned(),
                    _ => "this is no metric\n".to_owned(),
                };
                let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
                let response = Response::builder().header(CONTENT_TYPE, kind).body(Full::new(Bytes::from(text)));
                async { Ok::<_, Infallible>(response.expect("a valid answer")) }
            });
            tokio::spawn(
                async move { http1::Builder::new().serve_connection(TokioIo::new(stream), service).await.is_ok() },
            );
        }
    });
    address
}

type Labels = Vec<(String, String)>;

/// What the endpoint got, series by series.
#[derive(Default)]
struct Got {
    requests: Vec<Received>,
    /// Time and bits, in the order in which they came; labels in the order of the wire.
    samples: BTreeMap<Labels, Vec<(i64, u64)>>,
    histograms: u64,
    exemplars: BTreeMap<Labels, Vec<Labels>>,
    /// Kind and help by family or, in 2.0, by the series' name.
    metadata: BTreeMap<String, (i32, String)>,
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("UTF-8")
}

impl Got {
    fn of(requests: Vec<Received>) -> Self {
        let mut got = Self::default();
        for received in &requests {
            let request = received.request().expect("a request that can be read");
            for series in &request.series {
                let labels = |labels: &[remote_write::model::Label<'_>]| -> Labels {
                    labels.iter().map(|label| (text(label.name), text(label.value))).collect()
                };
                let of = labels(&series.labels);
                let points = series.samples.iter().map(|sample| (sample.timestamp, sample.value.to_bits()));
                got.samples.entry(of.clone()).or_default().extend(points);
                got.histograms += series.histograms.len() as u64;
                for exemplar in &series.exemplars {
                    got.exemplars.entry(of.clone()).or_default().push(labels(&exemplar.labels));
                }
                if let (Some(metadata), Some(name)) = (series.metadata, value(&of, "__name__")) {
                    got.metadata.insert(name.to_owned(), (metadata.kind, text(metadata.help)));
                }
            }
            for family in &request.metadata {
                got.metadata.insert(text(family.family), (family.kind, text(family.help)));
            }
        }
        got.requests = requests;
        got
    }

    /// The series of a name with these labels.
    fn find(&self, name: &str, with: &[(&str, &str)]) -> Vec<(&Labels, &Vec<(i64, u64)>)> {
        let fits = |labels: &Labels| {
            value(labels, "__name__") == Some(name)
                && with.iter().all(|(name, wanted)| value(labels, name) == Some(*wanted))
        };
        self.samples.iter().filter(|(labels, points)| fits(labels) && !points.is_empty()).collect()
    }

    /// The values of the only series of a name with these labels, stale markers left out.
    fn values(&self, name: &str, with: &[(&str, &str)]) -> Vec<f64> {
        let [(_, points)] = self.find(name, with)[..] else { return Vec::new() };
        points.iter().filter(|(_, bits)| *bits != STALE).map(|(_, bits)| f64::from_bits(*bits)).collect()
    }

    /// The last bits of the only series of a name with these labels.
    fn bits(&self, name: &str, with: &[(&str, &str)]) -> Option<u64> {
        let [(_, points)] = self.find(name, with)[..] else { return None };
        points.last().map(|(_, bits)| *bits)
    }
}

fn value<'l>(labels: &'l Labels, name: &str) -> Option<&'l str> {
    labels.iter().find(|(of, _)| of == name).map(|(_, value)| value.as_str())
}

/// Each value is more than the one before by `step`.
fn rises_by(values: &[f64], step: f64) -> bool {
    values.len() >= ENOUGH - 2 && values.windows(2).all(|two| (two[1] - two[0] - step).abs() < 1e-9)
}

/// A case, and whether what came is as it must be.
type Judged = (&'static str, Level, bool);

/// Values of each type.
fn values(got: &Got, page: &str) -> Vec<Judged> {
    let of = |name: &str| got.values(name, &[("instance", page)]);
    let bucket = |le: &str| got.values("suite_seconds_bucket", &[("le", le)]);
    let up = |job: &str| got.values("up", &[("job", job)]);
    let odd = |kind: &str| got.bits("suite_odd", &[("kind", kind)]);
    let is_all = |values: Vec<f64>, expected: f64| !values.is_empty() && values.iter().all(|value| *value == expected);
    vec![
        ("counter: one more with each scrape", Must, rises_by(&of("suite_requests_total"), 1.0)),
        ("gauge: an eighth more with each scrape", Must, rises_by(&of("suite_temperature"), 0.125)),
        (
            "histogram: buckets, sum and count fit together",
            Must,
            rises_by(&bucket("0.1"), 1.0)
                && rises_by(&bucket("1.0"), 2.0)
                && bucket("+Inf") == of("suite_seconds_count")
                && rises_by(&of("suite_seconds_sum"), 1.5),
        ),
        (
            "summary: quantiles, sum and count",
            Must,
            rises_by(&got.values("suite_size", &[("quantile", "0.99")]), 2.0) && rises_by(&of("suite_size_count"), 1.0),
        ),
        ("up: 1 for a page that can be read", Must, is_all(up("page"), 1.0)),
        ("up: 0 for a page that cannot be read", Must, is_all(up("broken"), 0.0)),
        (
            "samples: NaN, infinities and subnormals bit for bit",
            Must,
            ["nan", "inf", "minus", "tiny"].map(odd)
                == [NAN, f64::INFINITY.to_bits(), f64::NEG_INFINITY.to_bits(), 1].map(Some),
        ),
        (
            "staleness: a series that leaves ends with the stale marker",
            Must,
            got.bits("suite_leaving", &[]) == Some(STALE),
        ),
        ("native histograms", Must, got.histograms > 0),
    ]
}

fn labels(got: &Got, page: &str) -> Vec<Judged> {
    let has_one = |name: &str, with: &[(&str, &str)]| got.find(name, with).len() == 1;
    let has_none = |name: &str| got.find(name, &[]).is_empty();
    let is_down = |job: &str| got.values("up", &[("job", job)]).last() == Some(&0.0);
    let is_sorted = |labels: &Labels| labels.windows(2).all(|two| two[0].0.as_bytes() < two[1].0.as_bytes());
    let exported = [("exported_job", "theirs"), ("exported_instance", "theirs"), ("job", "page"), ("instance", page)];
    vec![
        ("labels: job", Must, has_one("suite_temperature", &[("job", "page")])),
        ("labels: instance", Must, has_one("suite_temperature", &[("instance", page)])),
        (
            "labels: sorted bytewise",
            Must,
            got.samples.keys().all(is_sorted)
                && has_one("suite_labels", &[("Alpha", "A"), ("_under", "u"), ("zone", "z")]),
        ),
        ("labels: none is repeated", Must, is_down("twice") && has_none("suite_twice")),
        (
            "labels: an empty one is left out, its sample kept",
            Must,
            has_one("suite_empty", &[("kept", "k")])
                && got.samples.keys().flatten().all(|(_, value)| !value.is_empty()),
        ),
        (
            "labels: nothing without a name",
            Must,
            is_down("nameless") && got.samples.keys().all(|labels| value(labels, "__name__").is_some()),
        ),
        ("labels: any UTF-8 in values", Must, has_one("suite_text", &[("text", "Zürich \"東京\" \\ \n")])),
        (
            "labels: job and instance of the page are kept as exported_job and exported_instance",
            Must,
            has_one("suite_owned", &exported),
        ),
        (
            "labels: job and instance of the page, where they are honored",
            Must,
            has_one("suite_honored", &[("job", "theirs"), ("instance", "own")]),
        ),
    ]
}

/// Times, headers, and what stands beside samples.
fn the_rest(got: &Got, began: i64, is_v2: bool) -> Vec<Judged> {
    let rises = |points: &[(i64, u64)]| points.windows(2).all(|two| two[0].0 < two[1].0);
    let is_of_the_run = |(time, _): &(i64, u64)| (began - 60_000..=now_ms()).contains(time);
    let (content_type, version, family) = if is_v2 {
        ("application/x-protobuf;proto=io.prometheus.write.v2.Request", "2.0.0", "suite_requests_total")
    } else {
        ("application/x-protobuf", "0.1.0", "suite_requests")
    };
    let headers_are_right = |received: &Received| {
        received.header("content-type") == Some(content_type)
            && received.header("content-encoding") == Some("snappy")
            && received.header("x-prometheus-remote-write-version") == Some(version)
            && received.header("user-agent").is_some_and(|agent| agent.starts_with("writegate/"))
    };
    let of_counter = |labels: &Labels| value(labels, "__name__") == Some("suite_requests_total");
    let mut exemplars = got.exemplars.iter().filter(|(labels, _)| of_counter(labels)).flat_map(|(_, all)| all);
    vec![
        (
            "timestamps: milliseconds of the run, rising in each series",
            Must,
            got.samples.values().all(|points| rises(points) && points.iter().all(is_of_the_run)),
        ),
        ("headers: exactly those of the version", Must, got.requests.iter().all(headers_are_right)),
        (
            "exemplars: with their trace id",
            Should,
            exemplars.any(|labels| value(labels, "trace_id").is_some_and(|id| id.len() == 16)),
        ),
        ("metadata: type and help", Should, got.metadata.get(family) == Some(&(1, "Counted.".to_owned()))),
    ]
}

/// What an endpoint gets of what Prometheus scrapes, with one of the messages on both ways.
async fn scraped(binary: &Path, directory: &Path, message: &str) -> Option<Vec<Case>> {
    let program = found(Peer::Prometheus35)?;
    let name = if message.contains("v2") { "v2" } else { "v1" };
    let directory = directory.join(name);
    std::fs::create_dir(&directory).expect("a directory");
    let (page, began) = (serve().await.to_string(), now_ms());
    let sink = Endpoint::launch(EndpointSettings { keep: Keep::Requests, ..EndpointSettings::default() });
    let sink = sink.await.expect("an endpoint");
    let endpoint = format!("name: sink, url: \"{}\", protobuf_message: {message}", sink.url());
    let mut gateway = Gateway::start_with(binary, &directory, &[endpoint]).await;
    let (mut command, base) = prometheus_command(program, &directory, "scraper");
    command.arg("--enable-feature=exemplar-storage,native-histograms,metadata-wal-records");
    let mut config = "global: {scrape_interval: 2s, scrape_timeout: 2s}\nscrape_configs:\n".to_owned();
    for job in ["page", "honored", "twice", "nameless", "broken"] {
        let honor = job == "honored";
        config.push_str(&format!(
            "  - {{job_name: {job}, metrics_path: /{job}, honor_labels: {honor}, static_configs: [{{targets: [\"{page}\"]}}]}}\n"
        ));
    }
    let itself = base.trim_start_matches("http://");
    config.push_str(&format!("  - {{job_name: itself, static_configs: [{{targets: [\"{itself}\"]}}]}}\n"));
    config.push_str(&format!(
        "remote_write:\n  - url: {}\n    protobuf_message: {message}\n    send_exemplars: true\n    send_native_histograms: true\n    \
         metadata_config: {{send_interval: 1s}}\n",
        gateway.push_url
    ));
    std::fs::write(directory.join("scraper.yml"), config).expect("the configuration is written");
    let prometheus = Running::start(command, directory.join("scraper.log"), base, "/-/ready").await;
    let enough = || {
        let got = Got::of(sink.requests());
        let sizes = got.values("suite_requests_total", &[]).len();
        (sizes >= ENOUGH && got.bits("suite_leaving", &[]) == Some(STALE) && got.histograms > 0).then_some(got)
    };
    let waiting = async {
        let mut ticks = tokio::time::interval(Duration::from_millis(500));
        loop {
            ticks.tick().await;
            if let Some(got) = enough() {
                return got;
            }
        }
    };
    let got = tokio::time::timeout(LIMIT, waiting).await;
    let got = got.unwrap_or_else(|_| panic!("not enough came of {message}:\n{}", prometheus.log()));
    let version = if name == "v2" { "2.0" } else { "1.0" };
    let judged = [values(&got, &page), labels(&got, &page), the_rest(&got, began, name == "v2")].concat();
    let cases = judged.into_iter().map(|(case, level, passes)| {
        assert!(
            passes,
            "{version}: {case}\n{:#?}",
            got.samples.keys().filter(|labels| value(labels, "job") != Some("itself")).collect::<Vec<_>>()
        );
        Case { name: format!("{version}: {case}"), level, outcome: Outcome::Pass }
    });
    let cases = cases.collect();
    drop(prometheus);
    gateway.terminate().await;
    Some(cases)
}

#[test]
fn what_prometheus_scrapes_passes_every_case_of_the_sender_suites_behind_the_gateway() {
    let directory = tempfile::tempdir().expect("a directory");
    let binary = gateway::binary();
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let run = async {
        let (v1, v2) = tokio::join!(
            scraped(&binary, directory.path(), "prometheus.WriteRequest"),
            scraped(&binary, directory.path(), "io.prometheus.write.v2.Request"),
        );
        Some([v1?, v2?].concat())
    };
    let cases = runtime.block_on(async { tokio::time::timeout(2 * LIMIT, run).await }).expect("it ends in time");
    let Some(cases) = cases else { return };
    agree("scraped", &table(&cases)).unwrap_or_else(|error| panic!("{error}"));
}
