//! Real faults on the real program: a file system that is full, calls that fail, a kill at each call, a process that stands
//! still, no file descriptors, no memory to spare, names that do not resolve. After each: nothing acknowledged is lost, nobody
//! has to lend a hand, and a log line and a metric name the cause.
//!
//! Each needs a privilege or a tool; where that is missing the test says so and counts as passed. The same faults are in
//! `disk.rs` and in the simulation, through the log's own seam.
#![expect(clippy::print_stderr, reason = "a test that is skipped says so")]

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use remote_write::{Compression, Protocol};
use rustix::process::Signal;
use testkit::endpoint::Endpoint;
use testkit::ledger::Point;
use testkit::sender::Answer;
use tokio::sync::Mutex;

use crate::harness::{PATIENCE, Program, Setup, bounded, bounded_by, compress, eventually, receiver};
use crate::message::{With, encode, points, request, series};

/// Runs a command; whether it succeeded. Says nothing.
fn works(words: &[&str]) -> bool {
    let mut command = Command::new(words[0]);
    command.args(&words[1..]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

/// Whether the machine lets us do this; if not, says what is skipped.
fn allowed(words: &[&str]) -> bool {
    let allowed = works(words);
    if !allowed {
        eprintln!("skipped: this machine does not let a test run {words:?}");
    }
    allowed
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Starts a program where mounts are its own.
fn unshare() -> Vec<&'static str> {
    if is_root() { vec!["unshare", "--mount"] } else { vec!["unshare", "--mount", "--map-root-user"] }
}

/// Runs a shell command among the mounts of a program.
fn within(program: &Program, script: &str) -> bool {
    let id = program.id().to_string();
    let user: &[&str] = if is_root() { &[] } else { &["--user", "--preserve-credentials"] };
    works(&[&["nsenter", "--target", &id, "--mount"], user, &["sh", "-c", script]].concat())
}

/// The words that start a program after a shell script, which finds the data directory in `$data`.
fn after_script(script: &str) -> Vec<String> {
    let script = format!(r#"for last; do :; done; data="${{last%/*}}/data"; mkdir -p "$data"; {script}; exec "$@""#);
    [unshare(), vec!["sh", "-c", &script, "sh"]].concat().into_iter().map(str::to_owned).collect()
}

fn started_by(setup: Setup, words: &[String]) -> Setup {
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    setup.started_by(&words)
}

/// One sender, which keeps books.
struct Pusher {
    timestamp: i64,
    accepted: Vec<Point>,
}

impl Pusher {
    const fn new() -> Self {
        Self { timestamp: 0, accepted: Vec::new() }
    }

    /// Pushes a request of about 16 KB, once; `None` if there was no answer.
    async fn try_push(&mut self, program: &Program) -> Option<Answer> {
        self.timestamp += 1;
        let value: String = (0..16_000).map(|_| fastrand::alphanumeric()).collect();
        let one = request([series(&[("__name__", "bulky"), ("value", &value)]).sample(1.0, self.timestamp)]);
        let body = compress(Compression::Snappy, &encode(Protocol::V1, &one));
        let answer = program.sender().push(Protocol::V1, Compression::Snappy, body).await.ok()?;
        if answer.status == 204 {
            self.accepted.extend(points(&one));
        }
        Some(answer)
    }

    async fn push(&mut self, program: &Program) {
        let answer = self.try_push(program).await.expect("an answer");
        assert_eq!(answer.status, 204, "{}", answer.text());
    }

    /// Pushes until that fails: 503 in time, never anything else.
    async fn until_refused(&mut self, program: &Program) {
        for _ in 0..3_000 {
            let answer = self.try_push(program).await.expect("an answer");
            if answer.status != 204 {
                assert_eq!(answer.status, 503, "{}", answer.text());
                assert!(answer.retry_after().is_some());
                return;
            }
        }
        panic!("3,000 pushes were taken");
    }

    async fn until_taken(&mut self, program: &Program) {
        let pusher = Mutex::new(self);
        eventually("pushes are taken again", || async {
            let answer = pusher.lock().await.try_push(program).await?;
            assert!([204, 503].contains(&answer.status.as_u16()), "{}", answer.text());
            (answer.status == 204).then_some(())
        })
        .await;
    }

    /// All that was acknowledged is at the endpoint, and the books balance.
    async fn ends_well(self, program: Program, sink: &Endpoint) {
        for row in program.settled().await {
            let samples = &row.samples;
            assert_eq!((samples.pending, samples.dropped.len(), samples.expired), (0, 0, 0), "{row:?}");
            assert!(samples.delivered >= self.accepted.len() as u64, "{row:?}");
        }
        sink.ledger(|ledger| {
            assert_eq!(ledger.missing(self.accepted.iter().copied()), [], "lost");
            assert_eq!(ledger.out_of_order(), []);
        });
        program.terminate().await;
    }
}

/// The value of a metric's first series.
pub(crate) async fn metric(program: &Program, series: &str) -> f64 {
    let page = program.admin("/metrics").await;
    let line = page.lines().find(|line| line.starts_with(series)).unwrap_or_else(|| panic!("no {series} in {page}"));
    line.rsplit(' ').next().and_then(|value| value.parse().ok()).unwrap()
}

const CANNOT_KEEP: &str = "what is pushed cannot be kept";

#[test]
fn w42_a_file_system_that_is_full_is_503_and_takes_again_when_there_is_room() {
    if !allowed(&[&unshare()[..], &["true"]].concat()) {
        return;
    }
    bounded_by(3 * PATIENCE, async {
        let sink = receiver().await;
        let words = after_script(r#"mount -t tmpfs -o size=32m tmpfs "$data""#);
        let program = started_by(Setup::new(), &words).endpoint("a", &sink).start_program().await;
        let ballast = program.data().join("ballast");
        let mut pusher = Pusher::new();
        pusher.push(&program).await;
        for _ in 0..2 {
            // Ends when there is no space left.
            assert!(!within(&program, &format!("head -c 64m /dev/zero > {}", ballast.display())));
            pusher.until_refused(&program).await;
            assert!(program.log().contains(CANNOT_KEEP), "{}", program.log());
            assert!(metric(&program, r#"writegate_push_refusals_total{reason="full"}"#).await > 0.0);
            assert!(within(&program, &format!("rm {}", ballast.display())));
            pusher.until_taken(&program).await;
        }
        pusher.ends_well(program, &sink).await;
    });
}

/// The calls by which the log changes the disk.
const CALLS: &str =
    "pwrite64,pwritev,pwritev2,fdatasync,fsync,rename,renameat,renameat2,unlink,unlinkat,ftruncate,fallocate";

fn strace(inject: &str) -> Vec<String> {
    let trace = format!("trace={CALLS}");
    let inject = format!("inject={inject}");
    let words = ["strace", "-D", "-f", "-qq", "-o", "/dev/null", "-e", &trace, "-e", &inject];
    words.into_iter().map(str::to_owned).collect()
}

fn may_trace() -> bool {
    allowed(&["strace", "-D", "-f", "-qq", "-o", "/dev/null", "-e", "inject=fsync:error=EIO:when=100..200", "true"])
}

#[test]
fn w42_calls_that_fail_are_503_and_nothing_acknowledged_is_lost() {
    if !may_trace() {
        return;
    }
    bounded_by(8 * PATIENCE, async {
        // Late enough for a start to succeed: calls are counted by thread.
        for (inject, word) in [
            ("fdatasync:error=EIO:when=40..45", "Input/output error"),
            ("pwritev,pwritev2,pwrite64:error=EROFS:when=40..46", "Read-only file system"),
            ("pwritev,pwritev2,pwrite64:error=ENOSPC:when=40..46", "there is no room"),
            ("pwritev,pwritev2,pwrite64:error=EDQUOT:when=40..46", "there is no room"),
        ] {
            let sink = receiver().await;
            let program = started_by(Setup::new(), &strace(inject)).endpoint("a", &sink).start_program().await;
            let mut pusher = Pusher::new();
            pusher.until_refused(&program).await;
            pusher.until_taken(&program).await;
            for _ in 0..20 {
                // A sync may fail once more, on another thread.
                pusher.until_taken(&program).await;
            }
            let log = program.log();
            assert!(log.contains(CANNOT_KEEP) && log.contains(word), "{inject}: {log}");
            pusher.ends_well(program, &sink).await;
        }
    });
}

/// How many calls of each kind are killed at; `WRITEGATE_KILLED_CALLS=60` is the full run.
fn killed_calls() -> u32 {
    std::env::var("WRITEGATE_KILLED_CALLS").map_or(6, |text| text.parse().expect("a number"))
}

#[test]
fn w43_a_kill_at_any_call_of_an_append_loses_nothing_that_was_acknowledged() {
    if !may_trace() {
        return;
    }
    bounded_by(Duration::from_secs(20 * u64::from(killed_calls())) + PATIENCE, async {
        let mut killed = 0;
        for call in ["pwrite64,pwritev,pwritev2", "fdatasync,fsync", "rename,renameat,renameat2"] {
            for number in 1..=killed_calls() {
                let sink = receiver().await;
                let inject = format!("{call}:signal=SIGKILL:when={}", number * 2 + 4);
                let setup = started_by(Setup::new().log("max_size: 4MiB"), &strace(&inject)).endpoint("a", &sink);
                let Some(mut program) = setup.try_start_program().await else { continue };
                let mut pusher = Pusher::new();
                // Each push writes and syncs at least once.
                for _ in 0..(2 * number + 20).max(60) {
                    if pusher.try_push(&program).await.is_none() {
                        killed += 1;
                        break;
                    }
                }
                program.kill();
                program.start_again_plainly().await;
                pusher.push(&program).await;
                pusher.ends_well(program, &sink).await;
            }
        }
        assert!(killed >= killed_calls(), "{killed} were killed while they were written to");
    });
}

/// For how long the process stands still; `WRITEGATE_STOPPED_SECONDS=60` is the full run.
fn stopped() -> Duration {
    let seconds = std::env::var("WRITEGATE_STOPPED_SECONDS").map_or(5, |text| text.parse().expect("a number"));
    Duration::from_secs(seconds)
}

/// Whether every thread of a process is stopped (proc(5), `stat`: the state is behind the name in parentheses).
fn stands_still(process: u32) -> bool {
    let threads = std::fs::read_dir(format!("/proc/{process}/task")).unwrap();
    let state = |thread: std::fs::DirEntry| {
        let stat = std::fs::read_to_string(thread.path().join("stat")).unwrap();
        stat.rsplit_once(") ").and_then(|(_, rest)| rest.chars().next())
    };
    threads.map(|thread| state(thread.unwrap())).all(|state| state == Some('T'))
}

#[test]
fn a_process_that_stood_still_goes_on_as_if_nothing_had_been() {
    bounded_by(3 * PATIENCE + stopped(), async {
        let sink = receiver().await;
        let program = Setup::new().endpoint("a", &sink).start_program().await;
        let mut pusher = Pusher::new();
        for _ in 0..20 {
            pusher.push(&program).await;
        }
        program.signal(Signal::STOP);
        // A thread that runs may answer once more before it hears of it.
        eventually("every thread stands still", async || stands_still(program.id()).then_some(())).await;
        // Whoever asks meanwhile hears nothing, however often a sender gives up and asks again.
        let answer = async { while pusher.try_push(&program).await.is_none() {} };
        let asked = tokio::time::timeout(stopped(), answer).await;
        program.signal(Signal::CONT);
        assert!(asked.is_err(), "a process that stands still answered");
        for _ in 0..20 {
            pusher.push(&program).await;
        }
        pusher.ends_well(program, &sink).await;
    });
}

#[test]
fn without_file_descriptors_connections_wait_and_are_served_when_others_end() {
    if !allowed(&["prlimit", "--nofile=64:64", "true"]) {
        return;
    }
    bounded_by(2 * PATIENCE, async {
        let sink = receiver().await;
        let words = ["prlimit".to_owned(), "--nofile=64:64".to_owned()];
        let program = started_by(Setup::new(), &words).endpoint("a", &sink).start_program().await;
        let mut pusher = Pusher::new();
        pusher.push(&program).await;
        let mut idle = Vec::new();
        for _ in 0..80 {
            idle.push(tokio::net::TcpStream::connect(program.address()).await.unwrap());
        }
        eventually("the log says so", async || program.log().contains("connections cannot be accepted").then_some(()))
            .await;
        let waiting = tokio::time::timeout(Duration::from_secs(1), pusher.try_push(&program)).await;
        assert!(waiting.is_err(), "there was a descriptor left");
        drop(idle);
        pusher.until_taken(&program).await;
        assert!(metric(&program, "writegate_accept_failures_total").await > 0.0);
        pusher.ends_well(program, &sink).await;
    });
}

/// A control group with so much memory, removed in the end.
struct MemoryGroup(PathBuf);

impl MemoryGroup {
    fn new(bytes: u64) -> Option<Self> {
        let name = format!("writegate-test-{}", std::process::id());
        let old = PathBuf::from("/sys/fs/cgroup/memory").join(&name);
        let new = PathBuf::from("/sys/fs/cgroup").join(&name);
        for (path, limit) in [(old, "memory.limit_in_bytes"), (new, "memory.max")] {
            let made = path.parent().is_some_and(|parent| parent.join("cgroup.procs").exists())
                && std::fs::create_dir(&path).is_ok();
            if made {
                let group = Self(path);
                if std::fs::write(group.0.join(limit), bytes.to_string()).is_ok() {
                    return Some(group);
                }
            }
        }
        eprintln!("skipped: this machine does not let a test make a control group with a memory limit");
        None
    }
}

impl Drop for MemoryGroup {
    fn drop(&mut self) {
        drop(std::fs::remove_dir(&self.0));
    }
}

#[test]
fn r_s3_a_backlog_is_taken_and_delivered_within_a_memory_limit_of_64_mib() {
    let Some(group) = MemoryGroup::new(64 << 20) else { return };
    bounded_by(4 * PATIENCE, async {
        let sink = receiver().await;
        sink.stop().await;
        let join = format!("echo $$ > {}/cgroup.procs; exec \"$@\"", group.0.display());
        let words: Vec<String> = ["sh", "-c", &join, "sh"].map(str::to_owned).to_vec();
        let mut program = started_by(Setup::new(), &words).endpoint("a", &sink).start_program().await;
        let mut pusher = Pusher::new();
        for _ in 0..4_000 {
            pusher.push(&program).await;
        }
        sink.start().await.unwrap();
        program.settled().await;
        program.kill();
        program.start_again().await;
        pusher.push(&program).await;
        pusher.ends_well(program, &sink).await;
    });
    drop(group);
}

#[test]
fn a_name_that_does_not_resolve_is_named_and_delivered_to_when_it_does() {
    if !allowed(&[&unshare()[..], &["true"]].concat()) {
        return;
    }
    bounded(async {
        let sink = receiver().await;
        let hosts = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(hosts.path(), "127.0.0.1 localhost\n").unwrap();
        // Whoever would know the name is asked no more: nobody listens there.
        let nobody = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(nobody.path(), "nameserver 127.0.0.1\noptions timeout:1 attempts:1\n").unwrap();
        let mounts = format!(
            "mount --bind {} /etc/hosts; mount --bind {} /etc/resolv.conf",
            hosts.path().display(),
            nobody.path().display()
        );
        let words = after_script(&mounts);
        let url = sink.url().replace("127.0.0.1", "receiver.test");
        let setup = started_by(Setup::new(), &words).endpoint_at("a", &url);
        let program = setup.start_program().await;
        let mut pusher = Pusher::new();
        for _ in 0..10 {
            pusher.push(&program).await;
        }
        eventually("the log names the name", async || {
            let log = program.log();
            (log.contains("receiver.test") && log.contains("lookup")).then_some(())
        })
        .await;
        assert!(metric(&program, r#"writegate_endpoint_up{endpoint="a"}"#).await < 1.0);
        std::fs::write(hosts.path(), "127.0.0.1 localhost receiver.test\n").unwrap();
        pusher.ends_well(program, &sink).await;
    });
}
