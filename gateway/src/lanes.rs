//! Lanes: a thread for each core, with a runtime of its own, on which a connection stays from its first byte to its
//! last.
//!
//! A request touches its client's socket, an engine's and the ledger. When all its tasks run on one thread, none of
//! them has to wake another core, and nothing is stolen back and forth; each lane keeps connections to the engines of
//! its own for the same reason ([`PerLane`]). The price: the streams of one HTTP/2 connection share one core.

use std::cell::Cell;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot};

/// Connections given to a lane that it has not taken yet, before accepting more waits.
const GIVEN: usize = 64;

thread_local! {
    /// Which lane this thread is; 0 for all that are none.
    static LANE: Cell<usize> = const { Cell::new(0) };
}

/// How many lanes there are: as many as cores this process may use.
fn count() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// A value for each lane, and one for all threads that are none.
#[derive(Debug)]
pub(crate) struct PerLane<T>(Box<[T]>);

impl<T> PerLane<T> {
    /// Makes each lane's value.
    pub(crate) fn new(make: impl Fn() -> T) -> PerLane<T> {
        PerLane((0..=count()).map(|_| make()).collect())
    }

    /// This thread's.
    pub(crate) fn here(&self) -> &T {
        let lane = LANE.get();
        &self.0[if lane < self.0.len() { lane } else { 0 }]
    }
}

/// The running lanes.
#[derive(Debug)]
pub(crate) struct Lanes(Vec<Lane>);

#[derive(Debug)]
struct Lane {
    sockets: mpsc::Sender<Socket>,
    open: Arc<AtomicUsize>,
    ended: oneshot::Receiver<()>,
}

/// A connection that was given to a lane, as long as it is open.
#[derive(Debug)]
pub(crate) struct Socket {
    stream: std::net::TcpStream,
    open: Open,
}

/// Counts a connection of a lane until it is dropped.
#[derive(Debug)]
pub(crate) struct Open(Arc<AtomicUsize>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Socket {
    /// The connection on this lane's runtime, and what is dropped when it ends.
    ///
    /// # Errors
    /// What the system says when it cannot be watched.
    pub(crate) fn take(self) -> std::io::Result<(TcpStream, Open)> {
        Ok((TcpStream::from_std(self.stream)?, self.open))
    }
}

impl Lanes {
    /// Starts all lanes: each runs `work` on the sockets it is given, until it is given no more.
    ///
    /// # Errors
    /// When the system has no more threads or files.
    pub(crate) fn start<F, Fut>(work: F) -> std::io::Result<Lanes>
    where
        F: Fn(mpsc::Receiver<Socket>) -> Fut + Clone + Send + 'static,
        Fut: Future<Output = ()>,
    {
        let lane = |number| {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            let (sockets, given) = mpsc::channel(GIVEN);
            let (end, ended) = oneshot::channel();
            let work = work.clone();
            let run = move || {
                LANE.set(number);
                runtime.block_on(work(given));
                // What is left of the runtime's tasks (idle connections to engines) ends here.
                drop(runtime);
                let _nobody_waits = end.send(());
            };
            std::thread::Builder::new().name(format!("lane-{number}")).spawn(run)?;
            Ok(Lane { sockets, open: Arc::default(), ended })
        };
        (1..=count()).map(lane).collect::<std::io::Result<_>>().map(Lanes)
    }

    /// Gives a connection to the lane with the fewest.
    ///
    /// # Errors
    /// When the socket cannot be moved, or its lane has died.
    pub(crate) async fn give(&self, socket: TcpStream) -> std::io::Result<()> {
        let stream = socket.into_std()?;
        let load = |lane: &&Lane| lane.open.load(Ordering::Relaxed);
        let lane = self.0.iter().filter(|lane| !lane.sockets.is_closed()).min_by_key(load);
        let lane = lane.ok_or_else(|| std::io::Error::other("all threads that answer have died"))?;
        lane.open.fetch_add(1, Ordering::Relaxed);
        let socket = Socket { stream, open: Open(Arc::clone(&lane.open)) };
        lane.sockets.send(socket).await.map_err(|_| std::io::Error::other("a thread that answers has died"))
    }

    /// Gives no more, and waits until the lanes have ended.
    pub(crate) async fn finish(self) {
        let (sockets, ended): (Vec<_>, Vec<_>) =
            self.0.into_iter().map(|lane| (lane.sockets, lane.ended)).unzip();
        drop(sockets);
        for lane in ended {
            if lane.await.is_err() {
                tracing::error!("a thread that answers requests died of a panic");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    /// Each lane tells every client its number, and keeps the connection until the client goes.
    async fn tell(mut given: mpsc::Receiver<Socket>, numbers: Arc<PerLane<usize>>) {
        let mut open = tokio::task::JoinSet::new();
        while let Some(socket) = given.recv().await {
            let number = *numbers.here() as u8;
            open.spawn(async move {
                let (mut stream, _open) = socket.take().unwrap();
                stream.write_all(&[number]).await.unwrap();
                let _gone = stream.read_u8().await;
            });
        }
        open.join_all().await;
    }

    #[tokio::test]
    async fn connections_are_spread_and_each_lane_has_its_own() {
        let next = AtomicUsize::new(0);
        let numbers = Arc::new(PerLane::new(|| next.fetch_add(1, Ordering::Relaxed)));
        assert_eq!(*numbers.here(), 0, "this thread is no lane");
        let lanes = Lanes::start(move |given| tell(given, Arc::clone(&numbers))).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut clients = Vec::new();
        let mut met = vec![0; count() + 1];
        for _ in 0..2 * count() {
            let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
            lanes.give(listener.accept().await.unwrap().0).await.unwrap();
            met[client.read_u8().await.unwrap() as usize] += 1;
            clients.push(client);
        }
        assert_eq!(met[0], 0);
        assert!(met[1..].iter().all(|times| *times == 2), "{met:?}");
        drop(clients);
        lanes.finish().await;
    }
}
