//! Token requests as servers get them, and what is made of their answers.

use serde_json::json;

use super::*;
use crate::assertion::tests::{key, taken_apart};
use crate::connect::Connector;
use crate::credential::{CredentialError, Credentials};
use crate::fetch::Bounds;
use crate::testing::{Server, json};

const GRANTED: &str = r#"{"access_token":"abc","token_type":"bearer","expires_in":3600}"#;

fn with_secret(server: &Server, secret: config::SecretSource) -> config::OAuth2 {
    config::OAuth2 {
        client_id: "the id".to_owned(),
        grant: config::OAuth2Grant::ClientSecret(secret),
        scopes: vec!["a:b".to_owned(), "c".to_owned()],
        token_url: server.url("/token"),
        endpoint_params: vec![("audience".to_owned(), config::Secret::new("mimir"))],
        tls: None,
        proxy: None,
    }
}

fn inline(text: &str) -> config::SecretSource {
    config::SecretSource::Inline(config::Secret::new(text))
}

fn client(oauth2: config::OAuth2) -> Client {
    let bounds = Bounds { within: Duration::from_secs(20), body: 10_000 };
    Client::new(oauth2, Fetcher::new(Connector::new(TlsSource::new(None, false), bounds.within), bounds))
}

async fn ask(client: &Client) -> Result<Issued<HeaderValue>, String> {
    let issued = client.ask(&client.secret().unwrap(), SystemTime::now()).await;
    issued.map_err(|error| match std::error::Error::source(&error) {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    })
}

fn body(request: &str) -> &str {
    request.split_once("\r\n\r\n").unwrap().1
}

#[tokio::test]
async fn a_client_shows_its_secret_in_the_header_and_gets_a_token() {
    let server = Server::start(&[&json("200 OK", GRANTED)]).await;
    let issued = ask(&client(with_secret(&server, inline("s3cret/+")))).await.unwrap();
    assert_eq!((issued.value.to_str().unwrap(), issued.lifetime), ("Bearer abc", Some(Duration::from_secs(3600))));
    assert!(issued.value.is_sensitive());
    let request = server.requests().remove(0);
    assert!(request.starts_with("POST /token HTTP/1.1\r\n"), "{request}");
    let shown = STANDARD.encode("the+id:s3cret%2F%2B");
    assert!(request.contains(&format!("authorization: Basic {shown}\r\n")), "{request}");
    assert_eq!(body(&request), "grant_type=client_credentials&scope=a%3Ab+c&audience=mimir");
}

#[tokio::test]
async fn a_server_that_wants_the_secret_in_the_body_gets_it_there_and_that_is_remembered() {
    let refused = json("401 Unauthorized", r#"{"error":"invalid_client"}"#);
    let server = Server::start(&[&refused, &json("200 OK", GRANTED)]).await;
    let client = client(with_secret(&server, inline("s3cret")));
    for _ in 0..2 {
        ask(&client).await.unwrap();
    }
    let requests = server.requests();
    let places: Vec<_> = requests
        .iter()
        .map(|request| (request.contains("authorization: "), body(request).contains("client_secret=s3cret")))
        .collect();
    assert_eq!(places, [(true, false), (false, true), (false, true)]);
    assert!(body(&requests[1]).contains("&client_id=the+id&"), "{}", requests[1]);
}

#[tokio::test]
async fn a_refusal_is_told_in_the_servers_words_without_the_secret() {
    for (answer, expected) in [
        (
            json("400 Bad Request", r#"{"error":"invalid_scope","error_description":"s3cret may\n not"}"#),
            "400 Bad Request: invalid_scope: <secret> may not",
        ),
        (json("403 Forbidden", r#"{"message":"s3cret?"}"#), r#"403 Forbidden: {"message":"<secret>?"}"#),
        (
            json("503 Service Unavailable", &format!("later {}", STANDARD.encode("the+id:s3cret"))),
            "503 Service Unavailable: later <secret>",
        ),
    ] {
        let server = Server::start(&[&answer]).await;
        let error = ask(&client(with_secret(&server, inline("s3cret")))).await.unwrap_err();
        assert_eq!(error, format!("POST http://{}/token: {expected}", server.address()));
        let asked = if answer.contains("503") { 1 } else { 2 };
        assert_eq!(server.requests().len(), asked, "{answer}");
    }
}

#[tokio::test]
async fn an_answer_without_a_token_is_no_token() {
    for (answer, why) in [
        ("", "the body is no JSON object"),
        ("[]", "the body is no JSON object"),
        ("{}", "`access_token` is missing"),
        (r#"{"access_token":7}"#, "`access_token` is missing"),
        (r#"{"access_token":"a\nb"}"#, "`access_token` has characters that no header may have"),
    ] {
        let server = Server::start(&[&json("200 OK", answer)]).await;
        let error = ask(&client(with_secret(&server, inline("s")))).await.unwrap_err();
        let expected = format!("{} answered with no usable access token: {why}", server.url("/token").redacted());
        assert_eq!(error, expected);
    }
}

#[tokio::test]
async fn how_long_a_token_is_good_is_read_however_it_is_written() {
    for (field, seconds) in [
        (r#","expires_in":"90""#, Some(90.0)),
        (r#","expires_in":90.5"#, Some(90.5)),
        (r#","expires_in":0"#, None),
        (r#","expires_in":-1"#, None),
        (r#","expires_in":1e300"#, None),
        ("", None),
    ] {
        let server = Server::start(&[&json("200 OK", &format!(r#"{{"access_token":"a"{field}}}"#))]).await;
        let issued = ask(&client(with_secret(&server, inline("s")))).await.unwrap();
        assert_eq!(issued.lifetime, seconds.map(Duration::from_secs_f64), "{field}");
    }
}

#[tokio::test]
async fn endpoint_params_may_name_another_grant() {
    let server = Server::start(&[&json("200 OK", GRANTED)]).await;
    let mut oauth2 = with_secret(&server, inline("s"));
    oauth2.scopes.clear();
    oauth2.endpoint_params = vec![("grant_type".to_owned(), config::Secret::new("password"))];
    ask(&client(oauth2)).await.unwrap();
    assert_eq!(body(&server.requests()[0]), "grant_type=password");
}

#[tokio::test]
async fn a_client_with_a_key_sends_a_signed_assertion_and_nothing_else() {
    let server = Server::start(&[&json("200 OK", GRANTED)]).await;
    let (_, pem) = key();
    let grant = |issuer: Option<&str>, audience: Option<&str>| config::OAuth2Grant::JwtBearer {
        key: config::SecretSource::Inline(pem.clone()),
        key_id: Some("k1".to_owned()),
        signature_algorithm: "RS384".to_owned(),
        issuer: issuer.map(str::to_owned),
        audience: audience.map(str::to_owned),
        claims: vec![("team".to_owned(), "blue".to_owned())],
    };
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000);
    for (issuer, audience) in [(None, None), (Some("someone"), Some("somewhere"))] {
        let mut oauth2 = with_secret(&server, inline(""));
        oauth2.grant = grant(issuer, audience);
        let client = client(oauth2);
        client.ask(&client.secret().unwrap(), now).await.unwrap();
        let request = server.requests().pop().unwrap();
        assert!(!request.contains("authorization: "), "{request}");
        let assertion = body(&request)
            .strip_prefix("grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer&assertion=")
            .unwrap();
        let (header, mut claims) = taken_apart(assertion);
        assert_eq!(header, json!({"alg": "RS384", "typ": "JWT", "kid": "k1"}));
        assert_eq!(claims["jti"].take().as_str().map(str::len), Some(36));
        let expected = json!({
            "iss": issuer.unwrap_or("the id"), "sub": "the id", "jti": null, "iat": 1_000, "exp": 1_600,
            "aud": audience.map_or_else(|| server.url("/token").expose(), str::to_owned),
            "scope": "a:b c", "team": "blue",
        });
        assert_eq!(claims, expected);
    }
}

#[tokio::test]
async fn endpoints_with_the_same_settings_share_a_token_and_a_changed_secret_file_gets_another() {
    let server = Server::start(&[&json("200 OK", GRANTED)]).await;
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "one\n").unwrap();
    let auth = |id: &str| {
        let mut oauth2 = with_secret(&server, config::SecretSource::File(file.path().to_owned()));
        oauth2.client_id = id.to_owned();
        config::Auth::OAuth2(Box::new(oauth2))
    };
    let credentials = Credentials::default();
    let (a, b, other) =
        (credentials.of(&auth("x"), None), credentials.of(&auth("x"), None), credentials.of(&auth("y"), None));
    let show = async |credential: &crate::credential::Credential| {
        let mut request = http::Request::new(());
        let shown = credential.show(&mut request, &[], SystemTime::now()).await?;
        assert_eq!(request.headers()[AUTHORIZATION], "Bearer abc");
        assert!(!credential.refused(&shown), "it is new");
        Ok::<_, CredentialError>(())
    };
    for credential in [&a, &b, &a, &other] {
        show(credential).await.unwrap();
    }
    assert_eq!(server.requests().len(), 2);
    std::fs::write(file.path(), "two\n").unwrap();
    show(&a).await.unwrap();
    let last = server.requests().pop().unwrap();
    assert!(last.contains(&format!("authorization: Basic {}", STANDARD.encode("x:two"))), "{last}");
    std::fs::remove_file(file.path()).unwrap();
    let error = show(&b).await.unwrap_err();
    assert!(error.to_string().starts_with("read "), "{error}");
}
