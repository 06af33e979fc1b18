//! Every name that stands in objects: keys, labels, finalizers. All that others may rely on is here.

/// The program, as label value, field manager and event source.
pub const OPERATOR: &str = "writegate-operator";

/// The label of everything the operator makes.
pub const MANAGED_BY: &str = "app.kubernetes.io/managed-by";

/// Annotation of a Secret that the operator made: what it stands for.
pub const IDENTITY: &str = "writegate.io/identity";

/// Annotations of a copy: what it was made from.
pub const SOURCE_NAMESPACE: &str = "writegate.io/source-namespace";
/// See [`SOURCE_NAMESPACE`].
pub const SOURCE_NAME: &str = "writegate.io/source-name";

/// Annotation by which a Secret's owner lets other namespaces use it: `a,b`, or `*`.
pub const ALLOW_NAMESPACES: &str = "writegate.io/allow-namespaces";

/// Annotation of a Prometheus object: which entries of its list are the operator's.
pub const RECORD: &str = "writegate.io/remote-write";

/// Annotation of a Namespace: what became of its target.
pub const STATUS: &str = "writegate.io/remote-write-status";

/// The end of the keys of the annotation that names the remote-write Secret.
pub const REMOTE_WRITE: &str = "/remote-write";

/// The end of the keys of the annotation that lists further Secrets.
pub const REFERENCED_SECRETS: &str = "/referenced-secrets";

/// What may stand before `.<domain>/remote-write`: the documented spelling first.
pub const REMOTE_WRITE_PREFIXES: [&str; 3] = ["metrics.monitoring", "monitoring", "monitor"];

/// What may stand before `.<domain>/referenced-secrets`: the documented spelling first.
pub const REFERENCED_SECRETS_PREFIXES: [&str; 3] = ["monitor", "monitoring", "metrics.monitoring"];

/// The key of the remote-write Secret.
pub const REMOTE_WRITE_KEY: &str = "remote-write";

/// Labels of the Secrets of a `RemoteWrite` object.
pub const REMOTE_WRITE_NAME: &str = "remotewrite/name";
/// See [`REMOTE_WRITE_NAME`].
pub const REMOTE_WRITE_NAMESPACE: &str = "remotewrite/namespace";

/// The operator's finalizer on `RemoteWrite` objects.
pub const FINALIZER: &str = "writegate.io/remote-write";

/// The finalizer of Giant Swarm's operator.
pub const OLD_FINALIZER: &str = "operatorkit.giantswarm.io/prometheus-meta-operator-remote-write-controller";

/// Annotations that stop all work on a `RemoteWrite` object while they say `true`.
pub const PAUSED: [&str; 2] = ["operatorkit.giantswarm.io/paused", "cluster.x-k8s.io/paused"];

/// The label, and its values, of Prometheus objects that no selector finds.
pub const NAME_LABEL: &str = "app.kubernetes.io/name";
/// See [`NAME_LABEL`].
pub const NEVER_SELECTED: [&str; 2] = ["prometheus-agent", "prometheus-remotewrite"];

/// Group and version of `RemoteWrite`.
pub const GROUP: &str = "monitoring.giantswarm.io";
/// See [`GROUP`].
pub const VERSION: &str = "v1alpha1";
