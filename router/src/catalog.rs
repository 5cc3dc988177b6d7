//! The models that can be chosen, and how they are doing right now.
//!
//! Every model at every quantization is its own entry with its own price and ability. `Live` is what
//! the gateway measures; it is passed in beside the catalogue and never stored here.

use tollgate_policies::Price;

use crate::ability::Ability;
use crate::decision::Needs;

/// What a model can be asked for beside plain text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Capabilities {
    /// Vectors of texts; such a model writes no answers.
    pub embeddings: bool,
    /// Tool calls.
    pub tools: bool,
    /// Answers bound to JSON.
    pub json: bool,
    /// Images in the prompt.
    pub images: bool,
    /// Requests by which its engine may choose another model, provider or price.
    pub routing: bool,
}

/// One entry of the catalogue.
#[derive(Clone, Debug)]
pub struct Model {
    /// The name callers and policies use.
    pub name: String,
    /// The engine that serves it.
    pub engine: String,
    /// What that engine calls it.
    pub upstream_model: String,
    /// Bits per weight, where known.
    pub bits: Option<u32>,
    /// What it costs.
    pub price: Price,
    /// Context window in tokens, prompt and answer together.
    pub context: u64,
    /// Tokens that a picture, a recording or a file in the prompt is held for.
    pub part_tokens: u64,
    /// What it can be asked for beside plain text.
    pub can: Capabilities,
    /// Where its engine runs.
    pub regions: Vec<String>,
    /// How able it is: 0 is the classifier's small reference model, 1 its large one; may lie outside.
    pub ability: Ability,
}

/// All models, in the order of the configuration.
#[derive(Clone, Debug, Default)]
pub struct Catalog {
    models: Vec<Model>,
}

impl Catalog {
    /// A catalogue of these models. Of two with one name the first is found.
    pub fn new(models: Vec<Model>) -> Catalog {
        Catalog { models }
    }

    /// All models, in the order of the configuration.
    pub fn models(&self) -> &[Model] {
        &self.models
    }

    /// The model of this name.
    pub fn find(&self, name: &str) -> Option<&Model> {
        self.position(name).map(|at| &self.models[at])
    }

    /// The place of the model of this name, as used by [`crate::Decision::ranked`].
    pub fn position(&self, name: &str) -> Option<usize> {
        self.models.iter().position(|model| model.name == name)
    }
}

/// How one model's engine is doing, as last measured.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Live {
    /// Whether requests can be sent to it.
    pub up: bool,
    /// Requests that must end before one more gets a slot: those that wait, and one where all slots are taken.
    pub queue_depth: u32,
    /// Until one more request gets a slot by the engine's own word, milliseconds; 0 = it says nothing, told from `queue_depth`.
    pub wait_ms: u64,
    /// Output tokens per second of one request; 0 = not measured yet.
    pub tokens_per_second: f64,
    /// Prompt tokens read per second; 0 = not measured yet.
    pub prompt_tokens_per_second: f64,
    /// Requests it answers at the same time; 0 = not known, taken as one.
    pub slots: u32,
    /// Until it is ready for the first request, milliseconds; above 0 where it is started by that request.
    pub ready_ms: u64,
    /// Prompt tokens that its tokenizer has made of one that was expected; 1 = not measured yet.
    pub token_ratio: f64,
}

impl Live {
    /// The needs as this model's tokenizer counts them. What is expected stays below what is certain.
    pub(crate) fn counted<'n>(&self, needs: &Needs<'n>) -> Needs<'n> {
        let tokens = (needs.prompt_tokens as f64 * self.token_ratio).ceil() as u64;
        Needs { prompt_tokens: tokens.min(needs.prompt_tokens.max(needs.prompt_tokens_upper)), ..*needs }
    }
}

impl Default for Live {
    /// Up, idle, and not measured yet.
    fn default() -> Live {
        Live {
            up: true,
            queue_depth: 0,
            wait_ms: 0,
            tokens_per_second: 0.0,
            prompt_tokens_per_second: 0.0,
            slots: 1,
            ready_ms: 0,
            token_ratio: 1.0,
        }
    }
}
