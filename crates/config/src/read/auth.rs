//! Reads how the gateway authenticates to an endpoint: Prometheus' blocks, at most one of them.

use std::path::PathBuf;

use crate::endpoint::{Auth, AzureAd, AzureCloud, AzureIdentity, OAuth2, OAuth2Grant, SigV4};
use crate::read::client;
use crate::schema;
use crate::secret::{Secret, SecretSource, TextSource};
use crate::table::{Field, Report, Table};

/// Scheme of `bearer_token` and of an `authorization` without `type`.
const BEARER: &str = "Bearer";

/// The authentication keys of `table`, which is an endpoint's or its HTTP client's.
pub(super) fn auth(table: &Table<'_>, endpoint: Option<&Table<'_>>, report: &mut Report) -> Auth {
    let mut found = Vec::new();
    if let Some(field) = table.get("basic_auth") {
        let (username, password) = basic(&field, report);
        found.push(("basic_auth", field, Auth::Basic { username, password }));
    }
    if let Some(field) = table.get("authorization") {
        let auth = authorization(field.clone(), report);
        found.push(("authorization", field, auth));
    }
    if let Some(field) = table.get("bearer_token").filter(|field| field.node.text() != Some("")) {
        let credentials = SecretSource::Inline(Secret::new(field.text(report).unwrap_or_default()));
        found.push(("bearer_token", field, Auth::Authorization { scheme: BEARER.to_owned(), credentials }));
    }
    if let Some(field) = table.get("bearer_token_file").filter(|field| field.node.text() != Some("")) {
        let credentials = SecretSource::File(field.file(report).unwrap_or_default());
        found.push(("bearer_token_file", field, Auth::Authorization { scheme: BEARER.to_owned(), credentials }));
    }
    if let Some(field) = table.get("oauth2") {
        let auth = oauth2(field.clone(), report).map_or(Auth::None, |oauth2| Auth::OAuth2(Box::new(oauth2)));
        found.push(("oauth2", field, auth));
    }
    if let Some(field) = endpoint.and_then(|endpoint| endpoint.get("sigv4")) {
        let auth = Auth::SigV4(sigv4(field.clone(), report));
        found.push(("sigv4", field, auth));
    }
    if let Some(field) = endpoint.and_then(|endpoint| endpoint.get("azuread")) {
        let auth = azure_ad(field.clone(), report).map_or(Auth::None, Auth::AzureAd);
        found.push(("azuread", field, auth));
    }
    if let Some(field) = endpoint.and_then(|endpoint| endpoint.get("google_iam")) {
        field.wrong(report, "Google's Managed Service for Prometheus does not take remote write");
    }
    if let [(first, ..), (_, second, _), ..] = found.as_slice() {
        second.wrong_with_hint(
            report,
            format_args!("{first} is configured too"),
            "at most one of basic_auth, authorization, bearer_token, bearer_token_file, oauth2, sigv4 and azuread",
        );
    }
    found.into_iter().next().map_or(Auth::None, |(_, _, auth)| auth)
}

/// A `basic_auth` block.
pub(super) fn basic(field: &Field<'_>, report: &mut Report) -> (TextSource, SecretSource) {
    let table = Table::open(field.clone(), &schema::BASIC_AUTH, report);
    let username = match secret(&table, "username", "username_file", report) {
        Some(SecretSource::File(file)) => TextSource::File(file),
        Some(SecretSource::Inline(text)) => TextSource::Inline(text.expose().to_owned()),
        None => TextSource::Inline(String::new()),
    };
    // RFC 7617 §2: the first colon ends the user's name.
    if matches!(&username, TextSource::Inline(text) if text.contains(':')) {
        table.field().wrong(report, "a username must not have a colon");
    }
    (username, secret(&table, "password", "password_file", report).unwrap_or_default())
}

/// A secret that is written as `key` or in the file named by `file_key`, at most one of them.
fn secret(table: &Table<'_>, key: &str, file_key: &str, report: &mut Report) -> Option<SecretSource> {
    let inline = table.optional_text(key, report);
    let file = table.get(file_key).filter(|field| field.node.text() != Some(""));
    if inline.is_some() && file.is_some() {
        table.field().wrong(report, format_args!("at most one of {key} and {file_key}"));
    }
    match (inline, file) {
        (_, Some(file)) => file.file(report).map(SecretSource::File),
        (Some(text), None) => Some(SecretSource::Inline(Secret::new(text))),
        (None, None) => None,
    }
}

fn authorization(field: Field<'_>, report: &mut Report) -> Auth {
    let table = Table::open(field, &schema::AUTHORIZATION, report);
    let scheme = table.text("type", report).trim().to_owned();
    let scheme = if scheme.is_empty() { BEARER.to_owned() } else { scheme };
    if scheme.eq_ignore_ascii_case("basic") {
        table.field().wrong_with_hint(report, "the type must not be `Basic`", "use basic_auth instead");
    } else if !client::is_token(&scheme) {
        table.field().wrong(report, "the type must be a single word");
    }
    let credentials = secret(&table, "credentials", "credentials_file", report);
    if credentials.is_none() {
        table.field().wrong(report, "credentials or credentials_file is missing");
    }
    Auth::Authorization { scheme, credentials: credentials.unwrap_or_default() }
}

fn oauth2(field: Field<'_>, report: &mut Report) -> Option<OAuth2> {
    let table = Table::open(field, &schema::OAUTH2, report);
    let client_id = required_text(&table, "client_id", report);
    let token_url = table.required("token_url", report).and_then(|url| client::url(&url, report));
    let secret_source = secret(&table, "client_secret", "client_secret_file", report);
    let key = secret(&table, "client_certificate_key", "client_certificate_key_file", report);
    let algorithms = [("RS256", "RS256"), ("RS384", "RS384"), ("RS512", "RS512")];
    let signature_algorithm = table.choice("signature_algorithm", report, &algorithms).to_owned();
    let jwt = table.choice("grant_type", report, &[("client_credentials", false), (OAuth2Grant::JWT_BEARER, true)]);
    let grant = if jwt {
        if key.is_none() {
            table.field().wrong(report, "client_certificate_key or client_certificate_key_file is missing");
        }
        OAuth2Grant::JwtBearer {
            key: key.unwrap_or_default(),
            key_id: table.optional_text("client_certificate_key_id", report),
            signature_algorithm,
            issuer: table.optional_text("iss", report),
            audience: table.optional_text("audience", report),
            claims: table.get("claims").map(|claims| claims.text_entries(report)).unwrap_or_default(),
        }
    } else {
        OAuth2Grant::ClientSecret(secret_source.unwrap_or_default())
    };
    let scopes = table.get("scopes").map(|scopes| scopes.texts(report)).unwrap_or_default();
    let params = table.get("endpoint_params").map(|params| params.text_entries(report)).unwrap_or_default();
    if let Some((name, _)) = params.iter().find(|(name, _)| name == "scope" && !scopes.is_empty()) {
        table.field().wrong(report, format_args!("endpoint_params sets {name}, and scopes does too"));
    }
    Some(OAuth2 {
        client_id: client_id?,
        grant,
        scopes,
        token_url: token_url?,
        endpoint_params: params.into_iter().map(|(name, value)| (name, Secret::new(value))).collect(),
        tls: table.get("tls_config").and_then(|tls| client::tls(tls, report)),
        proxy: client::proxy(&table, report),
    })
}

fn sigv4(field: Field<'_>, report: &mut Report) -> SigV4 {
    let table = Table::open(field, &schema::SIGV4, report);
    let access_key = table.optional_text("access_key", report);
    let secret_key = secret(&table, "secret_key", "secret_key_file", report);
    if access_key.is_some() != secret_key.is_some() {
        table.field().wrong(report, "access_key and secret_key (or secret_key_file) go together");
    }
    let role_arn = table.optional_text("role_arn", report);
    let external_id = table.optional_text("external_id", report);
    if external_id.is_some() && role_arn.is_none() {
        table.field().wrong(report, "external_id needs role_arn");
    }
    SigV4 {
        region: table.optional_text("region", report),
        keys: access_key.zip(secret_key),
        profile: table.optional_text("profile", report),
        role_arn,
        external_id,
        use_fips_sts_endpoint: table.bool("use_fips_sts_endpoint", report),
        service_name: table.optional_text("service_name", report),
    }
}

fn azure_ad(field: Field<'_>, report: &mut Report) -> Option<AzureAd> {
    let table = Table::open(field, &schema::AZURE_AD, report);
    let clouds = [
        ("AzurePublic", AzureCloud::Public),
        ("AzureChina", AzureCloud::China),
        ("AzureGovernment", AzureCloud::Government),
    ];
    let cloud = table.choice("cloud", report, &clouds);
    let ways = ["managed_identity", "workload_identity", "oauth", "certificate", "sdk"];
    let mut written = ways.into_iter().filter_map(|way| Some((way, table.get(way)?)));
    let (Some((way, identity)), None) = (written.next(), written.next()) else {
        table
            .field()
            .wrong(report, "expected exactly one of managed_identity, workload_identity, oauth, certificate and sdk");
        return None;
    };
    if way == "sdk" {
        let hint = "write managed_identity, workload_identity, oauth or certificate";
        identity.wrong_with_hint(report, "it would try whatever the environment offers, and is not taken", hint);
        return None;
    }
    let scope = table.optional_text("scope", report);
    Some(AzureAd { cloud, identity: azure_identity(way, identity, report)?, scope })
}

fn azure_identity(way: &str, field: Field<'_>, report: &mut Report) -> Option<AzureIdentity> {
    let section = match way {
        "managed_identity" => &schema::AZURE_MANAGED_IDENTITY,
        "workload_identity" => &schema::AZURE_WORKLOAD_IDENTITY,
        "oauth" => &schema::AZURE_OAUTH,
        _ => &schema::AZURE_CERTIFICATE,
    };
    let table = Table::open(field, section, report);
    match way {
        "managed_identity" => {
            let client_id = table.get("client_id").and_then(|field| field.parse(report, parse_uuid));
            Some(AzureIdentity::Managed { client_id })
        }
        "workload_identity" => {
            let client_id = table.required("client_id", report).and_then(|field| field.parse(report, parse_uuid));
            let tenant_id = table.required("tenant_id", report).and_then(|field| field.parse(report, parse_uuid));
            let token_file = PathBuf::from(table.text("token_file_path", report));
            Some(AzureIdentity::Workload { client_id: client_id?, tenant_id: tenant_id?, token_file })
        }
        "oauth" => {
            let client_id = table.required("client_id", report).and_then(|field| field.parse(report, parse_uuid));
            let client_secret = secret(&table, "client_secret", "client_secret_file", report);
            if client_secret.is_none() {
                table.field().wrong(report, "client_secret or client_secret_file is missing");
            }
            let tenant_id = table.required("tenant_id", report).and_then(|field| field.parse(report, parse_directory));
            Some(AzureIdentity::OAuth { client_id: client_id?, client_secret: client_secret?, tenant_id: tenant_id? })
        }
        _ => {
            let client_id = table.required("client_id", report).and_then(|field| field.parse(report, parse_uuid));
            let certificate = table.required("certificate_path", report).and_then(|field| field.file(report));
            let tenant_id = table.required("tenant_id", report).and_then(|field| field.parse(report, parse_directory));
            Some(AzureIdentity::Certificate { client_id: client_id?, certificate: certificate?, tenant_id: tenant_id? })
        }
    }
}

fn required_text(table: &Table<'_>, key: &str, report: &mut Report) -> Option<String> {
    let field = table.required(key, report)?;
    let text = field.text(report)?;
    if text.is_empty() {
        field.wrong(report, "must not be empty");
    }
    Some(text.to_owned())
}

fn parse_uuid(text: &str) -> Result<String, &'static str> {
    let lengths = [8, 4, 4, 4, 12];
    let parts: Vec<&str> = text.split('-').collect();
    let valid = parts.len() == lengths.len()
        && parts
            .iter()
            .zip(lengths)
            .all(|(part, len)| part.len() == len && part.bytes().all(|b| b.is_ascii_hexdigit()));
    if valid { Ok(text.to_owned()) } else { Err("expected a UUID") }
}

fn parse_directory(text: &str) -> Result<String, &'static str> {
    let valid = |c: char| c.is_ascii_alphanumeric() || "-.".contains(c);
    if !text.is_empty() && text.chars().all(valid) { Ok(text.to_owned()) } else { Err("expected a UUID or a domain") }
}
