//! The listening socket: TCP, or a Unix socket that only its owner can reach.

use super::options::Address;
use crate::EngineError;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};

/// A bound socket. A Unix socket's file is removed when this is dropped.
#[derive(Debug)]
pub(super) enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener, SocketFile),
}

/// An accepted connection.
pub(super) enum Connection {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// The file of a Unix socket.
#[derive(Debug)]
pub(super) struct SocketFile(PathBuf);

impl Drop for SocketFile {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_file(&self.0) {
            tracing::debug!(socket = %self.0.display(), %error, "the socket was gone already");
        }
    }
}

impl Listener {
    pub(super) async fn bind(address: &Address) -> Result<Listener, EngineError> {
        match address {
            Address::Tcp(address) => TcpListener::bind(address)
                .await
                .map(Listener::Tcp)
                .map_err(|source| EngineError::Listen { address: address.to_string(), source }),
            Address::Unix(path) => bind_unix(path).await.map_err(|source| EngineError::Listen {
                address: format!("unix:{}", path.display()),
                source,
            }),
        }
    }

    /// The address in the form that `--listen` takes, with the real port.
    pub(super) fn address(&self) -> String {
        match self {
            Listener::Tcp(listener) => {
                listener.local_addr().map(|address| address.to_string()).unwrap_or_default()
            }
            Listener::Unix(_, file) => format!("unix:{}", file.0.display()),
        }
    }

    pub(super) async fn accept(&self) -> io::Result<Connection> {
        match self {
            Listener::Tcp(listener) => {
                let (stream, _) = listener.accept().await?;
                // Without this the last piece of a stream can wait 40 ms for an acknowledgement.
                stream.set_nodelay(true)?;
                Ok(Connection::Tcp(stream))
            }
            Listener::Unix(listener, _) => {
                listener.accept().await.map(|(stream, _)| Connection::Unix(stream))
            }
        }
    }
}

/// Binds, first removing a socket that nobody answers on any more.
async fn bind_unix(path: &Path) -> io::Result<Listener> {
    if path.exists() {
        if UnixStream::connect(path).await.is_ok() {
            return Err(io::Error::new(io::ErrorKind::AddrInUse, "another process answers on this socket"));
        }
        tokio::fs::remove_file(path).await?;
    }
    let listener = UnixListener::bind(path)?;
    let file = SocketFile(path.to_owned());
    tokio::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).await?;
    Ok(Listener::Unix(listener, file))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_stale_socket_is_replaced_and_a_live_one_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let address = Address::Unix(folder.path().join("a.sock"));
        let Address::Unix(path) = &address else { unreachable!() };
        drop(std::os::unix::net::UnixListener::bind(path).unwrap());
        assert!(path.exists(), "a socket left behind");
        let listener = Listener::bind(&address).await.unwrap();
        assert_eq!(std::fs::metadata(path).unwrap().permissions().mode() & 0o777, 0o600);
        let error = Listener::bind(&address).await.unwrap_err().to_string();
        assert!(error.contains("another process answers"), "{error}");
        drop(listener);
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn a_port_in_use_is_named() {
        let first = Listener::bind(&Address::parse("127.0.0.1:0").unwrap()).await.unwrap();
        let error = Listener::bind(&Address::parse(&first.address()).unwrap()).await.unwrap_err().to_string();
        assert!(error.starts_with(&format!("cannot listen on {}", first.address())), "{error}");
    }
}
