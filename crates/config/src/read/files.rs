//! Reads a file of `remote_write_files`: entries in our spelling, or Observatorium's additional write endpoints in one of
//! its three spellings: a list, `endpoints:`, or `endpints:` (its proposal's slip).

use std::path::Path;

use crate::endpoint::Endpoint;
use crate::node::{Node, Value};
use crate::problem::Diagnostic;
use crate::read::Endpoints;
use crate::read::endpoint::Origin;
use crate::schema;
use crate::table::{Field, Report, Table};

/// The keys that an entry has in Observatorium, and the ones that it has only there.
const OBSERVATORIUM_KEYS: [&str; 4] = ["name", "url", "http_client_config", "tlsConfig"];
const ONLY_OBSERVATORIUM_KEYS: [&str; 2] = ["http_client_config", "tlsConfig"];

/// The endpoints of the file that `name` names.
pub(super) fn endpoints(name: &Field<'_>, endpoints: &mut Endpoints<'_>, report: &mut Report) -> Vec<Endpoint> {
    within(name, report, |root, _, report| entries(root, endpoints, report)).unwrap_or_default()
}

/// What the file that `name` names holds, and its path. Problems inside it carry its name; file names in it are relative to
/// the directory of the main file.
pub(super) fn within<T>(
    name: &Field<'_>,
    report: &mut Report,
    read: impl FnOnce(&Node, &Path, &mut Report) -> T,
) -> Option<T> {
    let path = name.file(report)?;
    let text = match crate::read_text(&path) {
        Ok(text) => text,
        Err(error) => {
            name.wrong(report, format_args!("cannot read {}: {error}", path.display()));
            return None;
        }
    };
    let main = std::mem::replace(&mut report.file, path.clone());
    let read = match Node::parse(&text, &path) {
        Ok(root) => Some(read(&root, &path, report)),
        Err(diagnostic) => {
            report.problems.push(Diagnostic::clone(&diagnostic));
            None
        }
    };
    report.file = main;
    read
}

fn entries(root: &Node, endpoints: &mut Endpoints<'_>, report: &mut Report) -> Vec<Endpoint> {
    let field = Field::new(root, "");
    let (items, origin) = match &root.value {
        Value::Null => return Vec::new(),
        Value::Map(_) => {
            let table = Table::open(field, &schema::ENDPOINTS_FILE, report);
            let lists: Vec<Field<'_>> = ["endpoints", "endpints"].iter().filter_map(|key| table.get(key)).collect();
            if let [_, second, ..] = lists.as_slice() {
                second.wrong(report, "`endpoints` is written too");
            }
            let items = lists.into_iter().flat_map(|list| list.items(report)).collect::<Vec<_>>();
            (items, Origin::Observatorium)
        }
        Value::List(_) | Value::Text(_) => {
            let items = field.items(report);
            let origin = origin_of(&items);
            (items, origin)
        }
    };
    items.into_iter().filter_map(|item| endpoints.read(&item, origin, report)).collect()
}

/// A list is Observatorium's if an entry has a key that only Observatorium has, or no entry has any that it has not.
fn origin_of(items: &[Field<'_>]) -> Origin {
    let keys = |item: &Field<'_>| match &item.node.value {
        Value::Map(entries) => entries.iter().filter_map(|(key, _)| key.text().map(str::to_owned)).collect(),
        Value::Null | Value::Text(_) | Value::List(_) => Vec::new(),
    };
    let has_its_own = |item| keys(item).iter().any(|key| ONLY_OBSERVATORIUM_KEYS.contains(&key.as_str()));
    let has_no_other = |item| keys(item).iter().all(|key| OBSERVATORIUM_KEYS.contains(&key.as_str()));
    if items.iter().any(has_its_own) || items.iter().all(has_no_other) { Origin::Observatorium } else { Origin::File }
}
