//! The handle on a store.

use std::{fmt, sync::Arc};

use futures::{FutureExt, future::BoxFuture};
use orion_model::{
    Backend, Client, ClientError, Clock, Commit, CommitId, Committed, Get, List, Listed, Randomness, Registry, Stored,
    Watch, Watching,
};
use tokio::sync::{mpsc, oneshot};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    error::OpenError,
    heads::{Heads, heads},
    journal::Journal,
    limits::WAITING_COMMITS,
    load,
    read::Reader,
    round::Pending,
    shared::{Phase, Shared},
    watch,
    writer::Writer,
};

/// Which store this is: what agents and caches compare before they believe a version.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct StoreId {
    /// Stays the same through restore and migration.
    pub cluster: String,
    /// Zero, and higher after each restore.
    pub epoch: u64,
}

/// A versioned store of objects over a journal. Clones are handles on the same store.
///
/// Its tasks run from [`open`](Self::open) to [`close`](Self::close), or until the last handle and watch are gone.
pub struct Store<J: Journal> {
    inner: Arc<Inner<J>>,
}

struct Inner<J> {
    shared: Arc<Shared<J>>,
    commits: mpsc::Sender<Pending>,
    heads: Heads,
    clock: Clock,
    randomness: Randomness,
    closing: CancellationToken,
    tasks: TaskTracker,
}

impl<J: Journal> Store<J> {
    /// Reads a journal and begins to serve it, on the current tokio runtime.
    ///
    /// # Errors
    /// When the kinds do not fit together or the journal does not read.
    pub async fn open(journal: J, registry: Registry, clock: Clock, randomness: Randomness) -> Result<Self, OpenError> {
        registry.check()?;
        let beginning = load::load(&journal, &registry).await?;
        let shared = Arc::new(Shared::new(journal, Arc::new(registry), beginning.state.clone()));
        let (commits, waiting) = mpsc::channel(WAITING_COMMITS);
        let (heads, head_worker) = heads(shared.clone());
        let writer = Writer::new(shared.clone(), waiting, beginning, clock.clone(), randomness.clone());
        let closing = CancellationToken::new();
        let tasks = TaskTracker::new();
        tasks.spawn(writer.run(closing.clone()));
        tasks.spawn(head_worker.run(closing.clone()));
        tasks.close();
        Ok(Self { inner: Arc::new(Inner { shared, commits, heads, clock, randomness, closing, tasks }) })
    }

    /// Which store this is.
    pub fn identity(&self) -> StoreId {
        let identity = self.inner.shared.journal.identity();
        StoreId { cluster: identity.cluster, epoch: identity.epoch }
    }

    /// A client of this store, with the store's own clock and randomness.
    pub fn client(&self) -> Client {
        Client::with_parts(Arc::new(self.clone()), self.inner.clock.clone(), self.inner.randomness.clone())
    }

    /// Resolves with the reason when the store has stopped for good after a fault of its journal: the process should
    /// end then, and a restart settles what was under way. Pending for ever while all is well.
    pub async fn stopped(&self) -> String {
        let mut progress = self.inner.shared.progress();
        let stopped = progress.wait_for(|progress| matches!(progress.phase, Phase::Stopped(_))).await;
        match stopped.map(|progress| progress.phase.clone()) {
            Ok(Phase::Stopped(reason)) => reason.to_string(),
            Ok(_) | Err(_) => std::future::pending().await,
        }
    }

    /// Makes what has been accepted, then stops serving and gives the journal back. Every handle and watch ends.
    pub async fn close(&self) {
        self.inner.closing.cancel();
        self.inner.tasks.wait().await;
        self.inner.shared.journal.close().await;
    }

    fn reader(&self) -> Reader<J> {
        Reader { shared: self.inner.shared.clone(), heads: self.inner.heads.clone() }
    }
}

impl<J: Journal> Backend for Store<J> {
    fn registry(&self) -> Arc<Registry> {
        self.inner.shared.registry.clone()
    }

    fn commit(&self, mut commit: Commit) -> BoxFuture<'static, Result<Committed, ClientError>> {
        let inner = &self.inner;
        let id = commit.id.get_or_insert_with(|| CommitId::fresh(inner.clock.now(), &inner.randomness)).clone();
        let commits = inner.commits.clone();
        let closed = || Phase::Closed.end().map_or(Err(ClientError::Stopped(String::new())), Err);
        async move {
            let (reply, answer) = oneshot::channel();
            if commits.send(Pending { id: id.clone(), commit, reply }).await.is_err() {
                return closed();
            }
            answer
                .await
                .unwrap_or_else(|_| Err(ClientError::Unknown { id, reason: "the store's task has ended".into() }))
        }
        .boxed()
    }

    fn get(&self, get: Get) -> BoxFuture<'static, Result<Option<Stored>, ClientError>> {
        self.reader().get(get).boxed()
    }

    fn list(&self, list: List) -> BoxFuture<'static, Result<Listed, ClientError>> {
        self.reader().list(list).boxed()
    }

    fn watch(&self, watch: Watch) -> BoxFuture<'static, Result<Watching, ClientError>> {
        watch::watch(self.reader(), watch).boxed()
    }
}

impl<J: Journal> Clone for Store<J> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone() }
    }
}

impl<J: Journal> fmt::Debug for Store<J> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").field("identity", &self.identity()).finish_non_exhaustive()
    }
}
