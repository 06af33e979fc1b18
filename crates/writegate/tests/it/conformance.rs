//! The cases of Prometheus' compliance suites (`remotewrite` in `prometheus/compliance`), told anew as the project's own,
//! and the requirements that tests are named after. Each part writes its section of `docs/conformance.md`.

mod receiver;
mod receiver_v1;
mod requirements;
mod sender;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use testkit::conformance::{Case, Level, Outcome, agree, table};

/// All cases that failed are told together.
fn assert_none(failures: &[String]) {
    assert!(failures.is_empty(), "{} cases:\n{}", failures.len(), failures.join("\n"));
}

/// Compares cases that passed, but for those that are said to differ, with the page.
fn conclude(section: &str, cases: &[Case]) {
    let names: BTreeSet<&str> = cases.iter().map(|case| case.name.as_str()).collect();
    assert_eq!(names.len(), cases.len(), "a name stands for two cases");
    agree(section, &table(cases)).unwrap_or_else(|error| panic!("{error}"));
}

fn case(name: impl Into<String>, level: Level, outcome: Outcome) -> Case {
    Case { name: name.into(), level, outcome }
}

/// The names of all tests of the gateway and of the whole, from their sources.
fn names_of_tests() -> BTreeSet<String> {
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut names = BTreeSet::new();
    for directory in [crates.clone(), crates.join("../tests")] {
        collect(&directory, &mut names);
    }
    names
}

fn collect(directory: &Path, names: &mut BTreeSet<String>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, names);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).unwrap();
            names.extend(tests_in(&text).map(str::to_owned));
        }
    }
}

/// The functions that follow `#[test]`.
fn tests_in(text: &str) -> impl Iterator<Item = &str> {
    text.split("#[test]").skip(1).filter_map(|after| {
        let name = after.split_once("fn ")?.1;
        name.split_once('(').map(|(name, _)| name)
    })
}

#[test]
fn every_test_that_a_case_is_shown_by_exists() {
    let names = names_of_tests();
    let missing: Vec<&str> = sender::shown_elsewhere().filter(|test| !names.contains(*test)).collect();
    assert_eq!(missing, Vec::<&str>::new());
}
