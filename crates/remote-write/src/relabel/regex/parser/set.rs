//! Sets in brackets. There are no set operations in Go: `&&`, `--`, `~~` and an inner `[` are characters.

use regex_syntax::hir::ClassUnicode;

use super::escape::characters;
use super::{Parser, folded};
use crate::relabel::regex::InvalidRegex;
use crate::relabel::regex::ast::Ast;
use crate::relabel::regex::class;

impl Parser<'_> {
    /// Takes a set from its bracket on.
    pub(super) fn set(&mut self) -> Result<Ast, InvalidRegex> {
        let start = self.at;
        self.at += 1;
        let negated = self.take("^");
        let mut ranges = Vec::new();
        let mut first = true;
        // A bracket that would close an empty set is a character.
        while first || !self.rest().starts_with(']') {
            first = false;
            let part = match self.set_of_name()? {
                Some(named) => named,
                None => self.set_range(start)?,
            };
            ranges.extend_from_slice(part.ranges());
        }
        self.at += 1;
        let mut set = ClassUnicode::new(ranges);
        if negated {
            set.negate();
        }
        Ok(Ast::Class(set))
    }

    /// `[:alpha:]`, `\d` or `\p{Greek}`, if one is next.
    fn set_of_name(&mut self) -> Result<Option<ClassUnicode>, InvalidRegex> {
        if self.rest().starts_with('\\') {
            return self.class_escape();
        }
        let Some(rest) = self.rest().strip_prefix("[:") else { return Ok(None) };
        // Without an end the bracket is a character.
        let Some((name, _)) = rest.split_once(":]") else { return Ok(None) };
        let start = self.at;
        self.at += name.len() + "[::]".len();
        let plain = name.strip_prefix('^');
        match class::posix(plain.unwrap_or(name)) {
            Some(set) => Ok(Some(self.group(set, plain.is_some()))),
            None => Err(self.invalid_from(start, "unknown character class", None)),
        }
    }

    /// A character or a range.
    fn set_range(&mut self, set_start: usize) -> Result<ClassUnicode, InvalidRegex> {
        let start = self.at;
        let low = self.set_character(set_start)?;
        let rest = self.rest();
        let mut high = low;
        if rest.len() > 1 && rest.starts_with('-') && !rest.starts_with("-]") {
            self.at += 1;
            high = self.set_character(set_start)?;
            if high < low {
                return Err(self.invalid_from(start, "invalid character range", None));
            }
        }
        let set: Vec<_> = characters(low, high).into_iter().collect();
        let set = class::of(&set);
        Ok(if self.flags.fold { folded(set) } else { set })
    }

    fn set_character(&mut self, set_start: usize) -> Result<u32, InvalidRegex> {
        if self.rest().starts_with('\\') {
            return self.character_escape();
        }
        self.next().map(u32::from).ok_or_else(|| self.invalid(set_start, "missing ] for the set opened"))
    }
}
