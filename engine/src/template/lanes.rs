//! Whose page is rendered where several wait, and whose is not tried for a while.
//!
//! One process renders nearly everything, for a page takes it milliseconds; where one does not, the next is started for who waits.
//! Invariants: a caller has one page rendered at a time, so one whose pages hang holds up its own and nobody else's, as long as fewer
//! than [`LANES`] callers do that at once; after some in a row that brought their process down its next ones are refused at once.

use parking_lot::{Condvar, Mutex};
use std::collections::HashMap;
use std::time::{Duration, Instant};

/// Processes at most.
const LANES: usize = 4;
/// Who waits for longer gets a process of its own.
const USUAL: Duration = Duration::from_millis(100);
/// So many failures of a caller in a row and it is told so at once,
const IN_A_ROW: u32 = 3;
/// for so long after the last one.
const REST: Duration = Duration::from_secs(30);
/// Failures are forgotten after so long.
const FORGET: Duration = Duration::from_secs(600);

/// The processes, of which one is kept while nothing is rendered.
#[derive(Debug)]
pub(super) struct Lanes<Process> {
    state: Mutex<State<Process>>,
    freed: Condvar,
}

#[derive(Debug)]
struct State<Process> {
    idle: Option<Process>,
    /// The callers whose pages are being rendered.
    busy: Vec<String>,
    failures: HashMap<String, Failures>,
}

/// A caller's, in a row.
#[derive(Clone, Copy, Debug)]
struct Failures {
    count: u32,
    last: Instant,
}

/// The caller's pages failed so often in a row that this one is not tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Resting {
    pub(super) failures: u32,
    pub(super) left: Duration,
}

/// A page's place; dropping it lets the next one in.
#[derive(Debug)]
pub(super) struct Lane<'a, Process> {
    lanes: &'a Lanes<Process>,
    caller: &'a str,
    /// The process that renders it, or that is kept for the next; `None` where one is to be started, or was ended.
    pub(super) process: Option<Process>,
}

impl<Process> Lanes<Process> {
    /// With a process that is idle.
    pub(super) fn new(process: Process) -> Self {
        let state = State { idle: Some(process), busy: Vec::new(), failures: HashMap::new() };
        Self { state: Mutex::new(state), freed: Condvar::new() }
    }

    /// Waits until a page of this caller may be rendered.
    pub(super) fn enter<'a>(&'a self, caller: &'a str) -> Result<Lane<'a, Process>, Resting> {
        let came = Instant::now();
        let mut state = self.state.lock();
        loop {
            if let Some(resting) = state.resting(caller) {
                return Err(resting);
            }
            let others = state.busy.iter().all(|busy| busy != caller);
            let waits_on = USUAL.checked_sub(came.elapsed()).filter(|_| !state.busy.is_empty());
            let starts = state.busy.len() < LANES && waits_on.is_none();
            if others && (state.idle.is_some() || starts) {
                let process = state.idle.take();
                state.busy.push(caller.to_owned());
                return Ok(Lane { lanes: self, caller, process });
            }
            match waits_on.filter(|_| others && state.busy.len() < LANES) {
                Some(left) => drop(self.freed.wait_for(&mut state, left)),
                None => self.freed.wait(&mut state),
            }
        }
    }
}

impl<Process> State<Process> {
    fn resting(&self, caller: &str) -> Option<Resting> {
        let failures = self.failures.get(caller).filter(|failures| failures.count >= IN_A_ROW)?;
        let left = REST.checked_sub(failures.last.elapsed())?;
        Some(Resting { failures: failures.count, left })
    }
}

impl<Process> Lane<'_, Process> {
    /// Notes whether the page brought its process down.
    pub(super) fn note(&self, failed: bool) {
        let mut state = self.lanes.state.lock();
        if !failed {
            state.failures.remove(self.caller);
            return;
        }
        state.failures.retain(|_, failures| failures.last.elapsed() < FORGET);
        let first = Failures { count: 0, last: Instant::now() };
        let failures = state.failures.entry(self.caller.to_owned()).or_insert(first);
        *failures = Failures { count: failures.count.saturating_add(1), last: Instant::now() };
    }
}

impl<Process> Drop for Lane<'_, Process> {
    fn drop(&mut self) {
        let mut state = self.lanes.state.lock();
        state.busy.retain(|busy| busy != self.caller);
        if state.idle.is_none() {
            state.idle = self.process.take();
        }
        self.lanes.freed.notify_all();
        drop(state);
        // One that is left over ends with this, when others are let in already.
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::sync_channel;

    fn fails(lanes: &Lanes<u32>, caller: &str) {
        let mut lane = lanes.enter(caller).unwrap();
        lane.process = None;
        lane.note(true);
    }

    #[test]
    fn who_waits_too_long_for_another_gets_a_process_of_its_own_and_one_is_kept() {
        let lanes = Lanes::new(1);
        let hangs = lanes.enter("hangs").unwrap();
        assert_eq!(hangs.process, Some(1));
        let mut other = lanes.enter("other").unwrap();
        assert_eq!(other.process, None, "to be started");
        other.process = Some(2);
        drop(other);
        assert_eq!(lanes.enter("other").unwrap().process, Some(2));
        drop(hangs);
        assert_eq!(lanes.enter("hangs").unwrap().process, Some(2), "the first one was left over");
        assert!(lanes.state.lock().busy.is_empty());
    }

    #[test]
    fn a_caller_waits_for_itself_and_all_for_the_last_lane() {
        let lanes = Lanes::new(1);
        let mut held: Vec<_> = ["a", "b", "c", "d"].map(|caller| lanes.enter(caller).unwrap()).into();
        let (send, entered) = sync_channel(2);
        std::thread::scope(|scope| {
            for caller in ["a", "e"] {
                let (lanes, send) = (&lanes, send.clone());
                scope.spawn(move || send.send((caller, lanes.enter(caller).unwrap().process)).unwrap());
            }
            assert!(entered.recv_timeout(USUAL * 3).is_err(), "all lanes are taken");
            drop(held.pop());
            assert_eq!(entered.recv().unwrap().0, "e", "the other's own page is being rendered");
            assert!(entered.recv_timeout(USUAL * 3).is_err(), "however long it waits");
            drop(held.remove(0));
            assert_eq!(entered.recv().unwrap().0, "a");
        });
    }

    #[test]
    fn who_fails_again_and_again_is_told_so_at_once_and_nobody_else_is() {
        let lanes = Lanes::new(1);
        fails(&lanes, "bad");
        fails(&lanes, "bad");
        lanes.enter("bad").unwrap().note(false);
        (0..IN_A_ROW).for_each(|_| fails(&lanes, "bad"));
        let resting = lanes.enter("bad").unwrap_err();
        assert!(resting.failures == IN_A_ROW && resting.left <= REST, "{resting:?}");
        assert!(lanes.enter("good").is_ok());
        let long_ago = Instant::now().checked_sub(REST).unwrap();
        lanes.state.lock().failures.get_mut("bad").unwrap().last = long_ago;
        fails(&lanes, "bad");
        assert!(lanes.enter("bad").is_err(), "one try, and it rests again");
    }
}
