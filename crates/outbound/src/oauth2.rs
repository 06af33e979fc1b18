//! Access tokens from an OAuth 2.0 server: with a client's secret (RFC 6749 §4.4), or with an assertion that the client
//! signs (RFC 7523 §2.1).

use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::{ACCEPT, AUTHORIZATION};
use http::{HeaderMap, HeaderValue, Method};
use serde_json::{Map, Value};
use writegate_config as config;

use crate::assertion::{self, Algorithm};
use crate::fetch::{self, Failure, FetchError, Fetched, Fetcher};
use crate::tls::TlsSource;
use crate::token::{Issued, TokenError};

/// How long an assertion is good, in seconds.
const ASSERTION_SECONDS: u64 = 600;

/// Asks one token server as one client.
#[derive(Debug)]
pub(crate) struct Client {
    oauth2: config::OAuth2,
    fetcher: Fetcher,
    /// Where the server wants the secret; see [`Place`].
    place: AtomicU8,
}

/// Where a client's secret goes. Servers must take the header (RFC 6749 §2.3.1), and some take only the body.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
enum Place {
    Unknown,
    Header,
    Body,
}

impl Client {
    pub(crate) fn new(oauth2: config::OAuth2, fetcher: Fetcher) -> Self {
        Self { oauth2, fetcher, place: AtomicU8::new(Place::Unknown as u8) }
    }

    pub(crate) fn tls(&self) -> &TlsSource {
        self.fetcher.connector().tls()
    }

    /// What a token is asked for with, as it is at this moment.
    pub(crate) fn secret(&self) -> Result<config::Secret, config::ReadSecret> {
        match &self.oauth2.grant {
            config::OAuth2Grant::ClientSecret(secret) | config::OAuth2Grant::JwtBearer { key: secret, .. } => {
                secret.read()
            }
        }
    }

    pub(crate) async fn ask(
        &self,
        secret: &config::Secret,
        now: SystemTime,
    ) -> Result<Issued<HeaderValue>, TokenError> {
        let (fetched, secrets) = match &self.oauth2.grant {
            config::OAuth2Grant::ClientSecret(_) => (self.with_secret(secret).await?, self.secrets(secret)),
            grant @ config::OAuth2Grant::JwtBearer { .. } => {
                let assertion = self.assertion(grant, secret, now)?;
                let form = [("grant_type", config::OAuth2Grant::JWT_BEARER), ("assertion", assertion.as_str())];
                (self.post(HeaderMap::new(), &form).await?, vec![assertion])
            }
        };
        read(&Method::POST, &self.oauth2.token_url, fetched, &secrets)
    }

    /// What was sent and nobody may read in an error, in each way it is written.
    fn secrets(&self, secret: &config::Secret) -> Vec<String> {
        let long = |text: &&str| text.len() >= 8;
        let params = self.oauth2.endpoint_params.iter().map(|(_, value)| value.expose()).filter(long);
        let plain: Vec<&str> = [secret.expose()].into_iter().chain(params).collect();
        let encoded = plain.iter().map(|text| form_encoded(text));
        let mut all: Vec<String> = plain.iter().map(ToString::to_string).chain(encoded).collect();
        all.push(self.basic_pair(secret));
        all
    }

    /// With the secret where the server wanted it last; otherwise in the header, and if that is refused in the body.
    async fn with_secret(&self, secret: &config::Secret) -> Result<Fetched, TokenError> {
        let known = self.place.load(Ordering::Relaxed);
        let scopes = self.oauth2.scopes.join(" ");
        if known != Place::Body as u8 {
            let mut headers = HeaderMap::new();
            headers.insert(AUTHORIZATION, self.basic(secret)?);
            let fetched = self.post(headers, &self.form(&scopes)).await?;
            if fetched.status.is_success() {
                self.place.store(Place::Header as u8, Ordering::Relaxed);
            }
            if fetched.status.is_success() || known == Place::Header as u8 || !fetched.status.is_client_error() {
                return Ok(fetched);
            }
        }
        let mut form = self.form(&scopes);
        form.push(("client_id", &self.oauth2.client_id));
        if !secret.expose().is_empty() {
            form.push(("client_secret", secret.expose()));
        }
        let fetched = self.post(HeaderMap::new(), &form).await?;
        let place = if fetched.status.is_success() { Place::Body } else { Place::Unknown };
        self.place.store(place as u8, Ordering::Relaxed);
        Ok(fetched)
    }

    /// The two parts are encoded each before they are joined (RFC 6749 §2.3.1).
    fn basic(&self, secret: &config::Secret) -> Result<HeaderValue, TokenError> {
        let pair = self.basic_pair(secret);
        sensitive(&format!("Basic {pair}")).ok_or_else(|| self.unusable("client_id or secret"))
    }

    fn basic_pair(&self, secret: &config::Secret) -> String {
        STANDARD.encode(format!("{}:{}", form_encoded(&self.oauth2.client_id), form_encoded(secret.expose())))
    }

    /// Of a request with a client's secret: `endpoint_params` may name another grant.
    fn form<'f>(&'f self, scopes: &'f str) -> Vec<(&'f str, &'f str)> {
        let params = || self.oauth2.endpoint_params.iter().map(|(name, value)| (name.as_str(), value.expose()));
        let mut form = Vec::new();
        if !params().any(|(name, _)| name == "grant_type") {
            form.push(("grant_type", "client_credentials"));
        }
        if !scopes.is_empty() {
            form.push(("scope", scopes));
        }
        form.extend(params());
        form
    }

    async fn post(&self, mut headers: HeaderMap, form: &[(&str, &str)]) -> Result<Fetched, FetchError> {
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        self.fetcher.post_form(&self.oauth2.token_url, headers, form).await
    }

    fn assertion(
        &self,
        grant: &config::OAuth2Grant,
        key: &config::Secret,
        now: SystemTime,
    ) -> Result<String, TokenError> {
        let config::OAuth2Grant::JwtBearer { key: source, key_id, signature_algorithm, issuer, audience, claims } =
            grant
        else {
            return Err(self.unusable("grant"));
        };
        let algorithm = match signature_algorithm.as_str() {
            "RS384" => Algorithm::Rs384,
            "RS512" => Algorithm::Rs512,
            _ => Algorithm::Rs256,
        };
        let now = seconds(now);
        let mut all = Map::new();
        let mut claim = |name: &str, value: Value| all.insert(name.to_owned(), value);
        claim("iss", issuer.as_ref().unwrap_or(&self.oauth2.client_id).clone().into());
        claim("sub", self.oauth2.client_id.clone().into());
        claim("jti", assertion::uuid()?.into());
        claim("aud", audience.clone().unwrap_or_else(|| self.oauth2.token_url.expose()).into());
        claim("iat", now.into());
        claim("exp", (now + ASSERTION_SECONDS).into());
        if !self.oauth2.scopes.is_empty() {
            claim("scope", self.oauth2.scopes.join(" ").into());
        }
        for (name, value) in claims {
            claim(name, value.clone().into());
        }
        let header: Vec<(&str, &str)> = key_id.iter().map(|id| ("kid", id.as_str())).collect();
        Ok(assertion::sign(algorithm, &header, all, key, source.file())?)
    }

    fn unusable(&self, what: &'static str) -> TokenError {
        let why = "it has characters that no header may have".to_owned();
        TokenError::Answer { url: self.oauth2.token_url.redacted(), what, why }
    }
}

pub(crate) fn form_encoded(text: &str) -> String {
    fetch::encode_form(&[("", text)]).split_off(1)
}

/// Seconds since 1970.
pub(crate) fn seconds(now: SystemTime) -> u64 {
    now.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// A header's value that is shown to nobody.
pub(crate) fn sensitive(text: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(text).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// The token in an answer (RFC 6749 §5.1), as the header that shows it. An error keeps `secrets` to itself: some servers
/// repeat what they were sent.
pub(crate) fn read(
    method: &Method,
    url: &config::Url,
    fetched: Fetched,
    secrets: &[String],
) -> Result<Issued<HeaderValue>, TokenError> {
    let bad = |why: &str| TokenError::Answer { url: url.redacted(), what: "access token", why: why.to_owned() };
    let answer: Value = serde_json::from_slice(&fetched.body).unwrap_or_default();
    if let Err(failure) = fetched.success() {
        return Err(FetchError::new(method.clone(), url, in_its_words(failure, &answer, secrets)).into());
    }
    let Value::Object(answer) = answer else {
        return Err(bad("the body is no JSON object"));
    };
    let text = |name: &str| answer.get(name).and_then(Value::as_str).unwrap_or_default();
    if text("access_token").is_empty() {
        return Err(bad("`access_token` is missing"));
    }
    let scheme = text("token_type");
    let scheme = if scheme.is_empty() || scheme.eq_ignore_ascii_case("bearer") { "Bearer" } else { scheme };
    let value = sensitive(&format!("{scheme} {}", text("access_token")));
    let value = value.ok_or_else(|| bad("`access_token` has characters that no header may have"))?;
    // A number, which some servers write as a text.
    let lifetime = match answer.get("expires_in") {
        Some(Value::Number(number)) => number.as_f64(),
        Some(Value::String(text)) => text.parse().ok(),
        _ => None,
    };
    let lifetime =
        lifetime.filter(|seconds| *seconds > 0.0).and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    Ok(Issued { value, lifetime })
}

/// A server's refusal as it puts it (RFC 6749 §5.2).
fn in_its_words(failure: Failure, answer: &Value, secrets: &[String]) -> Failure {
    let Failure::Status { status, words } = failure else { return failure };
    let text = |name: &str| answer.get(name)?.as_str().map(one_line);
    let mut words = match (text("error"), text("error_description")) {
        (Some(error), Some(description)) => format!("{error}: {description}"),
        (error, description) => error.or(description).unwrap_or(words),
    };
    for secret in secrets.iter().filter(|secret| !secret.is_empty()) {
        words = words.replace(secret, config::HIDDEN);
    }
    Failure::Status { status, words }
}

fn one_line(text: &str) -> String {
    let end = text.floor_char_boundary(512);
    text[..end].split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests;
