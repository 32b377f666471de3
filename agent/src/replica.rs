//! One replica on this machine: a task that keeps its process as its newest definition says.
//!
//! ```text
//!            launch                 runs                      ends
//! Waiting ──────────▶ Starting ──────────▶ Running ──────────────────────▶ Waiting   (a service: again, after a delay)
//!    │                    │                   │                      └───▶ Over      (an attempt of a Run, or stopped)
//!    └──── stop ──────────┴────── stop ───────┘
//! ```
//!
//! Its record is written before anything is done, so that whoever comes after a crash knows at least as much. What a
//! server must know is put into the outbox; what it has been told is not asked again.

mod restart;
mod translate;

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use orion_model::{Randomness, ResourceVersion, Timestamp};
use orion_types::{
    protocol::{Ack, Definition, FromAgent, Stale, StatusReport},
    replica::{ENDED_WITH_AGENT, Exit},
};
use tokio::{
    sync::{mpsc, watch},
    task::JoinHandle,
    time::{Instant, sleep_until},
};
use tokio_util::sync::CancellationToken;

use self::restart::Failures;
use crate::{
    ledger::{Ledger, Record},
    outbox::Outbox,
    shims::{End, Launch, LaunchError, Lost, Shim, ShimId, Shims, State as ShimState},
};

/// Without a probe, a process that has run for so long is ready.
const READY_AFTER: Duration = Duration::from_secs(1);
/// A launch that takes longer than this is reported as starting.
const SLOW_LAUNCH: Duration = Duration::from_millis(100);
/// What is said of a process that ends with its agent. Its end was nobody's wish: it is not `stopped`, which would have
/// it replaced.
const WITH_AGENT: &str = "ended with its agent; the next one starts it again";
/// Commands that wait for one replica.
const COMMANDS_WAITING: usize = 64;

/// What a replica may be told.
#[derive(Debug)]
pub(crate) enum Command {
    /// Run this, or change to it.
    Define { id: String, spec_version: ResourceVersion, definition: Box<Definition> },
    /// End, for good.
    Stop { id: String, spec_version: ResourceVersion, reason: String },
    /// End with the agent; the next agent starts it again.
    EndWithAgent,
    /// A restored server does not know it: keep it until a person decides.
    Hold,
    /// The server knows how it ended: keep nothing of it but its log.
    Forget,
}

/// What all replicas of an agent share.
#[derive(Debug)]
pub(crate) struct Context {
    pub(crate) ledger: Ledger,
    pub(crate) shims: Shims,
    pub(crate) outbox: Outbox,
    pub(crate) randomness: Randomness,
    pub(crate) base_env: BTreeMap<String, String>,
    pub(crate) node: String,
    pub(crate) workspace_root: std::path::PathBuf,
    /// Processes that end with the agent are to end at once.
    pub(crate) kill: CancellationToken,
}

/// The way to a replica's task.
#[derive(Debug)]
pub(crate) struct Handle {
    commands: mpsc::Sender<Command>,
    kept: Arc<AtomicU64>,
}

impl Handle {
    /// Tells it something. A task that has ended has nothing left to do.
    pub(crate) async fn tell(&self, command: Command) {
        if self.commands.send(command).await.is_err() {
            tracing::debug!("a replica that is forgotten was told something");
        }
    }

    /// The newest wish that is on the disk: what was told later may not have been accepted.
    pub(crate) fn kept(&self) -> ResourceVersion {
        ResourceVersion::new(self.kept.load(Ordering::Acquire))
    }

    /// Whether its task has ended, because it was forgotten.
    pub(crate) fn has_ended(&self) -> bool {
        self.commands.is_closed()
    }
}

/// What an earlier agent left of a replica.
#[derive(Debug)]
pub(crate) enum Found {
    /// Nothing: it is new, or its record is all there is.
    Nothing,
    /// Its shim lives.
    Live(Shim),
    /// Its last attempt has ended.
    Ended(End),
}

/// A replica's task, not yet running. It ends when it is forgotten or its handle is dropped; its process runs on then.
pub(crate) struct Worker {
    context: Arc<Context>,
    found: Found,
    record: Record,
    /// The version of the record on the disk, for the handle to read.
    kept: Arc<AtomicU64>,
    /// The version whose definition the running attempt was started with.
    launched: ResourceVersion,
    commands: mpsc::Receiver<Command>,
    state: State,
    failures: Failures,
    started_at: Option<Timestamp>,
    last_exit: Option<Exit>,
    ending: bool,
    killed: bool,
}

/// Where it stands; each variant holds what is needed there.
enum State {
    Waiting { until: Instant },
    Starting { launch: JoinHandle<Result<Shim, LaunchError>>, slow_at: Option<Instant> },
    Running { shim: Shim, changes: watch::Receiver<ShimState>, ready_at: Option<Instant>, shown: Shown },
    Over,
}

/// What of a running process has been reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shown {
    Nothing,
    Running,
    Ready,
    Stopping,
}

enum Event {
    Told(Command),
    Dropped,
    Due,
    Slow,
    Launched(Box<Result<Shim, LaunchError>>),
    ShimChanged,
    ShimsGone,
    ReadyDue,
    Kill,
}

enum Flow {
    Go,
    End,
}

impl Worker {
    /// A replica as its record and what was found of it say, and the way to it.
    pub(crate) fn new(context: Arc<Context>, record: Record, found: Found) -> (Handle, Self) {
        if let Some(end) = &record.end {
            // At once: a session that begins before the task runs must find it in its hello.
            context.outbox.restore(end.clone());
        }
        let (sender, commands) = mpsc::channel(COMMANDS_WAITING);
        let kept = Arc::new(AtomicU64::new(record.spec_version.get()));
        let worker = Self {
            context,
            found,
            record,
            kept: kept.clone(),
            launched: ResourceVersion::default(),
            commands,
            state: State::Over,
            failures: Failures::default(),
            started_at: None,
            last_exit: None,
            ending: false,
            killed: false,
        };
        (Handle { commands: sender, kept }, worker)
    }

    /// Lives the replica's life.
    pub(crate) async fn run(mut self) {
        self.begin().await;
        loop {
            let event = tokio::select! {
                biased;
                command = self.commands.recv() => command.map_or(Event::Dropped, Event::Told),
                () = self.context.kill.cancelled(), if self.ending && !self.killed => Event::Kill,
                event = self.state.next() => event,
            };
            match self.step(event).await {
                Flow::Go => {}
                Flow::End => return,
            }
        }
    }

    /// Takes up where an earlier agent left off.
    async fn begin(&mut self) {
        if self.record.end.is_some() {
            return;
        }
        match std::mem::replace(&mut self.found, Found::Nothing) {
            Found::Live(shim) => {
                self.state = running(shim.clone());
                self.look_at_shim().await;
                // The earlier agent may have accepted a change that it had no time to pass on.
                self.update_shim(shim).await;
                self.stop_if_wished().await;
            }
            Found::Ended(end) => self.ended(end).await,
            Found::Nothing if self.record.stop.is_some() => self.finish("stopped", None).await,
            Found::Nothing if self.record.definition.is_none() => {}
            // What was started and left no trace is gone with the machine's last boot: an attempt is not made twice.
            Found::Nothing if self.is_once() && self.record.attempt > 0 => self.ended(End::Lost(Lost::default())).await,
            Found::Nothing => self.start().await,
        }
    }

    /// The one function of transitions.
    async fn step(&mut self, event: Event) -> Flow {
        match event {
            Event::Dropped | Event::ShimsGone => return Flow::End,
            Event::Told(Command::Forget) => return self.forget().await,
            Event::Told(Command::Define { id, spec_version, definition }) => {
                self.define(id, spec_version, *definition).await
            }
            Event::Told(Command::Stop { id, spec_version, reason }) => self.stop(id, spec_version, reason).await,
            Event::Told(Command::EndWithAgent) => self.end_with_agent().await,
            Event::Told(Command::Hold) => {
                // Where it cannot be kept, the next sync of the restored server holds it again.
                self.keep(Record { held: true, ..self.record.clone() }).await;
            }
            Event::Due => self.start().await,
            Event::Slow => {
                if let State::Starting { slow_at, .. } = &mut self.state {
                    *slow_at = None;
                }
                self.report("starting", None);
            }
            Event::Launched(result) => self.launched(*result).await,
            Event::ShimChanged => self.look_at_shim().await,
            Event::ReadyDue => self.become_ready(),
            Event::Kill => self.kill().await,
        }
        if self.ending && matches!(self.state, State::Over) { Flow::End } else { Flow::Go }
    }

    async fn define(&mut self, id: String, spec_version: ResourceVersion, definition: Definition) {
        if spec_version < self.record.spec_version {
            return self.stale(id);
        }
        let is_news = spec_version > self.record.spec_version && self.record.stop.is_none();
        // A definition that could not be started is tried again when it changes.
        let starts = is_news && self.may_start();
        if is_news || self.record.definition.is_none() {
            let mut record = Record { spec_version, held: false, ..self.record.clone() };
            if record.stop.is_none() {
                record.definition = Some(definition);
            }
            if starts {
                // In the same write: the disk is most of what a start waits for.
                record.begin_attempt();
            }
            if !self.keep(record).await {
                // What is not on the disk is not accepted: the server sends it again.
                return;
            }
        }
        self.context.outbox.answer(FromAgent::Ack(Ack { id }));
        if starts {
            self.launch();
        } else if is_news && let State::Running { shim, .. } = &self.state {
            self.update_shim(shim.clone()).await;
        }
    }

    /// Whether nothing of it runs, and a new definition is a reason to start it.
    fn may_start(&self) -> bool {
        match self.state {
            State::Waiting { .. } => true,
            State::Over => self.record.attempt == 0 && self.record.end.is_none(),
            State::Starting { .. } | State::Running { .. } => false,
        }
    }

    async fn stop(&mut self, id: String, spec_version: ResourceVersion, reason: String) {
        if spec_version < self.record.spec_version {
            return self.stale(id);
        }
        if self.record.stop.is_none() || spec_version > self.record.spec_version {
            let mut record = Record { spec_version, ..self.record.clone() };
            record.stop.get_or_insert(reason);
            if !self.keep(record).await {
                return;
            }
        }
        self.context.outbox.answer(FromAgent::Ack(Ack { id }));
        match (&self.state, self.record.end.clone()) {
            (State::Over, Some(end)) => {
                // The server has not heard of the end, or it would not ask: say it again.
                self.context.outbox.report(StatusReport { spec_version, ..end });
            }
            (State::Over | State::Waiting { .. }, _) => self.finish("stopped", None).await,
            (State::Starting { .. }, _) => {}
            (State::Running { .. }, _) => self.stop_if_wished().await,
        }
    }

    async fn end_with_agent(&mut self) {
        self.ending = true;
        match &self.state {
            State::Over | State::Waiting { .. } => {
                self.state = State::Over;
                if self.record.end.is_none() {
                    self.report_with("starting", None, Some(WITH_AGENT.to_owned()));
                }
            }
            State::Starting { .. } => {}
            State::Running { .. } => self.stop_if_wished().await,
        }
    }

    async fn forget(&mut self) -> Flow {
        if !matches!(self.state, State::Over) {
            tracing::warn!(replica = %self.record.replica_id, "asked to forget a replica that is not over; it is kept");
            return Flow::Go;
        }
        let keep_for =
            self.record.definition.as_ref().map(|definition| definition.process.settings.logs.keep_for.get());
        let keep_for = i64::try_from(keep_for.unwrap_or_default().as_millis()).unwrap_or(i64::MAX);
        let (ledger, uid, now) = (self.context.ledger.clone(), self.record.uid.clone(), now().as_millis());
        let forgotten = tokio::task::spawn_blocking(move || ledger.forget(&uid, now, keep_for)).await;
        if let Ok(Err(error)) = forgotten {
            tracing::error!(replica = %self.record.replica_id, %error, "cannot forget it");
        }
        self.context.outbox.forget(&self.record.uid);
        Flow::End
    }

    /// Starts the process: first the record, then the shim.
    async fn start(&mut self) {
        if self.record.definition.is_none() {
            return;
        }
        let mut record = self.record.clone();
        record.begin_attempt();
        if !self.keep(record).await {
            // Without a record nobody would know of the process; the disk may be back in a second.
            self.state = State::Waiting { until: Instant::now() + Duration::from_secs(1) };
            return;
        }
        self.launch();
    }

    /// Has the attempt that is on record made.
    fn launch(&mut self) {
        let Some(definition) = &self.record.definition else { return };
        self.launched = self.record.spec_version;
        let id = self.shim_id();
        let shims = self.context.shims.clone();
        let definition = translate::definition(&self.context, &self.record, definition);
        let nonce = format!("{:016x}{:016x}", self.context.randomness.u64(), self.context.randomness.u64());
        let launch = tokio::spawn(async move {
            let definition = definition.map_err(LaunchError::Start)?;
            shims.launch(Launch { id, nonce, definition }).await
        });
        self.state = State::Starting { launch, slow_at: Some(Instant::now() + SLOW_LAUNCH) };
    }

    async fn launched(&mut self, result: Result<Shim, LaunchError>) {
        match result {
            Ok(shim) => {
                self.state = running(shim.clone());
                self.look_at_shim().await;
                if self.record.spec_version != self.launched {
                    // It has changed while it started.
                    self.update_shim(shim).await;
                }
                self.stop_if_wished().await;
            }
            Err(error) => {
                let exit = translate::start_failure(&error);
                self.process_ended(exit, Duration::ZERO).await;
            }
        }
    }

    /// Reads where the shim stands and acts on it.
    async fn look_at_shim(&mut self) {
        let State::Running { changes, ready_at, shown, .. } = &mut self.state else { return };
        let state = changes.borrow_and_update().clone();
        match state {
            ShimState::Attaching => {}
            ShimState::Running { main } => {
                let since = Timestamp::from_millis(main.at.as_millisecond());
                self.started_at = Some(since);
                if *shown == Shown::Nothing {
                    *shown = Shown::Running;
                    *ready_at = Some(Instant::now() + READY_AFTER.saturating_sub(now().since(since)));
                    let already_ready = now().since(since) >= READY_AFTER;
                    if already_ready {
                        self.become_ready();
                    } else {
                        self.report("running", Some(main.process.pid));
                    }
                }
            }
            ShimState::Stopping { main, stuck } => {
                *ready_at = None;
                *shown = Shown::Stopping;
                let message = translate::stuck(&stuck);
                self.report_with("stopping", Some(main.process.pid), message);
            }
            ShimState::Ended(end) => self.ended(end).await,
        }
    }

    fn become_ready(&mut self) {
        let State::Running { shim, ready_at, shown, .. } = &mut self.state else { return };
        *ready_at = None;
        let ShimState::Running { main } = shim.state() else { return };
        *shown = Shown::Ready;
        self.report("ready", Some(main.process.pid));
    }

    async fn stop_if_wished(&mut self) {
        let State::Running { shim, .. } = &self.state else { return };
        if self.record.stop.is_none() && !self.ending {
            return;
        }
        if let Err(error) = shim.stop().await {
            // An end is what was wanted; without an answer the shim is asked again when it changes or is attached.
            tracing::debug!(replica = %self.record.replica_id, %error, "while stopping it");
        }
    }

    async fn kill(&mut self) {
        self.killed = true;
        let State::Running { shim, .. } = &self.state else { return };
        if let Err(error) = shim.kill().await {
            tracing::debug!(replica = %self.record.replica_id, %error, "while killing it");
        }
    }

    async fn update_shim(&mut self, shim: Shim) {
        let (State::Running { .. }, Some(definition)) = (&self.state, &self.record.definition) else { return };
        let (stop, logs) = translate::settings(&self.context, &self.record, definition);
        if let Err(error) = shim.update_settings(stop, logs).await {
            tracing::warn!(replica = %self.record.replica_id, %error, "its settings were not changed in place");
        }
    }

    async fn ended(&mut self, end: End) {
        let (exit, started, at) = translate::end(end);
        // A process may end before this agent has seen it run.
        self.started_at = self.started_at.or(started);
        let up = self.started_at.map_or(Duration::ZERO, |since| at.unwrap_or_else(now).since(since));
        self.process_ended(exit, up).await;
    }

    /// The process is gone, or could not be started.
    async fn process_ended(&mut self, exit: Exit, up: Duration) {
        self.last_exit = Some(exit.clone());
        if self.record.stop.is_some() {
            return self.finish("stopped", Some(exit)).await;
        }
        if self.is_once() {
            let state = if exit.reason == translate::START_ERROR { "failed" } else { "exited" };
            let reason = if self.ending && !exit.is_success() { ENDED_WITH_AGENT.to_owned() } else { exit.reason };
            return self.finish(state, Some(Exit { reason, ..exit })).await;
        }
        self.started_at = None;
        self.forget_attempt().await;
        if self.ending {
            self.state = State::Over;
            self.report_with("starting", None, Some(WITH_AGENT.to_owned()));
            return;
        }
        self.wait_to_start(&exit, up).await;
    }

    async fn wait_to_start(&mut self, exit: &Exit, up: Duration) {
        let policy =
            self.record.definition.as_ref().map(|definition| definition.process.settings.restart).unwrap_or_default();
        let delay = if exit.permanent {
            Failures::after_permanent(&policy)
        } else {
            self.failures.next_delay(up, &policy, self.context.randomness.fraction())
        };
        if delay.is_zero() {
            return self.start().await;
        }
        self.state = State::Waiting { until: Instant::now() + delay };
        let message = format!("{}; starts again in {}", exit.message, shown_delay(delay));
        self.report_with("backoff", None, Some(message));
    }

    /// Nothing of it runs any more and nothing will: first the record, then the shim's own files.
    async fn finish(&mut self, state: &str, exit: Option<Exit>) {
        if let Some(exit) = exit {
            self.last_exit = Some(exit);
        }
        self.state = State::Over;
        let message = self.last_exit.as_ref().map(|exit| exit.message.clone());
        let end = StatusReport { seq: self.context.outbox.number(), ..self.status(state, None, message) };
        if self.keep(Record { end: Some(end.clone()), ..self.record.clone() }).await && self.record.attempt > 0 {
            self.forget_attempt().await;
        }
        // Told also where the disk fails: the shim's own files stay then, and say the same to the next agent. It gets
        // a number of its own, since a session that has passed the number on record would not send it.
        self.record.end = Some(self.context.outbox.report(end));
    }

    async fn forget_attempt(&self) {
        if let Err(error) = self.context.shims.forget(&self.shim_id()).await {
            tracing::warn!(replica = %self.record.replica_id, %error, "an ended attempt's files stay");
        }
    }

    fn stale(&self, id: String) {
        let spec_version = self.record.spec_version;
        self.context.outbox.answer(FromAgent::Stale(Stale { id, spec_version }));
    }

    fn report(&self, state: &str, pid: Option<i32>) -> StatusReport {
        self.report_with(state, pid, self.last_exit.as_ref().filter(|_| pid.is_none()).map(|exit| exit.message.clone()))
    }

    fn report_with(&self, state: &str, pid: Option<i32>, message: Option<String>) -> StatusReport {
        self.context.outbox.report(self.status(state, pid, message))
    }

    fn status(&self, state: &str, pid: Option<i32>, message: Option<String>) -> StatusReport {
        let definition = self.record.definition.as_ref();
        StatusReport {
            service: definition.map(|definition| definition.name.clone()).unwrap_or_default(),
            replica_id: self.record.replica_id.clone(),
            state: state.to_owned(),
            namespace: self.record.namespace.clone(),
            uid: self.record.uid.clone(),
            spec_version: self.record.spec_version,
            attempt: self.record.attempt,
            seq: 0,
            pid: pid.and_then(|pid| u32::try_from(pid).ok()),
            started_at: self.started_at,
            restarts: self.record.restarts,
            ready: state == "ready",
            ports: definition.map(translate::ports).unwrap_or_default(),
            exit: self.last_exit.clone(),
            message: message.filter(|message| !message.is_empty()),
            definition: None,
        }
    }

    /// Puts a changed record in the place of this one, if it can be written; otherwise nothing has changed.
    async fn keep(&mut self, record: Record) -> bool {
        let ledger = self.context.ledger.clone();
        match tokio::task::spawn_blocking(move || ledger.keep(&record).map(|()| record)).await {
            Ok(Ok(record)) => {
                self.kept.store(record.spec_version.get(), Ordering::Release);
                self.record = record;
                true
            }
            Ok(Err(error)) => {
                tracing::error!(replica = %self.record.replica_id, %error, "cannot write its record");
                false
            }
            Err(_) => false,
        }
    }

    fn shim_id(&self) -> ShimId {
        ShimId { uid: self.record.uid.to_string(), attempt: self.record.attempt }
    }

    fn is_once(&self) -> bool {
        self.record.definition.as_ref().is_some_and(|definition| definition.once)
    }
}

impl State {
    /// What happens next by itself.
    ///
    /// # Cancel safety
    /// Cancel safe: a launch goes on and is taken up again.
    async fn next(&mut self) -> Event {
        match self {
            Self::Waiting { until } => {
                sleep_until(*until).await;
                Event::Due
            }
            Self::Starting { launch, slow_at } => tokio::select! {
                biased;
                result = launch => Event::Launched(Box::new(result.unwrap_or(Err(LaunchError::ShuttingDown)))),
                () = sleep_or_never(*slow_at) => Event::Slow,
            },
            Self::Running { changes, ready_at, .. } => tokio::select! {
                biased;
                changed = changes.changed() => if changed.is_ok() { Event::ShimChanged } else { Event::ShimsGone },
                () = sleep_or_never(*ready_at) => Event::ReadyDue,
            },
            Self::Over => std::future::pending().await,
        }
    }
}

fn running(shim: Shim) -> State {
    let mut changes = shim.watch();
    changes.mark_changed();
    State::Running { shim, changes, ready_at: None, shown: Shown::Nothing }
}

async fn sleep_or_never(until: Option<Instant>) {
    match until {
        Some(until) => sleep_until(until).await,
        None => std::future::pending().await,
    }
}

fn now() -> Timestamp {
    std::time::SystemTime::now().into()
}

fn shown_delay(delay: Duration) -> String {
    if delay < Duration::from_secs(10) {
        format!("{:.1} s", delay.as_secs_f64())
    } else {
        format!("{} s", delay.as_secs())
    }
}
