//! `tollgate engine`: one llama.cpp worker, alone or under the gateway's supervisor.

use std::process::ExitCode;

use clap::Args;
use tollgate_engine::adapters::Adapter;
use tollgate_engine::loading::{CacheType, Pooling};
use tollgate_engine::slot_save::DEFAULT_SLOT_SAVE_MB;

use super::CliError;

#[derive(Debug, Args)]
pub(crate) struct Engine {
    /// The model: a known name, a GGUF file, or hf:owner/repo/file.gguf fetched before.
    #[arg(long, env = "TOLLGATE_ENGINE_MODEL", value_name = "MODEL")]
    model: String,
    /// Where to listen: address:port, or unix:/path/to/socket.
    #[arg(long, env = "TOLLGATE_ENGINE_LISTEN", default_value = "127.0.0.1:8081", value_name = "ADDR")]
    listen: String,
    /// Compute threads; default: one for each physical core, at most 16.
    #[arg(long, env = "TOLLGATE_ENGINE_THREADS", value_name = "N")]
    threads: Option<usize>,
    /// Tokens of prompt and answer together for each request.
    #[arg(long, env = "TOLLGATE_ENGINE_CONTEXT", value_name = "TOKENS", default_value_t = 4096)]
    context: u32,
    /// Requests worked on at once.
    #[arg(long, env = "TOLLGATE_ENGINE_PARALLEL", value_name = "N", default_value_t = 4)]
    parallel: u32,
    /// Requests that may wait beyond those; further ones are refused.
    #[arg(long, env = "TOLLGATE_ENGINE_QUEUE", value_name = "N", default_value_t = 64)]
    queue: u32,
    /// Tokens guessed at most, from what was said before, for each step of an answer that has the engine to itself; 0 = none.
    #[arg(long, env = "TOLLGATE_ENGINE_LOOKUP", value_name = "TOKENS", default_value_t = 7)]
    lookup: u32,
    /// The model's name in answers; default: the file's name.
    #[arg(long, env = "TOLLGATE_ENGINE_ALIAS", value_name = "NAME")]
    alias: Option<String>,
    /// A file with the chat template (Jinja) to use instead of the model's own.
    #[arg(long, env = "TOLLGATE_ENGINE_CHAT_TEMPLATE_FILE", value_name = "FILE")]
    chat_template_file: Option<std::path::PathBuf>,
    /// A LoRA adapter (a GGUF file, or the folder that PEFT saved it in) that requests ask for by this name as their model; may be given several times.
    #[arg(long, value_name = "NAME=FILE[:SCALE]")]
    lora: Vec<Adapter>,
    /// Keep warm prefixes in this file while the engine does not run. It holds what was said.
    #[arg(long, env = "TOLLGATE_ENGINE_SLOT_SAVE_FILE", value_name = "FILE")]
    slot_save_file: Option<std::path::PathBuf>,
    /// Most megabytes of that file.
    #[arg(long, env = "TOLLGATE_ENGINE_SLOT_SAVE_MB", value_name = "MB", default_value_t = DEFAULT_SLOT_SAVE_MB)]
    slot_save_mb: u32,
    #[command(flatten)]
    loading: LoadingArgs,
    /// Try the model with each number of threads, say which is best, and end.
    #[arg(long)]
    tune: bool,
    /// End when standard input closes (set by the supervisor).
    #[arg(long, hide = true)]
    exit_with_stdin: bool,
}

/// How llama.cpp loads the model.
#[derive(Debug, Args)]
struct LoadingArgs {
    /// Layers on a GPU (builds with cuda, vulkan or metal); default: as many as fit.
    #[arg(long, env = "TOLLGATE_ENGINE_GPU_LAYERS", value_name = "N")]
    gpu_layers: Option<u32>,
    /// Keep the experts of all layers in main memory.
    #[arg(long, env = "TOLLGATE_ENGINE_CPU_MOE")]
    cpu_moe: bool,
    /// Keep tensors whose names match this regular expression in main memory; may be given several times.
    #[arg(long, value_name = "REGEX")]
    cpu_tensors: Vec<String>,
    /// How keys are stored: f32, f16, bf16, q8_0, q5_1, q5_0, q4_1 or q4_0.
    #[arg(long, env = "TOLLGATE_ENGINE_CACHE_TYPE_K", default_value = "f16", value_name = "TYPE")]
    cache_type_k: CacheType,
    /// How values are stored; a quantized type needs flash attention.
    #[arg(long, env = "TOLLGATE_ENGINE_CACHE_TYPE_V", default_value = "f16", value_name = "TYPE")]
    cache_type_v: CacheType,
    /// Flash attention: true or false; default: llama.cpp's choice.
    #[arg(long, env = "TOLLGATE_ENGINE_FLASH_ATTENTION", value_name = "BOOL")]
    flash_attention: Option<bool>,
    /// Answer /v1/embeddings, though the model writes; embedding models do so anyway.
    #[arg(long, env = "TOLLGATE_ENGINE_EMBEDDINGS")]
    embeddings: bool,
    /// How a text's vectors become one: mean, cls or last; default: as the model's file says.
    #[arg(long, env = "TOLLGATE_ENGINE_POOLING", value_name = "TYPE")]
    pooling: Option<Pooling>,
}

#[cfg(feature = "embedded")]
impl LoadingArgs {
    fn loading(self) -> tollgate_engine::loading::Loading {
        tollgate_engine::loading::Loading {
            gpu_layers: self.gpu_layers,
            cpu_moe: self.cpu_moe,
            cache_type_k: self.cache_type_k,
            cache_type_v: self.cache_type_v,
            flash_attention: self.flash_attention,
            cpu_tensors: self.cpu_tensors,
            embeddings: self.embeddings,
            pooling: self.pooling,
        }
    }
}

impl Engine {
    #[cfg(not(feature = "embedded"))]
    pub(crate) fn run(self) -> Result<ExitCode, CliError> {
        Err(CliError::NotBuilt { what: "local engines" })
    }

    #[cfg(feature = "embedded")]
    pub(crate) fn run(self) -> Result<ExitCode, CliError> {
        use tollgate_engine::slot_save::SlotSave;
        use tollgate_engine::worker::{self, DEFAULT_DRAIN, WorkerOptions};

        let model = tollgate_engine::models::resolve(&self.model)?;
        if self.tune {
            return tune(&model, &self.loading.loading());
        }
        let most_mb = self.slot_save_mb;
        let slot_save = self.slot_save_file.map(|file| SlotSave { file, most_mb });
        let options = WorkerOptions {
            model,
            listen: self.listen,
            threads: self.threads,
            context: self.context,
            parallel: self.parallel,
            queue: self.queue,
            lookup: self.lookup,
            alias: self.alias,
            chat_template: self.chat_template_file,
            renderer: Some(this_program()?),
            drain: DEFAULT_DRAIN,
            adapters: self.lora,
            loading: self.loading.loading(),
            slot_save,
            exit_with_stdin: self.exit_with_stdin,
        };
        let runtime = tokio::runtime::Runtime::new()
            .map_err(|source| CliError::Io { what: "the async runtime".to_owned(), source })?;
        runtime.block_on(worker::run(options, tollgate::serve::asked_to_stop()))?;
        Ok(ExitCode::SUCCESS)
    }
}

/// Where this very program is found, even when its file has been replaced.
#[cfg(feature = "embedded")]
fn this_program() -> Result<std::path::PathBuf, CliError> {
    if cfg!(target_os = "linux") {
        return Ok("/proc/self/exe".into());
    }
    std::env::current_exe()
        .map_err(|source| CliError::Io { what: "this program's own path".to_owned(), source })
}

/// Prints the speed with each number of threads, and the best number.
#[cfg(feature = "embedded")]
fn tune(model: &std::path::Path, loading: &tollgate_engine::loading::Loading) -> Result<ExitCode, CliError> {
    use super::output;
    use tollgate_engine::tune;

    let speeds = tune::tune(model, loading)?;
    let rows = speeds.iter().map(|speed| {
        let figures = [speed.read_per_second, speed.written_per_second].map(|speed| format!("{speed:.1}"));
        [vec![speed.threads.to_string()], figures.to_vec()].concat()
    });
    let table = output::table(&["threads", "prompt tokens/s", "answer tokens/s"], 0, rows.collect());
    output::line(&table.to_string())?;
    if let Some(best) = tune::best(&speeds) {
        output::line(&format!("best: --threads {}", best.threads))?;
    }
    Ok(ExitCode::SUCCESS)
}
