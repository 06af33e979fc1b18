//! The keys that say what a server is shown that the gateway sends to: headers, credentials, TLS.

use super::{REQUIRED, Section, key};

pub(crate) const BASIC_AUTH: Section = Section {
    title: "basic_auth",
    keys: &[
        key("username", "text", "", "the user"),
        key("username_file", "file", "", "a file with the user"),
        key("username_ref", "text", "", "a name in a secret manager").later(),
        key("password", "secret", "", "the password"),
        key("password_file", "file", "", "a file with the password"),
        key("password_ref", "text", "", "a name in a secret manager").later(),
    ],
};

pub(crate) const AUTHORIZATION: Section = Section {
    title: "authorization",
    keys: &[
        key("type", "text", "Bearer", "the scheme; not `Basic`"),
        key("credentials", "secret", "", "what follows the scheme"),
        key("credentials_file", "file", "", "a file with it"),
        key("credentials_ref", "text", "", "a name in a secret manager").later(),
    ],
};

pub(crate) const HTTP_HEADER: Section = Section {
    title: "http_headers.<name>",
    keys: &[
        key("values", "list of text", "", "values that may be shown"),
        key("secrets", "list of secrets", "", "values that must not be shown"),
        key("files", "list of files", "", "files with values"),
    ],
};

pub(crate) const OAUTH2: Section = Section {
    title: "oauth2",
    keys: &[
        key("client_id", "text", REQUIRED, "the client"),
        key("client_secret", "secret", "", "its secret"),
        key("client_secret_file", "file", "", "a file with it"),
        key("client_secret_ref", "text", "", "a name in a secret manager").later(),
        key("grant_type", "text", "client_credentials", "or `urn:ietf:params:oauth:grant-type:jwt-bearer`"),
        key("client_certificate_key", "secret", "", "PEM of the key that signs assertions"),
        key("client_certificate_key_file", "file", "", "a file with it"),
        key("client_certificate_key_ref", "text", "", "a name in a secret manager").later(),
        key("client_certificate_key_id", "text", "", "the key's id"),
        key("signature_algorithm", "RS256, RS384 or RS512", "RS256", "of assertions"),
        key("iss", "text", "", "the issuer claim; absent: the client id"),
        key("audience", "text", "", "the audience claim; absent: the token url"),
        key("claims", "mapping", "", "further claims, each a text"),
        key("scopes", "list of text", "", "requested scopes"),
        key("token_url", "url", REQUIRED, "where tokens come from"),
        key("endpoint_params", "mapping of text to text", "", "further parameters of the token request"),
        key("tls_config", "mapping", "", "TLS towards the token server"),
        key("proxy_url", "url", "", "as of an endpoint, whose own proxy does not hold here; so do the next three"),
        key("no_proxy", "text", "", ""),
        key("proxy_from_environment", "bool", "false", ""),
        key("proxy_connect_header", "mapping of header to list", "", ""),
    ],
};

pub(crate) const SIGV4: Section = Section {
    title: "sigv4",
    keys: &[
        key("region", "text", "", "the region; absent: `AWS_REGION`, or the profile's"),
        key(
            "access_key",
            "text",
            "",
            "with `secret_key`; absent: keys are looked for where AWS' tools do, see [operations](operations.md#aws)",
        ),
        key("secret_key", "secret", "", "with `access_key`"),
        key("secret_key_file", "file", "", "a file with it"),
        key("profile", "text", "", "a profile of `~/.aws/credentials` or `~/.aws/config` that has keys"),
        key("role_arn", "text", "", "a role to assume with these keys"),
        key("external_id", "text", "", "goes with `role_arn`"),
        key("use_fips_sts_endpoint", "bool", "false", "ask STS at its FIPS address"),
        key("service_name", "text", "aps", "the service to sign for"),
    ],
};

pub(crate) const AZURE_AD: Section = Section {
    title: "azuread",
    keys: &[
        key("cloud", "AzurePublic, AzureChina or AzureGovernment", "AzurePublic", "which cloud"),
        key("managed_identity", "mapping", "", "the identity of the machine; exactly one of these four"),
        key("workload_identity", "mapping", "", "the identity of a Kubernetes service account"),
        key("oauth", "mapping", "", "an application with a secret"),
        key("certificate", "mapping", "", "an application with a certificate"),
        key("sdk", "mapping", "", "refused: it would try whatever the environment offers"),
        key(
            "scope",
            "text",
            "",
            "instead of the cloud's, which for AzurePublic is `https://monitor.azure.com//.default`",
        ),
    ],
};

pub(crate) const AZURE_MANAGED_IDENTITY: Section = Section {
    title: "azuread.managed_identity",
    keys: &[key("client_id", "UUID", "", "absent: the system-assigned identity")],
};

pub(crate) const AZURE_WORKLOAD_IDENTITY: Section = Section {
    title: "azuread.workload_identity",
    keys: &[
        key("client_id", "UUID", REQUIRED, "the application"),
        key("tenant_id", "UUID", REQUIRED, "the directory"),
        key("token_file_path", "file", "/var/run/secrets/azure/tokens/azure-identity-token", "the projected token"),
    ],
};

pub(crate) const AZURE_OAUTH: Section = Section {
    title: "azuread.oauth",
    keys: &[
        key("client_id", "UUID", REQUIRED, "the application"),
        key("client_secret", "secret", "", "its secret; this or the next"),
        key("client_secret_file", "file", "", "a file with it"),
        key("tenant_id", "text", REQUIRED, "the directory's UUID or domain"),
    ],
};

pub(crate) const AZURE_CERTIFICATE: Section = Section {
    title: "azuread.certificate",
    keys: &[
        key("client_id", "UUID", REQUIRED, "the application"),
        key("certificate_path", "file", REQUIRED, "PEM of the certificate and its RSA key, in one file; no PKCS #12"),
        key("tenant_id", "text", REQUIRED, "the directory's UUID or domain"),
    ],
};

pub(crate) const TLS: Section = Section {
    title: "tls_config",
    keys: &[
        key("ca", "text", "", "trusted authorities, PEM; absent: the system's"),
        key("ca_file", "file", "", "a file with them"),
        key("ca_ref", "text", "", "a name in a secret manager").later(),
        key("cert", "text", "", "client certificate, PEM; with a key"),
        key("cert_file", "file", "", "a file with it"),
        key("cert_ref", "text", "", "a name in a secret manager").later(),
        key("key", "secret", "", "the certificate's key, PEM"),
        key("key_file", "file", "", "a file with it"),
        key("key_ref", "text", "", "a name in a secret manager").later(),
        key("server_name", "text", "", "the name to verify instead of the url's host"),
        key("insecure_skip_verify", "bool", "false", "believe any certificate"),
        key("min_version", "TLS10, TLS11, TLS12 or TLS13", "", "the lowest version"),
        key("max_version", "TLS10, TLS11, TLS12 or TLS13", "", "the highest version"),
    ],
};
