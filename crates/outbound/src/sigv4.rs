//! AWS Signature Version 4 in a request's headers: a signature over method, path, query, headers and the body's hash.
//! (AWS Identity and Access Management, User Guide, "Create a signed AWS API request".)

use std::time::SystemTime;

use aws_lc_rs::{digest, hmac};
use bytes::Bytes;
use http::header::{AUTHORIZATION, HeaderMap, HeaderName};
use http::uri::{InvalidUri, PathAndQuery};
use http::{HeaderValue, Request, Uri};
use writegate_config as config;

const ALGORITHM: &str = "AWS4-HMAC-SHA256";
const DATE: HeaderName = HeaderName::from_static("x-amz-date");
/// Goes with temporary credentials.
pub(crate) const TOKEN: HeaderName = HeaderName::from_static("x-amz-security-token");

/// What those on the way may change, and what is no part of the request that is signed.
const UNSIGNED: [&str; 8] = [
    "authorization",
    "connection",
    "content-length",
    "expect",
    "proxy-authorization",
    "transfer-encoding",
    "user-agent",
    "x-amzn-trace-id",
];

/// Who signs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Keys {
    pub(crate) access_key: String,
    pub(crate) secret_key: config::Secret,
    pub(crate) token: Option<config::Secret>,
}

/// What a signature is good for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scope<'s> {
    pub(crate) region: &'s str,
    pub(crate) service: &'s str,
}

/// A request cannot be signed.
#[derive(Clone, Debug, thiserror::Error)]
pub enum SignError {
    /// In a header.
    #[error("the AWS access key or session token has characters that no header may have")]
    Header,
    /// In the URL.
    #[error("the url's path cannot be signed")]
    Path,
}

impl From<InvalidUri> for SignError {
    fn from(_: InvalidUri) -> Self {
        Self::Path
    }
}

/// Signs the request with its `body`. Its path loses empty and dot segments, and a slash at its end, as with Prometheus:
/// what is sent and what is signed are the same.
pub(crate) fn sign<B>(
    request: &mut Request<B>,
    body: &[Bytes],
    keys: &Keys,
    scope: Scope<'_>,
    now: SystemTime,
) -> Result<(), SignError> {
    clean(request.uri_mut())?;
    let time = amz_time(now);
    let headers = request.headers_mut();
    headers.insert(DATE, HeaderValue::from_str(&time).map_err(|_unshown| SignError::Header)?);
    match &keys.token {
        Some(token) => drop(headers.insert(TOKEN, sensitive(token.expose())?)),
        None => drop(headers.remove(TOKEN)),
    }
    let (signed, lines) = canonical_headers(request.uri(), request.headers());
    let uri = request.uri();
    let canonical = format!(
        "{}\n{}\n{}\n{lines}\n{signed}\n{}",
        request.method(),
        encoded(uri.path(), true),
        canonical_query(uri.query().unwrap_or_default()),
        hash(body.iter().map(AsRef::as_ref)),
    );
    let date = &time[..8];
    let credential = format!("{date}/{}/{}/aws4_request", scope.region, scope.service);
    let to_sign = format!("{ALGORITHM}\n{time}\n{credential}\n{}", hash([canonical.as_bytes()]));
    let mut key = format!("AWS4{}", keys.secret_key.expose()).into_bytes();
    for part in [date, scope.region, scope.service, "aws4_request"] {
        key = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &key), part.as_bytes()).as_ref().to_vec();
    }
    let signature = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &key), to_sign.as_bytes());
    let authorization = format!(
        "{ALGORITHM} Credential={}/{credential}, SignedHeaders={signed}, Signature={}",
        keys.access_key,
        hex(signature.as_ref())
    );
    request.headers_mut().insert(AUTHORIZATION, sensitive(&authorization)?);
    Ok(())
}

fn sensitive(text: &str) -> Result<HeaderValue, SignError> {
    crate::oauth2::sensitive(text).ok_or(SignError::Header)
}

/// What Go's `path.Clean` makes of the path.
fn clean(uri: &mut Uri) -> Result<(), SignError> {
    let mut segments: Vec<&str> = Vec::new();
    for segment in uri.path().split('/') {
        match segment {
            "" | "." => {}
            ".." => drop(segments.pop()),
            segment => segments.push(segment),
        }
    }
    let path = format!("/{}", segments.join("/"));
    let all = uri.query().map_or_else(|| path.clone(), |query| format!("{path}?{query}"));
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = Some(all.parse::<PathAndQuery>()?);
    *uri = Uri::from_parts(parts).map_err(|_unshown| SignError::Path)?;
    Ok(())
}

/// The names of all that are signed, and their lines.
fn canonical_headers(uri: &Uri, headers: &HeaderMap) -> (String, String) {
    let host = uri.authority().map_or("", |authority| authority.as_str());
    let mut all: Vec<(&str, String)> = vec![("host", host.to_owned())];
    for name in headers.keys().map(HeaderName::as_str).filter(|name| *name != "host" && !UNSIGNED.contains(name)) {
        let values = headers.get_all(name).iter().map(|value| {
            String::from_utf8_lossy(value.as_bytes()).split_ascii_whitespace().collect::<Vec<_>>().join(" ")
        });
        all.push((name, values.collect::<Vec<_>>().join(",")));
    }
    all.sort_unstable();
    let names: Vec<&str> = all.iter().map(|(name, _)| *name).collect();
    let lines = all.iter().map(|(name, value)| format!("{name}:{value}\n")).collect();
    (names.join(";"), lines)
}

/// Decoded, encoded in AWS' way, and sorted.
fn canonical_query(query: &str) -> String {
    let recoded = |text: &str| encoded(&config::percent_decoded(&text.replace('+', " ")).unwrap_or_default(), false);
    let parameters = query.split('&').filter(|parameter| !parameter.is_empty());
    let mut all: Vec<(String, String)> = parameters
        .map(|parameter| {
            let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
            (recoded(name), recoded(value))
        })
        .collect();
    all.sort_unstable();
    all.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("&")
}

/// The path of a request is encoded once more than it is already, for all services but S3.
fn encoded(text: &str, is_path: bool) -> String {
    if !is_path {
        return config::percent_encoded(text);
    }
    text.split('/').map(config::percent_encoded).collect::<Vec<_>>().join("/")
}

fn hash<'b>(parts: impl IntoIterator<Item = &'b [u8]>) -> String {
    let mut context = digest::Context::new(&digest::SHA256);
    parts.into_iter().for_each(|part| context.update(part));
    hex(context.finish().as_ref())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// `20150830T123600Z` (ISO 8601, basic format).
fn amz_time(now: SystemTime) -> String {
    let seconds = crate::oauth2::seconds(now);
    let (year, month, day) = civil(seconds / 86_400);
    let of_day = seconds % 86_400;
    format!("{year:04}{month:02}{day:02}T{:02}{:02}{:02}Z", of_day / 3600, of_day / 60 % 60, of_day % 60)
}

/// The Gregorian date so many days after 1970-01-01, from the length of the calendar's cycles: 400 years, counted from a
/// first of March so that the leap day is the last of a year.
fn civil(days: u64) -> (u64, u64, u64) {
    const CYCLE: u64 = 146_097;
    let days = days + 719_468;
    let (cycle, day_of_cycle) = (days / CYCLE, days % CYCLE);
    let year_of_cycle =
        (day_of_cycle - day_of_cycle / 1_460 + day_of_cycle / 36_524 - day_of_cycle / (CYCLE - 1)) / 365;
    let day_of_year = day_of_cycle - (365 * year_of_cycle + year_of_cycle / 4 - year_of_cycle / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let year = cycle * 400 + year_of_cycle + u64::from(month >= 10);
    (year, if month < 10 { month + 3 } else { month - 9 }, day)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// 2015-08-30T12:36:00Z, the moment of AWS' examples.
    const MOMENT: u64 = 1_440_938_160;

    fn signed(
        method: &str,
        uri: &str,
        headers: &[(&'static str, &str)],
        body: &[Bytes],
        token: Option<&str>,
        scope: Scope<'_>,
    ) -> Request<()> {
        let mut request = Request::builder().method(method).uri(uri).body(()).unwrap();
        for (name, value) in headers {
            request.headers_mut().append(*name, value.parse().unwrap());
        }
        let keys = Keys {
            access_key: "AKIDEXAMPLE".to_owned(),
            secret_key: config::Secret::new("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"),
            token: token.map(config::Secret::new),
        };
        sign(&mut request, body, &keys, scope, SystemTime::UNIX_EPOCH + Duration::from_secs(MOMENT)).unwrap();
        request
    }

    fn authorization(request: &Request<()>) -> &str {
        request.headers()[AUTHORIZATION].to_str().unwrap()
    }

    #[test]
    fn the_signatures_of_awss_test_suite_and_of_its_guide_come_out() {
        let service = Scope { region: "us-east-1", service: "service" };
        let form = [("content-type", "application/x-www-form-urlencoded; charset=utf-8")];
        let example = "https://example.amazonaws.com/";
        for (method, uri, headers, scope, names, signature) in [
            (
                "GET",
                example,
                &[][..],
                service,
                "host;x-amz-date",
                "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31",
            ),
            (
                "POST",
                example,
                &[],
                service,
                "host;x-amz-date",
                "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b",
            ),
            (
                "POST",
                example,
                &[("my-header1", "value1")],
                service,
                "host;my-header1;x-amz-date",
                "c5410059b04c1ee005303aed430f6e6645f61f4dc9e1461ec8f8916fdf18852c",
            ),
            (
                "GET",
                "https://example.amazonaws.com/?Param2=value2&Param1=value1",
                &[],
                service,
                "host;x-amz-date",
                "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500",
            ),
            (
                "GET",
                "https://example.amazonaws.com/?%E1%88%B4=bar",
                &[],
                service,
                "host;x-amz-date",
                "2cdec8eed098649ff3a119c94853b13c643bcf08f8b0a1d91e12c9027818dd04",
            ),
            (
                "GET",
                "https://iam.amazonaws.com/?Action=ListUsers&Version=2010-05-08",
                &form,
                Scope { region: "us-east-1", service: "iam" },
                "content-type;host;x-amz-date",
                "5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7",
            ),
        ] {
            let request = signed(method, uri, headers, &[], None, scope);
            let Scope { region, service } = scope;
            let expected = format!(
                "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/{region}/{service}/aws4_request, \
                 SignedHeaders={names}, Signature={signature}"
            );
            assert_eq!(authorization(&request), expected, "{method} {uri}");
            assert_eq!(request.headers()[DATE], "20150830T123600Z");
        }
    }

    /// The expected signature was computed from the written-out canonical request by another implementation of HMAC.
    #[test]
    fn a_write_is_signed_with_its_body_its_cleaned_path_and_its_token() {
        let request = signed(
            "POST",
            "https://aps-workspaces.eu-west-1.amazonaws.com//workspaces/./x/../ws%20a/api/v1/remote_write/?b&a=1%2b1&a=%C3%A9+x",
            &[
                ("content-type", "application/x-protobuf"),
                ("content-encoding", "snappy"),
                ("user-agent", "not signed"),
                ("x-b", "1   2"),
                ("x-b", "3"),
            ],
            &[Bytes::from("one "), Bytes::from("two")],
            Some("token/+="),
            Scope { region: "eu-west-1", service: "aps" },
        );
        assert_eq!(request.uri().path(), "/workspaces/ws%20a/api/v1/remote_write");
        assert_eq!(request.headers()[TOKEN], "token/+=");
        assert!(request.headers()[TOKEN].is_sensitive() && request.headers()[AUTHORIZATION].is_sensitive());
        let signed = "content-encoding;content-type;host;x-amz-date;x-amz-security-token;x-b";
        let signature = "8e8bc141842c226be08af04c45b3518b59c927c7dec5ad935fb1faabcb6c6a20";
        let expected = format!("SignedHeaders={signed}, Signature={signature}");
        assert!(authorization(&request).ends_with(&expected), "{}", authorization(&request));
    }

    #[test]
    fn times_are_written_as_aws_reads_them() {
        for (seconds, text) in [
            (0, "19700101T000000Z"),
            (951_782_399, "20000228T235959Z"),
            (951_782_400, "20000229T000000Z"),
            (951_868_800, "20000301T000000Z"),
            (1_709_164_800, "20240229T000000Z"),
            (4_107_542_400, "21000301T000000Z"),
            (MOMENT, "20150830T123600Z"),
        ] {
            assert_eq!(amz_time(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)), text);
        }
    }
}
