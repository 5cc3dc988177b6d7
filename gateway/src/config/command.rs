//! Engines that have a process of Tollgate's: what every one of them can be told, and `kind = "command"`.

use std::time::Duration;

use tollgate_engine::supervisor::Start;
use tollgate_policies::Table;

use super::read::secret;
use super::secret::SecretRef;

/// From a start until the engine must answer, seconds.
const READY_TIMEOUT_S: i64 = 600;
/// Least time that an engine stays before another may push it out, seconds.
const MIN_RESIDENT_S: u64 = 20;
/// What stands for the port in a command.
const PORT: &str = "{port}";

/// How an engine's process is managed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Managed {
    /// When it is started for the first time.
    pub start: Start,
    /// Stopped after so long without a request; `None` = never.
    pub idle_unload: Option<Duration>,
    /// From a start until it must answer.
    pub ready_timeout: Duration,
    /// Memory it is taken to need, megabytes; `None` = told from its model file.
    pub memory_mb: Option<u64>,
}

impl Default for Managed {
    fn default() -> Managed {
        Managed {
            start: Start::Boot,
            idle_unload: None,
            ready_timeout: Duration::from_secs(READY_TIMEOUT_S.unsigned_abs()),
            memory_mb: None,
        }
    }
}

/// What all engines with a process share.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SharedMemory {
    /// What they may take together, megabytes; `None` = no limit.
    pub memory_mb: Option<u64>,
    /// Least time that one stays before another may push it out.
    pub min_resident: Duration,
}

impl Default for SharedMemory {
    fn default() -> SharedMemory {
        SharedMemory { memory_mb: None, min_resident: Duration::from_secs(MIN_RESIDENT_S) }
    }
}

/// `kind = "command"`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandEngine {
    /// Program and arguments, with `{port}` where the port goes.
    pub command: Vec<String>,
    /// Further environment variables.
    pub env: Vec<(String, EnvValue)>,
    /// The path that answers 2xx once the server is ready.
    pub health: String,
    /// Where its API key is, if it wants one.
    pub api_key: Option<SecretRef>,
    /// How its process is managed.
    pub managed: Managed,
}

/// The value of an environment variable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EnvValue {
    /// As written.
    Plain(String),
    /// Kept elsewhere.
    Secret(SecretRef),
}

/// Reads what every managed engine can be told.
pub(super) fn managed(table: &Table<'_>) -> Managed {
    let seconds = |key, range| {
        let seconds = table.opt_integer(key, range).and_then(|seconds| u64::try_from(seconds).ok());
        seconds.map(Duration::from_secs)
    };
    let usual = Managed::default();
    Managed {
        start: table
            .opt_one_of("start", &[("boot", Start::Boot), ("demand", Start::Demand)])
            .unwrap_or_default(),
        idle_unload: seconds("idle_unload_s", 1..=31_536_000),
        ready_timeout: seconds("ready_timeout_s", 1..=86_400).unwrap_or(usual.ready_timeout),
        memory_mb: megabytes(table),
    }
}

/// `memory_mb` of an engine, or of all together.
pub(super) fn megabytes(table: &Table<'_>) -> Option<u64> {
    table.opt_integer("memory_mb", 1..=1_000_000_000).and_then(|megabytes| u64::try_from(megabytes).ok())
}

/// Reads a command; where memory is limited it must say how much it needs.
pub(super) fn command(table: &Table<'_>, ceiling: bool) -> Option<CommandEngine> {
    let managed = managed(table);
    let health = table.opt_string("health").unwrap_or_else(|| "/health".to_owned());
    if !health.starts_with('/') || !health.bytes().all(|byte| byte.is_ascii_graphic()) {
        let help = "the path alone, for example \"/health\" or \"/v1/models\"".to_owned();
        table.problem("health", format!("{health:?} is not a path of the server"), Some(help));
    }
    let api_key = table.opt_string("api_key").and_then(|text| secret(table, "api_key", "the key", &text));
    let env = environment(table);
    if ceiling && managed.memory_mb.is_none() {
        let help = "[engines] memory_mb limits all engines together, and a command's need cannot be told from outside";
        table.problem("kind", "an engine of kind \"command\" needs `memory_mb` here", Some(help.to_owned()));
    }
    let command = table.strings("command")?;
    if command.first().is_none_or(String::is_empty) {
        let help = "for example [\"llama-server\", \"-m\", \"big.gguf\", \"--port\", \"{port}\"]".to_owned();
        table.problem("command", "`command` names no program", Some(help));
        return None;
    }
    let plain = env.iter().filter_map(|(_, value)| match value {
        EnvValue::Plain(text) => Some(text),
        EnvValue::Secret(_) => None,
    });
    if !command.iter().chain(plain).any(|word| word.contains(PORT)) {
        let help = "Tollgate chooses a free port: write {port} where the server takes it, for example \"--port\", \"{port}\", \
                    or in env, for example OLLAMA_HOST = \"127.0.0.1:{port}\"";
        table.problem("command", "`command` has no {port}", Some(help.to_owned()));
        return None;
    }
    Some(CommandEngine { command, env, health, api_key, managed })
}

fn environment(table: &Table<'_>) -> Vec<(String, EnvValue)> {
    let Some(env) = table.opt_table("env") else { return Vec::new() };
    let mut variables = Vec::new();
    for name in env.keys() {
        let Some(text) = env.opt_string(name) else { continue };
        let value = SecretRef::parse(&text).map_or_else(|| EnvValue::Plain(text.clone()), EnvValue::Secret);
        variables.push((name.to_owned(), value));
    }
    env.finish();
    variables
}

#[cfg(test)]
mod tests {
    use super::super::read::document;
    use super::super::{Engine, EngineKind};
    use super::*;
    use std::path::Path;

    fn read(engine: &str, more: &str) -> Result<Vec<Engine>, String> {
        let model = "[[model]]\nname = \"m\"\nengine = \"big\"\nprice = { input = 1, output = 1 }\n";
        let text = format!("{more}\n[[engine]]\nname = \"big\"\nkind = \"command\"\n{engine}\n{model}");
        document("t.toml", &text, Path::new(""))
            .map(|raw| raw.engines)
            .map_err(|problems| problems.to_string())
    }

    #[test]
    fn a_command_is_read_with_its_environment() {
        let engines = read(
            "command = [\"serve\", \"{port}\"]\nenv = { A = \"1\", B = \"env:C\" }\nstart = \"demand\"\nidle_unload_s = 30",
            "",
        );
        let engines = engines.unwrap();
        let EngineKind::Command(command) = &engines[0].kind else { unreachable!() };
        assert_eq!(command.health, "/health");
        assert_eq!(
            (command.managed.start, command.managed.idle_unload),
            (Start::Demand, Some(Duration::from_secs(30)))
        );
        assert_eq!(command.env[0], ("A".to_owned(), EnvValue::Plain("1".to_owned())));
        assert_eq!(command.env[1].1, EnvValue::Secret(SecretRef::Env("C".to_owned())));
    }

    #[test]
    fn what_is_wrong_comes_with_what_to_do() {
        let cases = [
            ("command = [\"serve\"]", "", "write {port} where"),
            ("command = []", "", "names no program"),
            ("command = [\"a\", \"{port}\"]\nhealth = \"health\"", "", "is not a path"),
            ("command = [\"a\", \"{port}\"]\nready_timeout = 3", "", "ready_timeout_s"),
            ("command = [\"a\", \"{port}\"]\nstart = \"demnd\"", "", "demand"),
            ("command = [\"a\", \"{port}\"]", "[engines]\nmemory_mb = 100", "needs `memory_mb`"),
            ("", "", "command"),
        ];
        for (engine, more, part) in cases {
            let said = read(engine, more).unwrap_err();
            assert!(said.contains(part), "{said}");
        }
    }
}
