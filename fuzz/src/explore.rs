//! The explorer: libFuzzer around the target that `WRITEGATE_FUZZ_TARGET` names. Built by `cargo xtask fuzz`.
#![no_main]

use std::sync::OnceLock;

use fuzz::Target;

static TARGET: OnceLock<Target> = OnceLock::new();

libfuzzer_sys::fuzz_target!(init: {
    let name = std::env::var("WRITEGATE_FUZZ_TARGET").unwrap_or_default();
    if let Some(target) = fuzz::target(&name) {
        TARGET.get_or_init(|| target);
    }
}, |data: &[u8]| {
    if let Some(target) = TARGET.get() {
        target(data);
    }
});
