//! Whether names can be looked up without harm by a program that has its C library in it (`crt-static`). glibc loads what
//! `/etc/nsswitch.conf` names for `hosts` into the process; a module of another glibc's making ends it with a signal.
//! `files` and `dns` are built in.

use std::path::Path;

const CONFIGURATION: &str = "/etc/nsswitch.conf";
/// Where glibc looks for modules.
const DIRECTORIES: [&str; 8] = [
    "/lib/x86_64-linux-gnu",
    "/usr/lib/x86_64-linux-gnu",
    "/lib/aarch64-linux-gnu",
    "/usr/lib/aarch64-linux-gnu",
    "/lib64",
    "/usr/lib64",
    "/lib",
    "/usr/lib",
];

/// Modules would be loaded that may end the process.
#[derive(Debug, thiserror::Error)]
#[error(
    "this program has its C library in it, and {CONFIGURATION} wants names to be looked up by {modules}, made for the library of \
     this machine: that would end the program with a signal; install the package or build it here, or write `hosts: files dns` \
     there"
)]
pub(crate) struct ForeignModules {
    modules: String,
}

/// # Errors
/// When a lookup could end the process.
pub(crate) fn check() -> Result<(), ForeignModules> {
    if !cfg!(all(target_env = "gnu", target_feature = "crt-static")) {
        return Ok(());
    }
    // Without the file it is `files dns`.
    let configuration = std::fs::read_to_string(CONFIGURATION).unwrap_or_default();
    let is_there = |module: &str| {
        let file = format!("libnss_{module}.so.2");
        DIRECTORIES.iter().any(|directory| Path::new(directory).join(&file).exists())
    };
    let modules: Vec<&str> = of_hosts(&configuration).filter(|module| is_there(module)).collect();
    if modules.is_empty() { Ok(()) } else { Err(ForeignModules { modules: modules.join(", ") }) }
}

/// The modules for `hosts` that are not built in (`nsswitch.conf(5)`). What is in brackets are rules about their answers.
fn of_hosts(configuration: &str) -> impl Iterator<Item = &str> {
    let lines = configuration.lines().map(|line| line.split('#').next().unwrap_or_default().trim());
    let hosts = lines.filter_map(|line| line.strip_prefix("hosts:")).flat_map(|line| line.split(['[', ']']).step_by(2));
    hosts.flat_map(str::split_whitespace).filter(|module| !["files", "dns"].contains(module))
}

#[cfg(test)]
mod tests {
    use super::of_hosts;

    #[test]
    fn what_is_not_built_in_is_found_and_rules_are_no_modules() {
        for (text, expected) in [
            ("", &[] as &[&str]),
            ("passwd: files systemd\nhosts: files dns\n", &[]),
            (
                "hosts:\tfiles mymachines resolve [!UNAVAIL=return] myhostname dns # mdns\n",
                &["mymachines", "resolve", "myhostname"],
            ),
            ("# hosts: a\n  hosts: files mdns4_minimal [NOTFOUND=return] dns", &["mdns4_minimal"]),
        ] {
            assert_eq!(of_hosts(text).collect::<Vec<_>>(), expected, "{text}");
        }
    }
}
