//! A directory of its own for one gateway: configuration, policies, data, and the commands run there.
//!
//! The environment is cleared of `TOLLGATE_*` save for where the cache and ONNX Runtime are, so that a
//! developer's settings never decide a test.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use tempfile::TempDir;
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

use crate::gateway::Gateway;
use crate::within;

/// Variables that tests inherit.
const INHERITED: [&str; 3] = ["TOLLGATE_CACHE", "TOLLGATE_ONNXRUNTIME", "TOLLGATE_BIN"];

/// One gateway's files.
#[derive(Debug)]
pub struct Home {
    dir: TempDir,
}

/// How a command ended.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The exit code; `None` when a signal ended it.
    pub code: Option<i32>,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Outcome {
    /// Fails the test unless the command exited with 0; returns its output.
    pub fn success(self) -> String {
        assert_eq!(self.code, Some(0), "stdout: {}\nstderr: {}", self.stdout, self.stderr);
        self.stdout
    }

    /// Both streams, for messages that may come on either.
    pub fn said(&self) -> String {
        format!("{}{}", self.stdout, self.stderr)
    }
}

impl Home {
    /// A directory with this `tollgate.toml`.
    pub fn new(config: &str) -> Self {
        let dir = tempfile::Builder::new().prefix("tollgate-it-").tempdir().expect("a temporary directory");
        let home = Self { dir };
        home.write("tollgate.toml", config);
        std::fs::create_dir(home.data()).expect("a fresh directory takes a folder");
        home
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// The data directory.
    pub fn data(&self) -> PathBuf {
        self.path().join("data")
    }

    /// Writes a file, with the folders it needs.
    pub fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path().join(name);
        let folder = path.parent().expect("a file below the home has a folder");
        std::fs::create_dir_all(folder).expect("the home is writable");
        std::fs::write(&path, text).expect("the home is writable");
        path
    }

    /// A `tollgate` command, run in this directory.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(binary());
        for (name, _) in
            std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("TOLLGATE_"))
        {
            if !INHERITED.iter().any(|kept| name == *kept) {
                command.env_remove(name);
            }
        }
        command.args(args).current_dir(self.path()).kill_on_drop(true).stdin(Stdio::null());
        command
    }

    /// Runs `tollgate` with these arguments to its end.
    pub async fn run(&self, args: &[&str]) -> Outcome {
        self.run_with(args, "").await
    }

    /// Runs `tollgate` with these arguments and this standard input to its end.
    pub async fn run_with(&self, args: &[&str], input: &str) -> Outcome {
        let mut command = self.command(args);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the tollgate binary runs");
        let mut stdin = child.stdin.take().expect("stdin is piped");
        let fed = async move {
            // A command that does not read its input closes it early: no fault of the test.
            let _ = stdin.write_all(input.as_bytes()).await;
        };
        let (output, ()) = within(&format!("`tollgate {}`", args.join(" ")), async {
            tokio::join!(child.wait_with_output(), fed)
        })
        .await;
        let output = output.expect("the command can be waited for");
        Outcome {
            code: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Starts the gateway and waits until it is ready.
    pub async fn serve(&self) -> Gateway {
        Gateway::start(self, &[]).await
    }

    /// Starts a gateway whose files a test can keep from growing: to it that is an error like a full disk, and no signal.
    pub async fn serve_on_a_small_disk(&self) -> Gateway {
        let gateway = self.command(&["serve", "--json", "--config", "tollgate.toml", "--data-dir", "data"]);
        let mut shell = Command::new("sh");
        shell.args(["-c", "trap '' XFSZ; exec \"$0\" \"$@\""]);
        shell.arg(gateway.as_std().get_program()).args(gateway.as_std().get_args());
        for (name, value) in gateway.as_std().get_envs() {
            match value {
                Some(value) => shell.env(name, value),
                None => shell.env_remove(name),
            };
        }
        shell.current_dir(self.path()).kill_on_drop(true).stdin(Stdio::null());
        Gateway::spawn(shell, &[]).await
    }

    /// Starts the gateway with further arguments and waits until it is ready.
    pub async fn serve_with(&self, args: &[&str]) -> Gateway {
        Gateway::start(self, args).await
    }
}

/// The binary under test: `TOLLGATE_BIN`, or the one built beside the tests.
pub fn binary() -> PathBuf {
    let path = match std::env::var_os("TOLLGATE_BIN") {
        Some(path) => PathBuf::from(path),
        None => {
            let me = std::env::current_exe().expect("a running test has a path");
            // target/PROFILE/deps/it-HASH: the binary lies one folder up.
            let profile = me.ancestors().find(|folder| folder.join("tollgate").is_file());
            profile.unwrap_or(Path::new("target/debug")).join("tollgate")
        }
    };
    assert!(
        path.is_file(),
        "no tollgate binary at {}: run `cargo build` first, or set TOLLGATE_BIN",
        path.display()
    );
    path
}
