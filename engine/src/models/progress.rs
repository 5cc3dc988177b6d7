//! How long work tells people how far it is: a bar on a terminal, a plain line every five seconds elsewhere.
//!
//! Work reports through the [`Progress`] trait and does not know who listens. Reports may come from several
//! threads at once.

use std::io::{IsTerminal, Write};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use indicatif::{HumanBytes, ProgressBar, ProgressStyle};

/// A listener for one piece of long work at a time.
pub trait Progress: Send + Sync {
    /// Work on `what` begins; it is `total_bytes` long.
    fn begin(&self, what: &str, total_bytes: u64);
    /// That many more bytes are done.
    fn advance(&self, bytes: u64);
    /// That many bytes counted as done have to be done again.
    fn retreat(&self, bytes: u64);
    /// Something worth a line of its own.
    fn note(&self, text: &str);
    /// The work that began last is done.
    fn finish(&self);
}

/// Progress that nobody sees.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Progress for Silent {
    fn begin(&self, _what: &str, _total_bytes: u64) {}
    fn advance(&self, _bytes: u64) {}
    fn retreat(&self, _bytes: u64) {}
    fn note(&self, _text: &str) {}
    fn finish(&self) {}
}

/// Progress on standard error: a bar if it is a terminal, lines if it is not.
pub fn stderr() -> Box<dyn Progress> {
    if std::io::stderr().is_terminal() {
        Box::new(Bar(ProgressBar::no_length()))
    } else {
        Box::new(Lines::new(std::io::stderr()))
    }
}

struct Bar(ProgressBar);

impl Progress for Bar {
    fn begin(&self, what: &str, total_bytes: u64) {
        let template = "{msg:24} {wide_bar} {bytes}/{total_bytes} {bytes_per_sec} {eta}";
        if let Ok(style) = ProgressStyle::with_template(template) {
            self.0.set_style(style);
        }
        self.0.set_message(what.to_owned());
        self.0.reset();
        self.0.set_length(total_bytes);
    }

    fn advance(&self, bytes: u64) {
        self.0.inc(bytes);
    }

    fn retreat(&self, bytes: u64) {
        self.0.dec(bytes);
    }

    fn note(&self, text: &str) {
        self.0.println(text);
    }

    fn finish(&self) {
        self.0.finish();
    }
}

const LINE_EVERY: Duration = Duration::from_secs(5);

/// Plain lines on any writer.
struct Lines<W>(Mutex<LinesState<W>>);

struct LinesState<W> {
    out: W,
    what: String,
    total: u64,
    done: u64,
    began: Instant,
    last_line: Instant,
}

impl<W: Write> Lines<W> {
    fn new(out: W) -> Self {
        let now = Instant::now();
        Self(Mutex::new(LinesState {
            out,
            what: String::new(),
            total: 0,
            done: 0,
            began: now,
            last_line: now,
        }))
    }

    /// Runs `with` on the state. A poisoned lock only means another thread died while printing.
    fn with(&self, with: impl FnOnce(&mut LinesState<W>)) {
        let mut state = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        with(&mut state);
    }
}

impl<W: Write> LinesState<W> {
    /// Standard error may be closed; progress is not worth failing for.
    fn line(&mut self, text: &str) {
        let _ = writeln!(self.out, "{text}");
    }

    fn status(&mut self) {
        let percent = (self.done.min(self.total) * 100).checked_div(self.total).unwrap_or(100);
        let seconds = self.began.elapsed().as_secs_f64().max(0.001);
        #[expect(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a rate for people"
        )]
        let rate = (self.done as f64 / seconds) as u64;
        let text = format!(
            "{}: {percent} % ({} of {}, {}/s)",
            self.what,
            HumanBytes(self.done),
            HumanBytes(self.total),
            HumanBytes(rate)
        );
        self.line(&text);
        self.last_line = Instant::now();
    }
}

impl<W: Write + Send> Progress for Lines<W> {
    fn begin(&self, what: &str, total_bytes: u64) {
        self.with(|state| {
            what.clone_into(&mut state.what);
            (state.total, state.done) = (total_bytes, 0);
            (state.began, state.last_line) = (Instant::now(), Instant::now());
            let text = format!("{what}: {}", HumanBytes(total_bytes));
            state.line(&text);
        });
    }

    fn advance(&self, bytes: u64) {
        self.with(|state| {
            state.done += bytes;
            if state.last_line.elapsed() >= LINE_EVERY {
                state.status();
            }
        });
    }

    fn retreat(&self, bytes: u64) {
        self.with(|state| state.done = state.done.saturating_sub(bytes));
    }

    fn note(&self, text: &str) {
        self.with(|state| state.line(text));
    }

    fn finish(&self) {
        self.with(|state| {
            state.done = state.total;
            state.status();
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_say_what_began_and_how_it_ended() {
        let lines = Lines::new(Vec::new());
        lines.begin("model.gguf", 2048);
        lines.advance(1024);
        lines.advance(1024);
        lines.finish();
        let out = lines.0.into_inner().unwrap().out;
        let text = String::from_utf8(out).unwrap();
        assert!(text.starts_with("model.gguf: 2.00 KiB\n"), "{text}");
        assert!(text.contains("model.gguf: 100 % (2.00 KiB of 2.00 KiB"), "{text}");
        assert_eq!(text.lines().count(), 2, "no line for every chunk: {text}");
    }
}
