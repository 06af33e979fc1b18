//! Reads the operator's file.

use std::net::SocketAddr;
use std::path::PathBuf;

use crate::node::{Node, Value};
use crate::operator::{EndpointsFile, LeaderElection, OperatorConfig, OperatorPolicies, WriteStorage};
use crate::read::listener::parse_address;
use crate::read::section;
use crate::schema;
use crate::table::{Field, Report, Table};
use crate::tenant::TenantPattern;

pub(crate) fn operator(root: &Node, report: &mut Report) -> OperatorConfig {
    let table = Table::open(Field::new(root, ""), &schema::OPERATOR, report);
    let admin = section(&table, "admin", &schema::OPERATOR_ADMIN, report);
    let default_address = SocketAddr::from(([127, 0, 0, 1], 9011));
    let address = admin.get("address").and_then(|field| field.parse(report, parse_address));
    let prometheus_namespace = table.value("prometheus_namespace", report, parse_namespace);
    OperatorConfig {
        admin: address.unwrap_or(default_address),
        domain: table.value("domain", report, parse_domain),
        prometheus_agents: table.bool("prometheus_agents", report),
        prometheus_template: mapping(&table, "prometheus_template", report),
        default_target: mapping(&table, "default_target", report),
        annotation_mode: table.choice("annotation_mode", report, &schema::ANNOTATION_MODES),
        leader_election: leader_election(&table, &prometheus_namespace, report),
        policies: policies(&table, report),
        file: endpoints_file(&table, report),
        write_storage: write_storage(&table, &prometheus_namespace, report),
        prometheus_namespace,
    }
}

/// The mapping at `key`, as it is: somebody else reads it.
fn mapping(table: &Table<'_>, key: &str, report: &mut Report) -> Option<Node> {
    let field = table.get(key)?;
    if !matches!(field.node.value, Value::Map(_)) {
        field.wrong(report, format_args!("expected a mapping, found {}", field.node.kind()));
        return None;
    }
    Some(field.node.clone())
}

fn leader_election(file: &Table<'_>, prometheus_namespace: &str, report: &mut Report) -> Option<LeaderElection> {
    let table = section(file, "leader_election", &schema::OPERATOR_LEADER_ELECTION, report);
    let namespace = table.get("namespace").and_then(|field| field.parse(report, parse_namespace));
    let name = table.value("name", report, parse_object_name);
    let namespace = namespace.unwrap_or_else(|| prometheus_namespace.to_owned());
    table.bool("enabled", report).then_some(LeaderElection { namespace, name })
}

fn policies(file: &Table<'_>, report: &mut Report) -> OperatorPolicies {
    let table = section(file, "policies", &schema::OPERATOR_POLICIES, report);
    let namespaces = |key: &str, report: &mut Report| -> Vec<String> {
        let items = table.get(key).map(|list| list.items(report)).unwrap_or_default();
        items.iter().filter_map(|item| item.parse(report, parse_namespace)).collect()
    };
    let hosts = table.get("allowed_hosts").map(|list| list.items(report)).unwrap_or_default();
    let host = |text: &str| match TenantPattern::new(&text.to_ascii_lowercase()) {
        Ok(pattern) => Ok(pattern),
        Err(_) => Err("expected a host such as `mimir.example.org` or `*.example.org`"),
    };
    OperatorPolicies {
        allow_files: table.bool("allow_files", report),
        allow_private_proxies: table.bool("allow_private_proxies", report),
        allow_pod_identity: table.bool("allow_pod_identity", report),
        environment_proxy: table.bool("environment_proxy", report),
        adopt_finalizers: table.bool("adopt_finalizers", report),
        remote_write_namespaces: namespaces("remote_write_namespaces", report),
        annotation_namespaces: namespaces("annotation_namespaces", report),
        allowed_hosts: hosts.iter().filter_map(|item| item.parse(report, host)).collect(),
        max_targets_per_namespace: table.number("max_targets_per_namespace", 1, report),
        max_target_bytes: table.size("max_target_bytes", report).max(1),
    }
}

fn endpoints_file(file: &Table<'_>, report: &mut Report) -> EndpointsFile {
    let table = section(file, "file", &schema::OPERATOR_FILE, report);
    let path = |text: &str| match text {
        "" => Err("expected a name"),
        text if text.contains('\0') => Err("a name must not have a null byte"),
        text => Ok(PathBuf::from(text)),
    };
    EndpointsFile { path: table.value("path", report, path), secrets: table.value("secrets", report, path) }
}

fn write_storage(file: &Table<'_>, prometheus_namespace: &str, report: &mut Report) -> Vec<WriteStorage> {
    let mut all: Vec<WriteStorage> = Vec::new();
    for item in file.get("write_storage").map(|list| list.items(report)).unwrap_or_default() {
        let table = Table::open(item, &schema::OPERATOR_WRITE_STORAGE, report);
        let namespace = table.get("namespace").and_then(|field| field.parse(report, parse_namespace));
        let name = table.required("name", report).and_then(|field| field.parse(report, parse_object_name));
        let key = table.required("key", report).and_then(|field| field.text(report)).map(str::to_owned);
        let (Some(name), Some(key)) = (name, key) else { continue };
        if all.iter().any(|other| other.name == name) {
            table.field().wrong(
                report,
                format_args!("another entry names the Secret {name}; endpoints need names of their own"),
            );
        }
        let namespace = namespace.unwrap_or_else(|| prometheus_namespace.to_owned());
        all.push(WriteStorage { namespace, name, key });
    }
    all
}

/// A DNS label (RFC 1123 §2.1), as Kubernetes names namespaces.
fn parse_namespace(text: &str) -> Result<String, &'static str> {
    let valid = text.len() <= 63 && !text.contains('.') && parse_object_name(text).is_ok();
    if valid { Ok(text.to_owned()) } else { Err("expected the name of a namespace") }
}

/// A DNS subdomain, as Kubernetes names most objects.
fn parse_object_name(text: &str) -> Result<String, &'static str> {
    let label = |label: &str| {
        let inside = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        !label.is_empty() && label.bytes().all(inside) && !label.starts_with('-') && !label.ends_with('-')
    };
    let valid = text.len() <= 253 && text.split('.').all(label);
    if valid { Ok(text.to_owned()) } else { Err("expected a name of lower-case letters, digits, `-` and `.`") }
}

fn parse_domain(text: &str) -> Result<String, &'static str> {
    // With what is put before it, it must stay a prefix of an annotation.
    match parse_object_name(text) {
        Ok(domain) if domain.len() <= 200 => Ok(domain),
        Ok(_) | Err(_) => Err("expected a domain such as `example.org`"),
    }
}
