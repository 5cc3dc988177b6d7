//! `tollgate policy replay` and `diff` over traffic that a gateway recorded.

use serde_json::Value;

use crate::stage::{POLICY, Stage, ask};

const PLACE: [&str; 4] = ["--config", "tollgate.toml", "--data-dir", "data"];

/// Ten requests, five of them with a model's name, on a stage that stopped.
async fn recorded() -> Stage {
    let stage = Stage::new().await;
    let client = stage.client().with("x-tollgate-tags", "tier=any");
    for model in ["auto", "large"].iter().cycle().take(10) {
        assert_eq!(client.chat(&ask(model)).await.status, 200);
    }
    stage
}

async fn told(stage: &Stage, args: &[&str]) -> Value {
    let args: Vec<&str> = ["policy"].iter().chain(args).chain(&["--json"]).chain(&PLACE).copied().collect();
    serde_json::from_str(&stage.home.run(&args).await.success()).expect("--json prints JSON")
}

#[tokio::test]
async fn the_policy_that_decided_changes_nothing() {
    let stage = recorded().await;
    let same = told(&stage, &["replay", "policies/default.toml", "--by", "route,model"]).await;
    assert_eq!((&same["moved"], &same["skipped"]), (&0.into(), &0.into()), "{same}");
    assert_eq!(same["before"]["cost_usd"], same["after"]["cost_usd"]);
    assert_eq!(same["after"]["models"]["small"], 5, "{same}");
    assert_eq!(same["lines"].as_array().map(Vec::len), Some(2), "{same}");
}

#[tokio::test]
async fn another_policy_moves_what_is_not_asked_for_by_name() {
    let stage = recorded().await;
    let all_large = POLICY.replace("use = [\"small\", \"large\"]", "use = [\"large\"]");
    stage.home.write("large.toml", &all_large);
    let replayed = told(&stage, &["replay", "large.toml"]).await;
    assert_eq!(
        (&replayed["moved"], &replayed["after"]["models"]["large"]),
        (&5.into(), &10.into()),
        "{replayed}"
    );
    // 11 prompt and 7 completion tokens: 0.0000125 USD on the small model, 0.000125 USD on the large one.
    assert_eq!(replayed["before"]["cost_usd"], "0.0006875");
    assert_eq!(replayed["after"]["cost_usd"], "0.001250");
    assert!(replayed["quality"]["value"].as_f64().is_some_and(|kept| kept >= 1.0), "{replayed}");
    let turned = told(&stage, &["diff", "large.toml", "policies/default.toml"]).await;
    assert_eq!(turned["before"]["cost_usd"], "0.001250");
    assert_eq!(turned["after"]["cost_usd"], "0.0006875");
}

#[tokio::test]
async fn limits_that_nothing_can_be_held_against_are_broken() {
    let stage = recorded().await;
    let penniless = POLICY.to_owned()
        + "[[budget]]\nname = \"none\"\nscope = \"global\"\nlimit_usd = 0.000001\nwindow = \"1d\"\non_exhausted = \"reject\"\n";
    stage.home.write("penniless.toml", &penniless);
    for (limit, times) in [
        (["--min-quality", "0.5"], ["--until", "2020-01-01"]),
        (["--max-cost-usd", "1"], ["--until", "2020-01-01"]),
        (["--max-refused", "0"], ["--until", "2020-01-01"]),
        (["--max-p95-ms", "60000"], ["--until", "2020-01-01"]),
        (["--max-p95-ms", "60000"], ["--since", "2020-01-01"]),
    ] {
        let args = [&["policy", "replay", "penniless.toml"], &limit[..], &times, &PLACE].concat();
        let ran = stage.home.run(&args).await;
        assert!(ran.code == Some(1) && ran.stdout.contains("LIMIT  "), "{limit:?}: {ran:?}");
    }
    let nothing = ["policy", "replay", "penniless.toml", "--until", "2020-01-01"];
    let told = stage.home.run(&[&nothing[..], &PLACE].concat()).await.success();
    assert!(told.contains("no receipts"), "without a limit it is no failure: {told}");
    let odd = ["policy", "replay", "penniless.toml", "--min-quality", "nan"];
    assert_eq!(stage.home.run(&[&odd[..], &PLACE].concat()).await.code, Some(2));
}

#[tokio::test]
async fn limits_decide_the_exit_code() {
    let stage = recorded().await;
    let tight = POLICY.to_owned()
        + "[[budget]]\nname = \"tight\"\nscope = \"global\"\nlimit_usd = 0.0001\nwindow = \"1d\"\n\
                                     on_exhausted = \"reject\"\n";
    stage.home.write("tight.toml", &tight);
    let run = |limits: &'static [&'static str]| {
        let args: Vec<&str> =
            ["policy", "replay", "tight.toml"].iter().chain(limits).chain(&PLACE).copied().collect();
        let home = &stage.home;
        async move { home.run(&args).await }
    };
    let kept = run(&["--max-refused", "10", "--max-cost-usd", "1"]).await;
    assert!(kept.success().contains("no room in the budget \"tight\""));
    let broken = run(&["--max-refused", "0", "--min-quality", "0.9"]).await;
    assert_eq!(broken.code, Some(1), "{broken:?}");
    assert!(
        broken.stdout.contains("LIMIT  it refuses") && broken.stdout.contains("LIMIT  it keeps"),
        "{broken:?}"
    );
}
