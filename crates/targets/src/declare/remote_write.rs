//! `RemoteWrite` objects: a target, a selector, and the Secrets that go with it.

use std::collections::{BTreeMap, BTreeSet};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value as Json;

use super::{
    Applier, Body, Declaration, Elsewhere, Material, Materials, Settings, SourceId, State, Target, created,
    is_data_key, is_object_name, judged, listed, malformed, owned_identity, owned_labels,
};
use crate::observed::{Data, Key, Look, SourceKey, World, texts};
use crate::reason::{Reason, Refusal};
use crate::selector::Selector;
use crate::spec::{ReferenceKind, Spec};
use crate::words::PAUSED;

pub(crate) fn is_paused(object: &Json) -> bool {
    let annotations = texts(&object["metadata"]["annotations"]);
    PAUSED.iter().any(|key| annotations.get(*key).is_some_and(|value| value == "true"))
}

pub(crate) fn is_deleting(object: &Json) -> bool {
    !object["metadata"]["deletionTimestamp"].is_null()
}

/// What all objects declare.
pub(super) fn declared(world: &World, settings: &Settings, needs: &mut BTreeSet<SourceKey>) -> Vec<Declaration> {
    let mut ages: Vec<(&str, String, &Key)> = Vec::new();
    for (key, object) in world.remote_writes.iter().filter(|(_, object)| !is_deleting(object)) {
        ages.push((&key.namespace, created(object), key));
    }
    ages.sort();
    let mut ranks: BTreeMap<&Key, u32> = BTreeMap::new();
    let mut last = ("", 0_u32);
    for (namespace, _, key) in &ages {
        last = if last.0 == *namespace { (namespace, last.1 + 1) } else { (namespace, 1) };
        ranks.insert(key, last.1);
    }
    let declare = |(key, object): (&Key, &Json)| {
        let state = if is_paused(object) {
            State::Paused
        } else if is_deleting(object) {
            State::Deleting
        } else {
            match target(world, settings, key, object, ranks.get(key).copied().unwrap_or(1), needs) {
                Ok(Some(target)) => State::Ready(Box::new(target)),
                Ok(None) => State::Unread,
                Err(refusal) => State::Refused(refusal),
            }
        };
        Declaration {
            source: SourceId::RemoteWrite(key.clone()),
            created: created(object),
            state,
            origin: None,
            notes: Vec::new(),
        }
    };
    world.remote_writes.iter().map(declare).collect()
}

fn target(
    world: &World,
    settings: &Settings,
    key: &Key,
    object: &Json,
    rank: u32,
    needs: &mut BTreeSet<SourceKey>,
) -> Result<Option<Target>, Refusal> {
    let policies = &settings.config.policies;
    if !listed(&policies.remote_write_namespaces, &key.namespace) {
        let message =
            format!("the namespace {} is not among `policies.remote_write_namespaces` of the operator", key.namespace);
        return Err(Refusal::new(Reason::NamespaceNotAllowed, message));
    }
    if rank > policies.max_targets_per_namespace {
        let message = format!(
            "the namespace {} has {} older RemoteWrite objects, and `policies.max_targets_per_namespace` allows no more",
            key.namespace,
            rank - 1
        );
        return Err(Refusal::new(Reason::TooMany, message));
    }
    Selector::parse(&object["spec"]["clusterSelector"])
        .map_err(|error| Refusal::new(Reason::SelectorInvalid, format_args!("spec.clusterSelector{error}")))?;
    let written = &object["spec"]["remoteWrite"];
    let (bytes, most) = (written.to_string().len() as u64, policies.max_target_bytes);
    if bytes > most {
        let message =
            format!("spec.remoteWrite has {bytes} bytes, more than the {most} of `policies.max_target_bytes`");
        return Err(Refusal::new(Reason::TooLarge, message));
    }
    let spec = Spec::from_json(written).map_err(|flaws| malformed("spec.remoteWrite", &flaws))?;
    let spec = judged(spec, settings)?;
    let Some(mut material) = secrets(world, key, object, needs)? else { return Ok(None) };
    for reference in spec.references().iter().filter(|reference| reference.kind == ReferenceKind::Secret) {
        if let Some(declared) = material.get(&(ReferenceKind::Secret, reference.name.clone()))
            && !declared.data.0.contains_key(&reference.key)
        {
            let message = format!(
                "{} names the key {} of the secret {} in spec.secrets, which has none of that name",
                reference.path, reference.key, reference.name
            );
            return Err(Refusal::new(Reason::KeyMissing, message));
        }
    }
    if settings.applier == Applier::File {
        // There is no other namespace than its own.
        for reference in spec.references() {
            let place = (reference.kind, reference.name.clone());
            if material.contains_key(&place) {
                continue;
            }
            let source = SourceKey { kind: reference.kind, key: Key::new(&key.namespace, &reference.name) };
            match world.look(&source, needs) {
                Look::Missing => {
                    let message = format!(
                        "{} names {}, which is neither in spec.secrets nor a {source}",
                        reference.path, reference.name
                    );
                    return Err(Refusal::new(Reason::SecretMissing, message));
                }
                Look::Unread => return Ok(None),
                Look::Read(_, data) if !data.0.contains_key(&reference.key) => {
                    let message = format!(
                        "{} names the key {} of the {source}, which has none of that name",
                        reference.path, reference.key
                    );
                    return Err(Refusal::new(Reason::KeyMissing, message));
                }
                Look::Read(_, data) => {
                    let made = made(key, &reference.name, data.clone(), Some(source.key.clone()));
                    material.insert(place, made);
                }
            }
        }
    }
    Ok(Some(Target { body: Body::Spec(spec), material, elsewhere: Elsewhere::Granted }))
}

/// `spec.secrets`: values as bytes or text, or a Secret of the object's own namespace.
fn secrets(
    world: &World,
    owner: &Key,
    object: &Json,
    needs: &mut BTreeSet<SourceKey>,
) -> Result<Option<Materials>, Refusal> {
    let invalid =
        |index: usize, what: String| Refusal::new(Reason::SecretInvalid, format_args!("spec.secrets[{index}]{what}"));
    let mut material = Materials::new();
    let mut unread = false;
    for (index, item) in object["spec"]["secrets"].as_array().into_iter().flatten().enumerate() {
        let name = item["name"].as_str().unwrap_or_default();
        if !is_object_name(name) {
            return Err(invalid(index, format!(".name: {name:?} is no name of a Secret")));
        }
        let mut data = Data::default();
        for (key, value) in item["data"].as_object().into_iter().flatten() {
            let Ok(bytes) = STANDARD.decode(value.as_str().unwrap_or_default()) else {
                return Err(invalid(index, format!(".data.{key} is not base64; plain text belongs into stringData")));
            };
            data.0.insert(key.clone(), bytes);
        }
        data.0.extend(texts(&item["stringData"]).into_iter().map(|(key, text)| (key, text.into_bytes())));
        if let Some(key) = data.0.keys().find(|key| !is_data_key(key)) {
            return Err(invalid(index, format!(": {key:?} is no key of a Secret")));
        }
        let mut copy_of = None;
        if let Some(source) = item["secretRef"]["name"].as_str() {
            if !data.0.is_empty() {
                return Err(invalid(index, ": secretRef excludes data and stringData".to_owned()));
            }
            let source = SourceKey::secret(Key::new(&owner.namespace, source));
            match world.look(&source, needs) {
                Look::Missing => {
                    let message = format!("spec.secrets[{index}].secretRef names the {source}, which is not there");
                    return Err(Refusal::new(Reason::SecretMissing, message));
                }
                Look::Unread => unread = true,
                Look::Read(_, read) => data = read.clone(),
            }
            copy_of = Some(source.key);
        }
        if material.insert((ReferenceKind::Secret, name.to_owned()), made(owner, name, data, copy_of)).is_some() {
            return Err(invalid(index, format!(".name: {name} is there twice")));
        }
    }
    Ok((!unread).then_some(material))
}

fn made(owner: &Key, name: &str, data: Data, copy_of: Option<Key>) -> Material {
    Material {
        identity: owned_identity(owner, name),
        name: name.to_owned(),
        fixed: true,
        data,
        copy_of,
        labels: owned_labels(owner),
    }
}
