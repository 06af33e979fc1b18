//! What the senders scrape: a page of made-up metrics whose every value follows from the number of the scrape.
//!
//! Nearly all samples carry their own timestamp, so that what a sender without a database of its own must have sent is
//! known here, to the millisecond. Each sender has a path of its own.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::fmt::Write as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE};
use http::{HeaderMap, Request, Response};
use http_body_util::Full;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::samples::{Labels, Samples, Value};

/// Timestamps are multiples of it: OpenMetrics has them as floats in seconds, and eighths are exact in binary.
const STEP_MS: i64 = 125;

/// For so many scrapes in a row the coming and going series is there, then for as many it is not.
const FLAP: u64 = 5;

/// The page's server; it ends with the runtime.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    pub(crate) address: SocketAddr,
    scrapes: Arc<Mutex<BTreeMap<String, Vec<i64>>>>,
    changed: watch::Sender<()>,
}

impl Target {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
        let address = listener.local_addr().expect("its address");
        let target = Self { address, scrapes: Arc::default(), changed: watch::Sender::new(()) };
        let serving = target.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let target = serving.clone();
                let service = service_fn(move |request| {
                    let response = target.answer(&request);
                    async { Ok::<_, Infallible>(response) }
                });
                // A sender that hangs up is none of the page's business.
                tokio::spawn(async move {
                    http1::Builder::new().serve_connection(TokioIo::new(stream), service).await.is_ok()
                });
            }
        });
        target
    }

    /// The number of scrapes by that sender.
    pub(crate) fn scrapes(&self, sender: &str) -> usize {
        self.scrapes.lock().expect("not poisoned").get(sender).map_or(0, Vec::len)
    }

    /// Waits until each of the senders has scraped `more` times from here on.
    pub(crate) async fn scraped(&self, senders: &[&str], more: usize, limit: Duration) {
        let goals: Vec<_> = senders.iter().map(|sender| (*sender, self.scrapes(sender) + more)).collect();
        let mut changes = self.changed.subscribe();
        let wait = async {
            while goals.iter().any(|(sender, goal)| self.scrapes(sender) < *goal) {
                changes.changed().await.expect("the target lives");
            }
        };
        let outcome = tokio::time::timeout(limit, wait).await;
        outcome.unwrap_or_else(|_| panic!("each of {senders:?} scrapes {more} times within {limit:?}; {self:?}"));
    }

    /// What a scrape of that sender brought, by time, for series with their own timestamps.
    pub(crate) fn served(&self, sender: &str) -> Samples {
        let mut samples = Samples::default();
        let scrapes = self.scrapes.lock().expect("not poisoned");
        for (number, timestamp) in (0..).zip(scrapes.get(sender).into_iter().flatten()) {
            for line in lines(number).into_iter().filter(|line| line.timed) {
                let mut labels: Labels =
                    line.labels.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
                labels.insert("__name__".to_owned(), line.name.to_owned());
                labels.insert("job".to_owned(), "target".to_owned());
                labels.insert("instance".to_owned(), self.address.to_string());
                samples.insert(labels, *timestamp, Value::Float(line.value));
            }
        }
        samples
    }

    fn answer(&self, request: &Request<hyper::body::Incoming>) -> Response<Full<Bytes>> {
        let sender = request.uri().path().trim_start_matches('/').to_owned();
        let open_metrics = accepts_open_metrics(request.headers());
        let mut scrapes = self.scrapes.lock().expect("not poisoned");
        let times = scrapes.entry(sender).or_default();
        let now = now_ms() / STEP_MS * STEP_MS;
        let timestamp = times.last().map_or(now, |last| now.max(last + STEP_MS));
        let page = page(times.len() as u64, timestamp, open_metrics);
        times.push(timestamp);
        drop(scrapes);
        self.changed.send_replace(());
        let kind = if open_metrics {
            "application/openmetrics-text; version=1.0.0; charset=utf-8"
        } else {
            "text/plain; version=0.0.4"
        };
        Response::builder().header(CONTENT_TYPE, kind).body(Full::new(page.into())).expect("a valid answer")
    }
}

/// Milliseconds since the epoch.
pub(crate) fn now_ms() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
    i64::try_from(now.as_millis()).expect("before the year 292 million")
}

fn accepts_open_metrics(headers: &HeaderMap) -> bool {
    headers
        .get(ACCEPT)
        .and_then(|accept| accept.to_str().ok())
        .is_some_and(|accept| accept.contains("openmetrics-text"))
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Counter,
    Gauge,
    Histogram,
}

/// One line of the page.
struct Line {
    family: &'static str,
    kind: Kind,
    name: &'static str,
    labels: Vec<(&'static str, String)>,
    value: f64,
    timed: bool,
    exemplar: bool,
}

/// The lines of scrape `number`, family after family.
fn lines(number: u64) -> Vec<Line> {
    let mut lines = counters(number);
    lines.extend(histograms(number));
    let gauge = |name, labels, value| Line {
        family: name,
        kind: Kind::Gauge,
        name,
        labels,
        value,
        timed: true,
        exemplar: false,
    };
    for room in 0..20_u64 {
        // Eighths, of both signs, exact in every encoding.
        let value = ((number * (room + 3)) % 4_000) as f64 / 8.0 - 200.0;
        lines.push(gauge("e2e_temperature_celsius", vec![("room", format!("room-{room}"))], value));
    }
    for (text, value) in [("ü 世界", 1.0), (r#"a "quoted" \ back"#, 2.0), ("two\nlines", 3.0)] {
        lines.push(gauge("e2e_labels", vec![("text", text.to_owned())], value));
    }
    for (kind, value) in [("tiny", 1e-300), ("huge", 1e300), ("inf", f64::INFINITY), ("nan", f64::NAN), ("zero", 0.0)] {
        lines.push(gauge("e2e_special", vec![("kind", kind.to_owned())], value));
    }
    if (number / FLAP).is_multiple_of(2) {
        // Without a timestamp of its own, so that its end is a stale marker.
        lines.push(Line { timed: false, ..gauge("e2e_flapping", Vec::new(), number as f64) });
    }
    lines
}

fn counters(number: u64) -> Vec<Line> {
    let mut lines = Vec::new();
    for (method, path, code) in (0..60_u64).map(|index| (index % 3, index / 3 % 4, index / 12)) {
        let labels = vec![
            ("code", format!("{}", 200 + code * 100)),
            ("method", ["GET", "POST", "PUT"][method as usize].to_owned()),
            ("path", format!("/api/v1/path-{path}")),
        ];
        let value = (number * (1 + method + path * code)) as f64;
        let (family, name) = ("e2e_requests", "e2e_requests_total");
        lines.push(Line { family, kind: Kind::Counter, name, labels, value, timed: true, exemplar: code == 0 });
    }
    lines
}

fn histograms(number: u64) -> Vec<Line> {
    let mut lines = Vec::new();
    for handler in ["/", "/login", "/search"] {
        let line = |name, le: Option<&str>, value| {
            let mut labels = vec![("handler", handler.to_owned())];
            labels.extend(le.map(|le| ("le", le.to_owned())));
            let family = "e2e_duration_seconds";
            Line { family, kind: Kind::Histogram, name, labels, value, timed: true, exemplar: false }
        };
        for (rank, le) in (1..).zip(["0.1", "0.5", "1.0", "5.0", "+Inf"]) {
            lines.push(line("e2e_duration_seconds_bucket", Some(le), (number * rank) as f64));
        }
        lines.push(line("e2e_duration_seconds_count", None, (number * 5) as f64));
        lines.push(line("e2e_duration_seconds_sum", None, number as f64 * 4.25));
    }
    lines
}

fn page(number: u64, timestamp: i64, open_metrics: bool) -> String {
    let mut page = String::new();
    let mut family = "";
    for line in lines(number) {
        if line.family != family {
            family = line.family;
            let kind = match line.kind {
                Kind::Counter => "counter",
                Kind::Gauge => "gauge",
                Kind::Histogram => "histogram",
            };
            // OpenMetrics names a counter's family without the suffix, the older format with it.
            let name = if open_metrics || line.kind != Kind::Counter { family } else { line.name };
            writeln!(page, "# HELP {name} Made up.\n# TYPE {name} {kind}").expect("a String takes all");
        }
        put_line(&mut page, &line, number, timestamp, open_metrics);
    }
    if open_metrics {
        page.push_str("# EOF\n");
    }
    page
}

fn put_line(page: &mut String, line: &Line, number: u64, timestamp: i64, open_metrics: bool) {
    let escape = |text: &str| text.replace('\\', r"\\").replace('"', "\\\"").replace('\n', r"\n");
    let labels: Vec<_> = line.labels.iter().map(|(name, value)| format!("{name}=\"{}\"", escape(value))).collect();
    let value = match line.value {
        value if value == f64::INFINITY => "+Inf".to_owned(),
        // vmagent computes a mantissa times a power, which is not exact for every number.
        value if value.abs() > 1e15 || value != 0.0 && value.abs() < 1e-5 => format!("{value:e}"),
        value => value.to_string(),
    };
    write!(page, "{}{{{}}} {value}", line.name, labels.join(",")).expect("a String takes all");
    let time = if open_metrics { format!("{}", timestamp as f64 / 1e3) } else { timestamp.to_string() };
    if line.timed {
        write!(page, " {time}").expect("a String takes all");
    }
    if line.exemplar && open_metrics {
        write!(page, " # {{trace_id=\"{number:016x}\"}} {} {time}", number + 1).expect("a String takes all");
    }
    page.push('\n');
}
