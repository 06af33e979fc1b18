//! How the labels of an edited series come out of those it had: so many are left out, so many are kept, and then new ones
//! stand, again and again. Rules add and remove a few labels of many; written so, a series takes a tenth of its labels.

use crate::wire::{Malformed, Reader, put_varint};

/// An old label is looked for among so many. One that is not found is written as if it were new.
const NEAR: usize = 64;

/// Labels as remote write 1.0 writes them, one after the other, and where each ends.
#[derive(Debug, Default)]
pub(super) struct Labels {
    pub(super) bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Labels {
    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.ends.clear();
    }

    /// What was appended to the bytes is a label.
    pub(super) fn end(&mut self) {
        self.ends.push(self.bytes.len());
    }

    /// Gives back memory beyond so many bytes.
    pub(super) fn shrink_to(&mut self, bytes: usize) {
        self.clear();
        self.bytes.shrink_to(bytes);
        self.ends.shrink_to(bytes / size_of::<usize>());
    }

    fn get(&self, index: usize) -> Option<&[u8]> {
        let start = index.checked_sub(1).map_or(Some(0), |before| self.ends.get(before).copied())?;
        self.bytes.get(start..*self.ends.get(index)?)
    }

    fn iter(&self) -> impl Iterator<Item = &[u8]> {
        (0..self.ends.len()).filter_map(|index| self.get(index))
    }
}

/// Writes how `after` comes out of `before`, in place of what `out` holds; without `before` all labels are new.
pub(super) fn write(before: Option<&Labels>, after: &Labels, out: &mut Vec<u8>) {
    out.clear();
    let (mut next, mut skipped, mut kept) = (0, 0, 0);
    let mut new = 0..0;
    for label in after.iter() {
        let end = new.end + label.len();
        let near = before.and_then(|before| (0..NEAR).find(|ahead| before.get(next + ahead) == Some(label)));
        match near {
            Some(ahead) => {
                if ahead > 0 || !new.is_empty() {
                    put(skipped, kept, after.bytes.get(new.clone()).unwrap_or_default(), out);
                    (skipped, kept) = (ahead, 0);
                }
                kept += 1;
                next += ahead + 1;
                new = end..end;
            }
            None => new.end = end,
        }
    }
    put(skipped, kept, after.bytes.get(new).unwrap_or_default(), out);
}

fn put(skipped: usize, kept: usize, new: &[u8], out: &mut Vec<u8>) {
    if (skipped, kept, new.len()) == (0, 0, 0) {
        return;
    }
    for number in [skipped, kept, new.len()] {
        put_varint(out, number as u64);
    }
    out.extend_from_slice(new);
}

/// A part of a recipe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Step<'r> {
    /// So many old labels are left out,
    pub(super) skip: usize,
    /// so many behind them are kept,
    pub(super) keep: usize,
    /// and these new ones follow.
    pub(super) new: &'r [u8],
}

/// The parts of a recipe in order.
pub(super) fn steps(recipe: &[u8]) -> impl Iterator<Item = Step<'_>> {
    let mut reader = Reader::new(recipe);
    std::iter::from_fn(move || {
        // It was written here: nothing is wrong with it.
        let [skip, keep] = [reader.varint().ok()?, reader.varint().ok()?].map(|number| number as usize);
        Some(Step { skip, keep, new: reader.bytes().ok()? })
    })
}

/// Appends the labels that the recipe makes of a v1 series' label fields.
///
/// # Errors
/// When the fields cannot be told apart.
pub(super) fn apply_v1(recipe: &[u8], fields: Reader<'_>, out: &mut Vec<u8>) -> Result<(), Malformed> {
    let mut rest = fields;
    for Step { skip, keep, new } in steps(recipe) {
        pass(&mut rest, skip)?;
        let start = rest.position();
        pass(&mut rest, keep)?;
        out.extend_from_slice(rest.since(start));
        out.extend_from_slice(new);
    }
    Ok(())
}

/// Goes so many fields on.
#[inline]
fn pass(reader: &mut Reader<'_>, fields: usize) -> Result<(), Malformed> {
    for _ in 0..fields {
        if let [0x0a, length @ 0..0x80, ..] = reader.rest() {
            reader.take(2 + u64::from(*length))?;
        } else {
            let tag = reader.tag()?;
            reader.skip(tag)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::{any, prop_assert, prop_assert_eq, proptest};

    use super::*;

    fn labels(numbers: &[u8]) -> Labels {
        let mut labels = Labels::default();
        for number in numbers {
            labels.bytes.extend_from_slice(&[0x0a, 1, *number]);
            labels.end();
        }
        labels
    }

    proptest! {
        #[test]
        fn a_recipe_makes_the_new_labels_of_the_old_ones(
            before in vec(0_u8..12, 0..10),
            after in vec(0_u8..12, 0..10),
            knows_before in any::<bool>(),
        ) {
            let (before, after) = (labels(&before), labels(&after));
            let (mut recipe, mut made) = (Vec::new(), Vec::new());
            write(knows_before.then_some(&before), &after, &mut recipe);
            apply_v1(&recipe, Reader::new(&before.bytes), &mut made).unwrap();
            prop_assert_eq!(&made, &after.bytes);
            prop_assert!(recipe.len() <= after.bytes.len() + 3 * (after.ends.len() + 1));
        }
    }

    #[test]
    fn one_label_more_takes_its_own_bytes_and_a_few() {
        let old: Vec<u8> = (0..40).filter(|number| *number != 20).collect();
        let mut recipe = Vec::new();
        write(Some(&labels(&old)), &labels(&(0..39).collect::<Vec<u8>>()), &mut recipe);
        let steps: Vec<Step<'_>> = steps(&recipe).collect();
        let [first, second] = steps.as_slice() else { panic!("{steps:?}") };
        assert_eq!(*first, Step { skip: 0, keep: 20, new: &[0x0a, 1, 20] });
        assert_eq!(*second, Step { skip: 0, keep: 18, new: &[] });
        assert_eq!(recipe.len(), 9);
    }
}
