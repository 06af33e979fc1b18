//! `writegate import` as people run it: what is printed where, and how it ends.

use std::io::Write as _;
use std::process::{Command, Stdio};

use crate::cli::run;
use crate::harness::bounded;

const GOOD: &str = "remote_write: [{url: 'http://a/b', basic_auth: {username: u, password_file: pw}}]\n";
const HALF: &str = "remote_write: [{url: 'http://a/b'}, {url: 'http://c/d', no_such_key: 1}]\n";

#[test]
fn what_is_printed_passes_the_check_and_notes_go_to_standard_error() {
    bounded(async {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
        let (theirs, ours) = (at("prometheus.yml"), at("writegate.yml"));
        std::fs::write(&theirs, GOOD).unwrap();
        let ran = run(&["import", "prometheus", &theirs]).await;
        assert_eq!((ran.code, ran.err.as_str()), (0, ""), "{ran:?}");
        assert!(ran.out.contains(&format!("password_file: {}\n", at("pw"))), "{ran:?}");
        std::fs::write(&ours, &ran.out).unwrap();
        let checked = run(&["check", &ours]).await;
        assert_eq!(checked.code, 0, "{checked:?}");

        std::fs::write(&theirs, HALF).unwrap();
        let ran = run(&["import", "prometheus", &theirs]).await;
        let told = format!("{theirs}:1:57: missing: unknown key `no_such_key`");
        assert!(ran.code == 1 && ran.err.contains(&told) && ran.err.contains("--force"), "{told}\n{ran:?}");
        assert!(ran.out.contains("NOT CARRIED OVER") && ran.out.contains("# - url: http://c/d"), "{ran:?}");
        std::fs::write(&ours, &ran.out).unwrap();
        assert_eq!(run(&["check", &ours]).await.code, 0);
        assert_eq!(run(&["import", "prometheus", &theirs, "--force"]).await.code, 0);
        let ran = run(&["import", "prometheus", &theirs, "--json"]).await;
        let json: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
        assert_eq!((ran.code, &json["complete"], &json["notes"][0]["line"]), (1, &false.into(), &1.into()), "{json}");

        let ran = run(&["import", "prometheus", "/no/such/file"]).await;
        assert!(ran.code == 1 && ran.err.starts_with("writegate: read /no/such/file: "), "{ran:?}");
        std::fs::write(&theirs, "a: [\n").unwrap();
        let ran = run(&["import", "prometheus", &theirs]).await;
        assert!(ran.code == 1 && ran.err.starts_with(&format!("writegate: import {theirs}:")), "{ran:?}");
    });
}

#[test]
fn a_command_line_may_come_by_standard_input() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_writegate"));
    command.args(["import", "vmagent", "-"]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"vmagent -remoteWrite.url=http://a/b").unwrap();
    let output = child.wait_with_output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(
        output.status.success() && text.contains("from standard input") && text.contains("- url: http://a/b"),
        "{text}"
    );
}
