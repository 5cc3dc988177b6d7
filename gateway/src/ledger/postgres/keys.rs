//! Keys in PostgreSQL, as `keys::store` has them for a file.

use postgres::Row;

use super::{Session, connect, migrate, unsigned};
use crate::keys::{KeyError, KeyRecord, SecretHash};
use crate::ledger::batch::signed;
use crate::ledger::{LedgerError, Location};

const COLUMNS: &str = "id, hash, name, owner, team, tags, models, created_ms, expires_ms, revoked_ms";
const RAISE: &str = "UPDATE meta SET value = value + 1 WHERE name = 'keys_generation'";

/// The keys of a server's ledger.
pub(crate) struct ServerKeys {
    session: Session,
}

impl ServerKeys {
    pub(crate) fn open(url: &str) -> Result<ServerKeys, LedgerError> {
        let mut client = connect(url)?;
        migrate(&mut client, &Location::Server(url.to_owned()).to_string())?;
        Ok(ServerKeys { session: Session::of(url, client) })
    }

    pub(crate) fn create(&mut self, record: &KeyRecord, hash: &SecretHash) -> Result<(), KeyError> {
        self.session.with(|client| {
            let mut step = client.transaction().map_err(failed)?;
            step.execute("LOCK TABLE keys IN SHARE ROW EXCLUSIVE MODE", &[]).map_err(failed)?;
            let taken = step
                .query_opt("SELECT 1 FROM keys WHERE name = $1 AND revoked_ms IS NULL", &[&record.name])
                .map_err(failed)?;
            if taken.is_some() {
                return Err(KeyError::NameTaken { name: record.name.clone() });
            }
            let tags = serde_json::to_string(&record.tags).map_err(LedgerError::from)?;
            let models =
                record.models.as_ref().map(serde_json::to_string).transpose().map_err(LedgerError::from)?;
            step.execute(
                &format!("INSERT INTO keys ({COLUMNS}) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, NULL)"),
                &[
                    &record.id,
                    &hash.as_bytes().as_slice(),
                    &record.name,
                    &record.owner,
                    &record.team,
                    &tags,
                    &models,
                    &signed(record.created_at_ms),
                    &record.expires_at_ms.map(signed),
                ],
            )
            .map_err(failed)?;
            step.execute(RAISE, &[]).map_err(failed)?;
            step.commit().map_err(failed)
        })
    }

    pub(crate) fn revoke(&mut self, id_or_name: &str, now_ms: u64) -> Result<KeyRecord, KeyError> {
        self.session.with(|client| {
        let mut step = client.transaction().map_err(failed)?;
        let row = step
            .query_opt(
                &format!("UPDATE keys SET revoked_ms = $2 WHERE (id = $1 OR name = $1) AND revoked_ms IS NULL RETURNING {COLUMNS}"),
                &[&id_or_name, &signed(now_ms)],
            )
            .map_err(failed)?;
        let Some(row) = row else { return Err(KeyError::NoSuchKey { key: id_or_name.to_owned() }) };
        step.execute(RAISE, &[]).map_err(failed)?;
        step.commit().map_err(failed)?;
        Ok(read(&row)?.1)
        })
    }

    pub(crate) fn list(&mut self) -> Result<Vec<(SecretHash, KeyRecord)>, KeyError> {
        self.session.with(|client| {
            let rows = client.query(&format!("SELECT {COLUMNS} FROM keys ORDER BY created_ms, id"), &[]);
            rows.map_err(failed)?.iter().map(read).collect()
        })
    }

    pub(crate) fn generation(&mut self) -> Result<i64, KeyError> {
        self.session.with(|client| {
            let row = client.query_one("SELECT value FROM meta WHERE name = 'keys_generation'", &[]);
            Ok(row.map_err(failed)?.get(0))
        })
    }
}

fn failed(error: postgres::Error) -> KeyError {
    KeyError::Ledger(error.into())
}

fn read(row: &Row) -> Result<(SecretHash, KeyRecord), KeyError> {
    let hash = SecretHash::from_slice(row.get(1)).ok_or(KeyError::Ledger(LedgerError::Closed))?;
    let models: Option<String> = row.get(6);
    let record = KeyRecord {
        id: row.get(0),
        name: row.get(2),
        owner: row.get(3),
        team: row.get(4),
        tags: serde_json::from_str(row.get(5)).map_err(LedgerError::from)?,
        models: models.map(|text| serde_json::from_str(&text)).transpose().map_err(LedgerError::from)?,
        created_at_ms: unsigned(row.get(7)),
        expires_at_ms: row.get::<_, Option<i64>>(8).map(unsigned),
        revoked_at_ms: row.get::<_, Option<i64>>(9).map(unsigned),
    };
    Ok((hash, record))
}
