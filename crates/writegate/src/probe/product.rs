//! Which product answers: a guess, with what it rests on. Pure.
//!
//! What products say and do was looked at in Prometheus 2.42, 2.53 and 3.5 and VictoriaMetrics 1.79 and 1.145; for the
//! others it is as their sources and documentation have it.

use serde::Serialize;
use serde_json::Value;

use super::facts::{Facts, Step};

/// A product, and why it is thought to be that.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Product {
    pub(crate) name: String,
    pub(crate) evidence: Vec<String>,
}

/// The best guess; `None` if nothing points anywhere.
pub(super) fn guess(facts: &Facts) -> Option<Product> {
    let signs = Signs::of(facts);
    signs.by_words().or_else(|| signs.by_build_info()).or_else(|| signs.by_behaviour())
}

struct Signs<'a> {
    facts: &'a Facts,
    /// All that was said, in small letters.
    words: String,
    build_info: Option<Value>,
}

impl<'a> Signs<'a> {
    fn of(facts: &'a Facts) -> Self {
        let words: Vec<String> = facts.all().iter().map(|said| said.words().to_ascii_lowercase()).collect();
        let said = facts.get(Step::BuildInfo).filter(|said| said.is_success());
        let build_info = said.and_then(|said| serde_json::from_str::<Value>(said.words()).ok());
        Self { facts, words: words.join("\n"), build_info: build_info.map(|info| info["data"].clone()) }
    }

    fn product(&self, name: &str, sign: &str) -> Option<Product> {
        let mut evidence = vec![sign.to_owned()];
        if self.facts.stores_v2() {
            evidence.push("it stores remote write 2.0".to_owned());
        } else if self.facts.ignores_v2() {
            evidence.push("it answers remote write 2.0 and stores nothing".to_owned());
        }
        if self.facts.takes_zstd() {
            evidence.push("it takes zstd".to_owned());
        }
        Some(Product { name: name.to_owned(), evidence })
    }

    /// Answers that say it themselves.
    fn by_words(&self) -> Option<Product> {
        let has_header = |name: &str| {
            self.facts.all().iter().any(|said| said.answer.as_ref().is_ok_and(|heard| heard.headers.contains_key(name)))
        };
        if self.words.contains("(wg-") {
            return self.product("Writegate", "its refusals have ids of the form wg-…");
        }
        if self.words.contains("err-mimir-") {
            return self.product("Grafana Mimir", "its refusals have ids of the form err-mimir-…");
        }
        if has_header("x-server-hostname") {
            return self.product("VictoriaMetrics", "its answers have the header X-Server-Hostname");
        }
        None
    }

    /// What stands at Prometheus' address for it.
    fn by_build_info(&self) -> Option<Product> {
        let info = self.build_info.as_ref()?;
        let sign = "/api/v1/status/buildinfo says so";
        let version = info["version"].as_str().unwrap_or_default().split(['+', '-']).next().unwrap_or_default();
        if let Some(application) = info["application"].as_str() {
            return self.product(format!("{application} {version}").trim(), sign);
        }
        let major = version.split('.').next()?.parse::<u32>().ok()?;
        // VictoriaMetrics says 2.24.0 and nothing else; others that serve Prometheus' API have versions below 2.
        let is_whole = info["revision"].is_string() && info["goVersion"].is_string();
        if major >= 2 && is_whole { self.product(&format!("Prometheus {version}"), sign) } else { None }
    }

    fn by_behaviour(&self) -> Option<Product> {
        let facts = self.facts;
        let status = |step: Step| facts.get(step).and_then(|said| said.status()).map_or(0, |status| status.as_u16());
        let speaks_vm = facts.get(Step::VmVersion).is_some_and(|said| said.is_success() && said.words() == "1");
        if speaks_vm && facts.takes_zstd() {
            return self.product("VictoriaMetrics or vmagent", "it answers get_vm_proto_version and takes zstd");
        }
        if status(Step::Conflict) == 409 || status(Step::OlderBySecond) == 409 {
            return self.product("Thanos Receive", "it answers 409 to what is out of order");
        }
        if self.words.contains("user=") && self.words.contains("err: ")
            || status(Step::Hello) == 200 && facts.stores_v2()
        {
            return self
                .product("Cortex or Grafana Mimir", "it answers 200, or names the user in its refusals, as they do");
        }
        let conflict = facts.get(Step::Conflict).map(|said| said.words().to_ascii_lowercase()).unwrap_or_default();
        let is_prometheus = conflict.starts_with("duplicate sample for timestamp") && !facts.takes_zstd();
        if !is_prometheus || status(Step::V1) != 204 {
            return None;
        }
        let sign = "it refuses duplicates in Prometheus' words";
        if facts.stores_v2() {
            return self.product("Prometheus 3", sign);
        }
        // 2.42 stops there, 2.53 goes on with the timestamp and both values.
        if conflict == "duplicate sample for timestamp" {
            return self.product("Prometheus 2, as old as 2.42", sign);
        }
        self.product("Prometheus 2, as late as 2.53", sign)
    }
}
