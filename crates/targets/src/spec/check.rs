//! What a spec says that makes no sense. The gateway's own reader judges it, in its words for the same fields, so that a
//! target is refused here and there for the same reasons.

use std::path::Path;

use serde_json::{Map, Value as Json, json};
use writegate_config::{Place, parse};

use super::gateway::Stand;
use super::{Flaw, Spec};

pub(super) fn flaws(spec: &Spec) -> Vec<Flaw> {
    let mut entry = spec.gateway_entry(&Stand);
    replace_what_only_prometheus_takes(&mut entry);
    let strange = strangers_to_prometheus_operator(spec);
    if !strange.is_empty() {
        return strange;
    }
    // JSON is YAML. Files are named, never opened.
    let file = json!({"listeners": [{"address": "127.0.0.1:1", "tenant": "a"}], "remote_write": [entry]});
    let Err(problems) = parse(&file.to_string(), Path::new(""), Path::new("/")) else { return Vec::new() };
    let flaw = |problem: &writegate_config::Diagnostic| {
        let message = problem.message.replace("remote_write[0].", "");
        let message = message.strip_prefix("remote_write[0]: ").unwrap_or(&message).to_owned();
        let hint = problem.hint.as_ref().map(|hint| format!(" ({hint})")).unwrap_or_default();
        Flaw { place: Place::default(), message: message + &hint }
    };
    problems.0.iter().map(flaw).collect()
}

/// Prometheus goes through SOCKS proxies and asks Azure's SDK; the gateway does neither, and says so when it is to.
fn replace_what_only_prometheus_takes(entry: &mut Map<String, Json>) {
    let socks = |url: &mut Json| {
        if let Some(rest) = url.as_str().and_then(|url| url.strip_prefix("socks5://")) {
            *url = Json::String(format!("http://{rest}"));
        }
    };
    if let Some(url) = entry.get_mut("proxy_url") {
        socks(url);
    }
    if let Some(url) = entry.get_mut("oauth2").and_then(|oauth2| oauth2.get_mut("proxy_url")) {
        socks(url);
    }
    if let Some(Json::Object(azure)) = entry.get_mut("azuread")
        && azure.remove("sdk").is_some()
    {
        azure.insert("managed_identity".to_owned(), json!({}));
    }
}

/// What prometheus-operator's schema refuses and the gateway does not look at. One such entry would keep the API server from
/// taking the whole list, and everybody else's changes with it.
fn strangers_to_prometheus_operator(spec: &Spec) -> Vec<Flaw> {
    let text = |path: &[&str]| {
        let mut at = spec.fields().get(*path.first()?)?;
        for key in path.get(1..)? {
            at = at.get(key)?;
        }
        at.as_str()
    };
    let word = |c: char| c.is_ascii_alphanumeric() || "-.".contains(c);
    let scope = |c: char| c.is_ascii_alphanumeric() || c.is_ascii_whitespace() || "_:/.\\-".contains(c);
    let all = |text: &str, inside: &dyn Fn(char) -> bool| !text.is_empty() && text.chars().all(inside);
    let mut flaws = Vec::new();
    let mut check = |path: &[&str], inside: &dyn Fn(char) -> bool, expected: &str| {
        if text(path).is_some_and(|text| !all(text, inside)) {
            flaws.push(Flaw { place: Place::default(), message: format!("{}: expected {expected}", path.join(".")) });
        }
    };
    check(&["sigv4", "externalId"], &|_| true, "a text that is not empty");
    check(&["azureAd", "scope"], &scope, "letters, digits, spaces and `_:/.\\-`");
    check(&["azureAd", "sdk", "tenantId"], &word, "a UUID or a domain");
    flaws
}
