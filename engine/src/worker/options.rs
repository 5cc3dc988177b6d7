//! What a worker is told: the model, where to listen, and how much to do at once.

use crate::EngineError;
use crate::adapters::Adapter;
use crate::loading::Loading;
use crate::slot_save::SlotSave;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// Context per request unless told otherwise.
pub const DEFAULT_CONTEXT: u32 = 4096;
/// Requests worked on at once unless told otherwise.
pub const DEFAULT_PARALLEL: u32 = 4;
/// Requests that may wait unless told otherwise.
pub const DEFAULT_QUEUE: u32 = 64;
/// Tokens guessed at most for each step of a lone answer, unless told otherwise.
pub const DEFAULT_LOOKUP: u32 = 7;
/// How long running answers may go on after the order to stop, unless told otherwise.
pub const DEFAULT_DRAIN: Duration = Duration::from_secs(10);
/// Sequences llama.cpp can hold in one context.
const MOST_PARALLEL: u32 = 256;
/// More threads than this only wait for each other: decoding is bound by memory.
const MOST_DEFAULT_THREADS: usize = 16;

/// How to run a worker. All fields are plain; [`super::Worker::bind`] checks them.
#[derive(Clone, Debug)]
pub struct WorkerOptions {
    /// The GGUF file.
    pub model: PathBuf,
    /// `unix:/path/to/socket` or `address:port` (port 0 picks a free one).
    pub listen: String,
    /// Compute threads; `None` = one for each physical core that this process may use, at most 16.
    pub threads: Option<usize>,
    /// Tokens of prompt and answer together that one request may have. Memory is set aside for all requests at once.
    pub context: u32,
    /// Requests worked on at once.
    pub parallel: u32,
    /// Requests that may wait beyond those; further ones are refused with 503.
    pub queue: u32,
    /// Tokens guessed at most, from what was said before, for each step of an answer that has the engine to itself; 0 =
    /// none. It changes how fast answers are written, not what they say.
    pub lookup: u32,
    /// The model's name in answers; `None` = the file's name without its ending.
    pub alias: Option<String>,
    /// A file with the chat template to use instead of the model's own.
    pub chat_template: Option<PathBuf>,
    /// The `tollgate` program, as which the template is rendered in a process of its own; `None` = in this one, which a hostile template
    /// may then hang or end.
    pub renderer: Option<PathBuf>,
    /// How long running answers may go on after the order to stop.
    pub drain: Duration,
    /// LoRA adapters that requests may ask for, loaded with the model.
    pub adapters: Vec<Adapter>,
    /// How llama.cpp loads the model.
    pub loading: Loading,
    /// Where warm prefixes are kept from one run to the next; `None` = nowhere.
    pub slot_save: Option<SlotSave>,
    /// End when stdin closes. A supervisor holds the other end, so no worker outlives it.
    pub exit_with_stdin: bool,
}

impl WorkerOptions {
    /// Usual options for a model and an address.
    pub fn new(model: impl Into<PathBuf>, listen: impl Into<String>) -> Self {
        Self {
            model: model.into(),
            listen: listen.into(),
            threads: None,
            context: DEFAULT_CONTEXT,
            parallel: DEFAULT_PARALLEL,
            queue: DEFAULT_QUEUE,
            lookup: DEFAULT_LOOKUP,
            alias: None,
            chat_template: None,
            renderer: None,
            drain: DEFAULT_DRAIN,
            adapters: Vec::new(),
            loading: Loading::default(),
            slot_save: None,
            exit_with_stdin: false,
        }
    }

    /// Refuses values that cannot work.
    pub(super) fn check(&self) -> Result<(), EngineError> {
        let wrong = |option, value: u64, reason| {
            Err(EngineError::Option { option, value: value.to_string(), reason })
        };
        if self.threads == Some(0) {
            return wrong("--threads", 0, "at least one thread is needed");
        }
        if self.threads.is_some_and(|threads| threads > 1024) {
            return wrong("--threads", self.threads.unwrap_or_default() as u64, "1024 at most");
        }
        if self.context < 64 {
            return wrong("--context", self.context.into(), "at least 64 tokens are needed");
        }
        if self.parallel == 0 || self.parallel > MOST_PARALLEL {
            return wrong("--parallel", self.parallel.into(), "from 1 to 256");
        }
        if self.context.checked_mul(self.parallel).is_none_or(|cells| i32::try_from(cells).is_err()) {
            return wrong("--context", self.context.into(), "context times parallel is beyond 2^31 tokens");
        }
        self.check_adapters()?;
        if let Some(reason) = self.loading.contradiction() {
            return Err(EngineError::Option {
                option: "--cache-type-v",
                value: self.loading.cache_type_v.name().to_owned(),
                reason,
            });
        }
        Ok(())
    }

    /// Every name means one thing.
    fn check_adapters(&self) -> Result<(), EngineError> {
        let wrong = |name: &str, reason| {
            Err(EngineError::Option { option: "--lora", value: name.to_owned(), reason })
        };
        let own = self.name();
        for (place, Adapter { name, scale, .. }) in self.adapters.iter().enumerate() {
            if let Some(reason) = Adapter::misnamed(name) {
                return wrong(name, reason);
            }
            if !Adapter::scales(*scale) {
                return wrong(name, "its scale is beyond 100");
            }
            if *name == own {
                return wrong(
                    name,
                    "the model itself has this name: give the adapter another, or the model an --alias",
                );
            }
            if self.adapters[..place].iter().any(|earlier| earlier.name == *name) {
                return wrong(name, "two adapters have this name");
            }
        }
        Ok(())
    }

    /// The model's name in answers.
    pub(super) fn name(&self) -> String {
        let stem = || self.model.file_stem().map(|stem| stem.to_string_lossy().into_owned());
        self.alias.clone().or_else(stem).unwrap_or_default()
    }

    /// The threads to compute with.
    pub(super) fn thread_count(&self) -> usize {
        self.threads.unwrap_or_else(|| usable_cores().min(MOST_DEFAULT_THREADS))
    }
}

/// Where to listen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Address {
    Unix(PathBuf),
    Tcp(SocketAddr),
}

impl Address {
    pub(super) fn parse(text: &str) -> Result<Address, EngineError> {
        let wrong = || EngineError::Option {
            option: "--listen",
            value: text.to_owned(),
            reason: "expected unix:/path/to/socket or address:port such as 127.0.0.1:8081",
        };
        match text.strip_prefix("unix:") {
            Some("") => Err(wrong()),
            Some(path) => Ok(Address::Unix(PathBuf::from(path))),
            None => text.parse().map(Address::Tcp).map_err(|_| wrong()),
        }
    }
}

/// Physical cores this process may run on: hardware threads of one core share its arithmetic units, so a second
/// thread there only slows the first.
fn usable_cores() -> usize {
    let logical = std::thread::available_parallelism().map_or(1, usize::from);
    let siblings = (0..1024).map_while(|cpu| {
        std::fs::read_to_string(format!("/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list"))
            .ok()
    });
    match distinct(siblings) {
        0 => logical,
        physical => logical.min(physical),
    }
}

fn distinct(siblings: impl Iterator<Item = String>) -> usize {
    siblings.collect::<std::collections::HashSet<_>>().len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        assert_eq!(Address::parse("unix:/run/a.sock").unwrap(), Address::Unix("/run/a.sock".into()));
        assert_eq!(Address::parse("127.0.0.1:80").unwrap(), Address::Tcp("127.0.0.1:80".parse().unwrap()));
        for wrong in ["unix:", "8080", "localhost:80", ""] {
            let message = Address::parse(wrong).unwrap_err().to_string();
            assert!(message.starts_with("--listen"), "{message}");
        }
    }

    #[test]
    fn impossible_values_are_refused_by_option() {
        let good = || WorkerOptions::new("/models/a.b.gguf", "127.0.0.1:0");
        assert!(good().check().is_ok());
        let cases = [
            (WorkerOptions { threads: Some(0), ..good() }, "--threads = 0"),
            (WorkerOptions { context: 10, ..good() }, "--context = 10"),
            (WorkerOptions { parallel: 0, ..good() }, "--parallel = 0"),
            (WorkerOptions { context: u32::MAX, ..good() }, "--context = 4294967295"),
        ];
        for (options, beginning) in cases {
            let message = options.check().unwrap_err().to_string();
            assert!(message.starts_with(beginning), "{message}");
        }
        assert_eq!(good().name(), "a.b");
        let adapters = |text: &str| text.split(' ').map(|each| each.parse().unwrap()).collect();
        for (options, part) in [("a.b=x.gguf", "--alias"), ("x=x.gguf y=y.gguf x=z.gguf", "two adapters")] {
            let message =
                WorkerOptions { adapters: adapters(options), ..good() }.check().unwrap_err().to_string();
            assert!(message.starts_with("--lora = ") && message.contains(part), "{message}");
        }
    }

    #[test]
    fn hardware_threads_of_one_core_count_once() {
        let list = ["0,4", "1,5", "0,4", "1,5"].map(str::to_owned);
        assert_eq!(distinct(list.into_iter()), 2);
        assert!(usable_cores() >= 1);
    }
}
