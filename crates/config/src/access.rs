//! Who may speak and how they show who they are: TLS of the listeners, authenticators, tenants' credentials.
//!
//! Nothing here reads YAML or a certificate; `read::access` and the gateway do.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use crate::endpoint::{ClientTls, TlsVersion};
use crate::secret::{SecretSource, TextSource};
use crate::tenant::{NamePattern, TenantName};
use crate::url::{InvalidUrl, Url};

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
    /// An `OpenID` provider, which says where its keys are. Its tokens must name it.
    Issuer(Issuer),
}

/// An `OpenID` provider (`OpenID` Connect Discovery 1.0): an `http` or `https` URL without query, fragment and credentials.
#[derive(Clone, PartialEq, Eq)]
pub struct Issuer {
    /// As written: tokens and the provider's own description must say exactly this.
    text: String,
    /// Where the provider describes itself.
    discovery: Url,
}

impl Issuer {
    /// Checks `text`.
    ///
    /// # Errors
    /// If it is no such URL.
    pub fn parse(text: &str) -> Result<Self, InvalidIssuer> {
        Url::parse(text)?;
        if text.contains(['?', '#']) {
            return Err(InvalidIssuer::Query);
        }
        // §4.1: a slash at the end is cut before the well-known path is added.
        let base = text.strip_suffix('/').unwrap_or(text);
        let discovery = Url::parse(&format!("{base}/.well-known/openid-configuration"))?;
        Ok(Self { text: text.to_owned(), discovery })
    }

    /// The issuer as written, which is what `iss` must be.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Where the provider describes itself.
    #[must_use]
    pub fn discovery(&self) -> &Url {
        &self.discovery
    }
}

impl fmt::Debug for Issuer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Display for Issuer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Why a text is no issuer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidIssuer {
    /// No URL at all.
    #[error(transparent)]
    Url(#[from] InvalidUrl),
    /// Discovery has no place for them.
    #[error("an issuer's url has neither a query nor a fragment")]
    Query,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_issuer_is_kept_as_written_and_describes_itself_below_it() {
        for (text, discovery) in [
            ("https://id.example.org", "https://id.example.org/.well-known/openid-configuration"),
            ("https://id.example.org/", "https://id.example.org/.well-known/openid-configuration"),
            ("HTTPS://ID.example.org:8443/dex", "https://id.example.org:8443/dex/.well-known/openid-configuration"),
            ("http://[::1]/realms/a/", "http://[::1]/realms/a/.well-known/openid-configuration"),
        ] {
            let issuer = Issuer::parse(text).unwrap();
            assert_eq!((issuer.as_str(), issuer.discovery().redacted().as_str()), (text, discovery));
        }
        for (text, error) in [
            ("id.example.org", InvalidIssuer::Url(InvalidUrl::Scheme)),
            ("https://a:b@id.example.org", InvalidIssuer::Url(InvalidUrl::User)),
            ("https://id.example.org?a=b", InvalidIssuer::Query),
            ("https://id.example.org/#a", InvalidIssuer::Query),
        ] {
            assert_eq!(Issuer::parse(text), Err(error), "{text}");
        }
    }
}
