//! Names of metrics, units and labels, as Prometheus' `otlptranslator` makes them.

use std::borrow::Cow;

use crate::options::{Options, Strategy};

/// What a name says about the kind of a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetricKind {
    /// With the unit `1` it is a ratio.
    Gauge,
    /// A monotonic sum: it ends in `total`.
    Counter,
    /// Nothing.
    Other,
}

/// The words of OpenTelemetry's units (UCUM).
const UNITS: [(&str, &str); 26] = [
    ("d", "days"),
    ("h", "hours"),
    ("min", "minutes"),
    ("s", "seconds"),
    ("ms", "milliseconds"),
    ("us", "microseconds"),
    ("ns", "nanoseconds"),
    ("By", "bytes"),
    ("KiBy", "kibibytes"),
    ("MiBy", "mebibytes"),
    ("GiBy", "gibibytes"),
    ("TiBy", "tibibytes"),
    ("KBy", "kilobytes"),
    ("MBy", "megabytes"),
    ("GBy", "gigabytes"),
    ("TBy", "terabytes"),
    ("m", "meters"),
    ("V", "volts"),
    ("A", "amperes"),
    ("J", "joules"),
    ("W", "watts"),
    ("g", "grams"),
    ("Cel", "celsius"),
    ("Hz", "hertz"),
    ("%", "percent"),
    ("1", ""),
];

/// The same after a `/`.
const PER_UNITS: [(&str, &str); 7] =
    [("s", "second"), ("m", "minute"), ("h", "hour"), ("d", "day"), ("w", "week"), ("mo", "month"), ("y", "year")];

const fn is_metric_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == ':'
}

/// The name of the series that a metric becomes, without `_bucket` and the like; `None` when nothing of it may stay.
pub fn metric_name(name: &str, unit: &str, kind: MetricKind, strategy: Strategy) -> Option<String> {
    let made = match (strategy.escapes(), strategy.adds_suffixes()) {
        (true, true) => escaped_with_suffixes(name, unit, kind),
        (true, false) => {
            let kept = |c: char| is_metric_char(c) || c == '_';
            join(&name.split(|c| !kept(c)).filter(|token| !token.is_empty()).collect::<Vec<_>>())
        }
        (false, true) => with_suffixes(name, unit, kind),
        (false, false) => name.to_owned(),
    };
    let says_nothing = strategy.escapes() && made != name && made.chars().all(|c| c == '_');
    (!made.is_empty() && !says_nothing).then_some(made)
}

/// A name does not start with a digit.
fn join(tokens: &[&str]) -> String {
    let joined = tokens.join("_");
    if joined.starts_with(|c: char| c.is_ascii_digit()) { format!("_{joined}") } else { joined }
}

fn escaped_with_suffixes(name: &str, unit: &str, kind: MetricKind) -> String {
    let (main, per) = unit_words(unit);
    let (main, per) = (clean(&main), clean(&per));
    let mut tokens: Vec<&str> = name.split(|c| !is_metric_char(c)).filter(|token| !token.is_empty()).collect();
    let per = if per == "per_" { "" } else { per.strip_suffix('_').unwrap_or(&per) };
    let per = if tokens.contains(&per) { "" } else { per };
    let main = if tokens.contains(&main.as_str()) { "" } else { main.as_str() };
    let main = if per.is_empty() { main } else { main.strip_suffix('_').unwrap_or(main) };
    tokens.extend([main, per].into_iter().filter(|word| !word.is_empty()));
    let last = match kind {
        MetricKind::Counter => Some("total"),
        MetricKind::Gauge if unit == "1" => Some("ratio"),
        MetricKind::Gauge | MetricKind::Other => None,
    };
    if let Some(last) = last {
        tokens.retain(|token| *token != last);
        tokens.push(last);
    }
    join(&tokens)
}

fn with_suffixes(name: &str, unit: &str, kind: MetricKind) -> String {
    if name.is_empty() {
        return String::new();
    }
    let is_ratio = unit == "1" && kind == MetricKind::Gauge;
    let (main, per) = unit_words(unit);
    let mut rest = name;
    // From the outermost to the innermost: what is there already comes off, and goes on again in order.
    if is_ratio {
        rest = without(rest, "ratio");
    }
    if kind == MetricKind::Counter {
        rest = without(rest, "total");
    }
    if !per.is_empty() {
        rest = without(rest, &per);
    }
    let mut made = rest.to_owned();
    let mut add = |word: &str| {
        made.push('_');
        made.push_str(word);
    };
    if !main.is_empty() && !rest.ends_with(&main) {
        add(&main);
    }
    if !per.is_empty() {
        add(&per);
    }
    if kind == MetricKind::Counter {
        add("total");
    }
    if is_ratio {
        add("ratio");
    }
    made
}

/// The name without a suffix and the one character before it, unless nothing would be left.
fn without<'n>(name: &'n str, suffix: &str) -> &'n str {
    let rest = name.strip_suffix(suffix).and_then(|rest| {
        let (before, _delimiter) = rest.char_indices().next_back()?;
        rest.get(..before)
    });
    rest.filter(|rest| !rest.is_empty()).unwrap_or(name)
}

/// The words of a unit such as `By/s`: `bytes` and `per_second`. Annotations in braces are no units; unknown units are
/// themselves.
fn unit_words(unit: &str) -> (String, String) {
    let (main, per) = unit.split_once('/').unwrap_or((unit, ""));
    let word = |part: &str, words: &[(&str, &str)]| {
        let part = part.trim();
        if part.contains(['{', '}']) {
            return String::new();
        }
        let known = words.iter().find(|(short, _)| *short == part);
        known.map_or(part, |(_, word)| word).to_owned()
    };
    let (main, per) = (word(main, &UNITS), word(per, &PER_UNITS));
    (main, if per.is_empty() { per } else { format!("per_{per}") })
}

/// The unit's word as a part of a classic name.
fn clean(word: &str) -> String {
    let mut cleaned = String::with_capacity(word.len());
    for c in word.chars() {
        let c = if is_metric_char(c) { c } else { '_' };
        if c != '_' || !cleaned.ends_with('_') {
            cleaned.push(c);
        }
    }
    cleaned.strip_prefix('_').map(str::to_owned).unwrap_or(cleaned)
}

/// The unit in a series' metadata: the words that [`metric_name`] adds.
pub fn unit_name(unit: &str, strategy: Strategy) -> String {
    let (main, per) = unit_words(unit);
    let (main, per) = if strategy.escapes() { (clean(&main), clean(&per)) } else { (main, per) };
    let words = [main, per];
    let words: Vec<_> = words.iter().map(String::as_str).filter(|word| !word.is_empty()).collect();
    let joined = words.join("_");
    let joined = joined.strip_prefix('_').unwrap_or(&joined);
    joined.strip_suffix('_').unwrap_or(joined).to_owned()
}

/// The label that an attribute becomes; `None` when no label can be named so.
pub fn label_name<'k>(key: &'k str, options: &Options) -> Option<Cow<'k, str>> {
    if key.is_empty() {
        return None;
    }
    if !options.strategy.escapes() {
        return Some(Cow::Borrowed(key));
    }
    let is_valid = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let mut name = Cow::Borrowed(key);
    if !key.chars().all(is_valid) {
        name = key.chars().map(|c| if is_valid(c) { c } else { '_' }).collect::<String>().into();
    }
    if !options.label_name_preserve_multiple_underscores && name.contains("__") {
        name = collapsed(&name).into();
    }
    if name.starts_with(|c: char| c.is_ascii_digit()) {
        name = format!("key_{name}").into();
    } else if options.label_name_underscore_sanitization && name.starts_with('_') && !name.starts_with("__") {
        name = format!("key{name}").into();
    }
    let says_nothing = name != key && name.chars().all(|c| c == '_');
    (!says_nothing).then_some(name)
}

/// One `_` for several, but for the two at both ends of a reserved name.
fn collapsed(name: &str) -> String {
    let middle = name.strip_prefix("__").and_then(|rest| rest.strip_suffix("__")).filter(|middle| !middle.is_empty());
    let mut collapsed = String::with_capacity(name.len());
    for c in middle.unwrap_or(name).chars() {
        if c != '_' || !collapsed.ends_with('_') {
            collapsed.push(c);
        }
    }
    if middle.is_some() { format!("__{collapsed}__") } else { collapsed }
}

#[cfg(test)]
mod tests;
