//! The operator's file: what it becomes, or exactly what is wrong with it.

use std::path::Path;

use writegate_config::{AnnotationMode, LeaderElection, OperatorConfig, parse_operator};

fn problems(text: &str) -> Vec<String> {
    match parse_operator(text, Path::new("o.yml")) {
        Ok(config) => panic!("{config:?}"),
        Err(problems) => problems.0.iter().map(ToString::to_string).collect(),
    }
}

#[test]
fn an_empty_file_is_the_defaults() {
    let config = parse_operator("", Path::new("o.yml")).unwrap();
    assert_eq!(config, OperatorConfig::without_file());
    assert_eq!(config.admin.to_string(), "127.0.0.1:9011");
    assert_eq!((config.domain.as_str(), config.prometheus_namespace.as_str()), ("adevinta.com", "platform-services"));
    assert_eq!(config.annotation_mode, AnnotationMode::Replace);
    let election = LeaderElection { namespace: "platform-services".to_owned(), name: "writegate-operator".to_owned() };
    assert_eq!(config.leader_election, Some(election));
    let policies = &config.policies;
    assert!(!policies.allow_files && !policies.allow_private_proxies && !policies.allow_pod_identity);
    assert!(!policies.environment_proxy && !policies.adopt_finalizers);
    assert_eq!((policies.max_targets_per_namespace, policies.max_target_bytes), (500, 65_536));
    assert!(config.default_target.is_none() && config.write_storage.is_empty());
}

#[test]
fn everything_that_is_wrong_is_told_at_its_place() {
    let text = "\
domian: x.io
domain: 'not a domain'
prometheus_namespace: a.b
default_target: [x]
annotation_mode: both
leader_election: {enabled: maybe, namespace: A}
policies:
  allow_file: true
  allowed_hosts: ['a b']
  max_targets_per_namespace: 0
  remote_write_namespaces: [ok, Not-OK]
write_storage:
- {name: a, key: k}
- {name: a, key: k}
- {name: b}
";
    assert_eq!(
        problems(text),
        [
            "o.yml:1:1: unknown key `domian` in the file (did you mean `domain`?)",
            "o.yml:2:9: domain: expected a domain such as `example.org`",
            "o.yml:3:23: prometheus_namespace: expected the name of a namespace",
            "o.yml:4:17: default_target: expected a mapping, found a list",
            "o.yml:5:18: annotation_mode: expected replace or add, found \"both\"",
            "o.yml:6:28: leader_election.enabled: expected true or false",
            "o.yml:6:46: leader_election.namespace: expected the name of a namespace",
            "o.yml:8:3: unknown key `allow_file` in policies (did you mean `allow_files`?)",
            "o.yml:9:19: policies.allowed_hosts[0]: expected a host such as `mimir.example.org` or `*.example.org`",
            "o.yml:10:30: policies.max_targets_per_namespace: expected a whole number from 1 to 4294967295",
            "o.yml:11:33: policies.remote_write_namespaces[1]: expected the name of a namespace",
            "o.yml:14:3: write_storage[1]: another entry names the Secret a; endpoints need names of their own",
            "o.yml:15:3: write_storage[2]: `key` is missing",
        ]
    );
}
