//! One declared target: a `RemoteWriteSpec`, read strictly, with what it refers to.

mod check;
mod gateway;
mod read;
pub(crate) mod schema;

use serde_json::{Map, Value as Json};
use writegate_config::{Node, Value};

pub use gateway::{Resolve, Resolved};
pub use read::Flaw;

use schema::{Field, Kind, REMOTE_WRITE};

/// A `RemoteWriteSpec` that has been read: known fields only, spelled as in Kubernetes. Its URL and rules are valid, and at
/// most one way to authenticate is written.
#[derive(Clone, Debug, PartialEq)]
pub struct Spec(Map<String, Json>);

/// A key of a Secret or ConfigMap that a spec names.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Reference {
    /// Where it is named, such as `basicAuth.password`.
    pub path: String,
    /// What it names.
    pub kind: ReferenceKind,
    /// The object's name.
    pub name: String,
    /// The key in it.
    pub key: String,
}

/// What a reference names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ReferenceKind {
    /// A Secret.
    Secret,
    /// A ConfigMap.
    ConfigMap,
}

impl ReferenceKind {
    /// As Kubernetes writes the kind.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Secret => "Secret",
            Self::ConfigMap => "ConfigMap",
        }
    }
}

impl Spec {
    /// Reads YAML or JSON: one target, or a list of one.
    ///
    /// # Errors
    /// Everything that is wrong with it, with its place in the text.
    pub fn parse(text: &str) -> Result<Self, Vec<Flaw>> {
        match Node::parse(text, std::path::Path::new("")) {
            Ok(root) => Self::from_node(&root),
            Err(problem) => {
                let place = writegate_config::Place { line: problem.line, column: problem.column };
                Err(vec![Flaw { place, message: problem.message.clone() }])
            }
        }
    }

    /// Reads `spec.remoteWrite` of an object.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn from_json(value: &Json) -> Result<Self, Vec<Flaw>> {
        Self::from_node(&read::node(value))
    }

    /// Reads what is written at `root`.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn from_node(root: &Node) -> Result<Self, Vec<Flaw>> {
        let spec = Self(read::spec(root)?);
        let flaws = check::flaws(&spec);
        if flaws.is_empty() { Ok(spec) } else { Err(flaws) }
    }

    /// Reads the administrator's template for one namespace.
    ///
    /// # Errors
    /// As [`Spec::from_node`].
    pub fn from_template(template: &Node, namespace: &str) -> Result<Self, Vec<Flaw>> {
        Self::from_node(&filled(template, namespace))
    }

    /// The fields, as an entry of `spec.remoteWrite`.
    #[must_use]
    pub fn fields(&self) -> &Map<String, Json> {
        &self.0
    }

    /// The text at a key of the target itself; empty is none.
    #[must_use]
    pub fn text(&self, key: &str) -> Option<&str> {
        self.0.get(key)?.as_str().filter(|text| !text.is_empty())
    }

    /// The URL without what may be secret in it.
    #[must_use]
    pub fn shown_url(&self) -> String {
        let url = self.text("url").and_then(|url| writegate_config::Url::parse(url).ok());
        url.map(|url| url.redacted()).unwrap_or_default()
    }

    /// Every reference, in the order of the fields.
    #[must_use]
    pub fn references(&self) -> Vec<Reference> {
        let mut all = Vec::new();
        let mut copy = self.0.clone();
        each_reference(&mut copy, REMOTE_WRITE, "", &mut |reference, _| all.push(reference));
        all
    }

    /// The same spec with every reference led elsewhere, always to a Secret.
    #[must_use]
    pub fn renamed(&self, name: impl Fn(&Reference) -> String) -> Self {
        let mut copy = self.0.clone();
        each_reference(&mut copy, REMOTE_WRITE, "", &mut |reference, selector| {
            selector.insert("name".to_owned(), Json::String(name(&reference)));
        });
        turn_config_maps_into_secrets(&mut copy, REMOTE_WRITE);
        Self(copy)
    }

    /// The same spec with another name, and with what the API server would add, so that what comes back is what was sent.
    #[must_use]
    pub fn entry(&self, name: &str) -> Json {
        let mut entry = self.0.clone();
        entry.insert("name".to_owned(), Json::String(name.to_owned()));
        normalise(&mut entry);
        Json::Object(entry)
    }

    /// The same spec with a proxy.
    #[must_use]
    pub fn with_proxy(&self, proxy: &str) -> Self {
        let mut copy = self.0.clone();
        copy.insert("proxyUrl".to_owned(), Json::String(proxy.to_owned()));
        Self(copy)
    }

    /// The paths of everything that names a file.
    #[must_use]
    pub fn files(&self) -> Vec<String> {
        let mut files = Vec::new();
        each_scalar(&self.0, REMOTE_WRITE, "", &mut |path, kind, value| {
            if matches!(kind, Kind::File) && value.as_str() != Some("") {
                files.push(path.to_owned());
            }
        });
        files
    }

    /// Every URL that is not empty, with its path.
    #[must_use]
    pub fn urls(&self) -> Vec<(String, String)> {
        let mut urls = Vec::new();
        each_scalar(&self.0, REMOTE_WRITE, "", &mut |path, kind, value| {
            if let (Kind::Url, Some(url)) = (kind, value.as_str().filter(|url| !url.is_empty())) {
                urls.push((path.to_owned(), url.to_owned()));
            }
        });
        urls
    }
}

/// What prometheus-operator's CRD has defaults for.
pub(crate) fn normalise(entry: &mut Map<String, Json>) {
    let Some(Json::Array(rules)) = entry.get_mut("writeRelabelConfigs") else { return };
    for rule in rules.iter_mut().filter_map(Json::as_object_mut) {
        rule.entry("action").or_insert_with(|| Json::String("replace".to_owned()));
    }
}

/// `{{namespace}}` is the namespace, in every text.
pub(crate) fn filled(template: &Node, namespace: &str) -> Node {
    let value = match &template.value {
        Value::Null => Value::Null,
        Value::Text(text) => Value::Text(text.replace("{{namespace}}", namespace)),
        Value::List(items) => Value::List(items.iter().map(|item| filled(item, namespace)).collect()),
        Value::Map(entries) => {
            let both = |(key, value): &(Node, Node)| (filled(key, namespace), filled(value, namespace));
            Value::Map(entries.iter().map(both).collect())
        }
    };
    Node { place: template.place, value }
}

/// Calls `found` with every reference and the mapping that holds it.
fn each_reference(
    object: &mut Map<String, Json>,
    fields: &'static [Field],
    path: &str,
    found: &mut dyn FnMut(Reference, &mut Map<String, Json>),
) {
    for field in fields {
        let Some(value) = object.get_mut(field.name) else { continue };
        let path = if path.is_empty() { field.name.to_owned() } else { format!("{path}.{}", field.name) };
        match (&field.kind, value) {
            (Kind::Object(fields), Json::Object(inner)) => each_reference(inner, fields, &path, found),
            (Kind::SecretKey, Json::Object(selector)) => refer(selector, ReferenceKind::Secret, path, found),
            (Kind::SecretOrConfigMap, Json::Object(either)) => {
                if let Some(Json::Object(selector)) = either.get_mut("secret") {
                    refer(selector, ReferenceKind::Secret, path, found);
                } else if let Some(Json::Object(selector)) = either.get_mut("configMap") {
                    refer(selector, ReferenceKind::ConfigMap, path, found);
                }
            }
            (Kind::SecretKeys, Json::Object(headers)) => {
                for (name, values) in headers {
                    for (index, value) in values.as_array_mut().into_iter().flatten().enumerate() {
                        if let Json::Object(selector) = value {
                            refer(selector, ReferenceKind::Secret, format!("{path}.{name}[{index}]"), found);
                        }
                    }
                }
            }
            _ => {}
        }
    }
}

fn refer(
    selector: &mut Map<String, Json>,
    kind: ReferenceKind,
    path: String,
    found: &mut dyn FnMut(Reference, &mut Map<String, Json>),
) {
    let text = |key: &str| selector.get(key).and_then(Json::as_str).unwrap_or_default().to_owned();
    let reference = Reference { path, kind, name: text("name"), key: text("key") };
    found(reference, selector);
}

fn turn_config_maps_into_secrets(object: &mut Map<String, Json>, fields: &'static [Field]) {
    for field in fields {
        match (&field.kind, object.get_mut(field.name)) {
            (Kind::Object(fields), Some(Json::Object(inner))) => turn_config_maps_into_secrets(inner, fields),
            (Kind::SecretOrConfigMap, Some(Json::Object(either))) => {
                if let Some(selector) = either.remove("configMap") {
                    either.insert("secret".to_owned(), selector);
                }
            }
            _ => {}
        }
    }
}

/// Calls `found` with every scalar that is written.
fn each_scalar(
    object: &Map<String, Json>,
    fields: &'static [Field],
    path: &str,
    found: &mut dyn FnMut(&str, &'static Kind, &Json),
) {
    for field in fields {
        let Some(value) = object.get(field.name) else { continue };
        let path = if path.is_empty() { field.name.to_owned() } else { format!("{path}.{}", field.name) };
        match (&field.kind, value) {
            (Kind::Object(fields), Json::Object(inner)) => each_scalar(inner, fields, &path, found),
            (kind, value) => found(&path, kind, value),
        }
    }
}
