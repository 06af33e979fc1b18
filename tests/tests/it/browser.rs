//! A real browser, told what to do over WebDriver (W3C): a page is read as a person would see it, keys are pressed, pictures taken.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use http::{HeaderMap, Method};
use serde_json::{Value as Json, json};
use testkit::peers::Peer;
use testkit::process::{Process, free_port};
use testkit::sender::Sender;

use crate::http::settled;
use crate::peers::found;

const LIMIT: Duration = Duration::from_secs(30);

/// What Chromium leaves alone: networks, GPUs, its own updates. As root there is no sandbox.
const ARGUMENTS: [&str; 10] = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
];

/// One window. It ends with the driver's process.
#[derive(Debug)]
pub(crate) struct Browser {
    session: String,
    home: PathBuf,
    pub(crate) process: Process,
}

impl Browser {
    /// `None`: there is no browser here, which was said.
    pub(crate) async fn open(directory: &Path) -> Option<Self> {
        let mut driver = found(Peer::Chromium)?;
        // It lies in usr/bin.
        let home = Path::new(driver.get_program()).ancestors().nth(3).expect("a directory").to_owned();
        let port = free_port().expect("a free port");
        driver.arg(format!("--port={port}")).env("TMPDIR", directory);
        let log = directory.join("browser.log");
        let mut process = Process::start(driver, &log).expect("the driver starts");
        let base = format!("http://127.0.0.1:{port}");
        process.ready(&format!("{base}/status"), LIMIT).await.expect("the driver is ready");
        let profile = format!("--user-data-dir={}", directory.join("profile").display());
        let arguments: Vec<_> = ARGUMENTS.into_iter().chain([profile.as_str()]).collect();
        let options = json!({"binary": home.join("usr/lib/chromium/chromium"), "args": arguments});
        let wanted = json!({"capabilities": {"alwaysMatch": {"goog:chromeOptions": options}}});
        let answer = call(Method::POST, &format!("{base}/session"), &wanted).await;
        let id = answer["sessionId"].as_str().expect("a session").to_owned();
        Some(Self { session: format!("{base}/session/{id}"), home, process })
    }

    async fn post(&self, path: &str, body: Json) -> Json {
        call(Method::POST, &format!("{}{path}", self.session), &body).await
    }

    async fn devtools(&self, command: &str, parameters: Json) {
        self.post("/goog/cdp/execute", json!({"cmd": command, "params": parameters})).await;
    }

    pub(crate) async fn go(&self, url: &str) {
        self.post("/url", json!({"url": url})).await;
    }

    /// The value of an expression in the page.
    pub(crate) async fn ask(&self, expression: &str) -> Json {
        self.post("/execute/sync", json!({"script": format!("return {expression}"), "args": []})).await
    }

    /// What is to be read in the first element that a selector finds; nothing if there is none.
    pub(crate) async fn text(&self, selector: &str) -> String {
        let element = format!("document.querySelector({})?.innerText ?? ''", json!(selector));
        self.ask(&element).await.as_str().unwrap_or_default().to_owned()
    }

    /// Waits until these words are to be read there.
    pub(crate) async fn reads(&self, selector: &str, words: &str) {
        let complaint = settled(Instant::now() + LIMIT, async || {
            let text = self.text(selector).await;
            (!text.contains(words)).then_some(text)
        });
        if let Some(text) = complaint.await {
            panic!("{selector} says {words:?}; it says:\n{text}");
        }
    }

    /// Presses keys, as in [`Key`] or plain letters.
    pub(crate) async fn press(&self, keys: &str) {
        let actions: Vec<_> = keys
            .chars()
            .flat_map(|key| ["keyDown", "keyUp"].map(|kind| json!({"type": kind, "value": key.to_string()})))
            .collect();
        self.post("/actions", json!({"actions": [{"type": "key", "id": "keyboard", "actions": actions}]})).await;
    }

    /// The window's size, the theme that the person prefers, and whether scripts run.
    pub(crate) async fn be(&self, (width, height): (u32, u32), theme: &str) {
        let metrics = json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": false});
        self.devtools("Emulation.setDeviceMetricsOverride", metrics).await;
        let features = json!({"features": [{"name": "prefers-color-scheme", "value": theme}]});
        self.devtools("Emulation.setEmulatedMedia", features).await;
    }

    /// No page runs a script from the next one on.
    pub(crate) async fn without_scripts(&self) {
        self.devtools("Emulation.setScriptExecutionDisabled", json!({"value": true})).await;
    }

    /// A picture of the whole page.
    pub(crate) async fn picture(&self, path: &Path, width: u32, theme: &str) {
        let height = self.ask("document.documentElement.scrollHeight").await.as_u64().unwrap_or(900).clamp(400, 6000);
        self.be((width, u32::try_from(height).expect("a few thousand")), theme).await;
        let answer = call(Method::GET, &format!("{}/screenshot", self.session), &Json::Null).await;
        let picture = BASE64.decode(answer.as_str().expect("a picture")).expect("base64");
        std::fs::write(path, picture).expect("the picture is written");
    }

    /// What axe finds of serious and critical faults; `None`: axe is not here.
    pub(crate) async fn faults(&self) -> Option<Vec<String>> {
        let axe = std::fs::read_to_string(self.home.join("axe.min.js")).ok()?;
        self.post("/execute/sync", json!({"script": axe, "args": []})).await;
        let run = "const done = arguments[0]; axe.run().then(found => done(found.violations\
                   .filter(fault => ['serious', 'critical'].includes(fault.impact))\
                   .map(fault => fault.id + ': ' + fault.nodes.map(node => node.html + ' ' + node.failureSummary).join('; '))), done)";
        let found = self.post("/execute/async", json!({"script": run, "args": []})).await;
        let found = found.as_array().unwrap_or_else(|| panic!("axe says what it finds: {found}"));
        Some(found.iter().map(|fault| fault.as_str().unwrap_or_default().to_owned()).collect())
    }

    /// Ends the window; the driver follows.
    pub(crate) async fn close(mut self) {
        call(Method::DELETE, &self.session, &Json::Null).await;
        self.process.terminate(LIMIT).await.expect("the driver ends");
    }
}

impl Drop for Browser {
    /// A test that failed kills the driver, which leaves its Chromium behind.
    fn drop(&mut self) {
        let driver = self.process.id();
        let children = std::fs::read_to_string(format!("/proc/{driver}/task/{driver}/children")).unwrap_or_default();
        for child in children.split_whitespace() {
            drop(std::process::Command::new("kill").arg(child).status());
        }
    }
}

/// Keys that are no letters (WebDriver, "Keyboard Actions").
pub(crate) mod key {
    pub(crate) const TAB: &str = "\u{e004}";
    pub(crate) const ENTER: &str = "\u{e007}";
    pub(crate) const SPACE: &str = "\u{e00d}";
}

async fn call(method: Method, url: &str, body: &Json) -> Json {
    let sender = Sender::new(url).expect("an http url").with_timeout(LIMIT);
    let body = if body.is_null() { Bytes::new() } else { body.to_string().into() };
    let answer = sender.send(method, HeaderMap::new(), body).await;
    let answer = answer.unwrap_or_else(|error| panic!("{url} is answered: {error:?}"));
    let mut said: Json = serde_json::from_slice(&answer.body).expect("WebDriver speaks JSON");
    assert_eq!(answer.status.as_u16(), 200, "{url}: {said}");
    said["value"].take()
}
