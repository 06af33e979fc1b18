//! TLS towards servers: a [`ClientConfig`] from the configuration, and a new one when a file it came from has changed.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use aws_lc_rs::digest;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs as provider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme, SupportedProtocolVersion};
use tokio::time::Instant;
use writegate_config as config;

/// How long files are taken to be unchanged after a look at them.
const CHECK_EVERY: Duration = Duration::from_secs(1);

/// The TLS settings of one client, as fresh as their files.
///
/// While new files are unreadable or do not fit together (as they are when half of them is written), the settings of the
/// last good ones stay in use.
#[derive(Debug)]
pub struct TlsSource {
    tls: config::ClientTls,
    http2: bool,
    server_name: Option<Result<ServerName<'static>, TlsError>>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    checked: Option<Instant>,
    /// Of the files that `good` or `error` came from.
    digest: Option<[u8; digest::SHA256_OUTPUT_LEN]>,
    good: Option<Arc<ClientConfig>>,
    error: Option<TlsError>,
    /// Not yet taken by the owner.
    news: Option<TlsError>,
}

/// Why there are no TLS settings.
#[derive(Clone, Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("read {path}: {reason}", path = path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: Arc<io::Error>,
    },
    /// What was read is not what it should be.
    #[error("{what}: {why}")]
    Invalid {
        /// Which part of the settings, and its file if it has one.
        what: String,
        /// What is wrong with it.
        why: String,
    },
}

impl TlsSource {
    /// Reads nothing yet. `enable_http2` is whether HTTP/2 is offered (ALPN, RFC 7301).
    #[must_use]
    pub fn new(tls: Option<&config::ClientTls>, enable_http2: bool) -> Self {
        let tls = tls.cloned().unwrap_or_default();
        let server_name = tls.server_name.as_deref().map(|name| {
            ServerName::try_from(name.to_owned())
                .map_err(|error| invalid(format!("server_name {name:?}"), error.to_string()))
        });
        Self { tls, http2: enable_http2, server_name, state: Mutex::default() }
    }

    /// The settings for a new connection. Looks at the files at most once a second, and then reads them on this thread:
    /// they are small.
    ///
    /// # Errors
    /// If there were no good files so far.
    pub fn current(&self) -> Result<Arc<ClientConfig>, TlsError> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.checked.is_none_or(|checked| checked.elapsed() >= CHECK_EVERY) {
            state.checked = Some(Instant::now());
            self.refresh(&mut state);
        }
        match (&state.good, &state.error) {
            (Some(good), _) => Ok(Arc::clone(good)),
            (None, Some(error)) => Err(error.clone()),
            (None, None) => Err(invalid("tls_config".to_owned(), "not read".to_owned())),
        }
    }

    /// Has the next [`Self::current`] look at the files, however recent the last look: a handshake failed.
    pub fn distrust(&self) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).checked = None;
    }

    /// What was wrong with the files at the last change, once: for the log. The settings before stay in use; where there
    /// are none, whoever connects is told.
    pub fn take_error(&self) -> Option<TlsError> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.news.take().filter(|_| state.good.is_some())
    }

    /// What is wrong with the files as they are, while the settings before are in use or there are none. Looks at them, if
    /// there are some, as [`Self::current`] does.
    #[must_use]
    pub fn error(&self) -> Option<TlsError> {
        if self.tls.files().next().is_some() {
            drop(self.current());
        }
        self.state.lock().unwrap_or_else(PoisonError::into_inner).error.clone()
    }

    /// The name to verify and to send (SNI, RFC 6066 §3) on a connection to `host`.
    ///
    /// # Errors
    /// If it is neither a DNS name nor an address.
    pub fn server_name(&self, host: &str) -> Result<ServerName<'static>, TlsError> {
        if let Some(name) = &self.server_name {
            return name.clone();
        }
        server_name(host)
    }

    fn refresh(&self, state: &mut State) {
        let files = match Files::read(&self.tls) {
            Ok(files) => files,
            Err(error) => return state.failed(error, None),
        };
        let digest = files.digest();
        if state.digest == Some(digest) {
            return;
        }
        match build(&self.tls, &files, self.http2) {
            Ok(config) => {
                *state = State { checked: state.checked, digest: Some(digest), good: Some(config), ..State::default() };
            }
            Err(error) => state.failed(error, Some(digest)),
        }
    }
}

impl State {
    fn failed(&mut self, error: TlsError, digest: Option<[u8; digest::SHA256_OUTPUT_LEN]>) {
        // An unreadable file is tried again each second, and told only when it says something else.
        if self.error.as_ref().map(ToString::to_string) != Some(error.to_string()) {
            self.news = Some(error.clone());
        }
        self.error = Some(error);
        self.digest = digest;
    }
}

/// `host` as it is verified; an IPv6 address may have its brackets.
///
/// # Errors
/// If it is neither a DNS name nor an address.
pub fn server_name(host: &str) -> Result<ServerName<'static>, TlsError> {
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    // RFC 6066 §3: without the trailing dot.
    let bare = bare.strip_suffix('.').unwrap_or(bare);
    ServerName::try_from(bare.to_owned()).map_err(|error| invalid(format!("server name {bare:?}"), error.to_string()))
}

/// What the settings name, as read at one moment.
struct Files {
    ca: Option<String>,
    identity: Option<(String, config::Secret)>,
}

impl Files {
    fn read(tls: &config::ClientTls) -> Result<Self, TlsError> {
        let ca = tls.ca.as_ref().map(config::TextSource::read).transpose().map_err(unreadable)?;
        let identity = match &tls.identity {
            Some((chain, key)) => Some((chain.read().map_err(unreadable)?, key.read().map_err(unreadable)?)),
            None => None,
        };
        Ok(Self { ca, identity })
    }

    fn digest(&self) -> [u8; digest::SHA256_OUTPUT_LEN] {
        let mut context = digest::Context::new(&digest::SHA256);
        let (chain, key) = self.identity.as_ref().map_or(("", ""), |(chain, key)| (chain, key.expose()));
        for part in [self.ca.as_deref().unwrap_or_default(), chain, key] {
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part.as_bytes());
        }
        let mut out = [0; digest::SHA256_OUTPUT_LEN];
        out.copy_from_slice(context.finish().as_ref());
        out
    }
}

fn build(tls: &config::ClientTls, files: &Files, http2: bool) -> Result<Arc<ClientConfig>, TlsError> {
    let provider = Arc::new(provider::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&versions(tls)?)
        .map_err(|error| invalid("min_version and max_version".to_owned(), error.to_string()))?;
    let builder = if tls.insecure_skip_verify {
        builder.dangerous().with_custom_certificate_verifier(Arc::new(AnyCertificate { provider }))
    } else {
        builder.with_root_certificates(roots(tls, files)?)
    };
    let mut config = match (&files.identity, &tls.identity) {
        (Some((chain, key)), Some((chain_source, key_source))) => {
            let chain_name = place("the client certificate", chain_source.file());
            let key_name = place("the client key", key_source.file());
            let chain = certificates(&chain_name, chain)?;
            let key = PrivateKeyDer::from_pem_slice(key.expose().as_bytes())
                .map_err(|_unshown| invalid(key_name.clone(), NO_KEY.to_owned()))?;
            builder.with_client_auth_cert(chain, key).map_err(|error| match error {
                rustls::Error::InconsistentKeys(_) => invalid(key_name, format!("does not belong to {chain_name}")),
                error => invalid(chain_name, error.to_string()),
            })?
        }
        _ => builder.with_no_client_auth(),
    };
    config.alpn_protocols = alpn(http2);
    Ok(Arc::new(config))
}

fn alpn(http2: bool) -> Vec<Vec<u8>> {
    if http2 { vec![b"h2".to_vec(), b"http/1.1".to_vec()] } else { vec![b"http/1.1".to_vec()] }
}

/// TLS 1.0 and 1.1 as the lowest version mean 1.2 here: nothing older is spoken (RFC 8996).
fn versions(tls: &config::ClientTls) -> Result<Vec<&'static SupportedProtocolVersion>, TlsError> {
    use rustls::version::{TLS12, TLS13};
    match (tls.min_version, tls.max_version) {
        (_, Some(config::TlsVersion::Tls10 | config::TlsVersion::Tls11)) => {
            Err(invalid("max_version".to_owned(), "TLS below 1.2 is not spoken; use TLS12 or TLS13".to_owned()))
        }
        (Some(config::TlsVersion::Tls13), _) => Ok(vec![&TLS13]),
        (_, Some(config::TlsVersion::Tls12)) => Ok(vec![&TLS12]),
        _ => Ok(vec![&TLS13, &TLS12]),
    }
}

fn roots(tls: &config::ClientTls, files: &Files) -> Result<Arc<RootCertStore>, TlsError> {
    let (Some(source), Some(pem)) = (&tls.ca, &files.ca) else {
        return system_roots();
    };
    let what = place("the certificate authority", source.file());
    let mut store = RootCertStore::empty();
    for certificate in certificates(&what, pem)? {
        store.add(certificate).map_err(|error| invalid(what.clone(), error.to_string()))?;
    }
    Ok(Arc::new(store))
}

/// The system's authorities, read once per process. One bad certificate among them harms no other.
fn system_roots() -> Result<Arc<RootCertStore>, TlsError> {
    static ROOTS: OnceLock<Result<Arc<RootCertStore>, TlsError>> = OnceLock::new();
    let load = || {
        let found = rustls_native_certs::load_native_certs();
        let mut store = RootCertStore::empty();
        let (added, _ignored) = store.add_parsable_certificates(found.certs);
        if added == 0 {
            let errors: Vec<String> = found.errors.iter().map(ToString::to_string).collect();
            let why = if errors.is_empty() { "none found".to_owned() } else { errors.join("; ") };
            return Err(invalid("the system's certificate authorities".to_owned(), format!("{why}; set ca_file")));
        }
        Ok(Arc::new(store))
    };
    ROOTS.get_or_init(load).clone()
}

fn certificates(what: &str, pem: &str) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem.as_bytes()).collect();
    match found {
        Ok(certificates) if certificates.is_empty() => {
            Err(invalid(what.to_owned(), "no PEM block `CERTIFICATE` in it".to_owned()))
        }
        Ok(certificates) => Ok(certificates),
        Err(error) => Err(invalid(what.to_owned(), format!("no valid PEM: {error}"))),
    }
}

const NO_KEY: &str = "no usable PEM key in it (PKCS #8, PKCS #1 or SEC 1, not encrypted)";

fn place(what: &str, file: Option<&Path>) -> String {
    file.map_or_else(|| what.to_owned(), |file| format!("{what} in {}", file.display()))
}

fn invalid(what: String, why: String) -> TlsError {
    TlsError::Invalid { what, why }
}

fn unreadable(error: config::ReadSecret) -> TlsError {
    TlsError::Read { path: error.path, reason: Arc::new(error.source) }
}

/// `insecure_skip_verify`: any certificate will do, but whoever shows it must hold its key.
struct AnyCertificate {
    provider: Arc<CryptoProvider>,
}

impl fmt::Debug for AnyCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AnyCertificate")
    }
}

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// What a failed handshake, or a connection the server ended over TLS, means to the operator.
#[must_use]
pub fn explain(error: &io::Error) -> Option<String> {
    use rustls::{AlertDescription as Alert, CertificateError as Bad, Error};
    let error = error.get_ref()?.downcast_ref::<Error>()?;
    let meaning = match error {
        Error::InvalidCertificate(Bad::UnknownIssuer) => {
            "the server's certificate is not signed by an authority that is trusted here (ca_file)".to_owned()
        }
        // An authority made anew under the same name, for example.
        Error::InvalidCertificate(Bad::BadSignature) => {
            "the server's certificate is not signed by the authority that is trusted here (ca_file), but by another of \
             the same name"
                .to_owned()
        }
        Error::InvalidCertificate(Bad::Expired | Bad::ExpiredContext { .. }) => {
            "the server's certificate has expired".to_owned()
        }
        Error::InvalidCertificate(Bad::NotValidForName | Bad::NotValidForNameContext { .. }) => {
            format!("the server's certificate is for another name (server_name): {error}")
        }
        Error::InvalidCertificate(Bad::Other(other)) if other.to_string().contains("CaUsedAsEndEntity") => {
            "the server shows an authority's certificate (CA:TRUE) as its own; give it one without".to_owned()
        }
        Error::AlertReceived(Alert::CertificateRequired) => {
            "the server wants a client certificate (cert_file and key_file)".to_owned()
        }
        Error::AlertReceived(
            alert @ (Alert::UnknownCA
            | Alert::BadCertificate
            | Alert::UnsupportedCertificate
            | Alert::CertificateRevoked
            | Alert::CertificateExpired
            | Alert::CertificateUnknown
            | Alert::AccessDenied
            // Also sent when the certificate's signature does not fit its authority's key.
            | Alert::DecryptError),
        ) => format!("the server does not accept the client certificate ({alert:?})"),
        Error::AlertReceived(Alert::HandshakeFailure) => {
            "the server refused the handshake (HandshakeFailure); perhaps it wants a client certificate".to_owned()
        }
        Error::AlertReceived(Alert::ProtocolVersion) => {
            "the server speaks no TLS version that is allowed here".to_owned()
        }
        Error::InvalidMessage(_) => "the server does not speak TLS on this port".to_owned(),
        error => error.to_string(),
    };
    Some(meaning)
}

#[cfg(test)]
pub(crate) mod tests;
