//! Telling those who wait that what they asked for is in the file.
//!
//! Waking a task from another thread costs a system call, and a commit answers many at once. So answers to tasks of one
//! thread go there together, where a task of their own hands them out.

use std::cell::RefCell;

use tokio::runtime::{Handle, Id};
use tokio::sync::{mpsc, oneshot};

use super::error::LedgerError;

type Outcome = Result<(), LedgerError>;
type Answer = (oneshot::Sender<Outcome>, Outcome);
type Crier = mpsc::Sender<Vec<Answer>>;

/// Commits whose answers wait to be handed out; beyond that each is woken by itself.
const CRIED: usize = 64;

thread_local! {
    /// Hands out answers on this thread, as long as its runtime is the same.
    static CRIER: RefCell<Option<(Id, Crier)>> = const { RefCell::new(None) };
}

/// One who waits for an answer.
#[derive(Debug)]
pub(crate) struct Asker {
    answer: oneshot::Sender<Outcome>,
    /// Who hands out answers where it waits; none outside of a runtime.
    crier: Option<Crier>,
}

impl Asker {
    /// An asker on this thread, and what it waits for.
    pub(crate) fn new() -> (Asker, oneshot::Receiver<Outcome>) {
        let (answer, outcome) = oneshot::channel();
        (Asker { answer, crier: crier() }, outcome)
    }
}

/// This thread's crier, made if there is none.
fn crier() -> Option<Crier> {
    let runtime = Handle::try_current().ok()?;
    CRIER.with_borrow_mut(|known| {
        if let Some((id, crier)) = known
            && *id == runtime.id()
            && !crier.is_closed()
        {
            return Some(crier.clone());
        }
        let (crier, mut answers) = mpsc::channel::<Vec<Answer>>(CRIED);
        runtime.spawn(async move {
            while let Some(answers) = answers.recv().await {
                answers.into_iter().for_each(hand_out);
            }
        });
        *known = Some((runtime.id(), crier.clone()));
        Some(crier)
    })
}

/// Answers all of them.
pub(crate) fn all(outcomes: impl Iterator<Item = (Asker, Outcome)>) {
    let mut places: Vec<(Option<Crier>, Vec<Answer>)> = Vec::new();
    for (Asker { answer, crier }, outcome) in outcomes {
        let same = |known: &Option<Crier>| match (known, &crier) {
            (Some(known), Some(crier)) => known.same_channel(crier),
            _ => false,
        };
        match places.iter_mut().find(|(known, _)| same(known)) {
            Some((_, answers)) => answers.push((answer, outcome)),
            None => places.push((crier, vec![(answer, outcome)])),
        }
    }
    for (crier, answers) in places {
        match crier {
            // Its runtime may have ended meanwhile, or be busy.
            Some(crier) if answers.len() > 1 => {
                if let Err(refused) = crier.try_send(answers) {
                    refused.into_inner().into_iter().for_each(hand_out);
                }
            }
            _ => answers.into_iter().for_each(hand_out),
        }
    }
}

fn hand_out((answer, outcome): Answer) {
    // The one who asked may have gone away; what was asked is done all the same.
    let _nobody_waits = answer.send(outcome);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn runtime() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_current_thread().build().unwrap()
    }

    fn askers(count: usize) -> (Vec<Asker>, Vec<oneshot::Receiver<Outcome>>) {
        (0..count).map(|_| Asker::new()).unzip()
    }

    fn answer(askers: Vec<Asker>) {
        let outcomes = askers.into_iter().map(|asker| (asker, Err(LedgerError::Closed)));
        std::thread::scope(|threads| threads.spawn(|| all(outcomes)).join()).unwrap();
    }

    #[test]
    fn all_who_wait_are_answered_whichever_runtime_they_wait_on() {
        // One thread, two runtimes after each other: the first one's crier has died with it.
        for _ in 0..2 {
            runtime().block_on(async {
                let (few, first) = askers(1);
                let (many, others) = askers(5);
                answer(few.into_iter().chain(many).collect());
                for outcome in first.into_iter().chain(others) {
                    assert!(matches!(outcome.await, Ok(Err(LedgerError::Closed))));
                }
            });
        }
    }

    #[test]
    fn those_without_a_runtime_and_those_whose_runtime_has_ended_are_answered_at_once() {
        let (mut all, mut outcomes) = askers(2);
        let ended = runtime().block_on(async { askers(3) });
        all.extend(ended.0);
        outcomes.extend(ended.1);
        answer(all);
        for outcome in outcomes {
            assert!(matches!(outcome.blocking_recv(), Ok(Err(LedgerError::Closed))));
        }
    }
}
