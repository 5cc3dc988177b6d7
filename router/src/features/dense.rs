//! Dense features: how long the task is, and what it is made of.
//!
//! Counts are kept as logarithms or shares, so that they stay in a small range for any input. The
//! graph standardises them with the training set's means and deviations.

use super::letters::is_digit;

/// How many dense features there are.
pub const DENSE: usize = 30;

/// Where the natural logarithm of 1 + words is.
pub(crate) const LOG_WORDS: usize = 1;

/// What each dense feature is, in order; the names are checked against the graph when it is loaded.
pub const DENSE_NAMES: [&str; DENSE] = [
    "log_shown",
    "log_words",
    "mean_letters",
    "log_sentences",
    "words_per_sentence",
    "log_lines",
    "log_numbers",
    "share_digits",
    "longest_number",
    "log_questions",
    "log_commas",
    "log_code_signs",
    "share_code_signs",
    "log_latex",
    "log_math_signs",
    "fences",
    "log_options",
    "blanks",
    "log_quotes",
    "log_brackets",
    "share_latin_marks",
    "share_ideographs",
    "share_kana",
    "share_hangul",
    "share_cyrillic",
    "share_arabic",
    "share_indic",
    "log_long_words",
    "log_list_items",
    "log_money",
];

/// Running counts over the counted passages of a task.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counts {
    bytes: usize,
    sampled: usize,
    shown: u32,
    words: u32,
    letters: u32,
    numbers: u32,
    digits: u32,
    longest_number: u32,
    long_words: u32,
    sentences: u32,
    lines: u32,
    questions: u32,
    commas: u32,
    code: u32,
    latex: u32,
    math: u32,
    ticks: u32,
    options: u32,
    blanks: u32,
    quotes: u32,
    brackets: u32,
    items: u32,
    money: u32,
    scripts: [u32; 7],
    last: char,
    before: char,
    /// Of the gap being read: how often the line breaks, and whether spaces follow the last break.
    breaks: u32,
    indented: bool,
}

impl Counts {
    /// Adds a passage of `bytes`, of which `sampled` are read.
    pub(crate) fn add_length(&mut self, bytes: usize, sampled: usize) {
        self.bytes += bytes;
        self.sampled += sampled;
    }

    /// Adds a word of so many letters, or a number of so many digits.
    pub(crate) fn word(&mut self, letters: u32, digits: u32) {
        self.words += 1;
        self.letters += letters;
        self.numbers += u32::from(digits > 0);
        self.longest_number = self.longest_number.max(digits);
        self.long_words += u32::from(letters >= 9);
    }

    /// Adds a character.
    pub(crate) fn char(&mut self, c: char) {
        if c.is_whitespace() {
            return self.gap(c);
        }
        if self.last == '\n' {
            self.begin_line(c);
        }
        self.shown += 1;
        if c.is_ascii() {
            self.ascii(c)
        } else {
            self.script(c)
        }
        (self.before, self.last) = (self.last, c);
    }

    /// A run of white space is one gap, whatever it is made of; it breaks the line if any of it does.
    fn gap(&mut self, c: char) {
        if !self.last.is_whitespace() {
            (self.before, self.last) = (self.last, ' ');
            self.breaks = 0;
        }
        self.indented = c != '\n';
        if c == '\n' {
            self.last = '\n';
            self.breaks += 1;
        }
    }

    /// A line begins, unless a sentence only goes on: many programs wrap text at some width.
    fn begin_line(&mut self, first: char) {
        let wrapped = self.breaks == 1
            && !self.indented
            && first.is_lowercase()
            && (self.before.is_alphanumeric() || self.before == ',');
        if wrapped {
            self.last = ' ';
        } else {
            self.lines += 1;
        }
    }

    fn ascii(&mut self, c: char) {
        match c {
            '0'..='9' => self.digits += 1,
            '?' => {
                self.questions += 1;
                self.sentences += 1;
            }
            '.' | ')' => self.after_mark(c),
            '!' => self.sentences += 1,
            ',' => self.commas += 1,
            ';' | '{' | '}' | '<' | '>' | '#' | '|' | '&' => self.code += 1,
            '=' | '+' | '*' | '/' | '^' => self.math += 1,
            '\\' => self.latex += 1,
            '$' | '%' => self.money += 1,
            '`' => self.ticks += 1,
            '_' => self.blanks += 1,
            '"' => self.quotes += 1,
            '(' | '[' => self.brackets += 1,
            '-' if self.last == '\n' => self.items += 1,
            _ => {}
        }
    }

    /// "A." and "b)" after a gap are options; "1." and "2)" at the start of a line are list items.
    fn after_mark(&mut self, mark: char) {
        let at_start = matches!(self.before, '\n' | '\0' | '(' | ' ');
        match self.last {
            'A'..='J' | 'a'..='j' if at_start => self.options += 1,
            '0'..='9' if self.before == '\n' || self.before == '\0' => self.items += 1,
            _ if mark == '.' => self.sentences += 1,
            _ => {}
        }
    }

    fn script(&mut self, c: char) {
        if is_digit(c) {
            self.digits += 1;
            return;
        }
        let script = match c as u32 {
            0x3002 | 0xFF01 | 0xFF1F | 0x061F | 0x0964 => {
                self.sentences += 1;
                self.questions += u32::from(matches!(c, '？' | '؟'));
                return;
            }
            0xFF0C | 0x3001 | 0x060C => {
                self.commas += 1;
                return;
            }
            0x00C0..=0x00D6 | 0x00D8..=0x00F6 | 0x00F8..=0x024F => 0,
            0x3040..=0x30FF => 2,
            0xAC00..=0xD7AF => 3,
            0x0400..=0x04FF => 4,
            0x0600..=0x06FF => 5,
            0x0900..=0x0DFF => 6,
            0x2E80..=0x9FFF | 0x20000..=0x3FFFF => 1,
            0x2190..=0x22FF | 0x00D7 | 0x00F7 | 0x00B2 | 0x00B3 => {
                self.math += 1;
                return;
            }
            _ => return,
        };
        self.scripts[script] += 1;
    }

    /// The dense features, in the order of [`DENSE_NAMES`].
    pub(crate) fn features(&self) -> [f32; DENSE] {
        // Counts from a sample stand for the whole text.
        let scale = self.bytes as f32 / self.sampled.max(1) as f32;
        let log = |count: u32| (count as f32 * scale).ln_1p();
        let share = |count: u32| count as f32 / self.shown.max(1) as f32;
        let sentences = self.sentences.max(1);
        let [latin, ideographs, kana, hangul, cyrillic, arabic, indic] = self.scripts.map(share);
        [
            log(self.shown),
            log(self.words),
            self.letters as f32 / self.words.max(1) as f32,
            log(self.sentences),
            (self.words as f32 / sentences as f32).ln_1p(),
            log(self.lines),
            log(self.numbers),
            share(self.digits),
            self.longest_number.min(12) as f32,
            log(self.questions),
            log(self.commas),
            log(self.code),
            share(self.code),
            log(self.latex),
            log(self.math),
            f32::from(u8::from(self.ticks >= 3)),
            log(self.options),
            log(self.blanks),
            log(self.quotes),
            log(self.brackets),
            latin,
            ideographs,
            kana,
            hangul,
            cyrillic,
            arabic,
            indic,
            log(self.long_words),
            log(self.items),
            log(self.money),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::Counts;

    fn lines(text: &str) -> u32 {
        let mut counts = Counts::default();
        text.chars().for_each(|c| counts.char(c));
        counts.lines
    }

    #[test]
    fn a_wrapped_sentence_is_one_line() {
        assert_eq!(lines("Name the largest city\nof each country in\nalphabetical order,\nplease."), 0);
    }

    #[test]
    fn what_begins_anew_is_a_line() {
        for (text, count) in [
            ("First line.\nsecond line", 1),
            ("Choose one:\nred\n\ngreen", 2),
            ("Options\nA. one\nB. two", 2),
            ("def f(x):\n    y = x\n    return y", 2),
            ("a list\n- of one", 1),
        ] {
            assert_eq!(lines(text), count, "{text}");
        }
    }
}
