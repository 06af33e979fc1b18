//! What an administrator lets people declare. A target is judged as written; who may use whose Secret is judged where
//! Secrets are looked up.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use writegate_config::{OperatorPolicies, Url};

use crate::reason::{Reason, Refusal};
use crate::spec::Spec;

/// Hosts at which clouds tell a machine its credentials.
const METADATA_HOSTS: [&str; 6] = [
    "metadata.google.internal",
    "metadata.goog",
    "metadata",
    "instance-data",
    "instance-data.ec2.internal",
    "metadata.azure.internal",
];

/// Judges a declared target.
///
/// # Errors
/// The first rule it breaks.
pub(crate) fn judge(spec: &Spec, policies: &OperatorPolicies) -> Result<(), Refusal> {
    if let (false, Some(path)) = (policies.allow_files, spec.files().first()) {
        let what =
            "names a file of the pod that sends, which may be its service account's token; name a Secret instead";
        return Err(Refusal::new(
            Reason::FileNotAllowed,
            format_args!("{path} {what}, or ask for `policies.allow_files`"),
        ));
    }
    if !policies.allow_private_proxies {
        addresses(spec)?;
    }
    if !policies.allow_pod_identity {
        pod_identity(spec)?;
    }
    let allowed = &policies.allowed_hosts;
    if let Some(host) = spec.text("url").and_then(host)
        && !allowed.is_empty()
        && !allowed.iter().any(|pattern| pattern.matches(&host))
    {
        let message = format!("the host {host} is not among `policies.allowed_hosts` of the operator");
        return Err(Refusal::new(Reason::HostNotAllowed, message));
    }
    Ok(())
}

fn addresses(spec: &Spec) -> Result<(), Refusal> {
    for (path, url) in spec.urls() {
        let Some(host) = host(&url) else { continue };
        let proxy = path.ends_with("proxyUrl");
        if proxy && is_private(&host) {
            let message =
                format!("{path} is at the private address {host}, which needs `policies.allow_private_proxies`");
            return Err(Refusal::new(Reason::ProxyNotAllowed, message));
        }
        if is_metadata(&host) {
            let message = format!(
                "{path} is at {host}, where a machine's credentials are; `policies.allow_private_proxies` would let it"
            );
            return Err(Refusal::new(Reason::HostNotAllowed, message));
        }
    }
    Ok(())
}

fn pod_identity(spec: &Spec) -> Result<(), Refusal> {
    let fields = spec.fields();
    let has = |block: &str, key: &str| fields.get(block).is_some_and(|block| block.get(key).is_some());
    let borrowed = if fields.contains_key("sigv4") && !has("sigv4", "accessKey") {
        "sigv4 without accessKey and secretKey"
    } else if fields.contains_key("azureAd") && !has("azureAd", "oauth") {
        "azureAd without oauth"
    } else {
        return Ok(());
    };
    let message =
        format!("{borrowed} uses the identity of the pod that sends, which needs `policies.allow_pod_identity`");
    Err(Refusal::new(Reason::PodIdentityNotAllowed, message))
}

/// The host of any URL, in lower case, without brackets, a user or a final dot.
fn host(url: &str) -> Option<String> {
    if let Ok((url, _)) = Url::parse_with_user(url) {
        return Some(url.host().trim_end_matches('.').to_owned());
    }
    let (_, rest) = url.split_once("://")?;
    let authority = rest.split(['/', '?', '#']).next()?;
    let host = authority.rsplit('@').next()?;
    let host = match host.strip_prefix('[') {
        Some(v6) => v6.split(']').next()?,
        None => host.split(':').next()?,
    };
    Some(host.trim_end_matches('.').to_ascii_lowercase())
}

fn is_metadata(host: &str) -> bool {
    METADATA_HOSTS.contains(&host)
        || address(host).is_some_and(|address| match address {
            IpAddr::V4(v4) => v4.is_link_local(),
            // Amazon's over IPv6 (fd00:ec2::254), and everything of the link.
            IpAddr::V6(v6) => v6.is_unicast_link_local() || v6.segments()[..2] == [0xfd00, 0x0ec2],
        })
}

/// Whether a host is certainly not on the internet. Names are not resolved: what they lead to changes.
fn is_private(host: &str) -> bool {
    if is_metadata(host) || host == "localhost" || host.ends_with(".localhost") {
        return true;
    }
    match address(host) {
        Some(IpAddr::V4(v4)) => {
            let shared = v4.octets()[0] == 100 && v4.octets()[1] & 0xc0 == 64; // RFC 6598
            v4.is_private()
                || v4.is_loopback()
                || v4.is_link_local()
                || v4.is_unspecified()
                || v4.octets()[0] == 0
                || shared
        }
        Some(IpAddr::V6(v6)) => {
            v6.is_loopback() || v6.is_unspecified() || v6.is_unicast_link_local() || v6.is_unique_local()
        }
        None => false,
    }
}

/// The address a host is, in any way a resolver takes one: `169.254.169.254`, `2852039166`, `0xa9fea9fe`, `::ffff:…`.
fn address(host: &str) -> Option<IpAddr> {
    if let Ok(v6) = host.split('%').next()?.parse::<Ipv6Addr>() {
        let segments = v6.segments();
        // IPv4-mapped (RFC 4291), and the well-known prefix of translators (RFC 6052).
        let embedded = matches!(segments, [0, 0, 0, 0, 0, 0xffff, _, _] | [0x64, 0xff9b, 0, 0, 0, 0, _, _]);
        let [.., a, b, c, d] = v6.octets();
        return Some(if embedded { IpAddr::V4(Ipv4Addr::new(a, b, c, d)) } else { IpAddr::V6(v6) });
    }
    let parts: Vec<u64> = host.split('.').map(number).collect::<Option<_>>()?;
    let (last, first) = parts.split_last()?;
    if first.len() > 3 || first.iter().any(|part| *part > 255) {
        return None;
    }
    let rest = u32::try_from(*last).ok()?;
    let high = first
        .iter()
        .enumerate()
        .fold(0_u32, |all, (index, part)| all | u32::try_from(*part).unwrap_or_default() << (24 - 8 * index));
    Some(IpAddr::V4(Ipv4Addr::from(high | rest)))
}

/// As `inet_aton` reads a part of an address.
fn number(text: &str) -> Option<u64> {
    match text.strip_prefix("0x") {
        Some("") => Some(0),
        Some(hex) => u64::from_str_radix(hex, 16).ok(),
        None if text.len() > 1 && text.starts_with('0') => u64::from_str_radix(text, 8).ok(),
        None => text.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reason(spec: &str, policies: &OperatorPolicies) -> Option<&'static str> {
        let spec = Spec::parse(spec).unwrap();
        judge(&spec, policies).err().map(|refusal| refusal.reason.as_str())
    }

    #[test]
    fn files_pod_identities_and_private_proxies_need_leave() {
        let allow_all = OperatorPolicies {
            allow_files: true,
            allow_private_proxies: true,
            allow_pod_identity: true,
            ..OperatorPolicies::default()
        };
        for (spec, expected) in [
            ("{url: 'https://a.example/x'}", None),
            ("{url: 'https://a/x', bearerTokenFile: /var/run/secrets/token}", Some("FileNotAllowed")),
            ("{url: 'https://a/x', bearer_token_file: /t}", Some("FileNotAllowed")),
            ("{url: 'https://a/x', authorization: {credentialsFile: /t}}", Some("FileNotAllowed")),
            ("{url: 'https://a/x', tlsConfig: {caFile: /t}}", Some("FileNotAllowed")),
            ("{url: 'https://a/x', tlsConfig: {certFile: /t, keyFile: /k}}", Some("FileNotAllowed")),
            ("{url: 'https://a/x', proxyUrl: 'http://169.254.169.254'}", Some("ProxyNotAllowed")),
            ("{url: 'https://a/x', proxyUrl: 'http://169.254.169.254.'}", Some("ProxyNotAllowed")),
            ("{url: 'https://a/x', proxyUrl: 'http://2852039166:80/'}", Some("ProxyNotAllowed")),
            ("{url: 'https://a/x', proxyUrl: 'http://0xa9fea9fe'}", Some("ProxyNotAllowed")),
            ("{url: 'https://a/x', proxyUrl: 'http://0251.0376.0251.0376'}", Some("ProxyNotAllowed")),
            ("{url: 'https://a/x', proxyUrl: 'http://[::ffff:169.254.169.254]:80'}", Some("ProxyNotAllowed")),
            ("{url: 'https://a/x', proxyUrl: 'http://[fd00:ec2::254]'}", Some("ProxyNotAllowed")),
            ("{url: 'https://a/x', proxyUrl: 'http://Metadata.Google.Internal'}", Some("ProxyNotAllowed")),
            ("{url: 'https://a/x', proxyUrl: 'http://u:p@10.1.2.3:3128'}", Some("ProxyNotAllowed")),
            ("{url: 'https://a/x', proxyUrl: 'socks5://127.1:1080'}", Some("ProxyNotAllowed")),
            ("{url: 'https://a/x', proxyUrl: 'http://localhost:1'}", Some("ProxyNotAllowed")),
            ("{url: 'https://a/x', proxyUrl: 'http://100.64.0.1:1'}", Some("ProxyNotAllowed")),
            ("{url: 'https://a/x', proxyUrl: 'http://proxy.example:3128'}", None),
            ("{url: 'https://a/x', proxyUrl: 'http://192.0.2.1:3128'}", None),
            ("{url: 'http://169.254.169.254/x'}", Some("HostNotAllowed")),
            ("{url: 'http://10.0.0.1/x'}", None),
            ("{url: 'https://a/x', sigv4: {region: r}}", Some("PodIdentityNotAllowed")),
            ("{url: 'https://a/x', sigv4: {accessKey: {name: s, key: a}, secretKey: {name: s, key: b}}}", None),
            ("{url: 'https://a/x', azureAd: {sdk: {}}}", Some("PodIdentityNotAllowed")),
            ("{url: 'https://a/x', azureAd: {managedIdentity: {}}}", Some("PodIdentityNotAllowed")),
        ] {
            assert_eq!(reason(spec, &OperatorPolicies::default()), expected, "{spec}");
            assert_eq!(reason(spec, &allow_all), None, "{spec}");
        }
    }

    #[test]
    fn a_list_of_hosts_is_the_only_way_out() {
        let file = "policies: {allowed_hosts: [mimir.example.org, '*.team.example.org']}";
        let config = writegate_config::parse_operator(file, std::path::Path::new("f.yml")).unwrap();
        for (url, expected) in [
            ("https://mimir.example.org/api/v1/push", None),
            ("https://MIMIR.example.org:8443/api/v1/push", None),
            ("https://a.team.example.org/", None),
            ("https://team.example.org/", Some("HostNotAllowed")),
            ("https://mimir.example.org.evil/", Some("HostNotAllowed")),
        ] {
            assert_eq!(reason(&format!("url: {url}"), &config.policies), expected, "{url}");
        }
    }
}
