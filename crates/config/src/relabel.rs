//! Prometheus' relabel rules and escaping schemes. What one is, when it is valid and what it does is
//! `remote_write::relabel`'s; here they are only named.

pub use remote_write::relabel::{Action as RelabelAction, Rule as RelabelConfig, Scheme as NameEscaping};

/// The word for no [`NameEscaping`]: names are sent as they are.
pub(crate) const ALLOW_UTF_8: &str = "allow-utf-8";
