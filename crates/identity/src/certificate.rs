//! Who a client certificate speaks for. The certificate has been verified by whoever took the connection; in here it is only
//! read.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer;
use x509_parser::x509::AttributeTypeAndValue;

use crate::hex;
use crate::pattern::Pattern;
use crate::secret::sha256;

/// The names in a certificate, in its order.
///
/// Parts of the subject that are neither UTF-8 nor ASCII by their type (`TeletexString`, `BMPString`) are left out: no
/// tenant has such a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// `CN` of the subject.
    pub common_names: Vec<String>,
    /// `OU` of the subject.
    pub organizational_units: Vec<String>,
    /// `O` of the subject.
    pub organizations: Vec<String>,
    /// Of the subject alternative name, like all below.
    pub uris: Vec<String>,
    /// As written, not lower-cased.
    pub dns_names: Vec<String>,
    /// As written.
    pub emails: Vec<String>,
    /// IPv4 addresses in IPv6 form are IPv4.
    pub ips: Vec<IpAddr>,
    /// Of the whole certificate.
    pub fingerprint: Fingerprint,
    /// The last second in which it is valid, since 1970.
    pub not_after: i64,
}

/// A certificate cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CertificateError {
    /// Not one certificate in DER, and nothing behind it.
    #[error("the certificate is not X.509")]
    NotX509,
    /// There twice, or with something in it that is malformed. As Go does, the certificate is refused as a whole.
    #[error("the certificate's subject alternative name is malformed")]
    BadAlternativeName,
}

/// The SHA-256 of a certificate in DER.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fingerprint([u8; 32]);

/// A text is no fingerprint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected the SHA-256 of a certificate: 64 hexadecimal digits, with or without colons")]
pub struct InvalidFingerprint;

/// Which part of a certificate has the tenant's name in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
    /// `CN` of the subject.
    CommonName,
    /// `OU` of the subject.
    OrganizationalUnit,
    /// `O` of the subject.
    Organization,
    /// Of the subject alternative name.
    SanUri,
    /// Of the subject alternative name.
    SanDns,
    /// Of the subject alternative name.
    SanEmail,
}

/// How a certificate names its tenant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CertificateRules {
    /// In its own words.
    Field {
        /// Where.
        field: Field,
        /// What stands around the name.
        pattern: Pattern,
    },
    /// By a list: tenants by certificate.
    Fingerprints(BTreeMap<Fingerprint, String>),
}

/// A certificate does not say for which tenant it speaks.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TenantError {
    /// Nothing in it matches.
    #[error("the certificate names no tenant")]
    NoTenant,
    /// Taking the first would let the order decide.
    #[error("the certificate names more than one tenant: {}", tenants.join(", "))]
    Ambiguous {
        /// Sorted.
        tenants: Vec<String>,
    },
}

/// Who speaks, for role-based access as in Observatorium.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateSubject {
    /// The user.
    pub name: String,
    /// The organizational units.
    pub groups: Vec<String>,
}

/// A certificate has no alternative name that could be a user's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the certificate has no subject alternative name: an e-mail, URI, DNS name or IP is needed")]
pub struct NoSubject;

impl Certificate {
    /// Reads a certificate.
    ///
    /// # Errors
    /// If it is malformed.
    pub fn from_der(der: &[u8]) -> Result<Self, CertificateError> {
        let Ok(([], x509)) = X509Certificate::from_der(der) else { return Err(CertificateError::NotX509) };
        let subject = x509.subject();
        let mut certificate = Self {
            common_names: texts(subject.iter_common_name()),
            organizational_units: texts(subject.iter_organizational_unit()),
            organizations: texts(subject.iter_organization()),
            uris: Vec::new(),
            dns_names: Vec::new(),
            emails: Vec::new(),
            ips: Vec::new(),
            fingerprint: Fingerprint::of(der),
            not_after: x509.validity().not_after.timestamp(),
        };
        let Ok(alternative) = x509.subject_alternative_name() else {
            return Err(CertificateError::BadAlternativeName);
        };
        for name in alternative.iter().flat_map(|extension| &extension.value.general_names) {
            certificate.take(name)?;
        }
        Ok(certificate)
    }

    fn take(&mut self, name: &GeneralName<'_>) -> Result<(), CertificateError> {
        match name {
            GeneralName::RFC822Name(email) => self.emails.push((*email).to_owned()),
            GeneralName::DNSName(dns_name) => self.dns_names.push((*dns_name).to_owned()),
            GeneralName::URI(uri) => self.uris.push((*uri).to_owned()),
            GeneralName::IPAddress(bytes) => self.ips.push(ip(bytes).ok_or(CertificateError::BadAlternativeName)?),
            GeneralName::Invalid(..) => return Err(CertificateError::BadAlternativeName),
            GeneralName::OtherName(..)
            | GeneralName::X400Address(_)
            | GeneralName::DirectoryName(_)
            | GeneralName::EDIPartyName(_)
            | GeneralName::RegisteredID(_) => {}
        }
        Ok(())
    }

    /// Who speaks, as Observatorium sees it: the first e-mail, else URI, DNS name or IP of the alternative name; the
    /// organizational units are the groups.
    ///
    /// # Errors
    /// If there is none of these.
    pub fn subject(&self) -> Result<CertificateSubject, NoSubject> {
        let texts = [&self.emails, &self.uris, &self.dns_names];
        let name = texts.into_iter().find_map(|names| names.first().cloned());
        let name = name.or_else(|| self.ips.first().map(IpAddr::to_string)).ok_or(NoSubject)?;
        Ok(CertificateSubject { name, groups: self.organizational_units.clone() })
    }

    fn field(&self, field: Field) -> &[String] {
        match field {
            Field::CommonName => &self.common_names,
            Field::OrganizationalUnit => &self.organizational_units,
            Field::Organization => &self.organizations,
            Field::SanUri => &self.uris,
            Field::SanDns => &self.dns_names,
            Field::SanEmail => &self.emails,
        }
    }
}

impl CertificateRules {
    /// The tenant that the certificate speaks for. What does not match the pattern is passed over; the same tenant twice is
    /// one.
    ///
    /// # Errors
    /// If it names none, or more than one.
    pub fn tenant_of(&self, certificate: &Certificate) -> Result<String, TenantError> {
        let tenants: BTreeSet<&str> = match self {
            Self::Field { field, pattern } => {
                certificate.field(*field).iter().filter_map(|text| pattern.tenant_of(text)).collect()
            }
            Self::Fingerprints(tenants) => {
                tenants.get(&certificate.fingerprint).map(String::as_str).into_iter().collect()
            }
        };
        let mut tenants = tenants.into_iter().map(str::to_owned);
        match (tenants.next(), tenants.next()) {
            (None, _) => Err(TenantError::NoTenant),
            (Some(tenant), None) => Ok(tenant),
            (Some(first), Some(second)) => {
                Err(TenantError::Ambiguous { tenants: [first, second].into_iter().chain(tenants).collect() })
            }
        }
    }
}

impl Fingerprint {
    /// Of a certificate in DER.
    #[must_use]
    pub fn of(der: &[u8]) -> Self {
        Self(sha256(der))
    }
}

impl FromStr for Fingerprint {
    type Err = InvalidFingerprint;

    /// In either case, with or without colons, as OpenSSL and browsers print it.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let digits: String = text.trim().chars().filter(|character| *character != ':').collect();
        hex::decode_32(&digits).map(Self).ok_or(InvalidFingerprint)
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(&self.0))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Fingerprint({self})")
    }
}

fn texts<'a>(attributes: impl Iterator<Item = &'a AttributeTypeAndValue<'a>>) -> Vec<String> {
    attributes.filter_map(|attribute| attribute.as_str().ok()).map(str::to_owned).collect()
}

fn ip(bytes: &[u8]) -> Option<IpAddr> {
    let v4 = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
    v4.or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from)).ok().map(|ip| ip.to_canonical())
}

#[cfg(test)]
mod tests;
