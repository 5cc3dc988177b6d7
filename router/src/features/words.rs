//! Words and their hashes.
//!
//! A word is a run of letters, lower-cased; a number becomes its length class; every ideograph and
//! every sign stands alone. Each word gives itself, its pair with the word before, and, when long, its
//! beginning and its end (so that typos and endings keep most of a word). The first and the last words
//! count once more with their place, because tasks are named there.

use super::dense::Counts;
use super::{GRAM_BUCKETS, WORD_BUCKETS};

/// Words at a passage's start, and at its end, that also count with their place.
const OPENING: usize = 4;
const CLOSING: usize = 6;
/// Words with fewer letters than this have no separate beginning and end.
const AFFIXED: u32 = 6;

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
}

impl Word {
    const NEW: Word = Word { all: Hash::NEW, prefix: Hash::NEW, letters: 0, end: ['\0'; 3], digits: 0 };

    fn letter(&mut self, c: char) {
        self.all.add(c);
        self.letters += 1;
        if self.letters <= 4 {
            self.prefix = self.all;
        }
        self.end = [self.end[1], self.end[2], c];
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
        if c.is_ascii_digit() {
            if word.letters > 0 && word.digits == 0 {
                word.end(window, counts.as_deref_mut(), ids, weights);
            }
            word.digits += 1;
        } else if is_letter(c) {
            if word.digits > 0 {
                word.end(window, counts.as_deref_mut(), ids, weights);
            }
            fold(c, &mut word);
        } else {
            word.end(window, counts.as_deref_mut(), ids, weights);
            if !c.is_whitespace() && !is_joiner(c) {
                let sign = SIGN.wrapping_add(u64::from(c as u32).wrapping_mul(PAIR));
                window.word(sign, ids, weights);
                if let Some(counts) = counts.as_deref_mut().filter(|_| is_ideograph(c)) {
                    counts.word(1, 0);
                }
            }
        }
    }
    word.end(window, counts, ids, weights);
}

fn fold(c: char, word: &mut Word) {
    if c.is_ascii() {
        word.letter(c.to_ascii_lowercase());
    } else {
        c.to_lowercase().for_each(|lower| word.letter(lower));
    }
}

fn is_letter(c: char) -> bool {
    c.is_ascii_alphabetic() || (!c.is_ascii() && c.is_alphanumeric() && !is_ideograph(c))
}

/// Marks inside words ("don't") and full stops say little on their own.
fn is_joiner(c: char) -> bool {
    matches!(c, '\'' | '’' | '.' | ',' | '"')
}

/// Scripts that put no spaces between words: each character stands for one.
fn is_ideograph(c: char) -> bool {
    matches!(c as u32, 0x2E80..=0x9FFF | 0xF900..=0xFAFF | 0x20000..=0x3FFFF | 0x0E00..=0x0E7F)
}
