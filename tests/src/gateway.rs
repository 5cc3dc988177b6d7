//! A running `tollgate serve`: its address, its log, and the signals a test sends it.

use std::net::SocketAddr;
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;

use rustix::process::{Pid, Signal};
use tokio::io::{AsyncBufReadExt as _, AsyncRead, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::client::Client;
use crate::home::Home;
use crate::metrics::Exposition;
use crate::within;

/// A gateway process; killed when dropped.
#[derive(Debug)]
pub struct Gateway {
    child: Child,
    addr: SocketAddr,
    log: watch::Receiver<String>,
    _readers: JoinSet<()>,
}

impl Gateway {
    pub(crate) async fn start(home: &Home, args: &[&str]) -> Self {
        let command = home.command(&["serve", "--json", "--config", "tollgate.toml", "--data-dir", "data"]);
        Self::spawn(command, args).await
    }

    pub(crate) async fn spawn(mut command: Command, args: &[&str]) -> Self {
        command.args(args).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the tollgate binary runs");
        let (sender, mut log) = watch::channel(String::new());
        let sender = Arc::new(sender);
        let mut readers = JoinSet::new();
        readers.spawn(collect(child.stdout.take().expect("stdout is piped"), Arc::clone(&sender)));
        readers.spawn(collect(child.stderr.take().expect("stderr is piped"), sender));
        let ready = within("the gateway's ready line", log.wait_for(|log| address(log).is_some())).await;
        let addr = ready.ok().and_then(|log| address(&log));
        let Some(addr) = addr else {
            panic!("the gateway ended before it was ready:\n{}", log.borrow().as_str());
        };
        Self { child, addr, log, _readers: readers }
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id().expect("the gateway runs until it is stopped")
    }

    /// From now on no file of its may grow beyond so many bytes, as on a full disk; `None` frees it again. Only of one that
    /// [`Home::serve_on_a_small_disk`] started.
    pub fn limit_files(&self, bytes: Option<u64>) {
        let pid = Pid::from_raw(i32::try_from(self.pid()).expect("process ids are small"));
        let limit = rustix::process::Rlimit { current: bytes, maximum: None };
        rustix::process::prlimit(pid, rustix::process::Resource::Fsize, limit)
            .expect("a child's limits can be set");
    }

    /// A client of it.
    pub fn client(&self) -> Client {
        Client::new(self.addr)
    }

    /// Everything it has written so far, standard output and error together.
    pub fn log(&self) -> String {
        self.log.borrow().clone()
    }

    /// Waits until its log satisfies `reached`.
    pub async fn logged(&self, what: &str, reached: impl FnMut(&String) -> bool) {
        let mut log = self.log.clone();
        let seen = within(what, log.wait_for(reached)).await.is_ok();
        assert!(seen, "the gateway ended before {what}:\n{}", self.log());
    }

    /// What `/metrics` says now.
    pub async fn metrics(&self) -> Exposition {
        Exposition::parse(&self.client().get("/metrics").await.text())
    }

    /// Polls `/metrics` until it satisfies `reached`: for what is counted just after an answer.
    pub async fn metrics_reach(&self, what: &str, reached: impl Fn(&Exposition) -> bool) -> Exposition {
        within(what, async {
            loop {
                let metrics = self.metrics().await;
                if reached(&metrics) {
                    return metrics;
                }
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            }
        })
        .await
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        send(self.pid(), signal);
    }

    /// Ends it as an operator would and returns how it exited.
    pub async fn stop(mut self) -> ExitStatus {
        self.signal(Signal::TERM);
        within("the gateway's exit", self.child.wait()).await.expect("the gateway can be waited for")
    }

    /// Ends it as a crash would.
    pub async fn kill(mut self) {
        within("the gateway's death", self.child.kill()).await.expect("the gateway can be killed");
    }

    /// Waits for an exit that a signal has asked for.
    pub async fn exit(mut self) -> ExitStatus {
        within("the gateway's exit", self.child.wait()).await.expect("the gateway can be waited for")
    }
}

/// Sends a signal to a process that a test knows to be its own.
pub fn send(pid: u32, signal: Signal) {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).expect("a process id is positive");
    rustix::process::kill_process(pid, signal).expect("the process is there to be signalled");
}

async fn collect(stream: impl AsyncRead + Unpin, log: Arc<watch::Sender<String>>) {
    let mut lines = BufReader::new(stream).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        log.send_modify(|log| {
            log.push_str(&line);
            log.push('\n');
        });
    }
}

/// The address in the line that says the gateway is ready: `{"listening": "http://127.0.0.1:40001"}`.
fn address(log: &str) -> Option<SocketAddr> {
    let lines = log.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    let urls = lines.filter_map(|line| line["listening"].as_str().map(str::to_owned));
    urls.filter_map(|url| url.trim_start_matches("http://").parse().ok()).next()
}
