//! What the gateway has been doing: how fast samples come and go over the last minute, which losses grew lately, and the course
//! of the last hours. Counters are looked at every 15 s, so requests pay nothing, and nothing is written to the disk.
//!
//! Memory is bounded: see [`ROWS`], [`TENANTS`], [`ENDPOINTS`]. What has no place has its rate and no course.

mod course;

use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

pub(super) use self::course::Course;
use self::course::Fold;
use super::api::{Growing, History, HistoryStep};
use super::moment::Utc;
use crate::allowance::Limit;
use crate::app::App;
use crate::clock::now_ms;
use crate::delivery::{Endpoint, EndpointStats};
use crate::ingest::Reason;
use crate::ledger::Row;
use crate::tenant::Tenant;

/// How often counters are looked at.
pub(super) const EVERY: Duration = Duration::from_secs(15);
/// How many looks a rate is made of: a minute of them.
const LOOKS: usize = 5;
/// For so many looks something that grew counts as growing: ten minutes.
const LATELY: usize = 40;

/// Rows (a tenant at an endpoint) whose course is kept, 9.6 KB each.
const ROWS: usize = 256;
/// Tenants whose course is kept, 9.6 KB each.
const TENANTS: usize = 256;
/// Endpoints whose course is kept, 24 KB each.
const ENDPOINTS: usize = 64;

/// Of a tenant at an endpoint: samples delivered a second, lag in seconds.
const OF_ROW: [(&str, Fold); 2] = [("delivered_samples_per_second", Fold::Mean), ("lag_seconds", Fold::Most)];
/// Of a tenant: samples a second.
const OF_TENANT: [(&str, Fold); 2] =
    [("received_samples_per_second", Fold::Mean), ("refused_samples_per_second", Fold::Mean)];
/// Of an endpoint, over all its tenants.
const OF_ENDPOINT: [(&str, Fold); 5] = [
    ("requests_per_second", Fold::Mean),
    ("failed_requests_per_second", Fold::Mean),
    ("answer_seconds", Fold::Most),
    ("in_flight", Fold::Most),
    ("concurrency_limit", Fold::Mean),
];

/// What was seen at the last looks.
#[derive(Debug)]
pub(super) struct Past {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// When, by number of the look modulo [`LOOKS`].
    at: Vec<Instant>,
    /// When the last look was, in milliseconds since 1970.
    last_ms: i64,
    looks: usize,
    tenants: HashMap<String, TenantPast>,
    /// By tenant and endpoint.
    rows: HashMap<String, HashMap<String, RowPast>>,
    endpoints: HashMap<String, EndpointPast>,
    /// How many have a course.
    tenant_courses: usize,
    row_courses: usize,
}

#[derive(Debug, Default)]
struct TenantPast {
    received: Counter,
    refused: u64,
    limited: [Growth; Limit::ALL.len()],
    course: Option<Box<Course<2>>>,
    seen: usize,
}

#[derive(Debug, Default)]
struct RowPast {
    delivered: Counter,
    growing: [Growth; Growing::ALL.len()],
    course: Option<Box<Course<2>>>,
    seen: usize,
}

#[derive(Debug)]
struct EndpointPast {
    /// Requests answered, those that failed, and seconds until answers, at the last look.
    before: (u64, u64, f64),
    course: Course<5>,
    seen: usize,
}

/// A counter at the last looks, in the places of their times; 0 before it existed.
#[derive(Clone, Copy, Debug, Default)]
struct Counter([u64; LOOKS]);

/// Whether a count grew lately.
#[derive(Clone, Copy, Debug, Default)]
struct Growth {
    total: u64,
    /// The number of the look that saw it grow; 0: none has.
    at: usize,
}

impl Counter {
    /// Remembers the total at a look; how much more it is than at the look before.
    fn note(&mut self, looks: usize, total: u64) -> u64 {
        let before = self.0[(looks + LOOKS - 2) % LOOKS];
        self.0[(looks - 1) % LOOKS] = total;
        total.saturating_sub(before)
    }
}

impl Growth {
    fn note(&mut self, looks: usize, is_new: bool, total: u64) {
        // What was there before the process began did not grow in it.
        if total > self.total && (looks > 1 || !is_new) {
            self.at = looks;
        }
        self.total = total;
    }

    const fn grows(self, looks: usize, total: u64) -> bool {
        total > self.total || (self.at > 0 && looks - self.at < LATELY)
    }
}

impl Past {
    /// With a first look.
    pub(super) fn new(app: &App) -> Self {
        let past = Self { state: Mutex::default() };
        past.look(app);
        past
    }

    /// Looks at all counters. May read from the disk.
    pub(super) fn look(&self, app: &App) {
        let tenants = app.engine.tenants.list();
        let rows = app.engine.deliveries.rows();
        let endpoints = app.engine.deliveries.endpoints();
        let troubled = |row: &Row| {
            let endpoint = endpoints.iter().find(|endpoint| endpoint.config.name == row.endpoint);
            endpoint.is_some_and(|endpoint| endpoint.health.of(row.tenant.as_str()).error.is_some())
        };
        let mut state = self.lock();
        state.begin(Instant::now(), now_ms());
        for tenant in &tenants {
            state.tenant(tenant.name.as_str(), Received::of(tenant));
        }
        for row in rows.iter().filter(|row| row.plan().is_none()) {
            let glance = row.glance();
            let lag = || app.oldest_unsent_age(row).map_or(0.0, |age| age.as_secs_f64());
            let grown = Growing::ALL.map(|fate| grown(fate, &glance));
            let seen = Seen { delivered: glance.delivered, grown, is_troubled: troubled(row) };
            state.row(row.tenant.as_str(), &row.endpoint, seen, lag);
        }
        for endpoint in &endpoints {
            state.endpoint(endpoint);
        }
        state.end();
    }

    /// Samples a second received for a tenant, of which there are `total` by now.
    pub(super) fn received(&self, tenant: &str, total: u64) -> f64 {
        let state = self.lock();
        state.rate(state.tenants.get(tenant).map(|past| past.received), total, Instant::now())
    }

    /// Samples a second of a tenant that an endpoint took, which has taken `total` by now.
    pub(super) fn delivered(&self, tenant: &str, endpoint: &str, total: u64) -> f64 {
        let state = self.lock();
        let past = state.rows.get(tenant).and_then(|endpoints| endpoints.get(endpoint));
        state.rate(past.map(|past| past.delivered), total, Instant::now())
    }

    /// The limits that refused requests of a tenant lately.
    pub(super) fn limited(&self, tenant: &Tenant) -> Vec<&'static str> {
        let state = self.lock();
        let past = state.tenants.get(tenant.name.as_str());
        let growth = |limit: &Limit| past.map(|past| past.limited[*limit as usize]).unwrap_or_default();
        let grows = |limit: &Limit| growth(limit).grows(state.looks, tenant.allowance.refused(*limit));
        Limit::ALL.into_iter().filter(grows).map(Limit::key).collect()
    }

    /// What grew lately of what an endpoint did not get.
    pub(super) fn growing(&self, row: &Row) -> Vec<Growing> {
        let glance = row.glance();
        let state = self.lock();
        let past = state.rows.get(row.tenant.as_str()).and_then(|endpoints| endpoints.get(&row.endpoint));
        // What was not there at the last look began since then.
        let growth = |fate: &Growing| past.map(|past| past.growing[*fate as usize]).unwrap_or_default();
        let grows = |fate: &Growing| growth(fate).grows(state.looks, grown(*fate, &glance));
        Growing::ALL.into_iter().filter(grows).collect()
    }

    /// The course of a tenant, an endpoint, or one at the other. `None`: none is kept.
    pub(super) fn course(&self, tenant: Option<&str>, endpoint: Option<&str>) -> Option<History> {
        let state = self.lock();
        let last_ms = state.last_ms;
        match (tenant, endpoint) {
            (Some(tenant), Some(endpoint)) => {
                let course = state.rows.get(tenant)?.get(endpoint)?.course.as_deref()?;
                Some(history(course, &OF_ROW, last_ms))
            }
            (Some(tenant), None) => Some(history(state.tenants.get(tenant)?.course.as_deref()?, &OF_TENANT, last_ms)),
            (None, Some(endpoint)) => Some(history(&state.endpoints.get(endpoint)?.course, &OF_ENDPOINT, last_ms)),
            (None, None) => None,
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What counts as growing, of what a row has lost.
fn grown(fate: Growing, glance: &crate::ledger::Glance) -> u64 {
    match fate {
        Growing::DeadLettered => glance.dead_lettered,
        Growing::Expired => glance.expired,
        Growing::Dropped => glance.lost,
    }
}

/// A tenant's counters.
#[derive(Clone, Copy)]
struct Received {
    received: u64,
    refused: u64,
    limited: [u64; Limit::ALL.len()],
}

impl Received {
    fn of(tenant: &Tenant) -> Self {
        Self {
            received: tenant.received_counts().samples,
            refused: Reason::ALL.iter().map(|reason| tenant.refused(*reason).get().samples).sum(),
            limited: Limit::ALL.map(|limit| tenant.allowance.refused(limit)),
        }
    }
}

/// A row's counters.
#[derive(Clone, Copy)]
struct Seen {
    delivered: u64,
    grown: [u64; Growing::ALL.len()],
    is_troubled: bool,
}

impl State {
    fn begin(&mut self, now: Instant, now_ms: i64) {
        self.looks += 1;
        self.last_ms = now_ms;
        match self.at.get_mut((self.looks - 1) % LOOKS) {
            Some(at) => *at = now,
            None => self.at.push(now),
        }
    }

    fn tenant(&mut self, name: &str, seen: Received) {
        let looks = self.looks;
        let is_new = !self.tenants.contains_key(name);
        let seconds = self.seconds();
        let past = entry(&mut self.tenants, name);
        past.seen = looks;
        let more = past.received.note(looks, seen.received);
        let refused = seen.refused.saturating_sub(std::mem::replace(&mut past.refused, seen.refused));
        for (growth, total) in past.limited.iter_mut().zip(seen.limited) {
            growth.note(looks, is_new, total);
        }
        if past.course.is_none() && self.tenant_courses < TENANTS {
            self.tenant_courses += 1;
            past.course = Some(Box::default());
        }
        if let (Some(course), Some(seconds)) = (&mut past.course, seconds) {
            course.add([number(more) / seconds, number(refused) / seconds], &OF_TENANT.map(|(_, fold)| fold));
        }
    }

    fn row(&mut self, tenant: &str, endpoint: &str, seen: Seen, lag: impl FnOnce() -> f64) {
        let (looks, seconds) = (self.looks, self.seconds());
        let past = self.rows.get(tenant).and_then(|endpoints| endpoints.get(endpoint));
        let has_course = past.is_some_and(|past| past.course.is_some());
        // Who is in trouble takes the place of who is not: what went wrong is what is looked for later.
        if !has_course && self.row_courses == ROWS && seen.is_troubled {
            self.make_room();
        }
        let endpoints = entry(&mut self.rows, tenant);
        let is_new = !endpoints.contains_key(endpoint);
        let past = entry(endpoints, endpoint);
        past.seen = looks;
        let more = past.delivered.note(looks, seen.delivered);
        for (growth, total) in past.growing.iter_mut().zip(seen.grown) {
            growth.note(looks, is_new, total);
        }
        if past.course.is_none() && self.row_courses < ROWS {
            self.row_courses += 1;
            past.course = Some(Box::default());
        }
        if let (Some(course), Some(seconds)) = (&mut past.course, seconds) {
            course.was_troubled(seen.is_troubled, looks);
            course.add([number(more) / seconds, lag()], &OF_ROW.map(|(_, fold)| fold));
        }
    }

    /// Forgets the course of the row that has been without trouble for longest, if any was for as long as fine steps last.
    fn make_room(&mut self) {
        let rows = self.rows.values_mut().flat_map(HashMap::values_mut);
        let quiet = rows.filter(|past| past.course.as_ref().is_some_and(|course| course.is_quiet(self.looks)));
        if let Some(past) = quiet.min_by_key(|past| past.course.as_ref().map(|course| course.troubled_at())) {
            past.course = None;
            self.row_courses -= 1;
        }
    }

    fn endpoint(&mut self, endpoint: &Endpoint) {
        let name = &endpoint.config.name;
        let (now, looks, seconds) = (answered(&endpoint.stats), self.looks, self.seconds());
        if !self.endpoints.contains_key(name) && self.endpoints.len() < ENDPOINTS {
            let past = EndpointPast { before: now, course: Course::default(), seen: looks };
            self.endpoints.insert(name.clone(), past);
        }
        let Some(past) = self.endpoints.get_mut(name) else { return };
        let before = std::mem::replace(&mut past.before, now);
        past.seen = looks;
        let Some(seconds) = seconds else { return };
        let requests = number(now.0.saturating_sub(before.0));
        let waited = if requests > 0.0 { (now.2 - before.2).max(0.0) / requests } else { 0.0 };
        let failed = number(now.1.saturating_sub(before.1));
        let in_flight = number(endpoint.stats.in_flight.load(Ordering::Relaxed) as u64);
        let limit = number(endpoint.concurrency().0 as u64);
        let point = [requests / seconds, failed / seconds, waited, in_flight, limit];
        past.course.add(point, &OF_ENDPOINT.map(|(_, fold)| fold));
    }

    /// Since the look before this one; `None`: there is none.
    fn seconds(&self) -> Option<f64> {
        let now = self.at.get((self.looks - 1) % LOOKS)?;
        let before = self.at.get((self.looks + LOOKS - 2) % LOOKS).filter(|_| self.looks > 1)?;
        Some(now.saturating_duration_since(*before).as_secs_f64().max(1e-3))
    }

    /// Forgets what is gone.
    fn end(&mut self) {
        let looks = self.looks;
        self.tenants.retain(|_, past| past.seen == looks);
        for endpoints in self.rows.values_mut() {
            endpoints.retain(|_, past| past.seen == looks);
        }
        self.rows.retain(|_, endpoints| !endpoints.is_empty());
        self.endpoints.retain(|_, past| past.seen == looks);
        self.tenant_courses = self.tenants.values().filter(|past| past.course.is_some()).count();
        let rows = self.rows.values().flat_map(HashMap::values);
        self.row_courses = rows.filter(|past| past.course.is_some()).count();
    }

    fn rate(&self, counter: Option<Counter>, total: u64, now: Instant) -> f64 {
        let oldest = if self.at.len() < LOOKS { 0 } else { self.looks % LOOKS };
        let Some(at) = self.at.get(oldest) else { return 0.0 };
        let before = counter.map_or(0, |counter| counter.0[oldest]);
        // Less than a second says nothing about a second.
        let elapsed = now.saturating_duration_since(*at).max(Duration::from_secs(1));
        number(total.saturating_sub(before)) / elapsed.as_secs_f64()
    }
}

/// Requests answered, those that were not taken, and how many seconds they took together.
fn answered(stats: &EndpointStats) -> (u64, u64, f64) {
    let answers = stats.answers();
    let count = |wanted: &dyn Fn(u16) -> bool| -> u64 {
        answers.iter().filter(|(code, _)| wanted(*code)).map(|(_, count)| count).sum()
    };
    (count(&|_| true), count(&|code| !(200..300).contains(&code)), stats.batch_seconds.read().1)
}

fn entry<'m, T: Default>(map: &'m mut HashMap<String, T>, key: &str) -> &'m mut T {
    if !map.contains_key(key) {
        map.insert(key.to_owned(), T::default());
    }
    map.entry(key.to_owned()).or_default()
}

#[expect(clippy::cast_precision_loss, reason = "a rate for people")]
const fn number(count: u64) -> f64 {
    count as f64
}

/// A course as it is told.
fn history<const N: usize>(course: &Course<N>, measures: &[(&'static str, Fold); N], last_ms: i64) -> History {
    let step = |points: &mut dyn Iterator<Item = &[f32; N]>, seconds: u64| {
        let mut values: Vec<Vec<f32>> = vec![Vec::new(); N];
        for point in points {
            for (value, values) in point.iter().zip(&mut values) {
                values.push(*value);
            }
        }
        let names = measures.iter().map(|(name, _)| (*name).to_owned());
        HistoryStep { seconds, values: names.zip(values).collect() }
    };
    History {
        until: Utc(last_ms).to_string(),
        fine: step(&mut course.fine(), EVERY.as_secs()),
        coarse: step(&mut course.coarse(), EVERY.as_secs() * course::IN_COARSE),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn received(total: u64) -> Received {
        Received { received: total, refused: 0, limited: [0; 6] }
    }

    fn row(delivered: u64, dead_lettered: u64, is_troubled: bool) -> Seen {
        Seen { delivered, grown: [dead_lettered, 0, 0], is_troubled }
    }

    fn begin(state: &mut State, start: Instant, look: usize) {
        state.begin(start + EVERY * u32::try_from(look).unwrap(), 0);
    }

    #[test]
    fn a_rate_is_that_of_the_last_minute() {
        let (start, mut state) = (Instant::now(), State::default());
        // 100 samples a second for two minutes, then none.
        for look in 0..=8 {
            begin(&mut state, start, look);
            state.tenant("a", received(look as u64 * 1500));
            state.end();
        }
        let at = |seconds| start + Duration::from_secs(seconds);
        let rate = |total, seconds| state.rate(state.tenants.get("a").map(|past| past.received), total, at(seconds));
        assert!((rate(12_000, 120) - 100.0).abs() < 1e-9);
        assert!((rate(12_000, 180) - 50.0).abs() < 1e-9);
    }

    #[test]
    fn a_counter_that_is_new_began_at_zero_and_one_that_is_gone_is_forgotten() {
        let (start, mut state) = (Instant::now(), State::default());
        begin(&mut state, start, 0);
        state.row("a", "x", row(5_000, 0, false), || 0.0);
        state.end();
        let later = start + EVERY;
        assert!((state.rate(None, 450, later) - 30.0).abs() < 1e-9, "born between two looks");
        begin(&mut state, start, 1);
        state.row("a", "y", row(1, 0, false), || 0.0);
        state.end();
        assert_eq!(state.rows["a"].keys().collect::<Vec<_>>(), ["y"]);
        assert!((state.rate(None, 3, start) - 3.0).abs() < 1e-9, "never over less than a second");
    }

    #[test]
    fn what_was_there_at_the_start_does_not_grow_and_what_grew_does_so_for_ten_minutes() {
        let (start, mut state) = (Instant::now(), State::default());
        let grows = |state: &State, total| state.rows["a"]["x"].growing[0].grows(state.looks, total);
        for look in 0..3 {
            begin(&mut state, start, look);
            state.row("a", "x", row(0, 7, false), || 0.0);
        }
        assert!(!grows(&state, 7));
        assert!(grows(&state, 8), "since the last look");
        for look in 3..3 + LATELY {
            begin(&mut state, start, look);
            state.row("a", "x", row(0, 8, false), || 0.0);
            assert!(grows(&state, 8), "{look}");
        }
        begin(&mut state, start, 3 + LATELY);
        assert!(!grows(&state, 8));
    }

    #[test]
    fn a_row_in_trouble_takes_the_place_of_one_that_has_long_been_well() {
        let (start, mut state) = (Instant::now(), State::default());
        let has_course = |state: &State, name: &str| state.rows[name]["x"].course.is_some();
        for look in 0..course::FINE {
            begin(&mut state, start, look);
            for number in 0..=ROWS {
                state.row(&format!("t{number}"), "x", row(0, 0, number == 1), || 0.0);
            }
            state.end();
        }
        assert!(has_course(&state, "t0") && has_course(&state, "t1") && !has_course(&state, "t256"));
        begin(&mut state, start, course::FINE);
        for number in (0..=ROWS).rev() {
            state.row(&format!("t{number}"), "x", row(0, 0, number == 256), || 0.0);
        }
        state.end();
        assert_eq!(state.row_courses, ROWS);
        assert!(has_course(&state, "t256") && has_course(&state, "t1"));
    }
}
