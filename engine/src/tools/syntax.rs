//! How models write calls, by what their chat templates taught them; and the text and grammar that force one.
//!
//! A forced call is begun for the model: what is certain goes into the prompt, up to the arguments where there is one
//! tool to choose from, so that only what is left is written, under the grammar.

use super::Tool;
use crate::grammar;
use serde_json::Value;

/// Calls in one forced answer at most: a small model can go on and on, and be cut in the middle of one.
const MOST_CALLS: usize = 4;

/// A family's way to write a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Syntax {
    /// `<tool_call>{"name": …, "arguments": …}</tool_call>`: Hermes, Qwen, and whoever's template knows no tools.
    Hermes,
    /// `[TOOL_CALLS][{"name": …, "arguments": …}]`.
    Mistral,
    /// `{"name": …, "parameters": …}`: Llama 3.
    Llama,
    /// `<｜tool▁call▁begin｜>function<｜tool▁sep｜>name`, then the arguments in a fence.
    DeepSeek,
}

/// What surrounds a call's name and arguments.
struct Frame {
    open: &'static str,
    middle: &'static str,
    close: &'static str,
    /// Between two calls, and after the last; `None` where the family writes one call only.
    several: Option<(&'static str, &'static str)>,
}

/// A call that the model has to write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Forced {
    /// How the answer begins; part of the prompt.
    pub(crate) opening: String,
    /// The grammar of what follows.
    pub(crate) lark: String,
}

impl Syntax {
    /// By the markers in a template's source.
    pub(crate) fn of_template(source: &str) -> Syntax {
        let has = |marker: &str| source.contains(marker);
        if has("<tool_call>") {
            Syntax::Hermes
        } else if has("[TOOL_CALLS]") {
            Syntax::Mistral
        } else if has("tool▁call▁begin") {
            Syntax::DeepSeek
        } else if has("<|python_tag|>") || (has("<|start_header_id|>") && has("tools")) {
            Syntax::Llama
        } else {
            Syntax::Hermes
        }
    }

    /// A call of one of `tools`; if `several`, further ones may follow.
    pub(crate) fn force(self, tools: &[&Tool], several: bool) -> Forced {
        let frame = self.frame();
        let (mut opening, calls) = (frame.open.to_owned(), alternatives(tools, &frame));
        let first = match tools {
            [only] => {
                opening.push_str(&only.name);
                opening.push_str(frame.middle);
                format!("\" \"? arguments_0 {}", quoted(frame.close))
            }
            _ => "call".to_owned(),
        };
        let start = match frame.several.filter(|_| several) {
            Some((between, end)) => {
                let more = MOST_CALLS - 1;
                format!("start: {first} ({} call){{0,{more}}} {}", quoted(between), quoted(end))
            }
            None => format!("start: {first}"),
        };
        Forced { opening, lark: format!("{start}\n{calls}") }
    }

    /// The grammar of answers that are either calls or JSON of a schema; `None` where calls begin with a control token.
    pub(crate) fn call_or_json(
        self,
        tools: &[Tool],
        several: bool,
        schema: &Value,
        strict: bool,
    ) -> Option<String> {
        if tools.is_empty() || !matches!(self, Syntax::Hermes | Syntax::Llama) {
            return None;
        }
        let frame = self.frame();
        let more = match frame.several.filter(|_| several) {
            Some((between, end)) => {
                format!("({} call){{0,{}}} {}", quoted(between), MOST_CALLS - 1, quoted(end))
            }
            None => String::new(),
        };
        let tools: Vec<&Tool> = tools.iter().collect();
        let json = grammar::embedded(schema, strict);
        let calls = alternatives(&tools, &frame);
        Some(format!("start: json | {} call {more}\njson: {json}\n{calls}", quoted(frame.open)))
    }

    fn frame(self) -> Frame {
        let json = r#"", "arguments":"#;
        match self {
            Syntax::Hermes => Frame {
                open: "<tool_call>\n{\"name\": \"",
                middle: json,
                close: "}",
                several: Some(("\n</tool_call>\n<tool_call>\n{\"name\": \"", "\n</tool_call>")),
            },
            Syntax::Mistral => Frame {
                open: "[TOOL_CALLS][{\"name\": \"",
                middle: json,
                close: "}",
                several: Some((", {\"name\": \"", "]")),
            },
            Syntax::Llama => {
                Frame { open: "{\"name\": \"", middle: r#"", "parameters":"#, close: "}", several: None }
            }
            Syntax::DeepSeek => Frame {
                open: "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>",
                middle: "\n```json\n",
                close: "\n```",
                several: None,
            },
        }
    }
}

/// The rule `call`: any of the tools from its name on, with the rules of their arguments.
fn alternatives(tools: &[&Tool], frame: &Frame) -> String {
    let mut rules = Vec::new();
    let mut calls = Vec::new();
    for (number, tool) in tools.iter().enumerate() {
        let begin = quoted(&format!("{}{}", tool.name, frame.middle));
        calls.push(format!("{begin} \" \"? arguments_{number} {}", quoted(frame.close)));
        rules.push(format!("arguments_{number}: {}", grammar::embedded(&arguments(tool), tool.strict)));
    }
    format!("call: {}\n{}", calls.join("\n    | "), rules.join("\n"))
}

/// The schema of a tool's arguments. They are an object also where the schema does not say so, as `{}` does not.
fn arguments(tool: &Tool) -> Value {
    let mut schema = tool.parameters.clone();
    if let Some(object) = schema.as_object_mut().filter(|object| !grammar::tells_type(object)) {
        object.insert("type".to_owned(), "object".into());
    }
    schema
}

fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}

/// What a model is told of tools where its template cannot: the Hermes way.
pub(crate) fn instruction(tools: &[Tool]) -> String {
    let described: Vec<String> = tools.iter().map(|tool| tool.described.to_string()).collect();
    format!(
        "You may call these functions:\n<tools>\n{}\n</tools>\nTo call one, write its name and arguments as JSON within \
         tags:\n<tool_call>\n{{\"name\": <name>, \"arguments\": <arguments>}}\n</tool_call>",
        described.join("\n")
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::grammar::Grammar;
    use serde_json::json;

    fn tool(name: &str) -> Tool {
        let parameters =
            json!({"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]});
        Tool { name: name.to_owned(), parameters, strict: true, described: json!({}) }
    }

    const ALL: [Syntax; 4] = [Syntax::Hermes, Syntax::Mistral, Syntax::Llama, Syntax::DeepSeek];

    #[test]
    fn a_call_of_the_only_tool_is_begun_up_to_its_arguments() {
        let tool = tool("weather");
        for syntax in ALL {
            let forced = syntax.force(&[&tool], false);
            assert!(forced.opening.contains("weather"), "{}", forced.opening);
            let rest = format!("{}{}", r#"{"city": "Rome"}"#, syntax.frame().close);
            let grammar = Grammar::of_bytes_in_lark(&forced.lark).unwrap();
            assert_eq!(grammar.taken(&rest), (rest.len(), true), "{syntax:?}");
        }
    }

    #[test]
    fn arguments_are_an_object_whatever_the_schema_leaves_open() {
        for parameters in [json!({}), json!({"properties": {"city": {"type": "string"}}})] {
            let tool = Tool { parameters, strict: false, ..tool("weather") };
            let lark = Syntax::Hermes.force(&[&tool], false).lark;
            for (arguments, taken) in [("5}", false), ("\"Rome\"}", false), ("[]}", false), ("{}}", true)] {
                let grammar = Grammar::of_bytes_in_lark(&lark).unwrap();
                assert_eq!(grammar.taken(arguments).1, taken, "{arguments}");
            }
        }
    }

    #[test]
    fn one_of_several_tools_is_called_and_more_may_follow() {
        let (weather, time) = (tool("weather"), tool("time"));
        let forced = Syntax::Hermes.force(&[&weather, &time], true);
        assert_eq!(forced.opening, "<tool_call>\n{\"name\": \"");
        let grammar = Grammar::of_bytes_in_lark(&forced.lark).unwrap();
        let one = r#"time", "arguments": {"city":"Rome"}}"#;
        let two = format!("{one}\n</tool_call>\n<tool_call>\n{{\"name\": \"{one}\n</tool_call>");
        assert_eq!(grammar.clone().taken(&two), (two.len(), false), "a third may follow");
        assert_eq!(grammar.taken(r#"date", "#).0, 0, "no other tool");
        let grammar =
            Grammar::of_bytes_in_lark(&Syntax::Mistral.force(&[&weather, &time], false).lark).unwrap();
        assert_eq!(grammar.taken(one), (one.len(), true), "one call only");
    }

    #[test]
    fn an_answer_may_be_a_call_or_json() {
        let schema = json!({"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]});
        let lark = Syntax::Hermes.call_or_json(&[tool("weather")], false, &schema, true).unwrap();
        for text in
            [r#"{"n": 5}"#, "<tool_call>\n{\"name\": \"weather\", \"arguments\": {\"city\":\"Rome\"}}"]
        {
            assert_eq!(Grammar::of_bytes_in_lark(&lark).unwrap().taken(text), (text.len(), true));
        }
        assert_eq!(Grammar::of_bytes_in_lark(&lark).unwrap().taken("Hello").0, 0);
        assert_eq!(Syntax::Mistral.call_or_json(&[tool("weather")], false, &schema, true), None);
    }

    #[test]
    fn families_are_known_by_their_markers() {
        let of = Syntax::of_template;
        assert_eq!(of("{% if tools %}…\\n<tool_call>\\n…"), Syntax::Hermes);
        assert_eq!(of("{{ '[TOOL_CALLS] [' }}"), Syntax::Mistral);
        assert_eq!(of("<|start_header_id|>{% if tools is not none %}"), Syntax::Llama);
        assert_eq!(of("'<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>'"), Syntax::DeepSeek);
        assert_eq!(of("<start_of_turn>model"), Syntax::Hermes);
    }

    #[test]
    fn a_template_without_tools_is_made_up_for() {
        let tool = Tool {
            described: json!({"type": "function", "function": {"name": "weather"}}),
            ..tool("weather")
        };
        assert!(
            instruction(&[tool]).contains("\n{\"type\":\"function\",\"function\":{\"name\":\"weather\"}}\n")
        );
    }
}
