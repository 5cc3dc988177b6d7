//! `[content]`: prompts and answers are kept only where the configuration says so, and exported as conversations.

use serde_json::{Value, json};
use tollgate_tests::home::Home;
use tollgate_tests::upstream::{Chat, Upstream};

use crate::stage::{POLICY, SMALL_PRICE, Stage, ask, ask_stream, config, verified};

const PLACE: [&str; 4] = ["--config", "tollgate.toml", "--data-dir", "data"];

async fn exported(home: &Home, args: &[&str]) -> Vec<Value> {
    let args: Vec<&str> =
        ["ledger", "export", "--sharegpt"].iter().chain(args).chain(&PLACE).copied().collect();
    let lines = home.run(&args).await.success();
    lines.lines().map(|line| serde_json::from_str(line).expect("a line is JSON")).collect()
}

/// A home that keeps what `keep` says.
async fn keeping(keep: &str, policy: &str, unsure: Option<f64>) -> (Home, Upstream, Upstream) {
    let answer = |text: &str| Chat::new(text, 11, 7);
    let small = Upstream::start(match unsure {
        Some(logprob) => answer("the small answer is this one").likely(logprob),
        None => answer("the small answer"),
    })
    .await;
    let large = Upstream::start(answer("the large answer")).await;
    let content = format!("[content]\nkeep = \"{keep}\"\n");
    let home = Home::new(&(config(&small.base_url(), &large.base_url(), SMALL_PRICE, "") + &content));
    home.write("policies/default.toml", policy);
    (home, small, large)
}

#[tokio::test]
async fn nothing_is_kept_unless_it_is_asked_for() {
    let stage = Stage::new().await;
    let body = json!({"model": "small", "messages": [{"role": "user", "content": "a very secret question"}]});
    assert_eq!(stage.client().chat(&body).await.status, 200);
    let args: Vec<&str> =
        ["ledger", "export", "--sharegpt", "--status", "all"].iter().chain(&PLACE).copied().collect();
    let outcome = stage.home.run(&args).await;
    assert!(outcome.said().contains("[content] keep"), "{}", outcome.said());
    assert_eq!(outcome.success(), "");
    stage.gateway.stop().await;
    let file = std::fs::read(stage.home.data().join("tollgate.db")).expect("the ledger is a file");
    for word in ["very secret question", "the small answer"] {
        assert!(!file.windows(word.len()).any(|window| window == word.as_bytes()), "{word} is in the file");
    }
}

#[tokio::test]
async fn everything_is_kept_whole_and_streamed_and_goes_with_its_run() {
    let (home, small, _large) = keeping("all", POLICY, None).await;
    let gateway = home.serve().await;
    let client = gateway.client();
    assert_eq!(client.with("x-tollgate-run", "one").chat(&ask("small")).await.status, 200);
    let streamed = client.with("x-tollgate-run", "two").stream(&ask_stream("large")).await.finish().await;
    assert!(streamed.done());
    // An answer that broke off is none to learn from.
    small.push(Chat::new("the small answer", 11, 7).cut_after(1));
    drop(client.with("x-tollgate-run", "two").stream(&ask_stream("small")).await.finish().await);
    let all = exported(&home, &["--status", "all"]).await;
    let said = |line: &Value| line["conversations"].as_array().and_then(|turns| turns.last()).cloned();
    assert_eq!(
        all.iter().map(said).collect::<Vec<_>>(),
        [
            Some(json!({"from": "gpt", "value": "the small answer"})),
            Some(json!({"from": "gpt", "value": "the large answer"}))
        ]
    );
    assert_eq!(all[0]["conversations"][0]["from"], "human");
    assert_eq!(exported(&home, &["--status", "all", "--model", "large"]).await.len(), 1);
    assert!(exported(&home, &[]).await.is_empty(), "nothing was escalated");
    let args: Vec<&str> = ["ledger", "prune", "--run", "two"].iter().chain(&PLACE).copied().collect();
    home.run(&args).await.success();
    assert_eq!(exported(&home, &["--status", "all"]).await.len(), 1);
    verified(&home).await;
}

#[tokio::test]
async fn only_what_went_up_is_kept_to_teach_the_smaller_model() {
    let policy = format!("{POLICY}[escalate]\nwhen = 'confidence < 0.6'\nhold_tokens = 3\n");
    let (home, _small, _large) = keeping("escalated", &policy, Some(-std::f64::consts::LN_2)).await;
    let gateway = home.serve().await;
    let client = gateway.client().with("x-tollgate-tags", "tier=any");
    assert_eq!(client.chat(&ask("auto")).await.header("x-tollgate-model"), "large");
    assert_eq!(client.stream(&ask_stream("auto")).await.finish().await.content(), "the large answer");
    assert_eq!(client.chat(&ask("large")).await.status, 200);
    let kept = exported(&home, &[]).await;
    assert_eq!(kept.len(), 2, "{kept:?}");
    for line in &kept {
        assert_eq!(line["conversations"][1], json!({"from": "gpt", "value": "the large answer"}));
    }
}
