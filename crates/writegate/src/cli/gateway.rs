//! Asks a running gateway over its admin API.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, bail};
use bytes::Bytes;
use clap::Args;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderValue, Method, Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use outbound::connect::{Connector, root};
use outbound::tls::TlsSource;
use serde::de::DeserializeOwned;
use writegate_config::{ClientTls, TextSource};

use super::show::plain;
use crate::admin::api::Failure;
use crate::basic_auth;

/// A connection is there within this time, or the gateway is not.
const CONNECT_WITHIN: Duration = Duration::from_secs(5);
/// Answers come within this time: a retry of dead letters works for 20 s, and then waits for one more request.
const ANSWER_WITHIN: Duration = Duration::from_secs(300);
/// What is shown of an answer that no gateway gives.
const MAX_WORDS: usize = 1024;
/// The longest answer: a ledger of a hundred thousand rows.
const MAX_ANSWER: usize = 256 << 20;

/// Where the gateway is, and what it is shown.
#[derive(Debug, Args)]
pub(super) struct AdminArgs {
    /// The gateway's admin address
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:9010", value_parser = base)]
    admin: String,
    /// A file with the authorities that the certificate of an https address may be from, instead of the system's
    #[arg(long, value_name = "FILE")]
    ca_file: Option<PathBuf>,
    /// Believe any certificate
    #[arg(long, conflicts_with = "ca_file")]
    insecure_skip_verify: bool,
    /// A file with the token of the gateway's `admin.bearer_token_file`
    #[arg(long, value_name = "FILE", conflicts_with = "user")]
    bearer_token_file: Option<PathBuf>,
    /// The user of the gateway's `admin.basic_auth`
    #[arg(long, value_name = "NAME", requires = "password_file")]
    user: Option<String>,
    /// A file with that user's password
    #[arg(long, value_name = "FILE", requires = "user")]
    password_file: Option<PathBuf>,
}

/// An URL to which paths are appended.
fn base(text: &str) -> Result<String, String> {
    let uri: Uri = text.parse().map_err(|error| format!("{error}"))?;
    let is_http = matches!(uri.scheme_str(), Some("http" | "https"));
    if !is_http || uri.authority().is_none() || uri.query().is_some() {
        return Err("expected http://host:port or https://host:port".to_owned());
    }
    Ok(text.trim_end_matches('/').to_owned())
}

/// A running gateway.
pub(super) struct Gateway {
    url: String,
    authorization: Option<HeaderValue>,
    http: Client<Connector, Full<Bytes>>,
}

/// A good answer.
pub(super) struct Reply {
    /// JSON, as it came.
    pub(super) text: String,
}

impl Reply {
    /// What it says.
    pub(super) fn read<T: DeserializeOwned>(&self) -> anyhow::Result<T> {
        serde_json::from_str(&self.text).context("understand the gateway's answer; is it another version?")
    }
}

impl Gateway {
    /// The gateway that the arguments name. Nothing is connected yet; within a runtime.
    pub(super) fn of(args: &AdminArgs) -> anyhow::Result<Self> {
        let tls = ClientTls {
            ca: args.ca_file.clone().map(TextSource::File),
            insecure_skip_verify: args.insecure_skip_verify,
            ..ClientTls::default()
        };
        let connector = Connector::new(TlsSource::new(Some(&tls), false), CONNECT_WITHIN);
        let http = Client::builder(TokioExecutor::new()).build(connector);
        Ok(Self { url: args.admin.clone(), authorization: authorization(args)?, http })
    }

    pub(super) async fn get(&self, path: &str) -> anyhow::Result<Reply> {
        self.ask(Method::GET, path, None).await
    }

    pub(super) async fn post(&self, path: &str, body: &impl serde::Serialize) -> anyhow::Result<Reply> {
        self.ask(Method::POST, path, Some(serde_json::to_string(body)?)).await
    }

    pub(super) async fn delete(&self, path: &str) -> anyhow::Result<Reply> {
        self.ask(Method::DELETE, path, None).await
    }

    async fn ask(&self, method: Method, path: &str, body: Option<String>) -> anyhow::Result<Reply> {
        let exchange = self.exchange(method, path, body);
        let Ok(answer) = tokio::time::timeout(ANSWER_WITHIN, exchange).await else {
            bail!("the gateway at {} does not answer within {ANSWER_WITHIN:?}", self.url);
        };
        let (status, text) = answer?;
        if status.is_success() {
            return Ok(Reply { text });
        }
        Err(self.refused(status, &text))
    }

    fn refused(&self, status: StatusCode, text: &str) -> anyhow::Error {
        let why = match serde_json::from_str(text) {
            Ok(Failure { error }) => error,
            Err(_no_json) => text.chars().take(MAX_WORDS).collect(),
        };
        let why = plain(&why);
        let hint = match status {
            StatusCode::UNAUTHORIZED => "; show it with --bearer-token-file, or --user and --password-file",
            _ => "",
        };
        anyhow::anyhow!("the gateway at {} answers {status}: {why}{hint}", self.url)
    }

    /// Gives each line of an answer that has no end to `each`, until it says that it has enough.
    pub(super) async fn follow(
        &self,
        path: &str,
        mut each: impl FnMut(&str) -> anyhow::Result<bool>,
    ) -> anyhow::Result<()> {
        let response = tokio::time::timeout(ANSWER_WITHIN, self.request(Method::GET, path, None)).await;
        let response = response.with_context(|| format!("the gateway at {} does not answer", self.url))??;
        let status = response.status();
        if !status.is_success() {
            let body = Limited::new(response.into_body(), MAX_ANSWER).collect().await;
            let text = body.map(|body| String::from_utf8_lossy(&body.to_bytes()).into_owned()).unwrap_or_default();
            return Err(self.refused(status, &text));
        }
        let (mut body, mut text) = (response.into_body(), Vec::new());
        while let Some(frame) = body.frame().await {
            let frame = frame.with_context(|| format!("the answer of the gateway at {} broke off", self.url))?;
            text.extend_from_slice(frame.data_ref().map_or(&[][..], |data| data));
            while let Some(end) = text.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = text.drain(..=end).collect();
                if !each(String::from_utf8_lossy(&line).trim_end())? {
                    return Ok(());
                }
            }
        }
        bail!("the gateway at {} has ended", self.url);
    }

    async fn exchange(&self, method: Method, path: &str, body: Option<String>) -> anyhow::Result<(StatusCode, String)> {
        let response = self.request(method, path, body).await?;
        let status = response.status();
        let body = Limited::new(response.into_body(), MAX_ANSWER).collect().await;
        let body =
            body.map_err(|error| anyhow::anyhow!("the answer of the gateway at {} broke off: {error}", self.url))?;
        Ok((status, String::from_utf8_lossy(&body.to_bytes()).into_owned()))
    }

    async fn request(&self, method: Method, path: &str, body: Option<String>) -> anyhow::Result<Response<Incoming>> {
        let mut request = Request::builder().method(method).uri(format!("{}{path}", self.url));
        if let Some(authorization) = &self.authorization {
            request = request.header(AUTHORIZATION, authorization);
        }
        if body.is_some() {
            request = request.header(CONTENT_TYPE, "application/json");
        }
        let request = request.body(Full::new(Bytes::from(body.unwrap_or_default())))?;
        match self.http.request(request).await {
            Ok(response) => Ok(response),
            Err(error) if error.is_connect() => bail!(
                "cannot reach the gateway at {}: {}; is it running? --admin URL says where",
                self.url,
                root(&error)
            ),
            Err(error) => bail!("the gateway at {} gave no answer: {}", self.url, root(&error)),
        }
    }
}

fn authorization(args: &AdminArgs) -> anyhow::Result<Option<HeaderValue>> {
    let read = |path: &PathBuf| {
        let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        anyhow::Ok(text.trim().to_owned())
    };
    let shown = match (&args.bearer_token_file, &args.user, &args.password_file) {
        (Some(file), _, _) => format!("Bearer {}", read(file)?),
        (None, Some(user), Some(file)) => format!("Basic {}", basic_auth::encode(user, &read(file)?)),
        _ => return Ok(None),
    };
    let mut shown = HeaderValue::from_str(&shown).context("the credential has characters that no header may have")?;
    shown.set_sensitive(true);
    Ok(Some(shown))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_one_to_which_paths_can_be_appended() {
        assert_eq!(base("http://127.0.0.1:9010/"), Ok("http://127.0.0.1:9010".to_owned()));
        assert_eq!(base("http://proxy/writegate"), Ok("http://proxy/writegate".to_owned()));
        assert_eq!(base("https://host/"), Ok("https://host".to_owned()));
        for wrong in ["", "127.0.0.1:9010", "ftp://host", "/x", "http://host/?a=b"] {
            assert!(base(wrong).is_err(), "{wrong}");
        }
    }
}
