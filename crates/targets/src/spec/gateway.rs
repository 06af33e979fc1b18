//! A spec as an entry of the gateway's `remote_write`: Prometheus' words, secrets in files or in the entry.

use serde_json::{Map, Value as Json};

use super::schema::{Field, Kind, REMOTE_WRITE};
use super::{Reference, ReferenceKind, Spec};

/// What becomes of a reference.
pub trait Resolve {
    /// The name of the file that holds the value, for keys that may name one.
    fn file(&self, reference: &Reference) -> String;
    /// The value, for keys that may not.
    fn text(&self, reference: &Reference) -> String;
}

/// A resolver made of two functions.
#[derive(Debug)]
pub struct Resolved<F, T> {
    /// As [`Resolve::file`].
    pub file: F,
    /// As [`Resolve::text`].
    pub text: T,
}

impl<F: Fn(&Reference) -> String, T: Fn(&Reference) -> String> Resolve for Resolved<F, T> {
    fn file(&self, reference: &Reference) -> String {
        (self.file)(reference)
    }

    fn text(&self, reference: &Reference) -> String {
        (self.text)(reference)
    }
}

/// Stands for every secret while a spec is only judged.
pub(super) struct Stand;

impl Resolve for Stand {
    fn file(&self, _: &Reference) -> String {
        "/secret".to_owned()
    }

    fn text(&self, _: &Reference) -> String {
        "secret".to_owned()
    }
}

/// Fields that Prometheus' file has no word for and that do nothing: prometheus-operator ignores it as well.
const WITHOUT_EFFECT: [&str; 1] = ["max_retries"];

/// Keys that have no `*_file` beside them.
const ONLY_TEXT: [&str; 3] = ["client_id", "access_key", "proxy_connect_header"];

impl Spec {
    /// The entry, without what belongs to the gateway alone.
    #[must_use]
    pub fn gateway_entry(&self, resolve: &dyn Resolve) -> Map<String, Json> {
        object(&self.0, REMOTE_WRITE, "", resolve)
    }
}

fn object(
    object: &Map<String, Json>,
    fields: &'static [Field],
    path: &str,
    resolve: &dyn Resolve,
) -> Map<String, Json> {
    let mut entry = Map::new();
    for field in fields.iter().filter(|field| !WITHOUT_EFFECT.contains(&field.alias)) {
        let Some(value) = object.get(field.name) else { continue };
        let path = if path.is_empty() { field.name.to_owned() } else { format!("{path}.{}", field.name) };
        let key = field.alias.to_owned();
        match (&field.kind, value) {
            (Kind::Object(fields), Json::Object(inner)) => {
                entry.insert(key, Json::Object(self::object(inner, fields, &path, resolve)));
            }
            (Kind::Objects(fields), Json::Array(items)) => {
                let items = items.iter().filter_map(Json::as_object);
                let items = items.map(|item| Json::Object(self::object(item, fields, &path, resolve)));
                entry.insert(key, Json::Array(items.collect()));
            }
            (Kind::SecretKey, Json::Object(selector)) => {
                secret(&mut entry, &key, &reference(selector, ReferenceKind::Secret, &path), resolve);
            }
            (Kind::SecretOrConfigMap, Json::Object(either)) => {
                for (name, kind) in [("secret", ReferenceKind::Secret), ("configMap", ReferenceKind::ConfigMap)] {
                    if let Some(selector) = either.get(name).and_then(Json::as_object) {
                        secret(&mut entry, &key, &reference(selector, kind, &path), resolve);
                    }
                }
            }
            (Kind::SecretKeys, Json::Object(headers)) => {
                let values = |name: &str, list: &Json| -> Json {
                    let selectors = list.as_array().into_iter().flatten().filter_map(Json::as_object).enumerate();
                    let text = |(index, selector)| {
                        let path = format!("{path}.{name}[{index}]");
                        Json::String(resolve.text(&reference(selector, ReferenceKind::Secret, &path)))
                    };
                    Json::Array(selectors.map(text).collect())
                };
                let headers = headers.iter().map(|(name, list)| (name.clone(), values(name, list))).collect();
                entry.insert(key, Json::Object(headers));
            }
            (Kind::Choice(_), Json::String(word)) => {
                let word = match word.as_str() {
                    "V1.0" => "prometheus.WriteRequest",
                    "V2.0" => "io.prometheus.write.v2.Request",
                    word => word,
                };
                entry.insert(key, Json::String(word.to_owned()));
            }
            (_, value) => {
                entry.insert(key, value.clone());
            }
        }
    }
    entry
}

fn secret(entry: &mut Map<String, Json>, key: &str, reference: &Reference, resolve: &dyn Resolve) {
    if ONLY_TEXT.contains(&key) {
        entry.insert(key.to_owned(), Json::String(resolve.text(reference)));
    } else {
        entry.insert(format!("{key}_file"), Json::String(resolve.file(reference)));
    }
}

fn reference(selector: &Map<String, Json>, kind: ReferenceKind, path: &str) -> Reference {
    let text = |key: &str| selector.get(key).and_then(Json::as_str).unwrap_or_default().to_owned();
    Reference { path: path.to_owned(), kind, name: text("name"), key: text("key") }
}
