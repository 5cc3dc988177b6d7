//! Virtual keys: who may call, what they may call, and that secrets stay secret.

use tokio::task::JoinSet;
use tollgate_tests::client::{Client, Reply};
use tollgate_tests::within;

use crate::stage::{Stage, ask};

/// Chats with a key that was just made: a running gateway knows it at once.
pub(crate) async fn accepted(client: &Client) -> Reply {
    let reply = client.chat(&ask("small")).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    reply
}

/// Chats until the gateway has noticed that a key is not to be accepted any more, or that one is needed.
pub(crate) async fn refused(client: &Client) -> Reply {
    within("the gateway to notice the change of keys", async {
        loop {
            let reply = client.chat(&ask("small")).await;
            if reply.status != 200 {
                assert_eq!(reply.status, 401, "{}", reply.text());
                return reply;
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    })
    .await
}

#[tokio::test]
async fn once_a_key_exists_one_is_needed() {
    let stage = Stage::new().await;
    assert_eq!(stage.client().chat(&ask("small")).await.status, 200, "loopback without keys is open");
    let key = stage.key(&["--owner", "ada", "--team", "search"]).await;
    let refused = refused(&stage.client()).await;
    assert_eq!(refused.error()["code"], "missing_api_key");
    assert_eq!(refused.header("x-should-retry"), "false");
    accepted(&stage.client().key(&key)).await;
    assert_eq!(stage.client().with("x-api-key", &key).chat(&ask("small")).await.status, 200);
    let receipt = stage.receipts().await.pop().expect("a receipt");
    assert_eq!(receipt["team"], "search", "{receipt}");
    let wrong = stage.client().key("tg-not-a-key").chat(&ask("small")).await;
    assert_eq!((wrong.status.as_u16(), &wrong.error()["code"]), (401, &"invalid_api_key".into()));
    assert!(!wrong.text().contains("tg-not-a-key"), "what was presented is not repeated");
    for odd in ["Basic dG9sbGdhdGU6eA==", key.as_str()] {
        let refused = stage.client().with("authorization", odd).chat(&ask("small")).await;
        assert_eq!((refused.status.as_u16(), &refused.error()["code"]), (401, &"invalid_api_key".into()));
        assert!(refused.text().contains("must be `Bearer tg-"), "{}", refused.text());
    }
    assert!(stage.client().get("/healthz").await.status.is_success(), "health needs no key");
}

#[tokio::test]
async fn a_new_key_works_for_all_who_use_it_at_once() {
    let stage = Stage::new().await;
    // The first key is what makes one needed: from the second on, a key that is not known is refused.
    accepted(&stage.client().key(&stage.key(&["--name", "first"]).await)).await;
    for number in 0..4 {
        let key = stage.key(&["--name", &format!("team-{number}")]).await;
        let mut asking = JoinSet::new();
        for _ in 0..8 {
            let client = stage.client().key(&key);
            asking.spawn(async move { accepted(&client).await });
        }
        assert_eq!(asking.join_all().await.len(), 8);
    }
    let stranger =
        stage.client().key("tg-abcdefghijklmnopqrstuvwxyz0123456789_-ABCDE").chat(&ask("small")).await;
    assert_eq!((stranger.status.as_u16(), &stranger.error()["code"]), (401, &"invalid_api_key".into()));
}

#[tokio::test]
async fn a_key_for_one_model_may_not_use_another() {
    let stage = Stage::new().await;
    let key = stage.key(&["--name", "narrow", "--model", "small"]).await;
    let client = stage.client().key(&key);
    accepted(&client).await;
    let refused = client.chat(&ask("large")).await;
    assert_eq!((refused.status.as_u16(), &refused.error()["code"]), (403, &"model_not_allowed".into()));
    assert!(refused.error()["message"].as_str().is_some_and(|text| text.contains("large")));
    assert!(refused.text().contains("it may use: small"), "{}", refused.text());
    for _ in 0..3 {
        assert_eq!(
            client.chat(&ask("auto")).await.json()["model"],
            "small",
            "routing keeps to the key's models"
        );
    }
    assert_eq!(stage.large.counts().asked, 0);
}

#[tokio::test]
async fn a_revoked_key_stops_working() {
    let stage = Stage::new().await;
    let key = stage.key(&["--name", "leaver"]).await;
    let client = stage.client().key(&key);
    accepted(&client).await;
    stage
        .home
        .run(&["keys", "revoke", "leaver", "--config", "tollgate.toml", "--data-dir", "data"])
        .await
        .success();
    let refused = refused(&client).await;
    assert_eq!(refused.error()["code"], "api_key_revoked", "{}", refused.text());
}

#[tokio::test]
async fn secrets_are_nowhere_in_clear() {
    let stage = Stage::new().await;
    let key = stage.key(&["--name", "ada"]).await;
    accepted(&stage.client().key(&key)).await;
    let listed =
        stage.home.run(&["keys", "list", "--json", "--config", "tollgate.toml", "--data-dir", "data"]).await;
    assert!(listed.stdout.contains("ada") && !listed.said().contains(&key));
    assert!(!stage.gateway.log().contains(&key));
    for file in std::fs::read_dir(stage.home.data()).expect("the data directory is there") {
        let path = file.expect("its files can be listed").path();
        let bytes = std::fs::read(&path).expect("its files can be read");
        assert!(!bytes.windows(key.len()).any(|window| window == key.as_bytes()), "in {}", path.display());
    }
}
