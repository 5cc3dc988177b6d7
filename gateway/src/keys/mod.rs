//! Virtual keys: who may call, on whose account, with which models, until when.
//!
//! The gateway keeps every key in memory by the SHA-256 of its secret and re-reads them when they have changed
//! (looked at each second, and before a key is refused as unknown), so `tollgate keys create` and `revoke` act on a
//! running gateway. Secrets are neither stored nor logged.

mod secret;
mod store;
mod watch;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use dashmap::DashMap;
use serde::Serialize;

use crate::ledger::LedgerError;
pub use secret::{PREFIX, Secret, SecretHash};
pub use store::{KeyStore, NewKey};
pub use watch::KeyWatch;

/// One virtual key, without its secret.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct KeyRecord {
    /// `key_` and twelve hex digits; what receipts name.
    pub id: String,
    /// What people, policies and budgets call it; unique among live keys.
    pub name: String,
    /// Who answers for it.
    pub owner: Option<String>,
    /// Team its spend is booked on.
    pub team: Option<String>,
    /// Tags put on each of its requests; they win over the request's own.
    pub tags: BTreeMap<String, String>,
    /// Catalogue names it may use; `None` = all.
    pub models: Option<Vec<String>>,
    /// When it was made, Unix milliseconds.
    pub created_at_ms: u64,
    /// Last moment it works, Unix milliseconds.
    pub expires_at_ms: Option<u64>,
    /// When it was revoked, Unix milliseconds.
    pub revoked_at_ms: Option<u64>,
}

impl KeyRecord {
    /// Whether the key may use a catalogue name.
    #[must_use]
    pub fn may_use(&self, model: &str) -> bool {
        self.models.as_ref().is_none_or(|models| models.iter().any(|allowed| allowed == model))
    }
}

/// Why a key was refused, or could not be made.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// None was presented where one is needed.
    #[error(
        "no API key was given: send `Authorization: Bearer tg-…` (the operator makes one with `tollgate keys create`)"
    )]
    Missing,
    /// Something was presented that is no key.
    #[error("the `authorization` header must be `Bearer tg-…`; a key may come in `x-api-key` instead")]
    NotBearer,
    /// No key has this secret.
    #[error("this API key is not known (the operator lists keys with `tollgate keys list`)")]
    Unknown,
    /// The key was revoked.
    #[error("API key {id} has been revoked; ask the operator for a new one")]
    Revoked {
        /// The key.
        id: String,
    },
    /// The key is past its expiry.
    #[error("API key {id} has expired; ask the operator for a new one")]
    Expired {
        /// The key.
        id: String,
    },
    /// A live key has this name already.
    #[error("a key named {name:?} exists already\n    help: choose another --name, or revoke that one first")]
    NameTaken {
        /// The name.
        name: String,
    },
    /// Nothing to revoke.
    #[error("there is no live key with id or name {key:?}\n    help: `tollgate keys list` shows them")]
    NoSuchKey {
        /// What was asked for.
        key: String,
    },
    /// The system gave no random bytes.
    #[error("the system gave no random bytes for a secret")]
    Random,
    /// The file that holds the keys failed.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
}

/// When a key must be presented.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Auth {
    /// As soon as one key exists; until then anybody who reaches the port may call (the default on loopback).
    #[default]
    OnceKeysExist,
    /// Always (the default on any other address).
    Required,
    /// Never; a Tollgate key that is presented must still be a good one.
    Optional,
}

/// The keys in force; cheap to share behind an `Arc`.
#[derive(Debug, Default)]
pub struct Keys {
    auth: Auth,
    by_hash: DashMap<SecretHash, Arc<KeyRecord>>,
    /// Keys ever made: revoking the last one must not open the gateway again.
    count: AtomicUsize,
}

impl Keys {
    /// No keys yet, with the rule for when one is needed.
    #[must_use]
    pub fn new(auth: Auth) -> Keys {
        Keys { auth, ..Keys::default() }
    }

    /// Takes over what the store holds; keys stay usable while this runs. Returns how many there are.
    ///
    /// # Errors
    /// [`KeyError::Ledger`] if the store cannot be read; the keys in force stay as they were.
    pub fn reload(&self, store: &mut KeyStore) -> Result<usize, KeyError> {
        let rows = store.list()?;
        let count = rows.len();
        let fresh: std::collections::HashSet<SecretHash> = rows.iter().map(|(hash, _)| *hash).collect();
        for (hash, record) in rows {
            self.by_hash.insert(hash, Arc::new(record));
        }
        self.by_hash.retain(|hash, _| fresh.contains(hash));
        self.count.store(count, Ordering::Release);
        Ok(count)
    }

    /// Every team that a key's spend is booked on.
    #[must_use]
    pub fn teams(&self) -> BTreeSet<String> {
        self.by_hash.iter().filter_map(|entry| entry.team.clone()).collect()
    }

    /// Whether a call without a key is refused now.
    #[must_use]
    pub fn required(&self) -> bool {
        match self.auth {
            Auth::Required => true,
            Auth::Optional => false,
            Auth::OnceKeysExist => self.count.load(Ordering::Acquire) > 0,
        }
    }

    /// Checks one presented secret.
    ///
    /// # Errors
    /// [`KeyError::Unknown`], [`KeyError::Revoked`] or [`KeyError::Expired`].
    pub fn authenticate(&self, presented: &str, now_ms: u64) -> Result<Arc<KeyRecord>, KeyError> {
        let hash = SecretHash::of(presented);
        let record = self.by_hash.get(&hash).map(|entry| Arc::clone(&entry)).ok_or(KeyError::Unknown)?;
        if record.revoked_at_ms.is_some() {
            return Err(KeyError::Revoked { id: record.id.clone() });
        }
        if record.expires_at_ms.is_some_and(|last| now_ms > last) {
            return Err(KeyError::Expired { id: record.id.clone() });
        }
        Ok(record)
    }

    /// Admits a request: its key, or `None` for a caller without one where that is allowed. Clients that must
    /// send something send a placeholder; where no key is needed, only what looks like ours is checked.
    ///
    /// # Errors
    /// [`KeyError::Missing`] if a key is needed; otherwise as [`Keys::authenticate`].
    pub fn admit(&self, presented: Option<&str>, now_ms: u64) -> Result<Option<Arc<KeyRecord>>, KeyError> {
        match presented {
            Some(secret) if self.required() || secret.starts_with(PREFIX) => {
                self.authenticate(secret, now_ms).map(Some)
            }
            None if self.required() => Err(KeyError::Missing),
            _ => Ok(None),
        }
    }
}
