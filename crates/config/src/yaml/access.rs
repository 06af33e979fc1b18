//! Prints who may speak: TLS of the servers, authenticators.

use std::fmt;

use super::{Yaml, quoted, tls};
use crate::access::{Authenticator, CertificateFiles, CertificateSource, ClientAuth, Jwt, JwtKeys, ServerTls};
use crate::endpoint::TlsVersion;
use crate::secret::{SecretSource, TextSource};
use crate::units::ShowDuration;

pub(super) fn server_tls(out: &mut Yaml<'_, '_>, tls: &ServerTls) -> fmt::Result {
    let pair = |out: &mut Yaml<'_, '_>, files: &CertificateFiles| {
        out.text("cert_file", files.cert_file.display())?;
        out.text("key_file", files.key_file.display())
    };
    out.mapping("tls_config", |out| {
        let (first, more) = tls.certificates.split_first().ok_or(fmt::Error)?;
        pair(out, first)?;
        out.list("certificates", more, pair)?;
        out.plain(
            "client_auth",
            match tls.client_auth {
                ClientAuth::None => "none",
                ClientAuth::Optional => "optional",
                ClientAuth::Require => "require",
            },
        )?;
        out.file("client_ca_file", tls.client_ca_file.as_ref())?;
        out.file("crl_file", tls.crl_file.as_ref())?;
        out.plain("min_version", if tls.min_version == TlsVersion::Tls13 { "TLS13" } else { "TLS12" })
    })
}

pub(super) fn authenticator(out: &mut Yaml<'_, '_>, authenticator: &Authenticator) -> fmt::Result {
    match authenticator {
        Authenticator::Jwt(config) => out.mapping("jwt", |out| jwt(out, config)),
        Authenticator::ClientCertificate(rules) => out.mapping("client_certificate", |out| {
            let source = match &rules.source {
                CertificateSource::CommonName => "common_name",
                CertificateSource::OrganizationalUnit => "organizational_unit",
                CertificateSource::Organization => "organization",
                CertificateSource::SanUri => "san_uri",
                CertificateSource::SanDns => "san_dns",
                CertificateSource::SanEmail => "san_email",
                CertificateSource::Fingerprint(_) => "fingerprint",
            };
            out.plain("tenant_from", source)?;
            out.text("pattern", &rules.pattern)?;
            let CertificateSource::Fingerprint(known) = &rules.source else { return Ok(()) };
            out.mapping("fingerprints", |out| {
                known.iter().try_for_each(|(print, tenant)| out.text(&quoted(print), tenant))
            })
        }),
    }
}

fn jwt(out: &mut Yaml<'_, '_>, jwt: &Jwt) -> fmt::Result {
    match &jwt.keys {
        JwtKeys::File(file) => out.text("key_set_file", file.display())?,
        JwtKeys::Environment(variable) => out.text("key_set_env", variable)?,
        JwtKeys::Url(url) => out.text("jwks_url", url.redacted())?,
        JwtKeys::Issuer(issuer) => out.text("issuer", issuer)?,
    }
    jwt.tls.as_ref().map_or(Ok(()), |config| tls(out, config))?;
    out.optional("audience", jwt.audience.as_ref())?;
    out.text("tenant_claim", &jwt.tenant_claim)?;
    out.text("tenant_pattern", &jwt.tenant_pattern)?;
    out.file("fallback_key_file", jwt.fallback_key_file.as_ref())?;
    out.file("revoked_file", jwt.revoked_file.as_ref())?;
    out.plain("require_exp", jwt.require_exp)?;
    out.plain("leeway", ShowDuration(jwt.leeway))
}

pub(super) fn basic(out: &mut Yaml<'_, '_>, username: &TextSource, password: &SecretSource) -> fmt::Result {
    out.mapping("basic_auth", |out| {
        out.source("username", username)?;
        out.secret("password", password)
    })
}
