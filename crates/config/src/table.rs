//! Reading a mapping key by key: unknown keys, wrong shapes and unavailable features become problems with a place,
//! and reading goes on with the default.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::node::{Node, Place, Value};
use crate::problem::Diagnostic;
use crate::schema::{Key, REQUIRED, Section, Status};
use crate::units::{parse_duration, parse_size};

/// What is gathered while a configuration is read.
#[derive(Debug)]
pub(crate) struct Report {
    /// The file being read.
    pub(crate) file: PathBuf,
    /// What relative file names are relative to.
    pub(crate) base_dir: PathBuf,
    pub(crate) problems: Vec<Diagnostic>,
    pub(crate) warnings: Vec<Diagnostic>,
    pub(crate) watched_files: BTreeSet<PathBuf>,
    /// Keys without effect that have been told of, by file.
    told: BTreeSet<(PathBuf, String)>,
}

impl Report {
    pub(crate) fn new(file: &Path, base_dir: &Path) -> Self {
        Self {
            file: file.to_owned(),
            base_dir: base_dir.to_owned(),
            problems: Vec::new(),
            warnings: Vec::new(),
            watched_files: BTreeSet::new(),
            told: BTreeSet::new(),
        }
    }

    pub(crate) fn problem(&mut self, place: Place, message: String) {
        let diagnostic = self.diagnostic(place, message, None);
        self.problems.push(diagnostic);
    }

    pub(crate) fn problem_with_hint(&mut self, place: Place, message: String, hint: String) {
        let diagnostic = self.diagnostic(place, message, Some(hint));
        self.problems.push(diagnostic);
    }

    pub(crate) fn warning(&mut self, place: Place, message: String, hint: Option<String>) {
        let diagnostic = self.diagnostic(place, message, hint);
        self.warnings.push(diagnostic);
    }

    fn diagnostic(&self, place: Place, message: String, hint: Option<String>) -> Diagnostic {
        Diagnostic { file: self.file.clone(), line: place.line, column: place.column, message, hint }
    }
}

/// A value with the path that leads to it, such as `listeners[0].address`.
#[derive(Clone, Debug)]
pub(crate) struct Field<'n> {
    pub(crate) node: &'n Node,
    pub(crate) path: String,
}

impl<'n> Field<'n> {
    pub(crate) fn new(node: &'n Node, path: impl Into<String>) -> Self {
        Self { node, path: path.into() }
    }

    pub(crate) fn place(&self) -> Place {
        self.node.place
    }

    /// Records that the value is wrong: `path: message`.
    pub(crate) fn wrong(&self, report: &mut Report, message: impl std::fmt::Display) {
        report.problem(self.place(), format!("{}: {message}", self.path));
    }

    /// As [`Field::wrong`], with what to do about it.
    pub(crate) fn wrong_with_hint(
        &self,
        report: &mut Report,
        message: impl std::fmt::Display,
        hint: impl Into<String>,
    ) {
        report.problem_with_hint(self.place(), format!("{}: {message}", self.path), hint.into());
    }

    /// Records what the owner should know.
    pub(crate) fn warn(&self, report: &mut Report, message: impl std::fmt::Display, hint: Option<&str>) {
        report.warning(self.place(), format!("{}: {message}", self.path), hint.map(str::to_owned));
    }

    /// The scalar's text.
    pub(crate) fn text(&self, report: &mut Report) -> Option<&'n str> {
        let text = self.node.text();
        if text.is_none() {
            self.wrong(report, format_args!("expected a single value, found {}", self.node.kind()));
        }
        text
    }

    /// The text, as something that `parse` understands.
    pub(crate) fn parse<T, E: std::fmt::Display>(
        &self,
        report: &mut Report,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<T> {
        match parse(self.text(report)?) {
            Ok(value) => Some(value),
            Err(error) => {
                self.wrong(report, error);
                None
            }
        }
    }

    /// The text, as one of a few words.
    pub(crate) fn choice<T: Copy>(&self, report: &mut Report, choices: &[(&'static str, T)]) -> Option<T> {
        let text = self.text(report)?;
        let found = choices.iter().find(|(word, _)| *word == text);
        if found.is_none() {
            let words: Vec<&str> = choices.iter().map(|(word, _)| *word).collect();
            self.wrong(report, format_args!("expected {}, found {text:?}", either(&words)));
        }
        found.map(|(_, value)| *value)
    }

    /// The list's items.
    pub(crate) fn items(&self, report: &mut Report) -> Vec<Self> {
        match &self.node.value {
            Value::Null => Vec::new(),
            Value::List(items) => {
                let path = |index| format!("{}[{index}]", self.path);
                items.iter().enumerate().map(|(index, item)| Self::new(item, path(index))).collect()
            }
            Value::Text(_) | Value::Map(_) => {
                self.wrong(report, format_args!("expected a list, found {}", self.node.kind()));
                Vec::new()
            }
        }
    }

    /// The list's items as text; null items are left out.
    pub(crate) fn texts(&self, report: &mut Report) -> Vec<String> {
        let items = self.items(report);
        items.iter().filter_map(|item| item.text(report)).map(str::to_owned).collect()
    }

    /// The mapping's entries, whatever their keys: the key itself, and the value.
    pub(crate) fn entries(&self, report: &mut Report) -> Vec<(Self, Self)> {
        match &self.node.value {
            Value::Null => Vec::new(),
            Value::Map(entries) => entries
                .iter()
                .map(|(key, value)| {
                    let path = format!("{}.{}", self.path, key.text().unwrap_or("?"));
                    (Self::new(key, path.clone()), Self::new(value, path))
                })
                .collect(),
            Value::Text(_) | Value::List(_) => {
                self.wrong(report, format_args!("expected a mapping, found {}", self.node.kind()));
                Vec::new()
            }
        }
    }

    /// A mapping from names to texts, in the order written.
    pub(crate) fn text_entries(&self, report: &mut Report) -> Vec<(String, String)> {
        let entries = self.entries(report);
        let both =
            |(key, value): &(Field<'_>, Field<'_>)| Some((key.node.text()?.to_owned(), value.text(report)?.to_owned()));
        entries.iter().filter_map(both).collect()
    }

    /// A file name; relative to the directory of the main configuration file. The file becomes a watched one.
    pub(crate) fn file(&self, report: &mut Report) -> Option<PathBuf> {
        let text = self.text(report)?;
        if text.is_empty() || text.contains('\0') {
            self.wrong(report, "expected the name of a file");
            return None;
        }
        let path = report.base_dir.join(text);
        report.watched_files.insert(path.clone());
        Some(path)
    }
}

/// A mapping whose keys are known.
#[derive(Debug)]
pub(crate) struct Table<'n> {
    field: Field<'n>,
    keys: Vec<&'static Key>,
}

impl<'n> Table<'n> {
    /// Checks the mapping's keys against `section`: every key that is unknown, not available or without effect is
    /// reported here.
    pub(crate) fn open(field: Field<'n>, section: &'static Section, report: &mut Report) -> Self {
        Self::open_with(field, section, &[], report)
    }

    /// As [`Table::open`], with more keys than the section's.
    pub(crate) fn open_with(
        field: Field<'n>,
        section: &'static Section,
        extra: &'static [Key],
        report: &mut Report,
    ) -> Self {
        let keys: Vec<&'static Key> = section.keys.iter().chain(extra).collect();
        let entries = field.entries(report);
        for (key, value) in &entries {
            let Some(name) = key.node.text() else {
                report.problem(key.place(), "a key must be a single value".to_owned());
                continue;
            };
            let full = if field.path.is_empty() { name } else { key.path.as_str() };
            let known = keys.iter().find(|known| known.name == name);
            let off = value.node.is_neutral() || known.is_some_and(|known| value.node.text() == Some(known.default));
            match known.map(|known| known.status) {
                None => {
                    let place = if field.path.is_empty() { "the file" } else { field.path.as_str() };
                    let message = format!("unknown key `{name}` in {place}");
                    match nearest(name, keys.iter().map(|known| known.name)) {
                        Some(near) => {
                            report.problem_with_hint(key.place(), message, format!("did you mean `{near}`?"));
                        }
                        None => report.problem(key.place(), message),
                    }
                }
                Some(Status::Later) if !off => {
                    report.problem(key.place(), format!("{full}: not available in this version"));
                }
                Some(Status::Ignored(why)) if !matches!(value.node.value, Value::Null) => {
                    // Once: generated files repeat a key for each of hundreds of tenants.
                    if report.told.insert((report.file.clone(), name.to_owned())) {
                        report.warning(key.place(), format!("{full} has no effect: {why}"), None);
                    }
                }
                Some(Status::Available | Status::Later | Status::Ignored(_)) => {}
            }
        }
        Self { field, keys }
    }

    /// The value of `key` in a mapping that is not opened yet.
    pub(crate) fn peek(field: &Field<'n>, key: &str) -> Option<&'n Node> {
        let Value::Map(entries) = &field.node.value else { return None };
        let (_, node) = entries.iter().find(|(name, _)| name.text() == Some(key))?;
        (!matches!(node.value, Value::Null)).then_some(node)
    }

    /// The mapping as a whole.
    pub(crate) fn field(&self) -> &Field<'n> {
        &self.field
    }

    /// The path of `key`, as one would write it.
    pub(crate) fn path_of(&self, key: &str) -> String {
        if self.field.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.field.path) }
    }

    /// The value of `key`, if it is written and not null.
    pub(crate) fn get(&self, key: &str) -> Option<Field<'n>> {
        debug_assert!(self.keys.iter().any(|known| known.name == key), "{key} is not in the schema");
        Self::peek(&self.field, key).map(|node| Field::new(node, self.path_of(key)))
    }

    /// The value of a key that must be written.
    pub(crate) fn required(&self, key: &str, report: &mut Report) -> Option<Field<'n>> {
        let field = self.get(key);
        if field.is_none() {
            debug_assert_eq!(self.default(key), REQUIRED);
            // A mapping that is none has been reported already.
            if matches!(self.field.node.value, Value::Map(_) | Value::Null) {
                let message = format!("`{key}` is missing");
                if self.field.path.is_empty() {
                    report.problem(self.field.place(), message);
                } else {
                    self.field.wrong(report, message);
                }
            }
        }
        field
    }

    /// The text of `key`, if it is written and not empty.
    pub(crate) fn optional_text(&self, key: &str, report: &mut Report) -> Option<String> {
        self.get(key)?.text(report).filter(|text| !text.is_empty()).map(str::to_owned)
    }

    /// The text of `key`, or its default.
    pub(crate) fn text(&self, key: &str, report: &mut Report) -> String {
        self.get(key).and_then(|field| field.text(report)).unwrap_or_else(|| self.default(key)).to_owned()
    }

    pub(crate) fn bool(&self, key: &str, report: &mut Report) -> bool {
        self.value(key, report, parse_bool)
    }

    pub(crate) fn duration(&self, key: &str, report: &mut Report) -> Duration {
        self.value(key, report, parse_duration)
    }

    /// A duration that must not be zero.
    pub(crate) fn positive_duration(&self, key: &str, report: &mut Report) -> Duration {
        self.value(key, report, |text| match parse_duration(text) {
            Ok(Duration::ZERO) => Err("must be more than 0".to_owned()),
            Ok(duration) => Ok(duration),
            Err(error) => Err(error.to_string()),
        })
    }

    pub(crate) fn size(&self, key: &str, report: &mut Report) -> u64 {
        self.value(key, report, parse_size)
    }

    /// A whole number from `min` on.
    pub(crate) fn number(&self, key: &str, min: u32, report: &mut Report) -> u32 {
        self.value(key, report, |text| match text.parse::<u32>() {
            Ok(number) if number >= min => Ok(number),
            _ => Err(format!("expected a whole number from {min} to {}", u32::MAX)),
        })
    }

    /// The value of `key`, or its default, as one of a few words.
    pub(crate) fn choice<T: Copy + Default>(&self, key: &str, report: &mut Report, choices: &[(&'static str, T)]) -> T {
        let default = choices.iter().find(|(word, _)| *word == self.default(key)).map(|(_, value)| *value);
        self.get(key).and_then(|field| field.choice(report, choices)).or(default).unwrap_or_default()
    }

    /// The value of `key`, or its default, as `parse` reads them.
    pub(crate) fn value<T: Default, E: std::fmt::Display>(
        &self,
        key: &str,
        report: &mut Report,
        parse: impl Fn(&str) -> Result<T, E>,
    ) -> T {
        let default = || parse(self.default(key));
        debug_assert!(default().is_ok(), "the default of {key} cannot be read");
        self.get(key).and_then(|field| field.parse(report, &parse)).or_else(|| default().ok()).unwrap_or_default()
    }

    fn default(&self, key: &str) -> &'static str {
        self.keys.iter().find(|known| known.name == key).map_or("", |known| known.default)
    }
}

/// YAML 1.1 booleans, as Prometheus' parser takes them.
fn parse_bool(text: &str) -> Result<bool, &'static str> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "yes" | "on" | "y" => Ok(true),
        "false" | "no" | "off" | "n" => Ok(false),
        _ => Err("expected true or false"),
    }
}

/// `a`, `a or b`, `a, b or c`.
fn either(words: &[&str]) -> String {
    match words {
        [] => String::new(),
        [only] => (*only).to_owned(),
        [first @ .., last] => format!("{} or {last}", first.join(", ")),
    }
}

/// The known key that differs from `name` by the fewest edits, if that is close enough to be a slip.
#[must_use]
pub fn nearest(name: &str, known: impl Iterator<Item = &'static str>) -> Option<&'static str> {
    let plain = |text: &str| text.to_ascii_lowercase().replace(['-', '_'], "");
    let (written, name) = (name, plain(name));
    // A longer text is no slip, and the comparison costs the product of the lengths.
    if name.len() > 64 {
        return None;
    }
    let closest = known.min_by_key(|key| (edits(&name, &plain(key)), !key.eq_ignore_ascii_case(written)))?;
    let distance = edits(&name, &plain(closest));
    (distance <= 2.max(name.chars().count() / 4) && distance < name.chars().count()).then_some(closest)
}

/// Levenshtein's distance.
fn edits(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, a) in a.chars().enumerate() {
        let mut next = vec![i + 1];
        for (b, pair) in b.iter().zip(row.windows(2)) {
            let &[diagonal, above] = pair else { continue };
            let left = next.last().copied().unwrap_or_default();
            next.push((diagonal + usize::from(a != *b)).min(above + 1).min(left + 1));
        }
        row = next;
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_finds_the_key_that_was_meant_and_nonsense_finds_none() {
        let known = ["remote_write", "remote_write_files", "listeners", "log", "tenants"];
        for (name, expected) in [
            ("remotewrite", Some("remote_write")),
            ("remoteWrite", Some("remote_write")),
            ("listener", Some("listeners")),
            ("lgo", Some("log")),
            ("scrape_configs", None),
            ("x", None),
            ("", None),
        ] {
            assert_eq!(nearest(name, known.into_iter()), expected, "{name}");
        }
        assert_eq!(edits("kitten", "sitting"), 3);
    }
}
