//! Logs: to standard error, text on a terminal and JSON lines elsewhere or on demand.
//!
//! `--log` takes `text` or `json`, a filter in `tracing`'s syntax (`info`, `tollgate=debug,warn`), or both joined
//! as `json:debug`. Nothing in the gateway logs a secret or a prompt; there is no level that does.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::ParseError;

/// How and how much to log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogOptions {
    /// JSON lines instead of text; `None` = unless standard error is a terminal.
    pub json: Option<bool>,
    /// A `tracing` filter.
    pub filter: String,
}

impl Default for LogOptions {
    fn default() -> LogOptions {
        LogOptions { json: None, filter: "info".to_owned() }
    }
}

impl std::str::FromStr for LogOptions {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<LogOptions, ParseError> {
        let (json, filter) =
            match text.split_once(':').filter(|(format, _)| matches!(*format, "json" | "text")) {
                Some((format, filter)) => (Some(format == "json"), filter),
                None if text == "json" => (Some(true), ""),
                None if text == "text" => (Some(false), ""),
                None => (None, text),
            };
        let filter = if filter.is_empty() { "info" } else { filter };
        EnvFilter::builder().parse(filter)?;
        Ok(LogOptions { json, filter: filter.to_owned() })
    }
}

/// Sends logs to standard error from now on. A second call (tests) changes nothing.
pub fn start(options: &LogOptions) {
    let filter = EnvFilter::try_new(&options.filter).unwrap_or_else(|_| EnvFilter::new("info"));
    let terminal = std::io::stderr().is_terminal();
    let lines =
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_target(false);
    let started = if options.json.unwrap_or(!terminal) {
        lines.json().flatten_event(true).with_span_list(false).try_init()
    } else {
        lines.with_ansi(terminal).compact().try_init()
    };
    // Somebody else's subscriber is in place: theirs stays.
    drop(started);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn format_and_filter_are_told_apart() {
        let parse = |text: &str| text.parse::<LogOptions>().map(|log| (log.json, log.filter)).ok();
        assert_eq!(parse("json"), Some((Some(true), "info".to_owned())));
        assert_eq!(parse("text:debug"), Some((Some(false), "debug".to_owned())));
        assert_eq!(parse("tollgate=debug,warn"), Some((None, "tollgate=debug,warn".to_owned())));
        assert_eq!(parse("json:not a filter=="), None);
    }
}
