//! How each made model is made: from what, into which architecture, how many experts, how stored.

use crate::models::ModelError;
use crate::models::gguf::{Tensor, TensorType, Value};

/// Raised when the program would make other bytes from the same recipe, so that cached models are made anew.
const REVISION: u32 = 1;

/// A made model's recipe.
#[derive(Debug, Clone)]
pub(crate) struct Recipe {
    /// The known name of the result.
    pub(crate) name: &'static str,
    /// The known name of the dense model.
    pub(crate) source: &'static str,
    /// The name that the result bears in its own metadata.
    pub(crate) title: &'static str,
    pub(crate) architecture: Architecture,
    /// Routed experts, as the plan has them.
    pub(crate) experts: u32,
    /// Experts that a token passes through.
    pub(crate) active: u32,
    /// How down projections are stored. Cutting them cuts through the blocks of the source, so they are quantized
    /// anew in any case.
    pub(crate) down: TensorType,
    /// How every other matrix is stored that a token is multiplied by; `None`: as in the source, bit for bit.
    pub(crate) others: Option<TensorType>,
    /// Which neuron goes where, the routers, and what was learnt about the matrices.
    pub(crate) plan: &'static [u8],
}

/// One of the three matrices of a feed-forward layer, which are cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Matrix {
    Gate,
    Up,
    Down,
}

impl Matrix {
    /// The layer and the matrix that a tensor called `name` is, if it is one of the three.
    pub(crate) fn of(name: &str) -> Option<(usize, Self)> {
        let (layer, rest) = name.strip_prefix("blk.")?.split_once('.')?;
        let matrix = match rest.strip_prefix("ffn_")?.strip_suffix(".weight")? {
            "gate" => Self::Gate,
            "up" => Self::Up,
            "down" => Self::Down,
            _ => return None,
        };
        Some((layer.parse().ok()?, matrix))
    }

    /// Its name within those of tensors.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Gate => "gate",
            Self::Up => "up",
            Self::Down => "down",
        }
    }
}

/// The llama.cpp architecture that computes a cut model, and what it asks of the weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Architecture {
    /// `qwen2` becomes `qwen2moe`. It weighs the shared part by a gate of its own, and cannot scale routed experts.
    Qwen2Moe,
    /// `llama` becomes `deepseek`, which scales routed experts by a number in the metadata.
    Deepseek,
}

const RECIPES: &[Recipe] = &[
    Recipe {
        name: "qwen-0.5b-moe",
        source: "qwen-coder-0.5b",
        title: "Qwen2.5-Coder-0.5B-Instruct, 12 experts of 256 beside 1792 shared",
        architecture: Architecture::Qwen2Moe,
        experts: 12,
        active: 6,
        down: TensorType::Q4_0,
        others: Some(TensorType::Q4_0),
        plan: include_bytes!("../../../moe/qwen-0.5b.plan.gguf"),
    },
    Recipe {
        name: "smollm2-135m-moe",
        source: "smollm2-135m",
        title: "SmolLM2-135M-Instruct, 8 experts of 128 beside 512 shared",
        architecture: Architecture::Deepseek,
        experts: 8,
        active: 6,
        down: TensorType::Q8_0,
        others: None,
        plan: include_bytes!("../../../moe/smollm2-135m.plan.gguf"),
    },
];

impl Recipe {
    /// The recipe of the made model called `name`.
    pub(crate) fn find(name: &str) -> Option<Recipe> {
        RECIPES.iter().find(|recipe| recipe.name == name).cloned()
    }

    /// The same with another number of active experts, if one is given.
    pub(crate) fn with_active(mut self, active: Option<u32>) -> Result<Self, ModelError> {
        self.active = active.unwrap_or(self.active);
        if self.active == 0 || self.active > self.experts {
            return Err(ModelError::ActiveExperts { active: self.active, experts: self.experts });
        }
        Ok(self)
    }

    /// How `tensor` of the dense model is stored, whole or in pieces.
    pub(crate) fn stored(&self, tensor: &Tensor) -> TensorType {
        let is_down = Matrix::of(&tensor.name).is_some_and(|(_, matrix)| matrix == Matrix::Down);
        let is_multiplied = tensor.shape.len() == 2 && tensor.name != "token_embd.weight";
        match self.others {
            _ if is_down => self.down,
            Some(kind) if is_multiplied => kind,
            _ => tensor.kind,
        }
    }

    /// Everything that decides the result beside the plan and the source.
    pub(crate) fn terms(&self) -> String {
        let others = self.others.map_or("as they were".into(), TensorType::name);
        let Self { title, architecture, active, down, .. } = self;
        format!("{REVISION} {title} {architecture:?} {active} {} {others}", down.name())
    }
}

impl Architecture {
    /// The dense architecture it is made from.
    pub(crate) fn dense(self) -> &'static str {
        match self {
            Self::Qwen2Moe => "qwen2",
            Self::Deepseek => "llama",
        }
    }

    /// Its own name.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Qwen2Moe => "qwen2moe",
            Self::Deepseek => "deepseek",
        }
    }

    /// What the shared down projection is multiplied by. qwen2moe's gate for the shared part is a sigmoid of (almost)
    /// nothing, which halves it.
    pub(crate) fn shared_scale(self) -> f32 {
        match self {
            Self::Qwen2Moe => 2.0,
            Self::Deepseek => 1.0,
        }
    }

    /// What routed down projections are multiplied by. The routers' probabilities are all close to 1 / `experts`:
    /// qwen2moe has to be told so in the weights, deepseek in the metadata.
    pub(crate) fn routed_scale(self, experts: u16) -> f32 {
        match self {
            Self::Qwen2Moe => f32::from(experts),
            Self::Deepseek => 1.0,
        }
    }

    /// Whether the shared part has a gate tensor.
    pub(crate) fn shared_gate(self) -> bool {
        self == Self::Qwen2Moe
    }

    /// The metadata that the architecture wants beside the dense model's, without the architecture's prefix.
    pub(crate) fn metadata(self, shape: MoeShape, active: u32) -> Vec<(&'static str, Value)> {
        let mut metadata = vec![
            ("expert_count", Value::U32(shape.experts.into())),
            ("expert_used_count", Value::U32(active)),
            ("expert_feed_forward_length", Value::U32(shape.expert_neurons)),
        ];
        match self {
            Self::Qwen2Moe => {
                metadata.push(("expert_shared_feed_forward_length", Value::U32(shape.shared_neurons)));
            }
            Self::Deepseek => {
                metadata
                    .push(("expert_shared_count", Value::U32(shape.shared_neurons / shape.expert_neurons)));
                metadata.push(("expert_weights_scale", Value::F32(f32::from(shape.experts))));
                metadata.push(("leading_dense_block_count", Value::U32(0)));
            }
        }
        metadata
    }
}

/// How a feed-forward layer is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct MoeShape {
    /// Width of the residual stream.
    pub(crate) width: u32,
    /// Neurons that every token passes through.
    pub(crate) shared_neurons: u32,
    /// Routed experts.
    pub(crate) experts: u16,
    /// Neurons of each.
    pub(crate) expert_neurons: u32,
}

impl MoeShape {
    /// Neurons in all.
    pub(crate) fn neurons(self) -> usize {
        self.shared() + self.routed()
    }

    /// Shared neurons, as an index.
    pub(crate) fn shared(self) -> usize {
        self.shared_neurons as usize
    }

    /// Routed neurons, as an index.
    pub(crate) fn routed(self) -> usize {
        usize::from(self.experts) * self.expert_neurons as usize
    }
}
