//! `tollgate score`: JSON lines in, JSON lines out, by the gateway's own classifier.
//!
//! A bad line gets a line with its error and does not stop the rest; the exit code tells of it at the end.

use std::borrow::Cow;
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tollgate::config::calibrate;
use tollgate::wire::openai::turns;
use tollgate_engine::models;
use tollgate_router::{Scorer, Task};

use super::CliError;
use super::output;

#[derive(Debug, Args)]
pub(crate) struct Score {
    /// A graph made by `make train`, instead of the one built in.
    #[arg(long, env = "TOLLGATE_ROUTER_GRAPH", value_name = "FILE")]
    graph: Option<PathBuf>,
    /// ONNX Runtime's shared library; default: the one in the cache.
    #[arg(long, env = "TOLLGATE_ONNXRUNTIME", value_name = "FILE")]
    onnxruntime: Option<PathBuf>,
    /// A calibration made by `tollgate calibrate`: scores are those of a gateway that uses it.
    #[arg(long, env = "TOLLGATE_CALIBRATION", value_name = "FILE")]
    calibration: Option<PathBuf>,
}

/// One line of input.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked<'a> {
    #[serde(borrow)]
    id: Option<&'a RawValue>,
    #[serde(borrow)]
    prompt: Option<Cow<'a, str>>,
    #[serde(borrow)]
    messages: Option<&'a RawValue>,
}

/// One line of output; `id` is the line's number where the input names none.
#[derive(Serialize)]
struct Scored<'a> {
    id: Id<'a>,
    #[serde(flatten)]
    score: tollgate_router::Score,
}

#[derive(Serialize)]
struct Failed<'a> {
    id: Id<'a>,
    error: String,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Id<'a> {
    Given(&'a RawValue),
    Line(usize),
}

/// The classifier of this machine, with the graph built in or another; `sessions` requests at the same time.
pub(crate) fn scorer(
    onnxruntime: Option<PathBuf>,
    graph: Option<&Path>,
    sessions: usize,
) -> Result<Scorer, CliError> {
    let library = onnxruntime.map_or_else(models::onnxruntime, Ok)?;
    Ok(match graph {
        None => Scorer::load(&library, sessions)?,
        Some(graph) => Scorer::load_graph(&library, graph, sessions)?,
    })
}

impl Score {
    pub(crate) fn run(self) -> Result<ExitCode, CliError> {
        let scorer = scorer(self.onnxruntime, self.graph.as_deref(), 1)?;
        if let Some(path) = &self.calibration {
            calibrate(&scorer, path)?;
        }
        let mut out = BufWriter::new(std::io::stdout().lock());
        let mut input = BufReader::new(std::io::stdin().lock());
        let (mut bytes, mut number, mut failed) = (Vec::new(), 0, 0);
        let stdin = |source| CliError::Io { what: "standard input".to_owned(), source };
        loop {
            bytes.clear();
            if input.read_until(b'\n', &mut bytes).map_err(stdin)? == 0 {
                break;
            }
            number += 1;
            if bytes.trim_ascii().is_empty() {
                continue;
            }
            let written = match answer(&scorer, &bytes, number)? {
                Ok(line) => writeln!(out, "{line}"),
                Err(line) => {
                    failed += 1;
                    writeln!(out, "{line}")
                }
            };
            // A filter in a pipe answers what it has before it waits for more.
            let written =
                if input.buffer().is_empty() { written.and_then(|()| out.flush()) } else { written };
            if written.is_err() {
                output::done(written)?;
                return Ok(ExitCode::SUCCESS);
            }
        }
        output::done(out.flush())?;
        Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

/// The line for one line of input: a score, or what was wrong with it.
fn answer(scorer: &Scorer, bytes: &[u8], number: usize) -> Result<Result<String, String>, CliError> {
    let asked: Result<Asked<'_>, String> = std::str::from_utf8(bytes)
        .map_err(|_| "the line is not valid UTF-8".to_owned())
        .and_then(|text| serde_json::from_str(text).map_err(|error| error.to_string()));
    let (id, scored) = match asked {
        Err(error) => (Id::Line(number), Err(error)),
        Ok(asked) => (asked.id.map_or(Id::Line(number), Id::Given), score(scorer, &asked)),
    };
    Ok(match scored {
        Ok(score) => Ok(serde_json::to_string(&Scored { id, score })?),
        Err(error) => Err(serde_json::to_string(&Failed { id, error })?),
    })
}

fn score(scorer: &Scorer, asked: &Asked<'_>) -> Result<tollgate_router::Score, String> {
    let scored = match (&asked.prompt, asked.messages) {
        (Some(prompt), None) => scorer.score(&Task::prompt(prompt)),
        (None, Some(messages)) => {
            let turns = turns(messages).map_err(|error| error.to_string())?;
            scorer.score(&Task::new(&turns))
        }
        (Some(_), Some(_)) => return Err("give either `prompt` or `messages`, not both".to_owned()),
        (None, None) => return Err("`prompt` or `messages` is missing".to_owned()),
    };
    scored.map_err(|error| error.to_string())
}
