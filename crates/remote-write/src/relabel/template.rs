//! Replacement templates, expanded as Go's `Regexp.ExpandString` does: `$1`, `${1}`, `$name`, `${name}` and `$$`.

use super::regex::{Regex, Spans};

/// A template whose groups have been looked up in their expression.
#[derive(Clone, Debug, Default)]
pub(super) struct Template(Vec<Piece>);

#[derive(Clone, Debug)]
enum Piece {
    Text(String),
    /// The first of these groups that took part.
    Groups(Vec<usize>),
}

impl Template {
    /// Reads `text`; a dollar sign that starts no variable stands for itself.
    pub(super) fn new(text: &str, regex: &Regex) -> Self {
        let mut pieces = Vec::new();
        let mut literal = String::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('$') {
            literal.push_str(before);
            if let Some((name, behind)) = variable(after) {
                put_text(&mut pieces, &mut literal);
                pieces.push(Piece::Groups(groups(name, regex)));
                rest = behind;
            } else {
                literal.push('$');
                rest = after.strip_prefix('$').unwrap_or(after);
            }
        }
        literal.push_str(rest);
        put_text(&mut pieces, &mut literal);
        Self(pieces)
    }

    /// Replaces what `out` holds by the template with what the groups took part with. False: that is more than `most` bytes.
    pub(super) fn expand(&self, spans: &Spans<'_>, most: usize, out: &mut String) -> bool {
        out.clear();
        for piece in &self.0 {
            if out.len() > most {
                return false;
            }
            match piece {
                Piece::Text(text) => out.push_str(text),
                Piece::Groups(groups) => {
                    out.push_str(groups.iter().find_map(|&group| spans.group(group)).unwrap_or_default());
                }
            }
        }
        out.len() <= most
    }
}

fn put_text(pieces: &mut Vec<Piece>, literal: &mut String) {
    if !literal.is_empty() {
        pieces.push(Piece::Text(std::mem::take(literal)));
    }
}

/// The groups that a variable names. A number of more than eight digits or with a leading zero is a name.
fn groups(name: &str, regex: &Regex) -> Vec<usize> {
    let numeric = name.bytes().all(|byte| byte.is_ascii_digit()) && (name == "0" || !name.starts_with('0'));
    match name.parse() {
        Ok(number) if numeric && name.len() < 10 => {
            (number <= regex.group_count()).then_some(number).into_iter().collect()
        }
        _ => regex.groups_named(name).collect(),
    }
}

/// The name that `text`, which follows a dollar sign, starts with, and what is behind it.
fn variable(text: &str) -> Option<(&str, &str)> {
    let inner = text.strip_prefix('{');
    let named = inner.unwrap_or(text);
    let end = named.find(|letter| !is_word(letter)).unwrap_or(named.len());
    let (name, behind) = named.split_at_checked(end).filter(|(name, _)| !name.is_empty())?;
    let behind = if inner.is_some() { behind.strip_prefix('}')? } else { behind };
    Some((name, behind))
}

/// A letter, a decimal digit or an underscore.
fn is_word(letter: char) -> bool {
    if letter.is_ascii() {
        return letter.is_ascii_alphanumeric() || letter == '_';
    }
    super::regex::is_letter_or_digit(letter)
}
