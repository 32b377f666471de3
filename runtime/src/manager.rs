//! The manager: informers, controllers and what they share, from start to stop.
//!
//! ```text
//! start:  informers synced ──► controllers
//! stop:   controllers (finish running, then cancel) ──► events written ──► informers
//! ```
//!
//! Every task is joined. A part that fails ends the manager and is named; so is one that does not stop in time.

mod health;
mod running;

use std::{
    future::Future,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use orion_model::{Client, ClientError, Kind, Object, ObjectKey, Resource};
use tokio::sync::Notify;

pub use self::health::{ControllerHealth, Health, InformerHealth};
use self::running::Running;
use crate::{
    Informer, Runnable, Select, Why,
    controller::{Part, Site},
    feeds::Feeds,
    garbage,
    recorder::{self, Recorder, Writer},
    reflector::{Reflector, Trouble},
};

/// How long informers have for their first list, unless told.
const SYNCED_WITHIN: Duration = Duration::from_secs(120);

/// How long runs under way have after a shutdown, unless told.
const GRACE: Duration = Duration::from_secs(30);

/// Informers, their cache, and controllers over one client.
///
/// ```
/// # use std::time::Duration;
/// # use orion_model::{Client, Event};
/// # use orion_runtime::{Action, Controller, Manager, Select};
/// fn manager(client: Client) -> Manager {
///     let mut manager = Manager::new(client);
///     let events = manager.informer::<Event>(Select::all());
///     manager.add(Controller::new("echo", &events).reconcile(|run| {
///         Box::pin(async move {
///             println!("{:?}", run.object());
///             Ok(Action::Done)
///         })
///     }));
///     manager
/// }
/// ```
pub struct Manager {
    shared: Arc<Shared>,
    reflector: Reflector,
    writer: Writer,
    garbage: Garbage,
    synced_within: Duration,
    grace: Duration,
}

/// A handle to a manager that may be running: cheap to clone.
#[derive(Clone)]
pub struct ManagerHandle {
    shared: Arc<Shared>,
}

struct Shared {
    client: Client,
    feeds: Arc<Feeds>,
    recorder: Recorder,
    trouble: Arc<Trouble>,
    parts: Mutex<Parts>,
    added: Notify,
}

#[derive(Default)]
struct Parts {
    controllers: Vec<Arc<dyn Part>>,
    /// Of these, how many were started. New ones come at the end.
    started: usize,
    refused: Option<(String, String)>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Garbage {
    /// Collected, unless whoever keeps the backend does it.
    ByBackend,
    Collected,
    Left,
}

/// Why a manager ended other than by its shutdown.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// A controller does not fit together.
    #[error("controller {controller} cannot run: {reason}")]
    Misfit {
        /// Which.
        controller: String,
        /// What does not fit.
        reason: String,
    },
    /// Informers did not get their first list in time.
    #[error("informers of {} did not sync within {within:?}{}", informers.join(", "), because(.source.as_deref()))]
    NotSynced {
        /// Which.
        informers: Vec<String>,
        /// The time they had.
        within: Duration,
        /// What the backend last answered.
        source: Option<Box<ClientError>>,
    },
    /// A part of the manager ended by itself.
    #[error("{part} failed: {reason}")]
    Failed {
        /// Which.
        part: String,
        /// How.
        reason: String,
    },
    /// Parts did not stop in time; what they do is cut off.
    #[error("{} did not stop in time", parts.join(", "))]
    Late {
        /// Which.
        parts: Vec<String>,
    },
}

fn because(source: Option<&ClientError>) -> String {
    source.map(|error| format!(": {error}")).unwrap_or_default()
}

impl Manager {
    /// A manager over a client, with nothing in it. Objects whose owners are gone are collected where nobody else does
    /// it: over a store, not over a server.
    pub fn new(client: Client) -> Self {
        let feeds = Feeds::new();
        let reflector = Reflector::new(client.clone(), feeds.clone());
        let (recorder, writer) = recorder::channel(client.clone());
        let trouble = reflector.trouble();
        let shared = Shared { client, feeds, recorder, trouble, parts: Mutex::default(), added: Notify::new() };
        Self {
            shared: Arc::new(shared),
            reflector,
            writer,
            garbage: Garbage::ByBackend,
            synced_within: SYNCED_WITHIN,
            grace: GRACE,
        }
    }

    /// The informer of a kind, or of a view of one, and a selection. Asked twice, it is the same one.
    ///
    /// # Panics
    /// For [`Dynamic`](orion_model::Dynamic), whose type says no kind: see [`informer_of`](Self::informer_of).
    pub fn informer<K: Object>(&self, select: Select) -> Informer<K> {
        self.handle().informer(select)
    }

    /// The informer of a kind that is known only at run time.
    pub fn informer_of<K: Object>(&self, kind: Kind, select: Select) -> Informer<K> {
        self.handle().informer_of(kind, select)
    }

    /// Adds a controller.
    pub fn add(&mut self, controller: Runnable) -> &mut Self {
        self.handle().add(controller);
        self
    }

    /// Collects objects whose owners are gone, even where the backend's keeper does it.
    pub fn collect_garbage(&mut self) -> &mut Self {
        self.garbage = Garbage::Collected;
        self
    }

    /// Leaves objects whose owners are gone to somebody else: another manager over the same store.
    pub fn leave_garbage(&mut self) -> &mut Self {
        self.garbage = Garbage::Left;
        self
    }

    /// How long informers have for their first list before the start fails; 2 minutes unless told.
    pub fn synced_within(&mut self, time: Duration) -> &mut Self {
        self.synced_within = time;
        self
    }

    /// How long runs under way have to finish after a shutdown before they are cancelled; 30 s unless told.
    pub fn grace(&mut self, time: Duration) -> &mut Self {
        self.grace = time;
        self
    }

    /// The client.
    pub fn client(&self) -> &Client {
        &self.shared.client
    }

    /// A handle that lives on while the manager runs.
    pub fn handle(&self) -> ManagerHandle {
        ManagerHandle { shared: self.shared.clone() }
    }

    /// How it is.
    pub fn health(&self) -> Health {
        self.handle().health()
    }

    /// What each controller of this kind knows of an object.
    pub fn why(&self, key: &ObjectKey) -> Vec<Why> {
        self.handle().why(key)
    }

    /// Runs until `shutdown` resolves, and then until everything has stopped in order.
    ///
    /// # Errors
    /// When it cannot start, when a part fails, and when a part does not stop in time; the part is named.
    ///
    /// # Cancel safety
    /// Dropped, it cuts everything off; let `shutdown` resolve instead.
    pub async fn run_until<F: Future>(mut self, shutdown: F) -> Result<(), RunError> {
        self.prepare()?;
        let mut parts = Running::new(self.shared.clone());
        parts.start_shared(self.reflector, self.writer);
        let ended = tokio::select! {
            biased;
            _ = shutdown => Ok(()),
            error = parts.supervise(self.synced_within) => Err(error),
        };
        let stopped = parts.stop(self.grace).await;
        self.shared.feeds.close();
        ended.and(stopped)
    }

    fn prepare(&mut self) -> Result<(), RunError> {
        let collects = match self.garbage {
            Garbage::ByBackend => !self.shared.client.backend().collects_garbage(),
            Garbage::Collected => true,
            Garbage::Left => false,
        };
        if collects {
            let collector = garbage::collector(&self.handle());
            self.add(collector);
        }
        match self.shared.lock().refused.take() {
            Some((controller, reason)) => Err(RunError::Misfit { controller, reason }),
            None => Ok(()),
        }
    }
}

impl std::fmt::Debug for Manager {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.shared.fmt(f)
    }
}

impl ManagerHandle {
    /// As [`Manager::informer`]; while the manager runs, a new one lists everything once more, by itself.
    ///
    /// # Panics
    /// As [`Manager::informer`].
    pub fn informer<K: Object>(&self, select: Select) -> Informer<K> {
        let kind = K::static_kind().expect("an informer of a kind known at run time is made by `informer_of`");
        self.informer_of(kind, select)
    }

    /// As [`Manager::informer_of`].
    pub fn informer_of<K: Object>(&self, kind: Kind, select: Select) -> Informer<K> {
        Informer::new(&self.shared.feeds, select.of(kind))
    }

    /// Adds a controller; while the manager runs, it starts as soon as its informers are synced. One that does not fit
    /// together fails the start or, later, is refused in the log.
    pub fn add(&self, controller: Runnable) {
        let Shared { client, feeds, recorder, .. } = self.shared.as_ref();
        let site = Site { client: client.clone(), feeds: feeds.clone(), recorder: recorder.clone() };
        let name = controller.name.to_string();
        let built = (controller.build)(&site);
        let mut parts = self.shared.lock();
        match built {
            Ok(part) => parts.controllers.push(part),
            Err(reason) => {
                tracing::error!(controller = %name, %reason, "the controller cannot run");
                parts.refused.get_or_insert((name, reason));
            }
        }
        drop(parts);
        self.shared.added.notify_one();
    }

    /// Stops the controllers of this name; what they run finishes. Whether there was one.
    pub fn remove(&self, name: &str) -> bool {
        let parts = self.shared.lock();
        let named: Vec<_> = parts.controllers.iter().filter(|part| part.name().as_ref() == name).cloned().collect();
        drop(parts);
        named.iter().for_each(|part| part.stop());
        !named.is_empty()
    }

    /// The client.
    pub fn client(&self) -> &Client {
        &self.shared.client
    }

    /// How it is.
    pub fn health(&self) -> Health {
        let parts = self.shared.lock().controllers.clone();
        health::of(&self.shared.feeds, &parts, self.shared.trouble.get(), self.shared.recorder.dropped())
    }

    /// What each controller of this kind knows of an object.
    pub fn why(&self, key: &ObjectKey) -> Vec<Why> {
        let parts = self.shared.lock().controllers.clone();
        parts.iter().filter_map(|part| part.why(key)).collect()
    }

    /// As [`why`](Self::why), of a typed key.
    pub fn why_of<K: Resource>(&self, key: &orion_model::Key<K>) -> Vec<Why> {
        self.why(&key.of_kind(K::KIND))
    }
}

impl std::fmt::Debug for ManagerHandle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.shared.fmt(f)
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Parts> {
        self.parts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn forget(&self, ended: &Arc<dyn Part>) {
        let mut parts = self.lock();
        if let Some(index) = parts.controllers.iter().position(|part| Arc::ptr_eq(part, ended)) {
            parts.controllers.remove(index);
            parts.started = parts.started.saturating_sub(1);
        }
    }
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let parts = self.lock();
        let names: Vec<_> = parts.controllers.iter().map(|part| part.name()).collect();
        f.debug_struct("Manager").field("controllers", &names).finish_non_exhaustive()
    }
}
