//! Controllers: which changes trigger which keys, and who reconciles them.
//!
//! ```text
//! informer ──► map to keys ──► work queue ──► worker ──► reconcile ──► own writes settle and show ──► done
//! pokes    ──►                     ▲                                                                   │
//!                                  └────────────── requeue, backoff ───────────────────────────────────┘
//! ```

mod driver;
mod source;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use futures::future::BoxFuture;
use orion_model::{Client, Held, Key, Kind, Metadata, Object, ObjectKey};
use tokio_util::sync::CancellationToken;

use self::{driver::Driver, source::Source};
use crate::{
    Action, Change, Informer, ReconcileKey, Reconciler, Result, Run, Trigger, Why,
    cache::{Cache, Root},
    feeds::Feeds,
    ledger::Desk,
    recorder::Recorder,
    trigger::Intake,
};

/// Keys that run at the same time, unless told.
const CONCURRENCY: usize = 4;

/// How long a run may take, unless told.
const TIMEOUT: Duration = Duration::from_secs(300);

/// Builds a controller: a name, what triggers it, how it runs, and a reconciler.
pub struct Controller<K: ReconcileKey> {
    name: Arc<str>,
    primary: Option<Primary<K>>,
    sources: Vec<Source<K>>,
    concurrency: usize,
    timeout: Duration,
    remembers: bool,
    trigger: Trigger<K>,
}

/// The informer of the keys' own objects.
pub(crate) struct Primary<K> {
    pub(crate) kind: Kind,
    pub(crate) slot: usize,
    key: fn(&K, &Kind) -> ObjectKey,
    from: fn(&ObjectKey) -> K,
}

impl<K> Primary<K> {
    pub(crate) fn object_key(&self, key: &K) -> ObjectKey {
        (self.key)(key, &self.kind)
    }

    pub(crate) fn metadata<'r>(&self, root: &'r Root, key: &K) -> Option<&'r Metadata> {
        root.tables.get(self.slot)?.metadata(&self.object_key(key))
    }
}

impl<O: Object> Controller<Key<O>> {
    /// A controller whose keys are an informer's objects: each change of one runs its key.
    pub fn new(name: impl Into<Arc<str>>, objects: &Informer<O>) -> Self {
        let mut controller = Self::keyed(name);
        controller.primary = Some(Primary {
            kind: objects.kind.clone(),
            slot: objects.slot,
            key: |key, kind| key.of_kind(kind.clone()),
            from: |key| Key::from(key),
        });
        controller.sources.push(Source::own(objects));
        controller
    }

    /// Runs the owner whenever one of its children changes: an object that names, before or after the change, an owner
    /// of this controller's kind.
    ///
    /// # Panics
    /// On a controller whose keys are not an informer's objects.
    #[must_use]
    pub fn owns<V: Object>(mut self, children: &Informer<V>) -> Self {
        let owner = self.primary.as_ref().expect("Controller::new gives owners to own children").kind.clone();
        self.sources.push(Source::mapped(children, move |change| owners(change, &owner)));
        self
    }
}

impl Controller<()> {
    /// A controller with one key, `()`, that runs once at the start and whenever something it watches changes.
    pub fn single(name: impl Into<Arc<str>>) -> Self {
        let mut controller = Self::keyed(name);
        controller.remembers = true;
        controller.trigger.poke(());
        controller
    }
}

impl<K: ReconcileKey> Controller<K> {
    /// A controller of any keys, which its [`watches`](Self::watches) and [`trigger`](Self::trigger) give.
    pub fn keyed(name: impl Into<Arc<str>>) -> Self {
        Self {
            name: name.into(),
            primary: None,
            sources: Vec::new(),
            concurrency: CONCURRENCY,
            timeout: TIMEOUT,
            remembers: false,
            trigger: Trigger::new(),
        }
    }

    /// Runs the keys that `keys` gives for each change of other objects. It sees both sides of the change; it must be
    /// quick, since it runs where the cache is kept: look up an [`Index`](crate::Index), do not compute.
    #[must_use]
    pub fn watches<V: Object, I: IntoIterator<Item = K>>(
        mut self,
        others: &Informer<V>,
        keys: impl Fn(&Change<V>) -> I + Send + 'static,
    ) -> Self {
        self.sources.push(Source::mapped(others, move |change| keys(change).into_iter().collect()));
        self
    }

    /// How many keys run at the same time; 4 unless told. One key never runs twice at the same time.
    #[must_use]
    pub fn concurrency(mut self, keys: usize) -> Self {
        self.concurrency = keys.max(1);
        self
    }

    /// After how long a run is cancelled and tried again; 5 minutes unless told.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// The way to run keys from outside.
    pub fn trigger(&self) -> Trigger<K> {
        self.trigger.clone()
    }

    /// Done: what this reconciler does for each key.
    pub fn reconciler<R: Reconciler<Key = K>>(self, reconciler: R) -> Runnable {
        let name = self.name.clone();
        Runnable { name, build: Box::new(move |site| Driver::build(self, reconciler, site)) }
    }

    /// Done: what this closure does for each key: `.reconcile(|run| Box::pin(async move { … }))`.
    pub fn reconcile<F>(self, reconcile: F) -> Runnable
    where
        F: for<'r> Fn(&'r Run<K>) -> BoxFuture<'r, Result<Action>> + Send + Sync + 'static,
    {
        self.reconciler(Closure { reconcile, key: std::marker::PhantomData })
    }
}

impl<K: ReconcileKey> std::fmt::Debug for Controller<K> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Controller").field("name", &self.name).finish_non_exhaustive()
    }
}

/// A controller that is ready to be added to a manager.
pub struct Runnable {
    pub(crate) name: Arc<str>,
    pub(crate) build: Build,
}

/// Makes the controller, or says what does not fit together.
pub(crate) type Build = Box<dyn FnOnce(&Site) -> Result<Arc<dyn Part>, String> + Send>;

impl std::fmt::Debug for Runnable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Runnable").field("name", &self.name).finish_non_exhaustive()
    }
}

/// What a manager gives each controller.
pub(crate) struct Site {
    pub(crate) client: Client,
    pub(crate) feeds: Arc<Feeds>,
    pub(crate) recorder: Recorder,
}

/// A controller in a manager, whatever its keys are.
pub(crate) trait Part: Send + Sync {
    fn name(&self) -> &Arc<str>;
    fn is_synced(&self, root: &Root) -> bool;
    /// Runs until [`stop`](Self::stop) and until what was running has ended, or until `abandon` and its own writes have
    /// settled.
    fn run(self: Arc<Self>, abandon: CancellationToken) -> BoxFuture<'static, ()>;
    /// Starts nothing any more.
    fn stop(&self);
    fn why(&self, key: &ObjectKey) -> Option<Why>;
    /// What keeps it from being healthy, with numbers.
    fn troubles(&self) -> Vec<String>;
    fn unobserved(&self) -> u64;
}

/// What all runs of a controller share.
pub(crate) struct Core<K: ReconcileKey> {
    pub(crate) name: Arc<str>,
    pub(crate) client: Client,
    pub(crate) primary: Option<Primary<K>>,
    pub(crate) desk: Arc<Desk>,
    pub(crate) recorder: Recorder,
    pub(crate) intake: Arc<Intake<K>>,
    /// Runs should end soon.
    pub(crate) stop: CancellationToken,
    timeout: Duration,
    remembers: bool,
    unobserved: AtomicU64,
}

impl<K: ReconcileKey> Core<K> {
    pub(crate) fn cache(&self) -> &Arc<Cache> {
        self.desk.feeds.cache()
    }

    pub(crate) fn count_unobserved(&self) {
        self.unobserved.fetch_add(1, Ordering::Relaxed);
    }
}

/// The keys of the owners of one kind on both sides of a change.
fn owners<O: Object, V: Object>(change: &Change<V>, owner: &Kind) -> Vec<Key<O>> {
    let mut keys = Vec::new();
    for object in change.sides() {
        for reference in object.metadata().owner_references.iter().filter(|reference| reference.is_of(owner)) {
            let namespace = if owner.is_namespaced() { object.held().namespace() } else { "" };
            let key = Key::new(namespace, reference.name.as_str());
            if !keys.contains(&key) {
                keys.push(key);
            }
        }
    }
    keys
}

struct Closure<F, K> {
    reconcile: F,
    key: std::marker::PhantomData<fn() -> K>,
}

impl<F, K> Reconciler for Closure<F, K>
where
    K: ReconcileKey,
    F: for<'r> Fn(&'r Run<K>) -> BoxFuture<'r, Result<Action>> + Send + Sync + 'static,
{
    type Key = K;

    async fn reconcile(&self, _key: &K, run: &Run<K>) -> Result<Action> {
        (self.reconcile)(run).await
    }
}
