//! Observatorium's tenants and roles: what its `tenants.yaml` and `rbac.yaml` say, as far as it is about writing metrics.
//!
//! Nothing here reads YAML or a token; `read::observatorium` and the gateway do.

use std::path::PathBuf;

use crate::access::Issuer;
use crate::endpoint::ClientTls;
use crate::secret::TextSource;

/// Where tenants of Observatorium come from, and who may write for them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Observatorium {
    /// `tenants.yaml`.
    pub tenants_file: PathBuf,
    /// `None`: whoever logs in as a tenant's may write for it.
    pub rbac: Option<Rbac>,
}

/// Roles and who has them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rbac {
    /// `rbac.yaml`.
    pub file: PathBuf,
    /// Names need not be unique; the last of a name counts.
    pub roles: Vec<Role>,
    /// Who has which.
    pub bindings: Vec<RoleBinding>,
}

/// What may be done, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Role {
    /// What bindings call it.
    pub name: String,
    /// `metrics` and others.
    pub resources: Vec<String>,
    /// Names of tenants.
    pub tenants: Vec<String>,
    /// What may be done with each of the resources of each of the tenants.
    pub permissions: Vec<Permission>,
}

/// What may be done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Permission {
    /// Queries.
    #[default]
    Read,
    /// Pushes.
    Write,
}

/// Gives roles to subjects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoleBinding {
    /// Of the binding itself.
    pub name: String,
    /// Names of roles.
    pub roles: Vec<String>,
    /// Who gets them.
    pub subjects: Vec<Subject>,
}

/// A user or a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subject {
    /// Which of them.
    pub kind: SubjectKind,
    /// As the credential says it.
    pub name: String,
}

/// A user or a group.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SubjectKind {
    /// One who speaks.
    #[default]
    User,
    /// All whose credential names it.
    Group,
}

/// How senders of a tenant of Observatorium show who they are. They name the tenant in the path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Login {
    /// A token of an `OpenID` provider.
    Oidc(Box<Oidc>),
    /// A certificate of these authorities, PEM.
    Certificate(TextSource),
}

/// Whose tokens are taken, and where they say who speaks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Oidc {
    /// Must be the token's `iss`.
    pub issuer: Issuer,
    /// Towards the provider; `None`: the system's authorities.
    pub tls: Option<ClientTls>,
    /// Must be among the token's `aud`.
    pub client_id: String,
    /// The claim with the user's name; `None`: `sub`.
    pub user_claim: Option<String>,
    /// The claim with the user's groups; `None`: there are none.
    pub groups_claim: Option<String>,
}
