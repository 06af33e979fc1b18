//! The keys of Observatorium's `tenants.yaml` and `rbac.yaml`, in its own spelling.

use super::{Key, REQUIRED, Section, key};

const NO_LOGIN: &str = "Writegate takes tokens, it does not hand them out";
const COUNTED_HERE: &str = "requests are counted in this process, and `Retry-After` is when the next one passes";

pub(crate) const TENANTS_FILE: Section = Section {
    title: "`tenants_file`: Observatorium's `tenants.yaml`",
    keys: &[key("tenants", "list", REQUIRED, "its tenants; senders name theirs in the path")],
};

pub(crate) const OBSERVATORIUM_TENANT: Section = Section {
    title: "tenants[] of a `tenants_file`",
    keys: &[
        key(
            "name",
            "tenant",
            REQUIRED,
            "what paths say; an entry of the same name in `tenants` adds what this file cannot say",
        ),
        key("id", "text", "the name", "what endpoints are told; no other tenant's name or id"),
        key("oidc", "mapping", "", "senders show a token of an OpenID provider; the first of these four counts"),
        key("openshift", "mapping", "", "refused: only the cluster itself can check its tokens"),
        key("mTLS", "mapping", "", "senders show a certificate"),
        key("authenticator", "mapping", "", "one of the three in the newer spelling"),
        key("opa", "mapping", "", "refused: there is no policy engine; say it with the roles of `rbac_file`"),
        key(
            "rateLimits",
            "list",
            "",
            "as `limits.rate_limits` of the tenant, which comes first where both are written",
        ),
    ],
};

pub(crate) const OBSERVATORIUM_AUTHENTICATOR: Section = Section {
    title: "authenticator",
    keys: &[key("type", "oidc, mtls or openshift", REQUIRED, "which"), key("config", "mapping", REQUIRED, "its keys")],
};

pub(crate) const OBSERVATORIUM_OIDC: Section = Section {
    title: "oidc",
    keys: &[
        key("clientID", "text", REQUIRED, "must be among the token's `aud`"),
        key("issuerURL", "url", REQUIRED, "the provider, which says where its keys are; must be the token's `iss`"),
        key("issuerCA", "base64 of PEM, or PEM", "", "authorities of the provider's certificate; absent: the system's"),
        key("issuerCAPath", "file", "", "a file with them, PEM"),
        key("usernameClaim", "text", "sub", "the claim with the user's name; a token without it is not taken"),
        key("groupClaim", "text", "", "the claim with the user's groups"),
        key("clientSecret", "secret", "", "").ignored(NO_LOGIN),
        key("redirectURL", "url", "", "").ignored(NO_LOGIN),
    ],
};

pub(crate) const OBSERVATORIUM_MTLS: Section = Section {
    title: "mTLS",
    keys: &[
        key(
            "ca",
            "base64 of PEM, or PEM",
            "",
            "the authorities whose certificates speak for the tenant; this or the next",
        ),
        key("caPath", "file", "", "a file with them, PEM"),
    ],
};

/// What a rule has beside the keys of [`RATE_LIMIT`](super::RATE_LIMIT).
pub(crate) const OBSERVATORIUM_RATE_LIMIT: Section =
    Section { title: "rateLimits[], beside `rate_limits[]`", keys: &SHARED_LIMITER };

const SHARED_LIMITER: [Key; 3] = [
    key("failOpen", "bool", "", "").ignored(COUNTED_HERE),
    key("retryAfterMin", "duration", "", "").ignored(COUNTED_HERE),
    key("retryAfterMax", "duration", "", "").ignored(COUNTED_HERE),
];

pub(crate) const RBAC_FILE: Section = Section {
    title: "`rbac_file`: Observatorium's `rbac.yaml`",
    keys: &[
        key("roles", "list", "", "what may be done, and where"),
        key("roleBindings", "list", "", "who has which role"),
    ],
};

pub(crate) const ROLE: Section = Section {
    title: "roles[]",
    keys: &[
        key("name", "text", REQUIRED, "what bindings call it"),
        key("resources", "list of text", REQUIRED, "`metrics` is what this gateway asks for"),
        key("tenants", "list of tenants", REQUIRED, "by name; there is no wildcard"),
        key("permissions", "list of read, write", REQUIRED, "`write` is what this gateway asks for"),
    ],
};

pub(crate) const ROLE_BINDING: Section = Section {
    title: "roleBindings[]",
    keys: &[
        key("name", "text", REQUIRED, "of the binding"),
        key("roles", "list of text", REQUIRED, "names of roles"),
        key("subjects", "list", REQUIRED, "who gets them"),
    ],
};

pub(crate) const SUBJECT: Section = Section {
    title: "roleBindings[].subjects[]",
    keys: &[
        key(
            "kind",
            "user or group",
            REQUIRED,
            "user: the token's user, or the first e-mail, URI, DNS name or IP in the certificate's alternative name; group: one of the token's, or the certificate's organizational unit",
        ),
        key("name", "text", REQUIRED, "compared exactly"),
    ],
};
