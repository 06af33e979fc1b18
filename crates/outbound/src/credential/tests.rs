//! Through which proxy tokens and keys are asked for, and what is shared.

use std::error::Error;

use super::*;
use crate::testing::{Server, json};

fn proxy(server: &Server) -> config::Proxy {
    let user = Some(("user".to_owned(), config::Secret::new("p")));
    let choice = config::ProxyChoice::Url { url: server.url("/"), user, no_proxy: Vec::new() };
    config::Proxy { choice, connect_headers: Vec::new() }
}

async fn shown(credential: &Credential) -> Result<String, String> {
    let mut request = Request::post("https://mimir.invalid/write").body(()).unwrap();
    credential.show(&mut request, &[], SystemTime::now()).await.map_err(|error| {
        let mut told = error.to_string();
        let mut cause = error.source();
        while let Some(error) = cause {
            told.push_str(&format!(": {error}"));
            cause = error.source();
        }
        told
    })?;
    Ok(request.headers()[AUTHORIZATION].to_str().unwrap().to_owned())
}

#[tokio::test]
async fn a_token_server_is_asked_through_its_own_proxy_and_not_the_endpoints() {
    let own = Server::start(&[&json("200 OK", r#"{"access_token":"abc"}"#)]).await;
    let endpoints = Server::start(&[&json("500 Internal Server Error", "{}")]).await;
    let oauth2 = config::OAuth2 {
        client_id: "a".to_owned(),
        grant: config::OAuth2Grant::ClientSecret(config::SecretSource::default()),
        scopes: Vec::new(),
        token_url: config::Url::parse("http://tokens.invalid/token").unwrap(),
        endpoint_params: Vec::new(),
        tls: None,
        proxy: Some(proxy(&own)),
    };
    let credential = Credentials::default().of(&config::Auth::OAuth2(Box::new(oauth2)), Some(&proxy(&endpoints)));
    assert_eq!(shown(&credential).await, Ok("Bearer abc".to_owned()));
    let asked = own.requests().remove(0);
    assert!(asked.starts_with("POST http://tokens.invalid/token HTTP/1.1\r\n"), "{asked}");
    assert!(asked.contains(&format!("proxy-authorization: Basic {}\r\n", STANDARD.encode("user:p"))), "{asked}");
    assert!(endpoints.requests().is_empty());
}

#[tokio::test]
async fn clouds_are_asked_through_the_endpoints_proxy() {
    let endpoints = Server::start(&[&json("502 Bad Gateway", "")]).await;
    let proxy = proxy(&endpoints);
    let sigv4 = config::Auth::SigV4(config::SigV4 {
        region: Some("eu-west-1".to_owned()),
        keys: Some(("AKID".to_owned(), config::SecretSource::default())),
        profile: None,
        role_arn: Some("arn".to_owned()),
        external_id: None,
        use_fips_sts_endpoint: false,
        service_name: None,
    });
    let azure = config::Auth::AzureAd(config::AzureAd {
        cloud: config::AzureCloud::Public,
        identity: config::AzureIdentity::OAuth {
            client_id: "a".to_owned(),
            client_secret: config::SecretSource::default(),
            tenant_id: "t".to_owned(),
        },
        scope: None,
    });
    for (auth, start, host) in [
        (sigv4, "get keys for AWS: POST https://sts.eu-west-1.amazonaws.com/", "sts.eu-west-1.amazonaws.com"),
        (
            azure,
            "get an access token: POST https://login.microsoftonline.com/t/oauth2/v2.0/token",
            "login.microsoftonline.com",
        ),
    ] {
        let told = shown(&Credentials::default().of(&auth, Some(&proxy))).await.unwrap_err();
        let why = format!("the proxy http://{} does not connect to {host}:443: 502 Bad Gateway", endpoints.address());
        assert_eq!(told, format!("{start}: cannot connect: {why}"));
    }
}

#[tokio::test]
async fn what_cannot_be_in_a_header_is_told_and_not_shown() {
    let credentials = config::SecretSource::Inline(config::Secret::new("s3cret\n"));
    let auth = config::Auth::Authorization { scheme: "Bearer".to_owned(), credentials };
    let told = shown(&Credentials::default().of(&auth, None)).await.unwrap_err();
    assert_eq!(told, "the credential has characters that no header may have");
}

#[test]
fn what_is_issued_is_shared_by_those_who_ask_alike_and_forgotten_with_the_last_of_them() {
    let credentials = Credentials::default();
    let azure = |scope: &str| {
        let identity = config::AzureIdentity::Managed { client_id: None };
        config::Auth::AzureAd(config::AzureAd {
            cloud: config::AzureCloud::Public,
            identity,
            scope: Some(scope.to_owned()),
        })
    };
    let of = |scope: &str| match credentials.of(&azure(scope), None).0 {
        Kind::Shared(shared) => shared,
        kind => panic!("{kind:?}"),
    };
    let (one, same, other) = (of("a"), of("a"), of("b"));
    assert!(Arc::ptr_eq(&one, &same) && !Arc::ptr_eq(&one, &other));
    drop((one, same, other));
    let _fresh = of("c");
    assert_eq!(credentials.shared.lock().unwrap().len(), 1);
}
