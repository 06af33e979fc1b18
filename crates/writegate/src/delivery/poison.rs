//! The search for what an endpoint breaks on: series for which it answers 5xx again and again while it takes others.
//!
//! Unlike a refusal, a 5xx says nothing about the data: the endpoint may just be down. So a series is given up only if it is
//! answered 5xx by itself again and again, each time between two requests of this tenant that the endpoint takes. Where
//! nothing shows that the endpoint takes anything, nothing is given up.

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;

use tokio::time::Instant;

use super::attempt::attempt;
use super::fault::Fault;
use super::flight::{Flight, is_about_data};
use super::form::Payload;
use super::hunt::Refused;
use super::limiter::Turn;
use super::outcome::Outcome;
use super::send::Answer;
use crate::ledger::{Fate, Refusal};

/// Single series that are tried where both halves of a batch fail, to learn whether the endpoint takes anything at all.
const SINGLES: usize = 4;

/// How often a series is asked about by itself in one search.
const MOST_ASKED: u32 = 4;

/// How a search ended.
pub(super) enum Ended {
    /// Everything of the run is dealt with.
    Found,
    /// Nothing is taken: the endpoint is down.
    Down,
    /// It answered something else, which is to be judged first; the rest waits behind it.
    Answered(Payload, Answer),
}

/// A run that was answered 5xx, and when.
type Suspect = (Range<usize>, Instant);

/// A search under way. What is in none of the lists is dealt with, or back in the hunt.
struct Trial {
    /// To be asked about, the next one last.
    unasked: Vec<Range<usize>>,
    suspects: Vec<Suspect>,
    /// Single pieces that are proven to break the endpoint.
    proven: BTreeSet<usize>,
    /// A piece the endpoint took in this search: it would take it again.
    taken: Option<usize>,
    /// Something was taken or given up.
    progressed: bool,
    words: String,
}

enum Verdict {
    Taken,
    Broken,
}

impl Flight {
    /// Looks in the run that is sent next for what was answered 5xx again and again.
    pub(super) async fn find_poison(&mut self, words: String, turn: &mut Option<Turn>) -> Result<Ended, Fault> {
        let Some(run) = self.hunt.as_mut().and_then(|hunt| hunt.take_run()) else { return Ok(Ended::Down) };
        let context = Arc::clone(&self.context);
        let _searching = context.endpoint.health.searches(&context.name);
        let (unasked, suspects) = (Vec::new(), Vec::new());
        let mut trial = Trial { unasked, suspects, proven: BTreeSet::new(), taken: None, progressed: false, words };
        let ended = self.try_run(run.clone(), &mut trial, turn).await;
        if let Some(hunt) = &mut self.hunt {
            let suspects = trial.suspects.into_iter().map(|(run, _)| run);
            let left: Vec<_> = suspects.chain(trial.unasked).collect();
            match &ended {
                Ok(Ended::Down) if !trial.progressed => hunt.put_back([run]),
                Ok(Ended::Answered(..)) => {
                    // What was answered otherwise was put back by itself, and comes first.
                    let answered = hunt.take_run();
                    hunt.put_back(left.into_iter().chain(answered));
                }
                Ok(Ended::Found | Ended::Down) | Err(_) => hunt.put_back(left),
            }
        }
        ended
    }

    async fn try_run(&mut self, run: Range<usize>, trial: &mut Trial, turn: &mut Option<Turn>) -> Result<Ended, Fault> {
        // Series that broke the endpoint lately are asked about by themselves, and the rest without them.
        let known: Vec<usize> = run.clone().filter(|piece| self.is_known_poison(*piece)).collect();
        if known.is_empty() || run.len() == 1 {
            self.suspect(run, trial);
        } else {
            trial.unasked = around(&run, &known);
            if let Some(answered) = self.ask_all(trial, turn).await? {
                return Ok(answered);
            }
        }
        while let Some((run, failed_at)) = trial.suspects.pop() {
            if run.len() > 1 {
                let before = trial.suspects.len();
                let middle = run.start + run.len() / 2;
                trial.unasked.extend([middle..run.end, run.start..middle]);
                if let Some(answered) = self.ask_all(trial, turn).await? {
                    return Ok(answered);
                }
                let both_broke = trial.suspects.len() == before + 2;
                let is_proven = !trial.proven.is_empty();
                if !both_broke || is_proven || self.takes_something(failed_at, trial, turn).await? {
                    continue;
                }
                return Ok(Ended::Down);
            }
            if let Some(ended) = self.try_series((run, failed_at), trial, turn).await? {
                return Ok(ended);
            }
        }
        Ok(Ended::Found)
    }

    /// A single series: asked about with something taken in between, until it is taken or proven to break the endpoint. It may
    /// have failed before because the endpoint was down, and come back since.
    async fn try_series(
        &mut self,
        (mut run, mut failed_at): Suspect,
        trial: &mut Trial,
        turn: &mut Option<Turn>,
    ) -> Result<Option<Ended>, Fault> {
        for _ in 0..MOST_ASKED {
            if self.give_up_if_proven(&run, trial)? {
                return Ok(None);
            }
            if !self.takes_something(failed_at, trial, turn).await? {
                break;
            }
            let before = trial.suspects.len();
            if let Some(answered) = self.ask(run.clone(), trial, turn).await? {
                return Ok(Some(answered));
            }
            if trial.suspects.len() == before {
                return Ok(None); // It was taken.
            }
            let Some(again) = trial.suspects.pop() else { return Ok(None) };
            (run, failed_at) = again;
        }
        if self.give_up_if_proven(&run, trial)? {
            return Ok(None);
        }
        trial.suspects.push((run, failed_at));
        Ok(Some(Ended::Down))
    }

    fn give_up_if_proven(&mut self, run: &Range<usize>, trial: &mut Trial) -> Result<bool, Fault> {
        let is_proven = trial.proven.remove(&run.start);
        if is_proven {
            self.give_up_poison(run.clone(), trial)?;
        }
        Ok(is_proven)
    }

    /// A run was answered 5xx.
    fn suspect(&self, run: Range<usize>, trial: &mut Trial) {
        let now = Instant::now();
        if run.len() == 1
            && let Some(hash) = self.hunt.as_ref().and_then(|hunt| hunt.hash(run.start))
            && self.context.condition.broke_on(hash, now)
        {
            trial.proven.insert(run.start);
        }
        trial.suspects.push((run, now));
    }

    async fn ask_all(&mut self, trial: &mut Trial, turn: &mut Option<Turn>) -> Result<Option<Ended>, Fault> {
        while let Some(run) = trial.unasked.pop() {
            if let Some(answered) = self.ask(run, trial, turn).await? {
                return Ok(Some(answered));
            }
        }
        Ok(None)
    }

    /// Sends a run. What was answered 5xx becomes a suspect; another answer ends the search.
    async fn ask(
        &mut self,
        run: Range<usize>,
        trial: &mut Trial,
        turn: &mut Option<Turn>,
    ) -> Result<Option<Ended>, Fault> {
        let Some(payload) = self.hunt.as_ref().map(|hunt| hunt.payload(run.clone())) else { return Ok(None) };
        let payload = payload.map_err(Fault::Request)?;
        let answer = attempt(&self.context, &payload, 0, turn).await;
        let Some(verdict) = self.verdict(&run, &answer, trial) else {
            if let Some(hunt) = &mut self.hunt {
                hunt.put_back([run]);
            }
            return Ok(Some(Ended::Answered(payload, answer)));
        };
        if let Verdict::Broken = verdict {
            self.suspect(run, trial);
        }
        Ok(None)
    }

    fn verdict(&mut self, run: &Range<usize>, answer: &Answer, trial: &mut Trial) -> Option<Verdict> {
        match answer.outcome {
            Outcome::Delivered { not_written } => {
                if let Some(hunt) = &mut self.hunt {
                    let alone = if run.len() == 1 { hunt.hash(run.start) } else { None };
                    alone.into_iter().for_each(|hash| self.context.condition.acquit(hash));
                    hunt.book_taken(run.clone(), not_written);
                }
                (trial.taken, trial.progressed) = (Some(run.start), true);
                Some(Verdict::Taken)
            }
            Outcome::Retry { trouble, .. } if is_about_data(trouble) => {
                trial.words = answer.text();
                Some(Verdict::Broken)
            }
            Outcome::Retry { .. }
            | Outcome::Hold
            | Outcome::OtherProtocol
            | Outcome::TooLarge
            | Outcome::Refused { .. } => None,
        }
    }

    /// Whether the endpoint took something of this tenant after `then`, or takes it now: what it took before, which it takes
    /// again, being the newest of its series; or else one of a few single series.
    async fn takes_something(
        &mut self,
        then: Instant,
        trial: &mut Trial,
        turn: &mut Option<Turn>,
    ) -> Result<bool, Fault> {
        if self.context.condition.succeeded_since(then) {
            return Ok(true);
        }
        if let Some(piece) = trial.taken {
            let Some(payload) = self.hunt.as_ref().map(|hunt| hunt.payload(piece..piece + 1)) else { return Ok(false) };
            let answer = attempt(&self.context, &payload.map_err(Fault::Request)?, 1, turn).await;
            // Also an endpoint that refuses repetitions is there.
            let is_there = matches!(answer.outcome, Outcome::Delivered { .. } | Outcome::Refused { .. });
            if is_there {
                self.context.condition.is_there(Instant::now());
            }
            return Ok(is_there);
        }
        for _ in 0..SINGLES {
            let largest = (0..trial.suspects.len()).max_by_key(|index| trial.suspects[*index].0.len());
            let Some(largest) = largest.filter(|index| trial.suspects[*index].0.len() > 1) else { break };
            let (run, failed_at) = trial.suspects.swap_remove(largest);
            let single = run.start + run.len() / 2;
            let others = [run.start..single, single + 1..run.end].into_iter().filter(|rest| !rest.is_empty());
            trial.suspects.extend(others.map(|rest| (rest, failed_at)));
            if let Some(Ended::Answered(_, answer)) = self.ask(single..single + 1, trial, turn).await? {
                // The series is back in the hunt. A refusal shows that the endpoint is there.
                trial.progressed = true;
                return Ok(matches!(answer.outcome, Outcome::Refused { .. } | Outcome::TooLarge));
            }
            if trial.taken.is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn give_up_poison(&mut self, run: Range<usize>, trial: &mut Trial) -> Result<(), Fault> {
        let context = Arc::clone(&self.context);
        let occasion = context.occasion();
        let Some(hunt) = &mut self.hunt else { return Ok(()) };
        let hash = hunt.hash(run.start);
        let refused = Refused { refusal: Refusal::Poison, nothing_stored: false, words: &trial.words };
        context.refuses_data(&trial.words);
        trial.progressed = true;
        if let Fate::DeadLettered(_) = hunt.give_up_run(run, &refused, &occasion)? {
            hash.into_iter().for_each(|hash| context.condition.gave_up(hash));
        }
        Ok(())
    }

    fn is_known_poison(&self, piece: usize) -> bool {
        let hash = self.hunt.as_ref().and_then(|hunt| hunt.hash(piece));
        hash.is_some_and(|hash| self.context.condition.is_poison(hash))
    }
}

/// Cuts a run into the given pieces, each alone, and what lies between them; what lies between them last, to be asked about
/// first.
fn around(run: &Range<usize>, pieces: &[usize]) -> Vec<Range<usize>> {
    let mut parts: Vec<_> = pieces.iter().map(|piece| *piece..piece + 1).collect();
    let mut start = run.start;
    for &piece in pieces {
        parts.push(start..piece);
        start = piece + 1;
    }
    parts.push(start..run.end);
    parts.retain(|part| !part.is_empty());
    parts
}

#[cfg(test)]
mod tests {
    use super::around;

    #[test]
    fn known_pieces_are_cut_out_and_the_rest_is_asked_about_first() {
        assert_eq!(around(&(2..9), &[4, 8]), [4..5, 8..9, 2..4, 5..8]);
        assert_eq!(around(&(0..2), &[0, 1]), [0..1, 1..2]);
    }
}
