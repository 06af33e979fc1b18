//! Writegate's configuration: `writegate.yml` and the files it names, and the operator's file, read strictly, with positions
//! and hints.
//!
//! What is written (`node`) becomes [`Config`], which cannot hold a wrong value. No sockets, no logging, no clock;
//! the only files read are the ones the configuration consists of.

mod access;
mod cidr;
mod config;
mod diff;
mod endpoint;
mod file;
mod limits;
mod node;
mod observatorium;
mod operator;
mod otlp;
mod problem;
mod read;
mod reference;
mod relabel;
mod schema;
mod secret;
mod table;
mod tenant;
mod units;
mod url;
mod warn;
mod yaml;

use std::path::Path;

pub use access::{
    Authenticator, CertificateFiles, CertificateRules, CertificateSource, ClientAuth, Credential, InvalidIssuer,
    Issuer, Jwt, JwtKeys, ServerTls,
};
pub use cidr::{InvalidNetwork, IpNet};
pub use config::{
    Admin, AdminCredential, AdminPublic, Config, Listener, Log, OnFull, Protocols, Size, TenantSource, Timeouts,
};
pub use diff::{Changes, Diff, diff};
pub use endpoint::{
    Auth, AzureAd, AzureCloud, AzureIdentity, ClientTls, CompressionChoice, Endpoint, Header, HeaderValue, OAuth2,
    OAuth2Grant, ProtocolChoice, Proxy, ProxyChoice, Queue, SigV4, StartFrom, TlsVersion,
};
pub use file::{MOST_BYTES, read_file, read_text};
pub use limits::{LimitOverrides, Limits, OverLimit, PathPattern, RateLimit, TenantLimits};
pub use node::{Node, Place, Value};
pub use observatorium::{Login, Observatorium, Oidc, Permission, Rbac, Role, RoleBinding, Subject, SubjectKind};
pub use operator::{
    AnnotationMode, EndpointsFile, LeaderElection, OperatorConfig, OperatorPolicies, WriteStorage, load_operator,
    parse_operator,
};
pub use otlp::{DeltaTemporality, Otlp, PromoteAttributes, TranslationStrategy};
pub use problem::{Diagnostic, Problems};
pub use reference::reference;
pub use relabel::{NameEscaping, RelabelAction, RelabelConfig};
pub use secret::{HIDDEN, ReadSecret, Secret, SecretSource, TextSource};
pub use table::nearest;
pub use tenant::{
    HostPattern, InvalidTenantName, MAX_TENANT_NAME_BYTES, NamePattern, TenantConfig, TenantLog, TenantName,
    TenantPattern, Tenants,
};
pub use url::{InvalidUrl, Scheme, Url, percent_decoded, percent_encoded};

pub use units::{InvalidUnit, parse_duration};

use table::Report;

/// A usable configuration, and what its owner should know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loaded {
    /// What to run on.
    pub config: Config,
    /// What is accepted but will not do what it seems to, or will hurt later. Sorted by file and position.
    pub warnings: Vec<Diagnostic>,
}

/// Reads `path` and every file it names. File names in it are relative to its directory, `log.path` to the working
/// directory.
///
/// # Errors
/// If a file cannot be read or anything in it is wrong: all problems, not only the first.
pub fn load(path: &Path) -> Result<Loaded, Problems> {
    match file::read_text_or_pipe(path) {
        Ok(text) => parse(&text, path, path.parent().unwrap_or_else(|| Path::new(""))),
        Err(error) => Err(Problems(vec![Diagnostic::of_file(path, format!("cannot read the file: {error}"))])),
    }
}

/// Reads `text` as the content of `origin`; file names in it are relative to `base_dir`.
///
/// # Errors
/// As [`load`].
pub fn parse(text: &str, origin: &Path, base_dir: &Path) -> Result<Loaded, Problems> {
    let root = Node::parse(text, origin).map_err(|problem| Problems(vec![*problem]))?;
    let mut report = Report::new(origin, base_dir);
    report.watched_files.insert(origin.to_owned());
    let config = read::config(&root, &mut report);
    let Report { mut problems, mut warnings, .. } = report;
    let main_first = |d: &Diagnostic| (d.file != origin, d.file.clone(), d.line, d.column);
    problems.sort_by_key(main_first);
    warnings.sort_by_key(main_first);
    if problems.is_empty() { Ok(Loaded { config, warnings }) } else { Err(Problems(problems)) }
}

impl Config {
    /// What the gateway runs on without a file: one listener on 127.0.0.1:9009 for tenant `default`, the admin listener
    /// on 127.0.0.1:9010, the log in `data`, no endpoint.
    #[must_use]
    pub fn without_file() -> Self {
        read::config(&Node::EMPTY, &mut Report::new(Path::new(""), Path::new("")))
    }
}
