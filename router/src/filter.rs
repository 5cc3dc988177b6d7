//! Hard filters: which models may answer this request at all, and why the others may not.
//!
//! Filters run before the objective and nothing outweighs them. Their order is fixed, so that a
//! request nobody can serve is explained by the candidate that came nearest to serving it.

use tollgate_policies::Usd;

use crate::catalog::{Live, Model};
use crate::decision::{Needs, RefusalKind};
use crate::objective::{AnswerLength, Pace, worst_cost};

/// What the matching rule leaves of the catalogue.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Narrowing<'a> {
    pub(crate) rule: &'a str,
    pub(crate) models: Option<&'a [String]>,
    pub(crate) min_bits: Option<u32>,
    pub(crate) regions: Option<&'a [String]>,
}

/// Why one model may not answer.
#[derive(Clone, Debug)]
pub(crate) struct Objection {
    pub(crate) kind: RefusalKind,
    pub(crate) text: String,
}

fn objection(kind: RefusalKind, text: String) -> Result<(), Objection> {
    Err(Objection { kind, text })
}

/// Filters that do not depend on money or time.
pub(crate) fn suits(
    model: &Model,
    live: &Live,
    needs: &Needs<'_>,
    rule: &Narrowing<'_>,
) -> Result<(), Objection> {
    asked_for(model, needs, rule)?;
    able(model, needs)?;
    permitted(model, needs, rule)?;
    if live.up { Ok(()) } else { objection(RefusalKind::Down, format!("engine {} is down", model.engine)) }
}

fn asked_for(model: &Model, needs: &Needs<'_>, rule: &Narrowing<'_>) -> Result<(), Objection> {
    // Vectors of one model are alike wherever it runs, and of no use with another's.
    let same = needs.embeddings == Some(model.upstream_model.as_str()) && model.can.embeddings;
    if let Some(pinned) = needs.pinned.filter(|pinned| *pinned != model.name && !same) {
        return objection(RefusalKind::NotAsked, format!("the request asks for {pinned}"));
    }
    if needs.allowed.is_some_and(|allowed| !allowed.contains(&model.name)) {
        return objection(RefusalKind::NotAllowed, "the key may not use it".into());
    }
    if needs.pinned.is_none() && rule.models.is_some_and(|models| !models.contains(&model.name)) {
        return objection(RefusalKind::Rule, format!("rule \"{}\" does not name it", rule.rule));
    }
    Ok(())
}

fn able(model: &Model, needs: &Needs<'_>) -> Result<(), Objection> {
    if let Some(field) = needs.routing.filter(|_| !model.can.routing) {
        let text = format!("`{field}` may change the model, provider or price that money is held for");
        return objection(RefusalKind::Routing, text);
    }
    match (needs.embeddings, model.can.embeddings) {
        (Some(_), true) => return Ok(()),
        (Some(_), false) => {
            return objection(RefusalKind::Capability, "it has no support for embeddings".into());
        }
        (None, true) => {
            let text = "it makes embeddings and writes no answers: ask it at /v1/embeddings";
            return objection(RefusalKind::Capability, text.into());
        }
        (None, false) => {}
    }
    let missing = [
        (needs.tools, model.can.tools, "tools"),
        (needs.json, model.can.json, "JSON"),
        (needs.images, model.can.images, "images"),
    ];
    if let Some((_, _, what)) = missing.iter().find(|(needed, can, _)| *needed && !can) {
        return objection(RefusalKind::Capability, format!("it has no support for {what}"));
    }
    if let Some(tier) = needs.service_tier.filter(|tier| !model.price.knows(*tier)) {
        let text = format!("its price states nothing for service tier \"{}\"", tier.as_str());
        return objection(RefusalKind::Capability, text);
    }
    // One token of answer is the least that must fit; the cap shrinks to the rest of the window.
    if needs.prompt_tokens >= model.context {
        let text = format!(
            "about {} prompt tokens do not fit its context of {}",
            needs.prompt_tokens, model.context
        );
        return objection(RefusalKind::Context, text);
    }
    Ok(())
}

/// Where data may go holds for a model that was asked for by name, too; precision is a matter of
/// choice and does not.
fn permitted(model: &Model, needs: &Needs<'_>, rule: &Narrowing<'_>) -> Result<(), Objection> {
    if let Some(regions) =
        rule.regions.filter(|regions| !model.regions.iter().any(|own| regions.contains(own)))
    {
        let (kept, own) = (regions.join(", "), shown(&model.regions));
        let text = format!("rule \"{}\" keeps it to {kept}, it runs in {own}", rule.rule);
        return objection(RefusalKind::Region, text);
    }
    if needs.pinned.is_some() {
        return Ok(());
    }
    match (rule.min_bits, model.bits) {
        (Some(least), Some(bits)) if bits < least => {
            objection(RefusalKind::Bits, format!("rule \"{}\" wants {least} bits, it has {bits}", rule.rule))
        }
        (Some(least), None) => objection(
            RefusalKind::Bits,
            format!("rule \"{}\" wants {least} bits, its precision is not known", rule.rule),
        ),
        _ => Ok(()),
    }
}

fn shown(regions: &[String]) -> String {
    if regions.is_empty() { "no stated region".into() } else { regions.join(", ") }
}

/// The time filter: not even the first token would come before the deadline.
pub(crate) fn in_time(pace: &Pace, needs: &Needs<'_>) -> Result<(), Objection> {
    match needs.deadline_ms {
        Some(deadline_ms) if pace.first_token_ms() > deadline_ms as f64 => objection(
            RefusalKind::Deadline,
            format!(
                "its first token is expected after {:.0} ms, the deadline is {deadline_ms} ms",
                pace.first_token_ms()
            ),
        ),
        _ => Ok(()),
    }
}

/// The largest answer that `limit` pays for in the worst case, at most `cap` tokens; refused when
/// that is less than a typical answer (or than what was asked for).
pub(crate) fn affordable_cap(
    (limit, kind, name): (Option<Usd>, RefusalKind, &str),
    cap: u64,
    (model, needs, live, length): (&Model, &Needs<'_>, &Live, &AnswerLength),
) -> Result<u64, Objection> {
    let Some(limit) = limit else { return Ok(cap) };
    let pays = |tokens: u64| worst_cost(model, needs, live, length, tokens) <= limit;
    if pays(cap) {
        return Ok(cap);
    }
    let least = length.median().min(cap);
    if !pays(least) {
        let worst = worst_cost(model, needs, live, length, least);
        let what = if least == 0 { String::new() } else { format!(" for {least} tokens") };
        let text = format!("up to {worst} USD{what}, {name} is {limit} USD");
        return Err(Objection { kind, text });
    }
    // Cost never falls with the number of tokens, so halving finds the largest affordable cap.
    let (mut low, mut high) = (least, cap);
    while high - low > 1 {
        let middle = low + (high - low) / 2;
        if pays(middle) { low = middle } else { high = middle }
    }
    Ok(low)
}
