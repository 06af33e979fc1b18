//! Every path of the ingest listeners, on one page.

use super::grpc;

/// What a request path asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Route<'p> {
    /// A remote-write push; some paths name the tenant.
    Write(PathTenant<'p>),
    /// OTLP metrics over HTTP. The paths are OTLP's own, Mimir's and Prometheus'.
    Otlp,
    /// OTLP metrics over gRPC.
    Grpc,
    /// OTLP of another kind: traces, logs, profiles.
    OtherSignal,
    /// Nothing is served here.
    NotFound,
}

/// The tenant as the path names it, still percent-encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PathTenant<'p> {
    /// The path names none.
    None,
    /// A tenant's name.
    Name(&'p str),
    /// VictoriaMetrics cluster's `accountID[:projectID]`.
    Account(&'p str),
}

/// Finds the route of a path. One trailing slash is tolerated; nothing is ever redirected, as a redirect would turn
/// the POST of most senders into a GET.
pub(super) fn route(path: &str) -> Route<'_> {
    let path = path.strip_suffix('/').unwrap_or(path);
    if let "/api/v1/write" | "/api/v1/push" | "/api/v1/receive" | "/api/prom/push" = path {
        return Route::Write(PathTenant::None);
    }
    if let "/v1/metrics" | "/otlp/v1/metrics" | "/api/v1/otlp/v1/metrics" = path {
        return Route::Otlp;
    }
    if path == grpc::EXPORT {
        return Route::Grpc;
    }
    if is_other_signal(path) {
        return Route::OtherSignal;
    }
    let name = |segment| Route::Write(PathTenant::Name(segment));
    if let Some(tenant) = middle(path, "/api/metrics/v1/", "/api/v1/receive") {
        return name(tenant);
    }
    if let Some(account) = middle(path, "/insert/", "/prometheus/api/v1/write") {
        return Route::Write(PathTenant::Account(account));
    }
    middle(path, "/", "/api/v1/write").map_or(Route::NotFound, name)
}

/// Where an exporter sends what is no metrics, beside where it sends those.
fn is_other_signal(path: &str) -> bool {
    let of_http = path.strip_prefix("/api/v1/otlp").or_else(|| path.strip_prefix("/otlp")).unwrap_or(path);
    let is_grpc = path.starts_with("/opentelemetry.proto.collector.") && path.ends_with("Service/Export");
    is_grpc || matches!(of_http, "/v1/traces" | "/v1/logs" | "/v1development/profiles")
}

/// The one path segment between `prefix` and `suffix`.
fn middle<'p>(path: &'p str, prefix: &str, suffix: &str) -> Option<&'p str> {
    let segment = path.strip_prefix(prefix)?.strip_suffix(suffix)?;
    (!segment.is_empty() && !segment.contains('/')).then_some(segment)
}

/// Whether an older vmagent (1.88 to 1.115) asks which protocol to use. Its later versions do so by POST with an empty
/// body.
pub(super) fn asks_vm_protocol_version(query: Option<&str>) -> bool {
    query.is_some_and(|query| query.split('&').any(|pair| pair == "get_vm_proto_version=1"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_path_of_the_contract_is_served_with_and_without_a_trailing_slash() {
        let check = |path: &str, expected: Route<'_>| {
            assert_eq!(route(path), expected, "{path}");
            assert_eq!(route(&format!("{path}/")), expected, "{path}/");
        };
        for path in ["/api/v1/write", "/api/v1/push", "/api/v1/receive", "/api/prom/push"] {
            check(path, Route::Write(PathTenant::None));
        }
        for path in ["/v1/metrics", "/otlp/v1/metrics", "/api/v1/otlp/v1/metrics"] {
            check(path, Route::Otlp);
        }
        check("/opentelemetry.proto.collector.metrics.v1.MetricsService/Export", Route::Grpc);
        for path in [
            "/v1/traces",
            "/otlp/v1/logs",
            "/api/v1/otlp/v1/traces",
            "/opentelemetry.proto.collector.trace.v1.TraceService/Export",
        ] {
            check(path, Route::OtherSignal);
        }
        check("/team-a/api/v1/write", Route::Write(PathTenant::Name("team-a")));
        check("/api/metrics/v1/team-a/api/v1/receive", Route::Write(PathTenant::Name("team-a")));
        check("/insert/12:3/prometheus/api/v1/write", Route::Write(PathTenant::Account("12:3")));
    }

    #[test]
    fn anything_else_is_not_found() {
        for path in [
            "/",
            "",
            "/metrics",
            "/api/v1/pushXYZ",
            "/api/v1/write//",
            "//api/v1/write",
            "/a/b/api/v1/write",
            "/api/metrics/v1//api/v1/receive",
            "/insert//prometheus/api/v1/write",
            "/api/v1/query",
        ] {
            assert_eq!(route(path), Route::NotFound, "{path}");
        }
    }

    #[test]
    fn the_vmagent_question_is_recognised_among_other_arguments() {
        assert!(asks_vm_protocol_version(Some("get_vm_proto_version=1")));
        assert!(asks_vm_protocol_version(Some("extra_label=a=b&get_vm_proto_version=1")));
        assert!(!asks_vm_protocol_version(Some("get_vm_proto_version=2")));
        assert!(!asks_vm_protocol_version(None));
    }
}
