//! A template that is rendered in a process of its own, which may hang, grow or crash without harm: it is then ended, and
//! the request that met it gets an error. The next request finds a new process, and another caller's one that does not hang ([`lanes`](super::lanes)).
//!
//! The process is this same program as `tollgate render-template`. It reads a line of JSON for the template and one for each
//! page, answers each with a line, and ends when its stdin does. Invariant: it never outlives its [`Apart`].

use super::Unrenderable;
use super::lanes::Lanes;
use super::page::{Page, Renderer, Source};
use rustix::process::{Resource, Rlimit, Signal, getrlimit, setrlimit};
use rustix::time::{ClockId, clock_gettime};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;

/// A page takes milliseconds; a process that computes for longer than this hangs. The system counts, so that one which only
/// waits for a busy machine is not taken for one that hangs.
const COMPUTING: Duration = Duration::from_secs(5);
/// For an answer, however little the process computes meanwhile.
const PATIENCE: Duration = Duration::from_secs(180);
/// Most that is read of an answer: far more than any context holds.
const LONGEST: u64 = 64 << 20;
/// Most memory that the process may have, beside its code.
const MEMORY: u64 = 512 << 20;

/// The program's allocator would set aside more than that at once.
const NO_ARENA: (&str, &str) = ("MIMALLOC_ARENA_EAGER_COMMIT", "0");

type Answer = Result<String, String>;

/// A template and the processes that render it.
#[derive(Debug)]
pub(super) struct Apart {
    program: PathBuf,
    source: Source,
    lanes: Lanes<Process>,
}

impl Apart {
    /// Has the template compiled.
    pub(super) fn new(program: PathBuf, source: Source) -> Result<Apart, Unrenderable> {
        let lanes = Lanes::new(Process::of(&program, &source)?);
        Ok(Apart { program, source, lanes })
    }

    /// Has a page of this caller rendered. Blocks until it is; the caller's others wait meanwhile.
    pub(super) fn render(&self, page: &Page, caller: &str) -> Result<String, Unrenderable> {
        let mut lane = self.lanes.enter(caller).map_err(|resting| {
            let seconds = resting.left.as_secs() + 1;
            ended(&format!(
                "hung or crashed {} times in a row for this caller, and is tried again in {seconds} s",
                resting.failures
            ))
        })?;
        // One that ended between two pages, as when the system is short of memory, is no fault of this page.
        let mut process = match lane.process.take().filter(Process::lives) {
            Some(process) => process,
            None => Process::of(&self.program, &self.source)?,
        };
        let answer = process.ask(page);
        match &answer {
            Err(Unrenderable::Ended(why)) => {
                tracing::warn!(why, "the process that renders the chat template was ended");
                lane.note(true);
            }
            Ok(_) | Err(Unrenderable::Refused(_)) => {
                lane.process = Some(process);
                lane.note(false);
            }
        }
        answer
    }
}

/// The process. Dropping it ends it.
#[derive(Debug)]
struct Process {
    child: Child,
    stdin: ChildStdin,
    answers: Receiver<io::Result<Vec<u8>>>,
}

impl Process {
    /// One that has compiled the template.
    fn of(program: &PathBuf, source: &Source) -> Result<Process, Unrenderable> {
        let failed = |error: io::Error| {
            Unrenderable::Ended(format!("the process that renders templates cannot be started: {error}"))
        };
        let mut process = Process::start(program).map_err(failed)?;
        process.ask(source)?;
        Ok(process)
    }

    fn start(program: &PathBuf) -> io::Result<Process> {
        let mut command = Command::new(program);
        command
            .arg("render-template")
            .env(NO_ARENA.0, NO_ARENA.1)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        let mut child = command.spawn()?;
        let (Some(stdin), Some(stdout)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(io::ErrorKind::BrokenPipe.into());
        };
        let (send, answers) = sync_channel(1);
        let process = Process { child, stdin, answers };
        // It ends with the process: nobody else holds the other end of the pipe.
        std::thread::Builder::new()
            .name("template".to_owned())
            .spawn(move || pass_lines(BufReader::new(stdout), &send))?;
        Ok(process)
    }

    fn lives(process: &Process) -> bool {
        // A dead one's pipe is closed, which its reader has noticed.
        matches!(process.answers.try_recv(), Err(std::sync::mpsc::TryRecvError::Empty))
    }

    fn ask(&mut self, what: &impl Serialize) -> Result<String, Unrenderable> {
        let mut line = serde_json::to_vec(what).map_err(|error| Unrenderable::Refused(error.to_string()))?;
        line.push(b'\n');
        self.stdin.write_all(&line).and_then(|()| self.stdin.flush()).map_err(|_| self.crashed())?;
        let answer = match self.answers.recv_timeout(PATIENCE) {
            Ok(Ok(answer)) if answer.ends_with(b"\n") => answer,
            Ok(Ok(answer)) if answer.len() as u64 >= LONGEST => return Err(ended("makes too long a prompt")),
            Err(RecvTimeoutError::Timeout) => {
                return Err(ended(&format!("gives no answer for {} s", PATIENCE.as_secs())));
            }
            Ok(_) | Err(RecvTimeoutError::Disconnected) => return Err(self.crashed()),
        };
        let answer: Answer = serde_json::from_slice(&answer).map_err(|_| self.crashed())?;
        answer.map_err(Unrenderable::Refused)
    }

    /// Why it closed its end, or wrote what is no answer.
    fn crashed(&mut self) -> Unrenderable {
        // Mostly it has ended already, which this does not change.
        let status = self.child.kill().and_then(|()| self.child.wait());
        match status.ok().and_then(|status| status.signal()) {
            Some(signal) if signal == Signal::XCPU.as_raw() => {
                ended(&format!("computes for longer than {} s", COMPUTING.as_secs()))
            }
            _ => ended("needs too much memory, or recurses too deeply"),
        }
    }
}

fn ended(why: &str) -> Unrenderable {
    Unrenderable::Ended(format!("it {why}"))
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Err(error) = self.child.kill().and_then(|()| self.child.wait()) {
            tracing::debug!(%error, "the process that renders templates was gone already");
        }
    }
}

/// Sends every line until there are no more, or nobody wants them.
fn pass_lines(mut from: impl BufRead, to: &SyncSender<io::Result<Vec<u8>>>) {
    loop {
        let mut line = Vec::new();
        let read = from.by_ref().take(LONGEST).read_until(b'\n', &mut line);
        if matches!(read, Ok(0)) || to.send(read.map(|_| line)).is_err() {
            return;
        }
    }
}

/// The other side: what `tollgate render-template` does, until its stdin ends.
///
/// # Errors
/// When what it was given cannot be read, or its answers cannot be written.
pub fn serve() -> io::Result<()> {
    limit()?;
    let (send, lines) = sync_channel(1);
    // A thread of its own, so that the end of stdin ends a rendering that hangs.
    std::thread::Builder::new().name("stdin".to_owned()).spawn(move || {
        pass_input(&send);
        std::process::exit(0);
    })?;
    let next = || -> io::Result<String> {
        let line = lines.recv().map_err(|_| io::Error::from(io::ErrorKind::UnexpectedEof))?;
        allow(COMPUTING)?;
        Ok(line)
    };
    let mut out = io::stdout().lock();
    let renderer = match Renderer::new(read(&next()?)?) {
        Ok(renderer) => {
            answer(&mut out, &Ok(String::new()))?;
            renderer
        }
        Err(refusal) => return answer(&mut out, &Err(refusal)),
    };
    loop {
        answer(&mut out, &renderer.render(read::<Page>(&next()?)?))?;
    }
}

fn pass_input(to: &SyncSender<String>) {
    for line in io::stdin().lock().lines() {
        let Ok(line) = line else { return };
        if to.send(line).is_err() {
            return;
        }
    }
}

fn read<T: DeserializeOwned>(line: &str) -> io::Result<T> {
    serde_json::from_str(line).map_err(io::Error::from)
}

fn answer(out: &mut impl Write, answer: &Answer) -> io::Result<()> {
    let mut line = serde_json::to_vec(answer)?;
    line.push(b'\n');
    out.write_all(&line)?;
    out.flush()
}

/// Bounds the memory of this process, where the system does (Linux). A crash of it is nothing to keep an image of.
fn limit() -> io::Result<()> {
    // What the allocator has reserved counts as well.
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let reserved: u64 = pages.split_whitespace().nth(5).and_then(|pages| pages.parse().ok()).unwrap_or(0);
    let most = MEMORY.saturating_add(reserved.saturating_mul(rustix::param::page_size() as u64));
    bound(Resource::Data, most)?;
    bound(Resource::Core, 0)
}

/// Has the system end this process (SIGXCPU) once it has computed for so long from now, or a second longer: it counts whole ones.
fn allow(time: Duration) -> io::Result<()> {
    let spent = clock_gettime(ClockId::ProcessCPUTime).tv_sec;
    bound(Resource::Cpu, u64::try_from(spent).unwrap_or_default() + time.as_secs() + 1)
}

fn bound(resource: Resource, most: u64) -> io::Result<()> {
    let hard = getrlimit(resource).maximum;
    let most = hard.map_or(most, |hard| hard.min(most));
    setrlimit(resource, Rlimit { current: Some(most), maximum: hard })?;
    Ok(())
}
