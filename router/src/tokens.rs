//! Token counts without a tokenizer: a bound that holds, and an estimate that is usually close.
//!
//! Reservations need the bound: byte-level tokenizers (BPE with byte fallback, as every current chat
//! model uses) never make more tokens than bytes, and a chat template adds a handful a message.
//! Decisions need the estimate, because the bound is about four times too high for English.

/// Tokens a chat template may add around one message: role marks, separators, newlines.
pub const TEMPLATE_TOKENS_PER_MESSAGE: u64 = 16;
/// Tokens that a part of a prompt which is no text is held for where a model says nothing else. A picture's depend on its size, which may
/// lie elsewhere, and on the model: most count no more than this.
pub const PART_TOKENS: u64 = 4_096;
/// Tokens a chat template may add once: start of text, default system prompt, the answer's opening.
pub const TEMPLATE_TOKENS: u64 = 64;

/// At most this many prompt tokens: one per byte, and the template's own.
///
/// `bytes` counts everything that reaches the prompt as UTF-8: message texts, names, and the JSON of
/// tools and tool calls. Pictures are not text and are not covered: see [`PART_TOKENS`].
pub fn prompt_tokens_upper(bytes: u64, messages: u64) -> u64 {
    bytes.saturating_add(messages.saturating_mul(TEMPLATE_TOKENS_PER_MESSAGE)).saturating_add(TEMPLATE_TOKENS)
}

/// About this many tokens in `text`: four ASCII letters, two letters of another alphabet, or two
/// thirds of an ideograph make one; digits and signs come nearly one by one.
pub fn text_tokens(text: &str) -> u64 {
    let mut quarters: u64 = 0;
    let mut thirds_wide: u64 = 0;
    for &byte in text.as_bytes() {
        // Lead bytes stand for their characters; continuation bytes count nothing.
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b' ' => quarters += 1,
            b'\n' | b'\t' => quarters += 2,
            0..=0x7F => quarters += 3,
            0xC0..=0xDF => quarters += 2,
            0xE0..=0xFF => thirds_wide += 2,
            0x80..=0xBF => {}
        }
    }
    (quarters / 4 + thirds_wide / 3).max(u64::from(!text.is_empty()))
}

/// About this many prompt tokens for a conversation of these texts.
pub fn prompt_tokens<'a>(texts: impl IntoIterator<Item = &'a str>) -> u64 {
    texts.into_iter().map(|text| text_tokens(text) + 4).sum::<u64>() + 3
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn estimates_are_near_known_counts() {
        // Counts of a 100k-entry byte-level BPE, within a third.
        for (text, tokens) in [
            ("The quick brown fox jumps over the lazy dog.", 10),
            ("def add(a, b):\n    return a + b\n", 14),
            ("今天天气很好，我们去公园散步吧。", 16),
            ("Сегодня хорошая погода, пойдём в парк.", 16),
        ] {
            let estimate = text_tokens(text) as f64;
            assert!((estimate / f64::from(tokens) - 1.0).abs() < 0.4, "{text}: {estimate} for {tokens}");
        }
        assert_eq!(text_tokens(""), 0);
        assert_eq!(text_tokens("a"), 1);
    }

    proptest! {
        #[test]
        fn the_bound_is_above_the_estimate(texts in proptest::collection::vec("\\PC{0,60}", 0..6)) {
            let bytes = texts.iter().map(|text| text.len() as u64).sum();
            let upper = prompt_tokens_upper(bytes, texts.len() as u64);
            prop_assert!(prompt_tokens(texts.iter().map(String::as_str)) <= upper);
            prop_assert!(upper >= bytes);
        }
    }
}
