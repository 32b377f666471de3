//! A queue of keys to work on: what is added many times runs once, and no key runs beside itself.
//!
//! It knows nothing of objects. A key is any value that can be compared and hashed; why it was added is not kept, for
//! whoever takes it looks at the world as it then is.
//!
//! ```text
//!   add ──► ready, by priority ──► get ──► Item ──► done(Outcome)
//!              ▲                                      │
//!              └────── delayed, by due time ◄─────────┘
//! ```
//!
//! - A key has one slot, whether it waits for a time, waits for a worker or runs. Triggers fold into what is there: many
//!   while it waits make one run, many while it runs make one more, which starts after it. The earliest time wins.
//! - Failures back off by themselves ([`Outcome::Retry`]). An event runs the key early, but leaves backoff as it stands:
//!   only the failure of a run that was due counts as one more.
//! - What ended for good ([`Outcome::Terminal`]) is left alone by timers and resyncs until an event or a poke.
//! - Higher priorities go first, but nothing is passed over more than [`Config::passed_over`] times.
//!
//! Each call costs O(log n) at most in the number of keys, whatever is running; only shutting down walks over all. One
//! lock guards it, and keys are hashed before it is taken. No task of its own runs: one of the waiting workers keeps the
//! time for all.
//!
//! # Examples
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! use orion_runtime::workqueue::{Config, Outcome, Shutdown, WorkQueue};
//!
//! let queue = WorkQueue::new(Config::default());
//! queue.add("a");
//! queue.add("b");
//! queue.add("a");
//! queue.shut_down(Shutdown::Drain);
//! let mut seen = Vec::new();
//! while let Some(item) = queue.get().await {
//!     seen.push(*item.key());
//!     item.done(Outcome::Forget);
//! }
//! assert_eq!(seen, ["a", "b"]);
//! # }
//! ```

use std::{fmt, hash::Hash, sync::Arc, time::Duration};

use orion_model::{Randomness, backoff::Backoff};
use tokio::task::coop;

use crate::rate_limiter::TokenBucket;

mod item;
mod list;
mod metrics;
mod moment;
mod pace;
mod ready;
mod runs;
mod shared;
mod slot;
mod slots;
#[cfg(test)]
mod tests;
mod timers;

pub use item::Item;
pub use metrics::{Inspection, KeyState, Metrics, Timer};

use shared::Shared;
use slot::{Cause, Trigger, When};

/// How a queue behaves.
#[derive(Clone, Debug)]
pub struct Config {
    /// How long a key waits after failures: 5 ms doubling to 1000 s unless told.
    pub backoff: Backoff,
    /// Where the jitter comes from.
    pub randomness: Randomness,
    /// How often failures of all keys together are retried; as often as their backoff allows unless told.
    pub bucket: Option<TokenBucket>,
    /// How many keys of higher priority may be handed out while a key waits at its own (at least 1); the next one is
    /// it, or one of its own or lower priority that has waited as long. 100 unless told. Counted anew when an add
    /// raises it.
    pub passed_over: u32,
}

impl Default for Config {
    fn default() -> Self {
        Self { backoff: Backoff::default(), randomness: Randomness::system(), bucket: None, passed_over: 100 }
    }
}

/// Which key goes first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Priority {
    /// What nobody waits for: first lists and resyncs.
    Low,
    /// Changes.
    #[default]
    Normal,
    /// What a person waits for.
    High,
}

impl Priority {
    /// All of them, lowest first.
    pub const ALL: [Self; 3] = [Self::Low, Self::Normal, Self::High];

    fn level(self) -> usize {
        self as usize
    }
}

/// How a run ended, and so what becomes of its key. A trigger that came during the run runs it again in any case, except
/// that a key which ended for good stays so unless the trigger was an event or a poke.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It succeeded; nothing more to do. Failures are forgotten.
    Forget,
    /// It succeeded and wants to run again after this long, unless triggered before. Failures are forgotten.
    After(Duration),
    /// It failed and runs again when its backoff is over.
    Retry,
    /// It failed in a way that no repetition mends: it runs again when something changes. Failures are forgotten.
    Terminal,
    /// It wants to run again at once, as if it had not run: failures and backoff stay as they are.
    Again,
}

/// How to shut down. A later call may be stricter than the first, never laxer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Shutdown {
    /// What was triggered still runs; timers are dropped.
    Drain,
    /// What runs is waited for; nothing starts any more.
    FinishRunning,
    /// Nothing is waited for.
    Abort,
}

/// A queue of keys. Clones are handles to the same queue.
pub struct WorkQueue<K> {
    shared: Arc<Shared<K>>,
}

impl<K: Eq + Hash + Clone> WorkQueue<K> {
    /// An empty queue.
    pub fn new(config: Config) -> Self {
        Self { shared: Arc::new(Shared::new(config)) }
    }

    /// Something about the key changed: it runs as soon as a worker is free. False if the queue is shut down.
    pub fn add(&self, key: K) -> bool {
        self.add_with(key, Priority::Normal)
    }

    /// As [`add`](Self::add), with a priority; the highest of all that fold into one run counts.
    pub fn add_with(&self, key: K, priority: Priority) -> bool {
        self.shared.trigger(key, |now| Trigger::new(When::Now { since: now, cause: Cause::Event }, priority))
    }

    /// As [`add`](Self::add), ahead of all that is not as urgent: someone asks for it.
    pub fn poke(&self, key: K) -> bool {
        self.add_with(key, Priority::High)
    }

    /// Looks after the key without a reason, at low priority. False also if the key ended for good.
    pub fn resync(&self, key: K) -> bool {
        self.shared.trigger(key, |now| Trigger::new(When::Now { since: now, cause: Cause::Resync }, Priority::Low))
    }

    /// Runs the key after `delay`, unless it runs before. False also if the key ended for good.
    pub fn add_after(&self, key: K, delay: Duration) -> bool {
        self.add_after_with(key, delay, Priority::Normal)
    }

    /// As [`add_after`](Self::add_after), with a priority.
    pub fn add_after_with(&self, key: K, delay: Duration, priority: Priority) -> bool {
        self.shared.trigger(key, |now| Trigger::new(When::At(pace::after(now, delay)), priority))
    }

    /// Waits for the next key. `None` once the queue is shut down and no key will come any more; while it drains, that
    /// may take until the runs of keys that were triggered meanwhile are done.
    ///
    /// # Cancel safety
    ///
    /// Dropped before it is ready, it has taken no key, and the next waiting worker is woken in its place.
    pub async fn get(&self) -> Option<Item<K>> {
        coop::consume_budget().await;
        let taken = self.shared.get().await?;
        Some(Item::new(self.shared.clone(), taken))
    }

    /// Forgets the failures of a key, and that it ended for good. What is scheduled stays scheduled.
    pub fn forget(&self, key: &K) {
        self.shared.forget(key);
    }

    /// Shuts down: nothing is taken in any more, and [`get`](Self::get) ends as `how` says. Calling it again is
    /// harmless.
    pub fn shut_down(&self, how: Shutdown) {
        self.shared.update(|slots, _| slots.close(how));
    }

    /// Waits until the queue is shut down and holds nothing any more: at once after [`Shutdown::Abort`], when the last
    /// item is done after the others.
    ///
    /// # Cancel safety
    ///
    /// It only looks, and may be dropped at any time.
    pub async fn drained(&self) {
        self.shared.drained().await;
    }

    /// How many keys the queue knows: those that wait, those that run, and those that ended for good.
    pub fn len(&self) -> usize {
        self.shared.update(|slots, _| slots.len())
    }

    /// Whether the queue knows no key.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Counts and times.
    pub fn metrics(&self) -> Metrics {
        self.shared.update(|slots, moment| slots.metrics(moment.now()))
    }

    /// What the queue knows of a key.
    pub fn inspect(&self, key: &K) -> Option<Inspection> {
        self.shared.inspect(key)
    }
}

impl<K> Clone for WorkQueue<K> {
    fn clone(&self) -> Self {
        Self { shared: self.shared.clone() }
    }
}

impl<K> fmt::Debug for WorkQueue<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WorkQueue").finish_non_exhaustive()
    }
}
