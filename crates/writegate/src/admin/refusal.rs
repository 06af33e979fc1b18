//! What the admin API answers when it does not do what it was asked for: each with its status and an id of `docs/errors.md`.

use http::StatusCode;

use super::access::Denied;
use super::moment::InvalidMoment;
use super::query::InvalidQuery;

/// The most bytes of a request's body.
pub(super) const MAX_BODY: usize = 64 * 1024;

/// An admin request that fails.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refusal {
    #[error("nothing is served at this path (wg-api-path)")]
    Path,
    #[error("this path takes {0} (wg-api-method)")]
    Method(&'static str),
    #[error("{0} (wg-api-denied)")]
    Denied(#[from] Denied),
    /// With what is wrong with it.
    #[error("{0} (wg-api-request)")]
    Request(String),
    #[error("the body has more than {MAX_BODY} bytes; ask for less at once (wg-api-too-large)")]
    TooLarge,
    /// With what is not there.
    #[error("{0} (wg-api-unknown)")]
    Unknown(String),
    /// With what is in the way.
    #[error("{0} (wg-api-conflict)")]
    Conflict(String),
    /// With what failed.
    #[error("{0}; see the gateway's log (wg-api-failed)")]
    Failed(String),
}

impl Refusal {
    pub(super) const fn status(&self) -> StatusCode {
        match self {
            Self::Path | Self::Unknown(_) => StatusCode::NOT_FOUND,
            Self::Method(_) => StatusCode::METHOD_NOT_ALLOWED,
            Self::Denied(denied) => denied.status(),
            Self::Request(_) => StatusCode::BAD_REQUEST,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Conflict(_) => StatusCode::CONFLICT,
            Self::Failed(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// A thread that was asked did not end well.
    pub(super) fn thread(error: &tokio::task::JoinError) -> Self {
        Self::Failed(format!("a thread failed: {error}"))
    }
}

impl From<InvalidQuery> for Refusal {
    fn from(invalid: InvalidQuery) -> Self {
        Self::Request(invalid.to_string())
    }
}

impl From<InvalidMoment> for Refusal {
    fn from(invalid: InvalidMoment) -> Self {
        Self::Request(invalid.to_string())
    }
}
