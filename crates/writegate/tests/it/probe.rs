//! `writegate probe` at receivers of every kind: what it says of them, what it sends them, and what it never says.

use remote_write::{Compression, Protocol};
use serde_json::{Value, json};
use testkit::endpoint::{Endpoint, EndpointSettings, Judge, Keep, Reply, Speaks};

use crate::certificates::{Authority, Files};
use crate::cli::{Ran, run};
use crate::harness::{Setup, bounded, receiver_that};

/// A receiver that keeps every request.
async fn kind(speaks: Speaks, zstd: bool, judge: Option<Judge>) -> Endpoint {
    receiver_that(EndpointSettings { speaks, zstd, judge, keep: Keep::Requests, ..EndpointSettings::default() }).await
}

/// What the probe of an address says, as JSON.
async fn probed(url: &str, more: &[&str]) -> (Ran, Value) {
    let ran = run(&[&["probe", url, "--json"], more].concat()).await;
    let report = serde_json::from_str(&ran.out).unwrap_or_else(|error| panic!("{error}: {ran:?}"));
    (ran, report)
}

/// The answer to a check; `-` if it was not made.
fn answer(report: &Value, check: &str) -> String {
    let checks = report["checks"].as_array().unwrap();
    let row = checks.iter().find(|row| row["check"] == check);
    row.map_or("-", |row| row["answer"].as_str().unwrap()).to_owned()
}

fn answers<const N: usize>(report: &Value, checks: [&str; N]) -> [String; N] {
    checks.map(|check| answer(report, check))
}

/// A line of the advised entry.
fn advised<'r>(report: &'r Value, key: &str) -> Option<&'r str> {
    let entry = report["advice"]["entry"].as_array().unwrap();
    entry.iter().find(|line| line["key"] == key).and_then(|line| line["value"].as_str())
}

const SPOKEN: [&str; 3] = ["remote write 1.0", "remote write 2.0", "zstd"];

#[test]
fn what_is_spoken_is_told_apart_and_the_entry_fits() {
    bounded(async {
        for (speaks, zstd, spoken, message, compression) in [
            (Speaks::V1Only, false, ["yes", "no", "no"], "prometheus.WriteRequest", "snappy"),
            (Speaks::V1Silently, false, ["yes", "ignored", "no"], "prometheus.WriteRequest", "snappy"),
            (Speaks::V1Silently, true, ["yes", "ignored", "yes"], "prometheus.WriteRequest", "zstd"),
            (Speaks::Both, false, ["yes", "yes", "no"], "auto", "snappy"),
            (Speaks::Both, true, ["yes", "yes", "yes"], "auto", "zstd"),
        ] {
            for dry_run in [&[][..], &["--dry-run"]] {
                let sink = kind(speaks, zstd, None).await;
                let (ran, report) = probed(&sink.url(), dry_run).await;
                assert_eq!(
                    (ran.code, &report["usable"], &report["trouble"]),
                    (0, &json!(true), &Value::Null),
                    "{ran:?}"
                );
                assert_eq!(answers(&report, SPOKEN), spoken, "{speaks:?} {report:#}");
                assert_eq!(advised(&report, "protobuf_message"), Some(message), "{report:#}");
                assert_eq!(advised(&report, "compression"), Some(compression), "{report:#}");
                let stored = sink.stats().taken.points();
                assert_eq!(stored == 0, !dry_run.is_empty(), "{stored} points of {dry_run:?}");
            }
        }
    });
}

#[test]
fn a_receiver_of_2_0_alone_is_asked_everything_in_2_0() {
    bounded(async {
        let sink = kind(Speaks::Both, false, None).await;
        sink.answer_with(|received| match received.protocol {
            Protocol::V1 => Reply::status(415).text("2.0 only"),
            Protocol::V2 => Reply::healthy(),
        });
        let (ran, report) = probed(&sink.url(), &[]).await;
        assert_eq!(ran.code, 0, "{ran:?}");
        assert_eq!(answers(&report, SPOKEN), ["no", "yes", "-"], "{report:#}");
        assert_eq!(advised(&report, "protobuf_message"), Some("io.prometheus.write.v2.Request"));
        let checks = ["native histograms", "exemplars", "metadata", "out of order", "old samples", "a nameless series"];
        assert_eq!(answers(&report, checks), ["yes", "yes", "yes", "taken", "taken", "taken"], "{report:#}");
    });
}

#[test]
fn what_becomes_of_the_rest_of_a_request_is_found_out_without_reading() {
    bounded(async {
        let checks = ["out of order", "duplicates", "a bad sample"];
        for (judge, expected) in [
            (Judge::new(400).ordered(), ["refused", "taken", "costs all"]),
            (Judge::new(409).ordered().storing_the_good_part(), ["refused", "taken", "rest kept"]),
            (Judge::new(400).refusing_repeats(), ["refused", "refused", "costs all"]),
        ] {
            let sink = kind(Speaks::V1Only, false, Some(judge)).await;
            let (_, report) = probed(&sink.url(), &[]).await;
            assert_eq!(answers(&report, checks), expected, "{report:#}");
            let notes = report["advice"]["notes"].to_string();
            assert!(notes.contains("out_of_order_time_window"), "{notes}");
        }
    });
}

#[test]
fn what_is_refused_or_not_written_is_not_advised() {
    bounded(async {
        let sink = kind(Speaks::V1Only, false, None).await;
        sink.answer_with(|received| match received.request() {
            Ok(request) if !request.metadata.is_empty() => Reply::status(400).text("no metadata here"),
            Ok(request) if request.series.iter().any(|series| !series.histograms.is_empty()) => {
                Reply::status(500).text("native histograms are disabled")
            }
            _ => Reply::healthy(),
        });
        let (_, report) = probed(&sink.url(), &[]).await;
        assert_eq!(answers(&report, ["metadata", "native histograms"]), ["no", "no"], "{report:#}");
        assert_eq!(advised(&report, "send_native_histograms"), Some("false"));
        assert_eq!(advised(&report, "metadata_config"), Some("{send: false}"));

        let forgetful = kind(Speaks::Both, false, None).await;
        forgetful.answer_with(|received| match received.counts.exemplars {
            1.. => Reply::status(204).header("x-prometheus-remote-write-samples-written", "1"),
            0 => Reply::healthy(),
        });
        let (_, report) = probed(&forgetful.url(), &[]).await;
        assert_eq!((answer(&report, "exemplars").as_str(), advised(&report, "send_exemplars")), ("no", Some("false")));
    });
}

#[test]
fn a_probe_writes_little_and_only_what_bears_its_name() {
    bounded(async {
        let sink = kind(Speaks::Both, true, None).await;
        let (_, report) = probed(&sink.url(), &[]).await;
        let requests = sink.requests();
        assert!(requests.len() < 35, "{} requests", requests.len());
        assert_eq!(report["requests"], json!(requests.len()));
        assert!(report["bytes"].as_u64().unwrap() < 4096, "{report:#}");
        let id = report["series"].as_str().unwrap().to_owned();
        for received in requests.iter().filter(|received| received.understood) {
            for series in &received.request().unwrap().series {
                let value =
                    |name: &[u8]| series.labels.iter().find(|label| label.name == name).map(|label| label.value);
                let probe = String::from_utf8(value(b"probe").unwrap().to_vec()).unwrap();
                assert_eq!(id, format!("writegate_probe{{probe=\"{probe}\"}}"));
                assert!(value(b"check").is_some());
                assert!(matches!(value(b"__name__"), None | Some(b"writegate_probe")));
            }
        }
        let dry = kind(Speaks::Both, true, None).await;
        let (_, report) = probed(&dry.url(), &["--dry-run"]).await;
        assert_eq!((&report["series"], answer(&report, "out of order").as_str()), (&Value::Null, "-"));
        assert!(dry.requests().iter().all(|received| received.counts.is_zero()));
    });
}

#[test]
fn a_request_of_a_probe_looks_as_one_of_a_delivery() {
    bounded(async {
        let sink = kind(Speaks::Both, true, None).await;
        probed(&sink.url(), &[]).await;
        let requests = sink.requests();
        let of = |protocol, compression| {
            let fits = |received: &&_| {
                let received: &testkit::endpoint::Received = received;
                received.understood && received.protocol == protocol && received.compression == compression
            };
            requests.iter().find(fits).unwrap()
        };
        let v1 = of(Protocol::V1, Compression::Snappy);
        assert_eq!(v1.header("content-type"), Some("application/x-protobuf"));
        assert_eq!(v1.header("x-prometheus-remote-write-version"), Some("0.1.0"));
        let v2 = of(Protocol::V2, Compression::Snappy);
        assert_eq!(v2.header("content-type"), Some("application/x-protobuf;proto=io.prometheus.write.v2.Request"));
        assert_eq!(v2.header("x-prometheus-remote-write-version"), Some("2.0.0"));
        let zstd = of(Protocol::V1, Compression::Zstd);
        assert_eq!(zstd.header("x-victoriametrics-remote-write-version"), Some("1"));
        for received in &requests {
            assert!(received.header("user-agent").unwrap().starts_with("writegate/"), "{received:?}");
        }
    });
}

/// A probe that must fail before any data is sent, and what it says.
async fn fails(arguments: &[&str], stage: &str, words: &[&str]) {
    let ran = run(&[&["probe"], arguments].concat()).await;
    let told = ran.err.split_whitespace().collect::<Vec<_>>().join(" ");
    for word in words {
        assert!(ran.code == 1 && told.contains(word), "{word:?}: {ran:?}");
    }
    let ran = run(&[&["probe", "--json"], arguments].concat()).await;
    let report: Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!(
        (ran.code, &report["usable"], &report["trouble"]["stage"]),
        (1, &json!(false), &json!(stage)),
        "{ran:?}"
    );
    assert_eq!((&report["series"], &report["advice"]["entry"]), (&Value::Null, &json!([])));
}

#[test]
fn a_refused_credential_is_told_and_nothing_else_is_asked() {
    bounded(async {
        let sink = kind(Speaks::Both, false, None).await;
        sink.answer_with(|received| match received.header("authorization") {
            Some("Bearer s3cret" | "Basic b3BzOnMzY3JldA==") if received.header("x-scope-orgid") == Some("blue") => {
                Reply::healthy()
            }
            Some("Bearer s3cret") => Reply::status(401).text("no org id"),
            shown => Reply::status(403).text(format!("who is {}", shown.unwrap_or("nobody"))),
        });
        let url = sink.url();
        fails(&[&url], "credential", &["403: who is nobody", "--bearer-token-file"]).await;
        assert_eq!(sink.stats().requests, 2, "one each");
        let directory = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| {
            std::fs::write(directory.path().join(name), text).unwrap();
            directory.path().join(name).display().to_string()
        };
        let (right, wrong) = (file("right", "s3cret\n"), file("wrong", "other-s3cret"));
        fails(&[&url, "--bearer-token-file", &right], "credential", &["401: no org id", "X-Scope-OrgID: TENANT"]).await;
        // It repeats what it was shown.
        fails(&[&url, "--bearer-token-file", &wrong], "credential", &["403: who is Bearer <hidden>"]).await;
        let missing = format!("{right}.missing");
        fails(&[&url, "--bearer-token-file", &missing], "credential", &[&format!("read {missing}")]).await;
        for shown in [&["--bearer-token-file", right.as_str()][..], &["--user", "ops", "--password-file", &right]] {
            let more = [shown, &["--header", "X-Scope-OrgID: blue"]].concat();
            let (ran, report) = probed(&url, &more).await;
            assert_eq!((ran.code, answer(&report, "remote write 2.0").as_str()), (0, "yes"), "{report:#}");
            let ran = run(&[&["probe", &url][..], &more].concat()).await;
            for text in [&ran.out, &ran.err] {
                assert!(!text.contains("s3cret") && !text.contains("blue") && !text.contains("b3Bz"), "{ran:?}");
            }
            assert!(ran.out.contains("X-Scope-OrgID: …"), "{ran:?}");
        }
    });
}

#[test]
fn an_endpoint_that_is_not_reached_is_told_how_far_the_probe_came() {
    bounded(async {
        let free = testkit::process::free_port().unwrap();
        let nowhere = format!("http://127.0.0.1:{free}/api/v1/write");
        fails(&[&nowhere], "connection", &[&format!("cannot connect to 127.0.0.1:{free}"), "check host and port"])
            .await;

        let sink = kind(Speaks::Both, false, None).await;
        let over_tls = sink.url().replace("http://", "https://");
        fails(&[&over_tls], "tls", &["does not speak TLS on this port", "use http://"]).await;

        sink.answer_with(|_| Reply::hang());
        fails(&[&sink.url(), "--timeout", "300ms"], "answer", &["no answer within 300ms", "--timeout"]).await;

        sink.answer_with(|_| Reply::status(404).text("nothing here"));
        fails(&[&sink.url()], "address", &["404: nothing here", "/api/v1/receive (Thanos)"]).await;
        sink.answer_with(|_| Reply::status(302).header("location", "http://elsewhere.test/x"));
        fails(&[&sink.url()], "address", &["http://elsewhere.test/x", "use the address where it leads"]).await;
        sink.answer_with(|_| Reply::status(500).text("out of ideas"));
        fails(&[&sink.url()], "server", &["500: out of ideas", "try again later"]).await;
        sink.answer_with(|received| match received.counts.is_zero() {
            true => Reply::healthy(),
            false => Reply::status(400).text("not today"),
        });
        let ran = run(&["probe", &sink.url()]).await;
        let told = ran.err.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(ran.code == 1 && told.contains("takes neither remote write 1.0 (400: not today)"), "{ran:?}");
    });
}

#[test]
fn an_endpoint_that_falls_silent_is_not_asked_for_the_rest() {
    bounded(async {
        let sink = kind(Speaks::Both, false, None).await;
        sink.answer_with(|received| match received.request() {
            Ok(request) if request.series.iter().any(|series| !series.histograms.is_empty()) => Reply::hang(),
            Ok(request) if request.series.iter().any(|series| !series.exemplars.is_empty()) => Reply::hang(),
            _ => Reply::healthy(),
        });
        let (ran, report) = probed(&sink.url(), &["--timeout", "300ms"]).await;
        assert_eq!((ran.code, answer(&report, "native histograms").as_str()), (0, "unknown"), "{report:#}");
        assert_eq!(answer(&report, "out of order"), "-", "{report:#}");
    });
}

#[test]
fn patience_that_is_asked_for_is_had_once() {
    bounded(async {
        let sink = kind(Speaks::Both, false, None).await;
        sink.script([Reply::status(503).retry_after(1)]);
        let (ran, report) = probed(&sink.url(), &["--dry-run"]).await;
        assert_eq!((ran.code, answer(&report, "Retry-After").as_str()), (0, "1"), "{report:#}");
        sink.script([Reply::status(429).retry_after(3600)]);
        let (ran, report) = probed(&sink.url(), &["--dry-run"]).await;
        assert_eq!((ran.code, &report["trouble"]["stage"]), (1, &json!("server")), "{report:#}");
    });
}

#[test]
fn writegate_knows_itself_over_tls_and_an_unknown_authority_is_named() {
    bounded(async {
        let files = Files::new();
        files.trust("ca.crt", &files.server);
        files.trust("other.crt", &Authority::new("another"));
        let gateway =
            Setup::new().listener(&format!("tenant: default, {}", files.listener("min_version: TLS12"))).start().await;
        let url = format!("https://localhost:{}/api/v1/write", gateway.address().port());
        let (ca, other) = (files.at("ca.crt").display().to_string(), files.at("other.crt").display().to_string());
        let untrusted = "the server's certificate is not signed by an authority that is trusted here";
        fails(&[&url], "tls", &[untrusted, "--ca-file"]).await;
        fails(&[&url, "--ca-file", &other], "tls", &[untrusted]).await;
        fails(&[&url, "--ca-file", "/no/such/file"], "tls", &["/no/such/file"]).await;
        let (ran, report) = probed(&url, &["--ca-file", &ca]).await;
        assert_eq!(ran.code, 0, "{ran:?}");
        assert_eq!(report["product"]["name"], "Writegate", "{report:#}");
        let checks = ["remote write 2.0", "zstd", "native histograms", "exemplars", "out of order", "HTTP/2"];
        assert_eq!(answers(&report, checks), ["yes", "yes", "yes", "yes", "taken", "yes"], "{report:#}");
        let (_, report) = probed(&url, &["--insecure-skip-verify", "--dry-run"]).await;
        assert_eq!(report["product"]["name"], "Writegate", "{report:#}");
        gateway.finish().await;
    });
}

#[test]
fn an_endpoint_of_a_configuration_is_probed_with_what_it_is_configured_with() {
    bounded(async {
        let sink = kind(Speaks::V1Only, false, None).await;
        sink.answer_with(|received| match (received.header("authorization"), received.header("x-scope-orgid")) {
            (Some("Bearer s3cret"), Some("1234")) => Reply::healthy(),
            _ => Reply::status(401).text("not you"),
        });
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("writegate.yml");
        std::fs::write(directory.path().join("token"), "s3cret").unwrap();
        let text = format!(
            "tenants: [{{name: default}}, {{name: blue, id: '1234'}}]\nremote_write: [{{name: mimir, url: '{}', bearer_token_file: token, \
             tenant_header: X-Scope-OrgID, tenant_label: team}}]\n",
            sink.url()
        );
        std::fs::write(&file, text).unwrap();
        let file = file.to_str().unwrap();
        let ran = run(&["probe", "--config", file, "--endpoint", "mimir", "--tenant", "blue"]).await;
        assert!(ran.code == 0 && ran.out.contains("- name: \"mimir\"") && !ran.out.contains("s3cret"), "{ran:?}");
        let requests = sink.requests();
        let pushed = requests.iter().find(|received| received.counts.samples > 0).unwrap();
        let labels = &pushed.request().unwrap().series[0].labels;
        assert!(labels.iter().any(|label| (label.name, label.value) == (b"team", b"1234")), "{labels:?}");
        let ran = run(&["probe", "--config", file, "--endpoint", "mimir"]).await;
        assert!(ran.code == 1 && ran.err.contains("say of which with --tenant"), "{ran:?}");
        let ran = run(&["probe", "--config", file, "--endpoint", "thanos"]).await;
        assert!(ran.code == 1 && ran.err.contains("no endpoint \"thanos\"; known: mimir"), "{ran:?}");
    });
}

#[test]
fn the_table_is_no_wider_than_a_terminal() {
    bounded(async {
        let judge = Judge::new(400).ordered();
        let sink = kind(Speaks::V1Silently, false, Some(judge)).await;
        let ran = run(&["probe", &sink.url()]).await;
        assert!(ran.out.starts_with("CHECK              ANSWER     DETAIL\nreachable          yes"), "{}", ran.out);
        assert!(ran.out.contains("\nremote write 2.0   ignored    204 without X-Prom"), "{}", ran.out);
        assert!(ran.out.contains("\n    protobuf_message: prometheus.WriteRequest\n"), "{}", ran.out);
        let widest = ran.out.lines().map(|line| line.chars().count()).max().unwrap();
        assert!(widest <= 80, "{widest}: {}", ran.out);
    });
}

#[test]
fn arguments_that_describe_no_endpoint_are_a_usage_error_or_told_without_the_value() {
    bounded(async {
        for arguments in [
            &["probe"][..],
            &["probe", "http://host/", "--endpoint", "a", "--config", "f"],
            &["probe", "--endpoint", "a"],
            &["probe", "http://host/", "--user", "a"],
            &["probe", "http://host/", "--header", "no-colon-s3cret"],
            &["probe", "http://host/", "--timeout", "soon"],
        ] {
            let ran = run(arguments).await;
            assert!(ran.code == 2 && ran.err.contains("error:"), "{arguments:?}: {ran:?}");
        }
        for (arguments, words) in [
            (&["probe", "ftp://host/"][..], "expected a url that starts with http:// or https://"),
            (&["probe", "http://me:s3cret@host/"], "take them out of the url"),
            (
                &["probe", "http://host/", "--header", "Authorization: s3cret"],
                "the header Authorization must not be set",
            ),
            (&["probe", "http://host/", "--header", "Content-Type: a"], "the header Content-Type is reserved"),
        ] {
            let ran = run(arguments).await;
            assert!(ran.code == 1 && ran.err.contains(words) && !ran.err.contains("s3cret"), "{arguments:?}: {ran:?}");
        }
        let help = run(&["probe", "--help"]).await;
        assert!(help.code == 0 && help.out.contains("Examples:") && help.out.contains("writegate_probe"), "{help:?}");
    });
}

#[test]
fn what_was_written_can_be_delivered_as_any_other_series() {
    bounded(async {
        let sink = kind(Speaks::Both, false, None).await;
        let gateway = Setup::new().endpoint("a", &sink).start().await;
        let (ran, _) = probed(&format!("http://{}/api/v1/write", gateway.address()), &[]).await;
        assert_eq!(ran.code, 0, "{ran:?}");
        gateway.settled().await;
        let row = gateway.ledger("default", "a").await;
        assert!(row.samples.delivered >= 10 && row.samples.accepted == row.samples.delivered, "{row:?}");
        gateway.finish().await;
    });
}
