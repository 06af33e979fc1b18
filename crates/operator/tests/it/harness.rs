//! A cluster with the operator's definitions and roles, and the program as a process.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value as Json, json};
use targets::Applier;
use tempfile::TempDir;

use crate::server::{Objects, Server};

/// How long anything may take that is promised within ten seconds, on a machine that does other things too.
pub(crate) const LIMIT: Duration = Duration::from_secs(40);

pub(crate) const USER: &str = "system:serviceaccount:writegate:writegate-operator";
pub(crate) const KEY: &str = "metrics.monitoring.adevinta.com/remote-write";

pub(crate) struct Cluster {
    pub(crate) server: Server,
    pub(crate) directory: TempDir,
    config: String,
    apply: &'static str,
}

impl Cluster {
    /// A cluster whose Prometheus objects are configured, with the namespaces `platform-services` and `writegate`.
    pub(crate) async fn new(config: &str) -> Self {
        Self::with(config, "prometheus").await
    }

    pub(crate) async fn with(config: &str, apply: &'static str) -> Self {
        let server = Server::start().await;
        for definition in targets::crd::definitions() {
            server.install(&definition.to_string()).unwrap();
        }
        server.install(&prometheus_operator()).unwrap();
        let directory = tempfile::tempdir().unwrap();
        server.kubeconfig(&directory.path().join("kubeconfig"));
        let cluster = Self { server, directory, config: format!("admin: {{address: '127.0.0.1:0'}}\n{config}"), apply };
        cluster.namespace("platform-services", &[]);
        cluster.namespace("writegate", &[]);
        let parsed = writegate_config::parse_operator(&cluster.config, Path::new("operator.yml")).unwrap();
        let applier = if apply == "file" { Applier::File } else { Applier::Prometheus };
        for role in targets::rbac::roles(&parsed, applier, "writegate") {
            cluster.server.install(&role.to_string()).unwrap();
        }
        cluster
    }

    /// Starts the program and waits until it serves its admin address.
    pub(crate) fn operator(&self) -> Operator {
        self.operator_with(&[])
    }

    pub(crate) fn operator_with(&self, environment: &[(&str, &str)]) -> Operator {
        let config = self.directory.path().join("operator.yml");
        std::fs::write(&config, &self.config).unwrap();
        let mut command = self.command();
        command.args(["run", "--apply", self.apply, "--config"]).arg(&config);
        Operator::start(command.envs(environment.iter().copied()))
    }

    /// The program, with this cluster, in a directory of its own.
    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_writegate-operator"));
        command
            .env_clear()
            .env("KUBECONFIG", self.directory.path().join("kubeconfig"))
            .current_dir(self.directory.path());
        command
    }

    pub(crate) fn config_file(&self) -> std::path::PathBuf {
        let config = self.directory.path().join("operator.yml");
        std::fs::write(&config, &self.config).unwrap();
        config
    }

    pub(crate) fn namespace(&self, name: &str, annotations: &[(&str, &str)]) {
        let annotations: serde_json::Map<String, Json> =
            annotations.iter().map(|(key, value)| ((*key).to_owned(), json!(value))).collect();
        let namespace =
            json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "annotations": annotations}});
        self.server.install(&namespace.to_string()).unwrap();
    }

    /// Sets, or with `null` removes, an annotation of a namespace.
    pub(crate) fn annotate(&self, namespace: &str, key: &str, value: Json) {
        self.server
            .objects("v1", "Namespace")
            .merge(namespace, &json!({"metadata": {"annotations": {key: value}}}))
            .unwrap();
    }

    pub(crate) fn secret(&self, namespace: &str, name: &str, annotations: Json, data: Json) {
        let secret = json!({
            "apiVersion": "v1", "kind": "Secret", "type": "Opaque",
            "metadata": {"namespace": namespace, "name": name, "annotations": annotations},
            "stringData": data,
        });
        self.server.install(&secret.to_string()).unwrap();
    }

    pub(crate) fn prometheus(&self, namespace: &str, name: &str, labels: Json, spec: Json) {
        self.server
            .objects("monitoring.coreos.com/v1", "Prometheus")
            .within(namespace)
            .create(&json!({
                "apiVersion": "monitoring.coreos.com/v1", "kind": "Prometheus",
                "metadata": {"namespace": namespace, "name": name, "labels": labels}, "spec": spec,
            }))
            .unwrap();
    }

    pub(crate) fn remote_write(&self, namespace: &str, name: &str, spec: Json) {
        let object = json!({
            "apiVersion": "monitoring.giantswarm.io/v1alpha1", "kind": "RemoteWrite",
            "metadata": {"namespace": namespace, "name": name}, "spec": spec,
        });
        self.server
            .objects("monitoring.giantswarm.io/v1alpha1", "RemoteWrite")
            .within(namespace)
            .create(&object)
            .unwrap();
    }

    pub(crate) fn prometheuses(&self, namespace: &str) -> Objects<'_> {
        self.server.objects("monitoring.coreos.com/v1", "Prometheus").within(namespace)
    }

    pub(crate) fn remote_writes(&self, namespace: &str) -> Objects<'_> {
        self.server.objects("monitoring.giantswarm.io/v1alpha1", "RemoteWrite").within(namespace)
    }

    pub(crate) fn secrets(&self, namespace: &str) -> Objects<'_> {
        self.server.objects("v1", "Secret").within(namespace)
    }

    pub(crate) fn entries(&self, namespace: &str, name: &str) -> Vec<Json> {
        let object = self.prometheuses(namespace).get(name).unwrap_or_default();
        object["spec"]["remoteWrite"].as_array().cloned().unwrap_or_default()
    }

    pub(crate) fn names(&self, namespace: &str, name: &str) -> Vec<String> {
        self.entries(namespace, name)
            .iter()
            .map(|entry| entry["name"].as_str().unwrap_or_default().to_owned())
            .collect()
    }

    /// What a namespace is told of its target.
    pub(crate) fn status(&self, namespace: &str) -> Json {
        let namespace = self.server.objects("v1", "Namespace").get(namespace).unwrap();
        let status = namespace["metadata"]["annotations"]["writegate.io/remote-write-status"].as_str();
        status.map_or(Json::Null, |status| serde_json::from_str(status).unwrap())
    }

    /// The condition of a `RemoteWrite` object.
    pub(crate) fn ready(&self, namespace: &str, name: &str) -> Json {
        let object = self.remote_writes(namespace).get(name).unwrap_or_default();
        object["status"]["conditions"][0].clone()
    }

    /// Events of a namespace: type and reason.
    pub(crate) fn events(&self, namespace: &str) -> Vec<(String, String)> {
        let text = |event: &Json, key: &str| event[key].as_str().unwrap_or_default().to_owned();
        let events = self.server.objects("v1", "Event").within(namespace).list().unwrap();
        events.iter().map(|event| (text(event, "type"), text(event, "reason"))).collect()
    }

    pub(crate) async fn until(&self, what: &str, condition: impl Fn() -> bool) {
        self.within(LIMIT, what, condition).await;
    }

    pub(crate) async fn within(&self, limit: Duration, what: &str, condition: impl Fn() -> bool) {
        self.server.until(limit, what, condition).await;
    }

    pub(crate) async fn reason(&self, namespace: &str, reason: &str) {
        let what = format!("{namespace} is told {reason}");
        self.until(&what, || self.status(namespace)["reason"] == reason).await;
    }

    pub(crate) async fn ready_reason(&self, namespace: &str, name: &str, reason: &str) {
        let what = format!("{namespace}/{name} is told {reason}");
        self.until(&what, || self.ready(namespace, name)["reason"] == reason).await;
    }

    /// The number of writes of the operator that have nothing to do with its lease.
    pub(crate) fn writes(&self) -> usize {
        self.server.writes().iter().filter(|write| write.resource != "leases").count()
    }
}

/// The definitions of prometheus-operator: of the directory `WRITEGATE_PROMETHEUS_CRDS`, or what matters of them.
pub(crate) fn prometheus_operator() -> String {
    let Some(directory) = std::env::var_os("WRITEGATE_PROMETHEUS_CRDS") else {
        return include_str!("prometheus-operator.yaml").to_owned();
    };
    let read = |kind: &str| {
        let path = Path::new(&directory).join(format!("monitoring.coreos.com_{kind}.yaml"));
        std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    };
    read("prometheuses") + "\n---\n" + &read("prometheusagents")
}

/// The process. Dropping it kills it.
pub(crate) struct Operator {
    child: Child,
    log: Arc<Mutex<String>>,
    admin: String,
}

impl Operator {
    fn start(command: &mut Command) -> Self {
        let mut child = command.stderr(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
        let log = Arc::new(Mutex::new(String::new()));
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let mut admin = String::new();
        for line in lines.by_ref() {
            let line = line.unwrap();
            log.lock().unwrap().push_str(&format!("{line}\n"));
            if let Some((_, address)) = line.split_once("address=") {
                address.split_whitespace().next().unwrap().clone_into(&mut admin);
                break;
            }
        }
        assert!(!admin.is_empty(), "{}", log.lock().unwrap());
        let kept = Arc::clone(&log);
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                kept.lock().unwrap().push_str(&format!("{line}\n"));
            }
        });
        Self { child, log, admin }
    }

    pub(crate) fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    /// The status and body of a path of the admin address.
    pub(crate) fn get(&self, path: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(&self.admin).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
    }

    /// The value of a series.
    pub(crate) fn metric(&self, series: &str) -> Option<f64> {
        let (_, text) = self.get("/metrics");
        text.lines().find_map(|line| line.strip_prefix(series)?.trim().parse().ok())
    }

    /// The most memory it had resident so far, in bytes.
    pub(crate) fn peak_memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        peak.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
    }

    pub(crate) fn terminate(mut self) -> std::process::ExitStatus {
        let id = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(id, rustix::process::Signal::TERM).unwrap();
        self.child.wait().unwrap()
    }
}

impl Drop for Operator {
    fn drop(&mut self) {
        // It may have ended.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}
