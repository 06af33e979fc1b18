//! A Kubernetes API server for tests: in memory, over HTTP, with what a controller can see of a real one (1.36).
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use std::time::Duration;
//! use kube_double::{Act, ApiServer};
//!
//! let server = ApiServer::start().await?;
//! server.install("{apiVersion: v1, kind: Namespace, metadata: {name: team-a}}")?;
//! server.kubeconfig("system:serviceaccount:ops:writegate-operator", "kubeconfig.yaml".as_ref())?;
//! // … a program is started with KUBECONFIG …
//! server.fault(1, Act::answer(409), |request| request.is_on("secrets"));
//! let secrets = server.objects("v1", "Secret").within("team-a");
//! server.until(Duration::from_secs(10), "there is a Secret", || secrets.get("remote").ok()).await?;
//! # Ok(())
//! # }
//! ```
//!
//! **What is there.** Discovery, plain and aggregated; Namespaces, Secrets, config maps, service accounts, Pods, Events in
//! both shapes, Leases, RBAC, definitions of custom resources and what they define. Reads with selectors, pages and versions;
//! all writes, among them four kinds of patches with server-side apply; watches with bookmarks, initial events and 410;
//! status subresources, generations, finalizers, owners, terminating namespaces; schemas with defaults, pruning and rules
//! in CEL; RBAC. Refusals are worded as those of a real server. The test acts through [`Objects`] as a user who may do
//! everything, plants faults ([`ApiServer::fault`]), and reads what was asked ([`ApiServer::exchanges`]).
//!
//! **What is not.** Protobuf, HTTP/2, tables, webhooks, conversion between versions other than by name, `scale`, controllers
//! besides those that delete (no Pod runs), and CEL functions that only Kubernetes has. What a real server's controllers
//! do a moment later is done here before the next request.
//!
//! To look at one with `kubectl`: `cargo run -p kube-double --example serve -- kubeconfig.yaml`.
//!
//! For tests only: nothing that ships may depend on it.

use std::fmt;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout_at};
use tokio_rustls::TlsAcceptor;

mod access;
mod address;
mod check;
mod clock;
mod delete;
mod discovery;
mod events;
mod exchange;
mod faults;
mod fields;
mod kinds;
mod objects;
mod patch;
mod read;
mod rules;
mod schema;
mod selector;
mod server;
mod state;
mod status;
mod store;
mod tls;
mod write;

pub use exchange::{Exchange, Request};
pub use faults::Act;
pub use objects::Objects;
pub use state::{PatchType, Verb};
pub use status::Status;

use faults::Fault;
use kinds::text;
use server::Desk;

/// The user that tests are: a member of `system:masters`.
pub const ADMIN: &str = "kubernetes-admin";

/// The server. Dropping it stops it.
#[derive(Debug)]
pub struct ApiServer {
    desk: Arc<Desk>,
    address: SocketAddr,
    /// The certificate to trust, as PEM; without one it is plain HTTP.
    certificate: Option<String>,
    accepting: JoinHandle<()>,
}

impl Drop for ApiServer {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// A manifest could not be installed.
#[derive(Debug, thiserror::Error)]
pub enum InstallError {
    /// It is no YAML.
    #[error("read the manifest: {0}")]
    Unreadable(String),
    /// The server refuses an object of it.
    #[error("install {object}: {status}")]
    Refused {
        /// Kind, namespace and name.
        object: String,
        /// Why.
        status: Status,
    },
}

/// The condition did not come true in time.
#[derive(Debug, thiserror::Error)]
#[error("see that {what} within {limit:?}; the last requests were {last}")]
pub struct NotInTime {
    what: String,
    limit: Duration,
    last: String,
}

/// How many requests are told of when a condition does not come true.
const REQUESTS_TOLD: usize = 20;

impl ApiServer {
    /// Starts a server with its first namespaces on a port of loopback.
    pub async fn start() -> io::Result<Self> {
        Self::listen(None).await
    }

    /// The same over TLS, with a certificate that kubeconfigs name: some clients, `kubectl` among them, show no token
    /// to a server without.
    pub async fn start_with_tls() -> io::Result<Self> {
        Self::listen(Some(tls::acceptor().map_err(io::Error::other)?)).await
    }

    async fn listen(tls: Option<(TlsAcceptor, String)>) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let desk = Arc::new(Desk::new());
        let (acceptor, certificate) = tls.unzip();
        let accepting = tokio::spawn(server::accept(listener, acceptor, Arc::clone(&desk)));
        Ok(Self { desk, address, certificate, accepting })
    }

    /// `http://127.0.0.1:PORT`, or `https`.
    pub fn url(&self) -> String {
        let scheme = if self.certificate.is_some() { "https" } else { "http" };
        format!("{scheme}://{}", self.address)
    }

    /// The bearer token of a user: [`ADMIN`], `system:serviceaccount:NAMESPACE:NAME`, or any name.
    pub fn token(&self, user: &str) -> String {
        self.desk.update(|state| state.access.token(user))
    }

    /// Writes a kubeconfig for the user.
    pub fn kubeconfig(&self, user: &str, path: &Path) -> io::Result<()> {
        let (url, token) = (self.url(), self.token(user));
        let encoded = |pem: &String| format!("    certificate-authority-data: {}\n", STANDARD.encode(pem));
        let authority = self.certificate.as_ref().map(encoded).unwrap_or_default();
        let text = format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: double\n\
             clusters:\n- name: double\n  cluster:\n    server: {url}\n{authority}\
             users:\n- name: user\n  user:\n    token: {token}\n\
             contexts:\n- name: double\n  context:\n    cluster: double\n    user: user\n"
        );
        std::fs::write(path, text)
    }

    /// Creates the objects of a manifest, or replaces those that are there: definitions, roles, namespaces, anything.
    ///
    /// YAML or JSON, one document or several, Lists included. What has no namespace and needs one is in `default`.
    pub fn install(&self, manifest: &str) -> Result<(), InstallError> {
        let options = serde_saphyr::options! { budget: None };
        let documents: Vec<Value> = serde_saphyr::from_multiple_with_options(manifest, options)
            .map_err(|error| InstallError::Unreadable(error.to_string()))?;
        for document in documents {
            match document.get("items").and_then(Value::as_array) {
                Some(items) => items.iter().try_for_each(|item| self.install_object(item))?,
                None => self.install_object(&document)?,
            }
        }
        Ok(())
    }

    fn install_object(&self, object: &Value) -> Result<(), InstallError> {
        let (kind, name) = (text(object, "/kind"), text(object, "/metadata/name"));
        let namespace = Some(text(object, "/metadata/namespace")).filter(|name| !name.is_empty()).unwrap_or("default");
        let objects = self.objects(text(object, "/apiVersion"), kind).within(namespace);
        let mut result = objects.create(object);
        if result.as_ref().is_err_and(|status| status.reason == "AlreadyExists") {
            let mut object = object.clone();
            result = objects.get(name).and_then(|there| {
                object["metadata"]["resourceVersion"] = there["metadata"]["resourceVersion"].clone();
                objects.update(&object)
            });
        }
        match result {
            Ok(_) => Ok(()),
            Err(status) => Err(InstallError::Refused { object: format!("{kind} {namespace}/{name}"), status }),
        }
    }

    /// The objects of a kind, for the test's own hands: `objects("monitoring.coreos.com/v1", "Prometheus")`. The kind may
    /// be named by its plural.
    pub fn objects(&self, api_version: &str, kind: &str) -> Objects<'_> {
        Objects {
            desk: &self.desk,
            api_version: api_version.to_owned(),
            kind: kind.to_owned(),
            namespace: String::new(),
            user: ADMIN.to_owned(),
        }
    }

    /// All requests for resources so far, in the order they were answered; of what [`Objects`] does, writes alone.
    pub fn exchanges(&self) -> Vec<Exchange> {
        self.desk.look().exchanges.clone()
    }

    /// Of them, those of a user that may change something.
    pub fn writes(&self, user: &str) -> Vec<Exchange> {
        let state = self.desk.look();
        let writes =
            state.exchanges.iter().filter(|exchange| exchange.request.user == user && exchange.request.verb.is_write());
        writes.cloned().collect()
    }

    /// The version of the newest write.
    pub fn resource_version(&self) -> u64 {
        self.desk.look().store.version()
    }

    /// The next `times` requests over HTTP that are meant are disturbed. Earlier faults come first. `times` from 1.
    /// The predicate must not use the server, which waits for it.
    pub fn fault(&self, times: usize, act: Act, meant: impl Fn(&Request) -> bool + Send + 'static) {
        let fault = Fault { meant: Box::new(meant), left: times.max(1), act };
        self.desk.update(|state| state.faults.push(fault));
    }

    /// How many requests are still to be disturbed.
    pub fn faults_left(&self) -> usize {
        self.desk.look().faults.iter().map(|fault| fault.left).sum()
    }

    /// Takes all faults back.
    pub fn clear_faults(&self) {
        self.desk.update(|state| state.faults.clear());
    }

    /// Forgets all changes so far: who watches or lists from an earlier version gets 410.
    pub fn compact(&self) {
        self.desk.update(|state| state.store.compact());
    }

    /// Ends all watches in good order, as a server does now and then.
    pub fn close_watches(&self) {
        self.desk.update(|state| state.watch_epoch += 1);
    }

    /// From now on no watch lasts longer than this, whatever it asks for; `None` lets them.
    pub fn limit_watches(&self, limit: Option<Duration>) {
        self.desk.update(|state| state.watch_limit = limit);
    }

    /// Makes all watches that allow bookmarks send one.
    pub fn send_bookmarks(&self) {
        self.desk.update(|state| state.bookmarks += 1);
    }

    /// Cuts all connections, whatever is under way.
    pub fn cut_connections(&self) {
        self.desk.cut.send_modify(|count| *count += 1);
    }

    /// While it is down, the server cuts every connection as it comes; those that are open are cut at once.
    pub fn set_down(&self, down: bool) {
        self.desk.down.send_replace(down);
        if down {
            self.cut_connections();
        }
    }

    /// Rules in CEL that could not be evaluated so far, and why; what they speak of passed unchecked.
    pub fn unevaluated_rules(&self) -> Vec<(String, String)> {
        self.desk.look().rules.unevaluated.clone().into_iter().collect()
    }

    /// Waits until the condition has a value, looking at it after everything that happens here.
    pub async fn until<T>(
        &self,
        limit: Duration,
        what: &str,
        mut condition: impl FnMut() -> Option<T>,
    ) -> Result<T, NotInTime> {
        let end = Instant::now() + limit;
        let mut changes = self.desk.changes();
        loop {
            changes.borrow_and_update();
            if let Some(value) = condition() {
                return Ok(value);
            }
            if timeout_at(end, changes.changed()).await.is_err() {
                return Err(NotInTime { what: what.to_owned(), limit, last: self.last_requests() });
            }
        }
    }

    fn last_requests(&self) -> String {
        let state = self.desk.look();
        let from = state.exchanges.len().saturating_sub(REQUESTS_TOLD);
        let told = state.exchanges[from..].iter().map(ToString::to_string);
        told.collect::<Vec<_>>().join("; ")
    }
}

impl fmt::Display for Exchange {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Request { user, verb, resource, subresource, namespace, name, .. } = &self.request;
        let slash = if subresource.is_empty() { "" } else { "/" };
        write!(formatter, "{user} {} {resource}{slash}{subresource} {namespace}/{name} → {}", verb.as_str(), self.code)
    }
}
