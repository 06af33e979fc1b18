//! What is done to the series of a tenant on their way to an endpoint, in order: the tenant's external labels (a series' own
//! label wins), the tenant's rules, the endpoint's tenant label (which wins, whatever the series says), the endpoint's rules,
//! and last the escaping of names, so that none reaches the endpoint raw.
//! The order is Prometheus': external labels before rules.

use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, LazyLock};

use remote_write::relabel::{Pipeline, Step};
use writegate_config::{Endpoint, TenantName, Tenants};

/// The steps for one tenant at one endpoint. Those with the same steps have the same id, and share what they worked out.
#[derive(Debug)]
pub(crate) struct Rules {
    pub(super) id: u64,
    pub(crate) pipeline: Pipeline,
}

/// The rules of a tenant at an endpoint; `None` if its series go as they are.
pub(crate) fn rules(tenants: &Tenants, tenant: &TenantName, endpoint: &Endpoint) -> Option<Arc<Rules>> {
    static HASHES: LazyLock<RandomState> = LazyLock::new(RandomState::new);
    let mut steps = Vec::new();
    if let Some(config) = tenants.get(tenant) {
        let labels = config.external_labels.iter();
        steps.extend(labels.map(|(name, value)| Step::Default { name: name.clone(), value: value.clone() }));
        steps.extend(config.write_relabel_configs.iter().cloned().map(Step::Rule));
    }
    if let Some(name) = &endpoint.tenant_label {
        steps.push(Step::Set { name: name.clone(), value: tenants.id_of(tenant).to_owned() });
    }
    steps.extend(endpoint.write_relabel_configs.iter().cloned().map(Step::Rule));
    steps.extend(endpoint.name_escaping.map(Step::Escape));
    if steps.is_empty() {
        return None;
    }
    // The text of the steps says all about them.
    let id = HASHES.hash_one(format!("{steps:?}"));
    Some(Arc::new(Rules { id, pipeline: Pipeline::new(steps, id) }))
}
