//! A backend that holds commits back, or refuses them, when a test says so.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use futures::future::BoxFuture;
use orion_model::{
    Backend, ClientError, Commit, Committed, Get, List, Listed, Registry, Stored, Watch, backend::Watching,
};
use tokio::sync::watch;

/// What becomes of commits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mood {
    Open,
    Held,
    Refusing,
    Panicking,
}

/// The test's side.
#[derive(Clone)]
pub(crate) struct Gate {
    mood: watch::Sender<Mood>,
    tried: Arc<AtomicUsize>,
}

struct Gated {
    backend: Arc<dyn Backend>,
    gate: Gate,
}

impl Gate {
    pub(crate) fn new() -> Self {
        Self { mood: watch::Sender::new(Mood::Open), tried: Arc::default() }
    }

    pub(crate) fn over(&self, backend: Arc<dyn Backend>) -> Arc<dyn Backend> {
        Arc::new(Gated { backend, gate: self.clone() })
    }

    pub(crate) fn set(&self, mood: Mood) {
        self.mood.send_replace(mood);
    }

    /// Commits that were tried so far.
    pub(crate) fn tried(&self) -> usize {
        self.tried.load(Ordering::SeqCst)
    }
}

impl Backend for Gated {
    fn registry(&self) -> Arc<Registry> {
        self.backend.registry()
    }

    fn commit(&self, commit: Commit) -> BoxFuture<'static, Result<Committed, ClientError>> {
        let (backend, mut mood) = (self.backend.clone(), self.gate.mood.subscribe());
        self.gate.tried.fetch_add(1, Ordering::SeqCst);
        Box::pin(async move {
            let mood = *mood.wait_for(|mood| *mood != Mood::Held).await.expect("the gate lives");
            match mood {
                Mood::Refusing => Err(ClientError::Unavailable("the gate refuses".into())),
                Mood::Panicking => panic!("the gate panics"),
                Mood::Open | Mood::Held => backend.commit(commit).await,
            }
        })
    }

    fn get(&self, get: Get) -> BoxFuture<'static, Result<Option<Stored>, ClientError>> {
        self.backend.get(get)
    }

    fn list(&self, list: List) -> BoxFuture<'static, Result<Listed, ClientError>> {
        self.backend.list(list)
    }

    fn watch(&self, watch: Watch) -> BoxFuture<'static, Result<Watching, ClientError>> {
        self.backend.watch(watch)
    }
}
