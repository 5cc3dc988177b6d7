//! One process: its command line, its stdin as lifeline, and the last words on its stderr.

use super::{Address, CommandLine, Embedded, EngineSpec, Program};
use crate::adapters::Adapter;
use crate::slot_save::SlotSave;
use std::collections::VecDeque;
use std::io;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::process::{Child, ChildStderr, ChildStdin, Command};

/// How much of the process's stderr is kept for messages.
const TAIL_BYTES: usize = 4096;
/// How many of its last lines a message quotes.
const TAIL_LINES: usize = 3;
/// Time a process gets to end by itself once its stdin is closed; a keeper needs a few seconds of it.
const STOP_GRACE: Duration = Duration::from_secs(8);

/// A running process. Dropping it kills it.
#[derive(Debug)]
pub(super) struct Worker {
    child: Child,
    /// Held only to be closed: the process ends when it reads the end of this pipe.
    lifeline: Option<ChildStdin>,
    stderr: Option<ChildStderr>,
    tail: Tail,
    /// A kept command is ended by its keeper, which must live to do it.
    kept: bool,
}

impl Worker {
    /// Starts the process, to answer at `address`.
    pub(super) fn spawn(spec: &EngineSpec, address: &Address) -> io::Result<Worker> {
        let (mut command, kept) = match &spec.program {
            Program::Embedded(embedded) => (worker(spec, embedded, address), false),
            Program::Command(line) => (keeper(line, address), true),
        };
        // Its own group: what a terminal sends to the gateway's must not end it before the requests have.
        command.process_group(0);
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn()?;
        let (lifeline, stderr) = (child.stdin.take(), child.stderr.take());
        Ok(Worker { child, lifeline, stderr, tail: Tail::default(), kept })
    }

    /// Waits until the process has ended, reading its stderr meanwhile. Safe to cancel and call again.
    pub(super) async fn ended(&mut self, name: &str) -> String {
        let status = loop {
            let Some(stderr) = &mut self.stderr else { break self.child.wait().await };
            let mut chunk = [0; 1024];
            tokio::select! {
                // First what it wrote, then its end: the last words matter.
                biased;
                read = stderr.read(&mut chunk) => match read {
                    Ok(0) | Err(_) => self.stderr = None,
                    Ok(n) => self.tail.push(name, chunk.get(..n).unwrap_or_default()),
                },
                status = self.child.wait() => break status,
            }
        };
        self.last_words(status)
    }

    /// Closes the lifeline, waits for a while, then kills.
    pub(super) async fn stop(&mut self, name: &str) {
        self.lifeline = None;
        if tokio::time::timeout(STOP_GRACE, self.ended(name)).await.is_err() {
            tracing::warn!(engine = name, "the process did not stop by itself and is killed");
            self.force().await;
        }
    }

    /// Ends a process that hangs, and waits for its end.
    pub(super) async fn kill(&mut self, name: &str) {
        if self.kept { self.stop(name).await } else { self.force().await }
    }

    async fn force(&mut self) {
        if let Err(error) = self.child.kill().await {
            tracing::debug!(%error, "the process was gone before it could be killed");
        }
    }

    /// The last lines it wrote.
    pub(super) fn last_lines(&self) -> String {
        self.tail.last_lines()
    }

    fn last_words(&self, status: io::Result<ExitStatus>) -> String {
        let ending = match status {
            Ok(status) => format!("the process ended with {status}"),
            Err(error) => format!("the process cannot be waited for: {error}"),
        };
        match self.tail.last_lines() {
            words if words.is_empty() => ending,
            words => format!("{ending}: {words}"),
        }
    }
}

/// The command line of a llama.cpp worker.
fn worker(spec: &EngineSpec, embedded: &Embedded, address: &Address) -> Command {
    let listen = match address {
        Address::Unix(socket) => format!("unix:{}", socket.display()),
        Address::Tcp(address) => address.to_string(),
    };
    let mut command = Command::new(&embedded.exe);
    command.arg("engine").arg("--model").arg(&embedded.model).args(["--listen", &listen]);
    command.args(["--context", &embedded.context.to_string(), "--parallel", &embedded.parallel.to_string()]);
    if let Some(threads) = embedded.threads {
        command.args(["--threads", &threads.to_string()]);
    }
    if !embedded.adapters.is_empty() {
        command.args(["--alias", &spec.name]).args(embedded.adapters.iter().flat_map(Adapter::arguments));
    }
    if let Some(most_mb) = embedded.slot_save_mb {
        command.args(SlotSave { file: spec.slot_file(), most_mb }.arguments());
    }
    command.args(embedded.loading.arguments()).arg("--exit-with-stdin");
    wait_in_the_kernel(&mut command);
    command
}

/// Threads that spin at every barrier while another process has their core make answers ten times slower, and several
/// engines on one machine do just that to each other. Waiting in the kernel costs an idle machine little.
fn wait_in_the_kernel(command: &mut Command) {
    if std::env::var_os("OMP_WAIT_POLICY").is_none() {
        command.env("OMP_WAIT_POLICY", "passive");
    }
}

/// The command line of a keeper of a foreign server.
fn keeper(line: &CommandLine, address: &Address) -> Command {
    let port = match address {
        Address::Tcp(address) => address.port().to_string(),
        Address::Unix(_) => String::new(),
    };
    let mut command = Command::new(&line.exe);
    wait_in_the_kernel(&mut command);
    command.args(["keep", "--"]).args(line.command.iter().map(|word| word.replace("{port}", &port)));
    command.envs(line.env.iter().map(|(name, value)| (name, value.replace("{port}", &port))));
    command
}

/// The end of what the process wrote to stderr, and the line being written.
#[derive(Debug, Default)]
struct Tail {
    bytes: VecDeque<u8>,
    line: Vec<u8>,
}

impl Tail {
    fn push(&mut self, name: &str, chunk: &[u8]) {
        for &byte in chunk {
            if byte == b'\n' || self.line.len() >= TAIL_BYTES {
                tracing::debug!(engine = name, "{}", String::from_utf8_lossy(&self.line));
                self.line.clear();
            } else {
                self.line.push(byte);
            }
        }
        self.bytes.extend(chunk);
        let excess = self.bytes.len().saturating_sub(TAIL_BYTES);
        self.bytes.drain(..excess);
    }

    fn last_lines(&self) -> String {
        let bytes: Vec<u8> = self.bytes.iter().copied().collect();
        let text = String::from_utf8_lossy(&bytes);
        let mut lines: Vec<&str> =
            text.lines().map(str::trim).filter(|l| !l.is_empty()).rev().take(TAIL_LINES).collect();
        lines.reverse();
        lines.join(" | ")
    }
}

/// A file name for an engine's socket: its name with anything unusual replaced, short enough for a socket address.
pub(super) fn socket_name(name: &str) -> String {
    let safe = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.') { c } else { '_' };
    name.chars().take(40).map(safe).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tail_keeps_the_last_lines_only() {
        let mut tail = Tail::default();
        for n in 0..2000 {
            tail.push("test", format!("line {n}\n\n").as_bytes());
        }
        tail.push("test", b"half a line \xff");
        assert_eq!(tail.last_lines(), "line 1998 | line 1999 | half a line \u{fffd}");
        assert!(tail.bytes.len() <= TAIL_BYTES);
    }

    #[test]
    fn socket_names_stay_inside_their_directory() {
        assert_eq!(socket_name("../moe v2"), ".._moe_v2");
        assert_eq!(socket_name(&"x".repeat(200)).len(), 40);
    }
}
