//! Metering of a streamed chat answer while its bytes pass.
//!
//! Chunks are not parsed unless they seem to carry usage, or one of several choices ends: the model's name, a finish and
//! the amount of text are found by searching for their keys ([`super::keys`]), and [`super::chunk`] walks each once for an
//! error. The terminator is held back in [`Meter::tail`] until the receipt is written.

use std::ops::Range;
use std::sync::LazyLock;

use bytes::{BufMut, BytesMut};
use memchr::memmem::Finder;
use tollgate_policies::{Usage, Usd};

use super::keys::{string_bytes, string_end, value_after, values_after};
use super::{chunk, data};
use crate::wire::openai::{Answer, json_string};
use crate::wire::splice::range_in;

/// Bytes of text one token stands for where the engine reports no usage.
pub(crate) const BYTES_PER_TOKEN: u64 = 4;

static MODEL: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new("\"model\""));
static USAGE: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new("\"usage\""));
static LOGPROBS: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new("\"logprobs\""));
static FINISH: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new("\"finish_reason\""));
/// What answers are written in; `reasoning_content` is found too, and a tool's arguments.
static TEXTS: LazyLock<[Finder<'static>; 3]> =
    LazyLock::new(|| ["content\"", "arguments\"", "\"refusal\""].map(Finder::new));
/// Thoughts under their other name …
static THOUGHTS: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new("\"reasoning\""));
/// … which some servers send beside this one.
static SAME_THOUGHTS: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new("\"reasoning_content\""));

/// A usage with what it costs, so that the client is told exactly what is booked.
#[derive(Debug, Clone, Copy)]
pub struct Priced {
    /// Tokens and engine time.
    pub usage: Usage,
    /// Their cost.
    pub cost: Usd,
    /// The baseline's cost less that.
    pub saved: Usd,
}

/// What is known of a stream so far.
#[derive(Debug)]
pub struct Meter {
    /// The catalogue's name for the model, as JSON.
    model: String,
    wants_usage: bool,
    logprobs: bool,
    chunks: u64,
    text_bytes: u64,
    /// The last usage the engine reported.
    pub reported: Option<Priced>,
    /// Tokens counted when it was reported.
    counted_then: u64,
    /// Choices asked for.
    choices: u64,
    /// Those that have ended, a bit for each.
    ended: u128,
    /// Whether the engine sent an error, or what is not JSON, instead of going on.
    pub failed: bool,
    /// Whether the terminator came.
    pub done: bool,
    /// The terminator and whatever followed it.
    pub tail: BytesMut,
}

impl Meter {
    /// A meter for an answer of `model` with so many choices; usage chunks are kept from clients that did not ask for them, and
    /// likelihoods unless `logprobs`.
    #[must_use]
    pub fn new(model: &str, choices: u64, wants_usage: bool, logprobs: bool) -> Meter {
        Meter {
            model: json_string(model),
            wants_usage,
            logprobs,
            chunks: 0,
            text_bytes: 0,
            reported: None,
            counted_then: 0,
            choices,
            ended: 0,
            failed: false,
            done: false,
            tail: BytesMut::new(),
        }
    }

    /// Takes one frame; writes what the client shall see of it to `out`.
    pub fn frame(&mut self, frame: &[u8], out: &mut BytesMut, price: impl FnOnce(Usage) -> Priced) {
        if self.done {
            return self.tail.put_slice(frame);
        }
        let Some(data) = data(frame) else { return out.put_slice(frame) };
        if data.as_ref() == b"[DONE]" {
            self.done = true;
            return self.tail.put_slice(frame);
        }
        if chunk::is_broken(frame, &data) {
            self.failed = true;
            return;
        }
        self.count(&data);
        // There may be more than one: in choices, or a vendor's own, beside one that is `null`.
        let has_usage = values_after(&data, &USAGE).any(|at| data[at] == b'{');
        if has_usage { self.with_usage(frame, &data, out, price) } else { self.relabelled(frame, out) }
    }

    /// Tokens as far as they can be told without the engine's own count: one a chunk, or by the text's length.
    #[must_use]
    pub fn counted_tokens(&self) -> u64 {
        self.chunks.max(self.text_bytes.div_ceil(BYTES_PER_TOKEN))
    }

    /// Whether every choice has ended: the answer is whole even if no terminator follows.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        u64::from(self.ended.count_ones()) >= self.choices
    }

    /// What the engine reported, and whether text came after that, which is counted here and added: some report at the beginning, or
    /// as they go, and break off before they say it all.
    #[must_use]
    pub fn usage(&self) -> Option<(Usage, bool)> {
        let Priced { mut usage, .. } = self.reported?;
        let since = self.counted_tokens().saturating_sub(self.counted_then);
        usage.completion_tokens = usage.completion_tokens.saturating_add(since);
        Some((usage, since > 0))
    }

    fn count(&mut self, data: &[u8]) {
        let mut text: u64 = TEXTS.iter().map(|key| string_bytes(data, key)).sum();
        let thoughts = string_bytes(data, &THOUGHTS);
        if thoughts > 0 {
            text += thoughts.saturating_sub(string_bytes(data, &SAME_THOUGHTS));
        }
        self.chunks += u64::from(text > 0);
        self.text_bytes += text;
        // Some write an empty reason until there is one.
        let ends = |at: usize| data[at] == b'"' && data.get(at + 1) != Some(&b'"');
        if values_after(data, &FINISH).any(ends) {
            self.ended |= if self.choices == 1 { 1 } else { chunk::ended(data) };
        }
    }

    fn with_usage(
        &mut self,
        frame: &[u8],
        data: &[u8],
        out: &mut BytesMut,
        price: impl FnOnce(Usage) -> Priced,
    ) {
        let text = std::str::from_utf8(data).ok();
        let Some((text, chunk)) = text.and_then(|text| Some((text, Answer::read(text)?))) else {
            return self.relabelled(frame, out);
        };
        let (Some(usage), Some(object)) = (chunk.usage(), chunk.usage_text()) else {
            return self.relabelled(frame, out);
        };
        let priced = price(usage);
        (self.reported, self.counted_then) = (Some(priced), self.counted_tokens());
        if !self.wants_usage && chunk.is_bare() {
            return;
        }
        if !self.wants_usage || !(chunk.is_bare() || chunk.ends()) {
            return self.relabelled(frame, out);
        }
        // The closing brace of the usage object is where the cost goes in.
        let end = range_in(text, object).end - 1;
        let mut told = BytesMut::with_capacity(data.len() + 80);
        told.put_slice(b"data: ");
        told.put_slice(&data[..end]);
        told.put_slice(format!(",\"cost_usd\":{},\"saved_usd\":{}", priced.cost, priced.saved).as_bytes());
        told.put_slice(&data[end..]);
        told.put_slice(b"\n\n");
        self.relabelled(&told, out);
    }

    fn relabelled(&self, frame: &[u8], out: &mut BytesMut) {
        match self.unasked(frame) {
            None => self.named(frame, out),
            Some(likelihoods) => {
                let null = b"null".as_slice();
                let without = [&frame[..likelihoods.start], null, &frame[likelihoods.end..]].concat();
                self.named(&without, out);
            }
        }
    }

    /// Where in the frame likelihoods are that only the gateway asked for.
    fn unasked(&self, frame: &[u8]) -> Option<Range<usize>> {
        if self.logprobs {
            return None;
        }
        let start = value_after(frame, &LOGPROBS).filter(|at| frame[*at] == b'{')?;
        let mut object =
            serde_json::Deserializer::from_slice(&frame[start..]).into_iter::<serde::de::IgnoredAny>();
        object.next()?.ok()?;
        Some(start..start + object.byte_offset())
    }

    fn named(&self, frame: &[u8], out: &mut BytesMut) {
        let place = value_after(frame, &MODEL).filter(|at| frame[*at] == b'"');
        let end = place.and_then(|at| string_end(frame, at));
        match place.zip(end) {
            Some((at, end)) if &frame[at..end] != self.model.as_bytes() => {
                out.reserve(frame.len() + self.model.len());
                out.put_slice(&frame[..at]);
                out.put_slice(self.model.as_bytes());
                out.put_slice(&frame[end..]);
            }
            _ => out.put_slice(frame),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn price(usage: Usage) -> Priced {
        Priced { usage, cost: Usd::from_nanos(1_500), saved: Usd::from_nanos(500) }
    }

    fn pass(meter: &mut Meter, frame: &str) -> String {
        let mut out = BytesMut::new();
        meter.frame(frame.as_bytes(), &mut out, price);
        String::from_utf8(out.to_vec()).unwrap()
    }

    const USAGE_CHUNK: &str =
        "data: {\"model\":\"m\",\"choices\":[],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":2}}\n\n";

    #[test]
    fn names_the_catalogue_model_and_nothing_else_changes() {
        let mut meter = Meter::new("small", 1, true, true);
        let chunk = "data: {\"id\":1, \"model\" : \"in\\\"ner\", \"choices\":[{\"delta\":{\"content\":\"\\\"model\\\":\\\"x\\\"\"}}]}\r\n\r\n";
        assert_eq!(pass(&mut meter, chunk), chunk.replace("\"in\\\"ner\"", "\"small\""));
        assert_eq!(pass(&mut meter, ": ping\n\n"), ": ping\n\n");
        assert_eq!(meter.counted_tokens(), 4);
    }

    #[test]
    fn the_cost_joins_the_usage_asked_for() {
        let mut meter = Meter::new("m", 1, true, true);
        let seen = pass(&mut meter, USAGE_CHUNK);
        assert!(
            seen.ends_with("\"completion_tokens\":2,\"cost_usd\":0.0000015,\"saved_usd\":0.0000005}}\n\n"),
            "{seen}"
        );
        assert_eq!(meter.reported.unwrap().usage.completion_tokens, 2);
    }

    #[test]
    fn usage_not_asked_for_is_kept_back() {
        let mut meter = Meter::new("m", 1, false, true);
        assert_eq!(pass(&mut meter, USAGE_CHUNK), "");
        assert!(meter.reported.is_some());
    }

    #[test]
    fn likelihoods_not_asked_for_are_kept_back() {
        let chunk = "data: {\"model\":\"m\",\"choices\":[{\"delta\":{\"content\":\"a\"},\"logprobs\":{\"content\":[{\"token\":\"}\",\"logprob\":-1}]},\"finish_reason\":null}]}\n\n";
        assert_eq!(pass(&mut Meter::new("m", 1, true, true), chunk), chunk);
        let kept = pass(&mut Meter::new("m", 1, true, false), chunk);
        assert_eq!(kept, chunk.replace("{\"content\":[{\"token\":\"}\",\"logprob\":-1}]}", "null"));
    }

    #[test]
    fn usage_in_words_is_not_usage() {
        let mut meter = Meter::new("m", 1, true, true);
        let chunk = "data: {\"choices\":[{\"delta\":{\"content\":\"\\\"usage\\\":{\\\"prompt_tokens\\\":1}\"}}],\"usage\":null}\n\n";
        assert_eq!(pass(&mut meter, chunk), chunk);
        assert!(meter.reported.is_none());
    }

    #[test]
    fn text_after_a_usage_is_counted_on() {
        let mut meter = Meter::new("m", 1, true, true);
        let told = "data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}],\"usage\":{\"prompt_tokens\":9,\"completion_tokens\":1}}\n\n";
        pass(&mut meter, told);
        assert!(meter.usage().is_some_and(|(usage, estimated)| usage.completion_tokens == 1 && !estimated));
        for _ in 0..5 {
            pass(&mut meter, "data: {\"choices\":[{\"delta\":{\"content\":\"more \"}}]}\n\n");
        }
        let (usage, estimated) = meter.usage().unwrap();
        assert!(usage.prompt_tokens == 9 && (6..=8).contains(&usage.completion_tokens), "{usage:?}");
        assert!(estimated);
        pass(&mut meter, USAGE_CHUNK);
        assert!(meter.usage().is_some_and(|(usage, estimated)| usage.completion_tokens == 2 && !estimated));
    }

    #[test]
    fn all_text_counts_wherever_it_stands() {
        let counted = |delta: &str| {
            let mut meter = Meter::new("m", 1, true, true);
            pass(&mut meter, &format!("data: {{\"choices\":[{{\"delta\":{delta}}}]}}\n\n"));
            meter.counted_tokens()
        };
        let text = "x".repeat(40);
        for delta in [
            format!("{{\"content\":\"{text}\"}}"),
            format!("{{\"content\":null,\"reasoning_content\":\"{text}\"}}"),
            format!("{{\"content\":\"\",\"reasoning\":\"{text}\"}}"),
            format!("{{\"reasoning\":\"{text}\",\"reasoning_content\":\"{text}\"}}"),
            format!("{{\"content\":null,\"refusal\":\"{text}\"}}"),
            format!(
                "{{\"content\":\"\",\"tool_calls\":[{{\"function\":{{\"arguments\":\"\"}}}},{{\"function\":{{\"arguments\":\"{text}\"}}}}]}}"
            ),
        ] {
            assert_eq!(counted(&delta), 10, "{delta}");
        }
        assert_eq!(counted("{\"content\":null}"), 0);
    }

    #[test]
    fn a_usage_is_found_wherever_it_stands() {
        for chunk in [
            r#"{"choices":[{"delta":{"content":""},"usage":null}],"usage":{"prompt_tokens":3,"completion_tokens":2}}"#,
            r#"{"choices":[{"index":0,"delta":{},"finish_reason":"stop","usage":{"prompt_tokens":3,"completion_tokens":2}}]}"#,
        ] {
            let mut meter = Meter::new("m", 1, true, true);
            pass(&mut meter, &format!("data: {chunk}\n\n"));
            assert_eq!(meter.reported.map(|told| told.usage.completion_tokens), Some(2), "{chunk}");
        }
    }

    #[test]
    fn the_terminator_waits() {
        let mut meter = Meter::new("m", 1, true, true);
        assert_eq!(pass(&mut meter, "data: [DONE]\n\n"), "");
        assert_eq!(pass(&mut meter, ": bye\n\n"), "");
        assert!(meter.done);
        assert_eq!(&meter.tail[..], b"data: [DONE]\n\n: bye\n\n");
    }

    #[test]
    fn ends_and_errors_are_seen() {
        let mut meter = Meter::new("m", 1, true, true);
        pass(&mut meter, "data: {\"choices\":[{\"finish_reason\":null}]}\n\n");
        pass(&mut meter, "data: {\"choices\":[{\"finish_reason\":\"\"}]}\n\n");
        assert!(!meter.is_whole());
        pass(&mut meter, "data: {\"choices\":[{\"finish_reason\":\"stop\"}]}\n\n");
        assert!(meter.is_whole());
        let error = "data: {\"id\":\"x\",\"error\":{\"message\":\"secret path\"}}\n\n";
        assert_eq!(pass(&mut meter, error), "");
        assert!(meter.failed);
    }

    #[test]
    fn an_answer_is_whole_when_all_its_choices_are() {
        let mut meter = Meter::new("m", 3, true, true);
        let end = |index: u32| format!("{{\"index\":{index},\"finish_reason\":\"stop\"}}");
        pass(&mut meter, &format!("data: {{\"choices\":[{}]}}\n\n", end(1)));
        pass(&mut meter, &format!("data: {{\"choices\":[{}]}}\n\n", end(1)));
        assert!(!meter.is_whole(), "the same one twice");
        pass(
            &mut meter,
            &format!("data: {{\"choices\":[{{\"index\":1,\"finish_reason\":null}},{}]}}\n\n", end(2)),
        );
        assert!(!meter.is_whole());
        pass(&mut meter, &format!("data: {{\"choices\":[{}]}}\n\n", end(0)));
        assert!(meter.is_whole());
    }
}
