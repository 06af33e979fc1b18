//! Access tokens from Microsoft Entra ID (Microsoft identity platform, "OAuth 2.0 client credentials flow"; Azure Instance
//! Metadata Service, "Managed identities").

use std::time::SystemTime;

use aws_lc_rs::digest;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::{HeaderMap, HeaderValue, Method};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use serde_json::{Map, Value};
use writegate_config as config;

use crate::assertion::{self, Algorithm, AssertionError};
use crate::fetch::Fetcher;
use crate::oauth2::{self, form_encoded};
use crate::token::{Issued, TokenError};

/// Who vouches for a client that has a key instead of a secret (RFC 7523 §2.2).
const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
const METADATA: &str = "http://169.254.169.254";
const ASSERTION_SECONDS: u64 = 600;

/// Asks for tokens for one application or machine.
#[derive(Debug)]
pub(crate) struct Client {
    azure: config::AzureAd,
    /// Where applications ask, and where machines do, if not at the cloud's own places.
    authority: Option<String>,
    metadata: Option<String>,
    far: Fetcher,
    near: Fetcher,
}

impl Client {
    /// `far` reaches Entra ID, `near` this machine's metadata.
    pub(crate) fn new(
        azure: &config::AzureAd,
        far: Fetcher,
        near: Fetcher,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Self {
        let variable = |name: &str| variable(name).filter(|value| !value.is_empty());
        Self {
            azure: azure.clone(),
            authority: variable("AZURE_AUTHORITY_HOST"),
            metadata: variable("AZURE_POD_IDENTITY_AUTHORITY_HOST"),
            far,
            near,
        }
    }

    /// What a token is asked for with, as it is at this moment; empty for a machine.
    pub(crate) fn secret(&self) -> Result<config::Secret, config::ReadSecret> {
        match &self.azure.identity {
            config::AzureIdentity::Managed { .. } => Ok(config::Secret::default()),
            config::AzureIdentity::OAuth { client_secret, .. } => client_secret.read(),
            config::AzureIdentity::Workload { token_file: file, .. }
            | config::AzureIdentity::Certificate { certificate: file, .. } => {
                config::SecretSource::File(file.clone()).read()
            }
        }
    }

    pub(crate) async fn ask(
        &self,
        secret: &config::Secret,
        now: SystemTime,
    ) -> Result<Issued<HeaderValue>, TokenError> {
        match &self.azure.identity {
            config::AzureIdentity::Managed { client_id } => self.ask_machine(client_id.as_deref()).await,
            config::AzureIdentity::OAuth { client_id, tenant_id, .. } => {
                self.ask_for(client_id, tenant_id, &[("client_secret", secret.expose())]).await
            }
            config::AzureIdentity::Workload { client_id, tenant_id, .. } => {
                let assertion = [("client_assertion_type", ASSERTION_TYPE), ("client_assertion", secret.expose())];
                self.ask_for(client_id, tenant_id, &assertion).await
            }
            config::AzureIdentity::Certificate { client_id, tenant_id, certificate } => {
                let audience = self.token_url(tenant_id)?.expose();
                let assertion = assertion(client_id, &audience, secret, certificate, now)?;
                let assertion = [("client_assertion_type", ASSERTION_TYPE), ("client_assertion", &assertion)];
                self.ask_for(client_id, tenant_id, &assertion).await
            }
        }
    }

    async fn ask_for(
        &self,
        client_id: &str,
        tenant_id: &str,
        proof: &[(&str, &str)],
    ) -> Result<Issued<HeaderValue>, TokenError> {
        let url = self.token_url(tenant_id)?;
        let mut form = vec![("grant_type", "client_credentials"), ("client_id", client_id), ("scope", self.scope())];
        form.extend(proof);
        let fetched = self.far.post_form(&url, HeaderMap::new(), &form).await?;
        // The last of the proof is what nobody may read.
        let secret = proof.last().map_or("", |(_, value)| value);
        let secrets = [secret.to_owned(), form_encoded(secret)];
        oauth2::read(&Method::POST, &url, fetched, &secrets)
    }

    async fn ask_machine(&self, client_id: Option<&str>) -> Result<Issued<HeaderValue>, TokenError> {
        // Entra ID takes a scope, the metadata service the resource that it is of.
        let resource = config::percent_encoded(self.scope().trim_end_matches("/.default"));
        let client_id = client_id.map(|id| format!("&client_id={id}")).unwrap_or_default();
        let base = self.metadata.as_deref().unwrap_or(METADATA).trim_end_matches('/');
        let path = "metadata/identity/oauth2/token?api-version=2018-02-01";
        let url = parse(&format!("{base}/{path}&resource={resource}{client_id}"))?;
        let mut headers = HeaderMap::new();
        headers.insert("metadata", HeaderValue::from_static("true"));
        let fetched = self.near.get(&url, headers).await?;
        oauth2::read(&Method::GET, &url, fetched, &[])
    }

    fn token_url(&self, tenant_id: &str) -> Result<config::Url, TokenError> {
        let host = self.authority.as_deref().unwrap_or(match self.azure.cloud {
            config::AzureCloud::Public => "https://login.microsoftonline.com",
            config::AzureCloud::China => "https://login.chinacloudapi.cn",
            config::AzureCloud::Government => "https://login.microsoftonline.us",
        });
        parse(&format!("{}/{tenant_id}/oauth2/v2.0/token", host.trim_end_matches('/')))
    }

    /// Azure Monitor's, of which the double slash is a part.
    fn scope(&self) -> &str {
        self.azure.scope.as_deref().unwrap_or(match self.azure.cloud {
            config::AzureCloud::Public => "https://monitor.azure.com//.default",
            config::AzureCloud::China => "https://monitor.azure.cn//.default",
            config::AzureCloud::Government => "https://monitor.azure.us//.default",
        })
    }
}

fn parse(text: &str) -> Result<config::Url, TokenError> {
    config::Url::parse(text).map_err(TokenError::Address)
}

/// Signed with the certificate's key (Microsoft identity platform, "Application authentication certificate credentials").
fn assertion(
    client_id: &str,
    audience: &str,
    pem: &config::Secret,
    file: &std::path::Path,
    now: SystemTime,
) -> Result<String, TokenError> {
    let certificate = CertificateDer::from_pem_slice(pem.expose().as_bytes()).map_err(|_unshown| {
        let why = "no PEM block `CERTIFICATE` in it (PKCS #12 is not read; convert it with openssl pkcs12 -nodes)";
        AssertionError::Key { place: format!(" in {}", file.display()), why }
    })?;
    let thumbprint = URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, &certificate));
    let now = oauth2::seconds(now);
    let claims: [(&str, Value); 7] = [
        ("aud", audience.into()),
        ("iss", client_id.into()),
        ("sub", client_id.into()),
        ("jti", assertion::uuid()?.into()),
        ("nbf", now.into()),
        ("iat", now.into()),
        ("exp", (now + ASSERTION_SECONDS).into()),
    ];
    let claims: Map<String, Value> = claims.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    Ok(assertion::sign(Algorithm::Ps256, &[("x5t#S256", &thumbprint)], claims, pem, Some(file))?)
}

#[cfg(test)]
mod tests;
