//! What keeps a delivery from sending that is not the endpoint's fault.

use remote_write::wire::Malformed;
use tokio::task::JoinError;

use super::feed::FeedError;
use super::form::FormError;

/// A batch cannot be read or formed.
#[derive(Debug, thiserror::Error)]
pub(super) enum Fault {
    #[error("the log cannot be read")]
    Feed(#[from] FeedError),
    #[error(transparent)]
    Form(#[from] FormError),
    #[error("a request cannot be made of the batch: {0}")]
    Request(String),
    #[error("the forming thread failed")]
    Thread(#[from] JoinError),
}

impl From<Malformed> for Fault {
    fn from(malformed: Malformed) -> Self {
        Self::Request(malformed.to_string())
    }
}
