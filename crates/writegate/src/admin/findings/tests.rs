//! One planted situation each, and which of several comes first.

use super::super::api::{Kept, Progress, TenantStatus};
use super::*;

fn row(tenant: &str, endpoint: &str) -> EndpointStatus {
    EndpointStatus {
        tenant: tenant.to_owned(),
        endpoint: endpoint.to_owned(),
        url: String::new(),
        state: "active".to_owned(),
        delivered_samples_per_second: 0.0,
        accepted_samples: 0,
        delivered_samples: 0,
        pending_samples: 0,
        dropped_samples: 0,
        dead_lettered_samples: 0,
        expired_samples: 0,
        lag_seconds: 0.0,
        oldest_unsent_age_seconds: 0.0,
        in_flight: 0,
        concurrency_limit: 32,
        held: None,
        last_error: None,
        last_refusal: None,
        dead_letters: 0,
        searching: false,
        growing: Vec::new(),
        balances: true,
    }
}

fn down(tenant: &str, endpoint: &str, lag: f64, pending: u64) -> EndpointStatus {
    let last_error = Some(format!("cannot connect, says {tenant}"));
    EndpointStatus { last_error, lag_seconds: lag, pending_samples: pending, ..row(tenant, endpoint) }
}

fn tenant(name: &str) -> TenantStatus {
    TenantStatus {
        tenant: name.to_owned(),
        received_samples_per_second: 0.0,
        received_samples: 0,
        accepted_samples: 0,
        refused_samples: 0,
        refused: BTreeMap::new(),
        limited_requests: BTreeMap::new(),
        active_series: 0,
        log_bytes: 0,
        head: 0,
        oldest: 0,
        limited_lately: Vec::new(),
        not_kept: None,
        damaged_records: 0,
    }
}

fn status(endpoints: Vec<EndpointStatus>) -> Status {
    let configured = |endpoint: &EndpointStatus| ConfiguredEndpoint {
        name: endpoint.endpoint.clone(),
        url: String::new(),
        held: Vec::new(),
        up: true,
        tls_error: None,
    };
    Status {
        version: String::new(),
        ready: true,
        last_reload_error: None,
        tenants: vec![tenant("blue")],
        configured: endpoints.iter().map(configured).collect(),
        endpoints,
        dead_letters: Kept { count: 0, bytes: 0 },
        findings: Vec::new(),
    }
}

fn replay(id: u64) -> Replay {
    let accepted_samples = 4;
    Replay {
        id,
        tenant: "blue".to_owned(),
        endpoint: "a".to_owned(),
        state: "running".to_owned(),
        endpoint_removed: false,
        from: String::new(),
        to: String::new(),
        begun: String::new(),
        rate: None,
        last_refusal: None,
        progress: Progress {
            accepted_samples,
            done_samples: 1,
            delivered_samples: 1,
            undelivered_samples: BTreeMap::new(),
            fraction: 0.25,
        },
    }
}

fn kinds(status: &Status) -> Vec<FindingKind> {
    findings(status, &[]).iter().map(|finding| finding.kind).collect()
}

fn first(status: &Status) -> Finding {
    findings(status, &[]).swap_remove(0)
}

#[test]
fn where_nothing_is_wrong_that_is_what_is_said() {
    let mut well = status(vec![row("blue", "a")]);
    assert_eq!(kinds(&well), [FindingKind::Well]);
    assert_eq!(first(&well).what, "All is well: every endpoint takes its data, none is more than 0.0s behind.");
    well.endpoints.clear();
    assert_eq!(kinds(&well), [FindingKind::NothingYet]);
    well.configured.clear();
    assert_eq!(kinds(&well), [FindingKind::NoEndpoint]);
}

#[test]
fn an_endpoint_that_is_down_for_many_tenants_is_one_finding_with_the_words_of_who_waits_longest() {
    let rows = vec![down("blue", "a", 70.0, 1_000), down("green", "a", 300.0, 500), down("red", "a", 10.0, 1)];
    let finding = first(&status(rows));
    assert_eq!(
        finding.what,
        "a is down for blue and 2 other tenants: 1.5k samples wait in the log, the oldest for 5m."
    );
    assert_eq!((finding.severity, finding.whose.as_str()), (Severity::Bad, "Whoever runs a."));
    assert_eq!(finding.words.as_deref(), Some("cannot connect, says green"));
    assert_eq!((finding.tenant, finding.endpoint.as_deref()), (None, Some("a")));
    let finding = first(&status(vec![down("blue", "a", 10.0, 1)]));
    assert_eq!((finding.severity, finding.tenant.as_deref()), (Severity::Warning, Some("blue")), "it may pass");
}

#[test]
fn the_worst_comes_first_and_of_a_kind_what_concerns_the_most_data() {
    let mut all = status(vec![
        down("blue", "less", 100.0, 1),
        down("blue", "more", 100.0, 2),
        EndpointStatus { held: Some(401), last_error: Some("who?".to_owned()), ..row("blue", "held") },
        EndpointStatus { growing: Growing::ALL.to_vec(), dead_letters: 3, ..row("blue", "losing") },
        EndpointStatus { balances: false, ..row("blue", "odd") },
        EndpointStatus { searching: true, ..row("blue", "searching") },
        EndpointStatus { lag_seconds: 61.0, ..row("blue", "behind") },
        EndpointStatus { dead_letters: 3, ..row("blue", "kept") },
        EndpointStatus { state: "removed".to_owned(), ..down("blue", "removed", 100.0, 9) },
    ]);
    all.last_reload_error = Some("line 3".to_owned());
    all.configured[0].tls_error = Some("expired".to_owned());
    all.tenants[0].not_kept = Some("no room".to_owned());
    all.tenants[0].damaged_records = 1;
    all.tenants[0].limited_lately = vec!["samples_per_second".to_owned()];
    let findings = findings(&all, &[replay(3)]);
    let kinds: Vec<_> = findings.iter().map(|finding| finding.kind).collect();
    use FindingKind as Kind;
    let bad = [
        Kind::Books,
        Kind::NotKept,
        Kind::Expiring,
        Kind::Held,
        Kind::Down,
        Kind::Down,
        Kind::Dropping,
        Kind::Refusing,
    ];
    let warnings = [Kind::Damaged, Kind::ReloadFailed, Kind::Searching, Kind::Behind, Kind::Limited, Kind::TlsFiles];
    let notes = [Kind::Replaying, Kind::DeadLetters];
    assert_eq!(kinds, [&bad[..], &warnings, &notes].concat());
    assert!(findings[4].what.starts_with("more is down") && findings[5].what.starts_with("less is down"));
    assert!(findings[3].whose.contains("the credential is not taken"), "{:?}", findings[3]);
    assert!(!findings.iter().any(|finding| finding.endpoint.as_deref() == Some("removed")));
    assert!(findings[14].what.contains("25 % done"), "{:?}", findings[14]);
}

#[test]
fn however_much_is_wrong_so_much_is_told() {
    let rows = (0..1_000).map(|number| down("blue", &format!("e{number}"), 100.0, number)).collect();
    let told = findings(&status(rows), &[]);
    assert_eq!((told.len(), told[0].endpoint.as_deref()), (MOST, Some("e999")));
}
