//! What the gateway reads from strangers, fed with anything. A target panics if a promise is broken; errors are its business.
//!
//! `cargo test -p fuzz` replays the corpora, `cargo xtask fuzz <target> <seconds>` explores. Names nothing that is not public.
#![expect(clippy::expect_used, clippy::panic, reason = "a target tells what is wrong by panicking")]

mod targets {
    pub(crate) mod compressed;
    pub(crate) mod configuration;
    pub(crate) mod http;
    pub(crate) mod log;
    pub(crate) mod otlp;
    pub(crate) mod relabel;
    pub(crate) mod request;
}

use remote_write::{Compression, Protocol};

/// Reads anything.
pub type Target = fn(&[u8]);

/// All targets, by name: that of their corpus' directory.
pub const TARGETS: [(&str, Target); 11] = [
    ("v1", |data| targets::request::run(Protocol::V1, data)),
    ("v2", |data| targets::request::run(Protocol::V2, data)),
    ("otlp", targets::otlp::run),
    ("snappy", |data| targets::compressed::run(Compression::Snappy, data)),
    ("zstd", |data| targets::compressed::run(Compression::Zstd, data)),
    ("relabel", targets::relabel::run),
    ("configuration", targets::configuration::run),
    ("log_segment", |data| targets::log::run(targets::log::Damaged::Segment, data)),
    ("log_cursors", |data| targets::log::run(targets::log::Damaged::Cursors, data)),
    ("push", |data| targets::http::run(targets::http::Door::Push, data)),
    ("admin", |data| targets::http::run(targets::http::Door::Admin, data)),
];

/// The target of this name.
pub fn target(name: &str) -> Option<Target> {
    TARGETS.iter().find(|(known, _)| *known == name).map(|(_, target)| *target)
}
