//! The scheduler's thread as its owner sees it: started, ready or failed, told to stop, joined.
//!
//! Invariant: the thread does not outlive its [`Thread`]. C++ statics are torn down when the process ends, and a thread
//! that computes meanwhile would crash it. Stopping interrupts the operation under way, so it takes milliseconds.

use super::Scheduler;
use super::job::Message;
use crate::EngineError;
use crate::llama::{Interrupt, Model};
use std::sync::Arc;
use std::thread::JoinHandle;
use tokio::sync::{mpsc, oneshot};

/// What the thread hands out once it takes jobs.
pub(super) type Ready = (Scheduler, Arc<Model>);

/// The scheduler's thread. Dropping it stops the thread and waits for its end, which blocks for a moment;
/// [`Thread::finish`] does the same without blocking.
#[derive(Debug)]
pub(crate) struct Thread {
    handle: Option<JoinHandle<()>>,
    interrupt: Interrupt,
    /// Wakes the thread where it waits for jobs.
    jobs: mpsc::Sender<Message>,
    ready: Option<oneshot::Receiver<Ready>>,
    ended: oneshot::Receiver<Result<(), EngineError>>,
}

impl Thread {
    /// Starts a thread that does `work`; how it ends is told by [`Thread::end`].
    pub(super) fn start(
        interrupt: Interrupt,
        jobs: mpsc::Sender<Message>,
        work: impl FnOnce(oneshot::Sender<Ready>) -> Result<(), EngineError> + Send + 'static,
    ) -> Result<Thread, EngineError> {
        let (send_ready, ready) = oneshot::channel();
        let (send_end, ended) = oneshot::channel();
        let body = move || {
            let result = work(send_ready);
            // Nobody may wait for the end any more.
            drop(send_end.send(result));
        };
        let handle = std::thread::Builder::new()
            .name("scheduler".to_owned())
            .spawn(body)
            .map_err(|source| EngineError::Io { doing: "starting the scheduler's thread", source })?;
        Ok(Thread { handle: Some(handle), interrupt, jobs, ready: Some(ready), ended })
    }

    /// Waits until the model is loaded and jobs are taken. Asked once.
    pub(crate) async fn ready(&mut self) -> Result<(Scheduler, Arc<Model>), EngineError> {
        match self.ready.take() {
            Some(ready) => match ready.await {
                Ok(ready) => Ok(ready),
                Err(_) => Err(self.end().await),
            },
            None => Err(self.end().await),
        }
    }

    /// Waits until the thread gives up; it never ends by itself for a good reason.
    pub(crate) async fn end(&mut self) -> EngineError {
        match (&mut self.ended).await {
            Ok(Err(error)) => error,
            Ok(Ok(())) => EngineError::SchedulerStopped("its thread ended".to_owned()),
            Err(_) => EngineError::SchedulerStopped("its thread panicked".to_owned()),
        }
    }

    /// Stops the thread and waits until it has ended. Requests that still run see the engine stop.
    pub(crate) async fn finish(mut self) {
        self.stop();
        if !self.ended.is_terminated() {
            // How it ends does not matter any more.
            drop((&mut self.ended).await);
        }
        // What is left for `drop` is to join a thread that has nothing left to do.
    }

    fn stop(&self) {
        self.interrupt.raise();
        // A full channel means that the thread is not waiting for jobs; it looks at the interrupt before it takes one.
        drop(self.jobs.try_send(Message::Wake));
    }
}

impl Drop for Thread {
    fn drop(&mut self) {
        self.stop();
        if let Some(handle) = self.handle.take()
            && handle.join().is_err()
        {
            tracing::error!("the scheduler's thread panicked");
        }
    }
}
