//! The tables, and how an older database is brought up to date.

use postgres::Client;

use super::SCHEMA;
use crate::ledger::LedgerError;

/// Migrations in order; entry N brings schema N to N + 1. Never edited once released.
const MIGRATIONS: &[&str] = &[
    "
    CREATE TABLE receipts (
        seq BIGINT PRIMARY KEY,
        request_id TEXT NOT NULL UNIQUE,
        at_ms BIGINT NOT NULL,
        key TEXT, team TEXT, run TEXT,
        tags TEXT NOT NULL,
        policy TEXT NOT NULL,
        route TEXT NOT NULL,
        selected TEXT NOT NULL,
        model TEXT NOT NULL,
        engine TEXT NOT NULL,
        status TEXT NOT NULL,
        prompt_tokens BIGINT NOT NULL,
        completion_tokens BIGINT NOT NULL,
        cost_nanos BIGINT NOT NULL,
        baseline_nanos BIGINT NOT NULL,
        saved_nanos BIGINT NOT NULL,
        body TEXT NOT NULL,
        hash BYTEA NOT NULL
    );
    CREATE INDEX receipts_at ON receipts (at_ms);
    CREATE TABLE chain (
        one BOOLEAN PRIMARY KEY DEFAULT true CHECK (one),
        seq BIGINT NOT NULL,
        hash BYTEA NOT NULL
    );
    INSERT INTO chain (seq, hash) VALUES (0, decode(repeat('00', 32), 'hex'));
    CREATE TABLE gateways (
        id TEXT PRIMARY KEY,
        expires TIMESTAMPTZ NOT NULL
    );
    CREATE TABLE holds (
        request_id TEXT PRIMARY KEY,
        gateway TEXT NOT NULL,
        amount_nanos BIGINT NOT NULL,
        body TEXT NOT NULL
    );
    CREATE INDEX holds_gateway ON holds (gateway);
    CREATE TABLE windows (
        budget TEXT NOT NULL,
        subject TEXT NOT NULL,
        window_start_ms BIGINT NOT NULL,
        settled_nanos BIGINT NOT NULL DEFAULT 0,
        leased_nanos BIGINT NOT NULL DEFAULT 0,
        updated_ms BIGINT NOT NULL DEFAULT 0,
        PRIMARY KEY (budget, subject, window_start_ms)
    );
    CREATE TABLE leases (
        gateway TEXT NOT NULL,
        budget TEXT NOT NULL,
        subject TEXT NOT NULL,
        window_start_ms BIGINT NOT NULL,
        amount_nanos BIGINT NOT NULL,
        booked_nanos BIGINT NOT NULL DEFAULT 0,
        PRIMARY KEY (gateway, budget, subject, window_start_ms)
    );
    CREATE TABLE limits (
        id BIGSERIAL PRIMARY KEY,
        budget TEXT NOT NULL,
        limit_nanos BIGINT NOT NULL,
        from_ms BIGINT NOT NULL
    );
    CREATE TABLE keys (
        id TEXT PRIMARY KEY,
        hash BYTEA NOT NULL UNIQUE,
        name TEXT NOT NULL,
        owner TEXT,
        team TEXT,
        tags TEXT NOT NULL,
        models TEXT,
        created_ms BIGINT NOT NULL,
        expires_ms BIGINT,
        revoked_ms BIGINT
    );
    CREATE TABLE outcomes (
        seq BIGSERIAL PRIMARY KEY,
        request_id TEXT NOT NULL,
        at_ms BIGINT NOT NULL,
        policy TEXT NOT NULL,
        model TEXT NOT NULL,
        source TEXT NOT NULL,
        good BOOLEAN NOT NULL,
        propensity DOUBLE PRECISION NOT NULL,
        choice TEXT,
        UNIQUE (request_id, model, source)
    );
    CREATE TABLE promotions (
        id BIGSERIAL PRIMARY KEY,
        at_ms BIGINT NOT NULL,
        configured TEXT NOT NULL,
        abilities TEXT NOT NULL,
        trial TEXT NOT NULL
    );
    INSERT INTO meta (name, value) VALUES ('keys_generation', 0);
    ",
    // What tries cost that failed or were thrown away, so that reports can tell which model took it.
    "
    CREATE TABLE attempts (
        receipt BIGINT NOT NULL,
        number BIGINT NOT NULL,
        model TEXT NOT NULL,
        engine TEXT NOT NULL,
        cost_nanos BIGINT NOT NULL,
        PRIMARY KEY (receipt, number)
    );
    INSERT INTO attempts
        SELECT seq, place - 1, attempt ->> 'model', attempt ->> 'engine', ((attempt ->> 'cost')::numeric * 1000000000)::bigint
        FROM receipts, jsonb_array_elements(body::jsonb -> 'attempts') WITH ORDINALITY AS each (attempt, place)
        WHERE body LIKE '%\"attempts\":[%' AND (attempt ->> 'cost')::numeric > 0;
    ",
    // What was asked and answered, where that is kept.
    "
    CREATE TABLE contents (
        request_id TEXT PRIMARY KEY,
        at_ms BIGINT NOT NULL,
        model TEXT NOT NULL,
        status TEXT NOT NULL,
        messages TEXT NOT NULL,
        answer TEXT NOT NULL
    );
    CREATE INDEX contents_at ON contents (at_ms);
    ",
    // Abilities mean something only under the router that they were learned under; of older ones it is not known.
    "ALTER TABLE promotions ADD COLUMN router TEXT;",
];

/// Makes the schema, or applies what it lacks; several gateways may begin at once.
pub(crate) fn migrate(client: &mut Client, location: &str) -> Result<(), LedgerError> {
    let mut step = client.transaction()?;
    // "TOLL" in ASCII: one migrates, the others wait for it.
    step.execute("SELECT pg_advisory_xact_lock(1414483020)", &[])?;
    step.batch_execute(&format!(
        "CREATE SCHEMA IF NOT EXISTS {SCHEMA};
         CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value BIGINT NOT NULL);
         INSERT INTO meta (name, value) VALUES ('schema', 0) ON CONFLICT DO NOTHING;"
    ))?;
    let found: i64 = step.query_one("SELECT value FROM meta WHERE name = 'schema'", &[])?.get(0);
    let known = MIGRATIONS.len() as i64;
    if found > known {
        return Err(LedgerError::Newer { path: location.into(), found, known });
    }
    for sql in MIGRATIONS.iter().skip(usize::try_from(found).unwrap_or(0)) {
        step.batch_execute(sql)?;
    }
    step.execute("UPDATE meta SET value = $1 WHERE name = 'schema'", &[&known])?;
    step.commit()?;
    Ok(())
}
