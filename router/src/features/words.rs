//! Words and their hashes.
//!
//! A word is a run of letters, folded (`letters`); a number becomes its length class; every ideograph and
//! every sign stands alone. Each word gives itself, its pair with the word before, and, when long, its
//! beginning and its end (so that typos and endings keep most of a word). The first and the last words
//! count once more with their place, because tasks are named there. What Korean and Arabic write together
//! is taken apart: two syllables of Hangul and the rest (most stems have two), the article and its noun.

use super::dense::Counts;
use super::letters::{Glyph, is_hangul};
use super::{GRAM_BUCKETS, WORD_BUCKETS};

/// Words at a passage's start, and at its end, that also count with their place.
const OPENING: usize = 4;
const CLOSING: usize = 6;
/// Words with fewer letters than this have no separate beginning and end.
const AFFIXED: u32 = 6;
/// Syllables of a Korean stem.
const STEM: u32 = 2;

const PAIR: u64 = 0x9E37_79B9_7F4A_7C15;
const PREFIX: u64 = 0xC2B2_AE3D_27D4_EB4F;
const SUFFIX: u64 = 0x1656_67B1_9E37_79F9;
const FIRST: u64 = 0x2545_F491_4F6C_DD1D;
const LAST: u64 = 0xD6E8_FEB8_6659_FD93;
const NUMBER: u64 = 0xA076_1D64_78BD_642F;
const SIGN: u64 = 0xE703_7ED1_A0B4_28DB;

/// The words just read, for pairs and for the closing words.
#[derive(Clone, Debug, Default)]
pub(crate) struct Window {
    weight: f32,
    seen: usize,
    last: [u64; CLOSING],
}

impl Window {
    /// Starts a passage.
    pub(crate) fn begin(&mut self, weight: f32) {
        *self = Window { weight, ..Window::default() };
    }

    /// Ends a passage: its closing words count with their place.
    pub(crate) fn finish(&mut self, ids: &mut Vec<i32>, weights: &mut Vec<f32>) {
        for back in 0..CLOSING.min(self.seen) {
            let word = self.last[(self.seen - 1 - back) % CLOSING];
            push(mix(word ^ LAST), self.weight, ids, weights);
        }
    }

    fn word(&mut self, hash: u64, ids: &mut Vec<i32>, weights: &mut Vec<f32>) {
        ids.push(row(mix(hash), WORD_BUCKETS));
        weights.push(self.weight);
        if self.seen > 0 {
            let before = self.last[(self.seen - 1) % CLOSING];
            push(mix(before.rotate_left(17) ^ hash ^ PAIR), self.weight, ids, weights);
        }
        if self.seen < OPENING {
            push(mix(hash ^ FIRST), self.weight, ids, weights);
        }
        self.last[self.seen % CLOSING] = hash;
        self.seen += 1;
    }
}

/// Adds an n-gram that is not a whole word.
fn push(hash: u64, weight: f32, ids: &mut Vec<i32>, weights: &mut Vec<f32>) {
    ids.push(row(hash, GRAM_BUCKETS) + WORD_BUCKETS as i32);
    weights.push(weight);
}

/// A place among so many rows.
fn row(hash: u64, rows: usize) -> i32 {
    (hash as usize & (rows - 1)) as i32
}

/// A finaliser: spreads the input over all bits (the constants are murmur3's).
fn mix(mut hash: u64) -> u64 {
    hash = (hash ^ (hash >> 33)).wrapping_mul(0xFF51_AFD7_ED55_8CCD);
    hash = (hash ^ (hash >> 33)).wrapping_mul(0xC4CE_B9FE_1A85_EC53);
    hash ^ (hash >> 33)
}

/// FNV-1a, a character at a time.
#[derive(Clone, Copy)]
struct Hash(u64);

impl Hash {
    const NEW: Hash = Hash(0xCBF2_9CE4_8422_2325);

    fn add(&mut self, c: char) {
        self.0 = (self.0 ^ u64::from(c as u32)).wrapping_mul(0x0000_0100_0000_01B3);
    }
}

/// The word being read.
struct Word {
    all: Hash,
    prefix: Hash,
    letters: u32,
    /// The last three letters, newest last.
    end: [char; 3],
    digits: u32,
    /// What follows a stem, to the end of what is written together.
    rest: bool,
}

impl Word {
    const NEW: Word =
        Word { all: Hash::NEW, prefix: Hash::NEW, letters: 0, end: ['\0'; 3], digits: 0, rest: false };

    fn letter(&mut self, c: char) {
        self.all.add(c);
        self.letters += 1;
        if self.letters <= 4 {
            self.prefix = self.all;
        }
        self.end = [self.end[1], self.end[2], c];
        if self.letters == 2 && self.end[1..] == ['ا', 'ل'] {
            *self = Word::NEW;
        }
    }

    /// Whether `next`, though no gap is before it, begins another word.
    fn ends_before(&self, next: char) -> bool {
        let (hangul, syllable) = (is_hangul(self.end[2]), is_hangul(next));
        self.digits > 0
            || self.letters > 0 && (hangul != syllable || syllable && !self.rest && self.letters == STEM)
    }

    fn end(
        &mut self,
        window: &mut Window,
        counts: Option<&mut Counts>,
        ids: &mut Vec<i32>,
        weights: &mut Vec<f32>,
    ) {
        if self.digits > 0 {
            window.word(NUMBER.wrapping_add(u64::from(self.digits.min(5))), ids, weights);
        } else if self.letters > 0 {
            if self.letters >= AFFIXED {
                push(mix(self.prefix.0 ^ PREFIX), window.weight, ids, weights);
                let mut suffix = Hash::NEW;
                self.end.into_iter().for_each(|c| suffix.add(c));
                push(mix(suffix.0 ^ SUFFIX), window.weight, ids, weights);
            }
            window.word(self.all.0, ids, weights);
        } else {
            return;
        }
        if let Some(counts) = counts {
            counts.word(self.letters, self.digits);
        }
        *self = Word::NEW;
    }
}

/// Reads `text` into n-grams, and into `counts` where the passage is counted.
pub(crate) fn scan(
    text: &str,
    mut counts: Option<&mut Counts>,
    window: &mut Window,
    ids: &mut Vec<i32>,
    weights: &mut Vec<f32>,
) {
    let mut word = Word::NEW;
    for c in text.chars() {
        if let Some(counts) = counts.as_deref_mut() {
            counts.char(c);
        }
        match Glyph::of(c) {
            Glyph::Mark => {}
            Glyph::Letter(letter) => {
                if word.ends_before(letter) {
                    let rest = is_hangul(word.end[2]) && is_hangul(letter);
                    word.end(window, counts.as_deref_mut(), ids, weights);
                    word.rest = rest;
                }
                word.letter(letter);
            }
            Glyph::Digit => {
                if word.letters > 0 {
                    word.end(window, counts.as_deref_mut(), ids, weights);
                }
                word.digits += 1;
            }
            Glyph::Gap => word.end(window, counts.as_deref_mut(), ids, weights),
            Glyph::Sign(c) => {
                word.end(window, counts.as_deref_mut(), ids, weights);
                window.word(sign(c), ids, weights);
            }
            Glyph::Ideograph(c) => {
                word.end(window, counts.as_deref_mut(), ids, weights);
                window.word(sign(c), ids, weights);
                if let Some(counts) = counts.as_deref_mut() {
                    counts.word(1, 0);
                }
            }
        }
    }
    word.end(window, counts, ids, weights);
}

/// The hash of a character that stands alone.
fn sign(c: char) -> u64 {
    SIGN.wrapping_add(u64::from(c as u32).wrapping_mul(PAIR))
}
