//! Label selectors, as `metav1.LabelSelector` means them.

use std::collections::BTreeMap;

use serde_json::Value as Json;

/// A selector that can be asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Selector(Vec<Requirement>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Requirement {
    key: String,
    operator: Operator,
    values: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operator {
    In,
    NotIn,
    Exists,
    DoesNotExist,
}

impl Selector {
    /// Reads a selector; an empty one selects everything.
    ///
    /// # Errors
    /// What is wrong with it, as the end of a path: `.matchLabels.x: …`.
    pub(crate) fn parse(selector: &Json) -> Result<Self, String> {
        let mut requirements = Vec::new();
        if selector.is_null() {
            return Err(" is missing; {} selects everything".to_owned());
        }
        for (key, value) in selector["matchLabels"].as_object().into_iter().flatten() {
            let at = format!(".matchLabels.{key}");
            check_key(&at, key)?;
            let value = check_value(&at, value)?;
            requirements.push(Requirement { key: key.clone(), operator: Operator::In, values: vec![value] });
        }
        for (index, expression) in selector["matchExpressions"].as_array().into_iter().flatten().enumerate() {
            let at = format!(".matchExpressions[{index}]");
            let key = expression["key"].as_str().unwrap_or_default();
            check_key(&at, key)?;
            let values = expression["values"].as_array().into_iter().flatten();
            let values = values.map(|value| check_value(&at, value)).collect::<Result<Vec<_>, _>>()?;
            let operator = match (expression["operator"].as_str().unwrap_or_default(), values.is_empty()) {
                ("In", false) => Operator::In,
                ("NotIn", false) => Operator::NotIn,
                ("Exists", true) => Operator::Exists,
                ("DoesNotExist", true) => Operator::DoesNotExist,
                ("In" | "NotIn", true) => return Err(format!("{at}: In and NotIn need values")),
                ("Exists" | "DoesNotExist", false) => {
                    return Err(format!("{at}: Exists and DoesNotExist take no values"));
                }
                (other, _) => {
                    return Err(format!("{at}.operator: expected In, NotIn, Exists or DoesNotExist, found {other:?}"));
                }
            };
            requirements.push(Requirement { key: key.to_owned(), operator, values });
        }
        Ok(Self(requirements))
    }

    /// Whether it selects what has these labels.
    #[must_use]
    pub(crate) fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        self.0.iter().all(|requirement| {
            let value = labels.get(&requirement.key);
            match requirement.operator {
                Operator::In => value.is_some_and(|value| requirement.values.contains(value)),
                Operator::NotIn => value.is_none_or(|value| !requirement.values.contains(value)),
                Operator::Exists => value.is_some(),
                Operator::DoesNotExist => value.is_none(),
            }
        })
    }

    /// Whether it selects everything.
    #[must_use]
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

fn check_key(at: &str, key: &str) -> Result<(), String> {
    let name = key.split_once('/').map_or(key, |(_, name)| name);
    if is_label(name) && !name.is_empty() && key.len() <= 317 {
        Ok(())
    } else {
        Err(format!("{at}: {key:?} is no label's key"))
    }
}

fn check_value(at: &str, value: &Json) -> Result<String, String> {
    match value.as_str().filter(|value| is_label(value)) {
        Some(value) => Ok(value.to_owned()),
        None => Err(format!("{at}: {value} is no label's value")),
    }
}

fn is_label(text: &str) -> bool {
    let edge = |b: Option<u8>| b.is_none_or(|b| b.is_ascii_alphanumeric());
    let inside = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
    text.len() <= 63 && text.bytes().all(inside) && edge(text.bytes().next()) && edge(text.bytes().next_back())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn r_g4_every_operator_selects_exactly_what_it_should() {
        let labels = |pairs: &[(&str, &str)]| pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        let (a, b, none) = (labels(&[("c", "a"), ("x", "1")]), labels(&[("c", "b")]), labels(&[]));
        let expression = |key: &str, operator: &str, values: &[&str]| json!({"matchExpressions": [{"key": key, "operator": operator, "values": values}]});
        for (selector, expected) in [
            (json!({}), [true, true, true]),
            (json!({"matchLabels": {"c": "a"}}), [true, false, false]),
            (json!({"matchLabels": {"c": "a", "x": "2"}}), [false, false, false]),
            (expression("c", "In", &["a", "b"]), [true, true, false]),
            (expression("c", "NotIn", &["a"]), [false, true, true]),
            (expression("x", "Exists", &[]), [true, false, false]),
            (expression("x", "DoesNotExist", &[]), [false, true, true]),
        ] {
            let parsed = Selector::parse(&selector).unwrap();
            assert_eq!([&a, &b, &none].map(|labels| parsed.matches(labels)), expected, "{selector}");
        }
        for selector in [
            json!(null),
            expression("c", "in", &["a"]),
            expression("c", "In", &[]),
            expression("c", "Exists", &["a"]),
            expression("", "Exists", &[]),
            json!({"matchLabels": {"c": "not a label"}}),
        ] {
            assert!(Selector::parse(&selector).is_err(), "{selector}");
        }
    }
}
