//! The API server: one object at a time, as JSON. No answer's body is ever part of an error: it may repeat what was sent.

use std::fmt;
use std::time::Duration;

use http::{Method, Request};
use serde_json::{Value as Json, json};
use targets::{Fault, Key, PrometheusId, PrometheusKind, ReferenceKind, SourceKey, words};
use tokio::time::timeout;

/// How long one request may take.
const LIMIT: Duration = Duration::from_secs(20);

const MERGE_PATCH: &str = "application/merge-patch+json";
const JSON: &str = "application/json";

/// An object's address.
#[derive(Clone, Debug)]
pub(crate) struct Address(String);

/// A request that was refused or got no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) struct Refused {
    /// The status, if there was an answer.
    pub(crate) status: Option<u16>,
    /// The status in words, or what went wrong on the way.
    why: String,
    /// The fields that the server finds fault with.
    pub(crate) faults: Vec<Fault>,
    /// Whether it is what was sent that is refused, by a definition or a rule, and not who sent it or when.
    pub(crate) is_judged: bool,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.status {
            Some(status) => write!(f, "the API server answered {status} {}", self.why),
            None => write!(f, "the API server: {}", self.why),
        }
    }
}

impl Refused {
    fn lost(why: String) -> Self {
        Self { status: None, why, faults: Vec::new(), is_judged: false }
    }

    /// A change that was answered well and is not there.
    pub(crate) fn without_effect() -> Self {
        Self::lost(
            "it took the change and made none; its definition of the kind may be older than the one `writegate-operator crds` prints"
                .to_owned(),
        )
    }

    pub(crate) fn is_conflict(&self) -> bool {
        self.status == Some(409)
    }

    pub(crate) fn is_missing(&self) -> bool {
        self.status == Some(404)
    }
}

impl Address {
    fn new(prefix: &str, namespace: Option<&str>, plural: &str, name: &str) -> Self {
        let namespace = namespace.map(|namespace| format!("/namespaces/{namespace}")).unwrap_or_default();
        Self(format!("{prefix}{namespace}/{plural}/{name}"))
    }

    pub(crate) fn source(source: &SourceKey) -> Self {
        let plural = match source.kind {
            ReferenceKind::Secret => "secrets",
            ReferenceKind::ConfigMap => "configmaps",
        };
        Self::new("/api/v1", Some(&source.key.namespace), plural, &source.key.name)
    }

    pub(crate) fn secret(key: &Key) -> Self {
        Self::source(&SourceKey::secret(key.clone()))
    }

    pub(crate) fn namespace(name: &str) -> Self {
        Self::new("/api/v1", None, "namespaces", name)
    }

    pub(crate) fn event(key: &Key) -> Self {
        Self::new("/api/v1", Some(&key.namespace), "events", &key.name)
    }

    pub(crate) fn lease(key: &Key) -> Self {
        Self::new("/apis/coordination.k8s.io/v1", Some(&key.namespace), "leases", &key.name)
    }

    pub(crate) fn remote_write(key: &Key) -> Self {
        Self::new(
            &format!("/apis/{}/{}", words::GROUP, words::VERSION),
            Some(&key.namespace),
            "remotewrites",
            &key.name,
        )
    }

    pub(crate) fn prometheus(id: &PrometheusId) -> Self {
        let (version, plural) = match id.kind {
            PrometheusKind::Prometheus => ("v1", "prometheuses"),
            PrometheusKind::Agent => ("v1alpha1", "prometheusagents"),
        };
        Self::new(&format!("/apis/monitoring.coreos.com/{version}"), Some(&id.key.namespace), plural, &id.key.name)
    }

    /// Of the object's status.
    pub(crate) fn status(self) -> Self {
        Self(self.0 + "/status")
    }

    /// Of the list that the object is in.
    fn list(&self) -> &str {
        self.0.rsplit_once('/').map_or("", |(list, _)| list)
    }
}

/// A client of the API server.
#[derive(Clone)]
pub(crate) struct Api {
    client: kube::Client,
}

impl fmt::Debug for Api {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Api")
    }
}

impl Api {
    /// The cluster of `KUBECONFIG`, of `~/.kube/config`, or the one that this pod runs in.
    pub(crate) async fn connect() -> anyhow::Result<Self> {
        use anyhow::Context as _;
        let mut config = kube::Config::infer().await.context("find the cluster: set KUBECONFIG, or run in a pod")?;
        // A watch is quiet for minutes; the server ends it before that.
        config.read_timeout = Some(Duration::from_secs(295));
        config.connect_timeout = Some(Duration::from_secs(10));
        // The environment's proxy is for targets; the API server is reached directly.
        config.proxy_url = None;
        let client = kube::Client::try_from(config).context("set up the client of the cluster")?;
        Ok(Self { client })
    }

    pub(crate) fn client(&self) -> kube::Client {
        self.client.clone()
    }

    pub(crate) async fn get(&self, address: &Address) -> Result<Json, Refused> {
        self.call(Method::GET, &address.0, JSON, None).await
    }

    pub(crate) async fn create(&self, address: &Address, object: &Json) -> Result<Json, Refused> {
        let path = format!("{}?fieldManager={}", address.list(), words::OPERATOR);
        self.call(Method::POST, &path, JSON, Some(object)).await
    }

    pub(crate) async fn replace(&self, address: &Address, object: &Json) -> Result<Json, Refused> {
        let path = format!("{}?fieldManager={}", address.0, words::OPERATOR);
        self.call(Method::PUT, &path, JSON, Some(object)).await
    }

    /// A merge patch (RFC 7396). With a `resourceVersion` in it the server refuses to apply it to any other version.
    pub(crate) async fn patch(&self, address: &Address, patch: &Json) -> Result<Json, Refused> {
        let path = format!("{}?fieldManager={}", address.0, words::OPERATOR);
        self.call(Method::PATCH, &path, MERGE_PATCH, Some(patch)).await
    }

    /// The same for what a definition describes: a field that it does not have is refused, where it would be cut silently, and a
    /// target sent without its credentials.
    pub(crate) async fn patch_strictly(&self, address: &Address, patch: &Json) -> Result<Json, Refused> {
        let path = format!("{}?fieldManager={}&fieldValidation=Strict", address.0, words::OPERATOR);
        self.call(Method::PATCH, &path, MERGE_PATCH, Some(patch)).await
    }

    /// Deletes the object as it was seen.
    pub(crate) async fn delete(&self, address: &Address, resource_version: &str) -> Result<Json, Refused> {
        let options = json!({
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "preconditions": {"resourceVersion": resource_version},
        });
        self.call(Method::DELETE, &address.0, JSON, Some(&options)).await
    }

    async fn call(&self, method: Method, path: &str, kind: &str, body: Option<&Json>) -> Result<Json, Refused> {
        let body = body.map(|body| body.to_string().into_bytes()).unwrap_or_default();
        let request = Request::builder().method(method).uri(path).header(http::header::CONTENT_TYPE, kind).body(body);
        let request = request.map_err(|error| Refused::lost(error.to_string()))?;
        match timeout(LIMIT, self.client.request::<Json>(request)).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => Err(refused(&error)),
            Err(_) => Err(Refused::lost(format!("no answer within {} s", LIMIT.as_secs()))),
        }
    }
}

/// What an error says without the words of the server.
pub(crate) fn refused(error: &kube::Error) -> Refused {
    match error {
        kube::Error::Api(status) => Refused {
            status: Some(status.code),
            why: status.reason.clone(),
            faults: faults(status),
            is_judged: is_judged(status),
        },
        kube::Error::SerdeError(_) => Refused::lost("the answer is no JSON".to_owned()),
        error => Refused::lost(format!("no answer: {}", chain(error))),
    }
}

/// How servers tell of fields that a definition does not have: at the end, after whatever they repeat of what was sent.
const STRICT: &str = "strict decoding error: ";
const UNKNOWN_FIELD: &str = "unknown field \"";

fn faults(status: &kube::core::Status) -> Vec<Fault> {
    if let Some((_, unknown)) = status.message.rsplit_once(STRICT) {
        let fields = unknown.split(UNKNOWN_FIELD).skip(1).filter_map(|rest| rest.split('"').next());
        return fields.map(|field| Fault { field: field.to_owned(), reason: "unknown field".to_owned() }).collect();
    }
    let causes = status.details.iter().flat_map(|details| &details.causes);
    // Of what has no place the path is `<nil>`.
    let field = |field: &str| if field == "<nil>" { String::new() } else { field.to_owned() };
    causes.map(|cause| Fault { field: field(&cause.field), reason: cause.reason.clone() }).collect()
}

/// A webhook or a policy may say 403, as an authorizer does who never looks at a body.
fn is_judged(status: &kube::core::Status) -> bool {
    let by_a_rule =
        ["admission webhook ", "ValidatingAdmissionPolicy "].iter().any(|words| status.message.contains(words));
    matches!(status.code, 400 | 422) || status.code == 403 && by_a_rule
}

/// An error and its causes.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let next = error.to_string();
        if !text.ends_with(&next) {
            text = format!("{text}: {next}");
        }
        cause = error.source();
    }
    text
}
