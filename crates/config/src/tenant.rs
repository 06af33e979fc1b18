//! Tenant names, and the patterns that match or find them.

use std::fmt;

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
}
