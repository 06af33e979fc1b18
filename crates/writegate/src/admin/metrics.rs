//! The `/metrics` page, rendered from the counters and books where they live: there is no registry to keep in step.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};

use remote_write::Counts;

use super::exposition::{Kind, Page};
use super::process;
use super::status::letters_of;
use crate::allowance::Limit;
use crate::app::App;
use crate::delivery::Endpoint;
use crate::ingest::Reason;
use crate::ledger::{Balance, ReplayState, Row};
use crate::tenant::Tenant;

/// Renders the page.
pub(super) fn page(app: &App) -> String {
    let mut page = Page::default();
    process(&mut page, app);
    ingest(&mut page, app);
    providers(&mut page, app);
    log(&mut page, app);
    let with_balance = |row: Arc<Row>| {
        let balance = row.balance();
        (row, balance)
    };
    // A replay delivers once more what has been counted: it has books of its own.
    let is_replay = |(_, balance): &(Arc<Row>, Balance)| balance.books.plan.is_some();
    let (replayed, rows): (Vec<_>, Vec<_>) =
        app.engine.deliveries.rows().into_iter().map(with_balance).partition(is_replay);
    ledger(&mut page, app, &rows);
    dead_letters(&mut page, app, &rows);
    remote_storage(&mut page, app, &rows);
    endpoints(&mut page, app);
    replays(&mut page, app, &replayed);
    page.finish()
}

fn process(page: &mut Page, app: &App) {
    page.family("writegate_build_info", Kind::Gauge, "The version that runs.");
    page.sample(&[("version", env!("CARGO_PKG_VERSION"))], 1);
    resources(page, app);
    let reload = app.last_reload();
    page.family("writegate_config_last_reload_successful", Kind::Gauge, "Whether the last reload was valid.");
    page.sample(&[], u8::from(reload.error.is_none()));
    page.family(
        "writegate_config_last_reload_success_timestamp_seconds",
        Kind::Gauge,
        "When a configuration was last taken over.",
    );
    page.sample(&[], seconds(reload.succeeded_ms));
}

/// What every program tells of itself, under the names that every program has for it. What the system does not say is left out.
fn resources(page: &mut Page, app: &App) {
    page.family("process_start_time_seconds", Kind::Gauge, "When the gateway was started, in seconds since 1970.");
    page.sample(&[], seconds(app.started_ms));
    page.family("process_cpu_seconds_total", Kind::Counter, "User and system CPU time.");
    page.sample(&[], process::cpu_seconds());
    let sizes = [
        ("process_resident_memory_bytes", "Resident memory.", "VmRSS:"),
        ("process_virtual_memory_bytes", "Virtual memory.", "VmSize:"),
    ];
    for (name, help, field) in sizes {
        if let Some(bytes) = process::status_bytes(field) {
            page.family(name, Kind::Gauge, help);
            page.sample(&[], bytes);
        }
    }
    if let Some(open) = process::open_files() {
        page.family("process_open_fds", Kind::Gauge, "Open file descriptors.");
        page.sample(&[], open);
    }
    if let Some(most) = process::max_files() {
        page.family("process_max_fds", Kind::Gauge, "File descriptors that may be open.");
        page.sample(&[], most);
    }
    let help = "When certificates that are served end, in seconds since 1970.";
    page.family("writegate_certificate_expiry_timestamp_seconds", Kind::Gauge, help);
    for (address, end) in app.expiries.load().iter() {
        let (address, file) = (address.to_string(), end.file.display().to_string());
        page.sample(&[("address", &address), ("file", &file)], end.at);
    }
}

#[expect(clippy::cast_precision_loss, reason = "milliseconds of this age are exact in a float")]
fn seconds(milliseconds: i64) -> f64 {
    milliseconds as f64 / 1e3
}

/// The kinds of data points, as they stand in metric names.
const KINDS: [&str; 3] = ["samples", "histograms", "exemplars"];

/// The counts in the order of [`KINDS`].
const fn by_kind(counts: Counts) -> [u64; 3] {
    [counts.samples, counts.histograms, counts.exemplars]
}

/// A family for each kind of data point: `{}` in the name stands for it.
fn families(page: &mut Page, name: &str, kind: Kind, help: &str, mut samples: impl FnMut(&mut Page, usize)) {
    for (index, what) in KINDS.into_iter().enumerate() {
        page.family(&name.replace("{}", what), kind, &help.replace("{}", what));
        samples(page, index);
    }
}

fn ingest(page: &mut Page, app: &App) {
    page.family("writegate_push_requests_total", Kind::Counter, "Requests of senders by the status they got.");
    for (code, count) in app.push_stats.answers() {
        page.sample(&[("code", &code.to_string())], count);
    }
    page.family("writegate_push_refusals_total", Kind::Counter, "Requests refused in whole or in part, by reason.");
    for (reason, count) in app.push_stats.refusals() {
        page.sample(&[("reason", reason.as_str())], count);
    }
    page.family("writegate_push_seconds", Kind::Histogram, "From a push's header to its acknowledgement.");
    page.histogram(&[], app.push_stats.seconds.read());
    page.family("writegate_taps", Kind::Gauge, "Open taps: those who look at what passes by.");
    page.sample(&[], app.taps.load(Ordering::Relaxed));
    page.family("writegate_connections", Kind::Gauge, "Open connections of senders.");
    page.sample(&[], app.push_stats.connections.load(Ordering::Relaxed));
    let help = "Connections that could not be accepted: no file descriptor was left, most likely.";
    page.family("writegate_accept_failures_total", Kind::Counter, help);
    page.sample(&[], app.push_stats.accept_failures.load(Ordering::Relaxed));
    let help = "Connections closed at once: from outside of `allow`, or too many from one address.";
    page.family("writegate_closed_connections_total", Kind::Counter, help);
    let closed = [("not_allowed", &app.push_stats.not_allowed), ("too_many", &app.push_stats.too_many_of_one)];
    for (reason, count) in closed {
        page.sample(&[("reason", reason)], count.load(Ordering::Relaxed));
    }
    let help = "TLS handshakes of listeners that did not come to their end";
    page.family("writegate_tls_handshake_failures_total", Kind::Counter, help);
    page.sample(&[], app.push_stats.handshake_failures.load(Ordering::Relaxed));
    let (authentication, help) =
        (app.authentication.load(), "Credentials checked in full: nothing was remembered of them.");
    page.family("writegate_credential_checks_total", Kind::Counter, help);
    for (kind, count) in [("token", &authentication.checks().tokens), ("password", &authentication.checks().passwords)]
    {
        page.sample(&[("kind", kind)], count.load(Ordering::Relaxed));
    }

    let tenants = app.engine.tenants.list();
    limits(page, &tenants);
    let mut per_tenant = |name, help, read: &dyn Fn(&Tenant) -> Counts| {
        families(page, name, Kind::Counter, help, |page, index| {
            for tenant in &tenants {
                page.sample(&[("tenant", tenant.name.as_str())], by_kind(read(tenant))[index]);
            }
        });
    };
    per_tenant("writegate_received_{}_total", "Received {}, whatever became of them.", &|tenant| {
        tenant.received_counts()
    });
    per_tenant("writegate_accepted_{}_total", "Durable {}.", &|tenant| tenant.accepted_counts());
    families(page, "writegate_refused_{}_total", Kind::Counter, "Refused {}, by reason.", |page, index| {
        for tenant in &tenants {
            for reason in Reason::ALL {
                let labels = [("tenant", tenant.name.as_str()), ("reason", reason.as_str())];
                page.sample(&labels, by_kind(tenant.refused(reason).get())[index]);
            }
        }
    });
    let accepted = tenants.iter().fold(Counts::default(), |sum, tenant| sum + tenant.accepted_counts());
    families(
        page,
        "prometheus_remote_storage_{}_in_total",
        Kind::Counter,
        "Accepted {}, all tenants.",
        |page, index| {
            page.sample(&[], by_kind(accepted)[index]);
        },
    );
    page.family(
        "prometheus_remote_storage_highest_timestamp_in_seconds",
        Kind::Gauge,
        "Highest timestamp accepted, over all tenants.",
    );
    page.sample(&[], tenants.iter().filter_map(|tenant| tenant.highest_timestamp()).max().map_or(0.0, seconds));
}

/// What tenants may send, how much of it they do, and which limits they met.
fn limits(page: &mut Page, tenants: &[Arc<Tenant>]) {
    let help =
        "Series of a tenant that were seen in the last 10 to 20 minutes; without a limit on them with an error of 2 %.";
    page.family("writegate_active_series", Kind::Gauge, help);
    for tenant in tenants {
        page.sample(&[("tenant", tenant.name.as_str())], tenant.allowance.active_series());
    }
    page.family("writegate_tenant_connections", Kind::Gauge, "Open connections whose last request was a tenant's.");
    for tenant in tenants {
        page.sample(&[("tenant", tenant.name.as_str())], tenant.allowance.connections());
    }
    let help = "Bytes of a tenant's requests that are being received, or wait for the disk.";
    page.family("writegate_receiving_bytes", Kind::Gauge, help);
    for tenant in tenants {
        page.sample(&[("tenant", tenant.name.as_str())], tenant.receiving_bytes());
    }
    deltas(page, tenants);
    page.family("writegate_tenant_limit", Kind::Gauge, "What a tenant may send, where it is limited.");
    for tenant in tenants {
        let limits = tenant.limits();
        for (limit, value) in [
            ("samples_per_second", limits.samples_per_second),
            ("bytes_per_second", limits.bytes_per_second),
            ("requests_per_second", limits.requests_per_second),
            ("active_series", limits.active_series.into()),
            ("connections", limits.connections.into()),
        ] {
            if value > 0 {
                page.sample(&[("tenant", tenant.name.as_str()), ("limit", limit)], value);
            }
        }
    }
    let help = "Requests that were refused for a limit of their tenant, in whole or in part.";
    page.family("writegate_limited_requests_total", Kind::Counter, help);
    for tenant in tenants {
        for limit in Limit::ALL {
            let labels = [("tenant", tenant.name.as_str()), ("limit", limit.key())];
            page.sample(&labels, tenant.allowance.refused(limit));
        }
    }
}

/// What tenants' deltas came to.
fn deltas(page: &mut Page, tenants: &[Arc<Tenant>]) {
    let all: Vec<_> = tenants
        .iter()
        .map(|tenant| {
            let totals = tenant.allowance.deltas().lock().unwrap_or_else(PoisonError::into_inner);
            (tenant.name.as_str(), [totals.streams() as u64, totals.bytes(), totals.evicted()])
        })
        .collect();
    for (index, (name, kind, help)) in [
        ("writegate_delta_streams", Kind::Gauge, "Streams whose deltas are added up."),
        ("writegate_delta_bytes", Kind::Gauge, "Memory of the running totals of deltas, about."),
        (
            "writegate_delta_streams_evicted_total",
            Kind::Counter,
            "Streams forgotten because no delta came for too long.",
        ),
    ]
    .into_iter()
    .enumerate()
    {
        page.family(name, kind, help);
        for (tenant, values) in &all {
            page.sample(&[("tenant", tenant)], values[index]);
        }
    }
}

/// Who publishes the keys of tokens.
fn providers(page: &mut Page, app: &App) {
    let providers = app.authentication.load().providers();
    page.family(
        "writegate_key_fetches_total",
        Kind::Counter,
        "Fetches of the keys of tokens from those who publish them.",
    );
    for (provider, standing) in &providers {
        for (result, count) in [("success", standing.fetched), ("failure", standing.failed)] {
            page.sample(&[("provider", provider), ("result", result)], count);
        }
    }
    let help = "When the keys of tokens were last fetched; 0 if never.";
    page.family("writegate_key_fetch_last_success_timestamp_seconds", Kind::Gauge, help);
    for (provider, standing) in &providers {
        page.sample(&[("provider", provider)], seconds(standing.last_success_ms));
    }
}

fn log(page: &mut Page, app: &App) {
    page.family("writegate_log_bytes", Kind::Gauge, "Bytes of a tenant's log on disk.");
    let tenants = app.engine.tenants.list();
    for tenant in &tenants {
        page.sample(&[("tenant", tenant.name.as_str())], tenant.log.bytes());
    }
    page.family("writegate_log_max_bytes", Kind::Gauge, "Bytes that a tenant's log may take: log.max_size.");
    for tenant in &tenants {
        page.sample(&[("tenant", tenant.name.as_str())], tenant.log.max_size());
    }
    let (store, limits) = (&app.engine.store, app.engine.store.limits());
    page.family("writegate_log_total_bytes", Kind::Gauge, "Bytes of all logs on disk, written ahead included.");
    page.sample(&[], store.disk_bytes());
    page.family("writegate_log_total_max_bytes", Kind::Gauge, "Bytes that all logs may take: log.max_total_size.");
    page.sample(&[], limits.max_total);
    if let Ok(free) = store.free_space() {
        page.family("writegate_log_free_bytes", Kind::Gauge, "Bytes free on the file system of the log.");
        page.sample(&[], free);
    }
    page.family("writegate_log_min_free_bytes", Kind::Gauge, "Bytes that are to stay free there: log.min_free.");
    page.sample(&[], limits.min_free);
    page.family("writegate_log_damaged_records_total", Kind::Counter, "Records found damaged on disk.");
    for tenant in &tenants {
        page.sample(&[("tenant", tenant.name.as_str())], tenant.log.damaged_records());
    }
    let commits = app.engine.store.commit_stats();
    page.family("writegate_fsync_seconds", Kind::Histogram, "How long the log's syncs took.");
    let mut buckets: Vec<_> = segment_log::SYNC_BUCKETS.into_iter().zip(commits.sync_buckets).collect();
    buckets.push((f64::INFINITY, commits.commits));
    page.histogram(&[], (buckets, commits.sync_seconds));
    page.family("writegate_log_commit_failures_total", Kind::Counter, "Writes or syncs of the log that failed.");
    page.sample(&[], commits.failures);
    page.family("writegate_log_written_bytes_total", Kind::Counter, "Bytes appended to logs.");
    page.sample(&[], commits.bytes);
}

fn ledger(page: &mut Page, app: &App, rows: &[(Arc<Row>, Balance)]) {
    let mut per_row = |name, kind, help, read: &dyn Fn(&Balance) -> Counts| {
        families(page, name, kind, help, |page, index| {
            for (row, balance) in rows {
                page.sample(&row_labels(row), by_kind(read(balance))[index]);
            }
        });
    };
    per_row("writegate_delivered_{}_total", Kind::Counter, "Accepted {} that an endpoint took.", &|balance| {
        balance.books.delivered
    });
    per_row(
        "writegate_expired_{}_total",
        Kind::Counter,
        "Accepted {} that left the log too early, or were older than max_age.",
        &|balance| balance.expired,
    );
    per_row("writegate_pending_{}", Kind::Gauge, "Accepted {} that an endpoint is still to get.", &|balance| {
        balance.pending
    });
    let help = "Accepted {} that an endpoint will not get, by reason.";
    families(page, "writegate_dropped_{}_total", Kind::Counter, help, |page, index| {
        for (row, balance) in rows {
            let [tenant, endpoint] = row_labels(row);
            for total in &balance.books.dropped {
                page.sample(&[tenant, endpoint, ("reason", &total.reason)], by_kind(total.counts)[index]);
            }
        }
    });
    let help = "1 while the books of a tenant at an endpoint do not balance: never, unless they are damaged.";
    page.family("writegate_ledger_unbalanced", Kind::Gauge, help);
    for (row, balance) in rows {
        page.sample(&row_labels(row), u8::from(!balance.balances()));
    }
    page.family(
        "writegate_oldest_unsent_age_seconds",
        Kind::Gauge,
        "Age of the oldest record an endpoint is still to get; 0 if there is none.",
    );
    for (row, _) in rows.iter().filter(|(row, _)| row.is_active()) {
        let age = app.oldest_unsent_age(row).map_or(0.0, |age| age.as_secs_f64());
        page.sample(&row_labels(row), age);
    }
}

fn dead_letters(page: &mut Page, app: &App, rows: &[(Arc<Row>, Balance)]) {
    let help =
        "Accepted {} that an endpoint refused for good, by reason, also those that are no dead letters any more.";
    families(page, "writegate_dead_letter_{}_total", Kind::Counter, help, |page, index| {
        for (row, balance) in rows {
            let [tenant, endpoint] = row_labels(row);
            for total in &balance.books.dead_lettered {
                let ever = by_kind(total.counts + total.left)[index];
                page.sample(&[tenant, endpoint, ("reason", &total.reason)], ever);
            }
        }
    });
    let kept = app.engine.deliveries.dead_letters().totals();
    page.family("writegate_dead_letters", Kind::Gauge, "Dead letters kept.");
    for (row, _) in rows {
        page.sample(&row_labels(row), letters_of(&kept, row));
    }
    page.family("writegate_dead_letter_bytes", Kind::Gauge, "What all dead letters take on disk.");
    page.sample(&[], app.engine.deliveries.dead_letters().size().1);
}

/// By endpoint: the ids of replays are no labels, there would be ever more of them.
fn replays(page: &mut Page, app: &App, rows: &[(Arc<Row>, Balance)]) {
    let is_running = |(_, balance): &&(Arc<Row>, Balance)| {
        balance.books.plan.as_ref().is_some_and(|plan| plan.state == ReplayState::Running)
    };
    let mut running: BTreeMap<String, (u64, Counts)> = BTreeMap::new();
    for endpoint in app.engine.deliveries.endpoints() {
        running.insert(endpoint.config.name.clone(), Default::default());
    }
    for (row, balance) in rows.iter().filter(is_running) {
        let (replays, pending) = running.entry(row.endpoint.clone()).or_default();
        *replays += 1;
        *pending += balance.pending;
    }
    page.family("writegate_replays_running", Kind::Gauge, "Replays to the endpoint that have not ended.");
    for (endpoint, (replays, _)) in &running {
        page.sample(&[("endpoint", endpoint)], *replays);
    }
    families(page, "writegate_replay_pending_{}", Kind::Gauge, "Replayed {} still to be sent.", |page, index| {
        for (endpoint, (_, pending)) in &running {
            page.sample(&[("endpoint", endpoint)], by_kind(*pending)[index]);
        }
    });
}

fn row_labels(row: &Row) -> [(&'static str, &str); 2] {
    [("tenant", row.tenant.as_str()), ("endpoint", row.endpoint.as_str())]
}

/// Prometheus' own names, so that the stock alerts and dashboards work (its mixin, `queue_manager.go`).
fn remote_storage(page: &mut Page, app: &App, rows: &[(Arc<Row>, Balance)]) {
    let endpoints = app.engine.deliveries.endpoints();
    let mut pending: BTreeMap<&str, Counts> = BTreeMap::new();
    for (row, balance) in rows.iter().filter(|(row, _)| row.is_active()) {
        *pending.entry(&row.endpoint).or_default() += balance.pending;
    }
    let pending = |endpoint: &Endpoint| pending.get(endpoint.config.name.as_str()).copied().unwrap_or_default();
    let highest_in = app.engine.tenants.list().iter().filter_map(|tenant| tenant.highest_timestamp()).max();

    let mut counts = |name, kind, help, read: &dyn Fn(&Endpoint) -> Counts| {
        families(page, name, kind, help, |page, index| {
            for endpoint in &endpoints {
                let count = by_kind(read(endpoint))[index];
                page.sample(&labels(endpoint, &endpoint.config.url.redacted()), count);
            }
        });
    };
    counts("prometheus_remote_storage_{}_total", Kind::Counter, "Sent {}, per attempt.", &|endpoint| {
        endpoint.stats.sent.get()
    });
    counts("prometheus_remote_storage_{}_failed_total", Kind::Counter, "Refused {}, for good.", &|endpoint| {
        endpoint.stats.failed.get()
    });
    counts("prometheus_remote_storage_{}_retried_total", Kind::Counter, "Sent {}, once more.", &|endpoint| {
        endpoint.stats.retried.get()
    });
    counts("prometheus_remote_storage_{}_pending", Kind::Gauge, "Accepted {} still to be sent.", &pending);
    dropped(page, &endpoints, rows);
    gauges(page, &endpoints, highest_in);
}

fn labels<'l>(endpoint: &'l Endpoint, url: &'l str) -> [(&'static str, &'l str); 2] {
    [("remote_name", endpoint.config.name.as_str()), ("url", url)]
}

fn dropped(page: &mut Page, endpoints: &[Arc<Endpoint>], rows: &[(Arc<Row>, Balance)]) {
    let name = "prometheus_remote_storage_{}_dropped_total";
    families(page, name, Kind::Counter, "Accepted {} that will not be sent, by reason.", |page, index| {
        for endpoint in endpoints {
            let mut reasons: BTreeMap<&str, u64> = BTreeMap::new();
            for (_, balance) in rows.iter().filter(|(row, _)| row.endpoint == endpoint.config.name) {
                for total in &balance.books.dropped {
                    *reasons.entry(&total.reason).or_default() += by_kind(total.counts)[index];
                }
            }
            let url = endpoint.config.url.redacted();
            let [name, url] = labels(endpoint, &url);
            for (reason, count) in reasons {
                page.sample(&[name, url, ("reason", reason)], count);
            }
        }
    });
}

fn gauges(page: &mut Page, endpoints: &[Arc<Endpoint>], highest_in: Option<i64>) {
    let mut each = |name, kind, help: &str, read: &dyn Fn(&Endpoint) -> f64| {
        page.family(name, kind, help);
        for endpoint in endpoints {
            page.sample(&labels(endpoint, &endpoint.config.url.redacted()), read(endpoint));
        }
    };
    #[expect(clippy::cast_precision_loss, reason = "counts for a graph")]
    let number = |n: usize| n as f64;
    #[expect(clippy::cast_precision_loss, reason = "counts for a graph")]
    let total = |n: u64| n as f64;
    let limit = |endpoint: &Endpoint| number(endpoint.concurrency().1);
    each("prometheus_remote_storage_bytes_total", Kind::Counter, "Bytes of bodies sent, compressed.", &|endpoint| {
        total(endpoint.stats.bytes.load(Ordering::Relaxed))
    });
    each("prometheus_remote_storage_metadata_total", Kind::Counter, "Metadata entries sent.", &|endpoint| {
        total(endpoint.stats.metadata.load(Ordering::Relaxed))
    });
    each(
        "prometheus_remote_storage_queue_highest_timestamp_seconds",
        Kind::Gauge,
        "Highest timestamp accepted for the endpoint.",
        &|_| highest_in.map_or(0.0, seconds),
    );
    each(
        "prometheus_remote_storage_queue_highest_sent_timestamp_seconds",
        Kind::Gauge,
        "Highest timestamp the endpoint took.",
        &|endpoint| match endpoint.stats.highest_sent_ms.load(Ordering::Relaxed) {
            i64::MIN => 0.0,
            highest => seconds(highest),
        },
    );
    each("prometheus_remote_storage_shards", Kind::Gauge, "Requests in flight.", &|endpoint| {
        number(endpoint.stats.in_flight.load(Ordering::Relaxed))
    });
    each("prometheus_remote_storage_shards_min", Kind::Gauge, "Fewest requests at once.", &|_| 0.0);
    each("prometheus_remote_storage_shards_max", Kind::Gauge, "Most requests at once.", &limit);
    each("prometheus_remote_storage_shards_desired", Kind::Gauge, "Requests at once that the load asks for.", &|e| {
        number(e.stats.in_flight.load(Ordering::Relaxed))
    });
    each("prometheus_remote_storage_shard_capacity", Kind::Gauge, "Samples a request may carry.", &|endpoint| {
        f64::from(endpoint.config.queue.max_samples_per_send)
    });
    each("prometheus_remote_storage_max_samples_per_send", Kind::Gauge, "Samples a request may carry.", &|endpoint| {
        f64::from(endpoint.config.queue.max_samples_per_send)
    });
    page.family(
        "prometheus_remote_storage_sent_batch_duration_seconds",
        Kind::Histogram,
        "How long requests to the endpoint took.",
    );
    for endpoint in endpoints {
        page.histogram(&labels(endpoint, &endpoint.config.url.redacted()), endpoint.stats.batch_seconds.read());
    }
}

/// What operators alert on, by our own names, and Observatorium's request counter under both of its names.
fn endpoints(page: &mut Page, app: &App) {
    let endpoints = app.engine.deliveries.endpoints();
    for name in ["remote_write_requests_total", "remote_write_requests_count"] {
        page.family(name, Kind::Counter, "Requests to endpoints by status code.");
        for endpoint in &endpoints {
            for (code, count) in endpoint.stats.answers() {
                let code = if code == 0 { "<error>".to_owned() } else { code.to_string() };
                page.sample(&[("code", &code), ("name", &endpoint.config.name)], count);
            }
        }
    }
    page.family("writegate_endpoint_in_flight", Kind::Gauge, "Requests to the endpoint in flight.");
    for endpoint in &endpoints {
        let in_flight = endpoint.stats.in_flight.load(Ordering::Relaxed);
        page.sample(&[("endpoint", &endpoint.config.name)], in_flight);
    }
    page.family("writegate_endpoint_concurrency_limit", Kind::Gauge, "Requests that may be in flight at once.");
    for endpoint in &endpoints {
        page.sample(&[("endpoint", &endpoint.config.name)], endpoint.concurrency().0);
    }
    page.family(
        "writegate_endpoint_held",
        Kind::Gauge,
        "1 while the endpoint's configuration is at fault: its data waits, its owner must act.",
    );
    for endpoint in &endpoints {
        for code in endpoint.health.held() {
            page.sample(&[("endpoint", &endpoint.config.name), ("code", code.as_str())], 1);
        }
    }
    page.family(
        "writegate_endpoint_tls_files_unusable",
        Kind::Gauge,
        "1 while certificate files of the endpoint cannot be used; what was read before stays in use.",
    );
    for endpoint in &endpoints {
        page.sample(&[("endpoint", &endpoint.config.name)], u8::from(endpoint.tls_error().is_some()));
    }
    page.family("writegate_endpoint_up", Kind::Gauge, "Whether the last attempt of each delivery succeeded.");
    for endpoint in &endpoints {
        page.sample(&[("endpoint", &endpoint.config.name)], u8::from(endpoint.health.is_up()));
    }
}
