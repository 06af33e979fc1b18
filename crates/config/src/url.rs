//! HTTP URLs, taken apart once and checked (RFC 3986, RFC 9110 §4.2).

use std::fmt;

use crate::secret::{Secret, name_suggests_secret};

/// An `http` or `https` URL without credentials and without a fragment.
#[derive(Clone, PartialEq, Eq)]
pub struct Url {
    scheme: Scheme,
    host: String,
    port: Option<u16>,
    path_and_query: String,
}

/// How a server is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// Plain.
    Http,
    /// Over TLS.
    Https,
}

impl Scheme {
    /// `http` or `https`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }

    /// 80 or 443.
    #[must_use]
    pub fn default_port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
        }
    }
}

/// Why a text is no URL the gateway can use. The text itself is not repeated: it may hold a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidUrl {
    /// Another scheme, or none.
    #[error("expected a url that starts with http:// or https://")]
    Scheme,
    /// Nothing where the host belongs, or a character that no host has.
    #[error("the url has no valid host")]
    Host,
    /// Not a number of 1 to 65535.
    #[error("the url's port is not a number from 1 to 65535")]
    Port,
    /// `user:password@`.
    #[error("credentials in a url end up in logs and metrics")]
    User,
    /// `user:password@` where it may be, and not as it must be.
    #[error("the url's user and password are not percent-encoded text")]
    Userinfo,
    /// A character that a URL must write as `%XX`.
    #[error("{0:?} must be percent-encoded in a url")]
    Char(char),
}

impl Url {
    /// Takes `text` apart. A fragment is cut: it is never sent.
    ///
    /// # Errors
    /// If it is not an absolute HTTP URL, or carries credentials.
    pub fn parse(text: &str) -> Result<Self, InvalidUrl> {
        let (scheme, rest) = match text.split_once("://") {
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("http") => (Scheme::Http, rest),
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("https") => (Scheme::Https, rest),
            _ => return Err(InvalidUrl::Scheme),
        };
        let authority_end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, rest) = rest.split_at(authority_end);
        if authority.contains('@') {
            return Err(InvalidUrl::User);
        }
        let (host, port) = parse_authority(authority)?;
        let path_and_query = rest.split('#').next().unwrap_or_default();
        if let Some(c) = path_and_query.chars().find(|&c| !c.is_ascii_graphic() || "\"<>\\^`{|}".contains(c)) {
            return Err(InvalidUrl::Char(c));
        }
        let path_and_query =
            if path_and_query.starts_with('/') { path_and_query.to_owned() } else { format!("/{path_and_query}") };
        Ok(Self { scheme, host, port, path_and_query })
    }

    /// As [`Url::parse`], for a URL that may carry `user:password@`, percent-encoded (RFC 3986 §3.2.1), as those of proxies
    /// do. A user without a password has an empty one.
    ///
    /// # Errors
    /// As [`Url::parse`]; and if the decoded parts are no text, or the user has a colon.
    pub fn parse_with_user(text: &str) -> Result<(Self, Option<(String, Secret)>), InvalidUrl> {
        let authority = text.find("://").ok_or(InvalidUrl::Scheme)? + 3;
        let authority_end = text[authority..].find(['/', '?', '#']).map_or(text.len(), |end| authority + end);
        let Some(at) = text[authority..authority_end].rfind('@').map(|at| authority + at) else {
            return Ok((Self::parse(text)?, None));
        };
        let (user, password) = text[authority..at].split_once(':').unwrap_or_else(|| (&text[authority..at], ""));
        let (user, password) = percent_decoded(user).zip(percent_decoded(password)).ok_or(InvalidUrl::Userinfo)?;
        if user.contains(':') {
            return Err(InvalidUrl::Userinfo);
        }
        let url = Self::parse(&format!("{}{}", &text[..authority], &text[at + 1..]))?;
        Ok((url, Some((user, Secret::new(password)))))
    }

    /// The scheme.
    #[must_use]
    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// The host in lower case; an IPv6 address without brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port, or the scheme's.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port.unwrap_or_else(|| self.scheme.default_port())
    }

    /// What the `Host` header says: host, and port if one was written that is not the scheme's.
    #[must_use]
    pub fn authority(&self) -> String {
        let brackets = self.host.contains(':');
        let host = if brackets { format!("[{}]", self.host) } else { self.host.clone() };
        match self.port {
            Some(port) if port != self.scheme.default_port() => format!("{host}:{port}"),
            _ => host,
        }
    }

    /// What the request line says; starts with `/`.
    #[must_use]
    pub fn path_and_query(&self) -> &str {
        &self.path_and_query
    }

    /// The path alone; starts with `/`.
    #[must_use]
    pub fn path(&self) -> &str {
        self.path_and_query.split('?').next().unwrap_or_default()
    }

    /// All of it: for whom it was written for, never for a message.
    #[must_use]
    pub fn expose(&self) -> String {
        format!("{}://{}{}", self.scheme.as_str(), self.authority(), self.path_and_query)
    }

    /// The values that [`Url::redacted`] hides, as they are written.
    pub fn query_secrets(&self) -> impl Iterator<Item = &str> {
        let query = self.path_and_query.split_once('?').map(|(_, query)| query);
        let parameters = query.into_iter().flat_map(|query| query.split('&'));
        parameters
            .filter_map(|parameter| parameter.split_once('='))
            .filter(|(name, _)| name_suggests_secret(name))
            .map(|(_, value)| value)
    }

    /// For people, logs and metrics: the value of a query parameter whose name suggests a secret is hidden.
    #[must_use]
    pub fn redacted(&self) -> String {
        let mut out = format!("{}://{}{}", self.scheme.as_str(), self.authority(), self.path());
        let query = self.path_and_query.split_once('?').map(|(_, query)| query);
        for (index, parameter) in query.iter().flat_map(|query| query.split('&')).enumerate() {
            out.push(if index == 0 { '?' } else { '&' });
            match parameter.split_once('=') {
                Some((name, _)) if name_suggests_secret(name) => {
                    out.push_str(name);
                    out.push_str("=xxxxx");
                }
                _ => out.push_str(parameter),
            }
        }
        out
    }
}

impl fmt::Debug for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.redacted())
    }
}

fn parse_authority(authority: &str) -> Result<(String, Option<u16>), InvalidUrl> {
    let (host, port) = if let Some(rest) = authority.strip_prefix('[') {
        let (host, after) = rest.split_once(']').ok_or(InvalidUrl::Host)?;
        if host.parse::<std::net::Ipv6Addr>().is_err() {
            return Err(InvalidUrl::Host);
        }
        let port = match after.strip_prefix(':') {
            None if after.is_empty() => None,
            None => return Err(InvalidUrl::Port),
            Some(port) => Some(port),
        };
        (host, port)
    } else {
        match authority.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (authority, None),
        }
    };
    let valid = |c: char| c.is_ascii_alphanumeric() || "-._~%:".contains(c);
    if host.is_empty() || !host.chars().all(valid) {
        return Err(InvalidUrl::Host);
    }
    let port = match port {
        None | Some("") => None,
        Some(digits) if digits.bytes().all(|b| b.is_ascii_digit()) => match digits.parse::<u16>() {
            Ok(port) if port > 0 => Some(port),
            _ => return Err(InvalidUrl::Port),
        },
        Some(_) => return Err(InvalidUrl::Port),
    };
    Ok((host.to_ascii_lowercase(), port))
}

/// `text` without percent-encoding; `None` if what comes out is no text, or a `%` does not begin two hexadecimal digits.
#[must_use]
pub fn percent_decoded(text: &str) -> Option<String> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        rest = after;
        if *first != b'%' {
            out.push(*first);
            continue;
        }
        let digit = |at: usize| char::from(*after.get(at)?).to_digit(16);
        out.push(u8::try_from(digit(0)? * 16 + digit(1)?).ok()?);
        rest = &after[2..];
    }
    String::from_utf8(out).ok()
}

/// `text` with all but RFC 3986's unreserved characters percent-encoded, in upper case.
#[must_use]
pub fn percent_encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_taken_apart() {
        for (text, host, port, authority, rest) in [
            ("http://a", "a", 80, "a", "/"),
            ("HTTPS://A.example.org:443/x", "a.example.org", 443, "a.example.org", "/x"),
            ("http://a:443/x?y=z#frag", "a", 443, "a:443", "/x?y=z"),
            ("http://a?y", "a", 80, "a", "/?y"),
            ("http://[::1]:9090/p%20q", "::1", 9090, "[::1]:9090", "/p%20q"),
            ("http://a:/", "a", 80, "a", "/"),
        ] {
            let url = Url::parse(text).unwrap();
            assert_eq!((url.host(), url.port(), url.path_and_query()), (host, port, rest), "{text}");
            assert_eq!(url.authority(), authority, "{text}");
        }
    }

    #[test]
    fn what_is_no_http_url_is_refused_with_the_reason() {
        for (text, error) in [
            ("", InvalidUrl::Scheme),
            ("a/b", InvalidUrl::Scheme),
            ("ftp://a", InvalidUrl::Scheme),
            ("http://", InvalidUrl::Host),
            ("http://a b/", InvalidUrl::Host),
            ("http://[::1", InvalidUrl::Host),
            ("http://[a]/", InvalidUrl::Host),
            ("http://[::1]x/", InvalidUrl::Port),
            ("http://a:0/", InvalidUrl::Port),
            ("http://a:65536/", InvalidUrl::Port),
            ("http://a:b/", InvalidUrl::Port),
            ("http://u:p@a/", InvalidUrl::User),
            ("http://a/é", InvalidUrl::Char('é')),
            ("http://a/b c", InvalidUrl::Char(' ')),
            ("http://a/\r\nX: y", InvalidUrl::Char('\r')),
        ] {
            assert_eq!(Url::parse(text), Err(error), "{text}");
        }
    }

    #[test]
    fn a_proxys_url_may_carry_a_user_and_a_password() {
        for (text, user, host) in [
            ("http://proxy:3128", None, "proxy"),
            ("http://u@proxy", Some(("u", "")), "proxy"),
            ("http://u:p%40s%3As@[::1]:3128/", Some(("u", "p@s:s")), "::1"),
            ("https://u:p@q@proxy?x=a@b", Some(("u", "p@q")), "proxy"),
            ("http://%C3%A9:@proxy", Some(("é", "")), "proxy"),
        ] {
            let (url, found) = Url::parse_with_user(text).unwrap();
            let found = found.as_ref().map(|(user, password)| (user.as_str(), password.expose()));
            assert_eq!((url.host(), found), (host, user), "{text}");
        }
        for (text, error) in [
            ("proxy:3128", InvalidUrl::Scheme),
            ("socks5://u:p@proxy", InvalidUrl::Scheme),
            ("http://u:%4@proxy", InvalidUrl::Userinfo),
            ("http://u:%ff@proxy", InvalidUrl::Userinfo),
            ("http://u%3Av:p@proxy", InvalidUrl::Userinfo),
            ("http://u:p@", InvalidUrl::Host),
        ] {
            assert_eq!(Url::parse_with_user(text), Err(error), "{text}");
        }
        assert_eq!(percent_encoded("a:b @é~"), "a%3Ab%20%40%C3%A9~");
    }

    #[test]
    fn secrets_in_a_query_are_hidden_from_people() {
        let url = Url::parse("http://a/b?extra_label=x&api_key=1&flag").unwrap();
        assert_eq!(url.redacted(), "http://a/b?extra_label=x&api_key=xxxxx&flag");
        assert_eq!(format!("{url:?}"), url.redacted());
        assert_eq!(url.expose(), "http://a/b?extra_label=x&api_key=1&flag");
    }
}
