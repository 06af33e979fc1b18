//! Reads `write_relabel_configs` and checks each rule's shape as Prometheus does (`relabel.Config.Validate`).

use crate::relabel::{RelabelAction, RelabelConfig};
use crate::schema;
use crate::table::{Field, Report, Table};

const ACTIONS: [(&str, RelabelAction); 11] = [
    ("replace", RelabelAction::Replace),
    ("keep", RelabelAction::Keep),
    ("drop", RelabelAction::Drop),
    ("keepequal", RelabelAction::KeepEqual),
    ("dropequal", RelabelAction::DropEqual),
    ("hashmod", RelabelAction::HashMod),
    ("labelmap", RelabelAction::LabelMap),
    ("labeldrop", RelabelAction::LabelDrop),
    ("labelkeep", RelabelAction::LabelKeep),
    ("lowercase", RelabelAction::Lowercase),
    ("uppercase", RelabelAction::Uppercase),
];

/// The word for an action.
pub(crate) fn action_name(action: RelabelAction) -> &'static str {
    ACTIONS.iter().find(|(_, known)| *known == action).map_or("", |(name, _)| name)
}

pub(super) fn rules(list: &Field<'_>, report: &mut Report) -> Vec<RelabelConfig> {
    list.items(report).into_iter().map(|item| rule(item, report)).collect()
}

fn rule(item: Field<'_>, report: &mut Report) -> RelabelConfig {
    let table = Table::open(item, &schema::RELABEL, report);
    let action = action(&table, report);
    let rule = RelabelConfig {
        source_labels: table.get("source_labels").map(|labels| labels.texts(report)).unwrap_or_default(),
        separator: table.text("separator", report),
        regex: table.text("regex", report),
        modulus: table.value("modulus", report, |text| text.parse().or(Err("expected a whole number"))),
        target_label: table.text("target_label", report),
        replacement: table.text("replacement", report),
        action: action.unwrap_or_default(),
    };
    // What a rule needs depends on its action.
    if action.is_some() {
        check(&table, &rule, report);
    }
    rule
}

/// Prometheus takes an action in any case.
fn action(table: &Table<'_>, report: &mut Report) -> Option<RelabelAction> {
    let Some(field) = table.get("action") else { return Some(RelabelAction::Replace) };
    let lower = field.node.text().unwrap_or_default().to_ascii_lowercase();
    match ACTIONS.iter().find(|(name, _)| *name == lower) {
        Some((_, action)) => Some(*action),
        None => field.choice(report, &ACTIONS),
    }
}

fn check(table: &Table<'_>, rule: &RelabelConfig, report: &mut Report) {
    let name = action_name(rule.action);
    let default = RelabelConfig::default();
    // A default that is written out is no mistake: generated configurations have them.
    let changed = [
        ("source_labels", rule.source_labels != default.source_labels),
        ("separator", rule.separator != default.separator),
        ("regex", rule.regex != default.regex),
        ("modulus", rule.modulus != default.modulus),
        ("target_label", rule.target_label != default.target_label),
        ("replacement", rule.replacement != default.replacement),
    ];
    let allowed: &[&str] = match rule.action {
        RelabelAction::KeepEqual | RelabelAction::DropEqual => &["source_labels", "target_label"],
        RelabelAction::LabelDrop | RelabelAction::LabelKeep => &["regex"],
        RelabelAction::Lowercase | RelabelAction::Uppercase => {
            &["source_labels", "separator", "regex", "modulus", "target_label"]
        }
        RelabelAction::Replace
        | RelabelAction::Keep
        | RelabelAction::Drop
        | RelabelAction::HashMod
        | RelabelAction::LabelMap => &["source_labels", "separator", "regex", "modulus", "target_label", "replacement"],
    };
    for (key, _) in changed.iter().filter(|(key, changed)| *changed && !allowed.contains(key)) {
        if let Some(field) = table.get(key) {
            field.wrong(report, format_args!("{name} takes no {key}"));
        }
    }
    if rule.action == RelabelAction::HashMod && rule.modulus == 0 {
        table.field().wrong(report, "hashmod needs a modulus other than 0");
    }
    let needs_target = matches!(
        rule.action,
        RelabelAction::Replace
            | RelabelAction::HashMod
            | RelabelAction::Lowercase
            | RelabelAction::Uppercase
            | RelabelAction::KeepEqual
            | RelabelAction::DropEqual
    );
    if needs_target && rule.target_label.is_empty() {
        table.field().wrong(report, format_args!("{name} needs target_label"));
    }
    if rule.action == RelabelAction::LabelMap && rule.replacement.is_empty() {
        table.field().wrong(report, "labelmap needs a replacement that is a label name");
    }
}
