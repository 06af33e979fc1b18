//! Parses Go's syntax of regular expressions (package `regexp/syntax`, flags `Perl`, and `s` as Prometheus sets it).
//! Nesting is bounded, so that neither this nor the compiler behind it can run out of stack.

mod escape;
mod set;

use regex_syntax::hir::Look;

use super::InvalidRegex;
use super::ast::Ast;
use super::class;

/// Groups in groups and repetitions of repetitions.
const MAX_DEPTH: u32 = 250;
/// A repetition's bounds, and the product of the bounds of repetitions in each other (`regexp/syntax`, "repetitions").
const MAX_REPEAT: u32 = 1000;

/// An expression and its groups' names, empty where a group has none.
#[derive(Debug)]
pub(super) struct Parsed {
    pub(super) ast: Ast,
    pub(super) names: Vec<String>,
}

pub(super) fn parse(text: &str) -> Result<Parsed, InvalidRegex> {
    let mut parser = Parser::new(text);
    while let Some(next) = parser.peek() {
        parser.repeated = parser.token(next)?;
    }
    if let Some(opener) = parser.outer.last() {
        return Err(parser.invalid(opener.at, "missing ) for the group opened"));
    }
    let level = std::mem::take(&mut parser.level);
    Ok(Parsed { ast: parser.alternation(level)?.ast, names: parser.names })
}

/// The flags that are set in a part of an expression.
#[derive(Clone, Copy, Debug)]
struct Flags {
    /// `i`
    fold: bool,
    /// `m`: `^` and `$` also match at line feeds.
    multi_line: bool,
    /// `s`: `.` also matches a line feed.
    dot_all: bool,
    /// `U`: repetitions are lazy unless marked.
    swap_greed: bool,
}

/// A part of the expression, and what bounds on nesting need to know of it.
#[derive(Debug)]
struct Node {
    ast: Ast,
    depth: u32,
    /// The product of the bounds of repetitions in each other.
    repeats: u32,
}

impl Node {
    const fn leaf(ast: Ast) -> Self {
        Self { ast, depth: 1, repeats: 1 }
    }
}

/// What is between two parentheses.
#[derive(Debug, Default)]
struct Level {
    alternatives: Vec<Node>,
    sequence: Vec<Node>,
}

/// What the end of a group returns to.
#[derive(Debug)]
struct Opener {
    /// Where the group starts, in bytes.
    at: usize,
    level: Level,
    flags: Flags,
    capture: Option<u32>,
}

struct Parser<'t> {
    text: &'t str,
    /// The next byte.
    at: usize,
    flags: Flags,
    level: Level,
    outer: Vec<Opener>,
    names: Vec<String>,
    /// Whether the last token was a repetition.
    repeated: bool,
}

impl<'t> Parser<'t> {
    const fn new(text: &'t str) -> Self {
        let flags = Flags { fold: false, multi_line: false, dot_all: true, swap_greed: false };
        let level = Level { alternatives: Vec::new(), sequence: Vec::new() };
        Self { text, at: 0, flags, level, outer: Vec::new(), names: Vec::new(), repeated: false }
    }

    fn rest(&self) -> &'t str {
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

    /// Passes over `prefix` if it is next.
    fn take(&mut self, prefix: &str) -> bool {
        let found = self.rest().starts_with(prefix);
        if found {
            self.at += prefix.len();
        }
        found
    }

    fn invalid(&self, offset: usize, what: impl Into<String>) -> InvalidRegex {
        InvalidRegex { offset: offset.min(self.text.len()), what: what.into(), hint: None }
    }

    /// As [`Self::invalid`], about the text from `start` to here.
    fn invalid_from(&self, start: usize, what: &str, hint: Option<&'static str>) -> InvalidRegex {
        let quoted = self.text.get(start..self.at).unwrap_or_default();
        InvalidRegex { hint, ..self.invalid(start, format!("{what} `{quoted}`")) }
    }

    /// Takes the next token; returns whether it was a repetition.
    fn token(&mut self, next: char) -> Result<bool, InvalidRegex> {
        let look = |look| Ok(Ast::Look(look));
        let start = self.at;
        let ast = match next {
            '(' => return self.open().map(|()| false),
            ')' => return self.close().map(|()| false),
            '*' | '+' | '?' => return self.repetition_mark(next).map(|()| true),
            '{' => {
                if let Some((min, max)) = self.counted() {
                    self.repeat_counted(start, min, max)?;
                    return Ok(true);
                }
                self.at += 1;
                Ok(self.literal('{'))
            }
            '|' => {
                self.at += 1;
                let alternative = sequence(std::mem::take(&mut self.level.sequence));
                self.level.alternatives.push(alternative);
                return Ok(false);
            }
            '[' => self.set(),
            '\\' => return self.escape().map(|()| false),
            '^' | '$' | '.' => {
                self.at += 1;
                match (next, self.flags) {
                    ('^', Flags { multi_line: true, .. }) => look(Look::StartLF),
                    ('^', _) => look(Look::Start),
                    ('$', Flags { multi_line: true, .. }) => look(Look::EndLF),
                    ('$', _) => look(Look::End),
                    (_, Flags { dot_all: true, .. }) => Ok(Ast::Any),
                    _ => Ok(Ast::Class(class::of(&[('\0', '\t'), ('\u{b}', char::MAX)]))),
                }
            }
            literal => {
                self.at += literal.len_utf8();
                Ok(self.literal(literal))
            }
        }?;
        self.push(ast);
        Ok(false)
    }

    fn push(&mut self, ast: Ast) {
        self.level.sequence.push(Node::leaf(ast));
    }

    /// A character as the flags have it.
    fn literal(&self, literal: char) -> Ast {
        if self.flags.fold {
            let folded = folded(class::of(&[(literal, literal)]));
            if folded.ranges().len() > 1 {
                return Ast::Class(folded);
            }
        }
        Ast::Literal(literal)
    }

    fn open(&mut self) -> Result<(), InvalidRegex> {
        let start = self.at;
        let capture = if self.rest().starts_with("(?") {
            match self.name()? {
                Some(name) => Some(name),
                None => return self.flags(start),
            }
        } else {
            self.at += 1;
            Some(String::new())
        };
        let index = capture.map(|name| {
            self.names.push(name);
            self.names.len() as u32
        });
        self.enter(start, self.flags, index)
    }

    fn enter(&mut self, at: usize, flags: Flags, capture: Option<u32>) -> Result<(), InvalidRegex> {
        if self.outer.len() as u32 >= MAX_DEPTH {
            return Err(self.invalid(at, format!("groups nest deeper than {MAX_DEPTH} levels")));
        }
        let level = std::mem::take(&mut self.level);
        self.outer.push(Opener { at, level, flags: self.flags, capture });
        self.flags = flags;
        Ok(())
    }

    /// The name of `(?P<name>` or `(?<name>`; `None` when the parenthesis starts something else.
    fn name(&mut self) -> Result<Option<String>, InvalidRegex> {
        let start = self.at;
        let rest = self.rest();
        let Some(named) = rest.strip_prefix("(?P<").or_else(|| rest.strip_prefix("(?<")) else { return Ok(None) };
        let lookbehind = Some("Go has no lookbehind").filter(|_| named.starts_with(['=', '!']));
        let Some((name, _)) = named.split_once('>') else {
            self.at = self.text.len();
            return Err(self.invalid_from(start, "invalid group name in", lookbehind));
        };
        self.at += rest.len() - named.len() + name.len() + 1;
        if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
            let letters = Some("a name consists of ASCII letters, digits and underscores");
            return Err(self.invalid_from(start, "invalid group name in", lookbehind.or(letters)));
        }
        Ok(Some(name.to_owned()))
    }

    /// `(?flags)` and `(?flags:`.
    fn flags(&mut self, start: usize) -> Result<(), InvalidRegex> {
        self.at += 2;
        let mut flags = self.flags;
        let (mut value, mut seen) = (true, false);
        while let Some(next) = self.next() {
            match next {
                'i' => flags.fold = value,
                'm' => flags.multi_line = value,
                's' => flags.dot_all = value,
                'U' => flags.swap_greed = value,
                '-' if value => {
                    (value, seen) = (false, false);
                    continue;
                }
                ':' if value || seen => return self.enter(start, flags, None),
                ')' if value || seen => {
                    self.flags = flags;
                    return Ok(());
                }
                _ => break,
            }
            seen = true;
        }
        Err(self.invalid_from(start, "invalid or unsupported Perl syntax", Some(PERL_HINT)))
    }

    fn close(&mut self) -> Result<(), InvalidRegex> {
        let Some(opener) = self.outer.pop() else { return Err(self.invalid(self.at, "unexpected )")) };
        self.at += 1;
        let level = std::mem::replace(&mut self.level, opener.level);
        let mut node = self.alternation(level)?;
        if let Some(index) = opener.capture {
            node.ast = Ast::Capture { index, ast: Box::new(node.ast) };
        }
        node.depth += 1;
        self.flags = opener.flags;
        self.level.sequence.push(node);
        Ok(())
    }

    /// What a level comes down to.
    fn alternation(&self, level: Level) -> Result<Node, InvalidRegex> {
        let last = sequence(level.sequence);
        let node = if level.alternatives.is_empty() {
            last
        } else {
            let nodes: Vec<Node> = level.alternatives.into_iter().chain([last]).collect();
            gather(nodes, Ast::Alternate)
        };
        self.bounded(node)
    }

    /// Refuses a node that is too deep, before anything deeper can be made of it.
    fn bounded(&self, node: Node) -> Result<Node, InvalidRegex> {
        if node.depth > MAX_DEPTH {
            return Err(self.invalid(self.at, format!("the expression nests deeper than {MAX_DEPTH} levels")));
        }
        Ok(node)
    }

    fn repetition_mark(&mut self, mark: char) -> Result<(), InvalidRegex> {
        let start = self.at;
        self.at += 1;
        let (min, max) = match mark {
            '*' => (0, None),
            '+' => (1, None),
            _ => (0, Some(1)),
        };
        self.repeat(start, min, max, 1)
    }

    fn repeat_counted(&mut self, start: usize, min: u32, max: Option<u32>) -> Result<(), InvalidRegex> {
        let too_many = min > MAX_REPEAT || max.is_some_and(|max| max > MAX_REPEAT || max < min);
        if too_many {
            return Err(self.invalid_from(start, "invalid repeat count", Some(REPEAT_HINT)));
        }
        // What is never there counts for nothing.
        self.repeat(start, min, max, max.unwrap_or(min))
    }

    /// Repeats the last part of the sequence, `factor` being what the repetition multiplies others inside it with.
    fn repeat(&mut self, start: usize, min: u32, max: Option<u32>, factor: u32) -> Result<(), InvalidRegex> {
        let greedy = self.take("?") == self.flags.swap_greed;
        if self.repeated {
            return Err(self.invalid_from(start, "repetition of a repetition", Some(STACKED_HINT)));
        }
        let Some(node) = self.level.sequence.pop() else {
            return Err(self.invalid_from(start, "nothing to repeat before", Some(LITERAL_HINT)));
        };
        let never = max == Some(0);
        let repeats = if never { 1 } else { node.repeats.saturating_mul(factor.max(1)) };
        if (min >= 2 || max.is_some_and(|max| max >= 2)) && repeats > MAX_REPEAT {
            return Err(self.invalid_from(start, "invalid repeat count", Some(REPEAT_HINT)));
        }
        let ast = Ast::Repeat { min, max, greedy, ast: Box::new(node.ast) };
        let node = self.bounded(Node { ast, depth: node.depth + 1, repeats })?;
        self.level.sequence.push(node);
        Ok(())
    }

    /// The bounds of `{2}`, `{2,}` or `{2,3}`; without them the brace is a literal.
    fn counted(&mut self) -> Option<(u32, Option<u32>)> {
        let (bounds, after) = self.rest().strip_prefix('{')?.split_once('}')?;
        let (min, max) = bounds.split_once(',').map_or((bounds, Some(bounds)), |(min, max)| (min, Some(max)));
        let min = count(min)?;
        let max = match max {
            Some("") => None,
            Some(max) => Some(count(max)?),
            None => Some(min),
        };
        self.at = self.text.len() - after.len();
        Some((min, max))
    }
}

const PERL_HINT: &str = "Go has the flags i, m, s and U, named groups (?P<name>…), and neither lookaround nor (?x)";
const STACKED_HINT: &str = "write (?:a*)* to repeat a repetition";
const LITERAL_HINT: &str = r"write \* for the character itself";
const REPEAT_HINT: &str = "Go repeats at most 1000 times, also in a repetition of a repetition";

/// A number without leading zeros; one that is too large for any bound is a large one.
fn count(digits: &str) -> Option<u32> {
    let number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    let leading_zero = digits.len() > 1 && digits.starts_with('0');
    (number && !leading_zero).then(|| digits.parse().unwrap_or(u32::MAX))
}

fn sequence(mut nodes: Vec<Node>) -> Node {
    match nodes.pop() {
        None => Node::leaf(Ast::Empty),
        Some(only) if nodes.is_empty() => only,
        Some(last) => {
            nodes.push(last);
            gather(nodes, Ast::Concat)
        }
    }
}

fn gather(nodes: Vec<Node>, of: impl FnOnce(Vec<Ast>) -> Ast) -> Node {
    let depth = nodes.iter().map(|node| node.depth).max().unwrap_or_default() + 1;
    let repeats = nodes.iter().map(|node| node.repeats).max().unwrap_or(1);
    Node { ast: of(nodes.into_iter().map(|node| node.ast).collect()), depth, repeats }
}

/// With the characters that differ in case only (Unicode's simple folding, as in Go).
fn folded(mut class: regex_syntax::hir::ClassUnicode) -> regex_syntax::hir::ClassUnicode {
    // Fails only without the tables, which are compiled in.
    class.try_case_fold_simple().unwrap_or_default();
    class
}
