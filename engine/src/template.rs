//! Renders a conversation to the text a model was trained on, by the chat template in its file.
//!
//! Templates are Jinja as Hugging Face's libraries run it, so their settings, methods and extra functions are matched
//! here. A template comes with a downloaded file and is not trusted: it can read nothing but the messages, and its
//! work is bounded.

mod clock;

use crate::EngineError;
use minijinja::syntax::SyntaxConfig;
use minijinja::value::Serde;
use minijinja::{Environment, Error, ErrorKind, context};
use serde::Serialize;

/// Instructions one rendering may take: thousands of messages need a fraction of it.
const FUEL: u64 = 5_000_000;

/// Used for files without a template: the most common form by far.
const CHATML: &str = "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}\
                      {% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}";

/// One message of a conversation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Message {
    /// `system`, `user` or `assistant`.
    pub(crate) role: &'static str,
    /// What was said.
    pub(crate) content: String,
}

/// Why a conversation cannot be rendered: the template's own words.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Unrenderable(String);

/// A compiled chat template.
#[derive(Debug)]
pub(crate) struct ChatTemplate {
    environment: Environment<'static>,
    bos: String,
    eos: String,
}

impl ChatTemplate {
    /// Compiles `source`, or ChatML when there is none.
    pub(crate) fn new(source: Option<String>, bos: String, eos: String) -> Result<Self, EngineError> {
        let mut environment = Environment::new();
        let syntax = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build();
        environment.set_syntax(syntax.map_err(|error| EngineError::Template(describe(&error)))?);
        environment.set_fuel(Some(FUEL));
        environment.set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
        environment.set_auto_escape_callback(|_| minijinja::AutoEscape::None);
        environment.add_function("raise_exception", raise_exception);
        environment.add_function("strftime_now", clock::strftime_now);
        let source = source.unwrap_or_else(|| {
            tracing::warn!("the model has no chat template; ChatML is used and its answers may be poor");
            CHATML.to_owned()
        });
        environment
            .add_template_owned("chat", source)
            .map_err(|error| EngineError::Template(describe(&error)))?;
        Ok(Self { environment, bos, eos })
    }

    /// The prompt for the assistant's next message.
    pub(crate) fn render(&self, messages: &[Message]) -> Result<String, Unrenderable> {
        let template = self.environment.get_template("chat");
        let rendered = template.and_then(|template| {
            template.render(context! {
                messages => Serde(messages),
                add_generation_prompt => true,
                bos_token => self.bos.as_str(),
                eos_token => self.eos.as_str(),
            })
        });
        rendered.map_err(|error| Unrenderable(describe(&error)))
    }
}

/// What templates call to refuse a conversation.
fn raise_exception(message: String) -> Result<String, Error> {
    Err(Error::new(ErrorKind::InvalidOperation, message))
}

/// An error's message and line, without the template's text.
fn describe(error: &Error) -> String {
    let message = error.detail().map_or_else(|| error.kind().to_string(), str::to_owned);
    match error.line() {
        Some(line) => format!("{message} (template line {line})"),
        None => message,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn template(source: &str) -> ChatTemplate {
        ChatTemplate::new(Some(source.to_owned()), "<s>".to_owned(), "</s>".to_owned()).unwrap()
    }

    fn talk() -> Vec<Message> {
        let say = |role, content: &str| Message { role, content: content.to_owned() };
        vec![
            say("system", "Be brief."),
            say("user", "  1 < 2 & 'x'?  "),
            say("assistant", "Yes."),
            say("user", "Why?"),
        ]
    }

    #[test]
    fn without_a_template_chatml_is_used() {
        let chatml = ChatTemplate::new(None, String::new(), String::new()).unwrap();
        let expected = "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\n  1 < 2 & 'x'?  <|im_end|>\n\
                        <|im_start|>assistant\nYes.<|im_end|>\n<|im_start|>user\nWhy?<|im_end|>\n\
                        <|im_start|>assistant\n";
        assert_eq!(chatml.render(&talk()).unwrap(), expected);
    }

    #[test]
    fn blocks_are_trimmed_and_python_methods_work_as_templates_expect() {
        let source = "{{ bos_token }}\n{%- for message in messages %}\n    {%- if message['role'] == 'user' %}\n\
                      [INST] {{ message['content'].strip() }} [/INST]\n    {%- elif message.content.startswith('Yes') %}\n\
                      {{ message['content'] + eos_token }}\n    {%- endif %}\n    {% continue %}\n{%- endfor %}";
        assert_eq!(
            template(source).render(&talk()).unwrap(),
            "<s>[INST] 1 < 2 & 'x'? [/INST]Yes.</s>[INST] Why? [/INST]"
        );
    }

    #[test]
    fn a_template_can_refuse_and_its_words_are_passed_on() {
        let source = "{% if messages[0].role == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}";
        let refusal = template(source).render(&talk()).unwrap_err();
        assert_eq!(refusal.to_string(), "System role not supported (template line 1)");
    }

    #[test]
    fn a_template_that_does_not_parse_is_an_error_with_its_line() {
        let broken = ChatTemplate::new(Some("a\n{% for %}".to_owned()), String::new(), String::new());
        let message = broken.unwrap_err().to_string();
        assert!(message.contains("template line 2"), "{message}");
    }

    #[test]
    fn a_template_cannot_run_forever() {
        let endless = "{% for a in range(9999) %}{% for b in range(9999) %}{% for c in range(9999) %}{% endfor %}\
                       {% endfor %}{% endfor %}";
        assert!(template(endless).render(&talk()).is_err());
    }
}
