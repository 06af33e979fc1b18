//! What a path and a query mean: a resource and a verb, or nothing.

use std::collections::BTreeMap;
use std::sync::Arc;

use http::Method;

use crate::kinds::{Kind, Kinds};
use crate::state::Verb;
use crate::status::Status;

/// A request for a resource.
#[derive(Debug)]
pub(crate) struct Address {
    pub(crate) verb: Verb,
    pub(crate) kind: Arc<Kind>,
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) subresource: String,
}

/// Undoes the escapes of a path segment or of a part of a query, where `+` is a space.
fn decoded(text: &str, is_query: bool) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        let hex = tail
            .get(..2)
            .and_then(|hex| std::str::from_utf8(hex).ok())
            .and_then(|hex| u8::from_str_radix(hex, 16).ok());
        match (first, hex) {
            (b'%', Some(byte)) => {
                bytes.push(byte);
                rest = &tail[2..];
            }
            (b'+', _) if is_query => {
                bytes.push(b' ');
                rest = tail;
            }
            _ => {
                bytes.push(*first);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

pub(crate) fn query(text: &str) -> BTreeMap<String, String> {
    let pairs = text.split('&').filter(|pair| !pair.is_empty());
    pairs
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .map(|(name, value)| (decoded(name, true), decoded(value, true)))
        .collect()
}

/// The resource at a path; `None` if nothing can be there.
pub(crate) fn resource(
    kinds: &Kinds,
    method: &Method,
    path: &str,
    query: &BTreeMap<String, String>,
) -> Option<Result<Address, Status>> {
    let segments: Vec<String> = path.trim_matches('/').split('/').map(|segment| decoded(segment, false)).collect();
    let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
    let (group, version, rest) = match &segments[..] {
        ["api", version, rest @ ..] => ("", *version, rest),
        ["apis", group, version, rest @ ..] => (*group, *version, rest),
        _ => return None,
    };
    if rest.is_empty() || !kinds.has_group_version(group, version) {
        return None;
    }
    let (namespace, rest) = match rest {
        ["namespaces", namespace, plural, rest @ ..] if !["status", "finalize"].contains(plural) => {
            (*namespace, [&[*plural], rest].concat())
        }
        rest => ("", rest.to_vec()),
    };
    let (plural, name, subresource) = match rest[..] {
        [plural] => (plural, "", ""),
        [plural, name] => (plural, name, ""),
        [plural, name, subresource] => (plural, name, subresource),
        _ => return None,
    };
    let kind = kinds.by_plural(group, version, plural)?;
    if (!subresource.is_empty() && !kind.has(subresource)) || (!kind.namespaced && !namespace.is_empty()) {
        return None;
    }
    let watches = query.get("watch").is_some_and(|watch| watch == "true" || watch == "1");
    let verb = match (method, name.is_empty()) {
        (&Method::GET, true) if watches => Verb::Watch,
        (&Method::GET, true) => Verb::List,
        (&Method::GET, false) => Verb::Get,
        (&Method::POST, true) => Verb::Create,
        (&Method::PUT, false) => Verb::Update,
        (&Method::PATCH, false) => Verb::Patch,
        (&Method::DELETE, false) => Verb::Delete,
        (&Method::DELETE, true) => Verb::DeleteCollection,
        _ => return Some(Err(Status::method_not_allowed())),
    };
    // What is in a namespace is read over all of them, and written in one.
    if kind.namespaced && namespace.is_empty() && !matches!(verb, Verb::List | Verb::Watch) {
        return Some(Err(Status::method_not_allowed()));
    }
    Some(Ok(Address {
        verb,
        kind,
        namespace: namespace.to_owned(),
        name: name.to_owned(),
        subresource: subresource.to_owned(),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_name_resources() {
        let kinds = Kinds::new();
        let none = BTreeMap::new();
        let at = |method: Method, path: &str| match resource(&kinds, &method, path, &none) {
            None => "nothing".to_owned(),
            Some(Err(status)) => status.code.to_string(),
            Some(Ok(address)) => {
                let resource = address.kind.resource(&address.subresource);
                format!("{} {resource} {}/{}", address.verb.as_str(), address.namespace, address.name)
            }
        };
        for (method, path, meaning) in [
            (Method::GET, "/api/v1/secrets", "list secrets /"),
            (Method::GET, "/api/v1/namespaces/a/secrets/b", "get secrets a/b"),
            (Method::GET, "/api/v1/namespaces/a", "get namespaces /a"),
            (Method::PUT, "/api/v1/namespaces/a/status", "update namespaces/status /a"),
            (Method::PUT, "/api/v1/namespaces/a/finalize", "update namespaces/finalize /a"),
            (Method::POST, "/api/v1/namespaces", "create namespaces /"),
            (Method::DELETE, "/apis/coordination.k8s.io/v1/namespaces/a/leases", "deletecollection leases a/"),
            (Method::GET, "/apis/rbac.authorization.k8s.io/v1/clusterroles/system%3Aa", "get clusterroles /system:a"),
            (Method::POST, "/api/v1/secrets", "405"),
            (Method::POST, "/api/v1/namespaces/a/secrets/b", "405"),
            (Method::GET, "/api/v1/namespaces/a/secrets/b/status", "nothing"),
            (Method::GET, "/api/v1/namespaces/a/namespaces/b", "nothing"),
            (Method::GET, "/api/v1/namespaces/a/unknown", "nothing"),
            (Method::GET, "/apis/none/v1/things", "nothing"),
        ] {
            assert_eq!(at(method.clone(), path), meaning, "{method} {path}");
        }
        assert_eq!(query("a=b%2Cc+d&e")["a"], "b,c d");
    }
}
