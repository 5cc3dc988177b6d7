//! A real PostgreSQL for a test: a cluster of its own in a temporary folder, and a door before it that can be shut.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tempfile::TempDir;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Mutex, watch};
use tokio::task::JoinSet;
use tokio_postgres::{NoTls, SimpleQueryMessage, SimpleQueryRow};

use crate::within;

/// For the server to take connections.
const START: Duration = Duration::from_secs(60);

/// A running server; it ends with the value.
#[derive(Debug)]
pub struct Postgres {
    folder: TempDir,
    port: u16,
    server: Child,
    session: Mutex<Option<Session>>,
}

/// A test's own connection.
#[derive(Debug)]
struct Session {
    client: tokio_postgres::Client,
    _connection: JoinSet<()>,
}

impl Session {
    async fn open(port: u16) -> Self {
        let place = format!("postgres://tollgate@127.0.0.1:{port}/postgres?options=-csearch_path%3Dtollgate");
        let (client, connection) =
            tokio_postgres::connect(&place, NoTls).await.expect("the server takes connections");
        let mut task = JoinSet::new();
        task.spawn(async { drop(connection.await) });
        Self { client, _connection: task }
    }
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
        Self { folder, port, server, session: Mutex::new(None) }
    }

    /// Its address for `[ledger] url`.
    pub fn url(&self) -> String {
        format!("postgres://tollgate@127.0.0.1:{}/postgres", self.port)
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }

    /// Runs a statement; its rows, one a line, their columns apart by `|`. What else the test's thread serves goes on meanwhile.
    pub async fn sql(&self, statement: &str) -> String {
        let mut session = self.session.lock().await;
        if session.as_ref().is_none_or(|session| session.client.is_closed()) {
            *session = Some(within("a connection to PostgreSQL", Session::open(self.port)).await);
        }
        let client = &session.as_ref().expect("it was made above").client;
        let done = within("an answer of PostgreSQL", client.simple_query(statement)).await;
        let messages = done.unwrap_or_else(|error| panic!("{statement}: {error:?}"));
        let rows = messages.iter().filter_map(|message| match message {
            SimpleQueryMessage::Row(row) => Some(row),
            _ => None,
        });
        let columns = |row: &SimpleQueryRow| -> Vec<String> {
            (0..row.len()).map(|column| row.get(column).unwrap_or_default().to_owned()).collect()
        };
        rows.map(|row| columns(row).join("|")).collect::<Vec<_>>().join("\n")
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
