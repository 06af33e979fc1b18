//! Fetches the keys of a provider.

use std::time::Duration;

use bytes::Bytes;
use http::header::ACCEPT;
use http::{HeaderMap, HeaderValue, Method};
use identity::key_set::{KeySet, KeySetError, ParsedKeySet, RefusedKey};
use outbound::fetch::{FetchError, Fetched, Fetcher};
use serde::Deserialize;
use writegate_config::{InvalidUrl, Issuer, Scheme, Url};

use super::Place;

/// What is told of an issuer that is not the one that was asked.
const SHOWN_CHARS: usize = 200;

/// What a provider publishes.
#[derive(Debug)]
pub(super) struct Publication {
    /// As it came.
    pub(super) document: Bytes,
    /// Those that can be used, one at least.
    pub(super) keys: KeySet,
    /// Those that cannot.
    pub(super) refused: Vec<RefusedKey>,
    /// How long it is current; `None`: the provider does not say.
    pub(super) max_age: Option<Duration>,
}

/// There are no keys.
#[derive(Debug, thiserror::Error)]
pub(super) enum NoKeys {
    /// Nothing usable came.
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// The description is no JSON object with text for `issuer` and `jwks_uri`.
    #[error("{url} is no description of an OpenID provider")]
    Description {
        /// Where it came from.
        url: String,
        /// Why.
        source: serde_json::Error,
    },
    /// Discovery §4.3: it must be the one that was asked for.
    #[error("{url} describes the issuer {found:?}; write exactly that if it is the one that is meant")]
    OtherIssuer {
        /// Where it came from.
        url: String,
        /// What it says, at most its first 200 characters.
        found: String,
    },
    /// What it says of its keys is no URL.
    #[error("the jwks_uri in {url} cannot be used")]
    KeysUrl {
        /// Where the description came from.
        url: String,
        /// Why.
        source: InvalidUrl,
    },
    /// Whoever is between could put other keys in their place.
    #[error("the jwks_uri in {url} is http, the issuer https")]
    PlainKeys {
        /// Where the description came from.
        url: String,
    },
    /// It came, and cannot be used.
    #[error("the key set of {url} cannot be used")]
    KeySet {
        /// Where it came from.
        url: String,
        /// Why.
        source: KeySetError,
    },
}

/// Fetches what is published at a place now.
pub(super) async fn publication(fetcher: &Fetcher, place: &Place) -> Result<Publication, NoKeys> {
    let described;
    let url = match place {
        Place::Url(url) => url,
        Place::Issuer(issuer) => {
            described = keys_url(issuer, &get(fetcher, issuer.discovery()).await?.body)?;
            &described
        }
    };
    let fetched = get(fetcher, url).await?;
    let unusable = |source| NoKeys::KeySet { url: url.redacted(), source };
    // What is not UTF-8 is no JSON either, and is told as that.
    let text = String::from_utf8_lossy(&fetched.body);
    let ParsedKeySet { keys, refused } = KeySet::parse(&text).map_err(unusable)?;
    let max_age = fetched.max_age();
    Ok(Publication { keys, refused, max_age, document: fetched.body })
}

#[derive(Deserialize)]
struct Description {
    issuer: String,
    jwks_uri: String,
}

/// Where the keys are, by a provider's description of itself.
fn keys_url(issuer: &Issuer, description: &[u8]) -> Result<Url, NoKeys> {
    let url = || issuer.discovery().redacted();
    let description: Description =
        serde_json::from_slice(description).map_err(|source| NoKeys::Description { url: url(), source })?;
    if description.issuer != issuer.as_str() {
        let found = description.issuer.chars().take(SHOWN_CHARS).collect();
        return Err(NoKeys::OtherIssuer { url: url(), found });
    }
    let keys = Url::parse(&description.jwks_uri).map_err(|source| NoKeys::KeysUrl { url: url(), source })?;
    match (issuer.discovery().scheme(), keys.scheme()) {
        (Scheme::Https, Scheme::Http) => Err(NoKeys::PlainKeys { url: url() }),
        _ => Ok(keys),
    }
}

async fn get(fetcher: &Fetcher, url: &Url) -> Result<Fetched, FetchError> {
    let headers = HeaderMap::from_iter([(ACCEPT, HeaderValue::from_static("application/json"))]);
    let fetched = fetcher.get(url, headers).await?;
    match fetched.clone().success() {
        Ok(_body) => Ok(fetched),
        Err(failure) => Err(FetchError::new(Method::GET, url, failure)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_description_is_believed_only_if_it_is_the_issuers_own() {
        let issuer = Issuer::parse("https://id.example.org").unwrap();
        let told = |issuer: &str, keys: &str| format!(r#"{{"issuer": "{issuer}", "jwks_uri": "{keys}", "x": []}}"#);
        let url = |description: &str| keys_url(&issuer, description.as_bytes());
        let keys = url(&told("https://id.example.org", "https://keys.example.org/keys")).unwrap();
        assert_eq!(keys.redacted(), "https://keys.example.org/keys");
        for (description, error) in [
            (told("https://id.example.org/", "https://a/"), "describes the issuer \"https://id.example.org/\""),
            (told("https://id.example.org", "http://a/"), "is http, the issuer https"),
            (told("https://id.example.org", "/keys"), "the jwks_uri in"),
            ("[]".to_owned(), "is no description"),
            (r#"{"issuer": "https://id.example.org"}"#.to_owned(), "is no description"),
        ] {
            let told = url(&description).unwrap_err().to_string();
            assert!(told.contains(error), "{told}");
        }
    }
}
