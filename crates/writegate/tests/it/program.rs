//! The real program in a process of its own, as an operator runs it.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method};
use rustix::process::Signal;
use tempfile::TempDir;
use testkit::process::{Process, ProcessError};
use testkit::sender::Sender;

use crate::books::{Row, page, rows, settled};
use crate::harness::{PATIENCE, Setup};

/// The real program, on ports that stay the same over restarts.
#[derive(Debug)]
pub(crate) struct Program {
    directory: TempDir,
    config: PathBuf,
    process: Process,
    listen: u16,
    admin: u16,
    log_level: &'static str,
    wrapper: Vec<String>,
}

impl Program {
    /// Starts it with a configuration that has these ports; `None` if it ends before it is ready. `wrapper`: words before the
    /// program's own.
    pub(crate) async fn start(
        directory: TempDir,
        config: PathBuf,
        (listen, admin): (u16, u16),
        log_level: &'static str,
        wrapper: Vec<String>,
    ) -> Option<Self> {
        let process = launch(directory.path(), &config, admin, log_level, &wrapper).await.ok()?;
        Some(Self { directory, config, process, listen, admin, log_level, wrapper })
    }

    /// Its process.
    pub(crate) fn id(&self) -> u32 {
        self.process.id()
    }

    /// Where its log is.
    pub(crate) fn data(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    pub(crate) fn signal(&self, signal: Signal) {
        self.process.signal(signal).unwrap();
    }

    /// As [`Program::start_again`], without what it was started by before.
    pub(crate) async fn start_again_plainly(&mut self) {
        self.wrapper.clear();
        self.start_again().await;
    }

    /// A sender for Prometheus' path.
    pub(crate) fn sender(&self) -> Sender {
        let url = format!("http://127.0.0.1:{}/api/v1/write", self.listen);
        Sender::new(&url).unwrap().with_timeout(PATIENCE)
    }

    /// Where senders push.
    pub(crate) fn address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.listen))
    }

    fn admin_address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.admin))
    }

    /// The most memory it had resident so far, in bytes.
    pub(crate) fn peak_memory(&self) -> u64 {
        self.process.peak_memory().unwrap()
    }

    /// The memory it has resident at this moment, in bytes.
    pub(crate) fn memory(&self) -> u64 {
        self.process.memory().unwrap()
    }

    /// Waits until it has ended by itself.
    pub(crate) async fn ended(&mut self, limit: Duration) -> std::process::ExitStatus {
        self.process.wait(limit).await.unwrap()
    }

    /// A page of the admin server.
    pub(crate) async fn admin(&self, path: &str) -> String {
        page(self.admin_address(), path).await
    }

    /// What it has logged so far, over all its starts.
    pub(crate) fn log(&self) -> String {
        self.process.log().unwrap()
    }

    /// Writes another configuration, which the program finds by itself.
    pub(crate) fn rewrite(&self, setup: &Setup) {
        std::fs::write(&self.config, setup.yaml(&self.data(), self.listen, self.admin)).unwrap();
    }

    /// Puts a pipe in the place of the configuration, that nobody writes to: whoever reads it waits.
    pub(crate) fn rewrite_as_pipe(&self) {
        let pipe = self.directory.path().join("pipe");
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        std::fs::rename(pipe, &self.config).unwrap();
    }

    /// SIGKILL.
    pub(crate) fn kill(&mut self) {
        self.process.kill().unwrap();
    }

    /// Starts it again after it ended.
    pub(crate) async fn start_again(&mut self) {
        self.process =
            launch(self.directory.path(), &self.config, self.admin, self.log_level, &self.wrapper).await.unwrap();
    }

    /// Waits until nothing is pending anywhere, and gives the books.
    pub(crate) async fn settled(&self) -> Vec<Row> {
        settled(self.admin_address()).await
    }

    /// A page of the admin API.
    pub(crate) async fn get(&self, path: &str) -> serde_json::Value {
        serde_json::from_str(&page(self.admin_address(), path).await).unwrap()
    }

    /// Posts to the admin API; the process may end meanwhile.
    pub(crate) fn post(&self, path: &str, body: String) -> impl Future<Output = Option<u16>> + Send + 'static {
        let url = format!("http://{}{path}", self.admin_address());
        async move {
            let sender = Sender::new(&url).ok()?.with_timeout(PATIENCE);
            let answer = sender.send(Method::POST, HeaderMap::new(), Bytes::from(body)).await.ok()?;
            Some(answer.status.as_u16())
        }
    }

    /// SIGTERM; it must end well.
    pub(crate) async fn terminate(mut self) {
        rows(self.admin_address()).await;
        let status = self.process.terminate(PATIENCE).await.unwrap();
        assert!(status.success(), "{status}: {}", self.process.log().unwrap());
    }
}

/// A free port that no connection on this machine gets by chance while the program is down between two starts: below
/// the range that Linux hands out.
pub(crate) fn port() -> u16 {
    static TAKEN: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());
    loop {
        let port = fastrand::u16(20_000..32_000);
        let is_free = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok();
        if is_free && TAKEN.lock().unwrap().insert(port) {
            return port;
        }
    }
}

async fn launch(
    directory: &Path,
    config: &Path,
    admin: u16,
    log_level: &str,
    wrapper: &[String],
) -> Result<Process, ProcessError> {
    let mut words = wrapper.iter().map(String::as_str).chain([env!("CARGO_BIN_EXE_writegate")]);
    let mut command = std::process::Command::new(words.next().unwrap());
    command.args(words).args(["--log-level", log_level, "serve", "--config"]).arg(config);
    let mut process = Process::start(command, &directory.join("log.txt")).unwrap();
    process.ready(&format!("http://127.0.0.1:{admin}/-/ready"), PATIENCE).await?;
    Ok(process)
}
