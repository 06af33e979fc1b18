//! The outgoing side through its public face: encoding, translation, splitting and merging of requests, on requests
//! written by hand and generated ones.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail by panicking, as tests do")]

mod concat;
mod encode;
mod oracle;
mod pieces;
mod requests;
mod split;
mod translate;
