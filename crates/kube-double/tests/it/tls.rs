//! TLS: what a kubeconfig says leads through a handshake.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use kube_double::{ADMIN, ApiServer};
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use serde_json::Value;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

#[tokio::test]
async fn a_kubeconfig_names_the_certificate_to_trust() {
    let server = ApiServer::start_with_tls().await.unwrap();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("kubeconfig");
    server.kubeconfig(ADMIN, &path).unwrap();
    let read: Value = serde_saphyr::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let cluster = &read["clusters"][0]["cluster"];
    let address = cluster["server"].as_str().unwrap().strip_prefix("https://").unwrap();
    let pem = STANDARD.decode(cluster["certificate-authority-data"].as_str().unwrap()).unwrap();

    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(&pem).unwrap()).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let stream = TcpStream::connect(address).await.unwrap();
    let name = ServerName::try_from("127.0.0.1").unwrap();
    let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await.unwrap();
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let request = http::Request::builder()
        .uri("/api/v1/namespaces/default")
        .header("host", address)
        .header("authorization", format!("Bearer {}", read["users"][0]["user"]["token"].as_str().unwrap()));
    let response = sender.send_request(request.body(Empty::<bytes::Bytes>::new()).unwrap()).await.unwrap();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    let namespace: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(namespace["metadata"]["name"], "default");
}
