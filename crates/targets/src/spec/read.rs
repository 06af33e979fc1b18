//! Reads a `RemoteWriteSpec` strictly: every unknown key, wrong shape and wrong word is told with its path and place, and the
//! result is spelled as in Kubernetes, whichever spelling was written.

use serde_json::{Map, Value as Json};
use writegate_config::{Node, Place, Value, nearest, parse_duration};

use super::schema::{Field, Kind, REMOTE_WRITE, SECRET_OR_CONFIG_MAP, SELECTOR};

/// What is wrong with what was written, and where. Never holds a value that may be secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flaw {
    /// In the text, if it was one; 0:0 in an object.
    pub place: Place,
    /// What is wrong: `path: message`.
    pub message: String,
}

impl std::fmt::Display for Flaw {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.place.line {
            0 => f.write_str(&self.message),
            line => write!(f, "line {line}, column {}: {}", self.place.column, self.message),
        }
    }
}

/// Reads one spec. A list with one entry is taken for the entry: people paste `remote_write:` blocks.
pub(super) fn spec(root: &Node) -> Result<Map<String, Json>, Vec<Flaw>> {
    let mut reader = Reader { flaws: Vec::new() };
    let node = match &root.value {
        Value::List(items) => match items.as_slice() {
            [only] => only,
            _ => {
                reader.wrong(root, "", format_args!("expected one target, found a list of {}", items.len()));
                return Err(reader.flaws);
            }
        },
        Value::Null | Value::Text(_) | Value::Map(_) => root,
    };
    let spec = reader.object(node, "", REMOTE_WRITE);
    if reader.flaws.is_empty() { Ok(spec) } else { Err(reader.flaws) }
}

/// A JSON value as if it had been written somewhere.
pub(super) fn node(value: &Json) -> Node {
    let value = match value {
        Json::Null => Value::Null,
        Json::Bool(value) => Value::Text(value.to_string()),
        Json::Number(value) => Value::Text(value.to_string()),
        Json::String(text) => Value::Text(text.clone()),
        Json::Array(items) => Value::List(items.iter().map(node).collect()),
        Json::Object(entries) => {
            let key = |key: &str| Node { place: Place::default(), value: Value::Text(key.to_owned()) };
            Value::Map(entries.iter().map(|(name, value)| (key(name), node(value))).collect())
        }
    };
    Node { place: Place::default(), value }
}

struct Reader {
    flaws: Vec<Flaw>,
}

impl Reader {
    fn wrong(&mut self, at: &Node, path: &str, message: impl std::fmt::Display) {
        let message = if path.is_empty() { message.to_string() } else { format!("{path}: {message}") };
        self.flaws.push(Flaw { place: at.place, message });
    }

    fn object(&mut self, node: &Node, path: &str, fields: &'static [Field]) -> Map<String, Json> {
        let mut object = Map::new();
        let Value::Map(entries) = &node.value else {
            if !matches!(node.value, Value::Null) || path.is_empty() {
                self.wrong(node, path, format_args!("expected a mapping, found {}", node.kind()));
            }
            return object;
        };
        for (key, value) in entries {
            let Some(name) = key.text() else {
                self.wrong(key, path, "a key must be a single value");
                continue;
            };
            let Some(field) = fields.iter().find(|field| field.name == name || field.alias == name) else {
                self.unknown(key, name, path, fields);
                continue;
            };
            // An empty URL is none, and prometheus-operator's schema takes none that is empty.
            let no_url = matches!(field.kind, Kind::Url) && !field.required && value.text() == Some("");
            if matches!(value.value, Value::Null) || no_url {
                continue;
            }
            let path = join(path, field.name);
            if object.contains_key(field.name) {
                self.wrong(key, &path, "it is written in both spellings");
            }
            if let Some(value) = self.value(value, &path, &field.kind) {
                object.insert(field.name.to_owned(), value);
            }
        }
        for field in fields.iter().filter(|field| field.required && !object.contains_key(field.name)) {
            // A value that could not be read has been told already.
            let path = join(path, field.name);
            if !self.flaws.iter().any(|flaw| flaw.message.starts_with(&path)) {
                self.wrong(node, &path, "it is missing");
            }
        }
        object
    }

    fn unknown(&mut self, key: &Node, name: &str, path: &str, fields: &'static [Field]) {
        let place = if path.is_empty() { "the target" } else { path };
        let known = fields.iter().flat_map(|field| [field.name, field.alias]).filter(|name| !name.is_empty());
        let hint = match nearest(name, known) {
            Some(near) => format!("; did you mean `{near}`?"),
            None => String::new(),
        };
        self.wrong(key, "", format_args!("unknown key `{name}` in {place}{hint}"));
    }

    fn value(&mut self, node: &Node, path: &str, kind: &'static Kind) -> Option<Json> {
        match kind {
            Kind::Object(fields) => Some(Json::Object(self.object(node, path, fields))),
            Kind::Objects(fields) => {
                let items = self.items(node, path)?;
                let item = |(index, item)| Json::Object(self.object(item, &format!("{path}[{index}]"), fields));
                Some(Json::Array(items.iter().enumerate().map(item).collect()))
            }
            Kind::SecretKey => Some(Json::Object(self.selector(node, path))),
            Kind::SecretOrConfigMap => {
                let object = self.object(node, path, SECRET_OR_CONFIG_MAP);
                if object.len() != 1 && matches!(node.value, Value::Map(_)) {
                    self.wrong(node, path, "expected exactly one of secret and configMap");
                }
                Some(Json::Object(object))
            }
            Kind::SecretKeys => {
                let mut headers = Map::new();
                for (name, values) in self.entries(node, path)? {
                    let path = join(path, &name);
                    let selectors = self.items(values, &path).unwrap_or_default();
                    let selector = |(index, item)| Json::Object(self.selector(item, &format!("{path}[{index}]")));
                    let selectors = selectors.iter().enumerate().map(selector).collect();
                    headers.insert(name, Json::Array(selectors));
                }
                Some(Json::Object(headers))
            }
            Kind::Texts => {
                let items = self.items(node, path)?;
                let texts = items.iter().filter_map(|item| self.text(item, path)).map(Json::String).collect();
                Some(Json::Array(texts))
            }
            Kind::TextMap => {
                let mut texts = Map::new();
                for (name, value) in self.entries(node, path)? {
                    if let Some(text) = self.text(value, &join(path, &name)) {
                        texts.insert(name, Json::String(text));
                    }
                }
                Some(Json::Object(texts))
            }
            Kind::Text
            | Kind::SecretText
            | Kind::Url
            | Kind::File
            | Kind::Bool
            | Kind::Integer { .. }
            | Kind::Duration
            | Kind::Choice(_) => {
                let text = self.text(node, path)?;
                match scalar(text, kind) {
                    Ok(value) => Some(value),
                    Err(message) => {
                        self.wrong(node, path, message);
                        None
                    }
                }
            }
        }
    }

    /// A reference. Where a name is left out Kubernetes takes an empty one, which is no Secret's.
    fn selector(&mut self, node: &Node, path: &str) -> Map<String, Json> {
        if let Value::Text(_) = node.value {
            self.wrong(
                node,
                path,
                "expected a Secret's `name` and `key`, found a single value; a secret is not written here",
            );
            return Map::new();
        }
        let object = self.object(node, path, SELECTOR);
        for key in ["name", "key"] {
            if object.get(key).is_some_and(|value| value.as_str() == Some("")) {
                self.wrong(node, &join(path, key), "it is empty");
            }
        }
        object
    }

    fn text(&mut self, node: &Node, path: &str) -> Option<String> {
        let text = node.text().map(str::to_owned);
        if text.is_none() {
            self.wrong(node, path, format_args!("expected a single value, found {}", node.kind()));
        }
        text
    }

    fn items<'n>(&mut self, node: &'n Node, path: &str) -> Option<&'n [Node]> {
        let Value::List(items) = &node.value else {
            self.wrong(node, path, format_args!("expected a list, found {}", node.kind()));
            return None;
        };
        Some(items)
    }

    fn entries<'n>(&mut self, node: &'n Node, path: &str) -> Option<Vec<(String, &'n Node)>> {
        let Value::Map(entries) = &node.value else {
            self.wrong(node, path, format_args!("expected a mapping, found {}", node.kind()));
            return None;
        };
        Some(entries.iter().filter_map(|(key, value)| Some((key.text()?.to_owned(), value))).collect())
    }
}

/// The words of Prometheus' file for a message version.
const MESSAGES: [(&str, &str); 2] = [("prometheus.WriteRequest", "V1.0"), ("io.prometheus.write.v2.Request", "V2.0")];

fn scalar(text: String, kind: &Kind) -> Result<Json, String> {
    match kind {
        Kind::Bool => match text.as_str() {
            "true" => Ok(Json::Bool(true)),
            "false" => Ok(Json::Bool(false)),
            _ => Err("expected true or false".to_owned()),
        },
        Kind::Integer { min, bits } => {
            let max = if *bits == 32 { i64::from(i32::MAX) } else { i64::MAX };
            match text.parse::<i64>() {
                Ok(number) if (*min..=max).contains(&number) => Ok(Json::from(number)),
                Ok(_) | Err(_) => Err("expected a whole number".to_owned()),
            }
        }
        Kind::Duration => match parse_duration(&text) {
            Ok(_) => Ok(Json::String(text)),
            Err(error) => Err(error.to_string()),
        },
        Kind::Choice(words) => {
            let word =
                MESSAGES.iter().find(|(message, _)| *message == text).map_or(text.as_str(), |(_, version)| version);
            if words.contains(&word) {
                Ok(Json::String(word.to_owned()))
            } else {
                Err(format!("expected one of {}", words.join(", ")))
            }
        }
        _ => Ok(Json::String(text)),
    }
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}
