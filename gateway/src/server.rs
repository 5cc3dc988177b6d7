//! The HTTP server: connections in, graceful end out.
//!
//! HTTP/1.1 and HTTP/2 (prior knowledge) on one port, TCP_NODELAY on every socket. Connections are spread over the
//! lanes (`lanes`). Every one is a task of its lane's set, which is awaited at shutdown; idle connections are closed at
//! once then, busy ones get `drain` time.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::app::App;
use crate::lanes::{Lanes, Socket};
use crate::stack::stack;

/// For the headers of a request to arrive.
const HEADER_TIMEOUT: Duration = Duration::from_secs(30);
/// Pause after a failed accept (out of file descriptors), so that it does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// Streams one HTTP/2 connection may have open.
const STREAMS: u32 = 256;

/// Serves until `shutdown` resolves and the connections have ended, or `drain` has passed since.
///
/// # Errors
/// When the threads that answer cannot be started.
pub async fn serve_http(
    listener: TcpListener,
    app: Arc<App>,
    shutdown: impl Future<Output = ()>,
    drain: Duration,
) -> std::io::Result<()> {
    let lanes = Lanes::start({
        let app = Arc::clone(&app);
        move |sockets| serve_lane(sockets, Arc::clone(&app), drain)
    })?;
    tokio::pin!(shutdown);
    loop {
        let accepted = tokio::select! {
            () = &mut shutdown => break,
            accepted = listener.accept() => accepted,
        };
        let given = match accepted {
            Ok((socket, _)) => lanes.give(prepare(socket)).await,
            Err(error) => Err(error),
        };
        if let Err(error) = given {
            tracing::warn!(%error, "a connection could not be accepted");
            tokio::time::sleep(ACCEPT_PAUSE).await;
        }
    }
    drop(listener);
    app.drain();
    lanes.finish().await;
    Ok(())
}

/// Serves the connections of one lane.
async fn serve_lane(mut sockets: mpsc::Receiver<Socket>, app: Arc<App>, drain: Duration) {
    let mut server = Builder::new(TokioExecutor::new());
    server.http1().timer(TokioTimer::new()).header_read_timeout(HEADER_TIMEOUT);
    server.http2().timer(TokioTimer::new()).max_concurrent_streams(STREAMS);
    let service = TowerToHyperService::new(stack(&app));
    let graceful = GracefulShutdown::new();
    let mut connections = JoinSet::new();
    loop {
        let given = tokio::select! {
            given = sockets.recv() => given,
            // Ended tasks are taken out as they end, so the set stays as small as the connections.
            Some(_) = connections.join_next(), if !connections.is_empty() => continue,
        };
        match given.map(Socket::take) {
            Some(Ok((socket, open))) => {
                let connection = server.serve_connection_with_upgrades(TokioIo::new(socket), service.clone());
                let watched = graceful.watch(connection.into_owned());
                connections.spawn(async move {
                    if let Err(error) = watched.await {
                        tracing::debug!(%error, "a connection ended early");
                    }
                    drop(open);
                });
            }
            Some(Err(error)) => tracing::warn!(%error, "a connection could not be accepted"),
            None => break,
        }
    }
    if tokio::time::timeout(drain, graceful.shutdown()).await.is_err() {
        tracing::warn!(left = connections.len(), "connections still open after the drain time are cut");
    }
    connections.shutdown().await;
}

fn prepare(socket: TcpStream) -> TcpStream {
    if let Err(error) = socket.set_nodelay(true) {
        tracing::debug!(%error, "TCP_NODELAY");
    }
    socket
}
