//! The real programs around the real gateway, each claim a test: all of them ask about one scenario, which the first
//! to come runs. `WRITEGATE_E2E_SECONDS` (60) is how long its undisturbed part lasts, `WRITEGATE_E2E_OUTAGE_SECONDS` (10) for how
//! long both receivers are gone.
#![expect(clippy::expect_used, clippy::panic, reason = "tests say what is wrong by panicking")]

mod browser;
mod collector;
mod conformance;
mod console;
mod declared;
mod gateway;
mod http;
mod monitoring;
mod peers;
mod probe;
mod restarts;
mod samples;
mod scenario;
mod secured;
mod silent;
mod target;

use std::io::Write as _;
use std::process::{Command, Stdio};

use crate::peers::Sender;
use crate::samples::metric;
use crate::scenario::{Findings, Found, findings};

#[test]
fn every_file_here_is_a_module_of_this_program() {
    let directory = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it");
    for entry in std::fs::read_dir(directory).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let module = name.strip_suffix(".rs").unwrap_or(&name);
        let listed = include_str!("main.rs").lines().any(|line| line == format!("mod {module};"));
        assert!(listed || name == "main.rs", "{name} is not listed");
    }
}

/// Everything this sender holds is at both receivers, over two ends of the gateway, and it gave nothing up.
fn check_sender(sender: Sender) -> Option<&'static Found> {
    let found = findings()?.senders.get(sender.name())?;
    assert!(found.problems.is_empty(), "{}:\n{}", sender.name(), found.problems.join("\n"));
    let (prometheus, victoria) = found.compared;
    assert!(prometheus > 1_000 && victoria > 1_000, "{} compared {:?} samples", sender.name(), found.compared);
    Some(found)
}

/// As [`check_sender`], with exemplars and native histograms.
fn check_prometheus(sender: Sender) -> Option<&'static Found> {
    let found = check_sender(sender)?;
    assert!(found.exemplars > 100, "{} compared {} exemplars", sender.name(), found.exemplars);
    Some(found)
}

#[test]
fn prometheus_3_5_over_v2_loses_nothing() {
    if let Some(found) = check_prometheus(Sender::Prometheus35V2) {
        assert!(found.histograms > 100, "{} native histograms compared", found.histograms);
    }
}

#[test]
fn prometheus_3_5_over_v1_loses_nothing() {
    if let Some(found) = check_prometheus(Sender::Prometheus35V1) {
        assert!(found.histograms > 100, "{} native histograms compared", found.histograms);
    }
}

#[test]
fn prometheus_2_42_loses_nothing() {
    check_prometheus(Sender::Prometheus242);
}

#[test]
fn w47_vmagent_1_145_loses_nothing_and_keeps_to_zstd() {
    if let Some(found) = check_sender(Sender::Vmagent1145) {
        // Its words when it falls back to snappy for good.
        let fell_back = found.log.lines().find(|line| line.contains("owngrad") || line.contains("e-packing"));
        assert_eq!(fell_back, None);
    }
}

#[test]
fn w47_vmagent_1_79_loses_nothing() {
    check_sender(Sender::Vmagent179);
}

fn with_findings(check: impl FnOnce(&Findings)) {
    if let Some(findings) = findings() {
        check(findings);
    }
}

#[test]
fn no_request_of_a_real_sender_is_refused() {
    with_findings(|findings| assert_eq!(findings.refusals, 0.0));
}

#[test]
fn the_ledger_balances_with_everything_delivered_over_both_ends_of_the_gateway() {
    with_findings(|findings| assert_eq!(findings.ledger, None));
}

#[test]
fn the_log_has_no_damaged_record_and_no_failed_commit_after_kill_9() {
    with_findings(|findings| {
        for name in ["writegate_log_damaged_records_total", "writegate_log_commit_failures_total"] {
            assert_eq!(metric(&findings.metrics, name, &[]), Some(0.0), "{name}");
        }
    });
}

#[test]
fn promtool_accepts_the_metrics_page() {
    let (Some(findings), Some(promtool)) = (findings(), peers::promtool()) else { return };
    let mut check = Command::new(promtool);
    check.args(["check", "metrics"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut check = check.spawn().expect("promtool starts");
    check.stdin.take().expect("a pipe").write_all(findings.metrics.as_bytes()).expect("promtool reads");
    let output = check.wait_with_output().expect("promtool ends");
    let words = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    // 3 means that it reads the page but does not like a name. One of them others chose before us.
    let disliked = words.lines().filter(|line| !line.is_empty() && !line.starts_with("remote_write_requests_count "));
    assert_eq!(disliked.collect::<Vec<_>>(), Vec::<&str>::new());
    assert!(matches!(output.status.code(), Some(0 | 3)), "{}:\n{words}", output.status);
}
