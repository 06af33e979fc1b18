//! Which hosts are reached without the proxy: `NO_PROXY` as Go programs read it.

use std::net::IpAddr;

use writegate_config as config;

/// A parsed `no_proxy`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NoProxy {
    everything: bool,
    networks: Vec<config::IpNet>,
    hosts: Vec<Host>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Host {
    name: Name,
    port: Option<u16>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Name {
    Address(IpAddr),
    /// With its leading dot; `itself` is whether the domain without a host is meant too.
    Domain {
        suffix: String,
        itself: bool,
    },
}

impl NoProxy {
    /// What cannot be understood is passed over, as Go does.
    #[must_use]
    pub fn parse<'t>(entries: impl IntoIterator<Item = &'t str>) -> Self {
        let mut out = Self::default();
        for entry in entries {
            let entry = entry.trim().to_ascii_lowercase();
            if entry == "*" {
                out.everything = true;
            } else if let Some(network) = entry.contains('/').then(|| entry.parse().ok()).flatten() {
                out.networks.push(network);
            } else {
                out.hosts.extend(Host::parse(&entry));
            }
        }
        out
    }

    /// Whether `host` (an IPv6 address without brackets) at `port` is reached directly. This machine always is.
    #[must_use]
    pub fn covers(&self, host: &str, port: u16) -> bool {
        let host = host.trim().to_ascii_lowercase();
        let host = host.strip_suffix('.').unwrap_or(&host);
        let address = host.parse::<IpAddr>().ok().map(|address| address.to_canonical());
        host == "localhost"
            || address.is_some_and(|address| address.is_loopback())
            || self.everything
            || address.is_some_and(|address| self.networks.iter().any(|network| network.contains(address)))
            || self.hosts.iter().any(|entry| entry.matches(host, address, port))
    }
}

impl Host {
    fn parse(entry: &str) -> Option<Self> {
        let (host, port) = match entry.parse::<IpAddr>() {
            Ok(_) => (entry, None),
            Err(_) => match entry.rsplit_once(':') {
                Some((host, port)) => (host, Some(port.parse().ok()?)),
                None => (entry, None),
            },
        };
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        if let Ok(address) = host.parse::<IpAddr>() {
            return Some(Self { name: Name::Address(address.to_canonical()), port });
        }
        let host = host.strip_prefix('*').filter(|rest| rest.starts_with('.')).unwrap_or(host);
        let name = match host.strip_prefix('.') {
            _ if host.is_empty() || host == "." => return None,
            Some(_) => Name::Domain { suffix: host.to_owned(), itself: false },
            None => Name::Domain { suffix: format!(".{host}"), itself: true },
        };
        Some(Self { name, port })
    }

    fn matches(&self, host: &str, address: Option<IpAddr>, port: u16) -> bool {
        let named = match &self.name {
            Name::Address(own) => address == Some(*own),
            Name::Domain { suffix, itself } => {
                host.ends_with(suffix.as_str()) || *itself && suffix.strip_prefix('.') == Some(host)
            }
        };
        named && self.port.is_none_or(|own| own == port)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(no_proxy: &str, host: &str, port: u16, direct: bool) {
        let parsed = NoProxy::parse(no_proxy.split(','));
        assert_eq!(parsed.covers(host, port), direct, "no_proxy {no_proxy:?}, host {host:?}, port {port}");
    }

    #[test]
    fn hosts_are_reached_directly_as_go_programs_do() {
        check("", "example.com", 80, false);
        check("*", "example.com", 80, true);
        check("example.com", "example.com", 80, true);
        check("example.com", "a.example.com", 80, true);
        check("example.com", "badexample.com", 80, false);
        check(".example.com", "example.com", 80, false);
        check(".example.com", "a.example.com", 80, true);
        check("*.example.com", "a.b.example.com", 80, true);
        check("*.example.com", "example.com", 80, false);
        check(" EXAMPLE.com ", "Example.COM", 80, true);
        check("example.com:81", "example.com", 80, false);
        check("example.com:81", "example.com", 81, true);
        check("10.0.0.1", "10.0.0.1", 80, true);
        check("10.0.0.1:81", "10.0.0.1", 80, false);
        check("10.0.0.1:81", "10.0.0.1", 81, true);
        check("10.0.0.0/8", "10.9.9.9", 80, true);
        check("10.0.0.0/8", "11.0.0.1", 80, false);
        check("fd00::/8", "fd00::1", 80, true);
        check("[fd00::1]:9", "fd00::1", 9, true);
        check("[fd00::1]:9", "fd00::1", 10, false);
        check("fd00::1", "fd00::1", 10, true);
        check("a, ,b.example", "b.example", 80, true);
        check("::,nonsense:x,.", "example.com", 80, false);
    }

    #[test]
    fn this_machine_is_never_reached_through_a_proxy() {
        for host in ["localhost", "LOCALHOST", "127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"] {
            check("", host, 80, true);
        }
        check("", "localhost.example", 80, false);
    }
}
