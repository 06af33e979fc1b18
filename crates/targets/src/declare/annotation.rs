//! A namespace's annotation that names a Secret with a target in it, and what that target refers to.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    Body, Declaration, Elsewhere, Material, Settings, SourceId, State, Target, copy_identity, is_object_name, judged,
    listed, malformed, read_all, short_hash,
};
use crate::observed::{Data, Key, Known, Look, Namespace, SourceKey, World};
use crate::reason::{Reason, Refusal};
use crate::spec::{ReferenceKind, Spec};
use crate::words::{
    REFERENCED_SECRETS, REFERENCED_SECRETS_PREFIXES, REMOTE_WRITE, REMOTE_WRITE_KEY, REMOTE_WRITE_PREFIXES,
};

/// The longest name of a Secret.
const MAX_NAME: usize = 253;

/// What a namespace declares; `None` if it has no such annotation.
pub(super) fn declared(
    world: &World,
    settings: &Settings,
    name: &str,
    namespace: &Namespace,
    needs: &mut BTreeSet<SourceKey>,
) -> Option<Declaration> {
    let domain = &settings.config.domain;
    let written: Vec<(String, &str)> = REMOTE_WRITE_PREFIXES
        .into_iter()
        .filter_map(|prefix| {
            let key = format!("{prefix}.{domain}{REMOTE_WRITE}");
            let value = namespace.annotations.get(&key)?;
            Some((key, value.as_str()))
        })
        .collect();
    let (key, value) = written.first()?;
    let mut declaration = Declaration {
        source: SourceId::Annotation(name.to_owned()),
        created: String::new(),
        state: State::Unread,
        origin: None,
        notes: Vec::new(),
    };
    let documented = format!("{}.{domain}{REMOTE_WRITE}", REMOTE_WRITE_PREFIXES[0]);
    if *key != documented {
        declaration.notes.push(format!("the annotation is written {key}; the documented key is {documented}"));
    }
    if let Some((other, _)) = written.iter().find(|(_, other)| other.trim() != value.trim()) {
        let message = format!("the annotations {key} and {other} name different Secrets; remove one");
        declaration.state = State::Refused(Refusal::new(Reason::AnnotationInvalid, message));
        return Some(declaration);
    }
    if !listed(&settings.config.policies.annotation_namespaces, name) {
        let message = format!("the namespace {name} is not among `policies.annotation_namespaces` of the operator");
        declaration.state = State::Refused(Refusal::new(Reason::NamespaceNotAllowed, message));
        return Some(declaration);
    }
    let secret = match named(value, name, key) {
        Ok(secret) => secret,
        Err(refusal) => {
            declaration.state = State::Refused(refusal);
            return Some(declaration);
        }
    };
    declaration.origin = Some(secret.clone());
    declaration.state = match target(world, settings, name, &secret, needs) {
        Ok(Some(target)) => State::Ready(Box::new(target)),
        Ok(None) => State::Unread,
        Err(refusal) => State::Refused(refusal),
    };
    Some(declaration)
}

/// `secret` of the namespace itself, or `namespace/secret`; never anything else.
fn named(value: &str, namespace: &str, key: &str) -> Result<Key, Refusal> {
    let value = value.trim();
    let (namespace, name) = value.split_once('/').unwrap_or((namespace, value));
    if is_object_name(namespace) && !namespace.contains('.') && is_object_name(name) {
        return Ok(Key::new(namespace, name));
    }
    let message = format!("the annotation {key} must be the name of a Secret or `namespace/name`, and is {value:?}");
    Err(Refusal::new(Reason::AnnotationInvalid, message))
}

fn target(
    world: &World,
    settings: &Settings,
    tenant: &str,
    secret: &Key,
    needs: &mut BTreeSet<SourceKey>,
) -> Result<Option<Target>, Refusal> {
    let source = SourceKey::secret(secret.clone());
    // The grant stands in the metadata, so that nothing is read that was not granted.
    if secret.namespace != tenant && !world.known.get(&source).is_some_and(|known| known.allows(tenant)) {
        let message = format!(
            "the {source} is not granted to the namespace {tenant}, or is not there; its owner grants it with the annotation {}: {tenant}",
            crate::words::ALLOW_NAMESPACES
        );
        return Err(Refusal::new(Reason::NotGranted, message));
    }
    let (known, data) = match world.look(&source, needs) {
        Look::Missing => {
            return Err(Refusal::new(
                Reason::SecretMissing,
                format_args!("the {source} is not there; it is taken as soon as it is"),
            ));
        }
        Look::Unread => return Ok(None),
        Look::Read(known, data) => (known, data),
    };
    let spec = judged(written(&source, data, settings)?, settings)?;
    let Some(read) = read_all(world, &secret.namespace, &spec, needs)? else { return Ok(None) };
    let mut sources: BTreeMap<(ReferenceKind, String), &Data> = read;
    for name in listed_secrets(known, &settings.config.domain) {
        let source = SourceKey::secret(Key::new(&secret.namespace, &name));
        match world.look(&source, needs) {
            Look::Missing => {
                let message = format!(
                    "the annotation of {secret} that ends in {REFERENCED_SECRETS} names the {source}, which is not there"
                );
                return Err(Refusal::new(Reason::SecretMissing, message));
            }
            Look::Unread => return Ok(None),
            Look::Read(_, data) => drop(sources.insert((ReferenceKind::Secret, name), data)),
        }
    }
    let material = sources.into_iter().map(|((kind, name), data)| {
        let source = SourceKey { kind, key: Key::new(&secret.namespace, &name) };
        ((kind, name), copy(&source, data))
    });
    Ok(Some(Target { body: Body::Spec(spec), material: material.collect(), elsewhere: Elsewhere::Nowhere }))
}

fn written(source: &SourceKey, data: &Data, settings: &Settings) -> Result<Spec, Refusal> {
    let Some(bytes) = data.0.get(REMOTE_WRITE_KEY) else {
        let message = format!("the {source} has no key {REMOTE_WRITE_KEY}, which holds the target as YAML or JSON");
        return Err(Refusal::new(Reason::KeyMissing, message));
    };
    let most = settings.config.policies.max_target_bytes;
    if bytes.len() as u64 > most {
        let message = format!(
            "{REMOTE_WRITE_KEY} of the {source} has {} bytes, more than the {most} of `policies.max_target_bytes`",
            bytes.len()
        );
        return Err(Refusal::new(Reason::TooLarge, message));
    }
    let what = format!("{REMOTE_WRITE_KEY} of the {source}");
    let Ok(text) = std::str::from_utf8(bytes) else {
        return Err(Refusal::new(Reason::SpecInvalid, format_args!("{what} is not UTF-8 text")));
    };
    Spec::parse(text).map_err(|flaws| malformed(&what, &flaws))
}

/// The union of what every spelling of the annotation lists.
fn listed_secrets(known: &Known, domain: &str) -> BTreeSet<String> {
    let lists = REFERENCED_SECRETS_PREFIXES
        .iter()
        .filter_map(|prefix| known.annotations.get(&format!("{prefix}.{domain}{REFERENCED_SECRETS}")));
    lists.flat_map(|list| list.split(',')).map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

/// The whole source, under the name that Adevinta's operator gives its copies.
fn copy(source: &SourceKey, data: &Data) -> Material {
    let identity = copy_identity(source);
    let mut name = format!("custom-remote-write-{}-{}", source.key.name, source.key.namespace);
    if name.len() > MAX_NAME {
        name.truncate(MAX_NAME - 11);
        name = format!("{}-{}", name.trim_end_matches(['.', '-']), short_hash(&identity));
    }
    Material {
        identity,
        name,
        fixed: false,
        data: data.clone(),
        copy_of: Some(source.key.clone()),
        labels: BTreeMap::new(),
    }
}
