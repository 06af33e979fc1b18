//! Secrets by which Observatorium's operator takes additional write endpoints: `url` and `http_client_config`, whose blocks
//! name a Secret of the same namespace with `secret_name` and its keys with `*_file_key`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde_json::{Map, Value as Json, json};
use writegate_config::{Node, Url, Value, WriteStorage, parse};

use super::{Body, Declaration, Elsewhere, SourceId, State, Target, is_data_key, is_object_name};
use crate::observed::{Key, Look, SourceKey, World};
use crate::reason::{Reason, Refusal};

/// What Observatorium's receivers read the tenant from.
const TENANT_HEADER: &str = "THANOS-TENANT";

pub(super) fn declared(world: &World, storage: &WriteStorage, needs: &mut BTreeSet<SourceKey>) -> Declaration {
    let state = match target(world, storage, needs) {
        Ok(Some(target)) => State::Ready(Box::new(target)),
        Ok(None) => State::Unread,
        Err(refusal) => State::Refused(refusal),
    };
    let origin = Some(Key::new(&storage.namespace, &storage.name));
    Declaration {
        source: SourceId::WriteStorage(storage.name.clone()),
        created: String::new(),
        state,
        origin,
        notes: Vec::new(),
    }
}

fn target(world: &World, storage: &WriteStorage, needs: &mut BTreeSet<SourceKey>) -> Result<Option<Target>, Refusal> {
    let source = SourceKey::secret(Key::new(&storage.namespace, &storage.name));
    let data = match world.look(&source, needs) {
        Look::Missing => return Err(Refusal::new(Reason::SecretMissing, format_args!("the {source} is not there"))),
        Look::Unread => return Ok(None),
        Look::Read(_, data) => data,
    };
    let Some(bytes) = data.0.get(&storage.key) else {
        return Err(Refusal::new(Reason::KeyMissing, format_args!("the {source} has no key {}", storage.key)));
    };
    let what = format!("{} of the {source}", storage.key);
    let invalid = |message: String| Refusal::new(Reason::SpecInvalid, format_args!("{what} is no endpoint: {message}"));
    let text = std::str::from_utf8(bytes).map_err(|_utf8| invalid("it is not UTF-8 text".to_owned()))?;
    let root = Node::parse(text, Path::new(""))
        .map_err(|problem| invalid(format!("line {}: {}", problem.line, problem.message)))?;
    let Value::Map(entries) = &root.value else {
        return Err(invalid(format!("expected a mapping, found {}", root.kind())));
    };
    let mut reader = Reader { world, namespace: &storage.namespace, files: BTreeMap::new(), needs, unread: false };
    let mut entry = Map::new();
    for (key, value) in entries {
        match key.text() {
            Some("http_client_config") => {
                if let Json::Object(config) = reader.block(value, "http_client_config")? {
                    entry.extend(config);
                }
            }
            Some(key @ ("url" | "name")) => drop(entry.insert(key.to_owned(), plain(value))),
            Some(key) => return Err(invalid(format!("unknown key `{key}`; url and http_client_config are known"))),
            None => return Err(invalid("a key must be a single value".to_owned())),
        }
    }
    let (files, unread) = (reader.files, reader.unread);
    if unread {
        return Ok(None);
    }
    entry.remove("name");
    let file = json!({"listeners": [{"address": "127.0.0.1:1", "tenant": "a"}], "remote_write": [entry]});
    if let Err(problems) = parse(&file.to_string(), Path::new(""), Path::new("/")) {
        let messages: Vec<String> =
            problems.0.iter().map(|problem| problem.message.replace("remote_write[0]", "the endpoint")).collect();
        return Err(invalid(messages.join("; ")));
    }
    entry.insert("tenant_header".to_owned(), json!(TENANT_HEADER));
    let url = entry.get("url").and_then(Json::as_str).and_then(|url| Url::parse(url).ok());
    let url = url.map(|url| url.redacted()).unwrap_or_default();
    let body = Body::Entry { entry, url, files };
    Ok(Some(Target { body, material: BTreeMap::new(), elsewhere: Elsewhere::Nowhere }))
}

struct Reader<'w, 'n> {
    world: &'w World,
    namespace: &'w str,
    files: BTreeMap<String, Vec<u8>>,
    needs: &'n mut BTreeSet<SourceKey>,
    unread: bool,
}

impl Reader<'_, '_> {
    /// A mapping of the client's configuration: `secret_name` and `x_file_key` become `x_file`, at any depth.
    fn block(&mut self, node: &Node, path: &str) -> Result<Json, Refusal> {
        let Value::Map(entries) = &node.value else { return Ok(plain(node)) };
        let secret =
            entries.iter().find(|(key, _)| key.text() == Some("secret_name")).and_then(|(_, name)| name.text());
        let mut block = Map::new();
        for (key, value) in entries {
            let name = key.text().unwrap_or_default();
            if name == "secret_name" {
                continue;
            }
            let (Some(file), Some(secret)) = (name.strip_suffix("_key").filter(|file| file.ends_with("_file")), secret)
            else {
                block.insert(name.to_owned(), self.block(value, &format!("{path}.{name}"))?);
                continue;
            };
            let Some(key) = value.text().filter(|key| !key.is_empty()) else { continue };
            let placed = self.file(secret, key, &format!("{path}.{name}"))?;
            block.insert(file.to_owned(), Json::String(placed));
        }
        Ok(Json::Object(block))
    }

    fn file(&mut self, secret: &str, key: &str, path: &str) -> Result<String, Refusal> {
        if !is_object_name(secret) || !is_data_key(key) {
            let message = format!("{path}: {secret:?} and {key:?} are no names of a Secret and its key");
            return Err(Refusal::new(Reason::SpecInvalid, message));
        }
        let source = SourceKey::secret(Key::new(self.namespace, secret));
        let place = format!("{}/{secret}/{key}", self.namespace);
        match self.world.look(&source, self.needs) {
            Look::Missing => {
                return Err(Refusal::new(
                    Reason::SecretMissing,
                    format_args!("{path} names the {source}, which is not there"),
                ));
            }
            Look::Unread => self.unread = true,
            Look::Read(_, data) => match data.0.get(key) {
                Some(bytes) => drop(self.files.insert(place.clone(), bytes.clone())),
                None => {
                    return Err(Refusal::new(
                        Reason::KeyMissing,
                        format_args!("{path}: the {source} has no key {key}"),
                    ));
                }
            },
        }
        // Made absolute where the file is rendered.
        Ok(format!("{}{place}", super::super::file::BELOW))
    }
}

/// What is written, as JSON; every scalar is a text, which the gateway's reader takes for what it needs.
fn plain(node: &Node) -> Json {
    match &node.value {
        Value::Null => Json::Null,
        Value::Text(text) => Json::String(text.clone()),
        Value::List(items) => Json::Array(items.iter().map(plain).collect()),
        Value::Map(entries) => {
            let both = |(key, value): &(Node, Node)| (key.text().unwrap_or_default().to_owned(), plain(value));
            Json::Object(entries.iter().map(both).collect())
        }
    }
}
