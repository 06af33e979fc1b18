//! A gateway at work: configured for a case, started, and reached.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use http::{HeaderName, HeaderValue};
use remote_write::{Compression, Protocol};
use testkit::process::{Process, free_port};
use testkit::sender::Sender;

use crate::case::{Case, EndpointSpec};
use crate::contender::Contender;

/// How long a start may take.
const START_WITHIN: Duration = Duration::from_secs(60);

/// Prometheus takes samples before its queues have started, never sends those, and does not tell when it is over.
const PROMETHEUS_SETTLES: Duration = Duration::from_secs(1);

/// One that runs. Killed when dropped.
#[derive(Debug)]
pub(crate) struct Gateway {
    pub(crate) process: Process,
    /// Where its log, queue or WAL is.
    pub(crate) data: PathBuf,
    /// From the start of the program until it said that it is ready.
    pub(crate) ready_after: Duration,
    pub(crate) contender: Contender,
    address: String,
}

impl Gateway {
    /// Starts it on the data that is in the directory, if any, to deliver to these URLs, one per endpoint of the case.
    pub(crate) async fn start(case: &Case, directory: &Path, urls: &[String]) -> Result<Self> {
        let contender = case.contender;
        let address = format!("127.0.0.1:{}", free_port()?);
        let data = directory.join("data");
        let mut program = contender.program()?;
        let ready = match contender {
            Contender::Writegate => writegate(&mut program, case, directory, urls, &address)?,
            Contender::VmagentSnappy | Contender::VmagentZstd => {
                vmagent(&mut program, case, directory, urls, &address)?
            }
            Contender::PrometheusAgent => prometheus(&mut program, case, directory, urls, &address)?,
            Contender::BareRelay => relay(&mut program, directory, urls, &address),
        };
        let started = Instant::now();
        let mut process = Process::start(program, &directory.join("log"))?;
        process.ready(&ready, START_WITHIN).await?;
        let ready_after = started.elapsed();
        if contender == Contender::PrometheusAgent {
            tokio::time::sleep(PROMETHEUS_SETTLES).await;
        }
        Ok(Self { process, data, ready_after, contender, address })
    }

    /// Who pushes to it: one sender, or one per tenant.
    pub(crate) fn senders(&self, tenants: Option<u32>, first: u32) -> Result<Vec<Sender>> {
        let Some(tenants) = tenants else { return Ok(vec![Sender::new(&self.push_url("/api/v1/write"))?]) };
        let sender = |tenant: u32| {
            if self.contender.is_vmagent() {
                return Ok(Sender::new(&self.push_url(&format!("/insert/{tenant}/prometheus/api/v1/write")))?);
            }
            let name = HeaderValue::from_str(&format!("tenant-{tenant}")).context("name a tenant")?;
            Ok(Sender::new(&self.push_url("/api/v1/write"))?.with_header(TENANT_HEADER, name))
        };
        (first..first + tenants).map(sender).collect()
    }

    fn push_url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }
}

const TENANT_HEADER: HeaderName = HeaderName::from_static("x-scope-orgid");

/// Returns the URL that tells when it is ready; so do the others.
fn writegate(program: &mut Command, case: &Case, directory: &Path, urls: &[String], address: &str) -> Result<String> {
    let admin = format!("127.0.0.1:{}", free_port()?);
    let tenancy = if case.traffic.tenants.is_some() {
        format!("tenant: default, tenant_from: [{{header: {TENANT_HEADER}}}]}}]\ntenants: [{{name: \"*\"}}]")
    } else {
        "tenant: default}]".to_owned()
    };
    let entries = remote_write(&case.endpoints, urls, |endpoint| match endpoint.compression {
        Compression::Snappy => "compression: snappy",
        Compression::Zstd => "compression: zstd",
    })?;
    let text = format!(
        "listeners: [{{address: \"{address}\", {tenancy}\nadmin: {{address: \"{admin}\"}}\n\
         log: {{path: {}, max_size: 1TiB}}\n{entries}",
        directory.join("data").display()
    );
    let config = directory.join("writegate.yml");
    std::fs::write(&config, text)?;
    program.arg("serve").arg("--config").arg(config);
    Ok(format!("http://{admin}/-/ready"))
}

fn vmagent(program: &mut Command, case: &Case, directory: &Path, urls: &[String], address: &str) -> Result<String> {
    program.arg(format!("-httpListenAddr={address}"));
    program.arg(format!("-remoteWrite.tmpDataPath={}", directory.join("data").display()));
    // Its default is 32 MiB uncompressed, less than the largest requests here.
    program.arg("-maxInsertRequestSize=128MiB");
    program.args(urls.iter().map(|url| format!("-remoteWrite.url={url}")));
    if case.contender == Contender::VmagentSnappy {
        program.arg("-remoteWrite.forcePromProto=true");
    }
    if case.traffic.tenants.is_some() {
        program.arg("-enableMultitenantHandlers");
    }
    if case.endpoints.iter().any(|endpoint| endpoint.rules.yaml().is_some()) {
        for (index, endpoint) in case.endpoints.iter().enumerate() {
            let file = directory.join(format!("rules-{index}.yml"));
            std::fs::write(&file, endpoint.rules.yaml().unwrap_or("[]"))?;
            program.arg(format!("-remoteWrite.urlRelabelConfig={}", file.display()));
        }
    }
    Ok(format!("http://{address}/health"))
}

fn prometheus(program: &mut Command, case: &Case, directory: &Path, urls: &[String], address: &str) -> Result<String> {
    let config = directory.join("prometheus.yml");
    std::fs::write(&config, remote_write(&case.endpoints, urls, |_| "remote_timeout: 30s")?)?;
    program.args(["--agent", "--web.enable-remote-write-receiver"]);
    program.arg(format!("--config.file={}", config.display()));
    program.arg(format!("--storage.agent.path={}", directory.join("data").display()));
    program.arg(format!("--web.listen-address={address}"));
    Ok(format!("http://{address}/-/ready"))
}

fn relay(program: &mut Command, directory: &Path, urls: &[String], address: &str) -> String {
    program.args(["--listen", address]).arg("--data").arg(directory.join("data"));
    program.args(urls.iter().flat_map(|url| ["--url", url]));
    format!("http://{address}/")
}

/// The `remote_write` block, which Writegate and Prometheus share.
fn remote_write(
    endpoints: &[EndpointSpec],
    urls: &[String],
    more: impl Fn(&EndpointSpec) -> &'static str,
) -> Result<String> {
    let mut block = "remote_write:\n".to_owned();
    for (index, (endpoint, url)) in endpoints.iter().zip(urls).enumerate() {
        let message = match endpoint.protocol {
            Protocol::V1 => "prometheus.WriteRequest",
            Protocol::V2 => "io.prometheus.write.v2.Request",
        };
        let rules = endpoint.rules.yaml().map(|rules| format!(", write_relabel_configs: {rules}")).unwrap_or_default();
        let more = more(endpoint);
        writeln!(block, "  - {{name: e{index}, url: \"{url}\", protobuf_message: {message}, {more}{rules}}}")?;
    }
    Ok(block)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::case::Rules;

    #[test]
    fn each_endpoint_has_its_message_and_its_rules() {
        let plain = EndpointSpec::default();
        let ruled = EndpointSpec { protocol: Protocol::V2, rules: Rules::Edit, ..plain };
        let urls = ["http://a/".to_owned(), "http://b/".to_owned()];
        let block = remote_write(&[plain, ruled], &urls, |_| "remote_timeout: 30s").expect("text");
        let lines: Vec<_> = block.lines().collect();
        let expected =
            "  - {name: e0, url: \"http://a/\", protobuf_message: prometheus.WriteRequest, remote_timeout: 30s}";
        assert_eq!(lines.get(1), Some(&expected));
        let second = lines.get(2).expect("a second endpoint");
        assert!(second.contains("v2.Request") && second.contains("write_relabel_configs: [{target_label: cluster"));
    }
}
