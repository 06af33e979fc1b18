//! Keys from each place they can be in, roles from a double of STS, and what is told when there are none.

use std::collections::BTreeMap;
use std::error::Error;
use std::fs;
use std::time::Duration;

use super::*;
use crate::connect::Connector;
use crate::fetch::Bounds;
use crate::testing::{Server, json};
use crate::tls::TlsSource;

fn fetcher() -> Fetcher {
    let bounds = Bounds { within: Duration::from_secs(20), body: 10_000 };
    Fetcher::new(Connector::new(TlsSource::new(None, false), bounds.within), bounds)
}

fn settings() -> config::SigV4 {
    config::SigV4 {
        region: None,
        keys: None,
        profile: None,
        role_arn: None,
        external_id: None,
        use_fips_sts_endpoint: false,
        service_name: None,
    }
}

/// A signer in an environment.
fn signer(sigv4: &config::SigV4, variables: &[(&str, &str)]) -> Signer {
    let variables: BTreeMap<&str, &str> = variables.iter().copied().collect();
    Signer::new(sigv4, fetcher(), fetcher(), |name| variables.get(name).map(|value| (*value).to_owned()))
}

/// 2015-08-30T12:36:00Z.
fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_440_938_160)
}

/// The `Authorization` of a request that is signed, and its session token.
async fn signed(signer: &Signer) -> Result<(String, Option<String>), String> {
    let mut request = Request::post("https://aps.example/write").body(()).unwrap();
    signer.sign(&mut request, &[], now()).await.map_err(|error| {
        let mut told = error.to_string();
        let mut cause = error.source();
        while let Some(error) = cause {
            told.push_str(&format!(": {error}"));
            cause = error.source();
        }
        told
    })?;
    let header = |name: &str| Some(request.headers().get(name)?.to_str().unwrap().to_owned());
    Ok((header("authorization").unwrap(), header("x-amz-security-token")))
}

/// Whose keys sign, for which region and service, and with which token.
async fn scope(signer: &Signer) -> Result<(String, Option<String>), String> {
    let (authorization, token) = signed(signer).await?;
    let credential = authorization.split("Credential=").nth(1).unwrap().split(',').next().unwrap();
    Ok((credential.to_owned(), token))
}

fn of(access_key: &str, region: &str) -> (String, Option<String>) {
    (format!("{access_key}/20150830/{region}/aps/aws4_request"), None)
}

fn with(mut scope: (String, Option<String>), token: &str) -> (String, Option<String>) {
    scope.1 = Some(token.to_owned());
    scope
}

const KEYS: [(&str, &str); 4] = [
    ("AWS_ACCESS_KEY_ID", "ENV"),
    ("AWS_SECRET_ACCESS_KEY", "s3cret"),
    ("AWS_SESSION_TOKEN", "session"),
    ("AWS_REGION", "eu-west-1"),
];

#[tokio::test]
async fn what_is_written_comes_before_the_environment() {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), "s3cret\n").unwrap();
    let mut sigv4 = settings();
    sigv4.keys = Some(("OWN".to_owned(), config::SecretSource::File(file.path().to_owned())));
    sigv4.region = Some("us-east-1".to_owned());
    let signer_of_file = signer(&sigv4, &KEYS);
    assert_eq!(scope(&signer_of_file).await, Ok(of("OWN", "us-east-1")));
    let before = signed(&signer_of_file).await.unwrap();
    fs::write(file.path(), "other\n").unwrap();
    assert_ne!(signed(&signer_of_file).await.unwrap(), before, "the file is read again");

    assert_eq!(scope(&signer(&settings(), &KEYS)).await, Ok(with(of("ENV", "eu-west-1"), "session")));
    let mut other = settings();
    other.service_name = Some("es".to_owned());
    let (credential, _) = scope(&signer(&other, &KEYS)).await.unwrap();
    assert_eq!(credential, "ENV/20150830/eu-west-1/es/aws4_request");
}

#[tokio::test]
async fn profiles_are_read_as_awss_tools_write_them_and_again_when_they_change() {
    let home = tempfile::tempdir().unwrap();
    let at = |name: &str| home.path().join(".aws").join(name);
    fs::create_dir(home.path().join(".aws")).unwrap();
    fs::write(
        at("credentials"),
        "# a comment\n[default]\naws_access_key_id = DEFAULT\naws_secret_access_key=x\n\n[team]\naws_access_key_id=TEAM\n\
         aws_secret_access_key = y=z\naws_session_token = t\n[half]\naws_access_key_id=HALF\n",
    )
    .unwrap();
    fs::write(
        at("config"),
        "[default]\nregion = eu-central-1\ns3 =\n  region = nested\n[profile team]\nregion=eu-north-1\n\
         [profile chained]\nrole_arn = arn\nsource_profile = team\n",
    )
    .unwrap();
    let home_is = ("HOME", home.path().to_str().unwrap());
    let named = |name: &str| config::SigV4 { profile: Some(name.to_owned()), ..settings() };
    assert_eq!(scope(&signer(&settings(), &[home_is])).await, Ok(of("DEFAULT", "eu-central-1")));
    let team = with(of("TEAM", "eu-north-1"), "t");
    assert_eq!(scope(&signer(&settings(), &[home_is, ("AWS_PROFILE", "team")])).await, Ok(team.clone()));
    let signer_of_team = signer(&named("team"), &[home_is, KEYS[0], KEYS[1]]);
    assert_eq!(scope(&signer_of_team).await, Ok(team), "a profile that is written comes before the environment");
    fs::write(at("credentials"), "[team]\naws_access_key_id=ROTATED\naws_secret_access_key=y\n").unwrap();
    assert_eq!(scope(&signer_of_team).await, Ok(of("ROTATED", "eu-north-1")));

    fs::write(at("config"), "[default]\nregion = eu-south-1\nsso_session = s\n[profile chained]\nrole_arn = arn\n")
        .unwrap();
    let with_keys = signer(&settings(), &[home_is, KEYS[0], KEYS[1]]);
    assert_eq!(scope(&with_keys).await, Ok(of("ENV", "eu-south-1")), "only the region is asked for");
    let error = scope(&signer(&settings(), &[home_is])).await.unwrap_err();
    assert!(error.contains("gets its keys by `sso_session`"), "{error}");

    let region = KEYS[3];
    for (name, why) in [
        ("absent", "has no aws_access_key_id and aws_secret_access_key in "),
        ("chained", "gets its keys by `role_arn`, which is not followed here; use keys, or `role_arn` of sigv4"),
    ] {
        let error = scope(&signer(&named(name), &[home_is, region])).await.unwrap_err();
        assert!(error.starts_with(&format!("sign for AWS: profile {name:?} {why}")), "{error}");
    }
}

#[tokio::test]
async fn who_has_neither_region_nor_keys_is_told_so() {
    let no_region = scope(&signer(&settings(), &KEYS[..3])).await.unwrap_err();
    assert_eq!(no_region, "sign for AWS: no region is known; write `region` into sigv4, or set AWS_REGION");
    let disabled = [KEYS[3], ("AWS_EC2_METADATA_DISABLED", "true")];
    let no_keys = scope(&signer(&settings(), &disabled)).await.unwrap_err();
    assert_eq!(no_keys, "sign for AWS: AWS_EC2_METADATA_DISABLED is true, and nothing else has keys");
    let half = scope(&signer(&settings(), &[KEYS[3], ("AWS_WEB_IDENTITY_TOKEN_FILE", "/t")])).await.unwrap_err();
    assert_eq!(half, "sign for AWS: AWS_ROLE_ARN is not set, and AWS_WEB_IDENTITY_TOKEN_FILE is");
}

fn sts_answer(action: &str) -> String {
    let body = format!(
        "<{action}Response xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><{action}Result><Credentials>\
         <AccessKeyId>ROLE</AccessKeyId><SecretAccessKey>rs3cret</SecretAccessKey>\n<SessionToken>role/token==</SessionToken>\
         <Expiration>2015-08-30T13:36:00Z</Expiration></Credentials></{action}Result></{action}Response>"
    );
    json("200 OK", &body)
}

#[tokio::test]
async fn a_role_is_assumed_with_the_keys_and_kept_until_it_expires() {
    let sts = Server::start(&[&sts_answer("AssumeRole")]).await;
    let url = sts.url("/").expose();
    let variables = [KEYS[0], KEYS[1], KEYS[2], KEYS[3], ("AWS_ENDPOINT_URL_STS", url.as_str())];
    let sigv4 = config::SigV4 {
        role_arn: Some("arn:aws:iam::1:role/write".to_owned()),
        external_id: Some("an id".to_owned()),
        ..settings()
    };
    let signer = signer(&sigv4, &variables);
    for _ in 0..3 {
        assert_eq!(scope(&signer).await, Ok(with(of("ROLE", "eu-west-1"), "role/token==")));
    }
    let [asked] = sts.requests().try_into().unwrap();
    let (head, body) = asked.split_once("\r\n\r\n").unwrap();
    let expected = "Action=AssumeRole&Version=2011-06-15&RoleArn=arn%3Aaws%3Aiam%3A%3A1%3Arole%2Fwrite&\
                    RoleSessionName=writegate&ExternalId=an+id";
    assert_eq!(body, expected);
    assert!(head.contains("Credential=ENV/20150830/eu-west-1/sts/aws4_request"), "{head}");
    assert!(head.contains("x-amz-security-token: session"), "{head}");
}

#[tokio::test]
async fn a_role_that_is_denied_is_told_in_awss_words_and_no_secret() {
    let denied = "<ErrorResponse><Error><Type>Sender</Type><Code>AccessDenied</Code><Message>User is not\n authorized\
                  </Message></Error></ErrorResponse>";
    let sts = Server::start(&[&json("403 Forbidden", denied)]).await;
    let url = sts.url("/").expose();
    let sigv4 = config::SigV4 { role_arn: Some("arn".to_owned()), ..settings() };
    let signer = signer(&sigv4, &[KEYS[0], KEYS[1], KEYS[3], ("AWS_ENDPOINT_URL_STS", &url)]);
    let error = scope(&signer).await.unwrap_err();
    assert_eq!(error, format!("get keys for AWS: POST {url}: 403 Forbidden: AccessDenied: User is not authorized"));
    assert!(!format!("{signer:?}").contains("s3cret"), "{signer:?}");

    let empty = Server::start(&[&json("200 OK", "<AccessKeyId>A</AccessKeyId>")]).await;
    let url = empty.url("/").expose();
    let signer = self::signer(&sigv4, &[KEYS[0], KEYS[1], KEYS[3], ("AWS_ENDPOINT_URL_STS", &url)]);
    let error = scope(&signer).await.unwrap_err();
    assert_eq!(error, format!("get keys for AWS: {url} answered with no usable keys: `SecretAccessKey` is missing"));
}

#[tokio::test]
async fn sts_is_asked_in_the_region_and_at_its_fips_address_if_wanted() {
    for (region, fips, expected) in [
        ("eu-west-1", false, "https://sts.eu-west-1.amazonaws.com/"),
        ("us-east-2", true, "https://sts-fips.us-east-2.amazonaws.com/"),
        ("cn-north-1", false, "https://sts.cn-north-1.amazonaws.com.cn/"),
    ] {
        let sigv4 = config::SigV4 { use_fips_sts_endpoint: fips, ..settings() };
        assert_eq!(signer(&sigv4, &[]).sts(region).unwrap().expose(), expected);
    }
}

#[tokio::test]
async fn a_service_account_gets_its_role_for_its_token_unsigned() {
    let sts = Server::start(&[&sts_answer("AssumeRoleWithWebIdentity")]).await;
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), "web-token\n").unwrap();
    let url = sts.url("/").expose();
    let variables = [
        KEYS[3],
        ("AWS_ENDPOINT_URL_STS", url.as_str()),
        ("AWS_WEB_IDENTITY_TOKEN_FILE", file.path().to_str().unwrap()),
        ("AWS_ROLE_ARN", "arn"),
    ];
    let signer = signer(&settings(), &variables);
    for _ in 0..2 {
        assert_eq!(scope(&signer).await, Ok(with(of("ROLE", "eu-west-1"), "role/token==")));
    }
    let [asked] = sts.requests().try_into().unwrap();
    let expected = "Action=AssumeRoleWithWebIdentity&Version=2011-06-15&RoleArn=arn&RoleSessionName=writegate&\
                    WebIdentityToken=web-token";
    assert!(asked.ends_with(expected) && !asked.contains("authorization: "), "{asked}");
}

const AGENTS_ANSWER: &str = r#"{"Code":"Success","AccessKeyId":"AGENT","SecretAccessKey":"x","Token":"at","Expiration":"2015-08-30T13:36:00Z"}"#;

#[tokio::test]
async fn an_agent_beside_the_container_is_asked_with_its_token_and_no_stranger_is() {
    let agent = Server::start(&[&json("200 OK", AGENTS_ANSWER)]).await;
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), "agent-token\n").unwrap();
    let url = agent.url("/v1/credentials").expose();
    let token_file = ("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", file.path().to_str().unwrap());
    let container = |url| [KEYS[3], ("AWS_CONTAINER_CREDENTIALS_FULL_URI", url), token_file];
    let signer_in_container = signer(&settings(), &container(&url));
    assert_eq!(scope(&signer_in_container).await, Ok(with(of("AGENT", "eu-west-1"), "at")));
    let asked = agent.requests().remove(0);
    assert!(asked.starts_with("GET /v1/credentials HTTP/1.1\r\n"), "{asked}");
    assert!(asked.contains("authorization: agent-token\r\n"), "{asked}");

    let stranger = signer(&settings(), &container("http://stranger.example/"));
    let error = scope(&stranger).await.unwrap_err();
    let why = "is neither https nor this machine nor an agent of AWS";
    assert_eq!(error, format!("sign for AWS: AWS_CONTAINER_CREDENTIALS_FULL_URI {why}"));
    let relative = signer(&settings(), &[("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "/v2/x")]);
    let Source::Profile { otherwise: Some(otherwise), .. } = &relative.source else { panic!("{:?}", relative.source) };
    assert!(format!("{otherwise:?}").contains("http://169.254.170.2/v2/x"), "{otherwise:?}");
    for host in ["https://any.example", "http://127.0.0.1", "http://169.254.170.23", "http://[fd00:ec2::23]"] {
        assert!(may_be_agent(&config::Url::parse(host).unwrap()), "{host}");
    }
}

#[tokio::test]
async fn an_instance_is_asked_for_its_role_within_a_session() {
    let text = |body: &str| format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    let metadata = Server::start(&[&text("session"), &text("the role\n"), &json("200 OK", AGENTS_ANSWER)]).await;
    let url = metadata.url("/").expose();
    let signer = signer(&settings(), &[KEYS[3], ("AWS_EC2_METADATA_SERVICE_ENDPOINT", &url)]);
    assert_eq!(scope(&signer).await, Ok(with(of("AGENT", "eu-west-1"), "at")));
    let requests = metadata.requests();
    let lines: Vec<_> = requests.iter().map(|request| request.lines().next().unwrap()).collect();
    let path = "/latest/meta-data/iam/security-credentials/";
    let expected = [
        "PUT /latest/api/token HTTP/1.1".to_owned(),
        format!("GET {path} HTTP/1.1"),
        format!("GET {path}the%20role HTTP/1.1"),
    ];
    assert_eq!(lines, expected);
    assert!(requests[0].contains("x-aws-ec2-metadata-token-ttl-seconds: 21600\r\n"), "{}", requests[0]);
    assert!(requests[1..].iter().all(|request| request.contains("x-aws-ec2-metadata-token: session\r\n")));
}
