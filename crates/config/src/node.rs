//! YAML as it is written: every value with its place, scalars as their text, nothing interpreted.
//!
//! Reading into this shape first, instead of into typed structs, is what lets one run report every problem.

use std::fmt;
use std::path::Path;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_saphyr::budget::BudgetBreach;
use serde_saphyr::{Location, MessageFormatter, NonFiniteFloatPolicy, Spanned, UserMessageFormatter};

use crate::problem::Diagnostic;

/// A value and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Where it stands.
    pub place: Place,
    /// What it says.
    pub value: Value,
}

/// What a YAML node can be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// Nothing, `~` or `null`; everywhere the same as leaving the key out.
    Null,
    /// Any scalar, as written, without quotes.
    Text(String),
    /// Items, in the order written.
    List(Vec<Node>),
    /// Entries, in the order written; no key twice.
    Map(Vec<(Node, Node)>),
}

/// A position in a file, both from 1; 0 is the file as a whole.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// From 1.
    pub line: u64,
    /// From 1, in characters.
    pub column: u64,
}

impl Node {
    /// What a file says that does not exist.
    pub const EMPTY: Self = Self { place: Place { line: 0, column: 0 }, value: Value::Null };

    /// Parses one YAML document, of which JSON is one. Depth, aliases and size are bounded, so that a small file cannot become a
    /// large value.
    ///
    /// # Errors
    /// If it is no YAML, holds a key twice, or goes beyond the bounds; the remark names `file`.
    pub fn parse(text: &str, file: &Path) -> Result<Self, Box<Diagnostic>> {
        let budget = serde_saphyr::budget! {
            max_depth: 32,
            max_nodes: 250_000,
            max_events: 1_000_000,
            max_aliases: 1_000,
            max_documents: 1,
        };
        // Comments are not looked at, however many there are.
        let options = serde_saphyr::options! {
            budget: budget,
            emit_comments: false,
            with_snippet: false,
            non_finite_float_policy: NonFiniteFloatPolicy::PassThrough,
        };
        match serde_saphyr::from_str_with_options::<Spanned<Raw>>(text, options) {
            Ok(raw) => Ok(place(raw, text)),
            Err(error) => {
                let at = error.location();
                Err(Box::new(Diagnostic {
                    file: file.to_owned(),
                    line: at.map_or(0, |at| at.line()),
                    column: at.map_or(0, |at| at.column()),
                    message: parser_message(&error),
                    hint: None,
                }))
            }
        }
    }

    /// The scalar's text.
    #[must_use]
    pub fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Text(text) => Some(text),
            Value::Null | Value::List(_) | Value::Map(_) => None,
        }
    }

    /// Whether the value says nothing, or only what is the case anyhow for a feature that is off.
    pub(crate) fn is_neutral(&self) -> bool {
        match &self.value {
            Value::Null => true,
            Value::Text(text) => matches!(text.as_str(), "" | "false" | "no" | "off" | "0" | "0s" | "none"),
            Value::List(items) => items.is_empty(),
            Value::Map(entries) => entries.iter().all(|(_, value)| value.is_neutral()),
        }
    }

    /// What the value is, for "expected …, found …".
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match &self.value {
            Value::Null => "nothing",
            Value::Text(_) => "a single value",
            Value::List(_) => "a list",
            Value::Map(_) => "a mapping",
        }
    }
}

/// What is wrong, for people who do not know the parser.
fn parser_message(error: &serde_saphyr::Error) -> String {
    match error {
        serde_saphyr::Error::DuplicateMappingKey { key: Some(key), .. } => format!("the key `{key}` is written twice"),
        serde_saphyr::Error::Budget { breach: BudgetBreach::Documents { .. }, .. } => {
            "expected one YAML document, found another `---`".to_owned()
        }
        serde_saphyr::Error::Budget { .. } => "the file is too large, too deep or repeats aliases too often".to_owned(),
        serde_saphyr::Error::AliasError { error, .. } => parser_message(error),
        error => UserMessageFormatter.format_message(error).replace(char::is_control, " "),
    }
}

fn place(raw: Spanned<Raw>, source: &str) -> Node {
    let value = match raw.value {
        Raw::Null => Value::Null,
        Raw::Text(text) => Value::Text(text),
        Raw::Typed(text) => Value::Text(as_written(raw.defined, source).map_or(text, str::to_owned)),
        Raw::List(items) => Value::List(items.into_iter().map(|item| place(item, source)).collect()),
        Raw::Map(entries) => {
            Value::Map(entries.into_iter().map(|(key, value)| (place(key, source), place(value, source))).collect())
        }
    };
    Node { place: Place { line: raw.referenced.line(), column: raw.referenced.column() }, value }
}

/// The text behind a scalar that the parser took for a number or a boolean: a password `0123` keeps its zero.
fn as_written(location: Location, source: &str) -> Option<&str> {
    let start = usize::try_from(location.span().byte_offset()?).ok()?;
    let len = usize::try_from(location.span().byte_len()?).ok()?;
    source.get(start..start.checked_add(len)?).map(str::trim).filter(|text| !text.is_empty())
}

/// What the parser hands over.
enum Raw {
    Null,
    Text(String),
    /// A number or a boolean, printed back; only a fallback for the source text.
    Typed(String),
    List(Vec<Spanned<Self>>),
    Map(Vec<(Spanned<Self>, Spanned<Self>)>),
}

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(RawVisitor)
    }
}

struct RawVisitor;

impl<'de> Visitor<'de> for RawVisitor {
    type Value = Raw;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a YAML value")
    }

    fn visit_unit<E: Error>(self) -> Result<Raw, E> {
        Ok(Raw::Null)
    }

    fn visit_none<E: Error>(self) -> Result<Raw, E> {
        Ok(Raw::Null)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Raw, E> {
        Ok(Raw::Text(text.to_owned()))
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Raw, E> {
        Ok(Raw::Typed(value.to_string()))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Raw, E> {
        Ok(Raw::Typed(value.to_string()))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Raw, E> {
        Ok(Raw::Typed(value.to_string()))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Raw, E> {
        Ok(Raw::Typed(value.to_string()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Raw, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element()? {
            items.push(item);
        }
        Ok(Raw::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Raw, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = map.next_entry()? {
            entries.push(entry);
        }
        Ok(Raw::Map(entries))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Node {
        Node::parse(text, Path::new("f.yml")).unwrap()
    }

    fn show(node: &Node) -> String {
        match &node.value {
            Value::Null => "~".to_owned(),
            Value::Text(text) => format!("{text:?}@{}:{}", node.place.line, node.place.column),
            Value::List(items) => format!("[{}]", items.iter().map(show).collect::<Vec<_>>().join(" ")),
            Value::Map(entries) => {
                let entries: Vec<_> = entries.iter().map(|(key, value)| show(key) + "=" + &show(value)).collect();
                format!("{{{}}}", entries.join(" "))
            }
        }
    }

    #[test]
    fn scalars_keep_their_text_whatever_yaml_takes_them_for() {
        for (yaml, expected) in [
            ("0123", "0123"),
            ("no", "no"),
            ("1e3", "1e3"),
            ("'null'", "null"),
            ("-0.50", "-0.50"),
            ("0x1F", "0x1F"),
            ("TRUE", "TRUE"),
            ("\"a\\tb\"", "a\tb"),
            (".inf", ".inf"),
            ("12345678901234567890123", "12345678901234567890123"),
        ] {
            assert_eq!(parse(yaml).text(), Some(expected), "{yaml}");
            let nested = parse(&format!("é: [x, {yaml} ]  # ü\n"));
            assert!(show(&nested).contains(&format!("{expected:?}")), "{yaml}: {}", show(&nested));
        }
    }

    #[test]
    fn comments_may_be_as_many_as_there_are_lines() {
        let comments = |indent: &str| format!("{indent}# one\n").repeat(200);
        for text in [
            format!("a:\n{}", comments("  ")),
            format!("a:\n{}{}", comments("  "), comments("")),
            format!("{}a:\n{}  - b\n{}c: d\n", comments(""), comments("  "), comments("    ")),
        ] {
            assert!(matches!(parse(&text).value, Value::Map(_)), "{text}");
        }
    }

    #[test]
    fn places_and_nulls_are_kept_and_merge_keys_work() {
        assert_eq!(show(&parse("")), "~");
        assert_eq!(show(&parse("a:\n  - b: 1\nc:\n")), r#"{"a"@1:1=[{"b"@2:5="1"@2:8}] "c"@3:1=~}"#);
        let merged = show(&parse("x: &x {a: 010, b: 2}\ny:\n  <<: *x\n  b: 3\n"));
        assert!(merged.contains(r#""a""#) && merged.contains(r#""010""#), "{merged}");
    }
}
