//! The course of some figures: fine steps of the last three hours, coarse ones of the last day. Takes its memory at once and
//! never more. Knows no clock.

use std::collections::VecDeque;

/// Fine steps that are kept: three hours of a look each.
pub(super) const FINE: usize = 720;
/// Looks in a coarse step: three minutes.
pub(super) const IN_COARSE: u64 = 12;
/// Coarse steps that are kept: a day.
const COARSE: usize = 480;

/// What a coarse step says of its looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fold {
    Mean,
    Most,
}

/// `4 × N × (720 + 480)` bytes.
#[derive(Debug)]
pub(in super::super) struct Course<const N: usize> {
    fine: VecDeque<[f32; N]>,
    coarse: VecDeque<[f32; N]>,
    /// The coarse step under way, and of how many looks it is made.
    folded: [f64; N],
    looks: u64,
    /// The number of the look that last found trouble.
    troubled_at: usize,
}

impl<const N: usize> Default for Course<N> {
    fn default() -> Self {
        Self {
            fine: VecDeque::with_capacity(FINE),
            coarse: VecDeque::with_capacity(COARSE),
            folded: [0.0; N],
            looks: 0,
            troubled_at: 0,
        }
    }
}

impl<const N: usize> Course<N> {
    /// Adds what a look saw.
    pub(super) fn add(&mut self, point: [f64; N], folds: &[Fold; N]) {
        push(&mut self.fine, FINE, point);
        self.looks += 1;
        for ((folded, value), fold) in self.folded.iter_mut().zip(point).zip(folds) {
            *folded = match fold {
                Fold::Mean => *folded + value,
                Fold::Most => folded.max(value),
            };
        }
        if self.looks == IN_COARSE {
            let mut point = std::mem::replace(&mut self.folded, [0.0; N]);
            for (value, _) in point.iter_mut().zip(folds).filter(|(_, fold)| **fold == Fold::Mean) {
                #[expect(clippy::cast_precision_loss, reason = "12")]
                let looks = IN_COARSE as f64;
                *value /= looks;
            }
            push(&mut self.coarse, COARSE, point);
            self.looks = 0;
        }
    }

    /// The oldest first.
    pub(super) fn fine(&self) -> impl Iterator<Item = &[f32; N]> {
        self.fine.iter()
    }

    /// The oldest first.
    pub(super) fn coarse(&self) -> impl Iterator<Item = &[f32; N]> {
        self.coarse.iter()
    }

    /// Whether a look found trouble.
    pub(super) const fn was_troubled(&mut self, is_troubled: bool, look: usize) {
        if is_troubled {
            self.troubled_at = look;
        }
    }

    pub(super) const fn troubled_at(&self) -> usize {
        self.troubled_at
    }

    /// Whether there was no trouble for as long as fine steps are kept.
    pub(super) const fn is_quiet(&self, looks: usize) -> bool {
        looks - self.troubled_at > FINE
    }
}

#[expect(clippy::cast_possible_truncation, reason = "for a picture")]
fn push<const N: usize>(points: &mut VecDeque<[f32; N]>, most: usize, point: [f64; N]) {
    if points.len() == most {
        points.pop_front();
    }
    points.push_back(point.map(|value| value as f32));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn coarse_steps_are_made_of_twelve_looks_and_both_are_bounded() {
        let mut course = Course::<2>::default();
        for look in 0..12 {
            course.add([f64::from(look), f64::from(look % 7)], &[Fold::Mean, Fold::Most]);
        }
        assert_eq!(course.coarse().collect::<Vec<_>>(), [&[5.5, 6.0]]);
        for _ in 0..20_000 {
            course.add([1.0, 2.0], &[Fold::Mean, Fold::Most]);
        }
        assert_eq!((course.fine().count(), course.coarse().count()), (FINE, COARSE));
        assert_eq!((course.fine.capacity(), course.coarse.capacity()), (FINE, COARSE));
        assert_eq!(course.coarse().last(), Some(&[1.0, 2.0]));
    }
}
