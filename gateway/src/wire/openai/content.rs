//! A message's `content`: nothing, a text, or parts of which some may not be text.
//!
//! Borrowed wherever the JSON needs no unescaping; several text parts are joined by line breaks for the
//! classifier, while the body that goes upstream is never touched.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, SeqAccess, Visitor};

/// Text of one message and how many parts are something else.
#[derive(Debug, Default)]
pub(super) struct Content<'a> {
    pub(super) text: Cow<'a, str>,
    pub(super) others: u64,
}

#[derive(Deserialize)]
#[serde(expecting = "a part, an object with a `type`")]
struct Part<'a> {
    #[serde(borrow, rename = "type")]
    kind: Cow<'a, str>,
    #[serde(borrow, default)]
    text: Cow<'a, str>,
}

impl<'de: 'a, 'a> Deserialize<'de> for Content<'a> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Content<'a>, D::Error> {
        from.deserialize_any(ContentVisitor)
    }
}

struct ContentVisitor;

impl<'de> Visitor<'de> for ContentVisitor {
    type Value = Content<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string, null, or an array of parts")
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Content<'de>, E> {
        Ok(Content { text: Cow::Borrowed(text), others: 0 })
    }

    fn visit_str<E>(self, text: &str) -> Result<Content<'de>, E> {
        Ok(Content { text: Cow::Owned(text.to_owned()), others: 0 })
    }

    fn visit_string<E>(self, text: String) -> Result<Content<'de>, E> {
        Ok(Content { text: Cow::Owned(text), others: 0 })
    }

    fn visit_unit<E>(self) -> Result<Content<'de>, E> {
        Ok(Content::default())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut parts: A) -> Result<Content<'de>, A::Error> {
        let mut content = Content::default();
        while let Some(part) = parts.next_element::<Part<'de>>()? {
            if !matches!(part.kind.as_ref(), "text" | "input_text" | "output_text" | "refusal") {
                content.others += 1;
            } else if content.text.is_empty() {
                content.text = part.text;
            } else {
                let text = content.text.to_mut();
                text.push('\n');
                text.push_str(&part.text);
            }
        }
        Ok(content)
    }
}
