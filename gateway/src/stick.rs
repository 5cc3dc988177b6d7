//! `[stick]`: decisions that hold for longer than a request.
//!
//! An agent's turn is many requests: the user's message, then tool results. Another model in the middle of it reads the
//! conversation anew and thinks otherwise; so a policy may keep the model for the turn or for the whole run. What is kept
//! is kept in memory, for the turns and runs seen last, and only as long as that model may answer.

use std::hash::{BuildHasher, Hasher, RandomState};

use quick_cache::sync::Cache;
use tollgate_policies::Decide;
use tollgate_router::{Decision, Role};

use crate::request::Ask;
use crate::wire::openai::Chat;

/// Turns and runs remembered; some 100 bytes each.
const REMEMBERED: usize = 65_536;

/// Which model which turn or run began with.
pub struct Sticks {
    kept: Cache<u64, String>,
    hash: RandomState,
}

impl std::fmt::Debug for Sticks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sticks").field("kept", &self.kept.len()).finish()
    }
}

impl Default for Sticks {
    fn default() -> Sticks {
        Sticks { kept: Cache::new(REMEMBERED), hash: RandomState::new() }
    }
}

/// What a request belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bond {
    id: u64,
    /// Whether the request goes on with something, rather than begin it.
    goes_on: bool,
    /// `turn` or `run`.
    pub what: &'static str,
}

impl Sticks {
    /// What the policy binds this request to; `None` where every request decides afresh.
    #[must_use]
    pub fn bond(&self, ask: &Ask, chat: &Chat<'_>) -> Option<Bond> {
        if ask.pinned.is_some() {
            return None;
        }
        let mut hasher = self.hash.build_hasher();
        let mut write = |text: &str| {
            hasher.write_usize(text.len());
            hasher.write(text.as_bytes());
        };
        // One key's conversations are not another's, even where they are alike.
        [ask.policy.name.as_str(), ask.key_id.as_deref().unwrap_or_default()]
            .into_iter()
            .for_each(&mut write);
        let (goes_on, what) = match ask.policy.stick.decide {
            Decide::Request => return None,
            Decide::Run => {
                write(ask.run.as_deref()?);
                (true, "run")
            }
            Decide::UserTurn => {
                let last = chat.turns.iter().rposition(|turn| turn.role == Role::User)?;
                chat.turns[..=last].iter().for_each(|turn| write(&turn.text));
                (last + 1 < chat.turns.len(), "turn")
            }
        };
        Some(Bond { id: hasher.finish(), goes_on, what })
    }

    /// The model that answered before.
    #[must_use]
    pub fn kept(&self, bond: Bond) -> Option<String> {
        bond.goes_on.then(|| self.kept.get(&bond.id)).flatten()
    }

    /// The decision holds from now on.
    pub fn keep(&self, bond: Bond, decision: &Decision) {
        let model = &decision.verdicts[decision.ranked[0]].model;
        if self.kept.get(&bond.id).as_ref() != Some(model) {
            self.kept.insert(bond.id, model.clone());
        }
    }
}
