//! From a character of a condition to its byte in the file that quotes it.

/// The byte offset, within a TOML string as written (quotes included), of the character at `index` of
/// its value. Past the end it is the closing quote.
pub(crate) fn offset_in_source(written: &str, index: usize) -> usize {
    let quotes = ["\"\"\"", "'''", "\"", "'"].into_iter().find(|quotes| written.starts_with(quotes));
    let Some(quotes) = quotes else { return 0 };
    let end = written.len() - quotes.len().min(written.len());
    let mut at = quotes.len();
    if quotes.len() == 3 {
        // A newline right after the opening quotes is not part of the value.
        let rest = &written[at..];
        at += if rest.starts_with("\r\n") { 2 } else { usize::from(rest.starts_with('\n')) };
    }
    let escapes = quotes.starts_with('"');
    for _ in 0..index {
        if escapes {
            at += continuation(&written[at..end.max(at)]);
        }
        if at >= end {
            return end;
        }
        at += width(&written[at..], escapes);
    }
    at.min(end)
}

/// Bytes of a backslash that joins lines, with all it swallows; 0 elsewhere.
fn continuation(rest: &str) -> usize {
    let joined = rest.strip_prefix('\\').map(str::trim_start);
    match joined {
        Some(next) if rest[1..rest.len() - next.len()].contains('\n') => rest.len() - next.len(),
        _ => 0,
    }
}

/// Bytes of the next character of the value as written.
fn width(rest: &str, escapes: bool) -> usize {
    let mut chars = rest.chars();
    let first = chars.next().map_or(0, char::len_utf8);
    if !escapes || !rest.starts_with('\\') {
        return first;
    }
    match chars.next() {
        Some('x') => 4,
        Some('u') => 6,
        Some('U') => 10,
        other => 1 + other.map_or(0, char::len_utf8),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(written: &str, index: usize) -> &str {
        &written[offset_in_source(written, index)..]
    }

    #[test]
    fn every_kind_of_quote() {
        assert_eq!(at("'abc'", 1), "bc'");
        assert_eq!(at("\"abc\"", 2), "c\"");
        assert_eq!(at("'''\nabc'''", 0), "abc'''");
        assert_eq!(at("'''a\nbc'''", 2), "bc'''");
        assert_eq!(at("\"\"\"\nabc\"\"\"", 1), "bc\"\"\"");
        assert_eq!(at("'abc'", 99), "'");
    }

    #[test]
    fn escapes_count_as_the_character_they_stand_for() {
        assert_eq!(at(r#""a\"b""#, 2), "b\"");
        assert_eq!(at(r#""\u00e9b""#, 1), "b\"");
        assert_eq!(at(r#""\U000000e9b""#, 1), "b\"");
        assert_eq!(at("'é\"b'", 2), "b'");
        assert_eq!(at("\"\"\"a \\\n   b\"\"\"", 2), "\\\n   b\"\"\"");
        assert_eq!(at("\"\"\"a \\\n   bc\"\"\"", 3), "c\"\"\"");
    }
}
