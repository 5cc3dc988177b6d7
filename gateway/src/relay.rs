//! A streamed answer on its way to the client: metered, priced, and settled before its last bytes.
//!
//! Frames pass as they come; those that are ready together leave together. The terminator is held back until
//! the receipt is committed. A failure after the first byte ends the stream with an error event and the usual
//! terminator. Dropping the relay (the client went away) drops the engine's request and settles what passed.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body::Body as _;
use tokio::time::{Instant, Sleep};
use tollgate_policies::Usage;

use crate::booking::{Booking, Outcome, Settled};
use crate::dispatch::Begun;
use crate::layer::admit::Seat;
use crate::learn::Shadow;
use crate::ledger::ReceiptStatus;
use crate::upstream::{Arriving, Failure};
use crate::wire::error::{Fault, Notice};
use crate::wire::openai::sse_error;
use crate::wire::sse::{Frames, Meter};

/// Ready bytes are sent on once there are this many, even if more are ready.
const COALESCE: usize = 16 * 1024;
/// What ends a stream whose engine forgot to.
const TERMINATOR: &[u8] = b"data: [DONE]\n\n";

type Settling = Pin<Box<dyn Future<Output = Result<Settled, Fault>> + Send + Sync>>;

/// A stream between an engine and a client.
pub struct Relay {
    upstream: Arriving,
    /// What came of it before it was relayed.
    held: std::vec::IntoIter<Bytes>,
    frames: Frames,
    meter: Meter,
    out: BytesMut,
    phase: Phase,
    engine: String,
    idle: Duration,
    idle_timer: Pin<Box<Sleep>>,
    /// Reads along where the request will be asked twice.
    shadow: Option<Box<Shadow>>,
    /// Freed when the stream ends.
    _seat: Option<Seat>,
}

enum Phase {
    /// Frames are passing.
    Passing(Box<Booking>),
    /// The receipt is being committed; then these bytes end the stream.
    Settling(Settling, Bytes),
    /// Everything was sent.
    Over,
}

impl std::fmt::Debug for Relay {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Relay").field("engine", &self.engine).finish_non_exhaustive()
    }
}

impl Relay {
    /// Relays `upstream`'s frames; `idle` is the longest pause tolerated between two of them.
    #[must_use]
    pub fn new(
        upstream: Begun,
        meter: Meter,
        mut booking: Booking,
        (engine, idle): (&str, Duration),
        (seat, shadow): (Option<Seat>, Option<Box<Shadow>>),
    ) -> Relay {
        // Until the last frame: what the gateway itself takes for a frame is lost in it.
        booking.watch.wait();
        Relay {
            upstream: upstream.rest,
            held: upstream.held.into_iter(),
            frames: Frames::default(),
            meter,
            out: BytesMut::new(),
            phase: Phase::Passing(Box::new(booking)),
            engine: engine.to_owned(),
            idle,
            idle_timer: Box::pin(tokio::time::sleep(idle)),
            shadow,
            _seat: seat,
        }
    }

    /// The next bytes for the client.
    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        loop {
            match &mut self.phase {
                Phase::Passing(_) => match self.poll_upstream(cx) {
                    Poll::Ready(()) => {}
                    Poll::Pending if self.out.is_empty() => return Poll::Pending,
                    Poll::Pending => return Poll::Ready(Some(self.out.split().freeze())),
                },
                // What has passed does not wait for the ledger, only the end does.
                Phase::Settling(..) if !self.out.is_empty() => {
                    return Poll::Ready(Some(self.out.split().freeze()));
                }
                Phase::Settling(settling, tail) => {
                    let settled = std::task::ready!(settling.as_mut().poll(cx));
                    let tail = match settled {
                        Ok(settled) => {
                            if let Some(shadow) = self.shadow.take() {
                                shadow.streamed(settled.status);
                            }
                            std::mem::take(tail)
                        }
                        Err(fault) => {
                            tracing::error!(error = %fault, "a stream's receipt is not written yet");
                            sse_error(&fault.notice())
                        }
                    };
                    self.phase = Phase::Over;
                    return Poll::Ready(Some(tail));
                }
                Phase::Over => return Poll::Ready(None),
            }
            if self.out.len() >= COALESCE {
                return Poll::Ready(Some(self.out.split().freeze()));
            }
        }
    }

    /// Takes one frame of the engine's body, or finds out that there are no more.
    fn poll_upstream(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let Some(data) = self.held.next() {
            self.pass(&data);
            return Poll::Ready(());
        }
        match Pin::new(&mut self.upstream).poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => {
                if let Ok(data) = frame.into_data() {
                    self.pass(&data);
                }
                let next = Instant::now() + self.idle;
                self.idle_timer.as_mut().reset(next);
                Poll::Ready(())
            }
            Poll::Ready(Some(Err(error))) => {
                tracing::warn!(engine = self.engine, %error, "the engine broke off in the middle of an answer");
                self.fail(Failure::Broken { engine: self.engine.clone() });
                Poll::Ready(())
            }
            Poll::Ready(None) => {
                self.end();
                Poll::Ready(())
            }
            Poll::Pending => {
                if self.idle_timer.as_mut().poll(cx).is_ready() {
                    self.fail(Failure::Slow { engine: self.engine.clone(), waited: self.idle });
                    return Poll::Ready(());
                }
                Poll::Pending
            }
        }
    }

    fn pass(&mut self, data: &[u8]) {
        let Phase::Passing(booking) = &mut self.phase else { return };
        if let Some(shadow) = &mut self.shadow {
            shadow.take(data);
        }
        booking.hear(data);
        let (meter, out) = (&mut self.meter, &mut self.out);
        let cut = self.frames.push(data, |frame| meter.frame(frame, out, |usage| booking.price(usage)));
        if meter.counted_tokens() > 0 {
            booking.watch.token();
        }
        let (usage, estimated) = used(meter, booking);
        booking.so_far(usage, estimated);
        if meter.failed || cut.is_err() {
            tracing::warn!(engine = self.engine, "the engine reported an error in the middle of an answer");
            self.fail(Failure::Broken { engine: self.engine.clone() });
        } else if meter.done {
            self.settle(ReceiptStatus::Ok, None);
        }
    }

    /// The engine's body has ended: well if the answer had, else not.
    fn end(&mut self) {
        if self.frames.is_torn() {
            // Some leave out the empty line after the last frame, which may hold the usage or an error.
            self.pass(b"\n\n");
        }
        if !matches!(self.phase, Phase::Passing(_)) {
            return;
        }
        if self.meter.is_whole() {
            self.settle(ReceiptStatus::Ok, None);
        } else {
            tracing::warn!(engine = self.engine, "the engine's answer ended in the middle");
            self.fail(Failure::Broken { engine: self.engine.clone() });
        }
    }

    fn fail(&mut self, failure: Failure) {
        self.settle(ReceiptStatus::Error, Some(failure.notice()));
    }

    fn settle(&mut self, status: ReceiptStatus, error: Option<Notice>) {
        let Phase::Passing(booking) = std::mem::replace(&mut self.phase, Phase::Over) else { return };
        let (usage, estimated) = used(&self.meter, &booking);
        let tail = match error {
            Some(notice) => sse_error(&notice),
            None if self.meter.tail.is_empty() => Bytes::from_static(TERMINATOR),
            None => self.meter.tail.split().freeze(),
        };
        let settling = Box::pin(booking.settle(Outcome { status, usage, estimated }));
        self.phase = Phase::Settling(settling, tail);
    }
}

/// What a stream has used so far, and whether that was counted here.
fn used(meter: &Meter, booking: &Booking) -> (Usage, bool) {
    meter.usage().unwrap_or_else(|| (booking.estimated(meter.counted_tokens()), true))
}
