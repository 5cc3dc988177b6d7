//! Notices that the supervisor is gone: it holds the other end of this process's stdin, and however it ends, even by
//! `kill -9`, the system closes that end. Works on every Unix without signals.

use crate::EngineError;
use std::io::Read;
use tokio::sync::oneshot;

/// Resolves when stdin closes; never, unless `watch`ed, and never a second time.
pub(super) fn closed(watch: bool) -> Result<impl Future<Output = ()>, EngineError> {
    let (closing, closed) = oneshot::channel();
    let mut idle = None;
    if watch {
        // A plain thread: a blocked read on the runtime's pool would hold up its shutdown.
        std::thread::Builder::new()
            .name("lifeline".to_owned())
            .spawn(move || {
                read_to_end(std::io::stdin().lock());
                // Nobody listening means that the worker is ending anyway.
                let _ = closing.send(());
            })
            .map_err(|source| EngineError::Io { doing: "starting the lifeline's thread", source })?;
    } else {
        idle = Some(closing);
    }
    Ok(async move {
        // An unwatched lifeline keeps its sender, so that it never resolves.
        let _idle = idle;
        if closed.await.is_err() {
            std::future::pending::<()>().await;
        }
    })
}

/// Reads and forgets until the end or an error.
fn read_to_end(mut input: impl Read) {
    let mut chunk = [0; 256];
    while !matches!(input.read(&mut chunk), Ok(0) | Err(_)) {}
}
