//! The tasks of a manager that runs: what starts when, who failed, and the way down.

use std::{sync::Arc, time::Duration};

use tokio::{
    task::{Id, JoinSet},
    time::{Instant, timeout, timeout_at},
};
use tokio_util::sync::CancellationToken;

use super::{RunError, Shared};
use crate::{controller::Part, feeds::Feeds, recorder::Writer, reflector::Reflector};

/// How long parts have to end after their runs were cancelled.
const ENDED_WITHIN: Duration = Duration::from_secs(5);

const STREAM: &str = "the informers' stream";
const WRITER: &str = "the events' writer";

/// The tasks of a manager that runs.
pub(super) struct Running {
    shared: Arc<Shared>,
    /// Of the parts that all controllers need, with their names.
    common: JoinSet<()>,
    common_names: Vec<(Id, &'static str)>,
    reflecting: CancellationToken,
    writing: CancellationToken,
    controllers: JoinSet<()>,
    names: Vec<(Id, Arc<dyn Part>)>,
    /// Runs under way are cancelled.
    abandon: CancellationToken,
}

impl Running {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self {
            shared,
            common: JoinSet::new(),
            common_names: Vec::new(),
            reflecting: CancellationToken::new(),
            writing: CancellationToken::new(),
            controllers: JoinSet::new(),
            names: Vec::new(),
            abandon: CancellationToken::new(),
        }
    }

    pub(super) fn start_shared(&mut self, reflector: Reflector, writer: Writer) {
        let (reflecting, writing) = (self.reflecting.clone(), self.writing.clone());
        let reflector = self.common.spawn(async move { reflector.run(reflecting).await });
        let writer = self.common.spawn(async move { writer.run(writing).await });
        self.common_names = vec![(reflector.id(), STREAM), (writer.id(), WRITER)];
    }

    /// Starts what is to be started until something fails.
    pub(super) async fn supervise(&mut self, synced_within: Duration) -> RunError {
        let shared = self.shared.clone();
        tokio::select! {
            biased;
            error = first_end(&mut self.common, &self.common_names) => return error,
            synced = timeout(synced_within, until_synced(&shared.feeds)) => if synced.is_err() {
                return not_synced(&shared, synced_within);
            },
        }
        loop {
            self.start_controllers();
            tokio::select! {
                biased;
                error = first_end(&mut self.common, &self.common_names) => return error,
                Some(ended) = self.controllers.join_next_with_id() => if let Some(error) = self.ended(ended) {
                    return error;
                },
                () = shared.added.notified() => {}
            }
        }
    }

    fn start_controllers(&mut self) {
        let mut parts = self.shared.lock();
        let new = parts.controllers[parts.started..].to_vec();
        parts.started = parts.controllers.len();
        drop(parts);
        for part in new {
            let task = self.controllers.spawn(part.clone().run(self.abandon.clone()));
            self.names.push((task.id(), part));
        }
    }

    /// A controller ends only when it was removed or when it panicked outside of its runs.
    fn ended(&mut self, ended: Result<(Id, ()), tokio::task::JoinError>) -> Option<RunError> {
        let id = ended.as_ref().map_or_else(|error| error.id(), |(id, ())| *id);
        let index = self.names.iter().position(|(known, _)| *known == id)?;
        let (_, part) = self.names.swap_remove(index);
        self.shared.forget(&part);
        let error = ended.err()?;
        Some(RunError::Failed { part: format!("controller {}", part.name()), reason: error.to_string() })
    }

    /// Stops everything in reverse, each stage with a deadline.
    pub(super) async fn stop(mut self, grace: Duration) -> Result<(), RunError> {
        let parts = self.shared.lock().controllers.clone();
        parts.iter().for_each(|part| part.stop());
        let mut late = Vec::new();
        if timeout(grace, self.controllers_ended()).await.is_err() {
            self.abandon.cancel();
            if timeout(ENDED_WITHIN, self.controllers_ended()).await.is_err() {
                late.extend(self.names.iter().map(|(_, part)| format!("controller {}", part.name())));
                self.controllers.abort_all();
            }
        }
        self.writing.cancel();
        let deadline = Instant::now() + ENDED_WITHIN;
        if timeout_at(deadline, self.common_ended(1)).await.is_err() {
            late.push(WRITER.to_owned());
        }
        self.reflecting.cancel();
        if timeout_at(deadline, self.common_ended(0)).await.is_err() {
            late.push(STREAM.to_owned());
        }
        if late.is_empty() { Ok(()) } else { Err(RunError::Late { parts: late }) }
    }

    async fn controllers_ended(&mut self) {
        while let Some(ended) = self.controllers.join_next_with_id().await {
            if let Some(error) = self.ended(ended) {
                tracing::error!(%error, "while stopping");
            }
        }
    }

    /// Waits until no more than so many of the common parts are left.
    async fn common_ended(&mut self, left: usize) {
        while self.common.len() > left {
            // How it ended no longer matters: a failure that ended the manager was reported.
            if self.common.join_next().await.is_none() {
                return;
            }
        }
    }
}

async fn first_end(common: &mut JoinSet<()>, names: &[(Id, &'static str)]) -> RunError {
    let Some(ended) = common.join_next_with_id().await else { return std::future::pending().await };
    let (id, reason) = match ended {
        Ok((id, ())) => (id, "it ended".to_owned()),
        Err(error) => (error.id(), error.to_string()),
    };
    let name = names.iter().find(|(known, _)| *known == id).map_or("a shared part", |(_, name)| name);
    RunError::Failed { part: name.to_owned(), reason }
}

async fn until_synced(feeds: &Feeds) {
    let (_, slots) = feeds.selections();
    feeds.cache().until(|root| (0..slots).all(|slot| root.is_synced(slot))).await;
}

fn not_synced(shared: &Shared, within: Duration) -> RunError {
    let root = shared.feeds.cache().view();
    let waiting = root.tables.iter().filter(|table| !table.is_synced());
    let mut informers: Vec<_> = waiting.map(|table| table.kind().to_string()).collect();
    informers.dedup();
    RunError::NotSynced { informers, within, source: shared.trouble.get().map(Box::new) }
}
