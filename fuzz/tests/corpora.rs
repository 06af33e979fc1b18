//! Replays the corpora: every input that once taught something, or broke something.
#![expect(clippy::unwrap_used, reason = "tests say what is wrong by panicking")]

use std::path::{Path, PathBuf};

use fuzz::TARGETS;

fn corpus(name: &str) -> Vec<PathBuf> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(name);
    let mut files: Vec<PathBuf> = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

fn replay(name: &str) {
    let files = corpus(name);
    assert!(files.len() >= 10, "{name} has {} inputs", files.len());
    let target = fuzz::target(name).unwrap();
    for file in files {
        let bytes = std::fs::read(&file).unwrap();
        let ended = std::panic::catch_unwind(|| target(&bytes));
        assert!(ended.is_ok(), "{}", file.display());
    }
}

macro_rules! replayed {
    ($($name:ident),*) => {
        $(
            #[test]
            fn $name() {
                replay(stringify!($name));
            }
        )*

        #[test]
        fn every_target_is_replayed_and_every_corpus_has_a_target() {
            let replayed = [$(stringify!($name)),*];
            assert_eq!(TARGETS.map(|(name, _)| name), replayed);
            for entry in std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus")).unwrap() {
                let name = entry.unwrap().file_name().into_string().unwrap();
                assert!(replayed.contains(&name.as_str()), "{name}");
            }
        }
    };
}

replayed!(v1, v2, otlp, snappy, zstd, relabel, configuration, log_segment, log_cursors, push, admin);
