//! YAML that is being made: values with the place they came from and what is to say about them. Block style; comments stand
//! above what they are about, within 80 columns.

use writegate_config::{Node, Place, Value as NodeValue};

use crate::{Weight, plain};

/// As wide as comments become.
const WIDTH: usize = 80;

/// A key with its value, or an item of a list.
#[derive(Clone, Debug)]
pub(crate) struct Part {
    /// Empty for an item.
    pub(crate) key: String,
    pub(crate) value: Value,
    /// Where it comes from; line 0: nowhere.
    pub(crate) place: Place,
    pub(crate) says: Vec<Say>,
    /// It stands there as a comment.
    pub(crate) is_off: bool,
}

#[derive(Clone, Debug)]
pub(crate) enum Value {
    Text(String),
    Flow(Vec<String>),
    List(Vec<Part>),
    Map(Vec<Part>),
}

/// A comment; with a weight it is a note, too.
#[derive(Clone, Debug)]
pub(crate) struct Say {
    pub(crate) weight: Option<Weight>,
    pub(crate) place: Place,
    pub(crate) text: String,
}

impl Say {
    /// As the result says it.
    pub(crate) fn text(&self) -> String {
        let mark = if self.weight == Some(Weight::Missing) { "NOT CARRIED OVER: " } else { "" };
        format!("{mark}{}", self.text)
    }
}

impl Part {
    pub(crate) fn new(key: &str, value: Value) -> Self {
        Self { key: key.to_owned(), value, place: Place::default(), says: Vec::new(), is_off: false }
    }

    pub(crate) fn text(key: &str, value: impl Into<String>) -> Self {
        Self::new(key, Value::Text(value.into()))
    }

    pub(crate) fn map(key: &str, parts: Vec<Self>) -> Self {
        Self::new(key, Value::Map(parts))
    }

    pub(crate) fn list(key: &str, items: Vec<Self>) -> Self {
        Self::new(key, Value::List(items))
    }

    pub(crate) fn item(parts: Vec<Self>) -> Self {
        Self::map("", parts)
    }

    pub(crate) fn at(mut self, place: Place) -> Self {
        self.place = place;
        self
    }

    /// A comment that is no note.
    pub(crate) fn aside(mut self, text: &str) -> Self {
        self.says.push(Say { weight: None, place: self.place, text: text.to_owned() });
        self
    }

    pub(crate) fn say(&mut self, weight: Weight, place: Place, text: impl Into<String>) {
        self.says.push(Say { weight: Some(weight), place, text: text.into() });
    }

    /// What a node says, under `key`. Scalars are texts as they were written.
    pub(crate) fn of(key: &str, node: &Node) -> Self {
        let value = match &node.value {
            NodeValue::Null => Value::Map(Vec::new()),
            NodeValue::Text(text) => Value::Text(text.clone()),
            NodeValue::List(items) => {
                let texts: Option<Vec<String>> = items.iter().map(|item| item.text().map(str::to_owned)).collect();
                match texts {
                    Some(texts) => Value::Flow(texts),
                    None => Value::List(items.iter().map(|item| Self::of("", item)).collect()),
                }
            }
            NodeValue::Map(entries) => Value::Map(entries.iter().map(|(key, value)| Self::entry(key, value)).collect()),
        };
        Self::new(key, value).at(node.place)
    }

    fn entry(key: &Node, value: &Node) -> Self {
        Self::of(key.text().unwrap_or_default(), value).at(key.place)
    }

    pub(crate) fn children(&self) -> &[Self] {
        match &self.value {
            Value::List(parts) | Value::Map(parts) => parts,
            Value::Text(_) | Value::Flow(_) => &[],
        }
    }

    pub(crate) fn children_mut(&mut self) -> &mut [Self] {
        match &mut self.value {
            Value::List(parts) | Value::Map(parts) => parts,
            Value::Text(_) | Value::Flow(_) => &mut [],
        }
    }

    /// The child of that key.
    pub(crate) fn get(&self, key: &str) -> Option<&Self> {
        self.children().iter().find(|part| part.key == key)
    }

    pub(crate) fn get_text(&self, key: &str) -> Option<&str> {
        match &self.get(key)?.value {
            Value::Text(text) => Some(text),
            Value::Flow(_) | Value::List(_) | Value::Map(_) => None,
        }
    }

    /// Adds a child to a mapping.
    pub(crate) fn push(&mut self, part: Self) {
        if let Value::Map(parts) | Value::List(parts) = &mut self.value {
            parts.push(part);
        }
    }

    /// Adds a child to a mapping, behind its first.
    pub(crate) fn insert_second(&mut self, part: Self) {
        if let Value::Map(parts) = &mut self.value {
            parts.insert(parts.len().min(1), part);
        }
    }

    /// It and everything below.
    pub(crate) fn visit(&self, each: &mut impl FnMut(&Self)) {
        each(self);
        self.children().iter().for_each(|child| child.visit(each));
    }

    pub(crate) fn visit_mut(&mut self, each: &mut impl FnMut(&mut Self)) {
        each(self);
        self.children_mut().iter_mut().for_each(|child| child.visit_mut(each));
    }
}

/// A line of the result, and the indices that lead to the part it is of.
#[derive(Clone, Debug)]
pub(crate) struct Line {
    pub(crate) text: String,
    pub(crate) path: Vec<usize>,
}

/// The parts of the document, one below the other.
pub(crate) fn render(parts: &[Part]) -> Vec<Line> {
    let mut out = Writer { lines: Vec::new(), path: Vec::new(), off: None };
    for (index, part) in parts.iter().enumerate() {
        out.child(index, part, 0, "");
    }
    out.lines
}

struct Writer {
    lines: Vec<Line>,
    path: Vec<usize>,
    /// Where the outermost part around that is off begins.
    off: Option<usize>,
}

impl Writer {
    fn child(&mut self, index: usize, part: &Part, indent: usize, dash: &str) {
        self.path.push(index);
        for say in &part.says {
            comment(&say.text(), indent).iter().for_each(|text| self.line(text));
        }
        let around = self.off;
        self.off = around.or_else(|| part.is_off.then_some(indent));
        let start = format!("{:indent$}{dash}", "");
        match &part.value {
            Value::Text(text) => self.line(&format!("{start}{}{}", key(part), scalar(text, false))),
            Value::Flow(items) => {
                let items: Vec<String> = items.iter().map(|item| scalar(item, true)).collect();
                self.line(&format!("{start}{}[{}]", key(part), items.join(", ")));
            }
            Value::List(items) => {
                self.line(format!("{start}{}", key(part)).trim_end());
                for (index, item) in items.iter().enumerate() {
                    self.child(index, item, indent + 2, "- ");
                }
            }
            Value::Map(parts) if part.key.is_empty() => self.item(parts, indent, dash),
            Value::Map(parts) => {
                self.line(format!("{start}{}", key(part)).trim_end());
                for (index, part) in parts.iter().enumerate() {
                    self.child(index, part, indent + 2, "");
                }
            }
        }
        self.off = around;
        self.path.pop();
    }

    /// A mapping that is an item: its first key stands beside the dash, unless there is something to say about it.
    fn item(&mut self, parts: &[Part], indent: usize, dash: &str) {
        let is_bare = parts.first().is_none_or(|first| !first.says.is_empty() || first.is_off);
        if is_bare {
            self.line(format!("{:indent$}{dash}", "").trim_end());
        }
        for (index, part) in parts.iter().enumerate() {
            if index == 0 && !is_bare {
                // `- key:`, whose value is indented as those of the keys below.
                self.first(part, indent, dash);
            } else {
                self.child(index, part, indent + 2, "");
            }
        }
    }

    fn first(&mut self, part: &Part, indent: usize, dash: &str) {
        let from = self.lines.len();
        self.child(0, part, indent + 2, "");
        // The blanks below the dash; what is off has its mark before them.
        let start = indent + if self.off.is_some() { 2 } else { 0 };
        if let Some(line) = self.lines.get_mut(from)
            && line.text.get(start..start + dash.len()).is_some_and(|blanks| blanks.trim().is_empty())
        {
            line.text.replace_range(start..start + dash.len(), dash);
        }
    }

    fn line(&mut self, text: &str) {
        let off = self.off.and_then(|at| Some(format!("{}# {}", text.get(..at)?, text.get(at..)?)));
        self.lines.push(Line { text: off.unwrap_or_else(|| text.to_owned()), path: self.path.clone() });
    }
}

fn key(part: &Part) -> String {
    if part.key.is_empty() { String::new() } else { format!("{}: ", scalar(&part.key, true)) }
}

/// Lines of a comment, each with its `#`. A text that has lines of its own keeps them.
pub(crate) fn comment(text: &str, indent: usize) -> Vec<String> {
    let width = WIDTH.saturating_sub(indent + 2);
    text.lines()
        .flat_map(|line| wrap(line, width))
        .map(|line| format!("{:indent$}# {line}", "").trim_end().to_owned())
        .collect()
}

/// Lines broken between words; a word that is longer has a line of its own. What is indented stays as it is.
fn wrap(text: &str, width: usize) -> Vec<String> {
    let text = plain(text);
    if text.starts_with(' ') || text.is_empty() {
        return vec![text];
    }
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

/// A scalar that reads back as this text: plain where nobody could take it for anything else, else in JSON's quotes, which
/// YAML reads the same.
fn scalar(text: &str, in_flow: bool) -> String {
    let is_word =
        |c: char| c.is_ascii_alphanumeric() || "_./:@+-=%&?~".contains(c) || (!in_flow && "(){}*, ".contains(c));
    let first = text
        .chars()
        .next()
        .is_some_and(|c| c.is_ascii_alphanumeric() || c == '/' || c == '_' || (c == '.' && text.len() > 1));
    let is_plain = first
        && text.chars().all(is_word)
        && !text.ends_with([':', ' '])
        && !text.contains(": ")
        && !(in_flow && text.contains(':') && text.ends_with(':'))
        && !matches!(text.to_ascii_lowercase().as_str(), "null" | ".nan" | ".inf");
    if is_plain {
        return text.to_owned();
    }
    // JSON leaves these as they are; YAML takes them for a break, or for nothing that can be printed.
    let json = serde_json::Value::String(text.to_owned()).to_string();
    json.chars().fold(String::new(), |mut out, c| {
        match c {
            '\u{7f}'..='\u{a0}' | '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}' => {
                out.push_str(&format!("\\u{:04x}", u32::from(c)));
            }
            c => out.push(c),
        }
        out
    })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use proptest::prelude::*;

    use super::*;

    fn text_of(parts: &[Part]) -> String {
        render(parts).iter().map(|line| format!("{}\n", line.text)).collect()
    }

    proptest! {
        #[test]
        fn any_text_reads_back_as_itself_as_a_key_as_a_value_and_in_a_list(texts in prop::collection::vec(".{0,12}", 3)) {
            let (name, value) = (format!("k{}", texts[0]), &texts[1]);
            let item = Part::item(vec![Part::text(&name, value.clone()), Part::new("flow", Value::Flow(texts.clone()))]);
            let yaml = text_of(&[Part::list("list", vec![item])]);
            let node = Node::parse(&yaml, Path::new("x")).unwrap_or_else(|error| panic!("{error}\n{yaml}"));
            let again = Part::of("", &node);
            let item = &again.get("list").unwrap().children()[0];
            prop_assert_eq!(item.get_text(&name), Some(value.as_str()), "{}", yaml);
            prop_assert!(matches!(&item.get("flow").unwrap().value, Value::Flow(read) if *read == texts), "{}", yaml);
        }
    }

    #[test]
    fn what_is_off_is_a_comment_and_the_rest_is_still_yaml() {
        let mut gone = Part::item(vec![
            Part::text("url", "http://a"),
            Part::map("queue_config", vec![Part::text("capacity", "1")]),
        ]);
        gone.is_off = true;
        gone.say(Weight::Missing, Place::default(), "it is gone");
        let kept = Part::item(vec![Part::text("url", "http://b")]).aside("kept");
        let yaml = text_of(&[Part::list("remote_write", vec![gone, kept])]);
        let expected = "remote_write:\n  # NOT CARRIED OVER: it is gone\n  # - url: http://a\n  #   queue_config:\n  #     capacity: 1\n  # kept\n  - url: http://b\n";
        assert_eq!(yaml, expected);
    }
}
