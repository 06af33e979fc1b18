//! Specs as people write them.

use serde_json::{Value as Json, json};
use targets::Spec;

fn flaws(text: &str) -> Vec<String> {
    Spec::parse(text).map_or_else(|flaws| flaws.iter().map(ToString::to_string).collect(), |_| Vec::new())
}

#[test]
fn r_a4_yaml_json_and_a_list_of_one_are_the_same_target() {
    let expected = Spec::parse("url: https://x/\nremoteTimeout: 5s\n").unwrap();
    for text in [
        "{\"url\": \"https://x/\", \"remoteTimeout\": \"5s\"}",
        "- url: https://x/\n  remote_timeout: 5s\n",
        "[{\"url\": \"https://x/\", \"remoteTimeout\": \"5s\"}]",
    ] {
        assert_eq!(Spec::parse(text).unwrap(), expected, "{text}");
    }
    assert_eq!(
        flaws("[{url: 'https://x/'}, {url: 'https://y/'}]"),
        ["line 1, column 1: expected one target, found a list of 2"]
    );
    assert_eq!(flaws("just text"), ["line 1, column 1: expected a mapping, found a single value"]);
    assert_eq!(flaws(""), ["line 1, column 1: expected a mapping, found nothing"]);
}

#[test]
fn r_a5_an_unknown_key_is_told_with_its_place_and_what_was_meant() {
    for (text, expected) in [
        (
            "url: https://x/\nbasicauth: {}\n",
            "line 2, column 1: unknown key `basicauth` in the target; did you mean `basicAuth`?",
        ),
        (
            "url: https://x/\ntlsConfig:\n  caCert: x\n",
            "line 3, column 3: unknown key `caCert` in tlsConfig; did you mean `cert`?",
        ),
        (
            "url: https://x/\nbasicAuth: {username: me}\n",
            "line 2, column 23: basicAuth.username: expected a Secret's `name` and `key`, found a single value; a secret is not written here",
        ),
        ("url: https://x/\nsendExemplars: maybe\n", "line 2, column 16: sendExemplars: expected true or false"),
        (
            "url: https://x/\nqueueConfig: {capacity: many}\n",
            "line 2, column 25: queueConfig.capacity: expected a whole number",
        ),
        ("url: https://x/\nmessageVersion: V3\n", "line 2, column 17: messageVersion: expected one of V1.0, V2.0"),
        ("remoteTimeout: 5s\n", "line 1, column 1: url: it is missing"),
        (
            "url: https://x/\nremoteTimeout: 5s\nremote_timeout: 6s\n",
            "line 3, column 1: remoteTimeout: it is written in both spellings",
        ),
        (
            "url: https://x/\nbasicAuth: {password: {key: k}}\n",
            "line 2, column 23: basicAuth.password.name: it is missing",
        ),
        (
            "url: https://x/\ntlsConfig: {ca: {secret: {name: a, key: b}, configMap: {name: a, key: b}}}\n",
            "line 2, column 17: tlsConfig.ca: expected exactly one of secret and configMap",
        ),
    ] {
        assert_eq!(flaws(text).first().map(String::as_str), Some(expected));
    }
}

#[test]
fn a_flaw_never_repeats_a_value_that_may_be_secret() {
    let text = "url: https://x/\nbearerToken: {a: hunter2}\nbasicAuth: {password: hunter2}\nheaders: [hunter2]\n";
    assert!(!flaws(text).join(" ").contains("hunter2"), "{:?}", flaws(text));
    assert!(flaws("url: https://x:hunter2@y/").iter().all(|flaw| !flaw.contains("hunter2")));
}

/// Every field of the CRD of prometheus-operator, with a value.
pub(crate) fn everything() -> Json {
    let secret = |name: &str| json!({"name": name, "key": "k"});
    json!({
        "url": "https://x.example/push",
        "name": "n",
        "messageVersion": "V2.0",
        "sendExemplars": true,
        "sendNativeHistograms": true,
        "remoteTimeout": "30s",
        "headers": {"X-A": "b"},
        "writeRelabelConfigs": [{"sourceLabels": ["a", "b"], "separator": "-", "targetLabel": "t", "regex": "x.*", "modulus": 7, "replacement": "$1", "action": "HashMod"}],
        "oauth2": {
            "clientId": {"secret": secret("id")}, "clientSecret": secret("cs"), "tokenUrl": "https://t.example/",
            "scopes": ["s"], "endpointParams": {"audience": "b"},
            "tlsConfig": {"ca": {"configMap": secret("ca")}, "serverName": "t", "insecureSkipVerify": false, "minVersion": "TLS12", "maxVersion": "TLS13"},
            "proxyUrl": "http://proxy.example:1", "noProxy": "a,b", "proxyConnectHeader": {"P": [secret("ph")]},
        },
        "tlsConfig": {"ca": {"secret": secret("ca")}, "cert": {"secret": secret("crt")}, "keySecret": secret("key"), "serverName": "x", "insecureSkipVerify": true, "minVersion": "TLS12", "maxVersion": "TLS13"},
        "proxyUrl": "http://proxy.example:1", "noProxy": "a,b", "proxyConnectHeader": {"P": [secret("ph")]},
        "followRedirects": true,
        "queueConfig": {
            "capacity": 1, "minShards": 1, "maxShards": 2, "maxSamplesPerSend": 3, "batchSendDeadline": "5s", "maxRetries": 3,
            "minBackoff": "1s", "maxBackoff": "2s", "retryOnRateLimit": true, "sampleAgeLimit": "1h",
        },
        "metadataConfig": {"send": true, "sendInterval": "1m", "maxSamplesPerSend": -1},
        "enableHTTP2": true,
        "roundRobinDNS": true,
    })
}

#[test]
fn r_g7_every_field_is_taken_and_comes_out_as_it_went_in() {
    let spec = Spec::from_json(&everything()).unwrap();
    assert_eq!(Json::Object(spec.fields().clone()), everything());
    assert_eq!(Spec::parse(&everything().to_string()).unwrap(), spec);
    for auth in [
        json!({"sigv4": {"region": "r", "accessKey": {"name": "a", "key": "k"}, "secretKey": {"name": "a", "key": "k"}, "profile": "p", "roleArn": "arn", "externalId": "e", "useFIPSSTSEndpoint": true}}),
        json!({"azureAd": {"cloud": "AzurePublic", "managedIdentity": {"clientId": "00000000-0000-0000-0000-000000000000"}, "scope": "s"}}),
        json!({"azureAd": {"sdk": {"tenantId": "t"}}}),
        json!({"azureAd": {"workloadIdentity": {"clientId": "00000000-0000-0000-0000-000000000000", "tenantId": "00000000-0000-0000-0000-000000000000"}}}),
        json!({"azureAd": {"oauth": {"clientId": "00000000-0000-0000-0000-000000000000", "clientSecret": {"name": "a", "key": "k", "optional": false}, "tenantId": "t"}}}),
        json!({"authorization": {"type": "Bearer", "credentials": {"name": "a", "key": "k"}}}),
        json!({"authorization": {"credentialsFile": "/t"}}),
        json!({"bearerToken": "t"}),
        json!({"bearerTokenFile": "/t"}),
        json!({"basicAuth": {"username": {"name": "a", "key": "k"}, "password": {"name": "a", "key": "k"}}}),
        json!({"tlsConfig": {"caFile": "/a", "certFile": "/b", "keyFile": "/c"}}),
        json!({"proxyFromEnvironment": true}),
        json!({"proxyUrl": "socks5://p.example:1"}),
    ] {
        let mut value = json!({"url": "https://x.example/push"});
        value.as_object_mut().unwrap().extend(auth.as_object().unwrap().clone());
        let spec = Spec::from_json(&value).unwrap_or_else(|flaws| panic!("{value}: {flaws:?}"));
        assert_eq!(Json::Object(spec.fields().clone()), value);
    }
}
