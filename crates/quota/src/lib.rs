//! How much a tenant may send. Pure: it counts and decides, and knows nothing of requests, configuration or clocks; everything
//! may be used by many threads at once.
//!
//! | what | bounds | by |
//! | --- | --- | --- |
//! | [`rate`] | samples, bytes or requests per second | a bucket that fills in a second |

pub mod rate;

/// Nanoseconds of a clock that never goes back; where it begins does not matter. Threads need not agree exactly: a call with a
/// time that is a little older than one before it is answered as if no time had passed.
pub type Nanoseconds = u64;

const SECOND: Nanoseconds = 1_000_000_000;
