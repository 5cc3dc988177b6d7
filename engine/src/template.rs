//! Renders a conversation to the text a model was trained on, by the chat template in its file.
//!
//! A template comes with a downloaded file and is not trusted: it can read nothing but the messages, and a worker has it
//! rendered in a process of its own, so that one which hangs, grows or crashes costs the request and not the worker.

mod apart;
mod clock;
mod json;
mod lanes;
mod message;
mod page;

pub use apart::serve;
pub(crate) use message::{Call, Message};

use crate::EngineError;
use crate::tools::{Syntax, Tool, instruction};
use apart::Apart;
use message::Taste;
use page::{Page, Renderer, Source};
use serde_json::{Map, Value};
use std::borrow::Cow;
use std::path::PathBuf;

/// Used for files without a template: the most common form by far.
const CHATML: &str = "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}\
                      {% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}";

/// Why a conversation cannot be rendered.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unrenderable {
    /// The template's own words.
    #[error("The model's chat template refuses these messages: {0}")]
    Refused(String),
    /// It did not come to an end.
    #[error("The model's chat template cannot be rendered with these messages: {0}")]
    Ended(String),
}

/// A chat template that can be rendered.
#[derive(Debug)]
pub(crate) struct ChatTemplate {
    place: Place,
    syntax: Syntax,
    /// Whether the template shows tools to the model.
    knows_tools: bool,
    short_ids: bool,
}

/// Where it is rendered.
#[derive(Debug)]
enum Place {
    /// In this process, which it may bring down.
    Here(Box<Renderer>),
    /// In another.
    Apart(Box<Apart>),
}

impl Place {
    fn render(&self, page: Page, caller: &str) -> Result<String, Unrenderable> {
        match self {
            Place::Here(renderer) => renderer.render(page).map_err(Unrenderable::Refused),
            Place::Apart(apart) => apart.render(&page, caller),
        }
    }
}

/// What the answer begins after.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Turn {
    /// The beginning of the assistant's next message.
    #[default]
    New,
    /// The messages, with nothing begun.
    Bare,
    /// The last message, which is the assistant's and goes on.
    Continued,
}

/// What a prompt is made of beside its messages.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Setting<'a> {
    /// Tools the model may call.
    pub(crate) tools: &'a [Tool],
    /// Variables of the template that the request sets (`chat_template_kwargs`), such as `enable_thinking`.
    pub(crate) variables: Option<&'a Map<String, Value>>,
    /// What the answer begins after.
    pub(crate) turn: Turn,
    /// Who asks: one whose messages make the template hang shall not hold up others.
    pub(crate) caller: &'a str,
}

impl ChatTemplate {
    /// Compiles `source`, or ChatML when there is none; in a process of its own where there is a `program` for it. Blocks.
    pub(crate) fn new(
        source: Option<String>,
        (bos, eos): (String, String),
        program: Option<PathBuf>,
    ) -> Result<Self, EngineError> {
        let text = source.unwrap_or_else(|| {
            tracing::warn!("the model has no chat template; ChatML is used and its answers may be poor");
            CHATML.to_owned()
        });
        let syntax = Syntax::of_template(&text);
        let (knows_tools, short_ids) = (text.contains("tools"), text.contains("length != 9"));
        let source = Source { text, bos, eos };
        let place = match program {
            None => Renderer::new(source).map(|renderer| Place::Here(Box::new(renderer))),
            Some(program) => match Apart::new(program, source) {
                Ok(apart) => Ok(Place::Apart(Box::new(apart))),
                Err(Unrenderable::Refused(why) | Unrenderable::Ended(why)) => Err(why),
            },
        };
        Ok(Self { place: place.map_err(EngineError::Template)?, syntax, knows_tools, short_ids })
    }

    /// How the model was taught to write calls.
    pub(crate) fn syntax(&self) -> Syntax {
        self.syntax
    }

    /// The prompt for the assistant's next message, or for the rest of its last one.
    pub(crate) fn render(&self, messages: &[Message], setting: Setting<'_>) -> Result<String, Unrenderable> {
        // A message that goes on is written as one that is begun: templates would end it.
        match messages.split_last().filter(|_| setting.turn == Turn::Continued) {
            Some((last, before)) => Ok(self.render_all(before, setting)? + &last.content),
            None => self.render_all(messages, setting),
        }
    }

    fn render_all(&self, messages: &[Message], setting: Setting<'_>) -> Result<String, Unrenderable> {
        let messages =
            if self.knows_tools { messages.into() } else { without_tools(messages, setting.tools) };
        let tools: Vec<Value> = match self.knows_tools {
            true => setting.tools.iter().map(|tool| tool.described.clone()).collect(),
            false => Vec::new(),
        };
        let page = |arguments_as_text| {
            let taste = Taste { arguments_as_text, short_ids: self.short_ids };
            Page {
                messages: messages.iter().map(|message| message.seen(taste)).collect(),
                tools: tools.clone(),
                begins: setting.turn != Turn::Bare,
                variables: setting.variables.cloned().unwrap_or_default(),
            }
        };
        let rendered = self.place.render(page(false), setting.caller);
        let calls = || messages.iter().any(|message| !message.calls.is_empty());
        // Some templates put calls' arguments together as text, and refuse objects.
        match rendered {
            Err(Unrenderable::Refused(_)) if calls() => {
                self.place.render(page(true), setting.caller).or(rendered)
            }
            rendered => rendered,
        }
    }
}

/// For a template that knows no tools: they are described in the system's message, calls and results in the others.
fn without_tools<'a>(messages: &'a [Message], tools: &[Tool]) -> Cow<'a, [Message]> {
    let plain = |message: &Message| message.calls.is_empty() && message.role != "tool";
    if tools.is_empty() && messages.iter().all(plain) {
        return messages.into();
    }
    let mut written: Vec<Message> = messages.iter().map(Message::without_tools).collect();
    if !tools.is_empty() {
        let instruction = instruction(tools);
        match written.first_mut().filter(|first| first.role == "system") {
            Some(system) => system.content = format!("{}\n\n{instruction}", system.content),
            None => written.insert(0, Message::said("system", instruction)),
        }
    }
    written.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn template(source: &str) -> ChatTemplate {
        ChatTemplate::new(Some(source.to_owned()), ("<s>".to_owned(), "</s>".to_owned()), None).unwrap()
    }

    fn talk() -> Vec<Message> {
        let say = Message::said;
        vec![
            say("system", "Be brief."),
            say("user", "  1 < 2 & 'x'?  "),
            say("assistant", "Yes."),
            say("user", "Why?"),
        ]
    }

    #[test]
    fn a_template_is_told_todays_date_unless_the_request_tells_another() {
        let dated = template("{{ date_string }}");
        let today = clock::strftime_now("%d %b %Y".to_owned()).unwrap();
        assert_eq!(dated.render(&talk(), Setting::default()).unwrap(), today);
        let told = json!({"date_string": "1 Jan 2000"});
        let setting = Setting { variables: told.as_object(), ..Setting::default() };
        assert_eq!(dated.render(&talk(), setting).unwrap(), "1 Jan 2000");
    }

    #[test]
    fn without_a_template_chatml_is_used() {
        let chatml = ChatTemplate::new(None, Default::default(), None).unwrap();
        let expected = "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\n  1 < 2 & 'x'?  <|im_end|>\n\
                        <|im_start|>assistant\nYes.<|im_end|>\n<|im_start|>user\nWhy?<|im_end|>\n\
                        <|im_start|>assistant\n";
        assert_eq!(chatml.render(&talk(), Setting::default()).unwrap(), expected);
    }

    #[test]
    fn blocks_are_trimmed_and_python_methods_work_as_templates_expect() {
        let source = "{{ bos_token }}\n{%- for message in messages %}\n    {%- if message['role'] == 'user' %}\n\
                      [INST] {{ message['content'].strip() }} [/INST]\n    {%- elif message.content.startswith('Yes') %}\n\
                      {{ message['content'] + eos_token }}\n    {%- endif %}\n    {% continue %}\n{%- endfor %}";
        assert_eq!(
            template(source).render(&talk(), Setting::default()).unwrap(),
            "<s>[INST] 1 < 2 & 'x'? [/INST]Yes.</s>[INST] Why? [/INST]"
        );
    }

    #[test]
    fn a_template_can_refuse_and_its_words_are_passed_on() {
        let source = "{% if messages[0].role == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}";
        let refusal = template(source).render(&talk(), Setting::default()).unwrap_err();
        assert_eq!(refusal, Unrenderable::Refused("System role not supported (template line 1)".to_owned()));
    }

    #[test]
    fn a_template_that_does_not_parse_is_an_error_with_its_line() {
        let broken = ChatTemplate::new(Some("a\n{% for %}".to_owned()), Default::default(), None);
        let message = broken.unwrap_err().to_string();
        assert!(message.contains("template line 2"), "{message}");
    }

    #[test]
    fn a_template_cannot_run_forever() {
        let endless = "{% for a in range(9999) %}{% for b in range(9999) %}{% for c in range(9999) %}{% endfor %}\
                       {% endfor %}{% endfor %}";
        let refusal = template(endless).render(&talk(), Setting::default()).unwrap_err();
        assert!(refusal.to_string().contains("takes too many steps"), "{refusal}");
    }

    #[test]
    fn what_a_template_makes_is_counted() {
        for much in [
            "{{ 'x' * 1000000000 }}",
            "{{ ('x' * 1000000) * 1000 }}",
            "{{ [1] * 1000000000 }}",
            "{% for a in range(1000000000) %}{% endfor %}",
            "{% set ns = namespace(s='x') %}{% for i in range(64) %}{% set ns.s = ns.s ~ ns.s %}{% endfor %}",
            "{% for a in range(9999) %}{{ 'x' * 1000000 }}{% endfor %}",
            "{% macro f(n) %}{{ f(n) }}{% endmacro %}{{ f(1) }}",
            "{% for x in [[1]] recursive %}{{ loop([x]) }}{% endfor %}",
        ] {
            let refusal = template(much).render(&talk(), Setting::default());
            assert!(matches!(refusal, Err(Unrenderable::Refused(_))), "{much}");
        }
    }

    fn weather() -> Tool {
        let described =
            serde_json::json!({"type": "function", "function": {"name": "weather", "description": "<b>"}});
        Tool { name: "weather".into(), parameters: Value::Null, strict: false, described }
    }

    fn calling() -> Vec<Message> {
        let call = Call { id: "1".into(), name: "weather".into(), arguments: r#"{"city": "Rome"}"#.into() };
        vec![
            Message::said("user", "Rome?"),
            Message { calls: vec![call], ..Message::said("assistant", "") },
            Message { answers: Some("1".into()), ..Message::said("tool", "sunny") },
        ]
    }

    #[test]
    fn tools_and_calls_are_shown_as_the_template_does() {
        let source = "{% for tool in tools %}{{ tool | tojson }}\n{% endfor %}{% for m in messages %}{{ m.role }}: \
                      {{ m.content }}{% for call in m.tool_calls %}{{ call.function.name }}\
                      {{ call.function.arguments | tojson }}{% endfor %};{% endfor %}";
        let tools = [weather()];
        let setting = Setting { tools: &tools, ..Setting::default() };
        assert_eq!(
            template(source).render(&calling(), setting).unwrap(),
            "{\"type\": \"function\", \"function\": {\"name\": \"weather\", \"description\": \"<b>\"}}\nuser: Rome?;\
             assistant: weather{\"city\": \"Rome\"};tool: sunny;"
        );
    }

    #[test]
    fn a_template_may_want_arguments_as_text() {
        let source = "{% for m in messages %}{% for call in m.tool_calls %}{{ 'call ' + call.function.arguments }}\
                      {% endfor %}{% endfor %}{{ tools is none }}";
        let rendered = template(source).render(&calling(), Setting::default()).unwrap();
        assert_eq!(rendered, "call {\"city\": \"Rome\"}True");
    }

    #[test]
    fn a_template_without_tools_is_told_of_them_in_words() {
        let source = "{% for m in messages %}[{{ m.role }}] {{ m.content }}\n{% endfor %}";
        let tools = [weather()];
        let setting = Setting { tools: &tools, ..Setting::default() };
        let rendered = template(source).render(&calling(), setting).unwrap();
        assert!(rendered.starts_with("[system] You may call"), "{rendered}");
        assert!(rendered.contains("[assistant] <tool_call>\n{\"name\":\"weather\""), "{rendered}");
        assert!(rendered.ends_with("[user] <tool_response>\nsunny\n</tool_response>\n"), "{rendered}");
    }

    #[test]
    fn the_answer_may_go_on_with_the_last_message_or_not_be_begun() {
        let chatml = ChatTemplate::new(None, Default::default(), None).unwrap();
        let messages = [Message::said("user", "Hi"), Message::said("assistant", "Well, ")];
        let render = |turn| chatml.render(&messages, Setting { turn, ..Setting::default() }).unwrap();
        assert!(render(Turn::Continued).ends_with("Hi<|im_end|>\n<|im_start|>assistant\nWell, "));
        assert!(render(Turn::Bare).ends_with("assistant\nWell, <|im_end|>\n"));
        assert!(render(Turn::New).ends_with("Well, <|im_end|>\n<|im_start|>assistant\n"));
    }

    #[test]
    fn a_request_may_set_the_templates_variables_but_not_the_conversation() {
        let variables = serde_json::json!({"enable_thinking": false, "messages": []});
        let setting = Setting { variables: variables.as_object(), ..Setting::default() };
        let source = "{{ enable_thinking }} {{ messages | length }}";
        assert_eq!(template(source).render(&talk(), setting).unwrap(), "False 4");
    }
}
