//! Nothing that can be written makes the parser panic, and what it takes it can print and read again.

use std::path::Path;

use proptest::prelude::{ProptestConfig, Strategy, any, prop, prop_assert_eq};
use writegate_config::load;

use crate::{parse_text, testdata};

/// Pieces of YAML and of our own keys, so that structure is hit more often than by bytes alone.
fn fragments() -> impl Strategy<Value = String> {
    let keys = "listeners address tenant tenant_from host header path admin public log max_size limits remote_write url \
                name headers basic_auth authorization queue_config from tenants write_relabel_configs action tls_config \
                azuread sigv4 oauth2 proxy_url id external_labels tenant_label max_age sample_age_limit target_label";
    let pieces: Vec<&str> = keys
        .split_whitespace()
        .chain(["\n", "\n  ", "\n- ", ": ", "[", "]", "{", "}", ", ", "*a", "&a ", "<<", "~", "1", "5m", "90%", "é"])
        .chain(["http://a/b", "127.0.0.1:1", "!!int ", "\"", "'", "|", "# ", "---"])
        .collect();
    prop::collection::vec(prop::sample::select(pieces), 0..40).prop_map(|pieces| pieces.concat())
}

fn check(text: &str) {
    if let Ok(loaded) = parse_text(text) {
        let printed = loaded.config.to_yaml();
        let again = parse_text(&printed).unwrap_or_else(|problems| panic!("{problems}\nin\n{printed}"));
        assert_eq!(again.config.to_yaml(), printed);
    }
}

proptest::proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        check(&String::from_utf8_lossy(&bytes));
    }

    #[test]
    fn arbitrary_fragments_never_panic(text in fragments()) {
        check(&text);
    }

    #[test]
    fn damaged_files_never_panic(file in any::<prop::sample::Index>(), at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        // The bomb takes its whole budget each time, and has a test of its own.
        let mut files = testdata(".yml");
        files.retain(|file| !file.ends_with("bomb.bad.yml"));
        let mut bytes = std::fs::read(&files[file.index(files.len())]).unwrap();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        check(&String::from_utf8_lossy(&bytes));
    }
}

proptest::proptest! {
    #![proptest_config(ProptestConfig { cases: 100, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn damaged_files_of_observatorium_never_panic(roles in any::<bool>(), at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let directory = tempfile::tempdir().unwrap();
        let [damaged, whole] = if roles { ["rbac.yaml", "tenants.yaml"] } else { ["tenants.yaml", "rbac.yaml"] };
        let read = |name: &str| std::fs::read(Path::new("testdata/observatorium").join(name)).unwrap();
        let mut bytes = read(damaged);
        let at = at.index(bytes.len());
        bytes[at] = byte;
        std::fs::write(directory.path().join(damaged), bytes).unwrap();
        std::fs::write(directory.path().join(whole), read(whole)).unwrap();
        let file = directory.path().join("w.yml");
        let main = "listeners: [{address: ':1'}]\ntenants_file: tenants.yaml\nrbac_file: rbac.yaml\n";
        std::fs::write(&file, main).unwrap();
        if let Ok(loaded) = load(&file) {
            let printed = loaded.config.to_yaml();
            std::fs::write(&file, &printed).unwrap();
            let again = load(&file).unwrap_or_else(|problems| panic!("{problems}\nin\n{printed}"));
            prop_assert_eq!(again.config, loaded.config);
        }
    }
}
