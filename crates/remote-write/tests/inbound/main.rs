//! The inbound half of the crate through its public face: reading and checking, rule by rule and against oracles.

mod arbitrary;
mod differential;
mod naive;
mod oracle;
