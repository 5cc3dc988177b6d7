//! A real PostgreSQL for a test: a cluster of its own in a temporary folder, and a door before it that can be shut.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tempfile::TempDir;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// For the server to take connections.
const START: Duration = Duration::from_secs(60);

/// A running server; it ends with the value.
#[derive(Debug)]
pub struct Postgres {
    folder: TempDir,
    port: u16,
    server: Child,
}

impl Postgres {
    /// A fresh cluster without data.
    pub fn start() -> Self {
        let folder =
            tempfile::Builder::new().prefix("tollgate-pg-").tempdir().expect("a temporary directory");
        let data = folder.path().join("data");
        if is_root() {
            // The server does not run as root: the folder is the user's that Debian's package makes.
            run(Command::new("chown").arg("postgres").arg(folder.path()));
        }
        let made = as_user("initdb")
            .args(["--auth=trust", "--username=tollgate", "--no-sync", "-D"])
            .arg(&data)
            .output();
        let made = made.expect("initdb runs (scripts/setup.sh test installs PostgreSQL)");
        assert!(made.status.success(), "initdb: {}", String::from_utf8_lossy(&made.stderr));
        let (port, server) = serve(folder.path(), &data, free_port());
        Self { folder, port, server }
    }

    /// Its address for `[ledger] url`.
    pub fn url(&self) -> String {
        format!("postgres://tollgate@127.0.0.1:{}/postgres", self.port)
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }

    /// Runs a statement; what it printed.
    pub fn sql(&self, statement: &str) -> String {
        let port = self.port.to_string();
        let done = tool("psql")
            .args(["-h", "127.0.0.1", "-p", &port, "-U", "tollgate", "-d", "postgres", "-At", "-c"])
            .arg(format!("SET search_path TO tollgate; {statement}"))
            .output()
            .expect("psql runs");
        assert!(done.status.success(), "{statement}: {}", String::from_utf8_lossy(&done.stderr));
        String::from_utf8_lossy(&done.stdout).trim().trim_start_matches("SET").trim().to_owned()
    }

    /// Ends the server at once, as a crash does.
    pub fn crash(&mut self) {
        let data = self.folder.path().join("data");
        run(as_user("pg_ctl").args(["stop", "-m", "immediate", "-D"]).arg(data).stdout(Stdio::null()));
        let _ended = self.server.wait();
    }

    /// Starts it again on the same data and port.
    pub fn restart(&mut self) {
        let data = self.folder.path().join("data");
        (_, self.server) = serve(self.folder.path(), &data, self.port);
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        let data = self.folder.path().join("data");
        let _gone = as_user("pg_ctl").args(["stop", "-m", "immediate", "-D"]).arg(data).output();
        let _ended = self.server.wait();
    }
}

fn serve(folder: &Path, data: &Path, port: u16) -> (u16, Child) {
    let server = as_user("postgres")
        .arg("-D")
        .arg(data)
        .args(["-h", "127.0.0.1", "-p", &port.to_string(), "-c", "max_connections=60", "-k"])
        .arg(folder)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("postgres runs");
    let began = Instant::now();
    let ready = || {
        let args = ["-h", "127.0.0.1", "-p", &port.to_string(), "-q"];
        tool("pg_isready").args(args).status().is_ok_and(|status| status.success())
    };
    while !ready() {
        assert!(began.elapsed() < START, "PostgreSQL did not start");
        std::thread::sleep(Duration::from_millis(50));
    }
    (port, server)
}

/// A way to a server that can be cut, and joined again.
#[derive(Debug)]
pub struct Door {
    addr: SocketAddr,
    open: Arc<watch::Sender<bool>>,
    _task: JoinSet<()>,
}

impl Door {
    /// A door before `server`, open.
    pub async fn before(server: SocketAddr) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
        let addr = listener.local_addr().expect("it is bound");
        let open = Arc::new(watch::channel(true).0);
        let (mut task, state) = (JoinSet::new(), Arc::clone(&open));
        task.spawn(async move {
            let mut passing = JoinSet::new();
            while let Ok((mut client, _)) = listener.accept().await {
                let mut state = state.subscribe();
                passing.spawn(async move {
                    if !*state.borrow_and_update() {
                        return;
                    }
                    let Ok(mut server) = TcpStream::connect(server).await else { return };
                    tokio::select! {
                        _ = copy_bidirectional(&mut client, &mut server) => {}
                        _ = state.wait_for(|open| !open) => {}
                    }
                });
            }
        });
        Self { addr, open, _task: task }
    }

    /// Where it is.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Cuts every connection and lets no other through.
    pub fn shut(&self) {
        self.open.send_replace(false);
    }

    /// Lets connections through again.
    pub fn open(&self) {
        self.open.send_replace(true);
    }
}

/// A command of PostgreSQL's, run as the user that the server runs as.
fn as_user(name: &str) -> Command {
    let path = path_of(name);
    if !is_root() {
        return Command::new(path);
    }
    let mut command = Command::new("setpriv");
    command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups", "--"]).arg(path);
    // The server looks at its working directory, which has to be one it may read.
    command.current_dir("/");
    command
}

fn tool(name: &str) -> Command {
    Command::new(path_of(name))
}

/// Debian keeps them out of `PATH`, by version.
fn path_of(name: &str) -> PathBuf {
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let found =
        versions.map(|version| version.path().join("bin").join(name)).filter(|path| path.exists()).max();
    found.unwrap_or_else(|| PathBuf::from(name))
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

fn run(command: &mut Command) {
    let status = command.status().expect("a base command runs");
    assert!(status.success(), "{command:?}: {status}");
}

fn free_port() -> u16 {
    let probe = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    probe.local_addr().expect("it is bound").port()
}
