//! From a score to a ranking of models, with a verdict for each of them.
//!
//! Deterministic: the same inputs give the same decision, whatever the order of requests. First the
//! policy's first matching rule narrows the candidates or moves the wanted quality, then the hard
//! filters, then the objective. The first of `ranked` answers; the rest are its fallbacks.

use tollgate_policies::{Facts, OBJECTIVE_ROUTE, Policy, Rule};

use crate::catalog::{Catalog, Live, Model};
use crate::chance::Chance;
use crate::classify::Score;
use crate::decision::{
    DEFAULT_MAX_OUTPUT, Decision, Needs, NoCandidate, PINNED, RefusalKind, Terms, Verdict,
};
use crate::filter::{self, Narrowing, Objection};
use crate::objective::{self, AnswerLength, Pace, Worth};
use crate::quality::ANY_GAP;

/// Weighs every model of the catalogue for one request.
///
/// `live` is in the catalogue's order (a missing entry counts as down). `price_of_money` is λ, in
/// quality per dollar. The wanted quality is the matching rule's, else the caller's, else the policy's.
///
/// # Errors
/// When every model is refused; the verdicts say why.
pub fn decide(
    policy: &Policy,
    catalog: &Catalog,
    live: &[Live],
    score: &Score,
    facts: &Facts<'_>,
    needs: &Needs<'_>,
    price_of_money: f64,
) -> Result<Decision, NoCandidate> {
    let mut failed = Vec::new();
    let rule = policy.rule_for(facts, |rule, _| failed.push(rule.name.clone()));
    let quality = rule.and_then(|rule| rule.quality).or(needs.quality).unwrap_or(policy.objective.quality);
    let baseline = catalog.position(&policy.baseline).unwrap_or(0);
    let ability = catalog.models().get(baseline).map_or(1.0, |model| model.ability.in_domain(score.domain));
    let baseline_good = objective::p_good(score.p_small, score.p_large, ability);
    let bound = policy.objective.max_loss.map(|most| bounded_gap(score, most));
    let gap = tolerated_gap(score, quality, bound);
    let weighing = Weighing {
        rule: rule.map(narrowing).unwrap_or_default(),
        score,
        needs,
        length: AnswerLength::of(score),
        asked: objective::good_enough(baseline_good, f64::from(score.p_large), gap),
        baseline: (baseline_good, ability),
        bound,
        price_of_money,
        latency_weight: policy.objective.latency_weight,
    };
    let down = Live { up: false, ..Live::default() };
    let weighed: Vec<(Verdict, Option<RefusalKind>)> = catalog
        .models()
        .iter()
        .enumerate()
        .map(|(at, model)| weighing.weigh(model, live.get(at).unwrap_or(&down)))
        .collect();
    let ranked = weighing.rank(catalog, &weighed);
    if ranked.is_empty() {
        return Err(no_candidate(weighed));
    }
    let verdicts: Vec<Verdict> = weighed.into_iter().map(|(verdict, _)| verdict).collect();
    let route = match (needs.pinned, rule) {
        (Some(_), _) => PINNED.to_owned(),
        (None, Some(rule)) => rule.name.clone(),
        (None, None) => OBJECTIVE_ROUTE.to_owned(),
    };
    let breaks_bound = weighing.breaks_bound(&catalog.models()[ranked[0]], &verdicts[ranked[0]]);
    let mut reason = reason(&verdicts, &ranked, (needs, breaks_bound), weighing.asked, score);
    if !failed.is_empty() {
        reason.push_str(&format!("; left out, its condition came to no answer: {}", failed.join(", ")));
    }
    let terms = Terms { gap, bound, latency_weight: policy.objective.latency_weight };
    Ok(Decision {
        ranked,
        route,
        reason,
        verdicts,
        baseline,
        quality,
        price_of_money,
        propensity: 1.0,
        kept: false,
        terms,
        chance: Chance::Nothing,
    })
}

fn narrowing(rule: &Rule) -> Narrowing<'_> {
    Narrowing {
        rule: &rule.name,
        models: rule.models.as_deref(),
        min_bits: rule.min_bits,
        regions: rule.regions.as_deref(),
    }
}

/// Quality is kept on average, `max_loss` is bounded: the tighter counts.
fn tolerated_gap(score: &Score, quality: f64, bound: Option<f64>) -> f64 {
    with_care(score, score.tolerance.tolerated_gap(quality)).min(bound.unwrap_or(ANY_GAP))
}

/// The largest gap at which no more than this share is shown to be lost. A loss that nothing bounds tolerates no gap.
fn bounded_gap(score: &Score, max_loss: f64) -> f64 {
    with_care(score, score.tolerance.gap_for_loss(max_loss).unwrap_or(0.0))
}

/// What is scored unlike the training prompts is no evidence for a smaller model: no loss is tolerated, so that the prompt
/// goes up, unless nothing is asked at all.
fn with_care(score: &Score, gap: f64) -> f64 {
    if score.familiar || gap >= ANY_GAP { gap } else { gap.min(0.0) }
}

/// Everything about a request that weighing a model needs.
struct Weighing<'a> {
    rule: Narrowing<'a>,
    score: &'a Score,
    needs: &'a Needs<'a>,
    length: AnswerLength,
    /// The p(good) that is good enough.
    asked: f64,
    /// The baseline's p(good) and ability.
    baseline: (f64, f64),
    /// The largest gap that a bound on losses leaves, if there is one.
    bound: Option<f64>,
    price_of_money: f64,
    latency_weight: f64,
}

impl Weighing<'_> {
    fn weigh(&self, model: &Model, live: &Live) -> (Verdict, Option<RefusalKind>) {
        let needs = &live.counted(self.needs);
        let pace = Pace::of(live, needs.prompt_tokens, &self.length);
        let window = model.context.saturating_sub(needs.prompt_tokens).max(1);
        let wanted = match needs.embeddings {
            Some(_) => 0,
            None => needs.max_tokens.unwrap_or(DEFAULT_MAX_OUTPUT).clamp(1, window),
        };
        let admitted = self.admit((model, needs, live), &pace, wanted);
        let output_cap = *admitted.as_ref().unwrap_or(&wanted);
        let output_tokens = self.length.expected(output_cap);
        let cost = objective::expected_cost(model, needs, &pace, output_tokens);
        let p_good = objective::p_good(
            self.score.p_small,
            self.score.p_large,
            model.ability.in_domain(self.score.domain),
        );
        let p_late = pace.p_late(needs.deadline_ms, &self.length, output_cap);
        let counted = objective::counted_quality(p_good, self.asked);
        let utility = objective::utility(counted, cost, p_late, self.price_of_money, self.latency_weight);
        let objection = admitted.err();
        let kind = objection.as_ref().map(|objection| objection.kind);
        let verdict = Verdict {
            model: model.name.clone(),
            p_good,
            cost,
            worst_cost: objective::worst_cost(model, needs, live, &self.length, output_cap),
            output_cap,
            output_tokens,
            p_late,
            latency_ms: pace.latency_ms(output_tokens),
            utility,
            refused: objection.map(|objection| objection.text),
        };
        (verdict, kind)
    }

    /// All filters; the answer is the largest output that window and money allow.
    fn admit(
        &self,
        (model, needs, live): (&Model, &Needs<'_>, &Live),
        pace: &Pace,
        wanted: u64,
    ) -> Result<u64, Objection> {
        filter::suits(model, live, needs, &self.rule)?;
        filter::in_time(pace, needs)?;
        let candidate = (model, needs, live, &self.length);
        let own = (needs.max_cost, RefusalKind::MaxCost, "the request's limit");
        let shared = (needs.affordable, RefusalKind::Budget, "what the budget has left");
        let cap = filter::affordable_cap(own, wanted, candidate)?;
        filter::affordable_cap(shared, cap, candidate)
    }

    /// The places of those that may answer, best first.
    fn rank(&self, catalog: &Catalog, weighed: &[(Verdict, Option<RefusalKind>)]) -> Vec<usize> {
        let mut ranked: Vec<usize> = (0..weighed.len()).filter(|at| weighed[*at].1.is_none()).collect();
        let worth = |at: usize| {
            let verdict = &weighed[at].0;
            let breaks_bound = self.breaks_bound(&catalog.models()[at], verdict);
            let Verdict { utility, cost, p_good, .. } = *verdict;
            Worth { breaks_bound, utility, cost, p_good }
        };
        ranked.sort_by(|a, b| worth(*a).before(&worth(*b)));
        ranked
    }

    fn breaks_bound(&self, model: &Model, verdict: &Verdict) -> bool {
        let able = (verdict.p_good, model.ability.in_domain(self.score.domain));
        objective::breaks_bound(able, self.baseline, f64::from(self.score.p_large), self.bound)
    }
}

fn reason(
    verdicts: &[Verdict],
    ranked: &[usize],
    (needs, breaks_bound): (&Needs<'_>, bool),
    asked: f64,
    score: &Score,
) -> String {
    let best = &verdicts[ranked[0]];
    if needs.pinned.is_some() {
        return format!("{} was asked for by name", best.model);
    }
    let unfamiliar =
        if score.familiar { "" } else { "; unlike the training prompts, so no loss is tolerated" };
    if ranked.len() == 1 {
        return format!("{} is the only model that may answer{unfamiliar}", best.model);
    }
    let enough = ranked.iter().filter(|at| verdicts[**at].p_good >= asked).count();
    if breaks_bound {
        return format!("no model that keeps the policy's max_loss may answer{unfamiliar}");
    }
    if best.p_good < asked {
        return format!(
            "p(good) {:.2} is below the wanted {asked:.2}, but money or time weighs more{unfamiliar}",
            best.p_good
        );
    }
    let weighed = format!("p(good) {:.2} reaches the wanted {asked:.2}", best.p_good);
    match enough {
        1 => format!("{weighed}, no other model does{unfamiliar}"),
        _ => format!("{weighed}, best by cost and time of {enough} that do{unfamiliar}"),
    }
}

fn no_candidate(weighed: Vec<(Verdict, Option<RefusalKind>)>) -> NoCandidate {
    let nearest = weighed
        .iter()
        .filter_map(|(verdict, kind)| kind.map(|kind| (kind, verdict)))
        .max_by_key(|(kind, _)| *kind);
    let (kind, reason) = match nearest {
        Some((kind, verdict)) => {
            (kind, format!("{}: {}", verdict.model, verdict.refused.as_deref().unwrap_or_default()))
        }
        None => (RefusalKind::NotAsked, "the catalogue is empty".to_owned()),
    };
    NoCandidate { verdicts: weighed.into_iter().map(|(verdict, _)| verdict).collect(), kind, reason }
}

#[cfg(test)]
mod tests;
