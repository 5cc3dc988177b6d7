//! Any text as a model's answer: however it is cut into pieces, the same calls, text and thoughts are found in it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tollgate_engine::fuzzing::take_apart;

fuzz_target!(|input: (u8, bool, &str)| {
    let (piece, several, answer) = input;
    let whole = take_apart(answer, usize::MAX, several);
    assert_eq!(take_apart(answer, usize::from(piece % 16) + 1, several), whole);
});
