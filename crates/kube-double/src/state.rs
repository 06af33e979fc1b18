//! The server without sockets: what it keeps, and what becomes of a request that has been read.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use crate::access::{self, Access, User};
use crate::exchange::Exchange;
use crate::faults::Fault;
use crate::kinds::{Kind, Kinds, Resource};
use crate::rules::Rules;
use crate::status::Status;
use crate::store::{Place, Store};

/// What a request asks for, in the words of RBAC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verb {
    /// One object.
    Get,
    /// A collection.
    List,
    /// Changes of a collection.
    Watch,
    /// POST.
    Create,
    /// PUT.
    Update,
    /// PATCH, apply included.
    Patch,
    /// One object.
    Delete,
    /// All objects of a collection that are selected.
    DeleteCollection,
}

impl Verb {
    /// As rules and refusals spell it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::List => "list",
            Self::Watch => "watch",
            Self::Create => "create",
            Self::Update => "update",
            Self::Patch => "patch",
            Self::Delete => "delete",
            Self::DeleteCollection => "deletecollection",
        }
    }

    /// Whether it may change something.
    pub fn is_write(self) -> bool {
        !matches!(self, Self::Get | Self::List | Self::Watch)
    }
}

/// What a PATCH is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PatchType {
    /// RFC 6902.
    Json,
    /// RFC 7386.
    Merge,
    /// Of core types only.
    Strategic,
    /// Server-side apply.
    Apply,
}

/// How many of the last requests keep their bodies.
const BODIES_KEPT: usize = 1000;

/// A request that has been read: who wants what of which resource.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) user: User,
    pub(crate) verb: Verb,
    pub(crate) kind: Arc<Kind>,
    /// Empty for cluster-wide objects and for collections over all namespaces.
    pub(crate) namespace: String,
    /// Empty for collections.
    pub(crate) name: String,
    pub(crate) subresource: String,
    pub(crate) query: BTreeMap<String, String>,
    pub(crate) patch: Option<PatchType>,
    /// Null if there is none.
    pub(crate) body: Arc<Value>,
    /// Who writes, unless the query says.
    pub(crate) agent: String,
}

impl Call {
    pub(crate) fn query(&self, name: &str) -> &str {
        self.query.get(name).map(String::as_str).unwrap_or_default()
    }

    pub(crate) fn is_set(&self, name: &str) -> bool {
        ["true", "1", "True"].contains(&self.query(name))
    }

    pub(crate) fn place(&self) -> Place {
        (self.namespace.clone(), self.name.clone())
    }

    pub(crate) fn dry_run(&self) -> bool {
        self.query("dryRun") == "All" || self.body.pointer("/dryRun/0").is_some_and(|value| value == "All")
    }
}

/// An answer of the API.
#[derive(Clone, Debug)]
pub(crate) struct Done {
    pub(crate) code: u16,
    pub(crate) body: Value,
    /// For `Warning` headers.
    pub(crate) warnings: Vec<String>,
}

impl Done {
    pub(crate) fn ok(body: Value) -> Self {
        Self { code: 200, body, warnings: Vec::new() }
    }
}

/// What the server is made of.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) store: Store,
    pub(crate) kinds: Kinds,
    pub(crate) rules: Rules,
    pub(crate) access: Access,
    pub(crate) faults: Vec<Fault>,
    pub(crate) exchanges: Vec<Exchange>,
    /// Whether something may have to follow from the last writes.
    pub(crate) unsettled: bool,
    /// Watches that were opened before this epoch end.
    pub(crate) watch_epoch: u64,
    /// The longest that a watch may last.
    pub(crate) watch_limit: Option<Duration>,
    /// Counts the bookmarks that all watches are to send.
    pub(crate) bookmarks: u64,
}

impl State {
    pub(crate) fn new() -> Self {
        let mut state = Self {
            store: Store::new(),
            kinds: Kinds::new(),
            rules: Rules::default(),
            access: Access::default(),
            faults: Vec::new(),
            exchanges: Vec::new(),
            unsettled: false,
            watch_epoch: 0,
            watch_limit: None,
            bookmarks: 0,
        };
        state.create_first_namespaces();
        state
    }

    /// Writes a request into the log.
    pub(crate) fn note(&mut self, exchange: Exchange) {
        self.exchanges.push(exchange);
        if let Some(at) = self.exchanges.len().checked_sub(BODIES_KEPT + 1) {
            self.exchanges[at].request.body = Arc::default();
        }
    }

    /// Answers anything but a watch, after looking whether the user may.
    pub(crate) fn perform(&mut self, call: &Call) -> Result<Done, Status> {
        self.authorize(call, call.verb)?;
        let known = call.kind.verbs.iter().any(|verb| verb == call.verb.as_str());
        if !known || !self.is_subresource(call) {
            return Err(Status::method_not_allowed());
        }
        let done = match call.verb {
            Verb::Get => self.get(call),
            Verb::List | Verb::Watch => self.list(call),
            Verb::Create if call.kind.plural == "selfsubjectaccessreviews" => Ok(self.review(call)),
            Verb::Create => self.create(call),
            Verb::Update => self.update(call),
            Verb::Patch => self.patch(call),
            Verb::Delete => self.delete(call),
            Verb::DeleteCollection => self.delete_collection(call),
        };
        self.settle();
        done
    }

    /// Whether the call's subresource takes its verb.
    fn is_subresource(&self, call: &Call) -> bool {
        match call.subresource.as_str() {
            "" => true,
            "finalize" => call.verb == Verb::Update,
            _ => matches!(call.verb, Verb::Get | Verb::Update | Verb::Patch),
        }
    }

    pub(crate) fn authorize(&self, call: &Call, verb: Verb) -> Result<(), Status> {
        let kind = &call.kind;
        // A collection narrowed to one name is asked for by that name.
        let field_name = || crate::selector::Selector::new(kind, "", call.query("fieldSelector")).ok()?.name;
        let name = if call.name.is_empty() { field_name().unwrap_or_default() } else { call.name.clone() };
        let resource = kind.resource(&call.subresource);
        let asked = access::Asked {
            verb: verb.as_str(),
            group: &kind.group,
            resource: &resource,
            namespace: &call.namespace,
            name: &name,
        };
        if self.access.allows(&self.store, &call.user, &asked) {
            return Ok(());
        }
        let place = match call.namespace.as_str() {
            "" => "at the cluster scope".to_owned(),
            namespace => format!("in the namespace {namespace:?}"),
        };
        let why = format!(
            "User {:?} cannot {} resource {resource:?} in API group {:?} {place}",
            call.user.name, asked.verb, kind.group
        );
        Err(Status::forbidden(kind, &name, why))
    }

    pub(crate) fn stored(&self, call: &Call) -> Result<Arc<Value>, Status> {
        let object = self.store.get(&call.kind.storage, &call.place());
        object.ok_or_else(|| Status::not_found(&call.kind, &call.name))
    }

    /// The namespace as stored, if there is one of that name.
    pub(crate) fn namespace(&self, name: &str) -> Option<Arc<Value>> {
        self.store.get(&Resource::new("", "namespaces"), &(String::new(), name.to_owned()))
    }
}
