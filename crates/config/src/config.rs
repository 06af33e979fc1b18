//! The configuration the gateway runs on: a value of these types has been checked and cannot be wrong.
//!
//! Nothing here reads YAML; `read` does. Nothing here opens a socket or a file.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use crate::access::{Authenticator, ServerTls};
use crate::cidr::IpNet;
use crate::endpoint::Endpoint;
use crate::limits::Limits;
use crate::observatorium::Observatorium;
use crate::otlp::Otlp;
use crate::secret::{SecretSource, TextSource};
use crate::tenant::{HostPattern, TenantName, Tenants};

/// Everything `writegate.yml` and the files it names say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Where senders push; at least one, addresses unique.
    pub listeners: Vec<Listener>,
    /// Metrics, health and the admin API.
    pub admin: Admin,
    /// The durable log.
    pub log: Log,
    /// Limits on requests and series; tenants may have others.
    pub limits: Limits,
    /// How OTLP metrics become series.
    pub otlp: Otlp,
    /// How senders are told apart, beside the credentials of `tenants`.
    pub authentication: Vec<Authenticator>,
    /// Who may push, and what differs for whom. The tenant of every listener is admitted.
    pub tenants: Tenants,
    /// Where some of the tenants come from; `None`: none does.
    pub observatorium: Option<Observatorium>,
    /// The remote-write targets, in the order written; names unique. May be empty.
    pub endpoints: Vec<Endpoint>,
    /// Bytes of dead letters kept.
    pub dead_letters_max_size: u64,
    /// Every file this configuration depends on: the main file, those it names, secrets. Sorted, unique.
    pub watched_files: Vec<PathBuf>,
}

/// One address on which senders push.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    /// The address to bind; `:9009` is all interfaces, as in Go.
    pub address: SocketAddr,
    /// `None`: plain HTTP.
    pub tls: Option<ServerTls>,
    /// The tenant of requests without credentials; `None` refuses them.
    pub tenant: Option<TenantName>,
    /// Where else a request names its tenant.
    pub tenant_from: Vec<TenantSource>,
    /// Peers that may connect; empty is everyone.
    pub allow: Vec<IpNet>,
    /// What is taken; the rest is answered 415.
    pub protocols: Protocols,
    /// Refuse series that are only metadata or only exemplars.
    pub strict: bool,
    /// Take OTLP metrics over HTTP.
    pub otlp: bool,
    /// Take OTLP metrics over gRPC.
    pub grpc: bool,
    /// How long a peer may take.
    pub timeouts: Timeouts,
    /// Connections open at once; at least 1.
    pub max_connections: u32,
    /// Of them from one address; 0 is no limit.
    pub max_connections_per_ip: u32,
}

/// A place in a request that names a tenant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TenantSource {
    /// The `Host` header.
    Host(HostPattern),
    /// A request header, by lower-case name.
    Header(String),
    /// The paths that carry a tenant.
    Path,
    /// VictoriaMetrics' `AccountID` and `ProjectID`.
    VmHeaders,
}

/// The message schemas and compressions a listener takes. At least one of `v1` and `v2` is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Protocols {
    /// Remote write 1.0.
    pub v1: bool,
    /// Remote write 2.0.
    pub v2: bool,
    /// zstd bodies (VictoriaMetrics), beside snappy.
    pub zstd: bool,
}

/// How long a listener waits; none is zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// For the request's header.
    pub header: Duration,
    /// For the whole body.
    pub body: Duration,
    /// For the next request on a kept-alive connection.
    pub idle: Duration,
}

/// The admin listener. Off loopback it has a credential, or serves only what is public.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Admin {
    /// The address to bind.
    pub address: SocketAddr,
    /// `None`: plain HTTP.
    pub tls: Option<ServerTls>,
    /// What callers must show for everything that is not public.
    pub credential: Option<AdminCredential>,
    /// What is served without a credential.
    pub public: AdminPublic,
    /// Serve nothing but what is public: the address is not loopback and there is no credential.
    pub public_only: bool,
}

/// What an admin caller must show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AdminCredential {
    /// `Authorization: Bearer …`.
    Bearer(SecretSource),
    /// `Authorization: Basic …`.
    Basic {
        /// The user's name.
        username: TextSource,
        /// The password.
        password: SecretSource,
    },
}

/// The admin paths anyone may read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AdminPublic {
    /// `/metrics`.
    pub metrics: bool,
    /// `/-/healthy`.
    pub healthy: bool,
    /// `/-/ready`.
    pub ready: bool,
}

/// The durable log and its bounds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    /// The data directory.
    pub path: PathBuf,
    /// How long records stay after every endpoint has them.
    pub retain: Duration,
    /// Bytes per tenant; at least 1 MiB.
    pub max_size: u64,
    /// All tenants together.
    pub max_total_size: Size,
    /// Bytes the file system must keep free.
    pub min_free: u64,
    /// What gives way when a log is full.
    pub on_full: OnFull,
}

/// An amount of disk; the default is all of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Size {
    /// Absolute; not 0.
    Bytes(u64),
    /// Of the file system, 1 to 100.
    Percent(u8),
}

impl Default for Size {
    fn default() -> Self {
        Self::Percent(100)
    }
}

/// What happens when a log is full.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnFull {
    /// The oldest segments expire, counted.
    #[default]
    DropOldest,
    /// Senders get 503.
    Refuse,
}
