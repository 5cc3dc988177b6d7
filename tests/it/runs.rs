//! The end of an agent run's money: dear steps give way, one answer stays affordable, and the one that takes the last says so.

use hyper::StatusCode;
use serde_json::{Value, json};
use tollgate_tests::upstream::Chat;

use crate::keys::accepted;
use crate::stage::{POLICY, SMALL_PRICE, Stage, ask, verified};

fn policy(limit: &str) -> String {
    let paced = POLICY.replacen("quality = 0.95", "quality = 1.0\npace = true", 1);
    format!(
        "{paced}[[budget]]\nname = \"each run\"\nscope = \"run\"\nlimit_usd = {limit}\nwindow = \"run\"\n"
    )
}

/// Another's run id is easy to guess: it opens nobody else's purse, and shows nothing of what is in it.
#[tokio::test]
async fn a_run_is_of_the_key_or_team_that_began_it() {
    let stage = Stage::with(&policy("0.005"), "{ input = 0, output = 0, per_request = 0.001 }", "").await;
    let mut clients = Vec::new();
    for args in [
        &["--name", "a"][..],
        &["--name", "b"],
        &["--name", "c", "--team", "t"],
        &["--name", "d", "--team", "t"],
    ] {
        let secret = stage.key(args).await;
        // The team of a tag, which anybody may write, makes nobody a member.
        let client =
            stage.client().key(&secret).with("x-tollgate-run", "r1").with("x-tollgate-tags", "team=t");
        accepted(&client).await;
        clients.push(client);
    }
    let mut left = Vec::new();
    for client in &clients {
        let reply = client.chat(&ask("small")).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        left.push(reply.header("x-tollgate-budget-remaining-usd").to_owned());
    }
    // Each key has asked twice; the keys of one team spend together.
    assert_eq!(left, ["0.003000", "0.003000", "0.002000", "0.001000"]);
    let last = clients[3].chat(&ask("small")).await;
    assert_eq!(last.status, 200, "{}", last.text());
    let refused = clients[2].chat(&ask("small")).await;
    assert_eq!(refused.status, StatusCode::TOO_MANY_REQUESTS, "{}", refused.text());
    assert!(refused.text().contains("team t \u{203a} r1"), "{}", refused.text());
    assert_eq!(clients[0].chat(&ask("small")).await.status, 200, "a's own is not touched");
    let report =
        ["ledger", "report", "--by", "run", "--json", "--config", "tollgate.toml", "--data-dir", "data"];
    let report: Value = serde_json::from_str(&stage.home.run(&report).await.success()).expect("it is JSON");
    assert_eq!(report["lines"][0]["group"][0], "r1", "reports have the id alone: {report}");
    verified(&stage.home).await;
}

/// What only the large model is expected to answer well, with 100 tokens of answer at most.
fn step() -> Value {
    let text = "Prove that every finite integral domain is a field, then find all primes p for which x^2 + 1 is reducible over F_p.";
    json!({"model": "auto", "max_tokens": 100, "reasoning_effort": "high", "messages": [{"role": "user", "content": text}]})
}

#[tokio::test]
async fn a_run_winds_down_and_its_last_answer_says_so() {
    // The large model's worst case is about 1,400 µUSD a step, the small one's about 140; a step really costs 1,055 and 105.5.
    let stage = Stage::with(&policy("0.005"), SMALL_PRICE, "").await;
    stage.large.answer(Chat::new("a proof", 11, 100));
    stage.small.answer(Chat::new("a sketch", 11, 100));
    let client = stage.client().with("x-tollgate-run", "r1");
    let (mut models, mut lasts) = (Vec::new(), 0);
    loop {
        let reply = client.chat(&step()).await;
        if reply.status == StatusCode::TOO_MANY_REQUESTS {
            assert!(
                reply.error()["message"].as_str().is_some_and(|text| text.contains("each run")),
                "{}",
                reply.text()
            );
            break;
        }
        assert_eq!(reply.status, 200, "{}", reply.text());
        let small = reply.header("x-tollgate-model") == "small";
        models.push(small);
        lasts += usize::from(reply.header("x-tollgate-run-last") == "1");
        if reply.header("x-tollgate-run-last") == "1" {
            assert!(small, "a dear step never takes the last money: {models:?}");
        }
        assert!(models.len() < 60, "{models:?}");
    }
    assert!(
        !models[0] && models.iter().filter(|small| !**small).count() >= 2,
        "it begins with the large model: {models:?}"
    );
    assert!(
        models.last().is_some_and(|small| *small) && lasts >= 1,
        "{models:?}, {lasts} said to be the last"
    );
    let efforts: Vec<Value> =
        stage.small.seen().iter().map(|seen| seen.json()["reasoning_effort"].clone()).collect();
    assert!(efforts.contains(&json!("low")), "{efforts:?}");
    assert_eq!(stage.large.seen()[0].json()["reasoning_effort"], "high");
    // Another run has its own money.
    let other = stage.client().with("x-tollgate-run", "r2").chat(&step()).await;
    assert_eq!(
        (other.status, other.header("x-tollgate-model")),
        (StatusCode::OK, "large"),
        "{}",
        other.text()
    );
    let verdict = verified(&stage.home).await;
    assert_eq!(verdict["unlimited_windows"], 0, "the limit of each run is on record: {verdict}");
}
