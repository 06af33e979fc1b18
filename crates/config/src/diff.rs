//! What a reload must do: the difference between the running configuration and a new one.

use std::net::SocketAddr;

use crate::config::Config;

/// What changed. Everything but `restart_needed` can change while running.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Diff {
    /// Endpoints, by name.
    pub endpoints: Changes<String>,
    /// Listeners, by address.
    pub listeners: Changes<SocketAddr>,
    /// The admin listener's credential or what it serves.
    pub admin: bool,
    /// Sizes, times and policy of the log.
    pub log: bool,
    /// Limits on requests and series.
    pub limits: bool,
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
    let admin_changed = (&old.admin.credential, old.admin.public) != (&new.admin.credential, new.admin.public);
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
        endpoints: changes(&old.endpoints, &new.endpoints, |endpoint| endpoint.name.clone()),
        listeners: changes(&old.listeners, &new.listeners, |listener| listener.address),
        admin: admin_changed,
        log: old_log != new.log,
        limits: old.limits != new.limits,
        dead_letters: old.dead_letters_max_size != new.dead_letters_max_size,
        restart_needed,
    }
}

fn changes<T: PartialEq, K: PartialEq>(old: &[T], new: &[T], key: impl Fn(&T) -> K) -> Changes<K> {
    let find = |set: &'_ [T], wanted: &K| set.iter().position(|member| key(member) == *wanted);
    let mut changes = Changes::default();
    for member in new {
        let name = key(member);
        match find(old, &name).and_then(|index| old.get(index)) {
            None => changes.added.push(name),
            Some(before) if before != member => changes.changed.push(name),
            Some(_) => {}
        }
    }
    changes.removed = old.iter().map(&key).filter(|name| find(new, name).is_none()).collect();
    changes
}
