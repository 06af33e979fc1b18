//! What an endpoint's answers mean, as rows of a table: pure.

use http::header::{DATE, RETRY_AFTER};
use serde::Serialize;
use writegate_config::Scheme;

use super::facts::{Facts, Said, Step};
use super::question::{OLD, OLDER_BY};
use crate::delivery::means_known_already;

/// A clock that differs by less says nothing: `Date` has seconds.
const CLOCK_MS: u64 = 5_000;

/// One line of what was found out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Row {
    pub(crate) check: &'static str,
    /// A word or two.
    pub(crate) answer: String,
    /// What that is known from, and what it means.
    pub(crate) detail: String,
}

/// Why nothing can be sent there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Trouble {
    pub(crate) stage: Stage,
    /// What was attempted, and why it failed.
    pub(crate) error: String,
    pub(crate) what_to_do: String,
}

/// How far a request came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Stage {
    Name,
    Connection,
    Tls,
    Answer,
    Credential,
    Address,
    Server,
    Data,
}

/// What keeps the endpoint from taking anything.
pub(super) fn trouble(facts: &Facts) -> Option<Trouble> {
    if let Some(Err(why)) = &facts.addresses {
        let error = format!("look up the host of {}: {why}", facts.url);
        let what_to_do = "check how the host is written, and that this machine can resolve it";
        return Some(Trouble { stage: Stage::Name, error, what_to_do: what_to_do.to_owned() });
    }
    let hello = facts.get(Step::Hello)?;
    let Some(status) = hello.status() else { return Some(no_answer(facts, hello.words())) };
    let (stage, what_to_do) = match status.as_u16() {
        401 | 403 => (Stage::Credential, credential_hint(hello.words())),
        404 | 405 | 410 => (
            Stage::Address,
            "check the path: /api/v1/write (Prometheus with --web.enable-remote-write-receiver, VictoriaMetrics), \
             /api/v1/push (Mimir, Cortex), /api/v1/receive (Thanos)",
        ),
        300..=399 => (Stage::Address, "use the address where it leads"),
        408 | 429 | 500.. => (Stage::Server, "the endpoint is in trouble or has too much to do; try again later"),
        _ => return no_data(facts),
    };
    let error = format!("an empty request to {} is answered {}", facts.url, hello.text());
    Some(Trouble { stage, error, what_to_do: what_to_do.to_owned() })
}

fn no_answer(facts: &Facts, why: &str) -> Trouble {
    let (stage, what_to_do) = if facts.bad_tls_files {
        (Stage::Tls, "check the files that it names (ca_file, cert_file, key_file)")
    } else if why.contains("does not speak TLS") {
        (Stage::Tls, "check the port, or use http://")
    } else if why.contains("TLS") || why.contains("certificate") {
        (Stage::Tls, "name the authority of its certificate with --ca-file, or set tls_config of the entry")
    } else if why.contains("could not be made") {
        (Stage::Credential, "check the files and headers that the request should show")
    } else if why.starts_with("no answer within") {
        (
            Stage::Answer,
            "something takes connections there and does not answer; check host and port, or give it more --timeout",
        )
    } else if why.contains("cannot connect") {
        (Stage::Connection, "check host and port, that the endpoint runs, and what is between it and this machine")
    } else {
        (Stage::Answer, "what listens there does not answer as HTTP servers do; check port and scheme")
    };
    Trouble { stage, error: format!("push to {}: {why}", facts.url), what_to_do: what_to_do.to_owned() }
}

fn credential_hint(words: &str) -> &'static str {
    let words = words.to_ascii_lowercase();
    if words.contains("org id") || words.contains("orgid") {
        "name the tenant: --header 'X-Scope-OrgID: TENANT', in the entry `headers` or `tenant_header`"
    } else {
        "show a credential that may write: --bearer-token-file, --user and --password-file, --header, or --config and \
         --endpoint"
    }
}

/// The endpoint answers, and still takes nothing.
fn no_data(facts: &Facts) -> Option<Trouble> {
    if facts.takes_v1() || facts.stores_v2() {
        return None;
    }
    let asked = if facts.dry_run { Step::EmptyV2 } else { Step::V2 };
    let v2 = facts.get(asked)?;
    let v1 = facts.get(if facts.dry_run { Step::Hello } else { Step::V1 })?;
    let error = format!("{} takes neither remote write 1.0 ({}) nor 2.0 ({})", facts.url, v1.text(), v2.text());
    let what_to_do = "what it says of 1.0 is what to mend first; perhaps this is no address for remote write";
    Some(Trouble { stage: Stage::Data, error, what_to_do: what_to_do.to_owned() })
}

/// Everything that was found out; questions that were not asked have no row.
pub(super) fn rows(facts: &Facts) -> Vec<Row> {
    [
        Some(reachable(facts)),
        v1(facts),
        v2(facts),
        zstd(facts),
        metadata(facts),
        histograms(facts),
        exemplars(facts),
        order(facts),
        duplicates(facts),
        old(facts),
        bad_sample(facts),
        bad_series(facts),
        repeated_label(facts),
        size(facts),
        http2(facts),
        retry_after(facts),
        clock(facts),
        latency(facts),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn row(check: &'static str, answer: impl Into<String>, detail: impl Into<String>) -> Row {
    Row { check, answer: answer.into(), detail: detail.into() }
}

/// `yes`, or `no` and what was said instead.
fn yes_or_no(check: &'static str, said: &Said, yes: &str) -> Row {
    match said.status() {
        Some(status) if status.is_success() => row(check, "yes", yes),
        Some(_) if said.is_refusal() => row(check, "no", said.text()),
        _ => row(check, "unknown", said.text()),
    }
}

fn reachable(facts: &Facts) -> Row {
    let hello = facts.get(Step::Hello);
    let Some(status) = hello.and_then(Said::status) else {
        return row("reachable", "no", trouble(facts).map(|trouble| trouble.error).unwrap_or_default());
    };
    let mut detail = match &facts.addresses {
        Some(Ok(addresses)) => format!("{}, ", addresses.join(" ")),
        _ => "through a proxy, ".to_owned(),
    };
    detail.push_str(match facts.scheme {
        Scheme::Https => "TLS, ",
        Scheme::Http => "no TLS, ",
    });
    detail.push_str(&format!("{} to an empty request", status.as_u16()));
    row("reachable", "yes", detail)
}

fn v1(facts: &Facts) -> Option<Row> {
    match facts.get(Step::V1) {
        Some(said) => Some(yes_or_no("remote write 1.0", said, "")),
        None if facts.dry_run => {
            Some(yes_or_no("remote write 1.0", facts.get(Step::Hello)?, "told from an empty request"))
        }
        None => None,
    }
}

fn v2(facts: &Facts) -> Option<Row> {
    const CHECK: &str = "remote write 2.0";
    let said = facts.get(if facts.dry_run { Step::EmptyV2 } else { Step::V2 })?;
    Some(if facts.stores_v2() {
        row(
            CHECK,
            "yes",
            if facts.dry_run { "told from an empty request" } else { "the answer says how much was written" },
        )
    } else if facts.ignores_v2() {
        let from = if facts.dry_run { ", told from an empty request" } else { "" };
        let detail = format!(
            "{} without X-Prometheus-Remote-Write-*-Written headers: nothing is stored, and nobody told{from}",
            said.text()
        );
        row(CHECK, "ignored", detail)
    } else if said.is_success() {
        let written = said.written().unwrap_or_default().samples;
        row(CHECK, "no", format!("{}, {written} of {} samples written", said.text(), said.sent.samples))
    } else {
        yes_or_no(CHECK, said, "")
    })
}

fn zstd(facts: &Facts) -> Option<Row> {
    let said = facts.get(if facts.dry_run { Step::EmptyZstd } else { Step::Zstd })?;
    let announced = facts.get(Step::VmVersion).is_some_and(|said| said.is_success() && said.words() == "1");
    let yes =
        if announced { "VictoriaMetrics' protocol, get_vm_proto_version says 1" } else { "VictoriaMetrics' protocol" };
    Some(yes_or_no("zstd", said, yes))
}

fn metadata(facts: &Facts) -> Option<Row> {
    let said = facts.get(Step::Metadata);
    match said {
        Some(said) => {
            Some(yes_or_no("metadata", said, "taken in requests of their own; whether it is kept is not told"))
        }
        None if facts.stores_v2() && !facts.dry_run => Some(row("metadata", "yes", "taken with each series, in 2.0")),
        None => None,
    }
}

/// `yes` in both protocols, or what differs.
fn histograms(facts: &Facts) -> Option<Row> {
    const CHECK: &str = "native histograms";
    let (v1, v2) = (facts.get(Step::HistogramV1), facts.get(Step::HistogramV2));
    let said = v2.or(v1)?;
    let stored = |said: &Said| said.written().is_none_or(|written| written.histograms == said.sent.histograms);
    if !said.is_success() || !stored(said) {
        let answer = if said.is_success() || said.is_refusal() { "no" } else { "unknown" };
        return Some(row(CHECK, answer, said.text()));
    }
    let custom = match facts.get(Step::CustomV2) {
        Some(custom) if custom.is_success() && stored(custom) => "custom buckets too",
        Some(custom) => return Some(row(CHECK, "yes", format!("but no custom buckets: {}", custom.text()))),
        None => "taken in 1.0; in which form they are kept is not told",
    };
    Some(row(CHECK, "yes", custom))
}

fn exemplars(facts: &Facts) -> Option<Row> {
    const CHECK: &str = "exemplars";
    let said = facts.get(Step::ExemplarV2).or_else(|| facts.get(Step::ExemplarV1))?;
    Some(match said.written().filter(|_| said.step == Step::ExemplarV2) {
        Some(written) if written.exemplars == said.sent.exemplars => {
            yes_or_no(CHECK, said, "the answer says it was written")
        }
        Some(_) if said.is_success() => row(CHECK, "no", "taken, and not written"),
        _ => yes_or_no(CHECK, said, "taken in 1.0; whether they are kept is not told"),
    })
}

/// Of steps with a growing age: the largest that was taken, and the first that was not.
fn ladder(check: &'static str, facts: &Facts, steps: &[(Step, i64, &str)], what: fn(&str) -> String) -> Option<Row> {
    let taken = steps.iter().rev().find(|(step, ..)| facts.taken(*step)).map(|(.., age)| *age);
    let failed =
        steps.iter().find_map(|(step, _, age)| Some((*age, facts.get(*step).filter(|said| !said.is_success())?)));
    Some(match (taken, failed) {
        (None, None) => return None,
        (Some(taken), None) => row(check, "taken", format!("{}; older was not tried", what(taken))),
        (None, Some((age, said))) => row(check, refused_or_unknown(said), format!("{}: {}", what(age), said.text())),
        (Some(taken), Some((age, said))) => {
            row(check, format!("up to {taken}"), format!("{}: {}", what(age), said.text()))
        }
    })
}

fn refused_or_unknown(said: &Said) -> &'static str {
    if said.is_refusal() { "refused" } else { "unknown" }
}

fn order(facts: &Facts) -> Option<Row> {
    ladder("out of order", facts, &OLDER_BY, |age| format!("a sample {age} older than its series' newest"))
}

fn duplicates(facts: &Facts) -> Option<Row> {
    let (repeat, conflict) = (facts.get(Step::Repeat)?, facts.get(Step::Conflict)?);
    let detail = match (repeat.is_success(), conflict.is_success()) {
        (true, true) => "the newest sample again, and with another value".to_owned(),
        (true, false) => {
            let refused = refused_or_unknown(conflict);
            format!("the newest sample again; with another value: {refused}, {}", conflict.text())
        }
        (false, _) => repeat.text(),
    };
    Some(row("duplicates", if repeat.is_success() { "taken" } else { refused_or_unknown(repeat) }, detail))
}

fn old(facts: &Facts) -> Option<Row> {
    ladder("old samples", facts, &OLD, |age| format!("a new series that begins {age} ago"))
}

/// What becomes of the good series beside a bad one: whoever has it refuses another value for it.
fn rest(again: &Said) -> Option<bool> {
    match again.status() {
        Some(status) if status.is_success() => Some(false),
        Some(_)
            if means_known_already(again.words()) || again.status().is_some_and(|status| status.as_u16() == 409) =>
        {
            Some(true)
        }
        _ => None,
    }
}

fn bad_sample(facts: &Facts) -> Option<Row> {
    let (mixed, again) = (facts.get(Step::Mixed)?, facts.get(Step::MixedAgain)?);
    Some(beside("a bad sample", mixed, again))
}

fn beside(check: &'static str, mixed: &Said, again: &Said) -> Row {
    let text = mixed.text();
    if !mixed.is_success() && !mixed.is_refusal() {
        return row(check, "unknown", text);
    }
    match (mixed.is_success(), rest(again)) {
        (true, _) => row(check, "not told", format!("a request with one is answered {text}")),
        (false, Some(true)) => row(check, "rest kept", format!("{text}; the good series of the request is stored")),
        (false, Some(false)) => {
            row(check, "costs all", format!("{text}; the good series of the request is not stored"))
        }
        (false, None) => row(check, "refused", format!("{text}; whether the rest is stored is not told")),
    }
}

fn bad_series(facts: &Facts) -> Option<Row> {
    const CHECK: &str = "a nameless series";
    let said = facts.get(Step::Nameless)?;
    let text = said.text();
    Some(match (said.is_success(), said.written().map_or(0, |written| written.samples)) {
        (true, 2..) => row(CHECK, "taken", "in 2.0"),
        (true, _) => row(CHECK, "not told", format!("{text}, 2.0")),
        (false, 1) => row(CHECK, "rest kept", format!("in 2.0: {text}")),
        (false, _) => row(CHECK, "costs all", format!("in 2.0: {text}")),
    })
}

fn repeated_label(facts: &Facts) -> Option<Row> {
    const CHECK: &str = "a label twice";
    let said = facts.get(Step::Repeated)?;
    if said.is_success() {
        return Some(row(CHECK, "not told", format!("a request with such a series is answered {}", said.text())));
    }
    let mut row = match facts.get(Step::RepeatedAgain) {
        Some(again) => beside(CHECK, said, again),
        None => yes_or_no(CHECK, said, ""),
    };
    if said.status().is_some_and(|status| status.is_server_error()) {
        row.detail.push_str("; senders repeat such a request for ever");
    }
    Some(row)
}

fn size(facts: &Facts) -> Option<Row> {
    const CHECK: &str = "size limit";
    let said = facts.get(Step::Claim)?;
    let words = said.words().to_ascii_lowercase();
    let is_size = ["exceed", "too big", "too large", "limit", "larger than"].iter().any(|word| words.contains(word));
    let too_large = is_size || said.status().is_some_and(|status| status.as_u16() == 413);
    Some(if too_large {
        row(CHECK, "seen", format!("33 MiB decompressed is too large: {}", said.text()))
    } else {
        row(CHECK, "not seen", "what claims to be 33 MiB decompressed is not refused for its size")
    })
}

fn http2(facts: &Facts) -> Option<Row> {
    if facts.speaks_http2() {
        return Some(row("HTTP/2", "yes", "negotiated over TLS"));
    }
    facts.get(Step::Hello)?.status()?;
    match (facts.scheme, facts.get(Step::Http2)) {
        (Scheme::Https, Some(said)) if said.status().is_none() => Some(row("HTTP/2", "unknown", said.text())),
        (Scheme::Https, _) => Some(row("HTTP/2", "no", "HTTP/1.1")),
        (Scheme::Http, _) => Some(row("HTTP/2", "not asked", "HTTP/1.1; without TLS nothing is negotiated")),
    }
}

fn retry_after(facts: &Facts) -> Option<Row> {
    let heard = facts.all().iter().filter_map(|said| said.answer.as_ref().ok());
    let (status, after) = heard.filter_map(|heard| Some((heard.status, heard.headers.get(RETRY_AFTER)?))).next()?;
    let after = String::from_utf8_lossy(after.as_bytes()).into_owned();
    Some(row("Retry-After", after, format!("with {}", status.as_u16())))
}

fn clock(facts: &Facts) -> Option<Row> {
    let said = facts.get(Step::Hello)?;
    let date = said.answer.as_ref().ok()?.headers.get(DATE)?.to_str().ok()?;
    let theirs = httpdate::parse_http_date(date).ok()?.duration_since(std::time::UNIX_EPOCH).ok()?;
    let ours = u64::try_from(said.at_ms).ok()?;
    let apart = ours.abs_diff(u64::try_from(theirs.as_millis()).ok()?);
    let relation = if u128::from(ours) < theirs.as_millis() { "ahead of" } else { "behind" };
    let detail = format!("the endpoint's clock is {} s {relation} this machine's", apart / 1_000);
    (apart > CLOCK_MS).then(|| row("clock", "differs", detail))
}

fn latency(facts: &Facts) -> Option<Row> {
    let answered = facts.all().iter().filter(|said| said.answer.is_ok());
    let mut took: Vec<f64> = answered.map(|said| said.took.as_secs_f64() * 1e3).collect();
    took.sort_by(f64::total_cmp);
    let (median, longest) = (took.get(took.len() / 2)?, took.last()?);
    let detail = match took.len() {
        1 => "of one request".to_owned(),
        requests => format!("the median of {requests} requests; the longest {longest:.1} ms"),
    };
    Some(row("latency", format!("{median:.1} ms"), detail))
}
