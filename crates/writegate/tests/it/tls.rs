//! Listeners with TLS: certificates by name, client certificates, and both changing while connections are open.

use std::fs;
use std::net::SocketAddr;
use std::sync::Arc;

use http::Request;
use http_body_util::Full;
use remote_write::Protocol;
use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::TcpStream;

use crate::certificates::{Authority, Client, Connection, Files, Issued, push_of, push_request};
use crate::cli::run;
use crate::harness::{Setup, bounded, eventually, receiver, takes};
use crate::message::{request, sample_of};
use crate::relabeling::accept_from;

const BY_COMMON_NAME: &str = "authentication: [{client_certificate: {pattern: '{tenant}.agents.example.org'}}]";

#[test]
fn r_x5_r_x6_r_x7_a_certificate_speaks_for_the_tenant_it_names_and_any_other_is_told_why_not() {
    bounded(async {
        let (files, clients, strangers) = (Files::new(), Authority::new("clients"), Authority::new("strangers"));
        files.trust("clients.crt", &clients);
        let gateway = Setup::new()
            .listener(&files.listener("client_auth: optional, client_ca_file: '@clients.crt'"))
            .top(BY_COMMON_NAME)
            .top("tenants: [{name: blue, credentials: [{bearer_token: blue-token}]}, {name: red, credentials: [{bearer_token: red-token}]}]")
            .start()
            .await;
        let with = |issued: &Issued| Client::new(&files.server, Some(issued));
        let blue = clients.client("blue.agents.example.org");
        assert_eq!(with(&blue).push(&gateway, &[]).await.0, 204);
        assert_eq!(gateway.metric("writegate_accepted_samples_total{tenant=\"blue\"}").await, 2.0);
        // Rotated by its owner: another key, the same name (R-X24).
        assert_eq!(with(&clients.client("blue.agents.example.org")).push(&gateway, &[]).await.0, 204);

        let (status, text) = Client::new(&files.server, None).push(&gateway, &[]).await;
        assert_eq!((status, text.as_str()), (401, "Authorization header missing or invalid (wg-unauthenticated)\n"));
        let without = Client::new(&files.server, None);
        assert_eq!(
            without.push(&gateway, &[("authorization", "Bearer blue-token")]).await.0,
            204,
            "another credential"
        );
        let shown = [("authorization", "Bearer blue-token")];
        assert_eq!(with(&blue).push(&gateway, &shown).await.0, 204, "both for the same tenant");
        assert_eq!(with(&blue).push(&gateway, &[("authorization", "Bearer red-token")]).await.0, 403, "R-P15");

        for (issued, expected, words) in [
            (clients.issue("blue.agents.example.org", &[], 2021), 401, "it has expired"),
            (strangers.client("blue.agents.example.org"), 401, "unknown authority"),
            (clients.client("somebody else"), 403, "not allowed"),
            (clients.client("green.agents.example.org"), 403, "not allowed"),
        ] {
            let (status, text) = with(&issued).push(&gateway, &[]).await;
            assert_eq!(status, expected, "{text}");
            assert!(text.contains(words), "{text}");
        }
        gateway.settle_and_finish().await;
    });
}

#[test]
fn r_x6_a_tenants_own_authority_speaks_for_it_alone_and_no_other_does() {
    bounded(async {
        let (files, shared, own) = (Files::new(), Authority::new("shared"), Authority::new("blue's own"));
        files.trust("shared.crt", &shared);
        files.trust("blue.crt", &own);
        let revoked = own.client("blue");
        fs::write(files.at("crl.pem"), own.revokes(&[&revoked])).unwrap();
        let tenants =
            format!("tenants: [{{name: blue, client_ca_file: '{}'}}, {{name: red}}]", files.at("blue.crt").display());
        let gateway = Setup::new()
            .listener(&files.listener("client_auth: require, client_ca_file: '@shared.crt', crl_file: '@crl.pem'"))
            .top("authentication: [{client_certificate: {}}]")
            .top(&tenants)
            .start()
            .await;
        let statuses = async |authority: &Authority| {
            let mut statuses = Vec::new();
            for name in ["blue", "red"] {
                let issued = authority.client(name);
                statuses.push(Client::new(&files.server, Some(&issued)).push(&gateway, &[]).await.0);
            }
            statuses
        };
        assert_eq!(statuses(&own).await, [204, 403], "it cannot make a red one");
        assert_eq!(statuses(&shared).await, [403, 204], "nor the shared one a blue one");
        let (status, text) = Client::new(&files.server, Some(&revoked)).push(&gateway, &[]).await;
        assert_eq!(status, 401);
        assert!(text.contains("it is revoked"), "{text}");

        // R-X7: nobody without. In TLS 1.3 the client hears of it when it reads.
        let refused = Connection::open(&Client::new(&files.server, None), gateway.address()).await;
        if let Ok(mut connection) = refused {
            assert!(
                connection.sender.ready().await.is_err()
                    || connection.sender.send_request(push_request(&[])).await.is_err()
            );
        }
        eventually("the handshake is counted", || async {
            (gateway.metric("writegate_tls_handshake_failures_total").await >= 1.0).then_some(())
        })
        .await;
        gateway.settle_and_finish().await;
    });
}

#[test]
fn r_x6_a_certificate_that_one_rule_finds_ambiguous_speaks_for_nobody_whatever_another_says() {
    bounded(async {
        let (files, clients) = (Files::new(), Authority::new("clients"));
        files.trust("clients.crt", &clients);
        let gateway = Setup::new()
            .listener(&files.listener("client_auth: require, client_ca_file: '@clients.crt'"))
            .top("authentication: [{client_certificate: {tenant_from: san_dns, pattern: '{tenant}.test'}}, {client_certificate: {}}]")
            .start()
            .await;
        for (names, status) in [(&["blue.test"][..], 204), (&["red.test"], 403), (&["blue.test", "red.test"], 403)] {
            let issued = clients.issue("blue", names, 2099);
            let answer = Client::new(&files.server, Some(&issued)).push(&gateway, &[]).await;
            assert_eq!(answer.0, status, "{names:?}: {}", answer.1);
        }
        gateway.settle_and_finish().await;
    });
}

#[test]
fn r_x4_r_p23_certificates_and_revocations_change_while_connections_stay_open() {
    bounded(async {
        let (files, clients) = (Files::new(), Authority::new("clients"));
        files.trust("clients.crt", &clients);
        let (kept, revoked) = (clients.client("kept"), clients.client("revoked"));
        fs::write(files.at("crl.pem"), clients.revokes(&[])).unwrap();
        files.server.issue("other", &["*.tenants.test"], 2099).write(files.path(), "other");
        let keys = "client_auth: optional, client_ca_file: '@clients.crt', crl_file: '@crl.pem', \
                    certificates: [{cert_file: '@other.crt', key_file: '@other.key'}]";
        let gateway = Setup::new()
            .listener(&files.listener(keys))
            .top("authentication: [{client_certificate: {}}]")
            .start()
            .await;
        let open = async |issued: &Issued| {
            Connection::open(&Client::new(&files.server, Some(issued)), gateway.address()).await.unwrap()
        };
        let (mut one, mut other) = (open(&kept).await, open(&revoked).await);
        assert_eq!((one.push(&[]).await.0, other.push(&[]).await.0), (204, 204));

        // By name, one label for a star.
        let of = async |name| {
            let client = Client::new(&files.server, Some(&kept)).asking_for(name);
            Connection::open(&client, gateway.address()).await.map(|connection| connection.served)
        };
        assert_ne!(of("blue.tenants.test").await.unwrap(), one.served);
        assert!(of("a.blue.tenants.test").await.is_err(), "the first certificate is for another name");

        files.server.issue("renewed", &["gateway.test"], 2099).write(files.path(), "server");
        fs::write(files.at("crl.pem"), clients.revokes(&[&revoked])).unwrap();
        gateway.read_again().await.unwrap();
        assert_eq!(one.push(&[]).await.0, 204, "the connection goes on");
        let (status, text) = other.push(&[]).await;
        assert_eq!(status, 401);
        assert!(text.contains("it is revoked"), "{text}");
        assert_ne!(open(&kept).await.served, one.served, "who connects now sees the new one");

        // Half written: the last good one is served on.
        fs::write(files.at("server.crt"), "-----BEGIN CERT").unwrap();
        let error = gateway.read_again().await.unwrap_err();
        assert!(error.contains("server.crt"), "{error}");
        assert_eq!(open(&kept).await.push(&[]).await.0, 204);
        gateway.settle_and_finish().await;
    });
}

#[test]
fn r_x4_tls_1_2_and_1_3_are_spoken_and_the_lowest_can_be_raised() {
    bounded(async {
        let files = Files::new();
        for (keys, old_works) in [("min_version: TLS12", true), ("min_version: TLS13", false)] {
            let listener = format!("tenant: default, {}", files.listener(keys));
            let gateway = Setup::new().listener(&listener).start().await;
            let old = Client::with_versions(&files.server, None, &[&rustls::version::TLS12]);
            let new = Client::with_versions(&files.server, None, &[&rustls::version::TLS13]);
            assert_eq!(old.connect(gateway.address(), &[b"http/1.1"]).await.is_ok(), old_works, "{keys}");
            assert_eq!(new.push(&gateway, &[]).await.0, 204);
            gateway.settle_and_finish().await;
        }
    });
}

#[test]
fn the_admin_address_speaks_tls_where_it_is_told_to() {
    bounded(async {
        let files = Files::new();
        let yaml = format!(
            "listeners: [{{address: '127.0.0.1:0', tenant: default}}]\nadmin: {{address: '127.0.0.1:0', {}}}\n\
             log: {{path: '{}', min_free: 1MiB}}\n",
            files.listener("min_version: TLS13"),
            files.at("data").display()
        );
        let config = crate::harness::parse(&yaml, files.path()).unwrap();
        let gateway = Box::pin(writegate::Gateway::start(config, None)).await.unwrap();
        let mut connection =
            Connection::open(&Client::new(&files.server, None), gateway.admin_address()).await.unwrap();
        let ready = Request::builder().uri("/-/ready").header("host", "127.0.0.1").body(Full::default()).unwrap();
        assert_eq!(connection.send(ready).await.0, 200);
        let plain = testkit::sender::Sender::new(&format!("http://{}/-/ready", gateway.admin_address())).unwrap();
        assert!(plain.get().await.is_err(), "not without");
        let port = gateway.admin_address().port();
        files.trust("server-ca.crt", &files.server);
        let ca = files.at("server-ca.crt").display().to_string();
        let url = format!("https://localhost:{port}");
        let status = async |more: &[&str]| run(&[&["status", "--admin", &url], more].concat()).await;
        for believed in [&["--ca-file", ca.as_str()][..], &["--insecure-skip-verify"]] {
            let ran = status(believed).await;
            assert_eq!(ran.code, 0, "{ran:?}");
        }
        let ran = status(&[]).await;
        assert!(ran.code == 1 && ran.err.contains("certificate"), "{ran:?}");
        drop(connection);
        Box::pin(gateway.shutdown()).await;
    });
}

/// A server that speaks TLS, with a client certificate of `clients` if it asks for one, and passes everything on.
async fn front(files: &Files, clients: Option<&Authority>, behind: SocketAddr) -> SocketAddr {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = rustls::ServerConfig::builder_with_provider(Arc::clone(&provider));
    let builder = builder.with_safe_default_protocol_versions().unwrap();
    let builder = match clients {
        None => builder.with_no_client_auth(),
        Some(authority) => {
            let mut roots = RootCertStore::empty();
            roots.add(CertificateDer::from_pem_slice(authority.pem().as_bytes()).unwrap()).unwrap();
            let verifier = rustls::server::WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
            builder.with_client_cert_verifier(verifier.build().unwrap())
        }
    };
    let chain = CertificateDer::pem_file_iter(files.at("server.crt")).unwrap().collect::<Result<_, _>>().unwrap();
    let key = PrivateKeyDer::from_pem_file(files.at("server.key")).unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(builder.with_single_cert(chain, key).unwrap()));
    let socket = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = socket.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let mut near = acceptor.accept(stream).await?;
                let mut far = TcpStream::connect(behind).await?;
                tokio::io::copy_bidirectional(&mut near, &mut far).await
            });
        }
    });
    address
}

#[test]
fn r_o10_an_endpoint_is_reached_over_tls_with_a_client_certificate_and_a_wrong_authority_is_its_fault() {
    bounded(async {
        let (files, clients, strangers) = (Files::new(), Authority::new("clients"), Authority::new("strangers"));
        files.trust("server-ca.crt", &files.server);
        files.trust("strangers.crt", &strangers);
        clients.client("writegate").write(files.path(), "client");
        let sink = receiver().await;
        let behind: SocketAddr = sink.url().trim_start_matches("http://").split('/').next().unwrap().parse().unwrap();
        let address = front(&files, Some(&clients), behind).await;
        let at = |name: &str| files.at(name).display().to_string();
        let (crt, key) = (at("client.crt"), at("client.key"));
        let endpoint = |name: &str, keys: &str| {
            format!(
                "- {{name: {name}, url: 'https://{address}/', queue_config: {{max_backoff: 100ms}}, tls_config: {{{keys}, server_name: gateway.test}}}}\n"
            )
        };
        let good = format!("ca_file: '{}', cert_file: '{crt}', key_file: '{key}'", at("server-ca.crt"));
        let rotated = format!("ca_file: '{}', cert_file: '{crt}', key_file: '{key}'", at("strangers.crt"));
        let bare = format!("ca_file: '{}'", at("server-ca.crt"));
        let more = files.at("more.yml");
        fs::write(&more, [endpoint("good", &good), endpoint("rotated", &rotated), endpoint("bare", &bare)].concat())
            .unwrap();
        let gateway = Setup::new().top(&format!("remote_write_files: ['{}']", more.display())).start().await;
        let pushed = request([sample_of("up", 1)]);
        gateway.accept(Protocol::V1, &pushed).await;
        takes(&sink, 1).await;
        eventually("it is booked", || async {
            (gateway.ledger("default", "good").await.samples.delivered == 1).then_some(())
        })
        .await;
        // The others wait, and say why.
        for (name, words) in [("rotated", "authority"), ("bare", "certificate")] {
            eventually("the status says why", || async {
                let status: serde_json::Value = serde_json::from_str(&gateway.admin("/api/v1/status").await).unwrap();
                let told =
                    status["endpoints"].as_array()?.iter().find(|endpoint| endpoint["endpoint"] == name)?.to_string();
                told.contains(words).then_some(())
            })
            .await;
            assert_eq!(gateway.ledger("default", name).await.samples.pending, 1);
        }
        // The right authority comes into the file: no restart, no reload.
        files.trust("strangers.crt", &files.server);
        takes(&sink, 2).await;
        // And the other one gets its certificate.
        fs::write(&more, [endpoint("good", &good), endpoint("rotated", &rotated), endpoint("bare", &good)].concat())
            .unwrap();
        gateway.read_again().await.unwrap();
        gateway.settle_and_finish().await;
    });
}

#[test]
fn a_certificate_file_that_breaks_is_told_once_everywhere_and_what_was_read_before_stays_in_use() {
    bounded(async {
        let (files, clients) = (Files::new(), Authority::new("clients"));
        files.trust("server-ca.crt", &files.server);
        clients.client("writegate").write(files.path(), "client");
        let sink = receiver().await;
        let address = front(&files, Some(&clients), sink.address()).await;
        let at = |name: &str| files.at(name).display().to_string();
        let more = files.at("more.yml");
        let endpoint = format!(
            "- {{name: a, url: 'https://{address}/', tls_config: {{ca_file: '{}', cert_file: '{}', key_file: '{}', \
             server_name: gateway.test}}}}\n",
            at("server-ca.crt"),
            at("client.crt"),
            at("client.key")
        );
        fs::write(&more, endpoint).unwrap();
        let program = Setup::new().top(&format!("remote_write_files: ['{}']", more.display())).start_program().await;
        let push = async |timestamp: i64| {
            accept_from(&program.sender(), Protocol::V1, &request([sample_of("up", timestamp)])).await;
            takes(&sink, u64::try_from(timestamp).unwrap()).await;
        };
        let unusable = async |expected: u8| {
            let line = format!("writegate_endpoint_tls_files_unusable{{endpoint=\"a\"}} {expected}\n");
            let page = async || program.admin("/metrics").await.contains(&line).then_some(());
            eventually(&line, page).await;
        };
        push(1).await;
        unusable(0).await;
        fs::write(files.at("client.crt"), "broken").unwrap();
        unusable(1).await;
        push(2).await;
        push(3).await;
        let status: serde_json::Value = program.get("/api/v1/status").await;
        let told = status["configured"][0]["tls_error"].as_str().unwrap();
        assert_eq!(told, format!("the client certificate in {}: no PEM block `CERTIFICATE` in it", at("client.crt")));
        assert_eq!(status["configured"][0]["up"], true);
        let log = program.log();
        let lines: Vec<_> = log.lines().filter(|line| line.contains("what was read before stays in use")).collect();
        assert_eq!(lines.len(), 1, "{log}");
        assert!(lines[0].contains(told) && lines[0].contains("WARN"), "{}", lines[0]);
        clients.client("writegate").write(files.path(), "client");
        unusable(0).await;
        push(4).await;
        program.terminate().await;
    });
}

const TENANTS: [&str; 3] = ["red", "green", "blue"];

/// What a request shows, and what names a tenant in it.
#[derive(Clone, Debug, Default)]
struct Shown {
    certificate: Option<&'static str>,
    /// The way, and for whom; `None` for one that is wrong.
    header: Option<(&'static str, Option<&'static str>)>,
    path: Option<&'static str>,
    host: Option<&'static str>,
    tenant_header: Option<&'static str>,
}

impl Shown {
    fn draw(rng: &mut fastrand::Rng) -> Self {
        // Mostly about one tenant: what agrees must get through, too.
        let favourite = *rng.choice(&TENANTS).unwrap();
        let other = *rng.choice(&TENANTS).unwrap();
        let mut tenant = |one_in: u8| {
            let named = if rng.u8(0..4) == 0 { other } else { favourite };
            (rng.u8(0..one_in) == 0).then_some(named)
        };
        let (certificate, path, host, tenant_header, shown) = (tenant(3), tenant(3), tenant(3), tenant(3), tenant(2));
        let way = *rng.choice(&["token", "basic", "jwt", "jwt as password"]).unwrap();
        let header = shown.map(|tenant| (way, (rng.u8(0..8) > 0).then_some(tenant)));
        Self { certificate, header, path, host, tenant_header }
    }

    /// The rule, told naively: the listener's own tenant is red, its path is no listed source.
    fn expected(&self) -> Result<&'static str, u16> {
        let by_header = match self.header {
            Some((_, None)) => return Err(401),
            Some((_, speaker)) => speaker,
            None => None,
        };
        let speakers: Vec<_> = by_header.into_iter().chain(self.certificate).collect();
        let named: Vec<_> = self.path.into_iter().chain(self.host).chain(self.tenant_header).collect();
        let all: Vec<_> = speakers.iter().chain(&named).copied().collect();
        if all.iter().any(|one| *one != all[0]) {
            return Err(403);
        }
        if speakers.is_empty() && self.path.is_some_and(|path| path != "red") {
            return Err(403);
        }
        Ok(all.first().copied().unwrap_or("red"))
    }

    fn authorization(&self, issuer: &crate::credentials::Issuer) -> Option<String> {
        use crate::credentials::base64;
        let (way, tenant) = self.header?;
        let tenant = tenant.unwrap_or("nobody");
        Some(match way {
            "token" => format!("Bearer {tenant}-token"),
            "basic" => format!("Basic {}", base64(&format!("{tenant}:{tenant}-password"))),
            // "nobody" is no tenant's name here, but a token for it would be good: it is damaged instead.
            _ => {
                let mut token = issuer.token(tenant, "x");
                if tenant == "nobody" {
                    token.truncate(token.len() - 8);
                }
                if way == "jwt" { format!("Bearer {token}") } else { format!("Basic {}", base64(&format!(":{token}"))) }
            }
        })
    }
}

#[test]
fn r_p15_r_s5_whatever_is_shown_together_a_sample_comes_under_its_credentials_tenant_or_not_at_all() {
    bounded(async {
        let (files, clients) = (Files::new(), Authority::new("clients"));
        let issuer = crate::credentials::Issuer::new();
        files.trust("clients.crt", &clients);
        fs::write(files.at("keys.json"), issuer.key_set()).unwrap();
        let tenants = TENANTS.map(|name| {
            format!(
                "{{name: {name}, credentials: [{{bearer_token: {name}-token}}, {{basic_auth: {{username: {name}, password: \
                 {name}-password}}}}]}}"
            )
        });
        let sources = "tenant: red, tenant_from: [{header: X-Scope-OrgID}, {host: 'w.{tenant}.example.org'}]";
        let tls = files.listener("client_auth: optional, client_ca_file: '@clients.crt'");
        let (all, blue) = (receiver().await, receiver().await);
        let gateway = Setup::new()
            .listener(&format!("{sources}, {tls}"))
            .top(&format!("authentication: [{{jwt: {{key_set_file: '{}', audience: opstrace-cluster-demo}}}}, {{client_certificate: {{}}}}]", files.at("keys.json").display()))
            .top(&format!("tenants: [{}]", tenants.join(", ")))
            .endpoint_with("all", &all, "tenant_header: X-Scope-OrgID")
            .endpoint_with("blue", &blue, "tenants: [blue], tenant_header: X-Scope-OrgID")
            .start()
            .await;
        let mut connections = std::collections::BTreeMap::new();
        for certificate in [None, Some("red"), Some("green"), Some("blue")] {
            let issued = certificate.map(|name| clients.client(name));
            let client = Client::new(&files.server, issued.as_ref());
            connections.insert(certificate, Connection::open(&client, gateway.address()).await.unwrap());
        }
        let mut rng = fastrand::Rng::with_seed(5);
        let mut expected = std::collections::BTreeMap::new();
        for number in 0..600 {
            let shown = Shown::draw(&mut rng);
            let authorization = shown.authorization(&issuer);
            let host = shown.host.map_or_else(|| "gateway.test".to_owned(), |name| format!("w.{name}.example.org"));
            let uri = shown.path.map_or_else(|| "/api/v1/write".to_owned(), |name| format!("/{name}/api/v1/write"));
            let mut headers = vec![("host", host.as_str())];
            headers.extend(authorization.as_deref().map(|value| ("authorization", value)));
            headers.extend(shown.tenant_header.map(|name| ("x-scope-orgid", name)));
            let series = format!("case_{number}");
            let connection = connections.get_mut(&shown.certificate).unwrap();
            let (status, text) = connection.send(push_of(&series, &uri, &headers)).await;
            match shown.expected() {
                Ok(tenant) => {
                    assert_eq!(status, 204, "{shown:?}: {text}");
                    expected.insert(series, tenant);
                }
                Err(refused) => assert_eq!(status, refused, "{shown:?}: {text}"),
            }
        }
        assert!((150..450).contains(&expected.len()), "{} of 600 were taken", expected.len());
        gateway.settled().await;
        for (sink, takes) in [(&all, &TENANTS[..]), (&blue, &["blue"][..])] {
            let mut seen = std::collections::BTreeMap::new();
            for received in sink.requests() {
                let tenant = received.headers["x-scope-orgid"].to_str().unwrap().to_owned();
                for series in received.request().unwrap().series {
                    let name = series.labels.iter().find(|label| label.name == b"__name__").unwrap().value;
                    seen.insert(String::from_utf8(name.to_vec()).unwrap(), tenant.clone());
                }
            }
            let due = expected.iter().filter(|(_, tenant)| takes.contains(tenant));
            let due: std::collections::BTreeMap<_, _> =
                due.map(|(name, tenant)| (name.clone(), (*tenant).to_owned())).collect();
            assert_eq!(seen, due);
        }
        gateway.finish().await;
    });
}
