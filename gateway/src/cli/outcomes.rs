//! `tollgate ledger outcomes`: the answers judged so far and what they say of the models.

use std::collections::BTreeMap;
use std::process::ExitCode;

use clap::Args;
use serde::Serialize;
use tollgate::config::{Config, catalog, router};
use tollgate::learn::{Study, abilities, study};
use tollgate::ledger::{Reader, Tally};
use tollgate_router::{Abilities, Ability, Evidence, RouterId, Trial};

use super::{CliError, Place, PolicyArgs, output};

#[derive(Debug, Args)]
pub(crate) struct OutcomesArgs {
    /// Print JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    policies: PolicyArgs,
}

#[derive(Serialize)]
struct Shown<'s> {
    judged: &'s [Tally],
    router: RouterId,
    learned_from: usize,
    left_out: usize,
    in_force: &'s Abilities,
    proposal: &'s Abilities,
    evidence: BTreeMap<&'s str, Vec<Evidence>>,
    trial: &'s Trial,
    promotes: bool,
}

impl OutcomesArgs {
    pub(crate) fn run(self) -> Result<ExitCode, CliError> {
        let mut overrides = self.place.overrides();
        overrides.policies = self.policies.policies;
        let config = Config::load(&overrides)?;
        let policies = config.policies.load(&config.models)?;
        let configured = abilities(&catalog(&config.models, &policies.default.baseline));
        let path = config.ledger()?;
        let ledger = Reader::open(&path)?;
        let router = router(config.router.calibration.as_deref())?;
        let promoted = ledger.promotion(router)?.filter(|promotion| promotion.configured == configured);
        let in_force = promoted.map_or_else(|| configured.clone(), |promotion| promotion.abilities);
        let study = study(&path, router, configured, &in_force)?;
        let judged = ledger.tallies()?;
        let evidence = in_force.keys().map(|model| (model.as_str(), study.learner.evidence(model))).collect();
        let shown = Shown {
            judged: &judged,
            router,
            learned_from: study.outcomes,
            left_out: study.left_out,
            in_force: &in_force,
            proposal: &study.proposal,
            evidence,
            trial: &study.trial,
            promotes: study.trial.promotes(),
        };
        if self.json {
            output::json(&shown)?;
        } else if judged.is_empty() {
            output::line(
                "No answer was judged yet. POST /v1/feedback takes verdicts; a policy's [learn] section asks twice (docs/learning.md).",
            )?;
        } else {
            output::line(&verdicts(&judged))?;
            output::line(&table(&shown))?;
            if study.left_out > 0 {
                output::line(&format!(
                    "{} verdicts are left out: on decisions of another router (graph or calibration) than this one, {router}, where \
                     abilities mean something else.",
                    study.left_out
                ))?;
            }
            output::line(&told(&study))?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn verdicts(judged: &[Tally]) -> String {
    let mut rows = Vec::new();
    for tally in judged {
        for source in ["feedback", "shadow", "judge"] {
            let of = |side: &BTreeMap<String, u64>| side.get(source).copied().unwrap_or(0);
            let (good, bad) = (of(&tally.good), of(&tally.bad));
            if good + bad > 0 {
                rows.push(vec![tally.model.clone(), source.to_owned(), good.to_string(), bad.to_string()]);
            }
        }
    }
    output::table(&["model", "judged by", "good", "bad"], 2, rows).to_string()
}

fn table(shown: &Shown<'_>) -> String {
    let number = |value: f64| format!("{value:.2}");
    let mut rows = Vec::new();
    for (model, evidence) in &shown.evidence {
        let of = |abilities: &Abilities, domain: &str| {
            abilities.get(*model).copied().map_or(0.0, |ability: Ability| ability.in_domain(domain))
        };
        for line in evidence {
            rows.push(vec![
                (*model).to_owned(),
                line.domain.to_owned(),
                line.judged.to_string(),
                line.good.to_string(),
                number(of(shown.in_force, line.domain)),
                format!("{:.2} ± {:.2}", line.mean, line.deviation),
            ]);
        }
    }
    let head = ["model", "domain", "judged", "good", "ability in force", "ability learned"];
    output::table(&head, 2, rows).to_string()
}

fn told(study: &Study) -> String {
    let trial = &study.trial;
    let verdict = if trial.promotes() {
        "they win, and a policy with [learn] promote = true puts them in force"
    } else {
        "not shown to be better: what is in force stays"
    };
    let open = match trial.bias {
        bias if bias >= 5e-5 => format!(
            ", of which {bias:.4} to each side for models that chance gave too little or nothing (see explore)"
        ),
        _ => String::new(),
    };
    format!(
        "The abilities learned, tried on {} requests of which they would send {} elsewhere: value {:+.4} a request, 95 % within \
         {:+.4} to {:+.4}{open}; {verdict}.",
        trial.requests, trial.differing, trial.gain, trial.low, trial.high
    )
}
