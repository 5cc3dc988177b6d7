//! `make chaos`: `kill -9` at random moments under load, again and again, on one ledger. Every answered request keeps its receipt, none
//! has two, no hold survives, the chain is whole.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use tokio::task::JoinSet;
use tollgate_tests::client::Client;
use tollgate_tests::home::Home;
use tollgate_tests::upstream::{Chat, Upstream};

use crate::stage::{POLICY, SMALL_PRICE, ask, ask_stream, budget, config, receipts, verified};

const CLIENTS: usize = 32;

/// How often the gateway is killed, by `TOLLGATE_KILLS`.
fn kills() -> usize {
    std::env::var("TOLLGATE_KILLS").ok().and_then(|count| count.parse().ok()).unwrap_or(100)
}

/// Asks until the gateway is gone; the ids of what was answered whole.
async fn load(client: Client, over: Arc<AtomicBool>, number: usize) -> Vec<String> {
    let client = client.with("x-tollgate-tags", &format!("team=t{}", number % 5));
    let (mut answered, mut index) = (Vec::new(), number);
    while !over.load(Ordering::Relaxed) {
        index += 1;
        let body = if index.is_multiple_of(2) { ask("small") } else { ask_stream("small") };
        match client.try_chat(&body).await {
            Some(reply) if reply.status == 200 => {
                answered.push(reply.header("x-tollgate-request-id").to_owned())
            }
            Some(_) => {}
            None => tokio::time::sleep(Duration::from_millis(1)).await,
        }
    }
    answered
}

#[tokio::test]
#[ignore = "minutes: make chaos"]
async fn a_hundred_kills_lose_nothing() {
    let small =
        Upstream::start(Chat::new("one two three four", 11, 4).delayed(Duration::from_millis(3))).await;
    let large = Upstream::start(Chat::new("the large answer", 11, 7)).await;
    let home = Home::new(&config(&small.base_url(), &large.base_url(), SMALL_PRICE, ""));
    let policy = POLICY.to_owned()
        + &budget("purse", "\"global\"", "100", "reject")
        + &budget("teams", "\"team\"", "50", "reject");
    home.write("policies/default.toml", &policy);
    let mut answered = BTreeSet::new();
    // Where in the load the kill falls differs from run to run; what must hold does not depend on it.
    let mut moment =
        SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(1, |since| since.subsec_nanos() | 1);
    for round in 1..=kills() {
        let gateway = home.serve().await;
        let over = Arc::new(AtomicBool::new(false));
        let mut clients = JoinSet::new();
        for number in 0..CLIENTS {
            clients.spawn(load(gateway.client(), Arc::clone(&over), number));
        }
        // Marsaglia's xorshift.
        moment ^= moment << 13;
        moment ^= moment >> 17;
        moment ^= moment << 5;
        tokio::time::sleep(Duration::from_millis(50 + u64::from(moment % 700))).await;
        gateway.kill().await;
        over.store(true, Ordering::Relaxed);
        let before = answered.len();
        answered.extend(clients.join_all().await.into_iter().flatten());
        let killed = verified(&home).await;
        println!(
            "kill {round}: {} answered, {} receipts, {} holds left",
            answered.len() - before,
            killed["receipts"],
            killed["holds"]
        );
    }
    let gateway = home.serve().await;
    let metrics = gateway.metrics().await;
    assert!(metrics.sum("tollgate_budget_held_usd", &[]).abs() < 1e-12, "no hold survives");
    gateway.stop().await;
    let found = receipts(&home).await;
    let ids: BTreeSet<String> =
        found.iter().filter_map(|one| one["request_id"].as_str().map(str::to_owned)).collect();
    assert_eq!(ids.len(), found.len(), "no request has two receipts");
    let lost: Vec<&String> = answered.difference(&ids).collect();
    assert!(lost.is_empty(), "answered without a receipt: {lost:?}");
    assert_eq!(verified(&home).await["holds"], 0);
    let orphans = found.iter().filter(|receipt| receipt["status"] == "orphaned").count();
    println!(
        "{} answered, {} receipts, {orphans} of them of requests that a kill cut off",
        answered.len(),
        found.len()
    );
}

#[tokio::test]
#[ignore = "minutes: make chaos"]
async fn fifty_kills_of_a_worker_leave_nothing_undone() {
    let kills = std::env::var("TOLLGATE_WORKER_KILLS").ok().and_then(|count| count.parse().ok());
    let times = crate::worker::kills_leave_nothing_undone(kills.unwrap_or(50)).await;
    for (kill, (away, load)) in (1..).zip(times) {
        println!("kill {kill}: away for {away:?}, {load:?} of it to load the model");
    }
}
