//! Series as a Kubernetes cluster monitored by kube-prometheus has them: any number, from an index and a seed.
//!
//! Per pod 32 series of the families that make up most of a real cluster; on average about 11 labels and, as a v1
//! `TimeSeries` with one sample, about 350 bytes. The same seed and index always give the same labels.

use std::fmt::Write;

/// How many consecutive indexes make up one pod.
pub const SERIES_PER_POD: u32 = 32;

/// Where in a pod's series the native histogram stands, when a workload has histograms.
pub(crate) const HISTOGRAM_SLOT: u32 = 12;

/// Where in a pod's series the one with an exemplar stands, when a workload has exemplars.
pub(crate) const EXEMPLAR_SLOT: u32 = 4;

const BUCKETS: [&str; 11] = ["0.005", "0.01", "0.025", "0.05", "0.1", "0.25", "0.5", "1", "2.5", "5", "+Inf"];
const PHASES: [&str; 5] = ["Failed", "Pending", "Running", "Succeeded", "Unknown"];
const SERVICES: [&str; 8] =
    ["checkout", "catalogue", "search", "payments", "inventory", "frontend", "notifications", "recommendations"];
const HANDLERS: [&str; 6] =
    ["/api/v1/orders", "/api/v1/items/:id", "/api/v1/search", "/healthz", "/api/v1/users/:id/cart", "/login"];
const METHODS: [&str; 4] = ["GET", "POST", "PUT", "DELETE"];

/// A label set, sorted by name; reusable.
#[derive(Clone, Debug, Default)]
pub struct Labels {
    pairs: Vec<(&'static str, String)>,
    used: usize,
}

impl Labels {
    /// The pairs in bytewise order of their names.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &str)> {
        self.pairs.iter().take(self.used).map(|(name, value)| (*name, value.as_str()))
    }

    /// The metric's name.
    pub fn name(&self) -> &str {
        self.iter().find(|(name, _)| *name == "__name__").map_or("", |(_, value)| value)
    }

    fn clear(&mut self) {
        self.used = 0;
    }

    /// Adds a pair; the caller keeps the order of names.
    fn put(&mut self, name: &'static str, value: impl FnOnce(&mut String)) {
        if self.used == self.pairs.len() {
            self.pairs.push((name, String::new()));
        }
        if let Some(pair) = self.pairs.get_mut(self.used) {
            pair.0 = name;
            pair.1.clear();
            value(&mut pair.1);
            self.used += 1;
        }
    }

    fn text(&mut self, name: &'static str, value: &str) {
        self.put(name, |text| text.push_str(value));
    }
}

/// What a metric family is: remote write's metadata.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Family {
    /// The family's name: of a histogram without `_bucket`, `_sum`, `_count`.
    pub name: &'static str,
    /// 1 counter, 2 gauge, 3 histogram (as on the wire, in both protocols).
    pub kind: i32,
    /// Free text.
    pub help: &'static str,
    /// As in OpenMetrics; may be empty.
    pub unit: &'static str,
}

const fn family(name: &'static str, kind: i32, help: &'static str, unit: &'static str) -> Family {
    Family { name, kind, help, unit }
}

/// The families in the order in which a pod has them.
pub const FAMILIES: [Family; 13] = [
    family("http_request_duration_seconds", 3, "How long requests took.", "seconds"),
    family("kube_pod_status_phase", 2, "The pods current phase.", ""),
    family("kube_pod_container_resource_requests", 2, "The number of requested request resource by a container.", ""),
    family("container_cpu_usage_seconds_total", 1, "Cumulative cpu time consumed in seconds.", "seconds"),
    family("container_memory_working_set_bytes", 2, "Current working set in bytes.", "bytes"),
    family("container_memory_rss", 2, "Size of RSS in bytes.", ""),
    family("container_fs_reads_bytes_total", 1, "Cumulative count of bytes read.", "bytes"),
    family("container_network_receive_bytes_total", 1, "Cumulative count of bytes received.", "bytes"),
    family("rest_client_requests_total", 1, "Number of HTTP requests, by code, method and host.", ""),
    family("go_goroutines", 2, "Number of goroutines that currently exist.", ""),
    family("process_cpu_seconds_total", 1, "Total user and system CPU time spent in seconds.", "seconds"),
    family("process_resident_memory_bytes", 2, "Resident memory size in bytes.", "bytes"),
    family("up", 2, "Whether the last scrape succeeded.", ""),
];

/// The family of the series at `index`.
pub const fn family_of(index: u32) -> &'static Family {
    &FAMILIES[match index % SERIES_PER_POD {
        0..=12 => 0,
        13..=17 => 1,
        18..=19 => 2,
        slot @ 20..=24 => slot as usize - 17,
        25..=27 => 8,
        slot => slot as usize - 19,
    }]
}

/// Writes the labels of the series at `index` into `labels`. `native` asks for the native histogram in its slot.
pub fn write_labels(seed: u64, index: u32, native: bool, labels: &mut Labels) {
    let pod = Pod::new(seed, index / SERIES_PER_POD);
    labels.clear();
    match index % SERIES_PER_POD {
        slot @ 0..=10 => pod.request_duration(labels, "_bucket", BUCKETS.get(slot as usize).copied()),
        11 => pod.request_duration(labels, "_sum", None),
        HISTOGRAM_SLOT if native => pod.request_duration(labels, "", None),
        12 => pod.request_duration(labels, "_count", None),
        slot @ 13..=17 => pod.phase(labels, PHASES[(slot - 13) as usize % PHASES.len()]),
        18 => pod.resource(labels, "cpu", "core"),
        19 => pod.resource(labels, "memory", "byte"),
        20..=24 => pod.cadvisor(labels, family_of(index).name),
        slot @ 25..=27 => pod.client(labels, ["200", "404", "500"][(slot - 25) as usize % 3]),
        _ => pod.process(labels, family_of(index).name),
    }
}

/// What the labels of one pod's series are made of.
struct Pod {
    number: u32,
    namespace: u32,
    service: &'static str,
    random: u64,
}

impl Pod {
    fn new(seed: u64, number: u32) -> Self {
        let random = mix(seed ^ mix(u64::from(number)));
        Self { number, namespace: number / 24, service: SERVICES[(number / 3) as usize % SERVICES.len()], random }
    }

    fn request_duration(&self, labels: &mut Labels, suffix: &str, le: Option<&str>) {
        let pick = self.random as usize;
        labels.put("__name__", |text| {
            text.push_str("http_request_duration_seconds");
            text.push_str(suffix);
        });
        labels.text("code", "200");
        labels.text("container", self.service);
        labels.text("endpoint", "http-metrics");
        labels.text("handler", HANDLERS[pick % HANDLERS.len()]);
        labels.put("instance", |text| self.address(text, 8080));
        labels.put("job", |text| self.job(text));
        if let Some(le) = le {
            labels.text("le", le);
        }
        labels.text("method", METHODS[pick / 7 % METHODS.len()]);
        labels.put("namespace", |text| self.namespace(text));
        labels.put("pod", |text| self.pod(text));
        labels.text("service", self.service);
    }

    fn phase(&self, labels: &mut Labels, phase: &str) {
        self.state_metrics(labels, "kube_pod_status_phase");
        labels.put("namespace", |text| self.namespace(text));
        labels.text("phase", phase);
        labels.put("pod", |text| self.pod(text));
        labels.text("service", "kube-prometheus-stack-kube-state-metrics");
        labels.put("uid", |text| self.uid(text));
    }

    fn resource(&self, labels: &mut Labels, resource: &str, unit: &str) {
        self.state_metrics(labels, "kube_pod_container_resource_requests");
        labels.put("namespace", |text| self.namespace(text));
        labels.put("node", |text| self.node(text));
        labels.put("pod", |text| self.pod(text));
        labels.text("resource", resource);
        labels.text("service", "kube-prometheus-stack-kube-state-metrics");
        labels.put("uid", |text| self.uid(text));
        labels.text("unit", unit);
    }

    fn state_metrics(&self, labels: &mut Labels, name: &str) {
        labels.text("__name__", name);
        labels.text("container", "kube-state-metrics");
        labels.text("endpoint", "http");
        labels.text("instance", "10.64.3.17:8080");
        labels.text("job", "kube-state-metrics");
    }

    fn cadvisor(&self, labels: &mut Labels, name: &str) {
        labels.text("__name__", name);
        labels.text("container", self.service);
        labels.text("endpoint", "https-metrics");
        labels.put("id", |text| {
            text.push_str("/kubepods/burstable/pod");
            self.uid(text);
            text.push('/');
            self.container_id(text);
        });
        labels.put("image", |text| put(text, format_args!("registry.example.org/shop/{}:v2.18.3", self.service)));
        labels.put("instance", |text| {
            put(text, format_args!("10.0.{}.{}:10250", self.number / 30 / 250, self.number / 30 % 250));
        });
        labels.text("job", "kubelet");
        labels.text("metrics_path", "/metrics/cadvisor");
        labels.put("name", |text| self.container_id(text));
        labels.put("namespace", |text| self.namespace(text));
        labels.put("node", |text| self.node(text));
        labels.put("pod", |text| self.pod(text));
        labels.text("service", "kube-prometheus-stack-kubelet");
    }

    fn client(&self, labels: &mut Labels, code: &str) {
        labels.text("__name__", "rest_client_requests_total");
        labels.text("code", code);
        labels.text("container", self.service);
        labels.text("endpoint", "http-metrics");
        labels.text("host", "10.96.0.1:443");
        labels.put("instance", |text| self.address(text, 8080));
        labels.put("job", |text| self.job(text));
        labels.text("method", METHODS[self.random as usize / 31 % METHODS.len()]);
        labels.put("namespace", |text| self.namespace(text));
        labels.put("pod", |text| self.pod(text));
        labels.text("service", self.service);
    }

    fn process(&self, labels: &mut Labels, name: &str) {
        labels.text("__name__", name);
        labels.text("container", self.service);
        labels.text("endpoint", "http-metrics");
        labels.put("instance", |text| self.address(text, 8080));
        labels.put("job", |text| self.job(text));
        labels.put("namespace", |text| self.namespace(text));
        labels.put("pod", |text| self.pod(text));
        labels.text("service", self.service);
    }

    fn namespace(&self, text: &mut String) {
        put(text, format_args!("shop-team-{:02}", self.namespace));
    }

    fn job(&self, text: &mut String) {
        put(text, format_args!("shop-team-{:02}/{}", self.namespace, self.service));
    }

    /// Unique by the number at its end; the hash before it is what a deployment's pods carry.
    fn pod(&self, text: &mut String) {
        put(text, format_args!("{}-{:08x}-{:05}", self.service, self.random as u32, self.number));
    }

    fn node(&self, text: &mut String) {
        put(text, format_args!("ip-10-0-{}-{}.eu-west-1.compute.internal", self.number / 7500, self.number / 30 % 250));
    }

    fn address(&self, text: &mut String, port: u16) {
        let [_, _, high, low] = self.number.to_be_bytes();
        put(text, format_args!("10.{}.{high}.{low}:{port}", 64 + self.number / 65_536));
    }

    fn uid(&self, text: &mut String) {
        let [a, b] = [self.random, mix(self.random)];
        let parts = (a >> 32, a >> 16 & 0xffff, a & 0x0fff, b >> 48, b & 0xffff_ffff_ffff);
        put(text, format_args!("{:08x}-{:04x}-4{:03x}-{:04x}-{:012x}", parts.0, parts.1, parts.2, parts.3, parts.4));
    }

    fn container_id(&self, text: &mut String) {
        for salt in 1..=4 {
            put(text, format_args!("{:016x}", mix(self.random ^ salt)));
        }
    }
}

fn put(text: &mut String, arguments: std::fmt::Arguments<'_>) {
    // A String takes every write; there is no error to hand on.
    if text.write_fmt(arguments).is_err() {
        text.push('?');
    }
}

/// The finisher of `SplitMix64`: every bit of the input changes every bit of the output.
fn mix(value: u64) -> u64 {
    let mut z = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn labels(seed: u64, index: u32) -> Vec<(String, String)> {
        let mut labels = Labels::default();
        write_labels(seed, index, false, &mut labels);
        labels.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
    }

    #[test]
    fn every_series_has_sorted_unique_names_and_no_empty_value() {
        for index in 0..10_000 {
            let pairs = labels(1, index);
            assert!(pairs.windows(2).all(|two| two[0].0 < two[1].0), "{pairs:?}");
            assert!(pairs.iter().all(|(_, value)| !value.is_empty()), "{pairs:?}");
        }
    }

    #[test]
    fn no_two_indexes_and_no_two_seeds_share_a_series() {
        let mut seen = HashSet::new();
        for index in 0..20_000 {
            assert!(seen.insert(labels(1, index)), "{index}");
        }
        // kube-state-metrics' series are told apart by the uid, the pod's own by its name.
        for index in 0..5_000 {
            assert!(seen.insert(labels(2, index)), "{index}");
        }
    }

    #[test]
    fn the_same_seed_and_index_give_the_same_series() {
        assert_eq!(labels(7, 4711), labels(7, 4711));
    }

    #[test]
    fn a_series_belongs_to_the_family_its_name_begins_with() {
        for index in 0..SERIES_PER_POD {
            let mut labels = Labels::default();
            write_labels(1, index, false, &mut labels);
            let rest = labels.name().strip_prefix(family_of(index).name);
            assert!(rest.is_some_and(|rest| ["", "_bucket", "_sum", "_count"].contains(&rest)), "{labels:?}");
        }
    }

    #[test]
    fn a_native_histogram_takes_the_place_of_one_series_of_each_pod() {
        let mut labels = Labels::default();
        write_labels(1, SERIES_PER_POD + HISTOGRAM_SLOT, true, &mut labels);
        assert_eq!(labels.name(), "http_request_duration_seconds");
    }
}
