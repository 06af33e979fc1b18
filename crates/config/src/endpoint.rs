//! One remote-write target: a `remote_write` entry with Prometheus' keys and our own.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::config::OnFull;
use crate::relabel::{NameEscaping, RelabelConfig};
use crate::secret::{Secret, SecretSource, TextSource};
use crate::tenant::TenantPattern;
use crate::url::Url;

/// A remote-write target, as configured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// The identity of cursor, books and dead letters: unique, 1 to 255 bytes, no control characters.
    pub name: String,
    /// Where requests go.
    pub url: Url,
    /// For one request, from connect to the end of the answer; not zero.
    pub remote_timeout: Duration,
    /// Sent with every request; never a reserved one. A name may come more than once.
    pub headers: Vec<Header>,
    /// How the gateway shows who it is.
    pub auth: Auth,
    /// `None`: the system's certificate authorities, no client certificate.
    pub tls: Option<ClientTls>,
    /// `None`: connect directly.
    pub proxy: Option<Proxy>,
    /// Batch sizes and backoff.
    pub queue: Queue,
    /// The message schema to send.
    pub protocol: ProtocolChoice,
    /// The compression to send.
    pub compression: CompressionChoice,
    /// Whether exemplars are sent; what this drops is counted.
    pub send_exemplars: bool,
    /// Whether native histograms are sent; what this drops is counted.
    pub send_native_histograms: bool,
    /// Whether metadata is sent.
    pub metadata_send: bool,
    /// Whether 307 and 308 are followed, with the body. The other redirects would lose it (RFC 9110 §15.4).
    pub follow_redirects: bool,
    /// Whether HTTP/2 is offered (over TLS).
    pub enable_http2: bool,
    /// Whether each connection goes to a random one of the name's addresses.
    pub round_robin_dns: bool,
    /// Whose data goes here; empty is every tenant.
    pub tenants: Vec<TenantPattern>,
    /// The request header that carries the tenant's id.
    pub tenant_header: Option<String>,
    /// The label that carries the tenant's id; not empty, and never one that starts with `__`.
    pub tenant_label: Option<String>,
    /// Where a new endpoint starts in logs that already exist.
    pub from: StartFrom,
    /// Samples older than this expire, counted; not zero.
    pub max_age: Option<Duration>,
    /// `Refuse`: a log full of what this endpoint still needs takes no more. `DropOldest`: the policy of the tenant's
    /// log holds.
    pub on_full: OnFull,
    /// Applied to each series before it is sent.
    pub write_relabel_configs: Vec<RelabelConfig>,
    /// What is done after that with names that receivers before Prometheus 3.0 do not take; `None`: they are sent as
    /// they are.
    pub name_escaping: Option<NameEscaping>,
}

impl Endpoint {
    /// Whether data of `tenant` goes to this endpoint.
    #[must_use]
    pub fn takes(&self, tenant: &str) -> bool {
        self.tenants.is_empty() || self.tenants.iter().any(|pattern| pattern.matches(tenant))
    }
}

/// A request header of the operator's choosing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// As written; a valid field name.
    pub name: String,
    /// What it says.
    pub value: HeaderValue,
}

/// The value of a configured header: visible ASCII, spaces and tabs, or unread.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HeaderValue {
    /// May be shown.
    Text(String),
    /// Must not be shown: from `secrets`, or the name suggests a credential.
    Secret(Secret),
    /// In a file, white space around it cut; must not be shown.
    File(PathBuf),
}

/// How the gateway authenticates to an endpoint; at most one way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Auth {
    /// Not at all.
    None,
    /// RFC 7617.
    Basic {
        /// The user's name.
        username: TextSource,
        /// The password; empty if none was written.
        password: SecretSource,
    },
    /// An `Authorization` header with a scheme (`Bearer` unless written) and credentials.
    Authorization {
        /// The scheme; never `Basic`.
        scheme: String,
        /// What follows the scheme.
        credentials: SecretSource,
    },
    /// A token from an OAuth 2.0 server.
    OAuth2(Box<OAuth2>),
    /// AWS signature version 4.
    SigV4(SigV4),
    /// A token from Microsoft Entra ID.
    AzureAd(AzureAd),
}

/// How a token is fetched (RFC 6749 §4.4, RFC 7523).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OAuth2 {
    /// The client's identifier.
    pub client_id: String,
    /// How the client proves itself.
    pub grant: OAuth2Grant,
    /// Requested scopes.
    pub scopes: Vec<String>,
    /// Where tokens come from.
    pub token_url: Url,
    /// Further parameters of the token request. Some carry a password.
    pub endpoint_params: Vec<(String, Secret)>,
    /// TLS towards the token server.
    pub tls: Option<ClientTls>,
    /// Proxy towards the token server.
    pub proxy: Option<Proxy>,
}

/// The grant of a token request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OAuth2Grant {
    /// `client_credentials`.
    ClientSecret(SecretSource),
    /// `urn:ietf:params:oauth:grant-type:jwt-bearer`: an assertion signed with a key.
    JwtBearer {
        /// PEM of the signing key.
        key: SecretSource,
        /// The key's id, in the assertion's header.
        key_id: Option<String>,
        /// `RS256`, `RS384` or `RS512`.
        signature_algorithm: String,
        /// The `iss` claim; the client id if absent.
        issuer: Option<String>,
        /// The `aud` claim; the token URL if absent.
        audience: Option<String>,
        /// Further claims, as text.
        claims: Vec<(String, String)>,
    },
}

impl OAuth2Grant {
    /// The grant type of an assertion (RFC 7523 §2.1).
    pub const JWT_BEARER: &'static str = "urn:ietf:params:oauth:grant-type:jwt-bearer";
}

/// AWS credentials and what they are scoped to. Absent values come from the environment, as in the AWS SDKs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SigV4 {
    /// The region to sign for.
    pub region: Option<String>,
    /// Access key and secret key.
    pub keys: Option<(String, SecretSource)>,
    /// A named profile.
    pub profile: Option<String>,
    /// A role to assume.
    pub role_arn: Option<String>,
    /// The external id that goes with the role.
    pub external_id: Option<String>,
    /// Whether STS is asked at its FIPS address.
    pub use_fips_sts_endpoint: bool,
    /// The service to sign for; `aps` if absent.
    pub service_name: Option<String>,
}

/// Microsoft Entra ID: one cloud, one way to get a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AzureAd {
    /// Which cloud.
    pub cloud: AzureCloud,
    /// How a token is had.
    pub identity: AzureIdentity,
    /// The scope asked for, instead of the cloud's default.
    pub scope: Option<String>,
}

/// Microsoft's clouds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AzureCloud {
    /// `AzurePublic`.
    #[default]
    Public,
    /// `AzureChina`.
    China,
    /// `AzureGovernment`.
    Government,
}

/// The ways to a token that Prometheus knows, without `sdk`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AzureIdentity {
    /// `managed_identity`; a system-assigned one has no client id.
    Managed {
        /// A UUID.
        client_id: Option<String>,
    },
    /// `workload_identity`.
    Workload {
        /// A UUID.
        client_id: String,
        /// A UUID.
        tenant_id: String,
        /// Where the projected token is.
        token_file: PathBuf,
    },
    /// `oauth`.
    OAuth {
        /// A UUID.
        client_id: String,
        /// The client's secret.
        client_secret: SecretSource,
        /// A directory's UUID or domain.
        tenant_id: String,
    },
    /// `certificate`.
    Certificate {
        /// A UUID.
        client_id: String,
        /// PEM, with its key.
        certificate: PathBuf,
        /// A directory's UUID or domain.
        tenant_id: String,
    },
}

/// TLS towards a server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientTls {
    /// Trusted authorities, PEM; the system's if absent.
    pub ca: Option<TextSource>,
    /// Client certificate chain and its key, PEM.
    pub identity: Option<(TextSource, SecretSource)>,
    /// The name to verify instead of the URL's host.
    pub server_name: Option<String>,
    /// Whether any certificate is believed.
    pub insecure_skip_verify: bool,
    /// The lowest version; the library's default if absent.
    pub min_version: Option<TlsVersion>,
    /// The highest version; the library's default if absent.
    pub max_version: Option<TlsVersion>,
}

impl ClientTls {
    /// The files that hold a part of it.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        let ca = self.ca.as_ref().and_then(TextSource::file);
        let identity = self.identity.as_ref().map(|(chain, key)| [chain.file(), key.file()]);
        [ca].into_iter().chain(identity.into_iter().flatten()).flatten()
    }
}

/// A version of TLS, in Prometheus' spelling `TLS12`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TlsVersion {
    /// `TLS10`.
    Tls10,
    /// `TLS11`.
    Tls11,
    /// `TLS12`.
    Tls12,
    /// `TLS13`.
    Tls13,
}

/// The proxy between the gateway and a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proxy {
    /// Which proxy, and for whom not.
    pub choice: ProxyChoice,
    /// Headers of the `CONNECT` request.
    pub connect_headers: Vec<(String, Secret)>,
}

/// Where a proxy is named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProxyChoice {
    /// `proxy_url`, except for the hosts of `no_proxy`.
    Url {
        /// The proxy.
        url: Url,
        /// The user and password in its URL.
        user: Option<(String, Secret)>,
        /// Hosts, domains and CIDRs reached directly.
        no_proxy: Vec<String>,
    },
    /// `HTTP_PROXY`, `HTTPS_PROXY` and `NO_PROXY`.
    Environment,
}

/// How samples are batched and retried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Queue {
    /// Samples, histograms and exemplars of one request; at least 1.
    pub max_samples_per_send: u32,
    /// The first pause after a failure; not zero, at most `max_backoff`.
    pub min_backoff: Duration,
    /// The longest pause after a failure.
    pub max_backoff: Duration,
    /// Whether 429 is retried; if not, such batches are dead letters.
    pub retry_on_http_429: bool,
}

/// The message schema an endpoint gets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ProtocolChoice {
    /// Negotiated and remembered.
    #[default]
    Auto,
    /// `prometheus.WriteRequest`.
    V1,
    /// `io.prometheus.write.v2.Request`.
    V2,
}

/// The compression an endpoint gets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CompressionChoice {
    /// Negotiated and remembered.
    #[default]
    Auto,
    /// Snappy block format.
    Snappy,
    /// zstd.
    Zstd,
}

/// Where an endpoint that the log does not know starts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum StartFrom {
    /// With the next record.
    #[default]
    Latest,
    /// With the oldest record the log has.
    Earliest,
    /// With the records of this long ago; not zero.
    Back(Duration),
}
