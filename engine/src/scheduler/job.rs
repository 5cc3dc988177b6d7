//! What the server hands to the scheduler, and what comes back while the answer is written.

use super::places::Place;
use super::prefix::Wanted;
use crate::grammar::Grammar;
use crate::llama::{Applied, DecodeFailure, Token};
use crate::logprobs::Likelihood;
use crate::sample::{Sampling, Unpickable};
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, oneshot};

/// One answer to be written.
#[derive(Clone, Debug)]
pub(crate) struct Job {
    /// The whole prompt, at least one token and shorter than the context.
    pub(crate) prompt: Vec<Token>,
    /// The adapter it is computed with; `None` = the bare model.
    pub(crate) adapter: Option<Applied>,
    /// Tokens to write at most; at least one, and prompt and answer fit the context together.
    pub(crate) max_tokens: usize,
    /// How tokens are picked.
    pub(crate) sampling: Sampling,
    /// The form that the answer is held to.
    pub(crate) grammar: Option<Grammar>,
    /// Texts that end the answer.
    pub(crate) stops: Vec<String>,
    /// Whether the model may not end the answer itself.
    pub(crate) ignore_eos: bool,
    /// Whether control tokens that mark calls are part of the answer's text.
    pub(crate) call_marks: bool,
    /// Whether KV cells of an earlier prompt with the same beginning may be used again.
    pub(crate) reuse: bool,
    /// Whether to say how likely each token was, and so many alternatives.
    pub(crate) logprobs: Option<usize>,
}

impl Job {
    /// What it would begin with.
    pub(super) fn wanted(&self) -> Wanted<'_> {
        Wanted { prompt: &self.prompt, adapter: self.adapter }
    }
}

/// Texts to be turned into vectors.
#[derive(Clone, Debug)]
pub(crate) struct EmbedJob {
    /// Each at least one token long and no longer than the context; at least one.
    pub(crate) inputs: Vec<Vec<Token>>,
}

/// The vectors of an [`EmbedJob`], of length 1 and in its order.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Embedded {
    pub(crate) vectors: Vec<Vec<f32>>,
    /// Tokens of all texts.
    pub(crate) tokens: usize,
    /// This request's share of the computing time.
    pub(crate) reading_us: u64,
}

/// What the order of waiting jobs goes by. Whoever asks says so himself: it decides nothing else.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Order {
    /// Who asks: callers take turns.
    pub(crate) caller: String,
    /// When the answer is of no use any more.
    pub(crate) deadline: Option<Instant>,
}

/// What happens to a job, in order: any number of texts and tokens, then one of the others.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Event {
    /// How likely the next token was, of which the text may come later.
    Token(Likelihood),
    /// More text.
    Text(String),
    /// The answer is whole.
    Done(Finish),
    /// The answer cannot be written.
    Failed(Failure),
}

/// How an answer ended.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Finish {
    /// Why.
    pub(crate) reason: FinishReason,
    /// What it took.
    pub(crate) usage: Usage,
}

/// Why an answer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FinishReason {
    /// The model ended it, a stop string was met, or the form it is held to is whole.
    Stop,
    /// It reached its limit of tokens.
    Length,
}

/// What an answer took.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Usage {
    /// Tokens of the prompt.
    pub(crate) prompt_tokens: usize,
    /// Of those, tokens whose KV cells were at hand.
    pub(crate) cached_tokens: usize,
    /// Tokens written, with the one that ended the answer.
    pub(crate) completion_tokens: usize,
    /// This request's share of the computing time, spent on its prompt.
    pub(crate) reading_us: u64,
    /// The same, spent on its answer.
    pub(crate) writing_us: u64,
}

impl Usage {
    /// What both took.
    pub(crate) fn and(self, other: Usage) -> Usage {
        Usage {
            prompt_tokens: self.prompt_tokens + other.prompt_tokens,
            cached_tokens: self.cached_tokens + other.cached_tokens,
            completion_tokens: self.completion_tokens + other.completion_tokens,
            reading_us: self.reading_us.saturating_add(other.reading_us),
            writing_us: self.writing_us.saturating_add(other.writing_us),
        }
    }

    /// The same of a further answer to a prompt, which counts once.
    pub(crate) fn without_prompt(self) -> Usage {
        Usage { prompt_tokens: 0, cached_tokens: 0, ..self }
    }
}

/// Why an answer cannot be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Failure {
    /// The computation failed.
    #[error("{0}")]
    Decode(DecodeFailure),
    /// It waited for its turn until its deadline.
    #[error("the deadline passed while the request waited for its turn")]
    TooLate,
    /// While it waited, its place went to another caller, of whom fewer requests waited.
    #[error("the queue is full, and most of what waits is of this caller")]
    Displaced {
        /// When to try again.
        retry_after: Duration,
    },
    /// The model gave no usable numbers.
    #[error("the model's output is not a number; its file may be damaged")]
    NoLogits,
    /// The answer's form cannot be followed any further.
    #[error("the grammar of the asked-for form became too complex; use a simpler JSON schema")]
    TooComplex,
}

impl From<Unpickable> for Failure {
    fn from(unpickable: Unpickable) -> Self {
        match unpickable {
            Unpickable::NoLogits => Self::NoLogits,
            Unpickable::TooComplex => Self::TooComplex,
        }
    }
}

/// What the scheduler's thread is sent. A thread does one kind of job only, which the server sees to.
#[derive(Debug)]
pub(super) enum Message {
    /// One more answer to be written.
    Job(Box<Submitted>),
    /// More texts to be turned into vectors.
    Embed(Box<SubmittedTexts>),
    /// Nothing: look at the interrupt.
    Wake,
}

/// A job that waits for its turn.
pub(super) trait Waiting {
    /// What its turn goes by.
    fn order(&self) -> &Order;
    /// Whether nobody waits for it any more.
    fn abandoned(&self) -> bool;
    /// Its place; none in tests of the order alone.
    fn place(&self) -> Option<&Place>;

    /// Whether its place went to another request, and the failure that it then has.
    fn displaced(&self) -> Option<Failure> {
        let retry_after = self.place()?.displaced()?;
        Some(Failure::Displaced { retry_after })
    }

    /// It has its turn, unless its place went to another request.
    fn begin(&self) -> Result<(), Failure> {
        let begun = self.place().map_or(Ok(()), Place::begin);
        begun.map_err(|retry_after| Failure::Displaced { retry_after })
    }
}

/// A job on its way: with the channel back, and the place it takes up until it ends.
#[derive(Debug)]
pub(super) struct Submitted {
    pub(super) job: Job,
    pub(super) order: Order,
    pub(super) events: mpsc::Sender<Event>,
    /// Given back before the last event is sent: whoever has the answer may ask again at once.
    pub(super) place: Option<Place>,
}

impl Waiting for Submitted {
    fn order(&self) -> &Order {
        &self.order
    }

    fn abandoned(&self) -> bool {
        self.events.is_closed()
    }

    fn place(&self) -> Option<&Place> {
        self.place.as_ref()
    }
}

impl Submitted {
    /// Ends it before it began.
    pub(super) fn refuse(mut self, failure: Failure) {
        self.place = None;
        // The channel has room for more than this; a closed one means that nobody waits.
        drop(self.events.try_send(Event::Failed(failure)));
    }
}

/// Texts on their way, as [`Submitted`].
#[derive(Debug)]
pub(super) struct SubmittedTexts {
    pub(super) job: EmbedJob,
    pub(super) order: Order,
    pub(super) answer: oneshot::Sender<Result<Embedded, Failure>>,
    pub(super) place: Place,
}

impl Waiting for SubmittedTexts {
    fn order(&self) -> &Order {
        &self.order
    }

    fn abandoned(&self) -> bool {
        self.answer.is_closed()
    }

    fn place(&self) -> Option<&Place> {
        Some(&self.place)
    }
}

impl SubmittedTexts {
    /// Ends it. Its place is given back first: whoever has the answer may ask again at once.
    pub(super) fn end(self, result: Result<Embedded, Failure>) {
        let SubmittedTexts { answer, place, .. } = self;
        drop(place);
        // A closed channel means that nobody waits.
        drop(answer.send(result));
    }
}
