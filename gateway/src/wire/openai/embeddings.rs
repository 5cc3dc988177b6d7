//! A request for vectors, as far as the gateway must understand it: the model, and how long the texts are.
//!
//! It becomes a [`Chat`] whose turns are the texts, so that it is decided, paid and passed on as one. `encoding_format`,
//! `dimensions` and whatever else it holds are the engine's to judge.

use std::borrow::Cow;

use serde_json::value::RawValue;
use tollgate_router::{Role, Turn};

use super::{Chat, Fields, explain, missing, required, typed, utf8};
use crate::operation::Operation;
use crate::wire::error::Fault;

/// What one input may be, for messages.
const INPUT: &str = "a text, or an array of token numbers";

impl<'a> Chat<'a> {
    /// Reads the body of a request for vectors.
    ///
    /// # Errors
    /// [`Fault::Invalid`] naming the field, or the place in the text.
    pub fn parse_embeddings(body: &'a [u8]) -> Result<Chat<'a>, Fault> {
        let text = utf8(body)?;
        let asked: Fields<'a> = serde_json::from_str(text).map_err(|error| explain(text, &error))?;
        let model = required(asked.model, "model", "the name of a model that makes embeddings")?;
        let model: Cow<'a, str> = typed("model", model, "a string")?;
        if model == "auto" || model.starts_with("auto:") {
            let message = "`model` must name a model: vectors of different models do not go together, so none is chosen";
            return Err(Fault::invalid("model", "invalid_value", message.to_owned()));
        }
        let input = asked.input.ok_or_else(|| missing("input", "a text, tokens, or an array of either"))?;
        let mut chat = Chat {
            operation: Operation::Embeddings,
            model,
            turns: Vec::new(),
            tokens: 0,
            max_tokens: Some(0),
            choices: 1,
            stream: false,
            wants_usage: false,
            wants_logprobs: false,
            tools: false,
            images: 0,
            json: false,
            service_tier: None,
            routing: asked.routing(),
            prompt_bytes: 0,
            user_turns: 0,
            text,
            fields: asked,
        };
        chat.take_inputs(input)?;
        Ok(chat)
    }

    fn take_inputs(&mut self, input: &'a RawValue) -> Result<(), Fault> {
        if !input.get().starts_with('[') {
            return self.take_input("input", input);
        }
        let items: Vec<&'a RawValue> = typed("input", input, "a text, tokens, or an array of either")?;
        match items.first() {
            None => Err(empty("input")),
            Some(first) if first.get().starts_with(|digit: char| digit.is_ascii_digit()) => {
                self.take_input("input", input)
            }
            Some(_) => {
                let mut named = items.into_iter().enumerate();
                named.try_for_each(|(index, item)| self.take_input(&format!("input[{index}]"), item))
            }
        }
    }

    fn take_input(&mut self, name: &str, input: &'a RawValue) -> Result<(), Fault> {
        let before = (self.prompt_bytes, self.tokens);
        let text = if input.get().starts_with('[') {
            let tokens: Vec<u64> = typed(name, input, INPUT)?;
            self.tokens += tokens.len() as u64;
            Cow::Borrowed("")
        } else {
            typed::<Cow<'a, str>>(name, input, INPUT)?
        };
        self.prompt_bytes += text.len();
        if before == (self.prompt_bytes, self.tokens) {
            return Err(empty(name));
        }
        self.turns.push(Turn { role: Role::User, text });
        Ok(())
    }
}

fn empty(name: &str) -> Fault {
    Fault::invalid(name, "empty_input", format!("`{name}` is empty: there is nothing to make a vector of"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::openai::Wanted;
    use bytes::Bytes;
    use serde_json::{Value, json};

    #[test]
    fn texts_and_tokens_are_counted() {
        for (input, texts, bytes, tokens) in [
            (json!("abc"), 1, 3, 0),
            (json!(["abc", "d\u{e9}"]), 2, 6, 0),
            (json!([1, 2, 3]), 1, 0, 3),
            (json!([[1, 2], "a", [3]]), 3, 1, 3),
        ] {
            let body = json!({"model": "m", "input": input}).to_string();
            let chat = Chat::parse_embeddings(body.as_bytes()).unwrap();
            assert_eq!((chat.turns.len(), chat.prompt_bytes, chat.tokens), (texts, bytes, tokens), "{body}");
        }
    }

    #[test]
    fn only_the_model_changes_on_the_way() {
        let body = Bytes::from_static(b"{\"input\":\"a\",  \"dimensions\":8,\"model\":\"m\",\"x\":1}");
        let chat = Chat::parse_embeddings(&body).unwrap();
        let sent = chat.rewrite(&body, &Wanted { model: "up", ..Wanted::default() });
        assert_eq!(sent, "{\"input\":\"a\",  \"dimensions\":8,\"model\":\"up\",\"x\":1}");
    }

    #[test]
    fn mistakes_name_the_input() {
        let refused = |body: Value| match Chat::parse_embeddings(body.to_string().as_bytes()) {
            Err(Fault::Invalid(wrong)) => (wrong.param.map(|param| param.to_string()), wrong.code),
            other => (Some(format!("{other:?}")), ""),
        };
        for (input, param, code) in [
            (json!(null), "input", "missing_required_parameter"),
            (json!(5), "input", "invalid_type"),
            (json!({}), "input", "invalid_type"),
            (json!(""), "input", "empty_input"),
            (json!([]), "input", "empty_input"),
            (json!([1, "a"]), "input", "invalid_type"),
            (json!(["a", "b", 5]), "input[2]", "invalid_type"),
            (json!(["a", ""]), "input[1]", "empty_input"),
            (json!(["a", []]), "input[1]", "empty_input"),
            (json!([[1], [-1]]), "input[1]", "invalid_type"),
        ] {
            assert_eq!(
                refused(json!({"model": "m", "input": input})),
                (Some(param.to_owned()), code),
                "{input}"
            );
        }
        assert_eq!(refused(json!({"input": "a"})).0.as_deref(), Some("model"));
        assert_eq!(
            refused(json!({"model": "auto", "input": "a"})),
            (Some("model".to_owned()), "invalid_value")
        );
        assert_eq!(refused(json!([])).1, "invalid_type");
    }
}
