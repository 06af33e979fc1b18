//! Dashboard, rules and documents against the page that a real gateway serves: a name or label that is not there is a panel
//! without data, or an alert that never comes.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde_json::Value;
use testkit::endpoint::Reply;

use crate::certificates::{Client, Files};
use crate::harness::{Setup, bounded, eventually, receiver};

/// Labels that whoever scrapes adds.
const OF_SCRAPES: [&str; 6] = ["job", "instance", "cluster", "namespace", "pod", "le"];
/// What is no series of the gateway's.
const OF_PROMETHEUS: [&str; 1] = ["up"];

/// The metrics that are known, and the labels of each.
type Known = BTreeMap<String, BTreeSet<String>>;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The metrics of docs/metrics.md, with the labels its tables give them. Families of a kind of data points are three.
fn documented() -> Known {
    let mut known = Known::new();
    let text = read("docs/metrics.md");
    let gateways = text.split("\n## The operator").next().unwrap();
    for line in gateways.lines() {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let [names, kind @ ("counter" | "gauge" | "histogram"), labels, _] = cells.as_slice() else { continue };
        let labels: BTreeSet<String> =
            labels.split(',').map(|label| label.trim().to_owned()).filter(|label| !label.is_empty()).collect();
        for name in names.split(',').map(|name| name.trim().trim_matches('`')) {
            for family in of_kinds(name) {
                insert(&mut known, &family, kind, &labels);
            }
        }
    }
    known
}

fn of_kinds(name: &str) -> Vec<String> {
    let kinds = ["samples", "histograms", "exemplars"];
    if name.contains("{kind}") {
        kinds.iter().map(|kind| name.replace("{kind}", kind)).collect()
    } else {
        vec![name.to_owned()]
    }
}

fn insert(known: &mut Known, family: &str, kind: &str, labels: &BTreeSet<String>) {
    if kind == "histogram" {
        for suffix in ["_bucket", "_sum", "_count"] {
            known.insert(format!("{family}{suffix}"), labels.clone());
        }
    } else {
        known.insert(family.to_owned(), labels.clone());
    }
}

/// The families of a page, without samples, and the series with their labels.
fn exposed(page: &str) -> Known {
    let mut known = Known::new();
    for line in page.lines() {
        if let Some(family) = line.strip_prefix("# TYPE ") {
            let (name, kind) = family.split_once(' ').unwrap();
            insert(&mut known, name, kind, &BTreeSet::new());
        } else if !line.starts_with('#') {
            let series = line.rsplit_once(' ').unwrap().0;
            let (name, labels) = series.split_once('{').unwrap_or((series, ""));
            let labels = labels.trim_end_matches('}').split("\",").filter_map(|label| Some(label.split_once('=')?.0));
            known.entry(name.to_owned()).or_default().extend(labels.filter(|label| *label != "le").map(str::to_owned));
        }
    }
    known
}

/// What an expression asks for: each series it names with the labels of its selector, and the labels of its groupings.
#[derive(Debug, Default, PartialEq, Eq)]
struct Asked {
    series: Vec<(String, Vec<String>)>,
    groupings: Vec<String>,
}

/// Words of `PromQL` that no series has as its name.
const WORDS: [&str; 13] = [
    "and",
    "or",
    "unless",
    "by",
    "without",
    "on",
    "ignoring",
    "group_left",
    "group_right",
    "bool",
    "offset",
    "inf",
    "nan",
];
const GROUPINGS: [&str; 6] = ["by", "without", "on", "ignoring", "group_left", "group_right"];

fn asked(expression: &str) -> Asked {
    let mut asked = Asked::default();
    let mut rest = expression.trim_start();
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
    while let Some(first) = rest.chars().next() {
        if first == '[' {
            rest = &rest[rest.find(']').unwrap() + 1..];
        } else if first == '"' {
            rest = &rest[1..][rest[1..].find('"').unwrap() + 1..];
        } else if first.is_ascii_alphabetic() || first == '_' {
            let (word, after) = rest.split_at(rest.find(|c| !is_name(c)).unwrap_or(rest.len()));
            let after = after.trim_start();
            rest = after;
            if GROUPINGS.contains(&word) && after.starts_with('(') {
                let (labels, after) = after[1..].split_once(')').unwrap();
                asked
                    .groupings
                    .extend(labels.split(',').map(|label| label.trim().to_owned()).filter(|l| !l.is_empty()));
                rest = after;
            } else if WORDS.contains(&word) || after.starts_with('(') || aggregates(after) {
                // A word, a function or an aggregation.
            } else if let Some(selector) = after.strip_prefix('{') {
                let (labels, after) = selector_labels(selector);
                asked.series.push((word.to_owned(), labels));
                rest = after;
            } else {
                asked.series.push((word.to_owned(), Vec::new()));
            }
        } else if first.is_ascii_digit() {
            // A number, or a duration.
            rest = rest.trim_start_matches(|c: char| c.is_ascii_alphanumeric() || c == '.');
        } else {
            rest = &rest[first.len_utf8()..];
        }
        rest = rest.trim_start();
    }
    asked
}

/// Whether an aggregation's grouping follows its name: `sum by (…)`.
fn aggregates(after: &str) -> bool {
    ["by", "without"].iter().any(|word| after.strip_prefix(word).is_some_and(|rest| rest.trim_start().starts_with('(')))
}

/// The labels of a selector, and what follows it. Values hold neither quotes nor braces that are not in quotes.
fn selector_labels(selector: &str) -> (Vec<String>, &str) {
    let mut labels = Vec::new();
    let mut rest = selector.trim_start();
    while let Some(after) = rest.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).filter(|end| *end > 0) {
        labels.push(rest[..after].to_owned());
        let value = &rest[rest.find('"').unwrap() + 1..];
        rest = value[value.find('"').unwrap() + 1..].trim_start_matches([',', ' ', '\n']);
    }
    (labels, rest.strip_prefix('}').expect("a selector's end"))
}

/// What is wrong with an expression. `recorded`: the names of recording rules, whose labels are their own business.
fn wrong(expression: &str, known: &Known, recorded: &BTreeSet<String>) -> Vec<String> {
    let Asked { series, groupings } = asked(expression);
    let mut wrong = Vec::new();
    let mut may_group: BTreeSet<&str> = OF_SCRAPES.into();
    let mut any = false;
    for (name, labels) in &series {
        if OF_PROMETHEUS.contains(&name.as_str()) {
            continue;
        }
        if recorded.contains(name) {
            any = true;
            continue;
        }
        let Some(of_series) = known.get(name) else {
            wrong.push(format!("{name} is no metric of the gateway, in: {expression}"));
            continue;
        };
        may_group.extend(of_series.iter().map(String::as_str));
        for label in labels.iter().filter(|label| !OF_SCRAPES.contains(&label.as_str()) && !of_series.contains(*label))
        {
            wrong.push(format!("{name} has no label {label}, in: {expression}"));
        }
    }
    let unknown = groupings.iter().filter(|label| !any && !may_group.contains(label.as_str()));
    wrong.extend(unknown.map(|label| format!("no series here has a label {label}, in: {expression}")));
    wrong
}

/// The rules of deploy/prometheus, as they are written.
fn rules() -> Vec<Value> {
    let rules = ["recording.yml", "alerts.yml"].map(|file| {
        let text = read(&format!("deploy/prometheus/{file}"));
        let file: Value = serde_saphyr::from_str(&text).unwrap();
        let groups = file["groups"].as_array().unwrap().clone();
        groups.into_iter().flat_map(|group| group["rules"].as_array().unwrap().clone()).collect::<Vec<_>>()
    });
    rules.concat()
}

fn dashboard() -> Value {
    serde_json::from_str(&read("deploy/grafana/writegate.json")).unwrap()
}

/// Every text under a key, wherever it is.
fn texts<'v>(value: &'v Value, key: &str, found: &mut Vec<&'v str>) {
    match value {
        Value::Object(map) => {
            for (name, value) in map {
                match value.as_str() {
                    Some(text) if name == key => found.push(text),
                    _ => texts(value, key, found),
                }
            }
        }
        Value::Array(all) => all.iter().for_each(|value| texts(value, key, found)),
        _ => {}
    }
}

/// The expressions of rules and of the dashboard, its variables and intervals filled in.
fn expressions() -> Vec<String> {
    let rules = rules();
    let dashboard = dashboard();
    let mut found = Vec::new();
    rules.iter().for_each(|rule| texts(rule, "expr", &mut found));
    let of_rules = found.len();
    texts(&dashboard, "expr", &mut found);
    texts(&dashboard, "query", &mut found);
    assert!(of_rules > 20 && found.len() > of_rules + 20, "{of_rules} of {}", found.len());
    let queries = found.into_iter().filter(|text| *text != "prometheus");
    queries.map(|text| label_values(text).replace("$__rate_interval", "5m")).collect()
}

/// `label_values(series, label)` of a dashboard's variable asks for the label.
fn label_values(text: &str) -> String {
    let Some(inside) = text.strip_prefix("label_values(").and_then(|text| text.strip_suffix(')')) else {
        return text.to_owned();
    };
    let (series, label) = inside.rsplit_once(',').unwrap();
    format!("count by ({}) ({series})", label.trim())
}

/// A page with as much on it as one gateway shows: an endpoint that is well, one that is held and one that refuses, a limit, a
/// certificate.
async fn page() -> String {
    let (sink, held, refusing) = (receiver().await, receiver().await, receiver().await);
    held.answer_with(|_| Reply::status(401));
    refusing.answer_with(|_| Reply::status(400));
    let files = Files::new();
    let gateway = Setup::new()
        .listener(&format!("tenant: default, {}", files.listener("")))
        .endpoint("well", &sink)
        .endpoint("held", &held)
        .endpoint("refusing", &refusing)
        .limits("samples_per_second: 1000000")
        .start()
        .await;
    assert_eq!(Client::new(&files.server, None).push(&gateway, &[]).await.0, 204);
    let shows = ["writegate_endpoint_held{", "writegate_dead_letter_samples_total{", "writegate_tenant_limit{"];
    let page = eventually("an endpoint is held and one has refused", || async {
        let page = gateway.admin("/metrics").await;
        shows.iter().all(|series| page.contains(series)).then_some(page)
    })
    .await;
    gateway.finish().await;
    page
}

#[test]
fn certificates_tell_when_they_end_and_the_process_what_it_uses() {
    bounded(async {
        let page = page().await;
        let value = |name: &str| {
            let line = page.lines().find(|line| !line.starts_with('#') && line.starts_with(name));
            let (series, value) = line.unwrap_or_else(|| panic!("{name} is not there")).rsplit_once(' ').unwrap();
            (series.to_owned(), value.parse::<f64>().unwrap())
        };
        let (series, ends) = value("writegate_certificate_expiry_timestamp_seconds");
        assert!(series.contains("address=\"127.0.0.1:") && series.contains("/server.crt\""), "{series}");
        assert_eq!(ends, 4_070_908_800.0, "2099-01-01");
        for name in ["process_resident_memory_bytes", "process_virtual_memory_bytes", "process_max_fds"] {
            assert!(value(name).1 > 1e3, "{name}");
        }
        for name in ["process_cpu_seconds_total", "process_open_fds", "writegate_log_free_bytes"] {
            assert!(value(name).1 > 0.0, "{name}");
        }
        let now = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs_f64();
        let age = now - value("process_start_time_seconds").1;
        assert!((0.0..60.0).contains(&age), "{age}");
        assert_eq!(value("writegate_log_max_bytes").1, 20.0 * f64::from(1 << 30));
        assert_eq!(value("writegate_log_min_free_bytes").1, f64::from(1 << 20));
        assert!(value("writegate_log_total_max_bytes").1 > value("writegate_log_total_bytes").1);
        assert_eq!(value("writegate_ledger_unbalanced").1, 0.0);
    });
}

#[test]
fn what_the_page_shows_is_documented_with_its_labels_and_what_is_documented_is_shown() {
    bounded(async {
        let (documented, exposed) = (documented(), exposed(&page().await));
        // Prometheus' own names stand in a text of their own.
        let is_ours = |name: &&String| !name.starts_with("prometheus_remote_storage_");
        let names = |known: &Known| known.keys().filter(is_ours).cloned().collect::<BTreeSet<_>>();
        assert_eq!(names(&exposed), names(&documented));
        for (name, labels) in exposed.iter().filter(|(name, _)| is_ours(name)) {
            let undocumented: Vec<_> = labels.difference(&documented[name]).collect();
            assert!(undocumented.is_empty(), "{name} has labels that are not documented: {undocumented:?}");
        }
    });
}

#[test]
fn rules_and_dashboard_ask_for_what_the_page_has() {
    bounded(async {
        let mut known = exposed(&page().await);
        for (name, labels) in documented() {
            known.entry(name).or_default().extend(labels);
        }
        let recorded = rules().iter().filter_map(|rule| Some(rule["record"].as_str()?.to_owned())).collect();
        let all = expressions();
        let wrong: Vec<_> = all.iter().flat_map(|expression| wrong(expression, &known, &recorded)).collect();
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    });
}

#[test]
fn an_expression_with_a_slip_is_found() {
    let known = Known::from([("a_total".to_owned(), BTreeSet::from(["tenant".to_owned()]))]);
    let recorded = BTreeSet::from(["instance:b:rate5m".to_owned()]);
    let wrong = |expression: &str| wrong(expression, &known, &recorded).len();
    for right in [
        "sum by (tenant) (rate(a_total{tenant=~\"$tenant\", job!=\"x}\"}[5m])) > 0.5 and on (job) up == 0",
        "instance:b:rate5m{anything=\"x\"} * on (anything) group_left () a_total offset 10m",
        "histogram_quantile(0.99, 1e3 + absent(a_total))",
    ] {
        assert_eq!(wrong(right), 0, "{right}");
    }
    for slip in [
        "rate(a_totl[5m])",
        "a_total{tennant=\"x\"}",
        "sum by (endpoint) (a_total)",
        "a_total / b",
        "instance:b:rate6m > 1",
        "a_total{tenant=\"x\"} unless on (tenent) a_total",
    ] {
        assert_eq!(wrong(slip), 1, "{slip}");
    }
}

#[test]
fn every_alert_says_how_bad_it_is_and_has_a_runbook_of_its_own() {
    let operations = read("docs/operations.md");
    let mut names = BTreeSet::new();
    for rule in rules() {
        let Some(name) = rule["alert"].as_str() else { continue };
        assert!(names.insert(name.to_owned()), "{name} is there twice");
        assert!(["critical", "warning"].contains(&rule["labels"]["severity"].as_str().unwrap()), "{name}");
        for annotation in ["summary", "description"] {
            assert!(
                rule["annotations"][annotation].as_str().is_some_and(|text| text.ends_with('.')),
                "{name}: {annotation}"
            );
        }
        let url =
            format!("https://github.com/writegate/writegate/blob/main/docs/operations.md#{}", name.to_lowercase());
        assert_eq!(rule["annotations"]["runbook_url"].as_str(), Some(url.as_str()), "{name}");
        let runbook =
            operations.split(&format!("\n### {name}\n")).nth(1).unwrap_or_else(|| panic!("{name} has no runbook"));
        let runbook = runbook.split("\n#").next().unwrap();
        for part in ["**It means**", "**Whose fault**", "**Look at**", "**Do**", "**It ends**"] {
            assert_eq!(runbook.matches(part).count(), 1, "{name}: {part}");
        }
    }
    let runbooks = operations.lines().filter_map(|line| line.strip_prefix("### Writegate"));
    let stray: Vec<_> = runbooks.filter(|name| !names.contains(&format!("Writegate{name}"))).collect();
    assert!(stray.is_empty(), "runbooks of no alert: {stray:?}");
    assert!(names.len() > 15, "{names:?}");
}
