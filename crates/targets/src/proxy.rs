//! The operator's own proxy, as its environment names it, for targets that have none.

use std::net::IpAddr;

use writegate_config::{IpNet, Scheme, Url};

/// `HTTP_PROXY`, `HTTPS_PROXY` and `NO_PROXY`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EnvironmentProxy {
    /// For `http` URLs.
    pub http: Option<String>,
    /// For `https` URLs.
    pub https: Option<String>,
    /// Hosts, domains, addresses and networks that are reached without it.
    pub except: Vec<String>,
}

impl EnvironmentProxy {
    /// The proxy for a URL.
    #[must_use]
    pub fn of(&self, url: &str) -> Option<String> {
        let url = Url::parse(url).ok()?;
        let proxy = match url.scheme() {
            Scheme::Http => self.http.as_ref()?,
            Scheme::Https => self.https.as_ref()?,
        };
        let excepted = |entry: &String| excepts(entry.trim(), url.host(), url.port());
        (!self.except.iter().any(excepted)).then(|| proxy.clone())
    }
}

/// As Go reads an entry of `NO_PROXY`.
fn excepts(entry: &str, host: &str, port: u16) -> bool {
    if entry == "*" || host == "localhost" {
        return true;
    }
    let address = host.parse::<IpAddr>();
    if address.as_ref().is_ok_and(|address| address.is_loopback()) {
        return true;
    }
    let entry = entry.to_ascii_lowercase();
    if let (Ok(network), Ok(address)) = (entry.parse::<IpNet>(), &address) {
        return network.contains(*address);
    }
    let (entry, only) = match entry.rsplit_once(':') {
        Some((entry, only)) if only.parse::<u16>().is_ok() => (entry.to_owned(), only.parse::<u16>().ok()),
        Some(_) | None => (entry, None),
    };
    if entry.is_empty() || only.is_some_and(|only| only != port) {
        return false;
    }
    match entry.strip_prefix("*.").or_else(|| entry.strip_prefix('.')) {
        Some(domain) => host.strip_suffix(domain).is_some_and(|rest| rest.ends_with('.')),
        None => host == entry || host.strip_suffix(entry.as_str()).is_some_and(|rest| rest.ends_with('.')),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_environments_proxy_has_exceptions() {
        let proxy = EnvironmentProxy {
            http: None,
            https: Some("http://proxy.example:3128".to_owned()),
            except: [".svc", "internal.example", "10.0.0.0/8", "other.example:8443"].map(str::to_owned).to_vec(),
        };
        for (url, expected) in [
            ("https://a.example/x", true),
            ("http://a.example/x", false),
            ("https://a.svc/x", false),
            ("https://internal.example/x", false),
            ("https://x.internal.example/x", false),
            ("https://notinternal.example/x", true),
            ("https://10.1.2.3/x", false),
            ("https://11.1.2.3/x", true),
            ("https://other.example/x", true),
            ("https://other.example:8443/x", false),
            ("https://127.0.0.1/x", false),
        ] {
            assert_eq!(proxy.of(url).is_some(), expected, "{url}");
        }
    }
}
