//! Keys in the answers of AWS: XML from STS, JSON from agents and instances.

use std::time::{Duration, SystemTime};

use http::Method;
use serde_json::Value;
use writegate_config as config;

use crate::fetch::{Failure, FetchError, Fetched};
use crate::oauth2::seconds;
use crate::sigv4::Keys;
use crate::token::{Issued, TokenError};

/// Of `AssumeRole` and its kin.
pub(super) fn of_sts(url: &config::Url, fetched: Fetched, now: SystemTime) -> Result<Issued<Keys>, TokenError> {
    let text = String::from_utf8_lossy(&fetched.body).into_owned();
    if let Err(failure) = fetched.success() {
        let failure = match (failure, element(&text, "Code"), element(&text, "Message")) {
            (Failure::Status { status, .. }, Some(code), Some(message)) => {
                Failure::Status { status, words: format!("{code}: {message}") }
            }
            (failure, ..) => failure,
        };
        return Err(FetchError::new(Method::POST, url, failure).into());
    }
    issued(url, now, |name| element(&text, if name == "Token" { "SessionToken" } else { name }))
}

/// Of an agent beside a container, or an instance's metadata.
pub(super) fn of_agent(url: &config::Url, fetched: Fetched, now: SystemTime) -> Result<Issued<Keys>, TokenError> {
    let body = fetched.success().map_err(|failure| FetchError::new(Method::GET, url, failure))?;
    let answer: Value = serde_json::from_slice(&body).unwrap_or_default();
    issued(url, now, |name| answer.get(name)?.as_str().map(str::to_owned))
}

fn issued(
    url: &config::Url,
    now: SystemTime,
    part: impl Fn(&str) -> Option<String>,
) -> Result<Issued<Keys>, TokenError> {
    let required = |name: &str| {
        part(name).filter(|value| !value.is_empty()).ok_or_else(|| TokenError::Answer {
            url: url.redacted(),
            what: "keys",
            why: format!("`{name}` is missing"),
        })
    };
    let value = Keys {
        access_key: required("AccessKeyId")?,
        secret_key: config::Secret::new(required("SecretAccessKey")?),
        token: part("Token").map(config::Secret::new),
    };
    let expires = part("Expiration").and_then(|text| timestamp(&text));
    let lifetime = expires.map(|at| Duration::from_secs(at.saturating_sub(seconds(now))));
    Ok(Issued { value, lifetime })
}

/// The text of the first element of that name. Keys have no characters that XML would write otherwise.
fn element(xml: &str, name: &str) -> Option<String> {
    let (_, rest) = xml.split_once(&format!("<{name}>"))?;
    let (text, _) = rest.split_once(&format!("</{name}>"))?;
    Some(text.split_whitespace().collect::<Vec<_>>().join(" "))
}

/// Seconds since 1970 of `2015-08-30T12:36:00Z`; parts of a second are cut (RFC 3339, in UTC).
fn timestamp(text: &str) -> Option<u64> {
    let (date, time) = text.strip_suffix('Z')?.split_once('T')?;
    let mut date = date.split('-').map(str::parse::<u64>);
    let (year, month, day) = (date.next()?.ok()?, date.next()?.ok()?, date.next()?.ok()?);
    let mut time = time.split('.').next()?.split(':').map(str::parse::<u64>);
    let (hour, minute, second) = (time.next()?.ok()?, time.next()?.ok()?, time.next()?.ok()?);
    let is_date = (1970..10_000).contains(&year) && (1..=12).contains(&month) && (1..=31).contains(&day);
    if !is_date || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    // Counted from a first of March, so that the leap day is the last of a year.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days = 365 * year + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day - 1;
    Some((days - 719_468) * 86_400 + hour * 3600 + minute * 60 + second)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_they_are_written() {
        for (text, expected) in [
            ("1970-01-01T00:00:00Z", Some(0)),
            ("2015-08-30T12:36:00Z", Some(1_440_938_160)),
            ("2000-02-29T00:00:00.359Z", Some(951_782_400)),
            ("2024-02-29T00:00:00Z", Some(1_709_164_800)),
            ("2100-03-01T00:00:00Z", Some(4_107_542_400)),
            ("2015-08-30T12:36:00+02:00", None),
            ("2015-13-30T12:36:00Z", None),
            ("1969-12-31T23:59:59Z", None),
            ("2015-08-30", None),
            ("", None),
        ] {
            assert_eq!(timestamp(text), expected, "{text}");
        }
    }
}
