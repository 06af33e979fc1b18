//! One `-remoteWrite.url` with the flags that are its.

use writegate_config::Node;

use super::{Reading, Target, rules_part};
use crate::flags::{Flag, is_true};
use crate::part::{Part, Value};
use crate::{ImportError, Weight};

impl Reading<'_> {
    pub(super) fn endpoint(&mut self, target: &Target, index: usize, for_all: &[Part]) -> Result<Part, ImportError> {
        let Target { flag, is_multitenant } = target;
        let mut endpoint = Part::item(vec![Part::text("url", flag.value.clone()).at(flag.place)]).at(flag.place);
        let mut add = |part: Option<Part>| part.into_iter().for_each(|part| endpoint.push(part));
        add(self.text(index, "remote_timeout", "sendTimeout"));
        add(self.headers(index));
        add(self.authorization(index));
        add(self.basic_auth(index));
        add(self.oauth2(index));
        add(self.sigv4(index));
        add(self.tls_config(index));
        add(self.text(index, "proxy_url", "proxyURL"));
        let mut rules = for_all.to_vec();
        rules.extend(self.rules_of_url(index)?);
        add(rules_part(rules));
        add(self.queue(index));
        if self.is_on(index, "disableMetadata") {
            add(Some(Part::map("metadata_config", vec![Part::text("send", "false")])));
        }
        if *is_multitenant || flag.value.contains("/insert/multitenant/") {
            let part = Part::text("tenant_label", "vm_account_id").at(flag.place);
            add(Some(part.aside("The tenant's id is the account; vminsert reads it from this label.")));
        }
        let (snappy, zstd) = (self.is_on(index, "forcePromProto"), self.is_on(index, "forceVMProto"));
        if snappy || zstd {
            add(Some(Part::text("compression", if snappy { "snappy" } else { "zstd" })));
        }
        Ok(endpoint)
    }

    fn flag(&mut self, index: usize, name: &str) -> Option<Flag> {
        self.flags.for_url(&format!("remoteWrite.{name}"), index)
    }

    fn is_on(&mut self, index: usize, name: &str) -> bool {
        self.flag(index, name).is_some_and(|flag| is_true(&flag.value))
    }

    fn text(&mut self, index: usize, key: &str, name: &str) -> Option<Part> {
        let flag = self.flag(index, name)?;
        Some(Part::text(key, flag.value).at(flag.place))
    }

    /// The first of the flags that is set counts, as a mapping's key and value.
    fn first(&mut self, index: usize, names: [(&str, &str); 2]) -> Option<Part> {
        let [inline, file] = names.map(|(key, name)| self.text(index, key, name));
        inline.or(file)
    }

    fn basic_auth(&mut self, index: usize) -> Option<Part> {
        let user = self.first(index, [("username", "basicAuth.username"), ("username_file", "basicAuth.usernameFile")]);
        let password =
            self.first(index, [("password", "basicAuth.password"), ("password_file", "basicAuth.passwordFile")]);
        let parts: Vec<Part> = user.into_iter().chain(password).collect();
        (!parts.is_empty()).then(|| Part::map("basic_auth", parts))
    }

    fn authorization(&mut self, index: usize) -> Option<Part> {
        let token = self.first(index, [("credentials", "bearerToken"), ("credentials_file", "bearerTokenFile")])?;
        Some(Part::map("authorization", vec![token]))
    }

    fn oauth2(&mut self, index: usize) -> Option<Part> {
        let secret = self.first(
            index,
            [("client_secret", "oauth2.clientSecret"), ("client_secret_file", "oauth2.clientSecretFile")],
        );
        let params = self.flag(index, "oauth2.endpointParams");
        let scopes = self.flag(index, "oauth2.scopes");
        let token_url = self.text(index, "token_url", "oauth2.tokenUrl");
        let mut parts = vec![self.text(index, "client_id", "oauth2.clientID")?];
        parts.extend(secret);
        parts.extend(token_url);
        if let Some(flag) = scopes {
            let scopes = flag.value.split(';').filter(|scope| !scope.is_empty()).map(str::to_owned);
            parts.push(Part::new("scopes", Value::Flow(scopes.collect())).at(flag.place));
        }
        if let Some(flag) = params {
            match Node::parse(&flag.value, self.source.name) {
                Ok(node) => parts.push(Part::of("endpoint_params", &node).at(flag.place)),
                Err(_no_json) => {
                    let text = "-remoteWrite.oauth2.endpointParams is no JSON object";
                    self.draft.say(Weight::Missing, flag.place, text);
                }
            }
        }
        Some(Part::map("oauth2", parts))
    }

    fn sigv4(&mut self, index: usize) -> Option<Part> {
        let keys = [
            ("region", "aws.region"),
            ("access_key", "aws.accessKey"),
            ("secret_key", "aws.secretKey"),
            ("role_arn", "aws.roleARN"),
            ("service_name", "aws.service"),
        ];
        let parts: Vec<Part> = keys.into_iter().filter_map(|(key, name)| self.text(index, key, name)).collect();
        for name in ["aws.ec2Endpoint", "aws.stsEndpoint"] {
            if let Some(flag) = self.flag(index, name) {
                self.draft.say(
                    Weight::Missing,
                    flag.place,
                    format!("-remoteWrite.{name}: AWS is asked at its own addresses"),
                );
            }
        }
        self.is_on(index, "aws.useSigv4").then(|| Part::map("sigv4", parts))
    }

    fn tls_config(&mut self, index: usize) -> Option<Part> {
        let keys = [
            ("ca_file", "tlsCAFile"),
            ("cert_file", "tlsCertFile"),
            ("key_file", "tlsKeyFile"),
            ("server_name", "tlsServerName"),
        ];
        let mut parts: Vec<Part> = keys.into_iter().filter_map(|(key, name)| self.text(index, key, name)).collect();
        if self.is_on(index, "tlsInsecureSkipVerify") {
            parts.push(Part::text("insecure_skip_verify", "true"));
        }
        (!parts.is_empty()).then(|| Part::map("tls_config", parts))
    }

    /// `My-Auth: foobar^^Other: x`
    fn headers(&mut self, index: usize) -> Option<Part> {
        let flag = self.flag(index, "headers")?;
        let mut headers = Vec::new();
        for header in flag.value.split("^^").filter(|header| !header.trim().is_empty()) {
            match header.split_once(':') {
                Some((name, value)) => headers.push(Part::text(name.trim(), value.trim()).at(flag.place)),
                None => self.draft.say(Weight::Missing, flag.place, "-remoteWrite.headers: expected 'NAME: VALUE'"),
            }
        }
        Some(Part::map("headers", headers).at(flag.place))
    }

    fn queue(&mut self, index: usize) -> Option<Part> {
        let rows = self.flags.last("remoteWrite.maxRowsPerBlock");
        let longest = self.text(index, "max_backoff", "retryMaxInterval");
        let longest = longest.or_else(|| self.text(index, "max_backoff", "retryMaxTime"));
        let mut parts: Vec<Part> =
            rows.map(|flag| Part::text("max_samples_per_send", flag.value).at(flag.place)).into_iter().collect();
        parts.extend(self.text(index, "min_backoff", "retryMinInterval"));
        parts.extend(longest);
        (!parts.is_empty()).then(|| Part::map("queue_config", parts))
    }
}
