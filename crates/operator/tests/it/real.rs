//! A real kube-apiserver with an etcd of its own. No controller runs beside it: what happens to a namespace that is deleted is
//! done here.

use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use http::{Method, Request};
use serde_json::{Value as Json, json};
use tempfile::TempDir;
use tokio::runtime::Handle;

use crate::harness::USER;
use crate::server::{Objects, Refused, Write};

const LIMIT: Duration = Duration::from_secs(120);
const AUDIT: &str =
    "apiVersion: audit.k8s.io/v1\nkind: Policy\nomitStages: [RequestReceived]\nrules: [{level: Metadata}]\n";
const MERGE: &str = "application/merge-patch+json";

pub(crate) struct Real {
    directory: TempDir,
    programs: [Child; 2],
    port: u16,
    client: kube::Client,
}

impl Drop for Real {
    fn drop(&mut self) {
        for program in &mut self.programs {
            program.kill().ok();
            program.wait().ok();
        }
    }
}

fn free_port() -> u16 {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port()
}

fn start(program: &Path, args: &[String], log: &Path) -> Child {
    let log = std::fs::File::create(log).unwrap();
    Command::new(program).args(args).stdout(Stdio::null()).stderr(log).spawn().unwrap()
}

/// Every namespace that a test deletes has nothing but these.
const CONTENTS: [(&str, &str); 6] = [
    ("v1", "Secret"),
    ("v1", "Event"),
    ("v1", "ConfigMap"),
    ("v1", "Pod"),
    ("monitoring.giantswarm.io/v1alpha1", "RemoteWrite"),
    ("monitoring.coreos.com/v1", "Prometheus"),
];

impl Real {
    pub(crate) async fn start(programs: &Path) -> Self {
        rustls::crypto::aws_lc_rs::default_provider().install_default().ok();
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name).display().to_string();
        let write = |name: &str, text: &str| std::fs::write(directory.path().join(name), text).unwrap();
        write("audit.yaml", AUDIT);
        let groups = "system:serviceaccounts,system:serviceaccounts:writegate,system:authenticated";
        write("tokens.csv", &format!("admin-token,admin,1,\"system:masters\"\noperator-token,{USER},2,\"{groups}\"\n"));
        let accounts = rcgen::KeyPair::generate().unwrap();
        write("accounts.key", &accounts.serialize_pem());
        write("accounts.pub", &accounts.public_key_pem());
        let [etcd, peer, port] = [free_port(), free_port(), free_port()];
        let (etcd, peer) = (format!("http://127.0.0.1:{etcd}"), format!("http://127.0.0.1:{peer}"));
        let store = [
            format!("--data-dir={}", at("etcd")),
            format!("--listen-client-urls={etcd}"),
            format!("--advertise-client-urls={etcd}"),
            format!("--listen-peer-urls={peer}"),
            format!("--initial-advertise-peer-urls={peer}"),
            format!("--initial-cluster=default={peer}"),
        ];
        let server = [
            format!("--etcd-servers={etcd}"),
            format!("--secure-port={port}"),
            "--bind-address=127.0.0.1".to_owned(),
            format!("--cert-dir={}", at("certificates")),
            format!("--token-auth-file={}", at("tokens.csv")),
            "--authorization-mode=RBAC".to_owned(),
            "--disable-admission-plugins=ServiceAccount".to_owned(),
            "--service-account-issuer=https://kubernetes.default.svc".to_owned(),
            format!("--service-account-key-file={}", at("accounts.pub")),
            format!("--service-account-signing-key-file={}", at("accounts.key")),
            "--service-cluster-ip-range=10.0.0.0/24".to_owned(),
            format!("--audit-policy-file={}", at("audit.yaml")),
            format!("--audit-log-path={}", at("audit.log")),
        ];
        let programs = [
            start(&programs.join("etcd"), &store, &directory.path().join("etcd.log")),
            start(&programs.join("kube-apiserver"), &server, &directory.path().join("kube-apiserver.log")),
        ];
        let certificate = directory.path().join("certificates/apiserver.crt");
        let mut asked = tokio::time::interval(Duration::from_millis(100));
        let made = async {
            while !certificate.exists() {
                asked.tick().await;
            }
        };
        tokio::time::timeout(LIMIT, made).await.unwrap();
        let config: kube::config::Kubeconfig =
            serde_saphyr::from_str(&kubeconfig(directory.path(), port, "admin")).unwrap();
        let options = kube::config::KubeConfigOptions::default();
        let config = kube::Config::from_custom_kubeconfig(config, &options).await.unwrap();
        let client = kube::Client::try_from(config).unwrap();
        let ready = async {
            let ask = || Request::get("/readyz").body(Vec::new()).unwrap();
            while client.request_text(ask()).await.is_err() {
                asked.tick().await;
            }
        };
        tokio::time::timeout(LIMIT, ready).await.unwrap();
        Self { directory, programs, port, client }
    }

    pub(crate) fn kubeconfig(&self, user: &str) -> String {
        kubeconfig(self.directory.path(), self.port, user)
    }

    pub(crate) fn install(&self, manifest: &str) -> Result<(), String> {
        let options = serde_saphyr::options! { budget: None };
        let documents: Vec<Json> =
            serde_saphyr::from_multiple_with_options(manifest, options).map_err(|error| error.to_string())?;
        for document in documents {
            match document["items"].as_array() {
                Some(items) => items.iter().try_for_each(|item| self.install_object(item))?,
                None => self.install_object(&document)?,
            }
        }
        Ok(())
    }

    fn install_object(&self, object: &Json) -> Result<(), String> {
        let text = |key: &str| object[key].as_str().unwrap_or_default();
        let metadata = |key: &str| object["metadata"][key].as_str().unwrap_or_default().to_owned();
        let (list, name) = (path(text("apiVersion"), text("kind"), &metadata("namespace")), metadata("name"));
        let mut made = self.call(Method::POST, &list, "", object);
        let one = format!("{list}/{name}");
        if made.as_ref().is_err_and(|refused| refused.code == 409) {
            let mut object = object.clone();
            made = self.call(Method::GET, &one, "", &Json::Null).and_then(|there| {
                object["metadata"]["resourceVersion"] = there["metadata"]["resourceVersion"].clone();
                self.call(Method::PUT, &one, "", &object)
            });
        }
        made.map_err(|refused| format!("{one}: {}", refused.message))?;
        if text("kind") == "CustomResourceDefinition" {
            let names = &object["spec"];
            let of = |at: &str| names.pointer(at).and_then(Json::as_str).unwrap_or_default();
            let served = format!("/apis/{}/{}/{}", of("/group"), of("/versions/0/name"), of("/names/plural"));
            let began = std::time::Instant::now();
            while self.call(Method::GET, &served, "", &Json::Null).is_err() {
                assert!(began.elapsed() < LIMIT, "{served} is not served");
            }
        }
        Ok(())
    }

    fn call(&self, method: Method, path: &str, kind: &str, body: &Json) -> Result<Json, Refused> {
        let bytes = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
        let kind = if kind.is_empty() { "application/json" } else { kind };
        let request = Request::builder().method(method).uri(path).header("content-type", kind).body(bytes).unwrap();
        let answer = async { self.client.request::<Json>(request).await };
        tokio::task::block_in_place(|| Handle::current().block_on(answer)).map_err(|error| match error {
            kube::Error::Api(status) => Refused { code: status.code, message: status.message.clone() },
            error => Refused { code: 0, message: error.to_string() },
        })
    }

    pub(crate) fn get(&self, objects: &Objects<'_>, name: &str) -> Result<Json, Refused> {
        self.call(Method::GET, &one(objects, name), "", &Json::Null)
    }

    pub(crate) fn create(&self, objects: &Objects<'_>, object: &Json) -> Result<Json, Refused> {
        self.call(Method::POST, &path(&objects.api_version, &objects.kind, &objects.namespace), "", object)
    }

    pub(crate) fn update(&self, objects: &Objects<'_>, object: &Json) -> Result<Json, Refused> {
        let name = object["metadata"]["name"].as_str().unwrap_or_default();
        self.call(Method::PUT, &one(objects, name), "", object)
    }

    pub(crate) fn merge(&self, objects: &Objects<'_>, name: &str, patch: &Json) -> Result<Json, Refused> {
        self.call(Method::PATCH, &one(objects, name), MERGE, patch)
    }

    pub(crate) fn delete(&self, objects: &Objects<'_>, name: &str) -> Result<Json, Refused> {
        let deleted = self.call(Method::DELETE, &one(objects, name), "", &Json::Null)?;
        if objects.kind == "Namespace" {
            for (version, kind) in CONTENTS {
                self.call(Method::DELETE, &path(version, kind, name), "", &Json::Null).ok();
            }
            let mut namespace = self.get(objects, name)?;
            namespace["spec"]["finalizers"] = json!([]);
            self.call(Method::PUT, &format!("{}/finalize", one(objects, name)), "", &namespace)?;
        }
        if objects.kind == "CustomResourceDefinition" {
            let began = std::time::Instant::now();
            while self.get(objects, name).is_ok() {
                assert!(began.elapsed() < LIMIT, "{name} is still there");
            }
        }
        Ok(deleted)
    }

    /// From the audit log, which is written before an answer is sent.
    pub(crate) fn writes(&self) -> Vec<Write> {
        let log = std::fs::read_to_string(self.directory.path().join("audit.log")).unwrap();
        let events = log.lines().filter_map(|line| serde_json::from_str::<Json>(line).ok());
        let theirs = events.filter(|event| {
            event["user"]["username"] == USER
                && ["create", "update", "patch", "delete"].iter().any(|verb| event["verb"] == *verb)
        });
        let write = |event: Json| {
            let text = |key: &str| event["objectRef"][key].as_str().unwrap_or_default().to_owned();
            Write {
                resource: text("resource"),
                subresource: text("subresource"),
                namespace: text("namespace"),
                name: text("name"),
                code: event["responseStatus"]["code"].as_u64().and_then(|code| code.try_into().ok()).unwrap_or(0),
            }
        };
        theirs.map(write).collect()
    }
}

fn kubeconfig(directory: &Path, port: u16, user: &str) -> String {
    let authority = directory.join("certificates/apiserver.crt");
    format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: real\n\
         clusters:\n- name: real\n  cluster:\n    server: https://127.0.0.1:{port}\n    certificate-authority: {}\n\
         users:\n- name: user\n  user:\n    token: {user}-token\n\
         contexts:\n- name: real\n  context:\n    cluster: real\n    user: user\n",
        authority.display()
    )
}

fn one(objects: &Objects<'_>, name: &str) -> String {
    let list = path(&objects.api_version, &objects.kind, &objects.namespace);
    if name.is_empty() { list } else { format!("{list}/{name}") }
}

fn path(api_version: &str, kind: &str, namespace: &str) -> String {
    let group = if api_version.contains('/') { format!("/apis/{api_version}") } else { format!("/api/{api_version}") };
    let plural = match kind.to_ascii_lowercase() {
        kind if kind.ends_with('s') => kind + "es",
        kind => kind + "s",
    };
    let everywhere = ["Namespace", "CustomResourceDefinition", "ClusterRole", "ClusterRoleBinding"].contains(&kind);
    if everywhere || namespace.is_empty() {
        format!("{group}/{plural}")
    } else {
        format!("{group}/namespaces/{namespace}/{plural}")
    }
}
