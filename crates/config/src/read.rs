//! From YAML to [`Config`]: reads every section, then checks what spans several.
//!
//! Never stops at a problem: a wrong value is reported and replaced by its default, and the result is only used if
//! nothing was reported.

mod access;
mod auth;
mod client;
mod endpoint;
mod files;
mod limits;
mod listener;
mod observatorium;
mod operator;
pub(crate) mod otlp;
mod relabel;
mod server;
mod tenant;

pub(crate) use operator::operator;
pub(crate) use relabel::action_name;

use self::tenant::Listed;
use crate::config::{Config, Listener};
use crate::endpoint::Endpoint;
use crate::node::Node;
use crate::relabel::RelabelConfig;
use crate::schema;
use crate::table::{Field, Report, Table};
use crate::tenant::Tenants;
use crate::warn;

/// Reads the main file's content.
pub(crate) fn config(root: &Node, report: &mut Report) -> Config {
    let table = Table::open(Field::new(root, ""), &schema::FILE, report);
    let mut listed = Listed::read(&table, report);
    let observatorium = observatorium::files(&table, &mut listed, report);
    let tenants = listed.tenants();
    let authentication = access::authenticators(&table, report);
    let listeners = listener::listeners(&table, &tenants, report);
    if let Some(list) = table.get("listeners") {
        warn::listeners(&list, &listeners, &authentication, &tenants, report);
    }
    let admin = server::admin(&table, &listeners, report);
    let log = server::log(&section(&table, "log", &schema::LOG, report), report);
    let limits = limits::limits(&table, report);
    let otlp = otlp::otlp(&table, report);
    warn::otlp(&table, &listeners, &tenants, report);
    let dead_letters = section(&table, "dead_letters", &schema::DEAD_LETTERS, report);
    let dead_letters_max_size = dead_letters.size("max_size", report);

    let mut endpoints = Endpoints { names: Vec::new(), listeners: &listeners, tenants: &tenants };
    let written = table.get("remote_write").map(|list| list.items(report)).unwrap_or_default();
    let mut all: Vec<Endpoint> =
        written.into_iter().filter_map(|entry| endpoints.read(&entry, endpoint::Origin::Main, report)).collect();
    if let Some(names) = table.get("remote_write_files") {
        for name in names.items(report) {
            all.extend(files::endpoints(&name, &mut endpoints, report));
        }
    }
    let watched_files = report.watched_files.iter().cloned().collect();
    Config {
        listeners,
        admin,
        log,
        limits,
        otlp,
        authentication,
        tenants,
        observatorium,
        endpoints: all,
        dead_letters_max_size,
        watched_files,
    }
}

/// What endpoints of all files share while they are read.
#[derive(Debug)]
struct Endpoints<'c> {
    /// Names taken so far, and where.
    names: Vec<(String, String)>,
    listeners: &'c [Listener],
    tenants: &'c Tenants,
}

impl Endpoints<'_> {
    /// Reads one entry; `None` if it has no usable url or name.
    fn read(&mut self, entry: &Field<'_>, origin: endpoint::Origin, report: &mut Report) -> Option<Endpoint> {
        let endpoint = endpoint::endpoint(entry.clone(), origin, report)?;
        let here = format!("{}:{}", report.file.display(), entry.place().line);
        if let Some((_, first)) = self.names.iter().find(|(name, _)| *name == endpoint.name) {
            let message = format!("another endpoint is named {:?}, at {first}", endpoint.name);
            entry.wrong_with_hint(report, message, "give each endpoint a `name` of its own");
        }
        self.names.push((endpoint.name.clone(), here));
        warn::endpoint(entry, &endpoint, self.listeners, self.tenants, report);
        Some(endpoint)
    }
}

/// The mapping at `key`, or an empty one.
fn section<'n>(table: &Table<'n>, key: &str, section: &'static schema::Section, report: &mut Report) -> Table<'n> {
    let field = table.get(key).unwrap_or_else(|| Field::new(&Node::EMPTY, table.path_of(key)));
    Table::open(field, section, report)
}

/// The relabel rules of an endpoint or a tenant.
fn write_relabel_configs(table: &Table<'_>, report: &mut Report) -> Vec<RelabelConfig> {
    let Some(list) = table.get("write_relabel_configs") else { return Vec::new() };
    let rules = relabel::rules(&list, report);
    warn::merging_rules(&list, &rules, report);
    rules
}
