//! A chat request for an upstream: the few fields that must change are spliced in, everything else is passed on byte for byte.

use bytes::Bytes;
use serde_json::value::RawValue;

use super::{Chat, StreamOptions, after_brace, json_string};
use crate::wire::splice::{Edits, range_in};

/// Efforts of reasoning that there is a lower one than.
const HIGHER: [&str; 3] = ["\"medium\"", "\"high\"", "\"xhigh\""];

/// What an upstream is asked for beside what the client wrote.
#[derive(Debug, Clone, Copy, Default)]
pub struct Wanted<'a> {
    /// What it calls the model.
    pub model: &'a str,
    /// Most tokens of an answer, which were paid for.
    pub max_tokens: Option<u64>,
    /// Whether to tell how likely tokens were, because the answer is judged by it.
    pub logprobs: bool,
    /// Whether reasoning takes less effort than asked for.
    pub low_effort: bool,
}

impl Chat<'_> {
    /// The body for an upstream: what is [`Wanted`], and usage asked for on streams so that they can be metered.
    #[must_use]
    pub fn rewrite(&self, body: &Bytes, wanted: &Wanted<'_>) -> Bytes {
        let mut edits = Edits::default();
        if let Some(raw) = self.fields.model.filter(|_| self.model != wanted.model) {
            edits.replace(range_in(self.text, raw.get()), json_string(wanted.model));
        }
        if let Some(bound) = wanted.max_tokens {
            self.bound_output(&mut edits, bound);
        }
        if self.stream && !self.wants_usage {
            self.ask_usage(&mut edits);
        }
        if wanted.logprobs && !self.wants_logprobs {
            match self.fields.logprobs {
                Some(raw) => edits.replace(range_in(self.text, raw.get()), "true"),
                None => edits.insert(after_brace(self.text), "\"logprobs\":true,"),
            }
        }
        if let Some(effort) = self.fields.reasoning_effort.filter(|_| wanted.low_effort)
            && HIGHER.contains(&effort.get())
        {
            edits.replace(range_in(self.text, effort.get()), "\"low\"");
        }
        edits.apply(body)
    }

    /// Writes the bound wherever the client wrote one: servers differ in which of two they heed.
    fn bound_output(&self, edits: &mut Edits, bound: u64) {
        let bound = bound.to_string();
        let mut replace = |raw: &RawValue| {
            if raw.get() != bound {
                edits.replace(range_in(self.text, raw.get()), bound.clone());
            }
        };
        let said = |raw: &&RawValue| raw.get() != "null";
        self.fields.n_predict.into_iter().filter(said).for_each(&mut replace);
        let written = [self.fields.max_completion_tokens, self.fields.max_tokens];
        let mut written = written.into_iter().flatten().filter(said).peekable();
        if written.peek().is_some() {
            written.for_each(replace);
        } else if let Some(null) = self.fields.max_tokens {
            replace(null);
        } else {
            edits.insert(after_brace(self.text), format!("\"max_tokens\":{bound},"));
        }
    }

    fn ask_usage(&self, edits: &mut Edits) {
        const WANTED: &str = "\"include_usage\":true";
        let Some(raw) = self.fields.stream_options else {
            return edits.insert(after_brace(self.text), format!("\"stream_options\":{{{WANTED}}},"));
        };
        let place = range_in(self.text, raw.get());
        if raw.get() == "null" {
            return edits.replace(place, format!("{{{WANTED}}}"));
        }
        let options: StreamOptions<'_> = serde_json::from_str(raw.get()).unwrap_or_default();
        if let Some(said) = options.include_usage {
            return edits.replace(range_in(self.text, said.get()), "true");
        }
        let empty = raw.get()[1..].trim_start().starts_with('}');
        edits.insert(place.start + 1, format!("{WANTED}{}", if empty { "" } else { "," }));
    }
}
