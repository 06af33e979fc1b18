//! What `--apply file` writes: entries for the gateway's `remote_write_files`, tenant by namespace, and the secrets they name.
//!
//! An entry is a line, `- {…}`, so that the file is YAML for the gateway and can be read back here: what cannot be applied
//! leaves the last good entry where it is, also after a restart.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde_json::{Map, Value as Json, json};

use crate::declare::{Body, Declaration, Settings, SourceId, State, Target, short_hash};
use crate::observed::{Key, SourceKey, World};
use crate::reason::{Reason, Refusal};
use crate::selector::Selector;
use crate::spec::{Reference, ReferenceKind, Resolved, Spec};

/// The longest name of an endpoint.
const MAX_NAME: usize = 255;

/// Stands in front of a file below the directory of secrets, until that is known.
pub(crate) const BELOW: &str = "/below-the-directory-of-secrets/";

/// The first line.
const HEADER: &str = "# Made by writegate-operator from what is declared in the cluster. Changes are overwritten.\n";

/// Bytes by the path of their file below the directory of secrets.
type Secrets = BTreeMap<String, Vec<u8>>;

/// An entry of the file as it is.
#[derive(Clone, Debug, PartialEq)]
pub struct Previous {
    /// In the gateway's words.
    pub entry: Json,
    /// The Secret that the target was written in.
    pub from: Option<Key>,
}

/// A whole file, and the files beside it.
#[derive(Clone, PartialEq, Eq)]
pub struct Rendered {
    /// What it holds; some of it may be secret.
    pub text: String,
    /// The secrets, by their paths below the directory of secrets.
    pub secrets: BTreeMap<String, Vec<u8>>,
    /// Files that stay as they are.
    pub kept: BTreeSet<String>,
}

impl std::fmt::Debug for Rendered {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Rendered")
            .field("secrets", &self.secrets.keys())
            .field("kept", &self.kept)
            .finish_non_exhaustive()
    }
}

/// Reads a file that was rendered; anything else is no entry.
#[must_use]
pub fn previous(text: &str) -> BTreeMap<String, Previous> {
    let line = |line: &str| {
        let mut values = serde_json::Deserializer::from_str(line.strip_prefix("- ")?).into_iter::<Json>();
        let entry = values.next()?.ok()?;
        let rest = line.get(2 + values.byte_offset()..).unwrap_or_default();
        let from = rest.trim().strip_prefix("# from ").and_then(|from| from.split_once('/'));
        let from = from.map(|(namespace, name)| Key::new(namespace, name));
        Some((entry["name"].as_str()?.to_owned(), Previous { entry, from }))
    };
    text.lines().filter_map(line).collect()
}

/// Renders every target, and says of each that was declared whether it is in the file.
#[expect(clippy::type_complexity, reason = "two results of one walk")]
pub(crate) fn render(
    world: &World,
    settings: &Settings,
    declared: &[Declaration],
    previous: &BTreeMap<String, Previous>,
) -> (Rendered, Vec<(SourceId, Result<(), Refusal>)>) {
    let mut rendered = Rendered { text: HEADER.to_owned(), secrets: BTreeMap::new(), kept: BTreeSet::new() };
    let mut states = Vec::new();
    for declaration in declared {
        let name = name(&declaration.source);
        let made = match &declaration.state {
            State::Deleting => continue,
            State::Unread | State::Paused | State::Refused(_) => None,
            State::Ready(target) => Some(entry(world, settings, declaration, target)),
        };
        match made {
            Some(Ok((mut entry, secrets))) => {
                entry.insert("name".to_owned(), json!(name));
                rendered.secrets.extend(secrets);
                line(&mut rendered.text, &Json::Object(entry), declaration.origin.as_ref());
                states.push((declaration.source.clone(), Ok(())));
                continue;
            }
            Some(Err(refusal)) => states.push((declaration.source.clone(), Err(refusal))),
            None => {}
        }
        if let Some(last) = previous.get(&name).filter(|last| stays(world, settings, declaration, last)) {
            let below = format!("{}/", settings.secrets_dir);
            texts_in(&last.entry, &mut |text| rendered.kept.extend(text.strip_prefix(&below).map(str::to_owned)));
            line(&mut rendered.text, &last.entry, last.from.as_ref());
        }
    }
    let written: BTreeSet<String> = rendered.secrets.keys().cloned().collect();
    rendered.kept.retain(|path| !written.contains(path));
    (rendered, states)
}

/// Whether the last good entry goes on.
fn stays(world: &World, settings: &Settings, declaration: &Declaration, last: &Previous) -> bool {
    if let State::Refused(refusal) = &declaration.state
        && refusal.reason.revokes()
    {
        return false;
    }
    if let (SourceId::Annotation(tenant), Some(from)) = (&declaration.source, &last.from)
        && from.namespace != *tenant
    {
        let known = world.known.get(&SourceKey::secret(from.clone()));
        return known.is_none_or(|known| known.allows(tenant));
    }
    let allowed = &settings.config.policies.allowed_hosts;
    let host = last.entry["url"].as_str().and_then(|url| writegate_config::Url::parse(url).ok());
    let declared = matches!(declaration.source, SourceId::Annotation(_) | SourceId::RemoteWrite(_));
    !declared || allowed.is_empty() || host.is_none_or(|url| allowed.iter().any(|pattern| pattern.matches(url.host())))
}

fn entry(
    world: &World,
    settings: &Settings,
    declaration: &Declaration,
    target: &Target,
) -> Result<(Map<String, Json>, Secrets), Refusal> {
    let mut secrets = Secrets::new();
    let mut entry = match &target.body {
        Body::Entry { entry, files, .. } => {
            secrets.extend(files.clone());
            let mut entry = Json::Object(entry.clone());
            make_absolute(&mut entry, &settings.secrets_dir);
            entry.as_object().cloned().unwrap_or_default()
        }
        Body::Spec(spec) => resolved(world, settings, declaration, target, spec, &mut secrets),
    };
    match &declaration.source {
        SourceId::Default(namespace) | SourceId::Annotation(namespace) => {
            entry.insert("tenants".to_owned(), json!([namespace]));
        }
        SourceId::RemoteWrite(key) => {
            let object = world.remote_writes.get(key).unwrap_or(&Json::Null);
            let selector = Selector::parse(&object["spec"]["clusterSelector"])
                .map_err(|error| Refusal::new(Reason::SelectorInvalid, format_args!("spec.clusterSelector{error}")))?;
            if !selector.is_empty() {
                let tenants = world.namespaces.iter().filter(|(_, namespace)| selector.matches(&namespace.labels));
                let tenants: Vec<&String> = tenants.map(|(name, _)| name).collect();
                if tenants.is_empty() {
                    return Err(Refusal::new(Reason::NothingSelected, "spec.clusterSelector selects no namespace"));
                }
                entry.insert("tenants".to_owned(), json!(tenants));
            }
        }
        SourceId::WriteStorage(_) => {}
    }
    // Written always: a list whose entries have nothing but a name and a url would be read as Observatorium's.
    entry.entry("tenant_header").or_insert_with(|| json!(""));
    check(&entry)?;
    Ok((entry, secrets))
}

/// One entry that the gateway refuses would cost it the whole file: what Secrets hold is judged here, as what was written was
/// before.
fn check(entry: &Map<String, Json>) -> Result<(), Refusal> {
    let file = json!({"listeners": [{"address": "127.0.0.1:1", "tenant": "a"}], "remote_write": [entry]});
    let Err(problems) = writegate_config::parse(&file.to_string(), Path::new(""), Path::new("/")) else {
        return Ok(());
    };
    let messages: Vec<String> =
        problems.0.iter().map(|problem| problem.message.replace("remote_write[0].", "")).collect();
    let message = format!("with what its Secrets hold the gateway would refuse it: {}", messages.join("; "));
    Err(Refusal::new(Reason::SecretInvalid, message))
}

fn resolved(
    world: &World,
    settings: &Settings,
    declaration: &Declaration,
    target: &Target,
    spec: &Spec,
    secrets: &mut Secrets,
) -> Map<String, Json> {
    let home = &settings.config.prometheus_namespace;
    let bytes = |reference: &Reference| -> Vec<u8> {
        let place = (reference.kind, reference.name.clone());
        let material = target.material.get(&place).map(|material| &material.data);
        let source = SourceKey { kind: reference.kind, key: Key::new(home, &reference.name) };
        let data = material.or_else(|| world.contents.get(&source).map(|contents| &contents.data));
        data.and_then(|data| data.0.get(&reference.key)).cloned().unwrap_or_default()
    };
    let path = |reference: &Reference| {
        let kind = if reference.kind == ReferenceKind::Secret { "" } else { "@configmap" };
        let (namespace, name, key) = (declaration.source.namespace(), &reference.name, &reference.key);
        match (&declaration.source, &declaration.origin) {
            (SourceId::Annotation(_), Some(origin)) => format!("{}/{name}{kind}/{key}", origin.namespace),
            (SourceId::RemoteWrite(owner), _) => format!("{namespace}/{}@{name}{kind}/{key}", owner.name),
            _ => format!("{home}/{name}{kind}/{key}"),
        }
    };
    let files = RefCell::new(secrets);
    let resolve = Resolved {
        file: |reference: &Reference| {
            let path = path(reference);
            files.borrow_mut().insert(path.clone(), bytes(reference));
            format!("{}/{path}", settings.secrets_dir)
        },
        text: |reference: &Reference| String::from_utf8_lossy(&bytes(reference)).trim().to_owned(),
    };
    let mut entry = spec.gateway_entry(&resolve);
    entry.remove("name");
    entry
}

/// The identity of cursor and books: the target's source, which no other target has.
fn name(source: &SourceId) -> String {
    let name = source.to_string();
    if name.len() <= MAX_NAME { name } else { format!("{}-{}", &name[..MAX_NAME - 11], short_hash(&name)) }
}

fn line(text: &mut String, entry: &Json, from: Option<&Key>) {
    *text += &format!("- {entry}");
    if let Some(from) = from {
        *text += &format!(" # from {from}");
    }
    text.push('\n');
}

fn make_absolute(value: &mut Json, secrets_dir: &str) {
    match value {
        Json::String(text) => {
            if let Some(path) = text.strip_prefix(BELOW) {
                *text = format!("{secrets_dir}/{path}");
            }
        }
        Json::Array(items) => items.iter_mut().for_each(|item| make_absolute(item, secrets_dir)),
        Json::Object(entries) => entries.values_mut().for_each(|value| make_absolute(value, secrets_dir)),
        Json::Null | Json::Bool(_) | Json::Number(_) => {}
    }
}

fn texts_in(value: &Json, found: &mut dyn FnMut(&str)) {
    match value {
        Json::String(text) => found(text),
        Json::Array(items) => items.iter().for_each(|item| texts_in(item, found)),
        Json::Object(entries) => entries.values().for_each(|value| texts_in(value, found)),
        Json::Null | Json::Bool(_) | Json::Number(_) => {}
    }
}
