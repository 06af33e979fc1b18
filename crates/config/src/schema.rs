//! Every key of the configuration: name, kind, default, meaning, and whether this version acts on it.
//!
//! The one place a default is written: `table` reads it from here, and `docs/configuration.md` is made from here.
//! A feature that becomes available turns its key's `.later()` off.

mod access;
mod observatorium;
mod operator;
mod otlp;
mod tenant;

pub(crate) use access::{AUTHENTICATOR, CERTIFICATE, CLIENT_CERTIFICATE, CREDENTIAL, JWT, SERVER_TLS};
pub(crate) use observatorium::{
    OBSERVATORIUM_AUTHENTICATOR, OBSERVATORIUM_MTLS, OBSERVATORIUM_OIDC, OBSERVATORIUM_RATE_LIMIT,
    OBSERVATORIUM_TENANT, RBAC_FILE, ROLE, ROLE_BINDING, SUBJECT, TENANTS_FILE,
};
pub(crate) use operator::{
    ANNOTATION_MODES, OPERATOR, OPERATOR_ADMIN, OPERATOR_FILE, OPERATOR_LEADER_ELECTION, OPERATOR_POLICIES,
    OPERATOR_WRITE_STORAGE,
};
pub(crate) use otlp::OTLP;
pub(crate) use tenant::{LIMITS, RATE_LIMIT, TENANT, TENANT_LIMITS, TENANT_LOG};

/// A mapping in the configuration.
#[derive(Debug)]
pub(crate) struct Section {
    /// Where it stands, for the reference.
    pub(crate) title: &'static str,
    /// The keys it may have.
    pub(crate) keys: &'static [Key],
}

/// A key of a mapping.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Key {
    pub(crate) name: &'static str,
    pub(crate) kind: &'static str,
    /// As one would write it; empty is no default, `required` is no default and must be written.
    pub(crate) default: &'static str,
    pub(crate) meaning: &'static str,
    pub(crate) status: Status,
}

/// What this version does with a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Status {
    Available,
    /// Part of the contract, but refused unless it says "off".
    Later,
    /// Accepted with a warning that says why it does nothing.
    Ignored(&'static str),
}

/// The default of a key that must be written.
pub(crate) const REQUIRED: &str = "required";

const fn key(name: &'static str, kind: &'static str, default: &'static str, meaning: &'static str) -> Key {
    Key { name, kind, default, meaning, status: Status::Available }
}

impl Key {
    const fn later(mut self) -> Self {
        self.status = Status::Later;
        self
    }

    const fn ignored(mut self, why: &'static str) -> Self {
        self.status = Status::Ignored(why);
        self
    }
}

/// In the order of the reference.
pub(crate) const SECTIONS: &[&Section] = &[
    &FILE,
    &LISTENER,
    &TENANT_SOURCE,
    &TIMEOUTS,
    &SERVER_TLS,
    &CERTIFICATE,
    &ADMIN,
    &LOG,
    &DEAD_LETTERS,
    &LIMITS,
    &RATE_LIMIT,
    &OTLP,
    &AUTHENTICATOR,
    &JWT,
    &CLIENT_CERTIFICATE,
    &TENANT,
    &CREDENTIAL,
    &TENANT_LIMITS,
    &TENANT_LOG,
    &REMOTE_WRITE,
    &QUEUE,
    &METADATA,
    &BASIC_AUTH,
    &AUTHORIZATION,
    &HTTP_HEADER,
    &OAUTH2,
    &SIGV4,
    &AZURE_AD,
    &AZURE_MANAGED_IDENTITY,
    &AZURE_WORKLOAD_IDENTITY,
    &AZURE_OAUTH,
    &AZURE_CERTIFICATE,
    &TLS,
    &RELABEL,
    &ENDPOINTS_FILE,
    &OBSERVATORIUM_ENDPOINT,
    &OBSERVATORIUM_TLS,
    &HTTP_CLIENT,
    &TENANTS_FILE,
    &OBSERVATORIUM_TENANT,
    &OBSERVATORIUM_OIDC,
    &OBSERVATORIUM_MTLS,
    &OBSERVATORIUM_AUTHENTICATOR,
    &OBSERVATORIUM_RATE_LIMIT,
    &RBAC_FILE,
    &ROLE,
    &ROLE_BINDING,
    &SUBJECT,
    &OPERATOR,
    &OPERATOR_ADMIN,
    &OPERATOR_LEADER_ELECTION,
    &OPERATOR_POLICIES,
    &OPERATOR_FILE,
    &OPERATOR_WRITE_STORAGE,
];

pub(crate) const FILE: Section = Section {
    title: "the file",
    keys: &[
        key("listeners", "list", "one on 127.0.0.1:9009 for tenant `default`", "where senders push"),
        key("admin", "mapping", "", "metrics, health and the admin API"),
        key("log", "mapping", "", "the durable log"),
        key("dead_letters", "mapping", "", "what endpoints refused for good"),
        key("limits", "mapping", "", "limits on requests and series"),
        key("otlp", "mapping", "", "how OTLP metrics become series"),
        key("authentication", "list", "", "ways to tell who is speaking, shared by all tenants"),
        key(
            "tenants",
            "list",
            "",
            "the tenants that may push, and what differs for each; absent: all that a listener names",
        ),
        key(
            "tenants_file",
            "file",
            "",
            "Observatorium's `tenants.yaml`: more tenants, in its spelling; read again on change",
        ),
        key(
            "rbac_file",
            "file",
            "",
            "Observatorium's `rbac.yaml`: who may write for the tenants of `tenants_file`; absent: whoever logs in; read again on change",
        ),
        key("remote_write", "list", "", "the endpoints"),
        key("remote_write_files", "list of files", "", "more endpoints, or Observatorium's additional write endpoints"),
    ],
};

pub(crate) const LISTENER: Section = Section {
    title: "listeners[]",
    keys: &[
        key("address", "host:port", REQUIRED, "the IP address and port to bind; `:9009` is all interfaces"),
        key("tls_config", "mapping", "", "serve TLS; absent: plain HTTP"),
        key("tenant", "tenant", "", "what a request without credentials is; absent: such requests get 401"),
        key("tenant_from", "list", "", "where else a request names its tenant"),
        key("allow", "list of CIDR", "", "peers that may connect; absent: everyone"),
        key("protocols", "list of v1, v2, zstd", "[v1, v2, zstd]", "what is taken; the rest gets 415"),
        key("strict", "bool", "false", "refuse series that are only metadata or only exemplars"),
        key(
            "otlp",
            "bool",
            "false",
            "take OTLP metrics on `/v1/metrics`, `/otlp/v1/metrics` and `/api/v1/otlp/v1/metrics`",
        ),
        key("grpc", "bool", "false", "take OTLP metrics over gRPC, on the same address"),
        key("timeouts", "mapping", "", "how long a peer may take"),
        key("max_connections", "number", "10000", "connections open at once; at least 1"),
        key("max_connections_per_ip", "number", "0", "of them from one address; more are closed at once; 0: no limit"),
    ],
};

pub(crate) const TENANT_SOURCE: Section = Section {
    title: "listeners[].tenant_from[]",
    keys: &[
        key("host", "pattern", "", "a host name with one `{tenant}` in it"),
        key("header", "header name", "", "a request header"),
        key("path", "bool", "false", "the paths that carry a tenant"),
        key("vm_headers", "bool", "false", "VictoriaMetrics' `AccountID` and `ProjectID`"),
    ],
};

pub(crate) const TIMEOUTS: Section = Section {
    title: "listeners[].timeouts",
    keys: &[
        key("header", "duration", "10s", "for a request's header"),
        key("body", "duration", "30s", "for a request's body"),
        key("idle", "duration", "6m", "for the next request on a connection"),
    ],
};

pub(crate) const ADMIN: Section = Section {
    title: "admin",
    keys: &[
        key("address", "host:port", "127.0.0.1:9010", "the IP address and port to bind"),
        key("tls_config", "mapping", "", "serve TLS; absent: plain HTTP"),
        key("bearer_token_file", "file", "", "the token callers must show; needed off loopback, or `basic_auth`"),
        key("basic_auth", "mapping", "", "the user and password callers must show"),
        key(
            "public",
            "list of metrics, healthy, ready",
            "[metrics, healthy, ready]",
            "what needs no credential; written off loopback without a credential: nothing else is served",
        ),
    ],
};

pub(crate) const LOG: Section = Section {
    title: "log",
    keys: &[
        key("path", "directory", "data", "where the log is; relative to the working directory"),
        key(
            "retain",
            "duration",
            "2h",
            "how long records stay at least, from their receipt on, also those that every endpoint has: what can be replayed",
        ),
        key("max_size", "size", "20GiB", "per tenant; at least 1MiB"),
        key("max_total_size", "size or percent", "90%", "all tenants together; percent of the file system"),
        key("min_free", "size", "1GiB", "what the file system must keep free"),
        key("on_full", "drop_oldest or refuse", "drop_oldest", "expire the oldest records, or answer 503"),
        key("kafka", "mapping", "", "keep the log in Kafka").later(),
        key("object_store", "mapping", "", "keep old segments in an object store").later(),
    ],
};

pub(crate) const DEAD_LETTERS: Section =
    Section { title: "dead_letters", keys: &[key("max_size", "size", "1GiB", "dead letters kept")] };

const SHARDLESS: &str = "Writegate keeps order without shards and reads from its log, not from a queue in memory";
const UNBATCHED: &str = "Writegate sends what it has and never waits for a batch to fill";
const METADATA_IN_LOG: &str = "Writegate passes metadata on as it comes";

pub(crate) const REMOTE_WRITE: Section = Section {
    title: "remote_write[]",
    keys: &[
        key("name", "text", "host and path of the url", "identity of cursor and books; unique, at most 255 bytes"),
        key("url", "url", REQUIRED, "where requests go"),
        key("remote_timeout", "duration", "30s", "for one request"),
        key("headers", "mapping of header to text", "", "sent with every request"),
        key("http_headers", "mapping of header to mapping", "", "headers whose values are secret or in files"),
        key("basic_auth", "mapping", "", "user and password; at most one way to authenticate"),
        key("authorization", "mapping", "", "an `Authorization` header"),
        key("bearer_token", "secret", "", "older spelling of `authorization.credentials`"),
        key("bearer_token_file", "file", "", "older spelling of `authorization.credentials_file`"),
        key("oauth2", "mapping", "", "a token from an OAuth 2.0 server"),
        key("sigv4", "mapping", "", "AWS signature version 4"),
        key("azuread", "mapping", "", "a token from Microsoft Entra ID"),
        key("google_iam", "mapping", "", "refused: Google's service does not take remote write"),
        key("tls_config", "mapping", "", "TLS towards the endpoint; files are read again when they change"),
        key("proxy_url", "url", "", "the proxy everything goes through, `http` or `https`; may carry `user:password@`"),
        key(
            "no_proxy",
            "text",
            "",
            "hosts reached without it: names, domains, addresses, CIDRs, with or without a port, joined by commas",
        ),
        key("proxy_from_environment", "bool", "false", "the proxy of `HTTP_PROXY`, `HTTPS_PROXY` and `NO_PROXY`"),
        key(
            "proxy_connect_header",
            "mapping of header to list",
            "",
            "headers of `CONNECT`, which goes to the proxy of an `https` url",
        ),
        key(
            "follow_redirects",
            "bool",
            "true",
            "follow 307 and 308, with the body; 301, 302 and 303 would lose it, so they hold the endpoint, and so does one from elsewhere to this machine",
        ),
        key("enable_http2", "bool", "false", "offer HTTP/2"),
        key("round_robin_dns", "bool", "false", "connect to a random one of the name's addresses")
            .ignored("the resolver's order decides in this version"),
        key("write_relabel_configs", "list", "", "relabel rules"),
        key(
            "metric_name_escaping_scheme",
            "allow-utf-8, underscores, dots, values or drop",
            "allow-utf-8",
            "how names are sent that receivers before Prometheus 3.0 do not take: see [operations](operations.md#names-that-an-older-receiver-does-not-take)",
        ),
        key("send_exemplars", "bool", "true", "send exemplars (Prometheus: false)"),
        key("send_native_histograms", "bool", "true", "send native histograms (Prometheus: false)"),
        key(
            "protobuf_message",
            "auto, prometheus.WriteRequest or io.prometheus.write.v2.Request",
            "auto",
            "the message schema to send",
        ),
        key("queue_config", "mapping", "", "batches and backoff"),
        key("metadata_config", "mapping", "", "metadata"),
        key("failed_request_logging", "bool", "false", "Prometheus' log of failed requests")
            .ignored("what an endpoint refuses is counted, and its words are in the ledger"),
        key("tenants", "list of patterns", "", "whose data goes here, with `*` as a wildcard; absent: all"),
        key("tenant_header", "header name", "", "send the tenant's id in this header"),
        key("tenant_label", "label name", "", "add the tenant's id as this label"),
        key("from", "latest, earliest or duration", "latest", "where a new endpoint starts in a log that exists"),
        key("max_age", "duration", "0s", "older samples expire; 0: no limit"),
        key(
            "on_full",
            "drop_oldest or refuse",
            "drop_oldest",
            "refuse: this endpoint must have everything; drop_oldest: the policy of the tenant's log holds",
        ),
        key("compression", "auto, snappy or zstd", "auto", "the compression to send"),
    ],
};

pub(crate) const QUEUE: Section = Section {
    title: "remote_write[].queue_config",
    keys: &[
        key("max_samples_per_send", "number", "10000", "of one request; at least 1 (Prometheus: 2000)"),
        key("min_backoff", "duration", "30ms", "the first pause after a failure"),
        key("max_backoff", "duration", "5s", "the longest pause after a failure"),
        key("retry_on_http_429", "bool", "true", "retry 429 (Prometheus: false)"),
        key("sample_age_limit", "duration", "0s", "the same as `max_age`"),
        key("capacity", "number", "", "").ignored(SHARDLESS),
        key("max_shards", "number", "", "").ignored(SHARDLESS),
        key("min_shards", "number", "", "").ignored(SHARDLESS),
        key("batch_send_deadline", "duration", "", "").ignored(UNBATCHED),
    ],
};

pub(crate) const METADATA: Section = Section {
    title: "remote_write[].metadata_config",
    keys: &[
        key("send", "bool", "true", "send metadata"),
        key("send_interval", "duration", "", "").ignored(METADATA_IN_LOG),
        key("max_samples_per_send", "number", "", "").ignored(METADATA_IN_LOG),
    ],
};

pub(crate) const BASIC_AUTH: Section = Section {
    title: "basic_auth",
    keys: &[
        key("username", "text", "", "the user"),
        key("username_file", "file", "", "a file with the user"),
        key("username_ref", "text", "", "a name in a secret manager").later(),
        key("password", "secret", "", "the password"),
        key("password_file", "file", "", "a file with the password"),
        key("password_ref", "text", "", "a name in a secret manager").later(),
    ],
};

pub(crate) const AUTHORIZATION: Section = Section {
    title: "authorization",
    keys: &[
        key("type", "text", "Bearer", "the scheme; not `Basic`"),
        key("credentials", "secret", "", "what follows the scheme"),
        key("credentials_file", "file", "", "a file with it"),
        key("credentials_ref", "text", "", "a name in a secret manager").later(),
    ],
};

pub(crate) const HTTP_HEADER: Section = Section {
    title: "http_headers.<name>",
    keys: &[
        key("values", "list of text", "", "values that may be shown"),
        key("secrets", "list of secrets", "", "values that must not be shown"),
        key("files", "list of files", "", "files with values"),
    ],
};

pub(crate) const OAUTH2: Section = Section {
    title: "oauth2",
    keys: &[
        key("client_id", "text", REQUIRED, "the client"),
        key("client_secret", "secret", "", "its secret"),
        key("client_secret_file", "file", "", "a file with it"),
        key("client_secret_ref", "text", "", "a name in a secret manager").later(),
        key("grant_type", "text", "client_credentials", "or `urn:ietf:params:oauth:grant-type:jwt-bearer`"),
        key("client_certificate_key", "secret", "", "PEM of the key that signs assertions"),
        key("client_certificate_key_file", "file", "", "a file with it"),
        key("client_certificate_key_ref", "text", "", "a name in a secret manager").later(),
        key("client_certificate_key_id", "text", "", "the key's id"),
        key("signature_algorithm", "RS256, RS384 or RS512", "RS256", "of assertions"),
        key("iss", "text", "", "the issuer claim; absent: the client id"),
        key("audience", "text", "", "the audience claim; absent: the token url"),
        key("claims", "mapping", "", "further claims, each a text"),
        key("scopes", "list of text", "", "requested scopes"),
        key("token_url", "url", REQUIRED, "where tokens come from"),
        key("endpoint_params", "mapping of text to text", "", "further parameters of the token request"),
        key("tls_config", "mapping", "", "TLS towards the token server"),
        key("proxy_url", "url", "", "as of an endpoint, whose own proxy does not hold here; so do the next three"),
        key("no_proxy", "text", "", ""),
        key("proxy_from_environment", "bool", "false", ""),
        key("proxy_connect_header", "mapping of header to list", "", ""),
    ],
};

pub(crate) const SIGV4: Section = Section {
    title: "sigv4",
    keys: &[
        key("region", "text", "", "the region; absent: `AWS_REGION`, or the profile's"),
        key(
            "access_key",
            "text",
            "",
            "with `secret_key`; absent: keys are looked for where AWS' tools do, see [operations](operations.md#aws)",
        ),
        key("secret_key", "secret", "", "with `access_key`"),
        key("secret_key_file", "file", "", "a file with it"),
        key("profile", "text", "", "a profile of `~/.aws/credentials` or `~/.aws/config` that has keys"),
        key("role_arn", "text", "", "a role to assume with these keys"),
        key("external_id", "text", "", "goes with `role_arn`"),
        key("use_fips_sts_endpoint", "bool", "false", "ask STS at its FIPS address"),
        key("service_name", "text", "aps", "the service to sign for"),
    ],
};

pub(crate) const AZURE_AD: Section = Section {
    title: "azuread",
    keys: &[
        key("cloud", "AzurePublic, AzureChina or AzureGovernment", "AzurePublic", "which cloud"),
        key("managed_identity", "mapping", "", "the identity of the machine; exactly one of these four"),
        key("workload_identity", "mapping", "", "the identity of a Kubernetes service account"),
        key("oauth", "mapping", "", "an application with a secret"),
        key("certificate", "mapping", "", "an application with a certificate"),
        key("sdk", "mapping", "", "refused: it would try whatever the environment offers"),
        key(
            "scope",
            "text",
            "",
            "instead of the cloud's, which for AzurePublic is `https://monitor.azure.com//.default`",
        ),
    ],
};

pub(crate) const AZURE_MANAGED_IDENTITY: Section = Section {
    title: "azuread.managed_identity",
    keys: &[key("client_id", "UUID", "", "absent: the system-assigned identity")],
};

pub(crate) const AZURE_WORKLOAD_IDENTITY: Section = Section {
    title: "azuread.workload_identity",
    keys: &[
        key("client_id", "UUID", REQUIRED, "the application"),
        key("tenant_id", "UUID", REQUIRED, "the directory"),
        key("token_file_path", "file", "/var/run/secrets/azure/tokens/azure-identity-token", "the projected token"),
    ],
};

pub(crate) const AZURE_OAUTH: Section = Section {
    title: "azuread.oauth",
    keys: &[
        key("client_id", "UUID", REQUIRED, "the application"),
        key("client_secret", "secret", "", "its secret; this or the next"),
        key("client_secret_file", "file", "", "a file with it"),
        key("tenant_id", "text", REQUIRED, "the directory's UUID or domain"),
    ],
};

pub(crate) const AZURE_CERTIFICATE: Section = Section {
    title: "azuread.certificate",
    keys: &[
        key("client_id", "UUID", REQUIRED, "the application"),
        key("certificate_path", "file", REQUIRED, "PEM of the certificate and its RSA key, in one file; no PKCS #12"),
        key("tenant_id", "text", REQUIRED, "the directory's UUID or domain"),
    ],
};

pub(crate) const TLS: Section = Section {
    title: "tls_config",
    keys: &[
        key("ca", "text", "", "trusted authorities, PEM; absent: the system's"),
        key("ca_file", "file", "", "a file with them"),
        key("ca_ref", "text", "", "a name in a secret manager").later(),
        key("cert", "text", "", "client certificate, PEM; with a key"),
        key("cert_file", "file", "", "a file with it"),
        key("cert_ref", "text", "", "a name in a secret manager").later(),
        key("key", "secret", "", "the certificate's key, PEM"),
        key("key_file", "file", "", "a file with it"),
        key("key_ref", "text", "", "a name in a secret manager").later(),
        key("server_name", "text", "", "the name to verify instead of the url's host"),
        key("insecure_skip_verify", "bool", "false", "believe any certificate"),
        key("min_version", "TLS10, TLS11, TLS12 or TLS13", "", "the lowest version"),
        key("max_version", "TLS10, TLS11, TLS12 or TLS13", "", "the highest version"),
    ],
};

pub(crate) const RELABEL: Section = Section {
    title: "write_relabel_configs[]",
    keys: &[
        key("source_labels", "list of label names", "", "labels whose values are joined"),
        key("separator", "text", ";", "what joins them"),
        key("regex", "regular expression", "(.*)", "anchored, in Go's syntax; compiled at most 2 MiB"),
        key("modulus", "number", "0", "for `hashmod`"),
        key("target_label", "label name", "", "where the result goes"),
        key(
            "replacement",
            "text",
            "$1",
            "what the result is; a series that becomes longer than twice its labels and 64 KiB is dropped",
        ),
        key(
            "action",
            "replace, keep, drop, keepequal, dropequal, hashmod, labelmap, labeldrop, labelkeep, lowercase or uppercase",
            "replace",
            "what is done",
        ),
    ],
};

pub(crate) const ENDPOINTS_FILE: Section = Section {
    title: "a file of `remote_write_files` that is a mapping",
    keys: &[
        key("endpoints", "list", "", "Observatorium's endpoints: see below"),
        key("endpints", "list", "", "the same, as its proposal spells it"),
    ],
};

/// What an endpoint in a file of `remote_write_files` may have beside the keys of [`REMOTE_WRITE`].
pub(crate) const OBSERVATORIUM_ENDPOINT: Section = Section {
    title: "an endpoint in a file of `remote_write_files`, beside the keys of `remote_write[]`",
    keys: &[
        key("tlsConfig", "mapping", "", "TLS towards the endpoint, as Observatorium's proposal spells it"),
        key("http_client_config", "mapping", "", "how the endpoint is reached, as Observatorium spells it"),
    ],
};

pub(crate) const OBSERVATORIUM_TLS: Section = Section {
    title: "endpoints[].tlsConfig",
    keys: &[
        key("ca", "file or PEM", "", "trusted authorities"),
        key("cert", "file or PEM", "", "client certificate"),
        key("key", "file or PEM", "", "the certificate's key"),
    ],
};

pub(crate) const HTTP_CLIENT: Section = Section {
    title: "endpoints[].http_client_config",
    keys: &[
        key("basic_auth", "mapping", "", "as in `remote_write[]`, like all of these"),
        key("authorization", "mapping", "", ""),
        key("bearer_token", "secret", "", ""),
        key("bearer_token_file", "file", "", ""),
        key("oauth2", "mapping", "", ""),
        key("tls_config", "mapping", "", ""),
        key("proxy_url", "url", "", ""),
        key("no_proxy", "text", "", ""),
        key("proxy_from_environment", "bool", "false", ""),
        key("proxy_connect_header", "mapping of header to list", "", ""),
        key("http_headers", "mapping of header to mapping", "", ""),
        key("follow_redirects", "bool", "true", ""),
        key("enable_http2", "bool", "false", ""),
    ],
};
