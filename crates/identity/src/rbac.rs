//! Who may write: the roles and bindings of Observatorium's `rbac.yaml`, evaluated as Observatorium does. Reading the YAML
//! is for others.

use std::collections::{HashMap, HashSet};

/// The resource that remote write is about.
const METRICS: &str = "metrics";

/// What a role allows, and where.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Role {
    /// What bindings call it. Of several roles with one name the last counts.
    pub name: String,
    /// `metrics`, `logs`, `traces`, `probes`.
    pub resources: Vec<String>,
    /// Names of tenants; there is no wildcard.
    pub tenants: Vec<String>,
    /// What may be done with each of the resources of each of the tenants.
    pub permissions: Vec<Permission>,
}

/// What may be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Permission {
    /// Queries.
    Read,
    /// Pushes.
    Write,
}

/// Gives roles to subjects.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RoleBinding {
    /// Of the binding itself.
    pub name: String,
    /// Names of roles. One that does not exist allows nothing.
    pub roles: Vec<String>,
    /// Who gets them.
    pub subjects: Vec<Subject>,
}

/// A user or a group.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Subject {
    /// Which of them: a user and a group may have the same name.
    pub kind: SubjectKind,
    /// As the credential says it.
    pub name: String,
}

/// A user or a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SubjectKind {
    /// One who speaks.
    User,
    /// All whose credential names it.
    Group,
}

/// Roles and bindings, ready to be asked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rbac {
    /// By tenant.
    writers: HashMap<String, Writers>,
}

/// Users and groups apart, so that a question needs no copy of a name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Writers {
    users: HashSet<String>,
    groups: HashSet<String>,
}

impl Rbac {
    /// Evaluates all bindings once.
    #[must_use]
    pub fn new(roles: &[Role], bindings: &[RoleBinding]) -> Self {
        let by_name: HashMap<&str, &Role> = roles.iter().map(|role| (role.name.as_str(), role)).collect();
        let mut writers: HashMap<String, Writers> = HashMap::new();
        for binding in bindings {
            let bound = binding.roles.iter().filter_map(|name| by_name.get(name.as_str()));
            for tenant in bound.filter(|role| role.writes_metrics()).flat_map(|role| &role.tenants) {
                let writers = writers.entry(tenant.clone()).or_default();
                for Subject { kind, name } in &binding.subjects {
                    match kind {
                        SubjectKind::User => writers.users.insert(name.clone()),
                        SubjectKind::Group => writers.groups.insert(name.clone()),
                    };
                }
            }
        }
        Self { writers }
    }

    /// Whether the user, or one of the groups, may write metrics of the tenant. Everything is compared exactly.
    #[must_use]
    pub fn may_write_metrics<G: AsRef<str>>(&self, tenant: &str, user: &str, groups: &[G]) -> bool {
        self.writers.get(tenant).is_some_and(|writers| {
            writers.users.contains(user) || groups.iter().any(|group| writers.groups.contains(group.as_ref()))
        })
    }
}

impl Role {
    fn writes_metrics(&self) -> bool {
        self.permissions.contains(&Permission::Write) && self.resources.iter().any(|resource| resource == METRICS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn role(name: &str, resources: &[&str], tenants: &[&str], permissions: &[Permission]) -> Role {
        let owned = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        Role {
            name: name.to_owned(),
            resources: owned(resources),
            tenants: owned(tenants),
            permissions: permissions.to_vec(),
        }
    }

    fn binding(roles: &[&str], subjects: &[(SubjectKind, &str)]) -> RoleBinding {
        RoleBinding {
            name: "test".to_owned(),
            roles: roles.iter().map(|role| (*role).to_owned()).collect(),
            subjects: subjects.iter().map(|(kind, name)| Subject { kind: *kind, name: (*name).to_owned() }).collect(),
        }
    }

    #[test]
    fn who_holds_write_on_metrics_of_the_tenant_may_write_and_nobody_else() {
        use Permission::{Read, Write};
        use SubjectKind::{Group, User};
        let roles = [
            role("rw", &["logs", "metrics"], &["blue", "green"], &[Read, Write]),
            role("reader", &["metrics"], &["blue"], &[Read]),
            role("logger", &["logs"], &["blue"], &[Write]),
        ];
        let bindings = [
            binding(&["rw"], &[(User, "ann"), (Group, "agents")]),
            binding(&["reader", "logger"], &[(User, "ben")]),
            binding(&["nothing of that name"], &[(User, "cleo")]),
        ];
        let rbac = Rbac::new(&roles, &bindings);
        for (tenant, user, groups, may) in [
            ("blue", "ann", &[][..], true),
            ("green", "ann", &[], true),
            ("red", "ann", &[], false),
            ("blue", "dora", &["others", "agents"], true),
            ("blue", "dora", &["others"], false),
            ("blue", "ben", &[], false),
            ("blue", "cleo", &[], false),
            ("blue", "agents", &[], false),
            ("blue", "dora", &["ann"], false),
            ("Blue", "ann", &[], false),
            ("blue", "", &[], false),
        ] {
            assert_eq!(rbac.may_write_metrics(tenant, user, groups), may, "{tenant} {user} {groups:?}");
        }
        assert!(!Rbac::default().may_write_metrics::<&str>("blue", "ann", &[]));
    }

    #[test]
    fn of_roles_with_one_name_the_last_counts() {
        let wide = role("r", &["metrics"], &["blue"], &[Permission::Write]);
        let narrow = role("r", &["metrics"], &["blue"], &[Permission::Read]);
        let bindings = [binding(&["r"], &[(SubjectKind::User, "ann")])];
        let may = |roles: &[Role]| Rbac::new(roles, &bindings).may_write_metrics::<&str>("blue", "ann", &[]);
        assert!(!may(&[wide.clone(), narrow.clone()]));
        assert!(may(&[narrow, wide]));
    }
}
