//! Regular expressions in Go's (RE2) syntax, anchored as Prometheus anchors those of relabel rules: `^(?s:…)$`.
//! What the syntax means is `parser`'s; matching is `regex_automata`'s, unless the shape of the expression is so simple
//! that comparing strings is enough.

mod ast;
mod class;
mod parser;
mod shape;

use std::fmt;
use std::sync::Arc;

use regex_automata::util::primitives::NonMaxUsize;
use regex_automata::{Anchored, Input, meta};
use regex_syntax::hir::{Hir, Look};

pub(super) use self::class::is_letter_or_digit;
use self::shape::Shape;

/// The compiled form may take so many bytes: some thousand names take less, `\pL{1000}` takes more, and is refused. The time
/// for a match is in proportion to it.
const MAX_PROGRAM_BYTES: usize = 2 << 20;
/// What takes more may need a millisecond for a value of the size that is usual at most (16 KiB).
const COSTLY_BYTES: usize = 32 << 10;
/// The memory in which the lazy automaton keeps its states.
const MAX_CACHE_BYTES: usize = 1 << 20;

/// A regular expression that matches a whole text or not at all. Cheap to clone; equal when its text is.
///
/// The syntax is that of Go's `regexp` package, byte for byte: `\d \w \s \b` are ASCII, classes have no set operations,
/// `\Q…\E` quotes, a brace that starts no repetition is a literal. Matches are leftmost-first, as Perl's. Two
/// expressions that Go takes are refused: those nested deeper than 250 levels, and those that close parentheses which
/// they have not opened.
#[derive(Clone)]
pub struct Regex(Arc<Compiled>);

struct Compiled {
    text: String,
    /// The name of each group, from the first; an empty name for none.
    names: Vec<String>,
    /// Every group spans the whole text, so a match says where all of them are.
    groups_are_whole: bool,
    shape: Option<Shape>,
    /// `None` when `shape` and `groups_are_whole` answer everything.
    engine: Option<meta::Regex>,
}

/// A text is no regular expression in Go's syntax, or too large a one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct InvalidRegex {
    /// Where, in bytes from the start of the expression.
    pub offset: usize,
    /// What is wrong there.
    pub what: String,
    /// What Go would take instead.
    pub hint: Option<&'static str>,
}

impl fmt::Display for InvalidRegex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "regular expression: {} at byte {}", self.what, self.offset)?;
        self.hint.map_or(Ok(()), |hint| write!(f, "; {hint}"))
    }
}

/// Where the groups of a match are in the text.
#[derive(Debug)]
pub(crate) struct Spans<'t> {
    text: &'t str,
    /// Start and end of each group, the whole match being group 0; `None` stands for the whole text in each.
    slots: Option<Vec<Option<NonMaxUsize>>>,
}

impl<'t> Spans<'t> {
    /// What a group took part with; `None` when it took no part.
    pub(crate) fn group(&self, group: usize) -> Option<&'t str> {
        let Some(slots) = &self.slots else { return Some(self.text) };
        let start = (*slots.get(2 * group)?)?.get();
        let end = (*slots.get(2 * group + 1)?)?.get();
        self.text.get(start..end)
    }
}

impl Regex {
    /// Compiles `text`.
    ///
    /// # Errors
    /// When Go would not take it, when its program would be larger than 2 MiB, and in the two cases of [`Regex`].
    pub fn new(text: &str) -> Result<Self, InvalidRegex> {
        let parsed = parser::parse(text)?;
        let shape = Shape::of(&parsed.ast);
        let groups_are_whole = ast::outermost_groups(&parsed.ast) == parsed.names.len();
        let engine = if shape.is_some() && groups_are_whole { None } else { Some(compile(parsed.ast.into_hir())?) };
        Ok(Self(Arc::new(Compiled { text: text.to_owned(), names: parsed.names, groups_are_whole, shape, engine })))
    }

    /// The expression as it was written, without the anchors.
    pub fn as_str(&self) -> &str {
        &self.0.text
    }

    /// Whether a match may take a millisecond and more.
    pub(crate) fn is_costly(&self) -> bool {
        self.0.engine.as_ref().is_some_and(|engine| engine.memory_usage() > COSTLY_BYTES)
    }

    /// Whether the whole of `text` matches.
    pub fn is_match(&self, text: &str) -> bool {
        match (&self.0.shape, &self.0.engine) {
            (Some(shape), _) => shape.is_match(text),
            (None, Some(engine)) => engine.is_match(Input::new(text).anchored(Anchored::Yes)),
            (None, None) => false,
        }
    }

    /// The groups of the match, if `text` matches.
    pub(crate) fn captures<'t>(&self, text: &'t str) -> Option<Spans<'t>> {
        if let Some(shape) = &self.0.shape {
            if !shape.is_match(text) {
                return None;
            }
            if self.0.groups_are_whole {
                return Some(Spans { text, slots: None });
            }
        }
        let mut slots = vec![None; 2 * (self.0.names.len() + 1)];
        let engine = self.0.engine.as_ref()?;
        engine.search_slots(&Input::new(text).anchored(Anchored::Yes), &mut slots)?;
        Some(Spans { text, slots: Some(slots) })
    }

    /// How many groups there are, the whole match not counted.
    pub(crate) fn group_count(&self) -> usize {
        self.0.names.len()
    }

    /// The groups of that name, from 1; Go lets several have the same.
    pub(crate) fn groups_named(&self, name: &str) -> impl Iterator<Item = usize> {
        self.0.names.iter().enumerate().filter(move |(_, known)| *known == name).map(|(index, _)| index + 1)
    }
}

/// `(.*)`, as relabel rules have it unless it is written.
impl Default for Regex {
    fn default() -> Self {
        Self(Arc::new(Compiled {
            text: "(.*)".to_owned(),
            names: vec![String::new()],
            groups_are_whole: true,
            shape: Some(Shape::Any),
            engine: None,
        }))
    }
}

impl PartialEq for Regex {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || self.0.text == other.0.text
    }
}

impl Eq for Regex {}

impl fmt::Debug for Regex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Regex").field(&self.0.text).finish()
    }
}

fn compile(expression: Hir) -> Result<meta::Regex, InvalidRegex> {
    let anchored = Hir::concat(vec![Hir::look(Look::Start), expression, Hir::look(Look::End)]);
    let config = meta::Config::new()
        .nfa_size_limit(Some(MAX_PROGRAM_BYTES))
        .onepass_size_limit(Some(MAX_CACHE_BYTES))
        .hybrid_cache_capacity(MAX_CACHE_BYTES);
    meta::Builder::new().configure(config).build_from_hir(&anchored).map_err(|error| InvalidRegex {
        offset: 0,
        what: match error.size_limit() {
            Some(limit) => format!("its program is larger than {} MiB", limit >> 20),
            None => error.to_string(),
        },
        hint: None,
    })
}
