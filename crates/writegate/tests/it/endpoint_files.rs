//! Observatorium's files of additional endpoints, in the three spellings its users have.

use remote_write::Protocol;

use crate::harness::{Setup, assert_exactly, bounded, parse, receiver};
use crate::message::{points, request, sample_of};

#[test]
fn r_o1_a_list_endpoints_and_the_misspelling_all_deliver() {
    bounded(async {
        let directory = tempfile::tempdir().unwrap();
        let mut sinks = Vec::new();
        let mut files = Vec::new();
        for (number, spelling) in ["", "endpoints:\n", "endpints:\n"].into_iter().enumerate() {
            let sink = receiver().await;
            let file = directory.path().join(format!("endpoints_{number}.yaml"));
            let text = format!("{spelling}- name: extra-{number}\n  url: {}\n", sink.url());
            std::fs::write(&file, text).unwrap();
            files.push(format!("'{}'", file.display()));
            sinks.push(sink);
        }
        let primary = receiver().await;
        let line = format!("remote_write_files: [{}]", files.join(", "));
        let gateway = Setup::new().top(&line).endpoint("primary", &primary).start().await;
        let sent = request([sample_of("up", 1_000)]);
        gateway.accept(Protocol::V1, &sent).await;
        gateway.settled().await;
        for sink in sinks.iter().chain([&primary]) {
            assert_exactly(sink, &points(&sent));
            assert_eq!(sink.stats().requests, 1, "exactly one request each");
        }
        gateway.finish().await;
    });
}

#[test]
fn r_o1_an_unknown_key_is_an_error_with_its_file_and_line() {
    let directory = tempfile::tempdir().unwrap();
    for (spelling, line) in [("", 2), ("endpoints:\n", 3), ("endpints:\n", 3)] {
        let text = format!("{spelling}- url: http://localhost/write\n  tls_confg: {{}}\n");
        std::fs::write(directory.path().join("extra.yaml"), text).unwrap();
        let problems = parse("remote_write_files: [extra.yaml]", directory.path()).expect_err("an unknown key");
        assert!(problems.contains(&format!("extra.yaml:{line}:")) && problems.contains("tls_confg"), "{problems}");
    }
}
