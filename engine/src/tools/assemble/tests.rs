//! Answers of every template family, cut in every way.

use super::*;
use proptest::prelude::*;

const WEATHER: &str = r#"{"city": "Rome", "days": 2}"#;

/// The parts of an answer that comes in pieces of so many characters, put together.
fn parts_in(assembler: &Assembler, text: &str, size: usize) -> Vec<Part> {
    let mut assembler = assembler.clone();
    let mut parts = Vec::new();
    let characters: Vec<char> = text.chars().collect();
    for piece in characters.chunks(size) {
        assembler.push(&piece.iter().collect::<String>(), &mut parts);
    }
    assembler.finish(&mut parts);
    let mut together = Vec::new();
    parts.into_iter().for_each(|part| emit(&mut together, part));
    together
}

fn parts_of(assembler: &Assembler, text: &str) -> Vec<Part> {
    let whole = parts_in(assembler, text, text.len().max(1));
    for size in 1..40 {
        assert_eq!(parts_in(assembler, text, size), whole, "pieces of {size}: {text}");
    }
    whole
}

fn with_tools() -> Assembler {
    Assembler::thoughtful(false).with_tools(vec!["weather".to_owned(), "time".to_owned()], true)
}

fn text(text: &str) -> Part {
    Part::Text(text.to_owned())
}

fn call(name: &str, arguments: &str) -> [Part; 2] {
    [Part::Call { name: name.to_owned() }, Part::Arguments(arguments.to_owned())]
}

/// The answer is one call of the weather and nothing else.
fn is_the_weather(answer: &str) {
    assert_eq!(parts_of(&with_tools(), answer), call("weather", WEATHER), "{answer}");
}

#[test]
fn qwen_and_hermes() {
    is_the_weather(&format!(
        "<tool_call>\n{{\"name\": \"weather\", \"arguments\": {WEATHER}}}\n</tool_call>"
    ));
    is_the_weather(&format!(
        "```xml\n<tool_call>\n{{\"name\": \"weather\", \"arguments\": {WEATHER}}}\n</tool_call>\n```"
    ));
    is_the_weather(&format!("<tools>\n{{\"name\": \"weather\", \"arguments\": {WEATHER}}}\n</tools>"));
    is_the_weather(&format!("<tool_call>\n{{\"name\": \"weather\", \"arguments\": {WEATHER}}}"));
    let twice =
        format!("<tool_call>\n{{\"name\": \"weather\", \"arguments\": {WEATHER}}}\n</tool_call>\n").repeat(2);
    let both = [call("weather", WEATHER), call("weather", WEATHER)].concat();
    assert_eq!(parts_of(&with_tools(), &twice), both);
}

#[test]
fn arguments_before_the_name_and_within_a_string() {
    let compact = call("weather", r#"{"city":"Rome"}"#);
    for answer in [
        r#"<tool_call>{"arguments": {"city": "Rome"}, "name": "weather"}</tool_call>"#,
        r#"<tool_call>{"name": "weather", "arguments": "{\"city\":\"Rome\"}"}</tool_call>"#,
        r#"{"type": "function", "function": {"name": "weather", "arguments": {"city": "Rome"}}}"#,
    ] {
        assert_eq!(parts_of(&with_tools(), answer), compact, "{answer}");
    }
    assert_eq!(parts_of(&with_tools(), r#"<tool_call>{"name": "time"}</tool_call>"#), call("time", "{}"));
}

#[test]
fn qwen_coder_in_a_fence_or_in_the_open() {
    is_the_weather(&format!("```json\n{{\n  \"name\": \"weather\",\n  \"arguments\": {WEATHER}\n}}\n```"));
    is_the_weather(&format!("{{\"name\": \"weather\", \"arguments\": {WEATHER}}}"));
    is_the_weather(&format!("[{{\"name\": \"weather\", \"arguments\": {WEATHER}}}]"));
    is_the_weather("<function=weather>\n{\"city\": \"Rome\", \"days\": 2}\n</function>");
    let tagged = "<tool_call>\n<function=weather>\n<parameter=city>\nRome\n</parameter>\n<parameter=days>\n2\n\
                  </parameter>\n</function>\n</tool_call>";
    assert_eq!(parts_of(&with_tools(), tagged), call("weather", r#"{"city":"Rome","days":2}"#));
}

#[test]
fn llama() {
    is_the_weather(&format!("<|python_tag|>{{\"name\": \"weather\", \"parameters\": {WEATHER}}}<|eom_id|>"));
    is_the_weather(&format!("{{\"name\": \"weather\", \"parameters\": {WEATHER}}}"));
    let several = format!(
        "{{\"name\": \"weather\", \"parameters\": {WEATHER}}}; {{\"name\": \"time\", \"parameters\": {{}}}}"
    );
    let both = [call("weather", WEATHER), call("time", "{}")].concat();
    assert_eq!(parts_of(&with_tools(), &several), both);
    let python = "[weather(city='Rome'), time()]";
    let both = [call("weather", r#"{"city":"Rome"}"#), call("time", "{}")].concat();
    assert_eq!(parts_of(&with_tools(), python), both);
}

#[test]
fn mistral() {
    is_the_weather(&format!("[TOOL_CALLS] [{{\"name\": \"weather\", \"arguments\": {WEATHER}}}]"));
    is_the_weather(&format!("[TOOL_CALLS]weather[CALL_ID]abc[ARGS]{WEATHER}"));
    let several = format!("[TOOL_CALLS]weather[ARGS]{WEATHER}[TOOL_CALLS]time[ARGS]{{}}");
    let both = [call("weather", WEATHER), call("time", "{}")].concat();
    assert_eq!(parts_of(&with_tools(), &several), both);
}

#[test]
fn gemma() {
    is_the_weather(&format!("```json\n{{\"name\": \"weather\", \"parameters\": {WEATHER}}}\n```"));
    let python = "```tool_code\nweather(city=\"Rome\")\n```";
    assert_eq!(parts_of(&with_tools(), python), call("weather", r#"{"city":"Rome"}"#));
}

#[test]
fn deepseek() {
    let begin = "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>";
    let end = "<｜tool▁call▁end｜><｜tool▁calls▁end｜>";
    is_the_weather(&format!("{begin}function<｜tool▁sep｜>weather\n```json\n{WEATHER}\n```{end}"));
    is_the_weather(&format!("{begin}weather<｜tool▁sep｜>{WEATHER}{end}"));
    let more = format!(
        "<｜tool▁call▁begin｜>weather<｜tool▁sep｜>{WEATHER}<｜tool▁call▁end｜>\n\
         <｜tool▁call▁begin｜>time<｜tool▁sep｜>{{}}{end}"
    );
    assert_eq!(parts_of(&with_tools(), &more), [call("weather", WEATHER), call("time", "{}")].concat());
}

#[test]
fn text_around_calls_stays_text() {
    let answer = format!(
        "I'll look.\n\n<tool_call>\n{{\"name\": \"weather\", \"arguments\": {WEATHER}}}\n</tool_call>"
    );
    let [begin, arguments] = call("weather", WEATHER);
    assert_eq!(parts_of(&with_tools(), &answer), [text("I'll look."), begin.clone(), arguments.clone()]);
    let answer = format!("Call:\n```json\n{{\"name\": \"weather\", \"arguments\": {WEATHER}}}\n```\nDone.");
    assert_eq!(parts_of(&with_tools(), &answer), [text("Call:"), begin, arguments, text("Done.")]);
}

#[test]
fn what_only_looks_like_a_call_stays_text() {
    for answer in [
        r#"{"name": "Ann", "arguments": {}}"#,
        r#"{"city": "Rome"}"#,
        "```json\n{\"a\": 1}\n```\n",
        "```rust\nfn main() {\n    let a = [1];\n}\n```",
        "a < b and [1] <tool> <tool_calling>",
        "Use weather(city) or\nweather is fine\n",
        "<tool_call>\nnothing\n</tool_call>",
        "  indented\n\n[1, 2]\n`x`",
        r#"{"name": "weather""#,
        "<tool_call>\n{\"name\": \"wea",
        "",
        "\n",
    ] {
        let expected: Vec<Part> = if answer.is_empty() { vec![] } else { vec![text(answer)] };
        assert_eq!(parts_of(&with_tools(), answer), expected, "{answer}");
    }
}

#[test]
fn without_tools_a_call_is_text() {
    let answer = "<tool_call>\n{\"name\": \"weather\", \"arguments\": {}}\n</tool_call>";
    assert_eq!(parts_of(&Assembler::thoughtful(false), answer), [text(answer)]);
}

#[test]
fn one_call_only_where_one_is_asked_for() {
    let one = with_tools().with_tools(vec!["weather".to_owned()], false);
    let twice =
        format!("<tool_call>\n{{\"name\": \"weather\", \"arguments\": {WEATHER}}}\n</tool_call>\n").repeat(2);
    assert_eq!(parts_of(&one, &twice), call("weather", WEATHER));
}

#[test]
fn a_call_cut_short_keeps_what_was_written() {
    let answer = r#"<tool_call>{"name": "weather", "arguments": {"city": "Ro"#;
    assert_eq!(parts_of(&with_tools(), answer), call("weather", r#"{"city": "Ro"#));
}

#[test]
fn thoughts_are_told_apart() {
    let thought = |text: &str| Part::Thought(text.to_owned());
    let answer = "<think>\nA < b?\n</think>\n\nYes.";
    assert_eq!(parts_of(&Assembler::thoughtful(false), answer), [thought("A < b?"), text("Yes.")]);
    assert_eq!(parts_of(&Assembler::thoughtful(true), "So.</think>Yes."), [thought("So."), text("Yes.")]);
    assert_eq!(parts_of(&Assembler::thoughtful(true), "Hm, </thi"), [thought("Hm, </thi")]);
    assert_eq!(parts_of(&Assembler::plain(), answer), [text(answer)]);
    assert_eq!(parts_of(&Assembler::thoughtful(false), "a <think>"), [text("a <think>")]);
    let [begin, arguments] = call("time", "{}");
    let answer = "<think>Hm.</think>\n<tool_call>{\"name\": \"time\", \"arguments\": {}}</tool_call>";
    assert_eq!(parts_of(&with_tools(), answer), [thought("Hm."), begin, arguments]);
}

/// Pieces of which hostile answers are made.
const PIECES: [&str; 24] = [
    "<tool_call>",
    "</tool_call>",
    "<|python_tag|>",
    "[TOOL_CALLS]",
    "[ARGS]",
    "<｜tool▁call▁begin｜>",
    "<｜tool▁sep｜>",
    "<function=",
    "<parameter=",
    "<think>",
    "</think>",
    "```",
    "json\n",
    "{",
    "}",
    "[",
    "\"",
    "name",
    "\"name\": \"time\"",
    "\"arguments\": {",
    ", ",
    "weather(",
    "é\\",
    "\n",
];

proptest! {
    /// Whatever a model writes, however it is cut: no panic, and the same parts.
    #[test]
    fn however_hostile_answers_are_cut_the_same_comes_out(
        pieces in prop::collection::vec(prop::sample::select(&PIECES[..]), 0..24),
        size in 1_usize..7,
    ) {
        let answer = pieces.concat();
        let whole = parts_in(&with_tools(), &answer, answer.len().max(1));
        prop_assert_eq!(parts_in(&with_tools(), &answer, size), whole);
    }
}

/// Found by `make fuzz-parsers`: in one piece the fence belonged to the call, in small ones it was text.
#[test]
fn a_fence_of_too_long_a_language_is_text_however_it_comes() {
    let fence = format!("```{}", "n".repeat(20));
    let answer = format!("{fence}\n{{\"name\": \"weather\", \"arguments\": {WEATHER}}}\n```");
    let parts = [vec![text(&fence)], call("weather", WEATHER).to_vec()].concat();
    assert_eq!(parts_of(&with_tools(), &answer), parts);
}
