//! `tollgate calibrate`: fits the router to a user's own outcomes and writes the file that `[router] calibration` names.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use serde::Serialize;
use tollgate::labels;
use tollgate_router::calibrate::{Figure, Reads, Report};
use tollgate_router::{Abilities, DOMAINS, Learner};

use super::score::scorer;
use super::{CliError, output};

#[derive(Debug, Args)]
pub(crate) struct Calibrate {
    /// Labels: JSON lines {"prompt" or "messages", "small_ok": 0/1, "large_ok": 0/1}.
    #[arg(long, value_name = "FILE")]
    labels: PathBuf,
    /// Where the calibration is written; a running gateway that names the file takes it up.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// A graph made by `make train`, instead of the one built in.
    #[arg(long, env = "TOLLGATE_ROUTER_GRAPH", value_name = "FILE")]
    graph: Option<PathBuf>,
    /// ONNX Runtime's shared library; default: the one in the cache.
    #[arg(long, env = "TOLLGATE_ONNXRUNTIME", value_name = "FILE")]
    onnxruntime: Option<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

impl Calibrate {
    pub(crate) fn run(self) -> Result<ExitCode, CliError> {
        let scorer = scorer(self.onnxruntime, self.graph.as_deref(), 1)?;
        let examples = labels::read(&self.labels, &scorer)?;
        let (calibration, report) = scorer.fit(&examples).map_err(|reason| {
            CliError::Request(format!("{} cannot be fitted: {reason}", self.labels.display()))
        })?;
        write(&self.out, &calibration.to_text())
            .map_err(|source| CliError::Io { what: self.out.display().to_string(), source })?;
        let abilities = Learner::of_labels(&examples).proposal();
        if self.json {
            output::json(&Told { report: &report, abilities: &abilities })?;
        } else {
            tell(&report, &self.out)?;
            tell_abilities(&abilities)?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// Whole or not at all: a gateway may be watching the file.
fn write(path: &Path, text: &str) -> std::io::Result<()> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    let beside = path.with_file_name(name);
    std::fs::write(&beside, text)?;
    std::fs::rename(&beside, path)
}

#[derive(Serialize)]
struct Told<'t> {
    #[serde(flatten)]
    report: &'t Report,
    abilities: &'t Abilities,
}

fn tell_abilities(abilities: &Abilities) -> Result<(), CliError> {
    output::line(
        "or, without the file, weigh the two models by what the labels say of their abilities (in their [[model]] tables):",
    )?;
    for (model, ability) in abilities {
        // Domains nobody labelled have the general one.
        let own = DOMAINS.iter().map(|domain| (*domain, ability.in_domain(domain)));
        let own = own.filter(|(_, own)| (own - ability.general()).abs() >= 0.005);
        let own: String = own.map(|(domain, own)| format!(", {domain} = {own:.2}")).collect();
        output::line(&format!("    ability = {{ general = {:.2}{own} }}   # {model}", ability.general()))?;
    }
    Ok(())
}

fn tell(report: &Report, out: &Path) -> Result<(), CliError> {
    let split = report.outcomes;
    output::line(&format!(
        "{} labels: both solve {}, only the small model {}, only the large one {}, neither {}",
        report.labels, split.both, split.only_small, split.only_large, split.neither
    ))?;
    let (before, after) = (&report.before, &report.after);
    let row = |name: &str, before, after| vec![name.to_owned(), shown(before), shown(after)];
    let rows = vec![
        row("APGR (0.5 = random)", before.apgr, after.apgr),
        row("calls saved at 95 % of the large model's quality", before.saved_at_95, after.saved_at_95),
        row("calibration error of p(small)", before.ece_small, after.ece_small),
        row("calibration error of p(large)", before.ece_large, after.ece_large),
    ];
    let head = ["on labels not seen", "before", "after"];
    output::line(&output::table(&head, 1, rows).to_string())?;
    if report.bounds.is_empty() {
        output::line(
            "the labels do not show that as little as 15 % is lost: with such an [objective] max_loss the gateway does not start",
        )?;
    } else {
        let rows = report.bounds.iter().map(|bound| {
            let percent = |share: f64| format!("{:.1} %", 100.0 * share);
            vec![percent(bound.most), percent(bound.to_small), format!("{:.3}", bound.gap)]
        });
        let head = ["of those sent to the small model, lost at most", "may be sent", "tolerated gap"];
        output::line(&output::table(&head, 1, rows.collect()).to_string())?;
    }
    let read = match report.reads {
        Reads::OwnOutput => "the graph's probabilities alone",
        Reads::Outputs => "the graph's outputs",
        Reads::Values => "the graph's outputs and the counts of the text",
        Reads::Words => "the graph's outputs, the counts of the text and its words",
    };
    output::line(&format!(
        "it reads {read} (best by cross-validation); 95 % intervals in brackets\nwritten to {}: name it in tollgate.toml as\n    \
         [router]\n    calibration = \"{}\"\nor try it with `tollgate score --calibration {0}`",
        out.display(),
        out.display()
    ))
}

fn shown(figure: Figure) -> String {
    format!("{:.3} ({:.3} to {:.3})", figure.value, figure.low, figure.high)
}
