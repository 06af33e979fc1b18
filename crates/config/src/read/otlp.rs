//! Reads `otlp`.

use std::collections::BTreeSet;
use std::path::Path;

use crate::node::Node;
use crate::otlp::{DeltaTemporality, Otlp, PromoteAttributes, TranslationStrategy};
use crate::read::section;
use crate::schema;
use crate::table::{Field, Report, Table};

pub(crate) const STRATEGIES: [(&str, TranslationStrategy); 4] = [
    ("UnderscoreEscapingWithSuffixes", TranslationStrategy::UnderscoreEscapingWithSuffixes),
    ("UnderscoreEscapingWithoutSuffixes", TranslationStrategy::UnderscoreEscapingWithoutSuffixes),
    ("NoUTF8EscapingWithSuffixes", TranslationStrategy::NoUtf8EscapingWithSuffixes),
    ("NoTranslation", TranslationStrategy::NoTranslation),
];

/// What a tenant's `delta_temporality` can be.
pub(super) const DELTA_TEMPORALITY: [(&str, DeltaTemporality); 2] =
    [("reject", DeltaTemporality::Reject), ("accumulate", DeltaTemporality::Accumulate)];

/// The block `otlp`. What contradicts itself is refused, as Prometheus refuses it.
pub(super) fn otlp(file: &Table<'_>, report: &mut Report) -> Otlp {
    let table = section(file, "otlp", &schema::OTLP, report);
    Otlp {
        translation_strategy: table.choice("translation_strategy", report, &STRATEGIES),
        promote: promote(&table, report),
        keep_identifying_resource_attributes: table.bool("keep_identifying_resource_attributes", report),
        convert_histograms_to_nhcb: table.bool("convert_histograms_to_nhcb", report),
        promote_scope_metadata: table.bool("promote_scope_metadata", report),
        label_name_underscore_sanitization: table.bool("label_name_underscore_sanitization", report),
        label_name_preserve_multiple_underscores: table.bool("label_name_preserve_multiple_underscores", report),
        delta_max_bytes: table.size("delta_max_bytes", report),
        delta_max_stale: table.positive_duration("delta_max_stale", report),
    }
}

/// What is the case where nothing is said.
impl Default for Otlp {
    fn default() -> Self {
        let mut report = Report::new(Path::new(""), Path::new(""));
        otlp(&Table::open(Field::new(&Node::EMPTY, ""), &schema::FILE, &mut report), &mut report)
    }
}

fn promote(table: &Table<'_>, report: &mut Report) -> PromoteAttributes {
    let some = names(table, "promote_resource_attributes", report);
    let others = names(table, "ignore_resource_attributes", report);
    let all = table.bool("promote_all_resource_attributes", report);
    let superfluous = if all { "promote_resource_attributes" } else { "ignore_resource_attributes" };
    let is_superfluous = if all { !some.is_empty() } else { !others.is_empty() };
    if let Some(field) = table.get(superfluous).filter(|_| is_superfluous) {
        let (message, hint) = if all {
            ("all attributes are promoted anyhow", "leave it out, or promote_all_resource_attributes")
        } else {
            ("it is for promote_all_resource_attributes, which is not on", "leave it out, or promote all")
        };
        field.wrong_with_hint(report, message, hint);
    }
    if all { PromoteAttributes::AllBut(others) } else { PromoteAttributes::Only(some) }
}

fn names(table: &Table<'_>, key: &str, report: &mut Report) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    let items = table.get(key).map(|list| list.items(report)).unwrap_or_default();
    for item in items {
        let Some(name) = item.text(report) else { continue };
        if name.is_empty() {
            item.wrong(report, "an attribute's name must not be empty");
        } else if !names.insert(name.to_owned()) {
            item.wrong(report, "the attribute is written twice");
        }
    }
    names
}
