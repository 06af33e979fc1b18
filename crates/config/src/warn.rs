//! Warns of what is valid but will hurt later.

use std::io;
use std::net::IpAddr;
use std::path::Path;

use crate::access::{Authenticator, ClientAuth};
use crate::config::Listener;
use crate::endpoint::{Auth, AzureIdentity, Endpoint, HeaderValue, OAuth2Grant};
use crate::observatorium::Login;
use crate::otlp::DeltaTemporality;
use crate::relabel::{RelabelAction, RelabelConfig};
use crate::table::{Field, Report, Table};
use crate::tenant::{TenantConfig, TenantName, Tenants};
use crate::url::{Scheme, Url};

/// Looks at the listeners, knowing how senders show who they are.
pub(crate) fn listeners(
    list: &Field<'_>,
    listeners: &[Listener],
    authentication: &[Authenticator],
    tenants: &Tenants,
    report: &mut Report,
) {
    // What is no list has been reported.
    if listeners.is_empty() {
        return;
    }
    let logs_in = |by: fn(&Login) -> bool| tenants.entries().any(|(_, tenant)| tenant.login.as_ref().is_some_and(by));
    let own_credentials = tenants.entries().any(|(_, tenant)| !tenant.credentials.is_empty());
    let tokens = own_credentials
        || logs_in(|login| matches!(login, Login::Oidc(_)))
        || authentication.iter().any(|way| matches!(way, Authenticator::Jwt(_)));
    let own_authorities = tenants.entries().any(|(_, tenant)| tenant.client_ca_file.is_some())
        || logs_in(|login| matches!(login, Login::Certificate(_)));
    let certificates =
        own_authorities || authentication.iter().any(|way| matches!(way, Authenticator::ClientCertificate(_)));
    let asks = |listener: &Listener| listener.tls.as_ref().is_some_and(|tls| tls.client_auth != ClientAuth::None);
    if own_authorities && !listeners.iter().any(asks) {
        let hint = "write `client_auth: optional` into the `tls_config` of a listener";
        list.warn(report, "no listener asks for the certificates by which some tenants are known", Some(hint));
    }
    for (item, listener) in list.items(report).iter().zip(listeners) {
        let asks = asks(listener);
        if listener.tenant.is_none() && !tokens && !(certificates && asks) {
            let hint = "write `tenant` to take requests without a credential, or credentials into `tenants` or `authentication`";
            item.warn(report, "no request is accepted: there is no way to tell who is speaking", Some(hint));
        }
        let is_loopback = listener.address.ip().is_loopback();
        let knows_some = listener.tls.as_ref().is_some_and(|tls| tls.client_ca_file.is_some());
        if asks && !knows_some && !own_authorities {
            let hint = "write `client_ca_file` into `tls_config`, or into a tenant";
            item.warn(report, "every client certificate is refused: no authority is known", Some(hint));
        }
        if tokens && listener.tls.is_none() && !is_loopback {
            item.warn(report, "tokens and passwords cross the network without TLS", Some("write `tls_config`"));
        }
        if listener.tenant.is_some() && !is_loopback && listener.allow.is_empty() {
            let hint = "leave `tenant` out to ask for a credential, or write `allow`";
            item.warn(report, "whoever reaches this address may push without a credential", Some(hint));
        }
        if listener.tenant.is_some() && !listener.tenant_from.is_empty() && own_credentials {
            let hint = "leave `tenant` out, unless a proxy in front checks who may name which tenant";
            let what = "`tenant` and `tenant_from`: without a credential a request may name any tenant, those with credentials too";
            item.warn(report, what, Some(hint));
        }
    }
}

/// Looks at what is said of OTLP, knowing who takes it.
pub(crate) fn otlp(file: &Table<'_>, listeners: &[Listener], tenants: &Tenants, report: &mut Report) {
    if listeners.iter().any(|listener| listener.otlp || listener.grpc) {
        return;
    }
    let hint = Some("write `otlp: true` or `grpc: true` into a listener");
    if let Some(block) = file.get("otlp") {
        block.warn(report, "no listener takes OTLP", hint);
    }
    let accumulates = |tenant: &TenantConfig| tenant.delta_temporality == DeltaTemporality::Accumulate;
    if let Some(list) = file.get("tenants")
        && let Some((name, _)) = tenants.entries().find(|(_, tenant)| accumulates(tenant))
    {
        let message = format_args!("the deltas of tenant {name} are accumulated, but no listener takes OTLP");
        list.warn(report, message, hint);
    }
}

/// Looks at one endpoint, knowing which tenants there can be.
pub(crate) fn endpoint(
    entry: &Field<'_>,
    endpoint: &Endpoint,
    listeners: &[Listener],
    tenants: &Tenants,
    report: &mut Report,
) {
    let marked = endpoint.tenant_header.is_some() || endpoint.tenant_label.is_some();
    if !marked && several_tenants(endpoint, listeners, tenants) {
        let hint = "write one of them, or name one tenant in `tenants`";
        entry.warn(
            report,
            "series of several tenants arrive here with neither tenant_header nor tenant_label",
            Some(hint),
        );
    }
    let secret_header = endpoint.headers.iter().any(|header| !matches!(header.value, HeaderValue::Text(_)));
    let credential = !matches!(endpoint.auth, Auth::None) || secret_header;
    if credential && endpoint.url.scheme() == Scheme::Http && !is_local(&endpoint.url) {
        let hint = "use https, or a network you trust";
        entry.warn(report, "the credential crosses the network without TLS", Some(hint));
    }
    if endpoint.tls.as_ref().is_some_and(|tls| tls.insecure_skip_verify) {
        let hint = "name the authority of its certificate in ca_file";
        entry.warn(report, "insecure_skip_verify: whoever is on the way can read and change what is sent", Some(hint));
    }
    if let Auth::OAuth2(oauth2) = &endpoint.auth
        && oauth2.token_url.scheme() == Scheme::Http
        && !is_local(&oauth2.token_url)
    {
        let hint = "use https, or a network you trust";
        entry.warn(report, "the client's secret and its tokens cross the network without TLS", Some(hint));
    }
    if let Some((path, error)) = unreadable_secret(endpoint) {
        entry.warn(report, format_args!("cannot read {}: {error}", path.display()), None);
    }
}

fn several_tenants(endpoint: &Endpoint, listeners: &[Listener], tenants: &Tenants) -> bool {
    // A credential names any tenant, so it is the list that says which there are.
    let any_name = listeners.iter().any(|listener| !listener.tenant_from.is_empty() || listener.tenant.is_none());
    let mut names: Vec<&TenantName> = match (any_name, tenants.closed_list()) {
        (true, None) => {
            return match endpoint.tenants.as_slice() {
                [only] => only.matches_several(),
                _ => true,
            };
        }
        (true, Some(listed)) => listed.collect(),
        (false, _) => listeners.iter().filter_map(|listener| listener.tenant.as_ref()).collect(),
    };
    names.sort();
    names.dedup();
    names.iter().filter(|name| endpoint.takes(name.as_str())).count() > 1
}

/// Looks at relabel rules and the list they were read from, item by item.
pub(crate) fn merging_rules(list: &Field<'_>, rules: &[RelabelConfig], report: &mut Report) {
    // What is no list has no rules, and has been reported.
    if rules.is_empty() {
        return;
    }
    for (item, _) in list.items(report).iter().zip(rules).filter(|(_, rule)| may_merge(rule)) {
        let message = "two series may become one: order is kept, but a backend may refuse one of two values for the \
                       same timestamp";
        item.warn(report, message, None);
    }
}

/// Whether the rule takes away or overwrites what may be the only difference between two series. A target label that
/// the rule does not read counts as one that series do not have.
fn may_merge(rule: &RelabelConfig) -> bool {
    let target = &rule.target_label;
    let overwrites = target == "__name__" || rule.source_labels.contains(target);
    match rule.action {
        RelabelAction::LabelDrop | RelabelAction::LabelKeep | RelabelAction::LabelMap => true,
        // An empty value removes the label, and a template may name any label.
        RelabelAction::Replace => overwrites || rule.replacement.is_empty() || target.contains('$'),
        RelabelAction::HashMod | RelabelAction::Lowercase | RelabelAction::Uppercase => overwrites,
        RelabelAction::Keep | RelabelAction::Drop | RelabelAction::KeepEqual | RelabelAction::DropEqual => false,
    }
}

/// Whether the url is this machine's.
pub(crate) fn is_local(url: &Url) -> bool {
    url.host() == "localhost" || url.host().parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// The first secret file of the endpoint that cannot be read at this moment. It may appear later, so this is no error.
fn unreadable_secret(endpoint: &Endpoint) -> Option<(&Path, io::Error)> {
    let of_auth = match &endpoint.auth {
        Auth::Basic { username, password } => [username.file(), password.file()],
        Auth::Authorization { credentials, .. } => [credentials.file(), None],
        Auth::OAuth2(oauth2) => match &oauth2.grant {
            OAuth2Grant::ClientSecret(secret) | OAuth2Grant::JwtBearer { key: secret, .. } => [secret.file(), None],
        },
        Auth::SigV4(sigv4) => [sigv4.keys.as_ref().and_then(|(_, secret_key)| secret_key.file()), None],
        Auth::AzureAd(azure) => match &azure.identity {
            AzureIdentity::OAuth { client_secret, .. } => [client_secret.file(), None],
            AzureIdentity::Workload { token_file: file, .. } | AzureIdentity::Certificate { certificate: file, .. } => {
                [Some(file.as_path()), None]
            }
            AzureIdentity::Managed { .. } => [None, None],
        },
        Auth::None => [None, None],
    };
    let of_headers = endpoint.headers.iter().filter_map(|header| match &header.value {
        HeaderValue::File(path) => Some(path.as_path()),
        HeaderValue::Text(_) | HeaderValue::Secret(_) => None,
    });
    let unreadable = |path| crate::read_text(path).err().map(|error| (path, error));
    of_auth.into_iter().flatten().chain(of_headers).find_map(unreadable)
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_secret_that_cannot_be_read_is_named_with_the_reason() {
        let yaml = "remote_write: [{url: 'http://localhost/', bearer_token_file: nofile}]";
        let loaded = crate::parse(yaml, "a.yml".as_ref(), "/no/such".as_ref()).unwrap();
        let warnings: Vec<_> = loaded.warnings.iter().map(|warning| warning.message.as_str()).collect();
        assert_eq!(warnings, ["remote_write[0]: cannot read /no/such/nofile: No such file or directory (os error 2)"]);
    }
}
