//! What is shown: metrics, and whether the operator is ready. Rendered from what the last plan said, so that a series of what is
//! gone is gone, too.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use targets::{Report, SourceId};

use crate::api::Refused;

#[derive(Debug, Default)]
pub(crate) struct Shown(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// The kinds that are not known yet; `None`: nothing was asked for.
    unsynced: Option<Vec<String>>,
    leads: bool,
    reports: Vec<Report>,
    succeeded: BTreeMap<SourceId, f64>,
    writes: BTreeMap<(String, &'static str, String), u64>,
    watch_failures: BTreeMap<&'static str, u64>,
    plans: u64,
    plan_seconds: f64,
    file: Option<f64>,
}

impl Shown {
    fn state(&self) -> MutexGuard<'_, State> {
        // Counters are whole between any two lines here.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn waiting_for(&self, kinds: &[&str]) {
        self.state().unsynced = Some(kinds.iter().map(|kind| (*kind).to_owned()).collect());
    }

    pub(crate) fn planned(&self, reports: Vec<Report>, took: Duration, leads: bool) {
        let now = now();
        let mut state = self.state();
        let mut succeeded = BTreeMap::new();
        for report in &reports {
            let last = state.succeeded.get(&report.source).copied();
            let time = if report.reason.is_good() { Some(now) } else { last };
            succeeded.extend(time.map(|time| (report.source.clone(), time)));
        }
        state.succeeded = succeeded;
        state.reports = reports;
        state.leads = leads;
        state.plans += 1;
        state.plan_seconds += took.as_secs_f64();
    }

    pub(crate) fn wrote(&self, kind: &str, verb: &'static str, refused: Option<&Refused>) {
        let code = match refused {
            None => "2xx".to_owned(),
            Some(refused) => refused.status.map_or_else(|| "none".to_owned(), |status| status.to_string()),
        };
        *self.state().writes.entry((kind.to_owned(), verb, code)).or_default() += 1;
    }

    /// Whether that is the first failure, or one that comes after twice as many.
    pub(crate) fn watch_failed(&self, kind: &'static str) -> bool {
        let mut state = self.state();
        let times = state.watch_failures.entry(kind).or_default();
        *times += 1;
        times.is_power_of_two()
    }

    pub(crate) fn file_written(&self) {
        self.state().file = Some(now());
    }

    /// What is waited for, if the operator is not ready.
    pub(crate) fn not_ready(&self) -> Option<String> {
        match &self.state().unsynced {
            None => Some("the cluster has not been reached".to_owned()),
            Some(kinds) if !kinds.is_empty() => Some(format!("not known yet: {}", kinds.join(", "))),
            Some(_) => None,
        }
    }

    /// Prometheus' text format.
    pub(crate) fn render(&self) -> String {
        let state = self.state();
        let mut out = String::new();
        family(
            &mut out,
            "writegate_operator_leader",
            "gauge",
            "1 if this operator may write.",
            [(String::new(), f64::from(u8::from(state.leads)))],
        );
        let target = |report: &Report| {
            let name = match &report.source {
                SourceId::RemoteWrite(key) => key.name.clone(),
                SourceId::WriteStorage(name) => name.clone(),
                SourceId::Default(_) | SourceId::Annotation(_) => String::new(),
            };
            labels(&[("source", report.source.kind()), ("namespace", report.source.namespace()), ("name", &name)])
        };
        let configured =
            state.reports.iter().map(|report| (target(report), f64::from(u8::from(report.reason.is_good()))));
        family(
            &mut out,
            "writegate_operator_target_configured",
            "gauge",
            "1 if the target is as its owner wants it.",
            configured,
        );
        let failed = state.reports.iter().filter(|report| !report.reason.is_good()).map(|report| {
            let target = target(report);
            (
                format!("{}{}", target.trim_end_matches('}'), format_args!(",reason=\"{}\"}}", report.reason.as_str())),
                1.0,
            )
        });
        family(&mut out, "writegate_operator_target_failed", "gauge", "1 if it is not, with the reason.", failed);
        let succeeded =
            state.reports.iter().filter_map(|report| Some((target(report), *state.succeeded.get(&report.source)?)));
        family(
            &mut out,
            "writegate_operator_target_last_success_timestamp_seconds",
            "gauge",
            "When the target was last found as its owner wants it.",
            succeeded,
        );
        #[expect(clippy::cast_precision_loss, reason = "a count of objects")]
        let places = state.reports.iter().map(|report| (target(report), report.places.len() as f64));
        family(
            &mut out,
            "writegate_operator_target_places",
            "gauge",
            "Prometheus objects that hold the target.",
            places,
        );
        #[expect(clippy::cast_precision_loss, reason = "a counter")]
        let writes = state.writes.iter().map(|((kind, verb, code), count)| {
            (labels(&[("kind", kind), ("verb", verb), ("code", code)]), *count as f64)
        });
        family(
            &mut out,
            "writegate_operator_writes_total",
            "counter",
            "Changes sent to the API server, by its answer.",
            writes,
        );
        #[expect(clippy::cast_precision_loss, reason = "a counter")]
        let failures = state.watch_failures.iter().map(|(kind, count)| (labels(&[("kind", kind)]), *count as f64));
        family(&mut out, "writegate_operator_watch_failures_total", "counter", "Watches that failed.", failures);
        #[expect(clippy::cast_precision_loss, reason = "a counter")]
        let plans = [(String::new(), state.plans as f64)];
        family(&mut out, "writegate_operator_plans_total", "counter", "Times that everything was compared.", plans);
        family(
            &mut out,
            "writegate_operator_plan_seconds_total",
            "counter",
            "How long that took.",
            [(String::new(), state.plan_seconds)],
        );
        let file = state.file.map(|time| (String::new(), time));
        family(
            &mut out,
            "writegate_operator_file_written_timestamp_seconds",
            "gauge",
            "When the file for the gateway was last written.",
            file,
        );
        out
    }
}

/// A family; without a sample, nothing.
fn family(out: &mut String, name: &str, kind: &str, help: &str, samples: impl IntoIterator<Item = (String, f64)>) {
    let mut samples = samples.into_iter().peekable();
    if samples.peek().is_none() {
        return;
    }
    // Writing to a string cannot fail.
    writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}").ok();
    for (labels, value) in samples {
        writeln!(out, "{name}{labels} {value}").ok();
    }
}

fn labels(labels: &[(&str, &str)]) -> String {
    let escaped = |value: &str| value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
    let labels: Vec<String> = labels.iter().map(|(name, value)| format!("{name}=\"{}\"", escaped(value))).collect();
    format!("{{{}}}", labels.join(","))
}

fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}
