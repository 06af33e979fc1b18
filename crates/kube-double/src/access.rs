//! Who is asking, by bearer token, and what they may, by the RBAC objects in the store.
//!
//! Not here: aggregated roles, impersonation, and the check that a role gives nobody more than its writer has.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::kinds::{Resource, text, texts};
use crate::state::{Call, Done, State};
use crate::store::Store;

/// A user and their groups, `system:authenticated` among them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct User {
    pub(crate) name: String,
    pub(crate) groups: Vec<String>,
}

impl User {
    /// A user by name; `system:serviceaccount:NAMESPACE:NAME` is in the groups of service accounts.
    pub(crate) fn named(name: &str) -> Self {
        let mut groups = vec!["system:authenticated".to_owned()];
        if let Some((namespace, _)) = name.strip_prefix("system:serviceaccount:").and_then(|rest| rest.split_once(':'))
        {
            groups.push("system:serviceaccounts".to_owned());
            groups.push(format!("system:serviceaccounts:{namespace}"));
        }
        Self { name: name.to_owned(), groups }
    }

    /// The test itself, who may do everything.
    pub(crate) fn admin() -> Self {
        Self {
            name: crate::ADMIN.to_owned(),
            groups: vec!["system:masters".to_owned(), "system:authenticated".to_owned()],
        }
    }

    pub(crate) fn anonymous() -> Self {
        Self { name: "system:anonymous".to_owned(), groups: vec!["system:unauthenticated".to_owned()] }
    }

    pub(crate) fn is_in(&self, group: &str) -> bool {
        self.groups.iter().any(|name| name == group)
    }
}

/// What somebody wants to do.
#[derive(Debug)]
pub(crate) struct Asked<'a> {
    pub(crate) verb: &'a str,
    pub(crate) group: &'a str,
    /// With its subresource: `remotewrites/status`.
    pub(crate) resource: &'a str,
    pub(crate) namespace: &'a str,
    pub(crate) name: &'a str,
}

/// The users that are known.
#[derive(Debug, Default)]
pub(crate) struct Access {
    by_token: BTreeMap<String, User>,
}

const GROUP: &str = "rbac.authorization.k8s.io";

impl Access {
    /// The token of a user, who is made if need be.
    pub(crate) fn token(&mut self, name: &str) -> String {
        let user = if name == crate::ADMIN { User::admin() } else { User::named(name) };
        let known = self.by_token.iter().find(|(_, known)| **known == user).map(|(token, _)| token.clone());
        known.unwrap_or_else(|| {
            let token = format!("token-{:016x}{:016x}", fastrand::u64(..), fastrand::u64(..));
            self.by_token.insert(token.clone(), user);
            token
        })
    }

    /// Whose token it is.
    pub(crate) fn user(&self, token: &str) -> Option<User> {
        self.by_token.get(token).cloned()
    }

    pub(crate) fn allows(&self, store: &Store, user: &User, asked: &Asked<'_>) -> bool {
        if user.is_in("system:masters") {
            return true;
        }
        let basic = asked.group == "authorization.k8s.io" && asked.resource == "selfsubjectaccessreviews";
        if basic && user.is_in("system:authenticated") {
            return true;
        }
        let bindings = |plural: &str| Resource::new(GROUP, plural);
        let everywhere = bindings("clusterrolebindings");
        let somewhere = bindings("rolebindings");
        let wide = store.all(&everywhere).map(|(_, binding)| binding);
        let narrow =
            store.all(&somewhere).filter(|(place, _)| !asked.namespace.is_empty() && place.0 == asked.namespace);
        wide.chain(narrow.map(|(_, binding)| binding)).any(|binding| {
            let subjects = binding["subjects"].as_array();
            subjects.into_iter().flatten().any(|subject| is_meant(subject, user))
                && rules(store, binding).iter().any(|rule| covers(rule, asked))
        })
    }
}

fn is_meant(subject: &Value, user: &User) -> bool {
    let name = text(subject, "/name");
    match text(subject, "/kind") {
        "User" => user.name == name,
        "Group" => user.is_in(name),
        "ServiceAccount" => user.name == format!("system:serviceaccount:{}:{name}", text(subject, "/namespace")),
        _ => false,
    }
}

/// The rules of the role that a binding names; none if the role is not there.
fn rules(store: &Store, binding: &Value) -> Vec<Value> {
    let name = text(binding, "/roleRef/name").to_owned();
    let (plural, namespace) = match text(binding, "/roleRef/kind") {
        "ClusterRole" => ("clusterroles", String::new()),
        _ => ("roles", text(binding, "/metadata/namespace").to_owned()),
    };
    let role = store.get(&Resource::new(GROUP, plural), &(namespace, name));
    role.and_then(|role| role["rules"].as_array().cloned()).unwrap_or_default()
}

fn covers(rule: &Value, asked: &Asked<'_>) -> bool {
    let among = |pointer: &str, wanted: &str| texts(rule, pointer).iter().any(|value| value == "*" || value == wanted);
    let names = texts(rule, "/resourceNames");
    let sub = asked.resource.split_once('/').map(|(_, sub)| format!("*/{sub}"));
    among("/verbs", asked.verb)
        && among("/apiGroups", asked.group)
        && (among("/resources", asked.resource) || sub.is_some_and(|sub| texts(rule, "/resources").contains(&sub)))
        && (names.is_empty() || names.iter().any(|name| name == asked.name))
}

impl State {
    /// A `SelfSubjectAccessReview`: whether the user may.
    pub(crate) fn review(&self, call: &Call) -> Done {
        let attributes = &call.body["spec"]["resourceAttributes"];
        let part = |name: &str| attributes[name].as_str().unwrap_or_default();
        let resource = match part("subresource") {
            "" => part("resource").to_owned(),
            subresource => format!("{}/{subresource}", part("resource")),
        };
        let asked = Asked {
            verb: part("verb"),
            group: part("group"),
            resource: &resource,
            namespace: part("namespace"),
            name: part("name"),
        };
        let mut body = (*call.body).clone();
        body["status"] = json!({"allowed": self.access.allows(&self.store, &call.user, &asked)});
        Done { code: 201, body, warnings: Vec::new() }
    }
}
