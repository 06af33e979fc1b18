//! Reads how senders are known: `tls_config` of a listener, `authentication`, `credentials` of a tenant.

use std::collections::BTreeMap;

use crate::access::{
    Authenticator, CertificateFiles, CertificateRules, CertificateSource, ClientAuth, Credential, Issuer, Jwt, JwtKeys,
    ServerTls,
};
use crate::endpoint::TlsVersion;
use crate::read::{auth, client};
use crate::schema;
use crate::secret::{SecretSource, TextSource};
use crate::table::{Field, Report, Table};
use crate::tenant::{NamePattern, TenantName};
use crate::url::{Scheme, Url};
use crate::warn;

/// A server's `tls_config`; `None` if it says nothing, or has no certificate, which is reported.
pub(super) fn server_tls(field: Field<'_>, report: &mut Report) -> Option<ServerTls> {
    if field.node.is_neutral() {
        return None;
    }
    let table = Table::open(field, &schema::SERVER_TLS, report);
    let mut certificates: Vec<CertificateFiles> = Vec::new();
    if table.get("cert_file").is_some() || table.get("key_file").is_some() {
        certificates.extend(certificate(&table, report));
    }
    for item in table.get("certificates").map(|list| list.items(report)).unwrap_or_default() {
        certificates.extend(certificate(&Table::open(item, &schema::CERTIFICATE, report), report));
    }
    let client_auth = table.choice(
        "client_auth",
        report,
        &[("none", ClientAuth::None), ("optional", ClientAuth::Optional), ("require", ClientAuth::Require)],
    );
    let versions = [("TLS12", 2), ("TLS13", 3)];
    let min_version = match table.choice("min_version", report, &versions) {
        3 => TlsVersion::Tls13,
        _ => TlsVersion::Tls12,
    };
    let tls = ServerTls {
        client_auth,
        client_ca_file: table.get("client_ca_file").and_then(|file| file.file(report)),
        crl_file: table.get("crl_file").and_then(|file| file.file(report)),
        min_version,
        certificates,
    };
    if client_auth == ClientAuth::None && (tls.client_ca_file.is_some() || tls.crl_file.is_some()) {
        let hint = "write `client_auth: optional` or `client_auth: require`";
        table.field().warn(report, "clients are not asked for a certificate", Some(hint));
    }
    if tls.certificates.is_empty() {
        table.field().wrong(report, "a server needs a certificate: cert_file and key_file");
        return None;
    }
    Some(tls)
}

fn certificate(table: &Table<'_>, report: &mut Report) -> Option<CertificateFiles> {
    let mut file = |key: &str| {
        let file = table.get(key);
        if file.is_none() {
            table.field().wrong(report, format_args!("{key} is missing: a certificate and its key go together"));
        }
        file?.file(report)
    };
    let (cert_file, key_file) = (file("cert_file"), file("key_file"));
    Some(CertificateFiles { cert_file: cert_file?, key_file: key_file? })
}

/// The list `authentication`.
pub(super) fn authenticators(file: &Table<'_>, report: &mut Report) -> Vec<Authenticator> {
    let items = file.get("authentication").map(|list| list.items(report)).unwrap_or_default();
    items.into_iter().filter_map(|item| authenticator(item, report)).collect()
}

fn authenticator(item: Field<'_>, report: &mut Report) -> Option<Authenticator> {
    let table = Table::open(item, &schema::AUTHENTICATOR, report);
    match (table.get("jwt"), table.get("client_certificate")) {
        (Some(field), None) => jwt(field, report).map(|jwt| Authenticator::Jwt(Box::new(jwt))),
        (None, Some(field)) => certificate_rules(field, report).map(Authenticator::ClientCertificate),
        _ => {
            table.field().wrong(report, "expected exactly one of jwt and client_certificate");
            None
        }
    }
}

fn jwt(field: Field<'_>, report: &mut Report) -> Option<Jwt> {
    let table = Table::open(field, &schema::JWT, report);
    let keys = jwt_keys(&table, report);
    let audience = table.optional_text("audience", report);
    if audience.is_none() {
        let hint = "write `audience`, such as opstrace-cluster-<instance>";
        table.field().warn(report, "a token that was made for another service is taken, too", Some(hint));
    }
    let require_exp = table.bool("require_exp", report);
    if !require_exp {
        table.field().warn(report, "tokens that never expire are taken", None);
    }
    let is_fetched = matches!(keys, Some(JwtKeys::Url(_) | JwtKeys::Issuer(_)) | None);
    if let Some(field) = table.get("tls_config").filter(|field| !is_fetched && !field.node.is_neutral()) {
        field.warn(report, "has no effect: it goes with `jwks_url` and `issuer`", None);
    }
    Some(Jwt {
        tls: table.get("tls_config").and_then(|tls| client::tls(tls, report)),
        audience,
        tenant_claim: table.text("tenant_claim", report),
        tenant_pattern: table.value("tenant_pattern", report, parse_pattern),
        fallback_key_file: table.get("fallback_key_file").and_then(|file| file.file(report)),
        revoked_file: table.get("revoked_file").and_then(|file| file.file(report)),
        require_exp,
        leeway: table.duration("leeway", report),
        keys: keys?,
    })
}

fn jwt_keys(table: &Table<'_>, report: &mut Report) -> Option<JwtKeys> {
    let mut written = ["key_set_file", "key_set_env", "jwks_url", "issuer"]
        .into_iter()
        .filter_map(|key| Some((key, table.get(key)?)));
    let (Some((key, field)), None) = (written.next(), written.next()) else {
        table.field().wrong(report, "expected exactly one of key_set_file, key_set_env, jwks_url and issuer");
        return None;
    };
    match key {
        "key_set_file" => field.file(report).map(JwtKeys::File),
        "key_set_env" => field.parse(report, parse_variable).map(JwtKeys::Environment),
        "jwks_url" => {
            let url = client::url(&field, report)?;
            warn_of_plain_keys(&field, &url, report);
            Some(JwtKeys::Url(url))
        }
        _ => {
            let issuer = field.parse(report, Issuer::parse)?;
            warn_of_plain_keys(&field, issuer.discovery(), report);
            Some(JwtKeys::Issuer(issuer))
        }
    }
}

/// Whoever is between this gateway and the keys can make tokens.
pub(super) fn warn_of_plain_keys(field: &Field<'_>, url: &Url, report: &mut Report) {
    if url.scheme() == Scheme::Http && !warn::is_local(url) {
        let message = "keys come over the network without TLS: whoever is between can speak for every tenant";
        field.warn(report, message, Some("use https"));
    }
}

fn parse_variable(text: &str) -> Result<String, &'static str> {
    let valid = !text.is_empty() && !text.contains(['=', '\0']);
    if valid { Ok(text.to_owned()) } else { Err("expected the name of an environment variable") }
}

fn certificate_rules(field: Field<'_>, report: &mut Report) -> Option<CertificateRules> {
    let table = Table::open(field, &schema::CLIENT_CERTIFICATE, report);
    let words = [
        ("common_name", 1),
        ("organizational_unit", 2),
        ("organization", 3),
        ("san_uri", 4),
        ("san_dns", 5),
        ("san_email", 6),
        ("fingerprint", 7),
    ];
    let word = table.choice("tenant_from", report, &words);
    let map = table.get("fingerprints");
    if (word == 7) != map.is_some() {
        table.field().wrong(report, "`fingerprints` goes with `tenant_from: fingerprint`");
        return None;
    }
    let source = match word {
        2 => CertificateSource::OrganizationalUnit,
        3 => CertificateSource::Organization,
        4 => CertificateSource::SanUri,
        5 => CertificateSource::SanDns,
        6 => CertificateSource::SanEmail,
        7 => CertificateSource::Fingerprint(map.map(|map| fingerprints(&map, report)).unwrap_or_default()),
        _ => CertificateSource::CommonName,
    };
    Some(CertificateRules { source, pattern: table.value("pattern", report, parse_pattern) })
}

fn fingerprints(map: &Field<'_>, report: &mut Report) -> BTreeMap<String, TenantName> {
    let mut known = BTreeMap::new();
    for (key, value) in map.entries(report) {
        let fingerprint = key.parse(report, parse_fingerprint);
        let tenant = value.parse(report, TenantName::new);
        if let Some((fingerprint, tenant)) = fingerprint.zip(tenant)
            && known.insert(fingerprint, tenant).is_some()
        {
            key.wrong(report, "the fingerprint is written twice");
        }
    }
    known
}

/// As openssl prints it, with colons, or without.
fn parse_fingerprint(text: &str) -> Result<String, &'static str> {
    let digits: String = text.chars().filter(|c| *c != ':').collect::<String>().to_ascii_lowercase();
    let valid = digits.len() == 64 && digits.bytes().all(|b| b.is_ascii_hexdigit());
    if valid { Ok(digits) } else { Err("expected a SHA-256 fingerprint: 64 hexadecimal digits") }
}

/// A text with one `{tenant}` in it.
fn parse_pattern(text: &str) -> Result<NamePattern, &'static str> {
    let (prefix, suffix) = text.split_once("{tenant}").ok_or("expected a text with `{tenant}` in it")?;
    if suffix.contains("{tenant}") {
        return Err("expected one `{tenant}`");
    }
    Ok(NamePattern { prefix: prefix.to_owned(), suffix: suffix.to_owned() })
}

/// What a tenant's senders show.
pub(super) fn credentials(tenant: &Table<'_>, report: &mut Report) -> Vec<Credential> {
    let items = tenant.get("credentials").map(|list| list.items(report)).unwrap_or_default();
    items.into_iter().filter_map(|item| credential(item, report)).collect()
}

fn credential(item: Field<'_>, report: &mut Report) -> Option<Credential> {
    let table = Table::open(item, &schema::CREDENTIAL, report);
    let mut written =
        ["bearer_token", "bearer_token_file", "basic_auth"].into_iter().filter_map(|key| Some((key, table.get(key)?)));
    let (Some((key, field)), None) = (written.next(), written.next()) else {
        table.field().wrong(report, "expected exactly one of bearer_token, bearer_token_file and basic_auth");
        return None;
    };
    match key {
        "bearer_token" => {
            let token = table.optional_text(key, report);
            if token.is_none() {
                // Whoever shows nothing would be let in.
                field.wrong(report, "a token must not be empty");
            }
            Some(Credential::Bearer(SecretSource::Inline(crate::secret::Secret::new(token?))))
        }
        "bearer_token_file" => field.file(report).map(|file| Credential::Bearer(SecretSource::File(file))),
        _ => {
            let (username, password) = auth::basic(&field, report);
            if username == TextSource::Inline(String::new()) || password == SecretSource::default() {
                field.wrong(report, "a username and a password are needed");
            }
            Some(Credential::Basic { username, password })
        }
    }
}
