//! Where several gateways share budgets: what this one may spend of them, asked for ahead and given back when it is quiet.
//!
//! A thread of its own with a connection of its own does the asking, since a request that needs a lease waits for it. It also
//! says that this gateway is still there, takes over what others that are gone have left, and keeps what the others have spent known.

use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError, SyncSender};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::oneshot;
use tollgate_policies::{Budgets, Want};

use crate::ledger::{LedgerError, Lessor, now_ms};

/// Between two looks at what goes on elsewhere.
const TICK: Duration = Duration::from_secs(1);
/// Requests that may wait for a lease; more are refused as if there was none.
const WAITING: usize = 1024;

/// Who waits for an answer; whether the server could be asked.
type Waiting = oneshot::Sender<Result<(), LedgerError>>;

/// Asks, or the end.
enum Message {
    Ask(Vec<Want>, Waiting),
    End,
}

/// The way to the thread.
#[derive(Debug)]
pub struct Leases {
    queue: SyncSender<Message>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Leases {
    /// Starts the thread; from then on `budgets` spend only what is leased.
    ///
    /// # Errors
    /// When the system has no thread left.
    pub fn start(lessor: Lessor, budgets: &Arc<Budgets>) -> std::io::Result<Leases> {
        budgets.share();
        let (queue, messages) = mpsc::sync_channel(WAITING);
        let mut tenant = Tenant { lessor, budgets: Arc::clone(budgets), broken: false };
        let work = move || {
            let mut next = Instant::now() + TICK;
            loop {
                let ended = match messages.recv_timeout(next.saturating_duration_since(Instant::now())) {
                    Ok(Message::Ask(wants, done)) => tenant.ask(wants, done, &messages),
                    Err(RecvTimeoutError::Timeout) => false,
                    Ok(Message::End) | Err(RecvTimeoutError::Disconnected) => true,
                };
                if ended {
                    return tenant.end();
                }
                if Instant::now() >= next {
                    tenant.tick();
                    next = Instant::now() + TICK;
                }
            }
        };
        let thread = std::thread::Builder::new().name("leases".to_owned()).spawn(work)?;
        Ok(Leases { queue, thread: Mutex::new(Some(thread)) })
    }

    /// Asks for what is wanted; when it returns, the budgets have what could be had.
    ///
    /// # Errors
    /// [`LedgerError::Stalled`] while the server cannot be asked.
    pub async fn ask(&self, wants: Vec<Want>) -> Result<(), LedgerError> {
        if wants.is_empty() {
            return Ok(());
        }
        let busy = || LedgerError::Stalled { reason: "too many requests wait for a lease".to_owned() };
        let (done, asked) = oneshot::channel();
        self.queue.try_send(Message::Ask(wants, done)).map_err(|_| busy())?;
        asked.await.map_err(|_| LedgerError::Closed)?
    }

    /// Gives everything back. Blocking; nothing may be held any more.
    pub fn end(&self) {
        let _gone_already = self.queue.send(Message::End);
        if let Some(thread) = self.thread.lock().take() {
            let _panicked = thread.join();
        }
    }
}

/// The thread's own.
struct Tenant {
    lessor: Lessor,
    budgets: Arc<Budgets>,
    /// Whether the last try failed, which is told once.
    broken: bool,
}

impl Tenant {
    /// Leases for a request, and for those that came after it, in one go. True if the end was among them.
    fn ask(&mut self, wants: Vec<Want>, done: Waiting, messages: &mpsc::Receiver<Message>) -> bool {
        let (mut all, mut waiting) = (wants, vec![done]);
        let mut ended = false;
        while let Ok(message) = messages.try_recv() {
            match message {
                Message::Ask(wants, done) => {
                    wants.into_iter().for_each(|want| add(&mut all, want));
                    waiting.push(done);
                }
                Message::End => ended = true,
            }
        }
        let leased = self.lessor.lease(&all);
        let failed = leased.as_ref().err().map(ToString::to_string);
        for given in self.told(leased).unwrap_or_default() {
            self.budgets.grant(&given.account, given.granted, given.elsewhere, now_ms());
            self.budgets.entitle(&given.account, given.entitled);
        }
        for done in waiting {
            let answer = failed.clone().map_or(Ok(()), |reason| Err(LedgerError::Stalled { reason }));
            let _went_away = done.send(answer);
        }
        ended
    }

    fn tick(&mut self) {
        let ticked = self.look();
        self.told(ticked);
    }

    fn look(&mut self) -> Result<(), LedgerError> {
        if !self.lessor.beat()? {
            tracing::warn!("the other gateways took this one for gone: it leases anew");
            // Before it signs on: what it was granted is not its any more.
            self.budgets.lapse();
            self.lessor.sign_on()?;
        }
        let recovery = self.lessor.take_over()?;
        if recovery.orphans > 0 {
            tracing::warn!(holds = recovery.orphans, usd = %recovery.orphaned, "what a gateway that is gone held was settled in full");
        }
        let quiet = self.budgets.quiet();
        self.lessor.give_back(&quiet)?;
        for given in self.lessor.see(&self.budgets.shared_windows())? {
            self.budgets.grant(&given.account, tollgate_policies::Usd::ZERO, given.elsewhere, now_ms());
            self.budgets.entitle(&given.account, given.entitled);
            let forgotten =
                quiet.iter().find(|quiet| quiet.account == given.account && quiet.settled == given.booked);
            if let Some(quiet) = forgotten {
                self.lessor.forget(&quiet.account)?;
                self.budgets.forget(quiet, given.elsewhere);
            }
        }
        Ok(())
    }

    fn end(&mut self) {
        let ended = self.lessor.sign_off();
        self.told(ended);
    }

    fn told<T>(&mut self, done: Result<T, LedgerError>) -> Option<T> {
        match done {
            Ok(value) => {
                self.broken = false;
                Some(value)
            }
            Err(error) => {
                if !std::mem::replace(&mut self.broken, true) {
                    tracing::error!(%error, "budgets cannot be leased; what is leased already can be spent");
                }
                None
            }
        }
    }
}

fn add(all: &mut Vec<Want>, want: Want) {
    match all.iter_mut().find(|known| known.account == want.account) {
        Some(known) => known.amount = known.amount.saturating_add(want.amount),
        None => all.push(want),
    }
}
