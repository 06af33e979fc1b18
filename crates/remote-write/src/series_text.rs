//! Series as people write them: `name{label="value"}`, with the quoted names of Prometheus 3. Reads what is typed, writes
//! what is read back, and describes any series in bounded length for messages.

use crate::model::Label;

/// The label that holds the metric's name.
const NAME: &str = "__name__";
/// A series is described in at most this many bytes.
const MAX_SERIES_TEXT: usize = 512;
/// So much of it is for punctuation and for the marks where something is left out.
const MARKS: usize = 32;

/// A text is no series.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("series: column {column}: expected {expected}, found {found}")]
pub struct InvalidSeries {
    /// From 1, in characters.
    pub column: usize,
    /// What could have stood there.
    pub expected: &'static str,
    /// What stands there.
    pub found: String,
}

/// Reads a series: `up{job="x"}`, `{__name__="up", job="x"}` or `{"utf8.name", "a.b"="c"}`, with strings in any of the
/// quotes of `PromQL`. The labels come in the order of their names; one with an empty value is none.
///
/// # Errors
/// At the first thing that is not as in `PromQL`, and at a label that was there before.
pub fn parse(text: &str) -> Result<Vec<(String, String)>, InvalidSeries> {
    let mut parser = Parser { text, at: 0, selects: false, labels: Vec::new() };
    parser.series()?;
    let mut labels: Vec<(String, String)> =
        parser.labels.into_iter().map(|Matcher { name, value, .. }| (name, value)).collect();
    labels.retain(|(_, value)| !value.is_empty());
    labels.sort_unstable();
    Ok(labels)
}

/// How a label is compared with what is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Comparison {
    Equal,
    NotEqual,
    Matches,
    MatchesNot,
}

/// What a text says of a label.
pub(crate) struct Matcher {
    pub(crate) name: String,
    pub(crate) comparison: Comparison,
    pub(crate) value: String,
}

/// Reads the matchers of a selector, which may name a label several times.
pub(crate) fn matchers(text: &str) -> Result<Vec<Matcher>, InvalidSeries> {
    let mut parser = Parser { text, at: 0, selects: true, labels: Vec::new() };
    parser.series()?;
    Ok(parser.labels)
}

/// Writes a series so that [`parse`] reads the same labels. Names are quoted only where they must be.
pub fn format(labels: &[(String, String)]) -> String {
    let mut text = String::new();
    let name = labels.iter().find(|(name, _)| name == NAME).map(|(_, value)| value.as_str());
    let mut items = Vec::new();
    match name {
        Some(name) if is_plain(name, true) => text.push_str(name),
        Some(name) => items.push(quoted(name)),
        None => {}
    }
    for (name, value) in labels.iter().filter(|(name, _)| name != NAME) {
        let name = if is_plain(name, false) { name.clone() } else { quoted(name) };
        items.push(format!("{name}={}", quoted(value)));
    }
    if text.is_empty() || !items.is_empty() {
        text.push('{');
        text.push_str(&items.join(", "));
        text.push('}');
    }
    text
}

/// Describes a series as `name{label="value"}` in at most 512 bytes, whatever its labels are: invalid bytes are replaced,
/// long texts cut.
pub fn describe(labels: &[Label<'_>]) -> String {
    let mut text = String::new();
    let is_name = |label: &&Label<'_>| label.name == NAME.as_bytes();
    let end = MAX_SERIES_TEXT - MARKS;
    push_escaped(&mut text, labels.iter().find(is_name).map_or(&[], |label| label.value), end);
    text.push('{');
    for (index, label) in labels.iter().filter(|label| !is_name(label)).enumerate() {
        if index > 0 {
            text.push(',');
        }
        push_escaped(&mut text, label.name, end);
        text.push_str("=\"");
        push_escaped(&mut text, label.value, end);
        text.push('"');
        if text.len() >= end {
            break;
        }
    }
    text.push('}');
    text
}

/// Appends as much of `bytes` as fits into `end` bytes of text; then `…`.
pub(crate) fn push_escaped(text: &mut String, bytes: &[u8], end: usize) {
    let cut = bytes.get(..MAX_SERIES_TEXT).unwrap_or(bytes);
    for character in String::from_utf8_lossy(cut).chars() {
        let escaped = character.escape_debug();
        if text.len() + escaped.clone().map(char::len_utf8).sum::<usize>() > end {
            text.push('…');
            return;
        }
        text.extend(escaped);
    }
}

/// Whether a name needs no quotes: `[a-zA-Z_][a-zA-Z0-9_]*`, a metric's also with colons.
fn is_plain(name: &str, metric: bool) -> bool {
    !name.is_empty()
        && !name.starts_with(|first: char| first.is_ascii_digit())
        && name.chars().all(|letter| is_name_character(letter, metric))
}

const fn is_name_character(letter: char, metric: bool) -> bool {
    letter.is_ascii_alphanumeric() || letter == '_' || (metric && letter == ':')
}

fn quoted(text: &str) -> String {
    let mut quoted = String::from('"');
    for character in text.chars() {
        match character {
            '"' | '\\' => quoted.extend(['\\', character]),
            '\n' => quoted.push_str("\\n"),
            // All control characters are below U+00A0.
            control if control.is_control() => quoted.push_str(&format!("\\u{:04x}", u32::from(control))),
            plain => quoted.push(plain),
        }
    }
    quoted.push('"');
    quoted
}

struct Parser<'t> {
    text: &'t str,
    /// In bytes.
    at: usize,
    /// Whether it is a selector, and not one series.
    selects: bool,
    labels: Vec<Matcher>,
}

impl Parser<'_> {
    fn series(&mut self) -> Result<(), InvalidSeries> {
        self.skip_spaces();
        let named = self.bare_name(true);
        if let Some(name) = &named {
            self.add(0, NAME, Comparison::Equal, name)?;
        }
        self.skip_spaces();
        if self.take('{') {
            self.labels()?;
            self.skip_spaces();
        } else if named.is_none() {
            return Err(self.invalid(self.at, "a metric name or `{`"));
        }
        if self.peek().is_some() {
            return Err(self.invalid(self.at, "nothing more"));
        }
        if self.labels.is_empty() {
            return Err(self.invalid(self.at, "at least one label"));
        }
        Ok(())
    }

    /// From behind the opening brace to behind the closing one.
    fn labels(&mut self) -> Result<(), InvalidSeries> {
        loop {
            self.skip_spaces();
            if self.take('}') {
                return Ok(());
            }
            self.label()?;
            self.skip_spaces();
            if self.take('}') {
                return Ok(());
            }
            if !self.take(',') {
                return Err(self.invalid(self.at, "`,` or `}`"));
            }
        }
    }

    /// A label, or a quoted metric name.
    fn label(&mut self) -> Result<(), InvalidSeries> {
        let start = self.at;
        let (name, is_quoted) = match self.bare_name(false) {
            Some(name) => (name, false),
            None => (self.string("a label name")?, true),
        };
        if name.is_empty() {
            return Err(self.invalid(start, "a name that is not empty"));
        }
        self.skip_spaces();
        let Some(comparison) = self.comparison() else {
            let is_name = is_quoted && !self.rest().starts_with('!');
            let expected = if self.selects { "`=`, `!=`, `=~` or `!~`" } else { "`=`" };
            return if is_name {
                self.add(start, NAME, Comparison::Equal, &name)
            } else {
                Err(self.invalid(self.at, expected))
            };
        };
        self.skip_spaces();
        let value = self.string("a quoted value")?;
        self.add(start, &name, comparison, &value)
    }

    fn comparison(&mut self) -> Option<Comparison> {
        let all = [
            ("=~", Comparison::Matches),
            ("!~", Comparison::MatchesNot),
            ("!=", Comparison::NotEqual),
            ("=", Comparison::Equal),
        ];
        let known = if self.selects { &all[..] } else { &all[3..] };
        let (text, comparison) = *known.iter().find(|(text, _)| self.rest().starts_with(text))?;
        self.at += text.len();
        Some(comparison)
    }

    fn add(&mut self, start: usize, name: &str, comparison: Comparison, value: &str) -> Result<(), InvalidSeries> {
        if !self.selects && self.labels.iter().any(|known| known.name == name) {
            return Err(InvalidSeries { found: format!("{name} again"), ..self.invalid(start, "another label") });
        }
        self.labels.push(Matcher { name: name.to_owned(), comparison, value: value.to_owned() });
        Ok(())
    }

    fn rest(&self) -> &str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn next(&mut self) -> Option<char> {
        let next = self.peek()?;
        self.at += next.len_utf8();
        Some(next)
    }

    fn take(&mut self, wanted: char) -> bool {
        let found = self.peek() == Some(wanted);
        if found {
            self.at += wanted.len_utf8();
        }
        found
    }

    fn skip_spaces(&mut self) {
        self.at = self.text.len() - self.rest().trim_start_matches([' ', '\t', '\r', '\n']).len();
    }

    fn bare_name(&mut self, metric: bool) -> Option<String> {
        let rest = self.rest();
        let end = rest.find(|letter| !is_name_character(letter, metric)).unwrap_or(rest.len());
        let name = rest.get(..end).filter(|name| is_plain(name, metric))?.to_owned();
        self.at += end;
        Some(name)
    }

    /// A string in double quotes, single quotes or backticks.
    fn string(&mut self, expected: &'static str) -> Result<String, InvalidSeries> {
        let Some(quote @ ('"' | '\'' | '`')) = self.peek() else { return Err(self.invalid(self.at, expected)) };
        self.at += 1;
        // An escape may stand for a byte, several of which make a character.
        let start = self.at;
        let mut bytes = Vec::new();
        loop {
            let at = self.at;
            match self.next() {
                Some(end) if end == quote => break,
                Some('\\') if quote != '`' => self.escape(at, quote, &mut bytes)?,
                Some('\n') if quote != '`' => return Err(self.invalid(at, "the end of the string")),
                Some(plain) => bytes.extend_from_slice(plain.encode_utf8(&mut [0; 4]).as_bytes()),
                None => return Err(self.invalid(at, "the end of the string")),
            }
        }
        String::from_utf8(bytes).map_err(|_invalid| self.invalid(start, "UTF-8"))
    }

    /// What follows a backslash in a string of `PromQL`, which are Go's.
    fn escape(&mut self, at: usize, quote: char, bytes: &mut Vec<u8>) -> Result<(), InvalidSeries> {
        let byte = match self.next() {
            Some('a') => Some(0x07),
            Some('b') => Some(0x08),
            Some('f') => Some(0x0c),
            Some('n') => Some(b'\n'),
            Some('r') => Some(b'\r'),
            Some('t') => Some(b'\t'),
            Some('v') => Some(0x0b),
            Some('\\') => Some(b'\\'),
            Some(mark) if mark == quote => u8::try_from(mark).ok(),
            Some('x') => self.digits(2, 16).and_then(|code| u8::try_from(code).ok()),
            Some('0'..='7') => {
                self.at -= 1;
                self.digits(3, 8).and_then(|code| u8::try_from(code).ok())
            }
            Some(letter @ ('u' | 'U')) => {
                let code = self.digits(if letter == 'u' { 4 } else { 8 }, 16);
                let character = code.and_then(char::from_u32).ok_or_else(|| self.invalid(at, ESCAPE))?;
                bytes.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
                return Ok(());
            }
            _ => None,
        };
        bytes.push(byte.ok_or_else(|| self.invalid(at, ESCAPE))?);
        Ok(())
    }

    /// A number of exactly `count` digits.
    fn digits(&mut self, count: usize, radix: u32) -> Option<u32> {
        let digits = self.rest().get(..count).filter(|digits| !digits.starts_with('+'))?;
        let number = u32::from_str_radix(digits, radix).ok()?;
        self.at += count;
        Some(number)
    }

    fn invalid(&self, at: usize, expected: &'static str) -> InvalidSeries {
        let (before, rest) = self.text.split_at_checked(at).unwrap_or((self.text, ""));
        let found = rest.chars().next().map_or_else(|| "the end".to_owned(), |found| format!("`{found}`"));
        InvalidSeries { column: before.chars().count() + 1, expected, found }
    }
}

const ESCAPE: &str = "an escape sequence of PromQL";
