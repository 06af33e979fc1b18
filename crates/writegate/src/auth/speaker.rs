//! For whom a credential speaks.

use std::collections::BTreeSet;
use std::sync::Arc;

use writegate_config::TenantName;

/// The tenants for which a credential may speak: one at least. If there are several the request must name one of them, as
/// senders of Observatorium's tenants do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Speaker(Arc<[TenantName]>);

impl Speaker {
    /// `None` if there is no tenant.
    pub(crate) fn of(tenants: BTreeSet<TenantName>) -> Option<Self> {
        // A set is sorted, and has each once.
        (!tenants.is_empty()).then(|| Self(tenants.into_iter().collect()))
    }

    /// The only tenant, if there is one only.
    pub(crate) fn only(&self) -> Option<&TenantName> {
        match &*self.0 {
            [only] => Some(only),
            _ => None,
        }
    }

    /// Whether it may speak for this tenant.
    pub(crate) fn may(&self, tenant: &TenantName) -> bool {
        self.0.binary_search(tenant).is_ok()
    }

    /// The tenants for which both may speak: a request that shows two credentials means what both stand for.
    pub(super) fn both(&self, other: &Self) -> Option<Self> {
        Self::of(self.0.iter().filter(|tenant| other.may(tenant)).cloned().collect())
    }
}

impl From<TenantName> for Speaker {
    fn from(tenant: TenantName) -> Self {
        Self(Arc::new([tenant]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn speaker(tenants: &[&str]) -> Option<Speaker> {
        Speaker::of(tenants.iter().map(|tenant| TenantName::new(tenant).unwrap()).collect())
    }

    #[test]
    fn two_credentials_speak_for_what_both_stand_for() {
        for (one, other, both) in [
            (&["a"][..], &["a"][..], &["a"][..]),
            (&["a"], &["b"], &[]),
            (&["b", "a"], &["b"], &["b"]),
            (&["a", "b", "c"], &["d", "c", "b"], &["b", "c"]),
        ] {
            assert_eq!(speaker(one).unwrap().both(&speaker(other).unwrap()), speaker(both), "{one:?} {other:?}");
        }
        assert_eq!(speaker(&[]), None);
        let (one, two) = (speaker(&["a"]).unwrap(), speaker(&["b", "a"]).unwrap());
        assert_eq!((one.only().map(TenantName::as_str), two.only()), (Some("a"), None));
        let name = |name| TenantName::new(name).unwrap();
        assert!(two.may(&name("a")) && two.may(&name("b")) && !two.may(&name("c")));
    }
}
