//! What the Kubernetes operator runs on: its own file, as strict as the gateway's.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use crate::node::Node;
use crate::problem::{Diagnostic, Problems};
use crate::table::Report;
use crate::tenant::TenantPattern;
use crate::{file, read};

/// What the operator's file says. Namespaces are valid names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OperatorConfig {
    /// Where metrics and health are served.
    pub admin: SocketAddr,
    /// Of the annotation keys.
    pub domain: String,
    /// Where tenants' Prometheus objects are.
    pub prometheus_namespace: String,
    /// Whether `PrometheusAgent` objects get targets.
    pub prometheus_agents: bool,
    /// A Prometheus object with `{{namespace}}` in it.
    pub prometheus_template: Option<Node>,
    /// A `RemoteWriteSpec` with `{{namespace}}` in it.
    pub default_target: Option<Node>,
    /// Whether an annotation's target replaces the default one.
    pub annotation_mode: AnnotationMode,
    /// Which of several operators acts; `None`: this is the only one.
    pub leader_election: Option<LeaderElection>,
    /// What people may declare.
    pub policies: OperatorPolicies,
    /// What `--apply file` writes.
    pub file: EndpointsFile,
    /// Secrets with one endpoint each, in the order written; names unique.
    pub write_storage: Vec<WriteStorage>,
}

/// What becomes of the default target where there is an annotation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AnnotationMode {
    /// It goes.
    #[default]
    Replace,
    /// It stays beside the annotation's.
    Add,
}

/// The Lease that one operator holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaderElection {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

/// What people may declare.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OperatorPolicies {
    /// Files of the pod that sends.
    pub allow_files: bool,
    /// Proxies at private addresses; metadata services anywhere.
    pub allow_private_proxies: bool,
    /// The identity of the pod that sends.
    pub allow_pod_identity: bool,
    /// The operator's own proxy, for targets without one.
    pub environment_proxy: bool,
    /// Whether what the old operator left is taken over.
    pub adopt_finalizers: bool,
    /// Who may create `RemoteWrite` objects; empty: all.
    pub remote_write_namespaces: Vec<String>,
    /// Who may annotate; empty: all.
    pub annotation_namespaces: Vec<String>,
    /// Where declared targets may send, in lower case; empty: anywhere.
    pub allowed_hosts: Vec<TenantPattern>,
    /// `RemoteWrite` objects of one namespace; at least 1.
    pub max_targets_per_namespace: u32,
    /// Bytes of one declared target; at least 1.
    pub max_target_bytes: u64,
}

/// What `--apply file` writes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndpointsFile {
    /// For the gateway's `remote_write_files`.
    pub path: PathBuf,
    /// Where secrets are written.
    pub secrets: PathBuf,
}

/// A Secret with an endpoint, as Observatorium's operator takes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WriteStorage {
    /// The Secret's namespace.
    pub namespace: String,
    /// The Secret's name.
    pub name: String,
    /// The key that holds the endpoint.
    pub key: String,
}

/// Reads the operator's file.
///
/// # Errors
/// If it cannot be read or anything in it is wrong: all problems, not only the first.
pub fn load_operator(path: &Path) -> Result<OperatorConfig, Problems> {
    match file::read_text_or_pipe(path) {
        Ok(text) => parse_operator(&text, path),
        Err(error) => Err(Problems(vec![Diagnostic::of_file(path, format!("cannot read the file: {error}"))])),
    }
}

/// Reads `text` as the content of `origin`.
///
/// # Errors
/// As [`load_operator`].
pub fn parse_operator(text: &str, origin: &Path) -> Result<OperatorConfig, Problems> {
    let root = Node::parse(text, origin).map_err(|problem| Problems(vec![*problem]))?;
    let mut report = Report::new(origin, Path::new(""));
    let config = read::operator(&root, &mut report);
    report.problems.sort_by_key(|problem| (problem.line, problem.column));
    if report.problems.is_empty() { Ok(config) } else { Err(Problems(report.problems)) }
}

impl OperatorConfig {
    /// What the operator runs on without a file.
    #[must_use]
    pub fn without_file() -> Self {
        read::operator(&Node::EMPTY, &mut Report::new(Path::new(""), Path::new("")))
    }
}
