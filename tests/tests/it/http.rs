//! Questions to programs over HTTP.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use serde_json::Value as Json;
use testkit::sender::Sender;

/// How often a question is asked again until the answer fits.
const ASK_EVERY: Duration = Duration::from_millis(500);

/// The body of a 200; `None` for any other answer or none.
pub(crate) async fn try_get(url: &str) -> Option<String> {
    let answer = Sender::new(url).expect("an http url").with_timeout(Duration::from_secs(20)).get().await.ok()?;
    (answer.status.as_u16() == 200).then(|| answer.text())
}

pub(crate) async fn get(url: &str) -> String {
    try_get(url).await.unwrap_or_else(|| panic!("GET {url} is answered with 200"))
}

pub(crate) async fn get_json(url: &str) -> Json {
    let text = get(url).await;
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{url} answers with JSON: {error}: {text:.300}"))
}

/// A URL with a query of these parameters.
pub(crate) fn url(base: &str, path: &str, parameters: &[(&str, &str)]) -> String {
    let mut url = format!("{base}{path}");
    for (index, (name, value)) in parameters.iter().enumerate() {
        let separator = if index == 0 { '?' } else { '&' };
        write!(url, "{separator}{}={}", encoded(name), encoded(value)).expect("a String takes all");
    }
    url
}

pub(crate) fn encoded(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            write!(out, "%{byte:02X}").expect("a String takes all");
        }
    }
    out
}

/// Asks until there is no complaint, at least once; a complaint after the deadline is returned.
pub(crate) async fn settled(deadline: Instant, mut ask: impl AsyncFnMut() -> Option<String>) -> Option<String> {
    let mut ticks = tokio::time::interval(ASK_EVERY);
    loop {
        ticks.tick().await;
        let complaint = ask().await?;
        if Instant::now() > deadline {
            return Some(complaint);
        }
    }
}
