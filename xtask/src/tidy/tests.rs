//! Each house rule, broken and kept.

use super::{MAX_LINES, check};

/// The lines found wrong in a file of that path and text.
fn lines(path: &str, text: &str) -> Vec<usize> {
    let mut findings = Vec::new();
    check(path, text, &mut findings);
    findings.iter().map(|finding| finding.line).collect()
}

#[test]
fn a_source_file_without_a_header_is_found() {
    assert_eq!(lines("crates/a/src/lib.rs", "use std::fmt;\n"), [1]);
    assert_eq!(lines("crates/a/src/lib.rs", "//! What it is for.\nuse std::fmt;\n"), []);
}

#[test]
fn a_long_file_is_found_but_its_tests_do_not_count() {
    let long = format!("//! Long.\n{}", "fn f() {}\n".repeat(MAX_LINES));
    assert_eq!(lines("crates/a/src/lib.rs", &long), [0]);
    let tested = format!("//! Short.\n#[cfg(test)]\nmod tests {{\n{}", "fn f() {}\n".repeat(MAX_LINES));
    assert_eq!(lines("crates/a/src/lib.rs", &tested), []);
    assert_eq!(lines("crates/a/src/foo/tests.rs", &long), []);
    assert_eq!(lines("crates/a/tests/it/main.rs", &long), []);
}

#[test]
fn a_test_that_sleeps_is_found_and_a_program_that_does_is_not() {
    let call = format!("tokio::time::{}p(pause).await;\n", "slee");
    assert_eq!(lines("crates/a/src/lib.rs", &format!("//! A.\n{call}")), []);
    assert_eq!(lines("crates/a/src/lib.rs", &format!("//! A.\n#[cfg(test)]\nmod other;\n{call}")), []);
    assert_eq!(lines("crates/a/src/lib.rs", &format!("//! A.\n#[cfg(test)]\nmod tests {{\n{call}}}\n")), [4]);
    assert_eq!(lines("tests/it/main.rs", &format!("//! A.\n{call}// {call}asleep(1);\n")), [2]);
}

#[test]
fn unfinished_work_is_found_only_as_a_word() {
    let word = format!("TO{}", "DO");
    assert_eq!(lines("crates/a/src/lib.rs", &format!("//! A.\n// {word}: later\nconst MAS{word}S: u8 = 1;\n")), [2]);
    assert_eq!(lines("docs/a.md", &format!("{word}\n")), []);
}

#[test]
fn a_path_or_document_outside_the_project_is_found_in_any_file() {
    let path = format!("sha{}", "red/notes");
    let document = format!("design{}", ".md");
    assert_eq!(lines("README.md", &format!("see ../{path}\nand {document}\n")), [1, 2]);
    assert_eq!(lines("README.md", "shared state, a design, un-shared/x\n"), []);
}

#[test]
fn a_package_without_the_workspace_lints_is_found() {
    assert_eq!(lines("crates/a/Cargo.toml", "[package]\nname = \"a\"\n"), [0]);
    assert_eq!(lines("crates/a/Cargo.toml", "[package]\nname = \"a\"\n\n[lints]\nworkspace = true\n"), []);
    assert_eq!(lines("Cargo.toml", "[workspace]\nresolver = \"3\"\n"), []);
}

#[test]
fn a_pure_crate_with_a_runtime_clock_or_logger_is_found() {
    let manifest = |dependency: &str| {
        format!("[package]\n[lints]\nworkspace = true\n[dev-dependencies]\n{dependency}\n[features]\ntime = []\n")
    };
    for dependency in ["tokio.workspace = true", "tracing = \"0.1\"", "hyper = { workspace = true }"] {
        assert_eq!(lines("crates/segment-log/Cargo.toml", &manifest(dependency)), [5], "{dependency}");
        assert_eq!(lines("crates/writegate/Cargo.toml", &manifest(dependency)), []);
    }
    assert_eq!(lines("crates/remote-write/Cargo.toml", &manifest("[dependencies.tokio]\nversion = \"1\"")), [5]);
    assert_eq!(lines("crates/remote-write/Cargo.toml", &manifest("timely.workspace = true")), []);
}

#[test]
fn what_is_for_tests_does_not_ship() {
    let manifest = |section: &str| format!("[package]\n[lints]\nworkspace = true\n{section}\n");
    let line = "kube-double.workspace = true";
    assert_eq!(lines("crates/operator/Cargo.toml", &manifest(&format!("[dependencies]\n{line}"))), [5]);
    assert_eq!(lines("crates/operator/Cargo.toml", &manifest("[dependencies.kube-double]\nworkspace = true")), [4]);
    assert_eq!(lines("crates/operator/Cargo.toml", &manifest(&format!("[dev-dependencies]\n{line}"))), []);
    assert_eq!(lines("Cargo.toml", &format!("[workspace.dependencies]\n{line}\n")), []);
}

#[test]
fn ingest_and_delivery_may_not_use_each_other() {
    let ingest = "crates/writegate/src/ingest/push.rs";
    assert_eq!(lines(ingest, "//! A.\nuse crate::delivery::Outcome;\n// crate::delivery is a stranger\n"), [2]);
    assert_eq!(lines(ingest, "//! A.\nuse crate::{delivery, record};\n"), [2]);
    assert_eq!(
        lines(ingest, "//! A.\nuse crate::{\n    record::{\n        delivery,\n    },\n    delivery::x,\n};\n"),
        [6]
    );
    assert_eq!(lines(ingest, "//! A.\nuse crate::record;\nlet delivery = 1;\n"), []);
    assert_eq!(lines("crates/writegate/src/delivery.rs", "//! A.\nuse crate::ingest::push;\n"), [2]);
    assert_eq!(lines("crates/writegate/src/app.rs", "//! A.\nuse crate::{delivery, ingest};\n"), []);
}
