//! The contract, as tests named after its checklist: W… of the wire, R-… of the systems. Each runs a whole gateway
//! between senders and receivers on loopback; nothing of the gateway's inside is known here.
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests say what is wrong by panicking")]

mod admin_api;
mod ages;
mod allowances;
mod attacks;
mod books;
mod capacity;
mod certificates;
mod cli;
mod conformance;
mod connections;
mod console;
mod credentials;
mod dead_letters;
mod delivery;
mod disk;
mod durability;
mod endpoint_auth;
mod endpoint_files;
mod endpoints;
mod faults;
mod harness;
mod help;
mod import;
mod ingest_v1;
mod ingest_v2;
mod isolation;
mod kill;
mod limits;
mod log_command;
mod message;
mod monitoring;
mod names;
mod observatorium;
mod openid;
mod order;
mod otlp;
mod outage;
mod overload;
mod probe;
mod program;
mod refusals;
mod relabeling;
mod reloads;
mod replays;
mod resending;
mod senders;
mod service;
mod surface;
mod tap;
mod tls;
mod tokens;
mod translation;
mod transport;
mod upgrade;
mod victoriametrics;

#[test]
fn every_file_here_is_a_module_of_this_program() {
    let directory = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it");
    for entry in std::fs::read_dir(directory).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let module = name.strip_suffix(".rs").unwrap_or(&name);
        let listed = include_str!("main.rs").lines().any(|line| line == format!("mod {module};"));
        assert!(listed || name == "main.rs", "{name} is not listed");
    }
}
