//! Server-sent events as a client reads them: bytes in any split, whole events out.
//!
//! Only what chat streams use: `event:` and `data:` lines, comments, blank line as terminator.
//! The raw bytes are kept too, for tests that compare streams byte for byte.

use serde_json::Value;

/// One event of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// The `event:` line, empty when there was none.
    pub name: String,
    /// The `data:` lines, joined by line feeds.
    pub data: String,
}

impl Event {
    /// The data as JSON; fails the test when it is none.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.data).expect("the data of this event is JSON")
    }

    /// Whether this is the `[DONE]` that ends a chat stream.
    pub fn is_done(&self) -> bool {
        self.data == "[DONE]"
    }
}

/// Splits a growing byte stream into events.
#[derive(Debug, Default)]
pub struct Parser {
    buffer: Vec<u8>,
}

impl Parser {
    /// Takes the next bytes and returns the events that are now whole.
    pub fn push(&mut self, bytes: &[u8]) -> Vec<Event> {
        self.buffer.extend_from_slice(bytes);
        let mut events = Vec::new();
        while let Some((end, skip)) = terminator(&self.buffer) {
            let block: Vec<u8> = self.buffer.drain(..end + skip).collect();
            events.extend(event(&String::from_utf8_lossy(&block[..end])));
        }
        events
    }

    /// What is left after the last whole event: empty for a stream that ended properly.
    pub fn rest(&self) -> &[u8] {
        &self.buffer
    }
}

fn terminator(buffer: &[u8]) -> Option<(usize, usize)> {
    let at = |needle: &[u8]| {
        buffer.windows(needle.len()).position(|window| window == needle).map(|start| (start, needle.len()))
    };
    [at(b"\n\n"), at(b"\r\n\r\n")].into_iter().flatten().min()
}

fn event(block: &str) -> Option<Event> {
    let mut name = String::new();
    let mut data: Option<String> = None;
    for line in block.lines() {
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => name = value.to_owned(),
            "data" => match &mut data {
                Some(data) => {
                    data.push('\n');
                    data.push_str(value);
                }
                None => data = Some(value.to_owned()),
            },
            _ => {}
        }
    }
    data.map(|data| Event { name, data })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_survive_any_split() {
        let bytes = b": hello\n\nevent: error\r\ndata: {\"a\":1}\r\n\r\ndata: x\ndata: y\n\ndata: [DONE]\n\n";
        for cut in 0..bytes.len() {
            let mut parser = Parser::default();
            let mut events = parser.push(&bytes[..cut]);
            events.extend(parser.push(&bytes[cut..]));
            assert_eq!(events.len(), 3, "cut at {cut}");
            assert_eq!(events[0], Event { name: "error".into(), data: "{\"a\":1}".into() });
            assert_eq!(events[1].data, "x\ny");
            assert!(events[2].is_done());
            assert!(parser.rest().is_empty());
        }
    }
}
