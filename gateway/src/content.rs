//! Keeping what was asked and answered, where the configuration says so (`[content]`): to teach a small model what it could not do.
//!
//! Off by default. A [`Transcript`] listens to one answer as it passes and keeps it only if it is whole, is plain text, and came from
//! the traffic that is wanted; it lies beside the receipts, is never part of them, and goes when it is old.

use bytes::{Bytes, BytesMut};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::ledger::{Content, Receipt, ReceiptStatus};
use crate::said;

/// Longest request or answer that is kept, bytes.
const LONGEST: usize = 1 << 20;

/// Which traffic's texts are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Keep {
    /// None.
    #[default]
    Nothing,
    /// Answers for which a better model was asked after another was unsure.
    Escalated,
    /// Every answer.
    All,
}

/// `[content]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ContentLog {
    /// Which traffic's texts are kept.
    pub keep: Keep,
    /// For how long, days.
    pub days: u64,
}

impl Default for ContentLog {
    fn default() -> ContentLog {
        ContentLog { keep: Keep::Nothing, days: 30 }
    }
}

impl Keep {
    fn wants(self, status: ReceiptStatus) -> bool {
        match self {
            Keep::Nothing => false,
            Keep::Escalated => status == ReceiptStatus::Escalated,
            Keep::All => {
                matches!(status, ReceiptStatus::Ok | ReceiptStatus::Fallback | ReceiptStatus::Escalated)
            }
        }
    }
}

/// One answer being listened to.
#[derive(Debug)]
pub struct Transcript {
    keep: Keep,
    request: Bytes,
    heard: BytesMut,
    streamed: bool,
}

#[derive(Deserialize)]
struct Request<'a> {
    #[serde(borrow)]
    messages: &'a RawValue,
}

impl Transcript {
    /// Listens to the answer of `request`, if anything of this kind is kept.
    #[must_use]
    pub fn begin(keep: Keep, request: &Bytes, streamed: bool) -> Option<Box<Transcript>> {
        let wanted = keep != Keep::Nothing && request.len() <= LONGEST;
        let transcript = || Transcript { keep, request: request.clone(), heard: BytesMut::new(), streamed };
        wanted.then(|| Box::new(transcript()))
    }

    /// Takes a piece of the answer, as the engine sent it.
    pub fn hear(&mut self, piece: &[u8]) {
        if self.heard.len() <= LONGEST {
            self.heard.extend_from_slice(piece);
        }
    }

    /// What is kept of the request that ended so; `None` for most.
    #[must_use]
    pub fn end(self, receipt: &Receipt) -> Option<Box<Content>> {
        if !self.keep.wants(receipt.status) || self.heard.len() > LONGEST {
            return None;
        }
        let answer = if self.streamed { said::streamed(&self.heard) } else { said::whole(&self.heard) }?;
        let request: Request<'_> = serde_json::from_slice(&self.request).ok()?;
        Some(Box::new(Content {
            request_id: receipt.request_id.clone(),
            at_ms: receipt.at_ms,
            model: receipt.model.clone(),
            status: receipt.status,
            messages: request.messages.get().to_owned(),
            answer,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_wanted_is_kept() {
        let request =
            Bytes::from_static(br#"{"messages":[{"role":"user","content":"Capital?"}],"model":"auto"}"#);
        let end = |keep, status| {
            let mut transcript = Transcript::begin(keep, &request, false)?;
            transcript.hear(br#"{"choices":[{"finish_reason":"stop","message":{"content":"Paris."}}]}"#);
            transcript.end(&Receipt { status, ..Receipt::default() })
        };
        assert!(end(Keep::Nothing, ReceiptStatus::Escalated).is_none());
        assert!(end(Keep::Escalated, ReceiptStatus::Ok).is_none());
        assert!(end(Keep::All, ReceiptStatus::Error).is_none());
        let kept = end(Keep::Escalated, ReceiptStatus::Escalated).unwrap();
        assert_eq!((kept.answer.as_str(), kept.messages.contains("Capital?")), ("Paris.", true));
        assert!(end(Keep::All, ReceiptStatus::Fallback).is_some());
    }

    #[test]
    fn what_is_too_long_is_not_kept() {
        let long = Bytes::from(vec![b' '; LONGEST + 1]);
        assert!(Transcript::begin(Keep::All, &long, false).is_none());
        let mut transcript =
            Transcript::begin(Keep::All, &Bytes::from_static(b"{\"messages\":[]}"), true).unwrap();
        (0..3).for_each(|_| transcript.hear(&long));
        assert!(transcript.heard.len() <= 2 * (LONGEST + 1), "it stops listening");
        assert!(transcript.end(&Receipt::default()).is_none());
    }
}
