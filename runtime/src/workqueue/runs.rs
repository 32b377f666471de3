//! The keys that were handed out, by start, and how long they have been at it together.

use std::time::Duration;

use tokio::time::Instant;

use super::list::{Id, Links, List};

/// Runs under way. The longest and the sum of all are known without a walk over them.
#[derive(Debug)]
pub(super) struct Runs {
    list: List,
    links: Links,
    starts: Vec<Instant>,
    origin: Instant,
    /// The sum over all runs of origin to start.
    offsets: Duration,
}

impl Runs {
    pub(super) fn new(origin: Instant) -> Self {
        Self { list: List::default(), links: Links::default(), starts: Vec::new(), origin, offsets: Duration::ZERO }
    }

    pub(super) fn push(&mut self, id: Id, start: Instant) {
        if id >= self.starts.len() {
            self.starts.resize(id + 1, self.origin);
        }
        self.starts[id] = start;
        self.list.push(id, &mut self.links);
        self.offsets += start - self.origin;
    }

    pub(super) fn remove(&mut self, id: Id, start: Instant) {
        self.list.remove(id, &mut self.links);
        self.offsets -= start - self.origin;
    }

    /// Lets go of what grew with the slots; only while none runs.
    pub(super) fn give_memory_back(&mut self) {
        (self.links, self.starts) = (Links::default(), Vec::new());
    }

    pub(super) fn len(&self) -> usize {
        self.list.len()
    }

    /// The start of the longest run.
    pub(super) fn oldest(&self) -> Option<Instant> {
        self.list.first().map(|id| self.starts[id])
    }

    /// How long all runs have taken so far, together.
    pub(super) fn unfinished(&self, now: Instant) -> Duration {
        let runs = u32::try_from(self.list.len()).unwrap_or(u32::MAX);
        (now - self.origin).saturating_mul(runs).saturating_sub(self.offsets)
    }
}
