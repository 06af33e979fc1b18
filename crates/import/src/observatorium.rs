//! Observatorium's files: endpoints, tenants and roles are referred to, for Writegate reads them as they are; flags of its API are
//! translated. Which file is which shows in what it says.

use std::path::Path;

use writegate_config::{Node, Place, Value as NodeValue};

use crate::draft::Draft;
use crate::flags::{Flag, Flags};
use crate::part::{Part, Value};
use crate::vmagent::variables;
use crate::words::words;
use crate::{Import, ImportError, Source, Weight, unreadable};

/// What a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Endpoints,
    Tenants,
    Rbac,
    Flags,
}

/// Flags that say nothing that Writegate needs, and why.
const NOT_NEEDED: [(&str, &str); 8] = [
    ("middleware.concurrent-request-limit", "limits.in_flight_bytes bounds what is read at once"),
    ("middleware.rate-limiter.type", "requests are counted in the gateway"),
    ("middleware.rate-limiter.address", "requests are counted in the gateway"),
    ("middleware.rate-limiter.grpc-address", "requests are counted in the gateway"),
    ("tls.reload-interval", "files are read again when they change"),
    ("metrics.tls.watch-certs", "files are read again when they change"),
    ("server.write-timeout", "answers wait for the disk, not for an endpoint"),
    ("tls.max-version", "the highest version that both sides speak is used"),
];

/// Files of one Observatorium, in any order, as one `writegate.yml`.
///
/// # Errors
/// If one is none of its files, two are of the same kind, or Writegate refuses what is in one.
pub fn observatorium(sources: &[Source<'_>]) -> Result<Import, ImportError> {
    let mut found: Vec<(Kind, &Source<'_>)> = Vec::new();
    for source in sources {
        let kind = kind(source)?;
        if let Some((_, other)) = found.iter().find(|(known, _)| *known == kind && kind != Kind::Endpoints) {
            let message = format!("{} is of the same kind", other.name.display());
            return Err(unreadable(source.name, Place::default(), message, Some("give one of each kind")));
        }
        found.push((kind, source));
    }
    let Some((_, first)) = found.first() else {
        return Err(unreadable(Path::new(""), Place::default(), "no file was given", None));
    };
    let of = |wanted: Kind| found.iter().filter(move |(kind, _)| *kind == wanted).map(|(_, source)| path_of(source));
    let flags_source = found.iter().find(|(kind, _)| *kind == Kind::Flags).map(|(_, source)| *source);
    let mut import = Reading { draft: Draft::default(), flags: None };
    if let Some(source) = flags_source {
        let words = words(source.text, source.name, is_flag)?;
        import.flags = Some(Flags::of(&words, "observatorium"));
    }
    let (tenants, rbac) = (of(Kind::Tenants).next(), of(Kind::Rbac).next());
    import.all(tenants, rbac, of(Kind::Endpoints).collect());
    let names: Vec<String> = sources.iter().map(|source| source.name.display().to_string()).collect();
    import.draft.head = vec![format!("Made by writegate import observatorium from {}.", names.join(", "))];
    let source = flags_source.unwrap_or(first);
    import.draft.checked(source.name, source.base.unwrap_or_else(|| Path::new("")))
}

fn is_flag(word: &str) -> bool {
    let name = word.trim_start_matches('-');
    word.starts_with('-')
        && ["metrics.", "tenants.config", "rbac.config", "web.listen"].iter().any(|known| name.starts_with(known))
}

fn path_of(source: &Source<'_>) -> String {
    let name = source.base.and_then(|base| Some(base.join(source.name.file_name()?)));
    name.unwrap_or_else(|| source.name.to_owned()).display().to_string()
}

fn kind(source: &Source<'_>) -> Result<Kind, ImportError> {
    let is_line = source.text.split_whitespace().any(|word| is_flag(word.trim_matches(['"', '\'', '[', ','])));
    if is_line {
        return Ok(Kind::Flags);
    }
    let root = Node::parse(source.text, source.name).map_err(ImportError::Unreadable)?;
    let has = |keys: &[&str]| match &root.value {
        NodeValue::Map(entries) => entries.iter().any(|(key, _)| key.text().is_some_and(|key| keys.contains(&key))),
        NodeValue::Null | NodeValue::Text(_) | NodeValue::List(_) => false,
    };
    match &root.value {
        NodeValue::List(_) => Ok(Kind::Endpoints),
        _ if has(&["endpoints", "endpints"]) => Ok(Kind::Endpoints),
        _ if has(&["tenants"]) => Ok(Kind::Tenants),
        _ if has(&["roles", "roleBindings"]) => Ok(Kind::Rbac),
        _ => {
            let hint = "a list of endpoints or `endpoints`, `tenants`, `roles` and `roleBindings`, or flags of the API";
            Err(unreadable(source.name, root.place, "this is none of Observatorium's files", Some(hint)))
        }
    }
}

struct Reading {
    draft: Draft,
    flags: Option<Flags>,
}

impl Reading {
    fn flag(&mut self, name: &str) -> Option<Flag> {
        self.flags.as_mut().and_then(|flags| flags.last(name))
    }

    /// The part `key` of a flag that names a file or an address as it is.
    fn part(&mut self, key: &str, flag: &str) -> Option<Part> {
        let flag = self.flag(flag)?;
        Some(Part::text(key, flag.value).at(flag.place))
    }

    fn all(&mut self, tenants: Option<String>, rbac: Option<String>, mut files: Vec<String>) {
        let tenants = tenants.map(|file| Part::text("tenants_file", file));
        let tenants = [tenants, self.part("tenants_file", "tenants.config")].into_iter().flatten().next();
        let rbac = rbac.map(|file| Part::text("rbac_file", file));
        let rbac = [rbac, self.part("rbac_file", "rbac.config")].into_iter().flatten().next();
        let listener = self.listener(tenants.is_some());
        self.draft.parts.push(Part::list("listeners", vec![listener]));
        let admin = self.admin();
        self.draft.parts.extend(admin);
        if tenants.is_none() {
            let text = "there is no tenants.yaml among the files: whoever reaches the listener writes, and the tenant is the one in \
                        the path. Give tenants.yaml and rbac.yaml as well";
            self.draft.say(Weight::Remark, Place::default(), text);
        }
        self.draft.parts.extend(tenants.into_iter().chain(rbac));
        let thanos = self.thanos();
        let has_thanos = thanos.is_some();
        self.draft.parts.extend(thanos.map(|endpoint| Part::list("remote_write", vec![endpoint])));
        if let Some(flag) = self.flag("metrics.additional.write.endpoint.config") {
            let is_known = files.iter().any(|file| Path::new(file).file_name() == Path::new(&flag.value).file_name());
            files.extend((!is_known).then_some(flag.value));
        }
        if !files.is_empty() {
            let part = Part::new("remote_write_files", Value::Flow(files));
            self.draft.parts.push(part.aside("As they are; edits are noticed, no restart is needed."));
        }
        if !has_thanos {
            let text = "the flags of the API are not among the files: where Thanos is (--metrics.write.endpoint) is not known. Give \
                        them as well, or write an entry `remote_write: [{name: thanos-receiver, url: …, tenant_header: \
                        THANOS-TENANT}]`";
            self.draft.say(Weight::Missing, Place::default(), text);
        }
        self.rest();
    }

    /// Senders name their tenant in the path, and show a token or a certificate.
    fn listener(&mut self, has_tenants: bool) -> Part {
        let address = self.flag("web.listen").map_or_else(|| ":8080".to_owned(), |flag| flag.value);
        let mut listener = Part::item(vec![Part::text("address", address)]);
        let pair = [self.part("cert_file", "tls.server.cert-file"), self.part("key_file", "tls.server.key-file")];
        let mut tls: Vec<Part> = pair.into_iter().flatten().collect();
        if !tls.is_empty() {
            tls.push(
                Part::text("client_auth", "optional")
                    .aside("tenants with mTLS show a certificate, those with OIDC none"),
            );
            let version = self.flag("tls.min-version").map_or_else(|| "VersionTLS13".to_owned(), |flag| flag.value);
            tls.push(Part::text("min_version", version.trim_start_matches("Version")));
            listener.push(Part::map("tls_config", tls));
        }
        if !has_tenants {
            listener.push(Part::text("tenant", "default"));
            listener.push(Part::list("tenant_from", vec![Part::item(vec![Part::text("path", "true")])]));
        }
        let timeouts = [self.part("header", "server.read-header-timeout"), self.part("body", "server.read-timeout")];
        let timeouts: Vec<Part> = timeouts.into_iter().flatten().collect();
        if !timeouts.is_empty() {
            listener.push(Part::map("timeouts", timeouts));
        }
        listener
    }

    /// Observatorium's internal listener has metrics and health only, for whoever asks.
    fn admin(&mut self) -> Option<Part> {
        let address = self.part("address", "web.internal.listen")?;
        let public = ["metrics", "healthy", "ready"].map(str::to_owned);
        let admin = Part::map("admin", vec![address, Part::new("public", Value::Flow(public.to_vec()))]);
        Some(admin.aside("writegate status and the page need a credential here: bearer_token_file"))
    }

    /// What Observatorium always writes to.
    fn thanos(&mut self) -> Option<Part> {
        let endpoint = self.flag("metrics.write.endpoint")?;
        let header = self.flag("metrics.tenant-header").map_or_else(|| "THANOS-TENANT".to_owned(), |flag| flag.value);
        let timeout = self.flag("metrics.write-timeout").map_or_else(|| "2m".to_owned(), |flag| flag.value);
        let url = format!("{}/api/v1/receive", endpoint.value.trim_end_matches('/'));
        let mut part = Part::item(vec![
            Part::text("name", "thanos-receiver"),
            Part::text("url", url).at(endpoint.place),
            Part::text("remote_timeout", timeout),
            Part::text("tenant_header", header),
        ])
        .at(endpoint.place);
        let files = [
            self.part("ca_file", "metrics.tls.ca-file"),
            self.part("cert_file", "metrics.tls.cert-file"),
            self.part("key_file", "metrics.tls.key-file"),
        ];
        let files: Vec<Part> = files.into_iter().flatten().collect();
        if !files.is_empty() {
            part.push(Part::map("tls_config", files));
        }
        Some(part)
    }

    fn rest(&mut self) {
        let Some(flags) = &self.flags else { return };
        variables(&mut self.draft, flags);
        for flag in flags.rest() {
            let why = NOT_NEEDED.iter().find(|(name, _)| *name == flag.name).map(|(_, why)| *why);
            let why = why.unwrap_or_else(|| match flag.name.split('.').next() {
                Some("metrics" | "logs" | "traces" | "probes" | "alertmanager") => {
                    "Writegate only takes metrics, and serves no queries"
                }
                _ => "it has no counterpart here",
            });
            self.draft.say(Weight::Remark, flag.place, format!("--{} was left out: {why}", flag.name));
        }
    }
}
