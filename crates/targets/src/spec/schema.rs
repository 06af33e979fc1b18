//! Every field of a `RemoteWriteSpec` (prometheus-operator 0.93), once: how it is spelled in Kubernetes, in Prometheus'
//! own file and in Writegate's, and what it holds. Reading, the CRD, secret references, policy and rendering all follow it.

/// A field of a mapping.
#[derive(Debug)]
pub(crate) struct Field {
    /// As in Kubernetes: camelCase.
    pub(crate) name: &'static str,
    /// As in Prometheus' file, which people paste; empty: there it has no word of its own.
    pub(crate) alias: &'static str,
    pub(crate) kind: Kind,
    pub(crate) required: bool,
}

/// What a field holds.
#[derive(Debug)]
pub(crate) enum Kind {
    Text,
    /// Visible in the object for everybody who may read it; kept out of messages.
    SecretText,
    Url,
    Bool,
    Integer {
        min: i64,
        bits: u32,
    },
    Duration,
    /// One of these words.
    Choice(&'static [&'static str]),
    Texts,
    TextMap,
    /// A file of the pod that sends.
    File,
    Object(&'static [Field]),
    Objects(&'static [Field]),
    /// `{name, key, optional}` of a Secret.
    SecretKey,
    /// `{secret: {…}}` or `{configMap: {…}}`.
    SecretOrConfigMap,
    /// Header to a list of `{name, key, optional}`.
    SecretKeys,
}

const fn field(name: &'static str, alias: &'static str, kind: Kind) -> Field {
    Field { name, alias, kind, required: false }
}

const fn required(name: &'static str, alias: &'static str, kind: Kind) -> Field {
    Field { name, alias, kind, required: true }
}

const INT: Kind = Kind::Integer { min: i64::MIN, bits: 64 };

const TLS_VERSIONS: Kind = Kind::Choice(&["TLS10", "TLS11", "TLS12", "TLS13"]);

/// In the order of prometheus-operator's API reference.
pub(crate) const REMOTE_WRITE: &[Field] = &[
    required("url", "url", Kind::Url),
    field("name", "name", Kind::Text),
    field("messageVersion", "protobuf_message", Kind::Choice(&["V1.0", "V2.0"])),
    field("sendExemplars", "send_exemplars", Kind::Bool),
    field("sendNativeHistograms", "send_native_histograms", Kind::Bool),
    field("remoteTimeout", "remote_timeout", Kind::Duration),
    field("headers", "headers", Kind::TextMap),
    field("writeRelabelConfigs", "write_relabel_configs", Kind::Objects(RELABEL)),
    field("oauth2", "oauth2", Kind::Object(OAUTH2)),
    field("basicAuth", "basic_auth", Kind::Object(BASIC_AUTH)),
    field("bearerTokenFile", "bearer_token_file", Kind::File),
    field("authorization", "authorization", Kind::Object(AUTHORIZATION)),
    field("sigv4", "sigv4", Kind::Object(SIGV4)),
    field("azureAd", "azuread", Kind::Object(AZURE_AD)),
    field("bearerToken", "bearer_token", Kind::SecretText),
    field("tlsConfig", "tls_config", Kind::Object(TLS_WITH_FILES)),
    field("proxyUrl", "proxy_url", Kind::Url),
    field("noProxy", "no_proxy", Kind::Text),
    field("proxyFromEnvironment", "proxy_from_environment", Kind::Bool),
    field("proxyConnectHeader", "proxy_connect_header", Kind::SecretKeys),
    field("followRedirects", "follow_redirects", Kind::Bool),
    field("queueConfig", "queue_config", Kind::Object(QUEUE)),
    field("metadataConfig", "metadata_config", Kind::Object(METADATA)),
    field("enableHTTP2", "enable_http2", Kind::Bool),
    field("roundRobinDNS", "round_robin_dns", Kind::Bool),
];

const RELABEL: &[Field] = &[
    field("sourceLabels", "source_labels", Kind::Texts),
    field("separator", "separator", Kind::Text),
    field("targetLabel", "target_label", Kind::Text),
    field("regex", "regex", Kind::Text),
    field("modulus", "modulus", Kind::Integer { min: 0, bits: 64 }),
    field("replacement", "replacement", Kind::Text),
    field("action", "action", Kind::Choice(ACTIONS)),
];

/// Both spellings, as prometheus-operator takes them.
const ACTIONS: &[&str] = &[
    "replace",
    "Replace",
    "keep",
    "Keep",
    "drop",
    "Drop",
    "hashmod",
    "HashMod",
    "labelmap",
    "LabelMap",
    "labeldrop",
    "LabelDrop",
    "labelkeep",
    "LabelKeep",
    "lowercase",
    "Lowercase",
    "uppercase",
    "Uppercase",
    "keepequal",
    "KeepEqual",
    "dropequal",
    "DropEqual",
];

const OAUTH2: &[Field] = &[
    required("clientId", "client_id", Kind::SecretOrConfigMap),
    required("clientSecret", "client_secret", Kind::SecretKey),
    required("tokenUrl", "token_url", Kind::Url),
    field("scopes", "scopes", Kind::Texts),
    field("endpointParams", "endpoint_params", Kind::TextMap),
    field("tlsConfig", "tls_config", Kind::Object(TLS)),
    field("proxyUrl", "proxy_url", Kind::Url),
    field("noProxy", "no_proxy", Kind::Text),
    field("proxyFromEnvironment", "proxy_from_environment", Kind::Bool),
    field("proxyConnectHeader", "proxy_connect_header", Kind::SecretKeys),
];

const BASIC_AUTH: &[Field] =
    &[field("username", "username", Kind::SecretKey), field("password", "password", Kind::SecretKey)];

const AUTHORIZATION: &[Field] = &[
    field("type", "type", Kind::Text),
    field("credentials", "credentials", Kind::SecretKey),
    field("credentialsFile", "credentials_file", Kind::File),
];

const SIGV4: &[Field] = &[
    field("region", "region", Kind::Text),
    field("accessKey", "access_key", Kind::SecretKey),
    field("secretKey", "secret_key", Kind::SecretKey),
    field("profile", "profile", Kind::Text),
    field("roleArn", "role_arn", Kind::Text),
    field("externalId", "external_id", Kind::Text),
    field("useFIPSSTSEndpoint", "use_fips_sts_endpoint", Kind::Bool),
];

const AZURE_AD: &[Field] = &[
    field("cloud", "cloud", Kind::Choice(&["AzureChina", "AzureGovernment", "AzurePublic"])),
    field("managedIdentity", "managed_identity", Kind::Object(&[field("clientId", "client_id", Kind::Text)])),
    field("oauth", "oauth", Kind::Object(AZURE_OAUTH)),
    field("sdk", "sdk", Kind::Object(&[field("tenantId", "tenant_id", Kind::Text)])),
    field("workloadIdentity", "workload_identity", Kind::Object(AZURE_WORKLOAD_IDENTITY)),
    field("scope", "scope", Kind::Text),
];

const AZURE_OAUTH: &[Field] = &[
    required("clientId", "client_id", Kind::Text),
    required("clientSecret", "client_secret", Kind::SecretKey),
    required("tenantId", "tenant_id", Kind::Text),
];

const AZURE_WORKLOAD_IDENTITY: &[Field] =
    &[required("clientId", "client_id", Kind::Text), required("tenantId", "tenant_id", Kind::Text)];

const TLS_WITH_FILES: &[Field] = &[
    field("ca", "ca", Kind::SecretOrConfigMap),
    field("cert", "cert", Kind::SecretOrConfigMap),
    field("keySecret", "key", Kind::SecretKey),
    field("caFile", "ca_file", Kind::File),
    field("certFile", "cert_file", Kind::File),
    field("keyFile", "key_file", Kind::File),
    field("serverName", "server_name", Kind::Text),
    field("insecureSkipVerify", "insecure_skip_verify", Kind::Bool),
    field("minVersion", "min_version", TLS_VERSIONS),
    field("maxVersion", "max_version", TLS_VERSIONS),
];

const TLS: &[Field] = &[
    field("ca", "ca", Kind::SecretOrConfigMap),
    field("cert", "cert", Kind::SecretOrConfigMap),
    field("keySecret", "key", Kind::SecretKey),
    field("serverName", "server_name", Kind::Text),
    field("insecureSkipVerify", "insecure_skip_verify", Kind::Bool),
    field("minVersion", "min_version", TLS_VERSIONS),
    field("maxVersion", "max_version", TLS_VERSIONS),
];

const QUEUE: &[Field] = &[
    field("capacity", "capacity", INT),
    field("minShards", "min_shards", INT),
    field("maxShards", "max_shards", INT),
    field("maxSamplesPerSend", "max_samples_per_send", INT),
    field("batchSendDeadline", "batch_send_deadline", Kind::Duration),
    field("maxRetries", "max_retries", INT),
    field("minBackoff", "min_backoff", Kind::Duration),
    field("maxBackoff", "max_backoff", Kind::Duration),
    field("retryOnRateLimit", "retry_on_http_429", Kind::Bool),
    field("sampleAgeLimit", "sample_age_limit", Kind::Duration),
];

const METADATA: &[Field] = &[
    field("send", "send", Kind::Bool),
    field("sendInterval", "send_interval", Kind::Duration),
    field("maxSamplesPerSend", "max_samples_per_send", Kind::Integer { min: -1, bits: 32 }),
];

/// Of a reference into a Secret or ConfigMap.
pub(crate) const SELECTOR: &[Field] = &[
    required("name", "name", Kind::Text),
    required("key", "key", Kind::Text),
    field("optional", "optional", Kind::Bool),
];

/// Of a reference into one of the two.
pub(crate) const SECRET_OR_CONFIG_MAP: &[Field] =
    &[field("secret", "secret", Kind::Object(SELECTOR)), field("configMap", "config_map", Kind::Object(SELECTOR))];
