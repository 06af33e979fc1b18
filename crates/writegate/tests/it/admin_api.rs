//! The admin API as `docs/api.md` has it: every call, and every kind of input it refuses.

use http::{HeaderName, HeaderValue, Method};
use remote_write::Protocol;
use serde_json::{Value, json};
use testkit::endpoint::{Endpoint, EndpointSettings, Gate, Judge, Reply};
use testkit::sender::Sender;

use crate::harness::{PATIENCE, Setup, TestGateway, bounded, eventually, receiver, receiver_that, takes};
use crate::message::{With, custom_histogram, request, sample_of, series};

/// Refuses all series called `bad…`.
pub(crate) async fn picky() -> Endpoint {
    let judge = Judge::new(400).refusing(|series| {
        let is_bad = series.labels.iter().any(|label| label.value.starts_with(b"bad"));
        is_bad.then(|| "no such names here".to_owned())
    });
    receiver_that(EndpointSettings { judge: Some(judge), ..EndpointSettings::default() }).await
}

async fn get(gateway: &TestGateway, path: &str) -> Value {
    let (status, answer) = gateway.call(Method::GET, path, "").await;
    assert_eq!(status, 200, "{path}: {answer}");
    answer
}

/// The error of a call that must be refused, which has its id at the end.
async fn refused(gateway: &TestGateway, method: Method, path: &str, body: &str, status: u16, id: &str) -> String {
    let (found, answer) = gateway.call(method.clone(), path, body).await;
    let error = answer["error"].as_str().unwrap_or_default().to_owned();
    assert_eq!(found, status, "{method} {path} {body}: {answer}");
    assert!(error.ends_with(&format!("(wg-api-{id})")), "{method} {path} {body}: {error}");
    error
}

#[test]
fn the_status_tells_rates_lag_limits_and_what_an_endpoint_said_last() {
    bounded(async {
        let (well, held) = (picky().await, receiver().await);
        held.answer_with(|_| Reply::status(403).text("who are you?"));
        let gateway = Setup::new().endpoint("well", &well).endpoint("held", &held).start().await;
        gateway.accept(Protocol::V1, &request([sample_of("up", 1_000), sample_of("bad", 1_000)])).await;
        gateway.held("held", 403).await;
        let letters = || async { (gateway.dead_letters().await.len() == 1).then_some(()) };
        eventually("the series is refused", letters).await;
        eventually("the other is delivered", || async {
            (gateway.ledger("default", "well").await.samples.pending == 0).then_some(())
        })
        .await;
        let status = get(&gateway, "/api/v1/status").await;
        let of = |endpoint: &str| {
            let rows = status["endpoints"].as_array().unwrap();
            rows.iter().find(|row| row["endpoint"] == endpoint).unwrap().clone()
        };
        let (well, held) = (of("well"), of("held"));
        let rate = |value: &Value| value.as_f64().unwrap();
        assert!(rate(&status["tenants"][0]["received_samples_per_second"]) > 0.0, "{status}");
        assert!(rate(&well["delivered_samples_per_second"]) > 0.0, "{well}");
        assert_eq!((&well["dead_letters"], &well["dead_lettered_samples"]), (&json!(1), &json!(1)), "{well}");
        assert!(well["last_refusal"].as_str().unwrap().contains("no such names here"), "{well}");
        assert_eq!(
            (&well["lag_seconds"], &well["held"], &well["last_error"]),
            (&json!(0.0), &json!(null), &json!(null))
        );
        assert!(well["concurrency_limit"].as_u64().unwrap() > 0, "{well}");
        assert_eq!(
            (&held["held"], &held["pending_samples"], &held["state"]),
            (&json!(403), &json!(2), &json!("active"))
        );
        assert!(held["last_error"].as_str().unwrap().contains("who are you?"), "{held}");
        assert!(rate(&held["lag_seconds"]) > 0.0 && rate(&held["delivered_samples_per_second"]) == 0.0, "{held}");
        let configured = status["configured"].as_array().unwrap();
        let shown = configured.iter().map(|one| json!([one["name"], one["held"], one["up"]])).collect::<Vec<_>>();
        assert_eq!(shown, [json!(["well", [], true]), json!(["held", [403], false])]);
        assert_eq!((&configured[0]["url"], &status["last_reload_error"]), (&well["url"], &json!(null)));
        assert_eq!(status["dead_letters"]["count"], 1);
        assert!(status["dead_letters"]["bytes"].as_u64().unwrap() > 0);
        gateway.finish().await;
    });
}

#[test]
fn the_ledger_names_a_series_for_each_reason_and_metrics_count_dead_letters_for_ever() {
    bounded(async {
        let sink = picky().await;
        let rule = "write_relabel_configs: [{source_labels: [__name__], regex: noise, action: drop}], max_age: 1d";
        let gateway = Setup::new().endpoint_with("a", &sink, rule).start().await;
        let now = 2_000_000_000_000;
        let old = series(&[("__name__", "old")]).sample(1.0, 1_000);
        let sent = [sample_of("good", now), sample_of("bad", now), sample_of("noise", now), old];
        gateway.accept(Protocol::V1, &request(sent)).await;
        gateway.settled().await;
        let row = get(&gateway, "/api/v1/ledger").await["rows"][0].clone();
        assert!(row.get("replay").is_none(), "{row}");
        let samples = &row["samples"];
        assert_eq!(samples["dropped"], json!({"relabel": 1}), "{row}");
        assert_eq!((&samples["dead_lettered"], &samples["expired"]), (&json!({"400": 1}), &json!(1)), "{row}");
        for (reason, series) in [("relabel", "noise"), ("400", "bad"), ("expired", "old")] {
            let example = row["examples"][reason].as_str().unwrap_or_default();
            assert!(example.contains(series), "{reason}: {row}");
        }
        let labels = r#"{tenant="default",endpoint="a""#;
        let ever = format!("writegate_dead_letter_samples_total{labels},reason=\"400\"}}");
        let kept = format!("writegate_dead_letters{labels}}}");
        assert_eq!((gateway.metric(&ever).await, gateway.metric(&kept).await), (1.0, 1.0));
        assert!(gateway.metric("writegate_dead_letter_bytes").await > 0.0);
        assert_eq!(gateway.metric(&format!("writegate_expired_samples_total{labels}}}")).await, 1.0);
        let (status, answer) = gateway.call(Method::POST, "/api/v1/dead_letters", r#"{"action":"drop"}"#).await;
        assert_eq!((status, answer), (200, json!({"dropped": 1})));
        assert_eq!((gateway.metric(&ever).await, gateway.metric(&kept).await), (1.0, 0.0), "a counter never falls");
        gateway.finish().await;
    });
}

#[test]
fn a_replay_has_metrics_and_a_row_of_its_own_and_says_how_far_it_is() {
    bounded(async {
        let sink = receiver().await;
        let gateway = Setup::new().endpoint("a", &sink).start().await;
        gateway.accept(Protocol::V1, &request([sample_of("up", 1_000)])).await;
        gateway.accept(Protocol::V1, &request([sample_of("up", 2_000)])).await;
        gateway.settled().await;
        let gate = Gate::new();
        let held = gate.clone();
        sink.answer_with(move |_| Reply::healthy().behind(&held));
        let wanted = json!({"endpoint": "a", "tenant": "default", "from": "earliest", "rate": 1_000_000}).to_string();
        let (status, begun) = gateway.call(Method::POST, "/api/v1/replays", &wanted).await;
        assert_eq!((status, &begun), (202, &json!({"id": 1})));
        takes(&sink, 2).await;
        let replay = get(&gateway, "/api/v1/replays/1").await;
        assert_eq!(get(&gateway, "/api/v1/replays").await["replays"], json!([replay]));
        assert_eq!(
            (&replay["state"], &replay["from"], &replay["rate"]),
            (&json!("running"), &json!("earliest"), &json!(1_000_000))
        );
        let mut progress = json!({
            "accepted_samples": 2, "done_samples": 0, "delivered_samples": 0, "undelivered_samples": {}, "fraction": 0.0
        });
        assert_eq!(replay["progress"], progress);
        let time = replay["begun"].as_str().unwrap();
        assert!(time.len() == 24 && time.ends_with('Z'), "{time}");
        let delivered = r#"writegate_delivered_samples_total{tenant="default",endpoint="a"}"#;
        assert_eq!(gateway.metric(r#"writegate_replays_running{endpoint="a"}"#).await, 1.0);
        assert_eq!(gateway.metric(r#"writegate_replay_pending_samples{endpoint="a"}"#).await, 2.0);
        gate.open();
        gateway.settled().await;
        eventually("the replay has ended", || async {
            (get(&gateway, "/api/v1/replays/1").await["state"] == "done").then_some(())
        })
        .await;
        (progress["done_samples"], progress["delivered_samples"]) = (json!(2), json!(2));
        progress["fraction"] = json!(1.0);
        assert_eq!(get(&gateway, "/api/v1/replays/1").await["progress"], progress);
        assert_eq!(gateway.metric(delivered).await, 2.0, "what is sent once more is not delivered twice");
        assert_eq!(gateway.metric(r#"writegate_replays_running{endpoint="a"}"#).await, 0.0);
        let rows = get(&gateway, "/api/v1/ledger").await["rows"].clone();
        assert_eq!((rows.as_array().unwrap().len(), rows[0].get("replay"), &rows[1]["replay"]), (2, None, &json!(1)));
        assert_eq!(rows[1]["state"], "active", "the endpoint of the replay that ended is configured");
        assert_eq!(get(&gateway, "/api/v1/status").await["endpoints"].as_array().unwrap().len(), 1);
        let error = refused(&gateway, Method::DELETE, "/api/v1/replays/1", "", 409, "conflict").await;
        assert!(error.contains("replay 1 is done"), "{error}");
        gateway.finish().await;
    });
}

#[test]
fn a_replay_that_cannot_be_says_why() {
    bounded(async {
        let (sink, other) = (receiver().await, receiver().await);
        let setup = Setup::new().endpoint("a", &sink).endpoint_with("b", &other, "tenants: [somebody-else]");
        let gateway = setup.start().await;
        gateway.accept(Protocol::V1, &request([sample_of("up", 1_000)])).await;
        gateway.settled().await;
        let window = |from: &str| format!(r#"{{"endpoint":"a","tenant":"default","from":{from}}}"#);
        for (body, status, id, words) in [
            (r#"{"endpoint":"x","tenant":"default","from":"2h"}"#.to_owned(), 404, "unknown", "no such endpoint"),
            (r#"{"endpoint":"a","tenant":"x","from":"2h"}"#.to_owned(), 404, "unknown", "nothing was ever accepted"),
            (r#"{"endpoint":"b","tenant":"default","from":"2h"}"#.to_owned(), 409, "conflict", "does not take"),
            (window("\"2100-01-01T00:00:00Z\",\"to\":\"2101-01-01T00:00:00Z\""), 409, "conflict", "in the future"),
            (window("\"1970-01-01T00:00:00Z\",\"to\":\"1970-01-02T00:00:00Z\""), 409, "conflict", "log.retain"),
            (window("\"now\",\"to\":\"2h\""), 400, "request", "ends"),
            (window("\"yesterday\""), 400, "request", "from: \"yesterday\" is no time"),
            (window("\"2026-01-31T18:00:00\""), 400, "request", "no time zone"),
            (window("1800000000000"), 400, "request", "milliseconds"),
            (window("true"), 400, "request", "from: expected a time"),
            (window("\"2h\",\"to\":[]"), 400, "request", "to: expected a time"),
            (window("\"2h\",\"rate\":-1"), 400, "request", "-1"),
            (window("\"2h\",\"speed\":1"), 400, "request", "unknown field `speed`"),
            (r#"{"endpoint":"a","tenant":"default"}"#.to_owned(), 400, "request", "missing field `from`"),
            ("{".to_owned(), 400, "request", "JSON"),
            (String::new(), 400, "request", "JSON"),
            (window(&format!("\"{}\"", "2".repeat(64 * 1024))), 413, "too-large", "65536 bytes"),
        ] {
            let error = refused(&gateway, Method::POST, "/api/v1/replays", &body, status, id).await;
            assert!(error.contains(words), "{body}: {error}");
        }
        refused(&gateway, Method::GET, "/api/v1/replays/7", "", 404, "unknown").await;
        refused(&gateway, Method::DELETE, "/api/v1/replays/7", "", 404, "unknown").await;
        assert_eq!(get(&gateway, "/api/v1/replays").await, json!({"replays": []}));
        gateway.finish().await;
    });
}

#[test]
fn dead_letters_are_listed_in_pages_and_opened_with_their_values() {
    bounded(async {
        let sink = picky().await;
        let gateway =
            Setup::new().endpoint_with("a", &sink, "protobuf_message: io.prometheus.write.v2.Request").start().await;
        let bad = |name, value| series(&[("__name__", name), ("job", "x")]).sample(value, 1_500);
        let histogram =
            series(&[("__name__", "bad_seconds")]).histogram(custom_histogram(), 1_500).exemplar(0.25, 1_250);
        gateway.accept(Protocol::V2, &request([bad("bad_a", f64::NAN), bad("bad_b", f64::INFINITY), histogram])).await;
        gateway.settled().await;
        let first = get(&gateway, "/api/v1/dead_letters?limit=2&endpoint=a&tenant=default").await;
        let ids: Vec<u64> =
            first["letters"].as_array().unwrap().iter().map(|one| one["id"].as_u64().unwrap()).collect();
        assert_eq!((ids.len(), &first["next"]), (2, &json!(ids[1])), "{first}");
        let second = get(&gateway, &format!("/api/v1/dead_letters?limit=2&after={}", ids[1])).await;
        assert_eq!((second["letters"].as_array().unwrap().len(), &second["next"]), (1, &json!(null)), "{second}");
        let page = get(&gateway, "/api/v1/dead_letters?after=99").await;
        assert_eq!(page, json!({"letters": [], "next": null}));
        for (unknown, words) in
            [("endpoint=b", "no endpoint \"b\"; known: a"), ("tenant=b", "no tenant \"b\"; known: default")]
        {
            let path = format!("/api/v1/dead_letters?{unknown}");
            let error = refused(&gateway, Method::GET, &path, "", 404, "unknown").await;
            assert!(error.contains(words), "{unknown}: {error}");
        }
        let letter = get(&gateway, &format!("/api/v1/dead_letters/{}", ids[0])).await;
        let about = ["tenant", "endpoint", "reason", "series", "samples", "protocol"].map(|key| letter[key].clone());
        let message = "io.prometheus.write.v2.Request";
        assert_eq!(about, [json!("default"), json!("a"), json!("400"), json!(1), json!(1), json!(message)], "{letter}");
        assert!(letter["words"].as_str().unwrap().contains("no such names here"), "{letter}");
        let mut shown = Vec::new();
        for id in [ids[0], ids[1], second["letters"][0]["id"].as_u64().unwrap()] {
            let letter = get(&gateway, &format!("/api/v1/dead_letters/{id}")).await;
            assert_eq!(letter["cut"], false);
            shown.extend(letter["contents"].as_array().unwrap().clone());
        }
        shown.sort_by_key(|series| series["series"].as_str().unwrap().to_owned());
        let expected = json!([
            {"series": "bad_a{job=\"x\"}", "samples": [[1.5, "NaN"]]},
            {"series": "bad_b{job=\"x\"}", "samples": [[1.5, "+Inf"]]},
            {"series": "bad_seconds", "histograms": [[1.5, {"count": "6", "sum": "7.5", "schema": -53, "buckets": 3}]],
             "exemplars": [[1.25, {"labels": "{trace_id=\"0af7651916cd43dd8448eb211c80319c\"}", "value": "0.25"}]]},
        ]);
        assert_eq!(json!(shown), expected);
        gateway.finish().await;
    });
}

#[test]
fn letters_are_tried_again_from_where_the_caller_says_and_stay_when_the_endpoint_is_down() {
    bounded(async {
        let sink = picky().await;
        let gateway = Setup::new().endpoint("a", &sink).start().await;
        gateway.accept(Protocol::V1, &request([sample_of("bad_a", 1), sample_of("bad_b", 1)])).await;
        gateway.settled().await;
        let ids: Vec<u64> = gateway.dead_letters().await.iter().map(|one| one["id"].as_u64().unwrap()).collect();
        let post = |body: Value| {
            let gateway = &gateway;
            async move { gateway.call(Method::POST, "/api/v1/dead_letters", &body.to_string()).await }
        };
        sink.answer_with(|_| Reply::status(503).text("come back later"));
        let error =
            refused(&gateway, Method::POST, "/api/v1/dead_letters", r#"{"action":"retry"}"#, 409, "conflict").await;
        assert!(
            error.contains("come back later") && error.contains("0 letters were taken, the others stay"),
            "{error}"
        );
        sink.recover();
        let (status, answer) = post(json!({"action": "retry", "after": ids[0]})).await;
        assert_eq!((status, &answer["refused"], &answer["next"]), (200, &json!(1), &json!(null)), "{answer}");
        let none = json!({"taken": 0, "refused": 0, "words": null, "next": null});
        assert_eq!(post(json!({"action": "retry", "ids": ids, "tenant": "other"})).await.0, 404);
        assert_eq!(post(json!({"action": "retry", "ids": []})).await, (200, none), "no ids are none, not all");
        for (body, words) in [
            (r#"{"action":"burn"}"#, "unknown variant `burn`"),
            (r#"{"ids":[1]}"#, "missing field `action`"),
            (r#"{"action":"drop","ids":["1"]}"#, "string"),
            (r#"{"action":"drop","id":1}"#, "unknown field `id`"),
            (r#"{"action":"drop","after":1}"#, "after"),
            (r#"{"action":"drop"} x"#, "trailing"),
        ] {
            let error = refused(&gateway, Method::POST, "/api/v1/dead_letters", body, 400, "request").await;
            assert!(error.contains(words), "{body}: {error}");
        }
        assert_eq!(gateway.dead_letters().await.len(), 2);
        for (query, words) in [
            ("limit=0", "at least 1"),
            ("limit=x", "expected a number"),
            ("after=-1", "expected a number"),
            ("tennant=a", "\"tennant\" is not known here"),
            ("tenant=a&tenant=b", "once"),
            ("tenant=%zz", "%"),
        ] {
            let path = format!("/api/v1/dead_letters?{query}");
            let error = refused(&gateway, Method::GET, &path, "", 400, "request").await;
            assert!(error.contains(words), "{query}: {error}");
        }
        refused(&gateway, Method::GET, "/api/v1/dead_letters/99", "", 404, "unknown").await;
        gateway.finish().await;
    });
}

#[test]
fn explain_shows_each_endpoint_what_arrives_there() {
    bounded(async {
        let (a, b) = (receiver().await, receiver().await);
        let rule = "tenant_label: tenant, write_relabel_configs: [{source_labels: [job], regex: noise, action: drop}]";
        let gateway = Setup::new().endpoint_with("a", &a, rule).endpoint_with("b", &b, "tenants: [x]").start().await;
        let ask = |query: &'static str| format!("/api/v1/explain?{query}");
        let answer = get(&gateway, &ask("tenant=default&series=up%7Bjob%3D%22x%22%7D")).await;
        let expected = json!({"tenant": "default", "series": "up{job=\"x\"}", "admitted": true, "refused": null, "endpoints": [
            {"endpoint": "a", "takes": true, "arrives": "up{job=\"x\", tenant=\"default\"}", "dropped_by": null, "steps": [
                {"step": "tenant label", "config": "tenant=\"default\"", "outcome": "changed",
                 "series": "up{job=\"x\", tenant=\"default\"}"},
                {"step": "rule 1", "config": "{action: drop, source_labels: [\"job\"], regex: \"noise\"}", "outcome": "unchanged"},
            ]},
            {"endpoint": "b", "takes": false, "arrives": null, "steps": [],
             "dropped_by": "the endpoint does not take this tenant (remote_write.tenants)"},
        ]});
        assert_eq!(answer, expected);
        let answer = get(&gateway, &ask("tenant=default&series=up%7Bjob%3D%22noise%22%7D")).await;
        assert_eq!(answer["endpoints"][0]["dropped_by"], "rule 1");
        let answer = get(&gateway, &ask("tenant=default&series=%7Bjob%3D%22x%22%7D")).await;
        assert_eq!((&answer["refused"], &answer["endpoints"]), (&json!("no metric name"), &json!([])));
        for (query, words) in [
            ("series=up", "tenant must be there"),
            ("tenant=a", "series must be there"),
            ("tenant=a%2Fb&series=up", "tenant:"),
            ("tenant=a&series=up%7B", "series: column 4"),
        ] {
            let error = refused(&gateway, Method::GET, &ask(query), "", 400, "request").await;
            assert!(error.contains(words), "{query}: {error}");
        }
        gateway.finish().await;
    });
}

#[test]
fn what_is_not_there_what_takes_other_methods_and_what_other_sites_send_is_refused() {
    bounded(async {
        let gateway = Setup::new().start().await;
        refused(&gateway, Method::GET, "/api/v1/nothing", "", 404, "path").await;
        refused(&gateway, Method::GET, "/api/v1/replays/one", "", 404, "path").await;
        for (method, path) in [
            (Method::GET, "/api/v1/status"),
            (Method::GET, "/api/v1/ledger"),
            (Method::GET, "/api/v1/config"),
            (Method::GET, "/api/v1/replays"),
            (Method::GET, "/api/v1/replays/1"),
            (Method::DELETE, "/api/v1/replays/1"),
            (Method::GET, "/api/v1/dead_letters/1"),
            (Method::POST, "/api/v1/dead_letters"),
        ] {
            let error = refused(&gateway, method, &format!("{path}?verbose=1"), "", 400, "request").await;
            assert!(error.contains("\"verbose\" is not known here; this call has none"), "{path}: {error}");
        }
        for (method, path) in [
            (Method::POST, "/api/v1/status"),
            (Method::DELETE, "/api/v1/replays"),
            (Method::PUT, "/api/v1/dead_letters"),
            (Method::DELETE, "/api/v1/dead_letters/1"),
            (Method::POST, "/api/v1/replays/1"),
        ] {
            refused(&gateway, method, path, "", 405, "method").await;
        }
        for (method, path) in [
            (Method::POST, "/api/v1/replays"),
            (Method::DELETE, "/api/v1/replays/1"),
            (Method::POST, "/api/v1/dead_letters"),
            (Method::POST, "/-/reload"),
        ] {
            for (name, value) in [("origin", "http://evil.example.org"), ("host", "evil.example.org")] {
                let sender = Sender::new(&format!("{}{path}", gateway.admin_url())).unwrap().with_timeout(PATIENCE);
                let sender = sender.with_header(HeaderName::from_static(name), HeaderValue::from_static(value));
                let answer = sender.send(method.clone(), http::HeaderMap::new(), "{}".into()).await.unwrap();
                assert_eq!(answer.status, 403, "{method} {path} {name}");
                assert!(answer.text().contains("(wg-api-denied)"), "{}", answer.text());
            }
        }
        gateway.finish().await;
    });
}

#[test]
fn every_error_id_is_documented_and_every_documented_one_exists() {
    let ids = |text: &'static str, before: &'static str, after: char| {
        let found = text.split(before).skip(1).filter_map(move |rest| rest.split_once(after).map(|(id, _)| id));
        found.filter(|id| id.starts_with("wg-")).collect::<std::collections::BTreeSet<_>>()
    };
    let sources = [include_str!("../../src/admin/refusal.rs"), include_str!("../../src/ingest/refusal.rs")];
    let answered: std::collections::BTreeSet<_> = sources.into_iter().flat_map(|text| ids(text, "(", ')')).collect();
    let documented = ids(include_str!("../../../../docs/errors.md"), "| `", '`');
    assert!(answered.len() > 20, "{answered:?}");
    assert_eq!(answered, documented);
}
