//! The body of a streamed response: server-sent events, written as the scheduler's events come.
//!
//! All events that are ready together leave in one frame, and their texts in one chunk: a write and a wake per token
//! is what streaming costs most. Dropping the body drops the receivers, and that cancels the request.

use super::answer::{Delta, Ending, Heading, push_event};
use super::choice::Choice;
use super::error::ApiError;
use crate::scheduler::{Event, Finish, Usage};
use bytes::Bytes;
use http_body::Frame;
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::sync::mpsc;

/// A streamed response of one answer or several.
#[derive(Debug)]
pub(crate) struct ChatStream {
    heading: Heading,
    tracks: Vec<Track>,
    include_usage: bool,
    usage: Usage,
    ended: bool,
}

/// One of the answers.
#[derive(Debug)]
pub(super) struct Track {
    choice: Choice,
    events: mpsc::Receiver<Event>,
    /// Whether another answer to the same prompt counts its tokens.
    further: bool,
    /// An event that was awaited before the response began.
    first: Option<Event>,
    begun: bool,
    ended: bool,
}

impl Track {
    /// An answer; a `further` one has its prompt in common with the one before.
    pub(super) fn new(choice: Choice, events: mpsc::Receiver<Event>, further: bool) -> Self {
        Self { choice, events, further, first: None, begun: false, ended: false }
    }

    /// Waits for the first event, which is looked at here and told later; `None` if the engine stopped.
    pub(super) async fn first(&mut self) -> Option<&Event> {
        self.first = self.events.recv().await;
        self.first.as_ref()
    }

    fn usage(&self, finish: &Finish) -> Usage {
        if self.further { finish.usage.without_prompt() } else { finish.usage }
    }

    /// The whole answer, once it has ended.
    pub(super) async fn whole(mut self) -> Result<(Choice, Ending, Usage), ApiError> {
        loop {
            match self.events.recv().await.ok_or_else(super::stopped)? {
                Event::Text(text) => self.choice.push(&text),
                Event::Token(token) => self.choice.likelihood(token.json()),
                Event::Failed(failure) => return Err(failure.into()),
                Event::Done(finish) => {
                    self.choice.finish();
                    let ending = Ending { reason: finish.reason, called: self.choice.called() };
                    let usage = self.usage(&finish);
                    return Ok((self.choice, ending, usage));
                }
            }
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Event>> {
        match self.first.take() {
            Some(event) => Poll::Ready(Some(event)),
            None => self.events.poll_recv(cx),
        }
    }
}

/// What a track's events came to.
enum Came {
    Nothing,
    Done(Finish),
    Failed(ApiError),
}

impl ChatStream {
    /// A stream of these answers.
    pub(super) fn new(heading: Heading, tracks: Vec<Track>, include_usage: bool) -> Self {
        Self { heading, tracks, include_usage, usage: Usage::default(), ended: false }
    }

    /// Takes what is ready of one answer, and writes it.
    fn advance(&mut self, index: usize, out: &mut Vec<u8>, cx: &mut Context<'_>) {
        let Some(track) = self.tracks.get_mut(index).filter(|track| !track.ended) else { return };
        let (mut text, mut any, mut came) = (String::new(), false, Came::Nothing);
        while let (Came::Nothing, Poll::Ready(event)) = (&came, track.poll(cx)) {
            any = true;
            match event {
                Some(Event::Token(token)) => track.choice.likelihood(token.json()),
                Some(Event::Text(more)) => text.push_str(&more),
                Some(Event::Done(finish)) => came = Came::Done(finish),
                Some(Event::Failed(failure)) => came = Came::Failed(failure.into()),
                None => {
                    let message = "The engine stopped in the middle of the answer.";
                    came = Came::Failed(ApiError::internal(message));
                }
            }
        }
        if !text.is_empty() {
            track.choice.push(&text);
        }
        if matches!(came, Came::Done(_)) {
            track.choice.finish();
        }
        if any {
            write(&self.heading, track, index, out, self.include_usage);
        }
        match came {
            Came::Nothing => {}
            Came::Done(finish) => self.finish(index, out, &finish),
            Came::Failed(error) => {
                push_event(out, &error.body());
                self.ended = true;
            }
        }
    }

    fn finish(&mut self, index: usize, out: &mut Vec<u8>, finish: &Finish) {
        let Some(track) = self.tracks.get_mut(index) else { return };
        self.usage = self.usage.and(track.usage(finish));
        track.ended = true;
        let ending = Ending { reason: finish.reason, called: track.choice.called() };
        let rest = (Delta::default(), track.choice.told());
        self.heading.push_chunk(out, index, rest, Some(ending), self.include_usage);
        if self.tracks.iter().all(|track| track.ended) {
            if self.include_usage {
                self.heading.push_usage(out, self.usage);
            }
            out.extend_from_slice(b"data: [DONE]\n\n");
            self.ended = true;
        }
    }
}

/// Writes what is to be told of an answer now.
fn write(heading: &Heading, track: &mut Track, index: usize, out: &mut Vec<u8>, usage_follows: bool) {
    if !std::mem::replace(&mut track.begun, true) && heading.names_roles() {
        heading.push_role(out, index, usage_follows);
    }
    for delta in track.choice.deltas() {
        let told = track.choice.told();
        heading.push_chunk(out, index, (delta, told), None, usage_follows);
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
        for index in 0..self.tracks.len() {
            if !self.ended {
                self.advance(index, &mut out, cx);
            }
        }
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
