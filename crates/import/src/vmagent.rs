//! A vmagent's command line: each `-remoteWrite.url` with its flags becomes an endpoint, and how it is reached a listener.
//!
//! Rules for all urls, labels, and rules of one are one after the other in the endpoint's own list, as vmagent applies them: an
//! endpoint that one of them cannot be said for is commented out with all of them.

mod endpoint;
mod relabel;

use std::io;
use std::path::Path;

use writegate_config::Place;

use crate::draft::Draft;
use crate::flags::{Flag, Flags};
use crate::part::{Part, Value};
use crate::prometheus::{PUSH_URL, name_twins};
use crate::words::words;
use crate::{Import, ImportError, Source, Weight, plain, unreadable};

/// What has no counterpart and needs none, and why.
const NOT_NEEDED: [(&str, &str); 21] = [
    ("remoteWrite.queues", "how many requests are in flight follows the endpoint's answers"),
    ("remoteWrite.inmemoryQueues", "an endpoint is sent its oldest data first, in order"),
    ("remoteWrite.flushInterval", "what there is is sent at once"),
    ("remoteWrite.maxBlockSize", "batches stay within 16 MiB and queue_config.max_samples_per_send"),
    ("remoteWrite.maxMetadataPerBlock", "metadata passes on as it comes"),
    ("remoteWrite.vmProtoCompressLevel", "zstd is passed on as it came"),
    ("remoteWrite.showURL", "metrics show urls without their secrets"),
    (
        "remoteWrite.keepDanglingQueues",
        "an endpoint that comes back by its name goes on where it was, as far as the log reaches",
    ),
    ("remoteWrite.dropSamplesOnOverload", "the log takes what endpoints do not; when it is full log.on_full decides"),
    ("remoteWrite.disableOnDiskQueue", "what is acknowledged is always on disk"),
    ("remoteWrite.tlsHandshakeTimeout", "remote_timeout bounds all of a request"),
    ("remoteWrite.rateLimit", "an endpoint is given what it takes; its answers 429 and 503 slow deliveries down"),
    ("sortLabels", "labels are always sorted"),
    ("envflag.prefix", ""),
    ("remoteWrite.significantFigures", "values arrive as they were sent, with all their digits"),
    ("remoteWrite.roundDigits", "values arrive as they were sent, with all their digits"),
    (
        "remoteWrite.maxHourlySeries",
        "limits.active_series bounds a tenant's series, and refuses those above to their sender",
    ),
    (
        "remoteWrite.maxDailySeries",
        "limits.active_series bounds a tenant's series, and refuses those above to their sender",
    ),
    ("maxLabelsPerTimeseries", "limits.label_names refuses series with more, 128 unless it says otherwise"),
    ("maxLabelValueLen", "limits.label_value_bytes refuses series with longer ones, 16KiB unless it says otherwise"),
    ("maxIngestionRate", "limits.samples_per_second bounds a tenant's rate"),
];
/// What changes where data goes, or which data, by what its name begins with.
const MISSING: [(&str, &str); 13] = [
    ("remoteWrite.streamAggr.", "Writegate does not aggregate: keep a vmagent for that in front of it or behind it"),
    ("streamAggr.", "Writegate does not aggregate: keep a vmagent for that in front of it or behind it"),
    ("dedup.minScrapeInterval", "every sample goes on"),
    (
        "remoteWrite.shardByURL",
        "every endpoint gets all series; `hashmod` and `keep` in write_relabel_configs divide them",
    ),
    ("remoteWrite.obfuscateLabels", "labels go on in plain text"),
    ("usePromCompatibleNaming", "names go on as they come; metric_name_escaping_scheme of an endpoint escapes them"),
    ("influxListenAddr", "Writegate takes remote write and OTLP only: keep a vmagent for these senders"),
    ("graphiteListenAddr", "Writegate takes remote write and OTLP only: keep a vmagent for these senders"),
    ("opentsdb", "Writegate takes remote write and OTLP only: keep a vmagent for these senders"),
    ("kafka.", "Writegate takes remote write and OTLP only: keep a vmagent for these senders"),
    ("gcp.", "Writegate takes remote write and OTLP only: keep a vmagent for these senders"),
    (
        "envflag.enable",
        "flags may come from environment variables, too: add them to the command line, and import it again",
    ),
    ("remoteWrite.", "this flag is not known here"),
];

/// What `log.max_size` is at least.
const SMALLEST_LOG: u64 = 1 << 20;

/// A vmagent's command line as a `writegate.yml`. `read` reads the files with its relabel rules.
///
/// # Errors
/// If it is no command line of a vmagent that sends anywhere, or a file with rules cannot be read.
pub fn vmagent(source: &Source<'_>, read: &dyn Fn(&Path) -> io::Result<String>) -> Result<Import, ImportError> {
    let words = words(source.text, source.name, |word| word.trim_start_matches('-').starts_with("remoteWrite."))?;
    let mut reading = Reading { flags: Flags::of(&words, "vmagent"), draft: Draft::default(), source, read };
    let urls = reading.urls()?;
    let rules = reading.rules_for_all()?;
    let endpoints: Result<Vec<Part>, ImportError> =
        urls.iter().enumerate().map(|(index, url)| reading.endpoint(url, index, &rules)).collect();
    let mut endpoints = endpoints?;
    name_twins(&mut endpoints);
    let is_scraping = reading.is_scraping();
    let tenants = reading.tenants(is_scraping);
    let listener = reading.listener(is_scraping, tenants.is_none());
    let mut parts = vec![listener];
    parts.extend(reading.log());
    parts.extend(reading.limits());
    parts.extend(tenants);
    parts.push(Part::list("remote_write", endpoints));
    reading.draft.parts = parts;
    reading.draft.head = vec![format!("Made by writegate import vmagent from {}.", source.name.display())];
    reading.rest(is_scraping);
    reading.draft.checked(source.name, source.base.unwrap_or_else(|| Path::new("")))
}

/// Says which flags get a variable of the environment: its value is not in the command line.
pub(crate) fn variables(draft: &mut Draft, flags: &Flags) {
    for flag in flags.every() {
        if flag.has_variable || flag.value.contains("%{") {
            let text = format!(
                "the value of -{} has a variable of the environment in it, which Writegate does not fill in: write what it \
                 stands for, a secret into a file (`…_file`)",
                plain(&flag.name)
            );
            draft.say(Weight::Missing, flag.place, text);
        }
    }
}

/// A url that vmagent writes to.
struct Target {
    flag: Flag,
    /// Its tenants are told by the path, as `-remoteWrite.multitenantURL` does.
    is_multitenant: bool,
}

struct Reading<'s> {
    flags: Flags,
    draft: Draft,
    source: &'s Source<'s>,
    read: &'s dyn Fn(&Path) -> io::Result<String>,
}

impl Reading<'_> {
    fn urls(&mut self) -> Result<Vec<Target>, ImportError> {
        let plain = self.flags.array("remoteWrite.url").into_iter().map(|flag| Target { flag, is_multitenant: false });
        let mut urls: Vec<Target> = plain.filter(|target| !target.flag.value.is_empty()).collect();
        for mut flag in self.flags.array("remoteWrite.multitenantURL") {
            flag.value = format!("{}/insert/multitenant/prometheus/api/v1/write", flag.value.trim_end_matches('/'));
            urls.push(Target { flag, is_multitenant: true });
        }
        if urls.is_empty() {
            let message = "there is no -remoteWrite.url: this vmagent sends nowhere";
            return Err(unreadable(self.source.name, Place::default(), message, None));
        }
        Ok(urls)
    }

    /// `-promscrape.config`: this vmagent stays, to scrape.
    fn is_scraping(&mut self) -> bool {
        self.flags.every().iter().any(|flag| flag.name == "promscrape.config" && !flag.value.is_empty())
    }

    fn is_multitenant(&mut self) -> (bool, bool) {
        (self.flags.is_on("enableMultitenantHandlers"), self.flags.is_on("enableMultitenancyViaHeaders"))
    }

    /// Senders stay where they are, unless a vmagent that scrapes stays there, too.
    fn listener(&mut self, is_scraping: bool, is_open: bool) -> Part {
        let addresses = self.flags.array("httpListenAddr");
        let mut addresses: Vec<(String, Place)> =
            addresses.into_iter().filter(|flag| !flag.value.is_empty()).map(|flag| (flag.value, flag.place)).collect();
        if is_scraping || addresses.is_empty() {
            let address = if is_scraping { "127.0.0.1:9009" } else { ":8429" };
            addresses = vec![(address.to_owned(), Place::default())];
        }
        let (by_path, by_headers) = self.is_multitenant();
        let items = addresses.into_iter().enumerate().map(|(index, (address, place))| {
            let mut listener = Part::item(vec![Part::text("address", address)]).at(place);
            if !is_scraping {
                let text = "vmagent's, so that senders stay as they are; beside a vmagent that runs, take another port";
                listener = listener.aside(text);
            }
            if let Some(tls) = self.tls(index).filter(|_| !is_scraping) {
                listener.push(tls);
            }
            if is_open {
                listener.push(Part::text("tenant", if by_path || by_headers { "0" } else { "default" }));
            }
            let sources = [(by_path, "path"), (by_headers, "vm_headers")].into_iter().filter(|(is_on, _)| *is_on);
            let sources: Vec<Part> = sources.map(|(_, key)| Part::item(vec![Part::text(key, "true")])).collect();
            if !sources.is_empty() {
                listener.push(Part::list("tenant_from", sources));
            }
            listener
        });
        Part::list("listeners", items.collect())
    }

    fn tls(&mut self, index: usize) -> Option<Part> {
        let is_on = self.flags.for_url("tls", index).is_some_and(|flag| flag.value == "true");
        let is_mutual = self.flags.for_url("mtls", index).is_some_and(|flag| flag.value == "true");
        let file = |flags: &mut Flags, key: &str, name: &str| {
            flags.for_url(name, index).map(|flag| Part::text(key, flag.value).at(flag.place))
        };
        let mut parts: Vec<Part> =
            [("cert_file", "tlsCertFile"), ("key_file", "tlsKeyFile"), ("min_version", "tlsMinVersion")]
                .into_iter()
                .filter_map(|(key, name)| file(&mut self.flags, key, name))
                .collect();
        let ca = file(&mut self.flags, "client_ca_file", "mtlsCAFile");
        if is_mutual {
            parts.push(Part::text("client_auth", "require"));
            parts.extend(ca);
        }
        (is_on && !parts.is_empty()).then(|| Part::map("tls_config", parts))
    }

    /// The credential that senders show, and tenants by number.
    fn tenants(&mut self, is_scraping: bool) -> Option<Part> {
        let user = self.flags.last("httpAuth.username");
        let password = self.flags.last("httpAuth.password");
        let (by_path, by_headers) = self.is_multitenant();
        let is_multitenant = by_path || by_headers;
        let Some(user) = user.filter(|_| !is_scraping && !is_multitenant) else {
            if !is_multitenant {
                return None;
            }
            let text = "tenants are accounts of VictoriaMetrics; one with a project needs an entry in `tenants` with an id such as \
                        \"12:3\", and an endpoint of its own";
            self.draft.say(Weight::Remark, Place::default(), text);
            return None;
        };
        let mut basic = vec![Part::text("username", user.value).at(user.place)];
        basic.extend(password.map(|flag| match flag.value.strip_prefix("file://") {
            Some(file) => Part::text("password_file", file).at(flag.place),
            None => Part::text("password", flag.value).at(flag.place),
        }));
        let credential = Part::item(vec![Part::map("basic_auth", basic)]);
        let tenant = Part::item(vec![Part::text("name", "default"), Part::list("credentials", vec![credential])]);
        Some(Part::list("tenants", vec![tenant]))
    }

    /// The log is one for all endpoints: it may become as large as the largest of their queues.
    fn log(&mut self) -> Option<Part> {
        let path = self.flags.last("remoteWrite.tmpDataPath");
        if let Some(flag) = path {
            let text = "what waits in vmagent's -remoteWrite.tmpDataPath stays there: let vmagent run until it has sent it. \
                        `log.path` is a directory of its own";
            self.draft.say(Weight::Remark, flag.place, text);
        }
        let sizes = self.flags.array("remoteWrite.maxDiskUsagePerURL");
        let largest =
            sizes.into_iter().filter_map(|flag| Some((bytes(&flag.value)?, flag))).max_by_key(|(bytes, _)| *bytes);
        let (bytes, flag) = largest.filter(|(bytes, _)| *bytes > 0)?;
        let size = if bytes < SMALLEST_LOG { SMALLEST_LOG.to_string() } else { flag.value.clone() };
        let size = Part::text("max_size", size).at(flag.place);
        let text = "The largest -remoteWrite.maxDiskUsagePerURL; the log holds data once, for all endpoints.";
        Some(Part::map("log", vec![size.aside(text)]))
    }

    fn limits(&mut self) -> Option<Part> {
        let flag = self.flags.last("maxInsertRequestSize")?;
        bytes(&flag.value)?;
        let keys = ["request_bytes", "decoded_bytes"].map(|key| Part::text(key, flag.value.clone()).at(flag.place));
        Some(Part::map("limits", keys.to_vec()))
    }

    /// What is left of the flags, and what a vmagent that scrapes goes on with.
    fn rest(&mut self, is_scraping: bool) {
        variables(&mut self.draft, &self.flags);
        let mut others = Vec::new();
        for flag in self.flags.rest() {
            let name = plain(&flag.name);
            // Set to what it is anyhow.
            if matches!(flag.value.as_str(), "" | "0" | "false") {
                continue;
            }
            if is_scraping && (name.starts_with("promscrape.") || name == "httpListenAddr") {
                others.push(flag);
            } else if let Some((_, why)) = NOT_NEEDED.iter().find(|(known, _)| *known == name) {
                self.draft.say(Weight::Remark, flag.place, format!("-{name} was left out: {why}"));
            } else if let Some((_, why)) = MISSING.iter().find(|(known, _)| name.starts_with(known)) {
                self.draft.say(Weight::Missing, flag.place, format!("-{name}: {why}"));
            } else if is_scraping {
                self.draft.say(Weight::Remark, flag.place, format!("-{name} stays with vmagent"));
            } else {
                self.draft.say(Weight::Remark, flag.place, format!("-{name} was left out: it has no counterpart here"));
            }
        }
        if is_scraping {
            let kept = others.iter().map(|flag| format!("  -{}={} \\", plain(&flag.name), plain(&flag.value)));
            let mut tail = vec![
                "What vmagent keeps: it scrapes, and sends to Writegate.".to_owned(),
                String::new(),
                "  vmagent \\".to_owned(),
            ];
            tail.extend(kept.map(|line| format!("  {line}")));
            tail.push(format!("    -remoteWrite.url={PUSH_URL}"));
            self.draft.tail = tail;
        }
    }
}

/// `1GiB`, `64MB`, `1000`: bytes.
fn bytes(text: &str) -> Option<u64> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let factor = match unit {
        "" => 1,
        "KB" => 1_000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        "TB" => 1_000_000_000_000,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        "TiB" => 1 << 40,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(factor)
}

/// An empty list of rules is no list.
fn rules_part(rules: Vec<Part>) -> Option<Part> {
    (!rules.is_empty()).then(|| Part::new("write_relabel_configs", Value::List(rules)))
}
