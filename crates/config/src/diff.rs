//! What a reload must do: the difference between the running configuration and a new one.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use crate::config::{Config, Listener};
use crate::endpoint::Endpoint;
use crate::tenant::TenantName;

/// What changed. Everything but `restart_needed` can change while running.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Diff {
    /// Endpoints, by name.
    pub endpoints: Changes<String>,
    /// Listeners, by address.
    pub listeners: Changes<SocketAddr>,
    /// Entries of `tenants`, by name; `*` stands for every tenant without one. Adding the first entry, removing the
    /// last, and adding or removing `*` change who is admitted.
    pub tenants: Changes<TenantName>,
    /// How senders are told apart.
    pub authentication: bool,
    /// The admin listener's credential or what it serves.
    pub admin: bool,
    /// Sizes, times and policy of the log.
    pub log: bool,
    /// Limits on requests and series.
    pub limits: bool,
    /// How OTLP metrics become series.
    pub otlp: bool,
    /// Size of the dead letters.
    pub dead_letters: bool,
    /// Keys whose new value takes effect at the next start.
    pub restart_needed: Vec<&'static str>,
}

/// Members of a set that came, went, or differ; in the order they are written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changes<K> {
    /// In the new configuration only.
    pub added: Vec<K>,
    /// In the old configuration only.
    pub removed: Vec<K>,
    /// In both, with another value.
    pub changed: Vec<K>,
}

impl<K> Default for Changes<K> {
    fn default() -> Self {
        Self { added: Vec::new(), removed: Vec::new(), changed: Vec::new() }
    }
}

impl Diff {
    /// Whether the two configurations say the same.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// Compares two configurations.
#[must_use]
pub fn diff(old: &Config, new: &Config) -> Diff {
    let mut old_admin = old.admin.clone();
    old_admin.address = new.admin.address;
    let mut restart_needed = Vec::new();
    if old.admin.address != new.admin.address {
        restart_needed.push("admin.address");
    }
    if old.log.path != new.log.path {
        restart_needed.push("log.path");
    }
    let mut old_log = old.log.clone();
    old_log.path.clone_from(&new.log.path);
    Diff {
        endpoints: changes(old.endpoints.iter().map(named), new.endpoints.iter().map(named)),
        listeners: changes(old.listeners.iter().map(addressed), new.listeners.iter().map(addressed)),
        tenants: changes(old.tenants.entries(), new.tenants.entries()),
        authentication: old.authentication != new.authentication || old.observatorium != new.observatorium,
        admin: old_admin != new.admin,
        log: old_log != new.log,
        limits: old.limits != new.limits,
        otlp: old.otlp != new.otlp,
        dead_letters: old.dead_letters_max_size != new.dead_letters_max_size,
        restart_needed,
    }
}

fn named(endpoint: &Endpoint) -> (&String, &Endpoint) {
    (&endpoint.name, endpoint)
}

fn addressed(listener: &Listener) -> (&SocketAddr, &Listener) {
    (&listener.address, listener)
}

fn changes<'c, K: Ord + Clone + 'c, T: PartialEq + 'c>(
    old: impl Iterator<Item = (&'c K, &'c T)>,
    new: impl Iterator<Item = (&'c K, &'c T)>,
) -> Changes<K> {
    let (old, new): (Vec<_>, Vec<_>) = (old.collect(), new.collect());
    let before: BTreeMap<_, _> = old.iter().copied().collect();
    let after: BTreeMap<_, _> = new.iter().copied().collect();
    let mut changes = Changes::default();
    for (key, member) in new {
        match before.get(key) {
            None => changes.added.push(key.clone()),
            Some(was) if *was != member => changes.changed.push(key.clone()),
            Some(_) => {}
        }
    }
    changes.removed = old.into_iter().map(|(key, _)| key).filter(|key| !after.contains_key(key)).cloned().collect();
    changes
}
