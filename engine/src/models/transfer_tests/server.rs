//! An HTTP server that does what a test tells it to: serve files with ranges, cut them, refuse, redirect.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// One scripted answer.
#[derive(Debug, Clone)]
pub(super) enum Reply {
    /// Announces everything, sends that many bytes, hangs up.
    CutAfter(usize),
    /// The whole file whatever range was asked for.
    WithoutRange,
    /// That status and an empty body.
    Status(u16),
    /// That status with those headers.
    Redirect(u16, Vec<(String, String)>),
}

/// A request as it came.
#[derive(Debug, Clone)]
pub(super) struct Request {
    pub(super) method: String,
    pub(super) path: String,
    pub(super) range: Option<String>,
    pub(super) authorization: Option<String>,
}

#[derive(Default)]
struct State {
    files: HashMap<String, Vec<u8>>,
    /// Answers for the next requests to a path; then the file.
    script: HashMap<String, Vec<Reply>>,
    always: HashMap<String, Reply>,
    requests: Vec<Request>,
}

/// The server. Its thread ends with the test process.
#[derive(Clone)]
pub(super) struct Server {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
}

impl Server {
    pub(super) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let server = Self { address: listener.local_addr().unwrap(), state: Arc::default() };
        let serving = server.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let server = serving.clone();
                // A client that hangs up is none of this thread's business.
                std::thread::spawn(move || server.answer(stream).ok());
            }
        });
        server
    }

    pub(super) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub(super) fn put(&self, path: &str, content: Vec<u8>) {
        self.state.lock().unwrap().files.insert(path.to_owned(), content);
    }

    pub(super) fn remove(&self, path: &str) {
        self.state.lock().unwrap().files.remove(path);
    }

    pub(super) fn file(&self, path: &str) -> Vec<u8> {
        self.state.lock().unwrap().files[path].clone()
    }

    pub(super) fn script(&self, path: &str, replies: Vec<Reply>) {
        self.state.lock().unwrap().script.insert(path.to_owned(), replies);
    }

    pub(super) fn always(&self, path: &str, reply: Reply) {
        self.state.lock().unwrap().always.insert(path.to_owned(), reply);
    }

    pub(super) fn requests(&self) -> Vec<Request> {
        self.state.lock().unwrap().requests.clone()
    }

    pub(super) fn forget(&self) {
        self.state.lock().unwrap().requests.clear();
    }

    /// The `range` header of every GET of `path`, in order.
    pub(super) fn ranges(&self, path: &str) -> Vec<Option<String>> {
        let gets =
            self.requests().into_iter().filter(|request| request.path == path && request.method == "GET");
        gets.map(|request| request.range).collect()
    }

    fn answer(&self, mut stream: TcpStream) -> std::io::Result<()> {
        let request = read_request(&mut BufReader::new(stream.try_clone()?))?;
        let (reply, file) = {
            let mut state = self.state.lock().unwrap();
            state.requests.push(request.clone());
            let scripted = state.script.get_mut(&request.path).filter(|replies| !replies.is_empty());
            let reply = scripted.map(|replies| replies.remove(0));
            let reply = reply.or_else(|| state.always.get(&request.path).cloned());
            (reply, state.files.get(&request.path).cloned())
        };
        let body = request.method != "HEAD";
        match (reply, file) {
            (Some(Reply::Status(status)), _) => respond(&mut stream, status, &[], b"", body),
            (Some(Reply::Redirect(status, headers)), _) => respond(&mut stream, status, &headers, b"", body),
            (_, None) => respond(&mut stream, 404, &[], b"", body),
            (Some(Reply::WithoutRange), Some(file)) => respond(&mut stream, 200, &[], &file, body),
            (reply, Some(file)) => {
                let from = request
                    .range
                    .as_ref()
                    .and_then(|range| range.strip_prefix("bytes=")?.strip_suffix('-')?.parse::<usize>().ok());
                let cut = match reply {
                    Some(Reply::CutAfter(length)) => Some(length),
                    _ => None,
                };
                send_range(&mut stream, &file, from, cut, body)
            }
        }
    }
}

fn read_request(reader: &mut impl BufRead) -> std::io::Result<Request> {
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let mut words = line.split_whitespace().map(str::to_owned);
    let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let mut request = Request { method, path, range: None, authorization: None };
    loop {
        let mut header = String::new();
        reader.read_line(&mut header)?;
        let Some((name, value)) = header.trim_end().split_once(": ") else { return Ok(request) };
        match name.to_ascii_lowercase().as_str() {
            "range" => request.range = Some(value.to_owned()),
            "authorization" => request.authorization = Some(value.to_owned()),
            _ => {}
        }
    }
}

fn send_range(
    stream: &mut TcpStream,
    file: &[u8],
    from: Option<usize>,
    cut: Option<usize>,
    body: bool,
) -> std::io::Result<()> {
    let rest = &file[from.unwrap_or(0).min(file.len())..];
    let status = if from.is_some() { "206 Partial Content" } else { "200 OK" };
    let mut head = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n", rest.len());
    if let Some(from) = from {
        head += &format!("content-range: bytes {from}-{}/{}\r\n", file.len() - 1, file.len());
    }
    stream.write_all(head.as_bytes())?;
    stream.write_all(b"\r\n")?;
    if body {
        stream.write_all(&rest[..cut.unwrap_or(rest.len()).min(rest.len())])?;
    }
    stream.flush()
}

fn respond(
    stream: &mut TcpStream,
    status: u16,
    headers: &[(String, String)],
    content: &[u8],
    body: bool,
) -> std::io::Result<()> {
    let mut head =
        format!("HTTP/1.1 {status} Scripted\r\ncontent-length: {}\r\nconnection: close\r\n", content.len());
    for (name, value) in headers {
        head += &format!("{name}: {value}\r\n");
    }
    stream.write_all(head.as_bytes())?;
    stream.write_all(b"\r\n")?;
    if body {
        stream.write_all(content)?;
    }
    stream.flush()
}
