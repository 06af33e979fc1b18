//! Plans made and carried out on a cluster of maps: no client, no server, no time.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]
#![expect(clippy::needless_pass_by_value, reason = "objects are written where they are passed")]

mod annotation;
mod cluster;
mod definitions;
mod file;
mod remote_write;
mod specs;
