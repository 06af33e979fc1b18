//! Tenants: their names, the patterns that match or find them, and what is configured for each.
//!
//! Nothing here reads YAML; `read::tenant` does.

use std::borrow::Borrow;
use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use crate::access::Credential;
use crate::cidr::IpNet;
use crate::config::OnFull;
use crate::limits::LimitOverrides;
use crate::observatorium::Login;
use crate::otlp::DeltaTemporality;
use crate::relabel::RelabelConfig;

/// The longest tenant name in bytes (Mimir's rule).
pub const MAX_TENANT_NAME_BYTES: usize = 150;

/// A tenant's name: 1 to 150 bytes of `A-Za-z0-9!_.*'()-`, neither `.` nor `..` (Mimir's tenant ID rule), so that
/// it is safe as a header value, a URL segment and a directory name.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TenantName(String);

impl TenantName {
    /// Checks `name`.
    ///
    /// # Errors
    /// If it is empty, too long, `.` or `..`, or has a byte outside the set.
    pub fn new(name: &str) -> Result<Self, InvalidTenantName> {
        if name.is_empty() {
            return Err(InvalidTenantName::Empty);
        }
        if name.len() > MAX_TENANT_NAME_BYTES {
            return Err(InvalidTenantName::TooLong(name.len()));
        }
        if name == "." || name == ".." {
            return Err(InvalidTenantName::Dots);
        }
        match name.chars().find(|&c| !is_tenant_char(c)) {
            Some(c) => Err(InvalidTenantName::Char(c)),
            None => Ok(Self(name.to_owned())),
        }
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TenantName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// As a key, a name is its text.
impl Borrow<str> for TenantName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl AsRef<str> for TenantName {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

/// Why a text is no tenant name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidTenantName {
    /// There is none.
    #[error("a tenant's name must not be empty")]
    Empty,
    /// With its length in bytes.
    #[error("a tenant's name has at most {MAX_TENANT_NAME_BYTES} bytes, this one has {0}")]
    TooLong(usize),
    /// `.` or `..`.
    #[error("a tenant must not be named `.` or `..`")]
    Dots,
    /// The first one outside the set.
    #[error("{0:?} must not be in a tenant's name; it may have A-Z a-z 0-9 ! _ . * ' ( ) -")]
    Char(char),
}

fn is_tenant_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || "!_.*'()-".contains(c)
}

/// A glob over tenant names: `*` is any number of characters, everything else itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TenantPattern(String);

impl TenantPattern {
    /// Checks that `pattern` could match a name.
    ///
    /// # Errors
    /// As [`TenantName::new`].
    pub fn new(pattern: &str) -> Result<Self, InvalidTenantName> {
        TenantName::new(pattern).map(|TenantName(pattern)| Self(pattern))
    }

    /// The pattern as written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether more than one name can match.
    #[must_use]
    pub fn matches_several(&self) -> bool {
        self.0.contains('*')
    }

    /// Whether `name` matches. Linear in both: a `*` takes as little as it can, left to right.
    #[must_use]
    pub fn matches(&self, name: &str) -> bool {
        let Some((first, rest)) = self.0.split_once('*') else {
            return self.0 == name;
        };
        let Some(mut name) = name.strip_prefix(first) else {
            return false;
        };
        let (middle, last) = rest.rsplit_once('*').unwrap_or(("", rest));
        for part in middle.split('*') {
            match name.split_once(part) {
                Some((_, after)) => name = after,
                None => return false,
            }
        }
        name.ends_with(last)
    }
}

/// A text with one `{tenant}` in it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NamePattern {
    /// What comes before the tenant.
    pub prefix: String,
    /// What comes after the tenant.
    pub suffix: String,
}

impl fmt::Display for NamePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{{tenant}}{}", self.prefix, self.suffix)
    }
}

/// A host name with one `{tenant}` in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostPattern {
    /// What comes before the tenant, in lower case.
    pub prefix: String,
    /// What comes after the tenant, in lower case.
    pub suffix: String,
}

impl HostPattern {
    /// The part of `host` where the tenant stands, if the rest matches. `host` has no port; letters compare without
    /// case (RFC 9110 §4.2.3).
    #[must_use]
    pub fn tenant_of<'h>(&self, host: &'h str) -> Option<&'h str> {
        let start = self.prefix.len();
        let end = host.len().checked_sub(self.suffix.len()).filter(|&end| end > start)?;
        let (prefix, tenant, suffix) = (host.get(..start)?, host.get(start..end)?, host.get(end..)?);
        (prefix.eq_ignore_ascii_case(&self.prefix) && suffix.eq_ignore_ascii_case(&self.suffix)).then_some(tenant)
    }
}

/// The name of the entry that stands for every tenant without an entry of its own.
pub(crate) const OTHERS: &str = "*";

/// Who may push, and what differs for whom. The default admits everybody and sets nothing.
///
/// No tenant's id is another's name or id.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tenants {
    /// What is written, by name; [`OTHERS`] is a name as well. Empty: there is no list.
    entries: BTreeMap<TenantName, TenantConfig>,
    /// Whose each id is; an entry without one has its name.
    by_id: BTreeMap<String, TenantName>,
}

impl Tenants {
    /// Whether `name` may push: everybody if there is no list, otherwise who is listed, and with an entry `*` every
    /// name that is no listed tenant's id.
    #[must_use]
    pub fn admits(&self, name: &TenantName) -> bool {
        self.entries.is_empty() || self.get(name).is_some()
    }

    /// What is configured for `name`: its own entry, or the entry `*`. `None` if there is no list, and for a tenant
    /// that is not admitted.
    #[must_use]
    pub fn get(&self, name: &TenantName) -> Option<&TenantConfig> {
        // Endpoints would take a tenant that is named like another's id for that other one.
        let others = || if self.with_id(name.as_str()).is_none() { self.entries.get(OTHERS) } else { None };
        self.entries.get(name).or_else(others)
    }

    /// What endpoints are told for `name`: a visible ASCII text in one line.
    #[must_use]
    pub fn id_of<'t>(&'t self, name: &'t TenantName) -> &'t str {
        self.get(name).and_then(|config| config.id.as_deref()).unwrap_or(name.as_str())
    }

    /// Whether endpoints would take `name`, which is not listed, for a listed tenant that has this as its id.
    #[must_use]
    pub fn is_id_of_another(&self, name: &TenantName) -> bool {
        !self.entries.contains_key(name) && self.with_id(name.as_str()).is_some()
    }

    /// The listed tenant that endpoints know as `id`.
    #[must_use]
    pub fn with_id(&self, id: &str) -> Option<&TenantName> {
        self.by_id.get(id)
    }

    /// The list, sorted by name, `*` in its place among them.
    pub fn entries(&self) -> impl Iterator<Item = (&TenantName, &TenantConfig)> {
        self.entries.iter()
    }

    /// The listed names, if no others are admitted.
    pub(crate) fn closed_list(&self) -> Option<impl Iterator<Item = &TenantName>> {
        (!self.entries.is_empty() && !self.entries.contains_key(OTHERS)).then(|| self.entries.keys())
    }
}

/// From entries whose names and ids have been checked to be unique.
impl FromIterator<(TenantName, TenantConfig)> for Tenants {
    fn from_iter<I: IntoIterator<Item = (TenantName, TenantConfig)>>(entries: I) -> Self {
        let entries: BTreeMap<TenantName, TenantConfig> = entries.into_iter().collect();
        let listed = entries.iter().filter(|(name, _)| name.as_str() != OTHERS);
        let by_id = listed
            .map(|(name, config)| (config.id.clone().unwrap_or_else(|| name.as_str().to_owned()), name.clone()))
            .collect();
        Self { entries, by_id }
    }
}

/// What is configured for a tenant.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TenantConfig {
    /// What endpoints are told, if not the name; always `None` for `*`. See [`Tenants::id_of`].
    pub id: Option<String>,
    /// What the tenant's senders show; none for `*`.
    pub credentials: Vec<Credential>,
    /// What else they may show: the tenant is one of Observatorium's.
    pub login: Option<Login>,
    /// The only authority whose certificates speak for the tenant, PEM; none for `*`.
    pub client_ca_file: Option<PathBuf>,
    /// Peers that may push for the tenant; empty is everyone.
    pub allow: Vec<IpNet>,
    /// Where the tenant's limits differ from the others'.
    pub limits: LimitOverrides,
    /// Where the tenant's log differs from the other logs.
    pub log: TenantLog,
    /// Added to series that do not have them. Names are not empty and never start with `__`; values are not empty.
    pub external_labels: BTreeMap<String, String>,
    /// Applied to each series of the tenant, before the rules of an endpoint.
    pub write_relabel_configs: Vec<RelabelConfig>,
    /// What is done with OTLP metrics of delta temporality.
    pub delta_temporality: DeltaTemporality,
}

/// Where a tenant's log differs from [`Log`](crate::Log), which holds for what is `None`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TenantLog {
    /// Bytes; at least 1 MiB.
    pub max_size: Option<u64>,
    /// What gives way when the log is full.
    pub on_full: Option<OnFull>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tenant_names_follow_mimirs_rule() {
        let longest = "x".repeat(150);
        for name in ["a", "Team-1", "!_.*'()-", "...", longest.as_str()] {
            assert!(TenantName::new(name).is_ok(), "{name}");
        }
        let too_long = "x".repeat(151);
        for (name, error) in [
            ("", InvalidTenantName::Empty),
            (".", InvalidTenantName::Dots),
            ("..", InvalidTenantName::Dots),
            ("a/b", InvalidTenantName::Char('/')),
            ("a|b", InvalidTenantName::Char('|')),
            ("é", InvalidTenantName::Char('é')),
            ("a\n", InvalidTenantName::Char('\n')),
            (too_long.as_str(), InvalidTenantName::TooLong(151)),
        ] {
            assert_eq!(TenantName::new(name), Err(error), "{name}");
        }
    }

    #[test]
    fn a_star_matches_any_number_of_characters() {
        for (pattern, name, matches) in [
            ("a", "a", true),
            ("a", "ab", false),
            ("*", "", true),
            ("*", "anything", true),
            ("team-*", "team-", true),
            ("team-*", "tea", false),
            ("*-blue", "team-blue", true),
            ("a*a", "a", false),
            ("a*a", "aa", true),
            ("a*b*c", "a-b-b-c", true),
            ("a*b*c", "a-c", false),
            ("a**c", "abc", true),
            ("*ab*ab", "ab", false),
        ] {
            assert_eq!(TenantPattern::new(pattern).unwrap().matches(name), matches, "{pattern} {name}");
        }
    }

    #[test]
    fn a_host_pattern_finds_the_tenant_between_its_ends() {
        let pattern = HostPattern { prefix: "cortex.".to_owned(), suffix: ".example.org".to_owned() };
        for (host, tenant) in [
            ("cortex.blue.example.org", Some("blue")),
            ("CORTEX.Blue.Example.ORG", Some("Blue")),
            ("cortex..example.org", None),
            ("cortex.example.org", None),
            ("blue.example.org", None),
            ("cortex.blue.example.com", None),
            ("cortexé.example.org", None),
            ("", None),
        ] {
            assert_eq!(pattern.tenant_of(host), tenant, "{host}");
        }
    }

    fn name(name: &str) -> TenantName {
        TenantName::new(name).unwrap()
    }

    fn tenants(list: &[(&str, Option<&str>)]) -> Tenants {
        let config = |id: Option<&str>| TenantConfig { id: id.map(str::to_owned), ..TenantConfig::default() };
        list.iter().map(|(tenant, id)| (name(tenant), config(*id))).collect()
    }

    #[test]
    fn without_a_list_everybody_is_admitted_and_nothing_is_configured() {
        let tenants = Tenants::default();
        for any in ["blue", "*", "1234"] {
            assert!(tenants.admits(&name(any)), "{any}");
            assert_eq!((tenants.get(&name(any)), tenants.id_of(&name(any))), (None, any));
        }
        assert_eq!(tenants.with_id("blue"), None);
    }

    #[test]
    fn a_list_admits_who_is_on_it_and_a_star_everybody_but_who_is_named_like_an_id() {
        let listed = [("blue", Some("1234")), ("red", None)];
        let closed = tenants(&listed);
        let open = tenants(&[listed.as_slice(), &[("*", None)]].concat());
        for (who, in_closed, in_open) in [
            ("blue", true, true),
            ("red", true, true),
            ("green", false, true),
            ("1234", false, false),
            ("*", false, true),
        ] {
            assert_eq!((closed.admits(&name(who)), open.admits(&name(who))), (in_closed, in_open), "{who}");
            assert_eq!(
                (closed.get(&name(who)).is_some(), open.get(&name(who)).is_some()),
                (in_closed, in_open),
                "{who}"
            );
        }
    }

    #[test]
    fn the_star_is_for_those_who_have_no_entry_of_their_own() {
        let mut others = TenantConfig::default();
        others.log.max_size = Some(1 << 20);
        let tenants: Tenants =
            [(name("blue"), TenantConfig::default()), (name("*"), others.clone())].into_iter().collect();
        assert_eq!(tenants.get(&name("blue")), Some(&TenantConfig::default()));
        assert_eq!(tenants.get(&name("green")), Some(&others));
    }

    #[test]
    fn endpoints_are_told_the_id_and_an_id_leads_back_to_its_tenant() {
        let tenants = tenants(&[("blue", Some("12:3")), ("red", None), ("*", None)]);
        for (who, id, back) in [("blue", "12:3", Some("blue")), ("red", "red", Some("red")), ("green", "green", None)] {
            assert_eq!(tenants.id_of(&name(who)), id);
            assert_eq!(tenants.with_id(id), back.map(name).as_ref());
        }
        assert_eq!((tenants.with_id("blue"), tenants.with_id("*")), (None, None));
    }
}
