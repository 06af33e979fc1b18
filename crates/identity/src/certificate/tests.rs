//! Which tenant and subject a certificate speaks for.

use proptest::prelude::*;
use rcgen::{CertificateParams, CustomExtension, DistinguishedName, DnType, KeyPair, SanType};

use super::*;

/// `OU`, as a type of its own: rcgen takes each of its types once.
const SECOND_OU: &[u64] = &[2, 5, 4, 11];

fn der(subject: &[(DnType, &str)], names: Vec<SanType>) -> Vec<u8> {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    for (kind, value) in subject {
        params.distinguished_name.push(kind.clone(), *value);
    }
    params.subject_alt_names = names;
    params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().to_vec()
}

fn blue() -> Vec<u8> {
    let subject = [
        (DnType::CommonName, "blue.agents.example.org"),
        (DnType::OrganizationName, "Example"),
        (DnType::OrganizationalUnitName, "agents"),
        (DnType::CustomDnType(SECOND_OU.to_vec()), "team-blue"),
    ];
    let names = vec![
        SanType::IpAddress("192.0.2.7".parse().unwrap()),
        SanType::IpAddress("2001:db8::1".parse().unwrap()),
        SanType::DnsName("blue.example.org".try_into().unwrap()),
        SanType::URI("spiffe://example.org/blue".try_into().unwrap()),
        SanType::Rfc822Name("blue@example.org".try_into().unwrap()),
        SanType::Rfc822Name("other@example.org".try_into().unwrap()),
    ];
    der(&subject, names)
}

fn rules(field: Field, pattern: &str) -> CertificateRules {
    CertificateRules::Field { field, pattern: pattern.parse().unwrap() }
}

#[test]
fn all_names_are_read() {
    let certificate = Certificate::from_der(&blue()).unwrap();
    assert_eq!(certificate.common_names, ["blue.agents.example.org"]);
    assert_eq!(certificate.organizations, ["Example"]);
    assert_eq!(certificate.organizational_units, ["agents", "team-blue"]);
    assert_eq!(certificate.uris, ["spiffe://example.org/blue"]);
    assert_eq!(certificate.dns_names, ["blue.example.org"]);
    assert_eq!(certificate.emails, ["blue@example.org", "other@example.org"]);
    let ips: Vec<_> = certificate.ips.iter().map(IpAddr::to_string).collect();
    assert_eq!(ips, ["192.0.2.7", "2001:db8::1"]);
}

#[test]
fn the_tenant_is_the_only_match_in_the_field() {
    let certificate = Certificate::from_der(&blue()).unwrap();
    let tenant = |tenant: &str| Ok(tenant.to_owned());
    let ambiguous =
        |tenants: &[&str]| Err(TenantError::Ambiguous { tenants: tenants.iter().map(|t| (*t).to_owned()).collect() });
    for (field, pattern, expected) in [
        (Field::CommonName, "{tenant}.agents.example.org", tenant("blue")),
        (Field::CommonName, "{tenant}.example.com", Err(TenantError::NoTenant)),
        (Field::SanUri, "spiffe://example.org/{tenant}", tenant("blue")),
        (Field::SanDns, "{tenant}.example.org", tenant("blue")),
        (Field::SanEmail, "b{tenant}@example.org", tenant("lue")),
        (Field::SanEmail, "{tenant}@example.org", ambiguous(&["blue", "other"])),
        (Field::OrganizationalUnit, "team-{tenant}", tenant("blue")),
        (Field::OrganizationalUnit, "{tenant}", ambiguous(&["agents", "team-blue"])),
        (Field::Organization, "{tenant}", tenant("Example")),
    ] {
        assert_eq!(rules(field, pattern).tenant_of(&certificate), expected, "{field:?} {pattern}");
    }
}

#[test]
fn the_same_tenant_twice_is_no_ambiguity() {
    let twice = || SanType::URI("spiffe://example.org/blue".try_into().unwrap());
    let certificate = Certificate::from_der(&der(&[], vec![twice(), twice()])).unwrap();
    assert_eq!(rules(Field::SanUri, "spiffe://example.org/{tenant}").tenant_of(&certificate).unwrap(), "blue");
}

#[test]
fn a_fingerprint_is_known_with_colons_and_in_either_case() {
    let der = blue();
    let certificate = Certificate::from_der(&der).unwrap();
    let plain = certificate.fingerprint.to_string();
    assert_eq!(plain, hex::encode(&sha256(&der)));
    let pairs: Vec<String> =
        plain.as_bytes().chunks(2).map(|pair| String::from_utf8_lossy(pair).to_uppercase()).collect();
    for text in [plain.clone(), plain.to_uppercase(), pairs.join(":"), format!(" {plain}\n")] {
        let listed = CertificateRules::Fingerprints([(text.parse().unwrap(), "blue".to_owned())].into());
        assert_eq!(listed.tenant_of(&certificate).unwrap(), "blue", "{text}");
    }
    let other = CertificateRules::Fingerprints([(Fingerprint::of(b"other"), "blue".to_owned())].into());
    assert_eq!(other.tenant_of(&certificate), Err(TenantError::NoTenant));
    for wrong in ["", ":", &plain[1..], "sha256:00", &format!("{plain}:00")] {
        assert_eq!(wrong.parse::<Fingerprint>(), Err(InvalidFingerprint), "{wrong}");
    }
}

#[test]
fn the_subject_is_the_first_name_in_observatoriums_order_and_its_groups_the_units() {
    let mut certificate = Certificate::from_der(&blue()).unwrap();
    let subject = certificate.subject().unwrap();
    assert_eq!((subject.name.as_str(), subject.groups), ("blue@example.org", certificate.organizational_units.clone()));
    certificate.emails.clear();
    assert_eq!(certificate.subject().unwrap().name, "spiffe://example.org/blue");
    certificate.uris.clear();
    assert_eq!(certificate.subject().unwrap().name, "blue.example.org");
    certificate.dns_names.clear();
    assert_eq!(certificate.subject().unwrap().name, "192.0.2.7");
    certificate.ips.clear();
    assert_eq!(certificate.subject(), Err(NoSubject), "the common name is no subject");
}

#[test]
fn a_certificate_without_names_names_nobody() {
    let certificate = Certificate::from_der(&der(&[], Vec::new())).unwrap();
    assert_eq!(rules(Field::CommonName, "{tenant}").tenant_of(&certificate), Err(TenantError::NoTenant));
    assert_eq!(certificate.subject(), Err(NoSubject));
}

#[test]
fn what_is_malformed_is_refused_as_a_whole() {
    let der = blue();
    assert_eq!(Certificate::from_der(b""), Err(CertificateError::NotX509));
    assert_eq!(Certificate::from_der(&der[..der.len() - 1]), Err(CertificateError::NotX509));
    assert_eq!(Certificate::from_der(&[der.as_slice(), b"x"].concat()), Err(CertificateError::NotX509));
    // GeneralNames of a good URI (`spiffe`), and: an IP of three bytes; a DNS name that is no ASCII; no sequence at all.
    for content in
        [&b"\x30\x0d\x86\x06spiffe\x87\x03\x01\x02\x03"[..], b"\x30\x0c\x86\x06spiffe\x82\x02\xff\xff", b"\x04\x01\x00"]
    {
        let mut params = CertificateParams::default();
        params.custom_extensions = vec![CustomExtension::from_oid_content(&[2, 5, 29, 17], content.to_vec())];
        let der = params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().to_vec();
        assert_eq!(Certificate::from_der(&der), Err(CertificateError::BadAlternativeName), "{content:?}");
    }
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(at in 0_usize..500, byte in any::<u8>(), rubbish in proptest::collection::vec(any::<u8>(), 0..80)) {
        static DER: std::sync::LazyLock<Vec<u8>> = std::sync::LazyLock::new(blue);
        let mut der = DER.clone();
        let at = at % der.len();
        der[at] = byte;
        let changed = Certificate::from_der(&der);
        prop_assert!(changed.is_err() || changed.is_ok_and(|changed| changed.fingerprint == Fingerprint::of(&der)));
        prop_assert!(Certificate::from_der(&rubbish).is_err());
    }
}
