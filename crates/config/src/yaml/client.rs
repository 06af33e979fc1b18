//! What a server is shown that the gateway sends to, and the way to it: credentials, TLS, proxy.

use std::fmt;

use super::{Yaml, basic, quoted, text_entries};
use crate::endpoint::{
    Auth, AzureAd, AzureCloud, AzureIdentity, ClientTls, OAuth2, OAuth2Grant, Proxy, ProxyChoice, SigV4, TlsVersion,
};
use crate::secret::{HIDDEN, Secret, name_suggests_secret};
use crate::url::percent_encoded;

pub(super) fn auth(out: &mut Yaml<'_, '_>, auth: &Auth) -> fmt::Result {
    match auth {
        Auth::None => Ok(()),
        Auth::Basic { username, password } => basic(out, username, password),
        Auth::Authorization { scheme, credentials } => out.mapping("authorization", |out| {
            out.text("type", scheme)?;
            out.secret("credentials", credentials)
        }),
        Auth::OAuth2(config) => out.mapping("oauth2", |out| oauth2(out, config)),
        Auth::SigV4(config) => out.mapping("sigv4", |out| sigv4(out, config)),
        Auth::AzureAd(config) => out.mapping("azuread", |out| azure_ad(out, config)),
    }
}

fn oauth2(out: &mut Yaml<'_, '_>, config: &OAuth2) -> fmt::Result {
    out.text("client_id", &config.client_id)?;
    match &config.grant {
        OAuth2Grant::ClientSecret(secret) => out.secret("client_secret", secret)?,
        OAuth2Grant::JwtBearer { key, key_id, signature_algorithm, issuer, audience, claims } => {
            out.text("grant_type", OAuth2Grant::JWT_BEARER)?;
            out.secret("client_certificate_key", key)?;
            out.optional("client_certificate_key_id", key_id.as_ref())?;
            out.plain("signature_algorithm", signature_algorithm)?;
            out.optional("iss", issuer.as_ref())?;
            out.optional("audience", audience.as_ref())?;
            text_entries(out, "claims", claims.iter().map(|(name, value)| (name, value)))?;
        }
    }
    out.texts("scopes", &config.scopes)?;
    out.text("token_url", config.token_url.redacted())?;
    let shown = |(name, value): &(String, Secret)| {
        let value = if name_suggests_secret(name) { HIDDEN } else { value.expose() };
        (name.clone(), value.to_owned())
    };
    let params: Vec<_> = config.endpoint_params.iter().map(shown).collect();
    text_entries(out, "endpoint_params", params.iter().map(|(name, value)| (name, value)))?;
    if let Some(config) = &config.tls {
        tls(out, config)?;
    }
    config.proxy.as_ref().map_or(Ok(()), |config| proxy(out, config))
}

fn sigv4(out: &mut Yaml<'_, '_>, config: &SigV4) -> fmt::Result {
    out.optional("region", config.region.as_ref())?;
    if let Some((access_key, secret_key)) = &config.keys {
        out.text("access_key", access_key)?;
        out.secret("secret_key", secret_key)?;
    }
    out.optional("profile", config.profile.as_ref())?;
    out.optional("role_arn", config.role_arn.as_ref())?;
    out.optional("external_id", config.external_id.as_ref())?;
    out.plain("use_fips_sts_endpoint", config.use_fips_sts_endpoint)?;
    out.optional("service_name", config.service_name.as_ref())
}

fn azure_ad(out: &mut Yaml<'_, '_>, config: &AzureAd) -> fmt::Result {
    let cloud = match config.cloud {
        AzureCloud::Public => "AzurePublic",
        AzureCloud::China => "AzureChina",
        AzureCloud::Government => "AzureGovernment",
    };
    out.plain("cloud", cloud)?;
    match &config.identity {
        AzureIdentity::Managed { client_id: None } => out.plain("managed_identity", "{}")?,
        AzureIdentity::Managed { client_id: Some(id) } => {
            out.mapping("managed_identity", |out| out.text("client_id", id))?;
        }
        AzureIdentity::Workload { client_id, tenant_id, token_file } => out.mapping("workload_identity", |out| {
            out.text("client_id", client_id)?;
            out.text("tenant_id", tenant_id)?;
            out.text("token_file_path", token_file.display())
        })?,
        AzureIdentity::OAuth { client_id, client_secret, tenant_id } => out.mapping("oauth", |out| {
            out.text("client_id", client_id)?;
            out.secret("client_secret", client_secret)?;
            out.text("tenant_id", tenant_id)
        })?,
        AzureIdentity::Certificate { client_id, certificate, tenant_id } => out.mapping("certificate", |out| {
            out.text("client_id", client_id)?;
            out.text("certificate_path", certificate.display())?;
            out.text("tenant_id", tenant_id)
        })?,
    }
    out.optional("scope", config.scope.as_ref())
}

pub(super) fn tls(out: &mut Yaml<'_, '_>, config: &ClientTls) -> fmt::Result {
    let version = |version: TlsVersion| match version {
        TlsVersion::Tls10 => "TLS10",
        TlsVersion::Tls11 => "TLS11",
        TlsVersion::Tls12 => "TLS12",
        TlsVersion::Tls13 => "TLS13",
    };
    out.mapping("tls_config", |out| {
        if let Some(ca) = &config.ca {
            out.source("ca", ca)?;
        }
        if let Some((cert, key)) = &config.identity {
            out.source("cert", cert)?;
            out.secret("key", key)?;
        }
        out.optional("server_name", config.server_name.as_ref())?;
        out.plain("insecure_skip_verify", config.insecure_skip_verify)?;
        if let Some(min) = config.min_version {
            out.plain("min_version", version(min))?;
        }
        config.max_version.map_or(Ok(()), |max| out.plain("max_version", version(max)))
    })
}

pub(super) fn proxy(out: &mut Yaml<'_, '_>, config: &Proxy) -> fmt::Result {
    match &config.choice {
        ProxyChoice::Environment => out.plain("proxy_from_environment", true)?,
        ProxyChoice::Url { url, user, no_proxy } => {
            let user = user.as_ref().map(|(user, password)| {
                let hidden = if password.expose().is_empty() { "" } else { ":xxxxx" };
                format!("{}{hidden}@", percent_encoded(user))
            });
            let shown = url.redacted().replacen("://", &format!("://{}", user.unwrap_or_default()), 1);
            out.text("proxy_url", shown)?;
            if !no_proxy.is_empty() {
                out.text("no_proxy", no_proxy.join(","))?;
            }
        }
    }
    let mut headers: Vec<(&str, Vec<&str>)> = Vec::new();
    for (name, _) in &config.connect_headers {
        match headers.iter_mut().find(|(known, _)| known == name) {
            Some((_, values)) => values.push(HIDDEN),
            None => headers.push((name, vec![HIDDEN])),
        }
    }
    if headers.is_empty() {
        return Ok(());
    }
    out.mapping("proxy_connect_header", |out| {
        headers.into_iter().try_for_each(|(name, values)| out.texts(&quoted(name), values))
    })
}
