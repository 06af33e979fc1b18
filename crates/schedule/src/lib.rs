//! Which records of a log may be sent now, and beside which: order per series without shards. Pure: knows records by their
//! position and by the hashes of what they touch, and nothing of requests, endpoints or time.
//!
//! A record waits for the last earlier one of each of its series ([`order`]); those that wait for none are free, share no
//! series with each other, and may travel together or at the same time ([`window`]).

pub mod order;
pub mod window;

/// Where a record is in its log. Later records have higher positions.
pub type Position = u64;
