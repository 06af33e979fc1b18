//! Reads `tenants`. Names and ids share one space: an endpoint or a path that is told one of them means one tenant.

use std::collections::BTreeMap;

use crate::limits::RateLimit;
use crate::node::Value;
use crate::observatorium::Login;
use crate::read::otlp::DELTA_TEMPORALITY;
use crate::read::server::{ON_FULL, parse_log_size};
use crate::read::{access, client, limits, section, write_relabel_configs};
use crate::schema;
use crate::table::{Field, Report, Table};
use crate::tenant::{OTHERS, TenantConfig, TenantLog, TenantName, Tenants};

/// Tenants of all files while they are read.
#[derive(Debug, Default)]
pub(super) struct Listed {
    entries: BTreeMap<TenantName, TenantConfig>,
    /// The names and ids so far, and where they stand.
    taken: BTreeMap<String, String>,
}

impl Listed {
    /// The list `tenants`.
    pub(super) fn read(file: &Table<'_>, report: &mut Report) -> Self {
        let mut listed = Self::default();
        let Some(list) = file.get("tenants") else { return listed };
        require_one(&list, "leave `tenants` out to admit every name", report);
        for item in list.items(report) {
            listed.add(item, report);
        }
        listed
    }

    fn add(&mut self, item: Field<'_>, report: &mut Report) {
        let table = Table::open(item, &schema::TENANT, report);
        let name_field = table.required("name", report);
        let name = name_field.as_ref().and_then(|field| field.parse(report, TenantName::new));
        let allow = table.get("allow").map(|list| list.items(report)).unwrap_or_default();
        let config = TenantConfig {
            credentials: access::credentials(&table, report),
            login: None,
            client_ca_file: table.get("client_ca_file").and_then(|file| file.file(report)),
            allow: allow.iter().filter_map(|network| network.parse(report, str::parse)).collect(),
            id: table.get("id").and_then(|field| field.parse(report, parse_id)),
            limits: limits::overrides(&table, report),
            log: log(&table, report),
            external_labels: external_labels(&table, report),
            write_relabel_configs: write_relabel_configs(&table, report),
            delta_temporality: table.choice("delta_temporality", report, &DELTA_TEMPORALITY),
        };
        let (Some(name_field), Some(name)) = (name_field, name) else { return };
        self.take(&name_field, name.as_str(), report);
        let is_others = name.as_str() == OTHERS;
        for key in ["credentials", "client_ca_file"] {
            if let Some(field) = table.get(key).filter(|_| is_others) {
                let message = format!("`{OTHERS}` stands for many tenants, which must not share a credential");
                field.wrong(report, message);
            }
        }
        if let (Some(id), Some(field)) = (&config.id, table.get("id")) {
            if is_others {
                field.wrong(report, format_args!("`{OTHERS}` stands for many tenants, which must not share an id"));
            } else if id != name.as_str() {
                self.take(&field, id, report);
            }
        }
        self.entries.insert(name, config);
    }

    /// A tenant of Observatorium's file: a new one, or what an entry of the same name cannot say. `id`: where it stands, and
    /// what it is.
    pub(super) fn add_login(
        &mut self,
        name_field: &Field<'_>,
        name: TenantName,
        id: Option<(Field<'_>, String)>,
        (login, rate_limits): (Login, Option<Vec<RateLimit>>),
        report: &mut Report,
    ) {
        let known = self.entries.get(&name);
        let written = known.and_then(|known| known.id.clone());
        if known.is_none_or(|known| known.login.is_some()) {
            self.take(name_field, name.as_str(), report);
        }
        if let Some((field, id)) = &id {
            match &written {
                Some(other) if other != id => {
                    let hint = "write it in one of the two files, or the same in both";
                    field.wrong_with_hint(report, format_args!("`tenants` says {other:?}"), hint);
                }
                None if id != name.as_str() => self.take(field, id, report),
                Some(_) | None => {}
            }
        }
        let entry = self.entries.entry(name).or_default();
        entry.id = written.or_else(|| id.map(|(_, id)| id));
        entry.login = Some(login);
        entry.limits.rate_limits = entry.limits.rate_limits.take().or(rate_limits);
    }

    /// The tenants, when all files have been read.
    pub(super) fn tenants(self) -> Tenants {
        self.entries.into_iter().collect()
    }

    pub(super) fn take(&mut self, field: &Field<'_>, text: &str, report: &mut Report) {
        if let Some(first) = self.taken.get(text) {
            let message = format!("another tenant has the name or id {text:?}, at {first}");
            field.wrong_with_hint(report, message, "give each tenant a `name` and an `id` of its own");
            return;
        }
        let here = format!("{}:{}", report.file.display(), field.place().line);
        self.taken.insert(text.to_owned(), here);
    }
}

/// Nobody could push; and read as "no list" it would let everybody in.
pub(super) fn require_one(list: &Field<'_>, otherwise: &str, report: &mut Report) {
    if matches!(&list.node.value, Value::List(items) if items.is_empty()) {
        list.wrong_with_hint(report, "at least one tenant is needed", otherwise);
    }
}

/// Endpoints are told the id in a header.
pub(super) fn parse_id(text: &str) -> Result<String, &'static str> {
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
