//! A replay's plan, kept with its books so that it goes on after a restart.
//!
//! Stored, little-endian: id (u64), the position behind its window (u64), the totals there (3 × u64), the window as it was
//! asked for in milliseconds since 1970 (2 × i64), samples a second (u64; 0: no limit), when it began in milliseconds since
//! 1970 (i64), state (u8), what the log lost of it (3 × u64).

use remote_write::Counts;
use segment_log::Position;

use super::books::{put_counts, take_byte, take_counts, take_u64};

/// A window of a log that is sent to an endpoint again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ReplayPlan {
    pub(crate) id: u64,
    /// Behind the last record.
    pub(crate) until: Position,
    /// The log's totals at `until`.
    pub(crate) until_totals: Counts,
    /// Records received from then on, in milliseconds since 1970.
    pub(crate) from_ms: i64,
    /// And before then.
    pub(crate) to_ms: i64,
    /// Samples a second; 0: no limit.
    pub(crate) rate: u64,
    /// When it was asked for, in milliseconds since 1970.
    pub(crate) begun_ms: i64,
    pub(crate) state: ReplayState,
    /// What had left the log before it could be sent, when the replay ended: from then on its cursor says nothing more.
    pub(crate) lost: Counts,
}

/// How far a replay is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ReplayState {
    Running,
    Done,
    Cancelled,
}

impl ReplayState {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Done => "done",
            Self::Cancelled => "cancelled",
        }
    }
}

impl ReplayPlan {
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.id.to_le_bytes());
        out.extend_from_slice(&self.until.to_le_bytes());
        put_counts(out, self.until_totals);
        for n in [self.from_ms, self.to_ms] {
            out.extend_from_slice(&n.to_le_bytes());
        }
        out.extend_from_slice(&self.rate.to_le_bytes());
        out.extend_from_slice(&self.begun_ms.to_le_bytes());
        out.push(match self.state {
            ReplayState::Running => 0,
            ReplayState::Done => 1,
            ReplayState::Cancelled => 2,
        });
        put_counts(out, self.lost);
    }

    pub(super) fn decode(rest: &mut &[u8]) -> Option<Self> {
        Some(Self {
            id: take_u64(rest)?,
            until: take_u64(rest)?,
            until_totals: take_counts(rest)?,
            from_ms: take_u64(rest)?.cast_signed(),
            to_ms: take_u64(rest)?.cast_signed(),
            rate: take_u64(rest)?,
            begun_ms: take_u64(rest)?.cast_signed(),
            state: match take_byte(rest)? {
                0 => ReplayState::Running,
                1 => ReplayState::Done,
                2 => ReplayState::Cancelled,
                _ => return None,
            },
            lost: take_counts(rest)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_reads_back_as_written() {
        for state in [ReplayState::Running, ReplayState::Done, ReplayState::Cancelled] {
            let until_totals = Counts { samples: 1, histograms: 2, exemplars: 3 };
            let lost = Counts { samples: 4, ..until_totals };
            let (from_ms, to_ms, begun_ms) = (-1, i64::MAX, 9);
            let plan = ReplayPlan { id: 7, until: 8, until_totals, from_ms, to_ms, rate: 10, begun_ms, state, lost };
            let mut bytes = Vec::new();
            plan.encode(&mut bytes);
            let mut rest = bytes.as_slice();
            assert_eq!(ReplayPlan::decode(&mut rest), Some(plan));
            assert!(rest.is_empty());
        }
        assert_eq!(ReplayPlan::decode(&mut [0; 20].as_slice()), None);
    }
}
