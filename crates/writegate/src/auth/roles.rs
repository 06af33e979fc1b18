//! Who may write for the tenants of Observatorium: they log in as somebody, and that somebody's roles decide.

use std::collections::BTreeSet;

use identity::rbac::{Permission, Rbac, Role, RoleBinding, Subject, SubjectKind};
use writegate_config as config;
use writegate_config::{Config, TenantName};

/// What the configuration says of them.
#[derive(Debug, Default)]
pub(super) struct Roles {
    /// Whose senders log in.
    tenants: BTreeSet<TenantName>,
    /// `None`: whoever logs in may write.
    rbac: Option<Rbac>,
}

impl Roles {
    pub(super) fn new(config: &Config) -> Self {
        let logs_in = config.tenants.entries().filter(|(_, tenant)| tenant.login.is_some());
        let rbac = config.observatorium.as_ref().and_then(|files| files.rbac.as_ref());
        Self { tenants: logs_in.map(|(name, _)| name.clone()).collect(), rbac: rbac.map(evaluate) }
    }

    /// Whether a tenant's senders log in. No other credential speaks for it than its login and what `tenants` gives it by
    /// name: not a token or certificate that merely names it.
    pub(super) fn has(&self, tenant: &TenantName) -> bool {
        self.tenants.contains(tenant)
    }

    /// Those of the tenants, as one of whose senders `user` has logged in, for which it may write.
    pub(super) fn writable<'t>(
        &self,
        tenants: impl IntoIterator<Item = &'t TenantName>,
        user: &str,
        groups: &[String],
    ) -> BTreeSet<TenantName> {
        let may = |tenant: &&TenantName| {
            self.rbac.as_ref().is_none_or(|rbac| rbac.may_write_metrics(tenant.as_str(), user, groups))
        };
        tenants.into_iter().filter(may).cloned().collect()
    }
}

fn evaluate(rbac: &config::Rbac) -> Rbac {
    let permission = |permission: &config::Permission| match permission {
        config::Permission::Read => Permission::Read,
        config::Permission::Write => Permission::Write,
    };
    let roles = rbac.roles.iter().map(|role| Role {
        name: role.name.clone(),
        resources: role.resources.clone(),
        tenants: role.tenants.clone(),
        permissions: role.permissions.iter().map(permission).collect(),
    });
    let subject = |subject: &config::Subject| Subject {
        kind: match subject.kind {
            config::SubjectKind::User => SubjectKind::User,
            config::SubjectKind::Group => SubjectKind::Group,
        },
        name: subject.name.clone(),
    };
    let bindings = rbac.bindings.iter().map(|binding| RoleBinding {
        name: binding.name.clone(),
        roles: binding.roles.clone(),
        subjects: binding.subjects.iter().map(subject).collect(),
    });
    Rbac::new(&roles.collect::<Vec<_>>(), &bindings.collect::<Vec<_>>())
}
