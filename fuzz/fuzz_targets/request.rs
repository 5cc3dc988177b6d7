//! Any bytes as the body of a request, to the engine and to the gateway, as a stream's frames, and as a policy.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tollgate::wire::openai::Chat;
use tollgate::wire::sse::{Frames, data};

fuzz_target!(|body: &[u8]| {
    tollgate_engine::fuzzing::read_request(body);
    drop(Chat::parse(body));
    let mut frames = Frames::default();
    let read = frames.push(body, |frame| drop(data(frame)));
    drop((read, frames.rest()));
    if let Ok(text) = std::str::from_utf8(body) {
        drop(tollgate_policies::policy::check("policy.toml", text, None));
    }
});
