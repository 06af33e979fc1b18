//! The configuration in effect, as YAML that reads back to the same configuration; secrets are hidden.
//!
//! Defaults are written out; features that are off are left out.

mod access;
mod otlp;
mod tenant;

use std::fmt::{self, Display, Write};
use std::path::PathBuf;

use self::access::{authenticator, basic, server_tls};
use crate::config::{Admin, AdminCredential, Config, Listener, Log, OnFull, Size, TenantSource};
use crate::endpoint::{
    Auth, AzureAd, AzureCloud, AzureIdentity, ClientTls, CompressionChoice, Endpoint, HeaderValue, OAuth2, OAuth2Grant,
    ProtocolChoice, Proxy, ProxyChoice, SigV4, StartFrom, TlsVersion,
};
use crate::otlp::Otlp;
use crate::read::action_name;
use crate::relabel::{ALLOW_UTF_8, NameEscaping, RelabelConfig};
use crate::secret::{HIDDEN, Secret, SecretSource, TextSource};
use crate::units::{ShowDuration, ShowSize};
use crate::url::percent_encoded;

/// Parameters of a token request that say what is asked for. Any other may be what it is asked with.
const HARMLESS_PARAMS: [&str; 4] = ["audience", "resource", "grant_type", "scope"];

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
        out.mapping("limits", |out| tenant::limits(out, &self.limits))?;
        let is_taken = self.listeners.iter().any(|listener| listener.otlp || listener.grpc);
        if is_taken || self.otlp != Otlp::default() {
            out.mapping("otlp", |out| otlp::otlp(out, &self.otlp))?;
        }
        out.list("authentication", &self.authentication, authenticator)?;
        tenant::tenants(&mut out, self)?;
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

    /// What is no part of the configuration, on one line.
    fn comment(&mut self, text: impl Display) -> fmt::Result {
        writeln!(self.f, "# {}", text.to_string().replace(char::is_control, " "))
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
    for (key, _) in [("otlp", listener.otlp), ("grpc", listener.grpc)].iter().filter(|(_, on)| *on) {
        out.plain(key, true)?;
    }
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

fn auth(out: &mut Yaml<'_, '_>, auth: &Auth) -> fmt::Result {
    match auth {
        Auth::None => Ok(()),
        Auth::Basic { username, password } => basic(out, username, password),
        Auth::Authorization { scheme, credentials } => out.mapping("authorization", |out| {
            out.text("type", scheme)?;
            out.secret("credentials", credentials)
        }),
        Auth::OAuth2(config) => out.mapping("oauth2", |out| oauth2(out, config)),
        Auth::SigV4(config) => out.mapping("sigv4", |out| sigv4(out, config)),
        Auth::AzureAd(config) => out.mapping("azuread", |out| azure_ad(out, config)),
    }
}

fn oauth2(out: &mut Yaml<'_, '_>, config: &OAuth2) -> fmt::Result {
    out.text("client_id", &config.client_id)?;
    match &config.grant {
        OAuth2Grant::ClientSecret(secret) => out.secret("client_secret", secret)?,
        OAuth2Grant::JwtBearer { key, key_id, signature_algorithm, issuer, audience, claims } => {
            out.text("grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer")?;
            out.secret("client_certificate_key", key)?;
            out.optional("client_certificate_key_id", key_id.as_ref())?;
            out.plain("signature_algorithm", signature_algorithm)?;
            out.optional("iss", issuer.as_ref())?;
            out.optional("audience", audience.as_ref())?;
            text_entries(out, "claims", claims.iter().map(|(name, value)| (name, value)))?;
        }
    }
    out.texts("scopes", &config.scopes)?;
    out.text("token_url", config.token_url.redacted())?;
    let shown = |(name, value): &(String, Secret)| {
        let value = if HARMLESS_PARAMS.contains(&name.as_str()) { value.expose() } else { HIDDEN };
        (name.clone(), value.to_owned())
    };
    let params: Vec<_> = config.endpoint_params.iter().map(shown).collect();
    text_entries(out, "endpoint_params", params.iter().map(|(name, value)| (name, value)))?;
    if let Some(config) = &config.tls {
        tls(out, config)?;
    }
    config.proxy.as_ref().map_or(Ok(()), |config| proxy(out, config))
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

fn sigv4(out: &mut Yaml<'_, '_>, config: &SigV4) -> fmt::Result {
    out.optional("region", config.region.as_ref())?;
    if let Some((access_key, secret_key)) = &config.keys {
        out.text("access_key", access_key)?;
        out.secret("secret_key", secret_key)?;
    }
    out.optional("profile", config.profile.as_ref())?;
    out.optional("role_arn", config.role_arn.as_ref())?;
    out.optional("external_id", config.external_id.as_ref())?;
    out.plain("use_fips_sts_endpoint", config.use_fips_sts_endpoint)?;
    out.optional("service_name", config.service_name.as_ref())
}

fn azure_ad(out: &mut Yaml<'_, '_>, config: &AzureAd) -> fmt::Result {
    let cloud = match config.cloud {
        AzureCloud::Public => "AzurePublic",
        AzureCloud::China => "AzureChina",
        AzureCloud::Government => "AzureGovernment",
    };
    out.plain("cloud", cloud)?;
    match &config.identity {
        AzureIdentity::Managed { client_id: None } => out.plain("managed_identity", "{}")?,
        AzureIdentity::Managed { client_id: Some(id) } => {
            out.mapping("managed_identity", |out| out.text("client_id", id))?;
        }
        AzureIdentity::Workload { client_id, tenant_id, token_file } => out.mapping("workload_identity", |out| {
            out.text("client_id", client_id)?;
            out.text("tenant_id", tenant_id)?;
            out.text("token_file_path", token_file.display())
        })?,
        AzureIdentity::OAuth { client_id, client_secret, tenant_id } => out.mapping("oauth", |out| {
            out.text("client_id", client_id)?;
            out.secret("client_secret", client_secret)?;
            out.text("tenant_id", tenant_id)
        })?,
        AzureIdentity::Certificate { client_id, certificate, tenant_id } => out.mapping("certificate", |out| {
            out.text("client_id", client_id)?;
            out.text("certificate_path", certificate.display())?;
            out.text("tenant_id", tenant_id)
        })?,
    }
    out.optional("scope", config.scope.as_ref())
}

fn tls(out: &mut Yaml<'_, '_>, config: &ClientTls) -> fmt::Result {
    let version = |version: TlsVersion| match version {
        TlsVersion::Tls10 => "TLS10",
        TlsVersion::Tls11 => "TLS11",
        TlsVersion::Tls12 => "TLS12",
        TlsVersion::Tls13 => "TLS13",
    };
    out.mapping("tls_config", |out| {
        if let Some(ca) = &config.ca {
            out.source("ca", ca)?;
        }
        if let Some((cert, key)) = &config.identity {
            out.source("cert", cert)?;
            out.secret("key", key)?;
        }
        out.optional("server_name", config.server_name.as_ref())?;
        out.plain("insecure_skip_verify", config.insecure_skip_verify)?;
        if let Some(min) = config.min_version {
            out.plain("min_version", version(min))?;
        }
        config.max_version.map_or(Ok(()), |max| out.plain("max_version", version(max)))
    })
}

fn proxy(out: &mut Yaml<'_, '_>, config: &Proxy) -> fmt::Result {
    match &config.choice {
        ProxyChoice::Environment => out.plain("proxy_from_environment", true)?,
        ProxyChoice::Url { url, user, no_proxy } => {
            let user = user.as_ref().map(|(user, password)| {
                let hidden = if password.expose().is_empty() { "" } else { ":xxxxx" };
                format!("{}{hidden}@", percent_encoded(user))
            });
            let shown = url.redacted().replacen("://", &format!("://{}", user.unwrap_or_default()), 1);
            out.text("proxy_url", shown)?;
            if !no_proxy.is_empty() {
                out.text("no_proxy", no_proxy.join(","))?;
            }
        }
    }
    let mut headers: Vec<(&str, Vec<&str>)> = Vec::new();
    for (name, _) in &config.connect_headers {
        match headers.iter_mut().find(|(known, _)| known == name) {
            Some((_, values)) => values.push(HIDDEN),
            None => headers.push((name, vec![HIDDEN])),
        }
    }
    if headers.is_empty() {
        return Ok(());
    }
    out.mapping("proxy_connect_header", |out| {
        headers.into_iter().try_for_each(|(name, values)| out.texts(&quoted(name), values))
    })
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
             endpoint_params: {audience: e}, tls_config: {insecure_skip_verify: true}, proxy_url: 'http://p'}"
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
