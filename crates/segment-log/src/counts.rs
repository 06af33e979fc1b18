//! Arithmetic on [`Counts`]: wrapping, since they are opaque and damage may hand in anything.

use crate::Counts;

pub(crate) fn add(a: Counts, b: Counts) -> Counts {
    std::array::from_fn(|i| a[i].wrapping_add(b[i]))
}

/// `a − b`, not below zero.
pub(crate) fn sub(a: Counts, b: Counts) -> Counts {
    std::array::from_fn(|i| a[i].saturating_sub(b[i]))
}

pub(crate) fn max(a: Counts, b: Counts) -> Counts {
    std::array::from_fn(|i| a[i].max(b[i]))
}
