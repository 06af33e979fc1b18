//! The addresses of the console's pages: read from paths, written into links. Names are percent-encoded.

use writegate_config::{percent_decoded, percent_encoded};

use super::super::query;

/// A page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in super::super) enum Page {
    Overview,
    Tenants,
    Tenant(String),
    Endpoints,
    Endpoint(String),
    Letter(u64),
    Ledger,
    Explain,
    Tap,
    Config,
    /// No page: what there is instead.
    Nothing,
}

impl Page {
    /// `None`: no page is there.
    pub(in super::super) fn of(path: &str) -> Option<Self> {
        Some(match path {
            "/" => Self::Overview,
            "/tenants" => Self::Tenants,
            "/endpoints" => Self::Endpoints,
            "/ledger" => Self::Ledger,
            "/explain" => Self::Explain,
            "/tap" => Self::Tap,
            "/config" => Self::Config,
            other => {
                let (of, name) = other.strip_prefix('/')?.split_once('/')?;
                let name = percent_decoded(name).filter(|_| !name.is_empty() && !name.contains('/'))?;
                match of {
                    "tenants" => Self::Tenant(name),
                    "endpoints" => Self::Endpoint(name),
                    "letters" => Self::Letter(name.parse().ok()?),
                    _ => return None,
                }
            }
        })
    }
}

pub(super) fn tenant(name: &str) -> String {
    format!("/tenants/{}", percent_encoded(name))
}

/// An endpoint, as one tenant sees it or all do.
pub(super) fn endpoint(name: &str, tenant: Option<&str>) -> String {
    with_query(&format!("/endpoints/{}", percent_encoded(name)), &[("tenant", tenant)])
}

pub(super) fn letter(id: u64) -> String {
    format!("/letters/{id}")
}

pub(super) fn with_query(path: &str, parameters: &[(&str, Option<&str>)]) -> String {
    format!("{path}{}", query::encode(parameters))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_to_any_name_leads_to_its_page() {
        for name in ["a", "host:9090/api/v1/write", "ü <b>\"'&?#%", "..", "%2F"] {
            assert_eq!(Page::of(&tenant(name)), Some(Page::Tenant(name.to_owned())), "{name}");
            assert_eq!(Page::of(&endpoint(name, None)), Some(Page::Endpoint(name.to_owned())), "{name}");
        }
        assert_eq!(endpoint("a/b", Some("c d")), "/endpoints/a%2Fb?tenant=c%20d");
        for path in ["/tenants/", "/tenants/a/b", "/endpoints/%zz", "/letters/x", "/nothing", "tenants", "/x/y"] {
            assert_eq!(Page::of(path), None, "{path}");
        }
    }
}
