//! Learning from traffic: verdicts by callers, requests asked twice, exploration, and what is made of them.

use serde_json::{Value, json};
use tollgate_tests::home::Home;
use tollgate_tests::metrics::Exposition;
use tollgate_tests::upstream::{Chat, Script, Upstream};

use crate::calibrate::{calibrate, labels};
use crate::stage::{SMALL_PRICE, Stage, ask, ask_stream, config, verified};

/// Everything goes to `small` and every request is drawn for one of `learn`'s purposes.
pub(crate) fn policy(learn: &str) -> String {
    format!(
        "[policy]\nname = \"default\"\nbaseline = \"large\"\n[objective]\nquality = 0.0\n[learn]\n{learn}\n"
    )
}

/// Whether a request is drawn to be asked twice at a share of a half: the draw is its id's.
pub(crate) fn is_drawn(id: &str) -> bool {
    let bits = u64::from_str_radix(&id[id.len() - 13..], 16).expect("ids end in hexadecimal digits");
    (bits & u64::from(u32::MAX)) >> 31 == 0
}

async fn outcomes(stage: &Stage) -> Value {
    learned(&stage.home).await
}

/// What `ledger outcomes` says.
pub(crate) async fn learned(home: &Home) -> Value {
    let args = ["ledger", "outcomes", "--json", "--config", "tollgate.toml", "--data-dir", "data"];
    serde_json::from_str(&home.run(&args).await.success()).expect("outcomes --json prints JSON")
}

/// Verdicts on a model by one kind of judge: good and bad.
pub(crate) fn verdicts(outcomes: &Value, model: &str, source: &str) -> (u64, u64) {
    let judged = outcomes["judged"].as_array().expect("a list");
    let of = |side: &str| {
        let tally = judged.iter().find(|tally| tally["model"] == model);
        tally.and_then(|tally| tally[side][source].as_u64()).unwrap_or(0)
    };
    (of("good"), of("bad"))
}

/// Asks until so many requests drawn to be asked twice have come to this.
async fn ask_until(stage: &Stage, result: &str, count: f64) {
    let client = stage.client();
    let told = |metrics: &Exposition| metrics.sum("tollgate_shadow_requests_total", &[("result", result)]);
    tollgate_tests::within(result, async {
        while told(&stage.gateway.metrics().await) < count {
            assert_eq!(client.chat(&ask("auto")).await.status, 200, "clients do not notice");
        }
    })
    .await;
}

#[tokio::test]
async fn feedback_is_noted_once_for_each_answer() {
    let stage = Stage::with(&policy("explore = 0.0"), SMALL_PRICE, "").await;
    let client = stage.client();
    let answer = client.chat(&ask("auto")).await;
    assert_eq!(answer.header("x-tollgate-model"), "small");
    let id = answer.header("x-tollgate-request-id").to_owned();
    let say = |good: Value| client.post("/v1/feedback", json!({"request_id": id, "good": good}).to_string());
    let noted = say(true.into()).await;
    assert_eq!(noted.status, 200, "{}", noted.text());
    assert_eq!(noted.json()["model"], "small");
    assert_eq!(noted.json()["learned"], true);
    assert_eq!(verdicts(&outcomes(&stage).await, "small", "feedback"), (1, 0));
    // Somebody who thinks better of it.
    assert_eq!(say(0.into()).await.status, 200);
    assert_eq!(verdicts(&outcomes(&stage).await, "small", "feedback"), (0, 1));
    let metrics = stage.gateway.metrics().await;
    assert!((metrics.sum("tollgate_outcomes_total", &[("source", "feedback")]) - 2.0).abs() < 1e-9);
    assert_eq!(stage.receipts().await.len(), 1, "a verdict is no request");
}

#[tokio::test]
async fn feedback_on_what_is_not_ones_own_is_refused() {
    let stage = Stage::with(&policy("explore = 0.0"), SMALL_PRICE, "").await;
    let (mine, yours) = (stage.key(&["--name", "mine"]).await, stage.key(&["--name", "yours"]).await);
    stage.gateway.logged("the keys", |_| true).await;
    let (me, you) = (stage.client().key(&mine), stage.client().key(&yours));
    let answer = tollgate_tests::within("the new key", async {
        loop {
            let answer = me.chat(&ask("auto")).await;
            if answer.status == 200 {
                return answer;
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    })
    .await;
    let body = json!({"request_id": answer.header("x-tollgate-request-id"), "good": true}).to_string();
    let refused = you.post("/v1/feedback", body.clone()).await;
    assert_eq!((refused.status.as_u16(), &refused.error()["code"]), (404, &"request_not_found".into()));
    assert_eq!(refused.error()["param"], "request_id");
    assert_eq!(me.post("/v1/feedback", body).await.status, 200);
    for (wrong, param) in [(r#"{"good":true}"#, "request_id"), (r#"{"request_id":"x","good":"yes"}"#, "good")]
    {
        let refused = me.post("/v1/feedback", wrong).await;
        assert_eq!(
            (refused.status.as_u16(), &refused.error()["param"]),
            (400, &param.into()),
            "{}",
            refused.text()
        );
    }
}

#[tokio::test]
async fn a_share_is_asked_twice_on_a_budget_of_its_own() {
    let stage = Stage::with(&policy("share = 0.5\nlimit_usd = 1.0"), SMALL_PRICE, "").await;
    stage.small.answer(Chat::new("Paris", 11, 7));
    stage.large.answer(Chat::new("The capital is Paris.", 11, 7));
    let client = stage.client();
    let mut drawn = 0;
    for number in 0..24 {
        let body = if number % 2 == 0 { ask("auto") } else { ask_stream("auto") };
        let answer = client.chat(&body).await;
        assert_eq!(answer.status, 200);
        drawn += u32::from(is_drawn(answer.header("x-tollgate-request-id")));
        // One after the other: two at once are asked twice at most.
        let told = |metrics: &Exposition| metrics.sum("tollgate_shadow_requests_total", &[]);
        stage.gateway.metrics_reach("what was drawn", |metrics| told(metrics) >= f64::from(drawn)).await;
    }
    let metrics = stage.gateway.metrics().await;
    let same = metrics.sum("tollgate_shadow_requests_total", &[("result", "same")]);
    assert!((same - f64::from(drawn)).abs() < 1e-9, "{same} of {drawn}");
    let asked = stage.large.counts().asked;
    let (good, bad) = verdicts(&outcomes(&stage).await, "large", "shadow");
    assert_eq!((good, bad, verdicts(&outcomes(&stage).await, "small", "shadow").0), (asked as u64, 0, good));
    let receipts = stage.receipts().await;
    let twice: Vec<&Value> = receipts.iter().filter(|receipt| receipt["route"] == "shadow").collect();
    assert_eq!((twice.len(), receipts.len()), (asked, 24 + asked));
    for receipt in twice {
        assert_eq!(receipt["model"], "large");
        // 11 prompt tokens at 5 and 7 completion tokens at 10 dollars a million.
        assert_eq!(receipt["cost"], "0.000125", "{receipt}");
        assert_eq!(receipt["accounts"][0]["budget"], "learning of default");
    }
    assert_eq!(stage.large.last().json()["stream"], Value::Null, "asked whole");
    verified(&stage.home).await;
}

/// Asked for, asked of the baseline the second time, and what that costs: 11 tokens in and 7 out.
#[tokio::test]
async fn a_second_answer_is_of_the_class_asked_for_unless_it_hurries() {
    for (asked, second, cost) in [("flex", "flex", "0.0000625"), ("priority", "default", "0.000125")] {
        let (small, large) = (
            Upstream::start(Chat::new("Paris", 11, 7)).await,
            Upstream::start(Chat::new("Paris", 11, 7)).await,
        );
        let tiers = "{ input = 5.0, output = 10.0, service_tiers = { flex = { input = 2.5, output = 5 }, priority = { input = 9, output = 18 } } }";
        let config = config(&small.base_url(), &large.base_url(), SMALL_PRICE, "");
        let home = Home::new(&config.replace("{ input = 5.0, output = 10.0 }", tiers));
        home.write("policies/default.toml", &policy("share = 0.5\nlimit_usd = 1.0"));
        let gateway = home.serve().await;
        let mut body = ask("auto");
        (body["service_tier"], body["store"]) = (asked.into(), true.into());
        let told =
            |metrics: &Exposition| metrics.sum("tollgate_shadow_requests_total", &[("result", "same")]);
        tollgate_tests::within("a second answer", async {
            while told(&gateway.metrics().await) < 1.0 {
                assert_eq!(gateway.client().chat(&body).await.status, 200);
            }
        })
        .await;
        let sent = large.last().json();
        assert_eq!((&sent["service_tier"], &sent["store"]), (&second.into(), &Value::Null), "{sent}");
        let receipts = crate::stage::receipts(&home).await;
        let shadow = receipts.iter().find(|receipt| receipt["route"] == "shadow").expect("it is on record");
        assert_eq!(shadow["cost"], cost, "{shadow}");
    }
}

#[tokio::test]
async fn asking_twice_ends_with_its_budget() {
    // Enough for one call that costs 0.000125 and may cost up to about 0.0004.
    let stage = Stage::with(&policy("share = 0.5\nlimit_usd = 0.0005"), SMALL_PRICE, "").await;
    ask_until(&stage, "no_budget", 3.0).await;
    assert!(stage.large.counts().asked <= 4, "{:?}", stage.large.counts());
    verified(&stage.home).await;
}

#[tokio::test]
async fn a_judge_decides_where_answers_cannot_be_compared() {
    let stage =
        Stage::with(&policy("share = 0.5\nlimit_usd = 1.0\njudge = \"large\""), SMALL_PRICE, "").await;
    stage.small.answer(Chat::new("A long tale of the sea, told by one who was never there at all.", 11, 7));
    // The same text serves as the second answer and as the judge's verdict: neither is good.
    stage.large.answer(Chat::new("D", 11, 7));
    ask_until(&stage, "judged", 1.0).await;
    let outcomes = outcomes(&stage).await;
    assert!(
        verdicts(&outcomes, "small", "judge").1 > 0 && verdicts(&outcomes, "large", "judge").1 > 0,
        "{outcomes}"
    );
    let seen = stage.large.seen();
    let judged = seen.iter().map(|seen| seen.json().to_string()).find(|body| body.contains("answer_a"));
    let judged = judged.expect("the judge was asked");
    assert!(judged.contains("Hello there") && judged.contains("A long tale"), "{judged}");
}

#[tokio::test]
async fn where_the_judge_may_not_see_a_request_nobody_is_asked_twice() {
    let (small, large) =
        (Upstream::start(Chat::new("Paris", 11, 7)).await, Upstream::start(Chat::new("Lyon", 11, 7)).await);
    let third = "[[model]]\nname = \"third\"\nengine = \"large-engine\"\nprice = { input = 9, output = 9 }\n";
    let home = Home::new(&(config(&small.base_url(), &large.base_url(), SMALL_PRICE, "") + third));
    let rule = "[[rule]]\nname = \"two\"\nwhen = \"true\"\nuse = [\"small\", \"large\"]\n";
    let learn = policy("share = 0.5\nlimit_usd = 1.0\njudge = \"third\"") + rule;
    home.write("policies/default.toml", &learn);
    let gateway = home.serve().await;
    let client = gateway.client();
    let mut drawn = 0;
    for _ in 0..24 {
        let answer = client.chat(&ask("auto")).await;
        assert_eq!(answer.header("x-tollgate-model"), "small");
        drawn += u32::from(is_drawn(answer.header("x-tollgate-request-id")));
    }
    assert!(drawn > 0, "or the test shows nothing");
    gateway.stop().await;
    assert_eq!(large.counts().asked, 0, "the baseline would have counted as right");
}

#[tokio::test]
async fn what_cannot_be_compared_is_not_asked_twice() {
    let stage = Stage::with(&policy("share = 0.5\nlimit_usd = 1.0"), SMALL_PRICE, "").await;
    let client = stage.client();
    let tool = json!({"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}});
    for number in 0..40 {
        let mut body = ask("auto");
        if number % 2 == 0 {
            body["tools"] = json!([tool]);
        } else {
            body["n"] = 2.into();
        }
        assert_eq!(client.chat(&body).await.status, 200);
        assert_eq!(client.chat(&ask("small")).await.status, 200);
    }
    let metrics = stage.gateway.metrics().await;
    assert!(metrics.sum("tollgate_shadow_requests_total", &[]) < 0.5 && stage.large.counts().asked == 0);
}

#[tokio::test]
async fn a_shadow_that_fails_is_nobodys_trouble() {
    let stage = Stage::with(&policy("share = 0.5\nlimit_usd = 1.0"), SMALL_PRICE, "").await;
    stage.large.answer(Script::status(500));
    ask_until(&stage, "failed", 1.0).await;
    assert!(outcomes(&stage).await["judged"].as_array().is_some_and(Vec::is_empty));
    verified(&stage.home).await;
}

#[tokio::test]
async fn abilities_that_win_their_trial_are_put_in_force_and_survive_a_restart() {
    let learn = "explore = 0.2\npromote = true";
    let stage = Stage::with(&policy(learn).replace("quality = 0.0", "quality = 0.99"), SMALL_PRICE, "").await;
    let client = stage.client();
    // The callers find the small model's answers good and the large one's bad: the small one is abler than configured.
    let hard = json!({"model": "auto", "max_tokens": 20, "messages": [{"role": "user", "content":
        "Prove that for every prime p above 3 the number p^2 - 1 is divisible by 24, then find all n with n^2 + 1 divisible by p."}]});
    let mut round = 0;
    tollgate_tests::within("a promotion", async {
        loop {
            let answer = client.chat(&hard).await;
            let good = answer.header("x-tollgate-model") == "small" || round % 4 != 0;
            let body =
                json!({"request_id": answer.header("x-tollgate-request-id"), "good": good}).to_string();
            assert_eq!(client.post("/v1/feedback", body).await.status, 200);
            round += 1;
            if round % 50 == 0 && stage.gateway.metrics().await.sum("tollgate_promotions_total", &[]) > 0.0 {
                return;
            }
            assert!(round < 20_000, "{}", outcomes(&stage).await);
        }
    })
    .await;
    let before = outcomes(&stage).await;
    assert_ne!(before["in_force"]["small"], 0.0, "{before}");
    let Stage { home, gateway, small, large } = stage;
    gateway.stop().await;
    let again = home.serve().await;
    again.logged("the abilities", |log| log.contains("abilities learned before are in force again")).await;
    again.stop().await;

    // With a calibration the same numbers mean something else: neither the abilities nor the verdicts count.
    home.write("labels.jsonl", &labels(240));
    calibrate(&home).await.success();
    let plain = config(&small.base_url(), &large.base_url(), SMALL_PRICE, "");
    let fitted = "[router]\ncalibration = \"router.json\"\n";
    home.write("tollgate.toml", &config(&small.base_url(), &large.base_url(), SMALL_PRICE, fitted));
    let other = home.serve().await;
    let judged = before["learned_from"].as_u64().expect("a count");
    other.logged("what is left out", |log| log.contains("left out: learned under another router")).await;
    assert!(other.log().contains(&format!("{judged}")), "{judged}: {}", other.log());
    assert!(!other.log().contains("in force again"), "{}", other.log());
    let after = learned(&home).await;
    assert_eq!((&after["learned_from"], &after["left_out"]), (&0.into(), &judged.into()), "{after}");
    assert_eq!(after["in_force"]["small"], 0.0, "{after}");
    assert_ne!(after["router"], before["router"]);
    other.stop().await;
    // The old router is back, and so is what was learned under it.
    home.write("tollgate.toml", &plain);
    let back = home.serve().await;
    back.logged("the abilities", |log| log.contains("abilities learned before are in force again")).await;
    assert_eq!(learned(&home).await["in_force"], before["in_force"]);
}
