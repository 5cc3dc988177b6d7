//! What the fuzz targets in `fuzz/` call: the code that reads what strangers wrote, without a model.
//!
//! A chat template comes with a downloaded file, an answer from a model, a request from anyone. None of them may make
//! the worker panic, hang, or take memory without end. Nothing else uses this, and it is compiled for the feature alone.

use crate::server::parsed;
use crate::template::{Call, ChatTemplate, Message, Setting};
use crate::tools::{Assembler, Part, Tool};
use serde_json::json;

/// Compiles a chat template and renders a conversation with everything in it; the size of what came out.
pub fn render(source: &str) -> usize {
    let template = ChatTemplate::new(Some(source.to_owned()), ("<s>".to_owned(), "</s>".to_owned()), None);
    let Ok(template) = template else { return 0 };
    let described = json!({"type": "function", "function": {
        "name": "weather", "description": "Tells it.", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    }});
    let tools = [Tool {
        name: "weather".to_owned(),
        parameters: json!({"type": "object"}),
        strict: false,
        described,
    }];
    let call =
        Call { id: "1".to_owned(), name: "weather".to_owned(), arguments: r#"{"city": "Rome"}"#.to_owned() };
    let messages = [
        Message::said("system", "Be brief."),
        Message::said("user", "  1 < 2 & 'x'?\n"),
        Message { calls: vec![call], thoughts: Some("Hm.".to_owned()), ..Message::said("assistant", "") },
        Message {
            answers: Some("1".to_owned()),
            name: Some("weather".to_owned()),
            ..Message::said("tool", "sunny")
        },
    ];
    let variables = json!({"enable_thinking": false});
    let settings = [
        Setting::default(),
        Setting { tools: &tools, variables: variables.as_object(), ..Setting::default() },
    ];
    settings
        .into_iter()
        .filter_map(|setting| template.render(&messages, setting).ok())
        .map(|text| text.len())
        .sum()
}

/// Takes an answer apart in pieces of so many characters; its parts put together: text, thoughts, and calls with
/// their arguments.
pub fn take_apart(answer: &str, piece: usize, several: bool) -> (String, String, Vec<(String, String)>) {
    let known = vec!["weather".to_owned(), "time".to_owned()];
    let mut assembler = Assembler::thoughtful(false).with_tools(known, several);
    let mut parts = Vec::new();
    let mut characters = answer.chars().peekable();
    while characters.peek().is_some() {
        let text: String = characters.by_ref().take(piece.max(1)).collect();
        assembler.push(&text, &mut parts);
    }
    assembler.finish(&mut parts);
    let (mut text, mut thoughts, mut calls) = (String::new(), String::new(), Vec::<(String, String)>::new());
    for part in parts {
        match part {
            Part::Text(more) => text.push_str(&more),
            Part::Thought(more) => thoughts.push_str(&more),
            Part::Call { name } => calls.push((name, String::new())),
            Part::Arguments(more) => {
                calls.iter_mut().last().into_iter().for_each(|(_, all)| all.push_str(&more))
            }
        }
    }
    (text, thoughts, calls)
}

/// Reads the body of a request, as a chat and as bare prompts; whether either is one.
pub fn read_request(body: &[u8]) -> bool {
    parsed(body)
}
