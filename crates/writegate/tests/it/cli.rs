//! The command line as people and scripts use it: the real program beside a running gateway. Exit codes: 0 fine, 1 failed,
//! 2 usage.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Stdio;

use remote_write::Protocol;
use serde_json::{Value, json};
use testkit::endpoint::{Endpoint, EndpointSettings, Judge, Reply};
use writegate::Gateway;

use crate::admin_api::picky;
use crate::harness::{PATIENCE, Setup, TestGateway, bounded, eventually, parse, receiver, receiver_that};
use crate::message::{request, sample_of};

/// What a command did.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Ran {
    fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

/// Runs the program without a terminal.
pub(crate) async fn run(arguments: &[&str]) -> Ran {
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_writegate"));
    command.args(arguments).stdin(Stdio::null());
    let output = tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Ran { code: output.status.code().unwrap(), out: text(output.stdout), err: text(output.stderr) }
}

/// Runs a command that asks this gateway.
async fn ask(gateway: &TestGateway, arguments: &[&str]) -> Ran {
    let url = gateway.admin_url();
    run(&[arguments, &["--admin", &url]].concat()).await
}

/// Runs a command that must end with 0.
async fn good(gateway: &TestGateway, arguments: &[&str]) -> Ran {
    let ran = ask(gateway, arguments).await;
    assert_eq!(ran.code, 0, "{arguments:?}: {ran:?}");
    ran
}

/// A gateway with two dead letters at endpoint `a`.
async fn with_letters(sink: &Endpoint) -> TestGateway {
    let gateway = Setup::new().endpoint("a", sink).start().await;
    let sent = request([sample_of("good", 1_500), sample_of("bad_a", 1_500), sample_of("bad_b", 1_500)]);
    gateway.accept(Protocol::V1, &sent).await;
    gateway.settled().await;
    assert_eq!(gateway.dead_letters().await.len(), 2);
    gateway
}

/// The cells of a table's line, which never are empty here.
fn cells(line: &str) -> Vec<&str> {
    line.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).collect()
}

#[test]
fn status_shows_tenants_and_endpoints_as_tables_and_as_json() {
    bounded(async {
        let (sink, down) = (picky().await, receiver().await);
        down.answer_with(|_| Reply::status(401).text("no\u{1b}[31m entry"));
        let gateway = Setup::new().endpoint("a", &sink).endpoint("down", &down).start().await;
        let fresh = good(&gateway, &["status"]).await.out;
        let lines: Vec<Vec<&str>> = fresh.lines().map(cells).collect();
        assert!(fresh.starts_with("No tenant has sent anything yet.\n\n"), "{fresh}");
        assert_eq!(lines[2], ["ENDPOINT", "STATE", "URL"]);
        assert_eq!(lines[3], ["a", "nothing to send yet", sink.url().as_str()], "{fresh}");
        gateway.accept(Protocol::V1, &request([sample_of("up", 1_500), sample_of("bad", 1_500)])).await;
        gateway.held("down", 401).await;
        eventually("a letter", || async { (gateway.dead_letters().await.len() == 1).then_some(()) }).await;
        let ran = good(&gateway, &["status"]).await;
        let lines: Vec<Vec<&str>> = ran.out.lines().map(cells).collect();
        assert_eq!(lines[0], ["TENANT", "RECEIVED/S", "RECEIVED", "ACCEPTED", "REFUSED", "LOG"]);
        assert_eq!((lines[1][0], lines[1][2], lines[1][3]), ("default", "2", "2"), "{ran:?}");
        assert_eq!(lines[3][..3], ["TENANT", "ENDPOINT", "STATE"]);
        assert_eq!(lines[4][..3], ["default", "a", "ok"]);
        assert_eq!(lines[6][..3], ["default", "down", "held (401)"], "{}", ran.out);
        assert!(ran.out.lines().all(|line| line.chars().count() <= 80), "{}", ran.out);
        assert!(ran.out.contains("no [31m entry") && !ran.out.contains('\u{1b}'), "{}", ran.out);
        assert!(ran.out.contains("1 dead letter, "), "{}", ran.out);
        let reasons = good(&gateway, &["status", "--reasons"]).await.out;
        let why: Vec<&str> = cells(reasons.lines().last().unwrap());
        assert_eq!(why, ["default", "a", "dead letter", "400", "1", "bad{job=\"test\"}"], "{reasons}");
        let json = good(&gateway, &["status", "--json"]).await.json();
        assert_eq!((&json["endpoints"][1]["held"], &json["tenants"][0]["accepted_samples"]), (&json!(401), &json!(2)));
        gateway.finish().await;
    });
}

#[test]
fn explain_says_the_same_offline_and_of_a_running_gateway() {
    bounded(async {
        let sink = receiver().await;
        let rule = "write_relabel_configs: [{source_labels: [job], regex: noise, action: drop}, {regex: job, action: labeldrop}]";
        let gateway = Setup::new().endpoint_with("a", &sink, rule).start().await;
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("writegate.yml");
        std::fs::write(&file, format!("remote_write: [{{name: a, url: '{}', {rule}}}]", sink.url())).unwrap();
        let file = file.to_str().unwrap();
        for series in ["up{job=\"x\"}", "up{job=\"noise\"}"] {
            let asked = ["explain", "--tenant", "default", series];
            let online = good(&gateway, &asked).await;
            let offline = run(&[&asked[..], &["--config", file]].concat()).await;
            assert_eq!((offline.code, &offline.out), (0, &online.out), "{offline:?}");
            let json = run(&[&asked[..], &["--config", file, "--json"]].concat()).await;
            let online = good(&gateway, &[&asked[..], &["--json"]].concat()).await;
            assert_eq!(json.json(), online.json());
        }
        let kept = good(&gateway, &["explain", "--tenant", "default", "up{job=\"x\"}"]).await.out;
        let expected = "up{job=\"x\"} of tenant default\n\na: gets up\n  \
             rule 1 {action: drop, source_labels: [\"job\"], regex: \"noise\"}\n    unchanged\n  \
             rule 2 {action: labeldrop, regex: \"job\"}\n    -> up\n";
        assert_eq!(kept, expected);
        let dropped = good(&gateway, &["explain", "--tenant", "default", "up{job=\"noise\"}"]).await.out;
        assert!(dropped.contains("a: does not get it: rule 1\n"), "{dropped}");
        let nameless = good(&gateway, &["explain", "--tenant", "default", "{job=\"x\"}"]).await.out;
        let expected = "{job=\"x\"} of tenant default\nrefused: no metric name; the gateway does not take this series, no \
                        endpoint gets\nit\n";
        assert_eq!(nameless, expected);
        std::fs::write(file, "remote_write: [{nome: a}]").unwrap();
        let ran = run(&["explain", "--config", file, "--tenant", "default", "up"]).await;
        assert!(ran.code == 1 && ran.err.contains("writegate.yml:1:"), "{ran:?}");
        gateway.finish().await;
    });
}

#[test]
fn a_replay_is_begun_waited_for_listed_and_cancelled() {
    bounded(async {
        let sink = receiver().await;
        let gateway = Setup::new().endpoint_with("a", &sink, "queue_config: {max_samples_per_send: 1}").start().await;
        for timestamp in 0..3 {
            gateway.accept(Protocol::V1, &request([sample_of("up", timestamp)])).await;
        }
        gateway.settled().await;
        assert!(good(&gateway, &["replay", "--list"]).await.out.starts_with("No replay is running"));
        let ran = good(&gateway, &["replay", "a", "--tenant", "default", "--from", "2h", "--wait"]).await;
        assert_eq!(ran.out, "Replay 1 of default to a is done: 3 samples delivered.\n");
        let ran =
            good(&gateway, &["replay", "a", "--tenant", "default", "--from", "earliest", "--wait", "--json"]).await;
        assert_eq!((&ran.json()["state"], &ran.json()["id"]), (&json!("done"), &json!(2)));

        sink.answer_with(|_| Reply::status(503));
        let ran = good(&gateway, &["replay", "a", "--tenant", "default", "--from", "2h", "--rate", "10"]).await;
        assert!(ran.out.starts_with("Replay 3 begins.") && ran.out.contains("--cancel 3"), "{ran:?}");
        let list = good(&gateway, &["replay", "--list"]).await.out;
        let lines: Vec<Vec<&str>> = list.lines().map(cells).collect();
        let header = ["ID", "TENANT", "ENDPOINT", "STATE", "DONE", "SAMPLES", "DELIVERED", "RATE"];
        assert_eq!(lines[0], header, "{list}");
        let row = |id: &str| lines.iter().position(|line| line[0] == id).unwrap();
        assert_eq!(lines[row("2")], ["2", "default", "a", "done", "100%", "3", "3", "no limit"], "{list}");
        let below = lines[row("2") + 1][0];
        assert!(below.starts_with("begun: ") && below.contains(", from: earliest"), "{list}");
        assert_eq!(lines[row("3")], ["3", "default", "a", "running", "0%", "3", "0", "10/s"], "{list}");
        let ran = good(&gateway, &["replay", "--cancel", "3"]).await;
        assert!(ran.out.starts_with("Replay 3 of default to a is cancelled: 0 samples"), "{ran:?}");
        let ran = ask(&gateway, &["replay", "--cancel", "3"]).await;
        assert!(ran.code == 1 && ran.err.contains("replay 3 is cancelled: there is nothing to cancel"), "{ran:?}");
        let ran = ask(&gateway, &["replay", "b", "--tenant", "default", "--from", "2h"]).await;
        assert!(ran.code == 1 && ran.err.contains("404") && ran.err.contains("no such endpoint"), "{ran:?}");
        let json = good(&gateway, &["replay", "--list", "--json"]).await.json();
        assert_eq!(json["replays"][2]["state"], "cancelled");
        gateway.finish().await;
    });
}

#[test]
fn a_replay_that_is_refused_says_how_much_and_why_and_fails() {
    bounded(async {
        let judge = Judge::new(400).ordered().all_or_nothing();
        let sink = receiver_that(EndpointSettings { judge: Some(judge), ..EndpointSettings::default() }).await;
        let rule = "write_relabel_configs: [{source_labels: [__name__], regex: noise, action: drop}]";
        let gateway = Setup::new().endpoint_with("a", &sink, rule).start().await;
        for timestamp in 0..3 {
            gateway.accept(Protocol::V1, &request([sample_of("up", timestamp), sample_of("noise", timestamp)])).await;
        }
        gateway.settled().await;
        let ran = ask(&gateway, &["replay", "a", "--tenant", "default", "--from", "2h", "--wait"]).await;
        // The newest is taken again.
        let expected = "Replay 1 of default to a is done: 1 sample delivered, 3 dropped by relabel rules, 2 refused by the \
                        endpoint (replay_refused): 400 Bad Request: ";
        assert!(ran.code == 1 && ran.out.starts_with(expected), "{ran:?}");
        assert!(ran.err.contains("out_of_order_time_window"), "{ran:?}");
        let gateway = gateway.restart_with(Setup::new()).await;
        let list = good(&gateway, &["replay", "--list"]).await.out;
        assert!(list.contains("  done, endpoint removed  "), "{list}");
        gateway.finish().await;
    });
}

#[test]
fn ctrl_c_ends_the_waiting_and_not_the_replay() {
    bounded(async {
        let sink = receiver().await;
        let gateway = Setup::new().endpoint("a", &sink).start().await;
        gateway.accept(Protocol::V1, &request([sample_of("up", 1)])).await;
        gateway.settled().await;
        sink.answer_with(|_| Reply::status(503));
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_writegate"));
        command.args(["replay", "a", "--tenant", "default", "--from", "2h", "--wait", "--admin", &gateway.admin_url()]);
        let directory = tempfile::tempdir().unwrap();
        let mut process = testkit::process::Process::start(command, &directory.path().join("log")).unwrap();
        let begun = || async { (sink.stats().requests > 1).then_some(()) };
        eventually("the replay has begun", begun).await;
        process.signal(rustix::process::Signal::INT).unwrap();
        let status = process.wait(PATIENCE).await.unwrap();
        let log = process.log().unwrap();
        assert!(
            status.code() == Some(1) && log.contains("Replay 1 goes on.") && log.contains("--cancel 1"),
            "{status} {log}"
        );
        let list = good(&gateway, &["replay", "--list", "--json"]).await.json();
        assert_eq!(list["replays"][0]["state"], "running");
        good(&gateway, &["replay", "--cancel", "1"]).await;
        gateway.finish().await;
    });
}

#[test]
fn dead_letters_are_listed_shown_tried_again_and_dropped() {
    bounded(async {
        let sink = picky().await;
        let gateway = with_letters(&sink).await;
        let list = good(&gateway, &["dead-letters", "list", "--endpoint", "a", "--tenant", "default"]).await.out;
        let lines: Vec<Vec<&str>> = list.lines().map(cells).collect();
        assert_eq!(lines[0], ["ID", "TENANT", "ENDPOINT", "REASON", "REFUSED", "SERIES", "SIZE"]);
        let rows: Vec<_> = lines.iter().filter(|line| line[0].parse::<u64>().is_ok()).collect();
        assert_eq!((rows.len(), rows[0][1], rows[0][2], rows[0][3]), (2, "default", "a", "400"), "{list}");
        let words: Vec<&str> = list.split_whitespace().collect();
        assert!(words.join(" ").contains("no such names here"), "{list}");
        assert!(list.contains("  example: bad_") && list.lines().all(|line| line.chars().count() <= 80), "{list}");
        let page = good(&gateway, &["dead-letters", "list", "--limit", "1", "--json"]).await.json();
        let id = page["letters"][0]["id"].to_string();
        assert_eq!((page["letters"].as_array().unwrap().len(), page["next"].to_string()), (1, id.clone()));
        let cut = good(&gateway, &["dead-letters", "list", "--limit", "1"]).await;
        assert!(cut.err.contains(&format!("--after {id}")), "{cut:?}");
        let shown = good(&gateway, &["dead-letters", "show", &id]).await.out;
        assert!(shown.contains("reason       400\n"), "{shown}");
        assert!(shown.contains("{job=\"test\"} 1 1970-01-01T00:00:01.500Z\n"), "{shown}");

        let ran = ask(&gateway, &["dead-letters", "retry"]).await;
        let refused = "taken 0, refused again 2: 400 Bad Request: ";
        assert!(ran.code == 1 && ran.out.starts_with(refused), "{ran:?}");
        sink.answer_with(|_| Reply::status(204).taking());
        let ran = good(&gateway, &["dead-letters", "retry", &id, "--json"]).await;
        assert_eq!(ran.json(), json!({"taken": 1, "refused": 0, "words": null, "next": null}));
        let ran = ask(&gateway, &["dead-letters", "retry", &id]).await;
        assert!(ran.code == 1 && ran.err.contains("1 of 1 named: no such dead letter"), "{ran:?}");
        for command in ["list", "retry", "drop"] {
            for (filter, known) in [("--endpoint", "known: a"), ("--tenant", "known: default")] {
                let ran = ask(&gateway, &["dead-letters", command, filter, "nosuch"]).await;
                assert!(ran.code == 1 && ran.err.contains("\"nosuch\"") && ran.err.contains(known), "{ran:?}");
            }
        }
        assert_eq!(good(&gateway, &["dead-letters", "drop", "--yes"]).await.out, "dropped 1\n");
        assert_eq!(good(&gateway, &["dead-letters", "list"]).await.out, "No dead letters.\n");
        let ran = ask(&gateway, &["dead-letters", "show", &id]).await;
        assert!(ran.code == 1 && ran.err.contains(&format!("there is no dead letter {id}")), "{ran:?}");
        gateway.finish().await;
    });
}

#[test]
fn a_retry_that_finds_the_endpoint_down_says_so() {
    bounded(async {
        let sink = picky().await;
        let gateway = with_letters(&sink).await;
        sink.answer_with(|_| Reply::status(503).text("down for maintenance"));
        let ran = ask(&gateway, &["dead-letters", "retry"]).await;
        assert!(ran.code == 1 && ran.err.contains("down for maintenance"), "{ran:?}");
        assert_eq!(gateway.dead_letters().await.len(), 2);
        gateway.finish().await;
    });
}

#[test]
fn what_is_wrong_is_said_with_what_to_do() {
    bounded(async {
        let free = testkit::process::free_port().unwrap();
        let nowhere = format!("http://127.0.0.1:{free}");
        for command in [&["status"][..], &["replay", "--list"], &["dead-letters", "list"]] {
            let ran = run(&[command, &["--admin", &nowhere]].concat()).await;
            let expected = format!("writegate: cannot reach the gateway at {nowhere}: Connection refused");
            assert!(ran.code == 1 && ran.err.starts_with(&expected), "{ran:?}");
            assert!(ran.err.contains("is it running? --admin URL says where"), "{ran:?}");
        }
        let usage: [&[&str]; 12] = [
            &["status", "--admin", "ftp://host"],
            &["status", "--admin", "localhost"],
            &["status", "--user", "ops"],
            &["replay"],
            &["replay", "a", "--tenant", "t"],
            &["replay", "a", "--tenant", "t", "--from", "yesterday"],
            &["replay", "a", "--tenant", "t", "--from", "2h", "--rate", "0"],
            &["replay", "a", "--list"],
            &["dead-letters", "show"],
            &["explain", "--tenant", "a/b", "up"],
            &["explain", "--tenant", "a", "up{"],
            &["status", "--json", "--reasons"],
        ];
        for arguments in usage {
            let ran = run(arguments).await;
            assert!(ran.code == 2 && ran.err.contains("error:") && ran.out.is_empty(), "{arguments:?}: {ran:?}");
        }
        let told: [(&[&str], &str); 4] = [
            (
                &["explain", "--tenant", "a", "up{job=~\"x\"}"],
                "one series is wanted, with all its labels, not a selector",
            ),
            (&["dead-letters", "show", "x"], "'x' for '<ID>': expected the number of a dead letter"),
            (
                &["status", "--log-level", "loud"],
                "--log-level \"loud\": \"loud\" is no level; expected error, warn, info",
            ),
            (&["status", "--log-level", "a=loud"], "--log-level \"a=loud\": "),
        ];
        for (arguments, words) in told {
            let ran = run(arguments).await;
            assert!(ran.code == 2 && ran.err.contains(words), "{arguments:?}: {ran:?}");
        }
        let commands: [&[&str]; 7] = [
            &["status"],
            &["explain"],
            &["replay"],
            &["dead-letters", "list"],
            &["dead-letters", "show"],
            &["dead-letters", "retry"],
            &["dead-letters", "drop"],
        ];
        for command in commands {
            let ran = run(&[command, &["--help"]].concat()).await;
            assert!(
                ran.code == 0 && ran.out.contains("Example") && ran.out.contains("--admin"),
                "{command:?}: {ran:?}"
            );
        }
    });
}

#[test]
fn a_data_directory_that_cannot_be_is_named_once_with_what_was_tried() {
    bounded(async {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("file");
        std::fs::write(&file, "").unwrap();
        for path in ["/proc/nope", file.to_str().unwrap()] {
            let ran = run(&["serve", "--data", path]).await;
            let expected = format!("writegate: cannot start: create the data directory {path}: ");
            assert!(ran.code == 1 && ran.err.ends_with('\n'), "{ran:?}");
            assert!(ran.err.lines().last().unwrap().starts_with(&expected), "{ran:?}");
        }
    });
}

#[test]
fn a_failed_reload_stands_first_in_the_status() {
    bounded(async {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("writegate.yml");
        let yaml = format!(
            "listeners: [{{address: '127.0.0.1:0', tenant: default}}]\nadmin: {{address: '127.0.0.1:0'}}\n\
             log: {{path: '{}', min_free: 1MiB}}\n",
            directory.path().join("data").display()
        );
        std::fs::write(&file, &yaml).unwrap();
        let config = parse(&yaml, directory.path()).unwrap();
        let gateway = Box::pin(Gateway::start(config, Some(file.clone()))).await.unwrap();
        std::fs::write(&file, "nonsense: 1").unwrap();
        assert!(gateway.reload().await.is_err());
        let ran = run(&["status", "--admin", &format!("http://{}", gateway.admin_address())]).await;
        assert!(ran.out.starts_with("The last reload failed: "), "{ran:?}");
        assert!(ran.out.contains("nonsense"), "{ran:?}");
        Box::pin(gateway.shutdown()).await;
    });
}

#[test]
fn a_gateway_with_a_credential_is_shown_one() {
    bounded(async {
        for (configured, right, wrong) in [
            ("bearer_token_file: secret", vec!["--bearer-token-file"], "Bearer"),
            ("basic_auth: {username: ops, password_file: secret}", vec!["--user", "ops", "--password-file"], "Basic"),
        ] {
            let directory = tempfile::tempdir().unwrap();
            let secret = directory.path().join("secret");
            std::fs::write(&secret, "s3cret\n").unwrap();
            let yaml = format!(
                "listeners: [{{address: '127.0.0.1:0', tenant: default}}]\n\
                 admin: {{address: '127.0.0.1:0', {configured}}}\n\
                 log: {{path: '{}', min_free: 1MiB}}\n",
                directory.path().join("data").display()
            );
            let config = parse(&yaml, directory.path()).unwrap_or_else(|problems| panic!("{yaml}\n{problems}"));
            let gateway = Box::pin(Gateway::start(config, None)).await.unwrap();
            let url = format!("http://{}", gateway.admin_address());
            let ran = run(&["status", "--admin", &url]).await;
            assert!(ran.code == 1 && ran.err.contains("401") && ran.err.contains("--bearer-token-file"), "{ran:?}");
            let shown = [&["status", "--admin", &url][..], &right, &[secret.to_str().unwrap()]].concat();
            let ran = run(&shown).await;
            assert_eq!(ran.code, 0, "{ran:?}");
            let missing = [&["status", "--admin", &url][..], &right, &["/no/such/file"]].concat();
            let ran = run(&missing).await;
            assert!(ran.code == 1 && ran.err.contains("cannot read /no/such/file"), "{ran:?}");
            let answer = testkit::sender::Sender::new(&format!("{url}/api/v1/status")).unwrap().get().await.unwrap();
            assert!(answer.header("www-authenticate").unwrap().starts_with(wrong), "{:?}", answer.headers);
            Box::pin(gateway.shutdown()).await;
        }
    });
}

#[test]
fn every_file_of_the_documentation_that_names_a_command_names_one_that_exists() {
    bounded(async {
        let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs");
        let mut named = BTreeSet::new();
        for file in ["api.md", "operations.md", "errors.md"] {
            let text = std::fs::read_to_string(docs.join(file)).unwrap();
            named.extend(
                text.split("`writegate ").skip(1).filter_map(|named| Some(named.split([' ', '`']).next()?.to_owned())),
            );
        }
        assert!(named.len() > 5, "{named:?}");
        for command in named {
            let ran = run(&[&command, "--help"]).await;
            assert!(ran.code == 0 && ran.out.contains("Example"), "{command}: {ran:?}");
        }
    });
}
