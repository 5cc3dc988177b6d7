//! Any text as a chat template: it compiles or not, and what it renders is bounded.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|source: &str| {
    tollgate_engine::fuzzing::render(source);
});
