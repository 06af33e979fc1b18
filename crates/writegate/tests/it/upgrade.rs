//! Data directories of earlier versions, kept as they were left: every later version opens them and goes on (R-S11). What a
//! later version wrote is refused by name; see the log's own tests.
//!
//! A version that changes a format adds one, made by itself:
//! `WRITEGATE_MAKE_FIXTURE=0.2 cargo test -p writegate --test it upgrade`.

use std::path::{Path, PathBuf};

use http::Method;
use remote_write::Protocol;
use remote_write::model::Request;
use testkit::endpoint::{Endpoint, EndpointSettings, Judge};
use testkit::ledger::Point;

use crate::harness::{Setup, assert_exactly, bounded, compress, copy, eventually, receiver, receiver_that};
use crate::message::{With, encode, everything, points, request, series};

const REQUESTS: i64 = 20;

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")
}

/// What was pushed when the fixture was made.
fn pushed(number: i64) -> Request<'static> {
    let all = everything(1_700_000_000_000 + number);
    let bad = series(&[("__name__", "bad")]).sample(1.0, 1_700_000_000_000 + number);
    request(all.series.into_iter().chain([bad]))
}

fn all_points() -> Vec<Point> {
    (0..REQUESTS).flat_map(|number| points(&pushed(number))).collect()
}

async fn picky() -> Endpoint {
    let judge = Judge::new(400)
        .refusing(|series| series.labels.iter().any(|label| label.value == b"bad").then(|| "no such names".to_owned()));
    receiver_that(EndpointSettings { judge: Some(judge), ..EndpointSettings::default() }).await
}

/// `took` had everything, `missed` was down, `refused` took all but what is bad. The process was killed.
#[test]
fn a_data_directory_is_made_for_later_versions_if_one_is_asked_for() {
    let Ok(version) = std::env::var("WRITEGATE_MAKE_FIXTURE") else { return };
    bounded(async {
        let (took, missed, refused) = (receiver().await, receiver().await, picky().await);
        missed.stop().await;
        let setup = Setup::new().endpoint("took", &took).endpoint("missed", &missed).endpoint("refused", &refused);
        let mut program = setup.start_program().await;
        for number in 0..REQUESTS {
            let protocol = if number % 2 == 0 { Protocol::V1 } else { Protocol::V2 };
            let compression = remote_write::Compression::Snappy;
            let body = compress(compression, &encode(protocol, &pushed(number)));
            let answer = program.sender().push(protocol, compression, body).await.unwrap();
            assert_eq!(answer.status, 204, "{}", answer.text());
        }
        let expected = all_points().len() as u64;
        for (receiver, expected) in [(&took, expected), (&refused, expected - REQUESTS as u64)] {
            let all = |stats: &testkit::endpoint::Stats| stats.taken.points() + stats.taken.exemplars >= expected;
            receiver.wait_until(crate::harness::PATIENCE, all).await.unwrap();
        }
        eventually("the bad ones are dead letters", || async {
            let ledger = program.get("/api/v1/ledger").await;
            let rows = ledger["rows"].as_array().cloned().unwrap_or_default();
            let row = rows.into_iter().find(|row| row["endpoint"] == "refused")?;
            (row["samples"]["pending"] == 0).then_some(())
        })
        .await;
        program.kill();
        let place = fixtures().join(version);
        copy(&program.data(), &place);
    });
}

#[test]
fn r_s11_a_data_directory_of_each_earlier_version_is_opened_and_goes_on_where_it_was() {
    let mut versions = 0;
    for entry in std::fs::read_dir(fixtures()).unwrap() {
        let data = entry.unwrap().path();
        versions += 1;
        bounded(async {
            let (took, missed, refused) = (receiver().await, receiver().await, receiver().await);
            let setup = Setup::new().endpoint("took", &took).endpoint("missed", &missed).endpoint("refused", &refused);
            let gateway = setup.start_on(&data).await;
            let new = request([series(&[("__name__", "new")]).sample(1.0, 1_800_000_000_000)]);
            gateway.accept(Protocol::V1, &new).await;
            gateway.settled().await;
            let (all, new) = (all_points(), points(&new));
            assert_exactly(&missed, &[&all[..], &new[..]].concat());
            // They may get what was not known to be settled when the process was killed, and nothing else twice.
            for receiver in [&took, &refused] {
                receiver.ledger(|ledger| {
                    assert_eq!(ledger.missing(new.iter().copied()), [], "{}", data.display());
                    assert_eq!((ledger.out_of_order(), ledger.conflicts()), (&[][..], &[][..]));
                });
            }
            let row = gateway.ledger("default", "refused").await;
            assert_eq!(row.samples.dead_lettered.get("400"), Some(&(REQUESTS as u64)), "{row:?}");
            assert_eq!(row.examples["400"], "bad{}");
            let answer = gateway.call(Method::POST, "/api/v1/dead_letters", r#"{"action": "retry"}"#).await;
            assert_eq!((answer.0, &answer.1["taken"]), (200, &serde_json::json!(REQUESTS)), "{answer:?}");
            let row = gateway.ledger("default", "refused").await;
            assert_eq!(row.samples.delivered, row.samples.accepted, "{row:?}");
            gateway.finish().await;
        });
    }
    assert!(versions > 0, "there is no fixture");
}
