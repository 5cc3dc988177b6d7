//! The shipped graph on ONNX Runtime: it loads, it is fast enough, and it puts everyday requests in a
//! sane order. Needs the library (`tollgate models pull onnxruntime`, or TOLLGATE_ONNXRUNTIME).

#![expect(clippy::unwrap_used, reason = "a test: a failure is its message")]

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::LazyLock;

use tollgate_policies::{PerToken, Policy, Price, TokenPrice, check, shipped};
use tollgate_router::{Catalog, Live, Model, Needs, Role, RouterError, Score, Scorer, Task, Turn, decide};

fn library() -> PathBuf {
    let cache = || {
        let home = std::env::var_os("HOME").map(PathBuf::from).unwrap_or_default();
        std::env::var_os("TOLLGATE_CACHE").map_or_else(|| home.join(".cache/tollgate"), PathBuf::from)
    };
    let path = std::env::var_os("TOLLGATE_ONNXRUNTIME")
        .map_or_else(|| cache().join("lib/libonnxruntime.so.1.31.1"), PathBuf::from);
    assert!(path.is_file(), "no ONNX Runtime at {}: run `tollgate models pull onnxruntime`", path.display());
    path
}

static SCORER: LazyLock<Scorer> = LazyLock::new(|| Scorer::load(&library(), 2).unwrap());

fn score(text: &str) -> Score {
    SCORER.score(&Task::prompt(text)).unwrap()
}

/// `(tier, kind, request)` of the list.
fn everyday() -> impl Iterator<Item = (&'static str, &'static str, &'static str)> {
    include_str!("everyday.txt").lines().filter(|line| !line.starts_with('#')).map(|line| {
        let (tier, rest) = line.split_once(' ').unwrap();
        let (kind, text) = rest.split_once(' ').unwrap();
        (tier, kind, text)
    })
}

fn model(name: &str, ability: f64, price: u64) -> Model {
    let price = TokenPrice::new(PerToken::from_picos(price), PerToken::from_picos(2 * price));
    Model {
        name: name.into(),
        engine: name.into(),
        upstream_model: name.into(),
        bits: Some(4),
        price: Price::Tokens(price),
        context: 8192,
        can: Default::default(),
        part_tokens: 4_096,
        regions: vec!["local".into()],
        ability: ability.into(),
    }
}

/// Which model the shipped default policy chooses.
fn routed(score: &Score) -> String {
    let (file, text) = shipped().iter().find(|(file, _)| file.ends_with("default.toml")).unwrap();
    let policy: Policy = check(file, text, None).unwrap();
    let catalog = Catalog::new(vec![model("small-moe", 0.0, 50_000), model("large", 1.0, 200_000)]);
    let tags = BTreeMap::new();
    let facts = score.facts(60, &tags, policy.objective.quality);
    let needs = Needs { prompt_tokens: 60, prompt_tokens_upper: 400, ..Needs::default() };
    let decision = decide(&policy, &catalog, &[Live::default(); 2], score, &facts, &needs, 0.0).unwrap();
    decision.verdicts[decision.ranked[0]].model.clone()
}

#[test]
fn easy_goes_small_and_hard_goes_large() {
    let mut wrong = Vec::new();
    for (tier, kind, text) in everyday() {
        let score = score(text);
        let wanted = if tier == "easy" { "small-moe" } else { "large" };
        if routed(&score) != wanted {
            wrong.push(format!(
                "{tier} {kind}: {:.2} p {:.2} {:.2} {} familiar {} | {text}",
                score.difficulty, score.p_small, score.p_large, score.domain, score.familiar
            ));
        }
    }
    assert!(wrong.len() <= 4, "{} of 80 on the wrong side:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn every_hard_request_outscores_nearly_every_easy_one() {
    let of = |wanted| -> Vec<f32> {
        everyday().filter(|(tier, _, _)| *tier == wanted).map(|(_, _, text)| score(text).difficulty).collect()
    };
    let (easy, hard) = (of("easy"), of("hard"));
    assert!(easy.len() >= 40 && hard.len() >= 40);
    let pairs = easy.len() * hard.len();
    let right: usize = hard.iter().map(|h| easy.iter().filter(|e| h > e).count()).sum();
    assert!(right as f64 >= 0.98 * pairs as f64, "{right} of {pairs} pairs are in order");
}

#[test]
fn a_go_ahead_after_a_hard_plan_stays_hard() {
    let plan = "Plan the move of our billing system to a new database in six weeks without downtime; two of \
                five engineers are away in week three, every step needs a way back, and audits block week four.";
    let turn = |role, text: &'static str| Turn { role, text: Cow::Borrowed(text) };
    let chat = [
        turn(Role::System, "You are a helpful assistant."),
        turn(Role::User, plan),
        turn(Role::Assistant, "Here is an outline in seven steps. Shall I work it out?"),
        turn(Role::User, "yes, do it"),
    ];
    let [alone, after] = [&chat[3..], &chat[..]].map(|turns| SCORER.score(&Task::new(turns)).unwrap());
    assert!(
        after.difficulty > alone.difficulty + 0.1,
        "{} alone, {} after",
        alone.difficulty,
        after.difficulty
    );
    assert_eq!(routed(&after), "large");
}

#[test]
fn a_long_system_prompt_leaves_a_greeting_easy() {
    let rules = "Answer in a friendly tone and never mention competitors. ".repeat(300);
    let chat = [
        Turn { role: Role::System, text: Cow::Borrowed(rules.as_str()) },
        Turn { role: Role::User, text: Cow::Borrowed("Hello, how are you?") },
    ];
    assert_eq!(routed(&SCORER.score(&Task::new(&chat)).unwrap()), "small-moe");
}

#[test]
fn other_languages_are_ordered() {
    for (easy, hard) in [
        ("你好，请问你是谁？", "证明：任意两个有理数之间都有一个无理数，并说明每一步的依据。"),
        (
            "¿Cuál es la capital de Perú?",
            "Demuestra que la suma de los primeros n cubos es un cuadrado y explica cada paso.",
        ),
        (
            "Merci beaucoup !",
            "Démontre que toute suite croissante majorée converge, en détaillant chaque étape.",
        ),
        (
            "Guten Abend!",
            "Plane fünf Tage Hamburg für vier Personen mit 1200 Euro, eine Person sitzt im Rollstuhl, eine isst vegan.",
        ),
        (
            "こんばんは",
            "鳩の巣原理を証明し、それを使って五点の問題を解いてください。手順をすべて示してください。",
        ),
        ("Доброе утро!", "Докажи, что корень из двух иррационален, и объясни каждый шаг."),
    ] {
        let (easy, hard) = (score(easy), score(hard));
        assert!(hard.difficulty > easy.difficulty, "{} {}", easy.difficulty, hard.difficulty);
    }
}

#[test]
fn ten_languages_go_where_english_goes() {
    let (mut wrong, mut misread, mut strange) = (Vec::new(), Vec::new(), 0);
    let lines = include_str!("languages.txt").lines().filter(|line| !line.starts_with('#'));
    for parts in lines.map(|line| line.splitn(4, ' ').collect::<Vec<_>>()) {
        let [_, tier, domain, text] = parts[..] else { panic!("{parts:?}") };
        let said = score(text);
        if routed(&said) != if tier == "easy" { "small-moe" } else { "large" } {
            wrong.push(text);
        }
        if said.domain != domain {
            misread.push((text, said.domain));
        }
        strange += u32::from(!said.familiar);
    }
    assert!(wrong.len() <= 3, "{wrong:#?}");
    assert!(misread.len() <= 7, "{misread:#?}");
    assert!(strange <= 4, "{strange} of 40 are unlike the training prompts");
}

#[test]
fn gibberish_is_unfamiliar_and_everyday_english_is_not() {
    assert!(!score("zqxv kjwpt mmbrrl vvosk qqetz wrrml xxplo zzint krrvq").familiar);
    for blank in ["", " \n", "..."] {
        assert!(!score(blank).familiar, "there is nothing to go by in {blank:?}");
    }
    let familiar = everyday().filter(|(_, _, text)| score(text).familiar).count();
    assert!(familiar >= 70, "{familiar} of 80 are familiar");
}

#[test]
fn scores_repeat_and_stay_in_range() {
    for text in ["", " ", "?", "\u{0}\u{1}", &"a ".repeat(50_000), &"🦀".repeat(500)] {
        let (first, second) = (score(text), score(text));
        assert_eq!(
            (first.p_small, first.difficulty, first.output),
            (second.p_small, second.difficulty, second.output)
        );
        assert!((0.0..=1.0).contains(&first.difficulty) && (0.0..=1.0).contains(&first.p_small));
        assert!(
            first.p_large >= first.p_small && first.output.p90 >= first.output.p50 && first.output.p50 >= 1
        );
    }
}

#[test]
fn many_threads_share_two_sessions() {
    let expected = score("What is the capital of Chile?").p_small;
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..50 {
                    assert_eq!(score("What is the capital of Chile?").p_small.to_bits(), expected.to_bits());
                }
            });
        }
    });
}

#[test]
fn what_does_not_fit_is_refused_with_the_fix() {
    let _ = &*SCORER;
    let folder = tempfile::tempdir().unwrap();
    let missing = Scorer::load_graph(&library(), &folder.path().join("none.onnx"), 1).unwrap_err();
    assert!(matches!(missing, RouterError::GraphUnreadable { .. }), "{missing}");
    let refused = |graph: &[u8], table: &[u8]| {
        let path = folder.path().join("other.onnx");
        std::fs::write(&path, graph).unwrap();
        std::fs::write(path.with_extension("table"), table).unwrap();
        let refused = Scorer::load_graph(&library(), &path, 1).unwrap_err();
        assert!(matches!(refused, RouterError::GraphMismatch { .. }), "{refused}");
        assert!(refused.to_string().contains("make train"), "{refused}");
        refused.to_string()
    };
    let (graph, table) = (part("router.onnx"), part("router.table"));
    refused(b"not a graph", &table);
    let mut other = table.clone();
    other[5000] ^= 1;
    for other in [other.as_slice(), &table[1..], b"no table"] {
        assert!(refused(&graph, other).contains("belongs to another graph"));
    }
}

/// A file of the shipped graph.
fn part(name: &str) -> Vec<u8> {
    std::fs::read(PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("model").join(name)).unwrap()
}

#[test]
fn the_shipped_graph_loads_as_a_file_too() {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("model/router.onnx");
    // Its table's hash is checked here, as it is not for the one that is built in.
    let loaded = Scorer::load_graph(&library(), &path, 1).unwrap();
    let text = "Explain the borrow checker to a C++ programmer.";
    assert_eq!(loaded.score(&Task::prompt(text)).unwrap().p_small.to_bits(), score(text).p_small.to_bits());
}

#[test]
fn the_gateway_says_what_training_said() {
    #[derive(serde::Deserialize)]
    struct Example {
        prompt: String,
        p_small: f32,
        p_large: f32,
        difficulty: f32,
        p50: f32,
        p90: f32,
        domain: String,
    }
    let mut examples = 0;
    for line in include_str!("../model/examples.jsonl").lines() {
        let wanted: Example = serde_json::from_str(line).unwrap();
        let found = score(&wanted.prompt);
        // Training reckons without the table's 8 bits.
        let near = |found: f32, wanted: f32| (found - wanted).abs() < 0.02;
        assert!(
            near(found.p_small, wanted.p_small) && near(found.p_large, wanted.p_large),
            "{line}\n{found:?}"
        );
        assert!(near(found.difficulty, wanted.difficulty), "{line}\n{found:?}");
        assert!((found.output.p50 as f32 / wanted.p50 - 1.0).abs() < 0.1, "{line}\n{found:?}");
        assert!((found.output.p90 as f32 / wanted.p90 - 1.0).abs() < 0.1, "{line}\n{found:?}");
        assert_eq!(found.domain, wanted.domain, "{line}");
        examples += 1;
    }
    assert!(examples >= 20, "{examples} examples");
}

#[test]
fn a_thousand_prompts_take_under_a_second() {
    let text = "plan the garden for the summer with care ".repeat(12) + "and say what comes first";
    let start = std::time::Instant::now();
    for _ in 0..1000 {
        score(&text);
    }
    assert!(start.elapsed().as_secs_f64() < 2.0, "{:?} even without optimisation", start.elapsed());
}
