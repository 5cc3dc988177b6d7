//! Which requests have a receipt, so that none gets two, and a receipt is found by its request.
//!
//! An index of the receipts by request would be a page of the log more with each commit, so a table is written by stretches instead:
//! invariant, it has each receipt up to the last stretch's end and none after it. Of those after it the writer knows
//! ([`super::stretch::Stretch::has`]), and who looks for one reads them.

use rusqlite::Connection;

/// The body of the receipt of the request `?1`.
pub(super) const BODY: &str = "SELECT body FROM receipts WHERE seq = (SELECT receipt FROM requests WHERE request_id = ?1) \
    UNION ALL SELECT body FROM receipts WHERE seq > (SELECT coalesce(max(last), 0) FROM stretches) AND request_id = ?1 LIMIT 1";

/// Adds the requests of the receipts after `seq`. In the order of their ids, so that pages are filled one after the other. A request
/// that is there already was booked by another program: `ledger verify` tells of it ([`astray`]), and nobody is kept from starting.
pub(super) fn add(step: &Connection, seq: i64) -> rusqlite::Result<()> {
    step.prepare_cached(
        "INSERT OR IGNORE INTO requests (request_id, receipt) SELECT request_id, seq FROM receipts WHERE seq > ?1 ORDER BY request_id",
    )?
    .execute([seq])?;
    Ok(())
}

/// Whether a request has a receipt that is not of the last stretch.
pub(super) fn has(db: &Connection, request_id: &str) -> rusqlite::Result<bool> {
    db.prepare_cached("SELECT 1 FROM requests WHERE request_id = ?1")?.exists([request_id])
}

/// The greatest of their ids, empty where there is none.
pub(super) fn greatest(db: &Connection) -> rusqlite::Result<String> {
    db.query_row("SELECT coalesce(max(request_id), '') FROM requests", [], |row| row.get(0))
}

/// A pruned receipt's request is forgotten.
pub(super) fn forget(step: &Connection, seq: i64, request_id: &str) -> rusqlite::Result<()> {
    step.prepare_cached(
        "UPDATE requests SET request_id = 'pruned-' || receipt WHERE request_id = ?1 AND receipt = ?2",
    )?
    .execute((request_id, seq))?;
    Ok(())
}

/// The first receipt whose request has another one, or that is not found by its request.
pub(super) fn astray(db: &Connection) -> rusqlite::Result<Option<i64>> {
    db.query_row(
        "WITH ended (seq) AS (SELECT coalesce(max(last), 0) FROM stretches) \
         SELECT min(astray) FROM ( \
             SELECT receipts.seq AS astray FROM receipts, ended LEFT JOIN requests USING (request_id) \
                 WHERE receipt IS NOT iif(receipts.seq <= ended.seq, receipts.seq, NULL) \
             UNION ALL SELECT max(receipts.seq) FROM receipts, ended WHERE receipts.seq > ended.seq \
                 GROUP BY request_id HAVING count(*) > 1 \
             UNION ALL SELECT receipt FROM requests WHERE receipt NOT IN (SELECT seq FROM receipts))",
        [],
        |row| row.get(0),
    )
}

#[cfg(test)]
mod tests;
