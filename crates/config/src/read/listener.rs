//! Reads `listeners`.

use std::net::SocketAddr;

use crate::config::{Listener, Protocols, TenantSource, Timeouts};
use crate::node::{Node, Value};
use crate::read::client::is_token;
use crate::read::{access, section};
use crate::schema;
use crate::table::{Field, Report, Table};
use crate::tenant::{HostPattern, TenantName, Tenants};

/// What listens if the file names no listener.
const DEFAULT_ADDRESS: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 9009);
const DEFAULT_TENANT: &str = "default";

pub(super) fn listeners(file: &Table<'_>, tenants: &Tenants, report: &mut Report) -> Vec<Listener> {
    let Some(list) = file.get("listeners") else {
        let mut listener =
            listener(&Table::open(Field::new(&Node::EMPTY, "listeners"), &schema::LISTENER, report), report);
        listener.address = DEFAULT_ADDRESS;
        listener.tenant = TenantName::new(DEFAULT_TENANT).ok();
        if let Some(list) = file.get("tenants")
            && listener.tenant.as_ref().is_some_and(|tenant| !tenants.admits(tenant))
        {
            let message =
                format!("without `listeners` there is one for tenant {DEFAULT_TENANT:?}, which is not admitted");
            list.wrong_with_hint(report, message, "write `listeners`, or an entry with this name into `tenants`");
        }
        return vec![listener];
    };
    let mut listeners: Vec<Listener> = Vec::new();
    for item in list.items(report) {
        let table = Table::open(item, &schema::LISTENER, report);
        let address = table.required("address", report);
        let mut listener = listener(&table, report);
        if let Some(field) = address
            && let Some(address) = field.parse(report, parse_address)
        {
            listener.address = address;
            if address.port() != 0 && listeners.iter().any(|other| other.address == address) {
                field.wrong(report, "another listener has this address");
            }
        }
        if let Some(field) = table.get("tenant") {
            check_admitted(&field, listener.tenant.as_ref(), tenants, report);
        }
        listeners.push(listener);
    }
    if matches!(&list.node.value, Value::List(items) if items.is_empty()) {
        list.wrong(report, "at least one listener is needed");
    }
    listeners
}

/// A listener whose own tenant is not admitted would refuse every request that names no other.
fn check_admitted(at: &Field<'_>, tenant: Option<&TenantName>, tenants: &Tenants, report: &mut Report) {
    if let Some(tenant) = tenant.filter(|tenant| !tenants.admits(tenant)) {
        let message = format!("the listener's tenant {tenant:?} is not admitted", tenant = tenant.as_str());
        at.wrong_with_hint(report, message, "write an entry with this name into `tenants`");
    }
}

/// Everything but the address.
fn listener(table: &Table<'_>, report: &mut Report) -> Listener {
    let sources = table.get("tenant_from").map(|list| list.items(report)).unwrap_or_default();
    let allow = table.get("allow").map(|list| list.items(report)).unwrap_or_default();
    Listener {
        address: DEFAULT_ADDRESS,
        tls: table.get("tls_config").and_then(|tls| access::server_tls(tls, report)),
        tenant: table.get("tenant").and_then(|field| field.parse(report, TenantName::new)),
        tenant_from: sources.into_iter().filter_map(|source| tenant_source(source, report)).collect(),
        allow: allow.iter().filter_map(|network| network.parse(report, str::parse)).collect(),
        protocols: protocols(table, report),
        strict: table.bool("strict", report),
        otlp: table.bool("otlp", report),
        grpc: table.bool("grpc", report),
        timeouts: timeouts(table, report),
        max_connections: table.number("max_connections", 1, report),
        max_connections_per_ip: table.number("max_connections_per_ip", 0, report),
    }
}

/// `host:port` with an IP address, `localhost`, or nothing before the colon, which is all interfaces as in Go.
pub(super) fn parse_address(text: &str) -> Result<SocketAddr, &'static str> {
    let full = match text.rsplit_once(':') {
        Some(("", port)) => format!("[::]:{port}"),
        Some(("localhost", port)) => format!("127.0.0.1:{port}"),
        _ => text.to_owned(),
    };
    full.parse().or(Err("expected an IP address and a port such as 127.0.0.1:9009, or :9009 for all interfaces"))
}

fn timeouts(listener: &Table<'_>, report: &mut Report) -> Timeouts {
    let table = section(listener, "timeouts", &schema::TIMEOUTS, report);
    Timeouts {
        header: table.positive_duration("header", report),
        body: table.positive_duration("body", report),
        idle: table.positive_duration("idle", report),
    }
}

fn protocols(listener: &Table<'_>, report: &mut Report) -> Protocols {
    let Some(list) = listener.get("protocols") else {
        return Protocols { v1: true, v2: true, zstd: true };
    };
    let mut protocols = Protocols { v1: false, v2: false, zstd: false };
    for item in list.items(report) {
        match item.choice(report, &[("v1", 1), ("v2", 2), ("zstd", 3)]) {
            Some(1) => protocols.v1 = true,
            Some(2) => protocols.v2 = true,
            Some(_) => protocols.zstd = true,
            // Reported; taken for all of them, so that it is not reported as none too.
            None => protocols.v1 = true,
        }
    }
    if !protocols.v1 && !protocols.v2 {
        list.wrong(report, "needs v1 or v2");
    }
    protocols
}

fn tenant_source(item: Field<'_>, report: &mut Report) -> Option<TenantSource> {
    let table = Table::open(item, &schema::TENANT_SOURCE, report);
    let mut sources = Vec::new();
    if let Some(host) = table.get("host") {
        sources.push(host.parse(report, parse_host_pattern).map(TenantSource::Host));
    }
    if let Some(header) = table.get("header") {
        sources.push(header.parse(report, parse_tenant_header).map(TenantSource::Header));
    }
    for (key, source) in [("path", TenantSource::Path), ("vm_headers", TenantSource::VmHeaders)] {
        if table.get(key).is_some() {
            // `path: false` is written, but says nothing.
            sources.push(table.bool(key, report).then_some(source));
        }
    }
    if sources.len() != 1 {
        table.field().wrong(report, "expected exactly one of host, header, path and vm_headers");
    }
    sources.into_iter().next().flatten()
}

fn parse_tenant_header(text: &str) -> Result<String, &'static str> {
    let name = text.to_ascii_lowercase();
    match name.as_str() {
        "authorization" | "cookie" | "proxy-authorization" => Err("a credential does not name a tenant"),
        name if is_token(name) => Ok(name.to_owned()),
        _ => Err("expected the name of a header"),
    }
}

fn parse_host_pattern(text: &str) -> Result<HostPattern, &'static str> {
    let (prefix, suffix) = text
        .split_once("{tenant}")
        .ok_or("expected a host name with `{tenant}` in it, such as {tenant}.example.org")?;
    let valid = |part: &str| part.chars().all(|c| c.is_ascii_alphanumeric() || "-._".contains(c));
    if !valid(prefix) || !valid(suffix) {
        return Err("expected a host name with one `{tenant}` in it and no port");
    }
    if prefix.is_empty() && suffix.is_empty() {
        return Err("every host name would be a tenant; write something before or after `{tenant}`");
    }
    Ok(HostPattern { prefix: prefix.to_ascii_lowercase(), suffix: suffix.to_ascii_lowercase() })
}
