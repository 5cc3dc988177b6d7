//! The only place that prints. Tables for people, JSON for machines; a reader that goes away (`| head`) is no error.

use std::io::{ErrorKind, IsTerminal, Write};

use comfy_table::presets::UTF8_HORIZONTAL_ONLY;
use comfy_table::{CellAlignment, ContentArrangement, Table};
use serde::Serialize;

use super::CliError;

/// Prints a line to standard output.
pub(crate) fn line(text: &str) -> Result<(), CliError> {
    let mut out = std::io::stdout().lock();
    done(writeln!(out, "{text}").and_then(|()| out.flush()))
}

/// Prints a value as one line of JSON, or indented on a terminal.
pub(crate) fn json<T: Serialize>(value: &T) -> Result<(), CliError> {
    let text = if std::io::stdout().is_terminal() {
        serde_json::to_string_pretty(value)?
    } else {
        serde_json::to_string(value)?
    };
    line(&text)
}

/// Prints to standard error.
pub(crate) fn complain(text: &str) {
    // With standard error gone too there is nobody left to tell.
    let _nobody_reads = writeln!(std::io::stderr().lock(), "{text}");
}

/// Ends a write: a closed pipe is how a reader says "enough".
pub(crate) fn done(written: std::io::Result<()>) -> Result<(), CliError> {
    match written {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(CliError::Io { what: "standard output".to_owned(), source: error })
        }
        _ => Ok(()),
    }
}

/// A table with a head; columns from `right` on are figures.
pub(crate) fn table(head: &[&str], right: usize, rows: Vec<Vec<String>>) -> Table {
    let mut table = Table::new();
    table.load_style(UTF8_HORIZONTAL_ONLY).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(head.to_vec());
    for row in rows {
        table.add_row(row);
    }
    for index in right..head.len() {
        if let Some(column) = table.column_mut(index) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
}
