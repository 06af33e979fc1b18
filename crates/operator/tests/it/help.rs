//! What `--help` says is true: it fits a terminal, each example is one the program takes, each command is in the manual.

use std::path::Path;
use std::process::{Command, Output};

fn ran(directory: &Path, line: &str) -> Output {
    let programs = Path::new(env!("CARGO_BIN_EXE_writegate-operator")).parent().unwrap();
    let others = std::env::var_os("PATH").unwrap();
    let path = std::env::join_paths([programs.to_owned()].into_iter().chain(std::env::split_paths(&others))).unwrap();
    let mut command = Command::new("sh");
    command.args(["-c", line]).current_dir(directory).env("PATH", path).env("HOME", directory);
    command.env("KUBECONFIG", "/no/such/file").output().unwrap()
}

/// Every command's words with its help.
fn commands(directory: &Path) -> Vec<(String, String)> {
    let (mut told, mut open) = (Vec::new(), vec!["writegate-operator".to_owned()]);
    while let Some(words) = open.pop() {
        let help = String::from_utf8(ran(directory, &format!("{words} --help")).stdout).unwrap();
        let listed = help.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
        let names = listed.filter(|line| line.starts_with("  ") && !line.starts_with("   "));
        let names = names.filter_map(|line| line.split_whitespace().next()).filter(|name| *name != "help");
        open.extend(names.map(|name| format!("{words} {name}")));
        told.push((words, help));
    }
    assert!(told.len() > 6, "{told:?}");
    told
}

#[test]
fn every_help_fits_80_columns_and_the_program_takes_its_example() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("operator.yml"), "{}").unwrap();
    std::fs::create_dir_all(directory.path().join(".local/share/bash-completion/completions")).unwrap();
    for (words, help) in commands(directory.path()) {
        let too_long: Vec<&str> = help.lines().filter(|line| line.chars().count() > 80).collect();
        assert!(too_long.is_empty(), "{words}: {too_long:?}");
        assert!(help.contains("Exit codes: 0 fine, 1 failed, 2 wrong usage"), "{words}: {help}");
        let below = help.lines().skip_while(|line| *line != "Example:").skip(1);
        let text: Vec<&str> = below.take_while(|line| line.starts_with("  ")).collect();
        let example = text.join("\n");
        assert!(example.contains(&words), "{words}: {help}");
        // Nobody has a cluster here: what asks one fails, but not for how it was called.
        let needs_cluster = example.contains("writegate-operator run") || example.contains("explain");
        let output = ran(directory.path(), example.split('|').next().unwrap().trim_end().trim_end_matches('\\'));
        let code = if needs_cluster { 1 } else { 0 };
        assert_eq!(output.status.code(), Some(code), "{example}: {output:?}");
    }
}

#[test]
fn shells_read_the_completions_and_the_manual_has_a_page_for_every_command() {
    let directory = tempfile::tempdir().unwrap();
    let output = ran(directory.path(), "writegate-operator completions bash > script && bash -n script");
    assert!(output.status.success(), "{output:?}");
    for shell in ["zsh", "fish"] {
        let output = ran(directory.path(), &format!("writegate-operator completions {shell}"));
        assert!(output.status.success() && !output.stdout.is_empty(), "{shell}: {output:?}");
    }
    let output = ran(directory.path(), "writegate-operator man pages");
    assert!(output.status.success(), "{output:?}");
    for (words, _) in commands(directory.path()) {
        let page = directory.path().join("pages").join(format!("{}.1", words.replace(' ', "-")));
        let text = std::fs::read_to_string(&page).unwrap_or_else(|error| panic!("{}: {error}", page.display()));
        assert!(text.contains(".SH NAME"), "{text}");
    }
}
