//! How OTLP metrics become series: Prometheus' own `otlp` block, and what deltas may take.

use std::collections::BTreeSet;
use std::time::Duration;

/// The block `otlp`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Otlp {
    /// How names of metrics and attributes become names of series and labels.
    pub translation_strategy: TranslationStrategy,
    /// Which attributes of resources become labels of all their series.
    pub promote: PromoteAttributes,
    /// `target_info` also has what `job` and `instance` are made of.
    pub keep_identifying_resource_attributes: bool,
    /// Histograms with explicit bounds become native ones with custom buckets.
    pub convert_histograms_to_nhcb: bool,
    /// Scopes become labels `otel_scope_…`.
    pub promote_scope_metadata: bool,
    /// A label that would start with one `_` starts with `key_`.
    pub label_name_underscore_sanitization: bool,
    /// Several `_` in a row stay in label names.
    pub label_name_preserve_multiple_underscores: bool,
    /// Memory for the running totals of a tenant whose deltas are accumulated.
    pub delta_max_bytes: u64,
    /// After so long without a delta a running total is forgotten. Not zero.
    pub delta_max_stale: Duration,
}

/// Prometheus' `translation_strategy`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TranslationStrategy {
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

/// Attributes of resources by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PromoteAttributes {
    /// `promote_resource_attributes`.
    Only(BTreeSet<String>),
    /// `promote_all_resource_attributes`, without `ignore_resource_attributes`.
    AllBut(BTreeSet<String>),
}

/// What is done with metrics of delta temporality.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DeltaTemporality {
    /// Their points are refused.
    #[default]
    Reject,
    /// They are added up.
    Accumulate,
}
