//! Reads `tenants_file` and `rbac_file`: Observatorium's own files, as they are.

use std::collections::BTreeSet;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::access::Issuer;
use crate::endpoint::ClientTls;
use crate::limits::RateLimit;
use crate::node::Node;
use crate::observatorium::{Login, Observatorium, Oidc, Permission, Rbac, Role, RoleBinding, Subject, SubjectKind};
use crate::read::files::within;
use crate::read::tenant::{Listed, parse_id, require_one};
use crate::read::{access, limits};
use crate::schema;
use crate::secret::TextSource;
use crate::table::{Field, Report, Table};
use crate::tenant::{OTHERS, TenantName};

/// The resource that remote write is about.
const METRICS: &str = "metrics";

/// Both files; the tenants go to `listed`.
pub(super) fn files(main: &Table<'_>, listed: &mut Listed, report: &mut Report) -> Option<Observatorium> {
    let written = |key| main.get(key).filter(|field| field.node.text() != Some(""));
    let (tenants_field, rbac_field) = (written("tenants_file"), written("rbac_file"));
    let Some(tenants_field) = tenants_field else {
        if let Some(field) = rbac_field {
            field.warn(report, "has no effect: it is about the tenants of a `tenants_file`", None);
        }
        return None;
    };
    let tenants = within(&tenants_field, report, |root, path, report| (path.to_owned(), tenants(root, listed, report)));
    let names = tenants.as_ref().map(|(_, names)| names.clone()).unwrap_or_default();
    let rbac = rbac_field.as_ref().and_then(|field| {
        within(field, report, |root, path, report| {
            let rbac = rbac(root, path, report);
            warn_of_rbac(&rbac, &names, report);
            rbac
        })
    });
    if rbac_field.is_none() {
        let message = "whoever can log in as a tenant's may write for it: there is no rbac_file";
        tenants_field.warn(report, message, Some("write `rbac_file`, which Observatorium asks for as well"));
    }
    let (tenants_file, _) = tenants?;
    Some(Observatorium { tenants_file, rbac })
}

/// The names of the file's tenants.
fn tenants(root: &Node, listed: &mut Listed, report: &mut Report) -> BTreeSet<TenantName> {
    let file = Table::open(Field::new(root, ""), &schema::TENANTS_FILE, report);
    let Some(list) = file.required("tenants", report) else { return BTreeSet::new() };
    require_one(&list, "leave `tenants_file` out if there is none", report);
    list.items(report).into_iter().filter_map(|item| tenant(item, listed, report)).collect()
}

fn tenant(item: Field<'_>, listed: &mut Listed, report: &mut Report) -> Option<TenantName> {
    let table = Table::open(item, &schema::OBSERVATORIUM_TENANT, report);
    let name_field = table.required("name", report);
    let name = name_field.as_ref().and_then(|field| field.parse(report, parse_name));
    let id = table.get("id").filter(|field| field.node.text() != Some(""));
    let id = id.and_then(|field| field.parse(report, parse_id).map(|id| (field, id)));
    if let Some(opa) = table.get("opa") {
        let hint = "say who may write with the roles of `rbac_file`, and take `opa` out";
        opa.wrong_with_hint(report, "there is no policy engine to ask", hint);
    }
    let login = login(&table, report);
    let rules = table.get("rateLimits").map(|list| rate_limits(&list, report));
    let (name_field, name) = (name_field?, name?);
    listed.add_login(&name_field, name.clone(), id, (login?, rules), report);
    Some(name)
}

fn parse_name(text: &str) -> Result<TenantName, String> {
    match TenantName::new(text) {
        Ok(name) if name.as_str() == OTHERS => Err(format!("`{OTHERS}` is no tenant of Observatorium's")),
        Ok(name) => Ok(name),
        Err(invalid) => Err(invalid.to_string()),
    }
}

/// As Observatorium does, the first that is written counts.
fn login(tenant: &Table<'_>, report: &mut Report) -> Option<Login> {
    let mut written =
        ["oidc", "openshift", "mTLS", "authenticator"].into_iter().filter_map(|key| Some((key, tenant.get(key)?)));
    let Some((key, field)) = written.next() else {
        tenant.field().wrong(report, "expected one of oidc, mTLS and authenticator");
        return None;
    };
    for (other, field) in written {
        field.warn(report, format_args!("has no effect: {key} comes before {other}"), None);
    }
    match key {
        "oidc" => oidc(field, report),
        "mTLS" => certificate(field, report),
        "openshift" => openshift(&field, report),
        _ => authenticator(field, report),
    }
}

fn authenticator(field: Field<'_>, report: &mut Report) -> Option<Login> {
    let table = Table::open(field, &schema::OBSERVATORIUM_AUTHENTICATOR, report);
    let kind = table.required("type", report)?.choice(report, &[("oidc", 1), ("mtls", 2), ("openshift", 3)])?;
    let config = table.required("config", report)?;
    match kind {
        1 => oidc(config, report),
        2 => certificate(config, report),
        _ => openshift(&config, report),
    }
}

fn openshift(field: &Field<'_>, report: &mut Report) -> Option<Login> {
    let hint = "use oidc or mTLS, or give the tenant a credential of its own in `tenants`";
    field.wrong_with_hint(report, "only an OpenShift cluster can check its tokens", hint);
    None
}

fn oidc(field: Field<'_>, report: &mut Report) -> Option<Login> {
    let table = Table::open(field, &schema::OBSERVATORIUM_OIDC, report);
    let client_id = table.required("clientID", report).and_then(|field| field.parse(report, parse_some));
    let issuer_field = table.required("issuerURL", report);
    let issuer = issuer_field.as_ref().and_then(|field| field.parse(report, Issuer::parse));
    let ca = authorities(&table, ["issuerCA", "issuerCAPath"], report);
    if let (Some(field), Some(issuer)) = (&issuer_field, &issuer) {
        access::warn_of_plain_keys(field, issuer.discovery(), report);
    }
    let claim = |key, report: &mut Report| table.optional_text(key, report);
    let (user_claim, groups_claim) = (claim("usernameClaim", report), claim("groupClaim", report));
    let tls = ca.map(|ca| ClientTls { ca: Some(ca), ..ClientTls::default() });
    Some(Login::Oidc(Box::new(Oidc { issuer: issuer?, tls, client_id: client_id?, user_claim, groups_claim })))
}

fn certificate(field: Field<'_>, report: &mut Report) -> Option<Login> {
    let table = Table::open(field, &schema::OBSERVATORIUM_MTLS, report);
    let ca = authorities(&table, ["ca", "caPath"], report);
    if ca.is_none() && table.get("ca").or_else(|| table.get("caPath")).is_none() {
        table.field().wrong(report, "expected ca or caPath: the authorities of the tenant's certificates");
    }
    ca.map(Login::Certificate)
}

/// As Observatorium does, the file counts where both are written.
fn authorities(table: &Table<'_>, [inline, path]: [&str; 2], report: &mut Report) -> Option<TextSource> {
    let written = |key| table.get(key).filter(|field| field.node.text() != Some(""));
    let Some(file) = written(path) else {
        return written(inline)?.parse(report, parse_pem).map(TextSource::Inline);
    };
    if let Some(field) = written(inline) {
        field.warn(report, format_args!("has no effect: {path} comes before it"), None);
    }
    file.file(report).map(TextSource::File)
}

/// Base64 in one line or several, or the PEM itself.
fn parse_pem(text: &str) -> Result<String, &'static str> {
    const BEGIN: &str = "-----BEGIN";
    if text.contains(BEGIN) {
        return Ok(text.to_owned());
    }
    let digits: String = text.chars().filter(|c| !c.is_ascii_whitespace()).collect();
    let pem = STANDARD.decode(digits).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    pem.filter(|pem| pem.contains(BEGIN)).ok_or("expected certificates in PEM form, or the base64 of that")
}

fn parse_some(text: &str) -> Result<String, &'static str> {
    if text.is_empty() { Err("must not be empty") } else { Ok(text.to_owned()) }
}

fn rate_limits(list: &Field<'_>, report: &mut Report) -> Vec<RateLimit> {
    let extra = schema::OBSERVATORIUM_RATE_LIMIT.keys;
    list.items(report).into_iter().filter_map(|item| limits::rate_limit(item, extra, report)).collect()
}

fn rbac(root: &Node, path: &Path, report: &mut Report) -> Rbac {
    let file = Table::open(Field::new(root, ""), &schema::RBAC_FILE, report);
    let items = |key: &str, report: &mut Report| file.get(key).map(|list| list.items(report)).unwrap_or_default();
    let (roles, bindings) = (items("roles", report), items("roleBindings", report));
    Rbac {
        file: path.to_owned(),
        roles: roles.into_iter().map(|item| role(item, report)).collect(),
        bindings: bindings.into_iter().map(|item| binding(item, report)).collect(),
    }
}

fn role(item: Field<'_>, report: &mut Report) -> Role {
    let table = Table::open(item, &schema::ROLE, report);
    let permissions = table.required("permissions", report).map(|list| list.items(report)).unwrap_or_default();
    let words = [("read", Permission::Read), ("write", Permission::Write)];
    Role {
        name: required_text(&table, "name", report),
        resources: required_texts(&table, "resources", report),
        tenants: required_texts(&table, "tenants", report),
        permissions: permissions.iter().filter_map(|item| item.choice(report, &words)).collect(),
    }
}

fn binding(item: Field<'_>, report: &mut Report) -> RoleBinding {
    let table = Table::open(item, &schema::ROLE_BINDING, report);
    let subjects = table.required("subjects", report).map(|list| list.items(report)).unwrap_or_default();
    RoleBinding {
        name: required_text(&table, "name", report),
        roles: required_texts(&table, "roles", report),
        subjects: subjects.into_iter().filter_map(|item| subject(item, report)).collect(),
    }
}

fn subject(item: Field<'_>, report: &mut Report) -> Option<Subject> {
    let table = Table::open(item, &schema::SUBJECT, report);
    let words = [("user", SubjectKind::User), ("group", SubjectKind::Group)];
    let kind = table.required("kind", report).and_then(|field| field.choice(report, &words));
    // A token may say that its user or group is nobody: it must not get a role by that.
    let name = table.required("name", report).and_then(|field| field.parse(report, parse_some));
    Some(Subject { kind: kind?, name: name? })
}

fn required_text(table: &Table<'_>, key: &str, report: &mut Report) -> String {
    let text = table.required(key, report).and_then(|field| field.text(report));
    text.unwrap_or_default().to_owned()
}

fn required_texts(table: &Table<'_>, key: &str, report: &mut Report) -> Vec<String> {
    table.required(key, report).map(|list| list.texts(report)).unwrap_or_default()
}

/// What will not do what it seems to, once for the whole file: a line for each role would hide the rest.
fn warn_of_rbac(rbac: &Rbac, tenants: &BTreeSet<TenantName>, report: &mut Report) {
    let mut warn = |message: String| {
        let diagnostic = crate::problem::Diagnostic::of_file(&rbac.file, message);
        report.warnings.push(diagnostic);
    };
    let roles: BTreeSet<&str> = rbac.roles.iter().map(|role| role.name.as_str()).collect();
    let bound: BTreeSet<&str> = rbac.bindings.iter().flat_map(|binding| &binding.roles).map(String::as_str).collect();
    for missing in bound.difference(&roles) {
        warn(format!("the role {missing:?} is bound, but there is no such role"));
    }
    let named: BTreeSet<&str> = rbac.roles.iter().flat_map(|role| &role.tenants).map(String::as_str).collect();
    for unknown in named.iter().filter(|name| !tenants.contains(**name)) {
        warn(format!("roles name the tenant {unknown:?}, which is not in `tenants_file`"));
    }
    let writes = |role: &&Role| {
        role.permissions.contains(&Permission::Write) && role.resources.iter().any(|resource| resource == METRICS)
    };
    let useless: BTreeSet<&str> =
        rbac.roles.iter().filter(|role| !writes(role)).map(|role| role.name.as_str()).collect();
    if !useless.is_empty() {
        let useless = useless.into_iter().collect::<Vec<_>>().join(", ");
        warn(format!("roles without effect here, where only `write` on `metrics` is asked for: {useless}"));
    }
    let has_subjects = |role: &str| {
        rbac.bindings
            .iter()
            .any(|binding| !binding.subjects.is_empty() && binding.roles.iter().any(|name| name == role))
    };
    // Of roles with one name the last counts.
    let last: std::collections::BTreeMap<&str, &Role> =
        rbac.roles.iter().map(|role| (role.name.as_str(), role)).collect();
    let written: BTreeSet<&str> = last
        .into_values()
        .filter(|role| writes(role) && has_subjects(&role.name))
        .flat_map(|role| role.tenants.iter().map(String::as_str))
        .collect();
    for nobody in tenants.iter().filter(|tenant| !written.contains(tenant.as_str())) {
        warn(format!(
            "nobody may write for the tenant {nobody}: no binding gives a role that does",
            nobody = nobody.as_str()
        ));
    }
}
