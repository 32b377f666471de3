//! The task that holds one shim: its connection, its pidfd, and the requests that wait for an answer.
//!
//! The pidfd decides what is over: a broken connection is made again as long as the shim lives, and the end is told
//! only once the shim itself is gone, so that the next attempt finds the record free.

use std::{
    collections::BTreeMap,
    io,
    os::fd::{AsFd, AsRawFd, OwnedFd},
    time::Duration,
};

use futures::{SinkExt, StreamExt};
use serde::Serialize;
use tokio::{
    net::UnixStream,
    sync::{mpsc, oneshot, watch},
    time::Instant,
};
use tokio_util::{
    codec::{Framed, LinesCodec},
    sync::CancellationToken,
};

use super::{
    Asked, End, Lost, Order, REQUESTS_WAITING, Shim, ShimError, Shims, State, blocking, recover::how_it_ended,
};
use crate::{
    process::{Handle, Identity},
    shim::{
        record::{Files, Record},
        wire::{Exit, MAX_FRAME, Main, PROTOCOL, Reply, Request, Snapshot, encode},
    },
    watched_fd::WatchedFd,
};

/// Requests that a shim has taken and not answered yet.
const UNANSWERED: usize = 64;

/// A request that the shim does not even take within this time breaks the connection.
const TAKE_WITHIN: Duration = Duration::from_secs(5);

/// Between two tries to reach a live shim.
const RECONNECT: Duration = Duration::from_millis(100);

/// A connection to a shim, in frames.
#[derive(Debug)]
pub(super) struct Connection {
    frames: Framed<UnixStream, LinesCodec>,
}

impl Connection {
    pub(super) fn new(stream: UnixStream) -> Self {
        Self { frames: Framed::new(stream, LinesCodec::new_with_max_length(MAX_FRAME)) }
    }

    async fn open(path: &str) -> io::Result<Self> {
        let mut connection = Self::new(UnixStream::connect(path).await?);
        connection.send(&Request::Hello { protocol: PROTOCOL }).await?;
        Ok(connection)
    }

    /// The next frame this build knows; none once the connection is of no more use.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: a part of a frame stays in the buffer.
    pub(super) async fn next(&mut self) -> Option<Reply> {
        loop {
            let line = self.frames.next().await?.ok()?;
            match serde_json::from_str(&line) {
                Ok(Reply::Unknown) => {}
                Ok(reply) => return Some(reply),
                Err(error) => tracing::warn!(%error, "a shim's frame does not decode; skipped"),
            }
        }
    }

    /// Sends to a shim that is up, which takes what it is sent.
    pub(super) async fn send(&mut self, request: &impl Serialize) -> io::Result<()> {
        let sent = tokio::time::timeout(TAKE_WITHIN, self.put(request)).await;
        sent.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?
    }

    /// Sends, however long it takes: a large frame waits for a shim that is still starting.
    pub(super) async fn put(&mut self, request: &impl Serialize) -> io::Result<()> {
        let mut line = String::from_utf8(encode(request)).map_err(io::Error::other)?;
        line.truncate(line.trim_end().len());
        self.frames.send(line).await.map_err(io::Error::other)
    }
}

/// A live shim, as a launch or a recovery hands it over.
pub(super) struct Attached {
    pub(super) files: Files,
    pub(super) record: Record,
    pub(super) process: Handle,
    pub(super) shim: Identity,
    pub(super) connection: Option<Connection>,
    pub(super) main: Option<Main>,
}

pub(super) struct Worker {
    files: Files,
    record: Record,
    /// Its orphans come to this process.
    inherits: bool,
    process: WatchedFd,
    socket: String,
    connection: Option<Connection>,
    reconnect_at: Instant,
    requests: mpsc::Receiver<Asked>,
    unanswered: BTreeMap<u64, oneshot::Sender<Result<(), ShimError>>>,
    last_request: u64,
    state: watch::Sender<State>,
    exit_told: Option<Exit>,
}

/// What the worker woke up for.
enum Woken {
    Shutdown,
    ShimEnded,
    Frame(Option<Reply>),
    Connected(io::Result<Connection>),
    Asked(Option<Asked>),
}

impl Worker {
    /// Starts the task that watches a shim.
    pub(super) fn start(shims: &Shims, attached: Attached) -> Shim {
        let Attached { files, record, process, shim, connection, main } = attached;
        let (requests, asked) = mpsc::channel(REQUESTS_WAITING);
        let initial = main.map_or(State::Attaching, |main| State::Running { main });
        let (state, watched) = watch::channel(initial);
        let handle =
            Shim { id: record.id.clone(), nonce: record.nonce.clone(), identity: shim, requests, state: watched };
        let inherits = process.stat.parent == std::process::id().cast_signed();
        let socket = format!("/proc/self/fd/{}/{}", shims.inner.dir_fd.as_raw_fd(), files.socket());
        let shutdown = shims.inner.shutdown.clone();
        match WatchedFd::new(OwnedFd::from(process)) {
            Ok(process) => {
                let worker = Self {
                    files,
                    record,
                    inherits,
                    process,
                    socket,
                    connection,
                    reconnect_at: Instant::now(),
                    requests: asked,
                    unanswered: BTreeMap::new(),
                    last_request: 0,
                    state,
                    exit_told: None,
                };
                shims.inner.workers.spawn(worker.run(shutdown));
            }
            Err(error) => {
                tracing::error!(%error, id = %record.id, "a shim cannot be watched; the next agent will find it")
            }
        }
        handle
    }

    async fn run(mut self, shutdown: CancellationToken) {
        loop {
            match self.wake(&shutdown).await {
                Woken::Shutdown => return,
                Woken::ShimEnded => return self.settle().await,
                Woken::Frame(Some(reply)) => self.heard(reply),
                Woken::Frame(None) => self.disconnected(),
                Woken::Connected(Ok(connection)) => self.connection = Some(connection),
                Woken::Connected(Err(error)) => {
                    tracing::debug!(%error, id = %self.record.id, "a live shim cannot be reached");
                    self.disconnected();
                }
                Woken::Asked(Some(asked)) => self.ask(asked).await,
                // No handle is left; the process is watched on, for its end is settled here.
                Woken::Asked(None) => self.requests.close(),
            }
        }
    }

    async fn wake(&mut self, shutdown: &CancellationToken) -> Woken {
        let Self { process, connection, socket, reconnect_at, requests, unanswered, .. } = self;
        let takes_requests =
            connection.is_some() && unanswered.len() < UNANSWERED && !(requests.is_closed() && requests.is_empty());
        tokio::select! {
            biased;
            () = shutdown.cancelled() => Woken::Shutdown,
            woken = heard_or_connected(connection, socket, *reconnect_at) => woken,
            _ended = process.readable() => Woken::ShimEnded,
            asked = requests.recv(), if takes_requests => Woken::Asked(asked),
        }
    }

    fn disconnected(&mut self) {
        self.connection = None;
        self.reconnect_at = Instant::now() + RECONNECT;
        let id = &self.record.id;
        for answer in std::mem::take(&mut self.unanswered).into_values() {
            // Who asked may have stopped waiting.
            let _nobody_waits = answer.send(Err(ShimError::NoAnswer(id.clone())));
        }
    }

    async fn ask(&mut self, asked: Asked) {
        self.last_request += 1;
        let id = self.last_request;
        let request = match asked.order {
            Order::Stop => Request::Stop { id },
            Order::Kill => Request::Kill { id },
            Order::Signal(signal) => Request::Signal { id, signal },
            Order::Settings(stop, logs) => Request::Settings { id, stop, logs },
        };
        self.unanswered.insert(id, asked.answer);
        let sent = match &mut self.connection {
            Some(connection) => connection.send(&request).await,
            None => Err(io::ErrorKind::NotConnected.into()),
        };
        if sent.is_err() {
            self.disconnected();
        }
    }

    fn heard(&mut self, reply: Reply) {
        match reply {
            Reply::State(snapshot) => self.state_told(*snapshot),
            Reply::Started { main } => self.become_state(State::Running { main }),
            Reply::Stopping { stuck } => {
                if let Some(main) = self.main() {
                    self.become_state(State::Stopping { main, stuck });
                }
            }
            Reply::Exited { exit } => self.exit_told = Some(exit),
            Reply::Done { id } => self.answer(id, Ok(())),
            Reply::Refused { id, reason } => {
                self.answer(id, Err(ShimError::Refused { id: self.record.id.clone(), reason }))
            }
            // The record holds the failure, and the shim's end makes it be read.
            Reply::Failed { .. } | Reply::Bound { .. } | Reply::Unknown => {}
        }
    }

    fn state_told(&mut self, snapshot: Snapshot) {
        if snapshot.nonce != self.record.nonce {
            tracing::error!(id = %self.record.id, "another shim answers on this replica's socket; not attached");
            return self.disconnected();
        }
        match (snapshot.main, snapshot.stopping) {
            (Some(main), false) => self.become_state(State::Running { main }),
            (Some(main), true) => self.become_state(State::Stopping { main, stuck: snapshot.stuck }),
            (None, _) => {}
        }
    }

    fn main(&self) -> Option<Main> {
        match &*self.state.borrow() {
            State::Running { main } | State::Stopping { main, .. } => Some(main.clone()),
            State::Attaching | State::Ended(_) => None,
        }
    }

    fn become_state(&mut self, next: State) {
        self.state.send_if_modified(|state| {
            let changed = *state != next;
            *state = next;
            changed
        });
    }

    fn answer(&mut self, id: u64, answer: Result<(), ShimError>) {
        if let Some(waiting) = self.unanswered.remove(&id) {
            // Who asked may have stopped waiting.
            let _nobody_waits = waiting.send(answer);
        }
    }

    /// The shim is gone: reap it, end what it left, and say how it came.
    async fn settle(mut self) {
        reap(&self.process);
        while let Some(Some(reply)) =
            self.connection.as_mut().map(Connection::next).and_then(futures::FutureExt::now_or_never)
        {
            self.heard(reply);
        }
        let (files, record, inherits) = (self.files.clone(), self.record.clone(), self.inherits);
        let settled = blocking(move || {
            let record = files.read_record()?.filter(|read| read.nonce == record.nonce).unwrap_or(record);
            how_it_ended(&files, &record, inherits)
        })
        .await;
        let end = match (settled, self.exit_told.take()) {
            (Ok(End::Lost(_)) | Err(_), Some(exit)) => End::Exited(exit),
            (Ok(end), _) => end,
            (Err(error), None) => {
                tracing::error!(%error, id = %self.record.id, "what a dead shim left could not be looked for");
                End::Lost(Lost { leftovers_uncertain: true, ..Lost::default() })
            }
        };
        self.become_state(State::Ended(end));
        for answer in std::mem::take(&mut self.unanswered).into_values() {
            // Who asked may have stopped waiting.
            let _nobody_waits = answer.send(Err(ShimError::Ended(self.record.id.clone())));
        }
    }
}

async fn heard_or_connected(connection: &mut Option<Connection>, socket: &str, reconnect_at: Instant) -> Woken {
    if let Some(connection) = connection {
        return Woken::Frame(connection.next().await);
    }
    tokio::time::sleep_until(reconnect_at).await;
    Woken::Connected(Connection::open(socket).await)
}

/// Takes the shim's exit if it is this process's child; the kernel refuses for others, and then its parent does it.
fn reap(process: &WatchedFd) {
    use rustix::process::{WaitId, WaitIdOptions, waitid};
    let _not_a_child = waitid(WaitId::PidFd(process.as_fd()), WaitIdOptions::EXITED | WaitIdOptions::NOHANG);
}
