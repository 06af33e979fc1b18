//! The alerts of `deploy/prometheus`, and Prometheus' own on the names that the gateway shares with it, as promtool reads them.

use std::path::Path;

use testkit::peers::{Peer, require};

/// Runs promtool beside the rules; does nothing where there is none.
fn promtool(arguments: &[&str]) {
    let Some(found) = require(Peer::Promtool).expect("promtool") else { return };
    let rules = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/prometheus");
    let output = found.command().args(arguments).current_dir(rules).output().expect("promtool starts");
    let said = [output.stdout, output.stderr].concat();
    assert!(output.status.success(), "promtool {}:\n{}", arguments.join(" "), String::from_utf8_lossy(&said));
}

#[test]
fn prometheus_takes_the_rules() {
    promtool(&["check", "rules", "recording.yml", "alerts.yml"]);
}

#[test]
fn every_alert_comes_when_it_should_and_does_not_when_it_should_not() {
    promtool(&["test", "rules", "tests/alerts.yml"]);
}

#[test]
fn w83_the_stock_mixins_alerts_work_on_the_gateways_metrics() {
    promtool(&["test", "rules", "tests/mixin.yml"]);
}

#[test]
fn each_alert_has_a_case_in_which_it_comes() {
    let read = |file: &str| {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/prometheus").join(file);
        std::fs::read_to_string(path).expect("a file of rules")
    };
    let (alerts, cases) = (read("alerts.yml"), read("tests/alerts.yml"));
    let names: Vec<&str> = alerts.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")).collect();
    assert!(names.len() > 15, "{names:?}");
    for name in names {
        assert!(cases.contains(&format!("alertname=\"{name}\"")), "{name} comes in no case");
        assert!(cases.contains(&format!("'{name} does not come: ")), "{name} has no case in which it does not come");
    }
}
