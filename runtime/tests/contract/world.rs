//! A store, a backend between it and the runtime that misbehaves as told, and two kinds.

use std::{
    collections::BTreeSet,
    future::Future,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures::{FutureExt, StreamExt, future::BoxFuture, stream};
use orion_model::{
    Backend, Client, ClientError, Clock, Commit, Committed, Conditions, Get, Key, List, Listed, Randomness, Registry,
    Resource, ResourceVersion, Watch, backend::Watching, object::Stored,
};
use orion_runtime::{Manager, ManagerHandle, RunError};
use orion_store::{Memory, Store};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::{sync::watch, task::JoinHandle, time::timeout};
use tokio_util::sync::CancellationToken;

/// Virtual time in which everything here must have happened.
const SOON: Duration = Duration::from_secs(600);

#[derive(Resource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[resource(kind = Site, group = "test.orion", version = "v1", status = SiteStatus)]
#[serde(default)]
pub(crate) struct SiteSpec {
    pub(crate) url: String,
    pub(crate) regions: BTreeSet<String>,
    pub(crate) number: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub(crate) struct SiteStatus {
    pub(crate) conditions: Conditions,
    pub(crate) seen: u64,
}

#[derive(Resource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[resource(kind = Probe, group = "test.orion", version = "v1", selectable = ".spec.region")]
#[serde(default)]
pub(crate) struct ProbeSpec {
    pub(crate) region: String,
    pub(crate) target: String,
    pub(crate) number: u64,
}

#[derive(Resource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[resource(kind = Region, group = "test.orion", version = "v1", cluster)]
#[serde(default)]
pub(crate) struct RegionSpec {
    pub(crate) open: bool,
}

pub(crate) type Kinds = (Site, Probe, Region);

pub(crate) fn site(name: &str, regions: &[&str]) -> Site {
    let regions = regions.iter().map(|region| (*region).to_owned()).collect();
    let site = Site::new(name, SiteSpec { url: format!("https://{name}"), regions, number: 0 });
    orion_model::Whole::in_namespace(site, "default")
}

pub(crate) fn probe(name: &str, region: &str) -> Probe {
    let probe = Probe::new(name, ProbeSpec { region: region.into(), ..ProbeSpec::default() });
    orion_model::Whole::in_namespace(probe, "default")
}

pub(crate) fn site_key(name: &str) -> Key<Site> {
    Key::new("default", name)
}

/// A store with a client that reaches it directly, and one that goes through the faults.
pub(crate) struct World {
    pub(crate) direct: Client,
    pub(crate) client: Client,
    pub(crate) faults: Arc<Faults>,
}

impl World {
    pub(crate) async fn new() -> Self {
        Self::seeded(1).await
    }

    pub(crate) async fn seeded(seed: u64) -> Self {
        let start = std::time::SystemTime::UNIX_EPOCH + Duration::from_secs(1_790_000_000);
        let (clock, randomness) = (Clock::starting_at(start), Randomness::seeded(seed));
        let journal = Memory::new(&clock, &randomness);
        let registry = Registry::new().with_all::<Kinds>();
        let store = Store::open(journal, registry, clock, randomness).await.expect("a memory store opens");
        let direct = store.client();
        let faults = Arc::new(Faults::default());
        let client = direct.over(|inner| Arc::new(Faulty { inner, faults: faults.clone() }));
        Self { direct, client, faults }
    }

    /// A manager over the faulty client, without garbage collection.
    pub(crate) fn manager(&self) -> Manager {
        let mut manager = Manager::new(self.client.clone());
        manager.leave_garbage();
        manager
    }

    pub(crate) async fn get<K: Resource>(&self, key: &Key<K>) -> Option<K> {
        self.direct.get(key).await.expect("the store answers")
    }

    pub(crate) async fn version(&self) -> ResourceVersion {
        let all = List::snapshot(vec![orion_model::Selection::all(Site::KIND)]);
        self.direct.list_raw(all).await.expect("the store answers").version
    }
}

/// Waits, on virtual time, until `done`.
pub(crate) async fn eventually<F: Future<Output = bool>>(what: &str, done: impl Fn() -> F) {
    let wait = async {
        while !done().await {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    assert!(timeout(SOON, wait).await.is_ok(), "not within {SOON:?}: {what}");
}

/// Lets everything that can happen now, or within a virtual second, happen.
pub(crate) async fn quiet() {
    tokio::time::sleep(Duration::from_secs(1)).await;
}

/// A manager that runs.
pub(crate) struct Running {
    pub(crate) handle: ManagerHandle,
    stop: CancellationToken,
    task: JoinHandle<Result<(), RunError>>,
}

impl Running {
    pub(crate) fn start(manager: Manager) -> Self {
        let (handle, stop) = (manager.handle(), CancellationToken::new());
        let task = tokio::spawn(manager.run_until(stop.clone().cancelled_owned()));
        Self { handle, stop, task }
    }

    pub(crate) async fn stop(self) -> Result<(), RunError> {
        self.stop.cancel();
        self.ended().await
    }

    pub(crate) async fn ended(self) -> Result<(), RunError> {
        timeout(SOON, self.task).await.expect("it ends in time").expect("it does not panic")
    }
}

/// What goes wrong between a runtime and its store.
pub(crate) struct Faults {
    /// Rises to end every open watch with this error.
    broken: watch::Sender<(u64, Option<ClientError>)>,
    /// Whether watches deliver.
    flowing: watch::Sender<bool>,
    /// Whether commits reach the store.
    committing: watch::Sender<bool>,
    /// What lists and new watches answer.
    reads: Mutex<Option<ClientError>>,
    /// What lists answer that ask for this kind.
    unlisted: Mutex<Option<orion_model::Kind>>,
    /// So many commits take effect, but answer that nobody knows.
    pub(crate) unknown: AtomicUsize,
    pub(crate) lists: AtomicUsize,
    pub(crate) watches: AtomicUsize,
    pub(crate) commits: AtomicUsize,
    pub(crate) last_list: Mutex<Vec<orion_model::Selection>>,
}

impl Default for Faults {
    fn default() -> Self {
        Self {
            broken: watch::Sender::new((0, None)),
            flowing: watch::Sender::new(true),
            committing: watch::Sender::new(true),
            reads: Mutex::default(),
            unlisted: Mutex::default(),
            unknown: AtomicUsize::default(),
            lists: AtomicUsize::default(),
            watches: AtomicUsize::default(),
            commits: AtomicUsize::default(),
            last_list: Mutex::default(),
        }
    }
}

impl Faults {
    /// Ends every open watch as expired.
    pub(crate) fn expire(&self) {
        let oldest = ResourceVersion::ZERO;
        self.end_watches(Some(ClientError::Expired { what: "the watch".into(), oldest }));
    }

    /// Ends every open watch without a word.
    pub(crate) fn disconnect(&self) {
        self.end_watches(None);
    }

    fn end_watches(&self, error: Option<ClientError>) {
        self.broken.send_modify(|(count, answer)| {
            *count += 1;
            *answer = error;
        });
    }

    /// Holds back, or lets through, what watches deliver.
    pub(crate) fn flow(&self, flowing: bool) {
        self.flowing.send_replace(flowing);
    }

    /// Holds back, or lets through, commits.
    pub(crate) fn commit(&self, committing: bool) {
        self.committing.send_replace(committing);
    }

    /// Lets lists and new watches fail, or work again.
    pub(crate) fn read(&self, works: bool) {
        let error = (!works).then(|| ClientError::Unavailable("the network is down".into()));
        *self.reads.lock().expect("not poisoned") = error;
    }

    /// Refuses lists that ask for a kind.
    pub(crate) fn refuse(&self, kind: Option<orion_model::Kind>) {
        *self.unlisted.lock().expect("not poisoned") = kind;
    }

    fn refusal(&self, selections: &[orion_model::Selection]) -> Option<ClientError> {
        let unlisted = self.unlisted.lock().expect("not poisoned").clone();
        let refused = unlisted.filter(|kind| selections.iter().any(|selection| &selection.kind == kind));
        refused.map(ClientError::UnknownKind).or_else(|| self.reads.lock().expect("not poisoned").clone())
    }
}

struct Faulty {
    inner: Arc<dyn Backend>,
    faults: Arc<Faults>,
}

impl Backend for Faulty {
    fn registry(&self) -> Arc<Registry> {
        self.inner.registry()
    }

    fn commit(&self, commit: Commit) -> BoxFuture<'static, Result<Committed, ClientError>> {
        let (inner, faults) = (self.inner.clone(), self.faults.clone());
        async move {
            faults.commits.fetch_add(1, Ordering::SeqCst);
            let mut committing = faults.committing.subscribe();
            committing.wait_for(|committing| *committing).await.expect("the sender lives");
            let id = commit.id.clone().expect("a client gives an id");
            let result = inner.commit(commit).await;
            let unknown = faults.unknown.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
            match unknown {
                Ok(_) => Err(ClientError::Unknown { id, reason: "the connection broke".into() }),
                Err(_) => result,
            }
        }
        .boxed()
    }

    fn get(&self, get: Get) -> BoxFuture<'static, Result<Option<Stored>, ClientError>> {
        self.inner.get(get)
    }

    fn list(&self, list: List) -> BoxFuture<'static, Result<Listed, ClientError>> {
        self.faults.lists.fetch_add(1, Ordering::SeqCst);
        *self.faults.last_list.lock().expect("not poisoned") = list.selections.clone();
        match self.faults.refusal(&list.selections) {
            Some(error) => async { Err(error) }.boxed(),
            None => self.inner.list(list),
        }
    }

    fn watch(&self, watch: Watch) -> BoxFuture<'static, Result<Watching, ClientError>> {
        self.faults.watches.fetch_add(1, Ordering::SeqCst);
        if let Some(error) = self.faults.refusal(&watch.selections) {
            return async { Err(error) }.boxed();
        }
        let (opening, faults) = (self.inner.watch(watch), self.faults.clone());
        async move { Ok(leaky(opening.await?, faults)) }.boxed()
    }
}

/// A watch that stalls and breaks as told.
fn leaky(watching: Watching, faults: Arc<Faults>) -> Watching {
    let mut broken = faults.broken.subscribe();
    broken.mark_unchanged();
    let state = Some((watching, faults, broken));
    stream::unfold(state, |state| async move {
        let (mut watching, faults, mut broken) = state?;
        let mut flowing = faults.flowing.subscribe();
        let next = async {
            flowing.wait_for(|flowing| *flowing).await.expect("the sender lives");
            let event = watching.next().await;
            flowing.wait_for(|flowing| *flowing).await.expect("the sender lives");
            event
        };
        tokio::select! {
            biased;
            _ = broken.changed() => {
                let error = broken.borrow().1.clone()?;
                Some((Err(error), None))
            }
            event = next => Some((event?, Some((watching, faults, broken)))),
        }
    })
    .boxed()
}
