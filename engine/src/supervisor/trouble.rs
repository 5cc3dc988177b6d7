//! Why an engine does not start, in words that may leave the machine: no path, no address, nothing a server wrote.
//!
//! The cause is read from the last words of the process, of which those about model files are this crate's own
//! ([`crate::EngineError`]) or llama.cpp's.

/// A kind of cause.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// There is no such file, or it cannot be read.
    Missing,
    /// It is another kind of file.
    NotGguf,
    /// It ends too early or contradicts itself.
    Damaged,
    /// llama.cpp does not know the architecture.
    Architecture,
    /// It does not fit into memory.
    Memory,
    /// Its chat template does not parse.
    Template,
    /// The command cannot be started.
    Command,
    /// Anything else.
    Other,
}

/// What tells a cause apart, in the order in which it is looked for.
const SIGNS: [(&str, Trouble); 10] = [
    ("unknown model architecture", Trouble::Architecture),
    ("is not a GGUF file", Trouble::NotGguf),
    ("cannot read the model", Trouble::Missing),
    ("of memory", Trouble::Memory),
    ("no context of", Trouble::Memory),
    ("chat template is not usable", Trouble::Template),
    ("cannot be started", Trouble::Command),
    ("is cut or damaged", Trouble::Damaged),
    ("cannot load", Trouble::Damaged),
    ("is damaged", Trouble::Damaged),
];

impl Trouble {
    /// The cause behind a process's last words.
    #[must_use]
    pub fn of(reason: &str) -> Trouble {
        SIGNS.iter().find(|(sign, _)| reason.contains(sign)).map_or(Trouble::Other, |(_, trouble)| *trouble)
    }

    /// Whether only a person can help, so that trying again at once is of no use.
    #[must_use]
    pub fn lasts(self) -> bool {
        self != Trouble::Other
    }

    /// What callers are told.
    #[must_use]
    pub fn public(self) -> &'static str {
        match self {
            Trouble::Missing => "its model file is missing or cannot be read",
            Trouble::NotGguf => "its model file is not a GGUF file",
            Trouble::Damaged => "its model file is cut or damaged",
            Trouble::Architecture => "its model's architecture is not known to this version of llama.cpp",
            Trouble::Memory => "its model does not fit into memory",
            Trouble::Template => "its model's chat template does not parse",
            Trouble::Command => "its command cannot be started",
            Trouble::Other => "the log says why",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::EngineError;
    use std::io;
    use std::path::PathBuf;

    #[test]
    fn what_the_worker_says_is_understood() {
        let path = || PathBuf::from("/models/secret.gguf");
        let refused = |reason: &str| EngineError::ModelRefused { path: path(), reason: reason.to_owned() };
        let cases = [
            (EngineError::NotGguf { path: path(), found: "%PDF".to_owned() }, Trouble::NotGguf),
            (
                EngineError::ModelUnreadable { path: path(), source: io::ErrorKind::NotFound.into() },
                Trouble::Missing,
            ),
            (refused("unknown model architecture: 'foo'"), Trouble::Architecture),
            (refused("tensor 'x' data is not within the file bounds"), Trouble::Damaged),
            (EngineError::TooBig { needed_mb: 9000, there_mb: 100 }, Trouble::Memory),
            (EngineError::ContextRefused { tokens: 1, reason: String::new() }, Trouble::Memory),
            (EngineError::Template("line 1".to_owned()), Trouble::Template),
            (EngineError::SchedulerStopped("x".to_owned()), Trouble::Other),
        ];
        for (error, trouble) in cases {
            assert_eq!(Trouble::of(&error.to_string()), trouble, "{error}");
            assert!(!trouble.public().contains("secret"));
        }
    }
}
