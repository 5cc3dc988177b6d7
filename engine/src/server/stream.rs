//! The body of a streamed answer: server-sent events, written as the scheduler's events come.
//!
//! All events that are ready together leave in one frame, and their texts in one chunk: a write and a wake per token
//! is what streaming costs most. Dropping the body drops the receiver, and that cancels the request.

use super::answer::{Delta, Heading, push_event};
use super::error::ApiError;
use crate::scheduler::{Event, Finish};
use bytes::Bytes;
use http_body::Frame;
use serde_json::Value;
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::sync::mpsc;

/// A streamed answer.
#[derive(Debug)]
pub(crate) struct ChatStream {
    heading: Heading,
    events: mpsc::Receiver<Event>,
    /// The event that was awaited before the response began.
    first: Option<Event>,
    include_usage: bool,
    /// Likelihoods of tokens that no chunk has told yet.
    tokens: Vec<Value>,
    begun: bool,
    ended: bool,
}

impl ChatStream {
    /// A stream that begins with `first` and goes on with `events`.
    pub(crate) fn new(
        heading: Heading,
        first: Event,
        events: mpsc::Receiver<Event>,
        include_usage: bool,
    ) -> Self {
        Self {
            heading,
            events,
            first: Some(first),
            include_usage,
            tokens: Vec::new(),
            begun: false,
            ended: false,
        }
    }

    fn begin(&mut self, out: &mut Vec<u8>) {
        if !std::mem::replace(&mut self.begun, true) {
            let role = Delta { role: Some("assistant"), content: Some("") };
            self.heading.push_chunk(out, role, None, None, self.include_usage);
        }
    }

    fn text(&mut self, out: &mut Vec<u8>, text: &str) {
        if !text.is_empty() {
            let delta = Delta { role: None, content: Some(text) };
            let tokens = self.told();
            self.heading.push_chunk(out, delta, tokens, None, self.include_usage);
        }
    }

    fn told(&mut self) -> Option<Vec<Value>> {
        (!self.tokens.is_empty()).then(|| std::mem::take(&mut self.tokens))
    }

    fn finish(&mut self, out: &mut Vec<u8>, finish: &Finish) {
        let tokens = self.told();
        self.heading.push_chunk(out, Delta::default(), tokens, Some(finish.reason), self.include_usage);
        if self.include_usage {
            self.heading.push_usage(out, finish.usage);
        }
        out.extend_from_slice(b"data: [DONE]\n\n");
        self.ended = true;
    }

    fn fail(&mut self, out: &mut Vec<u8>, error: &ApiError) {
        push_event(out, &error.body());
        self.ended = true;
    }
}

impl http_body::Body for ChatStream {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let mut out = Vec::new();
        let mut text = String::new();
        while !self.ended {
            let event = match self.first.take() {
                Some(event) => Poll::Ready(Some(event)),
                None => self.events.poll_recv(cx),
            };
            let Poll::Ready(event) = event else { break };
            self.begin(&mut out);
            match event {
                Some(Event::Token(token)) => self.tokens.push(token.json()),
                Some(Event::Text(more)) => text.push_str(&more),
                Some(Event::Done(finish)) => {
                    self.text(&mut out, &std::mem::take(&mut text));
                    self.finish(&mut out, &finish);
                }
                Some(Event::Failed(failure)) => {
                    self.text(&mut out, &std::mem::take(&mut text));
                    self.fail(&mut out, &failure.into());
                }
                None => self
                    .fail(&mut out, &ApiError::internal("The engine stopped in the middle of the answer.")),
            }
        }
        self.text(&mut out, &text);
        match (out.is_empty(), self.ended) {
            (false, _) => Poll::Ready(Some(Ok(Frame::data(Bytes::from(out))))),
            (true, true) => Poll::Ready(None),
            (true, false) => Poll::Pending,
        }
    }

    fn is_end_stream(&self) -> bool {
        self.ended
    }
}
