//! The agent's half of supervision: start a shim for each process, find the shims again after a restart, talk to them.
//!
//! A [`Shims`] owns a run directory. For each replica it holds a record, which its live shim keeps locked, a socket, and
//! for each attempt that has ended an exit file. Everything an agent must know to take over is there or in the shims:
//!
//! ```text
//! launch  --> Shim (Running) ... --> Ended(Exited | Lost)        --> forget
//! recover --> Live(Shim), or Ended(Exited | NeverStarted | Lost) --> forget
//! ```
//!
//! The state of a shim is a level, not an event: whoever watches it late sees where it stands. Dropping the [`Shims`],
//! or killing the agent, ends no process.

mod launch;
mod leftovers;
mod recover;
mod worker;

use std::{
    ffi::OsString,
    io,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

pub use self::recover::Recovered;
pub use crate::shim::wire::{
    Definition, Exit, KillMode, LogSettings, Main, ShimId, StartFailure, StartFailureKind, StopPolicy, Stuck,
};
use crate::{
    process::Identity,
    shim::record::{Files, is_file_name},
    signal::Signal,
};

/// How long a shim may take to answer one request.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// Requests to one shim that wait for it.
const REQUESTS_WAITING: usize = 16;

/// The program that is a shim when started with these arguments and then the run directory, the uid and the attempt.
#[derive(Clone, Debug)]
pub struct ShimProgram {
    /// The binary.
    pub path: PathBuf,
    /// What makes it branch into [`crate::shim::main`].
    pub args: Vec<OsString>,
}

impl ShimProgram {
    /// The running binary itself, also when its file has been replaced since.
    pub fn this_binary(args: impl IntoIterator<Item = impl Into<OsString>>) -> Self {
        Self { path: "/proc/self/exe".into(), args: args.into_iter().map(Into::into).collect() }
    }
}

/// What to start.
#[derive(Clone, Debug)]
pub struct Launch {
    /// Whose start it is.
    pub id: ShimId,
    /// Random, new for each start, printable: the proof of identity and the marker in the processes' environment.
    pub nonce: String,
    /// What runs.
    pub definition: Definition,
}

/// Why a launch gave no process.
#[derive(Debug, thiserror::Error)]
pub enum LaunchError {
    /// The program was not started; the failure says whether another try may help.
    #[error(transparent)]
    Start(#[from] StartFailure),
    /// A shim of this replica is alive, or another agent is starting one.
    #[error("replica {} is held by a live shim already", id.uid)]
    Held {
        /// Which.
        id: ShimId,
    },
    /// Its record could not be made.
    #[error("could not write the record of {id}")]
    Record {
        /// Which.
        id: ShimId,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The shim itself could not be started.
    #[error("could not start the shim {}", program.display())]
    Spawn {
        /// Which program.
        program: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The shim ended or was silent before it said that the process runs; nothing of it is left.
    #[error("the shim of {id} {problem}")]
    Broken {
        /// Which.
        id: ShimId,
        /// What it did.
        problem: &'static str,
    },
    /// The agent is ending.
    #[error("the agent is ending")]
    ShuttingDown,
}

impl LaunchError {
    /// Whether another try of the same definition may succeed.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Start(failure) => failure.kind.is_retryable(),
            Self::Held { .. } | Self::Record { .. } | Self::Spawn { .. } | Self::Broken { .. } | Self::ShuttingDown => {
                true
            }
        }
    }
}

/// Why a shim did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum ShimError {
    /// The process has ended.
    #[error("{0} has ended")]
    Ended(ShimId),
    /// The shim said no.
    #[error("the shim of {id} refused: {reason}")]
    Refused {
        /// Which.
        id: ShimId,
        /// Its words.
        reason: String,
    },
    /// No answer in time, or the connection broke before it; the request may have been carried out.
    #[error("the shim of {0} gave no answer")]
    NoAnswer(ShimId),
}

/// Where a shim's process stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// The shim is alive and has not answered yet.
    Attaching,
    /// The process runs.
    Running {
        /// It.
        main: Main,
    },
    /// It is being ended.
    Stopping {
        /// It.
        main: Main,
        /// What does not end, and why.
        stuck: Vec<Stuck>,
    },
    /// Nothing of it runs any more.
    Ended(End),
}

/// How a shim's process came to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// As its shim saw it.
    Exited(Exit),
    /// It never ran; the failure is known unless the agent died before the shim was there. Only after a restart of the agent.
    NeverStarted(Option<StartFailure>),
    /// The shim died before it could say.
    Lost(Lost),
}

/// A shim died, its process with it, and what was left has been ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lost {
    /// How the main process had ended, where it had before the shim died.
    pub exit: Option<Exit>,
    /// What could not be ended.
    pub stuck: Vec<Stuck>,
    /// Something may be left that cannot be found: it cleared its environment while no parent of this agent watched.
    pub leftovers_uncertain: bool,
}

/// The shims of one run directory. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Shims {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    dir: PathBuf,
    /// Sockets are reached through it, so that the length of `dir` does not matter.
    dir_fd: OwnedFd,
    program: ShimProgram,
    workers: TaskTracker,
    shutdown: CancellationToken,
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}

impl Shims {
    /// Opens the run directory, made with mode 0700 if it is not there, and makes this process the one that inherits
    /// the children of dead shims.
    ///
    /// # Errors
    ///
    /// The directory cannot be made or opened.
    pub fn new(run_dir: impl AsRef<Path>, program: ShimProgram) -> io::Result<Self> {
        let dir = std::path::absolute(run_dir)?;
        let dir_fd = crate::shim::record::open_dir(&dir)?;
        rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?;
        let inner = Inner { dir, dir_fd, program, workers: TaskTracker::new(), shutdown: CancellationToken::new() };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Starts a process under a shim of its own and returns when its program runs.
    ///
    /// # Errors
    ///
    /// See [`LaunchError`]; whichever it is, nothing runs and no record is left.
    ///
    /// # Cancel safety
    ///
    /// The launch goes on in a task of its own; dropped, its shim is found by [`Shims::recover`].
    pub async fn launch(&self, launch: Launch) -> Result<Shim, LaunchError> {
        if self.inner.shutdown.is_cancelled() {
            return Err(LaunchError::ShuttingDown);
        }
        let task = self.inner.workers.spawn(launch::launch(self.clone(), launch));
        task.await.unwrap_or(Err(LaunchError::ShuttingDown))
    }

    /// What an earlier agent left in the run directory: live shims are attached, what dead shims left is ended.
    ///
    /// To be called once, before the first launch. Everything but `Live` stays to be found until it is forgotten.
    ///
    /// # Errors
    ///
    /// The directory or `/proc` cannot be read.
    pub async fn recover(&self) -> io::Result<Vec<Recovered>> {
        recover::recover(self).await
    }

    /// Removes what is kept of an attempt that has ended, once its end is safe elsewhere. Doing it again does nothing.
    ///
    /// # Errors
    ///
    /// The files cannot be removed.
    pub async fn forget(&self, id: &ShimId) -> io::Result<()> {
        if !is_file_name(&id.uid) {
            // None was ever launched.
            return Ok(());
        }
        let (files, attempt) = (self.files(&id.uid), id.attempt);
        blocking(move || {
            files.remove_exit(attempt)?;
            match files.lock_settled(false)? {
                Some(locked) if locked.is_of(attempt) => files.remove_record(&locked),
                Some(_) | None => Ok(()),
            }
        })
        .await
    }

    /// Lets go of all shims and waits for the tasks that watched them; the processes run on.
    pub async fn shutdown(&self) {
        self.inner.shutdown.cancel();
        self.inner.workers.close();
        self.inner.workers.wait().await;
    }

    fn files(&self, uid: &str) -> Files {
        Files::new(&self.inner.dir, uid)
    }
}

/// One shim and its process. Cheap to clone; dropping it ends nothing.
#[derive(Clone, Debug)]
pub struct Shim {
    id: ShimId,
    nonce: String,
    identity: Identity,
    requests: mpsc::Sender<Asked>,
    state: watch::Receiver<State>,
}

/// What a shim can be asked for.
#[derive(Debug)]
enum Order {
    Stop,
    Kill,
    Signal(Signal),
    Settings(StopPolicy, LogSettings),
}

#[derive(Debug)]
struct Asked {
    order: Order,
    answer: oneshot::Sender<Result<(), ShimError>>,
}

impl Shim {
    /// Whose it is.
    pub fn id(&self) -> &ShimId {
        &self.id
    }

    /// The nonce of its start.
    pub fn nonce(&self) -> &str {
        &self.nonce
    }

    /// The shim's own process.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// Where its process stands now.
    pub fn state(&self) -> State {
        self.state.borrow().clone()
    }

    /// The same as it changes. The sender goes when the [`Shims`] shut down; that is no end of the process.
    pub fn watch(&self) -> watch::Receiver<State> {
        self.state.clone()
    }

    /// Waits until nothing of it runs any more; none when the [`Shims`] shut down before.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn ended(&self) -> Option<End> {
        let mut state = self.state.clone();
        let ended = state.wait_for(|state| matches!(state, State::Ended(_))).await.ok()?;
        match &*ended {
            State::Ended(end) => Some(end.clone()),
            State::Attaching | State::Running { .. } | State::Stopping { .. } => None,
        }
    }

    /// Begins to end the process as its stop policy says, and returns when that is under way. Asking again changes nothing.
    ///
    /// # Errors
    ///
    /// See [`ShimError`]. `Ended` is what was wanted.
    pub async fn stop(&self) -> Result<(), ShimError> {
        self.ask(Order::Stop).await
    }

    /// Ends the process and all below it without asking them.
    ///
    /// # Errors
    ///
    /// See [`ShimError`]. `Ended` is what was wanted.
    pub async fn kill(&self) -> Result<(), ShimError> {
        self.ask(Order::Kill).await
    }

    /// Sends one signal to the main process.
    ///
    /// # Errors
    ///
    /// See [`ShimError`].
    pub async fn signal(&self, signal: Signal) -> Result<(), ShimError> {
        self.ask(Order::Signal(signal)).await
    }

    /// Changes how it is stopped and how much of its logs is kept, without touching the process.
    ///
    /// # Errors
    ///
    /// See [`ShimError`].
    pub async fn update_settings(&self, stop: StopPolicy, logs: LogSettings) -> Result<(), ShimError> {
        self.ask(Order::Settings(stop, logs)).await
    }

    async fn ask(&self, order: Order) -> Result<(), ShimError> {
        let (answer, answered) = oneshot::channel();
        let asked = async {
            self.requests.send(Asked { order, answer }).await.map_err(|_| self.gone())?;
            answered.await.map_err(|_| self.gone())?
        };
        tokio::time::timeout(ANSWER_WITHIN, asked).await.unwrap_or_else(|_| Err(ShimError::NoAnswer(self.id.clone())))
    }

    fn gone(&self) -> ShimError {
        match *self.state.borrow() {
            State::Ended(_) => ShimError::Ended(self.id.clone()),
            State::Attaching | State::Running { .. } | State::Stopping { .. } => ShimError::NoAnswer(self.id.clone()),
        }
    }
}

/// Runs file system and process calls off the async threads.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)?
}
