//! Authorities and certificates made for a test, clients that show them, and the files of a gateway that serves TLS.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use http::{Method, Request};
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer, DnType, IsCa, KeyIdMethod,
    KeyPair, KeyUsagePurpose, RevokedCertParams, SanType, SerialNumber, date_time_ymd,
};
use remote_write::{Compression, Protocol};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, HandshakeKind, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::harness::{TestGateway, compress, raw_headers};
use crate::message::{encode, request, sample_of};

/// A certificate authority of a test, and what it issues: files in a directory.
pub(crate) struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

/// A certificate and its key, PEM.
pub(crate) struct Issued {
    pub(crate) certificate: String,
    pub(crate) key: String,
    pub(crate) serial: SerialNumber,
}

impl Authority {
    pub(crate) fn new(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        Self { issuer: CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap() }
    }

    pub(crate) fn pem(&self) -> String {
        self.issuer.pem()
    }

    pub(crate) fn issue(&self, common_name: &str, names: &[&str], until_year: i32) -> Issued {
        self.issue_for(&KeyPair::generate().unwrap(), common_name, names, until_year)
    }

    pub(crate) fn issue_for(&self, key: &KeyPair, common_name: &str, names: &[&str], until_year: i32) -> Issued {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params.distinguished_name.push(DnType::CommonName, common_name);
        self.sign(key, params, until_year)
    }

    /// A client's certificate with an e-mail address and units of an organization, for Observatorium's roles.
    pub(crate) fn member(&self, email: Option<&str>, units: &[&str], until_year: i32) -> Issued {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, "member");
        for unit in units {
            params.distinguished_name.push(DnType::OrganizationalUnitName, *unit);
        }
        let email = email.map(|email| SanType::Rfc822Name(email.try_into().unwrap()));
        params.subject_alt_names = email.into_iter().collect();
        self.sign(&KeyPair::generate().unwrap(), params, until_year)
    }

    fn sign(&self, key: &KeyPair, mut params: CertificateParams, until_year: i32) -> Issued {
        (params.not_before, params.not_after) = (date_time_ymd(2020, 1, 1), date_time_ymd(until_year, 1, 1));
        let serial = SerialNumber::from(fastrand::u64(1..));
        params.serial_number = Some(serial.clone());
        let certificate = params.signed_by(key, &self.issuer).unwrap().pem();
        Issued { certificate, key: key.serialize_pem(), serial }
    }

    pub(crate) fn client(&self, common_name: &str) -> Issued {
        self.issue(common_name, &[], 2099)
    }

    pub(crate) fn revokes(&self, revoked: &[&Issued]) -> String {
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
    pub(crate) fn write(&self, directory: &Path, name: &str) {
        fs::write(directory.join(format!("{name}.crt")), &self.certificate).unwrap();
        fs::write(directory.join(format!("{name}.key")), &self.key).unwrap();
    }
}

/// A sender that trusts one authority.
pub(crate) struct Client {
    pub(crate) config: ClientConfig,
    pub(crate) name: &'static str,
}

impl Client {
    pub(crate) fn new(trusts: &Authority, shows: Option<&Issued>) -> Self {
        let versions = [&rustls::version::TLS13, &rustls::version::TLS12];
        Self::with_versions(trusts, shows, &versions)
    }

    pub(crate) fn with_versions(
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

    pub(crate) fn asking_for(mut self, name: &'static str) -> Self {
        self.name = name;
        self
    }

    pub(crate) async fn connect(&self, address: SocketAddr, alpn: &[&[u8]]) -> std::io::Result<TlsStream<TcpStream>> {
        let mut config = self.config.clone();
        config.alpn_protocols = alpn.iter().map(|protocol| protocol.to_vec()).collect();
        let stream = TcpStream::connect(address).await?;
        let name = ServerName::try_from(self.name).unwrap();
        TlsConnector::from(Arc::new(config)).connect(name, stream).await
    }

    /// Pushes a sample of `up` to a path, on a connection of its own.
    pub(crate) async fn push_at(&self, gateway: &TestGateway, path: &str, headers: &[(&str, &str)]) -> (u16, String) {
        let mut connection = Connection::open(self, gateway.address()).await.unwrap();
        connection.send(push_of("up", &format!("https://gateway.test{path}"), headers)).await
    }

    /// Pushes over HTTP/1.1 and over HTTP/2, each on a connection of its own: the status and text, which must agree.
    pub(crate) async fn push(&self, gateway: &TestGateway, headers: &[(&str, &str)]) -> (u16, String) {
        let mut connection = Connection::open(self, gateway.address()).await.unwrap();
        let first = connection.push(headers).await;
        let stream = self.connect(gateway.address(), &[b"h2"]).await.unwrap();
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
pub(crate) struct Connection {
    pub(crate) sender: hyper::client::conn::http1::SendRequest<Full<bytes::Bytes>>,
    pub(crate) served: Vec<CertificateDer<'static>>,
    /// Whether it goes on with a session of an earlier connection.
    pub(crate) is_resumed: bool,
}

impl Connection {
    pub(crate) async fn open(client: &Client, address: SocketAddr) -> std::io::Result<Self> {
        let stream = client.connect(address, &[b"http/1.1"]).await?;
        let session = stream.get_ref().1;
        let served = session.peer_certificates().unwrap().to_vec();
        let is_resumed = session.handshake_kind() == Some(HandshakeKind::Resumed);
        let (sender, driver) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(driver);
        Ok(Self { sender, served, is_resumed })
    }

    pub(crate) async fn push(&mut self, headers: &[(&str, &str)]) -> (u16, String) {
        self.send(push_request(headers)).await
    }

    pub(crate) async fn send(&mut self, request: Request<Full<bytes::Bytes>>) -> (u16, String) {
        self.sender.ready().await.unwrap();
        read(self.sender.send_request(request).await.unwrap()).await
    }
}

pub(crate) fn push_request(headers: &[(&str, &str)]) -> Request<Full<bytes::Bytes>> {
    push_of("up", "https://gateway.test/api/v1/receive", headers)
}

/// One sample of a series.
pub(crate) fn push_of(series: &str, uri: &str, headers: &[(&str, &str)]) -> Request<Full<bytes::Bytes>> {
    let body = compress(Compression::Snappy, &encode(Protocol::V1, &request([sample_of(series, 1)])));
    let mut built = Request::builder().method(Method::POST).uri(uri);
    for (name, value) in raw_headers(Protocol::V1) {
        built = built.header(name, value);
    }
    for (name, value) in headers {
        built = built.header(*name, *value);
    }
    built.body(Full::new(body)).unwrap()
}

pub(crate) async fn read(response: http::Response<hyper::body::Incoming>) -> (u16, String) {
    let status = response.status().as_u16();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (status, String::from_utf8_lossy(&body).into_owned())
}

/// A gateway's files: its own certificate, and those of authorities.
pub(crate) struct Files {
    directory: tempfile::TempDir,
    pub(crate) server: Authority,
}

impl Files {
    pub(crate) fn new() -> Self {
        let files = Self { directory: tempfile::tempdir().unwrap(), server: Authority::new("server authority") };
        files.server.issue("gateway", &["gateway.test", "localhost"], 2099).write(files.path(), "server");
        files
    }

    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    pub(crate) fn at(&self, name: &str) -> PathBuf {
        self.path().join(name)
    }

    pub(crate) fn trust(&self, name: &str, authority: &Authority) {
        fs::write(self.at(name), authority.pem()).unwrap();
    }

    /// A listener that serves TLS, with further keys of `tls_config`.
    pub(crate) fn listener(&self, keys: &str) -> String {
        let at = |name| self.at(name).display().to_string();
        let keys = keys.replace('@', &format!("{}/", self.path().display()));
        format!("tls_config: {{cert_file: '{}', key_file: '{}', {keys}}}", at("server.crt"), at("server.key"))
    }
}
