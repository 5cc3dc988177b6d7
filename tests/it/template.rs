//! Chat templates that hang, grow or crash: the request gets an error that says so, and the engine goes on.

use std::net::SocketAddr;
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader};
use tokio::process::{Child, ChildStderr};
use tollgate_tests::client::{Client, Reply};
use tollgate_tests::home::Home;
use tollgate_tests::parts::MODELS;
use tollgate_tests::within;

/// Does what the message says.
const HOSTILE: &str = "\
{%- set wish = messages[0].content %}
{%- set ns = namespace(s=[1], t=[1]) %}
{%- if wish == 'hang' %}{% for i in range(64) %}{% set ns.s = [ns.s, ns.s] %}{% set ns.t = [ns.t, ns.t] %}{% endfor %}{{ ns.s == ns.t }}
{%- elif wish == 'deep' %}{% for i in range(99999) %}{% set ns.s = [ns.s] %}{% endfor %}{{ ns.s }}
{%- elif wish == 'cycle' %}{% set ns.s = ns %}{{ ns }}
{%- elif wish == 'much' %}{{ '{:9000000000}'.format('x') }}
{%- elif wish == 'steps' %}{% for a in range(9999) %}{% for b in range(9999) %}{% endfor %}{% endfor %}
{%- else %}<{{ wish }}>{% endif %}";

/// `tollgate engine` with this template.
struct Engine {
    child: Child,
    log: BufReader<ChildStderr>,
}

impl Engine {
    fn start(home: &Home, template: &str) -> Engine {
        let file = home.write("template.jinja", template);
        let mut command = home.command(&["--log", "json", "engine", "--model", MODELS[0]]);
        command.args(["--listen", "127.0.0.1:0", "--threads", "1", "--context", "256", "--parallel", "1"]);
        command.arg("--chat-template-file").arg(file).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the tollgate binary runs");
        let log = BufReader::new(child.stderr.take().expect("stderr is piped"));
        Engine { child, log }
    }

    /// A client of it, once it is ready.
    async fn client(&mut self) -> Client {
        let mut line = String::new();
        within("the engine's ready line", async {
            loop {
                line.clear();
                let read = self.log.read_line(&mut line).await.expect("its log is text");
                assert!(read > 0, "the engine ended before it was ready");
                let address = line.split("\"address\":\"").nth(1).and_then(|rest| rest.split('"').next());
                if let Some(address) = address.and_then(|address| address.parse::<SocketAddr>().ok()) {
                    return Client::new(address);
                }
            }
        })
        .await
    }
}

async fn rendered(client: &Client, wish: &str) -> Reply {
    let body = json!({"messages": [{"role": "user", "content": wish}]});
    client.post("/apply-template", body.to_string()).await
}

#[tokio::test]
async fn a_hostile_template_costs_the_request_and_not_the_engine() {
    let home = Home::new("");
    let mut engine = Engine::start(&home, HOSTILE);
    let client = engine.client().await;
    let plain = |reply: &Reply| reply.json()["prompt"].as_str().map(str::to_owned);
    assert_eq!(plain(&rendered(&client, "hello").await).as_deref(), Some("<hello>"));
    for (wish, status, words) in [
        ("deep", 500, "recurses too deeply"),
        ("cycle", 500, "recurses too deeply"),
        ("much", 500, "needs too much memory"),
        ("hang", 500, "computes for longer than 5 s"),
        ("steps", 400, "takes too many steps"),
    ] {
        let reply = rendered(&client, wish).await;
        let error = reply.error();
        let said: Value = error["message"].clone();
        assert_eq!(reply.status, status, "{wish}: {said}");
        assert!(said.as_str().is_some_and(|said| said.contains(words)), "{wish}: {said}");
        assert_eq!(error["code"], if status == 500 { "template_failed" } else { "invalid_value" });
        let after = rendered(&client, &format!("after {wish}")).await;
        assert_eq!(plain(&after), Some(format!("<after {wish}>")), "{}", after.text());
    }
    assert!(engine.child.try_wait().expect("the engine can be looked at").is_none(), "it still runs");
    let body = json!({"messages": [{"role": "user", "content": "hello"}], "max_tokens": 2});
    assert_eq!(client.chat(&body).await.status, 200);
}

#[tokio::test]
async fn a_caller_whose_messages_hang_holds_up_nobody_else_and_is_soon_refused() {
    let home = Home::new("");
    let mut engine = Engine::start(&home, HOSTILE);
    let client = engine.client().await;
    let (bad, good) = (client.with("x-tollgate-caller", "bad"), client.with("x-tollgate-caller", "good"));
    let hangs = rendered(&bad, "hang");
    tokio::pin!(hangs);
    for wish in ["one", "two"] {
        tokio::select! {
            biased;
            reply = &mut hangs => panic!("the other was held up until it ended: {}", reply.text()),
            reply = rendered(&good, wish) => assert_eq!(reply.json()["prompt"], format!("<{wish}>"), "{}", reply.text()),
        }
    }
    assert_eq!(hangs.await.status, 500);
    for _ in 0..2 {
        assert_eq!(rendered(&bad, "cycle").await.status, 500);
    }
    let refused = rendered(&bad, "hello").await;
    let said = refused.error()["message"].to_string();
    assert_eq!(refused.error()["code"], "template_failed", "{said}");
    assert!(said.contains("3 times in a row for this caller") && said.contains("tried again in"), "{said}");
    assert_eq!(rendered(&good, "hello").await.json()["prompt"], "<hello>");
}

/// The process that renders for this engine.
fn renderer(engine: &Child) -> Pid {
    let parent = engine.id().expect("it runs").to_string();
    let is_its = |pid: &u32| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        // What follows its name: its state, then its parent.
        stat.rsplit(") ").next().and_then(|rest| rest.split(' ').nth(1)) == Some(parent.as_str())
    };
    let found = crate::command::processes("render-template").into_iter().find(is_its);
    found.and_then(|pid| Pid::from_raw(i32::try_from(pid).ok()?)).expect("it renders apart")
}

#[tokio::test]
async fn a_renderer_that_the_machine_has_no_time_for_is_waited_for() {
    let home = Home::new("");
    let mut engine = Engine::start(&home, HOSTILE);
    let client = engine.client().await;
    let renderer = renderer(&engine.child);
    kill_process(renderer, Signal::STOP).expect("it is ours");
    let asked = rendered(&client, "hello");
    tokio::pin!(asked);
    // Longer than it may compute.
    let early = tokio::time::timeout(Duration::from_secs(6), &mut asked).await;
    assert!(early.is_err(), "{}", early.map(|reply| reply.text()).unwrap_or_default());
    kill_process(renderer, Signal::CONT).expect("it is ours");
    let reply = within("the prompt", asked).await;
    assert_eq!(reply.json()["prompt"], "<hello>", "{}", reply.text());
}

#[tokio::test]
async fn a_template_that_cannot_be_compiled_is_told_at_the_start() {
    let home = Home::new("");
    let mut engine = Engine::start(&home, &format!("{{{{ x{} }}}}", ".a".repeat(200_000)));
    let mut said = String::new();
    within("its end", engine.log.read_to_string(&mut said)).await.expect("its log is text");
    assert!(
        said.contains("chat template is not usable: it needs too much memory, or recurses too deeply"),
        "{said}"
    );
    let ended = within("its end", engine.child.wait()).await.expect("it can be waited for");
    assert_eq!(ended.code(), Some(1));
}
