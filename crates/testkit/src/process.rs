//! Real programs under test: started, watched and always ended.
//!
//! Output goes to a file, so that a talkative program never waits for a reader. For programs on this machine that
//! serve HTTP; CPU time and memory come from Linux' `/proc`.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::sender::Sender;

/// How often a program is asked whether it is ready, or ended.
const ASK_EVERY: Duration = Duration::from_millis(20);

/// What went wrong with a program. [`Process::log`] has its own words.
#[derive(Debug, thiserror::Error)]
pub enum ProcessError {
    /// It cannot be started.
    #[error("start {program}")]
    Start {
        /// Its path.
        program: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Its output file or `/proc` cannot be used.
    #[error("use {path}")]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The system refused to signal it or to tell about it.
    #[error("signal or await {program}")]
    Control {
        /// Its path.
        program: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// It ended by itself.
    #[error("keep {program} running: it ended with {status}; its last words:\n{log}")]
    Ended {
        /// Its path.
        program: PathBuf,
        /// How.
        status: ExitStatus,
        /// The end of its output.
        log: String,
    },
    /// It did not do in time what was waited for.
    #[error("see {program} {what} within {limit:?}; its last words:\n{log}")]
    NotInTime {
        /// Its path.
        program: PathBuf,
        /// What was waited for.
        what: &'static str,
        /// How long.
        limit: Duration,
        /// The end of its output.
        log: String,
    },
    /// `/proc` says something else than expected.
    #[error("understand {0}")]
    Proc(PathBuf),
}

/// A running program. Dropping it kills it and waits for its end.
#[derive(Debug)]
pub struct Process {
    child: Child,
    program: PathBuf,
    log: PathBuf,
}

impl Process {
    /// Starts the command with its output (both streams) appended to the file `log` and nothing as input.
    pub fn start(mut command: Command, log: &Path) -> Result<Self, ProcessError> {
        let program = PathBuf::from(command.get_program());
        let at_log = |source| ProcessError::File { path: log.to_owned(), source };
        let output = File::options().create(true).append(true).open(log).map_err(at_log)?;
        let errors = output.try_clone().map_err(at_log)?;
        command.stdin(Stdio::null()).stdout(output).stderr(errors);
        let child = command.spawn().map_err(|source| ProcessError::Start { program: program.clone(), source })?;
        Ok(Self { child, program, log: log.to_owned() })
    }

    /// The process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// All output so far; what is not UTF-8 is replaced.
    pub fn log(&self) -> Result<String, ProcessError> {
        let bytes = fs::read(&self.log).map_err(|source| ProcessError::File { path: self.log.clone(), source })?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Waits until a GET of `url` is answered with 200, the program runs meanwhile.
    pub async fn ready(&mut self, url: &str, limit: Duration) -> Result<(), ProcessError> {
        let started = Instant::now();
        loop {
            if let Some(status) = self.ended()? {
                return Err(ProcessError::Ended { program: self.program.clone(), status, log: self.last_words() });
            }
            let asked = match Sender::new(url) {
                Ok(sender) => sender.with_timeout(Duration::from_secs(1)).get().await,
                Err(error) => Err(error),
            };
            if asked.is_ok_and(|answer| answer.status.as_u16() == 200) {
                return Ok(());
            }
            self.in_time(started, limit, "become ready")?;
            tokio::time::sleep(ASK_EVERY).await;
        }
    }

    /// Sends a signal: `Signal::TERM`, `Signal::HUP`, `Signal::KILL`.
    pub fn signal(&self, signal: Signal) -> Result<(), ProcessError> {
        let Some(pid) = i32::try_from(self.id()).ok().and_then(Pid::from_raw) else {
            return Err(self.control(io::Error::from(io::ErrorKind::InvalidInput)));
        };
        kill_process(pid, signal).map_err(|source| self.control(source.into()))
    }

    /// Waits until it ends.
    pub async fn wait(&mut self, limit: Duration) -> Result<ExitStatus, ProcessError> {
        let started = Instant::now();
        loop {
            if let Some(status) = self.ended()? {
                return Ok(status);
            }
            self.in_time(started, limit, "end")?;
            tokio::time::sleep(ASK_EVERY).await;
        }
    }

    /// Asks it to end (SIGTERM) and waits until it has.
    pub async fn terminate(&mut self, limit: Duration) -> Result<ExitStatus, ProcessError> {
        self.signal(Signal::TERM)?;
        self.wait(limit).await
    }

    /// Ends it at once (SIGKILL) and waits until it has.
    pub fn kill(&mut self) -> Result<ExitStatus, ProcessError> {
        let ended = self.child.kill().and_then(|()| self.child.wait());
        ended.map_err(|source| self.control(source))
    }

    /// The CPU time of the running program so far.
    pub fn cpu_time(&self) -> Result<Duration, ProcessError> {
        cpu_time(self.id())
    }

    /// The most memory the running program had resident so far, in bytes.
    pub fn peak_memory(&self) -> Result<u64, ProcessError> {
        peak_memory(self.id())
    }

    /// The memory the running program has resident at this moment, in bytes.
    pub fn memory(&self) -> Result<u64, ProcessError> {
        memory(self.id())
    }

    fn ended(&mut self) -> Result<Option<ExitStatus>, ProcessError> {
        self.child.try_wait().map_err(|source| self.control(source))
    }

    fn in_time(&self, started: Instant, limit: Duration, what: &'static str) -> Result<(), ProcessError> {
        if started.elapsed() < limit {
            return Ok(());
        }
        Err(ProcessError::NotInTime { program: self.program.clone(), what, limit, log: self.last_words() })
    }

    fn control(&self, source: io::Error) -> ProcessError {
        ProcessError::Control { program: self.program.clone(), source }
    }

    fn last_words(&self) -> String {
        let log = self.log().unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines.get(lines.len().saturating_sub(20)..).unwrap_or_default().join("\n")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Both fail only when it has ended already.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// A command for a program, with the library path it needs ([`crate::peers::Found`]).
pub fn command(program: impl AsRef<OsStr>, libraries: Option<&Path>) -> Command {
    let mut command = Command::new(program);
    if let Some(libraries) = libraries {
        command.env("LD_LIBRARY_PATH", libraries);
    }
    command
}

/// A port of 127.0.0.1 that was free a moment ago, for a program that cannot choose one and tell.
pub fn free_port() -> io::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

/// The user and system CPU time of a process, its ended threads included, in steps of a clock tick (10 ms).
pub fn cpu_time(pid: u32) -> Result<Duration, ProcessError> {
    let path = PathBuf::from(format!("/proc/{pid}/stat"));
    let text = read_proc(&path)?;
    // The second field is the program's name in parentheses, and may hold anything. After it utime is the 12th field
    // and stime the 13th (proc_pid_stat(5) numbers them 14 and 15).
    let fields = text.rsplit_once(')').map(|(_, fields)| fields.split_whitespace().skip(11).take(2));
    let ticks: Option<u64> = fields.and_then(|fields| fields.map(|field| field.parse::<u64>().ok()).sum());
    let ticks = ticks.ok_or(ProcessError::Proc(path))?;
    Ok(Duration::from_secs_f64(ticks as f64 / rustix::param::clock_ticks_per_second() as f64))
}

/// The peak resident set of a process (`VmHWM`), in bytes.
pub fn peak_memory(pid: u32) -> Result<u64, ProcessError> {
    kibibytes_of(pid, "VmHWM:")
}

/// The resident set of a process at this moment (`VmRSS`), in bytes.
pub fn memory(pid: u32) -> Result<u64, ProcessError> {
    kibibytes_of(pid, "VmRSS:")
}

/// A field of `/proc/<pid>/status` in kB, in bytes.
fn kibibytes_of(pid: u32, field: &str) -> Result<u64, ProcessError> {
    let path = PathBuf::from(format!("/proc/{pid}/status"));
    let text = read_proc(&path)?;
    let line = text.lines().find_map(|line| line.strip_prefix(field));
    let kibibytes = line.and_then(|line| line.trim().strip_suffix(" kB")).and_then(|number| number.parse::<u64>().ok());
    Ok(kibibytes.ok_or(ProcessError::Proc(path))? * 1024)
}

fn read_proc(path: &Path) -> Result<String, ProcessError> {
    fs::read_to_string(path).map_err(|source| ProcessError::File { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sh(script: &str, directory: &Path) -> Process {
        let mut command = command("/bin/sh", None);
        command.args(["-c", script]);
        Process::start(command, &directory.join("log")).expect("sh starts")
    }

    #[tokio::test]
    async fn output_of_both_streams_is_in_the_log_and_the_exit_status_is_told() {
        let directory = tempfile::tempdir().expect("directory");
        let mut process = sh("echo out; echo err >&2; exit 3", directory.path());
        let status = process.wait(Duration::from_secs(10)).await.expect("ends");
        assert_eq!(status.code(), Some(3));
        assert_eq!(process.log().expect("log"), "out\nerr\n");
    }

    #[tokio::test]
    async fn a_program_that_ends_instead_of_becoming_ready_is_told_with_its_last_words() {
        let directory = tempfile::tempdir().expect("directory");
        let mut process = sh("echo no port left; exit 1", directory.path());
        let url = format!("http://127.0.0.1:{}/", free_port().expect("port"));
        let error = process.ready(&url, Duration::from_secs(10)).await.expect_err("never ready");
        assert!(matches!(&error, ProcessError::Ended { log, .. } if log == "no port left"), "{error}");
    }

    #[tokio::test]
    async fn a_program_that_never_becomes_ready_is_told_in_time() {
        let directory = tempfile::tempdir().expect("directory");
        let mut process = sh("read forever < /dev/zero", directory.path());
        let url = format!("http://127.0.0.1:{}/", free_port().expect("port"));
        let error = process.ready(&url, Duration::from_millis(100)).await.expect_err("never ready");
        assert!(matches!(error, ProcessError::NotInTime { .. }), "{error}");
    }

    #[tokio::test]
    async fn terminate_lets_a_program_say_goodbye() {
        let directory = tempfile::tempdir().expect("directory");
        let mut process = sh("trap 'echo bye; exit 0' TERM; echo up; while :; do :; done", directory.path());
        let log = directory.path().join("log");
        while fs::read_to_string(&log).expect("log").is_empty() {
            tokio::task::yield_now().await;
        }
        let status = process.terminate(Duration::from_secs(10)).await.expect("ends");
        assert!(status.success());
        assert_eq!(process.log().expect("log"), "up\nbye\n");
    }

    #[test]
    fn a_dropped_process_is_gone() {
        let directory = tempfile::tempdir().expect("directory");
        let process = sh("while :; do :; done", directory.path());
        let proc = PathBuf::from(format!("/proc/{}", process.id()));
        assert!(proc.exists());
        drop(process);
        assert!(!proc.exists());
    }

    #[test]
    fn cpu_time_and_memory_of_a_busy_program_grow() {
        let pid = std::process::id();
        let before = cpu_time(pid).expect("cpu time");
        let mut sum = 0_u64;
        while cpu_time(pid).expect("cpu time") < before + Duration::from_millis(20) {
            sum = (0..100_000_u64).fold(sum, |sum, number| sum.wrapping_mul(31).wrapping_add(number));
        }
        let now = memory(pid).expect("memory");
        let peak = peak_memory(pid).expect("memory");
        assert!(now > 1 << 20 && peak > 1 << 20, "{now} {peak} {sum}");
    }
}
