//! How much a tenant may send: rates, windows, active series.
