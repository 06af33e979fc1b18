//! What people declare in Kubernetes, and what should be there because of it.
//!
//! Pure: observed objects go in, changes come out. No cluster, no client, no clock, no files.

mod copies;
pub mod crd;
pub mod declare;
pub mod file;
pub mod observed;
pub mod plan;
mod policy;
mod prometheus;
mod proxy;
pub mod rbac;
mod reason;
mod replies;
mod selector;
pub mod spec;
pub mod words;
mod yaml;

pub use declare::{Applier, Settings, SourceId};
pub use observed::{Contents, Copied, Data, Key, Known, Namespace, PrometheusId, PrometheusKind, SourceKey, World};
pub use plan::{Change, Note, Plan, Report, plan};
pub use proxy::EnvironmentProxy;
pub use reason::{Reason, Refusal};
pub use replies::{Fault, Replies};
pub use spec::{Flaw, Reference, ReferenceKind, Spec};
pub use yaml::to_yaml;
