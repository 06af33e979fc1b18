//! What `--help` says is true: it fits a terminal, each example works, each command is in the manual and in what shells complete.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use remote_write::Protocol;
use rustix::process::Signal;
use testkit::endpoint::{Endpoint, Reply};

use crate::admin_api::picky;
use crate::cli::{Ran, run};
use crate::harness::{PATIENCE, Setup, TestGateway, bounded_by, copy, eventually, receiver};
use crate::message::{With as _, request, series};

/// Programs are started a hundred times.
const LIMIT: Duration = Duration::from_secs(120);

/// A command's words, and what its `--help` says.
#[derive(Debug)]
struct Told {
    words: Vec<String>,
    help: String,
}

/// Every command, those that hold others, too.
async fn commands() -> Vec<Told> {
    let (mut told, mut open) = (Vec::new(), vec![Vec::<String>::new()]);
    while let Some(words) = open.pop() {
        let arguments: Vec<&str> = words.iter().map(String::as_str).chain(["--help"]).collect();
        let ran = run(&arguments).await;
        assert_eq!(ran.code, 0, "{ran:?}");
        let listed =
            ran.out.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
        let names = listed.filter(|line| line.starts_with("  ") && !line.starts_with("   "));
        let names = names.filter_map(|line| line.split_whitespace().next()).filter(|name| *name != "help");
        open.extend(names.map(|name| [words.clone(), vec![name.to_owned()]].concat()));
        told.push(Told { words, help: ran.out });
    }
    assert!(told.len() > 25, "{told:?}");
    told
}

/// The lines below `Example:`, those that go on in one.
fn examples(help: &str) -> Vec<String> {
    let below = help.lines().skip_while(|line| *line != "Example:" && *line != "Examples:").skip(1);
    let text: Vec<&str> = below.take_while(|line| line.starts_with("  ")).map(str::trim).collect();
    text.join("\n").replace("\\\n", " ").lines().map(str::to_owned).collect()
}

#[test]
fn every_help_fits_80_columns_has_an_example_and_says_how_the_command_can_end() {
    bounded_by(LIMIT, async {
        for Told { words, help } in commands().await {
            let too_long: Vec<&str> = help.lines().filter(|line| line.chars().count() > 80).collect();
            assert!(too_long.is_empty(), "{words:?}: {too_long:?}");
            let examples = examples(&help);
            let own = format!("writegate {}", words.join(" "));
            assert!(examples.iter().any(|example| example.contains(own.trim())), "{words:?}: {help}");
            assert!(help.contains("Exit codes: 0 fine, 1 failed, 2 wrong usage"), "{words:?}: {help}");
        }
        let wrong = run(&["status", "--no-such-flag"]).await;
        assert_eq!(wrong.code, 2, "{wrong:?}");
    });
}

#[test]
fn shells_read_the_completions_and_the_manual_has_a_page_for_every_command() {
    bounded_by(LIMIT, async {
        let directory = tempfile::tempdir().unwrap();
        for shell in ["bash", "zsh", "fish"] {
            let ran = run(&["completions", shell]).await;
            assert!(ran.code == 0 && ran.out.contains("dead-letters"), "{shell}: {ran:?}");
            let script = directory.path().join(shell);
            std::fs::write(&script, &ran.out).unwrap();
            match Command::new(shell).arg("-n").arg(&script).output() {
                Ok(read) => assert!(read.status.success(), "{shell}: {read:?}"),
                Err(_not_there) => assert_ne!(shell, "bash", "every machine that runs this has bash"),
            }
        }
        let pages = directory.path().join("man");
        let ran = run(&["man", pages.to_str().unwrap()]).await;
        assert_eq!((ran.code, ran.out.as_str()), (0, ""), "{ran:?}");
        for Told { words, .. } in commands().await {
            let name = [vec!["writegate".to_owned()], words].concat().join("-");
            let page = pages.join(format!("{name}.1"));
            let text = std::fs::read_to_string(&page).unwrap_or_else(|error| panic!("{name}: {error}"));
            assert!(text.contains(".SH NAME") && text.contains("writegate"), "{name}: {text}");
            // Without groff nobody can look whether it is well formed.
            if let Ok(read) = Command::new("groff").args(["-man", "-Tutf8", "-ww"]).arg(&page).output() {
                assert!(read.status.success() && read.stderr.is_empty(), "{name}: {read:?}");
            }
        }
    });
}

/// Where examples are run: a directory with the files they name, and a gateway.
struct Stage {
    directory: tempfile::TempDir,
    sink: Endpoint,
    gateway: Option<TestGateway>,
}

impl Stage {
    async fn new(is_asked: bool) -> Self {
        let (directory, sink) = (tempfile::tempdir().unwrap(), picky().await);
        let setup = Setup::new().listener("tenant: team-a").endpoint("mimir", &sink);
        let at = |name: &str| directory.path().join(name);
        std::fs::write(at("writegate.yml"), setup.yaml(&at("data"), 0, 0)).unwrap();
        std::fs::write(at("token"), "t").unwrap();
        std::fs::write(at("prometheus.yml"), "remote_write: [{url: 'http://a/b'}]").unwrap();
        std::fs::write(at("vmagent.service"), "[Service]\nExecStart=vmagent -remoteWrite.url=http://a/b\n").unwrap();
        let theirs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../import/testdata/observatorium");
        for name in ["endpoints.yaml", "tenants.yaml", "rbac.yaml"] {
            std::fs::copy(theirs.join(name), at(name)).unwrap();
        }
        std::fs::write(at("api.args"), "--metrics.write.endpoint=http://thanos:19291\n").unwrap();
        for path in [".local/share/bash-completion/completions", ".local/share/man"] {
            std::fs::create_dir_all(at(path)).unwrap();
        }
        let gateway = if is_asked { Some(setup.start().await) } else { None };
        Self { directory, sink, gateway }
    }

    /// The example with the names of this stage.
    fn staged(&self, example: &str) -> String {
        let mut example = example.replace("/var/lib/writegate", self.directory.path().join("data").to_str().unwrap());
        for url in ["https://mimir.example.org/api/v1/push", "http://prometheus:9090/api/v1/write"] {
            example = example.replace(url, &self.sink.url());
        }
        example = example.replace("--for 30s", "--for 1s --admin 127.0.0.1:0").replace("--limit 20", "--limit 1");
        // The log holds what was received just now.
        example = example.replace("2026-01-31T18:00:00Z", "2h").replace("2026-01-31T19:00:00Z", "now");
        match &self.gateway {
            Some(gateway) if !example.contains("--config") => {
                let limit = if example.contains(" tap ") && !example.contains("--limit") { " --limit 1" } else { "" };
                format!("{example} --admin {}{limit}", gateway.admin_url())
            }
            _ => example,
        }
    }

    fn shell(&self, line: &str) -> Command {
        let programs = Path::new(env!("CARGO_BIN_EXE_writegate")).parent().unwrap();
        let path = std::env::join_paths(
            [programs.to_owned()].into_iter().chain(std::env::split_paths(&std::env::var_os("PATH").unwrap())),
        );
        let mut command = Command::new("sh");
        command.args(["-c", line]).current_dir(&self.directory).stdin(Stdio::null());
        command.env("PATH", path.unwrap()).env("HOME", self.directory.path());
        command
    }

    async fn ran(&self, line: &str) -> Ran {
        let mut command = self.shell(line);
        let output = tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Ran { code: output.status.code().unwrap(), out: text(output.stdout), err: text(output.stderr) }
    }

    async fn prepare(&self, words: &[&str]) {
        let lines: &[&str] = match words {
            ["token", "create" | "add"] => &["token keypair blue.pem"],
            ["token", "list"] => &["token keypair blue.pem", "token add keys.json blue.pem"],
            ["token", "remove"] => &[
                "token keypair blue.pem",
                "token add keys.json blue.pem",
                "token keypair green.pem",
                "token add keys.json green.pem",
            ],
            ["token", "revoke"] => &["token keypair blue.pem", "token create demo team-blue blue.pem > blue.token"],
            _ => &[],
        };
        for line in lines {
            let ran = self.ran(&format!("writegate {line}")).await;
            assert_eq!(ran.code, 0, "{line}: {ran:?}");
        }
        if let ["log", ..] = words {
            let mut program = Setup::new().start_program().await;
            program.signal(Signal::TERM);
            program.ended(PATIENCE).await;
            copy(&program.data(), &self.directory.path().join("data"));
        }
        let Some(gateway) = &self.gateway else { return };
        if let ["dead-letters", ..] = words {
            let names: Vec<String> = (0..20).map(|number| format!("bad_{number}")).collect();
            let all = names.iter().map(|name| series(&[("__name__", name), ("job", "node")]).sample(1.0, 1_500));
            gateway.accept(Protocol::V1, &request(all)).await;
            eventually("letters", || async { (gateway.dead_letters().await.len() == 20).then_some(()) }).await;
            self.sink.answer_with(|_| Reply::status(204).taking());
        } else {
            gateway
                .accept(Protocol::V1, &request([series(&[("__name__", "up"), ("job", "node")]).sample(1.0, 1_500)]))
                .await;
            gateway.settled().await;
        }
    }

    /// Data for whoever waits for some, until the command has ended.
    async fn ran_with_data(&self, line: &str) -> Ran {
        let gateway = self.gateway.as_ref().unwrap();
        let pushes = async {
            loop {
                gateway
                    .accept(Protocol::V1, &request([series(&[("__name__", "up"), ("job", "node")]).sample(1.0, 1_500)]))
                    .await;
                tokio::task::yield_now().await;
            }
        };
        tokio::select! {
            ran = self.ran(line) => ran,
            () = pushes => unreachable!("it has no end"),
        }
    }

    /// `serve` has no end: it is told to end when it is there.
    async fn served(&self, line: &str) {
        let log = self.directory.path().join("log");
        let mut command = self.shell(&format!("exec {line}"));
        command.stderr(std::fs::File::create(&log).unwrap());
        let mut child = command.spawn().unwrap();
        eventually("a gateway that listens", || async {
            std::fs::read_to_string(&log).unwrap().contains("writegate is ready").then_some(())
        })
        .await;
        let id = rustix::process::Pid::from_child(&child);
        rustix::process::kill_process(id, Signal::TERM).unwrap();
        let ended = tokio::task::spawn_blocking(move || child.wait()).await.unwrap().unwrap();
        assert!(ended.success(), "{line}: {ended:?}\n{}", std::fs::read_to_string(&log).unwrap());
    }
}

#[test]
fn every_example_of_every_help_works() {
    bounded_by(LIMIT, async {
        let mut count = 0;
        for Told { words, help } in commands().await {
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            let is_asked = help.contains("--admin <URL>") || words == ["dead-letters"];
            let stage = Stage::new(is_asked).await;
            if !words.is_empty() {
                stage.prepare(&words).await;
            }
            let mut replays = 0;
            for example in examples(&help) {
                count += 1;
                let line = stage.staged(&example);
                if let Some(id) = example.strip_prefix("writegate replay --cancel ") {
                    // One that still runs when it is cancelled.
                    stage.sink.answer_with(|_| Reply::status(503));
                    for _ in replays..id.parse().unwrap() {
                        let begun = stage.staged("writegate replay mimir --tenant team-a --from 2h");
                        assert_eq!(stage.ran(&begun).await.code, 0);
                    }
                }
                replays += u32::from(example.contains(" --from "));
                if words == ["serve"] {
                    stage.served(&line).await;
                    continue;
                }
                let ran = match words.as_slice() {
                    ["tap"] => stage.ran_with_data(&line).await,
                    _ => stage.ran(&line).await,
                };
                assert_eq!(ran.code, 0, "{line}: {ran:?}");
            }
            stage.sink.answer_with(|_| Reply::status(204).taking());
            if let Some(gateway) = stage.gateway {
                gateway.finish().await;
            }
        }
        assert!(count > 35, "{count}");
    });
}

#[test]
fn a_url_of_no_push_path_is_told_the_usual_ones_and_what_was_given_is_called_what_it_is() {
    bounded_by(LIMIT, async {
        let sink = receiver().await;
        sink.answer_with(|_| Reply::status(301));
        let url = sink.url();
        let base = url.split("/api/").next().unwrap();
        for (path, is_told) in [("", true), ("/v1/metrics", true), ("/api/v1/write", false)] {
            let ran = run(&["probe", &format!("{base}{path}")]).await;
            assert_eq!((ran.code, ran.err.contains("/api/v1/push (Mimir)")), (1, is_told), "{path}: {ran:?}");
            assert!(ran.err.lines().chain(ran.out.lines()).all(|line| line.chars().count() <= 80), "{ran:?}");
        }
        let ran = run(&["probe", "ftp://nowhere"]).await;
        assert!(ran.code == 1 && !ran.err.contains("remote_write") && ran.err.contains("url"), "{ran:?}");
    });
}
