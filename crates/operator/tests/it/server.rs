//! The cluster's API server: the double, or a real one where `KUBEBUILDER_ASSETS` names a directory with `etcd` and
//! `kube-apiserver`. What tests do to it, and what they see of it, is the same.

use std::path::Path;
use std::time::Duration;

use kube_double::ApiServer;
use serde_json::Value as Json;

use crate::harness::USER;
use crate::real::Real;

pub(crate) enum Server {
    Double(ApiServer),
    Real(Real),
}

/// An answer that is no success.
#[derive(Debug)]
pub(crate) struct Refused {
    pub(crate) code: u16,
    pub(crate) message: String,
}

/// A request of the operator's that may have changed something.
#[derive(Debug)]
pub(crate) struct Write {
    pub(crate) resource: String,
    pub(crate) subresource: String,
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) code: u16,
}

impl Write {
    pub(crate) fn is_on(&self, resource: &str) -> bool {
        self.resource == resource && self.subresource.is_empty()
    }
}

impl Server {
    pub(crate) async fn start() -> Self {
        match std::env::var_os("KUBEBUILDER_ASSETS") {
            None => Self::Double(ApiServer::start().await.unwrap()),
            Some(programs) => Self::Real(Real::start(Path::new(&programs)).await),
        }
    }

    /// The double, for a test that disturbs it; a real one cannot be.
    pub(crate) fn double(&self) -> Option<&ApiServer> {
        match self {
            Self::Double(double) => Some(double),
            Self::Real(_) => None,
        }
    }

    /// Writes the operator's kubeconfig.
    pub(crate) fn kubeconfig(&self, path: &Path) {
        match self {
            Self::Double(double) => double.kubeconfig(USER, path).unwrap(),
            Self::Real(real) => std::fs::write(path, real.kubeconfig("operator")).unwrap(),
        }
    }

    /// Creates the objects of a manifest, or replaces those that are there.
    pub(crate) fn install(&self, manifest: &str) -> Result<(), String> {
        match self {
            Self::Double(double) => double.install(manifest).map_err(|error| error.to_string()),
            Self::Real(real) => real.install(manifest),
        }
    }

    pub(crate) fn objects(&self, api_version: &str, kind: &str) -> Objects<'_> {
        Objects { server: self, api_version: api_version.to_owned(), kind: kind.to_owned(), namespace: String::new() }
    }

    /// The writes of the operator, in the order they were answered.
    pub(crate) fn writes(&self) -> Vec<Write> {
        match self {
            Self::Double(double) => {
                let write = |exchange: kube_double::Exchange| Write {
                    resource: exchange.request.resource,
                    subresource: exchange.request.subresource,
                    namespace: exchange.request.namespace,
                    name: exchange.request.name,
                    code: exchange.code,
                };
                double.writes(USER).into_iter().map(write).collect()
            }
            Self::Real(real) => real.writes(),
        }
    }

    pub(crate) async fn until(&self, limit: Duration, what: &str, condition: impl Fn() -> bool) {
        match self {
            Self::Double(double) => {
                double.until(limit, what, || condition().then_some(())).await.unwrap_or_else(|error| panic!("{error}"));
            }
            Self::Real(_) => {
                // A real one has nobody tell.
                let mut asked = tokio::time::interval(Duration::from_millis(20));
                let came = async {
                    while !tokio::task::block_in_place(&condition) {
                        asked.tick().await;
                    }
                };
                tokio::time::timeout(limit, came).await.unwrap_or_else(|_| panic!("see that {what} within {limit:?}"));
            }
        }
    }
}

/// The objects of one kind, for the test's own hands.
pub(crate) struct Objects<'a> {
    server: &'a Server,
    pub(crate) api_version: String,
    pub(crate) kind: String,
    pub(crate) namespace: String,
}

impl<'a> Objects<'a> {
    #[must_use]
    pub(crate) fn within(mut self, namespace: &str) -> Self {
        namespace.clone_into(&mut self.namespace);
        self
    }

    fn call(
        &self,
        double: impl FnOnce(kube_double::Objects<'a>) -> Result<Json, kube_double::Status>,
        real: impl FnOnce(&Real) -> Result<Json, Refused>,
    ) -> Result<Json, Refused> {
        match self.server {
            Server::Double(server) => double(server.objects(&self.api_version, &self.kind).within(&self.namespace))
                .map_err(|status| Refused { code: status.code, message: status.message }),
            Server::Real(server) => real(server),
        }
    }

    pub(crate) fn get(&self, name: &str) -> Result<Json, Refused> {
        self.call(|objects| objects.get(name), |real| real.get(self, name))
    }

    pub(crate) fn list(&self) -> Result<Vec<Json>, Refused> {
        let list = self.call(|objects| objects.list().map(Json::from), |real| real.get(self, ""))?;
        Ok(list.as_array().or_else(|| list["items"].as_array()).cloned().unwrap_or_default())
    }

    pub(crate) fn create(&self, object: &Json) -> Result<Json, Refused> {
        self.call(|objects| objects.create(object), |real| real.create(self, object))
    }

    pub(crate) fn update(&self, object: &Json) -> Result<Json, Refused> {
        self.call(|objects| objects.update(object), |real| real.update(self, object))
    }

    pub(crate) fn merge(&self, name: &str, patch: &Json) -> Result<Json, Refused> {
        self.call(|objects| objects.merge(name, patch), |real| real.merge(self, name, patch))
    }

    pub(crate) fn delete(&self, name: &str) -> Result<Json, Refused> {
        self.call(|objects| objects.delete(name), |real| real.delete(self, name))
    }
}
