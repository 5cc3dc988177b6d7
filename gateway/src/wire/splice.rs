//! Edits of a JSON text at byte offsets, leaving every other byte as it was.
//!
//! Offsets come from slices borrowed out of the text itself (`serde_json::value::RawValue`), so an edit can
//! neither miss nor re-serialise anything. Edits must not overlap.

use std::ops::Range;

use bytes::Bytes;

/// Replacements to make in one text.
#[derive(Debug, Default)]
pub struct Edits(Vec<(Range<usize>, String)>);

impl Edits {
    /// Replaces the bytes in `range` by `text`.
    pub fn replace(&mut self, range: Range<usize>, text: impl Into<String>) {
        self.0.push((range, text.into()));
    }

    /// Puts `text` in at `offset`.
    pub fn insert(&mut self, offset: usize, text: impl Into<String>) {
        self.replace(offset..offset, text);
    }

    /// The text with all edits made; the text itself, uncopied, if there are none.
    #[must_use]
    pub fn apply(mut self, text: &Bytes) -> Bytes {
        if self.0.is_empty() {
            return text.clone();
        }
        self.0.sort_by_key(|(range, _)| range.start);
        let added: usize = self.0.iter().map(|(_, new)| new.len()).sum();
        let mut edited = Vec::with_capacity(text.len() + added);
        let mut from = 0;
        for (range, new) in &self.0 {
            edited.extend_from_slice(&text[from..range.start]);
            edited.extend_from_slice(new.as_bytes());
            from = range.end;
        }
        edited.extend_from_slice(&text[from..]);
        Bytes::from(edited)
    }
}

/// Where `part`, a slice borrowed from `whole`, lies in it.
#[must_use]
pub fn range_in(whole: &str, part: &str) -> Range<usize> {
    let start = (part.as_ptr() as usize).saturating_sub(whole.as_ptr() as usize);
    start..start + part.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_other_byte_stays() {
        let text = Bytes::from_static(b"{\"a\": 1 ,\"b\":  2}");
        let mut edits = Edits::default();
        edits.insert(1, "\"c\":3,");
        edits.replace(6..7, "10");
        assert_eq!(edits.apply(&text), "{\"c\":3,\"a\": 10 ,\"b\":  2}");
    }

    #[test]
    fn no_edit_no_copy() {
        let text = Bytes::from_static(b"{}");
        assert_eq!(Edits::default().apply(&text).as_ptr(), text.as_ptr());
    }

    #[test]
    fn ranges_are_found_by_address() {
        let whole = "abcdef".to_owned();
        assert_eq!(range_in(&whole, &whole[2..4]), 2..4);
    }
}
