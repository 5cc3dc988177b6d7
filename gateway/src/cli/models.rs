//! `tollgate models`: which model files are known, fetching them, making the demo's MoE, coarser copies, looking into one.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde::Serialize;
use tollgate_engine::models::{self, GgufFacts, KnownModel, QuantType, progress};
use tollgate_router::{Abilities, DOMAINS, known_abilities};

use super::CliError;
use super::output;

#[derive(Debug, Subcommand)]
pub(crate) enum Models {
    /// List known models with source, size, licence and checksum.
    List(List),
    /// Fetch models into the cache; a cut download goes on where it stopped.
    Pull(Pull),
    /// Make a known mixture of experts from its dense source.
    MakeMoe(MakeMoe),
    /// Make a coarser copy of a model: smaller, faster, less able.
    Quantize(Quantize),
    /// Print a GGUF file's facts.
    Inspect(Inspect),
    /// List the models that may stand as a `[[model]]`'s `ability`, with what that is.
    Abilities(KnownAbilities),
}

#[derive(Debug, Args)]
pub(crate) struct KnownAbilities {
    /// Those with this in their names.
    #[arg(value_name = "PART")]
    part: Option<String>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct List {
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Pull {
    /// Known names, or hf:owner/repo/file.gguf.
    #[arg(required = true, value_name = "NAME")]
    names: Vec<String>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct MakeMoe {
    /// The known model to make.
    #[arg(value_name = "NAME")]
    name: String,
    /// Experts that each token passes through, instead of the recipe's number.
    #[arg(long, value_name = "N")]
    active_experts: Option<u32>,
    /// Write here instead of into the cache.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Write the dense model stored as the mixture stores it, to compare speeds with.
    #[arg(long, requires = "out", conflicts_with = "active_experts")]
    dense_control: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Quantize {
    /// A known name, a GGUF file, or hf:owner/repo/file.gguf fetched before; best with its original weights.
    #[arg(value_name = "SRC")]
    source: String,
    /// The file to write.
    #[arg(value_name = "DEST")]
    target: PathBuf,
    /// q8_0, q6_k, q5_k_m, q4_k_m, q4_0, q3_k_m, q2_k, …; a wrong one is answered with the whole list.
    #[arg(long = "type", value_name = "TYPE")]
    kind: QuantType,
    /// Replace DEST if it exists.
    #[arg(long)]
    force: bool,
    /// Take a source that is quantized already; the result is worse than from the original weights.
    #[arg(long)]
    allow_requantize: bool,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Inspect {
    /// A known name, a GGUF file, or hf:owner/repo/file.gguf fetched before.
    #[arg(value_name = "MODEL")]
    model: String,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// A known model as listed.
#[derive(Serialize)]
struct Listed {
    name: &'static str,
    present: bool,
    path: PathBuf,
    bytes: u64,
    licence: &'static str,
    origin: &'static str,
    sha256: Option<&'static str>,
    what: &'static str,
    command: String,
}

impl Listed {
    fn of(model: &KnownModel) -> Listed {
        Listed {
            name: model.name,
            present: model.present(),
            path: model.path(),
            bytes: model.bytes,
            licence: model.licence,
            origin: model.origin,
            sha256: model.sha256,
            what: model.what,
            command: model.command(),
        }
    }
}

impl Models {
    pub(crate) fn run(self) -> Result<ExitCode, CliError> {
        match self {
            Models::List(command) => command.run(),
            Models::Pull(command) => command.run(),
            Models::MakeMoe(command) => command.run(),
            Models::Quantize(command) => command.run(),
            Models::Inspect(command) => command.run(),
            Models::Abilities(command) => command.run(),
        }
    }
}

impl KnownAbilities {
    fn run(self) -> Result<ExitCode, CliError> {
        let part = self.part.unwrap_or_default().to_lowercase();
        let known: Abilities = known_abilities()
            .iter()
            .filter(|(name, _)| name.contains(&part))
            .map(|(name, own)| (name.clone(), *own))
            .collect();
        if self.json {
            output::json(&known)?;
            return Ok(ExitCode::SUCCESS);
        }
        for (name, ability) in known {
            let own = DOMAINS.iter().map(|domain| (*domain, ability.in_domain(domain)));
            let own = own.filter(|(_, own)| (own - ability.general()).abs() >= 0.005);
            let own: String = own.map(|(domain, own)| format!("  {domain} {own:.2}")).collect();
            output::line(&format!("{name:<32} {:>5.2}{own}", ability.general()))?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

impl List {
    fn run(self) -> Result<ExitCode, CliError> {
        let known: Vec<Listed> = models::known().iter().map(Listed::of).collect();
        if self.json {
            output::json(&known)?;
            return Ok(ExitCode::SUCCESS);
        }
        for model in known {
            let state = if model.present { "in the cache".to_owned() } else { model.command };
            output::line(&format!(
                "{} ({}, {}): {state}",
                model.name,
                megabytes(model.bytes),
                model.licence
            ))?;
            output::line(&format!("    {}\n    from {}", model.what, model.origin))?;
            if let Some(sha256) = model.sha256 {
                output::line(&format!("    sha256 {sha256}"))?;
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn megabytes(bytes: u64) -> String {
    format!("{} MB", bytes.div_ceil(1_000_000))
}

#[derive(Serialize)]
struct Pulled {
    name: String,
    path: PathBuf,
}

impl Pull {
    fn run(self) -> Result<ExitCode, CliError> {
        let progress = progress::stderr();
        let mut pulled = Vec::new();
        for name in self.names {
            let path = models::pull(&name, progress.as_ref())?;
            if !self.json {
                output::line(&path.display().to_string())?;
            }
            pulled.push(Pulled { name, path });
        }
        if self.json {
            output::json(&pulled)?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

impl MakeMoe {
    #[cfg(not(feature = "embedded"))]
    fn run(self) -> Result<ExitCode, CliError> {
        Err(CliError::NotBuilt { what: "the maker of mixtures of experts" })
    }

    #[cfg(feature = "embedded")]
    fn run(self) -> Result<ExitCode, CliError> {
        let options = models::MoeOptions {
            active_experts: self.active_experts,
            output: self.out,
            dense_control: self.dense_control,
        };
        let path = models::make_moe(&self.name, &options, progress::stderr().as_ref())?;
        output::line(&path.display().to_string())?;
        Ok(ExitCode::SUCCESS)
    }
}

impl Quantize {
    #[cfg(not(feature = "embedded"))]
    fn run(self) -> Result<ExitCode, CliError> {
        let Quantize { source: _, target: _, kind: _, force: _, allow_requantize: _, json: _ } = self;
        Err(CliError::NotBuilt { what: "the quantizer" })
    }

    #[cfg(feature = "embedded")]
    fn run(self) -> Result<ExitCode, CliError> {
        let Quantize { source, target, kind, force, allow_requantize, json } = self;
        let options = models::QuantizeOptions { force, allow_requantize };
        let source = models::resolve(&source)?;
        let facts = models::quantize(&source, &target, kind, options, progress::stderr().as_ref())?;
        if json {
            output::json(&facts)?;
        } else {
            let (size, bits) = (megabytes(facts.file_bytes), facts.bits_per_weight);
            output::line(&format!("{}: {size}, {bits:.2} bits per weight", target.display()))?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

impl Inspect {
    fn run(self) -> Result<ExitCode, CliError> {
        let facts = models::inspect(&models::resolve(&self.model)?)?;
        if self.json {
            output::json(&facts)?;
        } else {
            output::line(&output::table(&["fact", "value"], 2, rows(&facts)).to_string())?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn rows(facts: &GgufFacts) -> Vec<Vec<String>> {
    let number = |value: Option<u64>| value.map_or_else(|| "-".to_owned(), |n| n.to_string());
    let kinds: Vec<String> = facts
        .quantization
        .iter()
        .map(|share| format!("{} ({} tensors)", share.kind, share.tensors))
        .collect();
    let experts = facts.experts.map_or_else(
        || "none".to_owned(),
        |e| format!("{} routed, {} used{}", e.count, e.used, if e.shared { ", and shared ones" } else { "" }),
    );
    let active = format!("{} ({} for each token)", facts.parameters, facts.active_parameters);
    [
        ("file", facts.path.display().to_string()),
        ("size", megabytes(facts.file_bytes)),
        ("architecture", facts.architecture.clone()),
        ("name", facts.name.clone().unwrap_or_else(|| "-".to_owned())),
        ("licence", facts.licence.clone().unwrap_or_else(|| "not stated".to_owned())),
        ("parameters", active),
        ("bits per weight", format!("{:.2}", facts.bits_per_weight)),
        ("stored as", kinds.join(", ")),
        ("context", number(facts.context_length)),
        ("layers", number(facts.layers)),
        ("embedding", number(facts.embedding_length)),
        ("vocabulary", number(facts.vocabulary)),
        ("experts", experts),
        ("chat template", if facts.chat_template { "yes" } else { "no" }.to_owned()),
    ]
    .into_iter()
    .map(|(fact, value)| vec![fact.to_owned(), value])
    .collect()
}
