//! Server-sent events, cut into frames without copying more than a frame's torn end.
//!
//! A frame ends at an empty line (`\n\n` or `\r\n\r\n`). [`Frames`] gives the same frames however the bytes
//! were chunked, and no byte is lost: what no empty line ends is handed out by [`Frames::rest`]. Streams whose
//! lines end in a lone carriage return, which no engine sends, come out as one such rest.

mod chunk;
mod keys;
mod meter;

use std::borrow::Cow;

use bytes::{Buf, Bytes, BytesMut};
use memchr::memchr;

pub(crate) use meter::BYTES_PER_TOKEN;
pub use meter::{Meter, Priced};

/// Longest frame kept in memory, bytes; a longer one is an upstream gone wrong.
const LONGEST: usize = 16 << 20;

/// An incremental cutter of frames.
#[derive(Debug, Default)]
pub struct Frames {
    torn: BytesMut,
    /// Bytes of `torn` known to hold no end of a frame.
    searched: usize,
}

/// A frame longer than the gateway keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooLong;

impl Frames {
    /// Takes the next bytes and hands out every frame they complete, its empty line included.
    ///
    /// # Errors
    /// [`TooLong`] when a frame grows past 16 MiB.
    pub fn push(&mut self, chunk: &[u8], mut each: impl FnMut(&[u8])) -> Result<(), TooLong> {
        if !self.torn.is_empty() {
            self.torn.extend_from_slice(chunk);
            while let Some(end) = self.find_in_torn() {
                each(&self.torn[..end]);
                self.torn.advance(end);
            }
        } else {
            let mut rest = chunk;
            while let Some(end) = frame_end(rest, 0) {
                let (frame, after) = rest.split_at(end);
                each(frame);
                rest = after;
            }
            self.torn.extend_from_slice(rest);
            self.searched = 0;
        }
        if self.torn.len() > LONGEST { Err(TooLong) } else { Ok(()) }
    }

    fn find_in_torn(&mut self) -> Option<usize> {
        let end = frame_end(&self.torn, self.searched);
        // An empty line may be torn itself: at most "\n\r" of it has been seen.
        self.searched = if end.is_some() { 0 } else { self.torn.len().saturating_sub(2) };
        end
    }

    /// Whether there is a frame with data that no empty line has ended yet.
    #[must_use]
    pub fn is_torn(&self) -> bool {
        data(&self.torn).is_some()
    }

    /// What came after the last frame, when the stream has ended.
    #[must_use]
    pub fn rest(&mut self) -> Bytes {
        self.searched = 0;
        self.torn.split().freeze()
    }
}

/// Where the first frame ends, looking from `from` on.
fn frame_end(bytes: &[u8], mut from: usize) -> Option<usize> {
    while let Some(found) = memchr(b'\n', &bytes[from..]) {
        let next = from + found + 1;
        match bytes[next..] {
            [b'\n', ..] => return Some(next + 1),
            [b'\r', b'\n', ..] => return Some(next + 2),
            _ => from = next,
        }
    }
    None
}

/// The data of a frame; `None` if it has none (a comment, a keep-alive).
#[must_use]
pub fn data(frame: &[u8]) -> Option<Cow<'_, [u8]>> {
    let mut lines = frame.split(|byte| *byte == b'\n').filter_map(|line| {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let value = line.strip_prefix(b"data:")?;
        Some(value.strip_prefix(b" ").unwrap_or(value))
    });
    let first = lines.next()?;
    let Some(second) = lines.next() else { return Some(Cow::Borrowed(first)) };
    let mut joined = [first, second].join(&b'\n');
    for line in lines {
        joined.push(b'\n');
        joined.extend_from_slice(line);
    }
    Some(Cow::Owned(joined))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn cut(chunks: &[&[u8]]) -> (Vec<Vec<u8>>, Vec<u8>) {
        let mut frames = Frames::default();
        let mut whole = Vec::new();
        for chunk in chunks {
            frames.push(chunk, |frame| whole.push(frame.to_vec())).unwrap();
        }
        (whole, frames.rest().to_vec())
    }

    #[test]
    fn both_line_ends_work() {
        let (frames, rest) = cut(&[b"data: a\n\ndata: b\r\n\r\n: ping\n\ndata: c"]);
        assert_eq!(frames, [&b"data: a\n\n"[..], b"data: b\r\n\r\n", b": ping\n\n"]);
        assert_eq!(rest, b"data: c");
        let seen: Vec<_> = frames.iter().map(|frame| data(frame).map(Cow::into_owned)).collect();
        assert_eq!(seen, [Some(b"a".to_vec()), Some(b"b".to_vec()), None]);
    }

    #[test]
    fn data_over_several_lines_is_joined() {
        assert_eq!(data(b"event: x\ndata: {\ndata:\"a\":1}\n\n").unwrap().as_ref(), b"{\n\"a\":1}");
    }

    #[test]
    fn endless_frames_are_refused() {
        let mut frames = Frames::default();
        let chunk = vec![b'x'; 1 << 20];
        let outcome = (0..20).find_map(|_| frames.push(&chunk, |_| ()).err());
        assert_eq!(outcome, Some(TooLong));
    }

    proptest! {
        #[test]
        fn chunking_changes_nothing(
            pieces in proptest::collection::vec(prop_oneof![
                Just("\n".to_owned()), Just("\r\n".to_owned()), Just("\n\n".to_owned()), "[a-z:\r ]{0,9}",
                Just("data: {}".to_owned()),
            ], 0..40),
            cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..20),
        ) {
            let text = pieces.concat().into_bytes();
            let mut at: Vec<usize> = cuts.iter().map(|cut| cut.index(text.len() + 1)).collect();
            at.extend([0, text.len()]);
            at.sort_unstable();
            let chunks: Vec<&[u8]> = at.windows(2).map(|pair| &text[pair[0]..pair[1]]).collect();
            let (frames, rest) = cut(&chunks);
            prop_assert_eq!((&frames, &rest), (&cut(&[&text]).0, &cut(&[&text]).1));
            prop_assert_eq!([frames.concat(), rest].concat(), text);
        }
    }
}
