//! A parsed expression, and its translation for the engine.

use regex_syntax::hir::{Capture, Class, ClassUnicode, ClassUnicodeRange, Hir, Look, Repetition};

/// An expression in which flags are already applied.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Ast {
    /// Matches the empty text.
    Empty,
    /// Exactly this character.
    Literal(char),
    /// Any character, a line feed too.
    Any,
    /// One of a set; of an empty set, nothing.
    Class(ClassUnicode),
    /// A place, not a character.
    Look(Look),
    Concat(Vec<Self>),
    /// The first that matches wins.
    Alternate(Vec<Self>),
    Repeat {
        min: u32,
        max: Option<u32>,
        greedy: bool,
        ast: Box<Self>,
    },
    /// A group, counted from 1.
    Capture {
        index: u32,
        ast: Box<Self>,
    },
}

impl Ast {
    /// Recurses no deeper than the parser lets expressions nest.
    pub(super) fn into_hir(self) -> Hir {
        match self {
            Self::Empty => Hir::empty(),
            Self::Literal(literal) => Hir::literal(literal.encode_utf8(&mut [0; 4]).as_bytes()),
            Self::Any => Hir::class(Class::Unicode(any())),
            Self::Class(class) => Hir::class(Class::Unicode(class)),
            Self::Look(look) => Hir::look(look),
            Self::Concat(items) => Hir::concat(items.into_iter().map(Self::into_hir).collect()),
            Self::Alternate(items) => Hir::alternation(items.into_iter().map(Self::into_hir).collect()),
            Self::Repeat { min, max, greedy, ast } => {
                Hir::repetition(Repetition { min, max, greedy, sub: Box::new(ast.into_hir()) })
            }
            Self::Capture { index, ast } => Hir::capture(Capture { index, name: None, sub: Box::new(ast.into_hir()) }),
        }
    }
}

/// How many groups span the whole expression.
pub(super) fn outermost_groups(mut ast: &Ast) -> usize {
    let mut groups = 0;
    while let Ast::Capture { ast: inner, .. } = ast {
        groups += 1;
        ast = inner;
    }
    groups
}

/// All characters.
pub(super) fn any() -> ClassUnicode {
    ClassUnicode::new([ClassUnicodeRange::new('\0', char::MAX)])
}
