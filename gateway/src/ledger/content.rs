//! What was asked and answered, where it is kept: beside the receipts, outside of their chain, and exported as conversations to teach
//! another model from.

use std::io::Write;

use rusqlite::{Connection, TransactionBehavior, params};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::batch::signed;
use super::error::LedgerError;
use super::location::Location;
use super::open;
use super::reader::{Database, Reader};
use super::record::ReceiptStatus;

/// A conversation and its answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Content {
    /// The request.
    pub request_id: String,
    /// When it was received, Unix milliseconds.
    pub at_ms: u64,
    /// Model that answered.
    pub model: String,
    /// How it ended.
    pub status: ReceiptStatus,
    /// The request's `messages`, as JSON.
    pub messages: String,
    /// The answer's text.
    pub answer: String,
}

/// Which conversations are exported.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    /// From this moment on, Unix milliseconds.
    pub since_ms: Option<u64>,
    /// Those that ended so; `None` = all that are kept.
    pub status: Option<ReceiptStatus>,
    /// Those that this model answered.
    pub model: Option<String>,
}

/// How many were written, and how many could not be put so.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Exported {
    /// Conversations written.
    pub written: u64,
    /// Left out: with tools, images, or roles that the format does not have.
    pub left_out: u64,
}

/// One turn of a conversation, as ShareGPT has it.
#[derive(Debug, PartialEq, Serialize)]
struct Turn {
    from: &'static str,
    value: String,
}

#[derive(Deserialize)]
struct Message {
    role: String,
    #[serde(default)]
    content: Value,
    #[serde(default)]
    tool_calls: Value,
}

#[derive(Serialize)]
struct Conversation {
    conversations: Vec<Turn>,
}

/// A conversation in ShareGPT's words; `None` if it holds what they have no word for.
fn conversation(messages: &str, answer: &str) -> Option<Conversation> {
    let messages: Vec<Message> = serde_json::from_str(messages).ok()?;
    let mut conversations = messages.iter().map(turn).collect::<Option<Vec<Turn>>>()?;
    conversations.push(Turn { from: "gpt", value: answer.to_owned() });
    Some(Conversation { conversations })
}

fn turn(message: &Message) -> Option<Turn> {
    let from = match message.role.as_str() {
        "system" | "developer" => "system",
        "user" => "human",
        "assistant" if message.tool_calls.is_null() => "gpt",
        _ => return None,
    };
    let value = match &message.content {
        Value::String(text) => text.clone(),
        Value::Array(parts) => {
            let texts = parts.iter().map(|part| part.get("text").and_then(Value::as_str));
            texts.collect::<Option<Vec<_>>>()?.join("\n")
        }
        _ => return None,
    };
    Some(Turn { from, value })
}

pub(super) fn insert(step: &Connection, content: &Content) -> rusqlite::Result<()> {
    step.prepare_cached(
        "INSERT OR REPLACE INTO contents (request_id, at_ms, model, status, messages, answer) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    )?
    .execute(params![
        content.request_id,
        signed(content.at_ms),
        content.model,
        content.status.as_str(),
        content.messages,
        content.answer
    ])?;
    Ok(())
}

impl Reader {
    /// Writes conversations as JSON lines in ShareGPT's form, the oldest first.
    ///
    /// # Errors
    /// [`LedgerError`] if the ledger cannot be read or `out` not written.
    pub fn export_sharegpt(&self, wanted: &Wanted, out: &mut dyn Write) -> Result<Exported, LedgerError> {
        let mut exported = Exported::default();
        let mut write = |messages: &str, answer: &str| match conversation(messages, answer) {
            None => {
                exported.left_out += 1;
                Ok(())
            }
            Some(conversation) => {
                exported.written += 1;
                let line = serde_json::to_string(&conversation)?;
                writeln!(out, "{line}").map_err(|source| self.output(source))
            }
        };
        match self.database() {
            Database::Server(server) => server.each_content(wanted, &mut write)?,
            Database::File(db) => each(db, wanted, &mut write).map_err(|error| self.explained(error))?,
        }
        out.flush().map_err(|source| self.output(source))?;
        Ok(exported)
    }
}

/// Takes a conversation's messages and its answer.
pub(crate) type Each<'e> = &'e mut dyn FnMut(&str, &str) -> Result<(), LedgerError>;

fn each(db: &Connection, wanted: &Wanted, each: Each<'_>) -> Result<(), LedgerError> {
    let mut query = db.prepare(
        "SELECT messages, answer FROM contents WHERE at_ms >= ?1 AND coalesce(status = ?2, true) AND coalesce(model = ?3, true) \
         ORDER BY at_ms, request_id",
    )?;
    let status = wanted.status.map(ReceiptStatus::as_str);
    let mut rows = query.query(params![signed(wanted.since_ms.unwrap_or(0)), status, wanted.model])?;
    while let Some(row) = rows.next()? {
        each(row.get_ref(0)?.as_str().unwrap_or_default(), row.get_ref(1)?.as_str().unwrap_or_default())?;
    }
    Ok(())
}

/// Deletes conversations older than `before_ms`; returns how many.
///
/// # Errors
/// [`LedgerError`] if the ledger cannot be written.
pub fn forget_contents(location: &Location, before_ms: u64) -> Result<u64, LedgerError> {
    let path = match location {
        Location::Server(url) => return super::postgres::forget_contents(url, before_ms),
        Location::File(path) => path,
    };
    let forget = || -> Result<u64, LedgerError> {
        let mut db = open::writable(path)?;
        let step = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let deleted = step.execute("DELETE FROM contents WHERE at_ms < ?1", [signed(before_ms)])?;
        step.commit()?;
        Ok(deleted as u64)
    };
    forget().map_err(|error| error.at(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(messages: &str) -> Option<String> {
        conversation(messages, "Paris.").map(|conversation| serde_json::to_string(&conversation).unwrap())
    }

    #[test]
    fn a_conversation_in_sharegpts_words() {
        let messages = r#"[{"role":"system","content":"Be brief."},{"role":"user","content":[{"type":"text","text":"Capital"},
            {"type":"text","text":"of France?"}]}]"#;
        assert_eq!(
            line(messages).unwrap(),
            r#"{"conversations":[{"from":"system","value":"Be brief."},{"from":"human","value":"Capital\nof France?"},{"from":"gpt","value":"Paris."}]}"#
        );
    }

    #[test]
    fn what_the_format_has_no_word_for_is_left_out() {
        for messages in [
            r#"[{"role":"user","content":[{"type":"image_url","image_url":{"url":"data:"}}]}]"#,
            r#"[{"role":"assistant","content":null,"tool_calls":[{"id":"1"}]},{"role":"tool","content":"5"}]"#,
            r#"[{"role":"wizard","content":"x"}]"#,
            "not JSON",
        ] {
            assert_eq!(line(messages), None, "{messages}");
        }
    }
}
