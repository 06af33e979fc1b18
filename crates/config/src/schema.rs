//! Every key of the configuration: name, kind, default, meaning, and whether this version acts on it.
//!
//! The one place a default is written: `table` reads it from here, and `docs/configuration.md` is made from here.
//! A feature that becomes available turns its key's `.later()` off.

mod access;
mod client;

pub(crate) use access::{AUTHENTICATOR, CERTIFICATE, CLIENT_CERTIFICATE, CREDENTIAL, JWT, SERVER_TLS};
pub(crate) use client::{
    AUTHORIZATION, AZURE_AD, AZURE_CERTIFICATE, AZURE_MANAGED_IDENTITY, AZURE_OAUTH, AZURE_WORKLOAD_IDENTITY,
    BASIC_AUTH, HTTP_HEADER, OAUTH2, SIGV4, TLS,
};

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
];

pub(crate) const FILE: Section = Section {
    title: "the file",
    keys: &[
        key("listeners", "list", "one on 127.0.0.1:9009 for tenant `default`", "where senders push"),
        key("admin", "mapping", "", "metrics, health and the admin API"),
        key("log", "mapping", "", "the durable log"),
        key("dead_letters", "mapping", "", "what endpoints refused for good"),
        key("limits", "mapping", "", "limits on requests and series"),
        key("authentication", "list", "", "ways to tell who is speaking, shared by all tenants"),
        key(
            "tenants",
            "list",
            "",
            "the tenants that may push, and what differs for each; absent: all that a listener names",
        ),
        key("tenants_file", "file", "", "Observatorium's tenants file").later(),
        key("rbac_file", "file", "", "Observatorium's RBAC file").later(),
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
        key("otlp", "bool", "false", "take OTLP on `/v1/metrics`").later(),
        key("grpc", "bool", "false", "take OTLP over gRPC").later(),
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
        key("retain", "duration", "2h", "how long records stay after every endpoint has them"),
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

pub(crate) const LIMITS: Section = Section {
    title: "limits",
    keys: &[
        key("request_bytes", "size", "64MiB", "a request's body as sent; 0: no limit, here and below"),
        key("decoded_bytes", "size", "128MiB", "a request's body decompressed"),
        key("in_flight_bytes", "size", "256MiB", "all requests being read"),
        key(
            "samples_per_second",
            "number",
            "0",
            "samples and histograms of a tenant; this and all below can differ for a tenant",
        ),
        key("bytes_per_second", "size", "0", "bytes of a tenant's bodies as sent"),
        key("requests_per_second", "number", "0", "requests of a tenant"),
        key("over_limit", OVER_LIMIT, "delay", OVER_LIMIT_MEANING),
        key("active_series", "number", "0", "series of a tenant that were seen in the last 10 to 20 minutes"),
        key("connections", "number", "0", "connections of a tenant; more are answered 503 and closed"),
        key("label_names", "number", "128", "labels of a series"),
        key("label_value_bytes", "size", "16KiB", "bytes of a label's value"),
        key("rate_limits", "list", "", "requests of a tenant in a window of time, by path"),
    ],
};

const OVER_LIMIT: &str = "delay or reject";
const OVER_LIMIT_MEANING: &str =
    "answer 503 or 429 above one of the three rates, both with `Retry-After`; most senders drop what gets 429";

pub(crate) const RATE_LIMIT: Section = Section {
    title: "rate_limits[]",
    keys: &[
        key(
            "endpoint",
            "regular expression",
            REQUIRED,
            "the paths that count, in Go's syntax; any part of a path may match",
        ),
        key("limit", "number", REQUIRED, "requests that pass, at least 1; what is above gets 429"),
        key("window", "duration", REQUIRED, "in which time"),
    ],
};

pub(crate) const TENANT: Section = Section {
    title: "tenants[]",
    keys: &[
        key("name", "tenant or `*`", REQUIRED, "unique; `*` admits, and stands for, all that have no entry"),
        key("id", "text", "the name", "what endpoints are told; no other tenant's name or id, and none for `*`"),
        key("credentials", "list", "", "what the tenant's senders show: a token, or a user and password"),
        key(
            "client_ca_file",
            "file",
            "",
            "the only authority of client certificates that speak for the tenant; it speaks for no other",
        ),
        key("allow", "list of CIDR", "", "peers that may push for the tenant; absent: everyone"),
        key("limits", "mapping", "", "where they differ from `limits`"),
        key("log", "mapping", "", "where the tenant's log differs from `log`"),
        key("external_labels", "mapping of label name to text", "", "added to series that do not have them"),
        key("write_relabel_configs", "list", "", "relabel rules of the tenant, before those of an endpoint"),
        key(
            "delta_temporality",
            "reject or accumulate",
            "reject",
            "what is done with OTLP metrics of delta temporality",
        )
        .later(),
    ],
};

pub(crate) const TENANT_LIMITS: Section = Section {
    title: "tenants[].limits",
    keys: &[
        key(
            "samples_per_second",
            "number",
            "as in `limits`, like all below",
            "samples and histograms; 0: no limit, here and below",
        ),
        key("bytes_per_second", "size", "", "bytes of bodies as sent"),
        key("requests_per_second", "number", "", "requests"),
        key("over_limit", OVER_LIMIT, "", OVER_LIMIT_MEANING),
        key("active_series", "number", "", "series seen in the last 10 to 20 minutes"),
        key("connections", "number", "", "connections; more are answered 503 and closed"),
        key("label_names", "number", "", "labels of a series"),
        key("label_value_bytes", "size", "", "bytes of a label's value"),
        key("rate_limits", "list", "", "instead of those in `limits`, not beside them"),
    ],
};

pub(crate) const TENANT_LOG: Section = Section {
    title: "tenants[].log",
    keys: &[
        key("max_size", "size", "as `log.max_size`", "at least 1MiB"),
        key("on_full", "drop_oldest or refuse", "as `log.on_full`", "expire the oldest records, or answer 503"),
    ],
};

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
