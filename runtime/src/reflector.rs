//! The one task that keeps the cache: it lists, watches, and begins again where a watch ended.
//!
//! ```text
//!   List ──► Open{after} ──► Follow{stream} ──┐
//!    ▲          ▲  disconnected               │
//!    │          └─────────────────────────────┤
//!    └─────────── expired ────────────────────┘
//! ```
//!
//! One watch carries all kinds, so they move together. After a gap the list gives the exact difference, deletions
//! included (C3). Every way back goes through a backoff (C10). An informer that is added while the others follow is
//! taken in by a list of everything; while that fails, the others go on following (C6).

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures::StreamExt;
use orion_model::{
    Client, ClientError, List, Listed, Selection, Watch,
    backend::{Event, Watching},
    backoff::{Backoff, Retry},
};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use crate::feeds::Feeds;

/// A watch that stays quiet gets word this often, so that the cache's version keeps up with the store's.
const BOOKMARKS: Duration = Duration::from_secs(60);

/// How long informers that follow may be held up by the list that takes in a new one.
const TAKEN_IN_WITHIN: Duration = Duration::from_secs(5);

/// Keeps the cache of a manager.
pub(crate) struct Reflector {
    client: Client,
    feeds: Arc<Feeds>,
    trouble: Arc<Trouble>,
    retry: Retry,
    state: State,
    /// How many slots the state covers.
    covered: usize,
    /// When to take in the slots beyond, if there are any.
    take_in: Instant,
}

/// What the reflector last failed with; none while it works.
#[derive(Default)]
pub(crate) struct Trouble(Mutex<Option<ClientError>>);

enum State {
    /// Everything has to be listed, not before the time given.
    List(Instant),
    /// A watch has to be opened, not before the time given.
    Open(Vec<Selection>, Instant),
    /// Changes come in.
    Follow(Vec<Selection>, Watching),
}

impl Trouble {
    pub(crate) fn get(&self) -> Option<ClientError> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set(&self, trouble: Option<ClientError>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = trouble;
    }
}

impl Reflector {
    pub(crate) fn new(client: Client, feeds: Arc<Feeds>) -> Self {
        let retry = Retry::new(Backoff::reconnecting(), client.randomness().clone());
        let now = Instant::now();
        Self { client, feeds, trouble: Arc::default(), retry, state: State::List(now), covered: 0, take_in: now }
    }

    pub(crate) fn trouble(&self) -> Arc<Trouble> {
        self.trouble.clone()
    }

    /// Runs until shutdown; no failure of the backend ends it.
    pub(crate) async fn run(mut self, shutdown: CancellationToken) {
        let feeds = self.feeds.clone();
        self.state = State::List(Instant::now());
        loop {
            let uncovered = self.covered > 0 && self.covered < feeds.len();
            let take_in = self.take_in;
            tokio::select! {
                biased;
                () = shutdown.cancelled() => return,
                () = feeds.added() => self.take_in = Instant::now(),
                () = sleep_until(take_in), if uncovered => self.take_in().await,
                () = self.step() => {}
            }
        }
    }

    /// # Cancel safety
    /// Between its awaits nothing is half done: dropped at any point, it is repeated from the same state.
    async fn step(&mut self) {
        match &mut self.state {
            State::List(at) => {
                sleep_until(*at).await;
                self.list().await;
            }
            State::Open(selections, at) => {
                sleep_until(*at).await;
                let selections = selections.clone();
                self.open(selections).await;
            }
            State::Follow(_, stream) => {
                let next = stream.next().await;
                self.follow(next);
            }
        }
    }

    async fn list(&mut self) {
        let (selections, covered) = self.feeds.selections();
        if selections.is_empty() {
            // Nothing to do until an informer is added, which ends this step.
            return std::future::pending().await;
        }
        match self.client.list_raw(List::snapshot(selections.clone())).await {
            Ok(listed) => self.listed(&listed, selections, covered),
            Err(error) => self.state = State::List(self.failed("list", error)),
        }
    }

    /// Lists everything for the sake of new informers; what is followed now waits for the answer, and goes on if it is
    /// a failure.
    async fn take_in(&mut self) {
        let (selections, covered) = self.feeds.selections();
        let list = self.client.list_raw(List::snapshot(selections.clone()));
        let late = || ClientError::Unavailable("the list for a new informer takes too long".into());
        match timeout(TAKEN_IN_WITHIN, list).await.unwrap_or_else(|_| Err(late())) {
            Ok(listed) => self.listed(&listed, selections, covered),
            Err(error) => self.take_in = self.failed("list for a new informer", error),
        }
    }

    fn listed(&mut self, listed: &Listed, selections: Vec<Selection>, covered: usize) {
        self.feeds.replace(listed.version, covered, &listed.items);
        self.trouble.set(None);
        self.covered = covered;
        self.state = State::Open(selections, Instant::now());
    }

    async fn open(&mut self, selections: Vec<Selection>) {
        let after = self.feeds.cache().view().version;
        let watch = Watch { bookmarks: Some(BOOKMARKS), ..Watch::after(selections.clone(), after) };
        match self.client.watch(watch).await {
            Ok(stream) => self.state = State::Follow(selections, stream),
            Err(error) => self.interrupted(selections, error),
        }
    }

    fn follow(&mut self, next: Option<Result<Event, ClientError>>) {
        let error = match next {
            Some(Ok(event)) => return self.take(event),
            Some(Err(error)) => error,
            None => ClientError::Unavailable("the watch ended".into()),
        };
        if let State::Follow(selections, _) = &mut self.state {
            let selections = std::mem::take(selections);
            self.interrupted(selections, error);
        }
    }

    fn take(&mut self, event: Event) {
        if self.retry.failures() > 0 && self.covered == self.feeds.len() {
            self.retry.reset();
            self.trouble.set(None);
        }
        match event {
            Event::Commit { version, changes } => self.feeds.commit(version, &changes),
            Event::Bookmark(version) => self.feeds.bookmark(version),
        }
    }

    fn interrupted(&mut self, selections: Vec<Selection>, error: ClientError) {
        let expired = matches!(error, ClientError::Expired { .. });
        let at = self.failed("watch", error);
        self.state = if expired { State::List(at) } else { State::Open(selections, at) };
    }

    fn failed(&mut self, call: &str, error: ClientError) -> Instant {
        let delay = self.retry.next_delay();
        tracing::warn!(%error, ?delay, "{call} of the informers failed; trying again");
        self.trouble.set(Some(error));
        Instant::now() + delay
    }
}
