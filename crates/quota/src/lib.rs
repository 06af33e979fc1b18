//! How much a tenant may send. Pure: it counts and decides, and knows nothing of requests, configuration or clocks; everything
//! may be used by many threads at once.
//!
//! | what | bounds | by |
//! | --- | --- | --- |
//! | [`rate`] | samples, bytes or requests per second | a bucket that fills in a second |
//! | [`window`] | requests per tenant and path rule | a sliding window, for the headers that tell how much is left |
//! | [`series`] | how many series a tenant has | the hashes seen in the last 10 to 20 minutes |
//! | [`fair`] | bytes of all requests in flight | a budget of which each tenant has a share when it is short |

pub mod fair;
pub mod rate;
pub mod series;
pub mod window;

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Nanoseconds of a clock that never goes back; where it begins does not matter. Threads need not agree exactly: a call with a
/// time that is a little older than one before it is answered as if no time had passed.
pub type Nanoseconds = u64;

const SECOND: Nanoseconds = 1_000_000_000;

/// What is locked here is consistent between any two statements that could panic: a poisoned lock is as good as another.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
