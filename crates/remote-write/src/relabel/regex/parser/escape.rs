//! What a backslash starts.

use regex_syntax::hir::{ClassUnicode, Look};

use super::{Parser, folded};
use crate::relabel::regex::InvalidRegex;
use crate::relabel::regex::ast::Ast;
use crate::relabel::regex::class;

/// Code points that no text in UTF-8 has.
const SURROGATES: std::ops::RangeInclusive<u32> = 0xd800..=0xdfff;

impl Parser<'_> {
    /// Takes an escape outside of a set.
    pub(super) fn escape(&mut self) -> Result<(), InvalidRegex> {
        let start = self.at;
        if self.take(r"\Q") {
            return self.quoted(start);
        }
        for (escape, look) in
            [(r"\A", Look::Start), (r"\b", Look::WordAscii), (r"\B", Look::WordAsciiNegate), (r"\z", Look::End)]
        {
            if self.take(escape) {
                self.push(Ast::Look(look));
                return Ok(());
            }
        }
        let ast = match self.class_escape()? {
            Some(set) => Ast::Class(set),
            None => match char::from_u32(self.character_escape()?) {
                Some(literal) => self.literal(literal),
                None => Ast::Class(ClassUnicode::empty()),
            },
        };
        self.push(ast);
        Ok(())
    }

    /// `\Q…\E`. Prometheus appends its anchor, so that a quotation without an end would quote that too.
    fn quoted(&mut self, start: usize) -> Result<(), InvalidRegex> {
        let Some((quoted, after)) = self.rest().split_once(r"\E") else {
            return Err(self.invalid(start, r"\Q without \E"));
        };
        self.at = self.text.len() - after.len();
        for literal in quoted.chars() {
            let ast = self.literal(literal);
            self.push(ast);
        }
        Ok(())
    }

    /// `\d` and its like, `\pL` and `\p{Greek}`.
    pub(super) fn class_escape(&mut self) -> Result<Option<ClassUnicode>, InvalidRegex> {
        let mut letters = self.rest().chars().skip(1);
        let Some(letter) = letters.next() else { return Ok(None) };
        if matches!(letter, 'p' | 'P') {
            return self.unicode_class(letter == 'P').map(Some);
        }
        let Some(set) = class::perl(letter.to_ascii_lowercase()) else { return Ok(None) };
        self.at += 2;
        Ok(Some(self.group(set, letter.is_ascii_uppercase())))
    }

    fn unicode_class(&mut self, negated: bool) -> Result<ClassUnicode, InvalidRegex> {
        let start = self.at;
        self.at += 2;
        let name = match self.next() {
            Some('{') => {
                let Some((name, after)) = self.rest().split_once('}') else {
                    self.at = self.text.len();
                    return Err(self.invalid_from(start, "invalid character class", None));
                };
                self.at = self.text.len() - after.len();
                name
            }
            Some(letter) => self.text.get(self.at - letter.len_utf8()..self.at).unwrap_or_default(),
            None => "",
        };
        let plain = name.strip_prefix('^');
        match class::unicode(plain.unwrap_or(name)) {
            Some(set) => Ok(self.group(set, negated != plain.is_some())),
            None => Err(self.invalid_from(start, "unknown character class", Some(UNICODE_HINT))),
        }
    }

    /// A named set as the flags have it; case is folded before the set is negated.
    pub(super) fn group(&self, set: ClassUnicode, negated: bool) -> ClassUnicode {
        let mut set = if self.flags.fold { folded(set) } else { set };
        if negated {
            set.negate();
        }
        set
    }

    /// The code point behind an escape, which may be a surrogate.
    pub(super) fn character_escape(&mut self) -> Result<u32, InvalidRegex> {
        let start = self.at;
        self.at += 1;
        let code = match self.next() {
            None => return Err(self.invalid(start, "trailing backslash")),
            Some(digit @ '1'..='7') if !self.rest().starts_with(|next: char| next.is_digit(8)) => {
                self.at = start + 1 + digit.len_utf8();
                return Err(self.invalid_from(start, "invalid escape sequence", Some("Go has no backreferences")));
            }
            Some(digit @ '0'..='7') => Some(self.octal(digit)),
            Some('x') => self.hexadecimal(),
            Some('a') => Some(0x07),
            Some('f') => Some(0x0c),
            Some('n') => Some(0x0a),
            Some('r') => Some(0x0d),
            Some('t') => Some(0x09),
            Some('v') => Some(0x0b),
            Some(mark) if mark.is_ascii() && !mark.is_ascii_alphanumeric() => Some(u32::from(mark)),
            Some(_) => None,
        };
        code.ok_or_else(|| self.invalid_from(start, "invalid escape sequence", None))
    }

    /// Up to three octal digits, the first of which is `first`.
    fn octal(&mut self, first: char) -> u32 {
        let mut code = first.to_digit(8).unwrap_or_default();
        for _second_and_third in 0..2 {
            let Some(digit) = self.peek().and_then(|next| next.to_digit(8)) else { break };
            self.at += 1;
            code = code * 8 + digit;
        }
        code
    }

    /// What follows `\x`: two digits, or any number of them in braces.
    fn hexadecimal(&mut self) -> Option<u32> {
        let first = self.next()?;
        if first != '{' {
            return Some(first.to_digit(16)? * 16 + self.next()?.to_digit(16)?);
        }
        let mut code = self.next()?.to_digit(16)?;
        loop {
            match self.next()? {
                '}' => return Some(code),
                digit => code = code * 16 + digit.to_digit(16)?,
            }
            if code > u32::from(char::MAX) {
                return None;
            }
        }
    }
}

const UNICODE_HINT: &str = "Go knows general categories and scripts by their names, such as Lu, Letter and Greek";

/// The characters from `start` to `end`, if there are any: surrogates are none.
pub(super) fn characters(start: u32, end: u32) -> Option<(char, char)> {
    let start = if SURROGATES.contains(&start) { SURROGATES.end() + 1 } else { start };
    let end = if SURROGATES.contains(&end) { SURROGATES.start() - 1 } else { end };
    let (start, end) = (char::from_u32(start)?, char::from_u32(end)?);
    (start <= end).then_some((start, end))
}
