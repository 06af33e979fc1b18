//! Series as a Kubernetes cluster's Prometheus sends them, of 11 labels each.

use remote_write::model::Label;

/// In bytewise order; the last column says how many values a label has.
const LABELS: [(&str, &str, usize); 11] = [
    ("__name__", "container_network_receive_packets_", 60),
    ("cluster", "production-eu-central-", 1),
    ("container", "container-of-the-workload-", 12),
    ("endpoint", "https-metrics", 1),
    ("id", "/kubepods.slice/kubepods-burstable.slice/pod-", 100),
    ("image", "registry.example.org/team/service:v1.2.", 12),
    ("instance", "10.20.30.40:10250-", 20),
    ("job", "kubelet", 1),
    ("namespace", "kube-system-", 8),
    ("node", "ip-10-20-30-40.internal-", 20),
    ("pod", "service-deployment-7c5ddbdf54-", 100),
];

/// The values of each label.
pub(crate) fn strings() -> Vec<Vec<String>> {
    let values = |(_, prefix, count): (&str, &str, usize)| (0..count).map(|index| format!("{prefix}{index}")).collect();
    LABELS.map(values).to_vec()
}

/// The labels of a series. Neighbours share most values, as the series of one scrape do.
pub(crate) fn labels<'s>(strings: &'s [Vec<String>], number: usize) -> Vec<Label<'s>> {
    let label = |((name, _, _), values): (&(&'static str, &str, usize), &'s Vec<String>)| {
        let index = if values.len() == 60 { number % 60 } else { number / 60 % values.len() };
        Label { name: name.as_bytes(), value: values[index].as_bytes() }
    };
    LABELS.iter().zip(strings).map(label).collect()
}
