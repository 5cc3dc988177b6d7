//! `tollgate route`: one decision, explained, without calling a model.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use tollgate::config::{Config, Overrides, calibrate, catalog};
use tollgate::plan::counted_tokens;
use tollgate::wire::openai::Chat;
use tollgate_policies::Facts;
use tollgate_router::{Decision, Live, Needs, NoCandidate, Score, Task, Verdict, decide};

use super::score::scorer;
use super::{CliError, Place, PolicyArgs, output};

#[derive(Debug, Args)]
pub(crate) struct Route {
    /// The prompt.
    #[arg(required_unless_present = "file")]
    text: Option<String>,
    /// A chat request's body instead.
    #[arg(long, value_name = "FILE", conflicts_with = "text")]
    file: Option<PathBuf>,
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    policies: PolicyArgs,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

impl Route {
    pub(crate) fn run(self) -> Result<ExitCode, CliError> {
        let body = match (&self.text, &self.file) {
            (_, Some(file)) => std::fs::read(file)
                .map_err(|source| CliError::Io { what: file.to_string_lossy().into_owned(), source })?,
            (text, None) => {
                let prompt = text.as_deref().unwrap_or_default();
                let message = serde_json::json!({ "role": "user", "content": prompt });
                serde_json::to_vec(&serde_json::json!({ "model": "auto", "messages": [message] }))?
            }
        };
        let chat = Chat::parse(&body).map_err(|fault| CliError::Request(fault.to_string()))?;
        let overrides = Overrides { policies: self.policies.policies, ..self.place.overrides() };
        let config = Config::load(&overrides)?;
        let scorer = scorer(config.router.onnxruntime.clone(), None, 1)?;
        if let Some(path) = &config.router.calibration {
            calibrate(&scorer, path)?;
        }
        let score = scorer.score(&Task::new(&chat.turns))?;
        let decision = match decided(&config, &chat, &score)? {
            Ok(decision) => decision,
            Err(none) => return refused(&none, &score, self.json),
        };
        if self.json {
            let shown = serde_json::json!({ "score": score, "router": score.router, "decision": decision });
            output::json(&shown)?;
        } else {
            explain(&decision, &score)?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// Nobody may answer: that is told of every model, too.
fn refused(none: &NoCandidate, score: &Score, as_json: bool) -> Result<ExitCode, CliError> {
    if as_json {
        output::json(&serde_json::json!({ "score": score, "refused": none }))?;
    } else {
        output::line(&table(&none.verdicts, &[]))?;
    }
    Err(CliError::Request(none.to_string()))
}

/// The decision the gateway would make with every engine idle and no budget under pressure.
fn decided(
    config: &Config,
    chat: &Chat<'_>,
    score: &Score,
) -> Result<Result<Decision, NoCandidate>, CliError> {
    let policies = config.policies.load(&config.models)?;
    let policy = match chat.model.strip_prefix("auto:") {
        Some(name) => policies
            .named
            .get(name)
            .ok_or_else(|| CliError::Request(format!("there is no policy {name:?}")))?,
        None => &policies.default,
    };
    let catalog = catalog(&config.models, &policies.default.baseline);
    let pinned = Some(chat.model.as_ref()).filter(|model| *model != "auto" && !model.starts_with("auto:"));
    if let Some(unknown) = pinned.filter(|name| catalog.find(name).is_none()) {
        let names = catalog.models().iter().map(|model| model.name.as_str()).collect::<Vec<_>>().join(", ");
        return Err(CliError::Request(format!("there is no model {unknown:?}; there are auto, {names}")));
    }
    let (prompt_tokens, prompt_tokens_upper) = counted_tokens(chat);
    let tags = BTreeMap::new();
    let facts = Facts {
        tools: chat.tools,
        images: chat.images > 0,
        json: chat.json,
        stream: chat.stream,
        model: &chat.model,
        turns: chat.user_turns,
        ..score.facts(prompt_tokens, &tags, policy.objective.quality)
    };
    let needs = Needs {
        prompt_tokens,
        prompt_tokens_upper,
        parts: chat.images,
        max_tokens: Some(chat.max_tokens.unwrap_or(config.server.default_max_tokens)),
        tools: chat.tools,
        images: chat.images > 0,
        json: chat.json,
        pinned,
        service_tier: chat.service_tier,
        routing: chat.routing,
        ..Needs::default()
    };
    let live = vec![Live::default(); catalog.models().len()];
    Ok(decide(policy, &catalog, &live, score, &facts, &needs, 0.0))
}

fn table(verdicts: &[Verdict], ranked: &[usize]) -> String {
    let rows = verdicts.iter().enumerate().map(|(place, verdict)| {
        let rank = ranked.iter().position(|ranked| *ranked == place);
        vec![
            verdict.model.clone(),
            rank.map_or_else(|| "-".to_owned(), |rank| (rank + 1).to_string()),
            format!("{:.3}", verdict.p_good),
            verdict.cost.to_string(),
            verdict.worst_cost.to_string(),
            format!("{:.0}", verdict.latency_ms),
            verdict.refused.clone().unwrap_or_default(),
        ]
    });
    let head = ["model", "rank", "p(good)", "cost USD", "at most USD", "latency ms", "refused"];
    output::table(&head, 1, rows.collect()).to_string()
}

fn explain(decision: &Decision, score: &Score) -> Result<(), CliError> {
    output::line(&table(&decision.verdicts, &decision.ranked))?;
    output::line(&format!(
        "difficulty {:.3}, domain {}, {}, answer about {} tokens (90 % under {}), scored in {} µs{}",
        score.difficulty,
        score.domain,
        if score.familiar { "familiar" } else { "unfamiliar" },
        score.output.p50,
        score.output.p90,
        score.elapsed_us,
        score.router.map(|router| format!(" by router {router}")).unwrap_or_default()
    ))?;
    output::line(&format!(
        "{} answers ({}): {}",
        decision.verdicts[decision.ranked[0]].model, decision.route, decision.reason
    ))
}
