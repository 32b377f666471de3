//! The keys that wait for a time, by due time and then in the order they came.

use std::collections::BTreeMap;

use tokio::time::Instant;

use super::list::Id;

/// Timers of slots.
#[derive(Debug, Default)]
pub(super) struct Timers {
    by_due: BTreeMap<(Instant, u64), Id>,
    started: u64,
}

impl Timers {
    /// Starts a timer; the number it gives is needed to stop it.
    pub(super) fn push(&mut self, id: Id, due: Instant) -> u64 {
        self.started += 1;
        self.by_due.insert((due, self.started), id);
        self.started
    }

    pub(super) fn remove(&mut self, due: Instant, number: u64) {
        self.by_due.remove(&(due, number));
    }

    pub(super) fn next_due(&self) -> Option<Instant> {
        self.by_due.first_key_value().map(|((due, _), _)| *due)
    }

    /// The first slot that is due; it stays in until it is removed.
    pub(super) fn due(&self, now: Instant) -> Option<Id> {
        self.by_due.first_key_value().filter(|((due, _), _)| *due <= now).map(|(_, id)| *id)
    }

    pub(super) fn len(&self) -> usize {
        self.by_due.len()
    }
}
