//! Access to objects without a type and without a socket, for the test's own hands.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;

use crate::ADMIN;
use crate::access::User;
use crate::kinds::text;
use crate::server::Desk;
use crate::state::{Call, PatchType, Verb};
use crate::status::Status;

/// The objects of one kind, in one namespace or cluster-wide ([`ApiServer::objects`](crate::ApiServer::objects)).
///
/// What is done goes the way of a request, refusals included; writes are in the log under the user's name.
#[derive(Clone, Debug)]
pub struct Objects<'a> {
    pub(crate) desk: &'a Desk,
    pub(crate) api_version: String,
    pub(crate) kind: String,
    pub(crate) namespace: String,
    pub(crate) user: String,
}

impl Objects<'_> {
    /// Those in this namespace. Without it, lists are over all namespaces, and whole objects belong to the one they name.
    #[must_use]
    pub fn within(mut self, namespace: &str) -> Self {
        namespace.clone_into(&mut self.namespace);
        self
    }

    /// In the name of another user, whom RBAC is asked about.
    #[must_use]
    pub fn as_user(mut self, user: &str) -> Self {
        user.clone_into(&mut self.user);
        self
    }

    fn call(&self, verb: Verb, name: &str, body: &Value) -> Result<Value, Status> {
        self.call_with(verb, name, body, &Details::default())
    }

    fn call_with(&self, verb: Verb, name: &str, body: &Value, details: &Details<'_>) -> Result<Value, Status> {
        let kind = self.desk.look().kinds.named(&self.api_version, &self.kind).ok_or_else(Status::no_such_resource)?;
        let own = text(body, "/metadata/namespace");
        let namespace = match (kind.namespaced, self.namespace.as_str()) {
            (false, _) => "",
            (true, "") => own,
            (true, within) => within,
        };
        let user = if self.user == ADMIN { User::admin() } else { User::named(&self.user) };
        let query = details.query.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let call = Call {
            user,
            verb,
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            subresource: details.subresource.to_owned(),
            query,
            patch: details.patch,
            body: Arc::new(body.clone()),
            agent: self.user.clone(),
            kind,
        };
        // A read in the test's own hands is nothing that happens: whoever waits for a change may read.
        let result = if verb.is_write() { self.desk.perform(&call, false) } else { self.desk.look().perform(&call) };
        result.map(|done| done.body)
    }

    /// One object.
    pub fn get(&self, name: &str) -> Result<Value, Status> {
        self.call(Verb::Get, name, &Value::Null)
    }

    /// All objects, by namespace and name.
    pub fn list(&self) -> Result<Vec<Value>, Status> {
        self.list_where("")
    }

    /// The objects that a label selector selects.
    pub fn list_where(&self, labels: &str) -> Result<Vec<Value>, Status> {
        let details = Details { query: BTreeMap::from([("labelSelector", labels)]), ..Details::default() };
        let mut list = self.call_with(Verb::List, "", &Value::Null, &details)?;
        let items = list["items"].as_array_mut().map(std::mem::take).unwrap_or_default();
        Ok(items)
    }

    /// A new object.
    pub fn create(&self, object: &Value) -> Result<Value, Status> {
        self.call(Verb::Create, "", object)
    }

    /// Replaces an object; its `resourceVersion`, if it has one, must be the current one.
    pub fn update(&self, object: &Value) -> Result<Value, Status> {
        self.call(Verb::Update, text(object, "/metadata/name"), object)
    }

    /// Replaces an object's status.
    pub fn update_status(&self, object: &Value) -> Result<Value, Status> {
        let details = Details { subresource: "status", ..Details::default() };
        self.call_with(Verb::Update, text(object, "/metadata/name"), object, &details)
    }

    /// Merges (RFC 7386) into an object.
    pub fn merge(&self, name: &str, patch: &Value) -> Result<Value, Status> {
        self.patch(name, PatchType::Merge, patch)
    }

    /// Merges into an object's status: the patch is of the whole object.
    pub fn merge_status(&self, name: &str, patch: &Value) -> Result<Value, Status> {
        let details = Details { subresource: "status", patch: Some(PatchType::Merge), ..Details::default() };
        self.call_with(Verb::Patch, name, patch, &details)
    }

    /// Patches an object.
    pub fn patch(&self, name: &str, kind: PatchType, patch: &Value) -> Result<Value, Status> {
        let details = Details { patch: Some(kind), ..Details::default() };
        self.call_with(Verb::Patch, name, patch, &details)
    }

    /// Applies (server-side) an object for a field manager, taking what others own if `force` is set.
    pub fn apply(&self, manager: &str, object: &Value, force: bool) -> Result<Value, Status> {
        let mut query = BTreeMap::from([("fieldManager", manager)]);
        if force {
            query.insert("force", "true");
        }
        let details = Details { patch: Some(PatchType::Apply), query, ..Details::default() };
        self.call_with(Verb::Patch, text(object, "/metadata/name"), object, &details)
    }

    /// Deletes an object; a `Status` of success, or the object if something holds it.
    pub fn delete(&self, name: &str) -> Result<Value, Status> {
        self.delete_with(name, &Value::Null)
    }

    /// Deletes an object with `DeleteOptions`.
    pub fn delete_with(&self, name: &str, options: &Value) -> Result<Value, Status> {
        self.call(Verb::Delete, name, options)
    }
}

/// What a call may have besides.
#[derive(Default)]
struct Details<'a> {
    subresource: &'a str,
    patch: Option<PatchType>,
    query: BTreeMap<&'a str, &'a str>,
}
