//! Connects to the Unix sockets of a worker's processes, one after the other.

use std::fmt;
use std::future::Future;
use std::io;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::Uri;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;
use tower::Service;

/// What the authority of a worker's process begins with; its number follows.
const PROCESS: &str = "process-";

/// The authority that stands for the process of this number.
pub(super) fn authority(number: u64) -> String {
    format!("{PROCESS}{number}")
}

type Place = dyn Fn(u64) -> PathBuf + Send + Sync;

/// Opens connections to the socket of the process that the URI's authority names.
#[derive(Clone)]
pub(super) struct UnixConnector(Arc<Place>);

impl fmt::Debug for UnixConnector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UnixConnector").finish_non_exhaustive()
    }
}

impl UnixConnector {
    /// `place` says where the socket of a process is.
    pub(super) fn new(place: impl Fn(u64) -> PathBuf + Send + Sync + 'static) -> UnixConnector {
        UnixConnector(Arc::new(place))
    }
}

impl Service<Uri> for UnixConnector {
    type Response = UnixConnection;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<UnixConnection>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let number =
            uri.host().and_then(|host| host.strip_prefix(PROCESS)).and_then(|number| number.parse().ok());
        let socket = number.map(|number| (self.0)(number));
        Box::pin(async move {
            let socket = socket.ok_or_else(|| io::Error::other("the address names no process"))?;
            Ok(UnixConnection(TokioIo::new(UnixStream::connect(socket).await?)))
        })
    }
}

/// A connected socket, as hyper wants it.
#[derive(Debug)]
pub(super) struct UnixConnection(TokioIo<UnixStream>);

impl Connection for UnixConnection {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

impl Read for UnixConnection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, into)
    }
}

impl Write for UnixConnection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.0.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write_vectored(cx, parts)
    }
}
