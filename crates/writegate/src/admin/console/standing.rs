//! How a tenant at an endpoint is doing, in one word; what many of them are doing together.

use std::collections::BTreeMap;

use maud::{Markup, html};

use super::super::api::{EndpointStatus, Growing, TenantStatus};
use super::super::findings::BEHIND_SECONDS;
use super::Snapshot;

/// In one word, the worst first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Standing {
    /// Its configuration is at fault.
    Held(u16),
    /// What is pushed is not kept.
    NotKept,
    Down,
    /// It gets no data, or not all of it, for good.
    Losing,
    Refusing,
    Searching,
    Behind,
    Limited,
    Well,
    /// No longer configured.
    Removed,
    Idle,
}

impl Standing {
    pub(super) fn of(row: &EndpointStatus) -> Self {
        if row.state != "active" {
            return Self::Removed;
        }
        match (row.held, &row.last_error) {
            (Some(status), _) => Self::Held(status),
            (None, Some(_)) => Self::Down,
            (None, None) if row.growing.iter().any(|fate| *fate != Growing::DeadLettered) => Self::Losing,
            (None, None) if row.growing.contains(&Growing::DeadLettered) => Self::Refusing,
            (None, None) if row.searching => Self::Searching,
            (None, None) if row.lag_seconds > BEHIND_SECONDS => Self::Behind,
            (None, None) => Self::Well,
        }
    }

    pub(super) fn word(self) -> String {
        match self {
            Self::Held(status) => return format!("held ({status})"),
            Self::NotKept => "not kept",
            Self::Down => "down",
            Self::Losing => "losing data",
            Self::Refusing => "refuses data",
            Self::Searching => "searching",
            Self::Behind => "behind",
            Self::Limited => "over its limit",
            Self::Well => "well",
            Self::Removed => "removed",
            Self::Idle => "nothing yet",
        }
        .to_owned()
    }

    /// The class of what shows it: a colour and a shape.
    pub(super) const fn tone(self) -> &'static str {
        match self {
            Self::Held(_) | Self::NotKept | Self::Down | Self::Losing | Self::Refusing => "bad",
            Self::Searching | Self::Behind | Self::Limited => "warning",
            Self::Well => "good",
            Self::Removed | Self::Idle => "note",
        }
    }

    /// The word behind a mark whose shape says the same as its colour.
    pub(super) fn show(self) -> Markup {
        show(self.tone(), &self.word())
    }
}

pub(super) fn show(tone: &str, word: &str) -> Markup {
    html! { span class={ "standing " (tone) } { (mark(tone)) (word) } }
}

/// ✕, ▲, ●, ○.
pub(super) fn mark(tone: &str) -> Markup {
    let shape = match tone {
        "bad" => "\u{2715}",
        "warning" => "\u{25b2}",
        "good" => "\u{25cf}",
        _ => "\u{25cb}",
    };
    html! { span.mark aria-hidden="true" { (shape) } }
}

/// An endpoint over all its tenants.
#[derive(Clone, Debug)]
pub(super) struct EndpointSum<'s> {
    pub(super) name: &'s str,
    pub(super) url: &'s str,
    pub(super) rows: Vec<&'s EndpointStatus>,
    pub(super) standing: Standing,
    pub(super) rate: f64,
    pub(super) lag: f64,
    pub(super) pending: u64,
    pub(super) letters: u64,
    pub(super) in_flight: usize,
    pub(super) limit: usize,
}

/// A tenant over all its endpoints.
#[derive(Clone, Debug)]
pub(super) struct TenantSum<'s> {
    pub(super) status: &'s TenantStatus,
    pub(super) rows: Vec<&'s EndpointStatus>,
    /// The worst of its own and its endpoints'.
    pub(super) standing: Standing,
    /// Its own: what is pushed.
    own: Standing,
    /// Endpoints that do not get all its data in time.
    troubled: usize,
    /// The largest of its endpoints' lags.
    pub(super) lag: f64,
}

impl TenantSum<'_> {
    /// Its own trouble, or else how many of its endpoints have some.
    pub(super) fn word(&self) -> String {
        match (self.own, self.troubled) {
            (Standing::Well, 0) => self.own.word(),
            (Standing::Well, troubled) => format!("{troubled} of {} in trouble", self.rows.len()),
            (own, _) => own.word(),
        }
    }

    pub(super) fn show(&self) -> Markup {
        show(self.standing.tone(), &self.word())
    }
}

impl Snapshot {
    /// All endpoints: those in trouble first, then by rate.
    pub(super) fn endpoint_sums(&self) -> Vec<EndpointSum<'_>> {
        let mut sums: BTreeMap<&str, EndpointSum<'_>> = BTreeMap::new();
        for endpoint in &self.status.configured {
            sums.insert(&endpoint.name, empty(&endpoint.name, &endpoint.url));
        }
        for row in &self.status.endpoints {
            let sum = sums.entry(&row.endpoint).or_insert_with(|| empty(&row.endpoint, &row.url));
            sum.rows.push(row);
            let standing = Standing::of(row);
            sum.standing = if sum.standing == Standing::Idle { standing } else { sum.standing.min(standing) };
            sum.rate += row.delivered_samples_per_second;
            sum.lag = sum.lag.max(row.lag_seconds);
            sum.pending += row.pending_samples;
            sum.letters += row.dead_letters;
            (sum.in_flight, sum.limit) = (row.in_flight, row.concurrency_limit);
        }
        let mut sums: Vec<_> = sums.into_values().collect();
        sums.sort_by(|a, b| a.standing.cmp(&b.standing).then(b.rate.total_cmp(&a.rate)));
        sums
    }

    /// All tenants: those in trouble first, then by rate.
    pub(super) fn tenant_sums(&self) -> Vec<TenantSum<'_>> {
        let mut rows: BTreeMap<&str, Vec<&EndpointStatus>> = BTreeMap::new();
        for row in &self.status.endpoints {
            rows.entry(&row.tenant).or_default().push(row);
        }
        let sum = |status| tenant_sum(status, rows.remove(status.tenant.as_str()).unwrap_or_default());
        let mut sums: Vec<_> = self.status.tenants.iter().map(sum).collect();
        let rate = |sum: &TenantSum<'_>| sum.status.received_samples_per_second;
        sums.sort_by(|a, b| a.standing.cmp(&b.standing).then(rate(b).total_cmp(&rate(a))));
        sums
    }
}

fn empty<'s>(name: &'s str, url: &'s str) -> EndpointSum<'s> {
    let (rate, lag, pending, letters, in_flight, limit) = (0.0, 0.0, 0, 0, 0, 0);
    let (rows, standing) = (Vec::new(), Standing::Idle);
    EndpointSum { name, url, rows, standing, rate, lag, pending, letters, in_flight, limit }
}

fn tenant_sum<'s>(status: &'s TenantStatus, rows: Vec<&'s EndpointStatus>) -> TenantSum<'s> {
    let active = || rows.iter().filter(|row| row.state == "active");
    let own = match status {
        TenantStatus { not_kept: Some(_), .. } => Standing::NotKept,
        TenantStatus { limited_lately, .. } if !limited_lately.is_empty() => Standing::Limited,
        _ => Standing::Well,
    };
    let standing = active().map(|row| Standing::of(row)).fold(own, Ord::min);
    let troubled = active().filter(|row| Standing::of(row) != Standing::Well).count();
    let lag = active().map(|row| row.lag_seconds).fold(0.0, f64::max);
    TenantSum { status, rows, standing, own, troubled, lag }
}
