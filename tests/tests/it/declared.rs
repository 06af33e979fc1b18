//! The gateway with the operator beside it (`--apply file`), as a pod of `deploy/kustomize/gateway` runs them: a target that is
//! declared in a namespace gets its samples, with its credential, and none once it is taken back.

use std::path::Path;
use std::time::{Duration, Instant};

use kube_double::ApiServer;
use serde_json::{Value as Json, json};
use testkit::endpoint::{Endpoint, EndpointSettings, Keep};
use testkit::load::{Load, Run};
use testkit::process::{Process, command, free_port};
use testkit::sender::Sender;
use testkit::workload::{Workload, WorkloadSettings};

use crate::gateway::{self, Gateway};
use crate::http;

const LIMIT: Duration = Duration::from_secs(60);
/// How long a change of a declaration may take to reach the endpoint.
const PROMISED: Duration = Duration::from_secs(5);
const ANNOTATION: &str = "metrics.monitoring.adevinta.com/remote-write";
const USER: &str = "system:serviceaccount:writegate:writegate-operator";
/// Samples a second.
const RATE: u64 = 400;

#[test]
fn samples_reach_an_endpoint_within_seconds_of_its_declaration_and_stop_when_it_is_taken_back() {
    let programs = (gateway::binary(), gateway::operator());
    let directory = tempfile::tempdir().expect("a directory");
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let run = async { tokio::time::timeout(3 * LIMIT, run(&programs.0, &programs.1, directory.path())).await };
    runtime.block_on(run).expect("it ends in time");
}

fn printed(operator: &Path, args: &[&str]) -> String {
    let output = command(operator, None).args(args).output().expect("the operator starts");
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("manifests are text")
}

fn secret(cluster: &ApiServer, name: &str, data: &Json) {
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"namespace": "team", "name": name}, "stringData": data,
    });
    cluster.install(&secret.to_string()).expect("a Secret");
}

fn annotate(cluster: &ApiServer, value: &Json) {
    let patch = json!({"metadata": {"annotations": {ANNOTATION: value}}});
    cluster.objects("v1", "Namespace").merge("team", &patch).expect("an annotation");
}

/// A cluster with what the operator prints, and the operator in it, which writes its file to the directory.
async fn start_operator(operator: &Path, directory: &Path, cluster: &ApiServer) -> Process {
    let admin = free_port().expect("a free port");
    let config = directory.join("operator.yml");
    let text = format!("admin: {{address: '127.0.0.1:{admin}'}}\nleader_election: {{namespace: writegate}}\n");
    std::fs::write(&config, text).expect("the operator's file is written");
    let config = config.to_str().expect("a path that is text");
    cluster.install(&printed(operator, &["crds"])).expect("the definition");
    cluster.install(&printed(operator, &["rbac", "--apply", "file", "--config", config])).expect("the roles");
    cluster.kubeconfig(USER, &directory.join("kubeconfig")).expect("a kubeconfig");
    let mut run = command(operator, None);
    run.args(["run", "--apply", "file", "--config", config]).current_dir(directory);
    run.env("KUBECONFIG", directory.join("kubeconfig"));
    let mut process = Process::start(run, &directory.join("operator.log")).expect("the operator starts");
    process.ready(&format!("http://127.0.0.1:{admin}/-/ready"), LIMIT).await.expect("the operator is ready");
    process
}

async fn acknowledged(run: &Run, more: u64) {
    let goal = run.progress().sent.samples + more;
    let behind = http::settled(Instant::now() + LIMIT, async || {
        let sent = run.progress().sent.samples;
        (sent < goal).then(|| format!("{sent} of {goal} samples acknowledged"))
    });
    assert_eq!(behind.await, None);
}

/// Whether the last request shows this credential.
fn shows(endpoint: &Endpoint, credential: &str) -> bool {
    endpoint.requests().last().is_some_and(|request| request.header("authorization") == Some(credential))
}

async fn run(gateway: &Path, operator: &Path, directory: &Path) {
    let cluster = ApiServer::start().await.expect("a cluster");
    for namespace in ["writegate", "team"] {
        let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}});
        cluster.install(&namespace.to_string()).expect("a namespace");
    }
    let settings = EndpointSettings { keep: Keep::Requests, ..EndpointSettings::default() };
    let endpoint = Endpoint::launch(settings).await.expect("an endpoint");
    secret(&cluster, "cred", &json!({"user": "u", "pass": "hunter2"}));
    let target = format!(
        "url: {}\nbasicAuth:\n  username: {{name: cred, key: user}}\n  password: {{name: cred, key: pass}}\n",
        endpoint.url()
    );
    secret(&cluster, "target", &json!({"remote-write": target}));
    let mut operator = start_operator(operator, directory, &cluster).await;
    let listener = free_port().expect("a free port");
    let keys = format!(
        "listeners: [{{address: '127.0.0.1:{listener}', tenant: team}}]\nremote_write_files: [endpoints.yaml]\n"
    );
    let mut gateway = Gateway::start_on(gateway, directory, &keys, &[]).await;
    let settings = WorkloadSettings { series: 100, series_per_request: 20, ..WorkloadSettings::default() };
    let mut load = Load::new(Workload::new(settings).into(), 0);
    (load.rounds, load.rate) = (None, Some(RATE as f64));
    let url = format!("http://127.0.0.1:{listener}/api/v1/write");
    let run = Sender::new(&url).expect("an http url").start(&load);
    acknowledged(&run, RATE).await;
    assert_eq!(endpoint.stats().requests, 0, "nothing is declared");

    annotate(&cluster, &json!("target"));
    endpoint.wait_until(PROMISED, |stats| stats.taken.samples > 0).await.unwrap_or_else(|late| panic!("{late}"));
    assert!(shows(&endpoint, "Basic dTpodW50ZXIy"), "with the credential of the Secret");

    // What a Secret holds is changed in the file that the gateway reads, and in the next request.
    secret(&cluster, "cred", &json!({"user": "u", "pass": "rotated"}));
    let rotated = Instant::now();
    let old = http::settled(rotated + PROMISED, async || {
        (!shows(&endpoint, "Basic dTpyb3RhdGVk")).then(|| "the old password is shown".to_owned())
    });
    assert_eq!(old.await, None);

    annotate(&cluster, &Json::Null);
    let removed = Instant::now();
    let still = http::settled(removed + PROMISED, async || {
        let before = endpoint.stats().requests;
        acknowledged(&run, RATE / 2).await;
        (endpoint.stats().requests > before).then(|| "samples still come".to_owned())
    });
    assert_eq!(still.await, None);
    let before = endpoint.stats().requests;
    acknowledged(&run, 2 * RATE).await;
    assert_eq!(endpoint.stats().requests, before, "nothing comes any more");
    let report = run.stop().await;
    assert_eq!((report.failures, report.refused.len()), (0, 0), "the sender noticed nothing: {report:?}");
    let log = operator.log().expect("its log");
    assert!(!log.contains("hunter2") && !log.contains("rotated"), "{log}");
    gateway.terminate().await;
    operator.terminate(LIMIT).await.expect("the operator ends");
}
