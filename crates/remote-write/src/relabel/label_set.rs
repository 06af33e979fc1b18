//! The labels of one series while rules work on them. Their order follows Prometheus' `labels.Builder`, because it
//! decides which label wins when `labelmap` copies two to one name.

use std::borrow::Cow;

use crate::model::Label;

/// First the series' own labels as they came, then those that were set, in the order in which they were first set.
#[derive(Clone, Debug, Default)]
pub(super) struct LabelSet<'a> {
    entries: Vec<Entry<'a>>,
}

#[derive(Clone, Debug)]
struct Entry<'a> {
    name: Cow<'a, str>,
    value: Cow<'a, str>,
    /// Not one of the series' own.
    set: bool,
}

impl<'a> LabelSet<'a> {
    pub(super) fn clear(&mut self) {
        self.entries.clear();
    }

    /// Adds a label that came with the series; an empty one means that there is none.
    pub(super) fn push_own(&mut self, name: &'a str, value: &'a str) {
        if !value.is_empty() {
            self.entries.push(Entry { name: name.into(), value: value.into(), set: false });
        }
    }

    /// The value of a label; empty when there is none.
    pub(super) fn get(&self, name: &str) -> &str {
        self.entries.iter().find(|entry| entry.name == name).map_or("", |entry| &entry.value)
    }

    /// Sets a label; an empty value removes it.
    pub(super) fn set(&mut self, name: Cow<'a, str>, value: Cow<'a, str>) {
        let place = self.entries.iter().position(|entry| entry.name == name);
        match place.and_then(|place| self.entries.get_mut(place)) {
            Some(entry) if entry.set && !value.is_empty() => {
                entry.value = value;
                return;
            }
            _ => {}
        }
        if let Some(place) = place {
            self.entries.remove(place);
        }
        if !value.is_empty() {
            self.entries.push(Entry { name, value, set: true });
        }
    }

    /// All names and values, in bytes.
    pub(super) fn bytes(&self) -> usize {
        self.entries.iter().map(|entry| entry.name.len() + entry.value.len()).sum()
    }

    /// Keeps the labels whose names `keep`.
    pub(super) fn retain(&mut self, keep: impl Fn(&str) -> bool) {
        self.entries.retain(|entry| keep(&entry.name));
    }

    /// Puts the labels in the order of their names and gives them new ones. Labels that come to share a name become one,
    /// their values joined with `;` in the order of the names they had.
    pub(super) fn rename(&mut self, new: impl Fn(&str) -> String) {
        self.sort();
        for entry in &mut self.entries {
            entry.name = new(&entry.name).into();
        }
        // Stable: labels of one name stay in the order that they had.
        self.entries.sort_by(|one, next| one.name.cmp(&next.name));
        self.entries.dedup_by(|next, first| {
            let same = next.name == first.name;
            if same {
                let joined = first.value.to_mut();
                joined.push(';');
                joined.push_str(&next.value);
            }
            same
        });
    }

    /// The labels in their present order.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &Cow<'a, str>)> {
        self.entries.iter().map(|entry| (&*entry.name, &entry.value))
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Puts the labels in the order of their names' bytes.
    pub(super) fn sort(&mut self) {
        self.entries.sort_unstable_by(|one, next| one.name.cmp(&next.name));
    }

    pub(super) fn labels(&self) -> impl Iterator<Item = Label<'_>> {
        self.entries.iter().map(|entry| Label { name: entry.name.as_bytes(), value: entry.value.as_bytes() })
    }
}
