//! Whole imports: what comes of a file, to the letter, and that it passes the check.

use proptest::prelude::*;

use super::*;

fn testdata(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata").join(name)
}

fn read(path: &Path) -> std::io::Result<String> {
    std::fs::read_to_string(testdata("vmagent").join(path))
}

fn text_of(name: &str) -> String {
    std::fs::read_to_string(testdata(name)).unwrap()
}

/// The result, with what is told beside it.
fn shown(import: &Import) -> String {
    let notes: String = import.notes.iter().map(|note| format!("{note}\n")).collect();
    format!("{}=== complete: {}\n{notes}", import.yaml, import.is_complete())
}

fn checked(import: Result<Import, ImportError>, base: &Path) -> Import {
    let import = import.unwrap_or_else(|error| panic!("{error}"));
    let loaded = writegate_config::parse(&import.yaml, Path::new("writegate.yml"), base);
    loaded.unwrap_or_else(|problems| panic!("{problems}\n{}", import.yaml));
    import
}

fn of_prometheus(text: &str) -> Result<Import, ImportError> {
    prometheus(&Source { name: Path::new("prometheus.yml"), text, base: Some(Path::new("/etc/prometheus")) })
}

fn of_vmagent(name: &str, text: &str) -> Result<Import, ImportError> {
    vmagent(&Source { name: Path::new(name), text, base: None }, &read)
}

#[test]
fn a_prometheus_yml_keeps_its_endpoints_and_says_what_stays() {
    let import = checked(of_prometheus(&text_of("prometheus/whole.yml")), Path::new(""));
    insta::assert_snapshot!(shown(&import));
}

#[test]
fn a_vmagent_that_relays_becomes_a_gateway() {
    insta::assert_snapshot!(shown(&checked(of_vmagent("relays.sh", &text_of("vmagent/relays.sh")), Path::new(""))));
}

#[test]
fn a_vmagent_that_scrapes_goes_on_and_sends_to_the_gateway() {
    insta::assert_snapshot!(shown(&checked(of_vmagent("scrapes.yml", &text_of("vmagent/scrapes.yml")), Path::new(""))));
}

#[test]
fn a_vmagent_with_tenants_keeps_them_and_what_cannot_be_said_is_commented_out() {
    let text = text_of("vmagent/tenants.service");
    insta::assert_snapshot!(shown(&checked(of_vmagent("tenants.service", &text), Path::new(""))));
}

#[test]
fn observatorium_s_files_are_told_apart_and_referred_to() {
    let base = testdata("observatorium");
    let texts = ["endpoints.yaml", "rbac.yaml", "api.yaml", "tenants.yaml"]
        .map(|name| (name, text_of(&format!("observatorium/{name}"))));
    let sources: Vec<Source<'_>> =
        texts.iter().map(|(name, text)| Source { name: Path::new(name), text, base: Some(&base) }).collect();
    let import = checked(observatorium(&sources), &base);
    assert!(import.is_complete(), "{import:?}");
    insta::assert_snapshot!(shown(&import).replace(&base.display().to_string(), "/etc/observatorium"));
}

#[test]
fn what_is_not_there_to_import_is_said_with_its_place() {
    let told = |result: Result<Import, ImportError>| result.unwrap_err().to_string();
    assert_eq!(
        told(of_prometheus("global: {}")),
        "prometheus.yml: it has no `remote_write`: there is nothing to import (Prometheus sends only where an entry of \
         remote_write says)"
    );
    assert_eq!(told(of_prometheus("- a")), "prometheus.yml:1:1: expected a prometheus.yml, a mapping; found a list");
    let list = "global: {}\nremote_write:\n  url: x";
    assert_eq!(
        told(of_prometheus(list)),
        "prometheus.yml:3:3: remote_write: expected a list of endpoints, found a mapping"
    );
    assert!(told(of_prometheus("a: [\n")).starts_with("prometheus.yml:"));
    assert_eq!(
        told(of_vmagent("f", "vmagent -httpListenAddr=:1")),
        "f: there is no -remoteWrite.url: this vmagent sends nowhere"
    );
    let missing = told(of_vmagent("f", "vmagent -remoteWrite.url=http://a/b \\\n -remoteWrite.relabelConfig=gone.yml"));
    assert!(missing.starts_with("f:2:2: -remoteWrite.relabelConfig: cannot read gone.yml: "), "{missing}");
    let source = |name, text| Source { name: Path::new(name), text, base: None };
    assert!(
        told(observatorium(&[source("x.yaml", "a: 1")]))
            .starts_with("x.yaml:1:1: this is none of Observatorium's files")
    );
    let twice = [source("a.yaml", "tenants: []"), source("b.yaml", "tenants: []")];
    assert_eq!(told(observatorium(&twice)), "b.yaml: a.yaml is of the same kind (give one of each kind)");
}

#[test]
fn secrets_are_carried_as_they_stand_and_are_in_no_note() {
    let import =
        checked(of_vmagent("f", "vmagent -remoteWrite.url=http://a/b -remoteWrite.bearerToken=hunter2"), Path::new(""));
    assert!(import.yaml.contains("credentials: hunter2"), "{}", import.yaml);
    assert!(!import.notes.iter().any(|note| note.text.contains("hunter2")), "{import:?}");
}

#[test]
fn a_flag_that_is_off_is_not_missed() {
    let flags =
        "vmagent -remoteWrite.url=http://a/b -envflag.enable=false -remoteWrite.shardByURL=false -streamAggr.config=";
    let import = checked(of_vmagent("f", flags), Path::new(""));
    assert_eq!(import.notes, []);
}

/// Entries as people write them, some of them wrong.
fn entry() -> impl Strategy<Value = String> {
    let key = prop::sample::select(vec![
        "name: a",
        "remote_timeout: 10s",
        "remote_timeout: soon",
        "send_exemplars: true",
        "queue_config: {capacity: 1}",
        "basic_auth: {username: u, password: p}",
        "bearer_token: t",
        "headers: {a: b}",
        "no_such_key: 1",
        "write_relabel_configs: [{action: drop, regex: '('}]",
        "tls_config: {ca_file: ca.crt}",
        "sigv4: {}",
        "proxy_url: socks5://x:1",
        "metadata_config: {send: false, send_interval: 1m}",
        "round_robin_dns: true",
    ]);
    let url = prop::sample::select(vec!["http://a/b", "https://a/b?c=d", "ftp://a", "not a url", "http://b:9/"]);
    (url, prop::collection::btree_set(key, 0..4)).prop_map(|(url, keys)| {
        let mut names = std::collections::BTreeSet::new();
        let keys = keys.into_iter().filter(|key| names.insert(key.split(':').next().map(str::to_owned)));
        keys.fold(format!("  - url: {url}\n"), |entry, key| format!("{entry}    {key}\n"))
    })
}

proptest! {
    #[test]
    fn whatever_remote_write_says_the_result_passes_the_check_and_each_endpoint_is_in_it(
        entries in prop::collection::vec(entry(), 1..6)
    ) {
        let import = checked(of_prometheus(&format!("remote_write:\n{}", entries.concat())), Path::new(""));
        let is_endpoint = |line: &&str| line.trim_start_matches([' ', '#']).starts_with("- url: ");
        let urls = import.yaml.lines().filter(is_endpoint).filter(|line| !line.contains("127.0.0.1:9009")).count();
        prop_assert_eq!(urls, entries.len(), "{}", import.yaml);
        let is_off = import.yaml.lines().any(|line| line.starts_with("  # - url: "));
        prop_assert_eq!(is_off, !import.is_complete(), "{}", import.yaml);
    }

    #[test]
    fn no_command_line_breaks_the_importer_and_what_comes_of_it_passes_the_check(words in prop::collection::vec(
        prop::sample::select(vec![
            "-remoteWrite.url=http://a/b", "-remoteWrite.url=http://a/b,https://c:1/d?e", "-remoteWrite.url", "x", "'", "\\",
            "-remoteWrite.tlsInsecureSkipVerify", "-remoteWrite.basicAuth.username=,a", "-remoteWrite.headers=a", "-", "--",
            "-remoteWrite.label=a", "-remoteWrite.label=9=$1", "-httpListenAddr=nowhere", "-httpAuth.username=a", "-tls", "$X",
            "-remoteWrite.maxDiskUsagePerURL=1GB,x", "-maxInsertRequestSize=1", "-remoteWrite.forcePromProto", "\u{1b}[2J", "\n",
            "-enableMultitenancyViaHeaders", "-promscrape.config=x", "-remoteWrite.oauth2.clientID=a", "-x=\"%{Y}\"",
        ]), 0..12,
    )) {
        let text = format!("-remoteWrite.url=http://first/write {}", words.join(" "));
        if let Ok(import) = of_vmagent("f", &text) {
            let import = checked(Ok(import), Path::new(""));
            prop_assert!(!import.yaml.contains('\u{1b}'), "{}", import.yaml);
        }
    }
}
