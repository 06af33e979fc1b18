//! Flags of programs written in Go: what a command line sets, and what of it nobody has asked for yet.

use std::collections::BTreeSet;

use writegate_config::Place;

use crate::words::Word;

/// A flag that is set.
#[derive(Clone, Debug)]
pub(crate) struct Flag {
    pub(crate) name: String,
    /// `true` where nothing was written.
    pub(crate) value: String,
    pub(crate) place: Place,
    pub(crate) has_variable: bool,
}

/// The flags of a command line.
#[derive(Clone, Debug)]
pub(crate) struct Flags {
    all: Vec<Flag>,
    asked: BTreeSet<String>,
}

impl Flags {
    /// What stands before the last word that names the program is no flag of it: `docker run -p 1:1 image -flag`.
    pub(crate) fn of(words: &[Word], program: &str) -> Self {
        let names_it = |word: &Word| {
            let name = word.text.rsplit_once('/').map_or(word.text.as_str(), |(_, name)| name);
            !word.text.starts_with('-') && name.contains(program) && !word.text.contains('=')
        };
        let start = words.iter().rposition(names_it).map_or(0, |at| at + 1);
        let mut words = words.iter().skip(start).peekable();
        let mut all = Vec::new();
        while let Some(word) = words.next() {
            let text = word.text.as_str();
            let Some(flag) = text.strip_prefix("--").or_else(|| text.strip_prefix('-')).filter(|flag| !flag.is_empty())
            else {
                continue;
            };
            let (name, value, has_variable) = match flag.split_once('=') {
                Some((name, value)) => (name, value.to_owned(), word.has_variable),
                // A word behind a flag that takes none would end the flags, so it is the flag's.
                None => match words.next_if(|next| !next.text.starts_with('-')) {
                    Some(next) => (flag, next.text.clone(), next.has_variable),
                    None => (flag, "true".to_owned(), word.has_variable),
                },
            };
            all.push(Flag { name: name.to_owned(), value, place: word.place, has_variable });
        }
        Self { all, asked: BTreeSet::new() }
    }

    /// All settings of a flag, in order.
    pub(crate) fn all(&mut self, name: &str) -> Vec<Flag> {
        self.asked.insert(name.to_owned());
        self.all.iter().filter(|flag| flag.name == name).cloned().collect()
    }

    /// The last setting counts, as in Go.
    pub(crate) fn last(&mut self, name: &str) -> Option<Flag> {
        self.all(name).pop().filter(|flag| !flag.value.is_empty())
    }

    pub(crate) fn is_on(&mut self, name: &str) -> bool {
        self.last(name).is_some_and(|flag| is_true(&flag.value))
    }

    /// The values of a flag that holds several: repeated, or joined by commas.
    pub(crate) fn array(&mut self, name: &str) -> Vec<Flag> {
        let each = |flag: Flag| array_values(&flag.value).into_iter().map(move |value| Flag { value, ..flag.clone() });
        self.all(name).into_iter().flat_map(each).collect()
    }

    /// The value for the url of that index: its own, or the only one.
    pub(crate) fn for_url(&mut self, name: &str, index: usize) -> Option<Flag> {
        let mut values = self.array(name);
        let at = if values.len() == 1 { 0 } else { index };
        (at < values.len()).then(|| values.swap_remove(at)).filter(|flag| !flag.value.is_empty())
    }

    /// What nobody has asked for.
    pub(crate) fn rest(&self) -> Vec<Flag> {
        self.all.iter().filter(|flag| !self.asked.contains(&flag.name)).cloned().collect()
    }

    pub(crate) fn every(&self) -> &[Flag] {
        &self.all
    }
}

pub(crate) fn is_true(value: &str) -> bool {
    matches!(value, "1" | "t" | "T" | "true" | "TRUE" | "True")
}

/// `a,"b, c",'d'`. A quote that has no end is part of its value.
fn array_values(text: &str) -> Vec<String> {
    let mut values = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let (value, tail) = next_value(rest);
        values.push(value);
        let Some(tail) = tail.strip_prefix(',') else {
            rest = tail;
            continue;
        };
        if tail.is_empty() {
            values.push(String::new());
        }
        rest = tail;
    }
    values
}

fn next_value(text: &str) -> (String, &str) {
    let quote = text.chars().next().filter(|mark| matches!(mark, '"' | '\'' | '`'));
    let Some(mark) = quote else {
        let end = text.find(',').unwrap_or(text.len());
        return (text[..end].to_owned(), &text[end..]);
    };
    let mut value = String::new();
    let mut letters = text.char_indices().skip(1);
    while let Some((at, letter)) = letters.next() {
        match letter {
            '\\' if mark == '"' => value.extend(letters.next().map(|(_, letter)| letter)),
            letter if letter == mark => return (value, &text[at + letter.len_utf8()..]),
            letter => value.push(letter),
        }
    }
    (text.to_owned(), "")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flags(words: &[&str]) -> Flags {
        let word = |text: &&str| Word { text: (*text).to_owned(), place: Place::default(), has_variable: false };
        Flags::of(&words.iter().map(word).collect::<Vec<_>>(), "vmagent")
    }

    #[test]
    fn flags_are_read_as_go_reads_them_and_what_is_docker_s_is_not_theirs() {
        let words =
            ["docker", "run", "-p", "8429:8429", "victoriametrics/vmagent:v1.1", "-a=1", "--b", "2", "-on", "-a", "3"];
        let mut flags = flags(&words);
        assert!(flags.last("p").is_none());
        assert_eq!(flags.last("a").unwrap().value, "3");
        assert_eq!(flags.last("b").unwrap().value, "2");
        assert!(flags.is_on("on") && !flags.is_on("off"));
        assert!(flags.rest().is_empty());
    }

    #[test]
    fn one_value_is_for_all_urls_and_several_are_for_one_each() {
        let mut flags = flags(&["-one=x", "-two=a,\"b, c\"", "-two='d,e'", "-gap=,g", "-end=a,"]);
        let mut at = |name, index| flags.for_url(name, index).map(|flag| flag.value);
        assert_eq!([at("one", 0), at("one", 7)], [Some("x".to_owned()), Some("x".to_owned())]);
        assert_eq!([at("two", 0), at("two", 1)], [Some("a".to_owned()), Some("b, c".to_owned())]);
        assert_eq!([at("two", 2), at("two", 3)], [Some("d,e".to_owned()), None]);
        assert_eq!([at("gap", 0), at("gap", 1)], [None, Some("g".to_owned())]);
        assert_eq!([at("end", 0), at("end", 1)], [Some("a".to_owned()), None]);
    }
}
