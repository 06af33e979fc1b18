//! Which series are meant: selectors of `PromQL`, as `up{job=~"node.*", instance!="a"}`.

use crate::model::Label;
use crate::relabel::{InvalidRegex, Regex};
use crate::series_text::{self, Comparison, InvalidSeries};

/// A set of series. A label that a series does not have is as one with an empty value.
#[derive(Clone, Debug)]
pub struct Selector(Vec<(String, Test)>);

#[derive(Clone, Debug)]
enum Test {
    Equal { value: String, is_wanted: bool },
    Match { regex: Regex, is_wanted: bool },
}

/// A text is no selector.
#[derive(Debug, thiserror::Error)]
pub enum InvalidSelector {
    /// Not as in `PromQL`.
    #[error("selector: column {}: expected {}, found {}", .0.column, .0.expected, .0.found)]
    Text(InvalidSeries),
    /// A regular expression is none.
    #[error("selector: the regular expression for {label:?}")]
    Regex {
        /// Whose.
        label: String,
        /// Why.
        source: InvalidRegex,
    },
}

impl Selector {
    /// Reads a selector: a metric's name, matchers in braces, or both.
    ///
    /// # Errors
    /// At the first thing that is not as in `PromQL`.
    pub fn parse(text: &str) -> Result<Self, InvalidSelector> {
        let matchers = series_text::matchers(text).map_err(InvalidSelector::Text)?;
        let tests = matchers.into_iter().map(|series_text::Matcher { name, comparison, value }| {
            let is_wanted = matches!(comparison, Comparison::Equal | Comparison::Matches);
            let test = match comparison {
                Comparison::Equal | Comparison::NotEqual => Test::Equal { value, is_wanted },
                Comparison::Matches | Comparison::MatchesNot => match Regex::new(&value) {
                    Ok(regex) => Test::Match { regex, is_wanted },
                    Err(source) => return Err(InvalidSelector::Regex { label: name, source }),
                },
            };
            Ok((name, test))
        });
        tests.collect::<Result<_, _>>().map(Self)
    }

    /// Whether a series with these labels, which need not be sorted, is one of them.
    pub fn matches(&self, labels: &[Label<'_>]) -> bool {
        self.0.iter().all(|(name, test)| {
            let label = labels.iter().find(|label| label.name == name.as_bytes());
            let value = label.map_or(&[][..], |label| label.value);
            match test {
                Test::Equal { value: wanted, is_wanted } => (value == wanted.as_bytes()) == *is_wanted,
                Test::Match { regex, is_wanted } => {
                    std::str::from_utf8(value).is_ok_and(|value| regex.is_match(value)) == *is_wanted
                }
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(selector: &str, labels: &[(&str, &str)]) -> bool {
        let labels: Vec<_> =
            labels.iter().map(|(name, value)| Label { name: name.as_bytes(), value: value.as_bytes() }).collect();
        Selector::parse(selector).unwrap().matches(&labels)
    }

    #[test]
    fn a_series_is_meant_if_every_matcher_holds() {
        let up = [("__name__", "up"), ("job", "node"), ("instance", "a:9100")];
        for (selector, expected) in [
            ("up", true),
            ("down", false),
            ("up{}", true),
            ("up{job=\"node\"}", true),
            ("{job=\"node\",instance=~\"a:.*\"}", true),
            ("{job=\"node\", instance=~\"a\"}", false),
            ("{job!='node'}", false),
            ("up{job!~`x|y`, job=~\"n.+\"}", true),
            ("up{job!~\"n.*\"}", false),
            ("up{zone=\"\"}", true),
            ("up{zone!=\"\"}", false),
            ("up{zone=~\".*\"}", true),
            ("{\"up\", \"job\"=\"node\"}", true),
        ] {
            assert_eq!(matches(selector, &up), expected, "{selector}");
        }
    }

    #[test]
    fn what_is_no_selector_says_where_and_why() {
        for (text, why) in [
            ("{}", "column 3: expected at least one label"),
            ("up{job}", "column 7: expected `=`, `!=`, `=~` or `!~`, found `}`"),
            ("up{job==\"x\"}", "column 8: expected a quoted value, found `=`"),
            ("up[5m]", "column 3: expected nothing more, found `[`"),
        ] {
            let error = Selector::parse(text).unwrap_err().to_string();
            assert!(error.contains(why), "{text}: {error}");
        }
        let error = Selector::parse("up{job=~\"(\"}").unwrap_err();
        assert_eq!(error.to_string(), "selector: the regular expression for \"job\"");
    }
}
