//! Handshakes over memory with certificates made on the spot, and the rotation of files.

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::ServerConfig;
use rustls::server::WebPkiClientVerifier;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::*;

pub(crate) type Authority = CertifiedIssuer<'static, KeyPair>;

pub(crate) struct Leaf {
    chain: String,
    key: String,
}

pub(crate) fn authority() -> Authority {
    authority_named("the authority")
}

pub(crate) fn authority_named(name: &str) -> Authority {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

pub(crate) fn leaf(authority: &Authority, name: &str) -> Leaf {
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(vec![name.to_owned()]).unwrap().signed_by(&key, authority).unwrap();
    Leaf { chain: certificate.pem(), key: key.serialize_pem() }
}

/// A server that shows `leaf`, and asks for a certificate of `clients` if there is one.
pub(crate) fn server(leaf: &Leaf, clients: Option<&Authority>) -> TlsAcceptor {
    let provider = Arc::new(provider::default_provider());
    let builder =
        ServerConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions().unwrap();
    let builder = match clients {
        None => builder.with_no_client_auth(),
        Some(authority) => {
            let mut roots = RootCertStore::empty();
            roots.add(authority.der().clone()).unwrap();
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build().unwrap();
            builder.with_client_cert_verifier(verifier)
        }
    };
    let chain = certificates("test", &leaf.chain).unwrap();
    let key = PrivateKeyDer::from_pem_slice(leaf.key.as_bytes()).unwrap();
    TlsAcceptor::from(Arc::new(builder.with_single_cert(chain, key).unwrap()))
}

/// Connects to `host` and reads one byte: a TLS 1.3 server's verdict on the client comes after the handshake.
async fn talk(source: &TlsSource, host: &str, server: TlsAcceptor) -> Result<(), String> {
    let (near, far) = tokio::io::duplex(1 << 16);
    let serving = async {
        if let Ok(mut stream) = server.accept(far).await {
            drop(stream.write_all(b"x").await);
            drop(stream.shutdown().await);
        }
    };
    let config = source.current().map_err(|error| error.to_string())?;
    let name = source.server_name(host).map_err(|error| error.to_string())?;
    let asking = async {
        let mut stream = TlsConnector::from(config).connect(name, near).await?;
        stream.read_u8().await
    };
    let both = async { tokio::join!(serving, asking) };
    let ((), got) = tokio::time::timeout(Duration::from_secs(20), both).await.expect("bounded");
    got.map(drop).map_err(|error: io::Error| explain(&error).unwrap_or_else(|| error.to_string()))
}

pub(crate) fn inline(authority: &Authority) -> config::ClientTls {
    config::ClientTls { ca: Some(config::TextSource::Inline(authority.pem())), ..config::ClientTls::default() }
}

fn identity(leaf: &Leaf) -> Option<(config::TextSource, config::SecretSource)> {
    let key = config::SecretSource::Inline(config::Secret::new(leaf.key.clone()));
    Some((config::TextSource::Inline(leaf.chain.clone()), key))
}

fn in_file(path: &Path) -> config::ClientTls {
    config::ClientTls { ca: Some(config::TextSource::File(path.to_owned())), ..config::ClientTls::default() }
}

#[tokio::test]
async fn a_server_is_believed_by_its_authority_and_name_only() {
    let (own, other) = (authority(), authority_named("another"));
    let shown = leaf(&own, "mimir.example");
    let source = TlsSource::new(Some(&inline(&own)), true);
    assert_eq!(talk(&source, "mimir.example", server(&shown, None)).await, Ok(()));

    let wrong_name = talk(&source, "thanos.example", server(&shown, None)).await.unwrap_err();
    assert!(wrong_name.contains("for another name (server_name)"), "{wrong_name}");
    let named = config::ClientTls { server_name: Some("mimir.example".to_owned()), ..inline(&own) };
    assert_eq!(talk(&TlsSource::new(Some(&named), false), "10.0.0.1", server(&shown, None)).await, Ok(()));

    let namesake =
        talk(&TlsSource::new(Some(&inline(&authority())), true), "mimir.example", server(&shown, None)).await;
    assert!(namesake.unwrap_err().contains("by another of the same name"));

    let stranger = TlsSource::new(Some(&inline(&other)), true);
    let unknown = talk(&stranger, "mimir.example", server(&shown, None)).await.unwrap_err();
    assert!(unknown.contains("not signed by an authority that is trusted here"), "{unknown}");
}

#[tokio::test]
async fn insecure_skip_verify_believes_any_certificate() {
    let tls = config::ClientTls { insecure_skip_verify: true, ..inline(&authority()) };
    let shown = leaf(&authority(), "other.example");
    assert_eq!(talk(&TlsSource::new(Some(&tls), false), "mimir.example", server(&shown, None)).await, Ok(()));
}

#[tokio::test]
async fn the_client_certificate_is_shown_and_its_absence_is_told() {
    let (own, clients) = (authority(), authority_named("clients"));
    let shown = leaf(&own, "mimir.example");
    let with = config::ClientTls { identity: identity(&leaf(&clients, "writegate")), ..inline(&own) };
    assert_eq!(
        talk(&TlsSource::new(Some(&with), false), "mimir.example", server(&shown, Some(&clients))).await,
        Ok(())
    );

    let without = TlsSource::new(Some(&inline(&own)), false);
    let missing = talk(&without, "mimir.example", server(&shown, Some(&clients))).await.unwrap_err();
    assert!(missing.contains("wants a client certificate"), "{missing}");

    let foreign = config::ClientTls { identity: identity(&leaf(&own, "writegate")), ..inline(&own) };
    let foreign = TlsSource::new(Some(&foreign), false);
    let refused = talk(&foreign, "mimir.example", server(&shown, Some(&clients))).await.unwrap_err();
    assert!(refused.contains("does not accept the client certificate"), "{refused}");
}

#[tokio::test(start_paused = true)]
async fn a_rotated_authority_is_used_within_a_second_or_after_a_failure() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("ca.pem");
    let (before, after) = (authority(), authority());
    std::fs::write(&path, before.pem()).unwrap();
    let source = TlsSource::new(Some(&in_file(&path)), false);
    let first = source.current().unwrap();

    std::fs::write(&path, after.pem()).unwrap();
    assert!(Arc::ptr_eq(&first, &source.current().unwrap()), "looked again within a second");
    tokio::time::advance(CHECK_EVERY).await;
    let second = source.current().unwrap();
    assert!(!Arc::ptr_eq(&first, &second));
    assert_eq!(talk(&source, "a.example", server(&leaf(&after, "a.example"), None)).await, Ok(()));

    std::fs::write(&path, before.pem()).unwrap();
    source.distrust();
    assert!(!Arc::ptr_eq(&second, &source.current().unwrap()));
}

#[tokio::test(start_paused = true)]
async fn files_that_are_wrong_leave_the_last_good_ones_in_use_and_are_told_once() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("ca.pem");
    let good = authority().pem();
    std::fs::write(&path, &good).unwrap();
    let source = TlsSource::new(Some(&in_file(&path)), false);
    let first = source.current().unwrap();

    std::fs::write(&path, &good[..good.len() / 2]).unwrap();
    for look in 0..3 {
        tokio::time::advance(CHECK_EVERY).await;
        assert!(Arc::ptr_eq(&first, &source.current().unwrap()));
        let news = source.take_error().map(|error| error.to_string());
        assert_eq!(news.is_some(), look == 0, "{news:?}");
        assert!(news.is_none_or(|news| news.contains("ca.pem")));
    }
    std::fs::remove_file(&path).unwrap();
    tokio::time::advance(CHECK_EVERY).await;
    assert!(Arc::ptr_eq(&first, &source.current().unwrap()));
    assert!(source.take_error().unwrap().to_string().starts_with("read "));

    std::fs::write(&path, &good).unwrap();
    tokio::time::advance(CHECK_EVERY).await;
    source.current().unwrap();
    assert!(source.take_error().is_none());
    assert!(source.error().is_none());

    std::fs::write(&path, "x").unwrap();
    let fresh = TlsSource::new(Some(&in_file(&path)), false);
    assert!(fresh.error().unwrap().to_string().contains("ca.pem"), "without waiting for a connection");
    assert!(fresh.take_error().is_none(), "there is nothing that stays in use");
}

#[test]
fn settings_that_cannot_work_say_why() {
    let own = authority();
    let error = |tls: config::ClientTls| TlsSource::new(Some(&tls), false).current().unwrap_err().to_string();

    let old = config::ClientTls { max_version: Some(config::TlsVersion::Tls11), ..inline(&own) };
    assert_eq!(error(old), "max_version: TLS below 1.2 is not spoken; use TLS12 or TLS13");
    let empty = config::ClientTls { ca: Some(config::TextSource::Inline("x".to_owned())), ..inline(&own) };
    assert_eq!(error(empty), "the certificate authority: no PEM block `CERTIFICATE` in it");
    let (one, two) = (leaf(&own, "a"), leaf(&own, "b"));
    let mixed = config::ClientTls { identity: identity(&Leaf { chain: one.chain, key: two.key }), ..inline(&own) };
    assert_eq!(error(mixed), "the client key: does not belong to the client certificate");
    let missing = error(in_file(Path::new("/nonexistent/ca.pem")));
    assert!(missing.starts_with("read /nonexistent/ca.pem: No such file"), "{missing}");
}

#[test]
fn http2_is_offered_only_if_enabled_and_old_minimums_mean_tls_1_2() {
    let tls = config::ClientTls { min_version: Some(config::TlsVersion::Tls10), ..inline(&authority()) };
    let alpn = |http2: bool| TlsSource::new(Some(&tls), http2).current().unwrap().alpn_protocols.clone();
    assert_eq!(alpn(true), [b"h2".to_vec(), b"http/1.1".to_vec()]);
    assert_eq!(alpn(false), [b"http/1.1".to_vec()]);
}
