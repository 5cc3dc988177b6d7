//! A disk that is full, and one that has lost something: nothing is spent that cannot be booked, nothing that was answered is lost.

use std::collections::BTreeSet;

use hyper::StatusCode;
use tollgate_tests::client::Client;
use tollgate_tests::home::Home;
use tollgate_tests::upstream::{Chat, Upstream};

use crate::stage::{POLICY, SMALL_PRICE, Stage, ask, ask_stream, budget, config, receipts, verified};

/// Asks one after the other until a request is refused; the ids of those answered.
async fn until_refused(client: &Client) -> Vec<String> {
    let mut answered = Vec::new();
    for index in 0..2_000 {
        let body = if index % 2 == 0 { ask("small") } else { ask_stream("small") };
        let reply = client.chat(&body).await;
        let id = reply.header("x-tollgate-request-id").to_owned();
        match reply.status {
            // A stream whose receipt cannot be written ends with an error instead of its terminator.
            StatusCode::OK if index % 2 == 1 && !reply.text().contains("[DONE]") => {}
            StatusCode::OK => answered.push(id),
            status => {
                assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{}", reply.text());
                assert_eq!(reply.error()["code"], "ledger_unavailable", "{}", reply.text());
                return answered;
            }
        }
    }
    panic!("2,000 receipts found room");
}

#[tokio::test]
async fn a_full_disk_stops_spending_and_loses_nothing() {
    let small = Upstream::start(Chat::new("the small answer", 11, 7)).await;
    let home = Home::new(&config(&small.base_url(), &small.base_url(), SMALL_PRICE, ""));
    home.write("policies/default.toml", &(POLICY.to_owned() + &budget("purse", "\"global\"", "1", "reject")));
    let gateway = home.serve_on_a_small_disk().await;
    let client = gateway.client();
    assert_eq!(client.chat(&ask("small")).await.status, 200);
    gateway.limit_files(Some(400_000));
    let mut answered: BTreeSet<String> = until_refused(&client).await.into_iter().collect();
    assert!(!answered.is_empty());
    let asked = small.counts().asked;
    for _ in 0..5 {
        assert_eq!(client.chat(&ask("small")).await.status, StatusCode::SERVICE_UNAVAILABLE);
    }
    assert_eq!(small.counts().asked, asked, "nothing is spent that cannot be booked");
    let ready = client.get("/readyz").await;
    assert_eq!(ready.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(ready.text().contains("ledger"), "{}", ready.text());
    gateway.limit_files(None);
    gateway
        .metrics_reach("a writable ledger", |metrics| metrics.sum("tollgate_ledger_writable", &[]) > 0.5)
        .await;
    let reply = client.chat(&ask("small")).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    answered.insert(reply.header("x-tollgate-request-id").to_owned());
    let metrics = gateway.metrics().await;
    assert!(metrics.sum("tollgate_budget_held_usd", &[]).abs() < 1e-12);
    let settled = metrics.sum("tollgate_budget_settled_usd", &[("budget", "purse")]);
    gateway.stop().await;
    let found = receipts(&home).await;
    let ids: BTreeSet<String> =
        found.iter().filter_map(|one| one["request_id"].as_str().map(str::to_owned)).collect();
    assert!(answered.is_subset(&ids) && ids.len() == found.len());
    // What was asked of the upstream while the disk filled up is booked too, answered or not.
    assert_eq!(found.len(), small.counts().asked, "every call has a receipt");
    assert!((settled - found.len() as f64 * 0.000_012_5).abs() < 1e-9, "{settled}");
    assert_eq!(verified(&home).await["holds"], 0);
}

#[tokio::test]
async fn a_damaged_ledger_is_told_and_left_alone() {
    let stage = Stage::new().await;
    for _ in 0..40 {
        assert_eq!(stage.client().chat(&ask("small")).await.status, 200);
    }
    assert_eq!(stage.gateway.stop().await.code(), Some(0));
    let path = stage.home.data().join("tollgate.db");
    let whole = std::fs::read(&path).expect("the ledger is a file");
    // Page 1 stays, so that it is still a ledger; what follows is overwritten.
    let mut damaged = whole.clone();
    damaged[4096..].fill(0x5a);
    std::fs::write(&path, &damaged).expect("the ledger can be written");
    let args = ["serve", "--config", "tollgate.toml", "--data-dir", "data"];
    let refused = stage.home.run(&args).await;
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(refused.said().contains("is damaged") && refused.said().contains("backup"), "{}", refused.said());
    assert_eq!(std::fs::read(&path).expect("it is still there"), damaged, "nothing was written");
    // One flipped byte of a receipt is found by verify, which names the receipt.
    let mut flipped = whole.clone();
    // Every copy: pages keep what was moved off them.
    for place in (0..whole.len() - 16).filter(|place| whole[*place..].starts_with(b"\"cost\":\"0.000012")) {
        flipped[place + 15] = b'1';
    }
    std::fs::write(&path, &flipped).expect("the ledger can be written");
    let args = ["ledger", "verify", "--config", "tollgate.toml", "--data-dir", "data"];
    let verdict = stage.home.run(&args).await;
    assert_eq!(verdict.code, Some(1));
    assert!(
        verdict.stdout.contains("the chain breaks here") && verdict.stdout.contains("NOT whole"),
        "{}",
        verdict.stdout
    );
}
