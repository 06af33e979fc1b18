//! The log of requests: who asked for what, and what became of it.

use std::sync::Arc;

use serde_json::Value;

use crate::state::{Call, PatchType, Verb};

/// A request for a resource, as predicates of faults and readers of the log see it.
#[derive(Clone, Debug, PartialEq)]
pub struct Request {
    /// Whose token it shows.
    pub user: String,
    /// What is asked for.
    pub verb: Verb,
    /// The API group; empty for core types.
    pub group: String,
    /// The version of the API.
    pub version: String,
    /// The plural.
    pub resource: String,
    /// `status`, `finalize`, or empty.
    pub subresource: String,
    /// Empty for cluster-wide objects, and for collections over all namespaces.
    pub namespace: String,
    /// Empty for collections; what is created has the name it got, once it is answered.
    pub name: String,
    /// What a PATCH is.
    pub patch: Option<PatchType>,
    /// `fieldManager` of the query; empty if it says none.
    pub field_manager: String,
    /// The body as JSON; null without one, and in all but the last thousand requests of the log.
    pub body: Arc<Value>,
}

impl Request {
    pub(crate) fn of(call: &Call) -> Self {
        Self {
            user: call.user.name.clone(),
            verb: call.verb,
            group: call.kind.group.clone(),
            version: call.kind.version.clone(),
            resource: call.kind.plural.clone(),
            subresource: call.subresource.clone(),
            namespace: call.namespace.clone(),
            name: call.name.clone(),
            patch: call.patch,
            field_manager: call.query("fieldManager").to_owned(),
            body: Arc::clone(&call.body),
        }
    }

    /// Whether it is about this resource, named by its plural; `remotewrites/status` for a subresource.
    pub fn is_on(&self, resource: &str) -> bool {
        match resource.split_once('/') {
            Some((resource, subresource)) => self.resource == resource && self.subresource == subresource,
            None => self.resource == resource && self.subresource.is_empty(),
        }
    }
}

/// A request and its end.
#[derive(Clone, Debug, PartialEq)]
pub struct Exchange {
    /// What was asked.
    pub request: Request,
    /// The status it was answered with; 0 if the connection was cut instead.
    pub code: u16,
    /// Whether anything was stored, changed or removed by it.
    pub changed: bool,
    /// Whether a fault had a hand in it.
    pub disturbed: bool,
}
