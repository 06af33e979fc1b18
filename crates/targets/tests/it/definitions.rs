//! What is printed for administrators.

use std::path::Path;

use serde_json::Value as Json;
use targets::{Applier, to_yaml};

fn documents(objects: &[Json]) -> String {
    objects.iter().map(|object| format!("---\n{}", to_yaml(object))).collect()
}

#[test]
fn the_definition_of_remote_write_objects() {
    insta::assert_snapshot!(documents(&targets::crd::definitions()));
}

#[test]
fn the_least_roles() {
    let config = |text: &str| writegate_config::parse_operator(text, Path::new("o.yml")).unwrap();
    let plain = config("leader_election: {namespace: writegate}");
    insta::assert_snapshot!(
        "roles_prometheus",
        documents(&targets::rbac::roles(&plain, Applier::Prometheus, "writegate"))
    );
    let alone = config("leader_election: {enabled: false}");
    insta::assert_snapshot!("roles_file", documents(&targets::rbac::roles(&alone, Applier::File, "writegate")));
}
