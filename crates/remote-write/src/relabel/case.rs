//! Upper and lower case as Go's `strings` package has them: character by character, each becoming exactly one
//! (Unicode's simple mappings), without regard to language and context.

pub(super) fn lower(text: &str) -> String {
    text.chars().map(lower_character).collect()
}

pub(super) fn upper(text: &str) -> String {
    text.chars().map(upper_character).collect()
}

fn lower_character(letter: char) -> char {
    let mut mapped = letter.to_lowercase();
    match (mapped.next(), mapped.next()) {
        (Some(only), None) => only,
        // The only one of several characters: I with a dot above, which becomes i and a combining dot.
        (Some(first), Some(_)) => first,
        (None, _) => letter,
    }
}

fn upper_character(letter: char) -> char {
    let mut mapped = letter.to_uppercase();
    match (mapped.next(), mapped.next()) {
        (Some(only), None) => only,
        _ => capital_with_iota(letter),
    }
}

/// Of those that become several characters, only the small Greek letters with iota subscript have a simple mapping.
fn capital_with_iota(letter: char) -> char {
    let distance = match letter {
        '\u{1f80}'..='\u{1f87}' | '\u{1f90}'..='\u{1f97}' | '\u{1fa0}'..='\u{1fa7}' => 8,
        '\u{1fb3}' | '\u{1fc3}' | '\u{1ff3}' => 9,
        _ => 0,
    };
    char::from_u32(u32::from(letter) + distance).unwrap_or(letter)
}
