//! What is worth knowing of all that the status says, the worst first: what is wrong, whose fault it is, and what to do. A pure
//! function of the status.

use std::collections::BTreeMap;

use super::api::{ConfiguredEndpoint, EndpointStatus, Finding, FindingKind, Growing, Replay, Severity, Status};
use crate::figures::{age, count, dead_letters, plural};

/// From this lag on an endpoint is behind, and one that is down is bad.
pub(super) const BEHIND_SECONDS: f64 = 60.0;
/// Findings that are told; one says how many more there are.
const MOST: usize = 30;

/// What there is to know; never empty, the worst first, of a kind what concerns the most data.
pub(super) fn findings(status: &Status, replays: &[Replay]) -> Vec<Finding> {
    let mut found = Vec::new();
    of_gateway(status, &mut found);
    of_tenants(status, &mut found);
    of_endpoints(status, &mut found);
    of_replays(replays, &mut found);
    if found.iter().all(|found| found.finding.severity >= Severity::Note) {
        found.push(whole(status));
    }
    found.sort_by(|a, b| a.rank().cmp(&b.rank()).then(b.weight.cmp(&a.weight)));
    found.truncate(MOST);
    found.into_iter().map(|found| found.finding).collect()
}

/// A finding, and how much data it concerns.
struct Found {
    finding: Finding,
    weight: u64,
}

impl Found {
    fn new(kind: FindingKind, severity: Severity, what: String, (whose, advice): (&str, String)) -> Self {
        let (whose, words, tenant, endpoint) = (whose.to_owned(), None, None, None);
        Self { finding: Finding { kind, severity, what, words, whose, advice, tenant, endpoint }, weight: 0 }
    }

    fn says(mut self, words: &str) -> Self {
        self.finding.words = Some(words.to_owned()).filter(|words| !words.is_empty());
        self
    }

    fn at(mut self, tenant: Option<&str>, endpoint: Option<&str>, weight: u64) -> Self {
        self.finding.tenant = tenant.map(str::to_owned);
        self.finding.endpoint = endpoint.map(str::to_owned);
        self.weight = weight;
        self
    }

    const fn rank(&self) -> (Severity, FindingKind) {
        (self.finding.severity, self.finding.kind)
    }
}

const CONFIGURATION: &str = "This gateway's configuration.";
const DISK: &str = "This machine's disk, or what the configuration lets the log take of it.";

fn of_gateway(status: &Status, found: &mut Vec<Found>) {
    if !status.ready {
        let what = "The gateway is shutting down: pushes get 503, and senders keep their data.".to_owned();
        let advice = "Wait for its end and its next start.".to_owned();
        found.push(Found::new(FindingKind::Shutdown, Severity::Note, what, ("Whoever ends it.", advice)));
    }
    if let Some(error) = &status.last_reload_error {
        let what = "The last reload failed, the configuration before goes on.".to_owned();
        let advice = "Mend the file; it is read again when it changes.".to_owned();
        let finding = Found::new(FindingKind::ReloadFailed, Severity::Warning, what, (CONFIGURATION, advice));
        found.push(finding.says(error));
    }
    if status.configured.is_empty() {
        let what = "No endpoint is configured: what is received waits in the log.".to_owned();
        let advice = "Add an entry to remote_write.".to_owned();
        found.push(Found::new(FindingKind::NoEndpoint, Severity::Warning, what, (CONFIGURATION, advice)));
    }
    let unusable = |endpoint: &ConfiguredEndpoint| {
        let error = endpoint.tls_error.as_ref()?;
        let what =
            format!("The certificate files of {} cannot be used; it goes on with what was read before.", endpoint.name);
        let advice = "Put files there that can be used, before those in use expire.".to_owned();
        let finding = Found::new(FindingKind::TlsFiles, Severity::Warning, what, (CONFIGURATION, advice));
        Some(finding.says(error).at(None, Some(&endpoint.name), 0))
    };
    found.extend(status.configured.iter().filter_map(unusable));
}

fn of_tenants(status: &Status, found: &mut Vec<Found>) {
    let mut not_kept: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for tenant in &status.tenants {
        let name = tenant.tenant.as_str();
        if let Some(why) = &tenant.not_kept {
            not_kept.entry(why).or_default().push(name);
        }
        if tenant.damaged_records > 0 {
            let records = tenant.damaged_records;
            let what = format!(
                "{} damaged record{} found in the log of {name}; what endpoints had not had of it has expired.",
                count(records),
                if records == 1 { " was" } else { "s were" }
            );
            let advice = "Look at the disk; writegate log verify names each place.".to_owned();
            let finding = Found::new(FindingKind::Damaged, Severity::Warning, what, (DISK, advice));
            found.push(finding.at(Some(name), None, records));
        }
        if !tenant.limited_lately.is_empty() {
            let keys = tenant.limited_lately.join(", ");
            let what = format!("{name} is over its limit: pushes were refused in the last ten minutes ({keys}).");
            let advice = format!("Raise limits.{keys} for {name}, or have it send less.");
            let whose = "The tenant's senders, or its limits here.";
            let finding = Found::new(FindingKind::Limited, Severity::Warning, what, (whose, advice));
            found.push(finding.at(Some(name), None, tenant.limited_requests.values().sum()));
        }
    }
    for (why, tenants) in not_kept {
        let what = format!("What {} pushes is not kept: senders get 503 and send it again.", those(&tenants));
        let advice = "Make room on the disk or for the log; nothing that was answered with 2xx is lost.".to_owned();
        let finding = Found::new(FindingKind::NotKept, Severity::Bad, what, (DISK, advice));
        found.push(finding.says(why).at(alone(&tenants), None, tenants.len() as u64));
    }
}

/// What several tenants have in common at one endpoint.
#[derive(Default)]
struct Together<'s> {
    tenants: Vec<&'s str>,
    pending: u64,
    lag: f64,
    letters: u64,
    /// The words of the one that waits for longest.
    words: &'s str,
}

impl<'s> Together<'s> {
    fn add(&mut self, row: &'s EndpointStatus, words: &'s str) {
        if self.tenants.is_empty() || row.lag_seconds > self.lag {
            self.words = words;
        }
        self.tenants.push(&row.tenant);
        self.pending += row.pending_samples;
        self.letters += row.dead_letters;
        self.lag = self.lag.max(row.lag_seconds);
    }
}

/// Why a row does not get its data, or not all of it. A row may have several.
fn troubles(row: &EndpointStatus) -> impl Iterator<Item = (FindingKind, &str)> {
    let is_active = row.state == "active";
    let error = row.last_error.as_deref().filter(|_| is_active);
    let growing = |fate, kind| row.growing.contains(&fate).then_some((kind, ""));
    let standing = match (row.held.filter(|_| is_active), error) {
        (Some(_), error) => Some((FindingKind::Held, error.unwrap_or_default())),
        (None, Some(error)) => Some((FindingKind::Down, error)),
        (None, None) if is_active && row.lag_seconds > BEHIND_SECONDS => Some((FindingKind::Behind, "")),
        (None, None) => None,
    };
    let refusal = row.last_refusal.as_deref().unwrap_or_default();
    let refusing = growing(Growing::DeadLettered, FindingKind::Refusing).map(|(kind, _)| (kind, refusal));
    let kept = (refusing.is_none() && row.dead_letters > 0).then_some((FindingKind::DeadLetters, refusal));
    let troubles = [
        (!row.balances).then_some((FindingKind::Books, "")),
        standing,
        growing(Growing::Expired, FindingKind::Expiring),
        growing(Growing::Dropped, FindingKind::Dropping),
        refusing,
        kept,
        row.searching.then_some((FindingKind::Searching, error.unwrap_or_default())),
    ];
    troubles.into_iter().flatten()
}

fn of_endpoints(status: &Status, found: &mut Vec<Found>) {
    let mut together: BTreeMap<(FindingKind, &str, Option<u16>), Together<'_>> = BTreeMap::new();
    for row in &status.endpoints {
        for (kind, words) in troubles(row) {
            let status = row.held.filter(|_| kind == FindingKind::Held);
            together.entry((kind, &row.endpoint, status)).or_default().add(row, words);
        }
    }
    found.extend(together.iter().map(|((kind, endpoint, status), group)| of_group(*kind, endpoint, *status, group)));
}

fn of_group(kind: FindingKind, endpoint: &str, status: Option<u16>, group: &Together<'_>) -> Found {
    let tenants = those(&group.tenants);
    let waiting = format!("{} samples wait in the log, the oldest for {}", count(group.pending), age(group.lag));
    let owner = format!("Whoever runs {endpoint}.");
    let late = if group.lag > BEHIND_SECONDS { Severity::Bad } else { Severity::Warning };
    let (severity, what, whose, advice) = match kind {
        FindingKind::Books => (
            Severity::Bad,
            format!("The books of {tenants} at {endpoint} do not balance."),
            "A mistake in Writegate itself.".to_owned(),
            "Keep a copy of the data directory and report it; the ledger shows the row.".to_owned(),
        ),
        FindingKind::Held => (
            Severity::Bad,
            format!(
                "{endpoint} is held for {tenants}: it answers {}, and {waiting}.",
                status.map_or_else(String::new, |status| status.to_string())
            ),
            format!("The entry of {endpoint} in remote_write: {}.", what_is_wrong(status)),
            "Mend the entry or the file that it names; what waits is then delivered by itself.".to_owned(),
        ),
        FindingKind::Down => (
            late,
            format!("{endpoint} is down for {tenants}: {waiting}."),
            owner,
            "Look at the endpoint; nothing is to be done here unless the log gets full before it is back.".to_owned(),
        ),
        FindingKind::Expiring => (
            Severity::Bad,
            format!("Data of {tenants} expires before {endpoint} has had it: the log is full, or max_age is over."),
            format!("Whoever runs {endpoint}, or the size of the log."),
            "Raise log.max_size, or mend the endpoint.".to_owned(),
        ),
        FindingKind::Dropping => (
            Severity::Bad,
            format!("{endpoint} loses data of {tenants}: it stored fewer than it was sent, or dead letters gave way."),
            owner,
            "See the reasons in the ledger; raise dead_letters.max_size if letters give way.".to_owned(),
        ),
        FindingKind::Refusing => (
            Severity::Bad,
            format!(
                "{endpoint} refuses data of {tenants} for good; {} kept.",
                has(group.letters, &dead_letters(group.letters))
            ),
            format!("The senders of that data, or a limit at {endpoint}: its words say which."),
            "Mend the sender or the limit, then retry or drop the dead letters.".to_owned(),
        ),
        FindingKind::Searching => (
            Severity::Warning,
            format!("Series of {tenants} that break {endpoint} are being looked for; others go on."),
            format!("The data, or {endpoint}, which should refuse it and not break."),
            "Wait: what is found becomes a dead letter.".to_owned(),
        ),
        FindingKind::Behind => (
            Severity::Warning,
            format!("{endpoint} falls behind for {tenants}, without an error: {waiting}."),
            owner,
            "It answers slowly: make it faster, or raise max_samples_per_send.".to_owned(),
        ),
        _ => (
            Severity::Note,
            format!(
                "{} kept of what {endpoint} refused of {tenants}.",
                has(group.letters, &dead_letters(group.letters))
            ),
            format!("The senders of that data, or a limit at {endpoint}: its words say which."),
            "Retry them once that is mended, or drop them.".to_owned(),
        ),
    };
    let weight = group.pending.max(group.letters);
    let finding = Found::new(kind, severity, what, (&whose, advice)).says(group.words);
    finding.at(alone(&group.tenants), Some(endpoint), weight)
}

/// What a status that holds says about an endpoint's entry.
const fn what_is_wrong(status: Option<u16>) -> &'static str {
    match status {
        Some(401) => "the credential is not taken",
        Some(403) => "the credential may not write this tenant's data",
        Some(404 | 405) => "the URL is not one that takes remote write, or the server does not take it yet",
        Some(407) => "the proxy wants a credential",
        Some(300..=399) => "the URL is another by now",
        _ => "the answer says what",
    }
}

fn of_replays(replays: &[Replay], found: &mut Vec<Found>) {
    for replay in replays.iter().filter(|replay| replay.state == "running") {
        let (what, advice) = if replay.endpoint_removed {
            (
                format!("Replay {} waits: {} is no longer configured.", replay.id, replay.endpoint),
                "Cancel it, or configure the endpoint again; it holds its window in the log.",
            )
        } else {
            let percent = (replay.progress.fraction * 100.0).floor();
            (
                format!(
                    "Replay {} of {} to {} is running, {percent} % done.",
                    replay.id, replay.tenant, replay.endpoint
                ),
                "Nothing: the live delivery has precedence.",
            )
        };
        let whose = ("Whoever began it.", advice.to_owned());
        let finding = Found::new(FindingKind::Replaying, Severity::Note, what, whose);
        found.push(finding.at(Some(&replay.tenant), Some(&replay.endpoint), 0));
    }
}

/// What there is to say where nothing is wrong.
fn whole(status: &Status) -> Found {
    let (kind, severity, what) = if status.endpoints.is_empty() {
        let what = "Nothing has been received yet, or no endpoint takes it.".to_owned();
        (FindingKind::NothingYet, Severity::Note, what)
    } else {
        let rows = status.endpoints.iter().filter(|row| row.state == "active");
        let lag = rows.map(|row| row.lag_seconds).fold(0.0, f64::max);
        let what = format!("All is well: every endpoint takes its data, none is more than {} behind.", age(lag));
        (FindingKind::Well, Severity::Good, what)
    };
    Found::new(kind, severity, what, ("Nobody's.", "Nothing.".to_owned()))
}

/// `team-a`, or `team-a and 3 other tenants`.
fn those(tenants: &[&str]) -> String {
    match tenants {
        [] => String::new(),
        [one] => (*one).to_owned(),
        [first, others @ ..] => {
            let others = others.len() as u64;
            format!("{first} and {} other tenant{}", count(others), plural(others))
        }
    }
}

fn alone<'t>(tenants: &[&'t str]) -> Option<&'t str> {
    match tenants {
        [one] => Some(one),
        _ => None,
    }
}

fn has(number: u64, what: &str) -> String {
    format!("{what} {}", if number == 1 { "is" } else { "are" })
}

#[cfg(test)]
mod tests;
