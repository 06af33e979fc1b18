//! Token requests as Entra ID and a machine's metadata service get them.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::json;

use super::*;
use crate::assertion::tests::{key, taken_apart};
use crate::connect::Connector;
use crate::fetch::{Bounds, encode_form};
use crate::testing::{Server, json as answer};
use crate::tls::TlsSource;

const ID: &str = "00000000-0000-0000-0000-00000000000a";
const GRANTED: &str = r#"{"access_token":"abc","token_type":"Bearer","expires_in":"3599"}"#;

fn fetcher() -> Fetcher {
    let bounds = Bounds { within: Duration::from_secs(20), body: 10_000 };
    Fetcher::new(Connector::new(TlsSource::new(None, false), bounds.within), bounds)
}

fn client(azure: &config::AzureAd, variables: &[(&str, &str)]) -> Client {
    let variables: BTreeMap<&str, &str> = variables.iter().copied().collect();
    Client::new(azure, fetcher(), fetcher(), |name| variables.get(name).map(|value| (*value).to_owned()))
}

fn settings(identity: config::AzureIdentity) -> config::AzureAd {
    config::AzureAd { cloud: config::AzureCloud::Public, identity, scope: None }
}

fn application(secret: config::SecretSource) -> config::AzureIdentity {
    config::AzureIdentity::OAuth { client_id: ID.to_owned(), client_secret: secret, tenant_id: "t.example".to_owned() }
}

/// Asks a double of Entra ID, and gives what it was asked.
async fn asked(azure: &config::AzureAd) -> String {
    let server = Server::start(&[&answer("200 OK", GRANTED)]).await;
    let authority = server.url("/").expose();
    let client = client(azure, &[("AZURE_AUTHORITY_HOST", &authority)]);
    let issued = client.ask(&client.secret().unwrap(), SystemTime::UNIX_EPOCH + Duration::from_secs(1_000)).await;
    let issued = issued.unwrap();
    assert_eq!((issued.value.to_str().unwrap(), issued.lifetime), ("Bearer abc", Some(Duration::from_secs(3599))));
    let request = server.requests().remove(0);
    request.replace(&authority, "https://login/")
}

fn body(request: &str) -> &str {
    request.split_once("\r\n\r\n").unwrap().1
}

fn start(scope: &str) -> String {
    encode_form(&[("grant_type", "client_credentials"), ("client_id", ID), ("scope", scope)])
}

#[tokio::test]
async fn an_application_shows_its_secret_and_asks_for_the_clouds_scope() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "s3cret\n").unwrap();
    for (cloud, scope, expected) in [
        (config::AzureCloud::Public, None, "https://monitor.azure.com//.default"),
        (config::AzureCloud::China, None, "https://monitor.azure.cn//.default"),
        (config::AzureCloud::Government, None, "https://monitor.azure.us//.default"),
        (config::AzureCloud::Government, Some("api://own/.default"), "api://own/.default"),
    ] {
        let mut azure = settings(application(config::SecretSource::File(file.path().to_owned())));
        (azure.cloud, azure.scope) = (cloud, scope.map(str::to_owned));
        let request = asked(&azure).await;
        assert!(request.starts_with("POST /t.example/oauth2/v2.0/token HTTP/1.1\r\n"), "{request}");
        assert_eq!(body(&request), format!("{}&client_secret=s3cret", start(expected)));
    }
}

#[test]
fn each_cloud_has_its_own_place_to_ask() {
    for (cloud, expected) in [
        (config::AzureCloud::Public, "https://login.microsoftonline.com/t/oauth2/v2.0/token"),
        (config::AzureCloud::China, "https://login.chinacloudapi.cn/t/oauth2/v2.0/token"),
        (config::AzureCloud::Government, "https://login.microsoftonline.us/t/oauth2/v2.0/token"),
    ] {
        let mut azure = settings(config::AzureIdentity::Managed { client_id: None });
        azure.cloud = cloud;
        assert_eq!(client(&azure, &[]).token_url("t").unwrap().expose(), expected);
    }
}

#[tokio::test]
async fn a_service_account_shows_its_token() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "projected.token\n").unwrap();
    let identity = config::AzureIdentity::Workload {
        client_id: ID.to_owned(),
        tenant_id: ID.to_owned(),
        token_file: file.path().to_owned(),
    };
    let request = asked(&settings(identity)).await;
    let shown = encode_form(&[("client_assertion_type", ASSERTION_TYPE), ("client_assertion", "projected.token")]);
    assert_eq!(body(&request), format!("{}&{shown}", start("https://monitor.azure.com//.default")));
}

#[tokio::test]
async fn an_application_with_a_certificate_signs_with_its_key() {
    let (_, pem) = key();
    let pair = rcgen::KeyPair::from_pem_and_sign_algo(pem.expose(), &rcgen::PKCS_RSA_SHA256).unwrap();
    let certificate = rcgen::CertificateParams::new(vec!["writegate".to_owned()]).unwrap().self_signed(&pair).unwrap();
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), format!("{}{}", pem.expose(), certificate.pem())).unwrap();
    let identity = config::AzureIdentity::Certificate {
        client_id: ID.to_owned(),
        certificate: file.path().to_owned(),
        tenant_id: "t".to_owned(),
    };
    let request = asked(&settings(identity.clone())).await;
    let (form, assertion) = body(&request).split_once("&client_assertion=").unwrap();
    let kind = encode_form(&[("client_assertion_type", ASSERTION_TYPE)]);
    assert_eq!(form, format!("{}&{kind}", start("https://monitor.azure.com//.default")));
    let (header, mut claims) = taken_apart(assertion);
    let thumbprint = URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, certificate.der()));
    assert_eq!(header, json!({"alg": "PS256", "typ": "JWT", "x5t#S256": thumbprint}));
    assert_eq!(claims["jti"].take().as_str().map(str::len), Some(36));
    let audience = claims["aud"].take();
    assert!(audience.as_str().unwrap().ends_with("/t/oauth2/v2.0/token"), "{audience}");
    let expected = json!({"aud": null, "iss": ID, "sub": ID, "jti": null, "nbf": 1_000, "iat": 1_000, "exp": 1_600});
    assert_eq!(claims, expected);

    std::fs::write(file.path(), "PKCS #12").unwrap();
    let client = client(&settings(identity), &[]);
    let error = client.ask(&client.secret().unwrap(), SystemTime::now()).await.unwrap_err();
    assert!(error.to_string().contains("PKCS #12 is not read; convert it"), "{error}");
}

#[tokio::test]
async fn a_machine_asks_its_metadata_for_the_resource_of_the_scope() {
    for (client_id, more) in [(None, String::new()), (Some(ID), format!("&client_id={ID}"))] {
        let server = Server::start(&[&answer("200 OK", GRANTED)]).await;
        let metadata = server.url("/").expose();
        let identity = config::AzureIdentity::Managed { client_id: client_id.map(str::to_owned) };
        let client = client(&settings(identity), &[("AZURE_POD_IDENTITY_AUTHORITY_HOST", &metadata)]);
        client.ask(&client.secret().unwrap(), SystemTime::now()).await.unwrap();
        let request = server.requests().remove(0);
        let path = "/metadata/identity/oauth2/token?api-version=2018-02-01&resource=https%3A%2F%2Fmonitor.azure.com%2F";
        assert!(request.starts_with(&format!("GET {path}{more} HTTP/1.1\r\n")), "{request}");
        assert!(request.contains("metadata: true\r\n"), "{request}");
    }
}

#[tokio::test]
async fn a_refusal_is_told_without_the_secret() {
    let refusal = r#"{"error":"invalid_client","error_description":"AADSTS7000215: not s3cret"}"#;
    let server = Server::start(&[&answer("401 Unauthorized", refusal)]).await;
    let authority = server.url("/").expose();
    let azure = settings(application(config::SecretSource::Inline(config::Secret::new("s3cret"))));
    let client = client(&azure, &[("AZURE_AUTHORITY_HOST", &authority)]);
    let error = client.ask(&client.secret().unwrap(), SystemTime::now()).await.unwrap_err();
    let told = format!("{error}: {}", std::error::Error::source(&error).unwrap());
    let expected = "401 Unauthorized: invalid_client: AADSTS7000215: not <secret>";
    assert_eq!(told, format!("POST {authority}t.example/oauth2/v2.0/token: {expected}"));
}
