//! Prometheus' relabel rules. What one is, when it is valid and what it does is `remote_write::relabel`'s; here they are
//! only named.

pub use remote_write::relabel::{Action as RelabelAction, Rule as RelabelConfig};
