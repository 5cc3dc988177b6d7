//! From an engine's answer to the client's response: headers, and the body whole or streamed.

use std::fmt::Write as _;

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use http::{Response, StatusCode};
use tollgate_policies::{Usage, Usd};

use crate::booking::{Booking, Outcome, Settled};
use crate::decision;
use crate::dispatch::{Answer, AnswerBody, Route};
use crate::layer::admit::Seat;
use crate::learn::Shadow;
use crate::ledger::{ReceiptStatus, now_ms};
use crate::operation::Operation;
use crate::relay::Relay;
use crate::request::Body;
use crate::stopwatch::micros;
use crate::wire::error::Fault;
use crate::wire::openai::Answer as Whole;
use crate::wire::sse::{BYTES_PER_TOKEN, Meter};

const MODEL: HeaderName = HeaderName::from_static("x-tollgate-model");
const ROUTE: HeaderName = HeaderName::from_static("x-tollgate-route");
const REASON: HeaderName = HeaderName::from_static("x-tollgate-reason");
const DIFFICULTY: HeaderName = HeaderName::from_static("x-tollgate-difficulty");
const ESTIMATE: HeaderName = HeaderName::from_static("x-tollgate-estimate-usd");
const COST: HeaderName = HeaderName::from_static("x-tollgate-cost-usd");
const SAVED: HeaderName = HeaderName::from_static("x-tollgate-saved-usd");
const REMAINING: HeaderName = HeaderName::from_static("x-tollgate-budget-remaining-usd");
const RUN_LAST: HeaderName = HeaderName::from_static("x-tollgate-run-last");
const OVERHEAD: HeaderName = HeaderName::from_static("x-tollgate-overhead-us");
const DECISION: HeaderName = HeaderName::from_static("x-tollgate-decision");
const SERVER_TIMING: HeaderName = HeaderName::from_static("server-timing");

/// The response's head as far as the decision determines it.
#[derive(Debug)]
pub struct Head<'a> {
    route: &'a Route<'a>,
    headers: HeaderMap,
}

impl<'a> Head<'a> {
    /// Headers that say what was decided and why.
    #[must_use]
    pub fn new(route: &'a Route<'a>, answer: &Answer) -> Head<'a> {
        let mut headers = HeaderMap::with_capacity(16);
        let reason = match &answer.why {
            Some(why) => format!("{why}; {}", route.decision.reason),
            None => route.decision.reason.clone(),
        };
        headers.insert(ROUTE, text(&route.decision.route));
        headers.insert(REASON, text(&reason));
        if route.wind.last {
            headers.insert(RUN_LAST, HeaderValue::from_static("1"));
        }
        if route.chat.operation == Operation::Chat {
            headers.insert(DIFFICULTY, text(&format!("{:.3}", route.plan.score.difficulty)));
        }
        if route.ask.explain {
            headers.insert(DECISION, text(&decision::json(route.decision, &route.plan.score, route.ask)));
        }
        Head { route, headers }
    }

    fn finish(mut self, booking: &Figures, content_type: Option<HeaderValue>, body: Body) -> Response<Body> {
        let headers = &mut self.headers;
        headers.insert(MODEL, text(&booking.model));
        headers.insert(ESTIMATE, usd(booking.estimate));
        if let Some(left) = self.route.app.budgets.remaining(&self.route.ask.spender(), now_ms()) {
            headers.insert(REMAINING, usd(left.remaining));
        }
        headers.insert(OVERHEAD, HeaderValue::from(booking.overhead_us));
        headers.insert(SERVER_TIMING, text(&booking.server_timing));
        if let Some(content_type) = content_type {
            headers.insert(CONTENT_TYPE, content_type);
        }
        let mut response = Response::new(body);
        *response.status_mut() = StatusCode::OK;
        *response.headers_mut() = self.headers;
        response
    }
}

/// What the head tells of a booking, taken before the booking is used up.
#[derive(Debug)]
struct Figures {
    model: String,
    estimate: Usd,
    overhead_us: u64,
    server_timing: String,
}

impl Figures {
    fn of(booking: &Booking) -> Figures {
        let receipt = booking.receipt();
        let (overhead, upstream) = (booking.watch.overhead(), booking.watch.upstream());
        let mut server_timing = String::with_capacity(64);
        let milliseconds = |us: u64| us as f64 / 1000.0;
        let _infallible = write!(
            server_timing,
            "score;dur={:.3}, overhead;dur={:.3}, upstream;dur={:.3}",
            milliseconds(receipt.timings.score_us),
            milliseconds(micros(overhead)),
            milliseconds(micros(upstream)),
        );
        Figures {
            model: receipt.model.clone(),
            estimate: receipt.estimate,
            overhead_us: micros(overhead),
            server_timing,
        }
    }
}

/// Passes an answer on.
///
/// # Errors
/// [`Fault::Ledger`] if a whole answer cannot be booked; a stream is settled at its end.
pub async fn reply(
    mut head: Head<'_>,
    answer: Answer,
    mut booking: Booking,
    (seat, shadow): (Option<Seat>, Option<Box<Shadow>>),
) -> Result<Response<Body>, Fault> {
    match answer.body {
        AnswerBody::Stream(body) => {
            if let Err(error) = booking.recorded().await {
                let fault = Fault::Ledger(error);
                booking.cut(&fault.notice());
                return Err(fault);
            }
            let figures = Figures::of(&booking);
            head.headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
            let chat = head.route.chat;
            let meter =
                Meter::new(&figures.model, chat.choices, chat.wants_usage, head.route.tells_logprobs());
            let relay = Relay::new(body, meter, booking, (&answer.engine, answer.idle), (seat, shadow));
            Ok(head.finish(&figures, answer.content_type, Body::Relay(Box::new(relay))))
        }
        AnswerBody::Whole(body) => {
            booking.watch.token();
            booking.hear(&body);
            let (body, usage, estimated) = read(&body, &booking, head.route.tells_logprobs());
            let figures = Figures::of(&booking);
            let outcome = Outcome { status: ReceiptStatus::Ok, usage, estimated };
            let Settled { cost, saved, status } = booking.settle(outcome).await?;
            if let Some(shadow) = shadow {
                shadow.whole(status, &body, answer.unsure.as_ref());
            }
            head.headers.insert(COST, usd(cost));
            head.headers.insert(SAVED, usd(saved));
            Ok(head.finish(&figures, answer.content_type, Body::full(body)))
        }
    }
}

/// A whole answer named after the catalogue's model, with its usage; estimated if the engine reports none.
fn read(body: &Bytes, booking: &Booking, logprobs: bool) -> (Bytes, Usage, bool) {
    let parsed = std::str::from_utf8(body).ok().and_then(|text| Some((text, Whole::read(text)?)));
    // It was an answer when it was taken from the engine.
    let Some((text, parsed)) = parsed else { return (body.clone(), booking.estimated(0), true) };
    let counted = (parsed.message_bytes() as u64).div_ceil(BYTES_PER_TOKEN);
    let reported = parsed.usage();
    let usage = reported.unwrap_or_else(|| booking.estimated(counted));
    (parsed.relabel(text, body, booking.model(), logprobs), usage, reported.is_none())
}

fn usd(amount: Usd) -> HeaderValue {
    text(&amount.to_string())
}

/// A header value: what is not printable ASCII is written as JSON escapes would be.
fn text(text: &str) -> HeaderValue {
    let printable = text.bytes().all(|byte| matches!(byte, b' '..=b'~'));
    if let (true, Ok(value)) = (printable, HeaderValue::from_str(text)) {
        return value;
    }
    let mut safe = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            ' '..='~' => safe.push(character),
            _ => {
                for unit in character.encode_utf16(&mut [0; 2]) {
                    let _infallible = write!(safe, "\\u{unit:04x}");
                }
            }
        }
    }
    HeaderValue::from_str(&safe).unwrap_or_else(|_| HeaderValue::from_static(""))
}
