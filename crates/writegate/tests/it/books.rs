//! The ledger as the admin API tells it, checked at every look: what came in is in exactly one place.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use testkit::sender::Sender;

use crate::harness::{PATIENCE, eventually};

/// One kind of data point of a [`Row`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Book {
    pub(crate) accepted: u64,
    pub(crate) delivered: u64,
    pub(crate) pending: u64,
    pub(crate) dropped: BTreeMap<String, u64>,
    pub(crate) dead_lettered: BTreeMap<String, u64>,
    pub(crate) expired: u64,
}

/// A row of the ledger.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub(crate) tenant: String,
    pub(crate) endpoint: String,
    /// The replay it belongs to, if any.
    pub(crate) replay: Option<u64>,
    /// `active` or `removed`.
    pub(crate) state: String,
    /// By reason, `expired` among them.
    pub(crate) examples: BTreeMap<String, String>,
    pub(crate) samples: Book,
    pub(crate) histograms: Book,
    pub(crate) exemplars: Book,
}

impl Book {
    fn read(value: &serde_json::Value) -> Self {
        let number = |key: &str| value[key].as_u64().unwrap_or_else(|| panic!("{key} in {value}"));
        let reasons = |key: &str| {
            let reasons = value[key].as_object().unwrap_or_else(|| panic!("{key} in {value}"));
            reasons.iter().map(|(reason, count)| (reason.clone(), count.as_u64().unwrap())).collect()
        };
        Self {
            accepted: number("accepted"),
            delivered: number("delivered"),
            pending: number("pending"),
            dropped: reasons("dropped"),
            dead_lettered: reasons("dead_lettered"),
            expired: number("expired"),
        }
    }

    fn balances(&self) -> bool {
        let gone: u64 = self.dropped.values().chain(self.dead_lettered.values()).sum();
        self.accepted == self.delivered + self.pending + gone + self.expired
    }
}

/// The books of the gateway at that admin address.
pub(crate) async fn rows(admin: SocketAddr) -> Vec<Row> {
    let text = page(admin, "/api/v1/ledger").await;
    let ledger: serde_json::Value = serde_json::from_str(&text).unwrap();
    let rows = ledger["rows"].as_array().unwrap().iter().map(|row| Row {
        tenant: row["tenant"].as_str().unwrap().to_owned(),
        endpoint: row["endpoint"].as_str().unwrap().to_owned(),
        replay: row["replay"].as_u64(),
        state: row["state"].as_str().unwrap().to_owned(),
        examples: texts(&row["examples"]),
        samples: Book::read(&row["samples"]),
        histograms: Book::read(&row["histograms"]),
        exemplars: Book::read(&row["exemplars"]),
    });
    let rows: Vec<Row> = rows.collect();
    for row in &rows {
        let balances = [&row.samples, &row.histograms, &row.exemplars].into_iter().all(Book::balances);
        assert!(balances, "the books do not balance: {row:?}");
    }
    rows
}

fn texts(object: &serde_json::Value) -> BTreeMap<String, String> {
    let texts = object.as_object().unwrap().iter();
    texts.map(|(key, text)| (key.clone(), text.as_str().unwrap().to_owned())).collect()
}

/// Waits until nothing is pending anywhere.
pub(crate) async fn settled(admin: SocketAddr) -> Vec<Row> {
    eventually("nothing is pending", || async {
        let rows = rows(admin).await;
        let pending = |row: &Row| row.samples.pending + row.histograms.pending + row.exemplars.pending;
        (rows.iter().map(pending).sum::<u64>() == 0).then_some(rows)
    })
    .await
}

/// A page of the admin server.
pub(crate) async fn page(admin: SocketAddr, path: &str) -> String {
    let answer = Sender::new(&format!("http://{admin}{path}")).unwrap().with_timeout(PATIENCE).get().await.unwrap();
    assert_eq!(answer.status, 200, "{path}: {}", answer.text());
    answer.text()
}
