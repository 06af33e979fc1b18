//! What a request showed and nobody is to read. Some endpoints repeat it, and their words go into logs, dead letters and the
//! admin API: there it is hidden.

use http::HeaderMap;
use http::header::{AUTHORIZATION, PROXY_AUTHORIZATION};
use writegate_config as config;

use crate::basic_auth;

/// Parts of a secret that are shorter are found in every other word.
const SHORTEST_PART: usize = 4;

/// The secrets of one request, the longest first.
#[derive(Debug, Default)]
pub(super) struct Secrets(Vec<String>);

impl Secrets {
    /// Those of the headers of a request that is about to leave, and of the URL it is for.
    pub(super) fn of(headers: &HeaderMap, url: &config::Url) -> Self {
        let mut secrets: Vec<String> = url.query_secrets().map(str::to_owned).collect();
        for (name, value) in headers.iter().filter(|(_, value)| value.is_sensitive()) {
            let Ok(value) = value.to_str() else { continue };
            if name == AUTHORIZATION || name == PROXY_AUTHORIZATION {
                let (scheme, bare) = value.split_once(' ').unwrap_or(("", value));
                secrets.push(bare.to_owned());
                if scheme.eq_ignore_ascii_case("basic") {
                    secrets.extend(password(bare));
                }
            } else {
                secrets.push(value.to_owned());
                // Such as the cookies of one header.
                let parts =
                    value.split([';', ',', ' ']).map(|part| part.split_once('=').map_or(part, |(_, part)| part));
                secrets.extend(parts.filter(|part| part.len() >= SHORTEST_PART).map(str::to_owned));
            }
        }
        secrets.retain(|secret| !secret.is_empty());
        secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        secrets.dedup();
        Self(secrets)
    }

    /// The words without them.
    pub(super) fn hide(&self, words: &str) -> String {
        self.0
            .iter()
            .filter(|secret| words.contains(secret.as_str()))
            .fold(words.to_owned(), |words, secret| words.replace(secret.as_str(), "<hidden>"))
    }

    /// How many bytes the longest has: words that are cut before they are hidden may end in the start of it.
    pub(super) fn longest(&self) -> usize {
        self.0.first().map_or(0, String::len)
    }
}

/// The password in the credentials of the Basic scheme (RFC 7617).
fn password(credentials: &str) -> Option<String> {
    let text = basic_auth::decode(credentials)?;
    text.split_once(':').map(|(_, password)| password.to_owned()).filter(|password| password.len() >= SHORTEST_PART)
}

#[cfg(test)]
mod tests {
    use http::header::COOKIE;
    use http::{HeaderName, HeaderValue};

    use super::*;

    fn secrets(headers: &[(HeaderName, &str)], url: &str) -> Secrets {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            let mut value = HeaderValue::from_str(value).unwrap();
            value.set_sensitive(true);
            map.insert(name.clone(), value);
        }
        map.insert("x-open", HeaderValue::from_static("everybody-knows"));
        Secrets::of(&map, &config::Url::parse(url).unwrap())
    }

    #[test]
    fn each_secret_is_hidden_whole_in_parts_and_decoded() {
        // u:swordfish
        let of_all = secrets(
            &[
                (AUTHORIZATION, "Bearer t0ken"),
                (PROXY_AUTHORIZATION, "Basic dTpzd29yZGZpc2g="),
                (COOKIE, "a=first-one; b=second-one"),
            ],
            "http://h/push?token=in-the-url&x=1",
        );
        let words = "Bearer t0ken, Basic dTpzd29yZGZpc2g=, u:swordfish, a=first-one; b=second-one, b=second-one, \
                     http://h/push?token=in-the-url&x=1, everybody-knows";
        assert_eq!(
            of_all.hide(words),
            "Bearer <hidden>, Basic <hidden>, u:<hidden>, <hidden>, b=<hidden>, http://h/push?token=<hidden>&x=1, \
             everybody-knows"
        );
        assert_eq!(of_all.longest(), "a=first-one; b=second-one".len());
    }

    #[test]
    fn what_shows_nothing_hides_nothing() {
        let none = secrets(&[], "http://h/push");
        assert_eq!((none.hide("as it is"), none.longest()), ("as it is".to_owned(), 0));
    }
}
