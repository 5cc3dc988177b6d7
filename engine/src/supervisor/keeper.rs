//! The process between the gateway and a foreign server: `tollgate keep`.
//!
//! A foreign server knows nothing of a lifeline, so the keeper has it: its stdin is a pipe that the gateway holds, and
//! when that closes (the gateway ended, even by `kill -9`) it ends the server with its whole process group, first by
//! SIGTERM, after a grace by SIGKILL. The server is the keeper's own child, and its group is signalled only while that
//! child has not been reaped, so no stranger can be hit. If the keeper itself is killed, the system ends the server
//! (Linux: the parent-death signal).

use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};

/// Time a server gets to end by itself after SIGTERM.
const GRACE: Duration = Duration::from_secs(5);
/// A shell's code for a command that cannot be run.
const NOT_RUN: u8 = 127;

/// Runs a command until it ends or stdin closes; returns the code to exit with.
///
/// # Errors
/// When the server's process cannot be made or waited for.
pub fn keep(command: &[String]) -> io::Result<u8> {
    let me = std::env::current_exe()?;
    let parent = std::process::id().to_string();
    let mut runner = Command::new(me);
    runner.args(["keep", "--parent", &parent, "--"]).args(command);
    // What servers write to stdout is as much a log as what they write to stderr.
    let log = io::stderr().as_fd().try_clone_to_owned()?;
    let mut child = runner.process_group(0).stdin(Stdio::null()).stdout(log).spawn()?;
    let reaped = Arc::new(Mutex::new(false));
    watch_lifeline(&child, Arc::clone(&reaped))?;
    let status = wait(&mut child, &reaped)?;
    if let Some(signal) = status.signal() {
        writeln!(io::stderr(), "the command was ended by signal {signal}")?;
    }
    Ok(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1))
}

/// Becomes the command, which ends when the keeper does. Returns only if it cannot.
///
/// # Errors
/// When the output cannot be written.
pub fn become_command(parent: u32, command: &[String]) -> io::Result<u8> {
    #[cfg(target_os = "linux")]
    {
        rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
        let alive =
            rustix::process::getppid().is_some_and(|pid| pid.as_raw_nonzero().get().unsigned_abs() == parent);
        if !alive {
            return Ok(NOT_RUN);
        }
    }
    let Some((program, arguments)) = command.split_first() else { return Ok(NOT_RUN) };
    let error = Command::new(program).args(arguments).exec();
    writeln!(io::stderr(), "{program} cannot be started: {error}")?;
    Ok(NOT_RUN)
}

/// Ends the server when stdin closes.
fn watch_lifeline(child: &Child, reaped: Arc<Mutex<bool>>) -> io::Result<()> {
    let group = Pid::from_child(child);
    let end = move || {
        let mut chunk = [0; 64];
        while !matches!(io::stdin().lock().read(&mut chunk), Ok(0) | Err(_)) {}
        for (signal, grace) in [(Signal::TERM, GRACE), (Signal::KILL, Duration::ZERO)] {
            signal_group(group, signal, *reaped.lock());
            std::thread::sleep(grace);
        }
    };
    std::thread::Builder::new().name("lifeline".to_owned()).spawn(end).map(drop)
}

/// Waits for the server, and ends what it left of its group before its number can become another's.
fn wait(child: &mut Child, reaped: &Mutex<bool>) -> io::Result<ExitStatus> {
    let group = Pid::from_child(child);
    while let Err(error) = waitid(WaitId::Pid(group), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT) {
        if error != rustix::io::Errno::INTR {
            return Err(error.into());
        }
    }
    let mut reaped = reaped.lock();
    signal_group(group, Signal::KILL, *reaped);
    *reaped = true;
    child.wait()
}

fn signal_group(group: Pid, signal: Signal, reaped: bool) {
    if !reaped && let Err(error) = kill_process_group(group, signal) {
        tracing::debug!(%error, "the server's process group was gone already");
    }
}
