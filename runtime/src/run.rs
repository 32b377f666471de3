//! One run of a reconciler: what it sees, what it may write, and when it should stop.

use std::{
    any::Any,
    fmt::Display,
    sync::{Arc, OnceLock},
};

use orion_model::{
    Client, CommitId, Condition, ConditionStatus, Held, Key, Metadata, Object, ObjectKey, Timestamp, Uid,
    event::ObjectReference,
};
use tokio_util::sync::CancellationToken;

use crate::{
    Batch, CommitError, Committed, Lister, Reader, Reason, ReconcileKey,
    batch::Prepared,
    cache::Root,
    controller::Core,
    ledger::{Bound, Ledger},
    recorder::Tone,
};

/// One run of one key.
///
/// Everything it reads is of one version, which does not move until the run ends: [`read`](Self::read) any lister,
/// [`object`](Self::object) for the key's own. Everything it writes goes through it, by [`commit`](Self::commit) or
/// [`client`](Self::client), so the key's next run starts only when the cache shows what this one wrote.
pub struct Run<K: ReconcileKey> {
    key: K,
    core: Arc<Core<K>>,
    view: Arc<Root>,
    last_known: Option<Arc<dyn Any + Send + Sync>>,
    writing: OnceLock<Writing>,
    cancelled: OnceLock<CancellationToken>,
}

/// Made when a run first writes; most runs do not.
struct Writing {
    bound: Bound,
    client: Client,
}

impl<K: ReconcileKey> Run<K> {
    pub(crate) fn new(key: K, core: Arc<Core<K>>, last_known: Option<Arc<dyn Any + Send + Sync>>) -> Self {
        let view = core.cache().view();
        Self { key, core, view, last_known, writing: OnceLock::new(), cancelled: OnceLock::new() }
    }

    /// What this run works on.
    pub fn key(&self) -> &K {
        &self.key
    }

    /// An informer's objects at this run's view. A lister of another manager is read at its newest state instead.
    pub fn read<V: Object>(&self, from: &Lister<V>) -> Reader<V> {
        if Arc::ptr_eq(&from.cache, self.core.cache()) { from.at(self.view.clone()) } else { from.latest() }
    }

    /// The backend, bound to this run: what it writes is seen by the key's next run.
    pub fn client(&self) -> &Client {
        &self.writing().client
    }

    /// Makes a commit, and returns when this manager's cache shows it; [`Committed::is_unobserved`] where that takes
    /// too long. This run's view stays where it is.
    ///
    /// # Errors
    /// The batch's own error, or the backend's refusal; nothing has taken effect then.
    /// [`ClientError::Unknown`](orion_model::ClientError::Unknown) says that nobody knows yet: the key's next run waits
    /// until it is known.
    ///
    /// # Cancel safety
    /// Once sent, a commit settles by itself, and the key's next run sees what came of it.
    pub async fn commit(&self, batch: Batch) -> Result<Committed, CommitError> {
        let (mut commit, leave) = match batch.prepare()? {
            Prepared::Idle(committed) => return Ok(committed),
            Prepared::Send(commit, leave) => (commit, leave),
        };
        let client = &self.core.client;
        commit.id.get_or_insert_with(|| CommitId::fresh(client.clock().now(), client.randomness()));
        let (committed, observed) = self.writing().bound.commit_with(commit, leave).await?;
        if !observed {
            self.core.count_unobserved();
            tracing::warn!(controller = %self.core.name, key = ?self.key, "a commit does not show in the cache yet");
        }
        Ok(Committed::new(committed, observed))
    }

    /// A condition as of now, said of the generation that this run sees.
    pub fn condition(
        &self,
        kind: impl Into<String>,
        status: impl Into<ConditionStatus>,
        reason: impl Into<Reason>,
        note: impl Display,
    ) -> Condition {
        Condition {
            kind: kind.into(),
            status: status.into(),
            reason: reason.into().to_string(),
            message: note.to_string(),
            last_transition_time: self.now(),
            observed_generation: self.metadata().map(|metadata| metadata.generation),
        }
    }

    /// Says something of an object. Never blocks; repeats are counted in one event.
    pub fn event_for<H: Held>(&self, object: &H, reason: impl Into<Reason>, note: impl Display) {
        let object = object.held();
        self.say(&object.object_key(), object.uid().clone(), reason.into(), &note, Tone::Normal);
    }

    /// Says that something is wrong with an object, as [`event_for`](Self::event_for) does.
    pub fn warning_for<H: Held>(&self, object: &H, reason: impl Into<Reason>, note: impl Display) {
        let object = object.held();
        self.say(&object.object_key(), object.uid().clone(), reason.into(), &note, Tone::Warning);
    }

    /// The time by the client's clock.
    pub fn now(&self) -> Timestamp {
        self.core.client.clock().now()
    }

    /// Cancelled when this run is over or should hurry: at its end, its timeout, or a shutdown. For what a run starts.
    pub fn cancelled(&self) -> &CancellationToken {
        self.cancelled.get_or_init(|| self.core.stop.child_token())
    }

    /// The metadata of the key's own object at this run's view.
    pub(crate) fn metadata(&self) -> Option<&Metadata> {
        self.core.primary.as_ref()?.metadata(&self.view, &self.key)
    }

    /// The metadata of any object that some informer keeps, at this run's view.
    pub(crate) fn metadata_of(&self, key: &ObjectKey) -> Option<&Metadata> {
        self.view.tables.iter().find_map(|table| table.metadata(key))
    }

    pub(crate) fn core(&self) -> &Arc<Core<K>> {
        &self.core
    }

    /// What was written, if anything was.
    pub(crate) fn ledger(&self) -> Option<Arc<Ledger>> {
        self.writing.get().map(|writing| writing.bound.ledger.clone())
    }

    fn writing(&self) -> &Writing {
        self.writing.get_or_init(|| {
            let client = &self.core.client;
            let (ledger, view, desk) = (Arc::default(), self.view.clone(), self.core.desk.clone());
            let bound = Bound { inner: client.backend().clone(), ledger, view, desk };
            let client = client.over(|_| Arc::new(bound.clone()));
            Writing { bound, client }
        })
    }

    fn say(&self, key: &ObjectKey, uid: Uid, reason: Reason, note: &dyn Display, tone: Tone) {
        let regarding = ObjectReference::to(key, uid);
        self.core.recorder.say(regarding, &self.core.name, reason, note.to_string(), tone, self.now());
    }
}

impl<O: Object> Run<Key<O>> {
    /// The key's object at this run's view; `None` where it is gone.
    pub fn object(&self) -> Option<Arc<O>> {
        let primary = self.core.primary.as_ref()?;
        self.view.table::<O>(primary.slot)?.get(&self.key).cloned()
    }

    /// The object as this process last saw it, if it is gone and its deletion has not been reconciled yet.
    pub fn last_known(&self) -> Option<Arc<O>> {
        self.last_known.clone()?.downcast().ok()
    }

    /// Says something of the key's object. Never blocks; repeats are counted in one event.
    pub fn event(&self, reason: impl Into<Reason>, note: impl Display) {
        self.say_of_own(reason.into(), &note, Tone::Normal);
    }

    /// Says that something is wrong with the key's object, as [`event`](Self::event) does.
    pub fn warning(&self, reason: impl Into<Reason>, note: impl Display) {
        self.say_of_own(reason.into(), &note, Tone::Warning);
    }

    fn say_of_own(&self, reason: Reason, note: &dyn Display, tone: Tone) {
        let Some(primary) = &self.core.primary else { return };
        let uid =
            self.metadata().map(|metadata| metadata.uid.clone()).or_else(|| Some(self.last_known()?.uid().clone()));
        self.say(&primary.object_key(&self.key), uid.unwrap_or_default(), reason, note, tone);
    }
}

impl<K: ReconcileKey> Drop for Run<K> {
    fn drop(&mut self) {
        if let Some(cancelled) = self.cancelled.get() {
            cancelled.cancel();
        }
        if let Some(writing) = self.writing.get() {
            writing.bound.ledger.end();
        }
    }
}

impl<K: ReconcileKey> std::fmt::Debug for Run<K> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Run({} {:?} @{})", self.core.name, self.key, self.view.version)
    }
}
