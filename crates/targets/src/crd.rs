//! The CustomResourceDefinition of `RemoteWrite`: Giant Swarm's, whose objects stay valid, with what prometheus-operator has
//! learnt since, Secrets in clear text or by reference, conditions and columns.

use serde_json::{Map, Value as Json, json};

use crate::spec::schema::{Field, Kind, REMOTE_WRITE, SECRET_OR_CONFIG_MAP, SELECTOR};
use crate::words::{GROUP, VERSION};

/// What API servers say when a value is not base64 is this pattern, so it says what it means.
const BASE64: &str = "^(?P<base64>(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?)$";

/// Bounds that let the API server estimate what its rules cost. A Secret holds at most 1 MiB.
const MAX_SECRETS: u32 = 64;

/// All definitions.
#[must_use]
pub fn definitions() -> Vec<Json> {
    vec![json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": format!("remotewrites.{GROUP}")},
        "spec": {
            "group": GROUP,
            "names": {
                "categories": ["common", "giantswarm"],
                "kind": "RemoteWrite",
                "listKind": "RemoteWriteList",
                "plural": "remotewrites",
                "singular": "remotewrite",
            },
            "scope": "Namespaced",
            "versions": [{
                "name": VERSION,
                "served": true,
                "storage": true,
                "subresources": {"status": {}},
                "additionalPrinterColumns": [
                    column("Ready", "string", ".status.conditions[?(@.type==\"Ready\")].status", 0),
                    column("Reason", "string", ".status.conditions[?(@.type==\"Ready\")].reason", 0),
                    column("Message", "string", ".status.conditions[?(@.type==\"Ready\")].message", 1),
                    column("Age", "date", ".metadata.creationTimestamp", 0),
                ],
                "schema": {"openAPIV3Schema": {
                    "type": "object",
                    "description": "A target of remote write for the Prometheus objects that a selector finds.",
                    "required": ["spec"],
                    "properties": {
                        "apiVersion": {"type": "string"},
                        "kind": {"type": "string"},
                        "metadata": {"type": "object"},
                        "spec": spec(),
                        "status": status(),
                    },
                }},
            }],
        },
    })]
}

fn column(name: &str, kind: &str, path: &str, priority: u32) -> Json {
    let mut column = json!({"name": name, "type": kind, "jsonPath": path});
    if priority > 0 {
        column["priority"] = json!(priority);
    }
    column
}

fn spec() -> Json {
    let mut remote_write = object(REMOTE_WRITE);
    remote_write["description"] =
        json!("A RemoteWriteSpec, as in a Prometheus object. `name` is the name of this object.");
    json!({
        "type": "object",
        "required": ["clusterSelector", "remoteWrite"],
        "properties": {
            "clusterSelector": {
                "type": "object",
                "description": "Labels of Prometheus objects in all namespaces; {} selects every one, except those labelled app.kubernetes.io/name: prometheus-agent or prometheus-remotewrite.",
                "x-kubernetes-map-type": "atomic",
                "properties": {
                    "matchLabels": {"type": "object", "additionalProperties": {"type": "string"}},
                    "matchExpressions": {"type": "array", "items": {
                        "type": "object",
                        "required": ["key", "operator"],
                        "properties": {
                            "key": {"type": "string"},
                            "operator": {"type": "string"},
                            "values": {"type": "array", "items": {"type": "string"}},
                        },
                    }},
                },
            },
            "remoteWrite": remote_write,
            "secrets": {
                "type": "array",
                "maxItems": MAX_SECRETS,
                "description": "Secrets that are put beside every selected Prometheus.",
                "items": {
                    "type": "object",
                    "required": ["name"],
                    "properties": {
                        "name": {"type": "string", "maxLength": 253, "description": "The Secret's name."},
                        "data": {
                            "type": "object",
                            "description": "Values as base64, as in a Secret.",
                            "additionalProperties": {"type": "string", "format": "byte", "pattern": BASE64},
                        },
                        "stringData": {
                            "type": "object",
                            "description": "Values as plain text.",
                            "additionalProperties": {"type": "string"},
                        },
                        "secretRef": {
                            "type": "object",
                            "description": "A Secret of this object's namespace that is copied, instead of values written here.",
                            "required": ["name"],
                            "properties": {"name": {"type": "string", "minLength": 1, "maxLength": 253}},
                        },
                    },
                    "x-kubernetes-validations": [{
                        "rule": "!has(self.secretRef) || (!has(self.data) && !has(self.stringData))",
                        "message": "secretRef excludes data and stringData",
                    }],
                },
            },
        },
    })
}

fn status() -> Json {
    let reference = json!({
        "type": "object",
        "x-kubernetes-map-type": "atomic",
        "properties": {
            "apiVersion": {"type": "string"},
            "fieldPath": {"type": "string"},
            "kind": {"type": "string"},
            "name": {"type": "string"},
            "namespace": {"type": "string"},
            "resourceVersion": {"type": "string"},
            "uid": {"type": "string"},
        },
    });
    json!({
        "type": "object",
        "properties": {
            "configuredPrometheuses": {
                "type": "array",
                "description": "The Prometheus objects that have the target.",
                "items": reference,
            },
            "syncedSecrets": {"type": "array", "description": "The Secrets that were put beside them.", "items": reference},
            "conditions": {
                "type": "array",
                "x-kubernetes-list-type": "map",
                "x-kubernetes-list-map-keys": ["type"],
                "items": {
                    "type": "object",
                    "required": ["type", "status", "lastTransitionTime", "reason", "message"],
                    "properties": {
                        "type": {"type": "string", "maxLength": 316},
                        "status": {"type": "string", "enum": ["True", "False", "Unknown"]},
                        "observedGeneration": {"type": "integer", "format": "int64", "minimum": 0},
                        "lastTransitionTime": {"type": "string", "format": "date-time"},
                        "reason": {"type": "string", "minLength": 1, "maxLength": 1024},
                        "message": {"type": "string", "maxLength": 32768},
                    },
                },
            },
        },
    })
}

/// A mapping of known fields. Unknown ones are kept, so that the operator can tell of them by name, where a schema that cuts them
/// would leave a target without its credentials and nobody the wiser.
fn object(fields: &[Field]) -> Json {
    let properties: Map<String, Json> = fields.iter().map(|field| (field.name.to_owned(), kind(&field.kind))).collect();
    let required: Vec<&str> = fields.iter().filter(|field| field.required).map(|field| field.name).collect();
    let mut object = json!({
        "type": "object",
        "properties": properties,
        "x-kubernetes-preserve-unknown-fields": true,
    });
    if !required.is_empty() {
        object["required"] = json!(required);
    }
    object
}

fn kind(kind: &Kind) -> Json {
    match kind {
        Kind::Text | Kind::SecretText | Kind::Url | Kind::File | Kind::Duration | Kind::Choice(_) => {
            json!({"type": "string"})
        }
        Kind::Bool => json!({"type": "boolean"}),
        Kind::Integer { bits, .. } => json!({"type": "integer", "format": format!("int{bits}")}),
        Kind::Texts => json!({"type": "array", "items": {"type": "string"}}),
        Kind::TextMap => json!({"type": "object", "additionalProperties": {"type": "string"}}),
        Kind::Object(fields) => object(fields),
        Kind::Objects(fields) => json!({"type": "array", "items": object(fields)}),
        Kind::SecretKey => selector(),
        Kind::SecretOrConfigMap => {
            let mut either = object(SECRET_OR_CONFIG_MAP);
            either["properties"] = json!({"secret": selector(), "configMap": selector()});
            either
        }
        Kind::SecretKeys => {
            json!({"type": "object", "additionalProperties": {"type": "array", "items": selector()}})
        }
    }
}

/// As Giant Swarm's schema has it: the name may be missing, which the operator tells.
fn selector() -> Json {
    let mut selector = object(SELECTOR);
    selector["required"] = json!(["key"]);
    selector["x-kubernetes-map-type"] = json!("atomic");
    selector
}
