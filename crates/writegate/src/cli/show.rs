//! What commands print: tables, amounts as people read them, a line that is written over while something goes on.
//!
//! Words of endpoints and senders come to a terminal without control characters.

use std::io::{IsTerminal as _, Write as _};

pub(super) use crate::figures::{age, amount, bytes, count, dead_letters, plain, plural};

/// As wide as a terminal is for certain.
pub(super) const WIDTH: usize = 80;

/// Prints to standard output. A reader who has seen enough is no failure.
pub(super) fn print(text: &str) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.write_all(b"\n")).and_then(|()| out.flush()) {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        printed => Ok(printed?),
    }
}

/// Prints to standard error, where nobody may be.
pub(super) fn tell(text: &str) {
    drop(writeln!(std::io::stderr(), "{text}"));
}

/// A line on standard error that is written over, if that is a terminal.
#[derive(Debug, Default)]
pub(super) struct ProgressLine {
    is_shown: bool,
}

impl ProgressLine {
    pub(super) fn show(&mut self, text: &str) {
        let mut err = std::io::stderr().lock();
        if err.is_terminal() {
            self.is_shown = true;
            drop(write!(err, "\r\x1b[2K{text}").and_then(|()| err.flush()));
        }
    }
}

impl Drop for ProgressLine {
    fn drop(&mut self) {
        if self.is_shown {
            drop(writeln!(std::io::stderr()));
        }
    }
}

/// Lines of at most `width` characters, broken between words; a word that is longer has a line of its own.
pub(super) fn wrap(text: &str, width: usize) -> Vec<String> {
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

/// How a column stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Align {
    Left,
    Right,
}

/// Rows below a header, in columns as wide as their widest cell.
#[derive(Debug)]
pub(super) struct Table<const N: usize> {
    columns: [(&'static str, Align); N],
    rows: Vec<[String; N]>,
}

impl<const N: usize> Table<N> {
    pub(super) const fn new(columns: [(&'static str, Align); N]) -> Self {
        Self { columns, rows: Vec::new() }
    }

    pub(super) fn row(&mut self, cells: [String; N]) {
        self.rows.push(cells.map(|cell| plain(&cell)));
    }

    /// The table without a line's end at its end, at most [`WIDTH`] wide: columns that have no room stand below their row, with
    /// their names, unless they say nothing.
    pub(super) fn text(&self) -> String {
        let header = self.columns.map(|(name, _)| name.to_owned());
        let all = || std::iter::once(&header).chain(&self.rows);
        let widths: [usize; N] =
            std::array::from_fn(|column| all().map(|cells| cells[column].chars().count()).max().unwrap_or_default());
        let shown = fitting(&widths);
        let line = |cells: &[String; N]| {
            let cells = cells.iter().zip(widths).zip(self.columns).take(shown);
            let padded: Vec<String> = cells
                .map(|((cell, width), (_, align))| match align {
                    Align::Left => format!("{cell:<width$}"),
                    Align::Right => format!("{cell:>width$}"),
                })
                .collect();
            padded.join("  ").trim_end().to_owned()
        };
        let mut lines: Vec<String> = if shown == 0 { Vec::new() } else { vec![line(&header)] };
        for cells in &self.rows {
            lines.extend((shown > 0).then(|| line(cells)));
            lines.extend(self.below(cells, shown));
        }
        lines.join("\n")
    }

    /// The cells from the column `from` on, with their names, as many in a line as there is room for.
    fn below(&self, cells: &[String; N], from: usize) -> Vec<String> {
        let mut lines: Vec<String> = Vec::new();
        for (cell, (name, align)) in cells.iter().zip(self.columns).skip(from) {
            let name = name.to_lowercase();
            let told = match align {
                _ if matches!(cell.as_str(), "" | "0" | "-") => continue,
                Align::Right => format!("{name} {cell}"),
                Align::Left => format!("{name}: {cell}"),
            };
            match lines.last_mut() {
                Some(line) if line.chars().count() + told.chars().count() + 4 <= WIDTH => {
                    line.push_str(", ");
                    line.push_str(&told);
                }
                _ => lines.push(told),
            }
        }
        lines.iter().flat_map(|line| hanging("  ", line)).collect()
    }
}

/// How many columns of these widths stand side by side.
fn fitting(widths: &[usize]) -> usize {
    let mut room = WIDTH + 2;
    widths.iter().take_while(|width| room.checked_sub(**width + 2).inspect(|rest| room = *rest).is_some()).count()
}

/// Lines of at most [`WIDTH`], each behind `margin`, those after the first two columns deeper.
fn hanging(margin: &str, text: &str) -> Vec<String> {
    let lines = folded(text, WIDTH - margin.len() - 2).into_iter().enumerate();
    lines.map(|(index, line)| format!("{margin}{}{line}", if index == 0 { "" } else { "  " })).collect()
}

/// As [`wrap`], but a word that is longer than a line is broken.
pub(super) fn folded(text: &str, width: usize) -> Vec<String> {
    let broken = |line: String| {
        let letters: Vec<char> = line.chars().collect();
        letters.chunks(width).map(|part| part.iter().collect::<String>()).collect::<Vec<_>>()
    };
    wrap(text, width).into_iter().flat_map(broken).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_has_columns_as_wide_as_their_widest_cell() {
        let mut table = Table::new([("NAME", Align::Left), ("COUNT", Align::Right), ("WORDS", Align::Left)]);
        table.row(["a".into(), "1".into(), "no\n\u{1b}[31mgood".into()]);
        table.row(["ännchen".into(), "123456".into(), String::new()]);
        assert_eq!(table.text(), "NAME      COUNT  WORDS\na             1  no  [31mgood\nännchen  123456");
    }

    #[test]
    fn what_has_no_room_in_a_table_stands_below_its_row_and_nothing_is_cut() {
        let mut table =
            Table::new([("ID", Align::Right), ("NAME", Align::Left), ("COUNT", Align::Right), ("WORDS", Align::Left)]);
        table.row(["17".into(), "a".repeat(70), "0".into(), "short".into()]);
        table.row(["18".into(), "b".into(), "3".into(), format!("one {} two", "w".repeat(90))]);
        let text = table.text();
        assert!(text.lines().all(|line| line.chars().count() <= WIDTH), "{text}");
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[..3], ["ID  NAME".to_owned(), format!("17  {}", "a".repeat(70)), "  words: short".to_owned()]);
        assert_eq!(lines[3..6], ["18  b", "  count 3", "  words: one"]);
        assert_eq!(
            lines[6..],
            [format!("    {}", "w".repeat(76)), format!("    {}", "w".repeat(14)), "    two".to_owned()]
        );
        let mut wide = Table::new([("NAME", Align::Left)]);
        wide.row(["n".repeat(100)]);
        assert!(
            wide.text().starts_with("  name:\n") && wide.text().lines().all(|line| line.len() <= WIDTH),
            "{}",
            wide.text()
        );
    }

    #[test]
    fn lines_are_broken_between_words() {
        assert_eq!(wrap("one two  three\nfour", 9), ["one two", "three", "four"]);
        assert_eq!(wrap("a-word-that-is-long b", 4), ["a-word-that-is-long", "b"]);
        assert_eq!(wrap("", 4), Vec::<String>::new());
    }
}
