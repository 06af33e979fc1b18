//! The configuration in effect: printing it, reading it back, comparing two.

use std::path::PathBuf;

use std::time::Duration;

use writegate_config::{
    Config, Limits, OnFull, OverLimit, ProtocolChoice, Protocols, Size, TenantLimits, TenantName, Tenants, diff, load,
};

use crate::{config, parse_text, testdata};

#[test]
fn without_a_file_the_gateway_listens_on_loopback_for_one_tenant_and_sends_nowhere() {
    let mut without = Config::without_file();
    assert_eq!(without.listeners.len(), 1);
    let listener = &without.listeners[0];
    assert_eq!(listener.address.to_string(), "127.0.0.1:9009");
    assert_eq!(listener.tenant.as_ref().map(|tenant| tenant.as_str()), Some("default"));
    assert_eq!(listener.protocols, Protocols { v1: true, v2: true, zstd: true });
    assert_eq!(without.admin.address.to_string(), "127.0.0.1:9010");
    assert_eq!(without.log.path, PathBuf::from("data"));
    assert_eq!(without.log.max_total_size, Size::Percent(90));
    assert_eq!(
        without.limits,
        Limits {
            request_bytes: 64 << 20,
            decoded_bytes: 128 << 20,
            in_flight_bytes: 256 << 20,
            tenant: TenantLimits {
                samples_per_second: 0,
                bytes_per_second: 0,
                requests_per_second: 0,
                over_limit: OverLimit::Delay,
                active_series: 0,
                connections: 0,
                label_names: 128,
                label_value_bytes: 16 << 10,
                rate_limits: Vec::new(),
            },
        }
    );
    assert_eq!(without.tenants, Tenants::default());
    assert_eq!(without.dead_letters_max_size, 1 << 30);
    assert_eq!((without.endpoints.len(), without.watched_files.len()), (0, 0));
    let empty = config("");
    without.watched_files.clone_from(&empty.watched_files);
    assert_eq!(without, empty, "an empty file says the same as none");
}

#[test]
fn what_is_printed_reads_back_the_same() {
    for path in testdata(".good.yml") {
        let before = load(&path).unwrap().config;
        let printed = before.to_yaml();
        let mut after = config(&printed);
        assert_eq!(after.to_yaml(), printed, "{}", path.display());
        after.watched_files.clone_from(&before.watched_files);
        if !printed.contains("<secret>") && !printed.contains("xxxxx") {
            assert_eq!(after, before, "{}", path.display());
        }
    }
}

#[test]
fn secrets_are_neither_printed_nor_debugged() {
    let config = config(
        "remote_write:\n- url: http://localhost/a?access_token=s3cret\n  headers: {X-Api-Key: s3cret}\n  http_headers: {X-A: {secrets: [s3cret]}}\n  \
         basic_auth: {username: u, password: s3cret}\n- url: http://localhost/b\n  bearer_token: s3cret\n",
    );
    for text in [config.to_yaml(), format!("{config:?}")] {
        assert!(!text.contains("s3cret"), "{text}");
    }
    assert_eq!(config.endpoints[0].url.path_and_query(), "/a?access_token=s3cret");
}

#[test]
fn a_tenants_limits_hold_key_by_key_before_those_of_the_star_and_of_all() {
    let config = config(
        "limits: {samples_per_second: 9, label_names: 9, rate_limits: [{endpoint: a, limit: 9, window: 1s}]}\n\
         listeners: [{address: ':1', tenant: a}]\n\
         tenants: [{name: a, limits: {samples_per_second: 0, over_limit: reject, rate_limits: []}}, {name: b}, \
         {name: '*', limits: {label_names: 3}}]",
    );
    let of = |name| config.limits_of(&TenantName::new(name).unwrap());
    let all = || config.limits.tenant.clone();
    let own = TenantLimits { samples_per_second: 0, over_limit: OverLimit::Reject, rate_limits: Vec::new(), ..all() };
    assert_eq!(of("a"), own);
    assert_eq!(of("b"), all(), "the star is not for those who have an entry");
    assert_eq!(of("c"), TenantLimits { label_names: 3, ..all() });
}

#[test]
fn a_diff_names_what_came_what_went_and_what_needs_a_restart() {
    let old = config(
        "listeners: [{address: '127.0.0.1:1', tenant: a}, {address: '127.0.0.1:2', tenant: a}]\n\
         remote_write: [{url: 'http://localhost/a'}, {url: 'http://localhost/b'}, {url: 'http://localhost/c'}]\n",
    );
    let new = config(
        "listeners: [{address: '127.0.0.1:2', tenant: b}, {address: '127.0.0.1:3', tenant: a}]\n\
         log: {path: elsewhere, retain: 1h}\nadmin: {address: '127.0.0.1:4'}\nlimits: {label_names: 1}\n\
         remote_write: [{url: 'http://localhost/c'}, {url: 'http://localhost/b', on_full: refuse}, {url: 'http://localhost/d'}]\n",
    );
    assert!(diff(&old, &old).is_empty());
    let diff = diff(&old, &new);
    assert_eq!(diff.endpoints.added, ["localhost/d"]);
    assert_eq!(diff.endpoints.removed, ["localhost/a"]);
    assert_eq!(diff.endpoints.changed, ["localhost/b"]);
    let ports = |addresses: &[std::net::SocketAddr]| addresses.iter().map(|address| address.port()).collect::<Vec<_>>();
    assert_eq!(ports(&diff.listeners.added), [3]);
    assert_eq!(ports(&diff.listeners.removed), [1]);
    assert_eq!(ports(&diff.listeners.changed), [2]);
    assert_eq!(diff.restart_needed, ["admin.address", "log.path"]);
    assert_eq!((diff.log, diff.limits, diff.admin, diff.dead_letters), (true, true, false, false));
}

#[test]
fn a_diff_names_the_tenants_whose_settings_differ() {
    let with = |tenants: &str| config(&format!("listeners: [{{address: ':1', tenant: a}}]\ntenants: {tenants}\n"));
    let names = |tenants: Vec<TenantName>| tenants.iter().map(TenantName::to_string).collect::<Vec<_>>().join(" ");
    let everybody = with("");
    let old = with("[{name: a, id: '1'}, {name: b}, {name: c, log: {on_full: refuse}}, {name: '*'}]");
    for (new, added, removed, changed) in [
        ("[{name: '*'}, {name: c, log: {on_full: refuse}}, {name: b}, {name: a, id: '1'}]", "", "", ""),
        (
            "[{name: a}, {name: b, external_labels: {c: d}}, {name: c, log: {max_size: 1MiB, on_full: refuse}}]",
            "",
            "*",
            "a b c",
        ),
        (
            "[{name: '*'}, {name: c, log: {on_full: refuse}}, {name: b, limits: {active_series: 0}}, {name: a, id: '1'}]",
            "",
            "",
            "b",
        ),
        ("[{name: a, id: '1'}, {name: '*', log: {max_size: 1MiB}}, {name: e}]", "e", "b c", "*"),
        ("[{name: a, id: '1', write_relabel_configs: [{action: keep}]}]", "", "* b c", "a"),
        ("", "", "* a b c", ""),
    ] {
        let diff = diff(&old, &with(new)).tenants;
        let named = (names(diff.added), names(diff.removed), names(diff.changed));
        assert_eq!(named, (added.to_owned(), removed.to_owned(), changed.to_owned()), "{new}");
    }
    assert_eq!(names(diff(&everybody, &old).tenants.added), "* a b c");
}

#[test]
fn sample_age_limit_is_another_word_for_max_age() {
    for (keys, expected) in [
        ("", None),
        (", max_age: 0", None),
        (", max_age: 2h", Some(7200)),
        (", queue_config: {sample_age_limit: 2h}", Some(7200)),
        (", max_age: 2h, queue_config: {sample_age_limit: 120m}", Some(7200)),
    ] {
        let config = config(&format!("remote_write: [{{url: 'http://localhost/'{keys}}}]"));
        assert_eq!(config.endpoints[0].max_age, expected.map(Duration::from_secs), "{keys}");
    }
}

#[test]
fn defaults_of_an_endpoint_are_the_contracts() {
    let endpoint = config("log: {on_full: refuse}\nremote_write: [{url: 'http://localhost/'}]").endpoints.remove(0);
    assert!(endpoint.send_exemplars && endpoint.send_native_histograms && endpoint.metadata_send);
    assert!(endpoint.follow_redirects && !endpoint.enable_http2 && !endpoint.round_robin_dns);
    assert!(endpoint.queue.retry_on_http_429);
    assert_eq!(endpoint.queue.max_samples_per_send, 10_000);
    assert_eq!(endpoint.protocol, ProtocolChoice::Auto);
    assert_eq!((endpoint.max_age, endpoint.tenant_header), (None, None));
    assert_eq!((endpoint.tenant_label, endpoint.name_escaping), (None, None));
    assert_eq!(endpoint.on_full, OnFull::DropOldest, "an endpoint asks for no more than the tenant's log gives");
}

#[test]
fn an_endpoint_that_several_tenants_reach_unmarked_is_warned_about() {
    let two = "listeners: [{address: ':1', tenant: a}, {address: ':2', tenant: b}]\n";
    let any = "listeners: [{address: ':1', tenant: a, tenant_from: [{path: true}]}]\n";
    let listed = &format!("{any}tenants: [{{name: a}}, {{name: b}}]\n");
    let all = &format!("{any}tenants: [{{name: a}}, {{name: '*'}}]\n");
    for (listeners, keys, warned) in [
        ("", "", false),
        (two, "", true),
        (two, ", tenants: [a]", false),
        (two, ", tenants: [a, c]", false),
        (two, ", tenant_header: X-Scope-OrgID", false),
        (any, "", true),
        (any, ", tenants: [b]", false),
        (any, ", tenants: ['b*']", true),
        (any, ", tenants: [b, c]", true),
        (listed, "", true),
        (listed, ", tenant_label: tenant", false),
        (listed, ", tenants: [b, c]", false),
        (listed, ", tenants: ['b*']", false),
        (listed, ", tenants: ['*']", true),
        (all, ", tenants: [b]", false),
        (all, ", tenants: ['b*']", true),
    ] {
        let yaml = format!("{listeners}remote_write: [{{url: 'http://localhost/'{keys}}}]");
        let warnings = parse_text(&yaml).unwrap().warnings;
        assert_eq!(warnings.iter().any(|warning| warning.message.contains("several tenants")), warned, "{yaml}");
    }
}

#[test]
fn a_rule_that_may_make_one_series_of_two_is_warned_about() {
    for (rule, warned) in [
        ("{action: labeldrop, regex: replica}", true),
        ("{action: LabelKeep, regex: job}", true),
        ("{action: labelmap, regex: 'k8s_(.*)'}", true),
        ("{source_labels: [host], target_label: host, regex: '(.*):.*'}", true),
        ("{action: replace, target_label: __name__, replacement: a}", true),
        ("{target_label: host, replacement: ''}", true),
        ("{source_labels: [a], target_label: '${1}'}", true),
        ("{action: lowercase, source_labels: [host], target_label: host}", true),
        ("{action: hashmod, source_labels: [a, host], target_label: host, modulus: 2}", true),
        ("{target_label: cluster, replacement: eu}", false),
        ("{source_labels: [a], target_label: b}", false),
        ("{action: uppercase, source_labels: [a], target_label: b}", false),
        ("{action: hashmod, source_labels: [a], target_label: b, modulus: 2}", false),
        ("{action: keep, source_labels: [__name__], regex: up}", false),
        ("{action: drop, source_labels: [__name__], regex: up}", false),
        ("{action: keepequal, source_labels: [a], target_label: a}", false),
    ] {
        for yaml in [
            format!("remote_write: [{{url: 'http://localhost/', write_relabel_configs: [{rule}]}}]"),
            format!("tenants: [{{name: default, write_relabel_configs: [{rule}]}}]"),
        ] {
            let warnings = parse_text(&yaml).unwrap().warnings;
            let merging = warnings.iter().any(|warning| warning.message.contains("two series may become one"));
            assert_eq!(merging, warned, "{yaml}");
        }
    }
}
