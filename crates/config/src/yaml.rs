//! The configuration in effect, as YAML that reads back to the same configuration; secrets are hidden.
//!
//! Defaults are written out; features that are off are left out.

mod client;

use std::fmt::{self, Display, Write};
use std::path::PathBuf;

use self::client::{auth, proxy, tls};
use crate::access::{
    Authenticator, CertificateFiles, CertificateSource, ClientAuth, Credential, Jwt, JwtKeys, ServerTls,
};
use crate::config::{Admin, AdminCredential, Config, Listener, Log, OnFull, Size, TenantSource};
use crate::endpoint::{CompressionChoice, Endpoint, HeaderValue, ProtocolChoice, StartFrom, TlsVersion};
use crate::limits::{LimitOverrides, Limits, OverLimit, RateLimit};
use crate::read::action_name;
use crate::relabel::{ALLOW_UTF_8, NameEscaping, RelabelConfig};
use crate::secret::{HIDDEN, SecretSource, TextSource};
use crate::tenant::{TenantConfig, TenantLog, TenantName};
use crate::units::{ShowDuration, ShowSize};

impl Config {
    /// The configuration in effect; see the module.
    #[must_use]
    pub fn to_yaml(&self) -> String {
        self.to_string()
    }
}

impl Display for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = Yaml { f, indent: 0, item: false };
        out.list("listeners", &self.listeners, listener)?;
        out.mapping("admin", |out| admin(out, &self.admin))?;
        out.mapping("log", |out| log(out, &self.log))?;
        out.mapping("dead_letters", |out| out.plain("max_size", ShowSize(self.dead_letters_max_size)))?;
        out.mapping("limits", |out| limits(out, &self.limits))?;
        out.list("authentication", &self.authentication, authenticator)?;
        out.list("tenants", self.tenants.entries(), |out, (name, each)| tenant(out, name, each))?;
        if self.endpoints.is_empty() {
            return out.plain("remote_write", "[]");
        }
        out.list("remote_write", &self.endpoints, endpoint)
    }
}

/// Block mappings and lists, two spaces a level; texts in JSON's quotes, which YAML reads the same.
struct Yaml<'f, 'a> {
    f: &'f mut fmt::Formatter<'a>,
    indent: usize,
    /// The next line starts a list item.
    item: bool,
}

impl Yaml<'_, '_> {
    /// `key: value`, the value as it is.
    fn plain(&mut self, key: &str, value: impl Display) -> fmt::Result {
        self.start(key)?;
        writeln!(self.f, " {value}")
    }

    /// `key: "value"`.
    fn text(&mut self, key: &str, value: impl Display) -> fmt::Result {
        self.plain(key, quoted(value))
    }

    /// `key: "value"` if there is one.
    fn optional(&mut self, key: &str, value: Option<&String>) -> fmt::Result {
        value.map_or(Ok(()), |value| self.text(key, value))
    }

    /// `key: ["a", "b"]` unless there is none.
    fn texts<T: Display>(&mut self, key: &str, values: impl IntoIterator<Item = T>) -> fmt::Result {
        let values: Vec<String> = values.into_iter().map(quoted).collect();
        if values.is_empty() { Ok(()) } else { self.plain(key, format_args!("[{}]", values.join(", "))) }
    }

    fn secret(&mut self, key: &str, source: &SecretSource) -> fmt::Result {
        match source {
            // Nothing is no secret, and is the same as leaving the key out.
            SecretSource::Inline(secret) if secret.expose().is_empty() => Ok(()),
            SecretSource::Inline(_) => self.text(key, HIDDEN),
            SecretSource::File(file) => self.text(&format!("{key}_file"), file.display()),
        }
    }

    fn source(&mut self, key: &str, source: &TextSource) -> fmt::Result {
        match source {
            TextSource::Inline(text) => self.text(key, text),
            TextSource::File(file) => self.text(&format!("{key}_file"), file.display()),
        }
    }

    /// `key: "name"` if there is one.
    fn file(&mut self, key: &str, file: Option<&PathBuf>) -> fmt::Result {
        file.map_or(Ok(()), |file| self.text(key, file.display()))
    }

    fn mapping(&mut self, key: &str, write: impl FnOnce(&mut Self) -> fmt::Result) -> fmt::Result {
        self.open(key)?;
        write(self)?;
        self.close();
        Ok(())
    }

    /// A list of mappings, unless it is empty.
    fn list<T>(
        &mut self,
        key: &str,
        items: impl IntoIterator<Item = T>,
        write: impl Fn(&mut Self, T) -> fmt::Result,
    ) -> fmt::Result {
        let mut items = items.into_iter().peekable();
        if items.peek().is_none() {
            return Ok(());
        }
        self.mapping(key, |out| {
            for item in items {
                out.item = true;
                out.indent += 1;
                write(out, item)?;
                out.indent -= 1;
            }
            Ok(())
        })
    }

    fn open(&mut self, key: &str) -> fmt::Result {
        self.start(key)?;
        self.indent += 1;
        self.f.write_char('\n')
    }

    fn close(&mut self) {
        self.indent -= 1;
    }

    fn start(&mut self, key: &str) -> fmt::Result {
        let item = std::mem::take(&mut self.item);
        let (dashes, depth) = if item { ("- ", self.indent - 1) } else { ("", self.indent) };
        write!(self.f, "{:width$}{dashes}{key}:", "", width = depth * 2)
    }
}

fn quoted(value: impl Display) -> String {
    serde_json::Value::String(value.to_string()).to_string()
}

fn listener(out: &mut Yaml<'_, '_>, listener: &Listener) -> fmt::Result {
    out.text("address", listener.address)?;
    listener.tls.as_ref().map_or(Ok(()), |tls| server_tls(out, tls))?;
    if let Some(tenant) = &listener.tenant {
        out.text("tenant", tenant)?;
    }
    out.list("tenant_from", &listener.tenant_from, |out, source| match source {
        TenantSource::Host(pattern) => out.text("host", format_args!("{}{{tenant}}{}", pattern.prefix, pattern.suffix)),
        TenantSource::Header(name) => out.text("header", name),
        TenantSource::Path => out.plain("path", true),
        TenantSource::VmHeaders => out.plain("vm_headers", true),
    })?;
    out.texts("allow", &listener.allow)?;
    let protocols = listener.protocols;
    let taken = [("v1", protocols.v1), ("v2", protocols.v2), ("zstd", protocols.zstd)];
    out.texts("protocols", taken.iter().filter(|(_, on)| *on).map(|(name, _)| name))?;
    out.plain("strict", listener.strict)?;
    out.mapping("timeouts", |out| {
        out.plain("header", ShowDuration(listener.timeouts.header))?;
        out.plain("body", ShowDuration(listener.timeouts.body))?;
        out.plain("idle", ShowDuration(listener.timeouts.idle))
    })?;
    out.plain("max_connections", listener.max_connections)?;
    out.plain("max_connections_per_ip", listener.max_connections_per_ip)
}

fn admin(out: &mut Yaml<'_, '_>, admin: &Admin) -> fmt::Result {
    out.text("address", admin.address)?;
    admin.tls.as_ref().map_or(Ok(()), |tls| server_tls(out, tls))?;
    match &admin.credential {
        None => {}
        Some(AdminCredential::Bearer(token)) => out.secret("bearer_token", token)?,
        Some(AdminCredential::Basic { username, password }) => basic(out, username, password)?,
    }
    let served = [("metrics", admin.public.metrics), ("healthy", admin.public.healthy), ("ready", admin.public.ready)];
    let public: Vec<&str> = served.iter().filter(|(_, on)| *on).map(|(name, _)| *name).collect();
    out.plain("public", format_args!("[{}]", public.join(", ")))
}

fn server_tls(out: &mut Yaml<'_, '_>, tls: &ServerTls) -> fmt::Result {
    let pair = |out: &mut Yaml<'_, '_>, files: &CertificateFiles| {
        out.text("cert_file", files.cert_file.display())?;
        out.text("key_file", files.key_file.display())
    };
    out.mapping("tls_config", |out| {
        let (first, more) = tls.certificates.split_first().ok_or(fmt::Error)?;
        pair(out, first)?;
        out.list("certificates", more, pair)?;
        out.plain(
            "client_auth",
            match tls.client_auth {
                ClientAuth::None => "none",
                ClientAuth::Optional => "optional",
                ClientAuth::Require => "require",
            },
        )?;
        out.file("client_ca_file", tls.client_ca_file.as_ref())?;
        out.file("crl_file", tls.crl_file.as_ref())?;
        out.plain("min_version", if tls.min_version == TlsVersion::Tls13 { "TLS13" } else { "TLS12" })
    })
}

fn authenticator(out: &mut Yaml<'_, '_>, authenticator: &Authenticator) -> fmt::Result {
    match authenticator {
        Authenticator::Jwt(config) => out.mapping("jwt", |out| jwt(out, config)),
        Authenticator::ClientCertificate(rules) => out.mapping("client_certificate", |out| {
            let source = match &rules.source {
                CertificateSource::CommonName => "common_name",
                CertificateSource::OrganizationalUnit => "organizational_unit",
                CertificateSource::Organization => "organization",
                CertificateSource::SanUri => "san_uri",
                CertificateSource::SanDns => "san_dns",
                CertificateSource::SanEmail => "san_email",
                CertificateSource::Fingerprint(_) => "fingerprint",
            };
            out.plain("tenant_from", source)?;
            out.text("pattern", &rules.pattern)?;
            let CertificateSource::Fingerprint(known) = &rules.source else { return Ok(()) };
            out.mapping("fingerprints", |out| {
                known.iter().try_for_each(|(print, tenant)| out.text(&quoted(print), tenant))
            })
        }),
    }
}

fn jwt(out: &mut Yaml<'_, '_>, jwt: &Jwt) -> fmt::Result {
    match &jwt.keys {
        JwtKeys::File(file) => out.text("key_set_file", file.display())?,
        JwtKeys::Environment(variable) => out.text("key_set_env", variable)?,
        JwtKeys::Url(url) => out.text("jwks_url", url.redacted())?,
        JwtKeys::Issuer(url) => out.text("issuer", url.redacted())?,
    }
    jwt.tls.as_ref().map_or(Ok(()), |config| tls(out, config))?;
    out.optional("audience", jwt.audience.as_ref())?;
    out.text("tenant_claim", &jwt.tenant_claim)?;
    out.text("tenant_pattern", &jwt.tenant_pattern)?;
    out.file("fallback_key_file", jwt.fallback_key_file.as_ref())?;
    out.file("revoked_file", jwt.revoked_file.as_ref())?;
    out.plain("require_exp", jwt.require_exp)?;
    out.plain("leeway", ShowDuration(jwt.leeway))
}

fn basic(out: &mut Yaml<'_, '_>, username: &TextSource, password: &SecretSource) -> fmt::Result {
    out.mapping("basic_auth", |out| {
        out.source("username", username)?;
        out.secret("password", password)
    })
}

fn log(out: &mut Yaml<'_, '_>, log: &Log) -> fmt::Result {
    out.text("path", log.path.display())?;
    out.plain("retain", ShowDuration(log.retain))?;
    out.plain("max_size", ShowSize(log.max_size))?;
    match log.max_total_size {
        Size::Bytes(bytes) => out.plain("max_total_size", ShowSize(bytes))?,
        Size::Percent(percent) => out.plain("max_total_size", format_args!("{percent}%"))?,
    }
    out.plain("min_free", ShowSize(log.min_free))?;
    out.plain("on_full", on_full(log.on_full))
}

fn on_full(on_full: OnFull) -> &'static str {
    match on_full {
        OnFull::DropOldest => "drop_oldest",
        OnFull::Refuse => "refuse",
    }
}

fn limits(out: &mut Yaml<'_, '_>, limits: &Limits) -> fmt::Result {
    out.plain("request_bytes", ShowSize(limits.request_bytes))?;
    out.plain("decoded_bytes", ShowSize(limits.decoded_bytes))?;
    out.plain("in_flight_bytes", ShowSize(limits.in_flight_bytes))?;
    let tenant = &limits.tenant;
    out.plain("samples_per_second", tenant.samples_per_second)?;
    out.plain("bytes_per_second", ShowSize(tenant.bytes_per_second))?;
    out.plain("requests_per_second", tenant.requests_per_second)?;
    out.plain("over_limit", over_limit(tenant.over_limit))?;
    out.plain("active_series", tenant.active_series)?;
    out.plain("connections", tenant.connections)?;
    out.plain("label_names", tenant.label_names)?;
    out.plain("label_value_bytes", ShowSize(tenant.label_value_bytes.into()))?;
    out.list("rate_limits", &tenant.rate_limits, rate_limit)
}

fn over_limit(over_limit: OverLimit) -> &'static str {
    match over_limit {
        OverLimit::Delay => "delay",
        OverLimit::Reject => "reject",
    }
}

fn rate_limit(out: &mut Yaml<'_, '_>, rule: &RateLimit) -> fmt::Result {
    out.text("endpoint", &rule.endpoint)?;
    out.plain("limit", rule.limit)?;
    out.plain("window", ShowDuration(rule.window))
}

fn limit_overrides(out: &mut Yaml<'_, '_>, limits: &LimitOverrides) -> fmt::Result {
    let written = [
        ("samples_per_second", limits.samples_per_second.map(|count| count.to_string())),
        ("bytes_per_second", limits.bytes_per_second.map(|bytes| ShowSize(bytes).to_string())),
        ("requests_per_second", limits.requests_per_second.map(|count| count.to_string())),
        ("over_limit", limits.over_limit.map(|answer| over_limit(answer).to_owned())),
        ("active_series", limits.active_series.map(|count| count.to_string())),
        ("connections", limits.connections.map(|count| count.to_string())),
        ("label_names", limits.label_names.map(|count| count.to_string())),
        ("label_value_bytes", limits.label_value_bytes.map(|bytes| ShowSize(bytes.into()).to_string())),
    ];
    for (key, value) in written {
        value.map_or(Ok(()), |value| out.plain(key, value))?;
    }
    match limits.rate_limits.as_deref() {
        None => Ok(()),
        // The tenant has none of those that hold for all.
        Some([]) => out.plain("rate_limits", "[]"),
        Some(rules) => out.list("rate_limits", rules, rate_limit),
    }
}

fn tenant(out: &mut Yaml<'_, '_>, name: &TenantName, tenant: &TenantConfig) -> fmt::Result {
    out.text("name", name)?;
    out.optional("id", tenant.id.as_ref())?;
    out.list("credentials", &tenant.credentials, |out, credential| match credential {
        Credential::Bearer(token) => out.secret("bearer_token", token),
        Credential::Basic { username, password } => basic(out, username, password),
    })?;
    out.file("client_ca_file", tenant.client_ca_file.as_ref())?;
    out.texts("allow", &tenant.allow)?;
    if tenant.limits != LimitOverrides::default() {
        out.mapping("limits", |out| limit_overrides(out, &tenant.limits))?;
    }
    if tenant.log != TenantLog::default() {
        out.mapping("log", |out| {
            if let Some(max_size) = tenant.log.max_size {
                out.plain("max_size", ShowSize(max_size))?;
            }
            tenant.log.on_full.map_or(Ok(()), |policy| out.plain("on_full", on_full(policy)))
        })?;
    }
    text_entries(out, "external_labels", &tenant.external_labels)?;
    out.list("write_relabel_configs", &tenant.write_relabel_configs, relabel)
}

fn endpoint(out: &mut Yaml<'_, '_>, endpoint: &Endpoint) -> fmt::Result {
    out.text("name", &endpoint.name)?;
    out.text("url", endpoint.url.redacted())?;
    out.plain("remote_timeout", ShowDuration(endpoint.remote_timeout))?;
    headers(out, endpoint)?;
    auth(out, &endpoint.auth)?;
    if let Some(config) = &endpoint.tls {
        tls(out, config)?;
    }
    if let Some(config) = &endpoint.proxy {
        proxy(out, config)?;
    }
    out.plain("follow_redirects", endpoint.follow_redirects)?;
    out.plain("enable_http2", endpoint.enable_http2)?;
    out.plain("round_robin_dns", endpoint.round_robin_dns)?;
    out.list("write_relabel_configs", &endpoint.write_relabel_configs, relabel)?;
    out.plain("metric_name_escaping_scheme", endpoint.name_escaping.map_or(ALLOW_UTF_8, NameEscaping::name))?;
    out.plain("send_exemplars", endpoint.send_exemplars)?;
    out.plain("send_native_histograms", endpoint.send_native_histograms)?;
    let message = match endpoint.protocol {
        ProtocolChoice::Auto => "auto",
        ProtocolChoice::V1 => "prometheus.WriteRequest",
        ProtocolChoice::V2 => "io.prometheus.write.v2.Request",
    };
    out.plain("protobuf_message", message)?;
    out.mapping("queue_config", |out| {
        out.plain("max_samples_per_send", endpoint.queue.max_samples_per_send)?;
        out.plain("min_backoff", ShowDuration(endpoint.queue.min_backoff))?;
        out.plain("max_backoff", ShowDuration(endpoint.queue.max_backoff))?;
        out.plain("retry_on_http_429", endpoint.queue.retry_on_http_429)
    })?;
    out.mapping("metadata_config", |out| out.plain("send", endpoint.metadata_send))?;
    out.texts("tenants", endpoint.tenants.iter().map(|pattern| pattern.as_str()))?;
    out.optional("tenant_header", endpoint.tenant_header.as_ref())?;
    out.optional("tenant_label", endpoint.tenant_label.as_ref())?;
    match endpoint.from {
        StartFrom::Latest => out.plain("from", "latest")?,
        StartFrom::Earliest => out.plain("from", "earliest")?,
        StartFrom::Back(back) => out.plain("from", ShowDuration(back))?,
    }
    if let Some(max_age) = endpoint.max_age {
        out.plain("max_age", ShowDuration(max_age))?;
    }
    out.plain("on_full", on_full(endpoint.on_full))?;
    let compression = match endpoint.compression {
        CompressionChoice::Auto => "auto",
        CompressionChoice::Snappy => "snappy",
        CompressionChoice::Zstd => "zstd",
    };
    out.plain("compression", compression)
}

fn headers(out: &mut Yaml<'_, '_>, endpoint: &Endpoint) -> fmt::Result {
    let mut names: Vec<&str> = Vec::new();
    for header in &endpoint.headers {
        if !names.contains(&header.name.as_str()) {
            names.push(&header.name);
        }
    }
    if names.is_empty() {
        return Ok(());
    }
    out.open("http_headers")?;
    for name in names {
        out.mapping(&quoted(name), |out| {
            let (mut values, mut secrets, mut files) = (Vec::new(), Vec::new(), Vec::new());
            for header in endpoint.headers.iter().filter(|header| header.name == name) {
                match &header.value {
                    HeaderValue::Text(text) => values.push(text.clone()),
                    HeaderValue::Secret(_) => secrets.push(HIDDEN),
                    HeaderValue::File(file) => files.push(file.display()),
                }
            }
            out.texts("values", values)?;
            out.texts("secrets", secrets)?;
            out.texts("files", files)
        })?;
    }
    out.close();
    Ok(())
}

/// A mapping of names to texts, unless it is empty.
fn text_entries<'c>(
    out: &mut Yaml<'_, '_>,
    key: &str,
    entries: impl IntoIterator<Item = (&'c String, &'c String)>,
) -> fmt::Result {
    let mut entries = entries.into_iter().peekable();
    if entries.peek().is_none() {
        return Ok(());
    }
    out.mapping(key, |out| entries.try_for_each(|(name, value)| out.text(&quoted(name), value)))
}

fn relabel(out: &mut Yaml<'_, '_>, rule: &RelabelConfig) -> fmt::Result {
    let default = RelabelConfig::default();
    out.plain("action", action_name(rule.action))?;
    out.texts("source_labels", &rule.source_labels)?;
    // Some actions refuse keys that do not concern them, so defaults are left out.
    for (key, value, default) in [
        ("separator", &rule.separator, &default.separator),
        ("regex", &rule.regex, &default.regex),
        ("target_label", &rule.target_label, &default.target_label),
        ("replacement", &rule.replacement, &default.replacement),
    ] {
        if value != default {
            out.text(key, value)?;
        }
    }
    if rule.modulus == default.modulus { Ok(()) } else { out.plain("modulus", rule.modulus) }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use crate::config::Config;
    use crate::node::Node;
    use crate::read;
    use crate::table::Report;

    /// Reads `text` as a version would to which everything is available.
    fn config(text: &str) -> Config {
        let mut report = Report::new(Path::new(""), Path::new(""));
        let config = read::config(&Node::parse(text, Path::new("")).unwrap(), &mut report);
        report.problems.retain(|problem| !problem.message.ends_with("not available in this version"));
        assert_eq!(report.problems, [], "{text}");
        config
    }

    #[test]
    fn every_way_to_authenticate_and_every_proxy_is_printed_as_it_is_read() {
        let uuid = "00000000-0000-0000-0000-000000000000";
        for keys in [
            "tls_config: {ca_file: a, cert: b, key_file: c, server_name: d, min_version: TLS12, max_version: TLS13}".to_owned(),
            "proxy_url: 'http://p:1'\n  no_proxy: a,b\n  proxy_connect_header: {X-A: [<secret>, <secret>], X-B: [<secret>]}".to_owned(),
            "proxy_from_environment: true".to_owned(),
            "oauth2: {client_id: a, client_secret_file: b, token_url: 'https://t/', scopes: [c], \
             endpoint_params: {d: e}, tls_config: {insecure_skip_verify: true}, proxy_url: 'http://p'}"
                .to_owned(),
            "oauth2: {client_id: a, token_url: 'http://t/', grant_type: 'urn:ietf:params:oauth:grant-type:jwt-bearer', \
             client_certificate_key_file: k, client_certificate_key_id: i, iss: j, audience: l, claims: {m: n}}"
                .to_owned(),
            "sigv4: {region: a, access_key: b, secret_key: <secret>, profile: c, role_arn: d, external_id: e, service_name: f}".to_owned(),
            format!("azuread: {{cloud: AzureChina, managed_identity: {{client_id: {uuid}}}, scope: s}}"),
            "azuread: {managed_identity: {}}".to_owned(),
            format!("azuread: {{workload_identity: {{client_id: {uuid}, tenant_id: {uuid}}}}}"),
            format!("azuread: {{oauth: {{client_id: {uuid}, client_secret: <secret>, tenant_id: t.example.org}}}}"),
            format!("azuread: {{oauth: {{client_id: {uuid}, client_secret_file: a, tenant_id: t.example.org}}}}"),
            "sigv4: {access_key: b, secret_key_file: c}".to_owned(),
            format!("azuread: {{cloud: AzureGovernment, certificate: {{client_id: {uuid}, certificate_path: a, tenant_id: b}}}}"),
        ] {
            let before = config(&format!("remote_write:\n- url: https://h/\n  {keys}\n"));
            let mut after = config(&before.to_yaml());
            after.watched_files.clone_from(&before.watched_files);
            assert_eq!(after, before, "{keys}\n{before}");
        }
    }
}
