//! What is served, as clients ask for it: group and resource lists, in the old form and in the aggregated one, and of
//! `OpenAPI` as much as `kubectl` needs to leave validation to the server.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use crate::kinds::{Kind, Kinds};

/// The `Accept` and `Content-Type` of aggregated discovery (KEP-3352).
pub(crate) const AGGREGATED: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";

/// The release that is kept to.
const VERSION: (&str, &str) = ("1", "36");

/// The document at this path, if there is one.
pub(crate) fn document(kinds: &Kinds, path: &str, aggregated: bool) -> Option<Value> {
    let segments: Vec<&str> = path.split('/').filter(|segment| !segment.is_empty()).collect();
    match segments[..] {
        ["version"] => Some(version()),
        ["api" | "apis"] if aggregated => Some(aggregated_groups(kinds, segments == ["api"])),
        ["api"] => Some(json!({"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []})),
        ["apis"] => {
            let groups: Vec<Value> = groups(kinds).iter().map(|group| group_document(kinds, group)).collect();
            Some(json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}))
        }
        ["api", "v1"] => Some(resources(kinds, "", "v1")),
        ["apis", group] if !versions(kinds, group).is_empty() => {
            let mut document = group_document(kinds, group);
            document["kind"] = json!("APIGroup");
            document["apiVersion"] = json!("v1");
            Some(document)
        }
        ["apis", group, version] if kinds.has_group_version(group, version) => Some(resources(kinds, group, version)),
        ["openapi", "v3"] => Some(openapi_index(kinds)),
        ["openapi", "v3", "api", "v1"] => Some(openapi(kinds, "", "v1")),
        ["openapi", "v3", "apis", group, version] => Some(openapi(kinds, group, version)),
        _ => None,
    }
}

fn version() -> Value {
    let (major, minor) = VERSION;
    json!({
        "major": major, "minor": minor, "gitVersion": format!("v{major}.{minor}.0"), "gitCommit": "", "gitTreeState": "clean",
        "buildDate": "2026-04-22T00:00:00Z", "goVersion": "go1.26", "compiler": "gc", "platform": "linux/amd64",
    })
}

/// All groups but the core, each once.
fn groups(kinds: &Kinds) -> Vec<String> {
    let mut groups: Vec<String> = Vec::new();
    for kind in kinds.iter().filter(|kind| !kind.group.is_empty()) {
        if !groups.contains(&kind.group) {
            groups.push(kind.group.clone());
        }
    }
    groups
}

/// A rank by which versions are preferred: stable ones before betas before alphas, later before earlier.
fn rank(version: &str) -> (u8, u32, u32) {
    let number = |text: &str| text.parse().unwrap_or_default();
    let rest = version.strip_prefix('v').unwrap_or_default();
    match rest.split_once("alpha").map(|parts| (1, parts)).or_else(|| rest.split_once("beta").map(|parts| (2, parts))) {
        Some((stage, (major, minor))) => (stage, number(major), number(minor)),
        None => (3, number(rest), 0),
    }
}

fn versions(kinds: &Kinds, group: &str) -> Vec<String> {
    let mut versions: Vec<String> = Vec::new();
    for kind in kinds.iter().filter(|kind| kind.group == group) {
        if !versions.contains(&kind.version) {
            versions.push(kind.version.clone());
        }
    }
    versions.sort_by_key(|version| std::cmp::Reverse(rank(version)));
    versions
}

fn group_document(kinds: &Kinds, group: &str) -> Value {
    let versions: Vec<Value> = versions(kinds, group)
        .iter()
        .map(|version| json!({"groupVersion": format!("{group}/{version}"), "version": version}))
        .collect();
    json!({"name": group, "preferredVersion": versions.first(), "versions": versions})
}

fn of<'a>(kinds: &'a Kinds, group: &'a str, version: &'a str) -> impl Iterator<Item = &'a Arc<Kind>> {
    kinds.iter().filter(move |kind| kind.group == group && kind.version == version)
}

fn resources(kinds: &Kinds, group: &str, version: &str) -> Value {
    let group_version = if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") };
    let mut list = Vec::new();
    for kind in of(kinds, group, version) {
        let mut resource = json!({
            "name": kind.plural, "singularName": kind.singular, "namespaced": kind.namespaced, "kind": kind.kind,
            "verbs": kind.verbs,
        });
        if !kind.short_names.is_empty() {
            resource["shortNames"] = json!(kind.short_names);
        }
        if !kind.categories.is_empty() {
            resource["categories"] = json!(kind.categories);
        }
        list.push(resource);
        for subresource in &kind.subresources {
            list.push(json!({
                "name": kind.resource(subresource), "singularName": "", "namespaced": kind.namespaced, "kind": kind.kind,
                "verbs": subresource_verbs(subresource),
            }));
        }
    }
    json!({"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": group_version, "resources": list})
}

fn subresource_verbs(subresource: &str) -> Value {
    if subresource == "finalize" { json!(["update"]) } else { json!(["get", "patch", "update"]) }
}

fn aggregated_groups(kinds: &Kinds, core: bool) -> Value {
    let names = if core { vec![String::new()] } else { groups(kinds) };
    let response = |kind: &Kind| json!({"group": kind.group, "version": kind.version, "kind": kind.kind});
    let resource = |kind: &Arc<Kind>| {
        let subresources: Vec<Value> = kind
            .subresources
            .iter()
            .map(|name| json!({"subresource": name, "responseKind": response(kind), "verbs": subresource_verbs(name)}))
            .collect();
        json!({
            "resource": kind.plural, "responseKind": response(kind), "singularResource": kind.singular,
            "scope": if kind.namespaced { "Namespaced" } else { "Cluster" }, "verbs": kind.verbs,
            "shortNames": kind.short_names, "categories": kind.categories, "subresources": subresources,
        })
    };
    let group = |name: &String| {
        let versions: Vec<Value> = versions(kinds, name)
            .iter()
            .map(|version| {
                let resources: Vec<Value> = of(kinds, name, version).map(resource).collect();
                json!({"version": version, "freshness": "Current", "resources": resources})
            })
            .collect();
        let metadata =
            if core { json!({"creationTimestamp": null}) } else { json!({"name": name, "creationTimestamp": null}) };
        json!({"metadata": metadata, "versions": versions})
    };
    let items: Vec<Value> = names.iter().map(group).collect();
    json!({"kind": "APIGroupDiscoveryList", "apiVersion": "apidiscovery.k8s.io/v2", "metadata": {}, "items": items})
}

fn root(kind: &Kind) -> String {
    if kind.group.is_empty() { "api/v1".to_owned() } else { format!("apis/{}/{}", kind.group, kind.version) }
}

fn openapi_index(kinds: &Kinds) -> Value {
    let paths: Map<String, Value> = kinds
        .iter()
        .map(|kind| (root(kind), json!({"serverRelativeURL": format!("/openapi/v3/{}", root(kind))})))
        .collect();
    json!({"paths": paths})
}

/// That objects are validated here: clients look for the parameter.
fn openapi(kinds: &Kinds, group: &str, version: &str) -> Value {
    let mut paths = Map::new();
    for kind in of(kinds, group, version) {
        let namespace = if kind.namespaced { "namespaces/{namespace}/" } else { "" };
        let path = format!("/{}/{namespace}{}/{{name}}", root(kind), kind.plural);
        paths.insert(path, json!({"patch": {
            "parameters": [{"name": "fieldValidation", "in": "query", "schema": {"type": "string", "uniqueItems": true}}],
            "responses": {"200": {"description": "OK"}},
            "x-kubernetes-group-version-kind": {"group": kind.group, "version": kind.version, "kind": kind.kind},
        }}));
    }
    json!({"openapi": "3.0.0", "info": {"title": "Kubernetes", "version": "v1.36.0"}, "paths": paths})
}
