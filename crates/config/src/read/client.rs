//! Reads how an HTTP client is set up, with Prometheus' keys: url, headers, TLS, proxy.

use crate::endpoint::{ClientTls, Header, HeaderValue, Proxy, ProxyChoice, TlsVersion};
use crate::schema;
use crate::secret::{Secret, SecretSource, TextSource, name_suggests_secret};
use crate::table::{Field, Report, Table};
use crate::url::{InvalidUrl, Url};

/// Headers the gateway sets itself; Prometheus refuses these names too, except the last four, which frame a message
/// (RFC 9112 §6, RFC 9110 §7.6.1).
const RESERVED_HEADERS: [&str; 20] = [
    "host",
    "content-encoding",
    "content-length",
    "content-type",
    "user-agent",
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "www-authenticate",
    "accept-encoding",
    "x-prometheus-remote-write-version",
    "x-prometheus-remote-read-version",
    "x-amz-date",
    "x-amz-security-token",
    "x-amz-content-sha256",
    "transfer-encoding",
    "te",
    "trailer",
    "upgrade",
];

/// An HTTP URL.
pub(super) fn url(field: &Field<'_>, report: &mut Report) -> Option<Url> {
    match Url::parse(field.text(report)?) {
        Ok(url) => Some(url),
        Err(error @ InvalidUrl::User) => {
            field.wrong_with_hint(report, error, "take them out of the url and use basic_auth");
            None
        }
        Err(error) => {
            field.wrong(report, error);
            None
        }
    }
}

/// A token of RFC 9110 §5.6.2.
pub(super) fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
}

/// The name of a header that is the operator's to set.
pub(super) fn header_name(field: &Field<'_>, report: &mut Report) -> Option<String> {
    let name = field.text(report)?;
    let lower = name.to_ascii_lowercase();
    if !is_token(name) {
        field.wrong(report, format_args!("{name:?} is no header name"));
    } else if lower == "authorization" {
        field.wrong_with_hint(
            report,
            format_args!("the header {name} must not be set here"),
            "use basic_auth, authorization, oauth2, sigv4 or azuread",
        );
    } else if RESERVED_HEADERS.contains(&lower.as_str()) {
        field.wrong(report, format_args!("the header {name} is reserved"));
    } else {
        return Some(name.to_owned());
    }
    None
}

/// `headers` of the endpoint, and `http_headers` of its HTTP client.
pub(super) fn headers(endpoint: &Table<'_>, client: &Table<'_>, report: &mut Report) -> Vec<Header> {
    let mut headers: Vec<Header> = Vec::new();
    for (key, value) in endpoint.get("headers").map(|field| field.entries(report)).unwrap_or_default() {
        let text = value.parse(report, parse_header_value);
        if let (Some(name), Some(text)) = (fresh_name(&headers, &key, report), text) {
            let secret = name_suggests_secret(&name);
            let value = if secret { HeaderValue::Secret(Secret::new(text)) } else { HeaderValue::Text(text) };
            headers.push(Header { name, value });
        }
    }
    for (key, field) in client.get("http_headers").map(|field| field.entries(report)).unwrap_or_default() {
        let name = fresh_name(&headers, &key, report);
        let table = Table::open(field, &schema::HTTP_HEADER, report);
        let items = |key: &str, report: &mut Report| table.get(key).map(|f| f.items(report)).unwrap_or_default();
        let mut values = Vec::new();
        for item in items("values", report) {
            values.extend(item.parse(report, parse_header_value).map(HeaderValue::Text));
        }
        for item in items("secrets", report) {
            values.extend(item.parse(report, parse_header_value).map(|text| HeaderValue::Secret(Secret::new(text))));
        }
        for item in items("files", report) {
            values.extend(item.file(report).map(HeaderValue::File));
        }
        if let Some(name) = name {
            headers.extend(values.into_iter().map(|value| Header { name: name.clone(), value }));
        }
    }
    headers
}

fn fresh_name(headers: &[Header], key: &Field<'_>, report: &mut Report) -> Option<String> {
    let name = header_name(key, report)?;
    if headers.iter().any(|header| header.name.eq_ignore_ascii_case(&name)) {
        key.wrong(report, format_args!("the header {name} is set twice"));
    }
    Some(name)
}

/// RFC 9110 §5.5 without obsolete bytes: visible ASCII, spaces and tabs, none of them at an end.
pub(super) fn parse_header_value(text: &str) -> Result<String, &'static str> {
    let text = text.trim_matches([' ', '\t']);
    let valid = text.bytes().all(|b| b == b'\t' || (b' '..=b'~').contains(&b));
    if valid { Ok(text.to_owned()) } else { Err("a header's value must be visible ASCII in one line") }
}

/// A `tls_config`; `None` if it says nothing.
pub(super) fn tls(field: Field<'_>, report: &mut Report) -> Option<ClientTls> {
    let table = Table::open(field, &schema::TLS, report);
    let ca = pem(&table, "ca", "ca_file", report);
    let cert = pem(&table, "cert", "cert_file", report);
    let key = pem(&table, "key", "key_file", report);
    if cert.is_some() != key.is_some() {
        table.field().wrong(report, "a client certificate and its key go together");
    }
    let versions = [
        ("TLS10", TlsVersion::Tls10),
        ("TLS11", TlsVersion::Tls11),
        ("TLS12", TlsVersion::Tls12),
        ("TLS13", TlsVersion::Tls13),
    ];
    let min_version = table.get("min_version").and_then(|field| field.choice(report, &versions));
    let max_version = table.get("max_version").and_then(|field| field.choice(report, &versions));
    if min_version.zip(max_version).is_some_and(|(min, max)| min > max) {
        table.field().wrong(report, "max_version must be greater than or equal to min_version");
    }
    let tls = ClientTls {
        ca,
        identity: cert.zip(key).map(|(cert, key)| (cert, as_secret(key))),
        server_name: table.optional_text("server_name", report),
        insecure_skip_verify: table.bool("insecure_skip_verify", report),
        min_version,
        max_version,
    };
    (tls != ClientTls::default()).then_some(tls)
}

/// Observatorium's `tlsConfig`: each key is a file's name, or the PEM itself.
pub(super) fn observatorium_tls(field: Field<'_>, report: &mut Report) -> Option<ClientTls> {
    let table = Table::open(field, &schema::OBSERVATORIUM_TLS, report);
    let mut part = |key: &str| {
        let field = table.get(key)?;
        match field.node.text() {
            Some(text) if text.contains("-----BEGIN") => Some(TextSource::Inline(text.to_owned())),
            _ => field.file(report).map(TextSource::File),
        }
    };
    let (ca, cert, key) = (part("ca"), part("cert"), part("key"));
    if cert.is_some() != key.is_some() {
        table.field().wrong(report, "cert and key go together");
    }
    let identity = cert.zip(key).map(|(cert, key)| (cert, as_secret(key)));
    let tls = ClientTls { ca, identity, ..ClientTls::default() };
    (tls != ClientTls::default()).then_some(tls)
}

fn pem(table: &Table<'_>, key: &str, file_key: &str, report: &mut Report) -> Option<TextSource> {
    let inline = table.optional_text(key, report);
    let file = table.get(file_key).filter(|field| field.node.text() != Some(""));
    if inline.is_some() && file.is_some() {
        table.field().wrong(report, format_args!("at most one of {key} and {file_key}"));
    }
    match file {
        Some(file) => file.file(report).map(TextSource::File),
        None => inline.map(TextSource::Inline),
    }
}

fn as_secret(source: TextSource) -> SecretSource {
    match source {
        TextSource::Inline(text) => SecretSource::Inline(Secret::new(text)),
        TextSource::File(file) => SecretSource::File(file),
    }
}

/// The proxy keys of `table`.
pub(super) fn proxy(table: &Table<'_>, report: &mut Report) -> Option<Proxy> {
    let url_field = table.get("proxy_url").filter(|field| field.node.text() != Some(""));
    let no_proxy = table.optional_text("no_proxy", report);
    let from_environment = table.bool("proxy_from_environment", report);
    let mut connect_headers = Vec::new();
    for (key, values) in table.get("proxy_connect_header").map(|field| field.entries(report)).unwrap_or_default() {
        let name = key.text(report).filter(|name| is_token(name));
        if name.is_none() {
            key.wrong(report, "no header name");
        }
        for value in values.items(report) {
            let value = value.parse(report, parse_header_value).map(Secret::new);
            connect_headers.extend(name.map(str::to_owned).zip(value));
        }
    }
    if from_environment && (url_field.is_some() || no_proxy.is_some()) {
        table.field().wrong(report, "proxy_from_environment excludes proxy_url and no_proxy");
    }
    if url_field.is_none() && !from_environment {
        if no_proxy.is_some() {
            table.field().wrong(report, "no_proxy needs proxy_url");
        }
        if !connect_headers.is_empty() {
            table.field().wrong(report, "proxy_connect_header needs proxy_url or proxy_from_environment");
        }
        return None;
    }
    let choice = match url_field {
        None => ProxyChoice::Environment,
        Some(field) => {
            let no_proxy = no_proxy.unwrap_or_default();
            let hosts = no_proxy.split(',').map(str::trim).filter(|host| !host.is_empty());
            let (url, user) = field.parse(report, Url::parse_with_user)?;
            ProxyChoice::Url { url, user, no_proxy: hosts.map(str::to_owned).collect() }
        }
    };
    Some(Proxy { choice, connect_headers })
}
