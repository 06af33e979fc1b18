//! Every file of `testdata/`: what it becomes, or exactly what is wrong with it.

use std::fmt::Write;
use std::path::Path;

use writegate_config::{Auth, Changes, Scheme, SecretSource, StartFrom, TextSource, diff, load};

use crate::{config, parse_text, testdata, without_directory};

#[test]
fn bad_files_get_every_problem_at_its_place() {
    let mut all = String::new();
    for path in testdata(".bad.yml") {
        let problems = load(&path).unwrap_err();
        let places: Vec<_> = problems.0.iter().map(|p| (p.file != path, p.file.clone(), p.line, p.column)).collect();
        assert!(places.is_sorted(), "{}: {places:?}", path.display());
        writeln!(all, "{problems}\n").unwrap();
    }
    let all = without_directory(&all);
    assert!(!all.contains("hunter2"), "a password is in a message");
    insta::assert_snapshot!(all);
}

#[test]
fn good_files_are_taken_and_warned_about() {
    let mut all = String::new();
    for path in testdata(".good.yml") {
        let loaded = load(&path).unwrap_or_else(|problems| panic!("{problems}"));
        writeln!(all, "# {}", path.display()).unwrap();
        for warning in &loaded.warnings {
            writeln!(all, "# {warning}").unwrap();
        }
        writeln!(all, "{}", loaded.config).unwrap();
    }
    insta::assert_snapshot!(without_directory(&all));
}

#[test]
fn r_o1_the_sample_of_observatoriums_proposal_loads_as_it_is() {
    let path = testdata("observatorium.good.yml").remove(0);
    let endpoints = load(&path).unwrap().config.endpoints;
    let [plain, secured] = endpoints.as_slice() else { panic!("{endpoints:?}") };
    assert_eq!((plain.name.as_str(), plain.url.redacted().as_str()), ("remotewrite", "http://xyz/write"));
    assert_eq!(
        (secured.name.as_str(), secured.url.redacted().as_str()),
        ("secured_remotewrite", "https://xyz:8443/secured_write")
    );
    let tls = secured.tls.as_ref().unwrap();
    let files = [
        tls.ca.as_ref().and_then(TextSource::file),
        tls.identity.as_ref().and_then(|(cert, _)| cert.file()),
        tls.identity.as_ref().and_then(|(_, key)| key.file()),
    ];
    let expected = ["/var/certs/ca.crt", "/var/certs/tls.crt", "/var/certs/tls.key"];
    assert_eq!(files, expected.map(|file| Some(Path::new(file))));
    for endpoint in &endpoints {
        assert_eq!(endpoint.tenant_header.as_deref(), Some("THANOS-TENANT"), "R-O9");
    }
}

#[test]
fn observatoriums_files_are_watched_and_a_change_of_roles_is_one_of_authentication() {
    let directory = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(directory.path().join(name), text).unwrap();
    write("w.yml", "listeners: [{address: ':1'}]\ntenants_file: t.yaml\nrbac_file: r.yaml\n");
    write("t.yaml", "tenants: [{name: a, id: '1', mTLS: {caPath: ca.crt}}]");
    let rbac = |user: &str| {
        format!(
            "roles: [{{name: w, resources: [metrics], tenants: [a], permissions: [write]}}]\n\
             roleBindings: [{{name: b, roles: [w], subjects: [{{kind: user, name: {user}}}]}}]"
        )
    };
    write("r.yaml", &rbac("ann"));
    let before = load(&directory.path().join("w.yml")).unwrap();
    let watched = ["ca.crt", "r.yaml", "t.yaml", "w.yml"].map(|name| directory.path().join(name));
    assert_eq!(before.config.watched_files, watched);
    write("r.yaml", &rbac("ben"));
    let after = load(&directory.path().join("w.yml")).unwrap();
    let changed = diff(&before.config, &after.config);
    assert!(changed.authentication && changed.tenants == Changes::default());
    write("t.yaml", "tenants: [{name: a, id: '2', mTLS: {caPath: ca.crt}}]");
    let changed = diff(&after.config, &load(&directory.path().join("w.yml")).unwrap().config);
    assert_eq!(changed.tenants.changed.len(), 1);
}

#[test]
fn a_file_that_is_not_there_is_a_problem_with_its_name() {
    let problems = load("no/such/writegate.yml".as_ref()).unwrap_err();
    assert_eq!(
        problems.to_string(),
        "no/such/writegate.yml: cannot read the file: No such file or directory (os error 2)"
    );
}

#[test]
fn watched_files_are_the_main_file_the_endpoint_files_and_the_secrets() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    std::fs::write(at("more.yml"), "- url: http://localhost/\n  bearer_token_file: t\n").unwrap();
    let main = "remote_write_files: [more.yml]\nadmin: {basic_auth: {username: u, password_file: /etc/pw}}\n\
                remote_write: [{url: 'http://localhost/a', http_headers: {X-A: {files: [h]}}}]\n";
    std::fs::write(at("writegate.yml"), main).unwrap();
    let loaded = load(&at("writegate.yml")).unwrap();
    let expected = ["/etc/pw".into(), at("h"), at("more.yml"), at("t"), at("writegate.yml")];
    assert_eq!(loaded.config.watched_files, expected);
    let Auth::Authorization { credentials, .. } = &loaded.config.endpoints[1].auth else { panic!("no token") };
    assert_eq!(*credentials, SecretSource::File(at("t")));
    assert!(credentials.read().is_err());
    std::fs::write(at("t"), " s3cret\n").unwrap();
    assert_eq!(credentials.read().unwrap().expose(), "s3cret");
}

#[test]
fn what_names_look_like_numbers_or_words_of_yaml_stays_text() {
    let config = config("remote_write: [{url: 'http://localhost/', basic_auth: {username: 007, password: no}}]");
    let Auth::Basic { username, password } = &config.endpoints[0].auth else { panic!("no basic_auth") };
    assert_eq!(username.read().unwrap(), "007");
    assert_eq!(password.read().unwrap().expose(), "no");
}

#[test]
fn an_endpoint_without_a_name_is_called_by_host_and_path_and_names_are_unique() {
    let config = config("remote_write: [{url: 'HTTP://Host:8080/a/b?c=d#e'}]");
    let endpoint = &config.endpoints[0];
    assert_eq!(endpoint.name, "host:8080/a/b");
    assert_eq!(
        (endpoint.url.scheme(), endpoint.url.host(), endpoint.url.port(), endpoint.url.path_and_query()),
        (Scheme::Http, "host", 8080, "/a/b?c=d")
    );
    let problems = parse_text("remote_write:\n- url: http://a/b?c\n- url: http://A:80/b\n").unwrap_err();
    assert!(
        problems.starts_with("writegate.yml:3:3: remote_write[1]: another endpoint is named \"a/b\""),
        "{problems}"
    );
}

#[test]
fn merge_keys_share_settings_between_endpoints() {
    let config =
        config("remote_write:\n- &a {name: a, url: 'http://localhost/a', from: 2h}\n- {<<: *a, name: b, max_age: 0}\n");
    assert_eq!(config.endpoints[1].name, "b");
    assert_eq!(config.endpoints[1].from, StartFrom::Back(std::time::Duration::from_secs(7200)));
}
