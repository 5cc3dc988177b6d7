//! `tollgate models quantize` on a real model, and what it makes as candidates of their own beside the model it came from.

use serde_json::{Value, json};
use tollgate_tests::home::Home;
use tollgate_tests::parts::MODELS;

use crate::real::ready;

const TO_Q4_0: [&str; 5] = ["coarse.gguf", "--type", "q4_0", "--allow-requantize", "--json"];

fn quantize<'a>(more: &[&'a str]) -> Vec<&'a str> {
    [&["models", "quantize", MODELS[0]], more].concat()
}

/// The arms as a user declares them: a price, bits and abilities each.
fn config() -> String {
    let dense = MODELS[0];
    let arm = |name: &str, model: &str, bits: u32, price: f64, ability: &str| {
        format!(
            r#"
[[engine]]
name = "{name}"
kind = "embedded"
model = "{model}"
threads = 1
context = 512
parallel = 2
[[model]]
name = "{name}"
engine = "{name}"
bits = {bits}
price = {{ input = {price}, output = {price} }}
context = 512
ability = {ability}
"#
        )
    };
    let head = "[server]\nlisten = \"127.0.0.1:0\"\n[policies]\nfiles = [\"policies\"]\n".to_owned();
    head + &arm("fine", dense, 5, 0.3, "1.0")
        + &arm("coarse", "coarse.gguf", 4, 0.1, "{ general = 1.0, math = -2.0 }")
}

const POLICY: &str = r#"
[policy]
name = "default"
baseline = "fine"
[[rule]]
name = "careful callers get precise weights"
when = 'tags.work == "exact"'
min_bits = 5
"#;

#[tokio::test]
async fn a_coarser_copy_is_a_candidate_of_its_own() {
    let home = Home::new(&config());
    home.write("policies/default.toml", POLICY);
    let facts = home.run(&quantize(&TO_Q4_0)).await.success();
    let facts: Value = serde_json::from_str(&facts).expect("it prints JSON");
    assert_eq!(facts["quantization"][0]["kind"], "Q4_0", "{facts:#}");
    let bits = facts["bits_per_weight"].as_f64().expect("bits");
    assert!((4.4..5.6).contains(&bits), "its source has 5.8: {bits}");

    let gateway = home.serve().await;
    ready(&gateway).await;
    let client = gateway.client();
    let ask = |model: &str, prompt: &str| {
        json!({"model": model, "max_tokens": 8, "temperature": 0, "messages": [{"role": "user", "content": prompt}]}).to_string()
    };
    let reply = client.post("/v1/chat/completions", ask("coarse", "What is the capital of France?")).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    assert_eq!(reply.json()["usage"]["completion_tokens"].as_u64().map(|n| n > 0), Some(true));

    let decision = client.post("/v1/decision", ask("auto", "What is the capital of France?")).await.json();
    assert_eq!(decision["model"], "coarse", "as able and cheaper: {decision:#}");
    let sum = "Compute the integral of x^3 * exp(2x) from 0 to 1 and prove that the result is exact.";
    let decision = client.post("/v1/decision", ask("auto", sum)).await.json();
    assert_eq!(decision["score"]["domain"], "math", "{decision:#}");
    assert_eq!(decision["model"], "fine", "its ability in mathematics is too low: {decision:#}");
    let exact = client.with("x-tollgate-tags", "work=exact");
    let decision = exact.post("/v1/decision", ask("auto", "What is the capital of France?")).await.json();
    assert_eq!(decision["model"], "fine", "{decision:#}");
    assert!(decision.to_string().contains("wants 5 bits, it has 4"), "{decision:#}");
}

#[tokio::test]
async fn what_cannot_be_made_is_said_and_leaves_nothing() {
    let home = Home::new("");
    let refused = async |args: &[&str], code: i32, told: &str| {
        let outcome = home.run(args).await;
        assert!(outcome.code == Some(code) && outcome.stderr.contains(told), "{told}: {}", outcome.said());
    };
    refused(&quantize(&["a.gguf", "--type", "q9"]), 2, "one of q8_0, q6_k,").await;
    refused(&quantize(&["a.gguf", "--type", "q2_k"]), 1, "--allow-requantize").await;
    refused(&quantize(&["a.gguf", "--type", "q8_0"]), 1, "takes more room and is no better").await;
    refused(&["models", "quantize", "none.gguf", "a.gguf", "--type", "q2_k"], 1, "none.gguf").await;
    let cut = home.write("cut.gguf", "GGUF\u{3}\0\0\0");
    refused(&["models", "quantize", "cut.gguf", "a.gguf", "--type", "q2_k"], 1, "cut or damaged").await;
    std::fs::rename(cut, home.path().join("kept.gguf")).expect("it was written");
    refused(&quantize(&["kept.gguf", "--type", "q4_0", "--allow-requantize"]), 1, "--force").await;
    std::os::unix::fs::symlink("kept.gguf", home.path().join("link.gguf")).expect("the home is writable");
    refused(&["models", "quantize", "kept.gguf", "link.gguf", "--type", "q4_0"], 1, "cut or damaged").await;
    assert!(!home.path().join("a.gguf").exists());
}

#[tokio::test]
async fn a_target_that_is_the_source_is_never_written() {
    let home = Home::new("");
    home.run(&quantize(&TO_Q4_0)).await.success();
    std::os::unix::fs::symlink("coarse.gguf", home.path().join("link.gguf")).expect("the home is writable");
    let args =
        ["models", "quantize", "coarse.gguf", "link.gguf", "--type", "q8_0", "--allow-requantize", "--force"];
    let outcome = home.run(&args).await;
    assert!(
        outcome.code == Some(1) && outcome.stderr.contains("to be quantized itself"),
        "{}",
        outcome.said()
    );
    let forced = [&TO_Q4_0[..], &["--force"]].concat();
    let outcome = home.run(&quantize(&forced)).await;
    assert!(outcome.stderr.contains("warning") && outcome.code == Some(0), "{}", outcome.said());
}

#[tokio::test]
async fn a_full_disk_leaves_no_half_file() {
    let home = Home::new("");
    // Beyond that size a write fails like one to a full disk, which llama.cpp's quantizer does not notice.
    let script = "trap '' XFSZ; ulimit -f 20000; exec \"$0\" \"$@\"";
    let tollgate = home.command(&quantize(&TO_Q4_0));
    let mut shell = tokio::process::Command::new("sh");
    shell.args(["-c", script]).arg(tollgate.as_std().get_program()).args(tollgate.as_std().get_args());
    shell.current_dir(home.path()).kill_on_drop(true);
    let output = tollgate_tests::within("quantizing", shell.output()).await.expect("sh runs");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.code() == Some(1) && said.contains("cannot be quantized"), "{said}");
    let left: Vec<_> = std::fs::read_dir(home.path()).expect("the home is there").flatten().collect();
    assert!(!left.iter().any(|entry| entry.file_name().to_string_lossy().contains("gguf")), "{left:?}");
}
