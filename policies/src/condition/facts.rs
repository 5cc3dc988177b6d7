//! What a condition may ask about a request, and how the interpreter reads it.

use std::collections::BTreeMap;

use cel::ExecutionError;
use cel::common::traits::{Container, Indexer};
use cel::common::types::{CelBool, CelDouble, CelInt, CelString, MAP_TYPE, Type};
use cel::common::value::{CowVal, Val};
use cel::context::VariableResolver;

/// The facts of one request. Borrowed from it; conditions know them by the same names.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// The classifier's domain, one of [`DOMAINS`].
    pub domain: &'a str,
    /// 0 = any model will do, 1 = needs the larger one.
    pub difficulty: f64,
    /// Probability of a good answer from the small reference model.
    pub p_small: f64,
    /// Probability of a good answer from the large reference model.
    pub p_large: f64,
    /// Whether the prompt looks like what the classifier was trained on.
    pub familiar: bool,
    /// How sure the answering model is of its first tokens, 0 to 1; known only while escalating.
    pub confidence: f64,
    /// Expected prompt tokens.
    pub prompt_tokens: u64,
    /// Median of the predicted answer length, in tokens.
    pub output_tokens_p50: u64,
    /// 90th percentile of the predicted answer length, in tokens.
    pub output_tokens_p90: u64,
    /// Whether the request offers tools.
    pub tools: bool,
    /// Whether it contains images.
    pub images: bool,
    /// Whether it asks for JSON output.
    pub json: bool,
    /// Whether it asks for a stream.
    pub stream: bool,
    /// The `model` it asks for, as sent.
    pub model: &'a str,
    /// The virtual key's name; empty without one.
    pub key: &'a str,
    /// The team; empty without one.
    pub team: &'a str,
    /// The agent run; empty without one.
    pub run: &'a str,
    /// The request's tags.
    pub tags: &'a BTreeMap<String, String>,
    /// User messages in the conversation.
    pub turns: u64,
    /// Milliseconds left to answer in; 0 = no deadline.
    pub deadline_ms: u64,
    /// The quality wanted before any rule moves it.
    pub quality: f64,
}

/// The type of a fact.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FactKind {
    /// True or false.
    Bool,
    /// A whole number.
    Int,
    /// A number with a point.
    Double,
    /// Text.
    Text,
    /// Texts by name.
    Tags,
}

/// A fact conditions may name, for checks and documentation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Fact {
    /// Its name.
    pub name: &'static str,
    /// Its type.
    pub kind: FactKind,
}

/// What the classifier says a request is about: what `domain` may be, in the order of the classifier's output.
pub const DOMAINS: [&str; 8] =
    ["chat", "classification", "code", "knowledge", "math", "reading", "reasoning", "writing"];

const fn fact(name: &'static str, kind: FactKind) -> Fact {
    Fact { name, kind }
}

/// Every fact, in the order they are documented.
pub const FACTS: &[Fact] = &[
    fact("domain", FactKind::Text),
    fact("difficulty", FactKind::Double),
    fact("p_small", FactKind::Double),
    fact("p_large", FactKind::Double),
    fact("familiar", FactKind::Bool),
    fact("confidence", FactKind::Double),
    fact("prompt_tokens", FactKind::Int),
    fact("output_tokens_p50", FactKind::Int),
    fact("output_tokens_p90", FactKind::Int),
    fact("tools", FactKind::Bool),
    fact("images", FactKind::Bool),
    fact("json", FactKind::Bool),
    fact("stream", FactKind::Bool),
    fact("model", FactKind::Text),
    fact("key", FactKind::Text),
    fact("team", FactKind::Text),
    fact("run", FactKind::Text),
    fact("tags", FactKind::Tags),
    fact("turns", FactKind::Int),
    fact("deadline_ms", FactKind::Int),
    fact("quality", FactKind::Double),
];

impl VariableResolver for Facts<'_> {
    fn resolve<'b>(&'b self, variable: &str) -> Option<CowVal<'b, 'b>> {
        let text = |text: &'b str| CowVal::owned(CelString::from(text));
        let flag = |flag: bool| CowVal::owned(CelBool::from(flag));
        let share = |share: f64| CowVal::owned(CelDouble::from(share));
        let count = |count: u64| CowVal::owned(CelInt::from(i64::try_from(count).unwrap_or(i64::MAX)));
        Some(match variable {
            "domain" => text(self.domain),
            "difficulty" => share(self.difficulty),
            "p_small" => share(self.p_small),
            "p_large" => share(self.p_large),
            "familiar" => flag(self.familiar),
            "confidence" => share(self.confidence),
            "prompt_tokens" => count(self.prompt_tokens),
            "output_tokens_p50" => count(self.output_tokens_p50),
            "output_tokens_p90" => count(self.output_tokens_p90),
            "tools" => flag(self.tools),
            "images" => flag(self.images),
            "json" => flag(self.json),
            "stream" => flag(self.stream),
            "model" => text(self.model),
            "key" => text(self.key),
            "team" => text(self.team),
            "run" => text(self.run),
            "tags" => CowVal::owned(Tags(self.tags)),
            "turns" => count(self.turns),
            "deadline_ms" => count(self.deadline_ms),
            "quality" => share(self.quality),
            _ => return None,
        })
    }
}

/// A request's tags as a CEL value: `tags["x"]` and `"x" in tags`.
#[derive(Debug)]
struct Tags<'t>(&'t BTreeMap<String, String>);

impl<'t> Tags<'t> {
    fn named(&self, key: &dyn Val) -> Option<&'t str> {
        self.0.get(key.downcast_ref::<CelString<'_>>()?.inner()).map(String::as_str)
    }
}

impl<'t> Val for Tags<'t> {
    fn get_type(&self) -> &Type {
        Self::cel_type()
    }

    fn cel_type() -> &'static Type {
        &MAP_TYPE
    }

    fn as_container(&self) -> Option<&dyn Container> {
        Some(self)
    }

    fn as_indexer<'b, 'v>(&'b self) -> Option<&'b (dyn Indexer + 'v)>
    where
        Self: 'v,
    {
        Some(self)
    }

    fn into_indexer<'v>(self: Box<Self>) -> Option<Box<dyn Indexer + 'v>>
    where
        Self: 'v,
    {
        Some(self)
    }

    fn clone_as_boxed<'v>(&self) -> Box<dyn Val + 'v>
    where
        Self: 'v,
    {
        Box::new(Tags(self.0))
    }
}

impl Container for Tags<'_> {
    fn contains(&self, key: &dyn Val) -> Result<bool, ExecutionError> {
        Ok(self.named(key).is_some())
    }
}

impl Indexer for Tags<'_> {
    fn get<'b, 'v>(&'b self, key: &dyn Val) -> Result<CowVal<'b, 'v>, ExecutionError>
    where
        Self: 'v,
    {
        Ok(CowVal::owned(CelString::from(self.named(key).unwrap_or_default())))
    }

    fn steal<'v>(self: Box<Self>, key: &dyn Val) -> Result<Box<dyn Val + 'v>, ExecutionError>
    where
        Self: 'v,
    {
        Ok(Box::new(CelString::from(self.named(key).unwrap_or_default())))
    }
}
