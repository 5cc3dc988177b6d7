//! Keys on disk: the ledger database's `keys` table, written by `tollgate keys`, read by a running gateway.
//!
//! Each change raises `keys_generation` in the same transaction, so a gateway sees with one cheap read whether
//! it has to look again. A revoked key keeps its row: receipts name it.

use std::path::PathBuf;

use rusqlite::{Connection, Row, TransactionBehavior, params};

use super::secret::{Secret, SecretHash};
use super::{KeyError, KeyRecord};
use crate::ledger::{self, LedgerError, Location, ServerKeys};

const COLUMNS: &str = "id, hash, name, owner, team, tags, models, created_ms, expires_ms, revoked_ms";

/// What `keys create` is told.
#[derive(Debug, Clone, Default)]
pub struct NewKey {
    /// What the key is called in lists and reports.
    pub name: String,
    /// Who answers for it.
    pub owner: Option<String>,
    /// Team its spend is booked on.
    pub team: Option<String>,
    /// Tags put on each of its requests.
    pub tags: std::collections::BTreeMap<String, String>,
    /// Catalogue names it may use; `None` = all.
    pub models: Option<Vec<String>>,
    /// Last moment it works, Unix milliseconds.
    pub expires_at_ms: Option<u64>,
}

/// The keys table, opened for the `keys` commands.
pub struct KeyStore(Kept);

/// Where keys are kept.
enum Kept {
    File { path: PathBuf, db: Connection },
    Server(ServerKeys),
}

impl std::fmt::Debug for KeyStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KeyStore").finish_non_exhaustive()
    }
}

impl KeyStore {
    /// Opens the ledger's keys for changing; makes the ledger if there is none. A gateway may be running.
    ///
    /// # Errors
    /// [`KeyError::Ledger`] naming the file and the way out.
    pub fn open(location: &Location) -> Result<KeyStore, KeyError> {
        Ok(KeyStore(match location {
            Location::File(path) => Kept::File { path: path.clone(), db: ledger::writable(path)? },
            Location::Server(url) => Kept::Server(ServerKeys::open(url)?),
        }))
    }

    /// Opens the ledger's keys for reading.
    ///
    /// # Errors
    /// [`KeyError::Ledger`], also where there is no ledger yet.
    pub fn read(location: &Location) -> Result<KeyStore, KeyError> {
        Ok(KeyStore(match location {
            Location::File(path) => Kept::File { path: path.clone(), db: ledger::readable(path)? },
            Location::Server(url) => Kept::Server(ServerKeys::open(url)?),
        }))
    }

    /// Makes a key; the secret is in the answer and nowhere else.
    ///
    /// # Errors
    /// [`KeyError`] if the name is taken by a live key or the file cannot be written.
    pub fn create(&mut self, new: NewKey, now_ms: u64) -> Result<(KeyRecord, Secret), KeyError> {
        let secret = Secret::generate()?;
        let hash = secret.hash();
        // Named by its hash: unique, and tells nothing of the secret.
        let id: String = hash.as_bytes().iter().take(6).map(|byte| format!("{byte:02x}")).collect();
        let record = KeyRecord {
            id: format!("key_{id}"),
            name: new.name,
            owner: new.owner,
            team: new.team,
            tags: new.tags,
            models: new.models,
            created_at_ms: now_ms,
            expires_at_ms: new.expires_at_ms,
            revoked_at_ms: None,
        };
        let (path, db) = match &mut self.0 {
            Kept::Server(keys) => {
                keys.create(&record, &hash)?;
                return Ok((record, secret));
            }
            Kept::File { path, db } => (path, db),
        };
        let explained = |error| KeyError::Ledger(ledger::explain(path, error));
        let step = db.transaction_with_behavior(TransactionBehavior::Immediate).map_err(explained)?;
        let taken: bool = step
            .query_row(
                "SELECT count(*) > 0 FROM keys WHERE name = ?1 AND revoked_ms IS NULL",
                [&record.name],
                |row| row.get(0),
            )
            .map_err(explained)?;
        if taken {
            return Err(KeyError::NameTaken { name: record.name });
        }
        step.execute(
            &format!("INSERT INTO keys ({COLUMNS}) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, NULL)"),
            params![
                record.id,
                hash.as_bytes(),
                record.name,
                record.owner,
                record.team,
                serde_json::to_string(&record.tags).map_err(LedgerError::from)?,
                record.models.as_ref().map(serde_json::to_string).transpose().map_err(LedgerError::from)?,
                signed(now_ms),
                record.expires_at_ms.map(signed),
            ],
        )
        .map_err(explained)?;
        raise_generation(&step).map_err(explained)?;
        step.commit().map_err(explained)?;
        Ok((record, secret))
    }

    /// Revokes the live key with this id or name; it stops working within a second in a running gateway.
    ///
    /// # Errors
    /// [`KeyError::NoSuchKey`] if there is none.
    pub fn revoke(&mut self, id_or_name: &str, now_ms: u64) -> Result<KeyRecord, KeyError> {
        let (path, db) = match &mut self.0 {
            Kept::Server(keys) => return keys.revoke(id_or_name, now_ms),
            Kept::File { path, db } => (path, db),
        };
        let explained = |error| KeyError::Ledger(ledger::explain(path, error));
        let step = db.transaction_with_behavior(TransactionBehavior::Immediate).map_err(explained)?;
        let changed = step
            .execute(
                "UPDATE keys SET revoked_ms = ?2 WHERE (id = ?1 OR name = ?1) AND revoked_ms IS NULL",
                params![id_or_name, signed(now_ms)],
            )
            .map_err(explained)?;
        if changed == 0 {
            return Err(KeyError::NoSuchKey { key: id_or_name.to_owned() });
        }
        let record = step
            .query_row(
                &format!(
                    "SELECT {COLUMNS} FROM keys WHERE id = ?1 OR name = ?1 ORDER BY revoked_ms DESC LIMIT 1"
                ),
                [id_or_name],
                |row| Ok(read(row)?.1),
            )
            .map_err(explained)?;
        raise_generation(&step).map_err(explained)?;
        step.commit().map_err(explained)?;
        Ok(record)
    }

    /// Every key ever made, oldest first.
    ///
    /// # Errors
    /// [`KeyError::Ledger`] if the file cannot be read.
    pub fn list(&mut self) -> Result<Vec<(SecretHash, KeyRecord)>, KeyError> {
        let (path, db) = match &mut self.0 {
            Kept::Server(keys) => return keys.list(),
            Kept::File { path, db } => (path, db),
        };
        let explained = |error| KeyError::Ledger(ledger::explain(path, error));
        let mut query = db
            .prepare_cached(&format!("SELECT {COLUMNS} FROM keys ORDER BY created_ms, id"))
            .map_err(explained)?;
        let rows = query.query_map([], read).map_err(explained)?;
        rows.collect::<rusqlite::Result<_>>().map_err(explained)
    }

    /// Rises with every change to any key.
    ///
    /// # Errors
    /// [`KeyError::Ledger`] if the file cannot be read.
    pub fn generation(&mut self) -> Result<i64, KeyError> {
        let (path, db) = match &mut self.0 {
            Kept::Server(keys) => return keys.generation(),
            Kept::File { path, db } => (path, db),
        };
        db.prepare_cached("SELECT value FROM meta WHERE name = 'keys_generation'")
            .and_then(|mut query| query.query_row([], |row| row.get(0)))
            .map_err(|error| KeyError::Ledger(ledger::explain(path, error)))
    }
}

fn raise_generation(db: &Connection) -> rusqlite::Result<()> {
    db.execute("UPDATE meta SET value = value + 1 WHERE name = 'keys_generation'", []).map(|_| ())
}

fn read(row: &Row<'_>) -> rusqlite::Result<(SecretHash, KeyRecord)> {
    let hash: Vec<u8> = row.get(1)?;
    let hash = SecretHash::from_slice(&hash)
        .ok_or(rusqlite::Error::IntegralValueOutOfRange(1, hash.len() as i64))?;
    let models: Option<String> = row.get(6)?;
    let record = KeyRecord {
        id: row.get(0)?,
        name: row.get(2)?,
        owner: row.get(3)?,
        team: row.get(4)?,
        tags: json(5, &row.get::<_, String>(5)?)?,
        models: models.map(|text| json(6, &text)).transpose()?,
        created_at_ms: unsigned(row.get(7)?),
        expires_at_ms: row.get::<_, Option<i64>>(8)?.map(unsigned),
        revoked_at_ms: row.get::<_, Option<i64>>(9)?.map(unsigned),
    };
    Ok((hash, record))
}

fn json<T: serde::de::DeserializeOwned>(column: usize, text: &str) -> rusqlite::Result<T> {
    serde_json::from_str(text).map_err(|error| {
        rusqlite::Error::FromSqlConversionFailure(column, rusqlite::types::Type::Text, Box::new(error))
    })
}

fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

fn unsigned(value: i64) -> u64 {
    u64::try_from(value).unwrap_or(0)
}
