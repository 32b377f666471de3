//! Own writes: what a run has written, until the cache shows it.
//!
//! A run's client is the manager's over a [`Bound`] backend. Each commit runs in a task of its own, so it settles even
//! if the run is dropped, and leaves its version here. A key starts its next run only when nothing is in flight and the
//! cache has passed what was written (R1). The ledger waits for versions, not for objects: a delete, a recreation or a
//! write that changed nothing cannot wedge it (R3).

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures::{FutureExt, future::BoxFuture};
use orion_model::{
    Backend, ClientError, Commit, Committed, Freshness, Get, List, Listed, Metadata, ObjectKey, Op, Part, Registry,
    ResourceVersion, Watch, Write,
    backend::Watching,
    backoff::{Backoff, Retry},
    object::Stored,
};
use serde_json::Value;
use tokio::{
    sync::{Notify, oneshot},
    time::{sleep, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{cache::Root, feeds::Feeds};

/// How long a commit waits to see itself in the cache before it returns marked `unobserved` (R2).
const OBSERVED_WITHIN: Duration = Duration::from_secs(5);

/// The writes of one run.
#[derive(Default)]
pub(crate) struct Ledger {
    state: Mutex<State>,
    settled: Notify,
}

#[derive(Default)]
struct State {
    in_flight: usize,
    /// What the cache has to pass; zero if nothing was written that an informer of this process sees.
    awaited: ResourceVersion,
    /// The objects behind `awaited`.
    touched: BTreeSet<ObjectKey>,
    ended: bool,
}

/// What a commit may do beyond the defaults.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Leave {
    /// Return without waiting for the cache.
    pub(crate) nowait: bool,
    /// Change objects that are being deleted.
    pub(crate) even_if_dying: bool,
}

/// The backend of a run's client.
#[derive(Clone)]
pub(crate) struct Bound {
    pub(crate) inner: Arc<dyn Backend>,
    pub(crate) ledger: Arc<Ledger>,
    pub(crate) view: Arc<Root>,
    pub(crate) desk: Arc<Desk>,
}

/// What the commits of all runs of a controller share.
pub(crate) struct Desk {
    pub(crate) feeds: Arc<Feeds>,
    pub(crate) commits: TaskTracker,
    /// Ends the repetition of commits whose outcome nobody knows.
    pub(crate) abandon: CancellationToken,
    pub(crate) backoff: Retry,
}

impl Desk {
    pub(crate) fn new(feeds: Arc<Feeds>, randomness: orion_model::Randomness) -> Self {
        let backoff = Retry::new(Backoff::reconnecting(), randomness);
        Self { feeds, commits: TaskTracker::new(), abandon: CancellationToken::new(), backoff }
    }
}

impl Ledger {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a commit in flight, if the run is not over.
    fn begin(&self) -> Result<(), ClientError> {
        let mut state = self.lock();
        if state.ended {
            return Err(ClientError::BadRequest("the run of this client has ended; it can write no more".into()));
        }
        state.in_flight += 1;
        Ok(())
    }

    /// Notes what a commit came to.
    fn note(&self, result: &Result<Committed, ClientError>, keys: &[ObjectKey], feeds: &Feeds) {
        let mut state = self.lock();
        state.in_flight -= 1;
        if let Some((last, written)) = result.as_ref().ok().and_then(|committed| seen(committed, keys)) {
            for (key, object) in written {
                if state.touched.contains(&key) || feeds.concerns(&key, &object) {
                    state.touched.insert(key);
                    state.awaited = state.awaited.max(last);
                }
            }
        }
        if state.in_flight == 0 {
            self.settled.notify_waiters();
        }
    }

    /// Takes no more commits from here on.
    pub(crate) fn end(&self) {
        self.lock().ended = true;
    }

    /// Resolves when no commit is in flight.
    pub(crate) async fn settled(&self) {
        loop {
            let mut settled = std::pin::pin!(self.settled.notified());
            settled.as_mut().enable();
            if self.lock().in_flight == 0 {
                return;
            }
            settled.await;
        }
    }

    /// The version that the cache has to pass to show all that was written.
    pub(crate) fn awaited(&self) -> ResourceVersion {
        self.lock().awaited
    }
}

/// The end of a commit and the objects it changed; `None` if it changed none.
fn seen(committed: &Committed, keys: &[ObjectKey]) -> Option<(ResourceVersion, Vec<(ObjectKey, Stored)>)> {
    let versions = committed.versions?;
    let changed = committed.results.iter().zip(keys).filter(|(written, _)| written.object.version() >= versions.first);
    let written = changed.map(|(written, key)| {
        // A generated name is known only from the object.
        let name = written.object.metadata().name.as_str();
        (ObjectKey::new(key.kind.clone(), written.object.metadata().namespace.as_str(), name), written.object.clone())
    });
    Some((versions.last, written.collect()))
}

impl Bound {
    /// Makes a commit of this run; says whether the cache shows it.
    pub(crate) async fn commit_with(&self, commit: Commit, leave: Leave) -> Result<(Committed, bool), ClientError> {
        if !leave.even_if_dying {
            self.refuse_dying(&commit).await?;
        }
        self.ledger.begin()?;
        let (answer, answered) = oneshot::channel();
        let task = self.clone();
        self.desk.commits.spawn(async move { task.settle(commit, answer).await });
        let committed =
            answered.await.unwrap_or_else(|_| Err(ClientError::Stopped("the commit's task ended".into())))?;
        let observed = leave.nowait || self.observed().await;
        Ok((committed, observed))
    }

    async fn observed(&self) -> bool {
        let version = self.ledger.awaited();
        timeout(OBSERVED_WITHIN, self.desk.feeds.cache().passed(version)).await.is_ok()
    }

    /// Commits until the outcome is known; the caller hears the first answer.
    async fn settle(self, commit: Commit, answer: oneshot::Sender<Result<Committed, ClientError>>) {
        let keys: Vec<_> = commit.writes.iter().map(|write| write.key.clone()).collect();
        let mut outcome = Noting { bound: &self, keys: &keys, result: None };
        let mut result = self.inner.commit(commit.clone()).await;
        let unknown = matches!(result, Err(ClientError::Unknown { .. }));
        if !unknown {
            outcome.note(&result);
        }
        // A dropped run no longer listens.
        drop(answer.send(result.clone()));
        if unknown {
            result = self.repeat(&commit).await;
            outcome.note(&result);
        }
    }

    async fn repeat(&self, commit: &Commit) -> Result<Committed, ClientError> {
        let mut retry = self.desk.backoff.clone();
        loop {
            tokio::select! {
                biased;
                () = self.desk.abandon.cancelled() => return Err(ClientError::Stopped("shut down".into())),
                () = sleep(retry.next_delay()) => {}
            }
            match self.inner.commit(commit.clone()).await {
                Err(ClientError::Unknown { .. } | ClientError::Unavailable(_)) => {}
                result => return result,
            }
        }
    }

    /// Refuses what brings a dying object back or holds it up (K12).
    async fn refuse_dying(&self, commit: &Commit) -> Result<(), ClientError> {
        for write in &commit.writes {
            if let Some(refused) = self.revival(write).await? {
                return Err(ClientError::BeingDeleted { key: write.key.clone(), refused: refused.to_owned() });
            }
        }
        Ok(())
    }

    async fn revival(&self, write: &Write) -> Result<Option<&'static str>, ClientError> {
        match &write.op {
            Op::Merge(patch, Part::Main | Part::Whole) => {
                let dying = match self.at_hand(write) {
                    Some(metadata) => metadata.is_being_deleted().then(|| metadata.finalizers.clone()),
                    None => self.dying(&write.key).await?.map(|object| object.metadata().finalizers.clone()),
                };
                Ok(dying.and_then(|finalizers| revived_by_patch(patch, &finalizers)))
            }
            Op::Replace(body, Part::Main | Part::Whole) => {
                if self.at_hand(write).is_some_and(|metadata| !metadata.is_being_deleted()) {
                    return Ok(None);
                }
                Ok(self.dying(&write.key).await?.and_then(|object| revived_by_body(&object, body)))
            }
            Op::Merge(_, Part::Status)
            | Op::Replace(_, Part::Status)
            | Op::Create(_)
            | Op::CreateWhole(_)
            | Op::Delete => Ok(None),
        }
    }

    /// The object's metadata as this run's view has it, if that is what the write was made from.
    fn at_hand(&self, write: &Write) -> Option<&Metadata> {
        let metadata = self.view.tables.iter().find_map(|table| table.metadata(&write.key))?;
        (write.precondition.version == Some(metadata.resource_version)).then_some(metadata)
    }

    async fn dying(&self, key: &ObjectKey) -> Result<Option<Stored>, ClientError> {
        let object = self.inner.get(Get { key: key.clone(), freshness: Freshness::Any }).await?;
        Ok(object.filter(|object| object.metadata().is_being_deleted()))
    }
}

/// Notes an outcome in the ledger even if the backend panics.
struct Noting<'a> {
    bound: &'a Bound,
    keys: &'a [ObjectKey],
    result: Option<()>,
}

impl Noting<'_> {
    fn note(&mut self, result: &Result<Committed, ClientError>) {
        self.result = Some(());
        self.bound.ledger.note(result, self.keys, &self.bound.desk.feeds);
    }
}

impl Drop for Noting<'_> {
    fn drop(&mut self) {
        if self.result.is_none() {
            self.note(&Err(ClientError::Stopped("the commit's task ended".into())));
        }
    }
}

/// What a merge patch changes that a dying object must keep.
fn revived_by_patch(patch: &Value, finalizers: &[String]) -> Option<&'static str> {
    let fields = patch.as_object()?;
    if fields.keys().any(|field| !matches!(field.as_str(), "apiVersion" | "kind" | "metadata" | "status")) {
        return Some("a change of its content");
    }
    let metadata = fields.get("metadata")?;
    if metadata.get("labels").is_some() {
        return Some("a change of its labels");
    }
    let wanted = metadata.get("finalizers").and_then(Value::as_array)?;
    let added = |name: &Value| name.as_str().is_some_and(|name| !finalizers.iter().any(|known| known == name));
    wanted.iter().any(added).then_some("a new finalizer")
}

/// What a whole body changes that a dying object must keep.
fn revived_by_body(object: &Stored, body: &Value) -> Option<&'static str> {
    let (mut current, mut wanted) = (object.to_value(), body.clone());
    for value in [&mut current, &mut wanted] {
        if let Some(fields) = value.as_object_mut() {
            fields.shift_remove("status");
        }
    }
    let patch = orion_model::patch::diff(&current, &wanted)?;
    revived_by_patch(&patch, &object.metadata().finalizers)
}

impl Backend for Bound {
    fn registry(&self) -> Arc<Registry> {
        self.inner.registry()
    }

    fn collects_garbage(&self) -> bool {
        self.inner.collects_garbage()
    }

    fn commit(&self, commit: Commit) -> BoxFuture<'static, Result<Committed, ClientError>> {
        let bound = self.clone();
        async move { bound.commit_with(commit, Leave::default()).await.map(|(committed, _)| committed) }.boxed()
    }

    fn get(&self, get: Get) -> BoxFuture<'static, Result<Option<Stored>, ClientError>> {
        self.inner.get(get)
    }

    fn list(&self, list: List) -> BoxFuture<'static, Result<Listed, ClientError>> {
        self.inner.list(list)
    }

    fn watch(&self, watch: Watch) -> BoxFuture<'static, Result<Watching, ClientError>> {
        self.inner.watch(watch)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn k12_what_a_dying_object_keeps_is_known_from_the_patch() {
        let finalizers = ["mine".to_owned(), "theirs".to_owned()];
        let table = [
            (json!({}), None),
            (json!({"status": {"phase": "Stopping"}}), None),
            (json!({"metadata": {"annotations": {"a": "b"}}}), None),
            (json!({"metadata": {"finalizers": ["theirs"]}}), None),
            (json!({"metadata": {"finalizers": null}}), None),
            (json!({"metadata": {"finalizers": ["mine", "theirs", "new"]}}), Some("a new finalizer")),
            (json!({"metadata": {"labels": {"a": null}}}), Some("a change of its labels")),
            (json!({"spec": {"url": "x"}}), Some("a change of its content")),
            (json!({"data": {}}), Some("a change of its content")),
        ];
        for (patch, expected) in table {
            assert_eq!(revived_by_patch(&patch, &finalizers), expected, "{patch}");
        }
    }
}
