//! What a character is to a word, in any script, folded so that the ways to type one word give one word.
//!
//! Case, accents, full-width forms, vowel signs of Arabic, the forms of its alef and the nukta are folded away: people
//! leave them out, and the table of meanings has its words without them.

use unicode_normalization::char::decompose_canonical;

/// What a character does to the word being read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Glyph {
    /// Goes on with a word, as this letter.
    Letter(char),
    /// Goes on with a number.
    Digit,
    /// A word by itself, in scripts that put no spaces between words.
    Ideograph(char),
    /// Belongs to the letter before and says nothing.
    Mark,
    /// Ends a word and says nothing: white space, full stops, commas, quotes.
    Gap,
    /// Ends a word and stands for itself.
    Sign(char),
}

impl Glyph {
    pub(crate) fn of(c: char) -> Glyph {
        match c {
            'a'..='z' => Glyph::Letter(c),
            'A'..='Z' => Glyph::Letter(c.to_ascii_lowercase()),
            '0'..='9' => Glyph::Digit,
            '\'' | '.' | ',' | '"' => Glyph::Gap,
            _ if c.is_whitespace() => Glyph::Gap,
            _ if c.is_ascii() => Glyph::Sign(c),
            _ => Glyph::of_wide(c),
        }
    }

    fn of_wide(c: char) -> Glyph {
        match c {
            '’' | '、' | '。' | '،' | '।' => Glyph::Gap,
            '؟' => Glyph::Sign('?'),
            // Full-width forms of ASCII.
            '\u{ff01}'..='\u{ff5e}' => char::from_u32(c as u32 - 0xFEE0).map_or(Glyph::Sign(c), Glyph::of),
            _ if is_mark(c) => Glyph::Mark,
            _ if is_digit(c) => Glyph::Digit,
            _ if is_ideograph(c) => Glyph::Ideograph(c),
            _ if c.is_alphanumeric() || is_indic(c) => Glyph::Letter(folded(c)),
            _ => Glyph::Sign(c),
        }
    }
}

/// The letter as most would type it.
fn folded(c: char) -> char {
    match c {
        'أ' | 'إ' | 'آ' | 'ٱ' => 'ا',
        'ة' => 'ه',
        'ى' | 'ی' => 'ي',
        'ک' => 'ك',
        'ё' | 'Ё' => 'е',
        'ँ' => 'ं',
        '\u{0929}' | '\u{0931}' | '\u{0934}' | '\u{0958}'..='\u{095f}' => without_accent(c),
        '\u{00c0}'..='\u{024f}' | '\u{1e00}'..='\u{1eff}' => without_accent(lower(c)),
        _ => lower(c),
    }
}

fn lower(c: char) -> char {
    c.to_lowercase().next().unwrap_or(c)
}

/// The letter that an accented one begins with.
fn without_accent(c: char) -> char {
    let mut base = None;
    decompose_canonical(c, |part| base = base.or(Some(part)));
    base.unwrap_or(c)
}

/// Accents and nuktas typed on their own, vowel signs and the stretching of Arabic, and joiners that are not seen.
fn is_mark(c: char) -> bool {
    matches!(c, '\u{0300}'..='\u{036f}' | '\u{093c}' | '\u{0640}' | '\u{064b}'..='\u{065f}' | '\u{0670}'
        | '\u{200c}' | '\u{200d}' | '\u{fe0e}' | '\u{fe0f}')
}

/// Digits of Arabic, Persian and Devanagari.
pub(crate) fn is_digit(c: char) -> bool {
    matches!(c, '\u{0660}'..='\u{0669}' | '\u{06f0}'..='\u{06f9}' | '\u{0966}'..='\u{096f}')
}

/// Scripts that put no spaces between words. Katakana has its own: a run of it is a word as a rule.
fn is_ideograph(c: char) -> bool {
    matches!(c, '\u{2e80}'..='\u{2fdf}' | '\u{3005}'..='\u{3007}' | '\u{3041}'..='\u{309f}' | '\u{3400}'..='\u{9fff}'
        | '\u{f900}'..='\u{faff}' | '\u{20000}'..='\u{3ffff}' | '\u{0e01}'..='\u{0e4f}')
}

/// Indic scripts, whose signs for vowels and their absence stand inside words.
fn is_indic(c: char) -> bool {
    matches!(c, '\u{0900}'..='\u{0963}' | '\u{0971}'..='\u{0dff}')
}

/// Whether this is a syllable of Hangul.
pub(crate) fn is_hangul(c: char) -> bool {
    matches!(c, '\u{ac00}'..='\u{d7a3}')
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The words of a text: letters that go on with each other, joined.
    fn words(text: &str) -> Vec<String> {
        let mut words = vec![String::new()];
        for c in text.chars() {
            match Glyph::of(c) {
                Glyph::Letter(letter) => words[0].push(letter),
                Glyph::Mark => {}
                Glyph::Digit => words[0].push('0'),
                _ => words.insert(0, String::new()),
            }
        }
        words.reverse();
        words.retain(|word| !word.is_empty());
        words
    }

    #[test]
    fn the_ways_to_type_a_word_give_one_word() {
        for (typed, plain) in [
            ("ÉCRIS-MOI", "ecris-moi"),
            ("e\u{301}cris", "ecris"),
            ("ＪＳＯＮ", "json"),
            ("ёлка", "елка"),
            ("كَتَبَ", "كتب"),
            ("أكتب", "اكتب"),
            ("١٢", "12"),
            ("१२", "12"),
            ("ज़रूरत", "जरूरत"),
            ("ज\u{93c}रूरत", "जरूरत"),
            ("पाँच", "पांच"),
        ] {
            assert_eq!(words(typed), words(plain), "{typed}");
        }
    }

    #[test]
    fn words_of_other_scripts_stay_whole() {
        assert_eq!(words("सिद्ध करो।"), ["सिद्ध", "करो"]);
        assert_eq!(words("データベース、メール"), ["データベース", "メール"]);
        assert_eq!(Glyph::of('証'), Glyph::Ideograph('証'));
        assert_eq!(Glyph::of('の'), Glyph::Ideograph('の'));
        assert_eq!(Glyph::of('？'), Glyph::Sign('?'));
        assert_eq!(Glyph::of('؟'), Glyph::Sign('?'));
    }
}
