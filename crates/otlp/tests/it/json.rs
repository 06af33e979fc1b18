//! JSON, and that it says the same as protobuf.

use otlp::answer::{Code, Encoding, response, status};
use otlp::protobuf_of_json;
use prost::Message;
use std::time::Duration;

use crate::oracle::{ExportMetricsServiceResponse, Request, Status};

fn of(json: &str) -> Result<Request, String> {
    let mut protobuf = Vec::new();
    protobuf_of_json(json.as_bytes(), usize::MAX, &mut protobuf).map_err(|error| error.to_string())?;
    Ok(Request::decode(protobuf.as_slice()).expect("protobuf"))
}

fn point(keys: &str) -> Result<crate::oracle::NumberDataPoint, String> {
    let request = of(&format!(
        "{{\"resourceMetrics\":[{{\"scopeMetrics\":[{{\"metrics\":[{{\"gauge\":{{\"dataPoints\":[{{{keys}}}]}}}}]}}]}}]}}"
    ))?;
    let metric = &request.resource_metrics[0].scope_metrics[0].metrics[0];
    Ok(metric.gauge.as_ref().unwrap().data_points[0].clone())
}

#[test]
fn integers_of_64_bits_are_numbers_or_texts() {
    for (keys, expected) in [
        ("\"asInt\": \"-9223372036854775808\"", i64::MIN),
        ("\"asInt\": 9223372036854775807", i64::MAX),
        ("\"asInt\": 1e3", 1000),
        ("\"asInt\": -2.0", -2),
    ] {
        assert_eq!(point(keys).unwrap().as_int, Some(expected), "{keys}");
    }
    let times = point("\"timeUnixNano\": \"18446744073709551615\", \"startTimeUnixNano\": 7").unwrap();
    assert_eq!((times.time_unix_nano, times.start_time_unix_nano), (u64::MAX, 7));
}

#[test]
fn doubles_are_numbers_or_words_and_exact() {
    for (text, expected) in [
        ("0.1", 0.1),
        ("123456789.12345679", 123_456_789.123_456_79),
        ("5e-324", f64::from_bits(1)),
        ("\"-Infinity\"", f64::NEG_INFINITY),
        ("\"2.5\"", 2.5),
        ("7", 7.0),
        ("-7", -7.0),
        ("-0.0", -0.0),
    ] {
        let value = point(&format!("\"asDouble\": {text}")).unwrap().as_double.unwrap();
        assert_eq!(value.to_bits(), f64::to_bits(expected), "{text}");
    }
    assert!(point("\"asDouble\": \"NaN\"").unwrap().as_double.unwrap().is_nan());
}

#[test]
fn ids_are_hex_and_bytes_are_base64() {
    let point = point("\"exemplars\": [{\"traceId\": \"0aFF\", \"spanId\": \"\"}]").unwrap();
    assert_eq!(point.exemplars[0].trace_id, [0x0a, 0xff]);
    let attribute = |value: &str| {
        self::point(&format!("\"attributes\": [{{\"key\": \"k\", \"value\": {{\"bytesValue\": \"{value}\"}}}}]"))
    };
    for text in ["AQI=", "AQI"] {
        assert_eq!(
            attribute(text).unwrap().attributes[0].value.as_ref().unwrap().bytes_value.as_deref(),
            Some(&[1, 2][..])
        );
    }
    assert!(attribute("A").is_err());
}

#[test]
fn enums_are_numbers_and_their_names_are_tolerated() {
    for value in ["2", "\"2\"", "\"AGGREGATION_TEMPORALITY_CUMULATIVE\""] {
        let request = of(&format!(
            "{{\"resourceMetrics\":[{{\"scopeMetrics\":[{{\"metrics\":[{{\"sum\":{{\"aggregationTemporality\":{value},\"isMonotonic\":true}}}}]}}]}}]}}"
        ));
        let sum = request.unwrap().resource_metrics[0].scope_metrics[0].metrics[0].sum.clone().unwrap();
        assert_eq!((sum.aggregation_temporality, sum.is_monotonic), (2, true), "{value}");
    }
}

#[test]
fn unknown_keys_and_nulls_are_ignored() {
    let read =
        point("\"new\": {\"a\": [1, null, {}]}, \"asInt\": 7, \"as_int\": 8, \"attributes\": null, \"flags\": null");
    let read = read.unwrap();
    assert_eq!((read.as_int, read.attributes.len(), read.flags), (Some(7), 0, 0));
    assert_eq!(of("{}").unwrap(), Request::default());
}

#[test]
fn what_is_no_request_is_an_error_with_its_place() {
    for (json, part) in [
        ("", "EOF while parsing"),
        ("[]", "expected an object"),
        ("{\"resourceMetrics\": {}}", "expected a list of objects"),
        ("{\"resourceMetrics\": [7]}", "expected an object"),
        ("{} {}", "trailing characters"),
        ("{\"resourceMetrics\": [", "EOF while parsing"),
    ] {
        let error = of(json).unwrap_err();
        assert!(error.contains(part) && error.contains("line 1 column"), "{json}: {error}");
    }
    for keys in [
        "\"asInt\": \"x\"",
        "\"asInt\": 1.5",
        "\"flags\": -1",
        "\"timeUnixNano\": true",
        "\"asDouble\": \"inf\"",
        "\"exemplars\": [{\"traceId\": \"0\"}]",
        "\"exemplars\": [{\"traceId\": \"zz\"}]",
        "\"asInt\": 9223372036854775808",
    ] {
        assert!(point(keys).is_err(), "{keys}");
    }
    let deep = "{\"arrayValue\":{\"values\":[".repeat(200);
    assert!(point(&format!("\"attributes\": [{{\"value\": {deep}")).unwrap_err().contains("recursion limit"));
}

#[test]
fn what_becomes_too_large_is_an_error_before_it_is_written() {
    let json = format!("{{\"resourceMetrics\":[{{\"scopeMetrics\":[{{\"schemaUrl\":\"{}\"}}]}}]}}", "x".repeat(100));
    let mut out = Vec::new();
    assert!(matches!(protobuf_of_json(json.as_bytes(), 99, &mut out), Err(otlp::NotJson::TooLarge)));
    assert!(protobuf_of_json(json.as_bytes(), 200, &mut out).is_ok());
}

#[test]
fn answers_are_the_same_in_both_encodings() {
    assert!(response(Encoding::Protobuf, 0, "").is_empty());
    assert_eq!(response(Encoding::Json, 0, ""), b"{}");
    let decoded = ExportMetricsServiceResponse::decode(response(Encoding::Protobuf, 7, "why").as_slice()).unwrap();
    let partial = decoded.partial_success.unwrap();
    assert_eq!((partial.rejected_data_points, partial.error_message.as_str()), (7, "why"));
    let json = String::from_utf8(response(Encoding::Json, 7, "why")).unwrap();
    assert_eq!(json, "{\"partialSuccess\":{\"errorMessage\":\"why\",\"rejectedDataPoints\":\"7\"}}");

    let after = Some(Duration::from_secs(3));
    let decoded = Status::decode(status(Encoding::Protobuf, Code::Unavailable, "later", after).as_slice()).unwrap();
    assert_eq!((decoded.code, decoded.message.as_str()), (14, "later"));
    assert_eq!(decoded.details[0].type_url, "type.googleapis.com/google.rpc.RetryInfo");
    // RetryInfo{retry_delay: Duration{seconds: 3}}
    assert_eq!(decoded.details[0].value, [0x0a, 2, 0x08, 3]);
    let json: serde_json::Value =
        serde_json::from_slice(&status(Encoding::Json, Code::Unavailable, "later", after)).unwrap();
    assert_eq!((json["code"].as_u64(), json["details"][0]["retryDelay"].as_str()), (Some(14), Some("3s")));
}
