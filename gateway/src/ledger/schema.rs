//! The ledger file's tables, and how an older file is brought up to date.
//!
//! `user_version` counts the migrations applied; each runs in its own transaction, so a crash in between
//! leaves a whole older schema. `application_id` tells our files from other programs'.

use rusqlite::{Connection, TransactionBehavior};

/// "TOLL" in ASCII: SQLite's `application_id` of a ledger.
pub(crate) const APPLICATION_ID: i32 = 0x544F_4C4C;

/// Migrations in order; entry N brings schema N to N + 1. Never edited once released.
const MIGRATIONS: &[&str] = &[
    // `body` is the receipt, canonical and hashed. The other columns repeat what reports group and filter by;
    // `ledger verify` proves that they agree with the body.
    "
    CREATE TABLE receipts (
        seq INTEGER PRIMARY KEY,
        request_id TEXT NOT NULL UNIQUE,
        at_ms INTEGER NOT NULL,
        key TEXT, team TEXT, run TEXT,
        tags TEXT NOT NULL,
        policy TEXT NOT NULL,
        route TEXT NOT NULL,
        selected TEXT NOT NULL,
        model TEXT NOT NULL,
        engine TEXT NOT NULL,
        status TEXT NOT NULL,
        prompt_tokens INTEGER NOT NULL,
        completion_tokens INTEGER NOT NULL,
        cost_nanos INTEGER NOT NULL,
        baseline_nanos INTEGER NOT NULL,
        saved_nanos INTEGER NOT NULL,
        body TEXT NOT NULL,
        hash BLOB NOT NULL
    ) STRICT;
    CREATE INDEX receipts_at ON receipts (at_ms);
    CREATE TABLE holds (
        request_id TEXT PRIMARY KEY,
        amount_nanos INTEGER NOT NULL,
        body TEXT NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE windows (
        budget TEXT NOT NULL,
        subject TEXT NOT NULL,
        window_start_ms INTEGER NOT NULL,
        settled_nanos INTEGER NOT NULL,
        updated_ms INTEGER NOT NULL,
        PRIMARY KEY (budget, subject, window_start_ms)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE limits (
        id INTEGER PRIMARY KEY,
        budget TEXT NOT NULL,
        limit_nanos INTEGER NOT NULL,
        from_ms INTEGER NOT NULL
    ) STRICT;
    CREATE INDEX limits_budget ON limits (budget, from_ms);
    CREATE TABLE keys (
        id TEXT PRIMARY KEY,
        hash BLOB NOT NULL UNIQUE,
        name TEXT NOT NULL,
        owner TEXT,
        team TEXT,
        tags TEXT NOT NULL,
        models TEXT,
        created_ms INTEGER NOT NULL,
        expires_ms INTEGER,
        revoked_ms INTEGER
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE meta (name TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT, WITHOUT ROWID;
    INSERT INTO meta (name, value) VALUES ('keys_generation', 0);
    ",
    // What the router learns from. `AUTOINCREMENT`: a verdict given again gets a new number, so that what is new can be told.
    "
    CREATE TABLE outcomes (
        seq INTEGER PRIMARY KEY AUTOINCREMENT,
        request_id TEXT NOT NULL,
        at_ms INTEGER NOT NULL,
        policy TEXT NOT NULL,
        model TEXT NOT NULL,
        source TEXT NOT NULL,
        good INTEGER NOT NULL,
        propensity REAL NOT NULL,
        choice TEXT,
        UNIQUE (request_id, model, source)
    ) STRICT;
    CREATE TABLE promotions (
        id INTEGER PRIMARY KEY,
        at_ms INTEGER NOT NULL,
        configured TEXT NOT NULL,
        abilities TEXT NOT NULL,
        trial TEXT NOT NULL
    ) STRICT;
    ",
];

/// Newest schema version this release writes.
pub(crate) const NEWEST: i64 = MIGRATIONS.len() as i64;

/// The schema version of an open file.
pub(crate) fn version(db: &Connection) -> rusqlite::Result<i64> {
    db.pragma_query_value(None, "user_version", |row| row.get(0))
}

/// The application id of an open file, 0 where none was set.
pub(crate) fn application_id(db: &Connection) -> rusqlite::Result<i32> {
    db.pragma_query_value(None, "application_id", |row| row.get(0))
}

/// Whether the file has no tables yet.
pub(crate) fn is_empty(db: &Connection) -> rusqlite::Result<bool> {
    db.query_row("SELECT count(*) = 0 FROM sqlite_schema", [], |row| row.get(0))
}

/// Applies the migrations that `db` lacks.
pub(crate) fn migrate(db: &mut Connection) -> rusqlite::Result<()> {
    loop {
        // Immediate: two commands opening a new ledger at once must not both apply the same step.
        let step = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let from = version(&step)?;
        let Some(sql) = usize::try_from(from).ok().and_then(|index| MIGRATIONS.get(index)) else {
            return Ok(());
        };
        step.execute_batch(sql)?;
        step.pragma_update(None, "application_id", APPLICATION_ID)?;
        step.pragma_update(None, "user_version", from + 1)?;
        step.commit()?;
    }
}
