//! `prometheus.yml`: its endpoints as they are, and what Prometheus keeps.

use std::path::Path;

use writegate_config::{Node, Place, Url, Value as NodeValue};

use crate::draft::Draft;
use crate::part::{Part, Value, render};
use crate::{Import, ImportError, Source, Weight, unreadable};

/// Where Prometheus is to push.
pub(crate) const PUSH_URL: &str = "http://127.0.0.1:9009/api/v1/write";
/// What Prometheus goes on with, and why it is none of Writegate's.
const KEPT: [(&str, &str); 10] = [
    ("global", ""),
    ("scrape_configs", ""),
    ("scrape_config_files", ""),
    ("rule_files", ""),
    ("alerting", ""),
    ("storage", ""),
    ("tracing", ""),
    ("runtime", ""),
    ("remote_read", "queries go to where the data is, not through Writegate"),
    ("otlp", "Writegate takes OTLP, too: `otlp: true` of a listener, and a section `otlp` with the same keys"),
];
const PROTOBUF_V1: &str = "prometheus.WriteRequest";
const PROTOBUF_V2: &str = "io.prometheus.write.v2.Request";

/// A `prometheus.yml` as a `writegate.yml` with its endpoints.
///
/// # Errors
/// If it is no YAML, or no `prometheus.yml` that sends anywhere.
pub fn prometheus(source: &Source<'_>) -> Result<Import, ImportError> {
    let root = Node::parse(source.text, source.name).map_err(ImportError::Unreadable)?;
    let NodeValue::Map(entries) = &root.value else {
        let message = format!("expected a prometheus.yml, a mapping; found {}", root.kind());
        return Err(unreadable(source.name, root.place, message, None));
    };
    let entry = |name: &str| entries.iter().find(|(key, _)| key.text() == Some(name));
    let Some((key, list)) = entry("remote_write").filter(|(_, list)| !matches!(&list.value, NodeValue::Null)) else {
        let hint = "Prometheus sends only where an entry of remote_write says";
        return Err(unreadable(
            source.name,
            Place::default(),
            "it has no `remote_write`: there is nothing to import",
            Some(hint),
        ));
    };
    let NodeValue::List(written) = &list.value else {
        let message = format!("remote_write: expected a list of endpoints, found {}", list.kind());
        return Err(unreadable(source.name, list.place, message, None));
    };
    let mut endpoints: Vec<Part> = written.iter().map(|node| Part::of("", node)).collect();
    let sent = Sent::of(&endpoints);
    for endpoint in &mut endpoints {
        sent.keep_what_it_was(endpoint);
        absolute(endpoint, source.base);
    }
    name_twins(&mut endpoints);
    let mut draft = Draft {
        head: vec![format!("Made by writegate import prometheus from {}.", source.name.display())],
        parts: vec![listener("127.0.0.1:9009"), Part::list("remote_write", endpoints).at(key.place)],
        ..Draft::default()
    };
    for (key, value) in entries {
        kept(&mut draft, key, value);
    }
    draft.tail =
        vec!["What Prometheus keeps: its file, with this in place of its remote_write.".to_owned(), String::new()];
    draft.tail.extend(render(&[sent.entry()]).into_iter().map(|line| format!("  {}", line.text)));
    draft.checked(source.name, source.base.unwrap_or_else(|| Path::new("")))
}

/// A listener for senders that show no credential.
pub(crate) fn listener(address: &str) -> Part {
    Part::list("listeners", vec![Part::item(vec![Part::text("address", address), Part::text("tenant", "default")])])
}

/// Says of a section that is none of Writegate's where it stays.
fn kept(draft: &mut Draft, key: &Node, value: &Node) {
    let name = key.text().unwrap_or_default();
    if name == "remote_write" {
        return;
    }
    let text = match KEPT.iter().find(|(kept, _)| *kept == name) {
        Some((_, "")) => format!("`{name}` stays with Prometheus"),
        Some((_, why)) => format!("`{name}` stays with Prometheus: {why}"),
        None => format!("`{name}` is no section of prometheus.yml that is known here; it was left out"),
    };
    draft.say(Weight::Remark, key.place, text);
    let NodeValue::Map(entries) = &value.value else { return };
    if let Some((labels, _)) = entries.iter().find(|(key, _)| name == "global" && key.text() == Some("external_labels"))
    {
        let text = "`external_labels` stay with Prometheus, which adds them before it sends to Writegate; with `external_labels` of \
                    a tenant Writegate adds them to series of senders that do not";
        draft.say(Weight::Remark, labels.place, text);
    }
}

/// What some endpoint got beyond series in version 1.0, which Prometheus therefore has to send to Writegate.
#[derive(Debug)]
struct Sent {
    exemplars: bool,
    native_histograms: bool,
    v2: bool,
}

impl Sent {
    fn of(endpoints: &[Part]) -> Self {
        let any = |key: &str, wanted: &str| endpoints.iter().any(|endpoint| endpoint.get_text(key) == Some(wanted));
        Self {
            exemplars: any("send_exemplars", "true"),
            native_histograms: any("send_native_histograms", "true"),
            v2: any("protobuf_message", PROTOBUF_V2),
        }
    }

    /// Prometheus' defaults, where another endpoint makes that they matter.
    fn keep_what_it_was(&self, endpoint: &mut Part) {
        for (is_sent, key, default) in [
            (self.exemplars, "send_exemplars", "false"),
            (self.native_histograms, "send_native_histograms", "false"),
            (self.v2, "protobuf_message", PROTOBUF_V1),
        ] {
            if is_sent && endpoint.get(key).is_none() {
                endpoint.push(Part::text(key, default).aside("Prometheus' default, for another endpoint gets more"));
            }
        }
    }

    /// The entry with which Prometheus sends to Writegate.
    fn entry(&self) -> Part {
        let mut keys = vec![Part::text("url", PUSH_URL)];
        keys.extend(self.exemplars.then(|| Part::text("send_exemplars", "true")));
        keys.extend(self.native_histograms.then(|| Part::text("send_native_histograms", "true")));
        keys.extend(self.v2.then(|| Part::text("protobuf_message", PROTOBUF_V2)));
        Part::list("remote_write", vec![Part::item(keys)])
    }
}

/// Names of files that are relative to a directory, as they are anywhere.
fn absolute(endpoint: &mut Part, base: Option<&Path>) {
    let Some(base) = base else { return };
    let join = |name: &mut String| {
        if !name.is_empty() && Path::new(name).is_relative() {
            *name = base.join(&*name).display().to_string();
        }
    };
    endpoint.visit_mut(&mut |part| match &mut part.value {
        Value::Text(name) if names_a_file(&part.key) => join(name),
        Value::Flow(names) if part.key == "files" => names.iter_mut().for_each(join),
        Value::Text(_) | Value::Flow(_) | Value::List(_) | Value::Map(_) => {}
    });
}

pub(crate) fn names_a_file(key: &str) -> bool {
    key.ends_with("_file") || matches!(key, "certificate_path" | "token_file_path")
}

/// Endpoints without a name are called after host and path of their url: two with the same need a name.
pub(crate) fn name_twins(endpoints: &mut [Part]) {
    let mut names: Vec<String> = Vec::new();
    for endpoint in endpoints {
        let written = endpoint.get_text("name").filter(|name| !name.is_empty()).map(str::to_owned);
        let of_url = |url: &str| Url::parse(url).ok().map(|url| format!("{}{}", url.authority(), url.path()));
        let Some(name) = written.clone().or_else(|| endpoint.get_text("url").and_then(of_url)) else { continue };
        let is_taken = names.contains(&name);
        if is_taken && written.is_none() {
            let name =
                (2..).map(|number| format!("{name}-{number}")).find(|name| !names.contains(name)).unwrap_or_default();
            names.push(name.clone());
            endpoint.insert_second(Part::text("name", name).aside("another endpoint has the same host and path"));
        } else {
            names.push(name);
        }
    }
}
