//! The keys of OTLP.

use super::{Section, key};

pub(crate) const OTLP: Section = Section {
    title: "otlp",
    keys: &[
        key(
            "translation_strategy",
            "UnderscoreEscapingWithSuffixes, UnderscoreEscapingWithoutSuffixes, NoUTF8EscapingWithSuffixes or NoTranslation",
            "UnderscoreEscapingWithSuffixes",
            "how names of metrics and attributes become names of series and labels; this and all below but the last two are Prometheus', see [OTLP](otlp.md)",
        ),
        key(
            "promote_resource_attributes",
            "list of attributes",
            "[]",
            "attributes of a resource that become labels of its series",
        ),
        key("promote_all_resource_attributes", "bool", "false", "all attributes of a resource do"),
        key("ignore_resource_attributes", "list of attributes", "[]", "all but these"),
        key(
            "keep_identifying_resource_attributes",
            "bool",
            "false",
            "`service.name`, `service.namespace` and `service.instance.id` are in `target_info` too, beside `job` and `instance`",
        ),
        key(
            "convert_histograms_to_nhcb",
            "bool",
            "false",
            "histograms with explicit bounds become native ones with custom buckets, instead of a series per bucket",
        ),
        key(
            "promote_scope_metadata",
            "bool",
            "false",
            "name, version, schema URL and attributes of a scope become labels `otel_scope_…`",
        ),
        key(
            "label_name_underscore_sanitization",
            "bool",
            "true",
            "a label that would start with one `_` starts with `key_`; where names are escaped",
        ),
        key(
            "label_name_preserve_multiple_underscores",
            "bool",
            "true",
            "several `_` in a row stay in label names; where names are escaped",
        ),
        key(
            "delta_max_bytes",
            "size",
            "64MiB",
            "memory for the running totals of a tenant with `delta_temporality: accumulate`, about; new streams beyond it are refused",
        ),
        key("delta_max_stale", "duration", "5m", "after so long without a delta a running total is forgotten"),
    ],
};
