//! Costs beyond what was held, on a ledger in a real PostgreSQL: spent in full, lent to nobody, and never too much to be written.

use hyper::StatusCode;
use tokio::task::JoinSet;
use tollgate_tests::home::Home;
use tollgate_tests::postgres::Postgres;
use tollgate_tests::upstream::{Chat, Gate, Upstream};

use crate::shared::{home, taken, upstream};
use crate::stage::{POLICY, SMALL_PRICE, ask, budget, config, receipts, verified};

/// A home on the server with a budget of so much, whose small model has this price.
fn priced(upstream: &Upstream, server: &Postgres, limit: &str, price: &str) -> Home {
    let policy = POLICY.to_owned() + &budget("purse", "\"global\"", limit, "reject");
    let home = home(upstream, server.addr(), &policy);
    let config = std::fs::read_to_string(home.path().join("tollgate.toml")).expect("it was written");
    home.write("tollgate.toml", &config.replacen(SMALL_PRICE, price, 1));
    home
}

/// What a request costs beyond what it held is spent, and lent to nobody.
#[tokio::test]
async fn what_cost_more_than_was_held_is_not_lent_to_others() {
    let server = Postgres::start();
    let upstream = upstream().await;
    let price = "{ input = 0, output = 1000 }";
    let homes = [(); 2].map(|()| priced(&upstream, &server, "0.010", price));
    let gateways = [homes[0].serve().await, homes[1].serve().await];
    let mut body = ask("small");
    body["max_tokens"] = 1.into();
    // 0.001 USD is held, and an engine that heeds no bound writes for 0.005.
    upstream.push(Chat::new("on and on and on", 11, 5));
    assert_eq!(gateways[0].client().chat(&body).await.status, 200);
    upstream.answer(Chat::new("a", 11, 1));
    let mut served = 0;
    while gateways[1].client().chat(&body).await.status == StatusCode::OK {
        served += 1;
    }
    let (settled, leased) = taken(&server, "purse").await;
    assert!(settled + leased <= 0.010 + 1e-9, "{settled} and {leased}");
    assert_eq!(served, 5, "what is left is there for the other");
    assert_eq!(verified(&homes[0]).await["problems"], 0);
}

/// Nothing that is charged keeps a receipt from being written.
#[tokio::test]
async fn sums_that_no_number_holds_stay_at_the_greatest() {
    let (server, upstream) = (Postgres::start(), upstream().await);
    let home = priced(&upstream, &server, "1000000", DEAR);
    spend_too_much(&upstream, &home).await;
    assert_eq!(server.sql("SELECT settled_nanos FROM windows").await, i64::MAX.to_string());
    let home = Home::new(&config(&upstream.base_url(), &upstream.base_url(), DEAR, ""));
    home.write(
        "policies/default.toml",
        &(POLICY.to_owned() + &budget("purse", "\"global\"", "1000000", "reject")),
    );
    spend_too_much(&upstream, &home).await;
}

/// A dollar a token.
const DEAR: &str = "{ input = 1000000, output = 1000000 }";

async fn spend_too_much(upstream: &Upstream, home: &Home) {
    let gateway = home.serve().await;
    // Three answers of 2^32 tokens come to more than 2^63 nanodollars.
    let gate = Gate::closed();
    upstream.answer(Chat::new("much", 1 << 32, 1 << 32).gated(0, &gate));
    let asked_before = upstream.counts().asked;
    let mut asked = JoinSet::new();
    for _ in 0..3 {
        let client = gateway.client();
        asked.spawn(async move { client.chat(&ask("small")).await });
    }
    upstream.until("all three", move |counts| counts.asked == asked_before + 3).await;
    gate.open();
    while let Some(reply) = asked.join_next().await {
        let reply = reply.expect("it was asked");
        assert_eq!(reply.status, 200, "{}", reply.text());
    }
    assert_eq!(receipts(home).await.len(), 3);
    let refused = gateway.client().chat(&ask("small")).await;
    assert_eq!(refused.error()["code"], "insufficient_quota", "{}", refused.text());
    let place = ["ledger", "report", "--config", "tollgate.toml", "--data-dir", "data"];
    assert!(home.run(&place).await.success().contains("9223372036.854775807"));
    assert_eq!(gateway.stop().await.code(), Some(0));
}
