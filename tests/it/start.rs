//! Starts that cannot work: each ends with a clear message, exit code 1 or 2, and nothing half-written.

use std::io::Write as _;

use tollgate_tests::home::{Home, Outcome};
use tollgate_tests::parts;

use crate::stage::{POLICY, SMALL_PRICE, Stage, config};

fn home() -> Home {
    let home = Home::new(&config("http://127.0.0.1:9/v1", "http://127.0.0.1:9/v1", SMALL_PRICE, ""));
    home.write("policies/default.toml", POLICY);
    home
}

async fn refused(home: &Home, args: &[&str]) -> Outcome {
    let base = ["serve", "--config", "tollgate.toml"];
    let data = ["--data-dir", "data"];
    let data: &[&str] = if args.contains(&"--data-dir") { &[] } else { &data };
    let outcome = home.run(&[&base, data, args].concat()).await;
    let said = outcome.said();
    assert!(matches!(outcome.code, Some(1 | 2)), "exit {:?}: {said}", outcome.code);
    assert!(!said.contains("panicked"), "{said}");
    outcome
}

fn files(home: &Home) -> Vec<String> {
    let entries = std::fs::read_dir(home.data()).expect("the data directory is there");
    entries.map(|entry| entry.expect("it can be listed").file_name().to_string_lossy().into_owned()).collect()
}

#[tokio::test]
async fn onnx_runtime_tells_nobody_of_the_process() {
    let home = Home::new("");
    let mut command = home.command(&["score"]);
    // With nothing said it would leave a number of the machine, and what it is about to send, in the home directory.
    command.env_remove("ORT_DISABLE_TELEMETRY").env_remove("XDG_CACHE_HOME");
    command.env("HOME", home.path()).env("TOLLGATE_CACHE", parts::cache());
    let (read, mut write) = std::io::pipe().expect("a pipe");
    write.write_all(b"{\"prompt\": \"Hello\"}\n").expect("it takes a line");
    drop(write);
    let out = command.stdin(read).output().await.expect("it runs");
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let left = std::fs::read_dir(home.path().join(".cache")).map_or(0, Iterator::count);
    assert_eq!(left, 0, "something keeps records under {}", home.path().display());
}

#[tokio::test]
async fn a_port_in_use_is_named() {
    let stage = Stage::new().await;
    let home = home();
    let taken = stage.gateway.addr().to_string();
    let said = refused(&home, &["--listen", &taken]).await.said();
    assert!(said.contains(&taken) && said.contains("in use"), "{said}");
    assert_eq!(stage.client().get("/healthz").await.status, 200, "the one that has it goes on");
}

#[tokio::test]
async fn a_data_directory_that_cannot_be_is_named() {
    let home = home();
    home.write("a-file", "");
    // Below a regular file, and in a file system that takes no files: both also stop root.
    for place in ["a-file/data", "/proc/tollgate-data"] {
        let said = refused(&home, &["--data-dir", place]).await.said();
        assert!(said.contains(place), "{said}");
    }
}

#[tokio::test]
async fn a_ledger_that_is_none_is_left_alone() {
    let home = home();
    home.write("data/tollgate.db", "this is no database, but somebody's notes");
    let said = refused(&home, &[]).await.said();
    assert!(said.contains("tollgate.db"), "{said}");
    let kept = std::fs::read_to_string(home.data().join("tollgate.db")).expect("it is still there");
    assert_eq!(kept, "this is no database, but somebody's notes");
}

#[tokio::test]
async fn two_gateways_cannot_share_a_ledger_file() {
    let stage = Stage::new().await;
    let said = refused(&stage.home, &[]).await.said();
    assert!(said.contains("tollgate.db") || said.contains("data"), "{said}");
    assert_eq!(stage.client().get("/healthz").await.status, 200);
}

#[tokio::test]
async fn missing_files_are_named_with_what_to_do() {
    let home = home();
    let said = home.run(&["serve", "--config", "nowhere.toml"]).await;
    assert_eq!(said.code, Some(1));
    assert!(said.said().contains("nowhere.toml"), "{}", said.said());
    let said = refused(&home, &["--policy", "nowhere-policy.toml"]).await.said();
    assert!(said.contains("nowhere-policy.toml"), "{said}");
    let engine = "\n[[engine]]\nname = \"local\"\nkind = \"embedded\"\nmodel = \"missing.gguf\"\n[[model]]\nname = \"local\"\nengine = \"local\"\nprice = { input = 1, output = 1 }\n";
    let text = config("http://127.0.0.1:9/v1", "http://127.0.0.1:9/v1", SMALL_PRICE, "") + engine;
    home.write("tollgate.toml", &text);
    let said = refused(&home, &[]).await.said();
    assert!(said.contains("missing.gguf"), "{said}");
    assert!(files(&home).is_empty(), "nothing is written by a start that cannot work: {:?}", files(&home));
}

#[tokio::test]
async fn a_missing_onnx_runtime_is_called_by_its_name() {
    let home = home();
    let mut command = home.command(&["serve", "--config", "tollgate.toml", "--data-dir", "data"]);
    let outcome = command.env("TOLLGATE_ONNXRUNTIME", "/nowhere/lib.so").output().await.expect("it runs");
    let said = String::from_utf8_lossy(&outcome.stderr).into_owned();
    assert_eq!(outcome.status.code(), Some(1), "{said}");
    assert!(
        said.contains("ONNX Runtime is not at /nowhere/lib.so") && said.contains("models pull"),
        "{said}"
    );
    assert!(files(&home).is_empty());
}

#[tokio::test]
async fn a_library_named_without_a_folder_is_the_one_that_lies_here() {
    let home = home();
    let library = parts::cache().join("lib/libonnxruntime.so.1.31.1");
    std::fs::copy(library, home.path().join("lib.so")).expect("`make test` fetches ONNX Runtime");
    let scored =
        home.run_with(&["score", "--onnxruntime", "lib.so"], "{\"prompt\": \"hi\"}\n").await.success();
    assert!(scored.contains("difficulty"), "{scored}");
}

#[tokio::test]
async fn revoking_where_nothing_is_writes_nothing() {
    let home = home();
    let args = ["keys", "revoke", "x", "--config", "tollgate.toml", "--data-dir", "data"];
    let outcome = home.run(&args).await;
    assert_eq!(outcome.code, Some(1));
    assert!(outcome.said().contains("there is no ledger"), "{}", outcome.said());
    assert!(files(&home).is_empty(), "{:?}", files(&home));
}

#[tokio::test]
async fn every_problem_of_a_configuration_is_told_at_once() {
    let home = home();
    let text = config("ftp://x", "http://127.0.0.1:9/v1", "{ input = \"cheap\", output = 1 }", "lissten = 1");
    home.write("tollgate.toml", &text);
    let said = refused(&home, &[]).await.said();
    for word in ["lissten", "listen", "ftp://x", "input"] {
        assert!(said.contains(word), "no {word} in {said}");
    }
    assert!(said.contains("tollgate.toml:4:"), "{said}");
    assert!(files(&home).is_empty());
}

#[tokio::test]
async fn a_bad_policy_stops_a_start_with_all_its_problems() {
    let home = home();
    home.write("policies/default.toml", "[policy]\nname = \"default\"\nbaseline = \"larg\"\nx = 1\n[[rule]]\nname = \"r\"\nwhen = 'difficlty > 1'\n");
    let said = refused(&home, &[]).await.said();
    for word in ["larg", "difficlty", "`x`"] {
        assert!(said.contains(word.trim_matches('`')), "no {word} in {said}");
    }
    assert!(files(&home).is_empty());
}

#[tokio::test]
async fn wrong_usage_exits_with_2() {
    let home = home();
    for args in [&["serve", "--nonsense"][..], &["nonsense"], &["serve", "--listen", "everywhere"]] {
        let outcome = home.run(args).await;
        assert_eq!(outcome.code, Some(2), "{args:?}: {}", outcome.said());
    }
    let said = home.run(&["serve", "--listen", "8080"]).await.said();
    assert!(said.contains("127.0.0.1:8080"), "an example says it best: {said}");
    assert_eq!(home.run(&["--version"]).await.code, Some(0));
}
