//! Whether a model turns texts into vectors, and how: told from its file and from what was asked for.

use super::Model;
use crate::EngineError;
use crate::loading::Pooling;

/// Architectures that read a text and write none.
const ENCODERS: [&str; 10] = [
    "bert",
    "eurobert",
    "gemma-embedding",
    "jina-bert-v2",
    "jina-bert-v3",
    "llama-embed",
    "modern-bert",
    "neo-bert",
    "nomic-bert",
    "nomic-bert-moe",
];

/// llama.cpp's number of the pooling that gives scores.
const RANK: &str = "4";

impl Model {
    /// How texts become vectors; `None` where the model writes answers.
    pub(crate) fn embeds(&self) -> Result<Option<Pooling>, EngineError> {
        let architecture = self.architecture();
        let stated = self.weights.meta_val_str(&format!("{architecture}.pooling_type")).ok();
        told(&architecture, stated.as_deref(), self.loading.embeddings, self.loading.pooling)
    }
}

fn told(
    architecture: &str,
    stated: Option<&str>,
    asked: bool,
    pooling: Option<Pooling>,
) -> Result<Option<Pooling>, EngineError> {
    let own = match stated {
        Some("1") => Some(Pooling::Mean),
        Some("2") => Some(Pooling::Cls),
        Some("3") => Some(Pooling::Last),
        _ => None,
    };
    let wrong =
        |option, value: &str, reason| Err(EngineError::Option { option, value: value.to_owned(), reason });
    let embeds = asked || stated.is_some_and(|stated| stated != "0") || ENCODERS.contains(&architecture);
    match pooling.or(own) {
        _ if !embeds => match pooling {
            Some(pooling) => wrong("--pooling", pooling.name(), "this model writes; add --embeddings"),
            None => Ok(None),
        },
        Some(pooling) => Ok(Some(pooling)),
        None if stated == Some(RANK) => {
            wrong("--model", architecture, "it is a reranker: it gives scores, not embeddings")
        }
        None => wrong("--pooling", "none", "the model's file names no pooling; say mean, cls or last"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_says_it_unless_the_options_do() {
        let of = |architecture, stated, asked, pooling| told(architecture, stated, asked, pooling).unwrap();
        assert_eq!(of("llama", None, false, None), None);
        assert_eq!(of("bert", Some("1"), false, None), Some(Pooling::Mean));
        assert_eq!(of("qwen3", Some("3"), false, None), Some(Pooling::Last));
        assert_eq!(of("bert", Some("2"), false, Some(Pooling::Mean)), Some(Pooling::Mean));
        assert_eq!(of("llama", None, true, Some(Pooling::Last)), Some(Pooling::Last));
    }

    #[test]
    fn what_gives_no_vector_is_refused_with_a_way_out() {
        for (architecture, stated, asked, pooling, part) in [
            ("llama", None, true, None, "say mean, cls or last"),
            ("bert", None, false, None, "say mean, cls or last"),
            ("bert", Some("4"), false, None, "reranker"),
            ("llama", None, false, Some(Pooling::Mean), "add --embeddings"),
        ] {
            let message = told(architecture, stated, asked, pooling).unwrap_err().to_string();
            assert!(message.contains(part), "{message}");
        }
    }
}
