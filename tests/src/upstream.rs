//! A scripted OpenAI-compatible server, in the test's own process: it answers exactly what a test tells it
//! to, at the moment it is told to, and remembers what it was asked.
//!
//! Scripts are taken one by one from a queue; when that is empty the standing script answers.
//! Dropping the server closes its port and every connection, as a crash would.

mod plan;
mod script;

pub use script::{Chat, Gate, Script, Tokens};

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http_body_util::BodyExt as _;
use http_body_util::combinators::UnsyncBoxBody;
use hyper::body::Incoming;
use hyper::header::HeaderMap;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::within;

/// The body of every scripted answer; an error in it cuts the connection.
pub(crate) type Body = UnsyncBoxBody<Bytes, std::io::Error>;

/// What an upstream was asked.
#[derive(Clone, Debug)]
pub struct Seen {
    /// Path with query.
    pub path: String,
    /// Request headers.
    pub headers: HeaderMap,
    /// The raw body.
    pub body: Bytes,
}

impl Seen {
    /// The body as JSON; fails the test when it is none.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).expect("the gateway sends JSON upstream")
    }
}

/// How often what has happened since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Requests read whole.
    pub asked: usize,
    /// Answers written to the end.
    pub answered: usize,
    /// Answers that the gateway gave up before their end.
    pub abandoned: usize,
}

/// The running server.
#[derive(Debug)]
pub struct Upstream {
    addr: SocketAddr,
    shared: Arc<Shared>,
    _tasks: JoinSet<()>,
}

#[derive(Debug)]
pub(crate) struct Shared {
    queue: Mutex<VecDeque<Script>>,
    standing: Mutex<Script>,
    seen: Mutex<Vec<Seen>>,
    counts: watch::Sender<Counts>,
    /// What other paths than those of models answer, by path.
    pages: Mutex<HashMap<String, (u16, String)>>,
}

impl Shared {
    pub(crate) fn count(&self, change: impl FnOnce(&mut Counts)) {
        self.counts.send_modify(change);
    }

    fn next(&self) -> Script {
        let queued = self.queue.lock().expect("no scripted answer panics").pop_front();
        queued.unwrap_or_else(|| self.standing.lock().expect("no scripted answer panics").clone())
    }
}

impl Upstream {
    /// Starts a server that answers every chat with `standing` unless told otherwise.
    pub async fn start(standing: impl Into<Script>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a loopback port is free");
        let addr = listener.local_addr().expect("a bound listener has an address");
        let shared = Arc::new(Shared {
            queue: Mutex::default(),
            standing: Mutex::new(standing.into()),
            seen: Mutex::default(),
            counts: watch::Sender::new(Counts::default()),
            pages: Mutex::default(),
        });
        let mut tasks = JoinSet::new();
        tasks.spawn(accept(listener, Arc::clone(&shared)));
        Self { addr, shared, _tasks: tasks }
    }

    /// The `base_url` for the gateway's configuration.
    pub fn base_url(&self) -> String {
        format!("http://{}/v1", self.addr)
    }

    /// Answers the next request with `script`, once.
    pub fn push(&self, script: impl Into<Script>) {
        self.shared.queue.lock().expect("no scripted answer panics").push_back(script.into());
    }

    /// Changes what every request gets from now on.
    pub fn answer(&self, standing: impl Into<Script>) {
        *self.shared.standing.lock().expect("no scripted answer panics") = standing.into();
    }

    /// What another path than the chat's answers from now on; without this all list one model.
    pub fn page(&self, path: &str, status: u16, body: &str) {
        let mut pages = self.shared.pages.lock().expect("no scripted answer panics");
        pages.insert(path.to_owned(), (status, body.to_owned()));
    }

    /// Everything it was asked so far, oldest first.
    pub fn seen(&self) -> Vec<Seen> {
        self.shared.seen.lock().expect("no scripted answer panics").clone()
    }

    /// The latest request; fails the test when there was none.
    pub fn last(&self) -> Seen {
        self.seen().pop().expect("the upstream was asked at least once")
    }

    /// What has happened so far.
    pub fn counts(&self) -> Counts {
        *self.shared.counts.borrow()
    }

    /// Waits until the counts satisfy `reached`.
    pub async fn until(&self, what: &str, reached: impl FnMut(&Counts) -> bool) {
        let mut counts = self.shared.counts.subscribe();
        let seen = within(what, counts.wait_for(reached)).await;
        seen.expect("the sender lives as long as the server");
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        // A chunk is one write: without this the kernel would hold small ones back by 40 ms.
        let _ = stream.set_nodelay(true);
        let shared = Arc::clone(&shared);
        connections.spawn(async move {
            let service = service_fn(move |request| serve(request, Arc::clone(&shared)));
            let server = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
            // An error here is a scripted cut or a gateway that went away; the counts tell which.
            let _ = server.serve_connection(TokioIo::new(stream), service).await;
        });
        while connections.try_join_next().is_some() {}
    }
}

async fn serve(request: Request<Incoming>, shared: Arc<Shared>) -> Result<Response<Body>, std::io::Error> {
    let (head, body) = request.into_parts();
    let path = head.uri.path_and_query().map(ToString::to_string).unwrap_or_default();
    let body = body.collect().await.map_err(std::io::Error::other)?.to_bytes();
    let paid = ["/v1/chat/completions", "/v1/embeddings"].iter().any(|route| path.starts_with(route));
    let asked = serde_json::from_slice(&body).unwrap_or_default();
    if paid {
        shared.seen.lock().expect("no scripted answer panics").push(Seen {
            path,
            headers: head.headers,
            body,
        });
    } else {
        let page = shared.pages.lock().expect("no scripted answer panics").get(&path).cloned();
        return page.map_or_else(plan::listing, |(status, body)| plan::page(status, body));
    }
    let script = shared.next();
    shared.count(|counts| counts.asked += 1);
    plan::respond(script, &asked, shared).await
}
