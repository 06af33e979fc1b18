//! What strangers find at a listener: pushes and nothing else; and that nothing they say becomes a metric's label.

use std::collections::BTreeSet;

use http::{HeaderMap, Method};
use remote_write::{Compression, Protocol};
use testkit::raw;

use crate::harness::{PATIENCE, Setup, bounded, compress, header_map, raw_headers, receiver};
use crate::message::{encode, request, sample_of};

#[test]
fn r_p21_metrics_configuration_and_debugging_are_not_served_to_senders_whatever_they_show() {
    bounded(async {
        let gateway = Setup::new()
            .listener("tenant_from: [{path: true}]")
            .top("tenants: [{name: blue, credentials: [{bearer_token: blue-token}]}]")
            .start()
            .await;
        let shown = header_map(&[("authorization", "Bearer blue-token")]);
        for path in [
            "/",
            "/metrics",
            "/blue/metrics",
            "/api/v1/config",
            "/api/v1/status",
            "/api/v1/ledger",
            "/api/v1/dead_letters",
            "/api/v1/replays",
            "/api/v1/query?query=up",
            "/api/v1/labels",
            "/debug/pprof/",
            "/debug/pprof/heap",
            "/-/ready",
            "/-/healthy",
            "/-/reload",
            "/config",
            "/runtime_config",
            "/services",
            "/distributor/ring",
        ] {
            for method in [Method::GET, Method::POST, Method::DELETE] {
                for headers in [shown.clone(), HeaderMap::new()] {
                    let answer = gateway.sender_at(path).send(method.clone(), headers, "x".into()).await.unwrap();
                    let told = "nothing is served at this path; push to /api/v1/write (wg-not-found)\n";
                    assert_eq!((answer.status.as_u16(), answer.text().as_str()), (404, told), "{method} {path}");
                }
            }
        }
        assert!(gateway.admin("/metrics").await.contains("writegate_build_info"), "the admin server has them");
        gateway.finish().await;
    });
}

/// How many requests strangers send, and how many of them in one go.
const STRANGE: usize = 10_000;
const AT_ONCE: usize = 100;

#[test]
fn r_p26_ten_thousand_requests_of_strangers_make_no_new_series() {
    bounded(async {
        let sink = receiver().await;
        let gateway = Setup::new()
            .listener(
                "tenant: default, tenant_from: [{path: true}, {header: X-Scope-OrgID}, {host: 'w.{tenant}.test'}]",
            )
            .top("tenants: [{name: default}, {name: blue, credentials: [{bearer_token: blue-token}]}]")
            .endpoint("a", &sink)
            .start()
            .await;
        gateway.accept(Protocol::V1, &request([sample_of("up", 1)])).await;
        gateway.settled().await;
        let series = async || -> BTreeSet<String> {
            let page = gateway.admin("/metrics").await;
            let lines = page.lines().filter(|line| !line.starts_with('#'));
            lines.map(|line| line.rsplit_once(' ').unwrap().0.to_owned()).collect()
        };
        let before = series().await;
        let mut statuses = BTreeSet::new();
        for _ in 0..STRANGE / AT_ONCE {
            let mut connection = gateway.raw().await;
            let strange: Vec<u8> = (0..AT_ONCE).flat_map(|_| strange_request()).collect();
            connection.write(&strange).await.unwrap();
            for _ in 0..AT_ONCE {
                statuses.insert(connection.answer(PATIENCE).await.unwrap().status.as_u16());
            }
        }
        assert_eq!(statuses.into_iter().collect::<Vec<_>>(), [400, 401, 403, 404, 405]);
        let after = series().await;
        assert_eq!(after.difference(&before).collect::<Vec<_>>(), Vec::<&String>::new());
        gateway.settle_and_finish().await;
    });
}

fn word() -> String {
    (0..fastrand::usize(1..20)).map(|_| fastrand::alphanumeric()).collect()
}

/// A request with something random in the place where a path, a method, a tenant, a host or a credential is expected.
fn strange_request() -> Vec<u8> {
    let word = word();
    let (host, bearer) = (format!("w.x{word}.test"), format!("Bearer {word}"));
    let paths = [
        format!("/{word}"),
        format!("http://{host}/api/v1/write"),
        format!("/api/v1/push{word}"),
        format!("/api/v1/write?{word}=1"),
        format!("/x{word}/api/v1/write"),
        format!("/api/metrics/v1/x{word}/api/v1/receive"),
        format!("/insert/{}/prometheus/api/v1/write", fastrand::u32(1..)),
        format!("/%2e%2e/{word}/metrics"),
    ];
    let method = fastrand::choice(["GET", "POST", "PUT", "DELETE", "BREW"]).unwrap();
    let header = fastrand::choice([
        ("x-scope-orgid", word.as_str()),
        ("user-agent", &word),
        ("authorization", &bearer),
        ("x-forwarded-host", &host),
    ]);
    raw::request(method, fastrand::choice(&paths).unwrap(), &[header.unwrap()], b"x")
}

#[test]
fn a_header_of_12_kib_is_taken_and_one_of_20_kib_is_431() {
    bounded(async {
        let gateway = Setup::new().start().await;
        let protocol = raw_headers(Protocol::V1);
        let body = compress(Compression::Snappy, &encode(Protocol::V1, &request([sample_of("up", 1)])));
        for (kib, status) in [(12, 204), (20, 431)] {
            let cookie = "c".repeat(kib << 10);
            let mut headers: Vec<_> = protocol.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
            headers.push(("cookie", &cookie));
            let mut connection = gateway.raw().await;
            connection.write(&raw::request("POST", "/api/v1/write", &headers, &body)).await.unwrap();
            assert_eq!(connection.answer(PATIENCE).await.unwrap().status, status, "{kib} KiB");
        }
        gateway.settle_and_finish().await;
    });
}
