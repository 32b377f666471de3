//! What a queue shows of itself: [`Metrics`] of all keys, [`Inspection`] of one.

use std::time::Duration;

use tokio::time::Instant;

use super::Priority;

/// Counts and times of a queue at one moment. What it has in common with client-go's `workqueue_*` means the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Metrics {
    pub(super) depth: [usize; Priority::ALL.len()],
    /// Keys that wait for a time.
    pub delayed: usize,
    /// Keys that were handed out and are not done.
    pub running: usize,
    /// Keys that ended for good and wait for something to change.
    pub terminal: usize,
    /// How many times a key became ready.
    pub adds: u64,
    /// Triggers taken in; those beyond `adds` were folded into others.
    pub triggers: u64,
    /// How many times something was put off: retries, requeues, and adds with a delay.
    pub retries: u64,
    /// How long the runs under way have taken so far, together.
    pub unfinished_work: Duration,
    /// How long the longest run under way has taken.
    pub longest_running: Duration,
}

impl Metrics {
    /// Keys that wait for a worker.
    pub fn depth(&self) -> usize {
        self.depth.iter().sum()
    }

    /// Keys of one priority that wait for a worker.
    pub fn depth_at(&self, priority: Priority) -> usize {
        self.depth[priority.level()]
    }
}

/// What a queue knows of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inspection {
    /// Where it is.
    pub state: KeyState,
    /// The priority it waits, runs or last ran with.
    pub priority: Priority,
    /// Failures in a row.
    pub failures: u32,
    /// Until when the last failure keeps it waiting, unless something triggers it.
    pub backoff_until: Option<Instant>,
    /// How many triggers are folded into the run that waits or is under way; none if only a timer asks for it.
    pub triggers: u32,
}

/// Where a key is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyState {
    /// It waits for a time.
    Delayed {
        /// That time.
        due: Instant,
        /// What set it.
        timer: Timer,
    },
    /// It waits for a worker.
    Ready {
        /// Since it was triggered or due.
        since: Instant,
    },
    /// It was handed out and is not done.
    Running {
        /// Since it was handed out.
        since: Instant,
        /// Whether something came meanwhile, so that it will run again.
        again: bool,
    },
    /// It ended for good: only a change or a poke runs it.
    Terminal,
}

/// What set the time a key waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Timer {
    /// Its last run, by [`Outcome::After`](super::Outcome::After).
    Requeue,
    /// Its last failure.
    Backoff,
    /// An add with a delay.
    Added,
}
