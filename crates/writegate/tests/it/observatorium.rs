//! Observatorium's tenants and roles, by its own files: who may write, for whom, and what everybody else is told.

use std::fs;

use serde_json::{Value, json};
use testkit::endpoint::Endpoint;

use crate::certificates::{Authority, Client, Files};
use crate::cli::run;
use crate::credentials::base64;
use crate::harness::{Setup, TestGateway, bounded, receiver};
use crate::openid::{Provider, SigningKey, push_as, push_with};

const RECEIVE: &str = "/api/metrics/v1/{}/api/v1/receive";

/// Observatorium's path for a tenant.
fn at(tenant: &str) -> String {
    RECEIVE.replace("{}", tenant)
}

/// Roles in Observatorium's form: of each tenant, who may write; a group has an `@` before its name.
fn rbac(writers: &[(&str, &[&str])]) -> String {
    let roles = writers.iter().map(|(tenant, _)| {
        json!({"name": tenant, "resources": ["metrics", "logs"], "tenants": [tenant], "permissions": ["read", "write"]})
    });
    let reader =
        json!({"name": "reader", "resources": ["metrics"], "tenants": ["blue", "red"], "permissions": ["read"]});
    let subject = |name: &&str| match name.strip_prefix('@') {
        Some(group) => json!({"kind": "group", "name": group}),
        None => json!({"kind": "user", "name": name}),
    };
    let bindings = writers.iter().map(|(tenant, who)| {
        json!({"name": tenant, "roles": [tenant], "subjects": who.iter().map(subject).collect::<Vec<_>>()})
    });
    let readers =
        json!({"name": "readers", "roles": ["reader"], "subjects": [{"kind": "user", "name": "reader@example.org"}]});
    json!({
        "roles": roles.chain([reader]).collect::<Vec<_>>(),
        "roleBindings": bindings.chain([readers]).collect::<Vec<_>>(),
    })
    .to_string()
}

/// A gateway's directory with both files, and its server's certificate.
struct Ground {
    files: Files,
}

impl Ground {
    fn new() -> Self {
        Self { files: Files::new() }
    }

    /// Writes `tenants.yaml`; JSON is YAML.
    fn tenants(&self, tenants: &[Value]) {
        fs::write(self.files.at("tenants.yaml"), json!({"tenants": tenants}).to_string()).unwrap();
    }

    fn rbac(&self, writers: &[(&str, &[&str])]) {
        fs::write(self.files.at("rbac.yaml"), rbac(writers)).unwrap();
    }

    /// A gateway that reads both.
    fn setup(&self) -> Setup {
        let at = |name| self.files.at(name).display().to_string();
        Setup::new().top(&format!("tenants_file: '{}'\nrbac_file: '{}'", at("tenants.yaml"), at("rbac.yaml")))
    }
}

fn oidc(provider: &Provider, more: &Value) -> Value {
    let mut oidc = json!({"clientID": "observatorium", "clientSecret": "hunter2", "issuerURL": provider.issuer(),
        "redirectURL": "https://localhost/oidc/callback", "usernameClaim": "email", "groupClaim": "groups"});
    oidc.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    oidc
}

/// A token for somebody who has logged in.
fn token(key: &SigningKey, provider: &Provider, email: &str, groups: &[&str]) -> String {
    let mut claims = provider.claims("observatorium", "an-opaque-id");
    (claims["email"], claims["groups"]) = (json!(email), json!(groups));
    key.sign(&claims)
}

/// The values of a header in all requests that an endpoint got.
fn headers_at(endpoint: &Endpoint, name: &str) -> Vec<String> {
    let requests = endpoint.requests();
    let values = requests.iter().flat_map(|request| request.headers.get_all(name));
    values.map(|value| value.to_str().unwrap().to_owned()).collect()
}

#[test]
fn r_o14_r_o17_tokens_of_a_provider_write_by_their_roles_under_the_name_in_the_path_and_the_id_in_the_header() {
    bounded(async {
        let (ground, authority, sink) = (Ground::new(), Authority::new("provider authority"), receiver().await);
        let (old, new) = (SigningKey::new("old"), SigningKey::new("new"));
        let provider = Provider::start_tls(&authority, &[&old]).await;
        ground.files.trust("issuer.crt", &authority);
        let by_file = json!({"issuerCAPath": ground.files.at("issuer.crt").display().to_string()});
        let inline = json!({"issuerCA": base64(&authority.pem())});
        ground.tenants(&[
            json!({"name": "blue", "id": "1610b0c3", "oidc": oidc(&provider, &by_file)}),
            json!({"name": "red", "id": "845cdfd9",
                "authenticator": {"type": "oidc", "config": oidc(&provider, &inline)}}),
        ]);
        ground.rbac(&[("blue", &["ann@example.org", "@blue-agents"]), ("red", &["ben@example.org"])]);
        let endpoints = ground.files.at("endpoints.yaml");
        fs::write(&endpoints, format!("endpints:\n- name: thanos\n  url: {}\n", sink.url())).unwrap();
        let gateway = ground
            .setup()
            .listener("strict: false")
            .top(&format!("remote_write_files: ['{}']", endpoints.display()))
            .start()
            .await;
        let of = |email: &str, groups: &[&str]| token(&old, &provider, email, groups);
        for (tenant, token, status) in [
            ("blue", of("ann@example.org", &[]), 204),
            ("blue", of("dora@example.org", &["others", "blue-agents"]), 204),
            ("red", of("ben@example.org", &["blue-readers"]), 204),
            ("red", of("ann@example.org", &["blue-agents"]), 403),
            ("blue", of("ben@example.org", &[]), 403),
            ("blue", of("reader@example.org", &[]), 403),
            ("blue", of("blue-agents", &["ann@example.org"]), 403),
        ] {
            let (answered, text) = push_with(&gateway, &at(tenant), &token).await;
            assert_eq!(answered, status, "{tenant}: {text}");
        }
        let mut nameless = provider.claims("observatorium", "ann@example.org");
        assert_eq!(push_with(&gateway, &at("blue"), &old.sign(&nameless)).await.0, 401, "no usernameClaim");
        nameless["email"] = json!("ann@example.org");
        for (claim, wrong) in
            [("aud", json!("another")), ("iss", json!("https://another.example.org")), ("exp", json!(1_700_000_000))]
        {
            let mut claims = nameless.clone();
            claims[claim] = wrong;
            assert_eq!(push_with(&gateway, &at("blue"), &old.sign(&claims)).await.0, 401, "{claim}");
        }

        provider.publish(&[&old, &new]);
        let rotated = token(&new, &provider, "ann@example.org", &[]);
        let bearer = format!("Bearer {rotated}");
        let spoofed = [("authorization", bearer.as_str()), ("THANOS-TENANT", "845cdfd9"), ("X-Scope-OrgID", "red")];
        assert_eq!(push_as(&gateway, &at("blue"), &spoofed).await.0, 204, "under a new key");
        gateway.settled().await;
        let mut ids = headers_at(&sink, "thanos-tenant");
        ids.sort_unstable();
        assert_eq!(ids, ["1610b0c3", "1610b0c3", "1610b0c3", "845cdfd9"], "R-O9");
        for header in ["authorization", "x-scope-orgid"] {
            assert_eq!(headers_at(&sink, header), [""; 0], "{header}");
        }
        gateway.finish().await;
    });
}

#[test]
fn r_o14_r_o17_certificates_of_a_tenants_authorities_write_by_their_names_and_units() {
    bounded(async {
        let (ground, sink) = (Ground::new(), receiver().await);
        let (blues, reds, strangers) = (Authority::new("blues"), Authority::new("reds"), Authority::new("strangers"));
        ground.files.trust("blue.crt", &blues);
        ground.tenants(&[
            json!({"name": "blue", "id": "1", "mTLS": {"caPath": ground.files.at("blue.crt").display().to_string()}}),
            json!({"name": "red", "id": "2", "mTLS": {"ca": base64(&reds.pem())}}),
        ]);
        ground.rbac(&[("blue", &["ann@example.org"]), ("red", &["@agents"])]);
        let gateway = ground
            .setup()
            .listener(&ground.files.listener("client_auth: optional"))
            .endpoint_with("a", &sink, "tenant_header: THANOS-TENANT")
            .start()
            .await;
        for (authority, email, units, until, tenant, status, says) in [
            (&blues, Some("ann@example.org"), &[][..], 2099, "blue", 204, ""),
            (&reds, Some("any@example.org"), &["others", "agents"], 2099, "red", 204, ""),
            (&blues, Some("ben@example.org"), &["agents"], 2099, "blue", 403, "wg-forbidden"),
            (&blues, Some("ann@example.org"), &["agents"], 2099, "red", 403, "wg-forbidden"),
            (&reds, Some("ann@example.org"), &[], 2099, "blue", 403, "wg-forbidden"),
            (&blues, None, &["agents"], 2099, "blue", 401, "no subject alternative name"),
            (&blues, Some("ann@example.org"), &[], 2021, "blue", 401, "expired"),
            (&strangers, Some("ann@example.org"), &[], 2099, "blue", 401, "unknown authority"),
        ] {
            let shown = authority.member(email, units, until);
            let client = Client::new(&ground.files.server, Some(&shown));
            let (answered, text) = client.push_at(&gateway, &at(tenant), &[]).await;
            assert_eq!(answered, status, "{email:?} {units:?} {tenant}: {text}");
            assert!(text.contains(says), "{text}");
        }
        gateway.settled().await;
        assert_eq!(headers_at(&sink, "thanos-tenant"), ["1", "2"]);
        gateway.finish().await;
    });
}

#[test]
fn r_o15_r_o16_what_a_stranger_is_told_is_the_same_for_tenants_that_are_there_and_that_are_not() {
    bounded(async {
        let (ground, key) = (Ground::new(), SigningKey::new("one"));
        let provider = Provider::start(&[&key]).await;
        let oidc = oidc(&provider, &json!({}));
        ground.tenants(&[json!({"name": "blue", "oidc": oidc}), json!({"name": "red", "oidc": oidc})]);
        ground.rbac(&[("blue", &["ann@example.org"]), ("red", &["ben@example.org"])]);
        let gateway = ground.setup().listener("strict: false").start().await;
        let good = format!("Bearer {}", token(&key, &provider, "ann@example.org", &[]));
        let nobody = format!("Bearer {}", token(&key, &provider, "eve@example.org", &[]));
        let forged = format!("Bearer {}", token(&SigningKey::new("one"), &provider, "ann@example.org", &[]));
        for (shown, status) in [
            (None, 401),
            (Some("Bearer x.y.z"), 401),
            (Some("Negotiate abc"), 401),
            (Some(forged.as_str()), 401),
            (Some(nobody.as_str()), 403),
            (Some(good.as_str()), 403),
        ] {
            let headers: Vec<(&str, &str)> = shown.map(|value| ("authorization", value)).into_iter().collect();
            let there = push_as(&gateway, &at("red"), &headers).await;
            let not_there = push_as(&gateway, &at("green"), &headers).await;
            assert_eq!(there, not_there, "{shown:?}");
            assert_eq!(there.0, status, "{shown:?}: {}", there.1);
            assert!(!there.1.contains("red") && !there.1.contains("blue"), "{}", there.1);
        }
        let accepted = gateway.admin("/metrics").await;
        assert!(
            !accepted.contains("tenant=\"red\"") && !accepted.contains("tenant=\"green\""),
            "nothing is left of them"
        );
        gateway.finish().await;
    });
}

#[test]
fn who_may_write_for_several_tenants_names_one_and_their_provider_is_asked_once() {
    bounded(async {
        let (ground, key) = (Ground::new(), SigningKey::new("one"));
        let provider = Provider::start(&[&key]).await;
        let names = ["blue", "red", "green"];
        let tenants = names.map(|name| json!({"name": name, "oidc": oidc(&provider, &json!({}))}));
        ground.tenants(&tenants);
        ground.rbac(&[("blue", &["ann@example.org"]), ("red", &["ann@example.org", "ben@example.org"])]);
        let gateway = ground.setup().listener("tenant_from: [{header: X-Scope-OrgID}]").start().await;
        let ann = token(&key, &provider, "ann@example.org", &[]);
        let ben = token(&key, &provider, "ben@example.org", &[]);
        for name in ["blue", "red"] {
            assert_eq!(push_with(&gateway, &at(name), &ann).await.0, 204);
        }
        assert_eq!(push_with(&gateway, &at("green"), &ann).await.0, 403);
        let (status, text) = push_with(&gateway, "/api/v1/receive", &ann).await;
        assert_eq!(status, 400);
        assert!(text.contains("name one in the path") && text.ends_with("(wg-which-tenant)\n"), "{text}");
        let bearer = format!("Bearer {ann}");
        let named = |name| [("authorization", bearer.as_str()), ("x-scope-orgid", name)];
        assert_eq!(push_as(&gateway, "/api/v1/receive", &named("red")).await.0, 204);
        assert_eq!(push_as(&gateway, &at("blue"), &named("red")).await.0, 403, "path and header disagree");
        assert_eq!(push_with(&gateway, "/api/v1/receive", &ben).await.0, 204, "there is only one that can be meant");
        assert_eq!(gateway.metric("writegate_accepted_samples_total{tenant=\"red\"}").await, 3.0);
        assert_eq!(provider.asked(), [1, 1], "one issuer, whatever it is for");
        gateway.settle_and_finish().await;
    });
}

#[test]
fn a_tenant_whose_senders_log_in_is_spoken_for_by_nothing_that_merely_names_it() {
    bounded(async {
        let (ground, key) = (Ground::new(), SigningKey::new("one"));
        let (blues, all) = (Authority::new("blues"), Authority::new("all"));
        let provider = Provider::start(&[&key]).await;
        ground.files.trust("all.crt", &all);
        ground.tenants(&[json!({"name": "blue", "mTLS": {"ca": blues.pem()}})]);
        ground.rbac(&[("blue", &["ann@example.org"])]);
        let gateway = ground
            .setup()
            .listener(&ground.files.listener("client_auth: optional, client_ca_file: '@all.crt'"))
            .top(&format!(
                "authentication: [{{jwt: {{issuer: '{}', audience: a}}}}, {{client_certificate: {{}}}}]",
                provider.issuer()
            ))
            .top("tenants: [{name: blue, allow: [127.0.0.1], credentials: [{bearer_token: by-name}]}, {name: '*'}]")
            .start()
            .await;
        let names = |tenant: &str| format!("Bearer {}", key.sign(&provider.claims("a", &format!("tenant-{tenant}"))));
        let plain = Client::new(&ground.files.server, None);
        let path = "/api/v1/receive";
        assert_eq!(plain.push_at(&gateway, path, &[("authorization", &names("red"))]).await.0, 204);
        assert_eq!(plain.push_at(&gateway, path, &[("authorization", &names("blue"))]).await.0, 403);
        assert_eq!(plain.push_at(&gateway, path, &[("authorization", "Bearer by-name")]).await.0, 204);
        let shows = |issued| Client::new(&ground.files.server, Some(&issued));
        assert_eq!(shows(all.client("red")).push_at(&gateway, path, &[]).await.0, 204);
        assert_eq!(shows(all.client("blue")).push_at(&gateway, path, &[]).await.0, 403);
        assert_eq!(shows(blues.client("red")).push_at(&gateway, path, &[]).await.0, 401, "no name for the roles");
        let ann = shows(blues.member(Some("ann@example.org"), &[], 2099));
        assert_eq!(ann.push_at(&gateway, path, &[]).await.0, 204);
        assert_eq!(ann.push_at(&gateway, path, &[("authorization", "Bearer by-name")]).await.0, 204, "both are blue");
        let disagrees = ann.push_at(&gateway, path, &[("authorization", &names("red"))]).await;
        assert_eq!(disagrees.0, 403, "two credentials, two tenants");
        gateway.settle_and_finish().await;
    });
}

#[test]
fn whose_senders_log_in_is_written_for_by_nobody_without_a_credential() {
    bounded(async {
        let (ground, provider) = (Ground::new(), Provider::start(&[&SigningKey::new("one")]).await);
        ground.tenants(&[json!({"name": "blue", "id": "1111", "oidc": oidc(&provider, &json!({}))})]);
        ground.rbac(&[("blue", &["writer@example.org"])]);
        let listener = "tenant: other, tenant_from: [path: true, header: X-Scope-OrgID, vm_headers: true]";
        let gateway = ground.setup().listener(listener).top("tenants: [{name: '*'}]").start().await;
        for (path, headers) in [
            (at("blue").as_str(), &[][..]),
            ("/api/v1/write", &[("x-scope-orgid", "blue")][..]),
            ("/api/v1/write", &[("accountid", "1111")][..]),
        ] {
            let (status, text) = push_as(&gateway, path, headers).await;
            assert_eq!(status, 401, "{path} {headers:?}: {text}");
        }
        assert_eq!(push_as(&gateway, "/api/v1/write", &[("x-scope-orgid", "red")]).await.0, 204);
        gateway.finish().await;
    });
}

#[test]
fn r_o22_a_tenants_data_reaches_only_the_endpoints_that_are_for_it() {
    bounded(async {
        let (ground, key) = (Ground::new(), SigningKey::new("one"));
        let (for_blue, for_red, for_all) = (receiver().await, receiver().await, receiver().await);
        let provider = Provider::start(&[&key]).await;
        let tenant = |name, id| json!({"name": name, "id": id, "oidc": oidc(&provider, &json!({}))});
        ground.tenants(&[tenant("blue", "1"), tenant("red", "2")]);
        ground.rbac(&[("blue", &["ann@example.org"]), ("red", &["ann@example.org"])]);
        let gateway = ground
            .setup()
            .listener("strict: false")
            .endpoint_with("blue", &for_blue, "tenants: [blue], tenant_header: THANOS-TENANT")
            .endpoint_with("red", &for_red, "tenants: ['r*'], tenant_header: THANOS-TENANT")
            .endpoint_with("all", &for_all, "tenant_header: THANOS-TENANT")
            .start()
            .await;
        let ann = token(&key, &provider, "ann@example.org", &[]);
        for name in ["blue", "red", "blue"] {
            assert_eq!(push_with(&gateway, &at(name), &ann).await.0, 204);
        }
        gateway.settled().await;
        let ids = |endpoint| {
            let mut ids = headers_at(endpoint, "thanos-tenant");
            ids.sort_unstable();
            ids.dedup();
            ids
        };
        assert_eq!((ids(&for_blue), ids(&for_red)), (vec!["1".to_owned()], vec!["2".to_owned()]));
        assert_eq!(ids(&for_all), ["1", "2"]);
        gateway.finish().await;
    });
}

#[test]
fn r_o18_rate_limits_of_a_tenants_file_hold_for_the_tenant_on_whichever_path_and_nobody_else() {
    bounded(async {
        let (ground, key) = (Ground::new(), SigningKey::new("one"));
        let provider = Provider::start(&[&key]).await;
        let limited = json!([{"endpoint": "/api/metrics/v1/.+/api/v1/receive", "limit": 2, "window": "1h"}]);
        ground.tenants(&[
            json!({"name": "blue", "oidc": oidc(&provider, &json!({})), "rateLimits": limited}),
            json!({"name": "red", "oidc": oidc(&provider, &json!({}))}),
        ]);
        ground.rbac(&[("blue", &["ann@example.org"]), ("red", &["ann@example.org"])]);
        let gateway = ground.setup().listener("strict: false").start().await;
        let ann = token(&key, &provider, "ann@example.org", &[]);
        for (path, status) in [
            (at("blue"), 204),
            (at("blue"), 204),
            (at("blue"), 429),
            (at("red"), 204),
            ("/blue/api/v1/write".to_owned(), 429),
        ] {
            let (answered, text) = push_with(&gateway, &path, &ann).await;
            assert_eq!(answered, status, "{path}: {text}");
        }
        gateway.settle_and_finish().await;
    });
}

#[test]
fn r_s9_tenants_and_roles_change_while_running_and_what_is_invalid_changes_nothing() {
    bounded(async {
        let (ground, key) = (Ground::new(), SigningKey::new("one"));
        let provider = Provider::start(&[&key]).await;
        let tenant = |name, id: &str| json!({"name": name, "id": id, "oidc": oidc(&provider, &json!({}))});
        ground.tenants(&[tenant("blue", "1")]);
        ground.rbac(&[("blue", &["ann@example.org"])]);
        let sink = receiver().await;
        let gateway = ground
            .setup()
            .listener("strict: false")
            .endpoint_with("a", &sink, "tenant_header: THANOS-TENANT")
            .start()
            .await;
        let ann = token(&key, &provider, "ann@example.org", &[]);
        let statuses = async |gateway: &TestGateway| {
            [push_with(gateway, &at("blue"), &ann).await.0, push_with(gateway, &at("red"), &ann).await.0]
        };
        assert_eq!(statuses(&gateway).await, [204, 403]);
        // What endpoints are told is the id of the time they are told.
        gateway.settled().await;
        ground.tenants(&[tenant("blue", "3"), tenant("red", "2")]);
        ground.rbac(&[("red", &["ann@example.org"])]);
        gateway.read_again().await.unwrap();
        assert_eq!(statuses(&gateway).await, [403, 204], "what was verified is judged by the new roles");
        ground.rbac(&[("blue", &["ann@example.org"])]);
        ground.tenants(&[tenant("blue", "3"), json!({"name": "red", "oidc": {"clientId": "a"}})]);
        let error = gateway.read_again().await.unwrap_err();
        for told in ["tenants.yaml:1:", "unknown key `clientId` in tenants[1].oidc", "did you mean `clientID`?"] {
            assert!(error.contains(told), "{told}: {error}");
        }
        assert_eq!(statuses(&gateway).await, [403, 204], "not even the roles, which are valid");
        assert_eq!(gateway.metric("writegate_config_last_reload_successful").await, 0.0);
        gateway.settled().await;
        assert_eq!(headers_at(&sink, "thanos-tenant"), ["1", "2", "2"]);
        gateway.finish().await;
    });
}

#[test]
fn check_reads_both_files_shows_their_tenants_and_names_what_cannot_be_used() {
    bounded(async {
        let ground = Ground::new();
        let at = |name| ground.files.at(name).display().to_string();
        let config = format!(
            "listeners: [{{address: '127.0.0.1:0', {}}}]\ntenants_file: '{}'\nrbac_file: '{}'\n",
            ground.files.listener("client_auth: optional"),
            at("tenants.yaml"),
            at("rbac.yaml")
        );
        fs::write(ground.files.at("writegate.yml"), config).unwrap();
        let issuer = "https://id.example.org/dex";
        let oidc = json!({"clientID": "observatorium", "clientSecret": "hunter2", "issuerURL": issuer});
        ground.tenants(&[
            json!({"name": "blue", "id": "1", "oidc": oidc}),
            json!({"name": "red", "mTLS": {"ca": base64(&Authority::new("reds").pem())}}),
        ]);
        ground.rbac(&[("blue", &["ann@example.org"]), ("green", &["ben@example.org"])]);
        let file = at("writegate.yml");
        let ran = run(&["check", &file]).await;
        assert_eq!(ran.code, 0, "{ran:?}");
        assert!(
            ran.out.contains("# blue, id \"1\": tokens of https://id.example.org/dex for \"observatorium\""),
            "{}",
            ran.out
        );
        for warned in [
            "clientSecret has no effect",
            "nobody may write for the tenant red",
            "roles name the tenant \"green\"",
            "roles without effect here, where only `write` on `metrics` is asked for: reader",
        ] {
            assert!(ran.err.contains(warned), "{warned}: {}", ran.err);
        }
        assert!(!format!("{ran:?}").contains("hunter2"));

        ground.tenants(&[json!({"name": "red", "mTLS": {"caPath": "/no/such/ca.crt"}})]);
        let ran = run(&["check", &file]).await;
        assert_eq!(ran.code, 1);
        assert!(
            ran.err.contains("the mTLS authorities of tenant \"red\" cannot be used: read /no/such/ca.crt"),
            "{}",
            ran.err
        );
        let damaged = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        ground.tenants(&[
            json!({"name": "red", "mTLS": {"ca": base64(damaged)}}),
            json!({"name": "blue", "oidc": {"clientID": "a", "issuerURL": issuer, "issuerCA": base64(damaged)}}),
            json!({"name": "green", "mTLS": {"ca": base64(damaged)}, "opa": {"query": "data.a.allow"}}),
        ]);
        let ran = run(&["check", &file]).await;
        assert!(ran.err.contains("there is no policy engine to ask"), "{}", ran.err);
    });
}
