//! From a draft to a result that passes the check.
//!
//! The configuration's own reader judges the draft. An entry that it refuses is commented out with its words: half of an endpoint
//! could send what it should not. A key that it says has no effect is commented out alone.

use std::collections::BTreeSet;
use std::path::Path;

use writegate_config::{Diagnostic, Loaded, Place, Problems, parse};

use crate::part::{Line, Part, Say, comment, render};
use crate::{Import, ImportError, Note, Weight, unreadable};

/// What the check calls the result; no other file is called that.
const RESULT: &str = "writegate.yml";
/// Lists of which each item is commented out alone. Of others, the whole goes.
const LISTS: [&str; 4] = ["remote_write", "tenants", "listeners", "authentication"];

/// A result in the making.
#[derive(Debug, Default)]
pub(crate) struct Draft {
    /// Comments before everything.
    pub(crate) head: Vec<String>,
    pub(crate) parts: Vec<Part>,
    /// What is to say about no part of the result.
    pub(crate) says: Vec<Say>,
    /// Comments after everything, each line as it is.
    pub(crate) tail: Vec<String>,
}

impl Draft {
    /// Says something about what has no place in the result.
    pub(crate) fn say(&mut self, weight: Weight, place: Place, text: impl Into<String>) {
        self.says.push(Say { weight: Some(weight), place, text: text.into() });
    }

    /// The result. Names of files in it are relative to `base`.
    pub(crate) fn checked(mut self, source: &Path, base: &Path) -> Result<Import, ImportError> {
        let head = self.head();
        loop {
            let lines = render(&self.parts);
            let yaml = self.text(&head, &lines);
            match parse(&yaml, Path::new(RESULT), base) {
                Ok(Loaded { warnings, .. }) => {
                    let idle = warnings.into_iter().filter(|warning| is_idle(&warning.message));
                    let idle: Vec<Diagnostic> = idle.filter(|warning| warning.file == Path::new(RESULT)).collect();
                    if !self.silence(&idle, &lines, head.len()) {
                        return Ok(Import { notes: self.notes(source), yaml });
                    }
                }
                Err(Problems(problems)) => {
                    if !self.drop_refused(&problems, &lines, head.len()) {
                        let elsewhere = |problem: &Diagnostic| problem.file != Path::new(RESULT);
                        if problems.iter().any(elsewhere) {
                            return Err(ImportError::Refused(Problems(
                                problems.into_iter().filter(elsewhere).collect(),
                            )));
                        }
                        let message =
                            format!("nothing that passes writegate check comes of it: {}", Problems(problems));
                        return Err(unreadable(source, Place::default(), message, None));
                    }
                }
            }
        }
    }

    fn head(&self) -> Vec<String> {
        let mut head: Vec<String> = self.head.iter().flat_map(|text| comment(text, 0)).collect();
        if !self.says.is_empty() {
            head.push("#".to_owned());
        }
        for say in &self.says {
            let lines = comment(&say.text(), 2).into_iter().enumerate();
            head.extend(lines.map(|(index, line)| line.replacen("  #", if index == 0 { "# *" } else { "#  " }, 1)));
        }
        head.push(String::new());
        head
    }

    fn text(&self, head: &[String], lines: &[Line]) -> String {
        let body = lines.iter().map(|line| line.text.as_str());
        let tail: Vec<String> = self.tail.iter().map(|line| format!("# {line}").trim_end().to_owned()).collect();
        let gap = (!tail.is_empty()).then_some("");
        let all = head.iter().map(String::as_str).chain(body).chain(gap).chain(tail.iter().map(String::as_str));
        all.fold(String::new(), |text, line| text + line + "\n")
    }

    /// Comments out what has no effect; false if there is nothing.
    fn silence(&mut self, idle: &[Diagnostic], lines: &[Line], above: usize) -> bool {
        let mut is_changed = false;
        for warning in idle {
            let Some(part) = line_of(warning, lines, above).and_then(|line| self.part(&line.path)) else { continue };
            if !part.is_off {
                part.is_off = true;
                let place = part.place;
                part.say(Weight::Remark, place, format!("left out: {}", said(warning)));
                is_changed = true;
            }
        }
        is_changed
    }

    /// Comments out the entries that are refused; false if a problem is in none of them.
    fn drop_refused(&mut self, problems: &[Diagnostic], lines: &[Line], above: usize) -> bool {
        let mut units = BTreeSet::new();
        for problem in problems {
            let Some(line) = line_of(problem, lines, above) else { return false };
            let Some(unit) = self.unit(&line.path) else { return false };
            let place = self.part(&line.path).map_or_else(Place::default, |part| part.place);
            let Some(part) = self.part(&unit) else { return false };
            if part.is_off && !units.contains(&unit) {
                return false;
            }
            part.is_off = true;
            let place = if place.line == 0 { part.place } else { place };
            part.say(Weight::Missing, place, said(problem));
            units.insert(unit);
        }
        true
    }

    /// The indices of the entry that is commented out as a whole.
    fn unit(&self, path: &[usize]) -> Option<Vec<usize>> {
        let top = self.parts.get(*path.first()?)?;
        let depth = if LISTS.contains(&top.key.as_str()) && path.len() > 1 { 2 } else { 1 };
        Some(path.iter().take(depth).copied().collect())
    }

    fn part(&mut self, path: &[usize]) -> Option<&mut Part> {
        let (first, rest) = path.split_first()?;
        let mut part = self.parts.get_mut(*first)?;
        for index in rest {
            part = part.children_mut().get_mut(*index)?;
        }
        Some(part)
    }

    fn notes(&self, source: &Path) -> Vec<Note> {
        let mut says = self.says.clone();
        self.parts.iter().for_each(|part| part.visit(&mut |part| says.extend(part.says.iter().cloned())));
        let note =
            |say: Say| Some(Note { weight: say.weight?, file: source.to_owned(), place: say.place, text: say.text });
        let mut notes: Vec<Note> = says.into_iter().filter_map(note).collect();
        notes.sort_by_key(|note| (note.place.line, note.place.column));
        notes.dedup();
        notes
    }
}

/// Whether a warning says that something does nothing.
fn is_idle(message: &str) -> bool {
    message.contains(" has no effect: ")
}

fn line_of<'l>(problem: &Diagnostic, lines: &'l [Line], above: usize) -> Option<&'l Line> {
    if problem.file != Path::new(RESULT) {
        return None;
    }
    let line = usize::try_from(problem.line).ok()?.checked_sub(above + 1)?;
    lines.get(line)
}

/// The words of a problem, without the index of the endpoint above which they stand.
fn said(problem: &Diagnostic) -> String {
    let message = match problem.message.split_once("remote_write[") {
        Some((before, rest)) => match rest.split_once("].") {
            Some((index, after)) if index.bytes().all(|byte| byte.is_ascii_digit()) => format!("{before}{after}"),
            _ => problem.message.clone(),
        },
        None => problem.message.clone(),
    };
    match &problem.hint {
        Some(hint) => format!("{message} ({hint})"),
        None => message,
    }
}
