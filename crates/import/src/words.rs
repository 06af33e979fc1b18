//! The words of a command line, wherever it stands: flags one per line, a shell's line, systemd's `ExecStart`, or the `args` and
//! `command` of a YAML file (Kubernetes, Compose, a bare list). Each with its place.

use std::path::Path;

use writegate_config::{Node, Place, Value};

use crate::{ImportError, unreadable};

/// A word as the program gets it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Word {
    pub(crate) text: String,
    pub(crate) place: Place,
    /// The shell, systemd or Kubernetes would put a variable into it.
    pub(crate) has_variable: bool,
}

/// The words of the command line in `text`. `is_ours` tells a flag that only the program in question has: of several command
/// lines in a YAML file it picks the one.
pub(crate) fn words(text: &str, file: &Path, is_ours: fn(&str) -> bool) -> Result<Vec<Word>, ImportError> {
    if is_yaml(text) {
        return of_yaml(text, file, is_ours);
    }
    if let Some((line, start)) = exec_start(text) {
        return split(start, Place { line, column: 1 }, file);
    }
    split(text, Place { line: 1, column: 1 }, file)
}

/// A list, or a mapping: its first line that says something begins with `- `, or is `key:`, `key: …` or a brace.
fn is_yaml(text: &str) -> bool {
    let first = text.lines().map(str::trim_start).find(|line| !line.is_empty() && !line.starts_with('#'));
    let first = first.unwrap_or_default().trim_end();
    let is_key = |line: &str| {
        let key = line.split_once(':').filter(|(_, rest)| rest.is_empty() || rest.starts_with(' ')).map(|(key, _)| key);
        key.is_some_and(|key| !key.is_empty() && !key.contains(char::is_whitespace) && !key.starts_with('-'))
    };
    first == "---"
        || first.starts_with("- ")
        || first.starts_with(['{', '[']) && !first.ends_with(']')
        || is_list(first)
        || is_key(first)
}

/// `["-a", "b"]`, which is no section of a systemd unit.
fn is_list(line: &str) -> bool {
    line.starts_with('[') && line.contains(['"', '\'', ','])
}

/// The value of the last `ExecStart=` of a unit with its continued lines, and its line.
fn exec_start(text: &str) -> Option<(u64, &str)> {
    let mut found = None;
    let (mut at, mut number) = (0, 0);
    for line in text.split_inclusive('\n') {
        number += 1;
        if let Some(value) = line.trim_start().strip_prefix("ExecStart=") {
            let start = at + line.len() - value.len();
            let mut end = at + line.len();
            while text.get(..end).is_some_and(|so_far| so_far.trim_end_matches(['\n', '\r']).ends_with('\\')) {
                let rest = text.get(end..).unwrap_or_default();
                let next = rest.split_inclusive('\n').next().map_or(0, str::len);
                if next == 0 {
                    break;
                }
                end += next;
            }
            found = text.get(start..end).map(|value| (number, value));
        }
        at += line.len();
    }
    found.filter(|(_, value)| !value.trim().is_empty())
}

/// As a shell splits, with its three quotes. A line that begins with `#` is a comment, and a line's end is a blank.
fn split(text: &str, start: Place, file: &Path) -> Result<Vec<Word>, ImportError> {
    let mut words: Vec<Word> = Vec::new();
    let mut word: Option<Word> = None;
    let mut quote: Option<(char, Place)> = None;
    let mut at = start;
    let mut letters = text.chars().peekable();
    let mut is_line_start = true;
    while let Some(letter) = letters.next() {
        let here = at;
        step(&mut at, letter);
        let open = |word: &mut Option<Word>| {
            word.get_or_insert_with(|| Word { text: String::new(), place: here, has_variable: false });
        };
        if word.is_none() && is_line_start && letter == '#' {
            while letters.next_if(|letter| *letter != '\n').is_some() {}
            continue;
        }
        is_line_start = letter == '\n' || is_line_start && letter.is_whitespace();
        match (letter, quote) {
            ('\'' | '"', None) => {
                open(&mut word);
                quote = Some((letter, here));
            }
            (letter, Some((mark, _))) if letter == mark => quote = None,
            ('\\', None | Some(('"', _))) => match letters.next() {
                // A line that goes on.
                Some('\n') => step(&mut at, '\n'),
                Some(next) => {
                    step(&mut at, next);
                    open(&mut word);
                    let is_kept = quote.is_some() && !"\"\\$`".contains(next);
                    if let Some(word) = &mut word {
                        word.text.extend(is_kept.then_some('\\'));
                        word.text.push(next);
                    }
                }
                None => {}
            },
            (letter, None) if letter.is_whitespace() => words.extend(word.take()),
            (letter, quote) => {
                open(&mut word);
                let next = letters.peek().copied().unwrap_or(' ');
                let is_variable =
                    letter == '$' && (next.is_ascii_alphabetic() || "_{(".contains(next)) || letter == '`';
                if let Some(word) = &mut word {
                    word.has_variable |= is_variable && !matches!(quote, Some(('\'', _)));
                    word.text.push(letter);
                }
            }
        }
    }
    if let Some((mark, place)) = quote {
        return Err(unreadable(file, place, format!("the quote {mark} has no end"), None));
    }
    words.extend(word);
    Ok(words)
}

fn step(at: &mut Place, letter: char) {
    if letter == '\n' {
        *at = Place { line: at.line + 1, column: 1 };
    } else {
        at.column += 1;
    }
}

fn of_yaml(text: &str, file: &Path, is_ours: fn(&str) -> bool) -> Result<Vec<Word>, ImportError> {
    let mut found = Vec::new();
    for document in documents(text) {
        let node = Node::parse(&document, file).map_err(ImportError::Unreadable)?;
        if let Value::List(_) = &node.value {
            found.push(of_value(&node, file)?);
        }
        command_lines(&node, file, &mut found)?;
    }
    found.retain(|words| words.iter().any(|word| is_ours(&word.text)));
    if found.len() > 1 {
        let line = |words: &Vec<Word>| words.first().map_or(0, |word| word.place.line).to_string();
        let lines: Vec<String> = found.iter().map(line).collect();
        let message = format!("there are {} such command lines, at lines {}", found.len(), lines.join(", "));
        return Err(unreadable(file, Place::default(), message, Some("give each in a file of its own")));
    }
    let hint = "`args` or `command` of a container, a list of flags, or a line of a shell";
    found.pop().ok_or_else(|| {
        unreadable(file, Place::default(), "there is no command line of such a program in it", Some(hint))
    })
}

/// The documents of a stream, each behind so many empty lines that its places are those of the file.
fn documents(text: &str) -> Vec<String> {
    let mut documents = vec![String::new()];
    for (number, line) in text.lines().enumerate() {
        if line.trim_end() == "---" {
            documents.push("\n".repeat(number + 1));
        } else if let Some(document) = documents.last_mut() {
            document.push_str(line);
            document.push('\n');
        }
    }
    documents.retain(|document| !document.trim().is_empty());
    documents
}

/// Of each mapping with `command` or `args`: both, one after the other.
fn command_lines(node: &Node, file: &Path, found: &mut Vec<Vec<Word>>) -> Result<(), ImportError> {
    match &node.value {
        Value::Map(entries) => {
            let mut words = Vec::new();
            for name in ["command", "args"] {
                for (_, value) in entries.iter().filter(|(key, _)| key.text() == Some(name)) {
                    words.extend(of_value(value, file)?);
                }
            }
            if !words.is_empty() {
                found.push(words);
            }
            entries.iter().try_for_each(|(_, value)| command_lines(value, file, found))
        }
        Value::List(items) => items.iter().try_for_each(|item| command_lines(item, file, found)),
        Value::Null | Value::Text(_) => Ok(()),
    }
}

/// Items are words as they are; a text is a line of a shell.
fn of_value(node: &Node, file: &Path) -> Result<Vec<Word>, ImportError> {
    match &node.value {
        Value::List(items) => {
            let texts = items.iter().filter_map(|item| Some((item.place, item.text()?.trim())));
            let variable = |text: &str| text.contains("$(") || text.contains("${");
            Ok(texts.map(|(place, text)| Word { text: text.to_owned(), place, has_variable: variable(text) }).collect())
        }
        Value::Text(text) => {
            let words = split(text, Place::default(), file);
            words.map(|words| words.into_iter().map(|word| Word { place: node.place, ..word }).collect())
        }
        Value::Null | Value::Map(_) => Ok(Vec::new()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(text: &str) -> Vec<String> {
        let words = words(text, Path::new("f"), |word| word.starts_with("-remoteWrite.")).unwrap();
        words.into_iter().map(|word| word.text).collect()
    }

    #[test]
    fn every_way_to_write_a_command_line_gives_the_same_words() {
        let flags = ["-remoteWrite.url=http://a/b?c=d", "-remoteWrite.label=a=b c"];
        let ways = [
            "-remoteWrite.url=http://a/b?c=d\n# a comment\n\"-remoteWrite.label=a=b c\"\n",
            "./vmagent -remoteWrite.url='http://a/b?c=d' \\\n  -remoteWrite.label=\"a=b c\"",
            "[Unit]\nDescription=x\n[Service]\nExecStart=/usr/bin/vmagent -remoteWrite.url=http://a/b?c=d \\\n  '-remoteWrite.label=a=b c'\nRestart=always\n",
            "- -remoteWrite.url=http://a/b?c=d\n- -remoteWrite.label=a=b c\n",
            "[\"-remoteWrite.url=http://a/b?c=d\", '-remoteWrite.label=a=b c']",
            "services:\n  db: {command: [x]}\n  vmagent:\n    command:\n      - --remote\n      - -remoteWrite.url=http://a/b?c=d\n      - -remoteWrite.label=a=b c\n",
            "apiVersion: v1\nkind: ConfigMap\n---\nkind: Deployment\nspec: {template: {spec: {containers: [{args: ['-remoteWrite.url=http://a/b?c=d', '-remoteWrite.label=a=b c']}]}}}\n",
        ];
        for way in ways {
            let words = texts(way);
            assert!(words.ends_with(&flags.map(str::to_owned)), "{way}: {words:?}");
        }
    }

    #[test]
    fn each_word_has_its_place_and_variables_are_seen() {
        let words = words("vmagent \\\n  -a='$X' -b=$X \"-c=${Y}\" -d=$1", Path::new("f"), |_| true).unwrap();
        let places: Vec<(u64, u64)> = words.iter().map(|word| (word.place.line, word.place.column)).collect();
        assert_eq!(places, [(1, 1), (2, 3), (2, 11), (2, 17), (2, 27)]);
        let variables: Vec<bool> = words.iter().map(|word| word.has_variable).collect();
        assert_eq!(variables, [false, false, true, true, false]);
    }

    #[test]
    fn what_is_no_command_line_is_told_with_its_place() {
        let told =
            |text: &str| words(text, Path::new("f"), |word| word.starts_with("-remoteWrite.")).unwrap_err().to_string();
        assert_eq!(told("a\n  'b"), "f:2:3: the quote ' has no end");
        assert!(told("kind: Pod\nspec: {}\n").starts_with("f: there is no command line of such a program in it ("));
        let two = "a: {args: [-remoteWrite.url=x]}\nb: {args: [-remoteWrite.url=y]}\n";
        assert!(told(two).starts_with("f: there are 2 such command lines, at lines 1, 2"), "{}", told(two));
        assert!(told("a: [\n").starts_with("f:"), "{}", told("a: [\n"));
    }
}
