#![no_main]

#[path = "../invariants.rs"]
#[allow(dead_code, reason = "each target uses its own")]
mod invariants;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| invariants::search_by_name(bytes));
