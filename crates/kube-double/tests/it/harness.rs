//! An HTTP client that takes answers as they are, and the definitions that the tests install.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, Request};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use kube_double::{ADMIN, ApiServer};
use serde_json::{Value, json};
use tokio::net::TcpStream;

/// How long anything may take.
pub(crate) const LIMIT: Duration = Duration::from_secs(10);

/// A definition with a schema of everything that schemas may say.
pub(crate) const WIDGETS: &str = include_str!("widgets.yaml");

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) code: u16,
    pub(crate) headers: HeaderMap,
    /// A string if it is no JSON.
    pub(crate) body: Value,
}

impl Answer {
    pub(crate) fn message(&self) -> &str {
        self.body["message"].as_str().unwrap_or_default()
    }

    pub(crate) fn reason(&self) -> &str {
        self.body["reason"].as_str().unwrap_or_default()
    }

    /// The answer's body, if it is a success.
    pub(crate) fn ok(self) -> Value {
        assert!(self.code < 300, "{} {}", self.code, self.body);
        self.body
    }

    /// Holds a refusal: its status, reason and message.
    pub(crate) fn refuses(&self, code: u16, reason: &str, message: &str) {
        assert_eq!((self.code, self.reason(), self.message()), (code, reason, message));
        assert_eq!(self.body["kind"], "Status");
    }
}

/// A client with a user's token.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    address: String,
    token: String,
    pub(crate) accept: &'static str,
}

impl Client {
    pub(crate) fn new(server: &ApiServer, user: &str) -> Self {
        let token = server.token(user);
        Self { address: server.url().trim_start_matches("http://").to_owned(), token, accept: "application/json" }
    }

    pub(crate) fn admin(server: &ApiServer) -> Self {
        Self::new(server, ADMIN)
    }

    pub(crate) fn with_token(mut self, token: &str) -> Self {
        self.token = token.to_owned();
        self
    }

    async fn open(
        &self,
        method: Method,
        path: &str,
        content: &str,
        body: String,
    ) -> hyper::Result<http::Response<Incoming>> {
        let stream = TcpStream::connect(&self.address).await.unwrap();
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        let mut request = Request::builder().method(method).uri(path).header("host", &self.address);
        request = request.header("accept", self.accept).header("user-agent", "it/1.0 (test)");
        if !self.token.is_empty() {
            request = request.header("authorization", format!("Bearer {}", self.token));
        }
        if !content.is_empty() {
            request = request.header("content-type", content);
        }
        let sent = sender.send_request(request.body(Full::new(Bytes::from(body))).unwrap());
        tokio::time::timeout(LIMIT, sent).await.expect("an answer in time")
    }

    /// An answer, or that the connection was cut.
    pub(crate) async fn try_send(
        &self,
        method: Method,
        path: &str,
        content: &str,
        body: String,
    ) -> hyper::Result<Answer> {
        let response = self.open(method, path, content, body).await?;
        let (parts, body) = response.into_parts();
        let bytes = body.collect().await?.to_bytes();
        let text = || Value::from(String::from_utf8_lossy(&bytes).into_owned());
        let body = serde_json::from_slice(&bytes).unwrap_or_else(|_| text());
        Ok(Answer { code: parts.status.as_u16(), headers: parts.headers, body })
    }

    pub(crate) async fn send(&self, method: Method, path: &str, content: &str, body: &Value) -> Answer {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        self.try_send(method, path, content, body).await.unwrap()
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send(Method::GET, path, "", &Value::Null).await
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Answer {
        self.send(Method::POST, path, "application/json", body).await
    }

    pub(crate) async fn put(&self, path: &str, body: &Value) -> Answer {
        self.send(Method::PUT, path, "application/json", body).await
    }

    pub(crate) async fn delete(&self, path: &str, options: &Value) -> Answer {
        self.send(Method::DELETE, path, "application/json", options).await
    }

    pub(crate) async fn merge(&self, path: &str, patch: &Value) -> Answer {
        self.send(Method::PATCH, path, "application/merge-patch+json", patch).await
    }

    pub(crate) async fn json_patch(&self, path: &str, patch: &Value) -> Answer {
        self.send(Method::PATCH, path, "application/json-patch+json", patch).await
    }

    pub(crate) async fn apply(&self, path: &str, manager: &str, object: &Value) -> Answer {
        let path = format!("{path}?fieldManager={manager}");
        self.send(Method::PATCH, &path, "application/apply-patch+yaml", object).await
    }

    pub(crate) async fn force(&self, path: &str, manager: &str, object: &Value) -> Answer {
        let path = format!("{path}?fieldManager={manager}&force=true");
        self.send(Method::PATCH, &path, "application/apply-patch+yaml", object).await
    }

    pub(crate) async fn watch(&self, path: &str) -> Watch {
        let response = self.open(Method::GET, path, "", String::new()).await.unwrap();
        assert_eq!(response.status(), 200);
        Watch { body: response.into_body(), buffer: Vec::new() }
    }
}

/// The events of a watch.
#[derive(Debug)]
pub(crate) struct Watch {
    body: Incoming,
    buffer: Vec<u8>,
}

impl Watch {
    /// The next event; `None` at the end of the watch.
    pub(crate) async fn next(&mut self) -> Option<Value> {
        loop {
            if let Some(end) = self.buffer.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.buffer.drain(..=end).collect();
                return Some(serde_json::from_slice(&line).unwrap());
            }
            let frame = tokio::time::timeout(LIMIT, self.body.frame()).await.expect("an event in time")?;
            self.buffer.extend_from_slice(frame.ok()?.data_ref()?);
        }
    }

    /// The next event as `TYPE name`.
    pub(crate) async fn told(&mut self) -> String {
        let Some(event) = self.next().await else { return "end".to_owned() };
        let name = event["object"]["metadata"]["name"].as_str().unwrap_or_default();
        format!("{} {name}", event["type"].as_str().unwrap()).trim_end().to_owned()
    }
}

/// A server with the namespace `a` and the widgets.
pub(crate) async fn server() -> (ApiServer, Client) {
    let server = ApiServer::start().await.unwrap();
    server.install("{apiVersion: v1, kind: Namespace, metadata: {name: a}}").unwrap();
    server.install(WIDGETS).unwrap();
    let client = Client::admin(&server);
    (server, client)
}

pub(crate) const SECRETS: &str = "/api/v1/namespaces/a/secrets";
pub(crate) const WIDGET_PATH: &str = "/apis/example.com/v1/namespaces/a/widgets";

pub(crate) fn secret(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "data": {"key": "dmFsdWU="}})
}

pub(crate) fn widget(name: &str, spec: &Value) -> Value {
    json!({"apiVersion": "example.com/v1", "kind": "Widget", "metadata": {"name": name, "namespace": "a"}, "spec": spec})
}
