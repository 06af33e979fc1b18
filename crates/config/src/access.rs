//! Who may speak and how they show who they are: TLS of the listeners, authenticators, tenants' credentials.
//!
//! Nothing here reads YAML or a certificate; `read::access` and the gateway do.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use crate::endpoint::{ClientTls, TlsVersion};
use crate::secret::{SecretSource, TextSource};
use crate::tenant::{NamePattern, TenantName};
use crate::url::Url;

/// TLS of a listener or of the admin server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerTls {
    /// Chosen by the name the client asks for (SNI, RFC 6066 §3); the first where none fits. At least one.
    pub certificates: Vec<CertificateFiles>,
    /// Whether clients show a certificate.
    pub client_auth: ClientAuth,
    /// Authorities of client certificates, PEM. Tenants may have others of their own.
    pub client_ca_file: Option<PathBuf>,
    /// Revoked client certificates, PEM (RFC 5280 §5).
    pub crl_file: Option<PathBuf>,
    /// TLS 1.2 or 1.3.
    pub min_version: TlsVersion,
}

/// A certificate chain and its key, PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateFiles {
    /// The server's certificate first, then those that lead to its authority.
    pub cert_file: PathBuf,
    /// The key.
    pub key_file: PathBuf,
}

/// Whether clients show a certificate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ClientAuth {
    /// They are not asked.
    #[default]
    None,
    /// Those that have one show it; what they show must be valid.
    Optional,
    /// Nobody connects without.
    Require,
}

/// A way to tell who is speaking, for all tenants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Authenticator {
    /// Signed tokens (RFC 7519).
    Jwt(Box<Jwt>),
    /// The client's certificate.
    ClientCertificate(CertificateRules),
}

/// How a signed token is checked, and where it names the tenant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Jwt {
    /// Keys by id.
    pub keys: JwtKeys,
    /// Towards the server of keys; `None`: the system's authorities.
    pub tls: Option<ClientTls>,
    /// What `aud` must contain; `None`: it is not checked.
    pub audience: Option<String>,
    /// The claim that names the tenant.
    pub tenant_claim: String,
    /// Where in the claim.
    pub tenant_pattern: NamePattern,
    /// A public key, PEM, for tokens that name no key.
    pub fallback_key_file: Option<PathBuf>,
    /// Tokens that are not taken any more.
    pub revoked_file: Option<PathBuf>,
    /// Whether a token without `exp` is refused.
    pub require_exp: bool,
    /// How far clocks may differ.
    pub leeway: Duration,
}

/// Where the keys of signed tokens are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JwtKeys {
    /// Opstrace's `{kid: PEM}` or a JWK set (RFC 7517 §5).
    File(PathBuf),
    /// The same, in an environment variable.
    Environment(String),
    /// A JWK set.
    Url(Url),
    /// An `OpenID` provider, which says where its keys are.
    Issuer(Url),
}

/// Which part of a client certificate names the tenant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateRules {
    /// The part.
    pub source: CertificateSource,
    /// Where in it.
    pub pattern: NamePattern,
}

/// A part of a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CertificateSource {
    /// The subject's common name.
    CommonName,
    /// The subject's organizational unit.
    OrganizationalUnit,
    /// The subject's organization.
    Organization,
    /// A URI among the alternative names (RFC 5280 §4.2.1.6), such as SPIFFE's.
    SanUri,
    /// A DNS name among them.
    SanDns,
    /// An e-mail address among them.
    SanEmail,
    /// The SHA-256 of the certificate, 64 lower-case hexadecimal digits, and whose it is.
    Fingerprint(BTreeMap<String, TenantName>),
}

/// What a tenant's senders show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Credential {
    /// `Authorization: Bearer …`, or the password of any user.
    Bearer(SecretSource),
    /// `Authorization: Basic …`; the password may be a bcrypt hash.
    Basic {
        /// The user's name.
        username: TextSource,
        /// The password, or its hash.
        password: SecretSource,
    },
}
