//! A key in the hands of a worker.

use std::{fmt, sync::Arc};

use tokio::time::Instant;

use super::{Outcome, Priority, shared::Shared, slots::Taken};

/// A key that was handed out. The queue hands it to no one else until this is done or dropped.
///
/// It may be moved to another task and kept after its worker has gone on to other keys. Dropped without
/// [`done`](Item::done), as by a panic, it counts as [`Outcome::Retry`].
#[must_use = "dropping an item counts as a failure of its key"]
pub struct Item<K> {
    shared: Arc<Shared<K>>,
    taken: Taken<K>,
    open: bool,
}

impl<K> Item<K> {
    pub(super) fn new(shared: Arc<Shared<K>>, taken: Taken<K>) -> Self {
        Self { shared, taken, open: true }
    }

    /// The key.
    pub fn key(&self) -> &K {
        &self.taken.key
    }

    /// The priority it was handed out with, and which a requeue of it gets.
    pub fn priority(&self) -> Priority {
        self.taken.priority
    }

    /// Gives what follows from this run another priority, also a lower one. What triggers the key meanwhile may raise
    /// it again.
    pub fn set_priority(&mut self, priority: Priority) {
        self.taken.priority = priority;
    }

    /// How many triggers were folded into this run; none if only a timer asked for it.
    pub fn triggers(&self) -> u32 {
        self.taken.triggers
    }

    /// How many times in a row the key had failed before.
    pub fn failures(&self) -> u32 {
        self.taken.failures
    }

    /// Since when it had waited for a worker.
    pub fn waiting_since(&self) -> Instant {
        self.taken.waiting_since
    }

    /// When it was handed out.
    pub fn started(&self) -> Instant {
        self.taken.started
    }

    /// Gives the key back. What came meanwhile runs it again, whatever the outcome.
    pub fn done(mut self, outcome: Outcome) {
        self.close(outcome);
    }

    fn close(&mut self, outcome: Outcome) {
        self.open = false;
        let Taken { id, priority, .. } = self.taken;
        self.shared.update(|slots, moment| slots.done(id, priority, outcome, moment));
    }
}

impl<K> Drop for Item<K> {
    fn drop(&mut self) {
        if self.open {
            self.close(Outcome::Retry);
        }
    }
}

impl<K: fmt::Debug> fmt::Debug for Item<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Item").field("key", self.key()).field("priority", &self.priority()).finish_non_exhaustive()
    }
}
