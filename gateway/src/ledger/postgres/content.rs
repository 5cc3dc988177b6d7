//! What was asked and answered, where it is kept.

use postgres::Transaction;

use super::{ServerReader, connect, migrate};
use crate::ledger::batch::signed;
use crate::ledger::content::Each;
use crate::ledger::{Content, LedgerError, Location, ReceiptStatus, Wanted};

/// Writes them all in one statement: the chain is locked meanwhile.
pub(super) fn write(step: &mut Transaction<'_>, contents: &[&Content]) -> Result<(), LedgerError> {
    if contents.is_empty() {
        return Ok(());
    }
    let texts =
        |text: fn(&Content) -> &str| contents.iter().map(|content| text(content)).collect::<Vec<&str>>();
    let times: Vec<i64> = contents.iter().map(|content| signed(content.at_ms)).collect();
    // A text here may hold any character but this one.
    let clean = |text: &str| text.replace('\0', "\u{fffd}");
    let answers: Vec<String> = contents.iter().map(|content| clean(&content.answer)).collect();
    step.execute(
        "INSERT INTO contents (request_id, at_ms, model, status, messages, answer) \
         SELECT * FROM unnest($1::text[], $2::bigint[], $3::text[], $4::text[], $5::text[], $6::text[]) ON CONFLICT DO NOTHING",
        &[
            &texts(|content| &content.request_id),
            &times,
            &texts(|content| &content.model),
            &texts(|content| content.status.as_str()),
            &texts(|content| &content.messages),
            &answers,
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
