//! What an OTLP sender is answered: `ExportMetricsServiceResponse`, and `google.rpc.Status` when nothing was taken.

use std::time::Duration;

use remote_write::wire::{put_len_delimited, put_message, put_varint_field};
use serde_json::json;

/// How a request is encoded, and so its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// Binary protobuf.
    Protobuf,
    /// JSON as protobuf maps it.
    Json,
}

impl Encoding {
    /// The media type (OTLP 1.x, "OTLP/HTTP Request").
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::Protobuf => "application/x-protobuf",
            Self::Json => "application/json",
        }
    }
}

/// `ExportMetricsServiceResponse`. Without refused points and without words it is empty, as OTLP demands of a full success.
pub fn response(encoding: Encoding, refused_points: u64, words: &str) -> Vec<u8> {
    let is_full = refused_points == 0 && words.is_empty();
    match encoding {
        Encoding::Json if is_full => b"{}".to_vec(),
        Encoding::Json => {
            // 64-bit integers are texts in protobuf's JSON.
            let partial = json!({"rejectedDataPoints": refused_points.to_string(), "errorMessage": words});
            json!({ "partialSuccess": partial }).to_string().into_bytes()
        }
        Encoding::Protobuf if is_full => Vec::new(),
        Encoding::Protobuf => {
            let mut out = Vec::new();
            put_message(&mut out, 1, |out| {
                if refused_points > 0 {
                    put_varint_field(out, 1, refused_points);
                }
                if !words.is_empty() {
                    put_len_delimited(out, 2, words.as_bytes());
                }
            });
            out
        }
    }
}

/// `google.rpc.Code`, as far as it is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Code {
    /// Taken, in whole or in part.
    Ok = 0,
    /// Never will be taken.
    InvalidArgument = 3,
    /// Nothing is there.
    NotFound = 5,
    /// Not for this tenant.
    PermissionDenied = 7,
    /// Too much at once, or too much at this time.
    ResourceExhausted = 8,
    /// A method or an encoding that is not known.
    Unimplemented = 12,
    /// Try again.
    Unavailable = 14,
    /// No credential, or a wrong one.
    Unauthenticated = 16,
}

/// `google.rpc.Status`. With `retry_after` it has a `RetryInfo`, without which some senders do not try again.
pub fn status(encoding: Encoding, code: Code, words: &str, retry_after: Option<Duration>) -> Vec<u8> {
    const RETRY_INFO: &str = "type.googleapis.com/google.rpc.RetryInfo";
    match encoding {
        Encoding::Json => {
            let details: Vec<_> = retry_after
                .map(|after| json!({"@type": RETRY_INFO, "retryDelay": format!("{}s", after.as_secs())}))
                .into_iter()
                .collect();
            json!({"code": code as u8, "message": words, "details": details}).to_string().into_bytes()
        }
        Encoding::Protobuf => {
            let mut out = Vec::new();
            put_varint_field(&mut out, 1, code as u64);
            put_len_delimited(&mut out, 2, words.as_bytes());
            if let Some(after) = retry_after {
                put_message(&mut out, 3, |out| {
                    put_len_delimited(out, 1, RETRY_INFO.as_bytes());
                    put_message(out, 2, |out| {
                        put_message(out, 1, |out| put_varint_field(out, 1, after.as_secs()));
                    });
                });
            }
            out
        }
    }
}
