//! Budgets: never overspent, however many requests come at once, and refused in the contract's form.

use serde_json::{Value, json};
use tokio::task::JoinSet;
use tollgate_tests::client::Reply;
use tollgate_tests::home::Home;
use tollgate_tests::upstream::{Chat, Gate, Upstream};

use crate::stage::{POLICY, SMALL_PRICE, Stage, ask, ask_stream, budget, config};

/// A price that does not depend on tokens: the worst case is the real cost, 0.001 USD.
const FLAT: &str = "{ input = 0, output = 0, per_request = 0.001 }";

fn purse(limit: &str, on_exhausted: &str) -> String {
    POLICY.to_owned() + &budget("purse", "\"global\"", limit, on_exhausted)
}

/// Fails the test unless this is the contract's answer to a spent budget.
fn assert_spent(reply: &Reply) {
    assert_eq!(reply.status, 429, "{}", reply.text());
    let error = reply.error();
    assert_eq!(
        (&error["type"], &error["code"]),
        (&"insufficient_quota".into(), &"insufficient_quota".into())
    );
    assert_eq!(reply.header("x-should-retry"), "false");
    let message = error["message"].as_str().unwrap_or_default();
    for part in ["purse", "limit", "resets"] {
        assert!(message.contains(part), "no {part:?} in {message}");
    }
}

#[tokio::test]
async fn pictures_are_held_for_before_they_are_sent() {
    let eyes = Upstream::start(Chat::new("a cat", 1_200, 3)).await;
    let seeing = config(&eyes.base_url(), &eyes.base_url(), SMALL_PRICE, "")
        .replace("\"tools\", \"json\"", "\"tools\", \"json\", \"images\"");
    let home = Home::new(&seeing);
    home.write("policies/default.toml", &purse("0.0025", "reject"));
    let gateway = home.serve().await;
    let look = |pictures: usize| {
        let picture = json!({"type": "image_url", "image_url": {"url": "https://example.org/cat.png"}});
        let parts = [vec![picture; pictures], vec![json!({"type": "text", "text": "What is it?"})]].concat();
        json!({"model": "small", "max_tokens": 20, "messages": [{"role": "user", "content": parts}]})
    };
    let reply = gateway.client().chat(&look(1)).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    let receipt = crate::stage::receipts(&home).await.pop().expect("one receipt");
    let money = |field: &str| receipt[field].as_str().and_then(|text| text.parse::<f64>().ok());
    assert!(money("cost") <= money("held") && money("cost") > Some(0.0), "{receipt}");
    // Two pictures may cost more than is left.
    assert_spent(&gateway.client().chat(&look(2)).await);
    // The same of a model whose pictures are known to be small; of which the engine says nothing they are charged as held.
    let small = seeing.replace("context = 8192", "context = 8192\npart_tokens = 500");
    let home = Home::new(&small);
    home.write("policies/default.toml", &purse("0.0025", "reject"));
    let gateway = home.serve().await;
    eyes.answer(Chat::new("a cat", 0, 0).without_usage());
    let reply = gateway.client().chat(&look(2)).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    let receipt = crate::stage::receipts(&home).await.pop().expect("one receipt");
    let prompt = receipt["usage"]["prompt_tokens"].as_u64().unwrap_or_default();
    assert!((1_000..1_100).contains(&prompt) && receipt["usage_estimated"] == true, "{receipt}");
    assert_eq!(receipt["asked"]["parts"], 2, "{receipt}");
}

#[tokio::test]
async fn a_spent_budget_is_refused_by_name() {
    let stage = Stage::with(&purse("0.0025", "reject"), FLAT, "").await;
    for _ in 0..2 {
        assert_eq!(stage.client().chat(&ask("small")).await.status, 200);
    }
    assert_spent(&stage.client().chat(&ask("small")).await);
    assert_spent(&stage.client().chat(&ask_stream("small")).await);
    assert_spent(&stage.client().chat(&ask("auto")).await);
    assert_eq!(stage.small.counts().asked, 2);
}

#[tokio::test]
async fn money_held_in_flight_comes_back() {
    let stage = Stage::with(&purse("0.0015", "reject"), FLAT, "").await;
    let gate = Gate::closed();
    stage.small.push(Chat::new("slow", 1, 1).gated(0, &gate));
    let client = stage.client();
    let mut first = JoinSet::new();
    first.spawn(async move { client.chat(&ask("small")).await });
    stage.small.until("the first request", |counts| counts.asked == 1).await;
    let held = stage.client().chat(&ask("small")).await;
    assert_eq!(held.status, 429, "{}", held.text());
    // 0.001 of 0.0015 is held: once it is settled there is no room for another 0.001 either way,
    // but as long as it may come back the answer is to retry.
    assert!(!held.header("retry-after").is_empty() && held.header("x-should-retry") != "false", "{held:?}");
    gate.open();
    let first = first.join_next().await.expect("it was started").expect("it does not panic");
    assert_eq!(first.status, 200);
    assert_spent(&stage.client().chat(&ask("small")).await);
}

#[tokio::test]
async fn five_hundred_at_once_against_money_for_a_hundred() {
    let stage = Stage::with(&purse("0.1", "reject"), FLAT, "").await;
    let gate = Gate::closed();
    stage.small.answer(Chat::new("ok", 1, 1).gated(0, &gate));
    let mut requests = JoinSet::new();
    for index in 0..500 {
        let client = stage.client();
        let body = if index % 2 == 0 { ask("small") } else { ask_stream("small") };
        requests.spawn(async move { client.chat(&body).await });
    }
    // While a hundred are held, all the others must have been refused: nothing was settled yet.
    let mut replies = Vec::new();
    while replies.len() < 400 {
        replies.push(tollgate_tests::within("a refusal", requests.join_next()).await.expect("500 were sent"));
    }
    stage.small.until("a hundred requests", |counts| counts.asked >= 100).await;
    let metrics = stage.gateway.metrics().await;
    assert!((metrics.sum("tollgate_budget_held_usd", &[]) - 0.1).abs() < 1e-9);
    gate.open();
    while let Some(reply) = requests.join_next().await {
        replies.push(reply);
    }
    let replies: Vec<Reply> = replies.into_iter().map(|reply| reply.expect("no request panics")).collect();
    let served = replies.iter().filter(|reply| reply.status == 200).count();
    assert_eq!((served, stage.small.counts().asked), (100, 100));
    for refused in replies.iter().filter(|reply| reply.status != 200) {
        assert_eq!(refused.status, 429, "{}", refused.text());
        assert!(refused.error()["message"].as_str().is_some_and(|text| text.contains("purse")));
        let retry = refused.header("retry-after");
        assert!(!retry.is_empty() || refused.header("x-should-retry") == "false", "{refused:?}");
    }
    let metrics = stage.gateway.metrics().await;
    assert!((metrics.sum("tollgate_budget_settled_usd", &[]) - 0.1).abs() < 1e-9);
    assert!(metrics.sum("tollgate_budget_held_usd", &[]).abs() < 1e-12);
    assert_spent(&stage.client().chat(&ask("small")).await);
    assert_eq!(stage.receipts().await.iter().filter(|receipt| receipt["status"] == "ok").count(), 100);
    crate::stage::verified(&stage.home).await;
}

#[tokio::test]
async fn what_was_held_too_much_pays_for_others() {
    // Real cost 12.5 µUSD each, so the limit pays for exactly 100; holds are larger. Those refused for money
    // in flight come back, as the answer tells them to, until the budget is truly spent.
    let stage = Stage::with(&purse("0.00125", "reject"), SMALL_PRICE, "").await;
    let mut clients = JoinSet::new();
    for _ in 0..20 {
        let client = stage.client();
        clients.spawn(async move {
            let mut served = 0;
            loop {
                let reply = client.chat(&ask("small")).await;
                match (reply.status.as_u16(), reply.header("x-should-retry")) {
                    (200, _) => served += 1,
                    (429, "false") => return served,
                    (429, _) => tokio::time::sleep(std::time::Duration::from_millis(5)).await,
                    _ => panic!("{}", reply.text()),
                }
            }
        });
    }
    let served: usize = clients.join_all().await.into_iter().sum();
    assert!((80..=100).contains(&served), "{served} of at most 100 were served");
    let settled = stage.gateway.metrics().await.sum("tollgate_budget_settled_usd", &[]);
    assert!((settled - served as f64 * 0.000_012_5).abs() < 1e-9 && settled <= 0.00125 + 1e-12, "{settled}");
    crate::stage::verified(&stage.home).await;
}

#[tokio::test]
async fn a_short_purse_downgrades_to_what_still_fits() {
    let policy = POLICY.replace("quality = 0.0\n", "quality = 1.0\n")
        + &budget("purse", "\"global\"", "0.00012", "downgrade");
    // The large model's worst case does not fit into 120 µUSD, the small one's does.
    let stage = Stage::with(&policy, SMALL_PRICE, "").await;
    let reply = stage.client().with("x-tollgate-tags", "tier=any").chat(&ask("auto")).await;
    assert_eq!((reply.status.as_u16(), reply.header("x-tollgate-model")), (200, "small"), "{}", reply.text());
}

#[tokio::test]
async fn every_scope_that_matches_must_have_room() {
    let policy = POLICY.to_owned()
        + &budget("purse", "\"global\"", "1.0", "reject")
        + &budget("purse of search", "{ team = \"search\" }", "0.0015", "reject")
        + &budget("purse per run", "\"run\"", "0.0025", "reject");
    let stage = Stage::with(&policy, FLAT, "").await;
    let key = stage.key(&["--name", "s", "--team", "search"]).await;
    let other = stage.key(&["--name", "o", "--team", "other"]).await;
    let search = stage.client().key(&key);
    crate::keys::accepted(&search).await;
    let refused = search.chat(&ask("small")).await;
    assert_spent(&refused);
    assert!(refused.text().contains("purse of search"), "{}", refused.text());
    let run = stage.client().key(&other).with("x-tollgate-run", "one");
    assert_eq!(
        (run.chat(&ask("small")).await.status, run.chat(&ask("small")).await.status),
        (200.try_into().expect("a status"), 200.try_into().expect("a status"))
    );
    let refused = run.chat(&ask("small")).await;
    assert_eq!(refused.status, 429);
    assert!(refused.text().contains("purse per run"), "{}", refused.text());
    assert_eq!(
        run.with("x-tollgate-run", "two").chat(&ask("small")).await.status,
        200,
        "another run has its own"
    );
    let accounts: Vec<Value> = stage.receipts().await;
    assert!(accounts.iter().all(|receipt| receipt["accounts"].as_array().is_some_and(|all| !all.is_empty())));
    crate::stage::verified(&stage.home).await;
}

#[tokio::test]
async fn a_budget_that_nears_its_limit_is_told_of_once() {
    let hook = Upstream::start(Chat::new("noted", 1, 1)).await;
    let warned =
        purse("0.004", "reject").replace("window = \"1mo\"", "window = \"1mo\"\nwarn_at = [0.5, 1.0]");
    let (small, large) =
        (Upstream::start(Chat::new("ok", 1, 1)).await, Upstream::start(Chat::new("ok", 1, 1)).await);
    let file = config(&small.base_url(), &large.base_url(), FLAT, "");
    let home = Home::new(&format!("{file}\n[alerts]\nwebhook = \"file:hook\"\n"));
    home.write("hook", &format!("{}/chat/completions\n", hook.base_url()));
    home.write("policies/default.toml", &warned);
    let gateway = home.serve().await;
    let client = gateway.client();
    for (requests, share, settled) in [(3, 0.5, ["0.002000", "0.003000"]), (1, 1.0, ["0.004000"; 2])] {
        for _ in 0..requests {
            assert_eq!(client.chat(&ask("small")).await.status, 200);
        }
        hook.until("a warning", |counts| counts.asked as f64 >= if share > 0.9 { 2.0 } else { 1.0 }).await;
        let told = hook.last().json();
        assert_eq!((&told["budget"], &told["share"]), (&"purse".into(), &share.into()), "{told}");
        assert!(told["text"].as_str().is_some_and(|text| text.contains("purse")), "{told}");
        // It looks each second: perhaps before the third request, perhaps after.
        assert!(settled.iter().any(|settled| told["settled_usd"] == **settled), "{told}");
    }
    gateway
        .metrics_reach("both thresholds", |metrics| {
            (metrics.sum("tollgate_budget_warnings_total", &[("budget", "purse")]) - 2.0).abs() < 1e-9
        })
        .await;
    assert!(gateway.log().contains("a budget nears its limit"), "{}", gateway.log());
    assert!(!gateway.log().contains(&hook.base_url()), "the webhook's address is a secret");
}
