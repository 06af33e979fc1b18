//! vmagent's relabel rules as Prometheus writes them. What Prometheus has no words for stays as it is, and the check refuses it.

use std::path::{Path, PathBuf};

use writegate_config::{Node, Value as NodeValue};

use super::Reading;
use crate::flags::Flag;
use crate::part::{Part, Value};
use crate::{ImportError, Weight, unreadable};

impl Reading<'_> {
    /// Those of `-remoteWrite.relabelConfig`, and then `-remoteWrite.label`, which vmagent sets whether it is there or not.
    pub(super) fn rules_for_all(&mut self) -> Result<Vec<Part>, ImportError> {
        let mut rules = match self.flags.last("remoteWrite.relabelConfig") {
            Some(flag) => self.rules_in(&flag)?,
            None => Vec::new(),
        };
        for flag in self.flags.array("remoteWrite.label") {
            match flag.value.split_once('=') {
                Some((name, value)) => {
                    let replacement = Part::text("replacement", value.replace('$', "$$"));
                    rules.push(Part::item(vec![Part::text("target_label", name), replacement]).at(flag.place));
                }
                None => self.draft.say(Weight::Missing, flag.place, "-remoteWrite.label: expected 'name=value'"),
            }
        }
        Ok(rules)
    }

    pub(super) fn rules_of_url(&mut self, index: usize) -> Result<Vec<Part>, ImportError> {
        match self.flags.for_url("remoteWrite.urlRelabelConfig", index) {
            Some(flag) => self.rules_in(&flag),
            None => Ok(Vec::new()),
        }
    }

    /// The rules in a file, each at the place of the flag that names it.
    fn rules_in(&self, flag: &Flag) -> Result<Vec<Part>, ImportError> {
        let path = self.source.base.map_or_else(|| PathBuf::from(&flag.value), |base| base.join(&flag.value));
        let text = (self.read)(&path).map_err(|error| {
            let message = format!("-{}: cannot read {}: {error}", flag.name, path.display());
            unreadable(self.source.name, flag.place, message, Some("put the file there: its rules say what goes where"))
        })?;
        let root = Node::parse(&text, &path).map_err(ImportError::Unreadable)?;
        match &root.value {
            NodeValue::List(rules) => rules.iter().map(|node| rule(node, &path, flag)).collect(),
            NodeValue::Null => Ok(Vec::new()),
            NodeValue::Text(_) | NodeValue::Map(_) => Err(unreadable(
                &path,
                root.place,
                format!("expected a list of relabel rules, found {}", root.kind()),
                None,
            )),
        }
    }
}

fn rule(node: &Node, path: &Path, flag: &Flag) -> Result<Part, ImportError> {
    let NodeValue::Map(_) = &node.value else {
        return Err(unreadable(path, node.place, format!("expected a relabel rule, found {}", node.kind()), None));
    };
    let mut rule = Part::of("", node);
    rule.children_mut().iter_mut().for_each(respell);
    let short = rule.get_text("action").and_then(|action| match action {
        "keep_metrics" => Some("keep"),
        "drop_metrics" => Some("drop"),
        _ => None,
    });
    if let Some(action) = short {
        for part in rule.children_mut().iter_mut().filter(|part| part.key == "action") {
            part.value = Value::Text(action.to_owned());
        }
        rule.push(Part::new("source_labels", Value::Flow(vec!["__name__".to_owned()])));
    }
    rule.visit_mut(&mut |part| part.place = flag.place);
    Ok(rule)
}

/// A list of expressions is one that matches any of them.
fn respell(part: &mut Part) {
    if let ("regex", Value::Flow(any)) = (part.key.as_str(), &part.value) {
        part.value = Value::Text(any.join("|"));
    }
}
