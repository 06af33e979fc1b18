//! Reads `limits`, and `limits` of a tenant.

use std::num::NonZeroU32;
use std::time::Duration;

use crate::limits::{LimitOverrides, Limits, OverLimit, PathPattern, RateLimit, TenantLimits};
use crate::read::section;
use crate::schema::{self, Key};
use crate::table::{Field, Report, Table};
use crate::units::{InvalidUnit, parse_duration, parse_size};

const OVER_LIMIT: [(&str, OverLimit); 2] = [("delay", OverLimit::Delay), ("reject", OverLimit::Reject)];

/// Limits on requests and series.
pub(super) fn limits(file: &Table<'_>, report: &mut Report) -> Limits {
    let table = &section(file, "limits", &schema::LIMITS, report);
    let limits = Limits {
        request_bytes: table.size("request_bytes", report),
        decoded_bytes: table.size("decoded_bytes", report),
        in_flight_bytes: table.size("in_flight_bytes", report),
        tenant: TenantLimits {
            samples_per_second: table.value("samples_per_second", report, parse_count),
            bytes_per_second: table.size("bytes_per_second", report),
            requests_per_second: table.value("requests_per_second", report, parse_count),
            over_limit: table.choice("over_limit", report, &OVER_LIMIT),
            active_series: table.value("active_series", report, parse_small_count),
            connections: table.value("connections", report, parse_small_count),
            label_names: table.value("label_names", report, parse_small_count),
            label_value_bytes: table.value("label_value_bytes", report, parse_small_size),
            rate_limits: table.get("rate_limits").map(|list| rate_limits(&list, report)).unwrap_or_default(),
        },
    };
    let bounded = limits.in_flight_bytes != 0;
    if bounded && (limits.request_bytes == 0 || limits.request_bytes > limits.in_flight_bytes) {
        let message = "in_flight_bytes is below request_bytes, so that larger requests never get in";
        table.field().warn(report, message, None);
    }
    limits
}

/// Where a tenant's limits differ.
pub(super) fn overrides(tenant: &Table<'_>, report: &mut Report) -> LimitOverrides {
    let table = section(tenant, "limits", &schema::TENANT_LIMITS, report);
    LimitOverrides {
        samples_per_second: optional(&table, "samples_per_second", report, parse_count),
        bytes_per_second: optional(&table, "bytes_per_second", report, parse_size),
        requests_per_second: optional(&table, "requests_per_second", report, parse_count),
        over_limit: table.get("over_limit").and_then(|field| field.choice(report, &OVER_LIMIT)),
        active_series: optional(&table, "active_series", report, parse_small_count),
        connections: optional(&table, "connections", report, parse_small_count),
        label_names: optional(&table, "label_names", report, parse_small_count),
        label_value_bytes: optional(&table, "label_value_bytes", report, parse_small_size),
        rate_limits: table.get("rate_limits").map(|list| rate_limits(&list, report)),
    }
}

fn optional<T, E: std::fmt::Display>(
    table: &Table<'_>,
    key: &str,
    report: &mut Report,
    parse: impl Fn(&str) -> Result<T, E>,
) -> Option<T> {
    table.get(key).and_then(|field| field.parse(report, parse))
}

fn rate_limits(list: &Field<'_>, report: &mut Report) -> Vec<RateLimit> {
    list.items(report).into_iter().filter_map(|item| rate_limit(item, &[], report)).collect()
}

/// A rule; `extra`: what it may have beside our own keys.
pub(super) fn rate_limit(item: Field<'_>, extra: &'static [Key], report: &mut Report) -> Option<RateLimit> {
    let table = Table::open_with(item, &schema::RATE_LIMIT, extra, report);
    let endpoint = table.required("endpoint", report).and_then(|field| field.parse(report, PathPattern::new));
    let limit = table.required("limit", report).and_then(|field| field.parse(report, parse_limit));
    let window = table.required("window", report).and_then(|field| field.parse(report, parse_window));
    Some(RateLimit { endpoint: endpoint?, limit: limit?, window: window? })
}

fn parse_limit(text: &str) -> Result<NonZeroU32, String> {
    text.parse().ok().ok_or_else(|| format!("expected a whole number from 1 to {}", u32::MAX))
}

fn parse_window(text: &str) -> Result<Duration, String> {
    match parse_duration(text) {
        Ok(Duration::ZERO) => Err("must be more than 0".to_owned()),
        Ok(window) => Ok(window),
        Err(error) => Err(error.to_string()),
    }
}

fn parse_count(text: &str) -> Result<u64, &'static str> {
    text.parse().or(Err("expected a whole number"))
}

fn parse_small_count(text: &str) -> Result<u32, String> {
    text.parse().ok().ok_or_else(|| format!("expected a whole number from 0 to {}", u32::MAX))
}

fn parse_small_size(text: &str) -> Result<u32, InvalidUnit> {
    u32::try_from(parse_size(text)?).or(Err(InvalidUnit::TooLarge))
}
