//! `tollgate ledger prune` and `[ledger] keep_days`: who asked is forgotten, what was spent is not, and the ledger stays whole.

use tollgate_tests::home::Home;
use tollgate_tests::postgres::Postgres;
use tollgate_tests::upstream::{Chat, Upstream};

use crate::stage::{POLICY, SMALL_PRICE, Stage, ask, budget, config, verified};

const PLACE: [&str; 4] = ["--config", "tollgate.toml", "--data-dir", "data"];

fn policy() -> String {
    let runs = "[[budget]]\nname = \"runs\"\nscope = \"run\"\nlimit_usd = 1\nwindow = \"run\"\n";
    POLICY.to_owned() + &budget("keys", "\"key\"", "1", "reject") + runs
}

async fn cli(stage: &Stage, args: &[&str]) -> tollgate_tests::home::Outcome {
    let args: Vec<&str> = args.iter().chain(&PLACE).copied().collect();
    stage.home.run(&args).await
}

#[tokio::test]
async fn a_run_and_a_key_are_forgotten_and_their_money_is_not() {
    let stage = Stage::with(&policy(), SMALL_PRICE, "auth = \"optional\"").await;
    let secret = stage.key(&["--name", "alice"]).await;
    let client = stage.client();
    for run in ["secret-run", "other-run"] {
        for _ in 0..3 {
            let reply = client
                .key(&secret)
                .with("x-tollgate-run", run)
                .with("x-tollgate-tags", "user=bob")
                .chat(&ask("small"))
                .await;
            assert_eq!(reply.status, 200, "{}", reply.text());
        }
    }
    let report =
        |stage| async move { cli(stage, &["ledger", "report", "--by", "model", "--json"]).await.success() };
    let before = report(&stage).await;
    let said = cli(&stage, &["ledger", "prune", "--run", "secret-run"]).await.success();
    assert!(said.starts_with("3 receipts"), "{said}");
    let verdict = verified(&stage.home).await;
    assert_eq!(
        (&verdict["receipts"], &verdict["pruned"], &verdict["problems"]),
        (&6.into(), &3.into(), &0.into()),
        "{verdict}"
    );
    assert_eq!(report(&stage).await, before, "the sums stay");
    let live = cli(&stage, &["ledger", "prune", "--key", "alice"]).await;
    assert_eq!(live.code, Some(1));
    assert!(live.said().contains("revoke it first"), "{}", live.said());
    // A running gateway goes on where the chain ends.
    assert_eq!(client.chat(&ask("small")).await.status, 200);
    cli(&stage, &["keys", "revoke", "alice"]).await.success();
    let said = cli(&stage, &["ledger", "prune", "--key", "alice"]).await.success();
    assert!(said.starts_with("3 receipts"), "{said}");
    let verdict = verified(&stage.home).await;
    assert_eq!(
        (&verdict["receipts"], &verdict["pruned"], &verdict["problems"]),
        (&7.into(), &6.into(), &0.into()),
        "{verdict}"
    );
    assert_eq!(stage.receipts().await.len(), 1, "what is forgotten is not exported");
    drop(stage.gateway);
    let file = std::fs::read(stage.home.data().join("tollgate.db")).expect("the ledger is a file");
    let by_run = cli_text(&stage.home, &["ledger", "report", "--by", "run,key,tag.user", "--json"]).await;
    for word in ["secret-run", "other-run", "bob"] {
        assert!(!by_run.contains(word), "{word} in {by_run}");
    }
    assert!(!file.is_empty());
}

async fn cli_text(home: &tollgate_tests::home::Home, args: &[&str]) -> String {
    let args: Vec<&str> = args.iter().chain(&PLACE).copied().collect();
    home.run(&args).await.success()
}

/// Makes a receipt in the file one that cannot be read.
async fn damage(stage: &Stage, seq: u32) {
    let script = format!(
        "import sqlite3; db = sqlite3.connect('data/tollgate.db', timeout=60); \
         db.execute(\"UPDATE receipts SET body = '{{' WHERE seq = {seq}\"); db.commit()"
    );
    let mut python = tokio::process::Command::new("python3");
    let done = python.args(["-c", &script]).current_dir(stage.home.path()).status().await;
    assert!(done.expect("python3 runs").success());
}

#[tokio::test]
async fn a_receipt_that_cannot_be_read_is_named_and_the_others_are_forgotten() {
    let stage = Stage::new().await;
    let ask_once =
        async || stage.client().with("x-tollgate-run", "secret-run").chat(&ask("small")).await.status;
    for _ in 0..4 {
        assert_eq!(ask_once().await, 200);
    }
    damage(&stage, 2).await;
    let args = ["ledger", "prune", "--run", "secret-run"];
    let named = |outcome: &tollgate_tests::home::Outcome| {
        assert_eq!(outcome.code, Some(1), "{outcome:?}");
        for part in ["receipt 2 of the ledger", "tollgate.db cannot be read", "restore a backup"] {
            assert!(outcome.stderr.contains(part), "{outcome:?}");
        }
    };
    // The gateway alone knows what the last receipts come to until it has written that.
    let early = cli(&stage, &args).await;
    named(&early);
    assert!(early.stdout.starts_with("0 receipts") && early.stderr.contains("run this again"), "{early:?}");
    assert_eq!(ask_once().await, 200, "it serves on");
    let Stage { home, gateway, small, large } = stage;
    assert_eq!(gateway.stop().await.code(), Some(0));
    let stage = Stage { gateway: home.serve().await, home, small, large };
    assert_eq!(stage.client().chat(&ask("small")).await.status, 200);
    let pruned = cli(&stage, &args).await;
    named(&pruned);
    assert!(pruned.stdout.starts_with("4 receipts"), "{pruned:?}");
    let told = cli(&stage, &["ledger", "verify"]).await;
    assert!(told.code == Some(1) && told.stdout.contains("receipt 2"), "{told:?}");
}

#[tokio::test]
async fn old_receipts_are_pruned_by_age() {
    let stage = Stage::new().await;
    for _ in 0..3 {
        assert_eq!(stage.client().with("x-tollgate-run", "r").chat(&ask("small")).await.status, 200);
    }
    let none = cli(&stage, &["ledger", "prune", "--before", "1d"]).await.success();
    assert!(none.starts_with("0 receipts"), "{none}");
    tokio::time::sleep(std::time::Duration::from_millis(1_100)).await;
    let all = cli(&stage, &["ledger", "prune", "--before", "1s"]).await.success();
    assert!(all.starts_with("3 receipts"), "{all}");
    assert_eq!(verified(&stage.home).await["pruned"], 3);
    let nothing = cli(&stage, &["ledger", "prune"]).await;
    assert_eq!(nothing.code, Some(2), "one of the three is needed");
}

#[tokio::test]
async fn a_server_forgets_as_a_file_does() {
    let server = Postgres::start();
    let upstream = Upstream::start(Chat::new("the small answer", 11, 7)).await;
    let ledger = format!("[ledger]\nurl = \"{}\"\n[content]\nkeep = \"all\"\n", server.url());
    let home = Home::new(
        &(config(&upstream.base_url(), &upstream.base_url(), SMALL_PRICE, "auth = \"optional\"") + &ledger),
    );
    home.write("policies/default.toml", &policy());
    let gateway = home.serve().await;
    let client = gateway.client();
    for run in ["secret-run", "other-run"] {
        for _ in 0..60 {
            let reply = client
                .with("x-tollgate-run", run)
                .with("x-tollgate-tags", "user=bob")
                .chat(&ask("small"))
                .await;
            assert_eq!(reply.status, 200, "{}", reply.text());
        }
    }
    let before = cli_text(&home, &["ledger", "report", "--by", "model", "--json"]).await;
    // What is leased of the run's budget is given back once it has been silent.
    let pruned = async {
        while !cli_text(&home, &["ledger", "prune", "--run", "secret-run"]).await.starts_with("60 receipts") {
            assert_eq!(verified(&home).await["problems"], 0);
            tokio::time::sleep(std::time::Duration::from_millis(200)).await;
        }
    };
    tollgate_tests::within("the run to be forgotten", pruned).await;
    let verdict = verified(&home).await;
    assert_eq!(
        (&verdict["receipts"], &verdict["pruned"], &verdict["problems"]),
        (&120.into(), &60.into(), &0.into())
    );
    assert_eq!(
        cli_text(&home, &["ledger", "report", "--by", "model", "--json"]).await,
        before,
        "the sums stay"
    );
    for table in ["receipts", "windows", "contents", "holds", "leases", "outcomes"] {
        let rows =
            server.sql(&format!("SELECT count(*) FROM {table} AS t WHERE t::text LIKE '%secret-run%'")).await;
        assert_eq!(rows, "0", "{table}");
    }
    assert_eq!(server.sql("SELECT count(*) FROM contents").await, "60");
    assert_eq!(
        server.sql("SELECT settled_nanos FROM windows WHERE subject LIKE 'pruned-%'").await,
        (60 * 12_500).to_string()
    );
    // A run that is asked for again begins anew, and what is old goes too.
    assert_eq!(client.with("x-tollgate-run", "secret-run").chat(&ask("small")).await.status, 200);
    assert_eq!(gateway.stop().await.code(), Some(0));
    tokio::time::sleep(std::time::Duration::from_millis(1_100)).await;
    let rest = cli_text(&home, &["ledger", "prune", "--before", "1s"]).await;
    assert!(rest.starts_with("61 receipts") && !rest.contains("were left"), "{rest}");
    assert_eq!(verified(&home).await["pruned"], 121);
}
