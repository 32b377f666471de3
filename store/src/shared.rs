//! What the writer publishes and everybody else reads.

use std::sync::Arc;

use arc_swap::ArcSwap;
use orion_model::{ClientError, Registry, ResourceVersion};
use tokio::sync::{Notify, watch};

use crate::{journal::Seq, limits::FRESHNESS_WAIT, state::State};

/// How far a store has come.
#[derive(Clone, Debug)]
pub(crate) struct Progress {
    pub(crate) seq: Seq,
    pub(crate) version: ResourceVersion,
    pub(crate) phase: Phase,
}

/// Whether it still goes on.
#[derive(Clone, Debug)]
pub(crate) enum Phase {
    Running,
    Closed,
    Stopped(Arc<str>),
}

impl Phase {
    /// Why nothing more comes; `None` while it does.
    pub(crate) fn end(&self) -> Option<ClientError> {
        match self {
            Self::Running => None,
            Self::Closed => Some(ClientError::Unavailable("the store is closed".into())),
            Self::Stopped(reason) => Some(ClientError::Stopped(reason.to_string())),
        }
    }
}

/// The published state, the journal behind it, and a bell for the writer.
pub(crate) struct Shared<J> {
    pub(crate) journal: J,
    pub(crate) registry: Arc<Registry>,
    state: ArcSwap<State>,
    progress: watch::Sender<Progress>,
    bell: Notify,
}

impl<J> Shared<J> {
    pub(crate) fn new(journal: J, registry: Arc<Registry>, state: State) -> Self {
        let progress = Progress { seq: state.seq, version: state.version, phase: Phase::Running };
        Self {
            journal,
            registry,
            state: ArcSwap::from_pointee(state),
            progress: watch::Sender::new(progress),
            bell: Notify::new(),
        }
    }

    /// The newest published state.
    pub(crate) fn state(&self) -> Arc<State> {
        self.state.load_full()
    }

    pub(crate) fn publish(&self, state: State) {
        let (seq, version) = (state.seq, state.version);
        self.state.store(Arc::new(state));
        self.progress.send_modify(|progress| {
            progress.seq = seq;
            progress.version = version;
        });
    }

    /// Says that nothing more comes; the first reason stays.
    pub(crate) fn end(&self, phase: Phase) {
        self.progress.send_if_modified(|progress| {
            let running = matches!(progress.phase, Phase::Running);
            if running {
                progress.phase = phase;
            }
            running
        });
    }

    /// Why nothing more comes; `None` while it does.
    pub(crate) fn ended(&self) -> Option<ClientError> {
        self.progress.borrow().phase.end()
    }

    pub(crate) fn progress(&self) -> watch::Receiver<Progress> {
        self.progress.subscribe()
    }

    /// Asks the writer to look for groups of others.
    pub(crate) fn ring(&self) {
        self.bell.notify_one();
    }

    pub(crate) async fn rung(&self) {
        self.bell.notified().await;
    }

    /// Waits, within a bound, until the published state is as it should be.
    pub(crate) async fn reach(&self, is_there: impl Fn(&Progress) -> bool, what: &str) -> Result<(), ClientError> {
        let mut progress = self.progress();
        if is_there(&progress.borrow_and_update()) {
            return Ok(());
        }
        self.ring();
        let there = progress.wait_for(|progress| is_there(progress) || progress.phase.end().is_some());
        let Ok(Ok(reached)) = tokio::time::timeout(FRESHNESS_WAIT, there).await.map(|there| there.map(|p| p.clone()))
        else {
            return Err(ClientError::Unavailable(format!("{what} has not been reached within {FRESHNESS_WAIT:?}")));
        };
        match reached.phase.end() {
            Some(end) if !is_there(&reached) => Err(end),
            _ => Ok(()),
        }
    }
}
