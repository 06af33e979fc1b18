//! Who may use the admin address: credentials, and protection of browsers from being used by other sites.

use http::header::{AUTHORIZATION, HOST, ORIGIN};
use http::{HeaderName, Method, Request, StatusCode};
use writegate_config::{Admin, AdminCredential, AdminPublic};

/// Fetch Metadata Request Headers, "The Sec-Fetch-Site HTTP Request Header".
const SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// The same, "The Sec-Fetch-Mode HTTP Request Header": `navigate` is somebody who follows a link.
const MODE: HeaderName = HeaderName::from_static("sec-fetch-mode");

/// An admin request that is not served.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Denied {
    /// DNS rebinding: a site's name that resolves to this machine.
    #[error("the Host header must be an IP address or localhost on an admin address without credentials")]
    Host,
    /// A form or script of another site.
    #[error("the Origin header is not this server's")]
    Origin,
    /// The same, as browsers say it of each request.
    #[error("the Sec-Fetch-Site header says that another site sent this")]
    Site,
    /// No credential or a wrong one.
    #[error("the admin API takes the credential of `admin:` in the configuration")]
    Credential,
    /// Off loopback and without a credential only what is public is served.
    #[error("only public paths are served here; set admin.bearer_token_file or admin.basic_auth for the others")]
    PublicOnly,
}

impl Denied {
    pub(super) const fn status(self) -> StatusCode {
        match self {
            Self::Host | Self::Origin | Self::Site | Self::PublicOnly => StatusCode::FORBIDDEN,
            Self::Credential => StatusCode::UNAUTHORIZED,
        }
    }
}

/// Checks one request.
///
/// # Errors
/// When it must not be served.
pub(super) fn check<B>(admin: &Admin, request: &Request<B>) -> Result<(), Denied> {
    let header = |name| request.headers().get(name).and_then(|value| value.to_str().ok());
    let host = header(HOST).unwrap_or_default();
    if admin.credential.is_none() && !is_local_name(host) {
        return Err(Denied::Host);
    }
    let reads = matches!(*request.method(), Method::GET | Method::HEAD);
    if !reads && header(ORIGIN).is_some_and(|origin| origin.split_once("://").is_none_or(|(_, name)| name != host)) {
        return Err(Denied::Origin);
    }
    if !reads && header(SITE).is_some_and(|site| !["same-origin", "none"].contains(&site)) {
        return Err(Denied::Site);
    }
    // It could not read what comes, but hold the places of taps, and have large answers made.
    if reads && header(SITE) == Some("cross-site") && header(MODE) != Some("navigate") {
        return Err(Denied::Site);
    }
    if reads && is_public(admin.public, request.uri().path()) {
        return Ok(());
    }
    match &admin.credential {
        Some(credential) if shows(credential, header(AUTHORIZATION).unwrap_or_default()) => Ok(()),
        Some(_) => Err(Denied::Credential),
        None if admin.public_only => Err(Denied::PublicOnly),
        None => Ok(()),
    }
}

fn is_public(public: AdminPublic, path: &str) -> bool {
    match path {
        "/metrics" => public.metrics,
        "/-/healthy" => public.healthy,
        "/-/ready" => public.ready,
        _ => false,
    }
}

fn is_local_name(host: &str) -> bool {
    let authority = host.parse::<http::uri::Authority>();
    authority.is_ok_and(|authority| {
        let name = authority.host().trim_start_matches('[').trim_end_matches(']');
        name.eq_ignore_ascii_case("localhost") || name.parse::<std::net::IpAddr>().is_ok()
    })
}

fn shows(credential: &AdminCredential, authorization: &str) -> bool {
    let Some((scheme, shown)) = authorization.split_once(' ') else {
        return false;
    };
    let shown = shown.trim();
    match credential {
        AdminCredential::Bearer(token) => {
            scheme.eq_ignore_ascii_case("bearer")
                && token.read().is_ok_and(|token| same(token.expose().as_bytes(), shown.as_bytes()))
        }
        AdminCredential::Basic { username, password } => {
            let (Ok(username), Ok(password)) = (username.read(), password.read()) else {
                return false;
            };
            let expected = crate::basic_auth::encode(&username, password.expose());
            scheme.eq_ignore_ascii_case("basic") && same(expected.as_bytes(), shown.as_bytes())
        }
    }
}

/// Compares in a time that tells nothing but the length.
fn same(expected: &[u8], shown: &[u8]) -> bool {
    let difference = expected.iter().zip(shown).fold(0, |difference, (a, b)| difference | (a ^ b));
    std::hint::black_box(difference) == 0 && expected.len() == shown.len() && !expected.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;
    use writegate_config::{Config, Secret, SecretSource, TextSource};

    fn admin(credential: Option<AdminCredential>) -> Admin {
        let mut admin = Config::without_file().admin;
        admin.credential = credential;
        admin.public = AdminPublic { metrics: true, healthy: true, ready: true };
        admin
    }

    fn ask(admin: &Admin, method: &str, path: &str, headers: &[(&str, &str)]) -> Result<(), Denied> {
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        check(admin, &request.body(()).unwrap())
    }

    #[test]
    fn a_rebound_name_is_refused_where_there_is_no_credential() {
        for host in ["127.0.0.1:9010", "localhost:9010", "[::1]:9010", "LOCALHOST"] {
            assert_eq!(ask(&admin(None), "GET", "/", &[("host", host)]), Ok(()), "{host}");
        }
        for host in ["evil.example.org", "", "localhost.evil.org:9010"] {
            assert_eq!(ask(&admin(None), "GET", "/", &[("host", host)]), Err(Denied::Host), "{host}");
        }
    }

    #[test]
    fn another_sites_form_cannot_reload() {
        let host = ("host", "localhost:9010");
        let admin = admin(None);
        assert_eq!(ask(&admin, "POST", "/-/reload", &[host]), Ok(()));
        assert_eq!(ask(&admin, "POST", "/-/reload", &[host, ("origin", "http://localhost:9010")]), Ok(()));
        for origin in ["http://evil.org", "null", "http://localhost:80"] {
            assert_eq!(ask(&admin, "POST", "/-/reload", &[host, ("origin", origin)]), Err(Denied::Origin));
        }
        let site = |method, path, site| ask(&admin, method, path, &[host, ("sec-fetch-site", site)]);
        for path in ["/-/reload", "/console/letters", "/api/v1/dead_letters"] {
            assert_eq!(site("POST", path, "same-origin"), Ok(()), "{path}");
            for other in ["cross-site", "same-site", ""] {
                assert_eq!(site("POST", path, other), Err(Denied::Site), "{path} {other}");
            }
        }
        let read = |mode| {
            let headers = [host, ("sec-fetch-site", "cross-site"), ("sec-fetch-mode", mode)];
            ask(&admin, "GET", "/api/v1/tap", &headers)
        };
        assert_eq!(read("navigate"), Ok(()), "a link");
        for mode in ["no-cors", "cors", ""] {
            assert_eq!(read(mode), Err(Denied::Site), "{mode}");
        }
    }

    #[test]
    fn with_a_credential_only_public_paths_are_open() {
        let token = AdminCredential::Bearer(SecretSource::Inline(Secret::new("s3cret")));
        let basic = AdminCredential::Basic {
            username: TextSource::Inline("ops".into()),
            password: SecretSource::Inline(Secret::new("pw")),
        };
        for (credential, good) in [(token, "bearer  s3cret"), (basic, "Basic b3BzOnB3")] {
            let admin = admin(Some(credential));
            assert_eq!(ask(&admin, "GET", "/metrics", &[("host", "gw")]), Ok(()));
            assert_eq!(ask(&admin, "GET", "/api/v1/status", &[("host", "gw"), ("authorization", good)]), Ok(()));
            for bad in ["", "Bearer", "Bearer s3cre", "Bearer s3cret1", "Basic b3BzOnB3eA=="] {
                let asked = ask(&admin, "GET", "/api/v1/status", &[("host", "gw"), ("authorization", bad)]);
                assert_eq!(asked, Err(Denied::Credential), "{bad}");
            }
        }
    }

    #[test]
    fn an_empty_token_file_opens_nothing() {
        let admin = admin(Some(AdminCredential::Bearer(SecretSource::Inline(Secret::new("")))));
        let asked = ask(&admin, "GET", "/", &[("host", "gw"), ("authorization", "Bearer ")]);
        assert_eq!(asked, Err(Denied::Credential));
    }
}
