//! Holds an answer to a form: a JSON schema, or a grammar in llguidance's dialect of Lark.
//!
//! A [`Grammar`] belongs to one answer and follows it token by token. Asking about one token costs microseconds, about
//! the whole vocabulary up to a millisecond, so the sampler asks about its pick first. What the grammar lets through
//! is valid as far as it goes; only an answer cut at its limit of tokens can be incomplete.

mod digits;
mod schema;

use crate::llama::{Model, Token};
use digits::Digits;
use llguidance::api::TopLevelGrammar;
use llguidance::toktrie::{ApproximateTokEnv, SimpleVob, TokEnv, TokRxInfo, TokTrie};
use llguidance::{Matcher, ParserFactory};
use serde_json::Value;
use std::sync::{Arc, OnceLock};

pub(crate) use schema::tells_type;

/// In front of a token's text where that text is a control token's name, which no grammar shall match as text.
const CONTROL: u8 = 0xff;

/// Why a form cannot be held to, in the words of the grammar's compiler.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Uncompilable(String);

/// The grammar became too complex in the middle of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TooComplex;

/// Compiles grammars for one model's vocabulary.
pub(crate) struct Grammars {
    model: Arc<Model>,
    /// Made with the first grammar: it walks the whole vocabulary.
    factory: OnceLock<Result<ParserFactory, Uncompilable>>,
}

impl std::fmt::Debug for Grammars {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Grammars").finish_non_exhaustive()
    }
}

impl Grammars {
    /// For answers of this model.
    pub(crate) fn new(model: Arc<Model>) -> Self {
        Self { model, factory: OnceLock::new() }
    }

    /// Answers that are JSON of this schema. `strict` refuses what cannot be held to; else it is passed over.
    pub(crate) fn of_schema(&self, schema: &Value, strict: bool) -> Result<Grammar, Uncompilable> {
        self.compile(TopLevelGrammar::from_json_schema(schema::prepared(schema, strict)))
    }

    /// Answers of this Lark grammar.
    pub(crate) fn of_lark(&self, lark: String) -> Result<Grammar, Uncompilable> {
        self.compile(TopLevelGrammar::from_lark(lark))
    }

    fn compile(&self, source: TopLevelGrammar) -> Result<Grammar, Uncompilable> {
        let factory = self.factory.get_or_init(|| factory(&vocabulary(&self.model)));
        compile(factory.as_ref().map_err(Clone::clone)?, source)
    }
}

/// A schema as Lark grammars embed it: `%json …`.
pub(crate) fn embedded(schema: &Value, strict: bool) -> String {
    format!("%json {}", schema::prepared(schema, strict))
}

fn factory(vocabulary: &TokEnv) -> Result<ParserFactory, Uncompilable> {
    let mut factory =
        ParserFactory::new_simple(vocabulary).map_err(|error| Uncompilable(error.to_string()))?;
    // What goes wrong is told to whoever asked.
    factory.quiet();
    factory.limits_mut().verbose_errors = false;
    Ok(factory)
}

fn compile(factory: &ParserFactory, source: TopLevelGrammar) -> Result<Grammar, Uncompilable> {
    let matcher = Box::new(Matcher::new(factory.create_parser(source)));
    match matcher.get_error() {
        Some(error) => Err(Uncompilable(error)),
        None => Ok(Grammar { matcher, vocabulary: Arc::clone(factory.tok_env()), digits: Digits::default() }),
    }
}

/// The model's tokens as bytes, and which of them end an answer.
fn vocabulary(model: &Model) -> TokEnv {
    let count = model.vocabulary();
    let words: Vec<Vec<u8>> = (0..count)
        .map(|token| {
            let token = Token(i32::try_from(token).unwrap_or(i32::MAX));
            let mut bytes = Vec::new();
            model.piece(token, &mut bytes);
            if bytes.is_empty() {
                model.control_piece(token, &mut bytes);
                if !bytes.is_empty() {
                    bytes.insert(0, CONTROL);
                }
            }
            bytes
        })
        .collect();
    let number = |token: usize| u32::try_from(token).unwrap_or(u32::MAX);
    let ends: Vec<u32> = model.ends().iter().copied().map(number).collect();
    let first = ends.first().copied().unwrap_or_default();
    let mut trie = TokTrie::from(&TokRxInfo::new(number(count), first), &words);
    if !ends.is_empty() {
        trie = trie.with_eos_tokens(&ends);
    }
    Arc::new(ApproximateTokEnv::new(trie))
}

/// The form of one answer, and how far the answer has come in it.
#[derive(Clone)]
pub(crate) struct Grammar {
    matcher: Box<Matcher>,
    vocabulary: TokEnv,
    digits: Digits,
}

impl std::fmt::Debug for Grammar {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Grammar").field("ended", &self.ended()).finish_non_exhaustive()
    }
}

impl Grammar {
    /// Whether the answer may go on with this token; if so, it does.
    pub(crate) fn take(&mut self, token: usize) -> Result<bool, TooComplex> {
        let Ok(token) = u32::try_from(token) else { return Ok(false) };
        if self.digits.enough() && !self.mask()?.is_allowed(token) {
            return Ok(false);
        }
        let taken = self.matcher.try_consume_tokens(&[token]).map_err(too_complex)? == 1;
        if taken {
            self.digits.follow(self.vocabulary.tok_trie().token(token));
        }
        Ok(taken)
    }

    /// Puts all tokens out of the question with which the answer may not go on.
    pub(crate) fn bar(&mut self, logits: &mut [f32]) -> Result<(), TooComplex> {
        let mask = self.mask()?;
        for (token, logit) in (0..).zip(logits) {
            if !mask.is_allowed(token) {
                *logit = f32::NEG_INFINITY;
            }
        }
        Ok(())
    }

    /// The tokens with which the answer may go on.
    fn mask(&mut self) -> Result<SimpleVob, TooComplex> {
        let mut mask = self.matcher.compute_mask_or_eos().map_err(too_complex)?;
        if self.digits.enough() {
            digits::end_number(&mut mask, self.vocabulary.tok_trie());
        }
        Ok(mask)
    }

    /// Whether the answer is whole and nothing can follow.
    pub(crate) fn ended(&self) -> bool {
        self.matcher.is_stopped()
    }
}

fn too_complex(error: impl std::fmt::Display) -> TooComplex {
    tracing::warn!(%error, "a grammar failed in the middle of an answer");
    TooComplex
}

#[cfg(test)]
impl Grammar {
    /// A grammar over single bytes, for tests without a model; token 261 ends the answer.
    pub(crate) fn of_bytes(schema: &Value, strict: bool) -> Result<Grammar, Uncompilable> {
        Self::of_bytes_and(TopLevelGrammar::from_json_schema(schema::prepared(schema, strict)))
    }

    /// The same for a Lark grammar.
    pub(crate) fn of_bytes_in_lark(lark: &str) -> Result<Grammar, Uncompilable> {
        Self::of_bytes_and(TopLevelGrammar::from_lark(lark.to_owned()))
    }

    fn of_bytes_and(source: TopLevelGrammar) -> Result<Grammar, Uncompilable> {
        compile(&factory(&ApproximateTokEnv::single_byte_env())?, source)
    }

    /// How much of a text it takes.
    pub(crate) fn taken(mut self, text: &str) -> (usize, bool) {
        let taken = text.bytes().take_while(|byte| self.take(usize::from(*byte)).unwrap()).count();
        (taken, self.ended())
    }
}

#[cfg(test)]
mod tests;
