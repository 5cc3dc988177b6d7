//! The ledger file's tables, and how an older file is brought up to date.
//!
//! `user_version` counts the migrations applied; all that lack run in one transaction, so nobody ever sees a
//! half of them. `application_id` tells our files from other programs'.

use rusqlite::{Connection, TransactionBehavior};

/// "TOLL" in ASCII: SQLite's `application_id` of a ledger.
pub(crate) const APPLICATION_ID: i32 = 0x544F_4C4C;

/// Migrations in order; entry N brings schema N to N + 1. Never edited once released.
pub(super) const MIGRATIONS: &[&str] = &[
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
    // What tries cost that failed or were thrown away, so that reports can tell which model took it. Of older receipts it is read from the
    // body: its decimal text times 10^9 is exact in a double below two million dollars.
    "
    CREATE TABLE attempts (
        receipt INTEGER NOT NULL,
        number INTEGER NOT NULL,
        model TEXT NOT NULL,
        engine TEXT NOT NULL,
        cost_nanos INTEGER NOT NULL,
        PRIMARY KEY (receipt, number)
    ) STRICT, WITHOUT ROWID;
    INSERT INTO attempts
        SELECT seq, each.key, each.value ->> '$.model', each.value ->> '$.engine',
            CAST(round(CAST(each.value ->> '$.cost' AS REAL) * 1000000000) AS INTEGER)
        FROM receipts, json_each(body, '$.attempts') AS each
        WHERE body LIKE '%\"attempts\":[%' AND CAST(each.value ->> '$.cost' AS REAL) > 0;
    ",
    // What was asked and answered, where that is kept.
    "
    CREATE TABLE contents (
        request_id TEXT PRIMARY KEY,
        at_ms INTEGER NOT NULL,
        model TEXT NOT NULL,
        status TEXT NOT NULL,
        messages TEXT NOT NULL,
        answer TEXT NOT NULL
    ) STRICT;
    CREATE INDEX contents_at ON contents (at_ms);
    ",
    // From here on `windows` has the sums up to the last stretch's end, and a time is looked for by stretches.
    "
    CREATE TABLE stretches (last INTEGER PRIMARY KEY, latest_ms INTEGER NOT NULL) STRICT;
    INSERT INTO stretches SELECT max(seq), max(at_ms) FROM receipts GROUP BY (seq - 1) / 1024;
    DROP INDEX receipts_at;
    ",
    // From here on a receipt's request is looked for by stretches too. An index that a constraint made cannot be dropped, and copying a
    // long ledger takes minutes and its size again; so first it becomes one that has a name.
    "
    CREATE TABLE requests (request_id TEXT PRIMARY KEY, receipt INTEGER NOT NULL) STRICT, WITHOUT ROWID;
    INSERT INTO requests SELECT request_id, seq FROM receipts WHERE seq <= (SELECT coalesce(max(last), 0) FROM stretches)
        ORDER BY request_id;
    PRAGMA writable_schema = ON;
    UPDATE sqlite_schema SET sql = replace(sql, 'request_id TEXT NOT NULL UNIQUE', 'request_id TEXT NOT NULL')
        WHERE type = 'table' AND name = 'receipts';
    UPDATE sqlite_schema SET name = 'receipts_request', sql = 'CREATE UNIQUE INDEX receipts_request ON receipts (request_id)'
        WHERE type = 'index' AND name = 'sqlite_autoindex_receipts_1';
    PRAGMA writable_schema = RESET;
    DROP INDEX receipts_request;
    ",
    // So that a look for a time ends where it ends, too.
    "
    ALTER TABLE stretches ADD COLUMN earliest_ms INTEGER NOT NULL DEFAULT 0;
    UPDATE stretches SET earliest_ms = coalesce((SELECT min(at_ms) FROM receipts WHERE seq <= last AND seq >
        (SELECT coalesce(max(before.last), 0) FROM stretches AS before WHERE before.last < stretches.last)), 0);
    ",
    // Abilities mean something only under the router that they were learned under; of older ones it is not known.
    "ALTER TABLE promotions ADD COLUMN router TEXT;",
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
    // Immediate: two commands opening a new ledger at once must not both apply the same step.
    let step = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let lacking = usize::try_from(version(&step)?).ok().and_then(|from| MIGRATIONS.get(from..));
    let Some(lacking) = lacking.filter(|lacking| !lacking.is_empty()) else { return Ok(()) };
    for sql in lacking {
        step.execute_batch(sql)?;
    }
    step.pragma_update(None, "application_id", APPLICATION_ID)?;
    step.pragma_update(None, "user_version", NEWEST)?;
    step.commit()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_tries_cost_is_read_from_older_receipts() {
        let mut db = Connection::open_in_memory().unwrap();
        for sql in &MIGRATIONS[..2] {
            db.execute_batch(sql).unwrap();
        }
        db.pragma_update(None, "user_version", 2).unwrap();
        let attempt = |model: &str, cost: &str| {
            format!(r#"{{"model":"{model}","engine":"e","reason":"unsure","cost":"{cost}"}}"#)
        };
        let tries =
            [attempt("free", "0"), attempt("odd", "1234567.123456789"), attempt("small", "0.0000115")];
        let bodies = [format!(r#"{{"attempts":[{}]}}"#, tries.join(",")), r#"{"pruned_at_ms":1}"#.to_owned()];
        for (seq, body) in (1..).zip(bodies) {
            db.execute(
                "INSERT INTO receipts VALUES (?1, ?1, 0, NULL, NULL, NULL, '{}', 'p', 'r', 'm', 'm', 'e', 'ok', 0, 0, 0, 0, 0, ?2, x'00')",
                (seq, body),
            )
            .unwrap();
        }
        migrate(&mut db).unwrap();
        let mut query = db.prepare("SELECT receipt, number, model, cost_nanos FROM attempts").unwrap();
        let rows =
            query.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get::<_, String>(2)?, row.get(3)?)));
        let rows: Vec<(i64, i64, String, i64)> = rows.unwrap().map(Result::unwrap).collect();
        assert_eq!(
            rows,
            [(1, 1, "odd".to_owned(), 1_234_567_123_456_789), (1, 2, "small".to_owned(), 11_500)]
        );
    }
}
