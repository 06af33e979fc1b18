//! Reads an entry of `remote_write`, or of a file of `remote_write_files`.

use std::time::Duration;

use crate::endpoint::{Auth, CompressionChoice, Endpoint, ProtocolChoice, Queue, StartFrom};
use crate::read::server::ON_FULL;
use crate::read::tenant::parse_label_name;
use crate::read::{auth, client, section, write_relabel_configs};
use crate::relabel::{ALLOW_UTF_8, NameEscaping};
use crate::schema;
use crate::table::{Field, Report, Table};
use crate::tenant::TenantPattern;
use crate::units::{InvalidUnit, parse_duration};
use crate::url::{Scheme, Url};

/// The longest endpoint name in bytes.
const MAX_NAME_BYTES: usize = 255;

/// What Observatorium's receivers read the tenant from.
const OBSERVATORIUM_TENANT_HEADER: &str = "THANOS-TENANT";

/// Where an entry stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// `remote_write` of the main file.
    Main,
    /// A file in our spelling.
    File,
    /// A file in one of Observatorium's spellings: the tenant goes into `THANOS-TENANT` unless told otherwise.
    Observatorium,
}

pub(super) fn endpoint(entry: Field<'_>, origin: Origin, report: &mut Report) -> Option<Endpoint> {
    let extra = if origin == Origin::Main { &[] } else { schema::OBSERVATORIUM_ENDPOINT.keys };
    let table = Table::open_with(entry, &schema::REMOTE_WRITE, extra, report);
    let url_field = table.required("url", report);
    let url = url_field.as_ref().and_then(|field| client::url(field, report));
    let name = name(&table, url.as_ref(), report);
    let client_table = client_table(&table, origin, report);
    let client = client_table.as_ref().unwrap_or(&table);
    let auth = auth::auth(client, client_table.is_none().then_some(&table), report);
    let headers = client::headers(&table, client, report);
    let tls = match client.get("tls_config") {
        Some(field) => client::tls(field, report),
        None if origin == Origin::Main => None,
        None => table.get("tlsConfig").and_then(|field| client::observatorium_tls(field, report)),
    };
    let queue_table = section(&table, "queue_config", &schema::QUEUE, report);
    let metadata = section(&table, "metadata_config", &schema::METADATA, report);
    let tenant_header = tenant_header(&table, origin, &headers, report);
    let protocols = [
        ("auto", ProtocolChoice::Auto),
        ("prometheus.WriteRequest", ProtocolChoice::V1),
        ("io.prometheus.write.v2.Request", ProtocolChoice::V2),
    ];
    let compressions =
        [("auto", CompressionChoice::Auto), ("snappy", CompressionChoice::Snappy), ("zstd", CompressionChoice::Zstd)];
    let tenants = table.get("tenants").map(|list| list.items(report)).unwrap_or_default();
    let endpoint = Endpoint {
        name: name.unwrap_or_default(),
        remote_timeout: table.positive_duration("remote_timeout", report),
        headers,
        auth,
        tls,
        proxy: client::proxy(client, report),
        queue: queue(&queue_table, report),
        protocol: table.choice("protobuf_message", report, &protocols),
        compression: table.choice("compression", report, &compressions),
        send_exemplars: table.bool("send_exemplars", report),
        send_native_histograms: table.bool("send_native_histograms", report),
        metadata_send: metadata.bool("send", report),
        follow_redirects: client.bool("follow_redirects", report),
        enable_http2: client.bool("enable_http2", report),
        round_robin_dns: table.bool("round_robin_dns", report),
        tenants: tenants.iter().filter_map(|field| field.parse(report, TenantPattern::new)).collect(),
        tenant_header,
        tenant_label: tenant_label(&table, report),
        from: start_from(&table, report),
        max_age: max_age(&table, &queue_table, report),
        on_full: table.choice("on_full", report, &ON_FULL),
        write_relabel_configs: write_relabel_configs(&table, report),
        name_escaping: name_escaping(&table, report),
        url: url?,
    };
    check_combination(&table, &endpoint, report);
    Some(endpoint)
}

/// The `http_client_config` of an Observatorium entry. Its keys are then not taken from the entry itself.
fn client_table<'n>(table: &Table<'n>, origin: Origin, report: &mut Report) -> Option<Table<'n>> {
    if origin == Origin::Main {
        return None;
    }
    let field = table.get("http_client_config")?;
    for key in schema::HTTP_CLIENT.keys.iter().map(|key| key.name).chain(["sigv4", "azuread"]) {
        if let Some(outer) = table.get(key) {
            outer.wrong(report, "http_client_config is written too; put it there");
        }
    }
    if let (Some(outer), Some(_)) = (table.get("tlsConfig"), Table::peek(&field, "tls_config")) {
        outer.wrong(report, "http_client_config has a tls_config too");
    }
    Some(Table::open(field, &schema::HTTP_CLIENT, report))
}

fn name(table: &Table<'_>, url: Option<&Url>, report: &mut Report) -> Option<String> {
    let Some(field) = table.get("name").filter(|field| field.node.text() != Some("")) else {
        let mut name = url.map(|url| format!("{}{}", url.authority(), url.path()))?;
        let end = name.floor_char_boundary(MAX_NAME_BYTES);
        name.truncate(end);
        return Some(name);
    };
    field.parse(report, |text| {
        if text.len() > MAX_NAME_BYTES {
            Err(format!("a name has at most {MAX_NAME_BYTES} bytes, this one has {}", text.len()))
        } else if text.chars().any(char::is_control) {
            Err("a name must not have control characters".to_owned())
        } else {
            Ok(text.to_owned())
        }
    })
}

fn queue(table: &Table<'_>, report: &mut Report) -> Queue {
    let queue = Queue {
        max_samples_per_send: table.number("max_samples_per_send", 1, report),
        min_backoff: table.positive_duration("min_backoff", report),
        max_backoff: table.positive_duration("max_backoff", report),
        retry_on_http_429: table.bool("retry_on_http_429", report),
    };
    if queue.min_backoff > queue.max_backoff {
        table.field().wrong(report, "min_backoff must be at most max_backoff");
    }
    queue
}

fn tenant_header(
    table: &Table<'_>,
    origin: Origin,
    headers: &[crate::endpoint::Header],
    report: &mut Report,
) -> Option<String> {
    let Some(field) = table.get("tenant_header") else {
        return (origin == Origin::Observatorium).then(|| OBSERVATORIUM_TENANT_HEADER.to_owned());
    };
    if field.node.text() == Some("") {
        return None;
    }
    let name = client::header_name(&field, report)?;
    if headers.iter().any(|header| header.name.eq_ignore_ascii_case(&name)) {
        field.wrong(report, format_args!("the header {name} is set by headers or http_headers too"));
    }
    Some(name)
}

fn tenant_label(table: &Table<'_>, report: &mut Report) -> Option<String> {
    let field = table.get("tenant_label").filter(|field| field.node.text() != Some(""))?;
    field.parse(report, parse_label_name)
}

/// In Prometheus' words for scrapes, and `drop`.
fn name_escaping(table: &Table<'_>, report: &mut Report) -> Option<NameEscaping> {
    let schemes = NameEscaping::ALL.map(|scheme| (scheme.name(), Some(scheme)));
    let choices: Vec<_> = [(ALLOW_UTF_8, None)].into_iter().chain(schemes).collect();
    table.choice("metric_name_escaping_scheme", report, &choices)
}

fn start_from(table: &Table<'_>, report: &mut Report) -> StartFrom {
    let parse = |text: &str| match text {
        "latest" => Ok(StartFrom::Latest),
        "earliest" => Ok(StartFrom::Earliest),
        text => match parse_duration(text) {
            Ok(Duration::ZERO) => Ok(StartFrom::Latest),
            Ok(back) => Ok(StartFrom::Back(back)),
            Err(InvalidUnit::Duration) => Err("expected latest, earliest or a duration such as 2h".to_owned()),
            Err(error) => Err(error.to_string()),
        },
    };
    table.value("from", report, parse)
}

/// `max_age`, or `queue_config.sample_age_limit`, which is Prometheus' word for it. 0 is no limit.
fn max_age(table: &Table<'_>, queue: &Table<'_>, report: &mut Report) -> Option<Duration> {
    let max_age = table.duration("max_age", report);
    let sample_age_limit = queue.duration("sample_age_limit", report);
    if let Some(field) = queue.get("sample_age_limit")
        && table.get("max_age").is_some()
        && max_age != sample_age_limit
    {
        field.wrong(report, "max_age says something else");
    }
    Some(if max_age.is_zero() { sample_age_limit } else { max_age }).filter(|age| !age.is_zero())
}

/// What Prometheus and its receivers do not take together.
fn check_combination(table: &Table<'_>, endpoint: &Endpoint, report: &mut Report) {
    if endpoint.protocol == ProtocolChoice::V2 && endpoint.compression == CompressionChoice::Zstd {
        let message = "remote write 2.0 is sent with snappy only; zstd goes with prometheus.WriteRequest";
        table.get("compression").unwrap_or_else(|| table.field().clone()).wrong(report, message);
    }
    if matches!(endpoint.auth, Auth::None) && endpoint.url.scheme() == Scheme::Http && endpoint.enable_http2 {
        let hint = Some("it is negotiated over TLS");
        table.field().warn(report, "enable_http2 has no effect without https", hint);
    }
}
