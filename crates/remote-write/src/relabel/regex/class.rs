//! Named sets of characters as Go's `regexp/syntax` defines them: Perl's and POSIX's are ASCII, `\p{…}` knows general
//! categories and scripts by their full names.

use regex_syntax::hir::{Class, ClassUnicode, ClassUnicodeRange, HirKind};

/// A set of the given ranges, both ends included.
pub(super) fn of(ranges: &[(char, char)]) -> ClassUnicode {
    ClassUnicode::new(ranges.iter().map(|&(start, end)| ClassUnicodeRange::new(start, end)))
}

const WORD: &[(char, char)] = &[('0', '9'), ('A', 'Z'), ('_', '_'), ('a', 'z')];

/// The set behind `\d`, `\s` or `\w`. Unlike `[[:space:]]`, `\s` is without the vertical tab.
pub(super) fn perl(letter: char) -> Option<ClassUnicode> {
    match letter {
        'd' => Some(of(&[('0', '9')])),
        's' => Some(of(&[('\t', '\n'), ('\u{c}', '\r'), (' ', ' ')])),
        'w' => Some(of(WORD)),
        _ => None,
    }
}

/// The set behind `[[:name:]]`.
pub(super) fn posix(name: &str) -> Option<ClassUnicode> {
    let ranges: &[(char, char)] = match name {
        "alnum" => &[('0', '9'), ('A', 'Z'), ('a', 'z')],
        "alpha" => &[('A', 'Z'), ('a', 'z')],
        "ascii" => &[('\0', '\u{7f}')],
        "blank" => &[('\t', '\t'), (' ', ' ')],
        "cntrl" => &[('\0', '\u{1f}'), ('\u{7f}', '\u{7f}')],
        "digit" => &[('0', '9')],
        "graph" => &[('!', '~')],
        "lower" => &[('a', 'z')],
        "print" => &[(' ', '~')],
        "punct" => &[('!', '/'), (':', '@'), ('[', '`'), ('{', '~')],
        "space" => &[('\t', '\r'), (' ', ' ')],
        "upper" => &[('A', 'Z')],
        "word" => WORD,
        "xdigit" => &[('0', '9'), ('A', 'F'), ('a', 'f')],
        _ => return None,
    };
    Some(of(ranges))
}

/// Scripts whose full name has four letters. Any other script's name of four letters is its code (ISO 15924), which Go
/// does not know.
const SHORT_SCRIPTS: [&str; 9] = ["ahom", "cham", "kawi", "lisu", "miao", "modi", "newa", "thai", "toto"];

/// The set behind `\p{name}`: a general category or a script, compared as Go does from 1.25 on, without regard to
/// case, spaces, hyphens and underscores.
pub(super) fn unicode(name: &str) -> Option<ClassUnicode> {
    if !name.chars().all(|letter| letter.is_ascii_alphabetic() || matches!(letter, ' ' | '-' | '_')) {
        return None;
    }
    let plain = name.to_ascii_lowercase().replace([' ', '-', '_'], "");
    // UTF-8 has no surrogates, so there is no table of them.
    if matches!(plain.as_str(), "cs" | "surrogate") {
        return Some(ClassUnicode::empty());
    }
    // The tables would take these: a prefix, and a script that stands for having none.
    if plain.starts_with("is") || plain == "unknown" || plain == "katakanaorhiragana" {
        return None;
    }
    let is_code = plain.len() == 4 && !SHORT_SCRIPTS.contains(&plain.as_str());
    table("gc", &plain).or_else(|| if is_code { None } else { table("sc", &plain) })
}

fn table(property: &str, value: &str) -> Option<ClassUnicode> {
    let set = regex_syntax::parse(&format!(r"\p{{{property}={value}}}")).ok()?;
    match set.into_kind() {
        HirKind::Class(Class::Unicode(set)) => Some(set),
        // A set of one character, such as that of line separators.
        HirKind::Literal(only) => {
            let only: Vec<char> = std::str::from_utf8(&only.0).ok()?.chars().collect();
            Some(ClassUnicode::new(only.into_iter().map(|letter| ClassUnicodeRange::new(letter, letter))))
        }
        _ => None,
    }
}

/// Whether a character is in the categories `L` or `Nd`.
pub(in crate::relabel) fn is_letter_or_digit(letter: char) -> bool {
    let contains = |set: ClassUnicode| set.ranges().iter().any(|range| (range.start()..=range.end()).contains(&letter));
    ["letter", "nd"].into_iter().filter_map(unicode).any(contains)
}
