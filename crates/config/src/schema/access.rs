//! The keys that say who may speak: TLS of the servers, authenticators, tenants' credentials.

use super::{Section, key};

pub(crate) const SERVER_TLS: Section = Section {
    title: "tls_config of a listener and of admin",
    keys: &[
        key("cert_file", "file", "", "the server's certificate chain, PEM; it and all below are read again on change"),
        key("key_file", "file", "", "its key, PEM"),
        key("certificates", "list", "", "more of them, chosen by the name the client asks for (SNI)"),
        key("client_auth", "none, optional or require", "none", "whether clients show a certificate"),
        key("client_ca_file", "file", "", "authorities of client certificates, PEM; tenants may have their own"),
        key("crl_file", "file", "", "revoked client certificates, PEM"),
        key("min_version", "TLS12 or TLS13", "TLS12", "the lowest version"),
    ],
};

pub(crate) const CERTIFICATE: Section = Section {
    title: "tls_config.certificates[]",
    keys: &[key("cert_file", "file", "", "a certificate chain, PEM"), key("key_file", "file", "", "its key, PEM")],
};

pub(crate) const AUTHENTICATOR: Section = Section {
    title: "authentication[]",
    keys: &[
        key("jwt", "mapping", "", "signed tokens, as bearer token or as the password of any user"),
        key("client_certificate", "mapping", "", "the client's certificate"),
    ],
};

pub(crate) const JWT: Section = Section {
    title: "authentication[].jwt",
    keys: &[
        key("key_set_file", "file", "", "Opstrace's `{kid: PEM}` or a JWK set; exactly one of these four"),
        key("key_set_env", "environment variable", "", "a variable with the same"),
        key("jwks_url", "url", "", "where a JWK set is"),
        key("issuer", "url", "", "an OpenID provider, which says where its keys are; must be the token's `iss`"),
        key("tls_config", "mapping", "", "TLS towards it"),
        key("audience", "text", "", "what `aud` must contain; absent: it is not checked"),
        key("tenant_claim", "text", "sub", "the claim that names the tenant"),
        key("tenant_pattern", "text with `{tenant}`", "tenant-{tenant}", "where in the claim"),
        key("fallback_key_file", "file", "", "the public key of tokens that name none; absent: they are refused"),
        key("revoked_file", "file", "", "tokens that are not taken: a `jti` or the SHA-256 of a token per line"),
        key("require_exp", "bool", "true", "refuse tokens that never expire"),
        key("leeway", "duration", "30s", "how far clocks may differ"),
    ],
};

pub(crate) const CLIENT_CERTIFICATE: Section = Section {
    title: "authentication[].client_certificate",
    keys: &[
        key(
            "tenant_from",
            "common_name, organizational_unit, organization, san_uri, san_dns, san_email or fingerprint",
            "common_name",
            "which part names the tenant",
        ),
        key("pattern", "text with `{tenant}`", "{tenant}", "where in that part"),
        key("fingerprints", "mapping of SHA-256 to tenant", "", "with `tenant_from: fingerprint`"),
    ],
};

pub(crate) const CREDENTIAL: Section = Section {
    title: "tenants[].credentials[]",
    keys: &[
        key("bearer_token", "secret", "", "a token; exactly one of these three"),
        key("bearer_token_file", "file", "", "a file with it"),
        key("basic_auth", "mapping", "", "a user and a password, which may be a bcrypt hash"),
    ],
};
