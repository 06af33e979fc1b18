//! A tenant's Prometheus, made from the administrator's template where there is none.

use serde_json::{Map, Value as Json, json};
use writegate_config::{Node, Value};

use super::{Change, Plan};
use crate::declare::{Declaration, Settings, SourceId, State};
use crate::observed::{Key, PrometheusId, PrometheusKind, World};
use crate::spec::filled;
use crate::words;

/// A Prometheus object for every namespace that has the annotation and none; gone with the namespace.
pub(super) fn templates(world: &World, settings: &Settings, declared: &[Declaration], plan: &mut Plan) {
    let prometheus_namespace = &settings.config.prometheus_namespace;
    if let Some(template) = &settings.config.prometheus_template {
        for declaration in declared {
            let SourceId::Annotation(tenant) = &declaration.source else { continue };
            let id = PrometheusId { kind: PrometheusKind::Prometheus, key: Key::new(prometheus_namespace, tenant) };
            let agent = PrometheusId { kind: PrometheusKind::Agent, key: id.key.clone() };
            let there = world.prometheuses.contains_key(&id)
                || settings.config.prometheus_agents && world.prometheuses.contains_key(&agent);
            let refused = matches!(&declaration.state, State::Refused(refusal) if refusal.reason.revokes());
            if !there && !refused {
                plan.changes
                    .push(Change::CreatePrometheus(id.clone(), from_template(&filled(template, tenant), &id, tenant)));
            }
        }
    }
    for (id, object) in &world.prometheuses {
        let made = object["metadata"]["labels"][words::MANAGED_BY] == words::OPERATOR;
        let tenant = object["metadata"]["annotations"][words::IDENTITY]
            .as_str()
            .and_then(|text| text.strip_prefix("prometheus/"));
        let gone =
            tenant.is_some_and(|tenant| world.namespaces.get(tenant).is_none_or(|namespace| namespace.terminating));
        if made
            && gone
            && id.key.namespace == *prometheus_namespace
            && object["metadata"]["deletionTimestamp"].is_null()
        {
            let version = object["metadata"]["resourceVersion"].as_str().unwrap_or_default().to_owned();
            plan.changes.push(Change::DeletePrometheus(id.clone(), version));
        }
    }
}

/// The selectors by which a Prometheus finds what to scrape in other namespaces. Labels of workloads are their owners' to set, so
/// a tenant's Prometheus looks nowhere but in the tenant's namespace, unless the template says where.
const NAMESPACE_SELECTORS: [&str; 5] = [
    "podMonitorNamespaceSelector",
    "serviceMonitorNamespaceSelector",
    "probeNamespaceSelector",
    "scrapeConfigNamespaceSelector",
    "ruleNamespaceSelector",
];

fn from_template(template: &Node, id: &PrometheusId, tenant: &str) -> Json {
    let mut object = typed(template);
    object["apiVersion"] = json!("monitoring.coreos.com/v1");
    object["kind"] = json!("Prometheus");
    object["metadata"]["namespace"] = json!(id.key.namespace);
    object["metadata"]["name"] = json!(id.key.name);
    object["metadata"]["labels"][words::MANAGED_BY] = json!(words::OPERATOR);
    object["metadata"]["annotations"][words::IDENTITY] = json!(format!("prometheus/{tenant}"));
    for selector in NAMESPACE_SELECTORS {
        if object["spec"][selector].is_null() {
            object["spec"][selector] = json!({"matchLabels": {"kubernetes.io/metadata.name": tenant}});
        }
    }
    object
}

/// What YAML takes plain scalars for.
fn typed(node: &Node) -> Json {
    match &node.value {
        Value::Null => Json::Null,
        Value::Text(text) => match text.as_str() {
            "true" => json!(true),
            "false" => json!(false),
            text => text.parse::<i64>().map_or_else(|_| json!(text), |number| json!(number)),
        },
        Value::List(items) => Json::Array(items.iter().map(typed).collect()),
        Value::Map(entries) => {
            let both = |(key, value): &(Node, Node)| (key.text().unwrap_or_default().to_owned(), typed(value));
            Json::Object(entries.iter().map(both).collect::<Map<_, _>>())
        }
    }
}
