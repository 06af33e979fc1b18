//! The gateway under test: built, started, ended in both ways, asked for its books.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;
use std::time::Duration;

use serde_json::Value as Json;
use testkit::process::{Process, command, free_port};

use crate::http;

/// How long a start or an orderly end may take.
const LIMIT: Duration = Duration::from_secs(30);

/// The program: `$WRITEGATE_BIN`, or what cargo builds (into `$CARGO_TARGET_DIR`, as cargo itself sees to). That may take
/// minutes: a test asks for it before its time begins.
pub(crate) fn binary() -> PathBuf {
    static BINARY: LazyLock<PathBuf> = LazyLock::new(|| build("WRITEGATE_BIN", "writegate"));
    BINARY.clone()
}

/// The operator: `$WRITEGATE_OPERATOR_BIN`, or what cargo builds.
pub(crate) fn operator() -> PathBuf {
    static BINARY: LazyLock<PathBuf> = LazyLock::new(|| build("WRITEGATE_OPERATOR_BIN", "writegate-operator"));
    BINARY.clone()
}

fn build(variable: &str, package: &str) -> PathBuf {
    if let Some(binary) = std::env::var_os(variable) {
        return binary.into();
    }
    let mut build = Command::new(env!("CARGO"));
    build.current_dir(env!("CARGO_MANIFEST_DIR"));
    build.args(["build", "--release", "--package", package, "--bin", package, "--message-format=json"]);
    let output = build.stderr(std::process::Stdio::inherit()).output().expect("cargo starts");
    assert!(output.status.success(), "cargo builds {package}: {}", output.status);
    let messages = String::from_utf8(output.stdout).expect("cargo's messages are UTF-8");
    let messages = messages.lines().filter_map(|line| serde_json::from_str::<Json>(line).ok());
    let mut executables = messages.filter_map(|message| message["executable"].as_str().map(PathBuf::from));
    executables.next_back().expect("cargo names the executable")
}

/// A gateway whose data and addresses outlive its processes.
#[derive(Debug)]
pub(crate) struct Gateway {
    binary: PathBuf,
    directory: PathBuf,
    admin: String,
    pub(crate) push_url: String,
    process: Process,
}

impl Gateway {
    /// Starts it with these endpoints, as (name, url).
    pub(crate) async fn start(binary: &Path, directory: &Path, endpoints: &[(&str, &str)]) -> Self {
        let entries: Vec<String> =
            endpoints.iter().map(|(name, url)| format!("name: {name}, url: \"{url}\"")).collect();
        Self::start_with(binary, directory, &entries).await
    }

    /// Starts it with these endpoints, each the keys of an entry in YAML's flow style.
    pub(crate) async fn start_with(binary: &Path, directory: &Path, endpoints: &[String]) -> Self {
        let listener = free_port().expect("a free port");
        let keys = format!("listeners:\n  - address: 127.0.0.1:{listener}\n    tenant: default\n");
        let mut gateway = Self::start_on(binary, directory, &keys, endpoints).await;
        gateway.push_url = format!("http://127.0.0.1:{listener}/api/v1/write");
        gateway
    }

    /// Starts it with lines of configuration that say where it listens.
    pub(crate) async fn start_on(binary: &Path, directory: &Path, keys: &str, endpoints: &[String]) -> Self {
        let admin = free_port().expect("a free port");
        let mut config = format!(
            "{keys}admin: {{address: 127.0.0.1:{admin}}}\nlog: {{path: {}}}\n",
            directory.join("gateway-data").display()
        );
        if !endpoints.is_empty() {
            config += "remote_write:\n";
        }
        for keys in endpoints {
            writeln!(config, "  - {{{keys}}}").expect("a String takes all");
        }
        std::fs::write(directory.join("writegate.yml"), config).expect("the configuration is written");
        let process = run(binary, directory);
        let mut gateway = Self {
            binary: binary.to_owned(),
            directory: directory.to_owned(),
            admin: format!("http://127.0.0.1:{admin}"),
            push_url: String::new(),
            process,
        };
        gateway.ready().await;
        gateway
    }

    async fn ready(&mut self) {
        self.process.ready(&format!("{}/-/ready", self.admin), LIMIT).await.expect("the gateway starts");
    }

    /// SIGTERM, and wait for the end.
    pub(crate) async fn terminate(&mut self) {
        let status = self.process.terminate(LIMIT).await.expect("the gateway ends");
        assert!(status.success(), "the gateway ends well: {status}\n{}", self.process.log().expect("its log"));
    }

    /// SIGKILL.
    pub(crate) fn kill(&mut self) {
        self.process.kill().expect("the gateway can be killed");
    }

    /// Starts it again after either end.
    pub(crate) async fn start_again(&mut self) {
        self.process = run(&self.binary, &self.directory);
        self.ready().await;
    }

    /// An address of the admin server.
    pub(crate) fn admin_url(&self, path: &str) -> String {
        format!("{}{path}", self.admin)
    }

    /// What its process has used so far.
    pub(crate) fn cpu_time(&self) -> Duration {
        self.process.cpu_time().expect("its times")
    }

    pub(crate) async fn metrics(&self) -> String {
        http::get(&format!("{}/metrics", self.admin)).await
    }

    pub(crate) async fn ledger(&self) -> Json {
        http::get_json(&format!("{}/api/v1/ledger", self.admin)).await
    }
}

fn run(binary: &Path, directory: &Path) -> Process {
    let mut serve = command(binary, None);
    serve.arg("serve").arg("--config").arg(directory.join("writegate.yml"));
    Process::start(serve, &directory.join("gateway.log")).expect("the gateway starts")
}

/// What is wrong with a ledger of which everything should be delivered; `None` when nothing is.
pub(crate) fn unbalanced(ledger: &Json, endpoints: &[&str]) -> Option<String> {
    let rows = ledger["rows"].as_array().expect("rows");
    let names: Vec<_> = rows.iter().filter_map(|row| row["endpoint"].as_str()).collect();
    if names.len() != endpoints.len() || !endpoints.iter().all(|endpoint| names.contains(endpoint)) {
        return Some(format!("rows of {names:?}, not of {endpoints:?}"));
    }
    for row in rows {
        for kind in ["samples", "histograms", "exemplars"] {
            let books = &row[kind];
            let count = |state: &str| books[state].as_u64().expect("a count");
            let reasons = |state: &str| -> u64 {
                let reasons = books[state].as_object().expect("counts by reason");
                reasons.values().map(|count| count.as_u64().expect("a count")).sum()
            };
            let lost = reasons("dropped") + reasons("dead_lettered") + count("expired");
            if count("accepted") != count("delivered") + count("pending") + lost {
                return Some(format!("does not balance: {row}"));
            }
            if lost > 0 || count("pending") > 0 {
                return Some(format!("not everything delivered: {row}"));
            }
        }
    }
    None
}
