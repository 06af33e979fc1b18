//! Reads `write_relabel_configs`. Whether a rule is valid is for `remote_write::relabel` to say; here each flaw gets its
//! place in the file.

use remote_write::relabel::{Definition, Flaw};

use crate::relabel::{RelabelAction, RelabelConfig};
use crate::schema;
use crate::table::{Field, Report, Table};

/// The word for an action.
pub(crate) const fn action_name(action: RelabelAction) -> &'static str {
    action.name()
}

pub(super) fn rules(list: &Field<'_>, report: &mut Report) -> Vec<RelabelConfig> {
    list.items(report).into_iter().map(|item| rule(item, report)).collect()
}

/// A rule that is not valid is reported, and does nothing.
fn rule(item: Field<'_>, report: &mut Report) -> RelabelConfig {
    let table = Table::open(item, &schema::RELABEL, report);
    let action = action(&table, report);
    let definition = Definition {
        source_labels: table.get("source_labels").map(|labels| labels.texts(report)).unwrap_or_default(),
        separator: table.text("separator", report),
        regex: table.text("regex", report),
        modulus: table.value("modulus", report, |text| text.parse().or(Err("expected a whole number"))),
        target_label: table.text("target_label", report),
        replacement: table.text("replacement", report),
        action: action.unwrap_or_default(),
    };
    match definition.compile() {
        Ok(rule) => rule,
        Err(invalid) => {
            // What else a rule needs depends on its action.
            let flaws = invalid.0.iter().filter(|flaw| action.is_some() || matches!(flaw, Flaw::Regex(_)));
            flaws.for_each(|flaw| report_flaw(&table, flaw, report));
            RelabelConfig::default()
        }
    }
}

/// Prometheus takes an action in any case.
fn action(table: &Table<'_>, report: &mut Report) -> Option<RelabelAction> {
    let Some(field) = table.get("action") else { return Some(RelabelAction::Replace) };
    let lower = field.node.text().unwrap_or_default().to_ascii_lowercase();
    let actions = RelabelAction::ALL.map(|action| (action.name(), action));
    match actions.iter().find(|(name, _)| *name == lower) {
        Some((_, action)) => Some(*action),
        None => field.choice(report, &actions),
    }
}

/// Reports a flaw at its key if that is written, otherwise at the rule.
fn report_flaw(table: &Table<'_>, flaw: &Flaw, report: &mut Report) {
    let field = flaw.key().and_then(|key| table.get(key.name()));
    let field = field.as_ref().unwrap_or_else(|| table.field());
    match flaw {
        Flaw::Regex(invalid) => {
            let hint = invalid.hint.unwrap_or("relabel rules take Go's (RE2) syntax, as in Prometheus");
            field.wrong_with_hint(report, format_args!("{} at byte {}", invalid.what, invalid.offset), hint);
        }
        Flaw::UselessKey(..) | Flaw::MissingKey(..) | Flaw::EmptySourceLabel => field.wrong(report, flaw),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use crate::node::Node;
    use crate::table::{Field, Report};

    /// What is wrong with a list of rules.
    fn problems(text: &str) -> Vec<String> {
        let node = Node::parse(text, Path::new("f.yml")).unwrap();
        let mut report = Report::new(Path::new("f.yml"), Path::new(""));
        super::rules(&Field::new(&node, "rules"), &mut report);
        report.problems.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_regex_that_go_would_refuse_is_a_problem_at_its_place() {
        for (rule, problem) in [
            (
                "{action: keep, source_labels: [a], regex: 'a**'}",
                "f.yml:1:45: rules[0].regex: repetition of a repetition `*` at byte 2 (write (?:a*)* to repeat a repetition)",
            ),
            (
                "{action: keep, source_labels: [a], regex: '(a'}",
                "f.yml:1:45: rules[0].regex: missing ) for the group opened at byte 0 (relabel rules take Go's (RE2) syntax, \
                 as in Prometheus)",
            ),
            (
                r"{action: keep, source_labels: [''], regex: '\Qa+\E'}",
                "f.yml:1:33: rules[0].source_labels: a label name is empty",
            ),
        ] {
            assert_eq!(problems(&format!("- {rule}")), [problem], "{rule}");
        }
        assert_eq!(problems(r"- {action: Keep, source_labels: [a], regex: '\d{,2}\Qa+\E'}"), [""; 0]);
    }
}
