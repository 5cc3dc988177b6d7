//! Notices that the supervisor is gone: it holds the other end of this process's stdin, and however it ends, even by
//! `kill -9`, the system closes that end. Works on every Unix without signals.

use crate::EngineError;
use std::io::Read;
use tokio::sync::oneshot;

/// The supervisor's end of stdin, if it is watched.
#[derive(Debug)]
pub(super) struct Lifeline {
    /// `None` once it was told that the other end is closed, or if it is not watched.
    closing: Option<oneshot::Receiver<()>>,
}

impl Lifeline {
    /// Watches stdin if `watch` says so.
    pub(super) fn new(watch: bool) -> Result<Lifeline, EngineError> {
        if !watch {
            return Ok(Lifeline { closing: None });
        }
        let (closing, closed) = oneshot::channel();
        // A plain thread: a blocked read on the runtime's pool would hold up its shutdown.
        std::thread::Builder::new()
            .name("lifeline".to_owned())
            .spawn(move || {
                read_to_end(std::io::stdin().lock());
                // Nobody listening means that the worker is ending anyway.
                let _ = closing.send(());
            })
            .map_err(|source| EngineError::Io { doing: "starting the lifeline's thread", source })?;
        Ok(Lifeline { closing: Some(closed) })
    }

    /// Resolves when stdin closes; never a second time, and never if it is not watched. May be given up and asked again.
    pub(super) async fn closed(&mut self) {
        if let Some(closing) = &mut self.closing {
            let told = closing.await.is_ok();
            self.closing = None;
            if told {
                return;
            }
        }
        std::future::pending::<()>().await;
    }
}

/// Reads and forgets until the end or an error.
fn read_to_end(mut input: impl Read) {
    let mut chunk = [0; 256];
    while !matches!(input.read(&mut chunk), Ok(0) | Err(_)) {}
}
