//! What is kept, as the caller sees it. Nothing here knows how it is stored.

use bytes::Bytes;

use crate::format::disk_bytes;
use crate::{Counts, Id};

/// What is known of a letter besides its body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Envelope {
    /// Whose data it is; at most [`MAX_NAME`](crate::MAX_NAME) bytes.
    pub tenant: String,
    /// Who refused it; at most [`MAX_NAME`](crate::MAX_NAME) bytes.
    pub endpoint: String,
    /// Why, as a label's value of a closed set; at most [`MAX_NAME`](crate::MAX_NAME) bytes.
    pub reason: String,
    /// The endpoint's own words; the store cuts them to [`MAX_WORDS`](crate::MAX_WORDS) bytes.
    pub words: String,
    /// Where the record lies in the tenant's log.
    pub position: u64,
    /// When the record was received, in milliseconds since 1970.
    pub received_ms: i64,
    /// When the endpoint refused it, in milliseconds since 1970.
    pub refused_ms: i64,
    /// The data points in it.
    pub counts: Counts,
    /// The series in it.
    pub series: u32,
    /// One of its series; the store cuts it to [`MAX_EXAMPLE`](crate::MAX_EXAMPLE) bytes.
    pub example: String,
    /// How the body is encoded; opaque to the store.
    pub form: u8,
    /// Size of the body when it is decoded.
    pub decoded_bytes: u32,
}

/// What an endpoint refused for good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Letter {
    /// All but the series.
    pub envelope: Envelope,
    /// The series; at most [`MAX_BODY`](crate::MAX_BODY) bytes.
    pub body: Bytes,
}

/// A kept letter without its body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    /// Its name.
    pub id: Id,
    /// All but the series.
    pub envelope: Envelope,
    /// Size of its body.
    pub body_bytes: u32,
}

impl Summary {
    /// What the letter takes on the disk, in bytes; an estimate, since letters share pages.
    pub fn disk_bytes(&self) -> u64 {
        disk_bytes(&self.envelope, self.body_bytes)
    }
}

/// Where a letter goes when it leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Leaving {
    /// The endpoint took it after all.
    Delivered,
    /// An operator let it go.
    Dropped,
    /// It gave way to newer ones.
    Evicted,
}

/// Which letters; `None` means any.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Those of this tenant.
    pub tenant: Option<String>,
    /// Those this endpoint refused.
    pub endpoint: Option<String>,
}

/// What [`Store::remove_unsettled`](crate::Store::remove_unsettled) removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Removed {
    /// How many letters.
    pub letters: u64,
    /// The data points in them.
    pub counts: Counts,
}
