//! Why a target is or is not applied: a closed list, for conditions, Events, metrics and people.

use std::fmt;

/// One word for what became of a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    /// It is where it should be.
    Applied,
    /// The administrator's default is.
    DefaultApplied,
    /// There is no annotation and no default.
    NoTarget,
    /// The tenant has no Prometheus object.
    NoPrometheus,
    /// The selector finds nothing.
    NothingSelected,
    /// Work is stopped by an annotation.
    Paused,
    /// Something has to be read or written first.
    InProgress,
    /// The annotation is no `secret` or `namespace/secret`, or is there in two spellings that differ.
    AnnotationInvalid,
    /// A Secret or ConfigMap is not there.
    SecretMissing,
    /// It has no such key.
    KeyMissing,
    /// The target is malformed.
    SpecInvalid,
    /// The `clusterSelector` is malformed.
    SelectorInvalid,
    /// An entry of `spec.secrets` is malformed.
    SecretInvalid,
    /// The Secret's owner has not let this namespace use it.
    NotGranted,
    /// A Secret is named that is neither declared nor granted.
    SecretNotDeclared,
    /// The administrator does not let this namespace declare targets.
    NamespaceNotAllowed,
    /// The target names a file of the pod that sends.
    FileNotAllowed,
    /// The target has a proxy at a private address.
    ProxyNotAllowed,
    /// The target uses the identity of the pod that sends.
    PodIdentityNotAllowed,
    /// The target's host is not among those allowed, or is a metadata service.
    HostNotAllowed,
    /// The namespace has declared too many.
    TooMany,
    /// The target is too large.
    TooLarge,
    /// A Secret of that name is there and belongs to somebody else.
    SecretConflict,
    /// Every name the entry could have belongs to an entry of somebody else.
    NameConflict,
    /// The API server does not take the entry for a Prometheus object.
    EntryRefused,
    /// The API server refused a change.
    ApplyFailed,
}

impl Reason {
    /// All of them.
    pub const ALL: [Self; 26] = [
        Self::Applied,
        Self::DefaultApplied,
        Self::NoTarget,
        Self::NoPrometheus,
        Self::NothingSelected,
        Self::Paused,
        Self::InProgress,
        Self::AnnotationInvalid,
        Self::SecretMissing,
        Self::KeyMissing,
        Self::SpecInvalid,
        Self::SelectorInvalid,
        Self::SecretInvalid,
        Self::NotGranted,
        Self::SecretNotDeclared,
        Self::NamespaceNotAllowed,
        Self::FileNotAllowed,
        Self::ProxyNotAllowed,
        Self::PodIdentityNotAllowed,
        Self::HostNotAllowed,
        Self::TooMany,
        Self::TooLarge,
        Self::SecretConflict,
        Self::NameConflict,
        Self::EntryRefused,
        Self::ApplyFailed,
    ];

    /// As conditions and metrics write it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Applied => "Applied",
            Self::DefaultApplied => "DefaultApplied",
            Self::NoTarget => "NoTarget",
            Self::NoPrometheus => "NoPrometheus",
            Self::NothingSelected => "NothingSelected",
            Self::Paused => "Paused",
            Self::InProgress => "InProgress",
            Self::AnnotationInvalid => "AnnotationInvalid",
            Self::SecretMissing => "SecretMissing",
            Self::KeyMissing => "KeyMissing",
            Self::SpecInvalid => "SpecInvalid",
            Self::SelectorInvalid => "SelectorInvalid",
            Self::SecretInvalid => "SecretInvalid",
            Self::NotGranted => "NotGranted",
            Self::SecretNotDeclared => "SecretNotDeclared",
            Self::NamespaceNotAllowed => "NamespaceNotAllowed",
            Self::FileNotAllowed => "FileNotAllowed",
            Self::ProxyNotAllowed => "ProxyNotAllowed",
            Self::PodIdentityNotAllowed => "PodIdentityNotAllowed",
            Self::HostNotAllowed => "HostNotAllowed",
            Self::TooMany => "TooMany",
            Self::TooLarge => "TooLarge",
            Self::SecretConflict => "SecretConflict",
            Self::NameConflict => "NameConflict",
            Self::EntryRefused => "EntryRefused",
            Self::ApplyFailed => "ApplyFailed",
        }
    }

    /// Whether it is as its owner wants it.
    #[must_use]
    pub fn is_good(self) -> bool {
        matches!(self, Self::Applied | Self::DefaultApplied | Self::NoTarget | Self::Paused)
    }

    /// Whether what is already applied has to go: the administrator decided so.
    pub(crate) fn revokes(self) -> bool {
        matches!(self, Self::NamespaceNotAllowed | Self::TooMany)
    }
}

/// A target that is not applied, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// In a word.
    pub reason: Reason,
    /// What was attempted, on what, why it failed, what to do. Never a secret.
    pub message: String,
}

impl Refusal {
    pub(crate) fn new(reason: Reason, message: impl fmt::Display) -> Self {
        Self { reason, message: message.to_string() }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.reason.as_str(), self.message)
    }
}
