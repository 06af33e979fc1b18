//! A case: one gateway, its endpoints, what is sent, and what is done meanwhile. Everything a run is told.

use std::time::Duration;

use remote_write::{Compression, Protocol};

use crate::contender::Contender;

/// Prometheus' `max_samples_per_send`.
pub(crate) const SAMPLES_PER_REQUEST: u32 = 2_000;

/// One row of a section's table.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    /// The same for all contenders that do the same.
    pub(crate) name: String,
    /// What is varied, as a number: a plot's x.
    pub(crate) x: f64,
    pub(crate) contender: Contender,
    pub(crate) endpoints: Vec<EndpointSpec>,
    pub(crate) traffic: TrafficSpec,
    /// Sent at the same time; its acknowledgements are not measured, its samples are counted.
    pub(crate) background: Option<TrafficSpec>,
    pub(crate) experiment: Experiment,
}

impl Case {
    /// Three healthy endpoints without rules that get everything in remote write 1.0.
    pub(crate) fn new(name: &str, x: f64, contender: Contender, traffic: TrafficSpec) -> Self {
        let endpoints = vec![EndpointSpec::default(); 3];
        let experiment = Experiment::Steady;
        Self { name: name.to_owned(), x, contender, endpoints, traffic, background: None, experiment }
    }

    /// How long one run of it may take before it is given up.
    pub(crate) fn limit(&self) -> Duration {
        let minutes = |minutes: u64| Duration::from_secs(60 * minutes);
        match &self.experiment {
            Experiment::Steady => minutes(6),
            Experiment::Backlog { .. } | Experiment::Start { .. } => minutes(40),
            Experiment::Outage { down } => *down * 5 + minutes(5),
            Experiment::Soak { time, .. } => *time + minutes(5),
        }
    }
}

/// What is done in a run.
#[derive(Clone, Debug)]
pub(crate) enum Experiment {
    /// The load, from start to end.
    Steady,
    /// No endpoint is up until so many samples were pushed.
    Backlog { samples: u64 },
    /// A log of that size is made, and the gateway started on it several times.
    Start { bytes: u64, starts: u32 },
    /// The first endpoint is down for that long.
    Outage { down: Duration },
    /// The load for a long time, looked at now and then.
    Soak { time: Duration, every: Duration },
}

/// An endpoint: how it behaves, and what it is to get.
#[derive(Clone, Copy, Debug)]
pub(crate) struct EndpointSpec {
    pub(crate) protocol: Protocol,
    /// For gateways that let it be chosen per endpoint.
    pub(crate) compression: Compression,
    pub(crate) rules: Rules,
    pub(crate) state: State,
}

impl Default for EndpointSpec {
    fn default() -> Self {
        let (protocol, compression) = (Protocol::V1, Compression::Snappy);
        Self { protocol, compression, rules: Rules::None, state: State::Healthy }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    Healthy,
    /// Answers after that long.
    Slow(Duration),
    /// Its port refuses connections.
    Dead,
}

/// Relabel rules of an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rules {
    None,
    /// By metric name, one rule each.
    KeepDrop,
    /// A label added, one made from another, two removed.
    Edit,
}

impl Rules {
    /// `write_relabel_configs`; `None` without rules.
    pub(crate) const fn yaml(self) -> Option<&'static str> {
        match self {
            Self::None => None,
            Self::KeepDrop => Some(
                "[{source_labels: [__name__], regex: 'kube_pod_status_phase|go_.*', action: drop}, \
                 {source_labels: [__name__], regex: '(http|kube|container|rest|process)_.*|up', action: keep}]",
            ),
            Self::Edit => Some(
                "[{target_label: cluster, replacement: eu-1}, \
                 {source_labels: [instance], regex: '([^:]+):[0-9]+', target_label: host}, \
                 {regex: 'uid|endpoint', action: labeldrop}]",
            ),
        }
    }

    /// Whether a series of that name passes them.
    pub(crate) fn keep(self, name: &str) -> bool {
        self != Self::KeepDrop || !(name == "kube_pod_status_phase" || name.starts_with("go_"))
    }
}

/// What is sent, and how.
#[derive(Clone, Debug)]
pub(crate) struct TrafficSpec {
    pub(crate) series: u32,
    pub(crate) samples_per_request: u32,
    pub(crate) connections: u32,
    pub(crate) protocol: Protocol,
    /// Samples a second; `None`: as fast as answers come.
    pub(crate) rate: Option<u32>,
    /// So many tenants in turn; `None`: the gateway knows no tenants.
    pub(crate) tenants: Option<u32>,
    /// The number of the first of them; two loads at once may be of different tenants.
    pub(crate) first_tenant: u32,
    pub(crate) amount: Amount,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Amount {
    For(Duration),
    /// Each series so many times after the warm-up, from bodies made beforehand.
    Rounds(u32),
}

impl Amount {
    /// Whether samples bear the time at which they are sent.
    pub(crate) const fn is_timed(self) -> bool {
        matches!(self, Self::For(_))
    }
}

impl TrafficSpec {
    /// Remote write 1.0 over four connections, flat out, 2,000 samples a request.
    pub(crate) fn new(series: u32, amount: Amount) -> Self {
        Self {
            series,
            samples_per_request: SAMPLES_PER_REQUEST,
            connections: 4,
            protocol: Protocol::V1,
            rate: None,
            tenants: None,
            first_tenant: 1,
            amount,
        }
    }
}
