//! What a sender is asked by the compliance suites, where a scraper is not needed: a scripted sender before the gateway,
//! scripted endpoints behind it. What other tests show already is named here with the test.

use remote_write::Protocol;
use testkit::conformance::{Case, Level, Outcome};
use testkit::endpoint::{Endpoint, Received, Reply, Speaks};

use super::{assert_none, case, conclude};
use crate::harness::{PATIENCE, Setup, TestGateway, bounded, receiver, speaking};
use crate::message::{With, request, sample_of};

use Level::{May, Must, Should};

/// What the gateway does after an answer.
#[derive(Clone, Copy, PartialEq)]
enum Then {
    /// The request is settled: not sent again.
    Ends,
    /// The same bytes again, with `Retry-Attempt`.
    Repeats,
    /// It waits until the endpoint's configuration is mended.
    Holds,
}

const HELD: &str = "the sender has its 2xx, so the data is kept: it waits, and is tried again every 5 to 60 s until it is \
                    taken or older than `max_age`";

/// By the answer to the first request.
const AFTER: [(u16, Level, Then, Option<&str>); 16] = [
    (200, Must, Then::Ends, None),
    (202, Must, Then::Ends, None),
    (204, Must, Then::Ends, None),
    (400, Must, Then::Ends, None),
    (401, Must, Then::Holds, Some(HELD)),
    (403, Must, Then::Holds, Some(HELD)),
    (404, Must, Then::Holds, Some(HELD)),
    (408, Must, Then::Repeats, Some("RFC 9110 §15.5.9 lets it be repeated, and the data is acknowledged")),
    (409, Must, Then::Ends, None),
    (413, Should, Then::Ends, None),
    (422, Must, Then::Ends, None),
    (429, May, Then::Repeats, None),
    (500, Must, Then::Repeats, None),
    (502, Should, Then::Repeats, None),
    (503, Must, Then::Repeats, None),
    (504, Should, Then::Repeats, None),
];

/// Cases that a test of its own shows.
const ELSEWHERE: [(&str, Level, &str); 46] = [
    (
        "protocol: POST with exactly the headers of the version",
        Must,
        "w50_a_request_carries_the_four_headers_of_its_protocol_and_nothing_of_the_senders",
    ),
    (
        "protocol: headers of the protocol cannot be configured away",
        Must,
        "w50_reserved_headers_are_refused_when_the_configuration_is_loaded",
    ),
    (
        "symbols: the first is empty, none comes twice, every reference is right",
        Must,
        "w51_every_v2_request_an_endpoint_gets_is_strict_whatever_came_in",
    ),
    ("symbols: none of a series that was refused", Should, "w51_the_symbols_of_a_refused_series_do_not_leave"),
    (
        "symbols: packed and unpacked references are read alike",
        Must,
        "w21_packed_and_unpacked_references_and_the_old_start_time_decode_alike",
    ),
    ("labels: sorted bytewise whatever came in", Must, "w8_unsorted_labels_are_accepted_and_leave_sorted_bytewise"),
    (
        "labels: none with an empty name or value",
        Must,
        "w9_labels_with_empty_values_are_removed_and_a_nameless_rest_is_refused",
    ),
    ("labels: none twice, none without `__name__`, none that is no UTF-8", Must, "w10_a_bad_series_loses_only_itself"),
    ("labels: sorted after rules changed them", Must, "w68_what_rules_make_is_sorted"),
    ("labels: any UTF-8 in names", Should, "r_x20_utf8_names_of_metrics_labels_and_families_pass"),
    ("samples: every float bit for bit, the stale marker among them", Must, "w11_every_float_arrives_with_its_bits"),
    (
        "samples: never beside histograms in one series",
        Must,
        "w25_samples_and_histograms_in_one_series_are_split_or_in_strict_mode_refused",
    ),
    (
        "samples: start timestamps go on, also those of field 6",
        Should,
        "w21_packed_and_unpacked_references_and_the_old_start_time_decode_alike",
    ),
    ("samples: each is sent once", Must, "w13_a_valid_request_gets_204_with_the_three_counts_as_sent"),
    ("timestamps: milliseconds, any 64 bits", Must, "w12_any_timestamp_is_accepted_as_it_is"),
    (
        "ordering: series by series with an endpoint that takes its time",
        Must,
        "w52_10_000_series_arrive_in_order_whatever_is_delayed_refused_for_now_or_reset",
    ),
    (
        "ordering: the same labels several times in a request",
        Must,
        "w27_the_same_labels_in_several_series_of_a_request_keep_their_order",
    ),
    ("histograms: integer and float, bit for bit", Must, "w6_exemplars_and_native_histograms_arrive_bit_for_bit"),
    (
        "histograms: none whose counts do not add up",
        Must,
        "w26_a_histogram_with_wrong_arithmetic_is_refused_and_the_others_are_kept",
    ),
    (
        "histograms: custom buckets do not go out in 1.0",
        Must,
        "w71_v2_to_v1_drops_start_times_tells_families_and_counts_custom_buckets",
    ),
    ("exemplars: with labels, value and timestamp", Must, "w6_exemplars_and_native_histograms_arrive_bit_for_bit"),
    (
        "exemplars: never alone in a series of 2.0",
        Must,
        "w74_exemplars_in_a_series_of_their_own_never_make_a_strict_v2_endpoint_refuse_the_batch",
    ),
    (
        "metadata: with each series of 2.0, where it is known",
        Should,
        "w72_v1_to_v2_says_what_earlier_metadata_requests_said_or_nothing",
    ),
    ("metadata: of families in 1.0", Should, "w71_v2_to_v1_drops_start_times_tells_families_and_counts_custom_buckets"),
    (
        "combined: everything that both versions can say survives both",
        Must,
        "w70_v1_to_v2_and_back_to_v1_keeps_every_bit",
    ),
    (
        "batching: a series is in a request once, so that a repetition repeats its newest sample",
        Should,
        "w53_a_request_holds_each_series_from_one_record_only_so_that_its_repetition_repeats_newest_samples",
    ),
    (
        "batching: a request is as large as the endpoint takes",
        Should,
        "w56_a_413_halves_until_it_fits_and_the_size_is_remembered",
    ),
    (
        "batching: nothing is sent where there is nothing",
        Should,
        "w5_what_holds_no_data_gets_204_and_makes_no_data_request",
    ),
    (
        "backoff: pauses grow between attempts and later samples of the series wait",
        Must,
        "w53_each_failure_repeats_the_same_samples_with_growing_pauses_while_later_ones_of_the_series_wait",
    ),
    ("backoff: pauses are bounded and not all alike", Should, "pauses_grow_and_stay_within_the_bounds"),
    (
        "backoff: Retry-After in seconds and as a date",
        May,
        "w54_retry_after_is_obeyed_in_seconds_and_as_a_date_and_nonsense_is_ignored",
    ),
    (
        "errors: a connection that is reset is a failure like any other",
        Must,
        "w53_a_connection_reset_before_the_body_is_a_failure_like_any_other",
    ),
    (
        "errors: a request that an endpoint breaks on does not stop the others",
        Should,
        "w63_a_series_that_breaks_the_endpoint_is_set_aside_while_others_go_on",
    ),
    (
        "errors: a name that does not resolve is tried again",
        Must,
        "a_name_that_does_not_resolve_is_named_and_delivered_to_when_it_does",
    ),
    (
        "errors: what is refused is kept with the endpoint's words",
        Should,
        "w55_samples_that_are_really_out_of_order_are_dead_letters_with_the_endpoints_words",
    ),
    (
        "errors: one bad series of a request costs that series",
        Should,
        "w55_one_bad_series_in_10_000_good_ones_is_one_dead_letter_at_an_endpoint_that_stores_all_or_nothing",
    ),
    ("answers: however long, their bodies hurt nobody", Must, "w69_answers_of_100_mib_and_without_end_hurt_nobody"),
    (
        "answers: a body that does not come is not waited for",
        Must,
        "what_was_answered_with_2xx_is_sent_once_though_the_answers_body_never_comes",
    ),
    (
        "answers: 2xx with less written than sent is booked and not sent again",
        Must,
        "w58_a_2xx_to_v2_without_written_is_sent_again_as_v1_and_one_with_less_written_is_booked",
    ),
    (
        "answers: redirects that keep the body are followed, without credentials elsewhere",
        May,
        "redirects_307_and_308_are_followed_with_the_body_and_without_credentials_elsewhere_and_others_hold",
    ),
    (
        "fallback: 415 in the middle of a search loses nothing",
        Should,
        "w57_a_415_to_v2_switches_to_v1_and_loses_nothing_also_in_the_middle_of_a_search",
    ),
    (
        "fallback: a success without `Written` headers is a 415",
        Should,
        "w58_a_2xx_to_v2_without_written_is_sent_again_as_v1_and_one_with_less_written_is_booked",
    ),
    (
        "1.0: what 2.0 alone can say stays behind and is counted",
        Must,
        "w71_v2_to_v1_drops_start_times_tells_families_and_counts_custom_buckets",
    ),
    ("1.0: native histograms and exemplars", Must, "w70_v2_to_v1_keeps_every_bit_of_what_v1_can_say"),
    (
        "1.0: names that older receivers do not take are escaped where that is asked for",
        May,
        "w73_no_name_is_sent_raw_whatever_rules_and_protocols_make_of_it",
    ),
    (
        "restart: what was acknowledged is sent after kill -9",
        Should,
        "w41_kill_9_at_random_moments_loses_nothing_that_was_acknowledged",
    ),
];

/// The tests that [`ELSEWHERE`] names, and those of the other parts.
pub(super) fn shown_elsewhere() -> impl Iterator<Item = &'static str> {
    let others = [
        "w32_chunked_bodies_are_taken_and_limited_alike",
        "r_x25_unknown_fields_never_cause_an_error_and_never_leave",
        "w10_a_bad_series_loses_only_itself",
        "w38_a_full_log_is_503_with_retry_after_and_nothing_refused_is_ever_delivered",
    ];
    ELSEWHERE.iter().map(|(.., test)| *test).chain(others)
}

/// Only 2.0 goes out.
const V2: &str = "protobuf_message: io.prometheus.write.v2.Request";

fn name_of(status: u16) -> String {
    format!("answer_{status}")
}

/// What is wrong with what an endpoint got that answered `status` first and is healthy since.
async fn judge(gateway: &TestGateway, sink: &Endpoint, status: u16, then: Then) -> Option<String> {
    if then == Then::Holds {
        gateway.held(&name_of(status), status).await;
    }
    let expected = if then == Then::Repeats { 2 } else { 1 };
    if let Err(missing) = sink.wait_until(PATIENCE, |stats| stats.requests >= expected as u64).await {
        return Some(format!("{status}: {missing}"));
    }
    let got = sink.requests();
    if got.len() != expected {
        return Some(format!("{status}: {} requests instead of {expected}", got.len()));
    }
    let attempt = |received: &Received| received.header("retry-attempt").map(str::to_owned);
    let is_same = got.iter().all(|received| received.body == got[0].body && received.protocol == Protocol::V2);
    let attempts: Vec<Option<String>> = got.iter().map(attempt).collect();
    let counted = attempts == [None, Some("1".to_owned())][..expected];
    (!is_same || !counted).then(|| format!("{status}: not the same again, or attempts {attempts:?}"))
}

#[test]
fn a_sender_passes_every_case_of_the_sender_suites_that_needs_no_scraper() {
    bounded(async {
        let mut setup = Setup::new();
        let mut sinks = Vec::new();
        for (status, ..) in AFTER {
            let sink = receiver().await;
            // A success says what it wrote; the others wrote nothing.
            let reply = Reply::status(status).text(if status == 204 { "" } else { "as told" });
            sink.script([if status < 300 {
                reply.taking().header("x-prometheus-remote-write-samples-written", "1")
            } else {
                reply
            }]);
            setup = setup.endpoint_with(&name_of(status), &sink, V2);
            sinks.push(sink);
        }
        let old = speaking(Speaks::V1Only).await;
        let gateway = setup.endpoint_with("falls_back", &old, V2).start().await;
        gateway.accept(Protocol::V2, &request([sample_of("conformance", 1_000)])).await;

        let (mut cases, mut failures): (Vec<Case>, Vec<String>) = (Vec::new(), Vec::new());
        old.wait_until(PATIENCE, |stats| stats.taken_requests == 1).await.unwrap();
        for ((status, level, then, why), sink) in AFTER.into_iter().zip(&sinks) {
            failures.extend(judge(&gateway, sink, status, then).await);
            let does = match (then, status) {
                (Then::Ends, 200..300) => "is a success, whatever its body",
                (Then::Ends, _) => "is not sent again",
                (Then::Repeats, 408) | (Then::Holds, _) => "is not sent again",
                (Then::Repeats, _) => "is sent again unchanged, with Retry-Attempt",
            };
            let outcome = why.map_or(Outcome::Pass, Outcome::Differs);
            cases.push(case(format!("answers: what is answered {status} {does}"), level, outcome));
        }

        // The endpoints that are held take the first request again before the second.
        gateway.accept(Protocol::V2, &request([sample_of("conformance", 2_000).sample(2.0, 3_000)])).await;
        old.wait_until(PATIENCE, |stats| stats.taken_requests == 2).await.unwrap();
        let spoken: Vec<(Protocol, String)> = old
            .requests()
            .iter()
            .map(|received| {
                (received.protocol, received.header("x-prometheus-remote-write-version").unwrap().to_owned())
            })
            .collect();
        let (v1, v2) = ((Protocol::V1, "0.1.0".to_owned()), (Protocol::V2, "2.0.0".to_owned()));
        if spoken != [v2, v1.clone(), v1] {
            failures.push(format!("fallback: {spoken:?}"));
        }
        cases.push(case("fallback: after 415 the content type and the version of 1.0", Should, Outcome::Pass));
        cases.push(case("fallback: what was learned is remembered", Should, Outcome::Pass));
        // Where the first request ended, the next one is another.
        for ((status, ..), sink) in AFTER.iter().zip(&sinks).filter(|((.., then, _), _)| *then == Then::Ends) {
            sink.wait_until(PATIENCE, |stats| stats.requests >= 2).await.unwrap();
            let got = sink.requests();
            if got.len() != 2 || got[0].body == got[1].body || got[1].protocol != Protocol::V2 {
                failures.push(format!("{status}: the first request again, or not 2.0: {} requests", got.len()));
            }
        }
        cases.push(case("fallback: never after a success that says what it wrote", Must, Outcome::Pass));

        cases.extend(ELSEWHERE.map(|(name, level, test)| case(name, level, Outcome::ShownBy(test))));
        assert_none(&failures);
        gateway.finish().await;
        conclude("sender", &cases);
    });
}
