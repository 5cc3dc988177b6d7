//! Strict reading of TOML files that people edit.
//!
//! A [`Document`] is parsed once; [`Table`] takes typed values out of it. A take that finds something
//! wrong records a diagnostic with its position and goes on, so that one check reports every problem
//! of a file. Keys nobody took are problems too. It knows nothing of what the file is for.

mod table;

use std::cell::RefCell;
use std::ops::Range;

pub use table::{Kind, Table};

use crate::diagnostic::{Diagnostic, Diagnostics};

/// A parsed TOML file and the problems found in it so far.
#[derive(Debug)]
pub struct Document {
    file: String,
    toml: toml_edit::Document<String>,
    problems: RefCell<Vec<(usize, Diagnostic)>>,
}

impl Document {
    /// Parses `text`; `file` is the name shown in diagnostics.
    ///
    /// # Errors
    /// One diagnostic at the first place where the text is not TOML.
    pub fn parse(file: &str, text: &str) -> Result<Document, Diagnostics> {
        match toml_edit::Document::parse(text.to_owned()) {
            Ok(toml) => Ok(Document { file: file.to_owned(), toml, problems: RefCell::default() }),
            Err(error) => {
                let (line, column) = position(text, error.span().map_or(0, |span| span.start));
                let message = error.message().trim_end().replace('\n', ", ");
                let file = file.to_owned();
                Err(Diagnostics(vec![Diagnostic { file, line, column, message, help: None }]))
            }
        }
    }

    /// The table of top-level keys.
    pub fn root(&self) -> Table<'_> {
        Table::new(self, self.toml.as_table(), 0..0, String::new())
    }

    /// Records a problem at a byte range of the text.
    pub fn problem(&self, at: Range<usize>, message: impl Into<String>, help: Option<String>) {
        let (line, column) = position(self.toml.raw(), at.start);
        let diagnostic = Diagnostic { file: self.file.clone(), line, column, message: message.into(), help };
        self.problems.borrow_mut().push((at.start, diagnostic));
    }

    /// Whether no problem has been recorded so far.
    pub fn is_sound(&self) -> bool {
        self.problems.borrow().is_empty()
    }

    /// Ends the reading: all problems sorted by position.
    ///
    /// # Errors
    /// The problems, if there are any.
    pub fn finish(self) -> Result<(), Diagnostics> {
        let mut problems = self.problems.into_inner();
        if problems.is_empty() {
            return Ok(());
        }
        problems.sort_by_key(|(at, _)| *at);
        Err(Diagnostics(problems.into_iter().map(|(_, diagnostic)| diagnostic).collect()))
    }

    /// The file's text.
    pub fn text(&self) -> &str {
        self.toml.raw()
    }
}

/// Line and column, both from 1, of a byte offset; columns count characters.
pub(crate) fn position(text: &str, at: usize) -> (usize, usize) {
    let before = &text[..text.floor_char_boundary(at)];
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
}

#[cfg(test)]
mod tests;
