//! Five thousand requests at 256 connections against twenty budgets that overlap: none is overspent, and nothing is refused that
//! could have been paid once holds settle.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::task::JoinSet;
use tollgate_tests::upstream::Chat;

use crate::stage::{POLICY, SMALL_PRICE, Stage, ask, verified};

const REQUESTS: usize = 5_000;
const CONNECTIONS: usize = 256;
/// 11 prompt tokens at 0.50 and 7 of the answer at 1.00 USD per million.
const COST: f64 = 0.000_012_5;
/// What all requests together may spend: a little less than they would.
const PAID_FOR: usize = 4_000;

/// Four windows of all requests, and more than their shares of teams, tags and runs, so that the global ones bind.
fn budgets() -> String {
    let mut text = String::new();
    let mut add = |name: &str, scope: &str, window: &str, requests: usize| {
        let limit = format!("{:.7}", requests as f64 * COST);
        text.push_str(&format!(
            "[[budget]]\nname = \"{name}\"\nscope = {scope}\nlimit_usd = {limit}\nwindow = \"{window}\"\non_exhausted = \"queue\"\n"
        ));
    };
    for window in ["1h", "1d", "1w", "1mo"] {
        add(&format!("all {window}"), "\"global\"", window, PAID_FOR);
        add(&format!("team {window}"), "\"team\"", window, PAID_FOR / 4 + 800);
        add(&format!("env {window}"), "\"tag.env\"", window, PAID_FOR / 2 + 800);
    }
    for team in ["t0", "t1", "t2", "t3"] {
        add(team, &format!("{{ team = \"{team}\" }}"), "1mo", PAID_FOR / 4 + 900);
    }
    add("prod", "{ tag.env = \"prod\" }", "1mo", PAID_FOR / 2 + 900);
    add("dev", "{ tag.env = \"dev\" }", "1mo", PAID_FOR / 2 + 900);
    add("runs", "\"run\"", "run", PAID_FOR / 8 + 800);
    add("projects", "\"tag.project\"", "1mo", PAID_FOR / 8 + 800);
    text
}

#[tokio::test]
async fn twenty_overlapping_budgets_are_spent_to_the_last_request_and_not_beyond() {
    let policy = POLICY.to_owned() + &budgets();
    assert_eq!(policy.matches("[[budget]]").count(), 20);
    let stage = Stage::with(&policy, SMALL_PRICE, "").await;
    stage.small.answer(Chat::new("the small answer", 11, 7).delayed(Duration::from_millis(2)));
    let next = Arc::new(AtomicUsize::new(0));
    let mut clients = JoinSet::new();
    for _ in 0..CONNECTIONS {
        let (client, next) = (stage.client(), Arc::clone(&next));
        clients.spawn(async move {
            let (mut served, mut refused) = (0, 0);
            loop {
                let index = next.fetch_add(1, Ordering::Relaxed);
                if index >= REQUESTS {
                    return (served, refused);
                }
                let env = if index.is_multiple_of(2) { "prod" } else { "dev" };
                let tags = format!("team=t{},env={env},project=p{}", index / 2 % 4, index / 8 % 8);
                let client =
                    client.with("x-tollgate-tags", &tags).with("x-tollgate-run", &format!("r{}", index % 8));
                let reply = client.chat(&ask("small")).await;
                match reply.status.as_u16() {
                    200 => served += 1,
                    429 => refused += 1,
                    _ => panic!("{}", reply.text()),
                }
            }
        });
    }
    let looking = async {
        loop {
            let metrics = stage.gateway.metrics().await;
            for sample in metrics.samples.iter().filter(|sample| sample.name == "tollgate_budget_limit_usd") {
                let budget = [("budget", sample.labels["budget"].as_str())];
                let settled = metrics.sum("tollgate_budget_settled_usd", &budget);
                let held = metrics.sum("tollgate_budget_held_usd", &budget);
                assert!(
                    settled + held <= sample.value + 1e-12,
                    "{budget:?}: {settled} + {held} > {}",
                    sample.value
                );
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let counts = tokio::select! {
        counts = clients.join_all() => counts,
        () = looking => unreachable!("it looks until the clients are done"),
    };
    let (served, refused) = counts.into_iter().fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
    assert_eq!(served + refused, REQUESTS);
    // The last holds are larger than what they settle for: less than one of them is left, no request's cost more.
    let metrics = stage.gateway.metrics().await;
    let worst = metrics.sum("tollgate_budget_limit_usd", &[("budget", "all 1mo")]) - PAID_FOR as f64 * COST;
    assert!(worst.abs() < 1e-9, "the limit is as written");
    let settled = metrics.sum("tollgate_budget_settled_usd", &[("budget", "all 1mo")]);
    assert!((settled - served as f64 * COST).abs() < 1e-9, "settled {settled}, served {served}");
    let hold: f64 =
        stage.receipts().await[0]["held"].as_str().and_then(|text| text.parse().ok()).expect("money is text");
    let left = PAID_FOR as f64 * COST - settled;
    assert!(
        (0.0..hold).contains(&(left + 1e-12)),
        "{left} is left, which a hold of {hold} would have fitted into"
    );
    assert!(metrics.sum("tollgate_budget_held_usd", &[]).abs() < 1e-12);
    assert_eq!(verified(&stage.home).await["holds"], 0);
}
