//! Finding JSON keys and their values in bytes without parsing them.
//!
//! That is sound because a quotation mark inside a JSON string is escaped, so a key's text with its closing mark and
//! colon cannot occur in a value. Nothing here allocates.

use memchr::memmem::Finder;

/// Where the value of a key begins, at its first place.
pub(super) fn value_after(bytes: &[u8], key: &Finder<'_>) -> Option<usize> {
    values_after(bytes, key).next()
}

/// Where the values of a key begin.
pub(super) fn values_after<'b>(bytes: &'b [u8], key: &'b Finder<'_>) -> impl Iterator<Item = usize> + 'b {
    let blank = move |from: usize| {
        let skipped = bytes.get(from..)?.iter().position(|byte| !byte.is_ascii_whitespace())?;
        Some(from + skipped)
    };
    key.find_iter(bytes).filter_map(move |found| {
        let colon = blank(found + key.needle().len()).filter(|at| bytes[*at] == b':')?;
        blank(colon + 1)
    })
}

/// Where the string that opens at `open` ends, its closing mark included.
pub(super) fn string_end(bytes: &[u8], open: usize) -> Option<usize> {
    let mut at = open + 1;
    loop {
        at += memchr::memchr2(b'"', b'\\', bytes.get(at..)?)?;
        if bytes[at] == b'"' {
            return Some(at + 1);
        }
        at += 2;
    }
}

/// Length of all string values of a key: each of several choices and calls has its own, and thoughts stand beside a `null`.
pub(super) fn string_bytes(bytes: &[u8], key: &Finder<'_>) -> u64 {
    let strings = values_after(bytes, key).filter(|at| bytes[*at] == b'"');
    strings.filter_map(|at| u64::try_from(string_end(bytes, at)? - at - 2).ok()).sum()
}
