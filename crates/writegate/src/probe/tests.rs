//! What measured answers of real products are taken for. The words are those of Prometheus 2.42.0, 2.53.3 and 3.5.3 and
//! of VictoriaMetrics 1.145.0; Mimir's, Cortex' and Thanos' are from their sources.

use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Version};
use remote_write::Counts;

use super::facts::{Facts, Said, Step};
use super::meaning::{self, Stage};
use super::question::place;
use super::{advice, product};
use crate::delivery::Heard;

fn said(step: Step, status: u16, words: &str, headers: &[(&'static str, &str)]) -> Said {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        map.insert(HeaderName::from_static(name), HeaderValue::from_str(value).unwrap());
    }
    let sent = match step {
        Step::V1 | Step::V2 | Step::Zstd | Step::Conflict => Counts { samples: 1, ..Counts::default() },
        _ => Counts::default(),
    };
    let status = StatusCode::from_u16(status).unwrap();
    let answer = Ok(Heard { status, version: Version::HTTP_11, headers: map, words: words.to_owned() });
    Said { step, sent, answer, took: Duration::from_millis(1), at_ms: 0, body_bytes: 1 }
}

const WRITTEN: [(&str, &str); 1] = [("x-prometheus-remote-write-samples-written", "1")];
const DUPLICATE: &str = "duplicate sample for timestamp 1795747275466; overrides not allowed: existing 1, new value 2";
const INFO: &str =
    r#"{"status":"success","data":{"version":"2.53.3+ds1","revision":"2.53.3+ds1-2","goVersion":"go1.24"}}"#;

/// Of the five steps that tell products apart.
fn endpoint(v1: u16, v2: Said, zstd: (u16, &str), conflict: (u16, &str)) -> Vec<Said> {
    let hello = if v1 == 204 { 204 } else { 200 };
    vec![
        said(Step::Hello, hello, "", &[]),
        said(Step::VmVersion, 405, "Method Not Allowed", &[]),
        said(Step::V1, v1, "", &[]),
        v2,
        said(Step::Zstd, zstd.0, zstd.1, &[]),
        said(Step::Conflict, conflict.0, conflict.1, &[]),
    ]
}

fn guessed(said: Vec<Said>) -> Option<String> {
    product::guess(&Facts::told(said)).map(|product| product.name)
}

#[test]
fn products_that_hide_their_version_are_told_by_what_they_do() {
    let ignored = || said(Step::V2, 204, "", &[]);
    let corrupt = (400, "snappy: corrupt input");
    for (expected, said) in [
        ("Prometheus 2, as old as 2.42", endpoint(204, ignored(), corrupt, (400, "duplicate sample for timestamp"))),
        ("Prometheus 2, as late as 2.53", endpoint(204, ignored(), corrupt, (400, DUPLICATE))),
        (
            "Prometheus 3",
            endpoint(204, said(Step::V2, 204, "", &WRITTEN), (415, "zstd encoding is not accepted"), (400, DUPLICATE)),
        ),
        (
            "Thanos Receive",
            endpoint(200, said(Step::V2, 200, "", &[]), corrupt, (409, "store locally for endpoint x: conflict")),
        ),
        (
            "Grafana Mimir",
            endpoint(200, said(Step::V2, 200, "", &WRITTEN), corrupt, (400, "(err-mimir-sample-duplicate-timestamp)")),
        ),
        (
            "Cortex or Grafana Mimir",
            endpoint(200, ignored(), corrupt, (400, "user=a: err: duplicate sample for timestamp. timestamp=…")),
        ),
        (
            "Writegate",
            endpoint(204, said(Step::V2, 204, "", &WRITTEN), (204, ""), (400, "no labels (wg-invalid-series)")),
        ),
    ] {
        assert_eq!(guessed(said).as_deref(), Some(expected));
    }
    let mut victoria = endpoint(204, ignored(), (204, ""), (204, ""));
    victoria[1] = said(Step::VmVersion, 200, "1", &[]);
    assert_eq!(guessed(victoria.clone()).as_deref(), Some("VictoriaMetrics or vmagent"));
    victoria[0] = said(Step::Hello, 204, "", &[("x-server-hostname", "vm")]);
    assert_eq!(guessed(victoria).as_deref(), Some("VictoriaMetrics"));
    assert_eq!(guessed(endpoint(204, ignored(), corrupt, (204, ""))), None);
}

#[test]
fn a_version_is_believed_where_prometheus_says_it() {
    let with = |info: &str| {
        let mut all = endpoint(204, said(Step::V2, 204, "", &[]), (400, ""), (400, DUPLICATE));
        all.push(said(Step::BuildInfo, 200, info, &[]));
        guessed(all)
    };
    assert_eq!(with(INFO).as_deref(), Some("Prometheus 2.53.3"));
    let mimir = r#"{"status":"success","data":{"application":"Grafana Mimir","version":"2.17.0"}}"#;
    assert_eq!(with(mimir).as_deref(), Some("Grafana Mimir 2.17.0"));
    // As VictoriaMetrics says it, and nonsense: what it does decides.
    for other in [r#"{"status":"success","data":{"version":"2.24.0"}}"#, "<html>", "{}"] {
        assert_eq!(with(other).as_deref(), Some("Prometheus 2, as late as 2.53"));
    }
}

#[test]
fn a_name_that_leads_nowhere_is_told_before_anything_is_sent() {
    let mut facts = Facts::told(Vec::new());
    facts.addresses = Some(Err("Name or service not known".to_owned()));
    let trouble = meaning::trouble(&facts).unwrap();
    assert_eq!(trouble.stage, Stage::Name);
    assert_eq!(trouble.error, "look up the host of http://endpoint/api/v1/write: Name or service not known");
    assert!(advice::advice(&facts).entry.is_empty());
}

#[test]
fn a_clock_that_differs_is_told() {
    let at = |at_ms| {
        let mut hello = said(Step::Hello, 204, "", &[("date", "Thu, 01 Jan 1970 00:01:40 GMT")]);
        hello.at_ms = at_ms;
        let rows = meaning::rows(&Facts::told(vec![hello]));
        rows.into_iter().find(|row| row.check == "clock").map(|row| row.detail)
    };
    assert_eq!(at(104_000), None);
    assert_eq!(at(160_000).as_deref(), Some("the endpoint's clock is 60 s behind this machine's"));
    assert_eq!(at(40_000).as_deref(), Some("the endpoint's clock is 60 s ahead of this machine's"));
}

#[test]
fn build_information_is_looked_for_where_it_is_served() {
    for (path, expected) in [
        ("/api/v1/write", Some("/api/v1/status/buildinfo")),
        ("/prefix/api/v1/write/?a=b", Some("/prefix/api/v1/status/buildinfo")),
        ("/api/v1/push", Some("/prometheus/api/v1/status/buildinfo")),
        ("/api/prom/push", Some("/api/prom/api/v1/status/buildinfo")),
        ("/api/v1/receive", None),
        ("/", None),
    ] {
        assert_eq!(place(Step::BuildInfo, path).as_deref(), expected, "{path}");
    }
    assert_eq!(place(Step::VmVersion, "/w?a=b").as_deref(), Some("/w?a=b&get_vm_proto_version=1"));
    assert_eq!(place(Step::VmVersion, "/w").as_deref(), Some("/w?get_vm_proto_version=1"));
}

#[test]
fn an_endpoint_that_is_busy_has_refused_nothing() {
    let answer = |status| {
        let rows = meaning::rows(&Facts::told(vec![
            said(Step::Hello, 204, "", &[]),
            said(Step::V1, 204, "", &[]),
            said(Step::Metadata, status, "", &[]),
            said(Step::OlderBySecond, status, "", &[]),
        ]));
        let of = |check: &str| rows.iter().find(|row| row.check == check).map(|row| row.answer.clone()).unwrap();
        [of("metadata"), of("out of order")]
    };
    assert_eq!(answer(400), ["no", "refused"]);
    assert_eq!(answer(500), ["no", "refused"]);
    for busy in [408, 429, 502, 503, 504] {
        assert_eq!(answer(busy), ["unknown", "unknown"], "{busy}");
    }
}
