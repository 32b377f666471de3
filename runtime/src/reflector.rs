//! The one task that keeps the cache: it lists, watches, and begins again where a watch ended.
//!
//! ```text
//!   List ──► Open{after} ──► Follow{stream} ──┐
//!    ▲          ▲  disconnected               │
//!    │          └─────────────────────────────┤
//!    └─────────── expired, informer added ────┘
//! ```
//!
//! One watch carries all kinds, so they move together. After a gap the list gives the exact difference, deletions
//! included (C3). Every way back goes through a backoff (C10).

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures::StreamExt;
use orion_model::{
    Client, ClientError, List, Selection, Watch,
    backend::{Event, Watching},
    backoff::{Backoff, Retry},
};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::feeds::Feeds;

/// A watch that stays quiet gets word this often, so that the cache's version keeps up with the store's.
const BOOKMARKS: Duration = Duration::from_secs(60);

/// Keeps the cache of a manager.
pub(crate) struct Reflector {
    client: Client,
    feeds: Arc<Feeds>,
    trouble: Arc<Trouble>,
    retry: Retry,
}

/// What the reflector last failed with; none while it works.
#[derive(Default)]
pub(crate) struct Trouble(Mutex<Option<ClientError>>);

enum State {
    /// Everything has to be listed, not before the time given.
    List(Instant),
    /// A watch has to be opened, not before the time given.
    Open(Selections, Instant),
    /// Changes come in.
    Follow(Selections, Watching),
}

type Selections = Vec<Selection>;

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
        Self { client, feeds, trouble: Arc::default(), retry }
    }

    pub(crate) fn trouble(&self) -> Arc<Trouble> {
        self.trouble.clone()
    }

    /// Runs until shutdown; no failure of the backend ends it.
    pub(crate) async fn run(mut self, shutdown: CancellationToken) {
        let feeds = self.feeds.clone();
        let mut state = State::List(Instant::now());
        loop {
            state = tokio::select! {
                biased;
                () = shutdown.cancelled() => return,
                () = feeds.added() => State::List(Instant::now()),
                next = self.step(state) => next,
            };
        }
    }

    /// # Cancel safety
    /// Dropped at any point, it has applied whole lists and commits only; starting again from a list is right.
    async fn step(&mut self, state: State) -> State {
        match state {
            State::List(at) => {
                sleep_until(at).await;
                self.list().await
            }
            State::Open(selections, at) => {
                sleep_until(at).await;
                self.open(selections).await
            }
            State::Follow(selections, stream) => self.follow(selections, stream).await,
        }
    }

    async fn list(&mut self) -> State {
        let (selections, covered) = self.feeds.selections();
        if selections.is_empty() {
            // Nothing to do until an informer is added, which ends this step.
            return std::future::pending().await;
        }
        match self.client.list_raw(List::snapshot(selections.clone())).await {
            Ok(listed) => {
                self.feeds.replace(listed.version, covered, &listed.items);
                self.trouble.set(None);
                State::Open(selections, Instant::now())
            }
            Err(error) => State::List(self.failed("list", error)),
        }
    }

    async fn open(&mut self, selections: Selections) -> State {
        let after = self.feeds.cache().view().version;
        let watch = Watch { bookmarks: Some(BOOKMARKS), ..Watch::after(selections.clone(), after) };
        match self.client.watch(watch).await {
            Ok(stream) => State::Follow(selections, stream),
            Err(error) => self.after(selections, error),
        }
    }

    async fn follow(&mut self, selections: Selections, mut stream: Watching) -> State {
        match stream.next().await {
            Some(Ok(event)) => {
                self.take(event);
                State::Follow(selections, stream)
            }
            Some(Err(error)) => self.after(selections, error),
            None => self.after(selections, ClientError::Unavailable("the watch ended".into())),
        }
    }

    fn take(&mut self, event: Event) {
        if self.retry.failures() > 0 {
            self.retry.reset();
            self.trouble.set(None);
        }
        match event {
            Event::Commit { version, changes } => self.feeds.commit(version, &changes),
            Event::Bookmark(version) => self.feeds.bookmark(version),
        }
    }

    fn after(&mut self, selections: Selections, error: ClientError) -> State {
        let expired = matches!(error, ClientError::Expired { .. });
        let at = self.failed("watch", error);
        if expired { State::List(at) } else { State::Open(selections, at) }
    }

    fn failed(&mut self, call: &str, error: ClientError) -> Instant {
        let delay = self.retry.next_delay();
        tracing::warn!(%error, ?delay, "{call} of the informers failed; trying again");
        self.trouble.set(Some(error));
        Instant::now() + delay
    }
}
