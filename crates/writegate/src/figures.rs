//! Figures and words as people read them: on the command line and in the console. Knows neither.

use std::time::Duration;

/// A text in one line that no terminal takes for a command, and no reader for another order of its letters.
pub(crate) fn plain(text: &str) -> String {
    let acts = |letter: char| letter.is_control() || turns(letter);
    text.chars().map(|letter| if acts(letter) { ' ' } else { letter }).collect::<String>().trim().to_owned()
}

/// Characters that change the direction of those around them (Unicode Standard Annex #9), end a line, or are not seen.
const fn turns(letter: char) -> bool {
    matches!(letter, '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

/// `85`, `1.2k`, `34M`: three digits say enough.
pub(crate) fn amount(number: f64) -> String {
    let units = ["", "k", "M", "G", "T"];
    let mut rest = number;
    let mut unit = 0;
    while rest >= 999.5 && unit + 1 < units.len() {
        rest /= 1000.0;
        unit += 1;
    }
    // Whole samples need no point.
    let decimals = usize::from(rest < 9.95 && rest.fract() > 0.0);
    format!("{rest:.decimals$}{}", units[unit])
}

/// A count as [`amount`].
#[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
pub(crate) fn count(number: u64) -> String {
    amount(number as f64)
}

/// What ends the noun behind a number.
pub(crate) const fn plural(number: u64) -> &'static str {
    if number == 1 { "" } else { "s" }
}

/// `1 dead letter`, `1.2k dead letters`.
pub(crate) fn dead_letters(number: u64) -> String {
    format!("{} dead letter{}", count(number), plural(number))
}

/// `512 B`, `1.5 MiB`.
#[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
pub(crate) fn bytes(number: u64) -> String {
    let units = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut rest = number as f64;
    let mut unit = 0;
    while rest >= 1023.5 && unit + 1 < units.len() {
        rest /= 1024.0;
        unit += 1;
    }
    let decimals = usize::from(unit > 0 && rest < 9.95);
    format!("{rest:.decimals$} {}", units[unit])
}

/// `0.4s`, `50s`, `3m20s`, `5h1m`, `2d3h`: its two largest units.
pub(crate) fn age(seconds: f64) -> String {
    let whole = Duration::try_from_secs_f64(seconds).unwrap_or_default().as_secs();
    let two = |large: u64, large_unit: &str, small: u64, small_unit: &str| match small {
        0 => format!("{large}{large_unit}"),
        _ => format!("{large}{large_unit}{small}{small_unit}"),
    };
    match whole {
        0..10 => format!("{seconds:.1}s"),
        10..60 => format!("{whole}s"),
        60..3600 => two(whole / 60, "m", whole % 60, "s"),
        3600..86_400 => two(whole / 3600, "h", whole % 3600 / 60, "m"),
        _ => two(whole / 86_400, "d", whole % 86_400 / 3600, "h"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_as_people_read_them() {
        let amounts = [0.0, 0.25, 85.0, 999.0, 999.6, 1234.0, 12_345.0, 34_000_000.0].map(amount);
        assert_eq!(amounts, ["0", "0.2", "85", "999", "1.0k", "1.2k", "12k", "34M"]);
        assert_eq!([0, 1023, 1024, 1_572_864, 1 << 40].map(bytes), ["0 B", "1023 B", "1.0 KiB", "1.5 MiB", "1.0 TiB"]);
        assert_eq!([0, 1, 1234].map(dead_letters), ["0 dead letters", "1 dead letter", "1.2k dead letters"]);
        let ages = [0.0, 0.44, 50.9, 200.0, 180.0, 18_060.0, 183_600.0].map(age);
        assert_eq!(ages, ["0.0s", "0.4s", "50s", "3m20s", "3m", "5h1m", "2d3h"]);
    }

    #[test]
    fn nothing_in_a_text_acts_on_the_terminal_or_turns_the_line() {
        assert_eq!(plain("\u{1b}[2J\u{202e}gpj.exe\u{2066}\n x\u{7}"), "[2J gpj.exe   x");
        assert_eq!(plain("a\u{200b}b\u{2028}c\u{feff}d"), "a b c d");
    }
}
