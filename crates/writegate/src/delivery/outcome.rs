//! What an endpoint's answer means: pure, one table, no I/O.
//!
//! Senders of remote write must retry 5xx, may retry 429 and must not repeat other 4xx (remote write 1.0 and 2.0,
//! "Retries & Backoff"). A gateway has already acknowledged the data, so it is more patient: what only the endpoint's
//! owner can mend (credentials, paths) is held, not dropped.

use std::time::{Duration, SystemTime};

use http::header::RETRY_AFTER;
use http::{HeaderMap, StatusCode};
use remote_write::{Counts, Protocol};

use super::backoff;
use crate::ledger::Refusal;

/// What to do with a batch after an attempt.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Outcome {
    /// Stored. `not_written` is what a v2 endpoint says it left out in spite of its 2xx.
    Delivered { not_written: Counts },
    /// Temporary: the same batch again, after a pause (not before `after`, if the endpoint said so).
    Retry { trouble: Trouble, after: Option<Duration> },
    /// The data is good, the endpoint's configuration is not: the same batch again, rarely.
    Hold,
    /// The endpoint does not read this protocol: form the batch in the other one.
    OtherProtocol,
    /// The endpoint does not take that much at once: send it in parts.
    TooLarge,
    /// Refused for good; repeating it unchanged is forbidden and useless. `nothing_stored`: a v2 endpoint says so.
    Refused { refusal: Refusal, nothing_stored: bool },
}

/// Why a batch has to be sent again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// 429 or 408: nothing of it was stored.
    Busy,
    /// 5xx: some of it may have been stored. `overloaded`: 503.
    Broken { overloaded: bool },
    /// No answer. `sent`: it may have arrived all the same.
    NoAnswer { sent: bool },
}

impl Trouble {
    /// Whether the endpoint may have stored the batch or a part of it.
    pub(crate) const fn is_ambiguous(self) -> bool {
        matches!(self, Self::Broken { .. } | Self::NoAnswer { sent: true })
    }
}

/// Reads an endpoint's answer to a batch of `sent` data points in `protocol`.
pub(crate) fn classify(
    protocol: Protocol,
    sent: Counts,
    status: StatusCode,
    headers: &HeaderMap,
    now: SystemTime,
) -> Outcome {
    let after = || headers.get(RETRY_AFTER).and_then(|value| backoff::retry_after(value.as_bytes(), now));
    let refused = |refusal| Outcome::Refused { refusal, nothing_stored: says_nothing_stored(protocol, headers) };
    match status.as_u16() {
        200..=299 => delivered(protocol, sent, headers),
        408 | 429 => Outcome::Retry { trouble: Trouble::Busy, after: after() },
        503 => Outcome::Retry { trouble: Trouble::Broken { overloaded: true }, after: after() },
        500..=599 => Outcome::Retry { trouble: Trouble::Broken { overloaded: false }, after: after() },
        400 => refused(Refusal::BadRequest),
        409 => refused(Refusal::Conflict),
        422 => refused(Refusal::Unprocessable),
        413 => Outcome::TooLarge,
        415 => Outcome::OtherProtocol,
        // 401, 403, 404, redirects that were not followed, and whatever else nobody defined.
        _ => Outcome::Hold,
    }
}

/// Whether an endpoint's words mean that it has these samples, or newer ones, already. Matched on words because there is
/// nothing else: Prometheus, Thanos, Cortex and Mimir answer 400 or 409 with a sentence.
pub(crate) fn means_known_already(words: &str) -> bool {
    let words = words.to_ascii_lowercase();
    ["out of order", "out-of-order", "duplicate sample", "duplicate-timestamp", "duplicate timestamp", "too old"]
        .iter()
        .any(|sign| words.contains(sign))
}

/// On a 4xx, a missing `Written` header may be read as 0 (remote write 2.0, "Required Written Response Headers"); where all
/// are missing nobody said anything.
fn says_nothing_stored(protocol: Protocol, headers: &HeaderMap) -> bool {
    let written = Written::read(headers);
    protocol == Protocol::V2 && !written.absent && written.counts.is_zero()
}

fn delivered(protocol: Protocol, sent: Counts, headers: &HeaderMap) -> Outcome {
    let written = match protocol {
        // Some v1 receivers send the headers (Prometheus 3.8.0 did, with zeros): they mean nothing there.
        Protocol::V1 => return Outcome::Delivered { not_written: Counts::default() },
        Protocol::V2 => Written::read(headers),
    };
    if written.absent {
        // A v1-only receiver that ignored the content type read an empty message and stored nothing
        // (remote write 2.0, "Required Written Response Headers": treat it as a 415).
        return if sent.is_zero() {
            Outcome::Delivered { not_written: Counts::default() }
        } else {
            Outcome::OtherProtocol
        };
    }
    let not_written = Counts {
        samples: sent.samples.saturating_sub(written.counts.samples),
        histograms: sent.histograms.saturating_sub(written.counts.histograms),
        exemplars: sent.exemplars.saturating_sub(written.counts.exemplars),
    };
    Outcome::Delivered { not_written }
}

/// What a v2 endpoint says it has written; `None` if it says nothing (remote write 2.0, "Required Written Response
/// Headers").
pub(crate) fn written(headers: &HeaderMap) -> Option<Counts> {
    let written = Written::read(headers);
    (!written.absent).then_some(written.counts)
}

struct Written {
    counts: Counts,
    absent: bool,
}

impl Written {
    fn read(headers: &HeaderMap) -> Self {
        let one = |name: &str| -> Option<u64> { headers.get(name)?.to_str().ok()?.trim().parse().ok() };
        let (samples, histograms, exemplars) = (
            one("x-prometheus-remote-write-samples-written"),
            one("x-prometheus-remote-write-histograms-written"),
            one("x-prometheus-remote-write-exemplars-written"),
        );
        Self {
            absent: samples.is_none() && histograms.is_none() && exemplars.is_none(),
            counts: Counts {
                samples: samples.unwrap_or(0),
                histograms: histograms.unwrap_or(0),
                exemplars: exemplars.unwrap_or(0),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    const SENT: Counts = Counts { samples: 10, histograms: 2, exemplars: 1 };

    fn answer(protocol: Protocol, status: u16, headers: &[(&'static str, &str)]) -> Outcome {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.insert(*name, HeaderValue::from_str(value).unwrap());
        }
        classify(protocol, SENT, StatusCode::from_u16(status).unwrap(), &map, SystemTime::UNIX_EPOCH)
    }

    #[test]
    fn every_status_has_one_meaning() {
        for status in [200, 201, 202, 204, 299] {
            let all = Outcome::Delivered { not_written: Counts::default() };
            assert_eq!(answer(Protocol::V1, status, &[]), all, "{status}");
        }
        for status in [408, 429] {
            assert_eq!(answer(Protocol::V1, status, &[]), Outcome::Retry { trouble: Trouble::Busy, after: None });
        }
        for status in [500, 501, 502, 503, 504, 529, 599] {
            let trouble = Trouble::Broken { overloaded: status == 503 };
            assert_eq!(answer(Protocol::V1, status, &[]), Outcome::Retry { trouble, after: None }, "{status}");
        }
        let refusals = [(400, Refusal::BadRequest), (409, Refusal::Conflict), (422, Refusal::Unprocessable)];
        for (status, refusal) in refusals {
            let refused = Outcome::Refused { refusal, nothing_stored: false };
            assert_eq!(answer(Protocol::V1, status, &[]), refused, "{status}");
        }
        assert_eq!(answer(Protocol::V1, 413, &[]), Outcome::TooLarge);
        for status in [301, 302, 307, 308, 401, 403, 404, 405, 410, 418, 451] {
            assert_eq!(answer(Protocol::V1, status, &[]), Outcome::Hold, "{status}");
        }
        assert_eq!(answer(Protocol::V1, 415, &[]), Outcome::OtherProtocol);
        assert_eq!(answer(Protocol::V2, 415, &[]), Outcome::OtherProtocol);
    }

    #[test]
    fn a_v2_success_without_written_headers_means_nothing_was_stored() {
        assert_eq!(answer(Protocol::V2, 204, &[]), Outcome::OtherProtocol);
    }

    #[test]
    fn a_v2_success_with_fewer_written_tells_how_many_are_missing() {
        let outcome = answer(Protocol::V2, 204, &[("x-prometheus-remote-write-samples-written", "7")]);
        let not_written = Counts { samples: 3, histograms: 2, exemplars: 1 };
        assert_eq!(outcome, Outcome::Delivered { not_written });
    }

    #[test]
    fn a_v1_success_ignores_written_headers() {
        let outcome = answer(Protocol::V1, 204, &[("x-prometheus-remote-write-samples-written", "0")]);
        assert_eq!(outcome, Outcome::Delivered { not_written: Counts::default() });
    }

    #[test]
    fn retry_after_comes_with_503_and_429() {
        for status in [429, 503] {
            let answer = answer(Protocol::V1, status, &[("retry-after", "7")]);
            let Outcome::Retry { after, .. } = answer else { panic!("{answer:?}") };
            assert_eq!(after, Some(Duration::from_secs(7)));
        }
    }

    #[test]
    fn only_a_v2_endpoint_that_says_so_is_believed_to_have_stored_nothing() {
        let zero = [("x-prometheus-remote-write-samples-written", "0")];
        let some = [("x-prometheus-remote-write-samples-written", "3")];
        for (protocol, headers, expected) in [
            (Protocol::V2, zero.as_slice(), true),
            (Protocol::V2, some.as_slice(), false),
            (Protocol::V2, &[], false),
            (Protocol::V1, zero.as_slice(), false),
        ] {
            let answer = answer(protocol, 400, headers);
            let Outcome::Refused { nothing_stored, .. } = answer else { panic!("{answer:?}") };
            assert_eq!(nothing_stored, expected, "{protocol:?} {headers:?}");
        }
    }

    #[test]
    fn the_words_of_known_receivers_for_what_they_have_already_are_understood() {
        for words in [
            "out of order sample",
            "duplicate sample for timestamp 1: overrides not allowed",
            "user=a: err: the sample has been rejected because another sample with a more recent timestamp has already been ingested and out-of-order samples are not allowed (err-mimir-sample-out-of-order)",
            "(err-mimir-sample-duplicate-timestamp)",
            "store locally for endpoint x: conflict: too old sample",
        ] {
            assert!(means_known_already(words), "{words}");
        }
        for words in ["label name \"a-b\" is invalid", "", "out of bounds"] {
            assert!(!means_known_already(words), "{words}");
        }
    }
}
