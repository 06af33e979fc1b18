//! Warns of what is valid but will hurt later.

use std::net::IpAddr;

use crate::config::Listener;
use crate::endpoint::{Auth, Endpoint, HeaderValue};
use crate::table::{Field, Report};
use crate::tenant::TenantName;
use crate::url::{Scheme, Url};

/// Looks at one endpoint, knowing which tenants there can be.
pub(crate) fn endpoint(entry: &Field<'_>, endpoint: &Endpoint, listeners: &[Listener], report: &mut Report) {
    let marked = endpoint.tenant_header.is_some() || endpoint.tenant_label.is_some();
    if !marked && several_tenants(endpoint, listeners) {
        let hint = "write tenant_header or tenant_label, or name one tenant in `tenants`";
        entry.warn(report, "series of several tenants arrive here with nothing to tell them apart", Some(hint));
    }
    let secret_header = endpoint.headers.iter().any(|header| !matches!(header.value, HeaderValue::Text(_)));
    let credential = !matches!(endpoint.auth, Auth::None) || secret_header;
    if credential && endpoint.url.scheme() == Scheme::Http && !is_local(&endpoint.url) {
        entry.warn(report, "the credential crosses the network without TLS", Some("use an https:// url"));
    }
    if let Some(path) = unreadable_secret(endpoint) {
        entry.warn(report, format_args!("cannot read {path}"), None);
    }
}

fn several_tenants(endpoint: &Endpoint, listeners: &[Listener]) -> bool {
    let any_name = listeners.iter().any(|listener| !listener.tenant_from.is_empty());
    if any_name {
        return match endpoint.tenants.as_slice() {
            [only] => only.matches_several(),
            _ => true,
        };
    }
    let mut names: Vec<&TenantName> = listeners.iter().filter_map(|listener| listener.tenant.as_ref()).collect();
    names.sort();
    names.dedup();
    names.iter().filter(|name| endpoint.takes(name.as_str())).count() > 1
}

fn is_local(url: &Url) -> bool {
    url.host() == "localhost" || url.host().parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// The first secret file of the endpoint that cannot be read at this moment. It may appear later, so this is no error.
fn unreadable_secret(endpoint: &Endpoint) -> Option<String> {
    let of_auth = match &endpoint.auth {
        Auth::Basic { username, password } => [username.file(), password.file()],
        Auth::Authorization { credentials, .. } => [credentials.file(), None],
        Auth::None | Auth::OAuth2(_) | Auth::SigV4(_) | Auth::AzureAd(_) => [None, None],
    };
    let of_headers = endpoint.headers.iter().filter_map(|header| match &header.value {
        HeaderValue::File(path) => Some(path.as_path()),
        HeaderValue::Text(_) | HeaderValue::Secret(_) => None,
    });
    let unreadable = |path: &&std::path::Path| std::fs::File::open(path).is_err();
    of_auth.into_iter().flatten().chain(of_headers).find(unreadable).map(|path| path.display().to_string())
}
