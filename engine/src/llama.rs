//! llama.cpp behind a small safe face: load a GGUF, turn text into tokens and back, decode batches.
//!
//! Only this module and the model makers know the bindings. llama.cpp reports its reasons through a log callback
//! alone, so failures are paired with its last error lines ([`log`]). Loading and context creation write to shared
//! state in C++ and are therefore serialised here.

mod adapter;
mod context;
mod embedding;
mod interrupt;
mod loading;
mod log;
pub(crate) mod quantize;
mod state;

pub(crate) use adapter::{Applied, LoadedAdapter};
pub(crate) use context::{Batch, Context, ContextOptions, DecodeFailure};
pub(crate) use interrupt::Interrupt;
pub(crate) use llama_cpp_2::token::LlamaToken as Token;

use crate::EngineError;
use crate::adapters::Adapter;
use crate::loading::Loading;
use llama_cpp_2::llama_backend::LlamaBackend;
use llama_cpp_2::model::LlamaModel;
use parking_lot::Mutex;
use std::io::Read;
use std::path::Path;
use std::sync::OnceLock;

/// Held while a model is loaded or a context made.
static MAKING: Mutex<()> = Mutex::new(());

/// The process-wide llama.cpp, initialised once and never freed: models and contexts may live until the end.
fn backend() -> Result<&'static LlamaBackend, EngineError> {
    static BACKEND: OnceLock<Result<LlamaBackend, String>> = OnceLock::new();
    let made = BACKEND.get_or_init(|| {
        log::redirect();
        LlamaBackend::init().map_err(|error| error.to_string())
    });
    made.as_ref().map_err(|reason| EngineError::SchedulerStopped(reason.clone()))
}

/// A loaded model: weights and vocabulary. Shared between threads; all methods read only.
#[derive(Debug)]
pub(crate) struct Model {
    weights: LlamaModel,
    /// The tokens that end an answer, by number.
    ends: Vec<usize>,
    /// How contexts are made.
    loading: Loading,
    adapters: Vec<LoadedAdapter>,
}

impl Model {
    /// Loads a GGUF file, memory-mapped, and its adapters, which are read whole. Blocks for as long as the disk needs, or
    /// until `interrupt` is raised.
    pub(crate) fn load(
        path: &Path,
        adapters: &[Adapter],
        loading: &Loading,
        interrupt: &Interrupt,
    ) -> Result<Model, EngineError> {
        check_magic(path)?;
        let backend = backend()?;
        let _making = MAKING.lock();
        log::forget();
        let patterns = loading::patterns(loading)?;
        let params = loading::model_params(loading, &patterns, interrupt);
        let mut weights = LlamaModel::load_from_file(backend, path, &params).map_err(|error| {
            if interrupt.raised() {
                return EngineError::Interrupted;
            }
            let reason = log::last_errors().unwrap_or_else(|| error.to_string());
            EngineError::ModelRefused { path: path.to_owned(), reason }
        })?;
        let adapters = adapter::load(&mut weights, path, adapters)?;
        let vocab = weights.vocab();
        let ends = (0..weights.n_vocab()).filter(|&token| vocab.is_eog(Token(token)));
        let ends = ends.filter_map(|token| usize::try_from(token).ok()).collect();
        Ok(Model { weights, ends, loading: loading.clone(), adapters })
    }

    /// Makes a context in which sequences are decoded until `interrupt` is raised.
    pub(crate) fn context(
        &self,
        options: &ContextOptions,
        interrupt: &Interrupt,
    ) -> Result<Context<'_>, EngineError> {
        let backend = backend()?;
        let _making = MAKING.lock();
        log::forget();
        let made = self
            .weights
            .new_context(backend, loading::context_params(&self.loading, options.params(interrupt)))
            .map_err(|error| {
                let reason = log::last_errors().unwrap_or_else(|| error.to_string());
                EngineError::ContextRefused { tokens: options.cells(), reason }
            })?;
        Ok(Context::new(made, &self.adapters, interrupt.clone()))
    }

    /// The adapters loaded with it, in the order they were given.
    pub(crate) fn adapters(&self) -> &[LoadedAdapter] {
        &self.adapters
    }

    /// Text to tokens. Control tokens written in `text` become those tokens; no BOS or EOS is added.
    pub(crate) fn tokens(&self, text: &str) -> Vec<Token> {
        self.weights.vocab().tokenize(text.as_bytes(), false, true)
    }

    /// A whole text to tokens, with those that the vocabulary puts at its beginning and end.
    pub(crate) fn whole_text(&self, text: &str) -> Vec<Token> {
        self.weights.vocab().tokenize(text.as_bytes(), true, true)
    }

    /// The bytes a token stands for, appended to `bytes`; nothing for control tokens. May be part of a character.
    pub(crate) fn piece(&self, token: Token, bytes: &mut Vec<u8>) {
        bytes.reserve(32);
        self.weights.vocab().token_to_piece_into(token, bytes, false, None);
    }

    /// The same with the names of control tokens, such as `<|python_tag|>`.
    pub(crate) fn control_piece(&self, token: Token, bytes: &mut Vec<u8>) {
        bytes.reserve(32);
        self.weights.vocab().token_to_piece_into(token, bytes, true, None);
    }

    /// The name of a control token that marks calls of tools; nothing for others.
    pub(crate) fn call_mark(&self, token: Token, bytes: &mut Vec<u8>) {
        let mut name = Vec::new();
        self.control_piece(token, &mut name);
        let text = String::from_utf8_lossy(&name).to_lowercase();
        if ["tool", "python_tag", "[args]", "[call_id]"].iter().any(|mark| text.contains(mark)) {
            bytes.append(&mut name);
        }
    }

    /// Whether the model ends its answer with this token.
    pub(crate) fn ends_answer(&self, token: Token) -> bool {
        self.weights.vocab().is_eog(token)
    }

    /// All tokens that end an answer, by number.
    pub(crate) fn ends(&self) -> &[usize] {
        &self.ends
    }

    /// The token that begins a text, when the vocabulary has one.
    pub(crate) fn bos(&self) -> Option<Token> {
        Some(self.weights.vocab().bos()).filter(|token| token.0 >= 0)
    }

    /// Whether the model wants its BOS in front of every text.
    pub(crate) fn wants_bos(&self) -> bool {
        self.weights.vocab().should_add_bos()
    }

    /// How the BOS and EOS tokens are written, for templates. Empty where there is none.
    pub(crate) fn bos_and_eos_text(&self) -> (String, String) {
        let vocab = self.weights.vocab();
        let text = |token: Token| match token.0 {
            0.. => vocab.text(token).map(|text| text.to_string_lossy().into_owned()).unwrap_or_default(),
            _ => String::new(),
        };
        (text(vocab.bos()), text(vocab.eos()))
    }

    /// The chat template in the file, when there is one.
    pub(crate) fn chat_template(&self) -> Option<String> {
        self.weights.chat_template(None).ok().and_then(|template| template.to_string().ok())
    }

    /// Tokens in the vocabulary.
    pub(crate) fn vocabulary(&self) -> usize {
        usize::try_from(self.weights.n_vocab()).unwrap_or_default()
    }

    /// The longest context the model was trained on.
    pub(crate) fn trained_context(&self) -> u32 {
        self.weights.n_ctx_train()
    }

    /// Parameters in all.
    pub(crate) fn parameters(&self) -> u64 {
        self.weights.n_params()
    }

    /// Bytes of all tensors.
    pub(crate) fn bytes(&self) -> u64 {
        self.weights.size()
    }

    /// The architecture's name in the file.
    pub(crate) fn architecture(&self) -> String {
        self.weights.meta_val_str("general.architecture").unwrap_or_default()
    }

    /// Whether earlier positions of a sequence can be dropped again (not so for recurrent state).
    pub(crate) fn can_rewind(&self) -> bool {
        !self.weights.is_recurrent() && !self.weights.is_hybrid()
    }
}

/// Whether llama.cpp takes the model at `path`.
pub(crate) fn loads(path: &Path) -> Result<(), EngineError> {
    Model::load(path, &[], &Loading::default(), &Interrupt::default()).map(drop)
}

/// Tells a missing or foreign file apart from one that llama.cpp refuses.
fn check_magic(path: &Path) -> Result<(), EngineError> {
    let unreadable = |source| EngineError::ModelUnreadable { path: path.to_owned(), source };
    let mut magic = Vec::new();
    let file = std::fs::File::open(path).map_err(unreadable)?;
    file.take(4).read_to_end(&mut magic).map_err(unreadable)?;
    if magic == b"GGUF" {
        return Ok(());
    }
    let found = magic.escape_ascii().to_string();
    Err(EngineError::NotGguf { path: path.to_owned(), found })
}
