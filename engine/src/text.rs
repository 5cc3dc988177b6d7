//! Turns token bytes into text that may be sent: whole characters only, and never any part of a stop string.
//!
//! A token may hold part of a character, and a stop string may begin in one token and end in a later one. So bytes
//! wait until their character is whole, and text waits while it could still become a stop string.

/// What became certain by one more token.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Progress {
    /// Text to send; may be empty.
    pub(crate) text: String,
    /// Whether a stop string was met: `text` ends before it, and nothing follows.
    pub(crate) stopped: bool,
}

/// The text of one answer while it is being written.
#[derive(Debug)]
pub(crate) struct AnswerText {
    /// Bytes of a character that is not whole yet: three at most.
    partial: Vec<u8>,
    /// Text that could be the beginning of a stop string.
    held: String,
    stops: Vec<String>,
}

impl AnswerText {
    /// An empty answer that ends at any of `stops`; empty stop strings are ignored.
    pub(crate) fn new(mut stops: Vec<String>) -> Self {
        stops.retain(|stop| !stop.is_empty());
        Self { partial: Vec::new(), held: String::new(), stops }
    }

    /// Takes a token's bytes.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> Progress {
        self.partial.extend_from_slice(bytes);
        self.decode();
        let found = self.stops.iter().filter_map(|stop| self.held.find(stop.as_str())).min();
        if let Some(at) = found {
            self.held.truncate(at);
            self.partial.clear();
            return Progress { text: std::mem::take(&mut self.held), stopped: true };
        }
        let kept = self.stops.iter().map(|stop| overlap(&self.held, stop)).max().unwrap_or(0);
        let rest = self.held.split_off(self.held.len() - kept);
        Progress { text: std::mem::replace(&mut self.held, rest), stopped: false }
    }

    /// Ends the answer without a stop string: what was held is certain now. A character that never became whole is
    /// shown as U+FFFD.
    pub(crate) fn finish(mut self) -> String {
        if !self.partial.is_empty() {
            self.held.push(char::REPLACEMENT_CHARACTER);
        }
        self.held
    }

    /// Moves whole characters from `partial` to `held`; bytes that can never become one turn into U+FFFD.
    fn decode(&mut self) {
        let mut rest = self.partial.as_slice();
        loop {
            match std::str::from_utf8(rest) {
                Ok(text) => {
                    self.held.push_str(text);
                    rest = &[];
                    break;
                }
                Err(error) => {
                    let (valid, after) = rest.split_at(error.valid_up_to());
                    self.held.push_str(&String::from_utf8_lossy(valid));
                    let Some(broken) = error.error_len() else {
                        rest = after;
                        break;
                    };
                    self.held.push(char::REPLACEMENT_CHARACTER);
                    rest = after.get(broken..).unwrap_or_default();
                }
            }
        }
        self.partial = rest.to_vec();
    }
}

/// The length of the longest end of `text` with which `stop` begins.
fn overlap(text: &str, stop: &str) -> usize {
    let longest = (stop.len() - 1).min(text.len());
    let start = text.len() - longest;
    (start..text.len())
        .filter(|&at| text.is_char_boundary(at))
        .find(|&at| stop.as_bytes().starts_with(&text.as_bytes()[at..]))
        .map_or(0, |at| text.len() - at)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Feeds `pieces` and returns all that was sent, and whether a stop string was met.
    fn send(stops: &[&str], pieces: &[&[u8]]) -> (Vec<String>, bool) {
        let mut answer = AnswerText::new(stops.iter().map(|s| (*s).to_owned()).collect());
        let mut sent = Vec::new();
        for piece in pieces {
            let progress = answer.push(piece);
            sent.push(progress.text);
            if progress.stopped {
                return (sent, true);
            }
        }
        sent.push(answer.finish());
        (sent, false)
    }

    #[test]
    fn a_character_split_over_tokens_is_sent_whole() {
        let euro = "€".as_bytes();
        let (sent, _) = send(&[], &[b"a", &euro[..1], &euro[1..2], &euro[2..], b"b"]);
        assert_eq!(sent, ["a", "", "", "€", "b", ""]);
    }

    #[test]
    fn bytes_that_are_no_text_become_replacement_characters() {
        let (sent, _) = send(&[], &[b"a\xffb", b"\xe2\x82"]);
        assert_eq!(sent.concat(), "a\u{fffd}b\u{fffd}");
    }

    #[test]
    fn a_stop_string_over_several_tokens_is_never_shown() {
        let (sent, stopped) = send(&["\n\nUser:"], &[b"Hi\n", b"\n", b"Us", b"er", b": no"]);
        assert!(stopped);
        assert_eq!(sent, ["Hi", "", "", "", ""]);
    }

    #[test]
    fn what_only_looked_like_a_stop_string_is_sent_after_all() {
        let (sent, stopped) = send(&["END"], &[b"an E", b"N", b"NEXT E"]);
        assert!(!stopped);
        assert_eq!(sent, ["an ", "", "ENNEXT ", "E"]);
    }

    #[test]
    fn the_earliest_of_several_stop_strings_wins() {
        let (sent, stopped) = send(&["three", "two", ""], &[b"one two three"]);
        assert!(stopped);
        assert_eq!(sent, ["one "]);
    }

    #[test]
    fn stop_strings_of_many_byte_characters_work() {
        let stop = "終わり";
        let text = "はい終わり。";
        for split in 1..text.len() {
            let (sent, stopped) = send(&[stop], &[&text.as_bytes()[..split], &text.as_bytes()[split..]]);
            assert!(stopped, "split at {split}");
            assert_eq!(sent.concat(), "はい", "split at {split}");
        }
    }

    #[test]
    fn however_the_text_is_cut_the_same_is_sent() {
        let text = "aab aabaaac é aabaa".as_bytes();
        let stops = ["aabaaad", "é aabab"];
        for size in 1..=text.len() {
            let pieces: Vec<&[u8]> = text.chunks(size).collect();
            let (sent, stopped) = send(&stops, &pieces);
            assert!(!stopped);
            assert_eq!(sent.concat().as_bytes(), text, "pieces of {size}");
        }
    }
}
