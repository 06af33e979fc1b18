//! How a tenant's name is written inside another text: a literal with one `{tenant}` in it, such as `tenant-{tenant}`.

use std::fmt;
use std::str::FromStr;

const PLACE: &str = "{tenant}";

/// A literal text around one tenant's name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    prefix: String,
    suffix: String,
}

/// A text is no pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPattern {
    /// Nothing in it stands for the tenant.
    #[error("the pattern needs {PLACE} where the tenant's name stands")]
    NoTenant,
    /// More than one place for one name.
    #[error("the pattern may have {PLACE} only once")]
    TwoTenants,
    /// A brace of its own, which is more often a misspelt `{tenant}` than a literal.
    #[error("the pattern may have no braces other than those of {PLACE}")]
    Brace,
}

impl Pattern {
    /// The tenant's name in `text`. The literal parts are matched exactly and cut once, so that a name may hold them again:
    /// under `tenant-{tenant}`, `tenant-tenant-a` is `tenant-a`. A name has at least one character.
    #[must_use]
    pub fn tenant_of<'a>(&self, text: &'a str) -> Option<&'a str> {
        let tenant = text.strip_prefix(self.prefix.as_str())?.strip_suffix(self.suffix.as_str())?;
        (!tenant.is_empty()).then_some(tenant)
    }

    /// The text in which this tenant's name stands.
    #[must_use]
    pub fn text_for(&self, tenant: &str) -> String {
        format!("{}{tenant}{}", self.prefix, self.suffix)
    }
}

impl Default for Pattern {
    /// The name and nothing else.
    fn default() -> Self {
        Self { prefix: String::new(), suffix: String::new() }
    }
}

impl FromStr for Pattern {
    type Err = InvalidPattern;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (prefix, suffix) = text.split_once(PLACE).ok_or(InvalidPattern::NoTenant)?;
        if suffix.contains(PLACE) {
            return Err(InvalidPattern::TwoTenants);
        }
        if [prefix, suffix].iter().any(|literal| literal.contains(['{', '}'])) {
            return Err(InvalidPattern::Brace);
        }
        Ok(Self { prefix: prefix.to_owned(), suffix: suffix.to_owned() })
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{PLACE}{}", self.prefix, self.suffix)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_name_is_what_stands_between_the_literals() {
        for (pattern, text, tenant) in [
            ("{tenant}", "team-blue", Some("team-blue")),
            ("{tenant}", "", None),
            ("tenant-{tenant}", "tenant-team-blue", Some("team-blue")),
            ("tenant-{tenant}", "tenant-tenant-a", Some("tenant-a")),
            ("tenant-{tenant}", "tenant-", None),
            ("tenant-{tenant}", "Tenant-a", None),
            ("tenant-{tenant}", "xtenant-a", None),
            ("{tenant}.agents.example.org", "blue.agents.example.org", Some("blue")),
            ("{tenant}.agents.example.org", ".agents.example.org", None),
            ("{tenant}.agents.example.org", "blue.agents.example.org.", None),
            ("aa{tenant}aa", "aaa", None),
            ("aa{tenant}aa", "aaaaa", Some("a")),
            ("spiffe://example.org/{tenant}/agent", "spiffe://example.org/blue/agent", Some("blue")),
        ] {
            let parsed: Pattern = pattern.parse().unwrap();
            assert_eq!(parsed.tenant_of(text), tenant, "{pattern} {text}");
            assert_eq!(parsed.to_string(), pattern);
        }
    }

    #[test]
    fn a_pattern_has_exactly_one_place_for_the_name() {
        for (pattern, error) in [
            ("", InvalidPattern::NoTenant),
            ("tenant-", InvalidPattern::NoTenant),
            ("{tennant}", InvalidPattern::NoTenant),
            ("{Tenant}", InvalidPattern::NoTenant),
            ("{tenant}{tenant}", InvalidPattern::TwoTenants),
            ("{ns}-{tenant}", InvalidPattern::Brace),
            ("{{tenant}}", InvalidPattern::Brace),
        ] {
            assert_eq!(pattern.parse::<Pattern>(), Err(error), "{pattern}");
        }
    }

    proptest! {
        #[test]
        fn a_name_written_by_a_pattern_is_read_by_it(prefix in "[^{}]{0,9}", suffix in "[^{}]{0,9}", tenant in ".{1,20}") {
            let pattern: Pattern = format!("{prefix}{PLACE}{suffix}").parse().unwrap();
            let text = pattern.text_for(&tenant);
            prop_assert_eq!(pattern.tenant_of(&text), Some(tenant.as_str()));
        }
    }
}
