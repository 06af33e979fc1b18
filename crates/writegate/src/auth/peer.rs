//! The other end of a connection: its address, and the certificate that it showed when it connected.

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use identity::certificate::{Certificate, CertificateSubject};
use rustls::pki_types::CertificateDer;
use tokio::time::Instant;

use super::{Authentication, Denied, Speaker, TenantName};
use crate::allowance::{Connected, Exceeded};
use crate::tenant::Account;
use crate::tls::Authorities;

/// A certificate is judged anew after so long: it may expire while its connection is open.
const JUDGED_FOR: Duration = Duration::from_secs(60);

/// The other end of a connection.
#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) ip: IpAddr,
    /// Its own certificate first; empty if it showed none.
    chain: Vec<CertificateDer<'static>>,
    judged: Mutex<Option<Judged>>,
    /// The tenant whose connection it is: that of its last request.
    connected: Mutex<Option<Connected>>,
}

/// What was found out about a certificate.
#[derive(Debug)]
struct Judged {
    /// By which configuration.
    number: u64,
    at: Instant,
    verdict: Result<Option<Speaker>, Denied>,
}

impl Peer {
    pub(crate) const fn new(ip: IpAddr, chain: Vec<CertificateDer<'static>>) -> Self {
        Self { ip, chain, judged: Mutex::new(None), connected: Mutex::new(None) }
    }

    /// Counts the connection as the tenant's, of whom the request is that comes on it.
    ///
    /// # Errors
    /// When the tenant has as many as it may have.
    pub(crate) fn connect(&self, account: &Account) -> Result<(), Exceeded> {
        let mut connected = self.connected.lock().unwrap_or_else(PoisonError::into_inner);
        if connected.as_ref().is_none_or(|other| !other.is_with(&account.allowance)) {
            *connected = None;
            *connected = Some(account.allowance.connect(&account.limits)?);
        }
        Ok(())
    }

    /// For whom the certificate speaks; `None` if there is none, or certificates name no tenants here.
    pub(super) fn speaker(
        &self,
        authentication: &Authentication,
        authorities: Option<&Authorities>,
    ) -> Result<Option<Speaker>, Denied> {
        if self.chain.is_empty() {
            return Ok(None);
        }
        let mut judged = self.judged.lock().unwrap_or_else(PoisonError::into_inner);
        let number = authentication.number;
        match judged.as_ref().filter(|known| known.number == number && known.at.elapsed() < JUDGED_FOR) {
            Some(known) => known.verdict.clone(),
            None => {
                let verdict = self.judge(authentication, authorities);
                *judged = Some(Judged { number, at: Instant::now(), verdict: verdict.clone() });
                verdict
            }
        }
    }

    fn judge(
        &self,
        authentication: &Authentication,
        authorities: Option<&Authorities>,
    ) -> Result<Option<Speaker>, Denied> {
        let Some(own) = self.chain.first() else { return Ok(None) };
        let by_listener = authorities.map(|authorities| authorities.judge(&self.chain));
        let is_trusted = matches!(by_listener, Some(Ok(())));
        let mut wrong: Vec<rustls::Error> = by_listener.and_then(Result::err).into_iter().collect();
        // A thousand tenants may share authorities, and anybody may show a certificate: each is asked once.
        let mut asked = HashMap::new();
        let mut vouching = |authorities: &HashMap<TenantName, Authorities>| {
            let mut vouch = |authorities: &Authorities| {
                *asked
                    .entry(authorities.id())
                    .or_insert_with(|| authorities.judge(&self.chain).map_err(|error| wrong.push(error)).is_ok())
            };
            let vouched = authorities.iter().filter(|(_, authorities)| vouch(authorities));
            vouched.map(|(tenant, _)| tenant.clone()).collect::<BTreeSet<_>>()
        };
        // The tenants whose own authorities vouch for it.
        let vouched = vouching(&authentication.authorities);
        // Those of Observatorium, one of whose senders it may be.
        let logins = vouching(&authentication.logins);
        if !is_trusted && vouched.is_empty() && logins.is_empty() {
            // Those that do not know it say nothing about it.
            let wrong = wrong.into_iter().map(in_words).find(|why| why != UNKNOWN);
            return Err(Denied::Certificate(wrong.unwrap_or_else(|| UNKNOWN.to_owned())));
        }
        let named = if authentication.certificates.is_empty() {
            // Without a rule only the authority says for whom it speaks; where there is none, it opens the door and no more.
            match vouched.iter().collect::<Vec<_>>().as_slice() {
                [] if logins.is_empty() => return Ok(None),
                [] => None,
                [tenant] => Some((*tenant).clone()),
                _ => return Err(Denied::Forbidden),
            }
        } else {
            let named = authentication.named_by(&read(own)?)?;
            named.filter(|tenant| authentication.is_spoken_for(tenant, &vouched, is_trusted))
        };
        if logins.is_empty() {
            return named.map(|tenant| Some(tenant.into())).ok_or(Denied::Forbidden);
        }
        let (mut tenants, otherwise) = match read(own)?.subject() {
            Ok(CertificateSubject { name, groups }) => {
                (authentication.roles.writable(&logins, &name, &groups), Denied::Forbidden)
            }
            Err(nameless) => (BTreeSet::new(), Denied::Certificate(nameless.to_string())),
        };
        tenants.extend(named);
        Speaker::of(tenants).map(Some).ok_or(otherwise)
    }
}

fn read(certificate: &CertificateDer<'_>) -> Result<Certificate, Denied> {
    Certificate::from_der(certificate).map_err(|error| Denied::Certificate(error.to_string()))
}

impl Authentication {
    /// Whether a certificate that names a tenant speaks for it, too. A tenant's authorities speak for it and for no other;
    /// where it has some, no others speak for it; and where its senders log in, a name alone never does.
    fn is_spoken_for(&self, tenant: &TenantName, vouched: &BTreeSet<TenantName>, is_trusted: bool) -> bool {
        if self.authorities.contains_key(tenant) {
            vouched.contains(tenant)
        } else {
            is_trusted && !self.roles.has(tenant)
        }
    }
}

/// What is said of a certificate that no known authority has signed.
const UNKNOWN: &str = "unknown authority";

/// What is wrong with a certificate, as far as it helps its owner.
fn in_words(error: rustls::Error) -> String {
    use rustls::CertificateError as Wrong;
    match error {
        rustls::Error::InvalidCertificate(Wrong::Expired | Wrong::ExpiredContext { .. }) => "it has expired".to_owned(),
        rustls::Error::InvalidCertificate(Wrong::NotValidYet | Wrong::NotValidYetContext { .. }) => {
            "it is not valid yet".to_owned()
        }
        // A name may be anybody's: that the signature is not that authority's is the same, and must not tell which there are.
        rustls::Error::InvalidCertificate(Wrong::UnknownIssuer | Wrong::BadSignature) => UNKNOWN.to_owned(),
        rustls::Error::InvalidCertificate(Wrong::Revoked) => "it is revoked".to_owned(),
        other => other.to_string(),
    }
}
