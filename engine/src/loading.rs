//! How llama.cpp loads a model: what goes to a GPU, what stays in main memory, how the KV memory is stored. The same settings
//! are configuration keys of an `embedded` engine and options of `tollgate engine`, named as llama.cpp names them.
//!
//! GPU settings have an effect only in a build with the feature `cuda`, `vulkan` or `metal`.

/// How a model is loaded. The default is llama.cpp's own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Loading {
    /// Layers that go to a GPU; `None` lets llama.cpp choose (all, where it was built for one).
    pub gpu_layers: Option<u32>,
    /// The experts of all layers stay in main memory, whatever else goes to a GPU.
    pub cpu_moe: bool,
    /// How keys are stored.
    pub cache_type_k: CacheType,
    /// How values are stored; a quantized type needs flash attention.
    pub cache_type_v: CacheType,
    /// Flash attention; `None` lets llama.cpp choose.
    pub flash_attention: Option<bool>,
    /// Patterns (regular expressions) of tensors that stay in main memory.
    pub cpu_tensors: Vec<String>,
    /// Texts are turned into vectors, though the file is of a model that writes. Embedding models do so anyway.
    pub embeddings: bool,
    /// How a text's vectors become one; `None` = as the file says.
    pub pooling: Option<Pooling>,
}

/// How the vectors of a text's tokens become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pooling {
    /// Their mean.
    Mean,
    /// The first one.
    Cls,
    /// The last one.
    Last,
}

impl Pooling {
    /// Every way with its name as llama.cpp writes it.
    pub const NAMES: [(&'static str, Pooling); 3] =
        [("mean", Pooling::Mean), ("cls", Pooling::Cls), ("last", Pooling::Last)];

    /// Its name as llama.cpp writes it.
    #[must_use]
    pub fn name(self) -> &'static str {
        Self::NAMES.iter().find(|(_, kind)| *kind == self).map_or("mean", |(name, _)| name)
    }
}

impl std::str::FromStr for Pooling {
    type Err = String;

    fn from_str(text: &str) -> Result<Pooling, String> {
        let found = Self::NAMES.iter().find(|(name, _)| *name == text);
        found.map(|(_, kind)| *kind).ok_or_else(|| {
            "one of mean, cls, last (none gives no vector for a text, and rank gives scores)".to_owned()
        })
    }
}

/// How one side of the KV memory is stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CacheType {
    /// 32 bits.
    F32,
    /// 16 bits: llama.cpp's default.
    #[default]
    F16,
    /// 16 bits with the range of 32.
    Bf16,
    /// 8 bits, in blocks of 32 with a scale.
    Q8_0,
    /// 5 bits, in blocks with scale and minimum.
    Q5_1,
    /// 5 bits, in blocks with a scale.
    Q5_0,
    /// 4 bits, in blocks with scale and minimum.
    Q4_1,
    /// 4 bits, in blocks with a scale.
    Q4_0,
}

impl CacheType {
    /// Every type with its name as llama.cpp writes it.
    pub const NAMES: [(&'static str, CacheType); 8] = [
        ("f32", CacheType::F32),
        ("f16", CacheType::F16),
        ("bf16", CacheType::Bf16),
        ("q8_0", CacheType::Q8_0),
        ("q5_1", CacheType::Q5_1),
        ("q5_0", CacheType::Q5_0),
        ("q4_1", CacheType::Q4_1),
        ("q4_0", CacheType::Q4_0),
    ];

    /// Its name as llama.cpp writes it.
    #[must_use]
    pub fn name(self) -> &'static str {
        Self::NAMES.iter().find(|(_, kind)| *kind == self).map_or("f16", |(name, _)| name)
    }

    /// Bytes for 32 numbers.
    #[must_use]
    pub fn block_bytes(self) -> u64 {
        match self {
            CacheType::F32 => 128,
            CacheType::F16 | CacheType::Bf16 => 64,
            CacheType::Q8_0 => 34,
            CacheType::Q5_1 => 24,
            CacheType::Q5_0 => 22,
            CacheType::Q4_1 => 20,
            CacheType::Q4_0 => 18,
        }
    }

    /// Whether it is coarser than 16 bits.
    #[must_use]
    pub fn quantized(self) -> bool {
        self.block_bytes() < 64
    }
}

impl std::str::FromStr for CacheType {
    type Err = String;

    fn from_str(text: &str) -> Result<CacheType, String> {
        let found = Self::NAMES.iter().find(|(name, _)| *name == text);
        found.map(|(_, kind)| *kind).ok_or_else(|| {
            let names: Vec<&str> = Self::NAMES.iter().map(|(name, _)| *name).collect();
            format!("one of {}", names.join(", "))
        })
    }
}

impl Loading {
    /// What cannot work, if anything.
    #[must_use]
    pub fn contradiction(&self) -> Option<&'static str> {
        let values = self.cache_type_v.quantized() && self.flash_attention == Some(false);
        values.then_some("a quantized cache_type_v needs flash attention")
    }

    /// The options of `tollgate engine` that say the same.
    #[must_use]
    pub fn arguments(&self) -> Vec<String> {
        let mut arguments = Vec::new();
        let mut say = |name: &str, value: String| arguments.extend([name.to_owned(), value]);
        if let Some(layers) = self.gpu_layers {
            say("--gpu-layers", layers.to_string());
        }
        if self.cache_type_k != CacheType::default() {
            say("--cache-type-k", self.cache_type_k.name().to_owned());
        }
        if self.cache_type_v != CacheType::default() {
            say("--cache-type-v", self.cache_type_v.name().to_owned());
        }
        if let Some(on) = self.flash_attention {
            say("--flash-attention", on.to_string());
        }
        for pattern in &self.cpu_tensors {
            say("--cpu-tensors", pattern.clone());
        }
        if let Some(pooling) = self.pooling {
            say("--pooling", pooling.name().to_owned());
        }
        for (on, name) in [(self.cpu_moe, "--cpu-moe"), (self.embeddings, "--embeddings")] {
            if on {
                arguments.push(name.to_owned());
            }
        }
        arguments
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_they_are_written() {
        for (name, kind) in CacheType::NAMES {
            assert_eq!((name.parse(), kind.name()), (Ok(kind), name));
        }
        assert!("q9".parse::<CacheType>().unwrap_err().contains("q8_0"));
        for (name, kind) in Pooling::NAMES {
            assert_eq!((name.parse(), kind.name()), (Ok(kind), name));
        }
        assert!("rank".parse::<Pooling>().unwrap_err().contains("scores"));
    }

    #[test]
    fn only_what_differs_from_the_default_is_said() {
        assert!(Loading::default().arguments().is_empty());
        let loading = Loading { gpu_layers: Some(20), cpu_moe: true, ..Loading::default() };
        assert_eq!(loading.arguments(), ["--gpu-layers", "20", "--cpu-moe"]);
        let embeds = Loading { embeddings: true, pooling: Some(Pooling::Last), ..Loading::default() };
        assert_eq!(embeds.arguments(), ["--pooling", "last", "--embeddings"]);
        let coarse =
            Loading { cache_type_v: CacheType::Q8_0, flash_attention: Some(false), ..Loading::default() };
        assert!(coarse.contradiction().is_some());
    }
}
