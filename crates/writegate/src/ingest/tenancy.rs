//! Which tenant a request speaks for: its credential's, and what else names one must agree.

use http::HeaderMap;
use http::request::Parts;
use writegate_config::{Listener, TenantSource, Tenants};

use super::refusal::Refusal;
use super::route::PathTenant;
use crate::auth::{Denied, Speaker};
use crate::tenant::TenantName;

/// The tenant of a request. `speaker`: for whom its credential speaks, if it shows one.
///
/// The credential decides: a path that names a tenant, and each source that the listener lists, must name the same one or
/// none. Where the credential speaks for several, one of these must name one of them. Without a credential a source that the
/// listener lists may select the tenant, all that are present must agree, and a path that is not listed must name the
/// listener's own. Hosts and headers that are not listed mean nothing.
///
/// # Errors
/// 401 if the listener takes nothing without credentials, 400 for a malformed name and where none of several is named, 403
/// where names disagree.
pub(super) fn tenant_of(
    listener: &Listener,
    tenants: &Tenants,
    request: &Parts,
    path: PathTenant<'_>,
    speaker: Option<&Speaker>,
) -> Result<TenantName, Refusal> {
    let own = match (speaker, &listener.tenant) {
        (Some(speaker), _) => speaker.only(),
        (None, Some(own)) => Some(own),
        (None, None) => return Err(Refusal::Unauthenticated(Denied::Missing)),
    };
    let mut selected: Option<TenantName> = speaker.and_then(Speaker::only).cloned();
    let mut agree = |named: TenantName| match &selected {
        Some(other) if *other != named => Err(Refusal::Forbidden),
        _ => {
            selected = Some(named);
            Ok(())
        }
    };
    for source in &listener.tenant_from {
        if let Some(named) = named_by(source, tenants, request, path)? {
            agree(named)?;
        }
    }
    if !listener.tenant_from.contains(&TenantSource::Path)
        && let Some(named) = path_tenant(tenants, path)?
    {
        if own.is_some_and(|own| named != *own) {
            return Err(Refusal::Forbidden);
        }
        agree(named)?;
    }
    match (selected.or_else(|| own.cloned()), speaker) {
        (Some(tenant), Some(speaker)) if !speaker.may(&tenant) => Err(Refusal::Forbidden),
        (Some(tenant), _) => Ok(tenant),
        (None, _) => Err(Refusal::WhichTenant),
    }
}

fn named_by(
    source: &TenantSource,
    tenants: &Tenants,
    request: &Parts,
    path: PathTenant<'_>,
) -> Result<Option<TenantName>, Refusal> {
    match source {
        // Hosts are compared without case (RFC 9110 §4.2.3), so the tenant in one is taken in lower case.
        TenantSource::Host(pattern) => {
            let host = host(request)?;
            host.and_then(|host| pattern.tenant_of(host)).map(|tenant| name(&tenant.to_ascii_lowercase())).transpose()
        }
        TenantSource::Header(header) => single_header(&request.headers, header)?.map(name).transpose(),
        TenantSource::Path => path_tenant(tenants, path),
        TenantSource::VmHeaders => {
            let project = single_header(&request.headers, "projectid")?;
            match (single_header(&request.headers, "accountid")?, project) {
                (None, None) => Ok(None),
                (None, Some(_)) => Err(Refusal::TenantHeader("a ProjectID needs an AccountID beside it".to_owned())),
                (Some(account), project) => account_tenant(tenants, account, project).map(Some),
            }
        }
    }
}

/// The host as the client wrote it, without the port (HTTP/2 has it in the request's URI).
fn host(request: &Parts) -> Result<Option<&str>, Refusal> {
    if let Some(host) = request.uri.host() {
        return Ok(Some(host));
    }
    let host = single_header(&request.headers, http::header::HOST.as_str())?;
    Ok(host.map(|host| host.rsplit_once(':').map_or(host, |(name, port)| if port.contains(']') { host } else { name })))
}

/// A header that names a tenant must come once: with two, it depends on the reader which one counts.
fn single_header<'h>(headers: &'h HeaderMap, header: &str) -> Result<Option<&'h str>, Refusal> {
    let mut values = headers.get_all(header).iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    if values.next().is_some() {
        return Err(Refusal::TenantHeader(format!("the header {header:?} came twice; which one counts is not known")));
    }
    match value.to_str() {
        Ok(text) => Ok(Some(text.trim())),
        Err(_not_ascii) => Err(Refusal::TenantName(format!("the value of header {header:?}"))),
    }
}

fn path_tenant(tenants: &Tenants, path: PathTenant<'_>) -> Result<Option<TenantName>, Refusal> {
    match path {
        PathTenant::None => Ok(None),
        PathTenant::Name(segment) => name(segment).map(Some),
        PathTenant::Account(segment) => {
            let (account, project) = segment.split_once(':').map_or((segment, None), |(a, p)| (a, Some(p)));
            account_tenant(tenants, account, project).map(Some)
        }
    }
}

fn name(text: &str) -> Result<TenantName, Refusal> {
    TenantName::new(text).map_err(|_invalid| Refusal::TenantName(format!("{text:.160?}")))
}

/// VictoriaMetrics' ids are 32-bit numbers, the project 0 unless named. Account 12 is the tenant whose id is `12`, or who is
/// named so; account 12 with project 3 is the tenant whose id is `12:3`.
fn account_tenant(tenants: &Tenants, account: &str, project: Option<&str>) -> Result<TenantName, Refusal> {
    let number = |text: &str| {
        text.parse::<u32>().map_err(|_invalid| Refusal::TenantName(format!("the account or project {text:.20?}")))
    };
    let account = number(account)?;
    let project = project.map(number).transpose()?.filter(|project| *project != 0);
    let id = project.map_or_else(|| account.to_string(), |project| format!("{account}:{project}"));
    match (tenants.with_id(&id), project) {
        (Some(tenant), _) => Ok(tenant.clone()),
        (None, None) => name(&id),
        (None, Some(_)) => Err(Refusal::Forbidden),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::Request;
    use writegate_config::{Config, HostPattern, TenantConfig};

    fn check(sources: &[TenantSource], headers: &[(&str, &str)], path: PathTenant<'_>) -> Result<String, u16> {
        let mut listener = Config::without_file().listeners.remove(0);
        listener.tenant_from = sources.to_vec();
        let mut request = Request::builder().uri("/api/v1/write");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let (parts, ()) = request.body(()).unwrap().into_parts();
        tenant_of(&listener, &Tenants::default(), &parts, path, None)
            .map(|name| name.to_string())
            .map_err(|refusal| refusal.status().as_u16())
    }

    #[test]
    fn a_credential_for_several_tenants_needs_one_of_them_named() {
        let listener = Config::without_file().listeners.remove(0);
        let name = |name: &str| TenantName::new(name).unwrap();
        let several = Speaker::of(["blue", "red"].map(name).into_iter().collect()).unwrap();
        let one = Speaker::from(name("blue"));
        let (plain, ()) = Request::builder().uri("/").header("x-scope-orgid", "red").body(()).unwrap().into_parts();
        let check = |sources: &[TenantSource], path, speaker: &Speaker| {
            let listener = Listener { tenant_from: sources.to_vec(), ..listener.clone() };
            tenant_of(&listener, &Tenants::default(), &plain, path, Some(speaker))
                .map(|name| name.to_string())
                .map_err(|refusal| refusal.status().as_u16())
        };
        let at = PathTenant::Name;
        assert_eq!(check(&[], at("blue"), &several), Ok("blue".into()));
        assert_eq!(check(&[], at("red"), &several), Ok("red".into()));
        assert_eq!(check(&[], at("green"), &several), Err(403));
        assert_eq!(check(&[], at("default"), &several), Err(403), "the listener's own is for those who show nothing");
        assert_eq!(check(&[], PathTenant::None, &several), Err(400));
        assert_eq!(check(&[header()], PathTenant::None, &several), Ok("red".into()));
        assert_eq!(check(&[header()], at("blue"), &several), Err(403), "path and header disagree");
        assert_eq!(check(&[header(), TenantSource::Path], at("red"), &several), Ok("red".into()));
        assert_eq!(check(&[TenantSource::Path], at("green"), &several), Err(403));
        assert_eq!(check(&[], PathTenant::None, &one), Ok("blue".into()));
        assert_eq!(check(&[], at("red"), &one), Err(403));
        assert_eq!(check(&[header()], PathTenant::None, &one), Err(403));
    }

    const ORG: (&str, &str) = ("x-scope-orgid", "team-a");

    fn header() -> TenantSource {
        TenantSource::Header("x-scope-orgid".to_owned())
    }

    #[test]
    fn unlisted_headers_and_hosts_mean_nothing() {
        assert_eq!(check(&[], &[ORG, ("host", "cortex.team-b.example.org")], PathTenant::None), Ok("default".into()));
    }

    #[test]
    fn a_listed_source_selects() {
        assert_eq!(check(&[header()], &[ORG], PathTenant::None), Ok("team-a".into()));
        assert_eq!(check(&[header()], &[], PathTenant::None), Ok("default".into()));
        assert_eq!(check(&[TenantSource::Path], &[], PathTenant::Name("team-b")), Ok("team-b".into()));
        let pattern = HostPattern { prefix: "cortex.".into(), suffix: ".example.org".into() };
        let host = ("host", "cortex.TEAM-c.example.org:9009");
        assert_eq!(check(&[TenantSource::Host(pattern)], &[host], PathTenant::None), Ok("team-c".into()));
        let vm = [("accountid", "12"), ("projectid", "0")];
        assert_eq!(check(&[TenantSource::VmHeaders], &vm, PathTenant::None), Ok("12".into()));
    }

    #[test]
    fn sources_that_disagree_are_refused() {
        let sources = [header(), TenantSource::Path];
        assert_eq!(check(&sources, &[ORG], PathTenant::Name("team-a")), Ok("team-a".into()));
        assert_eq!(check(&sources, &[ORG], PathTenant::Name("team-b")), Err(403));
    }

    #[test]
    fn an_unlisted_path_must_name_the_listeners_own_tenant() {
        assert_eq!(check(&[], &[], PathTenant::Name("default")), Ok("default".into()));
        assert_eq!(check(&[], &[], PathTenant::Name("team-a")), Err(403));
        assert_eq!(check(&[header()], &[ORG], PathTenant::Name("team-a")), Err(403));
        assert_eq!(check(&[header()], &[ORG], PathTenant::Name("default")), Err(403), "the header names another one");
    }

    #[test]
    fn malformed_names_are_400() {
        for bad in ["", ".", "..", "a/b", "a|b", "é"] {
            assert_eq!(check(&[TenantSource::Path], &[], PathTenant::Name(bad)), Err(400), "{bad:?}");
        }
        for bad in ["", "x", "-1", "4294967296", "1:x", "1:2:3"] {
            assert_eq!(check(&[TenantSource::Path], &[], PathTenant::Account(bad)), Err(400), "{bad:?}");
        }
        assert_eq!(check(&[TenantSource::VmHeaders], &[("projectid", "1")], PathTenant::None), Err(400));
        let pattern = HostPattern { prefix: "cortex.".into(), suffix: ".example.org".into() };
        let hosts = [("host", "cortex.a.example.org"), ("host", "cortex.b.example.org")];
        assert_eq!(check(&[TenantSource::Host(pattern)], &hosts, PathTenant::None), Err(400));
        let twice = [ORG, ("x-scope-orgid", "team-b")];
        assert_eq!(check(&[header()], &twice, PathTenant::None), Err(400));
    }

    #[test]
    fn an_account_is_the_tenant_that_has_it_as_its_id() {
        let config = |id: &str| TenantConfig { id: Some(id.to_owned()), ..TenantConfig::default() };
        let name = |name: &str| TenantName::new(name).unwrap();
        let tenants: Tenants = [(name("blue"), config("12:3")), (name("red"), config("7"))].into_iter().collect();
        let account = |account, project| account_tenant(&tenants, account, project).map(|name| name.to_string());
        assert_eq!(account("12", Some("3")).unwrap(), "blue");
        assert_eq!(account("7", Some("0")).unwrap(), "red");
        assert_eq!(account("8", None).unwrap(), "8");
        assert_eq!(account("7", Some("1")).unwrap_err().status().as_u16(), 403);
    }
}
