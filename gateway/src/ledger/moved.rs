//! Spend where it went: what tries cost that failed, or whose answer was thrown away, counts for the model that was tried, not for
//! the one that answered in the end. Requests and tokens stay with the latter, and no total changes.

use std::cmp::Reverse;
use std::collections::HashMap;

use tollgate_policies::Usd;

use super::record::Receipt;
use super::report::{Dimension, Line, Question};

/// A value for each dimension asked for.
pub(super) type Group = Vec<Option<String>>;

/// A table of what is to be added to reports: each try's cost to its own model, and the same taken from the model that answered.
/// It has the columns and the name that dimensions are read from.
pub(super) const MOVES: &str = "\
    (SELECT at_ms, key, team, run, tags, policy, route, status, attempts.model, attempts.engine, attempts.cost_nanos \
     FROM attempts JOIN receipts ON seq = receipt UNION ALL \
     SELECT at_ms, key, team, run, tags, policy, route, status, receipts.model, receipts.engine, -attempts.cost_nanos \
     FROM attempts JOIN receipts ON seq = receipt) AS receipts";

/// A try that cost something, as the table `attempts` has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Costly {
    /// Its place among the receipt's attempts, from 0.
    pub(super) number: i64,
    pub(super) model: String,
    pub(super) engine: String,
    pub(super) cost: Usd,
}

impl Costly {
    /// What is selected of `attempts`, the receipt's number first.
    pub(super) const COLUMNS: &'static str = "receipt, number, model, engine, cost_nanos";

    /// Those of a receipt.
    pub(super) fn of(receipt: &Receipt) -> impl Iterator<Item = Costly> + '_ {
        (0..).zip(&receipt.attempts).filter(|(_, attempt)| attempt.cost > Usd::ZERO).map(
            |(number, attempt)| Costly {
                number,
                model: attempt.model.clone(),
                engine: attempt.engine.clone(),
                cost: attempt.cost,
            },
        )
    }
}

/// Whether a report tells models or engines apart, so that something moves in it.
pub(super) fn concerns(question: &Question) -> bool {
    question.by.iter().any(|dimension| matches!(dimension, Dimension::Model | Dimension::Engine))
}

/// Adds `moves` to a report's lines, which stay in their order: by time, else the dearest first.
pub(super) fn apply(lines: &mut Vec<Line>, moves: Vec<(Group, Usd)>, question: &Question) {
    if moves.is_empty() {
        return;
    }
    let mut places: HashMap<Group, usize> =
        lines.iter().enumerate().map(|(place, line)| (line.group.clone(), place)).collect();
    for (group, amount) in moves {
        let place = *places.entry(group).or_insert_with_key(|group| {
            lines.push(Line { group: group.clone(), ..Line::default() });
            lines.len() - 1
        });
        let line = &mut lines[place];
        line.cost_usd = line.cost_usd.saturating_add(amount);
        line.saved_usd = line.saved_usd.saturating_sub(amount);
    }
    match question.by.iter().position(Dimension::is_time) {
        Some(time) => lines.sort_by(|a, b| a.group[time].cmp(&b.group[time])),
        None => lines.sort_by_key(|line| (Reverse(line.cost_usd), line.group.first().cloned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(model: &str, requests: u64, nanos: i64) -> Line {
        let cost_usd = Usd::from_nanos(nanos);
        Line { group: vec![Some(model.to_owned())], requests, cost_usd, ..Line::default() }
    }

    #[test]
    fn money_goes_to_the_model_that_took_it() {
        let question = Question { by: vec![Dimension::Model], ..Question::default() };
        let mut lines = vec![line("large", 3, 500), line("small", 1, 10)];
        let moved = |model: &str, nanos| (vec![Some(model.to_owned())], Usd::from_nanos(nanos));
        apply(&mut lines, vec![moved("large", -450), moved("small", 50), moved("gone", 400)], &question);
        let told: Vec<_> = lines
            .iter()
            .map(|line| (line.group[0].as_deref().unwrap(), line.requests, line.cost_usd.nanos()))
            .collect();
        assert_eq!(told, [("gone", 0, 400), ("small", 1, 60), ("large", 3, 50)]);
        assert!(lines.iter().map(|line| line.saved_usd).sum::<Usd>() == Usd::ZERO);
    }
}
