//! `GET /api/v1/tap` and `writegate tap`: what passes by is told as it comes in, or as an endpoint gets it.

use std::time::Duration;

use remote_write::Protocol;
use serde_json::Value;

use crate::cli::{Ran, run};
use crate::harness::{Setup, TestGateway, bounded, eventually, receiver};
use crate::message::{request, sample_of};

/// Taps while `push` is pushed again and again, until the program has seen `limit` series and ends.
async fn tapped(gateway: &TestGateway, arguments: &[&str], limit: usize, names: &[&str]) -> Ran {
    let (limit, url) = (limit.to_string(), gateway.admin_url());
    let arguments = [&["tap", "--admin", &url, "--limit", &limit], arguments].concat();
    let tap = run(&arguments);
    let push = async {
        let mut timestamp = 1_700_000_000_000;
        let mut pauses = tokio::time::interval(Duration::from_millis(50));
        loop {
            pauses.tick().await;
            timestamp += 1_000;
            let samples: Vec<_> = names.iter().map(|name| sample_of(name, timestamp)).collect();
            gateway.accept(Protocol::V1, &request(samples)).await;
        }
    };
    tokio::select! {
        ran = tap => ran,
        () = push => unreachable!("it pushes without end"),
    }
}

#[test]
fn what_comes_in_is_told_and_a_selector_says_which() {
    bounded(async {
        let gateway = Setup::new().start().await;
        let ran = tapped(&gateway, &["--match", "{__name__=~\"up.*\"}"], 5, &["up", "down", "upper"]).await;
        assert_eq!(ran.code, 0, "{ran:?}");
        let names: Vec<_> = ran.out.lines().map(|line| line.split("  ").nth(1).unwrap()).collect();
        assert!(
            names.len() == 5 && names.iter().all(|name| ["up{job=\"test\"}", "upper{job=\"test\"}"].contains(name)),
            "{ran:?}"
        );
        assert!(ran.out.lines().all(|line| line.starts_with("default  ") && line.contains(" @17000000")), "{ran:?}");
        gateway.finish().await;
    });
}

#[test]
fn an_endpoint_s_rules_and_tenants_say_what_of_it_passes() {
    bounded(async {
        let sink = receiver().await;
        let rules = "write_relabel_configs: [{source_labels: [__name__], regex: down, action: drop}, \
                     {target_label: zone, replacement: eu}]";
        let setup = Setup::new().endpoint_with("a", &sink, rules).endpoint_with("other", &sink, "tenants: [red]");
        let gateway = setup.start().await;
        let ran = tapped(&gateway, &["--endpoint", "a", "--json"], 3, &["down", "up"]).await;
        for line in ran.out.lines() {
            let passing: Value = serde_json::from_str(line).unwrap();
            assert_eq!(passing["series"], "up{job=\"test\", zone=\"eu\"}", "{line}");
            assert_eq!(passing["samples"].as_array().unwrap().len(), 1, "{line}");
        }
        assert_eq!(ran.out.lines().count(), 3, "{ran:?}");
        let others = tapped(&gateway, &["--endpoint", "other"], 1, &["up"]);
        assert!(tokio::time::timeout(Duration::from_secs(2), others).await.is_err(), "it gets nothing of this tenant");
        gateway.settle_and_finish().await;
    });
}

#[test]
fn what_cannot_be_tapped_is_refused_with_what_to_do_and_a_tap_does_not_hold_up_the_end() {
    bounded(async {
        let mut gateway = Setup::new().start().await;
        let url = gateway.admin_url();
        for (arguments, why) in [
            (["--endpoint", "nowhere"], "there is no endpoint \"nowhere\""),
            (["--match", "up{"], "selector: column 4: expected a label name"),
            (["--tenant", "a/b"], "tenant: "),
        ] {
            let ran = run(&[&["tap", "--admin", &url], &arguments[..]].concat()).await;
            assert!(ran.code == 1 && ran.err.contains(why), "{ran:?}");
        }
        let tap = tokio::spawn(async move { run(&["tap", "--admin", &url]).await });
        eventually("somebody taps", || async { gateway.metric("writegate_taps").await.eq(&1.0).then_some(()) }).await;
        gateway.stop().await;
        let ran = tap.await.unwrap();
        assert!(ran.code == 1 && ran.err.contains("has ended"), "{ran:?}");
    });
}
