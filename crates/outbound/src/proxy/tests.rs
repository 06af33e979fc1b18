//! Requests through proxies that are really there, to servers with and without TLS.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use super::*;
use crate::connect::Connector;
use crate::fetch::{Bounds, FetchError, Fetcher};
use crate::testing::{Server, json, read_request};
use crate::tls::TlsSource;
use crate::tls::tests::{authority, inline, leaf, server};

/// A proxy that keeps what it was asked, and connects, or answers with another status.
struct TestProxy {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
}

impl TestProxy {
    async fn start(answer: &'static str, tls: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let asked: Arc<Mutex<Vec<String>>> = Arc::default();
        let kept = Arc::clone(&asked);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let kept = Arc::clone(&kept);
                let tls = tls.clone();
                tokio::spawn(async move {
                    match tls {
                        None => pass(stream, answer, &kept).await,
                        Some(tls) => pass(tls.accept(stream).await.unwrap(), answer, &kept).await,
                    }
                });
            }
        });
        Self { address, asked }
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

async fn pass(mut stream: impl AsyncRead + AsyncWrite + Unpin, answer: &str, kept: &Mutex<Vec<String>>) {
    let request = read_request(&mut stream).await;
    kept.lock().unwrap().push(request.clone());
    if !answer.is_empty() {
        drop(stream.write_all(answer.as_bytes()).await);
        return;
    }
    let mut words = request.split(' ');
    let (method, target) = (words.next().unwrap(), words.next().unwrap());
    if method == "CONNECT" {
        let mut far = TcpStream::connect(target).await.unwrap();
        stream.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").await.unwrap();
        drop(tokio::io::copy_bidirectional(&mut stream, &mut far).await);
    } else {
        drop(stream.write_all(json("200 OK", "\"from the proxy\"").as_bytes()).await);
    }
}

fn through(url: &str, no_proxy: &[&str]) -> config::Proxy {
    let (url, user) = config::Url::parse_with_user(url).unwrap();
    let no_proxy = no_proxy.iter().map(|host| (*host).to_owned()).collect();
    let headers = [("X-A", "one"), ("X-A", "two")];
    config::Proxy {
        choice: config::ProxyChoice::Url { url, user, no_proxy },
        connect_headers: headers.map(|(name, value)| (name.to_owned(), config::Secret::new(value))).to_vec(),
    }
}

async fn get(tls: Option<&config::ClientTls>, proxy: &config::Proxy, url: &str) -> Result<String, FetchError> {
    let bounds = Bounds { within: Duration::from_secs(20), body: 10_000 };
    let connector = Connector::new(TlsSource::new(tls, true), bounds.within).through(Some(proxy));
    let fetched = Fetcher::new(connector, bounds).get(&config::Url::parse(url).unwrap(), HeaderMap::new()).await?;
    Ok(String::from_utf8(fetched.body.to_vec()).unwrap())
}

/// A server that speaks TLS and answers each connection's first request.
async fn secure_server(acceptor: TlsAcceptor) -> (SocketAddr, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let asked: Arc<Mutex<Vec<String>>> = Arc::default();
    let kept = Arc::clone(&asked);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let Ok(mut stream) = acceptor.accept(stream).await else { continue };
            let request = read_request(&mut stream).await;
            kept.lock().unwrap().push(request);
            drop(stream.write_all(json("200 OK", "\"from the server\"").as_bytes()).await);
            drop(stream.shutdown().await);
        }
    });
    (address, asked)
}

#[tokio::test]
async fn https_goes_through_a_tunnel_and_only_the_proxy_sees_its_password() {
    let authority = authority();
    let tls = inline(&authority);
    let (address, asked) = secure_server(server(&leaf(&authority, "localhost"), None)).await;
    let url = format!("https://localhost:{}/x", address.port());
    for proxy_speaks_tls in [false, true] {
        let acceptor = proxy_speaks_tls.then(|| server(&leaf(&authority, "127.0.0.1"), None));
        let proxy = TestProxy::start("", acceptor).await;
        let scheme = if proxy_speaks_tls { "https" } else { "http" };
        let proxy_url = format!("{scheme}://user:p%40ss@{}", proxy.address);
        assert_eq!(get(Some(&tls), &through(&proxy_url, &[]), &url).await.unwrap(), "\"from the server\"");
        let connect = proxy.asked().remove(0);
        assert!(connect.starts_with(&format!("CONNECT localhost:{} HTTP/1.1\r\n", address.port())), "{connect}");
        for line in [
            format!("host: localhost:{}\r\n", address.port()),
            format!("proxy-authorization: Basic {}\r\n", STANDARD.encode("user:p@ss")),
            "x-a: one\r\n".to_owned(),
            "x-a: two\r\n".to_owned(),
        ] {
            assert!(connect.contains(&line), "{connect} has no {line}");
        }
        let request = asked.lock().unwrap().pop().unwrap();
        assert!(request.starts_with("GET /x HTTP/1.1\r\n") && !request.contains("proxy-"), "{request}");
    }
}

#[tokio::test]
async fn http_names_its_server_to_the_proxy_and_shows_the_password_with_each_request() {
    let proxy = TestProxy::start("", None).await;
    let proxy_url = format!("http://user:@{}", proxy.address);
    let answer = get(None, &through(&proxy_url, &[]), "http://mimir.invalid:81/x?y").await.unwrap();
    assert_eq!(answer, "\"from the proxy\"");
    let request = proxy.asked().remove(0);
    assert!(request.starts_with("GET http://mimir.invalid:81/x?y HTTP/1.1\r\n"), "{request}");
    assert!(request.contains("host: mimir.invalid:81\r\n"), "{request}");
    assert!(request.contains(&format!("proxy-authorization: Basic {}\r\n", STANDARD.encode("user:"))), "{request}");
}

#[tokio::test]
async fn this_machine_is_reached_through_the_proxy_unless_no_proxy_is_written() {
    let (proxy, server) = (TestProxy::start("", None).await, Server::start(&[&json("200 OK", "1")]).await);
    let proxy_url = format!("http://user:p@{}", proxy.address);
    let url = server.url("/").expose();
    assert_eq!(get(None, &through(&proxy_url, &[]), &url).await.unwrap(), "\"from the proxy\"");
    assert_eq!(get(None, &through(&proxy_url, &["elsewhere.example"]), &url).await.unwrap(), "1");
    let direct = server.requests().remove(0);
    assert!(direct.starts_with("GET / HTTP/1.1\r\n") && !direct.contains("proxy-"), "{direct}");
}

#[tokio::test]
async fn a_proxy_that_does_not_connect_is_named_with_its_reason() {
    let vacant = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let error = async |proxy_url: &str| {
        let tls = config::ClientTls { insecure_skip_verify: true, ..config::ClientTls::default() };
        let error = get(Some(&tls), &through(proxy_url, &[]), "https://mimir.invalid/x").await.unwrap_err();
        error.failure.to_string()
    };
    let told = error(&format!("http://user:s3cret@{vacant}")).await;
    assert!(told.starts_with(&format!("cannot connect: the proxy http://{vacant} is not reached: ")), "{told}");
    assert!(told.contains("refused") && !told.contains("s3cret"), "{told}");

    let wants = "HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n";
    let refused = "407 Proxy Authentication Required";
    for (answer, user, expected) in [
        (wants, "", format!("{refused}; it wants a user and a password (proxy_url: http://user:password@host)")),
        (wants, "user:s3cret@", format!("{refused}; it does not take this user and password (proxy_url)")),
        ("HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n", "", "502 Bad Gateway".to_owned()),
    ] {
        let proxy = TestProxy::start(answer, None).await;
        let told = error(&format!("http://{user}{}", proxy.address)).await;
        let start = format!("cannot connect: the proxy http://{} does not connect to", proxy.address);
        assert_eq!(told, format!("{start} mimir.invalid:443: {expected}"));
    }

    let proxy = TestProxy::start("nonsense\r\n\r\n", None).await;
    let told = error(&format!("http://{}", proxy.address)).await;
    assert!(told.starts_with(&format!("cannot connect: the proxy http://{} broke off: ", proxy.address)), "{told}");
    let plain = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = plain.local_addr().unwrap();
    let speaking_first = async {
        let (mut stream, _) = plain.accept().await.unwrap();
        stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.unwrap();
        stream
    };
    let proxy_url = format!("https://{address}");
    let (_stream, told) = tokio::join!(speaking_first, error(&proxy_url));
    let expected = "TLS handshake: the server does not speak TLS on this port";
    assert_eq!(told, format!("cannot connect: the proxy https://{address} is not reached: {expected}"));
}

#[tokio::test]
async fn a_server_behind_a_proxy_is_believed_by_its_own_certificate() {
    let (own, other) = (authority(), crate::tls::tests::authority_named("another"));
    let (address, _) = secure_server(server(&leaf(&other, "localhost"), None)).await;
    let proxy = TestProxy::start("", None).await;
    let url = format!("https://localhost:{}/", address.port());
    let error = get(Some(&inline(&own)), &through(&format!("http://{}", proxy.address), &[]), &url).await.unwrap_err();
    assert!(error.failure.to_string().contains("not signed by an authority"), "{error:?}");
}

#[test]
fn the_environment_names_proxies_as_for_go_programs() {
    let check = |variables: &[(&str, &str)], url: &str, expected: Result<Option<&str>, &str>| {
        let variables: BTreeMap<&str, &str> = variables.iter().copied().collect();
        let proxy = config::Proxy { choice: config::ProxyChoice::Environment, connect_headers: Vec::new() };
        let proxies = Proxies::new(&proxy, |name| variables.get(name).map(|value| (*value).to_owned()));
        let found = proxies.on_the_way_to(&url.parse().unwrap()).map(|proxy| proxy.map(ToString::to_string));
        let found = found.as_ref().map(|proxy| proxy.as_deref().and_then(|proxy| proxy.strip_prefix("the proxy ")));
        assert_eq!(found.map_err(|error| *error), expected, "{variables:?} {url}");
    };
    let both = [("HTTP_PROXY", "http://a:1"), ("HTTPS_PROXY", "https://u:p@b")];
    check(&[], "https://mimir/", Ok(None));
    check(&both, "http://mimir/", Ok(Some("http://a:1")));
    check(&both, "https://mimir/", Ok(Some("https://b")));
    check(&[("http_proxy", "a:3128")], "http://mimir/", Ok(Some("http://a:3128")));
    check(&[("http_proxy", "a:3128")], "https://mimir/", Ok(None));
    check(&[("HTTP_PROXY", "a"), ("http_proxy", "b")], "http://mimir/", Ok(Some("http://a")));
    check(&[("HTTP_PROXY", ""), ("http_proxy", "b")], "http://mimir/", Ok(Some("http://b")));
    check(&both, "http://localhost:9/", Ok(None));
    check(&both, "http://[::1]:9/", Ok(None));
    let exempt = [both[0], both[1], ("no_proxy", "mimir:81,.example.org")];
    check(&exempt, "http://mimir:81/", Ok(None));
    check(&exempt, "http://mimir/", Ok(Some("http://a:1")));
    check(&exempt, "https://a.example.org/", Ok(None));
    check(
        &[("HTTPS_PROXY", "socks5://s3cret")],
        "https://mimir/",
        Err("HTTPS_PROXY: expected a url that starts with http:// or https://"),
    );
}
