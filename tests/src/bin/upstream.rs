//! The upstream of the overhead benchmark: a fixed chat completion, or a burst of 54 server-sent events,
//! for as little CPU as hyper allows, on one thread, so that what is measured is what stands before it.
//!
//! It listens on the address given as its argument and prints it when it is ready.

use std::convert::Infallible;
use std::io::Write as _;

use bytes::Bytes;
use futures_util::stream;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

/// Words in a streamed answer: with the opening, the finish, the usage and `[DONE]`, 54 events.
const WORDS: usize = 50;

fn main() -> std::io::Result<()> {
    let addr = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:0".to_owned());
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(listen(addr))
}

async fn listen(addr: String) -> std::io::Result<()> {
    let listener = TcpListener::bind(addr).await?;
    writeln!(std::io::stdout(), "listening on {}", listener.local_addr()?)?;
    let answers = Answers::new();
    let mut connections = JoinSet::new();
    loop {
        let (socket, _) = listener.accept().await?;
        socket.set_nodelay(true)?;
        let answers = answers.clone();
        connections.spawn(async move {
            let service = service_fn(move |request| respond(request, answers.clone()));
            // A load generator cuts its connections when its time is over.
            let _ = http1::Builder::new().serve_connection(TokioIo::new(socket), service).await;
        });
        while connections.try_join_next().is_some() {}
    }
}

/// Both answers, made once.
#[derive(Clone)]
struct Answers {
    plain: Bytes,
    events: Vec<Bytes>,
}

impl Answers {
    fn new() -> Self {
        const USAGE: &str = r#""usage":{"prompt_tokens":24,"completion_tokens":50,"total_tokens":74}"#;
        const HEAD: &str = r#""created":1700000000,"model":"bench""#;
        let text = "word ".repeat(WORDS);
        let plain = format!(
            r#"{{"id":"chatcmpl-bench","object":"chat.completion",{HEAD},"choices":[{{"index":0,"message":{{"role":"assistant","content":"{text}"}},"finish_reason":"stop"}}],{USAGE}}}"#
        );
        let event = |rest: &str| {
            let chunk = r#""id":"chatcmpl-bench","object":"chat.completion.chunk""#;
            Bytes::from(format!("data: {{{chunk},{HEAD},{rest}}}\n\n"))
        };
        let delta = |delta: &str, finish: &str| {
            event(&format!(r#""choices":[{{"index":0,"delta":{{{delta}}},"finish_reason":{finish}}}]"#))
        };
        let mut events = vec![delta(r#""role":"assistant","content":"""#, "null")];
        events.extend((0..WORDS).map(|_| delta(r#""content":"word ""#, "null")));
        events.push(delta("", r#""stop""#));
        events.push(event(&format!(r#""choices":[],{USAGE}"#)));
        events.push(Bytes::from_static(b"data: [DONE]\n\n"));
        Self { plain: plain.into(), events }
    }
}

async fn respond(
    request: Request<Incoming>,
    answers: Answers,
) -> Result<Response<BoxBody<Bytes, Infallible>>, hyper::Error> {
    let asked = request.into_body().collect().await?.to_bytes();
    let streamed = [&b"\"stream\":true"[..], b"\"stream\": true"];
    let burst = streamed.iter().any(|flag| asked.windows(flag.len()).any(|window| window == *flag));
    let (kind, body) = if burst {
        let frames = answers.events.into_iter().map(|event| Ok(Frame::data(event)));
        ("text/event-stream", StreamBody::new(stream::iter(frames)).boxed())
    } else {
        ("application/json", Full::new(answers.plain).boxed())
    };
    let mut response = Response::new(body);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    Ok(response)
}
