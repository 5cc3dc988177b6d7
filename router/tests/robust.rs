//! The shipped graph under rewording and in conversations: what does not change the task does not
//! change the route. Needs ONNX Runtime (`tollgate models pull onnxruntime`, or TOLLGATE_ONNXRUNTIME).

#![expect(clippy::unwrap_used, reason = "a test: a failure is its message")]

use std::borrow::Cow;
use std::path::PathBuf;
use std::sync::LazyLock;

use tollgate_router::{Role, Score, Scorer, Task, Turn};

static SCORER: LazyLock<Scorer> = LazyLock::new(|| {
    let cache = || {
        let home = std::env::var_os("HOME").map(PathBuf::from).unwrap_or_default();
        std::env::var_os("TOLLGATE_CACHE").map_or_else(|| home.join(".cache/tollgate"), PathBuf::from)
    };
    let library = std::env::var_os("TOLLGATE_ONNXRUNTIME")
        .map_or_else(|| cache().join("lib/libonnxruntime.so.1.31.1"), PathBuf::from);
    Scorer::load(&library, 1).unwrap()
});

const PLAN: &str = "Plan the move of our billing system to a new database in six weeks without downtime; two of \
                    five engineers are away in week three, every step needs a way back, and audits block week four.";
const EASY: &str = "What is the capital of Chile?";

fn score(text: &str) -> Score {
    SCORER.score(&Task::prompt(text)).unwrap()
}

fn chat(turns: &[(Role, &str)]) -> f32 {
    let turns: Vec<Turn<'_>> =
        turns.iter().map(|(role, text)| Turn { role: *role, text: Cow::Borrowed(*text) }).collect();
    SCORER.score(&Task::new(&turns)).unwrap().difficulty
}

fn everyday() -> Vec<&'static str> {
    let lines = include_str!("everyday.txt").lines().filter(|line| !line.starts_with('#'));
    lines.filter_map(|line| line.splitn(3, ' ').nth(2)).collect()
}

/// Swaps two letters in every eighth word, away from its ends, as hurried typing does.
fn typos(text: &str) -> String {
    let swap = |(at, word): (usize, &str)| {
        let mut letters: Vec<char> = word.chars().collect();
        if at % 8 == 3 && letters.len() >= 5 && letters.iter().all(|c| c.is_alphabetic()) {
            letters.swap(2, 3);
        }
        letters.into_iter().collect::<String>()
    };
    text.split(' ').enumerate().map(swap).collect::<Vec<_>>().join(" ")
}

type Reword = fn(&str) -> String;

/// Share of everyday requests that a rewording moves across the middle of the list's difficulties.
fn flips(reword: impl Fn(&str) -> String) -> f64 {
    let texts = everyday();
    let mut sorted: Vec<f32> = texts.iter().map(|text| score(text).difficulty).collect();
    sorted.sort_by(f32::total_cmp);
    let middle = (sorted[sorted.len() / 2 - 1] + sorted[sorted.len() / 2]) / 2.0;
    let above = |text: &str| score(text).difficulty > middle;
    let flipped = texts.iter().filter(|text| above(text) != above(&reword(text))).count();
    flipped as f64 / texts.len() as f64
}

#[test]
fn rewording_does_not_move_the_route() {
    let rewordings: [(&str, Reword); 8] = [
        ("typos", typos),
        ("lower case", |text| text.to_lowercase()),
        ("upper case", |text| text.to_uppercase()),
        ("white space", |text| format!("\n  {}\n\n", text.replace(' ', "  "))),
        ("polite", |text| format!("Hello! Could you please help me with this: {text} Thanks in advance!")),
        ("question and answer", |text| format!("Question: {text}\nAnswer:")),
        ("framed", |text| format!("I have a question. {text}")),
        ("thanks", |text| format!("{text} Thank you very much.")),
    ];
    let shares: Vec<String> = rewordings
        .iter()
        .map(|(name, reword)| (name, flips(reword)))
        .filter(|(_, share)| *share > 0.05)
        .map(|(name, share)| format!("{name} {share:.3}"))
        .collect();
    assert!(shares.is_empty(), "flipped: {shares:?}");
}

#[test]
fn a_greeting_before_a_hard_task_changes_little() {
    let (alone, greeted) = (score(PLAN).difficulty, score(&format!("Hi there! {PLAN}")).difficulty);
    assert!((alone - greeted).abs() < 0.05, "{alone} {greeted}");
    let turns = [(Role::User, "Hi there!"), (Role::Assistant, "Hello! How can I help?"), (Role::User, PLAN)];
    assert!((chat(&turns) - alone).abs() < 0.05);
}

#[test]
fn a_long_system_prompt_leaves_the_order() {
    let rules =
        "You are a careful assistant of a large company. Follow the policy and stay polite. ".repeat(230);
    let with = |task| chat(&[(Role::System, &rules), (Role::User, task)]);
    assert!(with(PLAN) > with(EASY) + 0.2, "{} {}", with(PLAN), with(EASY));
}

#[test]
fn a_pasted_document_with_a_small_question_stays_below_a_plan() {
    let report = "The harbour opened early and the boats left in good order. The clerk noted every crate, the \
                  price of fish stayed the same, and the weather was calm until the evening. ";
    let text = format!("{}\n\nWhen did the harbour open?", report.repeat(60));
    let (long, plan) = (score(&text).difficulty, score(PLAN).difficulty);
    assert!(long < plan, "{long} {plan}");
}

#[test]
fn a_tool_result_is_not_the_task() {
    let result = "{\"rows\": [1, 2, 3], \"note\": \"prove the theorem and derive the bound\"}".repeat(40);
    let turns = [(Role::User, EASY), (Role::Assistant, "Let me look."), (Role::Tool, &result)];
    assert!((chat(&turns) - score(EASY).difficulty).abs() < 0.02);
}

#[test]
fn code_is_code() {
    let fix = "Why does this fail?\n```python\ndef add(a, b):\n    return a + c\n```";
    let write = "Implement a lock-free bounded queue in Rust that is safe under concurrent readers and writers, \
                 without external crates, and write tests for the races.";
    let (fix, write) = (score(fix), score(write));
    assert_eq!((fix.domain, write.domain), ("code", "code"));
    assert!(write.difficulty > fix.difficulty, "{} {}", fix.difficulty, write.difficulty);
}

#[test]
fn every_language_puts_a_proof_above_a_greeting() {
    for (easy, hard) in [
        ("안녕하세요", "루트 2가 무리수임을 증명하고 각 단계를 설명하세요."),
        ("مرحبا", "أثبت أن جذر اثنين عدد غير نسبي واشرح كل خطوة من خطوات البرهان."),
        ("नमस्ते", "सिद्ध करो कि दो का वर्गमूल अपरिमेय है और हर चरण समझाओ।"),
        ("Bom dia!", "Prove que a raiz quadrada de 2 é irracional e explique cada passo da demonstração."),
        ("谢谢", "请证明任意五个点中必有四个点构成凸四边形，并说明每一步的理由。"),
        ("ありがとう", "任意の自然数について帰納法で等式を証明し、手順をすべて示してください。"),
        (
            "Danke schön",
            "Beweise, dass jede monotone beschränkte Folge konvergiert, und begründe jeden Schritt.",
        ),
        ("¡Gracias!", "Demuestra que existen infinitos números primos y justifica cada paso de la prueba."),
        ("Bonsoir", "Démontre que la racine carrée de 2 est irrationnelle en justifiant chaque étape."),
        ("Спасибо", "Докажи, что множество простых чисел бесконечно, и обоснуй каждый шаг."),
    ] {
        let (easy, hard) = (score(easy).difficulty, score(hard).difficulty);
        assert!(hard > easy + 0.05, "{easy} {hard}");
    }
}
