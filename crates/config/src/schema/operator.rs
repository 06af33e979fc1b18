//! The keys of the Kubernetes operator's own file.

use super::{REQUIRED, Section, key};
use crate::operator::AnnotationMode;

pub(crate) const ANNOTATION_MODES: [(&str, AnnotationMode); 2] =
    [("replace", AnnotationMode::Replace), ("add", AnnotationMode::Add)];

pub(crate) const OPERATOR: Section = Section {
    title: "the operator's file",
    keys: &[
        key("admin", "mapping", "", "metrics and health"),
        key("domain", "domain", "adevinta.com", "of the annotation keys: `metrics.monitoring.<domain>/remote-write`"),
        key(
            "prometheus_namespace",
            "namespace",
            "platform-services",
            "where tenants' Prometheus objects are: `<this>/<the tenant's namespace>`",
        ),
        key("prometheus_agents", "bool", "false", "PrometheusAgent objects get targets too"),
        key(
            "prometheus_template",
            "mapping",
            "",
            "a Prometheus object with `{{namespace}}` in it, made for namespaces with the annotation that have none",
        ),
        key(
            "default_target",
            "mapping",
            "",
            "a RemoteWriteSpec with `{{namespace}}` in it, for namespaces without the annotation; its Secrets are in `prometheus_namespace`",
        ),
        key("annotation_mode", "replace or add", "replace", "whether an annotation's target replaces the default one"),
        key("leader_election", "mapping", "", "which of several operators acts"),
        key("policies", "mapping", "", "what people may declare"),
        key("file", "mapping", "", "what `--apply file` writes"),
        key(
            "write_storage",
            "list",
            "",
            "Secrets with one endpoint each, as Observatorium's operator takes them, for every tenant; with `--apply file`",
        ),
    ],
};

pub(crate) const OPERATOR_ADMIN: Section = Section {
    title: "the operator's `admin`",
    keys: &[key("address", "host:port", "127.0.0.1:9011", "the IP address and port to bind")],
};

pub(crate) const OPERATOR_LEADER_ELECTION: Section = Section {
    title: "the operator's `leader_election`",
    keys: &[
        key("enabled", "bool", "true", "false: this is the only operator"),
        key("namespace", "namespace", "`prometheus_namespace`", "where the Lease is"),
        key("name", "text", "writegate-operator", "its name"),
    ],
};

pub(crate) const OPERATOR_POLICIES: Section = Section {
    title: "the operator's `policies`",
    keys: &[
        key("allow_files", "bool", "false", "declared targets may name files of the pod that sends: `*File`"),
        key(
            "allow_private_proxies",
            "bool",
            "false",
            "declared targets may have proxies at private addresses, and name metadata services",
        ),
        key(
            "allow_pod_identity",
            "bool",
            "false",
            "declared targets may use the identity of the pod that sends: `sigv4` without keys, `azureAd` without a secret",
        ),
        key(
            "environment_proxy",
            "bool",
            "false",
            "targets without a proxy get the operator's: `HTTPS_PROXY`, `HTTP_PROXY`, `NO_PROXY`",
        ),
        key("adopt_finalizers", "bool", "false", "take over what the old operator left: finalizers, entries, Secrets"),
        key("remote_write_namespaces", "list of namespaces", "[]", "who may create RemoteWrite objects; empty: all"),
        key("annotation_namespaces", "list of namespaces", "[]", "who may annotate; empty: all"),
        key(
            "allowed_hosts",
            "list of hosts",
            "[]",
            "where declared targets may send, with `*` as a wildcard; empty: anywhere",
        ),
        key("max_targets_per_namespace", "number", "500", "RemoteWrite objects of one namespace; the oldest count"),
        key("max_target_bytes", "size", "64KiB", "of one declared target"),
    ],
};

pub(crate) const OPERATOR_FILE: Section = Section {
    title: "the operator's `file`",
    keys: &[
        key(
            "path",
            "file",
            "endpoints.yaml",
            "for the gateway's `remote_write_files`; relative to the working directory",
        ),
        key("secrets", "directory", "secrets", "where secrets are written, mode 0600; nothing else may be in it"),
    ],
};

pub(crate) const OPERATOR_WRITE_STORAGE: Section = Section {
    title: "the operator's `write_storage[]`",
    keys: &[
        key("namespace", "namespace", "`prometheus_namespace`", "where the Secret is"),
        key("name", "text", REQUIRED, "the Secret, and the endpoint's name"),
        key("key", "text", REQUIRED, "the key that holds `url` and `http_client_config`"),
    ],
};
