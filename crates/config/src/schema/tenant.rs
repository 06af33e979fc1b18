//! The keys of limits and tenants.

use super::{REQUIRED, Section, key};

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
            "refuse OTLP metrics of delta temporality, or add them up in memory: see [OTLP](otlp.md#delta-temporality)",
        ),
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
