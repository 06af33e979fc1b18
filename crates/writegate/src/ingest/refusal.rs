//! Every way a push is not answered with 204, and what it tells the sender: one table.
//!
//! The status decides what a sender does with its data, and senders differ: Prometheus and the OpenTelemetry exporter
//! drop on any 4xx, vmagent retries all but 400, 409 and 415 for ever. So nothing temporary gets a 4xx, and nothing
//! permanent gets anything but 400 or, for a zstd block, 409 where a 400 would make vmagent send it all again. In which words
//! a sender of OTLP is told the same is in `dialect.rs`.

use std::time::UNIX_EPOCH;

use http::header::{ALLOW, CONNECTION, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};
use quota::window::Standing;
use writegate_config::OverLimit;

use super::answer::AnswerBody;
use crate::allowance::Exceeded;
use crate::auth::Denied;
use crate::clock;

/// Why a push was refused, as counted in `writegate_refused_samples_total{reason}`: a closed list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reason {
    Invalid,
    TooLarge,
    LabelLimit,
    ActiveSeries,
    Rate,
    Unauthenticated,
    Forbidden,
    Unsupported,
    Full,
    Shutdown,
}

impl Reason {
    pub(crate) const ALL: [Self; 10] = [
        Self::Invalid,
        Self::TooLarge,
        Self::LabelLimit,
        Self::ActiveSeries,
        Self::Rate,
        Self::Unauthenticated,
        Self::Forbidden,
        Self::Unsupported,
        Self::Full,
        Self::Shutdown,
    ];

    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Invalid => "invalid",
            Self::TooLarge => "too_large",
            Self::LabelLimit => "label_limit",
            Self::ActiveSeries => "active_series",
            Self::Rate => "rate",
            Self::Unauthenticated => "unauthenticated",
            Self::Forbidden => "forbidden",
            Self::Unsupported => "unsupported",
            Self::Full => "full",
            Self::Shutdown => "shutdown",
        }
    }
}

/// A push that is not answered with 204. The texts are for the person who reads the sender's log.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refusal {
    #[error("nothing is served at this path; push to /api/v1/write (wg-not-found)")]
    NotFound,
    #[error(
        "only metrics are taken, neither traces nor logs; push metrics to /v1/metrics or /api/v1/write (wg-not-found)"
    )]
    OtherSignal,
    #[error("{what} is not taken here; push to another listener, or write `{key}: true` into this one (wg-otlp-off)")]
    Off { what: &'static str, key: &'static str },
    #[error("a push is a POST (wg-method)")]
    Method,
    #[error("{0} (wg-unauthenticated)")]
    Unauthenticated(Denied),
    /// One text for every cause, so that it does not tell which tenants exist.
    #[error("not allowed to write for this tenant (wg-forbidden)")]
    Forbidden,
    #[error("{0}; try again (wg-identity-provider)")]
    NoKeys(Denied),
    #[error("too many passwords are being checked at this moment; try again (wg-busy)")]
    CheckingOthers,
    #[error(
        "the credential speaks for several tenants; name one in the path: /api/metrics/v1/{{tenant}}/api/v1/receive (wg-which-tenant)"
    )]
    WhichTenant,
    #[error("{0} is not a tenant name: 1 to 150 of A-Z a-z 0-9 ! - _ . * ' ( ) and not . or .. (wg-tenant-name)")]
    TenantName(String),
    #[error("{0} (wg-tenant-name)")]
    TenantHeader(String),
    #[error("{0} (wg-unsupported)")]
    Unsupported(String),
    #[error("{0} (wg-malformed)")]
    Malformed(String),
    #[error("{what} is over the limit of {limit} bytes{seen}; send less at once or raise {key} (wg-too-large)")]
    TooLarge { what: &'static str, limit: u64, seen: String, key: &'static str },
    #[error("{0}; send less at once (wg-too-large)")]
    TooMuch(String),
    /// The good series are stored; the text says how many were not, and why.
    #[error("{text}; the rest, if any, is stored (wg-invalid-series)")]
    Partial { text: String, vm_protocol: bool },
    #[error("too many bytes are being received at this moment (limits.in_flight_bytes); try again (wg-busy)")]
    Busy,
    #[error("too many large requests are being unpacked at this moment; try again, or send less at once (wg-busy)")]
    Decoding,
    /// Said over gRPC only; elsewhere the connection is cut.
    #[error("the body did not arrive within the listener's timeouts.body; try again (wg-late)")]
    Late,
    #[error("{0}; nothing of this request is stored (wg-rate)")]
    Exceeded(Exceeded),
    #[error("{0}; not all of this request is stored, if anything, try again (wg-log-full)")]
    Full(String),
    #[error("the log could not be written: {0}; try again (wg-log-failed)")]
    Failed(String),
    #[error("the request could not be made durable within {} s; try again (wg-log-slow)", super::push::DURABLE_WITHIN.as_secs())]
    Slow,
    #[error("the gateway is shutting down; try again (wg-shutdown)")]
    Shutdown,
}

impl From<Denied> for Refusal {
    fn from(denied: Denied) -> Self {
        match denied {
            Denied::Forbidden => Self::Forbidden,
            Denied::Busy => Self::CheckingOthers,
            Denied::NoKeys => Self::NoKeys(denied),
            denied => Self::Unauthenticated(denied),
        }
    }
}

impl Refusal {
    pub(super) const fn status(&self) -> StatusCode {
        match self {
            Self::NotFound | Self::OtherSignal | Self::Off { .. } => StatusCode::NOT_FOUND,
            Self::Method => StatusCode::METHOD_NOT_ALLOWED,
            Self::Unauthenticated(_) => StatusCode::UNAUTHORIZED,
            Self::Forbidden => StatusCode::FORBIDDEN,
            Self::Exceeded(Exceeded::Window { .. } | Exceeded::Rate { answer: OverLimit::Reject, .. }) => {
                StatusCode::TOO_MANY_REQUESTS
            }
            Self::Exceeded(Exceeded::Rate { answer: OverLimit::Delay, .. } | Exceeded::Connections { .. }) => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            Self::Unsupported(_) => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            // Too large is 400 and not 413: vmagent retries a 413 for ever and its queue stands still behind it.
            Self::WhichTenant
            | Self::TenantName(_)
            | Self::TenantHeader(_)
            | Self::Malformed(_)
            | Self::TooLarge { .. }
            | Self::TooMuch(_) => StatusCode::BAD_REQUEST,
            // A 400 makes vmagent send a zstd block once more as snappy, and everything after it too.
            Self::Partial { vm_protocol: true, .. } => StatusCode::CONFLICT,
            Self::Partial { vm_protocol: false, .. } => StatusCode::BAD_REQUEST,
            Self::NoKeys(_)
            | Self::CheckingOthers
            | Self::Busy
            | Self::Decoding
            | Self::Late
            | Self::Full(_)
            | Self::Failed(_)
            | Self::Slow
            | Self::Shutdown => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// What it counts as; `None` where no data was offered.
    pub(super) const fn reason(&self) -> Option<Reason> {
        match self {
            Self::NotFound | Self::OtherSignal | Self::Off { .. } | Self::Method | Self::Late => None,
            Self::Unauthenticated(_) | Self::NoKeys(_) => Some(Reason::Unauthenticated),
            Self::Forbidden => Some(Reason::Forbidden),
            Self::Unsupported(_) => Some(Reason::Unsupported),
            Self::WhichTenant
            | Self::TenantName(_)
            | Self::TenantHeader(_)
            | Self::Malformed(_)
            | Self::Partial { .. } => Some(Reason::Invalid),
            Self::TooLarge { .. } | Self::TooMuch(_) => Some(Reason::TooLarge),
            Self::Exceeded(_) => Some(Reason::Rate),
            Self::CheckingOthers | Self::Busy | Self::Decoding | Self::Full(_) | Self::Failed(_) | Self::Slow => {
                Some(Reason::Full)
            }
            Self::Shutdown => Some(Reason::Shutdown),
        }
    }

    /// In seconds, for a refusal that passes. Prometheus obeys any value, so it stays small; the jitter keeps a fleet from
    /// returning at once.
    fn retry_after(&self) -> u64 {
        const LONGEST: u64 = 60;
        match self {
            Self::Exceeded(Exceeded::Rate { wait, .. } | Exceeded::Window { wait, .. }) => {
                let least = wait.as_secs().saturating_add(1).min(LONGEST);
                fastrand::u64(least..=least + least / 4 + 1)
            }
            _ => fastrand::u64(1..=5),
        }
    }

    /// The response: the text as a line, and the headers its status calls for.
    pub(super) fn into_response(self) -> Response<AnswerBody> {
        let status = self.status();
        let mut response = Response::new(AnswerBody::new(format!("{self}\n")));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
        match status {
            StatusCode::METHOD_NOT_ALLOWED => {
                headers.insert(ALLOW, HeaderValue::from_static("POST"));
            }
            StatusCode::UNAUTHORIZED => {
                headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            }
            StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS => {
                headers.insert(RETRY_AFTER, HeaderValue::from(self.retry_after()));
            }
            _ => {}
        }
        if let Self::Exceeded(Exceeded::Window { standing, .. }) = self {
            rate_limit_headers(headers, standing);
        }
        if matches!(self, Self::Shutdown | Self::Exceeded(Exceeded::Connections { .. })) {
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }
}

/// What a sender of OTLP is told of points that were refused while others were taken, which is no refusal of the request.
pub(super) fn of_points(text: &str) -> String {
    format!("{text}; the rest, if any, is stored (wg-otlp-points)")
}

/// How a tenant stands with a rule of `rate_limits`, in the headers that Observatorium's senders know. `X-RateLimit-Reset` is
/// in seconds since the Unix epoch.
pub(super) fn rate_limit_headers(headers: &mut HeaderMap, standing: Standing) {
    let reset = clock::now().duration_since(UNIX_EPOCH).unwrap_or_default() + standing.reset;
    for (name, value) in [
        ("x-ratelimit-limit", standing.limit.into()),
        ("x-ratelimit-remaining", standing.remaining.into()),
        ("x-ratelimit-reset", reset.as_secs()),
    ] {
        headers.insert(HeaderName::from_static(name), HeaderValue::from(value));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_temporary_condition_gets_a_status_that_makes_a_sender_drop() {
        let temporary = [
            Refusal::Busy,
            Refusal::Decoding,
            Refusal::Late,
            Refusal::CheckingOthers,
            Refusal::NoKeys(Denied::NoKeys),
            Refusal::Full(String::new()),
            Refusal::Failed(String::new()),
            Refusal::Slow,
            Refusal::Shutdown,
        ];
        for refusal in temporary {
            let response = refusal.clone().into_response();
            assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE, "{refusal:?}");
            let seconds: u32 = response.headers()[RETRY_AFTER].to_str().unwrap().parse().unwrap();
            assert!((1..=10).contains(&seconds));
        }
    }

    #[test]
    fn a_refusal_of_the_only_series_does_not_speak_of_others() {
        let partial = Refusal::Partial { text: "1 of 1 series refused".to_owned(), vm_protocol: false };
        assert_eq!(partial.to_string(), "1 of 1 series refused; the rest, if any, is stored (wg-invalid-series)");
    }

    #[test]
    fn no_permanent_condition_gets_a_status_that_makes_a_sender_retry_for_ever() {
        let partial = |vm_protocol| Refusal::Partial { text: String::new(), vm_protocol };
        let too_large =
            Refusal::TooLarge { what: "the body", limit: 1, seen: String::new(), key: "limits.request_bytes" };
        let permanent = [Refusal::WhichTenant, Refusal::Malformed(String::new()), too_large, partial(false)];
        for refusal in permanent {
            assert_eq!(refusal.status(), StatusCode::BAD_REQUEST, "{refusal:?}");
        }
        assert_eq!(partial(true).status(), StatusCode::CONFLICT);
    }
}
