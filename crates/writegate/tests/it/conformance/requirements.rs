//! The requirements W1 to W90, and the tests that hold them: those whose names begin with the number, and some that are
//! named here.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use testkit::conformance::agree;

use super::names_of_tests;

/// Tests that hold a requirement under another name.
const UNDER_OTHER_NAMES: [(u32, &[&str]); 5] = [
    (
        43,
        &[
            "a_torn_tail_is_cut_at_any_byte_and_earlier_records_survive",
            "any_flipped_byte_costs_at_most_its_record_and_is_counted",
            "a_segment_with_a_damaged_header_is_set_aside_and_its_counts_are_known",
        ],
    ),
    (
        85,
        &[
            "r_s9_an_invalid_reload_changes_nothing_and_says_so_and_a_valid_one_loses_no_request",
            "r_p21_metrics_configuration_and_debugging_are_not_served_to_senders_whatever_they_show",
        ],
    ),
    (86, &["prometheus_3_5_over_v1_loses_nothing", "prometheus_3_5_over_v2_loses_nothing"]),
    (87, &["prometheus_2_42_loses_nothing"]),
    (
        89,
        &[
            "a_receiver_of_2_0_passes_every_case_of_the_receiver_suite",
            "a_receiver_of_1_0_passes_every_case",
            "a_sender_passes_every_case_of_the_sender_suites_that_needs_no_scraper",
            "what_prometheus_scrapes_passes_every_case_of_the_sender_suites_behind_the_gateway",
        ],
    ),
];

/// Where something is done otherwise, and why.
const OTHERWISE: [(u32, &str); 4] = [
    (60, "held for as long as the log has room, not until an age, unless `max_age` says one"),
    (
        83,
        "there are no shards: `shards`, `shards_desired` and `shards_max` speak of requests in flight; `enqueue_retries_total` and `metadata_*_total` of what does not exist here are left out",
    ),
    (85, "every address is bound after recovery: until then connections are refused instead of answered 503"),
    (87, "VictoriaMetrics is 1.145, not 1.79"),
];

/// What each asks for, from W1 on.
const REQUIREMENTS: [&str; 90] = [
    "a plain 1.0 push: 204, no body, no `Written` headers, the same samples at the endpoint",
    "the long content type of 1.0 is 1.0",
    "content type, encoding or version may be missing: 1.0 in snappy",
    "the encoding's name in any case",
    "requests without data: 204, and no request to endpoints",
    "exemplars and native histograms of 1.0, bit for bit",
    "what is no write request: 400 and a reason",
    "labels out of order are taken, and leave sorted",
    "labels without value are removed; a series without a name is refused",
    "a bad series is refused alone: 400, for zstd 409",
    "NaNs, infinities, minus zero, subnormals and the stale marker, bit for bit",
    "every 64-bit timestamp",
    "a plain 2.0 push: 204 and three exact counts",
    "the schema is the content type's, whatever the version header",
    "every spelling of the content type of 2.0",
    "other content types: 415, nothing kept",
    "other encodings: 415, also of a broken body",
    "2.0 switched off: 415, while 1.0 goes on",
    "a broken reference costs its series, not the connection",
    "a symbol table that does not begin with the empty string",
    "packed and unpacked references; the start time of field 6",
    "one nameless series of four: 400, three written",
    "a series with nothing but exemplars",
    "a series with nothing but metadata; an empty request",
    "samples and histograms in one series of 2.0",
    "native histograms with wrong arithmetic are refused, the rest is kept",
    "the same labels several times in a request keep their order",
    "no counts but zeros beside a 5xx",
    "what the configuration drops counts as written",
    "each limit: 400 that names it; the next request is taken",
    "compression bombs: refused in bounded memory and time",
    "chunked bodies, with the same limits",
    "`Expect: 100-continue`",
    "a body that does not come: the connection is cut, never 408",
    "pipelining, keep-alive, HTTP/2",
    "other methods 405, other paths 404",
    "no or a wrong credential 401, another's tenant 403",
    "no room: 503 with Retry-After, and nothing of it is delivered later",
    "a tenant above its rate: 503 or 429; others notice nothing",
    "SIGTERM: what is in flight ends, nothing acknowledged is lost",
    "`kill -9`: nothing acknowledged is lost",
    "a full or failing disk: 503, and recovery by itself",
    "a torn or damaged log: found, counted, the rest delivered",
    "zstd as VictoriaMetrics sends it; 415 where it is off",
    "`get_vm_proto_version`",
    "blocks under the other codec's name",
    "real vmagents lose and repeat nothing",
    "a block that is too large does not stop vmagent's queue",
    "VictoriaMetrics' paths and headers choose the tenant",
    "outgoing headers, exactly; reserved ones cannot be configured",
    "outgoing 2.0 is strict whatever came in",
    "order per series at an endpoint that delays at random",
    "after a failure the same samples again, with growing pauses",
    "Retry-After of endpoints",
    "400, 409 and 422: what is good arrives, what is bad is a dead letter",
    "413: smaller, until it fits",
    "415 to 2.0: 1.0, remembered, nothing lost",
    "a success without `Written` headers: the same",
    "429 is retried, unless that is switched off",
    "401, 403, 404: held, and delivered when mended",
    "an endpoint that is down changes nothing for the others",
    "an endpoint that flaps: nothing twice but what was ambiguous",
    "a batch that breaks its endpoint does not stop the rest",
    "what is too old expires, counted",
    "reloads under load: order kept, nothing lost",
    "a replay: exactly its window, no cursor disturbed",
    "a full log: the oldest goes, for the endpoint that lags",
    "rules, labels, headers and credentials per endpoint; no secret in sight",
    "endless answers hurt nobody",
    "from one version to the other and back, bit for bit",
    "2.0 to 1.0: what cannot be said is dropped and counted",
    "1.0 to 2.0: metadata as far as it is known",
    "UTF-8 names towards older receivers",
    "lone exemplars never make a strict endpoint refuse",
    "OTLP over HTTP: protobuf and JSON, gzip",
    "OTLP over HTTP: every error's status",
    "OTLP: partial success with exact counts",
    "OTLP over gRPC: every outcome's code",
    "OTLP: names, units, suffixes",
    "OTLP: resources, scopes, attributes",
    "OTLP: exponential histograms",
    "OTLP: absent values, explicit histograms",
    "metrics under Prometheus' names",
    "books per tenant and endpoint that balance",
    "health, readiness, reload",
    "Prometheus 3.5 to Prometheus 3.5, both versions",
    "Prometheus 2.42 as sender and receiver, VictoriaMetrics as receiver",
    "2.0 configured towards receivers that ignore it: everything arrives",
    "the cases of the compliance suites, on this page",
    "restarts, refusals, resets under load: no sample missing",
];

/// The numbers that a test's name begins with: `w1_w13_…` holds both.
fn numbers(name: &str) -> impl Iterator<Item = u32> {
    let words = name.split('_').map_while(|word| {
        let digits = word.strip_prefix(['w', 'p', 'o', 's', 'x', 'a', 'g']).unwrap_or_default();
        let is_id = word == "r" || !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
        is_id.then_some(word)
    });
    words.filter_map(|word| word.strip_prefix('w')?.parse().ok())
}

#[test]
fn every_requirement_has_a_test_that_exists() {
    let names = names_of_tests();
    let mut tests: BTreeMap<u32, Vec<&str>> = BTreeMap::new();
    for name in &names {
        for number in numbers(name) {
            tests.entry(number).or_default().push(name);
        }
    }
    for (number, named) in UNDER_OTHER_NAMES {
        for name in named {
            assert!(names.contains(*name), "W{number} names {name}, which is no test");
            tests.entry(number).or_default().push(name);
        }
    }
    let mut text = String::from("| | asks for | held by |\n| --- | --- | --- |\n");
    for (number, asks) in (1..).zip(REQUIREMENTS) {
        let held_by = match tests.remove(&number) {
            Some(mut tests) => {
                tests.sort_unstable();
                tests.iter().map(|test| format!("`{test}`")).collect::<Vec<_>>().join(", ")
            }
            None => panic!("W{number} has no test"),
        };
        let otherwise = OTHERWISE.iter().find(|(of, _)| *of == number);
        let note = otherwise.map(|(_, why)| format!(" ({why})")).unwrap_or_default();
        writeln!(text, "| W{number} | {asks}{note} | {held_by} |").unwrap();
    }
    assert!(tests.is_empty(), "tests of requirements that do not exist: {tests:?}");
    agree("requirements", &text).unwrap_or_else(|error| panic!("{error}"));
}

#[test]
fn a_tests_name_begins_with_the_requirements_it_holds() {
    let of = |name| numbers(name).collect::<Vec<u32>>();
    assert_eq!(of("w36_r_p22_other_methods_are_405"), [36]);
    assert_eq!(of("r_x12_w45_the_question"), [45]);
    assert_eq!(of("w1_w2_both"), [1, 2]);
    assert_eq!(of("we_w3_are_not"), Vec::<u32>::new());
    assert_eq!(of("a_test"), Vec::<u32>::new());
}
