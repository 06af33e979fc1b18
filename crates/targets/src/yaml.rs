//! JSON as YAML that people like to read: block style, quotes where they are needed.

use std::fmt::Write;

use serde_json::Value as Json;

/// A document, with a newline at its end.
#[must_use]
pub fn to_yaml(value: &Json) -> String {
    let mut out = String::new();
    write(&mut out, value, 0);
    out
}

fn write(out: &mut String, value: &Json, indent: usize) {
    match value {
        Json::Object(entries) if !entries.is_empty() => {
            for (index, (key, value)) in entries.iter().enumerate() {
                // The first key of a list's item stands behind the dash.
                if index > 0 || !out.ends_with("- ") {
                    pad(out, indent);
                }
                out.push_str(&scalar(key));
                out.push(':');
                nested(out, value, indent + 2, matches!(value, Json::Array(_)));
            }
        }
        Json::Array(items) if !items.is_empty() => {
            for item in items {
                pad(out, indent);
                out.push_str("- ");
                match item {
                    Json::Object(entries) if !entries.is_empty() => write(out, item, indent + 2),
                    Json::Array(_) => line(out, &item.to_string()),
                    item => line(out, &plain(item)),
                }
            }
        }
        value => line(out, &plain(value)),
    }
}

fn nested(out: &mut String, value: &Json, indent: usize, list: bool) {
    let empty = value.as_object().is_some_and(serde_json::Map::is_empty) || value.as_array().is_some_and(Vec::is_empty);
    match value {
        Json::Object(_) | Json::Array(_) if !empty => {
            out.push('\n');
            write(out, value, if list { indent - 2 } else { indent });
        }
        value => line(out, &format!(" {}", plain(value))),
    }
}

fn pad(out: &mut String, indent: usize) {
    // Writing to a string cannot fail.
    write!(out, "{:indent$}", "").ok();
}

fn line(out: &mut String, text: &str) {
    out.push_str(text);
    out.push('\n');
}

fn plain(value: &Json) -> String {
    match value {
        Json::String(text) => scalar(text),
        value => value.to_string(),
    }
}

/// A text that YAML might take for something else is quoted as in JSON, which YAML reads the same.
fn scalar(text: &str) -> String {
    let inside = |c: char| c.is_ascii_alphanumeric() || "-_./ ()`,".contains(c);
    let word = matches!(
        text.to_ascii_lowercase().as_str(),
        "true" | "false" | "yes" | "no" | "on" | "off" | "y" | "n" | "null" | "~"
    );
    let begins = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '/');
    if begins && text.chars().all(inside) && !text.ends_with(' ') && !word {
        text.to_owned()
    } else {
        Json::String(text.to_owned()).to_string()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_written_reads_back() {
        let value = json!({
            "a": {"b": [1, {"c": "x: y", "d": []}, "no", [1, 2]], "e": {}},
            "n": null, "t": true, "s": "", "*": "-", "long": "a, b (c)",
        });
        let yaml = to_yaml(&value);
        let back: Json =
            writegate_config::Node::parse(&yaml, std::path::Path::new("f")).map(|node| as_texts(&node)).unwrap();
        let expected = json!({
            "a": {"b": ["1", {"c": "x: y", "d": []}, "no", ["1", "2"]], "e": {}},
            "n": null, "t": "true", "s": "", "*": "-", "long": "a, b (c)",
        });
        assert_eq!(back, expected, "{yaml}");
    }

    fn as_texts(node: &writegate_config::Node) -> Json {
        use writegate_config::Value;
        match &node.value {
            Value::Null => Json::Null,
            Value::Text(text) => json!(text),
            Value::List(items) => items.iter().map(as_texts).collect(),
            Value::Map(entries) => {
                entries.iter().map(|(key, value)| (key.text().unwrap().to_owned(), as_texts(value))).collect()
            }
        }
    }
}
