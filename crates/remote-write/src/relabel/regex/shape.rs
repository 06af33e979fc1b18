//! Recognises expressions that come down to comparing strings, as most of those in relabel rules do.

use std::collections::HashSet;

use super::ast::Ast;

/// What a whole text must be.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// `.*`
    Any,
    /// `.+`
    NonEmpty,
    /// `literal`
    Literal(String),
    /// `one|another`
    OneOf(HashSet<String>),
    /// `literal.*`
    StartsWith(String),
    /// `.*literal`
    EndsWith(String),
    /// `.*literal.*`
    Contains(String),
}

impl Shape {
    /// The shape of an expression, if it has one; whether it matches does not depend on groups and greediness.
    pub(super) fn of(ast: &Ast) -> Option<Self> {
        match ast {
            Ast::Capture { ast, .. } => return Self::of(ast),
            Ast::Alternate(items) => {
                return items.iter().map(literal).collect::<Option<HashSet<String>>>().map(Self::OneOf);
            }
            _ => {}
        }
        let mut items = Vec::new();
        flatten(ast, &mut items);
        match items.as_slice() {
            [Ast::Repeat { min: 1, max: None, ast, .. }] if **ast == Ast::Any => Some(Self::NonEmpty),
            [only] if is_dots(only) => Some(Self::Any),
            [first, middle @ .., last] if is_dots(first) && is_dots(last) => text(middle).map(Self::Contains),
            [first, rest @ ..] if is_dots(first) => text(rest).map(Self::EndsWith),
            [rest @ .., last] if is_dots(last) => text(rest).map(Self::StartsWith),
            all => text(all).map(Self::Literal),
        }
    }

    pub(super) fn is_match(&self, text: &str) -> bool {
        match self {
            Self::Any => true,
            Self::NonEmpty => !text.is_empty(),
            Self::Literal(literal) => text == literal,
            Self::OneOf(literals) => literals.contains(text),
            Self::StartsWith(literal) => text.starts_with(literal),
            Self::EndsWith(literal) => text.ends_with(literal),
            Self::Contains(literal) => text.contains(literal),
        }
    }
}

fn is_dots(ast: &Ast) -> bool {
    matches!(ast, Ast::Repeat { min: 0, max: None, ast, .. } if **ast == Ast::Any)
}

/// What follows each other in `ast`, with the groups opened.
fn flatten<'a>(ast: &'a Ast, items: &mut Vec<&'a Ast>) {
    match ast {
        Ast::Concat(inner) => inner.iter().for_each(|item| flatten(item, items)),
        Ast::Capture { ast, .. } => flatten(ast, items),
        Ast::Empty => {}
        Ast::Literal(_) | Ast::Any | Ast::Class(_) | Ast::Look(_) | Ast::Alternate(_) | Ast::Repeat { .. } => {
            items.push(ast);
        }
    }
}

fn literal(ast: &Ast) -> Option<String> {
    let mut items = Vec::new();
    flatten(ast, &mut items);
    text(&items)
}

fn text(items: &[&Ast]) -> Option<String> {
    items.iter().map(|item| if let Ast::Literal(literal) = item { Some(*literal) } else { None }).collect()
}
