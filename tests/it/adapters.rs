//! LoRA adapters of one local engine as models of their own: one worker, each with its name, price and answers.

use std::path::Path;

use serde_json::{Value, json};
use tollgate_tests::home::Home;
use tollgate_tests::parts::MODELS;

use crate::real::ready;
use crate::stage::receipts;

const SERVE: [&str; 5] = ["serve", "--config", "tollgate.toml", "--data-dir", "data"];
const POLICY: &str = "[policy]\nname = \"default\"\nbaseline = \"plain\"\n";

fn config() -> String {
    let dense = MODELS[0];
    let model = |name: &str, more: &str, price: u32| {
        format!(
            "[[model]]\nname = \"{name}\"\nengine = \"local\"\n{more}price = {{ input = {price}, output = {price} }}\n"
        )
    };
    let engine = format!(
        "[server]\nlisten = \"127.0.0.1:0\"\n[policies]\nfiles = [\"policies\"]\n[[engine]]\nname = \"local\"\nkind = \"embedded\"\n\
         model = \"{dense}\"\nthreads = 1\ncontext = 512\nparallel = 3\n\
         adapters = {{ sql = \"sql.gguf\", support = {{ path = \"support.gguf\", scale = 0.5 }} }}\n"
    );
    engine
        + &model("plain", "", 1)
        + &model("writes-sql", "adapter = \"sql\"\n", 2)
        // The name of one and the weights of the other: what counts is `adapter`.
        + &model("sql", "adapter = \"support\"\n", 3)
}

/// Writes a LoRA adapter with random weights (by the seed) for the small model's attention.
fn write_adapter(path: &Path, seed: u32) {
    const WIDTH: u64 = 576;
    const RANK: u64 = 4;
    fn text(out: &mut Vec<u8>, text: &str) {
        out.extend((text.len() as u64).to_le_bytes());
        out.extend(text.as_bytes());
    }
    let each = |layer: u32| {
        let name = format!("blk.{layer}.attn_output.weight");
        [(format!("{name}.lora_a"), [WIDTH, RANK]), (format!("{name}.lora_b"), [RANK, WIDTH])]
    };
    let tensors: Vec<_> = (0..30).flat_map(each).collect();
    let mut out = b"GGUF".to_vec();
    out.extend(3_u32.to_le_bytes());
    out.extend((tensors.len() as u64).to_le_bytes());
    out.extend(4_u64.to_le_bytes());
    for (key, value) in
        [("general.architecture", "llama"), ("general.type", "adapter"), ("adapter.type", "lora")]
    {
        text(&mut out, key);
        out.extend(8_u32.to_le_bytes());
        text(&mut out, value);
    }
    text(&mut out, "adapter.lora.alpha");
    out.extend(6_u32.to_le_bytes());
    out.extend(4_f32.to_le_bytes());
    let mut offset = 0_u64;
    for (name, shape) in &tensors {
        text(&mut out, name);
        out.extend(2_u32.to_le_bytes());
        out.extend(shape.iter().flat_map(|side| side.to_le_bytes()));
        out.extend(0_u32.to_le_bytes());
        out.extend(offset.to_le_bytes());
        offset += shape[0] * shape[1] * 4;
    }
    out.resize(out.len().next_multiple_of(32), 0);
    let mut state = seed;
    for _ in 0..offset / 4 {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let number = f32::from((state >> 16) as u16) / 65536.0 - 0.5;
        out.extend((number * 1.5).to_le_bytes());
    }
    std::fs::write(path, out).expect("the home is writable");
}

fn ask(model: &str, more: &Value) -> Value {
    let mut body = json!({"model": model, "max_tokens": 12, "temperature": 0, "ignore_eos": true, "cache_prompt": false,
           "messages": [{"role": "user", "content": "Say something about the sea."}]});
    for (field, value) in more.as_object().into_iter().flatten() {
        body[field] = value.clone();
    }
    body
}

fn home() -> Home {
    let home = Home::new(&config());
    home.write("policies/default.toml", POLICY);
    for (name, seed) in [("sql.gguf", 1), ("support.gguf", 2)] {
        write_adapter(&home.path().join(name), seed);
    }
    home
}

#[tokio::test]
async fn each_adapter_is_a_model_with_a_price_and_one_worker_serves_all() {
    let home = home();
    let gateway = home.serve().await;
    ready(&gateway).await;
    let client = gateway.client();
    let mut alone = Vec::new();
    for model in ["plain", "writes-sql", "sql"] {
        let reply = client.chat(&ask(model, &json!({}))).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        assert_eq!((reply.header("x-tollgate-model"), &reply.json()["model"]), (model, &json!(model)));
        alone.push(reply);
    }
    let [plain, sql, support] = [0, 1, 2].map(|place| alone[place].content());
    assert!(plain != sql && sql != support && plain != support, "{plain:?}, {sql:?}, {support:?}");
    // At once they are what they were alone.
    let bodies = ["plain", "writes-sql", "sql"].map(|model| ask(model, &json!({})));
    let beside = tokio::join!(client.chat(&bodies[0]), client.chat(&bodies[1]), client.chat(&bodies[2]));
    assert_eq!([beside.0.content(), beside.1.content(), beside.2.content()], [plain, sql, support]);
    // Whoever may use one model gets no other by a field that passes through.
    for (model, lora) in [("plain", json!("sql")), ("writes-sql", json!([{"id": 1, "scale": 1.0}]))] {
        let reply = client.chat(&ask(model, &json!({"lora": lora}))).await;
        assert_eq!(
            (reply.status.as_u16(), &reply.error()["param"]),
            (400, &json!("lora")),
            "{}",
            reply.text()
        );
    }
    let receipts = receipts(&home).await;
    let dearer = |model: &str| {
        let receipt = receipts.iter().find(|receipt| receipt["model"] == model && receipt["status"] == "ok");
        let receipt = receipt.expect("each has answered");
        receipt["cost"].as_str().and_then(|cost| cost.parse::<f64>().ok()).expect("a cost")
    };
    assert!((dearer("sql") / dearer("plain") - 3.0).abs() < 1e-6, "{receipts:?}");
    assert!((dearer("writes-sql") / dearer("plain") - 2.0).abs() < 1e-6);
    assert_eq!(gateway.stop().await.code(), Some(0));
}

#[tokio::test]
async fn what_is_no_adapter_of_the_engine_keeps_the_gateway_from_starting() {
    let home = home();
    home.write("tollgate.toml", &config().replace("adapter = \"support\"", "adapter = \"suport\""));
    let outcome = home.run(&SERVE).await;
    let said = outcome.said();
    assert!(outcome.code != Some(0) && said.contains("has no adapter \"suport\""), "{said}");
    assert!(said.contains("tollgate.toml:") && said.contains("did you mean `support`?"), "{said}");
    home.write("tollgate.toml", &config());
    std::fs::remove_file(home.path().join("sql.gguf")).expect("it was there");
    let outcome = home.run(&SERVE).await;
    assert!(outcome.code != Some(0) && outcome.said().contains("sql.gguf"), "{}", outcome.said());
    // Of a folder every file is looked for.
    std::fs::create_dir(home.path().join("sql.gguf")).expect("its name is free");
    home.write("sql.gguf/adapter_config.json", "{}");
    let outcome = home.run(&SERVE).await;
    let said = outcome.said();
    assert!(outcome.code != Some(0) && said.contains("sql.gguf/adapter_model.safetensors"), "{said}");
}
