//! TLS of the servers (RFC 8446, RFC 5246): certificates chosen by the name a client asks for, and the certificates that
//! clients show. Those are taken as they come during the handshake and judged when a request comes: so a client hears why
//! it is refused, and authorities and revocations change without cutting a connection.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use identity::certificate::Certificate;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, aws_lc_rs};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{ClientHello, ResolvesServerCert, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::{DigitallySignedStruct, DistinguishedName, RootCertStore, ServerConfig, SignatureScheme};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use writegate_config::{ClientAuth, ServerTls, TextSource, TlsVersion};

/// The longest chain that a client may show; others are refused during the handshake.
const MOST_CERTIFICATES: usize = 8;

/// TLS cannot be served as configured.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("read {}", path.display())]
    Read {
        /// As configured.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file does not hold what it should.
    #[error("{} has no {what} in PEM form", path.display())]
    Empty {
        /// As configured.
        path: PathBuf,
        /// What was looked for.
        what: &'static str,
    },
    /// A file is damaged.
    #[error("{} is not valid PEM: {reason}", path.display())]
    Pem {
        /// As configured.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// A certificate cannot be used.
    #[error("the certificate in {} cannot be served with its key", path.display())]
    Certificate {
        /// As configured.
        path: PathBuf,
        /// Why.
        source: rustls::Error,
    },
    /// Authorities or revocations cannot be used.
    #[error("the authorities in {} cannot be used: {reason}", path.display())]
    Authorities {
        /// As configured.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// The library refuses the settings.
    #[error("TLS cannot be served")]
    Settings(#[from] rustls::Error),
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

/// What a server needs for handshakes, and when its certificates end.
#[derive(Debug)]
pub(crate) struct Offered {
    pub(crate) config: Arc<ServerConfig>,
    pub(crate) expiries: Vec<Expiry>,
}

/// When a certificate that is served ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Expiry {
    /// As configured.
    pub(crate) file: PathBuf,
    /// In seconds since 1970: the earliest of its chain.
    pub(crate) at: i64,
}

/// Reads rustls' part of `tls_config`. `alpn`: the protocols in the server's order (RFC 7301).
///
/// # Errors
/// When a file cannot be read or used.
pub(crate) fn offer(tls: &ServerTls, alpn: &[&[u8]]) -> Result<Arc<Offered>, TlsError> {
    let provider = provider();
    let versions: &[&rustls::SupportedProtocolVersion] = match tls.min_version {
        TlsVersion::Tls13 => &[&rustls::version::TLS13],
        _ => &[&rustls::version::TLS13, &rustls::version::TLS12],
    };
    let certificates = tls.certificates.iter().map(|files| Served::load(&provider, &files.cert_file, &files.key_file));
    let certificates = ByName { certificates: certificates.collect::<Result<_, _>>()? };
    let expiries = certificates.certificates.iter().filter_map(|served| served.expiry.clone()).collect();
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider)).with_protocol_versions(versions)?;
    let builder = match tls.client_auth {
        ClientAuth::None => builder.with_no_client_auth(),
        asked => builder.with_client_cert_verifier(Arc::new(JudgedLater {
            is_required: asked == ClientAuth::Require,
            algorithms: provider.signature_verification_algorithms,
        })),
    };
    let mut config = builder.with_cert_resolver(Arc::new(certificates));
    config.alpn_protocols = alpn.iter().map(|protocol| protocol.to_vec()).collect();
    // Resumption without state here: a session costs its client's memory, not ours.
    config.ticketer = aws_lc_rs::Ticketer::new()?;
    Ok(Arc::new(Offered { config: Arc::new(config), expiries }))
}

/// A server's side of a handshake, which must end in time.
///
/// # Errors
/// Says why there is no connection.
pub(crate) async fn shake_hands(
    config: Arc<ServerConfig>,
    stream: TcpStream,
    within: Duration,
) -> Result<TlsStream<TcpStream>, String> {
    match tokio::time::timeout(within, TlsAcceptor::from(config).accept(stream)).await {
        Ok(shaken) => shaken.map_err(|error| error.to_string()),
        Err(_elapsed) => Err(format!("it did not end within {within:?}")),
    }
}

/// A certificate with its key, and the names it is for.
#[derive(Debug)]
struct Served {
    key: Arc<CertifiedKey>,
    exact: HashSet<String>,
    /// `*.example.org` without the star.
    wildcards: HashSet<String>,
    /// Of the certificates of its chain that can be read.
    expiry: Option<Expiry>,
}

impl Served {
    fn load(provider: &CryptoProvider, cert_file: &Path, key_file: &Path) -> Result<Self, TlsError> {
        let chain = certificates(cert_file)?;
        let key = PrivateKeyDer::from_pem_slice(&read(key_file)?).map_err(|error| match error {
            rustls::pki_types::pem::Error::NoItemsFound => {
                TlsError::Empty { path: key_file.into(), what: "private key" }
            }
            error => TlsError::Pem { path: key_file.into(), reason: error.to_string() },
        })?;
        let unusable = |source| TlsError::Certificate { path: cert_file.into(), source };
        let read: Vec<_> = chain.iter().map(|certificate| Certificate::from_der(certificate).ok()).collect();
        let at = read.iter().flatten().map(|certificate| certificate.not_after).min();
        let expiry = at.map(|at| Expiry { file: cert_file.into(), at });
        let names = read.into_iter().next().flatten().map(|leaf| leaf.dns_names);
        let names = names.unwrap_or_default().into_iter().map(|name| name.to_ascii_lowercase());
        let (wildcards, exact): (HashSet<String>, HashSet<String>) = names.partition(|name| name.starts_with("*."));
        let key = CertifiedKey::from_der(chain, key, provider).map_err(unusable)?;
        let wildcards = wildcards.into_iter().map(|name| name.trim_start_matches('*').to_owned()).collect();
        Ok(Self { key: Arc::new(key), exact, wildcards, expiry })
    }

    /// A wildcard stands for one label, the first (RFC 6125 §6.4.3).
    fn is_for(&self, name: &str) -> bool {
        let name = name.to_ascii_lowercase();
        self.exact.contains(&name) || name.find('.').is_some_and(|dot| self.wildcards.contains(&name[dot..]))
    }
}

/// The first certificate for the name that the client asks for, or else the first of all.
#[derive(Debug)]
struct ByName {
    certificates: Vec<Served>,
}

impl ResolvesServerCert for ByName {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let name = hello.server_name();
        let fits = |served: &&Served| name.is_some_and(|name| served.is_for(name));
        self.certificates.iter().find(fits).or_else(|| self.certificates.first()).map(|served| Arc::clone(&served.key))
    }
}

/// Takes whatever certificate a client shows, if it has the key of it.
#[derive(Debug)]
struct JudgedLater {
    is_required: bool,
    algorithms: WebPkiSupportedAlgorithms,
}

impl ClientCertVerifier for JudgedLater {
    fn client_auth_mandatory(&self) -> bool {
        self.is_required
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        // Tenants have authorities of their own: which there are is nobody's business.
        &[]
    }

    fn verify_client_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        if intermediates.len() >= MOST_CERTIFICATES {
            return Err(rustls::Error::General("the client's chain of certificates is too long".to_owned()));
        }
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(message, cert, dss, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(message, cert, dss, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// Authorities of client certificates, and what they have revoked.
#[derive(Clone, Debug)]
pub(crate) struct Authorities(Arc<dyn ClientCertVerifier>);

impl Authorities {
    /// Which they are: the same number for the same ones, as long as they live.
    pub(crate) fn id(&self) -> usize {
        Arc::as_ptr(&self.0).addr()
    }

    fn parse(text: &[u8], place: &Path, lists: Vec<CertificateRevocationListDer<'static>>) -> Result<Self, TlsError> {
        let unusable = |reason: String| TlsError::Authorities { path: place.into(), reason };
        let mut roots = RootCertStore::empty();
        for certificate in certificates_in(text, place)? {
            roots.add(certificate).map_err(|error| unusable(error.to_string()))?;
        }
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider())
            .with_crls(lists)
            // An authority that publishes no list has revoked nothing.
            .allow_unknown_revocation_status()
            .build()
            .map_err(|error| unusable(error.to_string()))?;
        Ok(Self(verifier))
    }

    /// Whether a chain, the client's own certificate first, leads to one of them, is in its time and not revoked (RFC 5280
    /// §6).
    ///
    /// # Errors
    /// Says what is wrong with it.
    pub(crate) fn judge(&self, chain: &[CertificateDer<'static>]) -> Result<(), rustls::Error> {
        let (own, intermediates) = chain.split_first().ok_or(rustls::Error::NoCertificatesPresented)?;
        self.0.verify_client_cert(own, intermediates, UnixTime::now()).map(drop)
    }
}

/// Reads authorities, with what they have revoked. Those whose text is the same are one, however many tenants name them: a
/// certificate is judged by each once.
#[derive(Debug)]
pub(crate) struct AuthorityReader {
    lists: Vec<CertificateRevocationListDer<'static>>,
    known: HashMap<Vec<u8>, Authorities>,
}

impl AuthorityReader {
    /// # Errors
    /// When a list of revocations cannot be read.
    pub(crate) fn new<'p>(crl_files: impl IntoIterator<Item = &'p Path>) -> Result<Self, TlsError> {
        let lists: Result<Vec<_>, _> = crl_files.into_iter().map(revocations).collect();
        Ok(Self { lists: lists?.concat(), known: HashMap::new() })
    }

    /// # Errors
    /// When the file cannot be read or used.
    pub(crate) fn load(&mut self, ca_file: &Path) -> Result<Authorities, TlsError> {
        self.parse(read(ca_file)?, ca_file)
    }

    /// As [`Self::load`], of authorities that are in a file or in the configuration itself.
    ///
    /// # Errors
    /// When the file, or what is written, cannot be read or used.
    pub(crate) fn of(&mut self, authorities: &TextSource) -> Result<Authorities, TlsError> {
        match authorities {
            TextSource::File(ca_file) => self.load(ca_file),
            TextSource::Inline(text) => self.parse(text.clone().into_bytes(), Path::new("what is written in `ca`")),
        }
    }

    fn parse(&mut self, text: Vec<u8>, place: &Path) -> Result<Authorities, TlsError> {
        match self.known.entry(text) {
            Entry::Occupied(known) => Ok(known.get().clone()),
            Entry::Vacant(new) => {
                let authorities = Authorities::parse(new.key(), place, self.lists.clone())?;
                Ok(new.insert(authorities).clone())
            }
        }
    }
}

fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    writegate_config::read_file(path).map_err(|source| TlsError::Read { path: path.into(), source })
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    certificates_in(&read(path)?, path)
}

fn certificates_in(text: &[u8], path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text).collect();
    match read {
        Ok(certificates) if certificates.is_empty() => Err(TlsError::Empty { path: path.into(), what: "certificate" }),
        Ok(certificates) => Ok(certificates),
        Err(error) => Err(TlsError::Pem { path: path.into(), reason: error.to_string() }),
    }
}

fn revocations(path: &Path) -> Result<Vec<CertificateRevocationListDer<'static>>, TlsError> {
    let read: Result<Vec<_>, _> = CertificateRevocationListDer::pem_slice_iter(&read(path)?).collect();
    match read {
        Ok(lists) if lists.is_empty() => Err(TlsError::Empty { path: path.into(), what: "revocation list (X509 CRL)" }),
        Ok(lists) => Ok(lists),
        Err(error) => Err(TlsError::Pem { path: path.into(), reason: error.to_string() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn authorities_of_the_same_text_are_one() {
        let pem = |name: &str| rcgen::generate_simple_self_signed([name.to_owned()]).unwrap().cert.pem();
        let directory = tempfile::tempdir().unwrap();
        let [one, same, other] = ["one", "same", "other"].map(|name| directory.path().join(name));
        let text = pem("one");
        std::fs::write(&one, &text).unwrap();
        std::fs::write(&same, &text).unwrap();
        std::fs::write(&other, pem("other")).unwrap();
        let mut reader = AuthorityReader::new([]).unwrap();
        let mut id = |path: &Path| reader.load(path).unwrap().id();
        let ids = [id(&one), id(&same), id(&other)];
        assert_eq!(ids[0], ids[1]);
        assert_ne!(ids[0], ids[2]);
        assert_eq!(reader.of(&TextSource::Inline(text)).unwrap().id(), ids[0]);
    }
}
