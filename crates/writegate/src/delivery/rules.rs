//! What is done to the series of a tenant on their way to an endpoint, in order: the tenant's external labels (a series' own
//! label wins), the tenant's rules, the endpoint's tenant label (which wins, whatever the series says), the endpoint's rules,
//! and last the escaping of names, so that none reaches the endpoint raw.
//! The order is Prometheus': external labels before rules.

use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, LazyLock};

use remote_write::relabel::{Pipeline, Step};
use writegate_config::{Endpoint, RelabelConfig, TenantName, Tenants};

/// The steps for one tenant at one endpoint. Those with the same steps have the same id, and share what they worked out.
#[derive(Debug)]
pub(crate) struct Rules {
    pub(super) id: u64,
    pub(crate) pipeline: Pipeline,
    /// See [`Pipeline::is_costly`].
    pub(super) is_costly: bool,
}

/// Where a step is configured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// `tenants[].external_labels`
    ExternalLabel,
    /// `tenants[].write_relabel_configs`, counted from 1.
    TenantRule(usize),
    /// `remote_write[].tenant_label`
    TenantLabel,
    /// `remote_write[].write_relabel_configs`, counted from 1.
    Rule(usize),
    /// `remote_write[].metric_name_escaping_scheme`
    Names,
}

/// What is done to the series of a tenant at an endpoint, in order.
pub(crate) fn steps(tenants: &Tenants, tenant: &TenantName, endpoint: &Endpoint) -> Vec<(Origin, Step)> {
    let rules = |origin: fn(usize) -> Origin, rules: &[RelabelConfig]| -> Vec<(Origin, Step)> {
        (1..).zip(rules).map(|(number, rule)| (origin(number), Step::Rule(rule.clone()))).collect()
    };
    let mut steps = Vec::new();
    if let Some(config) = tenants.get(tenant) {
        let labels = config.external_labels.iter();
        let label = |(name, value): (&String, &String)| Step::Default { name: name.clone(), value: value.clone() };
        steps.extend(labels.map(|pair| (Origin::ExternalLabel, label(pair))));
        steps.extend(rules(Origin::TenantRule, &config.write_relabel_configs));
    }
    if let Some(name) = &endpoint.tenant_label {
        let step = Step::Set { name: name.clone(), value: tenants.id_of(tenant).to_owned() };
        steps.push((Origin::TenantLabel, step));
    }
    steps.extend(rules(Origin::Rule, &endpoint.write_relabel_configs));
    steps.extend(endpoint.name_escaping.map(|scheme| (Origin::Names, Step::Escape(scheme))));
    steps
}

/// The rules of a tenant at an endpoint; `None` if its series go as they are.
pub(crate) fn rules(tenants: &Tenants, tenant: &TenantName, endpoint: &Endpoint) -> Option<Arc<Rules>> {
    static HASHES: LazyLock<RandomState> = LazyLock::new(RandomState::new);
    let steps: Vec<Step> = steps(tenants, tenant, endpoint).into_iter().map(|(_, step)| step).collect();
    if steps.is_empty() {
        return None;
    }
    // The text of the steps says all about them.
    let id = HASHES.hash_one(format!("{steps:?}"));
    let pipeline = Pipeline::new(steps, id);
    Some(Arc::new(Rules { id, is_costly: pipeline.is_costly(), pipeline }))
}
