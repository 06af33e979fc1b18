//! Reads `tenants`. Names and ids share one space: an endpoint or a path that is told one of them means one tenant.

use std::collections::BTreeMap;

use crate::node::Value;
use crate::read::server::{ON_FULL, parse_log_size};
use crate::read::{access, client, limits, section, write_relabel_configs};
use crate::schema;
use crate::table::{Field, Report, Table};
use crate::tenant::{OTHERS, TenantConfig, TenantLog, TenantName, Tenants};

pub(super) fn tenants(file: &Table<'_>, report: &mut Report) -> Tenants {
    let Some(list) = file.get("tenants") else { return Tenants::default() };
    // Nobody could push; and read as "no list" it would let everybody in.
    if matches!(&list.node.value, Value::List(items) if items.is_empty()) {
        list.wrong_with_hint(report, "at least one tenant is needed", "leave `tenants` out to admit every name");
    }
    let mut taken = Taken::default();
    list.items(report).into_iter().filter_map(|item| tenant(item, &mut taken, report)).collect()
}

/// Reads one entry; `None` if it has no usable name.
fn tenant(item: Field<'_>, taken: &mut Taken, report: &mut Report) -> Option<(TenantName, TenantConfig)> {
    let table = Table::open(item, &schema::TENANT, report);
    let name_field = table.required("name", report);
    let name = name_field.as_ref().and_then(|field| field.parse(report, TenantName::new));
    let allow = table.get("allow").map(|list| list.items(report)).unwrap_or_default();
    let config = TenantConfig {
        credentials: access::credentials(&table, report),
        client_ca_file: table.get("client_ca_file").and_then(|file| file.file(report)),
        allow: allow.iter().filter_map(|network| network.parse(report, str::parse)).collect(),
        id: table.get("id").and_then(|field| field.parse(report, parse_id)),
        limits: limits::overrides(&table, report),
        log: log(&table, report),
        external_labels: external_labels(&table, report),
        write_relabel_configs: write_relabel_configs(&table, report),
    };
    let (name_field, name) = (name_field?, name?);
    taken.take(&name_field, name.as_str(), report);
    for key in ["credentials", "client_ca_file"] {
        if name.as_str() == OTHERS
            && let Some(field) = table.get(key)
        {
            field.wrong(report, format_args!("`{OTHERS}` stands for many tenants, which must not share a credential"));
        }
    }
    if let (Some(id), Some(field)) = (&config.id, table.get("id")) {
        if name.as_str() == OTHERS {
            field.wrong(report, format_args!("`{OTHERS}` stands for many tenants, which must not share an id"));
        } else if id != name.as_str() {
            taken.take(&field, id, report);
        }
    }
    Some((name, config))
}

/// The names and ids of the entries so far, and where they stand.
#[derive(Debug, Default)]
struct Taken(BTreeMap<String, String>);

impl Taken {
    fn take(&mut self, field: &Field<'_>, text: &str, report: &mut Report) {
        if let Some(first) = self.0.get(text) {
            let message = format!("another tenant has the name or id {text:?}, at {first}");
            field.wrong_with_hint(report, message, "give each tenant a `name` and an `id` of its own");
            return;
        }
        let here = format!("{}:{}", report.file.display(), field.place().line);
        self.0.insert(text.to_owned(), here);
    }
}

/// Endpoints are told the id in a header.
fn parse_id(text: &str) -> Result<String, &'static str> {
    let id = client::parse_header_value(text).ok().filter(|id| !id.is_empty());
    id.ok_or("expected visible ASCII in one line, since endpoints are told it in a header")
}

fn log(tenant: &Table<'_>, report: &mut Report) -> TenantLog {
    let table = section(tenant, "log", &schema::TENANT_LOG, report);
    TenantLog {
        max_size: table.get("max_size").and_then(|field| field.parse(report, parse_log_size)),
        on_full: table.get("on_full").and_then(|field| field.choice(report, &ON_FULL)),
    }
}

fn external_labels(tenant: &Table<'_>, report: &mut Report) -> BTreeMap<String, String> {
    let entries = tenant.get("external_labels").map(|field| field.entries(report)).unwrap_or_default();
    let written = entries.into_iter().filter(|(_, value)| !matches!(value.node.value, Value::Null));
    let mut labels = BTreeMap::new();
    for (key, value) in written {
        let name = key.parse(report, parse_label_name);
        let value = value.parse(report, parse_label_value);
        // The parser finds a key that is repeated in the same spelling; `1` and `"1"` are two spellings.
        if let Some((name, value)) = name.zip(value)
            && labels.insert(name, value).is_some()
        {
            key.wrong(report, "the label is written twice");
        }
    }
    labels
}

/// The name of a label that stays: Prometheus 3 takes any text, and cuts names that start with `__`.
pub(super) fn parse_label_name(text: &str) -> Result<String, &'static str> {
    if text.is_empty() {
        Err("a label's name must not be empty")
    } else if text.starts_with("__") {
        Err("labels that start with `__` are reserved")
    } else {
        Ok(text.to_owned())
    }
}

fn parse_label_value(text: &str) -> Result<String, &'static str> {
    if text.is_empty() { Err("a label with an empty value is no label") } else { Ok(text.to_owned()) }
}
