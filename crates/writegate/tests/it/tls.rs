//! Listeners with TLS: certificates by name, client certificates, and both changing while connections are open.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use http::{Method, Request};
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer, DnType, IsCa, KeyIdMethod,
    KeyPair, KeyUsagePurpose, RevokedCertParams, SerialNumber, date_time_ymd,
};
use remote_write::{Compression, Protocol};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::harness::{Setup, TestGateway, bounded, compress, raw_headers};
use crate::message::{encode, request, sample_of};

/// A certificate authority of a test, and what it issues: files in a directory.
struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

/// A certificate and its key, PEM.
struct Issued {
    certificate: String,
    key: String,
    serial: SerialNumber,
}

impl Authority {
    fn new(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        Self { issuer: CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap() }
    }

    fn pem(&self) -> String {
        self.issuer.pem()
    }

    fn issue(&self, common_name: &str, names: &[&str], until_year: i32) -> Issued {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params.distinguished_name.push(DnType::CommonName, common_name);
        (params.not_before, params.not_after) = (date_time_ymd(2020, 1, 1), date_time_ymd(until_year, 1, 1));
        let serial = SerialNumber::from(fastrand::u64(1..));
        params.serial_number = Some(serial.clone());
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap().pem();
        Issued { certificate, key: key.serialize_pem(), serial }
    }

    fn client(&self, common_name: &str) -> Issued {
        self.issue(common_name, &[], 2099)
    }

    fn revokes(&self, revoked: &[&Issued]) -> String {
        let entry = |issued: &&Issued| RevokedCertParams {
            serial_number: issued.serial.clone(),
            revocation_time: date_time_ymd(2024, 1, 1),
            reason_code: None,
            invalidity_date: None,
        };
        let params = CertificateRevocationListParams {
            this_update: date_time_ymd(2024, 1, 1),
            next_update: date_time_ymd(2099, 1, 1),
            crl_number: SerialNumber::from(1_u64),
            issuing_distribution_point: None,
            revoked_certs: revoked.iter().map(entry).collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        params.signed_by(&self.issuer).unwrap().pem().unwrap()
    }
}

impl Issued {
    /// Writes both files, `<name>.crt` and `<name>.key`.
    fn write(&self, directory: &Path, name: &str) {
        fs::write(directory.join(format!("{name}.crt")), &self.certificate).unwrap();
        fs::write(directory.join(format!("{name}.key")), &self.key).unwrap();
    }
}

/// A sender that trusts one authority.
struct Client {
    config: ClientConfig,
    name: &'static str,
}

impl Client {
    fn new(trusts: &Authority, shows: Option<&Issued>) -> Self {
        let versions = [&rustls::version::TLS13, &rustls::version::TLS12];
        Self::with_versions(trusts, shows, &versions)
    }

    fn with_versions(
        trusts: &Authority,
        shows: Option<&Issued>,
        versions: &[&'static rustls::SupportedProtocolVersion],
    ) -> Self {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(trusts.pem().as_bytes()).unwrap()).unwrap();
        let builder = ClientConfig::builder_with_provider(provider).with_protocol_versions(versions).unwrap();
        let builder = builder.with_root_certificates(roots);
        let config = match shows {
            None => builder.with_no_client_auth(),
            Some(issued) => {
                let chain = vec![CertificateDer::from_pem_slice(issued.certificate.as_bytes()).unwrap()];
                let key = PrivateKeyDer::from_pem_slice(issued.key.as_bytes()).unwrap();
                builder.with_client_auth_cert(chain, key).unwrap()
            }
        };
        Self { config, name: "gateway.test" }
    }

    fn asking_for(mut self, name: &'static str) -> Self {
        self.name = name;
        self
    }

    async fn connect(&self, address: SocketAddr, alpn: &[u8]) -> std::io::Result<TlsStream<TcpStream>> {
        let mut config = self.config.clone();
        config.alpn_protocols = vec![alpn.to_vec()];
        let stream = TcpStream::connect(address).await?;
        let name = ServerName::try_from(self.name).unwrap();
        TlsConnector::from(Arc::new(config)).connect(name, stream).await
    }

    /// Pushes over HTTP/1.1 and over HTTP/2, each on a connection of its own: the status and text, which must agree.
    async fn push(&self, gateway: &TestGateway, headers: &[(&str, &str)]) -> (u16, String) {
        let mut connection = Connection::open(self, gateway.address()).await.unwrap();
        let first = connection.push(headers).await;
        let stream = self.connect(gateway.address(), b"h2").await.unwrap();
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(b"h2".as_slice()));
        let (mut sender, driver) =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
        let driver = tokio::spawn(driver);
        let second = read(sender.send_request(push_request(headers)).await.unwrap()).await;
        driver.abort();
        assert_eq!(first, second);
        first
    }
}

/// A connection that stays open.
struct Connection {
    sender: hyper::client::conn::http1::SendRequest<Full<bytes::Bytes>>,
    served: Vec<CertificateDer<'static>>,
}

impl Connection {
    async fn open(client: &Client, address: SocketAddr) -> std::io::Result<Self> {
        let stream = client.connect(address, b"http/1.1").await?;
        let served = stream.get_ref().1.peer_certificates().unwrap().to_vec();
        let (sender, driver) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(driver);
        Ok(Self { sender, served })
    }

    async fn push(&mut self, headers: &[(&str, &str)]) -> (u16, String) {
        self.sender.ready().await.unwrap();
        read(self.sender.send_request(push_request(headers)).await.unwrap()).await
    }
}

fn push_request(headers: &[(&str, &str)]) -> Request<Full<bytes::Bytes>> {
    let body = compress(Compression::Snappy, &encode(Protocol::V1, &request([sample_of("up", 1)])));
    let mut built = Request::builder().method(Method::POST).uri("https://gateway.test/api/v1/receive");
    for (name, value) in raw_headers(Protocol::V1) {
        built = built.header(name, value);
    }
    for (name, value) in headers {
        built = built.header(*name, *value);
    }
    built.body(Full::new(body)).unwrap()
}

async fn read(response: http::Response<hyper::body::Incoming>) -> (u16, String) {
    let status = response.status().as_u16();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (status, String::from_utf8_lossy(&body).into_owned())
}

/// A gateway's files: its own certificate, and those of authorities.
struct Files {
    directory: tempfile::TempDir,
    server: Authority,
}

impl Files {
    fn new() -> Self {
        let files = Self { directory: tempfile::tempdir().unwrap(), server: Authority::new("server authority") };
        files.server.issue("gateway", &["gateway.test"], 2099).write(files.path(), "server");
        files
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }

    fn at(&self, name: &str) -> PathBuf {
        self.path().join(name)
    }

    fn trust(&self, name: &str, authority: &Authority) {
        fs::write(self.at(name), authority.pem()).unwrap();
    }

    /// A listener that serves TLS, with further keys of `tls_config`.
    fn listener(&self, keys: &str) -> String {
        let at = |name| self.at(name).display().to_string();
        let keys = keys.replace('@', &format!("{}/", self.path().display()));
        format!("tls_config: {{cert_file: '{}', key_file: '{}', {keys}}}", at("server.crt"), at("server.key"))
    }
}

const BY_COMMON_NAME: &str = "authentication: [{client_certificate: {pattern: '{tenant}.agents.example.org'}}]";

#[test]
fn r_x5_r_x6_r_x7_a_certificate_speaks_for_the_tenant_it_names_and_any_other_is_told_why_not() {
    bounded(async {
        let (files, clients, strangers) = (Files::new(), Authority::new("clients"), Authority::new("strangers"));
        files.trust("clients.crt", &clients);
        let gateway = Setup::new()
            .listener(&files.listener("client_auth: optional, client_ca_file: '@clients.crt'"))
            .top(BY_COMMON_NAME)
            .top("tenants: [{name: blue, credentials: [{bearer_token: blue-token}]}, {name: red, credentials: [{bearer_token: red-token}]}]")
            .start()
            .await;
        let with = |issued: &Issued| Client::new(&files.server, Some(issued));
        let blue = clients.client("blue.agents.example.org");
        assert_eq!(with(&blue).push(&gateway, &[]).await.0, 204);
        assert_eq!(gateway.metric("writegate_accepted_samples_total{tenant=\"blue\"}").await, 2.0);
        // Rotated by its owner: another key, the same name (R-X24).
        assert_eq!(with(&clients.client("blue.agents.example.org")).push(&gateway, &[]).await.0, 204);

        let (status, text) = Client::new(&files.server, None).push(&gateway, &[]).await;
        assert_eq!((status, text.as_str()), (401, "Authorization header missing or invalid (wg-unauthenticated)\n"));
        let without = Client::new(&files.server, None);
        assert_eq!(
            without.push(&gateway, &[("authorization", "Bearer blue-token")]).await.0,
            204,
            "another credential"
        );
        let shown = [("authorization", "Bearer blue-token")];
        assert_eq!(with(&blue).push(&gateway, &shown).await.0, 204, "both for the same tenant");
        assert_eq!(with(&blue).push(&gateway, &[("authorization", "Bearer red-token")]).await.0, 403, "R-P15");

        for (issued, expected, words) in [
            (clients.issue("blue.agents.example.org", &[], 2021), 401, "it has expired"),
            (strangers.client("blue.agents.example.org"), 401, "unknown authority"),
            (clients.client("somebody else"), 403, "not allowed"),
            (clients.client("green.agents.example.org"), 403, "not allowed"),
        ] {
            let (status, text) = with(&issued).push(&gateway, &[]).await;
            assert_eq!(status, expected, "{text}");
            assert!(text.contains(words), "{text}");
        }
        gateway.settle_and_finish().await;
    });
}

#[test]
fn r_x6_a_tenants_own_authority_speaks_for_it_alone_and_no_other_does() {
    bounded(async {
        let (files, shared, own) = (Files::new(), Authority::new("shared"), Authority::new("blue's own"));
        files.trust("shared.crt", &shared);
        files.trust("blue.crt", &own);
        let tenants =
            format!("tenants: [{{name: blue, client_ca_file: '{}'}}, {{name: red}}]", files.at("blue.crt").display());
        let gateway = Setup::new()
            .listener(&files.listener("client_auth: require, client_ca_file: '@shared.crt'"))
            .top("authentication: [{client_certificate: {}}]")
            .top(&tenants)
            .start()
            .await;
        let statuses = async |authority: &Authority| {
            let mut statuses = Vec::new();
            for name in ["blue", "red"] {
                let issued = authority.client(name);
                statuses.push(Client::new(&files.server, Some(&issued)).push(&gateway, &[]).await.0);
            }
            statuses
        };
        assert_eq!(statuses(&own).await, [204, 403], "it cannot make a red one");
        assert_eq!(statuses(&shared).await, [403, 204], "nor the shared one a blue one");

        // R-X7: nobody without. In TLS 1.3 the client hears of it when it reads.
        let refused = Connection::open(&Client::new(&files.server, None), gateway.address()).await;
        if let Ok(mut connection) = refused {
            assert!(
                connection.sender.ready().await.is_err()
                    || connection.sender.send_request(push_request(&[])).await.is_err()
            );
        }
        crate::harness::eventually("the handshake is counted", || async {
            (gateway.metric("writegate_tls_handshake_failures_total").await >= 1.0).then_some(())
        })
        .await;
        gateway.settle_and_finish().await;
    });
}

#[test]
fn r_x4_r_p23_certificates_and_revocations_change_while_connections_stay_open() {
    bounded(async {
        let (files, clients) = (Files::new(), Authority::new("clients"));
        files.trust("clients.crt", &clients);
        let (kept, revoked) = (clients.client("kept"), clients.client("revoked"));
        fs::write(files.at("crl.pem"), clients.revokes(&[])).unwrap();
        files.server.issue("other", &["*.tenants.test"], 2099).write(files.path(), "other");
        let keys = "client_auth: optional, client_ca_file: '@clients.crt', crl_file: '@crl.pem', \
                    certificates: [{cert_file: '@other.crt', key_file: '@other.key'}]";
        let gateway = Setup::new()
            .listener(&files.listener(keys))
            .top("authentication: [{client_certificate: {}}]")
            .start()
            .await;
        let open = async |issued: &Issued| {
            Connection::open(&Client::new(&files.server, Some(issued)), gateway.address()).await.unwrap()
        };
        let (mut one, mut other) = (open(&kept).await, open(&revoked).await);
        assert_eq!((one.push(&[]).await.0, other.push(&[]).await.0), (204, 204));

        // By name, one label for a star.
        let of = async |name| {
            let client = Client::new(&files.server, Some(&kept)).asking_for(name);
            Connection::open(&client, gateway.address()).await.map(|connection| connection.served)
        };
        assert_ne!(of("blue.tenants.test").await.unwrap(), one.served);
        assert!(of("a.blue.tenants.test").await.is_err(), "the first certificate is for another name");

        files.server.issue("renewed", &["gateway.test"], 2099).write(files.path(), "server");
        fs::write(files.at("crl.pem"), clients.revokes(&[&revoked])).unwrap();
        gateway.read_again().await.unwrap();
        assert_eq!(one.push(&[]).await.0, 204, "the connection goes on");
        let (status, text) = other.push(&[]).await;
        assert_eq!(status, 401);
        assert!(text.contains("it is revoked"), "{text}");
        assert_ne!(open(&kept).await.served, one.served, "who connects now sees the new one");

        // Half written: the last good one is served on.
        fs::write(files.at("server.crt"), "-----BEGIN CERT").unwrap();
        let error = gateway.read_again().await.unwrap_err();
        assert!(error.contains("server.crt"), "{error}");
        assert_eq!(open(&kept).await.push(&[]).await.0, 204);
        gateway.settle_and_finish().await;
    });
}

#[test]
fn r_x4_tls_1_2_and_1_3_are_spoken_and_the_lowest_can_be_raised() {
    bounded(async {
        let files = Files::new();
        for (keys, old_works) in [("min_version: TLS12", true), ("min_version: TLS13", false)] {
            let listener = format!("tenant: default, {}", files.listener(keys));
            let gateway = Setup::new().listener(&listener).start().await;
            let old = Client::with_versions(&files.server, None, &[&rustls::version::TLS12]);
            let new = Client::with_versions(&files.server, None, &[&rustls::version::TLS13]);
            assert_eq!(old.connect(gateway.address(), b"http/1.1").await.is_ok(), old_works, "{keys}");
            assert_eq!(new.push(&gateway, &[]).await.0, 204);
            gateway.settle_and_finish().await;
        }
    });
}

/// A server that speaks TLS, with a client certificate of `clients` if it asks for one, and passes everything on.
async fn front(files: &Files, clients: Option<&Authority>, behind: SocketAddr) -> SocketAddr {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = rustls::ServerConfig::builder_with_provider(Arc::clone(&provider));
    let builder = builder.with_safe_default_protocol_versions().unwrap();
    let builder = match clients {
        None => builder.with_no_client_auth(),
        Some(authority) => {
            let mut roots = RootCertStore::empty();
            roots.add(CertificateDer::from_pem_slice(authority.pem().as_bytes()).unwrap()).unwrap();
            let verifier = rustls::server::WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
            builder.with_client_cert_verifier(verifier.build().unwrap())
        }
    };
    let chain = CertificateDer::pem_file_iter(files.at("server.crt")).unwrap().collect::<Result<_, _>>().unwrap();
    let key = PrivateKeyDer::from_pem_file(files.at("server.key")).unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(builder.with_single_cert(chain, key).unwrap()));
    let socket = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = socket.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let mut near = acceptor.accept(stream).await?;
                let mut far = TcpStream::connect(behind).await?;
                tokio::io::copy_bidirectional(&mut near, &mut far).await
            });
        }
    });
    address
}

#[test]
fn r_o10_an_endpoint_is_reached_over_tls_with_a_client_certificate_and_a_wrong_authority_is_its_fault() {
    bounded(async {
        let (files, clients, strangers) = (Files::new(), Authority::new("clients"), Authority::new("strangers"));
        files.trust("server-ca.crt", &files.server);
        files.trust("strangers.crt", &strangers);
        clients.client("writegate").write(files.path(), "client");
        let sink = crate::harness::receiver().await;
        let behind: SocketAddr = sink.url().trim_start_matches("http://").split('/').next().unwrap().parse().unwrap();
        let address = front(&files, Some(&clients), behind).await;
        let at = |name: &str| files.at(name).display().to_string();
        let (crt, key) = (at("client.crt"), at("client.key"));
        let endpoint = |name: &str, keys: &str| {
            format!(
                "- {{name: {name}, url: 'https://{address}/', queue_config: {{max_backoff: 100ms}}, tls_config: {{{keys}, server_name: gateway.test}}}}\n"
            )
        };
        let good = format!("ca_file: '{}', cert_file: '{crt}', key_file: '{key}'", at("server-ca.crt"));
        let rotated = format!("ca_file: '{}', cert_file: '{crt}', key_file: '{key}'", at("strangers.crt"));
        let bare = format!("ca_file: '{}'", at("server-ca.crt"));
        let more = files.at("more.yml");
        fs::write(&more, [endpoint("good", &good), endpoint("rotated", &rotated), endpoint("bare", &bare)].concat())
            .unwrap();
        let gateway = Setup::new().top(&format!("remote_write_files: ['{}']", more.display())).start().await;
        let pushed = request([sample_of("up", 1)]);
        gateway.accept(Protocol::V1, &pushed).await;
        crate::harness::takes(&sink, 1).await;
        crate::harness::eventually("it is booked", || async {
            (gateway.ledger("default", "good").await.samples.delivered == 1).then_some(())
        })
        .await;
        // The others wait, and say why.
        for (name, words) in [("rotated", "authority"), ("bare", "certificate")] {
            crate::harness::eventually("the status says why", || async {
                let status: serde_json::Value = serde_json::from_str(&gateway.admin("/api/v1/status").await).unwrap();
                let told =
                    status["endpoints"].as_array()?.iter().find(|endpoint| endpoint["endpoint"] == name)?.to_string();
                told.contains(words).then_some(())
            })
            .await;
            assert_eq!(gateway.ledger("default", name).await.samples.pending, 1);
        }
        // The right authority comes into the file: no restart, no reload.
        files.trust("strangers.crt", &files.server);
        crate::harness::takes(&sink, 2).await;
        // And the other one gets its certificate.
        fs::write(&more, [endpoint("good", &good), endpoint("rotated", &rotated), endpoint("bare", &good)].concat())
            .unwrap();
        gateway.read_again().await.unwrap();
        gateway.settle_and_finish().await;
    });
}
