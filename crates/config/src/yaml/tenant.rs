//! Prints limits and tenants.

use std::fmt;

use super::access::basic;
use super::{Yaml, on_full, relabel, text_entries};
use crate::access::Credential;
use crate::config::Config;
use crate::limits::{LimitOverrides, Limits, OverLimit, RateLimit};
use crate::observatorium::{Login, Observatorium};
use crate::otlp::DeltaTemporality;
use crate::secret::TextSource;
use crate::tenant::{TenantConfig, TenantLog, TenantName};
use crate::units::{ShowDuration, ShowSize};

/// `tenants`, and Observatorium's files. What those say stands in comments: it is read from them again.
pub(super) fn tenants(out: &mut Yaml<'_, '_>, config: &Config) -> fmt::Result {
    let ours = config.tenants.entries().filter(|(_, tenant)| tenant.login.is_none() || says_more(tenant));
    out.list("tenants", ours, |out, (name, each)| tenant(out, name, each))?;
    let Some(Observatorium { tenants_file, rbac }) = &config.observatorium else { return Ok(()) };
    out.text("tenants_file", tenants_file.display())?;
    for (name, tenant) in config.tenants.entries() {
        let id = config.tenants.id_of(name);
        match &tenant.login {
            None => {}
            Some(Login::Oidc(oidc)) => {
                let (issuer, client_id) = (&oidc.issuer, &oidc.client_id);
                out.comment(format_args!("{name}, id {id:?}: tokens of {issuer} for {client_id:?}"))?;
            }
            Some(Login::Certificate(TextSource::File(file))) => {
                out.comment(format_args!("{name}, id {id:?}: certificates of {}", file.display()))?;
            }
            Some(Login::Certificate(TextSource::Inline(_))) => {
                out.comment(format_args!("{name}, id {id:?}: certificates of the authorities in `ca`"))?;
            }
        }
    }
    out.file("rbac_file", rbac.as_ref().map(|rbac| &rbac.file))
}

/// Whether an entry says more than Observatorium's file can.
fn says_more(tenant: &TenantConfig) -> bool {
    let from_file = TenantConfig { id: tenant.id.clone(), login: tenant.login.clone(), ..TenantConfig::default() };
    *tenant != from_file
}

/// An entry of `tenants`.
pub(super) fn tenant(out: &mut Yaml<'_, '_>, name: &TenantName, tenant: &TenantConfig) -> fmt::Result {
    out.text("name", name)?;
    out.optional("id", tenant.id.as_ref())?;
    out.list("credentials", &tenant.credentials, |out, credential| match credential {
        Credential::Bearer(token) => out.secret("bearer_token", token),
        Credential::Basic { username, password } => basic(out, username, password),
    })?;
    out.file("client_ca_file", tenant.client_ca_file.as_ref())?;
    out.texts("allow", &tenant.allow)?;
    if tenant.limits != LimitOverrides::default() {
        out.mapping("limits", |out| limit_overrides(out, &tenant.limits))?;
    }
    if tenant.log != TenantLog::default() {
        out.mapping("log", |out| {
            if let Some(max_size) = tenant.log.max_size {
                out.plain("max_size", ShowSize(max_size))?;
            }
            tenant.log.on_full.map_or(Ok(()), |policy| out.plain("on_full", on_full(policy)))
        })?;
    }
    text_entries(out, "external_labels", &tenant.external_labels)?;
    out.list("write_relabel_configs", &tenant.write_relabel_configs, relabel)?;
    match tenant.delta_temporality {
        DeltaTemporality::Reject => Ok(()),
        DeltaTemporality::Accumulate => out.plain("delta_temporality", "accumulate"),
    }
}

pub(super) fn limits(out: &mut Yaml<'_, '_>, limits: &Limits) -> fmt::Result {
    out.plain("request_bytes", ShowSize(limits.request_bytes))?;
    out.plain("decoded_bytes", ShowSize(limits.decoded_bytes))?;
    out.plain("in_flight_bytes", ShowSize(limits.in_flight_bytes))?;
    let tenant = &limits.tenant;
    out.plain("samples_per_second", tenant.samples_per_second)?;
    out.plain("bytes_per_second", ShowSize(tenant.bytes_per_second))?;
    out.plain("requests_per_second", tenant.requests_per_second)?;
    out.plain("over_limit", over_limit(tenant.over_limit))?;
    out.plain("active_series", tenant.active_series)?;
    out.plain("connections", tenant.connections)?;
    out.plain("label_names", tenant.label_names)?;
    out.plain("label_value_bytes", ShowSize(tenant.label_value_bytes.into()))?;
    out.list("rate_limits", &tenant.rate_limits, rate_limit)
}

fn over_limit(over_limit: OverLimit) -> &'static str {
    match over_limit {
        OverLimit::Delay => "delay",
        OverLimit::Reject => "reject",
    }
}

fn rate_limit(out: &mut Yaml<'_, '_>, rule: &RateLimit) -> fmt::Result {
    out.text("endpoint", &rule.endpoint)?;
    out.plain("limit", rule.limit)?;
    out.plain("window", ShowDuration(rule.window))
}

fn limit_overrides(out: &mut Yaml<'_, '_>, limits: &LimitOverrides) -> fmt::Result {
    let written = [
        ("samples_per_second", limits.samples_per_second.map(|count| count.to_string())),
        ("bytes_per_second", limits.bytes_per_second.map(|bytes| ShowSize(bytes).to_string())),
        ("requests_per_second", limits.requests_per_second.map(|count| count.to_string())),
        ("over_limit", limits.over_limit.map(|answer| over_limit(answer).to_owned())),
        ("active_series", limits.active_series.map(|count| count.to_string())),
        ("connections", limits.connections.map(|count| count.to_string())),
        ("label_names", limits.label_names.map(|count| count.to_string())),
        ("label_value_bytes", limits.label_value_bytes.map(|bytes| ShowSize(bytes.into()).to_string())),
    ];
    for (key, value) in written {
        value.map_or(Ok(()), |value| out.plain(key, value))?;
    }
    match limits.rate_limits.as_deref() {
        None => Ok(()),
        // The tenant has none of those that hold for all.
        Some([]) => out.plain("rate_limits", "[]"),
        Some(rules) => out.list("rate_limits", rules, rate_limit),
    }
}
