//! Faults: requests that are answered wrongly, late or never, because a test says so.

use std::fmt;
use std::time::Duration;

use crate::exchange::Request;

/// What happens to a request instead of, or besides, its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// It is refused and nothing is done: 409 as after somebody else's write, 429, 500, 503, 410 and so on.
    Answer {
        /// The HTTP status, from 400.
        code: u16,
        /// Seconds of a `Retry-After` header.
        retry_after: Option<u64>,
    },
    /// It waits, and is then looked at as if it had come at that moment.
    Delay(Duration),
    /// The connection is cut and nothing is done.
    Cut,
    /// It is done, and the connection is cut instead of an answer.
    CutAfter,
}

impl Act {
    /// A refusal without `Retry-After`.
    pub fn answer(code: u16) -> Self {
        Self::Answer { code, retry_after: None }
    }
}

/// A fault that is planted.
pub(crate) struct Fault {
    pub(crate) meant: Box<dyn Fn(&Request) -> bool + Send>,
    pub(crate) left: usize,
    pub(crate) act: Act,
}

impl fmt::Debug for Fault {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Fault").field("left", &self.left).field("act", &self.act).finish_non_exhaustive()
    }
}

/// The act of the first fault that means the request; it is used up once more.
pub(crate) fn take(faults: &mut Vec<Fault>, request: &Request) -> Option<Act> {
    let at = faults.iter().position(|fault| (fault.meant)(request))?;
    let fault = &mut faults[at];
    fault.left -= 1;
    let act = fault.act;
    if fault.left == 0 {
        faults.remove(at);
    }
    Some(act)
}
