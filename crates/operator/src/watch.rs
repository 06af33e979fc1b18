//! Watches: what is there arrives as messages, first everything, then every change. Of Secrets and ConfigMaps only the metadata
//! is asked for, but for those that the operator made.

use std::fmt::Debug;
use std::time::Duration;

use futures_util::{Stream, StreamExt as _};
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Secret};
use kube::api::{ApiResource, DynamicObject, GroupVersionKind, PartialObjectMeta};
use kube::runtime::watcher::{self, Event};
use serde::Serialize;
use serde_json::Value as Json;
use targets::{PrometheusKind, ReferenceKind, words};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::api::{Api, refused};

/// The pauses between attempts.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LAST_PAUSE: Duration = Duration::from_secs(5);

/// An API server that has just started does not know its definitions for a moment. After this long there are none.
const MAY_COME: Duration = Duration::from_secs(60);

/// What is watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Kind {
    Namespaces,
    Sources(ReferenceKind),
    Copies,
    RemoteWrites,
    Prometheuses(PrometheusKind),
}

impl Kind {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Namespaces => "namespaces",
            Self::Sources(ReferenceKind::Secret) => "secrets",
            Self::Sources(ReferenceKind::ConfigMap) => "configmaps",
            Self::Copies => "copies",
            Self::RemoteWrites => "remotewrites",
            Self::Prometheuses(PrometheusKind::Prometheus) => "prometheuses",
            Self::Prometheuses(PrometheusKind::Agent) => "prometheusagents",
        }
    }

    /// Whether the operator can do its work while the API server does not know the kind.
    fn may_be_unknown(self) -> bool {
        matches!(self, Self::Prometheuses(_) | Self::RemoteWrites)
    }
}

/// What happened.
#[derive(Debug)]
pub(crate) enum Seen {
    /// All there is.
    All(Vec<Json>),
    /// One that is new or changed.
    One(Json),
    /// One that is gone.
    Gone(Json),
    /// The API server does not know the kind, which says nothing about objects.
    Unknown,
    /// The watch failed.
    Failed(String),
}

/// A message of a watch.
pub(crate) type Message = (Kind, Seen);

/// Watches one kind until `stop`. Ends early only if nobody listens.
pub(crate) async fn watch(api: Api, kind: Kind, messages: mpsc::Sender<Message>, stop: CancellationToken) {
    let client = api.client();
    let all = watcher::Config::default();
    let dynamic = |group: &str, version: &str, name: &str, plural: &str| {
        let resource = ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, version, name), plural);
        kube::Api::<DynamicObject>::all_with(client.clone(), &resource)
    };
    let follow = async {
        match kind {
            Kind::Namespaces => {
                let api = kube::Api::<PartialObjectMeta<Namespace>>::all(client.clone());
                follow(kube::runtime::watcher(api, all), kind, &messages).await;
            }
            Kind::Sources(ReferenceKind::Secret) => {
                let api = kube::Api::<PartialObjectMeta<Secret>>::all(client.clone());
                follow(kube::runtime::watcher(api, all), kind, &messages).await;
            }
            Kind::Sources(ReferenceKind::ConfigMap) => {
                let api = kube::Api::<PartialObjectMeta<ConfigMap>>::all(client.clone());
                follow(kube::runtime::watcher(api, all), kind, &messages).await;
            }
            Kind::Copies => {
                let ours = all.labels(&format!("{}={}", words::MANAGED_BY, words::OPERATOR));
                let stream = kube::runtime::watcher(dynamic("", "v1", "Secret", "secrets"), ours);
                follow(stream, kind, &messages).await;
            }
            Kind::RemoteWrites => {
                let api = dynamic(words::GROUP, words::VERSION, "RemoteWrite", "remotewrites");
                follow(kube::runtime::watcher(api, all), kind, &messages).await;
            }
            Kind::Prometheuses(which) => {
                let api = match which {
                    PrometheusKind::Prometheus => dynamic("monitoring.coreos.com", "v1", "Prometheus", "prometheuses"),
                    PrometheusKind::Agent => {
                        dynamic("monitoring.coreos.com", "v1alpha1", "PrometheusAgent", "prometheusagents")
                    }
                };
                follow(kube::runtime::watcher(api, all), kind, &messages).await;
            }
        }
    };
    tokio::select! {
        () = stop.cancelled() => {}
        () = follow => {}
    }
}

async fn follow<K: Serialize + Debug>(
    stream: impl Stream<Item = watcher::Result<Event<K>>>,
    kind: Kind,
    messages: &mpsc::Sender<Message>,
) {
    let mut stream = std::pin::pin!(stream);
    let mut listed = Vec::new();
    let mut pause = FIRST_PAUSE;
    let mut unknown_since: Option<Instant> = None;
    while let Some(event) = stream.next().await {
        let seen = match event {
            Ok(event) => {
                (pause, unknown_since) = (FIRST_PAUSE, None);
                match event {
                    Event::Init => {
                        listed.clear();
                        continue;
                    }
                    Event::InitApply(object) => {
                        listed.extend(plain(&object));
                        continue;
                    }
                    Event::InitDone => Some(Seen::All(std::mem::take(&mut listed))),
                    Event::Apply(object) => plain(&object).map(Seen::One),
                    Event::Delete(object) => plain(&object).map(Seen::Gone),
                }
            }
            Err(error) => {
                let seen = failed(&error, kind, &mut unknown_since);
                if let Some(seen) = seen
                    && messages.send((kind, seen)).await.is_err()
                {
                    return;
                }
                tokio::time::sleep(pause.mul_f64(0.5 + fastrand::f64() / 2.0)).await;
                pause = (pause * 2).min(LAST_PAUSE);
                continue;
            }
        };
        if let Some(seen) = seen
            && messages.send((kind, seen)).await.is_err()
        {
            return;
        }
    }
}

fn failed(error: &watcher::Error, kind: Kind, unknown_since: &mut Option<Instant>) -> Option<Seen> {
    let refused = match error {
        watcher::Error::InitialListFailed(error)
        | watcher::Error::WatchStartFailed(error)
        | watcher::Error::WatchFailed(error) => refused(error),
        // The watcher starts over by itself; 410 is how servers say so.
        watcher::Error::WatchError(status) if status.code == 410 => return None,
        watcher::Error::WatchError(_) | watcher::Error::NoResourceVersion => {
            return Some(Seen::Failed(error.to_string()));
        }
    };
    if refused.is_missing() && kind.may_be_unknown() {
        let since = unknown_since.get_or_insert_with(Instant::now);
        return Some(if since.elapsed() < MAY_COME { Seen::Unknown } else { Seen::All(Vec::new()) });
    }
    Some(Seen::Failed(refused.to_string()))
}

/// The object without the record of who set which field, and without what `kubectl apply` repeats of it in an annotation: both are
/// most of it, and the latter holds what a Secret holds.
fn plain<K: Serialize>(object: &K) -> Option<Json> {
    let mut object = serde_json::to_value(object).ok()?;
    if let Some(metadata) = object["metadata"].as_object_mut() {
        metadata.remove("managedFields");
        if let Some(Json::Object(annotations)) = metadata.get_mut("annotations") {
            annotations.remove("kubectl.kubernetes.io/last-applied-configuration");
        }
    }
    Some(object)
}
