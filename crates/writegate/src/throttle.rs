//! Log lines that would come by the thousand while something is broken.

use std::time::Duration;

use tokio::time::Instant;

/// Lets one log line a minute through, and counts the others.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Throttle {
    logged: Option<Instant>,
    unlogged: u64,
}

impl Throttle {
    const EVERY: Duration = Duration::from_secs(60);

    /// How many were kept back since the last one; `None`: so is this one.
    pub(crate) fn pass(&mut self) -> Option<u64> {
        if self.logged.is_some_and(|logged| logged.elapsed() < Self::EVERY) {
            self.unlogged += 1;
            return None;
        }
        self.logged = Some(Instant::now());
        Some(std::mem::take(&mut self.unlogged))
    }
}
