//! Turns a checked request into a job: its prompt, its grammar, and how its answer is taken apart.

use super::Service;
use super::error::ApiError;
use super::request::{ChatRequest, Format, Prompt};
use crate::grammar::{Grammar, Uncompilable};
use crate::llama::{Applied, Token};
use crate::scheduler::Job;
use crate::template::{Setting, Unrenderable};
use crate::tools::{Assembler, Choice, Forced, Syntax, Tools};

/// A request that is ready to be submitted.
#[derive(Debug)]
pub(super) struct Prepared {
    pub(super) job: Job,
    /// What takes each of the answers apart; it has seen what the prompt begins for the model.
    pub(super) assembler: Assembler,
    /// How each answer begins; part of the prompt.
    pub(super) opening: String,
}

const THINK: &str = "<think>";
const THOUGHT: &str = "</think>";

impl Service {
    /// Renders a request's prompt and turns it into a job. Blocks while it tokenises and compiles.
    pub(super) fn prepare(
        &self,
        request: &ChatRequest,
        adapter: Option<Applied>,
        caller: &str,
    ) -> Result<Prepared, ApiError> {
        let tools = &request.tools;
        let callable = tools.callable();
        let mut text = self.rendered(request, caller)?;
        let syntax = self.template.syntax();
        let forced = self.forced(syntax, tools);
        let grammar = self.grammar(request, forced.as_ref())?;
        let mut thinks = text.trim_end().ends_with(THINK);
        if thinks && grammar.is_some() {
            // Thoughts are in no form; the model is taken to have had them.
            text = format!("{}\n\n{THOUGHT}\n\n", text.trim_end());
            thinks = false;
        }
        let opening = forced.map(|forced| forced.opening).unwrap_or_default();
        text.push_str(&opening);
        let mut assembler =
            if request.thoughts_apart { Assembler::thoughtful(thinks) } else { Assembler::plain() };
        let mut stops = request.stops.clone();
        if callable {
            let names = tools.list.iter().map(|tool| tool.name.clone()).collect();
            assembler = assembler.with_tools(names, tools.several());
            if !tools.several() && syntax == Syntax::Hermes {
                // Nothing after the first call would be told.
                stops.push("</tool_call>".to_owned());
            }
        }
        let prompt = self.tokens(&text);
        let job = self.job(request, prompt, stops, grammar, callable)?;
        Ok(Prepared { job: Job { adapter, ..job }, assembler, opening })
    }

    /// A chat as the model's template writes it.
    pub(super) fn rendered(&self, request: &ChatRequest, caller: &str) -> Result<String, ApiError> {
        let setting = Setting {
            tools: if request.tools.callable() { &request.tools.list } else { &[] },
            variables: request.variables.as_ref(),
            turn: request.turn,
            caller,
        };
        self.template.render(&request.messages, setting).map_err(|error| match error {
            Unrenderable::Refused(_) => ApiError::invalid("messages", error.to_string()),
            Unrenderable::Ended(_) => ApiError::template_failed(error.to_string()),
        })
    }

    /// The same for bare prompts, which are continued as they are.
    pub(super) fn prepare_prompts(
        &self,
        request: &ChatRequest,
        adapter: Option<Applied>,
    ) -> Result<Vec<Prepared>, ApiError> {
        let vocabulary = self.model.vocabulary();
        let prepare = |prompt: &Prompt| {
            let prompt = match prompt {
                Prompt::Text(text) => self.tokens(text),
                Prompt::Tokens(tokens) => {
                    if let Some(token) = tokens.iter().find(|token| **token >= vocabulary) {
                        let message =
                            format!("prompt: there is no token {token}; this model has {vocabulary}.");
                        return Err(ApiError::invalid("prompt", message));
                    }
                    tokens.iter().map(|token| Token(i32::try_from(*token).unwrap_or_default())).collect()
                }
            };
            let job = self.job(request, prompt, request.stops.clone(), None, false)?;
            let job = Job { adapter, ..job };
            Ok(Prepared { job, assembler: Assembler::plain(), opening: String::new() })
        };
        request.prompts.iter().map(prepare).collect()
    }

    fn job(
        &self,
        request: &ChatRequest,
        prompt: Vec<Token>,
        stops: Vec<String>,
        grammar: Option<Grammar>,
        call_marks: bool,
    ) -> Result<Job, ApiError> {
        let vocabulary = self.model.vocabulary();
        if let Some((token, _)) = request.sampling.logit_bias.iter().find(|(token, _)| *token >= vocabulary) {
            let message = format!("logit_bias: there is no token {token}; this model has {vocabulary}.");
            return Err(ApiError::invalid("logit_bias", message));
        }
        let room = self.scheduler.context().saturating_sub(prompt.len());
        if room == 0 {
            let field = if request.prompts.is_empty() { "messages" } else { "prompt" };
            return Err(ApiError::too_long(field, prompt.len(), self.scheduler.context()));
        }
        Ok(Job {
            prompt,
            adapter: None,
            max_tokens: request.max_tokens.map_or(room, |asked| asked.min(room)),
            sampling: request.sampling.clone(),
            grammar,
            stops,
            ignore_eos: request.ignore_eos,
            call_marks,
            reuse: request.reuse,
            logprobs: request.logprobs,
        })
    }

    /// The call that the model has to write, if it has to.
    fn forced(&self, syntax: Syntax, tools: &Tools) -> Option<Forced> {
        let candidates = tools.forced();
        (!candidates.is_empty()).then(|| syntax.force(&candidates, tools.several()))
    }

    fn grammar(&self, request: &ChatRequest, forced: Option<&Forced>) -> Result<Option<Grammar>, ApiError> {
        let tools = &request.tools;
        if let Some(forced) = forced {
            let compiled = self.grammars.of_lark(forced.lark.clone());
            return compiled.map(Some).map_err(|error| self.uncallable(tools, &error));
        }
        let Format::Json { schema, strict } = &request.format else { return Ok(None) };
        let text = self.grammars.of_schema(schema, *strict).map_err(|error| {
            let fix = if *strict { "Leave that out, or set strict to false" } else { "Leave that out" };
            let message = format!("response_format.json_schema cannot be held to: {error}. {fix}.");
            ApiError::invalid("response_format.json_schema", message)
        })?;
        // Where the model may call a tool instead, either form will do.
        let either = self.template.syntax().call_or_json(&tools.list, tools.several(), schema, *strict);
        match either.filter(|_| tools.callable() && tools.choice == Choice::Auto) {
            Some(lark) => {
                self.grammars.of_lark(lark).map(Some).map_err(|error| self.uncallable(tools, &error))
            }
            None => Ok(Some(text)),
        }
    }

    /// Names the tool whose schema is at fault.
    fn uncallable(&self, tools: &Tools, error: &Uncompilable) -> ApiError {
        for (index, tool) in tools.list.iter().enumerate() {
            if let Err(error) = self.grammars.of_schema(&tool.parameters, tool.strict) {
                let name = format!("tools[{index}].function.parameters");
                let fix =
                    if tool.strict { "Leave that out, or set strict to false" } else { "Leave that out" };
                let message = format!("{name} cannot be held to: {error}. {fix}.");
                return ApiError::invalid(name, message);
            }
        }
        ApiError::invalid("tools", format!("The tools cannot be held to together: {error}. Give fewer."))
    }

    /// The prompt's tokens, with the model's BOS in front unless the template wrote it; never empty.
    pub(super) fn tokens(&self, text: &str) -> Vec<Token> {
        let mut tokens = self.model.tokens(text);
        if let Some(bos) = self.model.bos()
            && (self.model.wants_bos() || tokens.is_empty())
            && tokens.first() != Some(&bos)
        {
            tokens.insert(0, bos);
        }
        if tokens.is_empty() {
            tokens.push(Token(0));
        }
        tokens
    }
}
