//! A reload is taken over whole or not at all, and no sender notices either.

use std::collections::BTreeSet;

use bytes::Bytes;
use http::{HeaderMap, Method};
use remote_write::{Compression, Protocol};
use testkit::endpoint::EndpointSettings;
use testkit::load::{Load, Timestamps};
use testkit::sender::Sender;
use testkit::workload::{Workload, WorkloadSettings};

use crate::cli::run;
use crate::harness::{Setup, bounded, compress, eventually, receiver_that};
use crate::message::{encode, request, sample_of};

#[test]
fn r_s9_an_invalid_reload_changes_nothing_and_says_so_and_a_valid_one_loses_no_request() {
    bounded(async {
        let (sink, other) =
            (receiver_that(EndpointSettings::default()).await, receiver_that(EndpointSettings::default()).await);
        let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let limits = |names: usize| Setup::new().limits(&format!("label_names: {names}")).endpoint("a", &sink);
        let mut gateway = limits(100).start().await;
        let settings = WorkloadSettings { series: 1_000, series_per_request: 100, ..WorkloadSettings::default() };
        let mut load = Load::new(Workload::new(settings).into(), 0);
        load.rounds = None;
        load.connections = 4;
        load.rate = Some(20_000.0);
        load.timestamps = Timestamps::Steps { first: 1_000, step: 1_000 };
        let sending = gateway.sender().start(&load);

        let ok = "writegate_config_last_reload_successful";
        for round in 0..3 {
            let in_effect = gateway.admin("/api/v1/config").await;
            let config = |page: &str| serde_json::from_str::<serde_json::Value>(page).unwrap()["config"].clone();
            // Each changes something that is valid, too: none of that may be taken over.
            let invalid = || limits(50).endpoint("new", &other);
            for (what, setup) in [
                ("nonsense", invalid().top("nonsense: 1")),
                ("no YAML", invalid().top("limits: [")),
                ("no.crt", invalid().listener("tenant: default, tls_config: {cert_file: no.crt, key_file: no.key}")),
                ("no.txt", invalid().top("tenants: [{name: default, credentials: [{bearer_token_file: no.txt}]}]")),
                (&taken.local_addr().unwrap().to_string(), invalid().another_listener(taken.local_addr().unwrap())),
            ] {
                let error = gateway.try_reload(&setup).await.expect_err(what);
                assert!(error.contains(what) || what == "no YAML", "{what}: {error}");
                let reload = Sender::new(&format!("{}/-/reload", gateway.admin_url())).unwrap();
                let answer = reload.send(Method::POST, HeaderMap::new(), Bytes::new()).await.unwrap();
                assert_eq!(answer.status, 500, "{what}: {}", answer.text());
                assert_eq!(gateway.metric(ok).await, 0.0, "{what}");
                assert_eq!(config(&gateway.admin("/api/v1/config").await), config(&in_effect), "{what}");
            }
            let mut valid = limits(60 + round).top("tenants: [{name: default}]");
            if round % 2 == 0 {
                valid = valid.endpoint("b", &other);
            }
            gateway.reload(valid).await;
            assert_eq!(gateway.metric(ok).await, 1.0);
            assert_ne!(config(&gateway.admin("/api/v1/config").await), config(&in_effect));
            let sent = sending.progress().sent.samples;
            eventually("pushes go on", || async { (sending.progress().sent.samples > sent + 1_000).then_some(()) })
                .await;
        }
        let report = sending.stop().await;
        assert_eq!((report.failures, report.refused.len(), report.unanswered.len()), (0, 0, 0), "{report:?}");
        assert_eq!(report.statuses.keys().copied().collect::<BTreeSet<_>>(), BTreeSet::from([204]));
        gateway.settled().await;
        sink.ledger(|ledger| {
            assert_eq!(ledger.missing(load.workload.points(report.acknowledged.iter().copied())), []);
            assert_eq!((ledger.out_of_order(), ledger.duplicates()), (&[][..], 0));
        });
        gateway.finish().await;
    });
}

#[test]
fn a_reload_that_lacks_a_file_takes_place_when_the_file_comes_and_its_warnings_are_logged() {
    bounded(async {
        let directory = tempfile::tempdir().unwrap();
        let token = directory.path().join("token");
        let program = Setup::new().start_program().await;
        let credentials = format!("credentials: [{{bearer_token_file: '{}'}}]", token.display());
        let tenants = format!("tenants: [{{name: default, {credentials}}}]");
        program.rewrite(&Setup::new().top(&tenants).limits("in_flight_bytes: 1MiB"));
        eventually("the new configuration is refused", || async {
            program.log().contains("the configuration was not reloaded").then_some(())
        })
        .await;
        std::fs::write(&token, "secret").unwrap();
        eventually("it is taken", || async { program.log().contains("the configuration was reloaded").then_some(()) })
            .await;
        assert!(program.log().contains("in_flight_bytes is below request_bytes"), "{}", program.log());
        program.terminate().await;
    });
}

#[test]
fn a_configuration_that_does_not_come_when_it_is_read_holds_up_neither_pushes_nor_the_end() {
    bounded(async {
        let body = compress(Compression::Snappy, &encode(Protocol::V1, &request([sample_of("up", 1)])));
        let program = Setup::new().start_program().await;
        program.rewrite_as_pipe();
        eventually("the program reads it", || async {
            program.log().contains("a file of the configuration changed").then_some(())
        })
        .await;
        // More of them than the runtime has threads.
        for _ in 0..4 {
            program.signal(rustix::process::Signal::HUP);
        }
        for _ in 0..4 {
            let answer = program.sender().push(Protocol::V1, Compression::Snappy, body.clone()).await.unwrap();
            assert_eq!(answer.status, 204, "{}", answer.text());
        }
        assert!(program.admin("/metrics").await.contains("writegate_config_last_reload_successful 1"));
        program.terminate().await;
    });
}

#[test]
fn a_named_file_that_is_a_pipe_or_has_no_end_is_refused_in_words() {
    bounded(async {
        let mut gateway = Setup::new().start().await;
        for (file, why) in [("/dev/zero", "it is not a regular file"), ("/dev/stdin", "it is not a regular file")] {
            let tenants = format!("tenants: [{{name: default, credentials: [{{bearer_token_file: {file}}}]}}]");
            let error = gateway.try_reload(&Setup::new().top(&tenants)).await.unwrap_err();
            assert!(error.contains(file) && error.contains(why), "{error}");
        }
        gateway.reload(Setup::new()).await;
        gateway.finish().await;
    });
}

#[test]
fn r_s9_an_invalid_file_is_told_by_the_exit_status_of_check_and_serve() {
    bounded(async {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("writegate.yml");
        let file = file.to_str().unwrap();
        let valid = "listeners: [{address: '127.0.0.1:0', tenant: default}]\n";
        for (content, code) in [(valid, 0), ("listeners: [{adress: '127.0.0.1:0'}]\n", 1), ("listeners: [", 1)] {
            std::fs::write(file, content).unwrap();
            let checked = run(&["check", file]).await;
            assert_eq!(checked.code, code, "{checked:?}");
            if code != 0 {
                let served = run(&["serve", "--config", file, "--data", directory.path().to_str().unwrap()]).await;
                assert_eq!(served.code, code, "{served:?}");
                assert!(served.err.contains("the configuration is not valid"), "{served:?}");
            }
        }
    });
}
