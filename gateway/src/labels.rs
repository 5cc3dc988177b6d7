//! Labels for `tollgate calibrate`: JSON lines of prompts and what two models made of them.
//!
//! Every wrong line is told, with its place and the fix; nothing is fitted to the rest of a wrong file.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use tollgate_router::calibrate::Example;
use tollgate_router::{Label, RouterError, Scorer, Task};

use crate::wire::openai::turns;

/// Problems told at most; the rest are counted.
const TOLD: usize = 20;

/// Why labels cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LabelsError {
    /// The file cannot be read.
    #[error(
        "{path} cannot be read: {source}\n    help: --labels names a file of JSON lines; see docs/router.md"
    )]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Lines that are not labels.
    #[error(
        "{problems}    help: a line is {{\"prompt\": \"…\", \"small_ok\": 0, \"large_ok\": 1}} (or \"messages\": […] for the prompt; 1 = \
         answered well)"
    )]
    Wrong {
        /// One line each, with file and line number.
        problems: String,
    },
    /// The classifier failed.
    #[error(transparent)]
    Router(#[from] RouterError),
}

/// One line.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line<'a> {
    #[serde(borrow, default, rename = "id")]
    _id: Option<&'a RawValue>,
    #[serde(borrow)]
    prompt: Option<Cow<'a, str>>,
    #[serde(borrow)]
    messages: Option<&'a RawValue>,
    #[serde(deserialize_with = "zero_or_one")]
    small_ok: bool,
    #[serde(deserialize_with = "zero_or_one")]
    large_ok: bool,
}

fn zero_or_one<'de, D: Deserializer<'de>>(from: D) -> Result<bool, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Outcome {
        Bool(bool),
        Number(u8),
    }
    match Outcome::deserialize(from) {
        Ok(Outcome::Bool(good)) => Ok(good),
        Ok(Outcome::Number(number @ (0 | 1))) => Ok(number == 1),
        _ => Err(serde::de::Error::custom("small_ok and large_ok are 0 or 1")),
    }
}

/// Reads a file of labels and lets the graph look at each.
///
/// # Errors
/// [`LabelsError`] with every wrong line.
pub fn read(path: &Path, scorer: &Scorer) -> Result<Vec<Example>, LabelsError> {
    let unreadable = |source| LabelsError::Unreadable { path: path.to_owned(), source };
    let bytes = std::fs::read(path).map_err(unreadable)?;
    let (mut examples, mut problems, mut wrong) = (Vec::new(), String::new(), 0);
    for (number, line) in bytes.split(|byte| *byte == b'\n').enumerate() {
        if line.trim_ascii().is_empty() {
            continue;
        }
        match example(line, scorer) {
            Ok(example) => examples.push(example?),
            Err(problem) => {
                wrong += 1;
                if wrong <= TOLD {
                    // Writing to a string cannot fail.
                    let _written = writeln!(problems, "{}:{}: {problem}", path.display(), number + 1);
                }
            }
        }
    }
    if wrong > TOLD {
        let _written = writeln!(problems, "and {} more lines", wrong - TOLD);
    }
    if wrong == 0 { Ok(examples) } else { Err(LabelsError::Wrong { problems }) }
}

/// What a line holds; the outer error is the line's, the inner one the classifier's.
fn example(line: &[u8], scorer: &Scorer) -> Result<Result<Example, RouterError>, String> {
    let text = std::str::from_utf8(line).map_err(|_| "the line is not valid UTF-8".to_owned())?;
    let line: Line<'_> = serde_json::from_str(text).map_err(|error| error.to_string())?;
    let label = Label { small_ok: line.small_ok, large_ok: line.large_ok };
    match (&line.prompt, line.messages) {
        (Some(prompt), None) if prompt.trim().is_empty() => Err("`prompt` is empty".to_owned()),
        (Some(prompt), None) => Ok(scorer.example(&Task::prompt(prompt), label)),
        (None, Some(messages)) => {
            let turns = turns(messages).map_err(|fault| fault.to_string())?;
            Ok(scorer.example(&Task::new(&turns), label))
        }
        (Some(_), Some(_)) => Err("give either `prompt` or `messages`, not both".to_owned()),
        (None, None) => Err("`prompt` or `messages` is missing".to_owned()),
    }
}
