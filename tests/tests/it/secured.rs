//! Real senders over TLS, with the blocks of configuration that their users have: a client certificate, a bearer token, and
//! neither. Each must be taken for its tenant, and nothing may be refused or lost.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use testkit::endpoint::{Endpoint, EndpointSettings, Keep};
use testkit::peers::Peer;
use testkit::process::free_port;

use crate::gateway::{self, Gateway, unbalanced};
use crate::peers::{Running, found, free_base, prometheus_command};
use crate::samples::metric;

/// How long until every sender has sent enough.
const LIMIT: Duration = Duration::from_secs(90);
/// That many samples of each are enough.
const ENOUGH: f64 = 1_000.0;

#[test]
fn r_x1_r_p1_r_p13_senders_with_certificate_token_or_neither_are_taken_for_their_tenants() {
    let directory = tempfile::tempdir().expect("a directory");
    let binary = gateway::binary();
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let run = async { tokio::time::timeout(2 * LIMIT, run(&binary, directory.path())).await };
    runtime.block_on(run).expect("it ends in time");
}

async fn run(binary: &Path, directory: &Path) {
    issue(directory, &["prometheus", "vmagent"]);
    let at = |name: &str| directory.join(name).display().to_string();
    std::fs::write(at("token"), "a-token-of-team-blue\n").expect("the token is written");
    let sink = Endpoint::launch(EndpointSettings { keep: Keep::Requests, ..EndpointSettings::default() });
    let sink = sink.await.expect("an endpoint");
    let port = free_port().expect("a free port");
    let keys = format!(
        "listeners:\n- address: 127.0.0.1:{port}\n  tenant: nobody\n  tls_config: {{cert_file: server.crt, key_file: \
         server.key, client_auth: optional, client_ca_file: ca.crt}}\nauthentication: [{{client_certificate: \
         {{pattern: \"{{tenant}}.agents.example.org\"}}}}]\ntenants: [{{name: team-blue, credentials: \
         [{{bearer_token_file: token}}]}}, {{name: \"*\"}}]\n"
    );
    let endpoint = format!("name: sink, url: \"{}\", tenant_header: X-Scope-OrgID", sink.url());
    let gateway = Gateway::start_on(binary, directory, &keys, &[endpoint]).await;
    let url = format!("https://localhost:{port}/api/v1");

    let certificate = |name: &str| {
        format!(
            "tls_config: {{ca_file: {}, cert_file: {}, key_file: {}}}",
            at("ca.crt"),
            at(&format!("{name}.crt")),
            at(&format!("{name}.key"))
        )
    };
    let with_certificate = format!("- url: {url}/receive\n    {}", certificate("prometheus"));
    // The token's block as its document has it: the server's certificate is verified with the system's authorities.
    let with_token = format!("- url: {url}/push\n    bearer_token_file: {}", at("token"));
    let vm_certificate = ["prometheus", "vmagent"].map(|name| {
        let file = |kind: &str| at(&format!("{name}.{kind}"));
        [
            format!("-remoteWrite.tlsCAFile={}", at("ca.crt")),
            format!("-remoteWrite.tlsCertFile={}", file("crt")),
            format!("-remoteWrite.tlsKeyFile={}", file("key")),
        ]
    });
    let vm_nothing = ["-remoteWrite.tlsInsecureSkipVerify=true".to_owned()];
    let senders = [
        (prometheus(directory, "prometheus", &with_certificate).await, "prometheus"),
        (prometheus(directory, "token", &with_token).await, "team-blue"),
        (vmagent(directory, "vmagent", &format!("{url}/receive"), &vm_certificate[1]).await, "vmagent"),
        (vmagent(directory, "anonymous", &format!("{url}/receive"), &vm_nothing).await, "nobody"),
    ];
    for (sender, tenant) in &senders {
        let Some(sender) = sender else { return };
        let started = Instant::now();
        let label = format!("tenant=\"{tenant}\"");
        while metric(&gateway.metrics().await, "writegate_delivered_samples_total", &[&label]).unwrap_or(0.0) < ENOUGH {
            assert!(
                started.elapsed() < LIMIT,
                "{tenant}: nothing comes\n{}\n{}",
                sender.log(),
                gateway.metrics().await
            );
            tokio::time::interval(Duration::from_millis(200)).tick().await;
        }
        for failed in [
            "prometheus_remote_storage_samples_failed_total",
            "prometheus_remote_storage_samples_dropped_total",
            "vmagent_remotewrite_packets_dropped_total",
        ] {
            assert_eq!(sender.metric(failed, &[]).await.unwrap_or(0.0), 0.0, "{tenant}: {failed}\n{}", sender.log());
        }
    }
    drop(senders);
    let started = Instant::now();
    while let Some(problem) = unbalanced(&gateway.ledger().await, &["sink"; 4]) {
        assert!(started.elapsed() < LIMIT, "{problem}");
        tokio::time::interval(Duration::from_millis(200)).tick().await;
    }
    for received in sink.requests() {
        assert!(!received.headers.contains_key("authorization"), "a sender's token went on");
    }
}

/// An authority, the gateway's certificate, and those of clients, as files.
pub(crate) fn issue(directory: &Path, clients: &[&str]) {
    let mut params = CertificateParams::new(Vec::new()).expect("no names");
    params.distinguished_name.push(DnType::CommonName, "a test's authority");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("an authority");
    let write = |name: &str, text: String| std::fs::write(directory.join(name), text).expect("a file");
    write("ca.crt", authority.pem());
    for name in std::iter::once(&"server").chain(clients) {
        let mut params = CertificateParams::new(vec!["localhost".to_owned()]).expect("names");
        params.distinguished_name.push(DnType::CommonName, format!("{name}.agents.example.org"));
        let key = KeyPair::generate().expect("a key");
        write(&format!("{name}.crt"), params.signed_by(&key, &authority).expect("a certificate").pem());
        write(&format!("{name}.key"), key.serialize_pem());
    }
}

/// What both scrape: themselves.
fn scrape(base: &str) -> String {
    let itself = base.trim_start_matches("http://");
    format!(
        "global: {{scrape_interval: 1s, scrape_timeout: 1s}}\nscrape_configs:\n  - {{job_name: itself, static_configs: \
         [{{targets: [\"{itself}\"]}}]}}\n"
    )
}

async fn prometheus(directory: &Path, name: &str, remote_write: &str) -> Option<Running> {
    let (mut command, base) = prometheus_command(found(Peer::Prometheus35)?, directory, name);
    let config = format!("{}remote_write:\n  {remote_write}\n", scrape(&base));
    std::fs::write(directory.join(format!("{name}.yml")), config).expect("the configuration is written");
    // The system's authorities, for Go.
    command.env("SSL_CERT_FILE", directory.join("ca.crt"));
    Some(Running::start(command, directory.join(format!("{name}.log")), base, "/-/ready").await)
}

async fn vmagent(directory: &Path, name: &str, url: &str, arguments: &[String]) -> Option<Running> {
    let (mut command, base): (Command, String) = (found(Peer::Vmagent1145)?, free_base());
    let config = directory.join(format!("{name}.yml"));
    std::fs::write(&config, scrape(&base)).expect("the configuration is written");
    command.arg(format!("-promscrape.config={}", config.display()));
    command.arg(format!("-httpListenAddr={}", base.trim_start_matches("http://")));
    command.arg(format!("-remoteWrite.tmpDataPath={}", directory.join(format!("{name}-data")).display()));
    command.arg(format!("-remoteWrite.url={url}"));
    command.args(arguments);
    Some(Running::start(command, directory.join(format!("{name}.log")), base, "/health").await)
}
