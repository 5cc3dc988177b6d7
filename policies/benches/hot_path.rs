//! What policies cost a request: matching the default policy's rules, and holding and settling money.
//!
//! `cargo bench -p tollgate-policies` prints the median and the range of several rounds, in microseconds.
#![expect(clippy::print_stdout, reason = "a benchmark prints its result")]
#![expect(clippy::unwrap_used, reason = "a benchmark stops at the first surprise")]

use std::collections::BTreeMap;
use std::hint::black_box;
use std::time::Instant;

use tollgate_policies::{Budgets, Facts, Policy, Spender, Usd, check, shipped};

const ROUNDS: usize = 11;
const CALLS: u32 = 1_000;

fn main() {
    let tags = BTreeMap::from([("region".to_owned(), "us".to_owned())]);
    let facts = facts(&tags);
    for (file, text) in shipped() {
        let policy = check(file, text, None).unwrap();
        report(&format!("{file}: its {} rules, none holding", policy.rules.len()), || {
            black_box(first_rule(&policy, &facts));
        });
    }
    let (file, text) = shipped()[0];
    report("check the default policy", || {
        black_box(check(file, text, None)).unwrap();
    });
    let policy = check(file, text, None).unwrap();
    let budgets = Budgets::new(policy.budgets);
    let who = Spender { key: Some("ci"), team: Some("search"), tags: &tags, run: None, learning: None };
    report("hold and settle in one budget", || {
        budgets.reserve(&who, Usd::from_nanos(1_000), 0).unwrap().settle(Usd::from_nanos(1));
    });
}

fn first_rule<'p>(policy: &'p Policy, facts: &Facts<'_>) -> Option<&'p str> {
    policy.rule_for(facts, |_, _| {}).map(|rule| rule.name.as_str())
}

fn report(what: &str, mut call: impl FnMut()) {
    let mut rounds: Vec<f64> = (0..ROUNDS)
        .map(|_| {
            let start = Instant::now();
            (0..CALLS).for_each(|_| call());
            start.elapsed().as_secs_f64() * 1e6 / f64::from(CALLS)
        })
        .collect();
    rounds.sort_by(f64::total_cmp);
    println!("{what}: {:.2} us ({:.2} to {:.2})", rounds[ROUNDS / 2], rounds[0], rounds[ROUNDS - 1]);
}

fn facts(tags: &BTreeMap<String, String>) -> Facts<'_> {
    Facts {
        domain: "chat",
        difficulty: 0.1,
        p_small: 0.9,
        p_large: 0.95,
        familiar: true,
        confidence: 1.0,
        prompt_tokens: 40,
        output_tokens_p50: 100,
        output_tokens_p90: 400,
        tools: false,
        images: false,
        json: false,
        stream: false,
        model: "auto",
        key: "ci",
        team: "search",
        run: "",
        tags,
        turns: 1,
        deadline_ms: 0,
        quality: 0.95,
    }
}
