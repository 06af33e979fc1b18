//! The double over HTTP, held against what a real API server answers. Nothing of its inside is known here.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "tests say what is wrong by panicking")]

mod access;
mod apply;
mod deletion;
mod discovery;
mod events;
mod faults;
mod harness;
mod lists;
mod objects;
mod patches;
mod schemas;
mod tls;
mod watches;

#[test]
fn every_file_here_is_a_module_of_this_program() {
    let directory = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it");
    for entry in std::fs::read_dir(directory).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let Some(module) = name.strip_suffix(".rs") else { continue };
        let listed = include_str!("main.rs").lines().any(|line| line == format!("mod {module};"));
        assert!(listed || module == "main", "{name} is not listed");
    }
}
