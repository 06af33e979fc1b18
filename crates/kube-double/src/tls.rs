//! TLS with a certificate of the server's own, for clients that show tokens to nobody else; `kubectl` is one.

use std::sync::Arc;

use rcgen::CertifiedKey;
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio_rustls::TlsAcceptor;

/// A server could not get a certificate.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TlsError {
    #[error("make a certificate for loopback")]
    Certificate(#[from] rcgen::Error),
    #[error("use the certificate")]
    Server(#[from] rustls::Error),
}

/// What accepts connections, and the certificate to trust, as PEM.
pub(crate) fn acceptor() -> Result<(TlsAcceptor, String), TlsError> {
    let names = ["127.0.0.1".to_owned(), "localhost".to_owned()];
    let CertifiedKey { cert, signing_key } = rcgen::generate_simple_self_signed(names)?;
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(signing_key.serialize_der()));
    let config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(vec![cert.der().clone()], key)?;
    Ok((TlsAcceptor::from(Arc::new(config)), cert.pem()))
}
