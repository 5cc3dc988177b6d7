//! A ledger in a real PostgreSQL: alone it does what a file does; several gateways on it share budgets and overspend none of them.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use hyper::StatusCode;
use serde_json::Value;
use tokio::task::JoinSet;
use tollgate_tests::client::Client;
use tollgate_tests::gateway::Gateway;
use tollgate_tests::home::Home;
use tollgate_tests::postgres::{Door, Postgres};
use tollgate_tests::upstream::{Chat, Upstream};

use crate::learn::learned;
use crate::stage::{POLICY, SMALL_PRICE, ask, ask_stream, budget, config, receipts, verified};

/// 11 prompt tokens at 0.50 and 7 of the answer at 1.00 USD per million.
const COST: f64 = 0.000_012_5;

pub(crate) fn home(upstream: &Upstream, server: SocketAddr, policy: &str) -> Home {
    let ledger =
        format!("[ledger]\nurl = \"postgres://tollgate@{server}/postgres\"\n[content]\nkeep = \"all\"\n");
    let home = Home::new(&(config(&upstream.base_url(), &upstream.base_url(), SMALL_PRICE, "") + &ledger));
    home.write("policies/default.toml", policy);
    home
}

pub(crate) async fn upstream() -> Upstream {
    Upstream::start(Chat::new("the small answer", 11, 7).delayed(Duration::from_millis(2))).await
}

/// Settled and leased money of a budget, from the server itself.
pub(crate) async fn taken(server: &Postgres, budget: &str) -> (f64, f64) {
    let row = server.sql(&format!(
        "SELECT coalesce(sum(settled_nanos), 0), coalesce(sum(leased_nanos), 0) FROM windows WHERE budget = '{budget}'"
    )).await;
    let (settled, leased) = row.split_once('|').expect("two columns");
    let usd = |nanos: &str| nanos.parse::<f64>().expect("a number") / 1e9;
    (usd(settled), usd(leased))
}

async fn until(what: &str, reached: impl AsyncFn() -> bool) {
    tollgate_tests::within(what, async {
        while !reached().await {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_ledger_in_postgresql_does_what_a_file_does() {
    let server = Postgres::start();
    let upstream = upstream().await;
    let home = home(
        &upstream,
        server.addr(),
        &(POLICY.to_owned() + &budget("purse", "\"global\"", "0.001", "reject")),
    );
    let gateway = home.serve().await;
    let place = ["--config", "tollgate.toml", "--data-dir", "data"];
    let cli = |args: Vec<&'static str>| {
        let (home, args) = (&home, args.into_iter().chain(place).collect::<Vec<_>>());
        async move { home.run(&args).await }
    };
    let made = cli(vec!["keys", "create", "--json", "--name", "alice", "--team", "search"]).await.success();
    let secret: Value = serde_json::from_str(&made).expect("it is JSON");
    let client = gateway.client().key(secret["secret"].as_str().expect("a secret"));
    for index in 0..40 {
        let body = if index % 2 == 0 { ask("small") } else { ask_stream("small") };
        let reply = client.with("x-tollgate-tags", "env=prod").chat(&body).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
    }
    let (settled, _) = taken(&server, "purse").await;
    assert!((settled - 40.0 * COST).abs() < 1e-9, "{settled}");
    let mut more = 0;
    while client.chat(&ask("small")).await.status == StatusCode::OK {
        more += 1;
    }
    // 80 in all cost the limit; a hold is as large as five of them, so the last few find no room.
    let refused = client.chat(&ask("small")).await;
    assert!((34..=40).contains(&more), "{more} more were paid for: {}", refused.text());
    assert_eq!(refused.error()["code"], "insufficient_quota", "{}", refused.text());
    let verdict = verified(&home).await;
    assert_eq!((&verdict["problems"], &verdict["holds"]), (&0.into(), &0.into()), "{verdict}");
    assert_eq!(verdict["receipts"], receipts(&home).await.len());
    for by in ["model", "key", "team", "hour", "tag.env", "run"] {
        let args = ["ledger", "report", "--json", "--by", by];
        let report = home.run(&args.into_iter().chain(place).collect::<Vec<_>>()).await.success();
        let report: Value = serde_json::from_str(&report).expect("it is JSON");
        assert_eq!(report["total"]["requests"], 40 + more, "{by}: {report}");
    }
    let kept = cli(vec!["ledger", "export", "--sharegpt", "--status", "all"]).await.success();
    assert_eq!(kept.lines().count(), 40 + more, "every answer is kept");
    assert!(kept.lines().all(|line| line.contains("the small answer")), "{kept}");
    let by_key = cli(vec!["ledger", "report", "--by", "key", "--csv"]).await.success();
    assert!(by_key.contains("alice"), "{by_key}");
    let replayed = cli(vec!["policy", "replay", "policies/default.toml", "--json"]).await.success();
    assert!(replayed.contains("\"answered\""), "{replayed}");
    server.sql("UPDATE receipts SET cost_nanos = 1 WHERE seq = 3").await;
    server.sql("INSERT INTO attempts VALUES (4, 0, 'another', 'elsewhere', 5000)").await;
    let tampered = cli(vec!["ledger", "verify"]).await;
    for problem in ["receipt 3: column cost_nanos", "receipt 4: its rows in attempts"] {
        assert!(tampered.code == Some(1) && tampered.stdout.contains(problem), "{tampered:?}");
    }
    let by_model = cli(vec!["ledger", "report", "--by", "day,model", "--csv"]).await.success();
    assert!(by_model.contains("another,0,0,0,0.000005,"), "{by_model}");
    // A database from before there was that table: it is filled from the receipts. Nor did promotions name their router.
    server.sql("DROP TABLE attempts, contents").await;
    server.sql("ALTER TABLE promotions DROP COLUMN router").await;
    let promoted = r#"'{"small": 0, "large": 1}', '{"small": 0.5, "large": 1}', '{}'"#;
    server
        .sql(&format!("INSERT INTO promotions (at_ms, configured, abilities, trial) VALUES (1, {promoted})"))
        .await;
    server.sql("UPDATE meta SET value = 1 WHERE name = 'schema'").await;
    server.sql(
        r#"UPDATE receipts SET body = '{"attempts":[{"model":"free","engine":"e","cost":"0"},{"model":"tried","engine":"e","cost":"0.0000115"}]}'
        WHERE seq = 5"#,
    ).await;
    let by_model = cli(vec!["ledger", "report", "--by", "model", "--csv"]).await.success();
    assert!(by_model.contains("tried,0,0,0,0.0000115,") && !by_model.contains("free"), "{by_model}");
    let before = learned(&home).await;
    assert_eq!(before["in_force"]["small"], 0.0, "nobody knows under which router: {before}");
    let router = before["router"].as_str().expect("a router has a name");
    server.sql(&format!(
        "INSERT INTO promotions (at_ms, configured, abilities, trial, router) VALUES (2, {promoted}, '{router}'), (3, {promoted}, 'other')"
    )).await;
    assert_eq!(learned(&home).await["in_force"]["small"], 0.5);
    assert!(!gateway.log().contains("tollgate@"), "{}", gateway.log());
    assert_eq!(gateway.stop().await.code(), Some(0));
    assert_eq!(server.sql("SELECT count(*) FROM gateways").await, "0");
    assert!(taken(&server, "purse").await.1.abs() < 1e-12, "everything leased was given back");
}

/// Asks until told to stop; how many were answered.
async fn load(client: Client, over: Arc<AtomicBool>) -> usize {
    let mut served = 0;
    while !over.load(Ordering::Relaxed) {
        match client.try_chat(&ask("small")).await {
            Some(reply) if reply.status == 200 => served += 1,
            Some(reply) => {
                assert!([429, 503].contains(&reply.status.as_u16()), "{}", reply.text());
                // Whoever asks again at once takes the machine from those whose holds are to settle.
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            None => tokio::time::sleep(Duration::from_millis(5)).await,
        }
    }
    served
}

#[tokio::test]
async fn three_gateways_one_killed_and_one_cut_off_overspend_nothing() {
    let server = Postgres::start();
    let door = Door::before(server.addr()).await;
    let upstream = upstream().await;
    let limit = 1_200.0 * COST;
    let policy = POLICY.to_owned() + &budget("purse", "\"global\"", &format!("{limit:.7}"), "reject");
    let homes = [
        home(&upstream, server.addr(), &policy),
        home(&upstream, server.addr(), &policy),
        home(&upstream, door.addr(), &policy),
    ];
    let mut gateways: Vec<Gateway> = Vec::new();
    for home in &homes {
        gateways.push(home.serve().await);
    }
    let over = Arc::new(AtomicBool::new(false));
    let mut clients = JoinSet::new();
    for gateway in &gateways {
        for _ in 0..4 {
            clients.spawn(load(gateway.client(), Arc::clone(&over)));
        }
    }
    let watching = async {
        loop {
            let (settled, leased) = taken(&server, "purse").await;
            assert!(settled + leased <= limit + 1e-9, "{settled} + {leased} > {limit}");
            tokio::time::sleep(Duration::from_millis(40)).await;
        }
    };
    let cut = gateways.remove(2);
    let killed = gateways.remove(1);
    let events = async {
        until("some to be answered by each", async || taken(&server, "purse").await.0 > 200.0 * COST).await;
        killed.kill().await;
        tokio::time::sleep(Duration::from_millis(400)).await;
        door.shut();
        // What the one cut off may begin from now on it cannot put on record, so it begins nothing.
        tokio::time::sleep(Duration::from_secs(3)).await;
        let refused = cut.client().chat(&ask("small")).await;
        assert_eq!(refused.status, StatusCode::SERVICE_UNAVAILABLE, "{}", refused.text());
        until("the killed and the cut off one to be taken over", async || {
            server.sql("SELECT count(*) FROM gateways").await == "1"
        })
        .await;
        door.open();
        cut.metrics_reach("a writable ledger", |metrics| metrics.sum("tollgate_ledger_writable", &[]) > 0.5)
            .await;
        until("the budget to be spent", async || taken(&server, "purse").await.0 > limit - 40.0 * COST).await;
    };
    tokio::select! {
        () = events => {}
        () = watching => unreachable!("it watches until the end"),
    }
    over.store(true, Ordering::Relaxed);
    let served: usize = clients.join_all().await.into_iter().sum();
    assert!(served > 800, "{served}");
    until("what is leased to come back", async || taken(&server, "purse").await.1 <= 1e-12).await;
    let (settled, leased) = taken(&server, "purse").await;
    assert!(
        settled <= limit + 1e-9 && settled > limit - 40.0 * COST,
        "{settled} of {limit}, {leased} leased"
    );
    for gateway in gateways {
        gateway.stop().await;
    }
    cut.signal(rustix::process::Signal::TERM);
    cut.exit().await;
    let verdict = verified(&homes[0]).await;
    assert_eq!((&verdict["problems"], &verdict["holds"]), (&0.into(), &0.into()), "{verdict}");
    let found = receipts(&homes[0]).await;
    let answered = found.iter().filter(|receipt| receipt["status"] == "ok").count();
    assert!(answered >= served, "{answered} receipts of {served} answers");
}

#[tokio::test]
async fn a_server_that_goes_and_comes_back_loses_nothing() {
    let mut server = Postgres::start();
    let upstream = upstream().await;
    let home =
        home(&upstream, server.addr(), &(POLICY.to_owned() + &budget("purse", "\"global\"", "1", "reject")));
    let gateway = home.serve().await;
    let client = gateway.client();
    assert_eq!(client.chat(&ask("small")).await.status, 200);
    server.crash();
    let refused = client.chat(&ask("small")).await;
    assert_eq!(refused.status, StatusCode::SERVICE_UNAVAILABLE, "{}", refused.text());
    assert_eq!(upstream.counts().asked, 1, "nothing is spent that cannot be put on record");
    assert_eq!(client.get("/readyz").await.status, StatusCode::SERVICE_UNAVAILABLE);
    server.restart();
    gateway
        .metrics_reach("a writable ledger", |metrics| metrics.sum("tollgate_ledger_writable", &[]) > 0.5)
        .await;
    let again = async {
        while client.chat(&ask("small")).await.status != StatusCode::OK {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tollgate_tests::within("an answer", again).await;
    // Keys are read on a connection of their own, which is made again too.
    let made = home
        .run(&[
            "keys",
            "create",
            "--json",
            "--name",
            "new",
            "--config",
            "tollgate.toml",
            "--data-dir",
            "data",
        ])
        .await;
    let made: Value = serde_json::from_str(&made.success()).expect("it is JSON");
    let known = async {
        while client.key(made["secret"].as_str().expect("a secret")).get("/v1/models").await.status != 200 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tollgate_tests::within("the new key to be known", known).await;
    let verdict = verified(&home).await;
    assert_eq!(
        (&verdict["problems"], &verdict["holds"], &verdict["receipts"]),
        (&0.into(), &0.into(), &2.into()),
        "{verdict}"
    );
}

#[tokio::test]
async fn what_one_gateway_gives_back_another_spends() {
    let server = Postgres::start();
    let upstream = upstream().await;
    let policy =
        POLICY.to_owned() + &budget("purse", "\"global\"", &format!("{:.7}", 100.0 * COST), "reject");
    let homes = [home(&upstream, server.addr(), &policy), home(&upstream, server.addr(), &policy)];
    let (one, other) = (homes[0].serve().await, homes[1].serve().await);
    for gateway in [&one, &other, &one] {
        let more = if taken(&server, "purse").await.0 > 80.0 * COST { 5 } else { 45 };
        for _ in 0..more {
            let reply = gateway.client().chat(&ask("small")).await;
            assert_eq!(reply.status, 200, "{}", reply.text());
        }
        // Nobody asks any more, so what is leased comes back.
        until("what is leased to come back", async || taken(&server, "purse").await.1.abs() < 1e-12).await;
    }
    // Both know what is left, and that it does not pay for another hold.
    for gateway in [&one, &other] {
        let refused = gateway.client().chat(&ask("small")).await;
        assert_eq!(refused.error()["code"], "insufficient_quota", "{}", refused.text());
        let settled = gateway.metrics().await.sum("tollgate_budget_settled_usd", &[]);
        assert!((settled - 95.0 * COST).abs() < 1e-9, "{settled}");
    }
    assert_eq!(verified(&homes[0]).await["problems"], 0);
}
