//! What was asked and what was said: a list, and the questions that every reading of it has.

use std::time::Duration;

use http::{StatusCode, Version};
use remote_write::Counts;
use writegate_config::{Endpoint, Scheme};

use crate::delivery::{Heard, written};

/// One request of a probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// An empty 1.0 request.
    Hello,
    /// `?get_vm_proto_version=1`.
    VmVersion,
    /// `/api/v1/status/buildinfo` beside the endpoint's path.
    BuildInfo,
    /// A body of a few bytes that claims to be 33 MiB decompressed.
    Claim,
    /// An empty 1.0 request where HTTP/2 is offered.
    Http2,
    EmptyV2,
    EmptyZstd,
    /// One sample in 1.0, and so on.
    V1,
    /// One sample with its metadata in 2.0.
    V2,
    Zstd,
    Metadata,
    HistogramV1,
    HistogramV2,
    /// A native histogram with custom buckets.
    CustomV2,
    ExemplarV1,
    ExemplarV2,
    /// A good series, and one that has a label twice.
    Repeated,
    /// Another value for the good one of them.
    RepeatedAgain,
    /// A good series and one without a name, in 2.0.
    Nameless,
    /// The first sample of a series; the steps after it are about this series.
    Newest,
    /// The same sample again.
    Repeat,
    /// Another value for it.
    Conflict,
    OlderBySecond,
    OlderByMinutes,
    OlderByHours,
    /// The first sample of a series, two hours old.
    HoursOld,
    /// The same, one day.
    DayOld,
    /// A good series, and another conflict.
    Mixed,
    /// Another value for the good one of them.
    MixedAgain,
}

impl Step {
    /// For a line of progress.
    pub(super) const fn words(self) -> &'static str {
        match self {
            Self::Hello => "an empty request",
            Self::VmVersion | Self::BuildInfo => "which product it is",
            Self::Claim => "a body that claims to be large",
            Self::Http2 => "HTTP/2",
            Self::V1 => "remote write 1.0",
            Self::EmptyV2 | Self::V2 => "remote write 2.0",
            Self::EmptyZstd | Self::Zstd => "zstd",
            Self::Metadata => "metadata",
            Self::HistogramV1 | Self::HistogramV2 | Self::CustomV2 => "native histograms",
            Self::ExemplarV1 | Self::ExemplarV2 => "exemplars",
            Self::Repeated | Self::RepeatedAgain | Self::Nameless | Self::Mixed | Self::MixedAgain => "a bad series",
            Self::Newest | Self::Repeat | Self::Conflict => "duplicates",
            Self::OlderBySecond | Self::OlderByMinutes | Self::OlderByHours => "samples out of order",
            Self::HoursOld | Self::DayOld => "old samples",
        }
    }
}

/// What came of a request.
#[derive(Clone, Debug)]
pub(crate) struct Said {
    pub(crate) step: Step,
    pub(crate) sent: Counts,
    /// Why there was no answer.
    pub(crate) answer: Result<Heard, String>,
    pub(crate) took: Duration,
    /// When the answer was there, by this machine's clock.
    pub(crate) at_ms: i64,
    pub(crate) body_bytes: usize,
}

impl Said {
    pub(super) fn status(&self) -> Option<StatusCode> {
        self.answer.as_ref().ok().map(|heard| heard.status)
    }

    pub(super) fn is_success(&self) -> bool {
        self.status().is_some_and(|status| status.is_success())
    }

    /// It is what was sent that the answer does not like: not that there was no answer, or too much to do. A 500 is one:
    /// Prometheus answers so to native histograms it does not take.
    pub(super) fn is_refusal(&self) -> bool {
        self.status().is_some_and(|status| !status.is_success() && !matches!(status.as_u16(), 408 | 429 | 502..=504))
    }

    /// What a 2.0 receiver says it wrote; `None` if it does not say.
    pub(super) fn written(&self) -> Option<Counts> {
        self.answer.as_ref().ok().and_then(|heard| written(&heard.headers))
    }

    /// Status and words, or why there is neither.
    pub(super) fn text(&self) -> String {
        match &self.answer {
            Ok(Heard { status, words, .. }) if words.is_empty() => status.as_u16().to_string(),
            Ok(Heard { status, words, .. }) => format!("{}: {words}", status.as_u16()),
            Err(why) => why.clone(),
        }
    }

    pub(super) fn words(&self) -> &str {
        match &self.answer {
            Ok(heard) => &heard.words,
            Err(why) => why,
        }
    }
}

/// Everything that was said, in the order in which it was asked.
#[derive(Clone, Debug)]
pub(crate) struct Facts {
    /// Without secrets.
    pub(super) url: String,
    pub(super) scheme: Scheme,
    pub(super) dry_run: bool,
    /// Where the host's name leads, or why nowhere; `None`: nobody asked.
    pub(super) addresses: Option<Result<Vec<String>, String>>,
    /// Whether the files of the TLS settings cannot be used.
    pub(super) bad_tls_files: bool,
    said: Vec<Said>,
}

impl Facts {
    pub(super) fn of(endpoint: &Endpoint, dry_run: bool) -> Self {
        Self {
            url: endpoint.url.redacted(),
            scheme: endpoint.url.scheme(),
            dry_run,
            addresses: None,
            bad_tls_files: false,
            said: Vec::new(),
        }
    }

    pub(super) fn add(&mut self, said: Said) {
        self.said.push(said);
    }

    pub(super) fn all(&self) -> &[Said] {
        &self.said
    }

    /// What came of a step in the end.
    pub(super) fn get(&self, step: Step) -> Option<&Said> {
        self.said.iter().rev().find(|said| said.step == step)
    }

    pub(super) fn taken(&self, step: Step) -> bool {
        self.get(step).is_some_and(Said::is_success)
    }

    pub(super) fn refused(&self, step: Step) -> bool {
        self.get(step).is_some_and(Said::is_refusal)
    }

    pub(super) fn takes_v1(&self) -> bool {
        self.taken(Step::V1) || self.dry_run && self.taken(Step::Hello)
    }

    /// 2.0 is not only answered: the answer says that it was written.
    pub(super) fn stores_v2(&self) -> bool {
        let wrote = |said: &Said| said.written().is_some_and(|written| written.samples == said.sent.samples);
        let step = if self.dry_run { Step::EmptyV2 } else { Step::V2 };
        self.get(step).is_some_and(|said| said.is_success() && wrote(said))
    }

    /// 2.0 is answered with a success that says nothing: a receiver of 1.0 that did not look at the content type read an
    /// empty message (remote write 2.0, "Required Written Response Headers").
    pub(super) fn ignores_v2(&self) -> bool {
        let step = if self.dry_run { Step::EmptyV2 } else { Step::V2 };
        self.get(step).is_some_and(|said| said.is_success() && said.written().is_none())
    }

    pub(super) fn takes_zstd(&self) -> bool {
        self.taken(if self.dry_run { Step::EmptyZstd } else { Step::Zstd })
    }

    /// Whether series were sent that may be stored now.
    pub(super) fn wrote(&self) -> bool {
        self.said
            .iter()
            .any(|said| !said.sent.is_zero() && said.answer.as_ref().is_ok_and(|heard| !heard.status.is_client_error()))
    }

    /// Whether the last requests had no answer.
    pub(super) fn silent(&self, requests: usize) -> bool {
        self.said.len() >= requests && self.said.iter().rev().take(requests).all(|said| said.answer.is_err())
    }

    pub(super) fn speaks_http2(&self) -> bool {
        let is_http2 = |said: &Said| said.answer.as_ref().is_ok_and(|heard| heard.version == Version::HTTP_2);
        self.said.iter().any(is_http2)
    }
}

#[cfg(test)]
impl Facts {
    /// For tests of what they mean.
    pub(super) fn told(said: Vec<Said>) -> Self {
        let url = "http://endpoint/api/v1/write".to_owned();
        Self { url, scheme: Scheme::Http, dry_run: false, addresses: None, bad_tls_files: false, said }
    }
}
