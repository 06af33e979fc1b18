//! Requests signed for AWS: where the keys come from, in the order of AWS' own SDKs, and the role they assume.
//!
//! What the environment says is read once; files are read again for each request, and what was issued is kept until
//! shortly before it expires.

mod answer;
mod profile;

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Method, Request};
use writegate_config as config;

use crate::fetch::{FetchError, Fetcher, encode_form};
use crate::oauth2::sensitive;
use crate::sigv4::{Keys, Scope, SignError, sign};
use crate::token::{Cache, Issued, Renew, TokenError};

use profile::{Profile, ProfileFiles};

/// Amazon Managed Service for Prometheus.
const SERVICE: &str = "aps";
/// Of what is issued to a role.
const SESSION_NAME: &str = "writegate";
const METADATA: &str = "http://169.254.169.254";
const CONTAINERS: &str = "http://169.254.170.2";

/// A request cannot be signed.
#[derive(Debug, thiserror::Error)]
pub enum AwsError {
    /// Nobody says for which region.
    #[error("sign for AWS: no region is known; write `region` into sigv4, or set AWS_REGION")]
    Region,
    /// The environment is not usable.
    #[error("sign for AWS: {name} {why}")]
    Environment {
        /// The variable.
        name: &'static str,
        /// What is wrong with its value, which may be secret.
        why: &'static str,
    },
    /// A file of profiles.
    #[error("sign for AWS: profile {name:?} {why}")]
    Profile {
        /// The profile.
        name: String,
        /// What is wrong with it.
        why: String,
    },
    /// The secret key is in a file that cannot be read.
    #[error(transparent)]
    Secret(#[from] config::ReadSecret),
    /// Nobody issues keys.
    #[error("get keys for AWS")]
    Keys(#[source] Arc<TokenError>),
    /// Keys or URL are no good.
    #[error(transparent)]
    Sign(#[from] SignError),
}

/// Signs for one endpoint, or several that are configured alike.
#[derive(Debug)]
pub(crate) struct Signer {
    sigv4: config::SigV4,
    source: Source,
    files: ProfileFiles,
    /// From the environment.
    region: Option<String>,
    sts: Option<String>,
    base: Cache<Keys>,
    role: Cache<Keys>,
    /// For STS, and for what is near by: no proxy stands there.
    far: Fetcher,
    near: Fetcher,
}

/// Where keys come from.
#[derive(Debug)]
enum Source {
    /// With the file that has the secret one.
    Written(String, config::SecretSource),
    Keys(Keys),
    /// By name; `otherwise`: what is asked if the files have no such profile.
    Profile {
        name: String,
        otherwise: Option<Box<Self>>,
    },
    Issuer(Issuer),
    /// A variable, and what is wrong with it.
    Nothing {
        name: &'static str,
        why: &'static str,
    },
}

/// Who issues keys for a while.
#[derive(Debug)]
enum Issuer {
    /// A role for who has the token in this file (EKS: IAM roles for service accounts).
    WebIdentity { role_arn: String, token_file: PathBuf, session_name: String },
    /// An agent (ECS task roles, EKS Pod Identity).
    Container { url: config::Url, authorization: Option<config::SecretSource> },
    /// The metadata of an EC2 instance, version 2.
    Instance(config::Url),
}

impl Signer {
    /// `far` reaches STS, `near` what is on this machine or beside it.
    pub(crate) fn new(
        sigv4: &config::SigV4,
        far: Fetcher,
        near: Fetcher,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Self {
        let variable = |name: &str| variable(name).filter(|value| !value.is_empty());
        Self {
            source: Source::of(sigv4, &variable),
            files: ProfileFiles::of_environment(&variable),
            region: variable("AWS_REGION").or_else(|| variable("AWS_DEFAULT_REGION")),
            sts: variable("AWS_ENDPOINT_URL_STS"),
            sigv4: sigv4.clone(),
            base: Cache::new(Renew::BeforeExpiry),
            role: Cache::new(Renew::BeforeExpiry),
            far,
            near,
        }
    }

    pub(crate) async fn sign<B>(
        &self,
        request: &mut Request<B>,
        body: &[Bytes],
        now: SystemTime,
    ) -> Result<(), AwsError> {
        let region = self.region()?;
        let keys = self.keys(&region, now).await?;
        let scope = Scope { region: &region, service: self.sigv4.service_name.as_deref().unwrap_or(SERVICE) };
        Ok(sign(request, body, &keys, scope, now)?)
    }

    fn region(&self) -> Result<String, AwsError> {
        if let Some(region) = self.sigv4.region.as_ref().or(self.region.as_ref()) {
            return Ok(region.clone());
        }
        let name = if let Source::Profile { name, .. } = &self.source { name } else { "default" };
        self.files.read(name)?.and_then(|profile| profile.region).ok_or(AwsError::Region)
    }

    async fn keys(&self, region: &str, now: SystemTime) -> Result<Keys, AwsError> {
        let base = self.base_keys(region, now).await?;
        let Some(role_arn) = &self.sigv4.role_arn else { return Ok(base) };
        let token = base.token.as_ref().map_or("", config::Secret::expose);
        let made_with = format!("{} {} {token}", base.access_key, base.secret_key.expose());
        let ask = async {
            let mut form = vec![("RoleArn", role_arn.as_str()), ("RoleSessionName", SESSION_NAME)];
            form.extend(self.sigv4.external_id.as_deref().map(|id| ("ExternalId", id)));
            self.ask_sts("AssumeRole", &form, Some(&base), region, now).await
        };
        let held = self.role.get(&config::Secret::new(made_with), ask).await.map_err(AwsError::Keys)?;
        Ok(held.value.clone())
    }

    async fn base_keys(&self, region: &str, now: SystemTime) -> Result<Keys, AwsError> {
        let mut source = &self.source;
        loop {
            match source {
                Source::Written(access_key, secret_key) => {
                    let (access_key, secret_key) = (access_key.clone(), secret_key.read()?);
                    return Ok(Keys { access_key, secret_key, token: None });
                }
                Source::Keys(keys) => return Ok(keys.clone()),
                Source::Profile { name, otherwise } => match (self.files.read(name)?, otherwise) {
                    (Some(Profile { keys: Some(keys), .. }), _) => return Ok(keys),
                    (Some(Profile { way: Some(way), .. }), _) => return Err(ProfileFiles::not_followed(name, way)),
                    (_, Some(otherwise)) => source = otherwise,
                    (_, None) => return Err(self.files.no_keys(name)),
                },
                Source::Issuer(issuer) => {
                    let ask = self.ask(issuer, region, now);
                    let held = self.base.get(&config::Secret::default(), ask).await.map_err(AwsError::Keys)?;
                    return Ok(held.value.clone());
                }
                Source::Nothing { name, why } => return Err(AwsError::Environment { name, why }),
            }
        }
    }

    async fn ask(&self, issuer: &Issuer, region: &str, now: SystemTime) -> Result<Issued<Keys>, TokenError> {
        match issuer {
            Issuer::WebIdentity { role_arn, token_file, session_name } => {
                let token = config::SecretSource::File(token_file.clone()).read()?;
                let form = [("RoleArn", role_arn), ("RoleSessionName", session_name)]
                    .map(|(name, value)| (name, value.as_str()));
                let form = [&form[..], &[("WebIdentityToken", token.expose())]].concat();
                self.ask_sts("AssumeRoleWithWebIdentity", &form, None, region, now).await
            }
            Issuer::Container { url, authorization } => {
                let mut headers = HeaderMap::new();
                if let Some(authorization) = authorization {
                    headers.insert(AUTHORIZATION, secret_header(authorization.read()?.expose())?);
                }
                answer::of_agent(url, self.near.get(url, headers).await?, now)
            }
            Issuer::Instance(url) => self.ask_instance(url, now).await,
        }
    }

    /// A role's keys from the Security Token Service (AWS STS API Reference), signed with `keys` if there are any.
    async fn ask_sts(
        &self,
        action: &str,
        form: &[(&str, &str)],
        keys: Option<&Keys>,
        region: &str,
        now: SystemTime,
    ) -> Result<Issued<Keys>, TokenError> {
        let url = self.sts(region)?;
        let mut all = vec![("Action", action), ("Version", "2011-06-15")];
        all.extend(form);
        let body = Bytes::from(encode_form(&all));
        let failed = |failure| FetchError::new(Method::POST, &url, failure);
        let mut request = crate::fetch::request(&Method::POST, &url, HeaderMap::new(), body.clone()).map_err(failed)?;
        let form_type = HeaderValue::from_static("application/x-www-form-urlencoded; charset=utf-8");
        request.headers_mut().insert(CONTENT_TYPE, form_type);
        if let Some(keys) = keys {
            sign(&mut request, &[body], keys, Scope { region, service: "sts" }, now)?;
        }
        answer::of_sts(&url, self.far.send(&url, request).await?, now)
    }

    /// Regional, as AWS advises.
    fn sts(&self, region: &str) -> Result<config::Url, TokenError> {
        let fips = if self.sigv4.use_fips_sts_endpoint { "-fips" } else { "" };
        let china = if region.starts_with("cn-") { ".cn" } else { "" };
        let text = self.sts.clone().unwrap_or_else(|| format!("https://sts{fips}.{region}.amazonaws.com{china}/"));
        parse(&text)
    }

    /// With a session (IMDSv2): a token, the role's name, its keys.
    async fn ask_instance(&self, at: &config::Url, now: SystemTime) -> Result<Issued<Keys>, TokenError> {
        let url = below(at, "/latest/api/token")?;
        let failed = |failure| FetchError::new(Method::PUT, &url, failure);
        let mut request = crate::fetch::request(&Method::PUT, &url, HeaderMap::new(), Bytes::new()).map_err(failed)?;
        request.headers_mut().insert("x-aws-ec2-metadata-token-ttl-seconds", HeaderValue::from_static("21600"));
        let token = self.near.send(&url, request).await?.success().map_err(failed)?;
        let mut headers = HeaderMap::new();
        headers.insert("x-aws-ec2-metadata-token", secret_header(String::from_utf8_lossy(&token).trim())?);
        let url = below(at, "/latest/meta-data/iam/security-credentials/")?;
        let roles = self.near.get(&url, headers.clone()).await?.success();
        let roles = roles.map_err(|failure| FetchError::new(Method::GET, &url, failure))?;
        let roles = String::from_utf8_lossy(&roles);
        let role = config::percent_encoded(roles.lines().next().unwrap_or_default().trim());
        let url = below(at, &format!("/latest/meta-data/iam/security-credentials/{role}"))?;
        answer::of_agent(&url, self.near.get(&url, headers).await?, now)
    }
}

fn below(at: &config::Url, path: &str) -> Result<config::Url, TokenError> {
    parse(&format!("{}{path}", at.expose().trim_end_matches('/')))
}

fn parse(text: &str) -> Result<config::Url, TokenError> {
    config::Url::parse(text).map_err(TokenError::Address)
}

fn secret_header(text: &str) -> Result<HeaderValue, TokenError> {
    Ok(sensitive(text).ok_or(SignError::Header)?)
}

impl Source {
    fn of(sigv4: &config::SigV4, variable: &impl Fn(&str) -> Option<String>) -> Self {
        if let Some((access_key, secret_key)) = &sigv4.keys {
            return Self::Written(access_key.clone(), secret_key.clone());
        }
        if let Some(name) = &sigv4.profile {
            return Self::Profile { name: name.clone(), otherwise: None };
        }
        if let Some((access_key, secret_key)) = variable("AWS_ACCESS_KEY_ID").zip(variable("AWS_SECRET_ACCESS_KEY")) {
            let token = variable("AWS_SESSION_TOKEN").map(config::Secret::new);
            return Self::Keys(Keys { access_key, secret_key: config::Secret::new(secret_key), token });
        }
        if let Some(file) = variable("AWS_WEB_IDENTITY_TOKEN_FILE") {
            let Some(role_arn) = variable("AWS_ROLE_ARN") else {
                let why = "is not set, and AWS_WEB_IDENTITY_TOKEN_FILE is";
                return Self::Nothing { name: "AWS_ROLE_ARN", why };
            };
            let session_name = variable("AWS_ROLE_SESSION_NAME").unwrap_or_else(|| SESSION_NAME.to_owned());
            return Self::Issuer(Issuer::WebIdentity { role_arn, token_file: file.into(), session_name });
        }
        let name = variable("AWS_PROFILE");
        let otherwise = if name.is_some() { None } else { Some(Box::new(Self::of_machine(variable))) };
        Self::Profile { name: name.unwrap_or_else(|| "default".to_owned()), otherwise }
    }

    fn of_machine(variable: &impl Fn(&str) -> Option<String>) -> Self {
        let relative = variable("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI").map(|path| format!("{CONTAINERS}{path}"));
        if let Some(text) = relative.or_else(|| variable("AWS_CONTAINER_CREDENTIALS_FULL_URI")) {
            let name = "AWS_CONTAINER_CREDENTIALS_FULL_URI";
            let Ok(url) = config::Url::parse(&text) else {
                return Self::Nothing { name, why: "is no http url" };
            };
            if !may_be_agent(&url) {
                return Self::Nothing { name, why: "is neither https nor this machine nor an agent of AWS" };
            }
            let file = variable("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE");
            let inline = || variable("AWS_CONTAINER_AUTHORIZATION_TOKEN").map(config::Secret::new);
            let authorization = match file {
                Some(file) => Some(config::SecretSource::File(file.into())),
                None => inline().map(config::SecretSource::Inline),
            };
            return Self::Issuer(Issuer::Container { url, authorization });
        }
        if variable("AWS_EC2_METADATA_DISABLED").is_some_and(|value| value.eq_ignore_ascii_case("true")) {
            return Self::Nothing { name: "AWS_EC2_METADATA_DISABLED", why: "is true, and nothing else has keys" };
        }
        let name = "AWS_EC2_METADATA_SERVICE_ENDPOINT";
        match config::Url::parse(&variable(name).unwrap_or_else(|| METADATA.to_owned())) {
            Ok(url) => Self::Issuer(Issuer::Instance(url)),
            Err(_) => Self::Nothing { name, why: "is no http url" },
        }
    }
}

/// Whom the SDKs, too, would send an agent's token (AWS SDKs and Tools Reference, "Container credential provider").
fn may_be_agent(url: &config::Url) -> bool {
    let known: [IpAddr; 3] =
        [[169, 254, 170, 2].into(), [169, 254, 170, 23].into(), [0xfd00, 0x0ec2, 0, 0, 0, 0, 0, 0x23].into()];
    url.scheme() == config::Scheme::Https
        || url.host() == "localhost"
        || url.host().parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback() || known.contains(&ip))
}

#[cfg(test)]
mod tests;
