//! What becomes of one series on its way to each endpoint, step by step: the same for a configuration on disk and for a
//! running gateway. Sends nothing.

use remote_write::check::{Checker, Rules};
use remote_write::encode::encode_v1;
use remote_write::model::{Label, Request, Sample, Series};
use remote_write::relabel::{Definition, Outcome, Pipeline, Step};
use remote_write::{Protocol, series_text};
use serde::{Deserialize, Serialize};
use writegate_config::{Config, Endpoint, TenantLimits, TenantName, Tenants};

use crate::delivery::{self, Origin};

/// A series of a tenant, and what each endpoint gets of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Explanation {
    pub(crate) tenant: String,
    pub(crate) series: String,
    /// Whether pushes of the tenant are taken at all.
    pub(crate) admitted: bool,
    /// Why the gateway itself does not take the series.
    pub(crate) refused: Option<String>,
    /// Empty if the gateway does not take the series: no endpoint ever sees it.
    pub(crate) endpoints: Vec<AtEndpoint>,
}

/// What an endpoint gets of a series.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct AtEndpoint {
    pub(crate) endpoint: String,
    /// Whether it takes the tenant.
    pub(crate) takes: bool,
    /// In the order in which they are done, up to the one that drops the series.
    pub(crate) steps: Vec<StepDone>,
    /// As it arrives; `None` if it does not.
    pub(crate) arrives: Option<String>,
    /// Why it does not arrive.
    pub(crate) dropped_by: Option<String>,
}

/// A step and what it did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StepDone {
    pub(crate) step: String,
    /// In short, as it is configured.
    pub(crate) config: String,
    pub(crate) outcome: Did,
    /// After a step that changed it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) series: Option<String>,
}

/// What a step did to the series.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Did {
    Unchanged,
    Changed,
    Dropped,
}

/// Reads the series that is asked about.
///
/// # Errors
/// When the text is no series; one that looks like a selector is told apart.
pub(crate) fn series(text: &str) -> Result<Vec<(String, String)>, String> {
    series_text::parse(text).map_err(|invalid| {
        let is_selector = ["`~`", "`!`", "`[`", "`(`"].contains(&invalid.found.as_str());
        let hint = if is_selector { "; one series is wanted, with all its labels, not a selector" } else { "" };
        format!("{invalid}{hint}")
    })
}

/// Explains what endpoints get of a series with these labels.
pub(crate) fn explain(config: &Config, tenant: &TenantName, labels: &[(String, String)]) -> Explanation {
    let admitted = config.tenants.admits(tenant);
    let refused = refusal(&config.limits_of(tenant), labels);
    let endpoints = if admitted && refused.is_none() { config.endpoints.as_slice() } else { &[] };
    Explanation {
        tenant: tenant.to_string(),
        series: series_text::format(labels),
        admitted,
        refused,
        endpoints: endpoints.iter().map(|endpoint| at(&config.tenants, endpoint, tenant, labels)).collect(),
    }
}

/// Why a push would be told that this series is refused: the check of pushes says so.
fn refusal(limits: &TenantLimits, labels: &[(String, String)]) -> Option<String> {
    let labels = labels.iter().map(|(name, value)| Label { name: name.as_bytes(), value: value.as_bytes() });
    let series = Series { labels: labels.collect(), samples: vec![Sample::default()], ..Series::default() };
    let mut push = Vec::new();
    encode_v1(&Request { series: vec![series], metadata: Vec::new() }, &mut push);
    let TenantLimits { label_names, label_value_bytes, .. } = *limits;
    let rules = Rules { label_names, label_value_bytes, ..Rules::default() };
    match Checker::new().check(Protocol::V1, &push, &rules) {
        Ok(checked) => checked.rejected.first().map(|offender| offender.cause.clone()),
        Err(malformed) => Some(malformed.to_string()),
    }
}

fn at(tenants: &Tenants, endpoint: &Endpoint, tenant: &TenantName, labels: &[(String, String)]) -> AtEndpoint {
    let name = endpoint.name.clone();
    if !endpoint.takes(tenant.as_str()) {
        let dropped_by = Some("the endpoint does not take this tenant (remote_write.tenants)".to_owned());
        return AtEndpoint { endpoint: name, takes: false, steps: Vec::new(), arrives: None, dropped_by };
    }
    let configured = delivery::steps(tenants, tenant, endpoint);
    let pipeline = Pipeline::new(configured.iter().map(|(_, step)| step.clone()).collect(), 0);
    let explained = pipeline.explain(labels);
    let steps: Vec<StepDone> = configured
        .iter()
        .zip(explained.steps)
        .map(|((origin, step), outcome)| done(name_of(*origin), config_of(step), outcome))
        .collect();
    let arrives = explained.labels.as_deref().map(series_text::format);
    let dropped_by = arrives.is_none().then(|| match steps.last() {
        Some(last) if last.outcome == Did::Dropped => last.step.clone(),
        _ => "no label is left".to_owned(),
    });
    AtEndpoint { endpoint: name, takes: true, steps, arrives, dropped_by }
}

fn done(step: String, config: String, outcome: Outcome) -> StepDone {
    let (outcome, series) = match outcome {
        Outcome::Unchanged => (Did::Unchanged, None),
        Outcome::Changed(labels) => (Did::Changed, Some(series_text::format(&labels))),
        Outcome::Dropped => (Did::Dropped, None),
    };
    StepDone { step, config, outcome, series }
}

/// What a step is called, for people.
fn name_of(origin: Origin) -> String {
    match origin {
        Origin::ExternalLabel => "external label".to_owned(),
        Origin::TenantRule(number) => format!("tenant's rule {number}"),
        Origin::TenantLabel => "tenant label".to_owned(),
        Origin::Rule(number) => format!("rule {number}"),
        Origin::Names => "names".to_owned(),
    }
}

/// How a step is configured, in short.
fn config_of(step: &Step) -> String {
    match step {
        Step::Default { name, value } | Step::Set { name, value } => format!("{name}={}", quoted(value)),
        Step::Rule(rule) => in_short(rule.definition()),
        Step::Escape(scheme) => format!("metric_name_escaping_scheme: {}", scheme.name()),
    }
}

/// A rule in YAML's flow style, without what is as if it were not written.
fn in_short(rule: &Definition) -> String {
    let usual = Definition::default();
    let mut keys = vec![format!("action: {}", rule.action.name())];
    if !rule.source_labels.is_empty() {
        let labels: Vec<String> = rule.source_labels.iter().map(|label| quoted(label)).collect();
        keys.push(format!("source_labels: [{}]", labels.join(", ")));
    }
    for (key, value, usual) in [
        ("separator", &rule.separator, &usual.separator),
        ("regex", &rule.regex, &usual.regex),
        ("target_label", &rule.target_label, &usual.target_label),
        ("replacement", &rule.replacement, &usual.replacement),
    ] {
        if value != usual {
            keys.push(format!("{key}: {}", quoted(value)));
        }
    }
    if rule.modulus != usual.modulus {
        keys.push(format!("modulus: {}", rule.modulus));
    }
    format!("{{{}}}", keys.join(", "))
}

/// JSON's strings are YAML's as well.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    const YAML: &str = r#"
tenants:
  - name: blue
    id: "1234"
    external_labels: {team: blue, zone: a}
    write_relabel_configs: [{source_labels: [job], regex: noise, action: drop}]
remote_write:
  - name: all
    url: http://localhost/
    tenant_label: tenant
    write_relabel_configs:
      - {source_labels: [zone], target_label: region, replacement: "eu-$1"}
      - {regex: zone, action: labeldrop}
  - {name: others, url: "http://localhost/b", tenants: [red]}
  - {name: none, url: "http://localhost/c", write_relabel_configs: [{regex: ".*", action: labeldrop}]}
listeners: [{address: "127.0.0.1:9009"}]
"#;

    fn ask(series: &str) -> Explanation {
        let config = writegate_config::parse(YAML, Path::new("a.yml"), Path::new("")).unwrap().config;
        explain(&config, &TenantName::new("blue").unwrap(), &super::series(series).unwrap())
    }

    #[test]
    fn each_step_is_told_with_its_configuration_and_what_it_did() {
        let explanation = ask("up{job=\"x\", zone=\"b\"}");
        let all = &explanation.endpoints[0];
        let steps: Vec<_> =
            all.steps.iter().map(|step| (step.step.as_str(), step.config.as_str(), step.outcome)).collect();
        let expected = [
            ("external label", "team=\"blue\"", Did::Changed),
            ("external label", "zone=\"a\"", Did::Unchanged),
            ("tenant's rule 1", "{action: drop, source_labels: [\"job\"], regex: \"noise\"}", Did::Unchanged),
            ("tenant label", "tenant=\"1234\"", Did::Changed),
            (
                "rule 1",
                "{action: replace, source_labels: [\"zone\"], target_label: \"region\", replacement: \"eu-$1\"}",
                Did::Changed,
            ),
            ("rule 2", "{action: labeldrop, regex: \"zone\"}", Did::Changed),
        ];
        assert_eq!(steps, expected);
        let arrives = "up{job=\"x\", region=\"eu-b\", team=\"blue\", tenant=\"1234\"}";
        assert_eq!((all.arrives.as_deref(), all.dropped_by.as_deref()), (Some(arrives), None));
        assert!(explanation.admitted);
    }

    #[test]
    fn what_does_not_arrive_says_why() {
        let explanation = ask("up{job=\"noise\"}");
        let dropped_by: Vec<_> = explanation.endpoints.iter().map(|at| at.dropped_by.as_deref()).collect();
        let not_taken = Some("the endpoint does not take this tenant (remote_write.tenants)");
        assert_eq!(dropped_by, [Some("tenant's rule 1"), not_taken, Some("tenant's rule 1")]);
        assert_eq!(explanation.endpoints[0].steps.len(), 3, "nothing behind the step that dropped it");
        let none = ask("up").endpoints.remove(2);
        assert_eq!((none.arrives, none.dropped_by.as_deref()), (None, Some("no label is left")));
    }

    #[test]
    fn what_the_gateway_refuses_itself_is_shown_no_endpoint() {
        let yaml = format!("{YAML}limits: {{label_names: 2, label_value_bytes: 3}}");
        let config = writegate_config::parse(&yaml, Path::new("a.yml"), Path::new("")).unwrap().config;
        let ask = |tenant: &str, text: &str| {
            let explanation = explain(&config, &TenantName::new(tenant).unwrap(), &series(text).unwrap());
            (explanation.admitted, explanation.refused, explanation.endpoints.len())
        };
        let refused = |why: &str| (true, Some(why.to_owned()), 0);
        assert_eq!(ask("blue", "up{job=\"x\"}"), (true, None, 3));
        assert_eq!(ask("blue", "{job=\"x\"}"), refused("no metric name"));
        assert_eq!(ask("blue", "up{a=\"x\", b=\"y\"}"), refused("3 labels, limit 2"));
        assert_eq!(ask("blue", "up{a=\"long\"}"), refused("value of label \"a\" has 4 bytes, limit 3"));
        assert_eq!(ask("red", "up"), (false, None, 0));
    }

    #[test]
    fn a_selector_is_told_that_one_series_is_wanted() {
        for selector in ["up{job=~\"x\"}", "up{job!=\"x\"}", "up{job!~\"x\"}", "up[5m]", "rate(up)"] {
            assert!(series(selector).unwrap_err().contains("not a selector"), "{selector}");
        }
        assert!(!series("up{").unwrap_err().contains("not a selector"));
    }

    #[test]
    fn the_escaping_of_names_is_a_step_of_its_own() {
        let ask = |scheme: &str| {
            let yaml = format!("remote_write: [{{url: 'http://localhost/', metric_name_escaping_scheme: {scheme}}}]");
            let config = writegate_config::parse(&yaml, Path::new("a.yml"), Path::new("")).unwrap().config;
            let labels = series("{\"http.requests\"}").unwrap();
            explain(&config, &TenantName::new("default").unwrap(), &labels).endpoints.remove(0)
        };
        let escaped = ask("underscores");
        assert_eq!(escaped.arrives.as_deref(), Some("http_requests"));
        assert_eq!((escaped.steps[0].step.as_str(), escaped.steps[0].outcome), ("names", Did::Changed));
        assert_eq!(escaped.steps[0].config, "metric_name_escaping_scheme: underscores");
        assert_eq!(ask("drop").dropped_by.as_deref(), Some("names"));
    }
}
