//! What may differ between gateways: how names are made, which attributes become labels, how much a request may become.

use std::collections::BTreeSet;

/// How names of metrics and attributes become names of series and labels (Prometheus' `translation_strategy`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Strategy {
    /// Classic names, with unit and type at the end.
    #[default]
    UnderscoreEscapingWithSuffixes,
    /// Classic names and nothing added.
    UnderscoreEscapingWithoutSuffixes,
    /// Names as they are, with unit and type at the end.
    NoUtf8EscapingWithSuffixes,
    /// Names as they are.
    NoTranslation,
}

impl Strategy {
    /// All of them.
    pub const ALL: [Self; 4] = [
        Self::UnderscoreEscapingWithSuffixes,
        Self::UnderscoreEscapingWithoutSuffixes,
        Self::NoUtf8EscapingWithSuffixes,
        Self::NoTranslation,
    ];

    /// Whether only `[a-zA-Z0-9_:]` is left in names.
    pub const fn escapes(self) -> bool {
        matches!(self, Self::UnderscoreEscapingWithSuffixes | Self::UnderscoreEscapingWithoutSuffixes)
    }

    /// Whether unit and type are added to names.
    pub const fn adds_suffixes(self) -> bool {
        matches!(self, Self::UnderscoreEscapingWithSuffixes | Self::NoUtf8EscapingWithSuffixes)
    }
}

/// Which attributes of a resource become labels of all its series, beside `job` and `instance`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Promote {
    /// These.
    Only(BTreeSet<String>),
    /// All but these.
    AllBut(BTreeSet<String>),
}

impl Default for Promote {
    fn default() -> Self {
        Self::Only(BTreeSet::new())
    }
}

impl Promote {
    pub(crate) fn takes(&self, attribute: &str) -> bool {
        match self {
            Self::Only(some) => some.contains(attribute),
            Self::AllBut(others) => !others.contains(attribute),
        }
    }
}

/// How requests are translated; the defaults are Prometheus'.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// How names are made.
    pub strategy: Strategy,
    /// Which attributes of resources become labels.
    pub promote: Promote,
    /// `target_info` also has `service.name`, `service.namespace` and `service.instance.id`.
    pub keep_identifying_resource_attributes: bool,
    /// Histograms with explicit bounds become native ones with custom buckets, instead of a series per bucket.
    pub convert_histograms_to_nhcb: bool,
    /// Name, version, schema URL and attributes of a scope become labels `otel_scope_…`.
    pub promote_scope_metadata: bool,
    /// A label that would start with one `_` starts with `key_`. Without effect where names are not escaped.
    pub label_name_underscore_sanitization: bool,
    /// Several `_` in a row stay in label names. Without effect where names are not escaped.
    pub label_name_preserve_multiple_underscores: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            strategy: Strategy::default(),
            promote: Promote::default(),
            keep_identifying_resource_attributes: false,
            convert_histograms_to_nhcb: false,
            promote_scope_metadata: false,
            label_name_underscore_sanitization: true,
            label_name_preserve_multiple_underscores: true,
        }
    }
}

/// How much there may be; 0 is no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Labels of a series, `__name__` included.
    pub label_names: u32,
    /// Bytes of a label's value.
    pub label_value_bytes: u32,
    /// Bytes of the write request that is made.
    pub output_bytes: usize,
}

/// Points of a request, and series that are made of it: what the check of a write request takes at most.
pub(crate) const MAX_POINTS: u64 = 1 << 20;
/// Attributes of a point, a resource or a scope.
pub(crate) const MAX_ATTRIBUTES: usize = 1024;
/// Buckets of a histogram, quantiles of a summary. A native histogram of so many stays below the 1 MiB that is taken of one.
pub(crate) const MAX_BUCKETS: usize = 1 << 15;
/// Exemplars of a point.
pub(crate) const MAX_EXEMPLARS: usize = 1024;
/// How deep lists and maps may nest in an attribute.
pub(crate) const MAX_DEPTH: usize = 32;
/// Samples of a resource's `target_info` in a request: 25 hours of them.
pub(crate) const MAX_TARGET_INFO: u64 = 600;
