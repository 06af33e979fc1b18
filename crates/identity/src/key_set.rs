//! The keys that tokens are checked with, by the name that a token gives: from Opstrace's flat document or from a JSON Web
//! Key Set (RFC 7517 §5).
//!
//! A key that cannot be taken is refused by itself, and the others stay: one wrong entry must not lock out every tenant.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use serde_json::{Map, Value};

use crate::key::{Key, KeyError, kid_of_pem};

/// A longer document is refused; it would hold thousands of keys.
pub const MAX_DOCUMENT_BYTES: usize = 1 << 20;

/// Keys by name; never empty when it was parsed.
#[derive(Clone, Debug, Default)]
pub struct KeySet {
    keys: BTreeMap<String, Key>,
}

/// What a document had.
#[derive(Clone, Debug)]
pub struct ParsedKeySet {
    /// Those that can be used, one at least.
    pub keys: KeySet,
    /// Those that cannot, and why.
    pub refused: Vec<RefusedKey>,
}

/// One entry of a document that is not used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("key {name:?} is refused")]
pub struct RefusedKey {
    /// Its kid, or where it stands if it has none.
    pub name: String,
    /// Why.
    pub source: KeyError,
}

/// A document gives no keys at all.
#[derive(Debug, thiserror::Error)]
pub enum KeySetError {
    /// Above [`MAX_DOCUMENT_BYTES`].
    #[error("the key set is longer than {MAX_DOCUMENT_BYTES} bytes")]
    TooLong,
    /// No JSON. The source says where, and shows nothing of the text.
    #[error("the key set is not JSON")]
    NotJson(#[source] serde_json::Error),
    /// JSON, but neither of the two forms.
    #[error("the key set is not a JSON object")]
    NotAnObject,
    /// None, or none that can be used.
    #[error("the key set has no key that can be used{}", list(refused))]
    NoUsableKey {
        /// Those that cannot, and why.
        refused: Vec<RefusedKey>,
    },
}

impl KeySet {
    /// Reads a document in one of the two forms. `keys` with a list makes it a JSON Web Key Set, everything else is
    /// `{"<kid>": "<PEM>"}`, where the kid is [`kid_of_pem`].
    ///
    /// # Errors
    /// If it is neither, or has no key that can be used.
    pub fn parse(text: &str) -> Result<ParsedKeySet, KeySetError> {
        if text.len() > MAX_DOCUMENT_BYTES {
            return Err(KeySetError::TooLong);
        }
        let document: Value = serde_json::from_str(text).map_err(KeySetError::NotJson)?;
        let Value::Object(document) = document else { return Err(KeySetError::NotAnObject) };
        let mut parsed = ParsedKeySet { keys: Self::default(), refused: Vec::new() };
        match document.get("keys") {
            Some(Value::Array(jwks)) => {
                for (index, jwk) in jwks.iter().enumerate() {
                    let kid = jwk.get("kid").and_then(Value::as_str);
                    parsed.add(kid.map_or_else(|| format!("#{}", index + 1), str::to_owned), from_jwk(jwk, kid));
                }
            }
            _ => document.iter().for_each(|(kid, value)| parsed.add(kid.clone(), from_entry(kid, value))),
        }
        if parsed.keys.is_empty() {
            return Err(KeySetError::NoUsableKey { refused: parsed.refused });
        }
        Ok(parsed)
    }

    /// The key of that name.
    #[must_use]
    pub fn get(&self, kid: &str) -> Option<&Key> {
        self.keys.get(kid)
    }

    /// All names, sorted.
    pub fn kids(&self) -> impl Iterator<Item = &str> {
        self.keys.keys().map(String::as_str)
    }

    /// How many keys there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }
}

impl ParsedKeySet {
    fn add(&mut self, name: String, key: Result<Key, KeyError>) {
        match (key, self.keys.keys.entry(name)) {
            (Ok(key), Entry::Vacant(place)) => {
                place.insert(key);
            }
            (Ok(_), Entry::Occupied(place)) => {
                self.refused.push(RefusedKey { name: place.key().clone(), source: KeyError::DuplicateKid });
            }
            (Err(source), place) => self.refused.push(RefusedKey { name: place.key().clone(), source }),
        }
    }
}

fn from_entry(kid: &str, value: &Value) -> Result<Key, KeyError> {
    let pem = value.as_str().ok_or(KeyError::BadJson { expected: "string" })?;
    let key = Key::from_pem(pem)?;
    let computed = kid_of_pem(pem);
    if computed == kid { Ok(key) } else { Err(KeyError::KidMismatch { computed }) }
}

fn from_jwk(jwk: &Value, kid: Option<&str>) -> Result<Key, KeyError> {
    let jwk: &Map<String, Value> = jwk.as_object().ok_or(KeyError::BadJson { expected: "object" })?;
    let key = Key::from_jwk(jwk)?;
    if kid.is_some() { Ok(key) } else { Err(KeyError::NoKid) }
}

fn list(refused: &[RefusedKey]) -> String {
    refused.iter().map(|key| format!("; {:?}: {}", key.name, key.source)).collect()
}

#[cfg(test)]
mod tests;
