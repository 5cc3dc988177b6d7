//! Asks a process whether it is ready and what its figures are. One short connection a question.

use super::Address;
use crate::Stats;
use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::{Request, StatusCode, header};
use hyper_util::rt::TokioIo;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};

/// A worker's HTTP side never computes, so an answer that takes this long means it hangs; a foreign server gets several tries.
const PATIENCE: Duration = Duration::from_secs(5);
/// Far more than any answer asked for here.
const ANSWER_BYTES: usize = 64 * 1024;

/// Why a question got no usable answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum ProbeError {
    #[error("it does not listen yet: {0}")]
    Connect(std::io::Error),
    #[error("it did not answer within {} s", PATIENCE.as_secs())]
    TimedOut,
    #[error("the connection broke: {0}")]
    Http(hyper::Error),
    #[error("the request cannot be made: {0}")]
    Request(hyper::http::Error),
    #[error("the answer cannot be read: {0}")]
    Body(Box<dyn std::error::Error + Send + Sync>),
    #[error("it answered {0}")]
    Status(StatusCode),
    #[error("its figures make no sense: {0}")]
    Stats(serde_json::Error),
}

/// Whether the process says at this path that it is ready.
pub(super) async fn health(address: &Address, path: &str) -> Result<(), ProbeError> {
    ask(address, path).await.map(drop)
}

/// The worker's figures.
pub(super) async fn stats(address: &Address) -> Result<Stats, ProbeError> {
    serde_json::from_slice(&ask(address, "/stats").await?).map_err(ProbeError::Stats)
}

async fn ask(address: &Address, path: &str) -> Result<Bytes, ProbeError> {
    let asked = async {
        match address {
            Address::Unix(socket) => {
                let stream = UnixStream::connect(socket).await.map_err(ProbeError::Connect)?;
                exchange(stream, path).await
            }
            Address::Tcp(address) => {
                let stream = TcpStream::connect(address).await.map_err(ProbeError::Connect)?;
                exchange(stream, path).await
            }
        }
    };
    tokio::time::timeout(PATIENCE, asked).await.unwrap_or(Err(ProbeError::TimedOut))
}

async fn exchange<S>(stream: S, path: &str) -> Result<Bytes, ProbeError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(ProbeError::Http)?;
    let request = Request::get(path)
        .header(header::HOST, "localhost")
        .body(Empty::<Bytes>::new())
        .map_err(ProbeError::Request)?;
    let answer = async {
        let response = sender.send_request(request).await.map_err(ProbeError::Http)?;
        if !response.status().is_success() {
            return Err(ProbeError::Status(response.status()));
        }
        let body =
            Limited::new(response.into_body(), ANSWER_BYTES).collect().await.map_err(ProbeError::Body)?;
        Ok(body.to_bytes())
    };
    // The connection is driven only as long as the answer is awaited: no task is left behind.
    tokio::pin!(answer, connection);
    tokio::select! {
        answer = &mut answer => answer,
        ended = &mut connection => match ended {
            Ok(()) => answer.await,
            Err(error) => Err(ProbeError::Http(error)),
        },
    }
}
