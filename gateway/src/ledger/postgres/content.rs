//! What was asked and answered, where it is kept.

use postgres::Transaction;

use super::{ServerReader, connect, migrate};
use crate::ledger::batch::signed;
use crate::ledger::content::Each;
use crate::ledger::{Content, LedgerError, Location, ReceiptStatus, Wanted};

pub(super) fn write(step: &mut Transaction<'_>, content: &Content) -> Result<(), LedgerError> {
    step.execute(
        "INSERT INTO contents (request_id, at_ms, model, status, messages, answer) VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING",
        &[
            &content.request_id,
            &signed(content.at_ms),
            &content.model,
            &content.status.as_str(),
            // A text here may hold any character but this one.
            &content.messages.replace('\0', "\u{fffd}"),
            &content.answer.replace('\0', "\u{fffd}"),
        ],
    )?;
    Ok(())
}

impl ServerReader {
    pub(crate) fn each_content(&self, wanted: &Wanted, each: Each<'_>) -> Result<(), LedgerError> {
        let since = signed(wanted.since_ms.unwrap_or(0));
        let status = wanted.status.map(ReceiptStatus::as_str);
        let sql = "SELECT messages, answer FROM contents WHERE at_ms >= $1 AND ($2::text IS NULL OR status = $2) \
                   AND ($3::text IS NULL OR model = $3) ORDER BY at_ms, request_id";
        self.stream(sql, vec![&since, &status, &wanted.model], |row| each(row.get(0), row.get(1)))
    }
}

/// Deletes those from before a moment; how many.
pub(crate) fn forget_contents(url: &str, before_ms: u64) -> Result<u64, LedgerError> {
    let mut client = connect(url)?;
    migrate(&mut client, &Location::Server(url.to_owned()).to_string())?;
    Ok(client.execute("DELETE FROM contents WHERE at_ms < $1", &[&signed(before_ms)])?)
}
