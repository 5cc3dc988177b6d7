//! The floor of the overhead benchmark: the least that a hyper reverse proxy can do. It sends each request
//! on over a pooled connection and streams both bodies through; it reads, decides and books nothing.
//!
//! Arguments: the upstream's address, then the address to listen on. Prints the latter when it is ready.

use std::io::Write as _;

use hyper::body::Incoming;
use hyper::header::{CONNECTION, HOST, TRANSFER_ENCODING};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, Uri};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

type Upstream = Client<HttpConnector, Incoming>;

fn main() -> std::io::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let usage = || std::io::Error::other("usage: floor-proxy UPSTREAM [LISTEN]");
    let upstream = arguments.next().ok_or_else(usage)?;
    let listen = arguments.next().unwrap_or_else(|| "127.0.0.1:0".to_owned());
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(serve(upstream, listen))
}

async fn serve(upstream: String, listen: String) -> std::io::Result<()> {
    let listener = TcpListener::bind(listen).await?;
    writeln!(std::io::stdout(), "listening on {}", listener.local_addr()?)?;
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    let client: Upstream = Client::builder(TokioExecutor::new()).build(connector);
    let mut connections = JoinSet::new();
    loop {
        let (socket, _) = listener.accept().await?;
        socket.set_nodelay(true)?;
        let (client, upstream) = (client.clone(), upstream.clone());
        connections.spawn(async move {
            let service = service_fn(move |request| forward(request, client.clone(), upstream.clone()));
            // A load generator cuts its connections when its time is over.
            let _ = http1::Builder::new().serve_connection(TokioIo::new(socket), service).await;
        });
        while connections.try_join_next().is_some() {}
    }
}

async fn forward(
    mut request: Request<Incoming>,
    client: Upstream,
    upstream: String,
) -> Result<Response<Incoming>, hyper_util::client::legacy::Error> {
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
    let target = Uri::builder().scheme("http").authority(upstream).path_and_query(path).build();
    *request.uri_mut() = target.unwrap_or_default();
    for hop in [CONNECTION, HOST, TRANSFER_ENCODING] {
        request.headers_mut().remove(hop);
    }
    let mut response = client.request(request).await?;
    response.headers_mut().remove(CONNECTION);
    Ok(response)
}
