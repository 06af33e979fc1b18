//! How senders connect: both HTTP versions on one port, certificates that a client does not look at, a client's own that
//! changes, and a thousand connections that wait.

use std::fs;
use std::net::SocketAddr;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use outbound::tls::TlsSource;
use rcgen::{CertificateParams, KeyPair, PKCS_ED25519};
use remote_write::{Compression, Protocol};
use rustls::HandshakeKind;
use testkit::raw;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;
use writegate_config::ClientTls;

use crate::certificates::{Authority, Client, Connection, Files, push_of, push_request, read};
use crate::faults::metric;
use crate::harness::{Setup, assert_exactly, bounded, compress, raw_headers, receiver};
use crate::message::{encode, points, request, sample_of};

/// A listener of one tenant.
fn of_default(files: &Files) -> String {
    format!("tenant: default, {}", files.listener("client_auth: none"))
}

/// Writes a part of an HTTP/1.1 exchange, and gives the head of the answer to it.
async fn say(stream: &mut TlsStream<TcpStream>, bytes: &[u8]) -> String {
    stream.write_all(bytes).await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    String::from_utf8(head).unwrap()
}

#[test]
fn r_x3_one_port_speaks_http_1_1_in_every_framing_and_http_2_and_keeps_connections() {
    bounded(async {
        let (files, sink) = (Files::new(), receiver().await);
        let gateway = Setup::new().listener(&of_default(&files)).endpoint("a", &sink).start().await;
        let client = Client::new(&files.server, None);
        for (offered, agreed) in [
            (&[b"h2".as_slice(), b"http/1.1"][..], Some(b"h2".as_slice())),
            (&[b"http/1.1", b"h2"], Some(b"h2")),
            (&[b"http/1.1"], Some(b"http/1.1")),
            (&[], None),
        ] {
            let stream = client.connect(gateway.address(), offered).await.unwrap();
            assert_eq!(stream.get_ref().1.alpn_protocol(), agreed);
        }
        assert!(client.connect(gateway.address(), &[b"spdy/3"]).await.is_err(), "no protocol in common");

        let names = ["with_a_length", "chunked", "expecting", "after_all", "by_http_2", "by_http_2_too"];
        let bodies =
            names.map(|name| compress(Compression::Snappy, &encode(Protocol::V1, &request([sample_of(name, 1)]))));
        let protocol = raw_headers(Protocol::V1);
        let head = |more: &[(&str, &str)]| {
            let mut headers: Vec<_> = protocol.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
            headers.extend(more);
            raw::head("POST", "/api/v1/receive", &headers)
        };
        // A client that offers nothing, and goes on after each answer on the same connection.
        let mut stream = client.connect(gateway.address(), &[]).await.unwrap();
        let length = |body: &[u8]| body.len().to_string();
        let whole = |body: &[u8]| [head(&[("content-length", &length(body))]), body.to_vec()].concat();
        assert!(say(&mut stream, &whole(&bodies[0])).await.starts_with("HTTP/1.1 204 "));
        let chunked = [head(&[("transfer-encoding", "chunked")]), raw::chunked(&bodies[1], 5)].concat();
        assert!(say(&mut stream, &chunked).await.starts_with("HTTP/1.1 204 "));
        let expecting = head(&[("content-length", &length(&bodies[2])), ("expect", "100-continue")]);
        assert!(say(&mut stream, &expecting).await.starts_with("HTTP/1.1 100 "));
        assert!(say(&mut stream, &bodies[2]).await.starts_with("HTTP/1.1 204 "));
        assert!(say(&mut stream, &whole(&bodies[3])).await.starts_with("HTTP/1.1 204 "));

        let stream = client.connect(gateway.address(), &[b"h2", b"http/1.1"]).await.unwrap();
        let handshake = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream));
        let (mut sender, driver) = handshake.await.unwrap();
        let driver = tokio::spawn(driver);
        let push = |name| push_of(name, "https://gateway.test/api/v1/receive", &[]);
        let both = (sender.send_request(push(names[4])), sender.clone().send_request(push(names[5])));
        for answer in <[_; 2]>::from(tokio::join!(both.0, both.1)) {
            let answer = answer.unwrap();
            assert_eq!((answer.version(), answer.status().as_u16()), (http::Version::HTTP_2, 204));
            assert!(answer.into_body().collect().await.unwrap().to_bytes().is_empty());
        }
        drop(sender);
        driver.await.unwrap().unwrap();
        gateway.settled().await;
        assert_exactly(&sink, &points(&request(names.map(|name| sample_of(name, 1)))));
        gateway.finish().await;
    });
}

#[test]
fn r_x24_a_sender_renews_its_certificate_and_key_and_nothing_is_done_at_the_gateway() {
    bounded(async {
        let (files, clients) = (Files::new(), Authority::new("clients"));
        files.trust("clients.crt", &clients);
        let gateway = Setup::new()
            .listener(&files.listener("client_auth: require, client_ca_file: '@clients.crt'"))
            .top("authentication: [{client_certificate: {pattern: '{tenant}.agents.example.org'}}]")
            .start()
            .await;
        let reloaded = "writegate_config_last_reload_success_timestamp_seconds";
        let before = gateway.metric(reloaded).await;
        let name = "blue.agents.example.org";
        let open = async |issued| {
            Connection::open(&Client::new(&files.server, Some(&issued)), gateway.address()).await.unwrap()
        };
        let mut old = open(clients.client(name)).await;
        assert_eq!(old.push(&[]).await.0, 204);
        // Another key of the same kind, then one of another kind, with more names in its certificate.
        let mut renewed = open(clients.client(name)).await;
        let key = KeyPair::generate_for(&PKCS_ED25519).unwrap();
        let mut changed = open(clients.issue_for(&key, name, &["somewhere.else.test"], 2099)).await;
        for connection in [&mut renewed, &mut changed, &mut old] {
            assert_eq!(connection.push(&[]).await.0, 204);
        }
        assert_eq!(gateway.metric("writegate_accepted_samples_total{tenant=\"blue\"}").await, 4.0);
        assert_eq!(gateway.metric(reloaded).await, before);
        gateway.settle_and_finish().await;
    });
}

#[test]
fn r_p24_any_certificate_is_served_to_clients_that_do_not_look_and_others_refuse_it_themselves() {
    bounded(async {
        let files = Files::new();
        let mut careless = Client::new(&files.server, None);
        let looks_at_nothing = ClientTls { insecure_skip_verify: true, ..ClientTls::default() };
        careless.config = (*TlsSource::new(Some(&looks_at_nothing), false).current().unwrap()).clone();

        let key = KeyPair::generate().unwrap();
        let self_signed = CertificateParams::new(["gateway.test".to_owned()]).unwrap().self_signed(&key).unwrap();
        fs::write(files.at("self_signed.crt"), self_signed.pem()).unwrap();
        fs::write(files.at("self_signed.key"), key.serialize_pem()).unwrap();
        Authority::new("staging").issue("gateway", &["gateway.test"], 2099).write(files.path(), "staging");
        files.server.issue("gateway", &["gateway.test"], 2021).write(files.path(), "expired");
        files.server.issue("gateway", &["another.test"], 2099).write(files.path(), "misnamed");
        for name in ["self_signed", "staging", "expired", "misnamed"] {
            for kind in ["crt", "key"] {
                fs::copy(files.at(&format!("{name}.{kind}")), files.at(&format!("server.{kind}"))).unwrap();
            }
            let gateway = Setup::new().listener(&of_default(&files)).start().await;
            assert_eq!(careless.push(&gateway, &[]).await.0, 204, "{name}");
            let careful = Client::new(&files.server, None);
            assert!(careful.connect(gateway.address(), &[b"h2"]).await.is_err(), "{name}");
            gateway.settle_and_finish().await;
        }
    });
}

/// What a connection that waits may cost.
const MOST_EACH: u64 = 64 * 1024;

/// A connection that pushed once and waits.
struct Waiting {
    is_resumed: bool,
    _http1: Option<Connection>,
    _http2: Option<hyper::client::conn::http2::SendRequest<Full<Bytes>>>,
}

impl Waiting {
    /// Pushes something that is taken, or a body of so many bytes that is none.
    async fn open(client: &Client, address: SocketAddr, version: http::Version, body: usize) -> Self {
        let mut push = push_request(&[]);
        let expected = if body == 0 { 204 } else { 400 };
        if body > 0 {
            *push.body_mut() = Full::new(vec![0; body].into());
        }
        if version == http::Version::HTTP_11 {
            let mut connection = Connection::open(client, address).await.unwrap();
            assert_eq!(connection.send(push).await.0, expected);
            return Self { is_resumed: connection.is_resumed, _http1: Some(connection), _http2: None };
        }
        let stream = client.connect(address, &[b"h2"]).await.unwrap();
        let is_resumed = stream.get_ref().1.handshake_kind() == Some(HandshakeKind::Resumed);
        let handshake = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream));
        let (mut sender, driver) = handshake.await.unwrap();
        tokio::spawn(driver);
        assert_eq!(read(sender.send_request(push).await.unwrap()).await.0, expected);
        Self { is_resumed, _http1: None, _http2: Some(sender) }
    }
}

#[test]
fn r_x28_a_thousand_connections_that_wait_cost_little_and_their_sessions_are_resumed() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut descriptors = getrlimit(Resource::Nofile);
    descriptors.current = descriptors.maximum;
    setrlimit(Resource::Nofile, descriptors).unwrap();
    bounded(async {
        let (files, clients) = (Files::new(), Authority::new("clients"));
        files.trust("clients.crt", &clients);
        let program = Setup::new()
            .listener(&files.listener("client_auth: require, client_ca_file: '@clients.crt'"))
            .top("authentication: [{client_certificate: {}}]")
            .start_program()
            .await;
        let certificate = clients.client("blue");
        for (version, name) in [(&rustls::version::TLS12, "TLS 1.2"), (&rustls::version::TLS13, "TLS 1.3")] {
            let client = Client::with_versions(&files.server, Some(&certificate), &[version]);
            for is_resumed in [false, true, true] {
                let mut connection = Connection::open(&client, program.address()).await.unwrap();
                assert_eq!(connection.push(&[]).await, (204, String::new()), "{name}");
                assert_eq!(connection.is_resumed, is_resumed, "{name}");
            }
        }

        let (client, mut waiting) = (Client::new(&files.server, Some(&certificate)), Vec::new());
        let mut open = async |connections: usize, version, body| {
            for _ in 0..connections {
                waiting.push(Waiting::open(&client, program.address(), version, body).await);
            }
            waiting.iter().filter(|one| !one.is_resumed).count()
        };
        // What the first ones allocate is not theirs alone.
        open(50, http::Version::HTTP_11, 0).await;
        for (connections, version, body) in [
            (700, http::Version::HTTP_11, 0),
            (150, http::Version::HTTP_2, 0),
            (150, http::Version::HTTP_11, 256 << 10),
        ] {
            let before = program.memory();
            assert_eq!(open(connections, version, body).await, 1, "but for the first, all go on with a session");
            let each = program.memory().saturating_sub(before) / connections as u64;
            assert!(each < MOST_EACH, "{each} bytes for each connection of {version:?}, after {body} bytes");
        }
        assert_eq!(metric(&program, "writegate_connections ").await, 1_050.0);
        drop(waiting);
        program.terminate().await;
    });
}
