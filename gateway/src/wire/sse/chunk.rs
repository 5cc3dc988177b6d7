//! What a streamed chunk is: part of an answer, an engine's error, or torn; and which choices end in it.
//!
//! Every chunk is walked once for its syntax and for an `error` at its top, wherever that stands, without keeping or
//! allocating anything. Choices are read only of the few chunks in which one ends.

use std::borrow::Cow;

use serde::Deserialize;
use serde::de::IgnoredAny;

/// The top of a chunk; all other fields are walked over.
#[derive(Deserialize)]
struct Top {
    /// `null` is none.
    #[serde(default)]
    error: Option<IgnoredAny>,
}

#[derive(Deserialize)]
struct Chosen<'a> {
    #[serde(borrow)]
    choices: Vec<Choice<'a>>,
}

#[derive(Deserialize)]
struct Choice<'a> {
    #[serde(default)]
    index: u32,
    #[serde(borrow, default)]
    finish_reason: Option<Cow<'a, str>>,
}

/// Whether a frame with this data is no part of an answer: an error, or not JSON.
pub(super) fn is_broken(frame: &[u8], data: &[u8]) -> bool {
    match serde_json::from_slice::<Top>(data) {
        Ok(top) => top.error.is_some() || is_error_event(frame),
        // Neither an object nor an array (some send `""` to keep the connection): no part of an answer, and no harm.
        Err(error) if error.is_data() => serde_json::from_slice::<IgnoredAny>(data).is_err(),
        Err(_) => true,
    }
}

/// Whether the frame says so outside of its data: `event: error`.
fn is_error_event(frame: &[u8]) -> bool {
    // Nearly all frames are one line of data, and need no look at their lines.
    !frame.starts_with(b"data:")
        && frame
            .split(|byte| *byte == b'\n')
            .any(|line| line.strip_prefix(b"event:").is_some_and(|name| name.trim_ascii() == b"error"))
}

/// The choices that end in a chunk, a bit for each.
pub(super) fn ended(data: &[u8]) -> u128 {
    let chosen: Chosen<'_> = match serde_json::from_slice(data) {
        Ok(chosen) => chosen,
        // Of another shape, though a choice ends: that of an engine which writes one.
        Err(_) => return 1,
    };
    let ended = chosen
        .choices
        .iter()
        .filter(|choice| choice.finish_reason.as_ref().is_some_and(|why| !why.is_empty()));
    ended.filter_map(|choice| 1u128.checked_shl(choice.index)).fold(0, |all, one| all | one)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_one_wherever_it_stands() {
        let broken = |data: &str| is_broken(format!("data: {data}\n\n").as_bytes(), data.as_bytes());
        for error in [
            r#"{"error":{"message":"no"}}"#,
            r#"{"id":"x","choices":[{"delta":{"content":""},"finish_reason":"error"}], "error" : {"code":502}}"#,
            r#"{"id":"x","\u0065rror":"no"}"#,
            r#"[{"error":{"code":400}}]"#,
            r#"{"id":"x","choices":[{"del"#,
            "upstream timed out",
        ] {
            assert!(broken(error), "{error}");
        }
        for part in [
            r#"{"error":null,"choices":[]}"#,
            r#"{"choices":[{"delta":{"content":"\"error\":{}"}}]}"#,
            r#"{"choices":[{"error":{"in":"a choice"}}]}"#,
            "\"\"",
        ] {
            assert!(!broken(part), "{part}");
        }
        assert!(is_broken(b"id: 4\nevent: error\ndata: {}\n\n", b"{}"));
        assert!(!is_broken(b"id: 4\nevent: message\ndata: {}\n\n", b"{}"));
    }

    #[test]
    fn choices_end_each_on_its_own() {
        let choice = |index: u32, why: &str| format!(r#"{{"index":{index},"finish_reason":{why}}}"#);
        let of = |choices: &[String]| ended(format!(r#"{{"choices":[{}]}}"#, choices.join(",")).as_bytes());
        assert_eq!(of(&[choice(0, "null"), choice(3, "\"stop\"")]), 0b1000);
        assert_eq!(of(&[choice(0, "\"length\""), choice(1, "\"\""), choice(127, "\"stop\"")]), 1 | 1 << 127);
        assert_eq!(of(&[choice(128, "\"stop\"")]), 0, "no request has so many");
        assert_eq!(ended(br#"{"choices":[{"finish_reason":"stop"}]}"#), 1);
        assert_eq!(ended(br#"{"choices":[{"index":"0","finish_reason":"stop"}]}"#), 1);
    }
}
