//! The inbound half of the crate through its public face: reading and checking, rule by rule and against oracles.

#![expect(clippy::expect_used, clippy::panic, reason = "helpers of tests fail like tests")]

mod arbitrary;
mod differential;
mod naive;
mod oracle;
mod reading;
mod rules_v1;
mod rules_v2;
