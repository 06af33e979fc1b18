//! Plans made and carried out on a cluster of maps: no client, no server, no time.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod annotation;
mod cluster;
mod definitions;
mod file;
mod remote_write;
mod specs;
