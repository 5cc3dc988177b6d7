//! What is learned where an unsure answer goes up: of the requests drawn both answers, of all others nothing.

use serde_json::{Value, json};
use tollgate_tests::metrics::Exposition;
use tollgate_tests::upstream::Chat;

use crate::learn::{is_drawn, learned, policy, verdicts};
use crate::stage::{SMALL_PRICE, Stage, ask, ask_stream, verified};

/// Likelihoods of an answer that goes up, and of one that stays.
const UNSURE: f64 = -1.0;
const SURE: f64 = -0.01;

async fn stage(learn: &str) -> Stage {
    let escalate = "[escalate]\nwhen = 'confidence < 0.6'\nhold_tokens = 3\n";
    let stage = Stage::with(&(policy(learn) + escalate), SMALL_PRICE, "").await;
    stage.large.answer(Chat::new("Paris", 11, 7));
    stage
}

fn asked_twice(metrics: &Exposition) -> f64 {
    metrics.sum("tollgate_shadow_requests_total", &[])
}

#[tokio::test]
async fn unsure_answers_count_with_sure_ones_and_cost_nothing_more() {
    let stage = stage("share = 0.5\nlimit_usd = 1.0").await;
    let client = stage.client();
    // The small model is right where it is sure and wrong where it is not.
    let (mut drawn, mut went_up) = ((0u64, 0u64), 0);
    for number in 0..24 {
        let unsure = number % 2 == 0;
        let (says, likely) = if unsure { ("Lyon", UNSURE) } else { ("Paris", SURE) };
        stage.small.answer(Chat::new(says, 11, 7).likely(likely));
        let answer = client.chat(&ask("auto")).await;
        assert_eq!(answer.header("x-tollgate-model"), if unsure { "large" } else { "small" });
        let is_drawn = u64::from(is_drawn(answer.header("x-tollgate-request-id")));
        drawn = if unsure { (drawn.0 + is_drawn, drawn.1) } else { (drawn.0, drawn.1 + is_drawn) };
        went_up += usize::from(unsure);
        // One after the other: two at once are asked twice at most.
        let all = (drawn.0 + drawn.1) as f64;
        stage.gateway.metrics_reach("what was drawn", |metrics| asked_twice(metrics) >= all).await;
    }
    assert!(drawn.0 > 0 && drawn.1 > 0, "or the test shows nothing: {drawn:?}");
    let outcomes = learned(&stage.home).await;
    assert_eq!(verdicts(&outcomes, "small", "shadow"), (drawn.1, drawn.0), "{outcomes}");
    assert_eq!(verdicts(&outcomes, "large", "shadow"), (drawn.0 + drawn.1, 0), "{outcomes}");
    assert_eq!(stage.large.counts().asked, went_up + usize::try_from(drawn.1).expect("few"), "no third time");
    let receipts = stage.receipts().await;
    let shadows = receipts.iter().filter(|receipt| receipt["route"] == "shadow").count();
    assert_eq!(shadows as u64, drawn.1, "only the sure ones are asked again");
    verified(&stage.home).await;
}

#[tokio::test]
async fn streams_that_might_be_broken_off_are_not_drawn() {
    let stage = stage("share = 0.5\nlimit_usd = 1.0").await;
    stage.small.answer(Chat::new("Paris", 11, 7).likely(SURE));
    let client = stage.client();
    let mut drawn = 0;
    for _ in 0..16 {
        let stream = client.stream(&ask_stream("auto")).await;
        drawn += u32::from(is_drawn(stream.header("x-tollgate-request-id")));
        assert_eq!(stream.finish().await.content(), "Paris");
    }
    assert!(drawn > 0, "or the test shows nothing");
    let metrics = stage.gateway.metrics().await;
    assert!(asked_twice(&metrics) < 0.5 && stage.large.counts().asked == 0);
}

#[tokio::test]
async fn verdicts_on_answers_that_might_have_gone_up_teach_nothing() {
    let stage = stage("explore = 0.0").await;
    stage.small.answer(Chat::new("Paris", 11, 7).likely(SURE));
    let client = stage.client();
    let noted = async |body: &Value| {
        let answer = client.chat(body).await;
        let verdict = json!({"request_id": answer.header("x-tollgate-request-id"), "good": true});
        client.post("/v1/feedback", verdict.to_string()).await.json()
    };
    let small = noted(&ask("auto")).await;
    assert_eq!((&small["model"], &small["learned"]), (&json!("small"), &json!(false)), "{small}");
    // Nothing is above the model that was asked for by name.
    let large = noted(&ask("large")).await;
    assert_eq!((&large["model"], &large["learned"]), (&json!("large"), &json!(true)), "{large}");
    let outcomes = learned(&stage.home).await;
    assert_eq!(verdicts(&outcomes, "small", "feedback"), (1, 0), "it is noted: {outcomes}");
    assert_eq!(outcomes["learned_from"], 1, "{outcomes}");
}
