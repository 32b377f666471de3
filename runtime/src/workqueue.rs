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

use std::{
    fmt,
    hash::{BuildHasher, Hash},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use hashbrown::DefaultHashBuilder;
use orion_model::{Randomness, backoff::Backoff};
use tokio::{
    sync::{Notify, futures::Notified},
    task::coop,
    time::{Instant, sleep_until},
};

use crate::rate_limiter::TokenBucket;

mod list;
mod metrics;
mod moment;
mod pace;
mod ready;
mod runs;
mod slot;
mod slots;
#[cfg(test)]
mod tests;
mod timers;

pub use metrics::{Inspection, KeyState, Metrics, Timer};

use moment::Moment;
use slot::{Cause, Trigger, When};
use slots::{Slots, Taken};

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

struct Shared<K> {
    state: Mutex<State<K>>,
    hasher: DefaultHashBuilder,
    /// A key is ready, or someone must keep the time.
    work: Notify,
    /// The next timer is earlier than what the keeper of the time waits for.
    earlier: Notify,
    /// The queue is shut down and empty.
    drained: Notify,
}

struct State<K> {
    slots: Slots<K>,
    /// How many workers wait.
    waiting: usize,
    /// One of them was called and has not arrived yet. Nobody else is called until then: on its way out it calls the
    /// next if there is more to do, so a burst does not wake all at once.
    called: bool,
    /// Until when the one waiting worker sleeps that keeps the time for all.
    keeper: Option<Instant>,
}

impl<K: Eq + Hash + Clone> WorkQueue<K> {
    /// An empty queue.
    pub fn new(config: Config) -> Self {
        let slots = Slots::new(config, Instant::now());
        Self {
            shared: Arc::new(Shared {
                state: Mutex::new(State { slots, waiting: 0, called: false, keeper: None }),
                hasher: DefaultHashBuilder::default(),
                work: Notify::new(),
                earlier: Notify::new(),
                drained: Notify::new(),
            }),
        }
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
        if let Some(item) = self.take() {
            return Some(item);
        }
        let mut woken = None;
        loop {
            // Made before the look under the lock: it sees a shutdown from here on. Of other calls one is stored.
            let work = self.shared.work.notified();
            match self.take_or_wait(woken) {
                Next::Item(item) => return Some(item),
                Next::End => return None,
                Next::Wait(waiting) => woken = Some(waiting.wait(work).await),
            }
        }
    }

    /// Forgets the failures of a key, and that it ended for good. What is scheduled stays scheduled.
    pub fn forget(&self, key: &K) {
        let hash = self.shared.hasher.hash_one(key);
        self.shared.update(|slots, _| slots.forget(hash, key));
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
        loop {
            let drained = self.shared.drained.notified();
            if self.shared.lock().slots.is_drained() {
                return;
            }
            drained.await;
        }
    }

    /// How many keys the queue knows: those that wait, those that run, and those that ended for good.
    pub fn len(&self) -> usize {
        self.shared.lock().slots.len()
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
        let hash = self.shared.hasher.hash_one(key);
        self.shared.update(|slots, _| slots.inspect(hash, key))
    }

    /// Hands out a key if one is ready.
    fn take(&self) -> Option<Item<K>> {
        self.hand_out(self.shared.lock(), Instant::now()).ok()
    }

    /// Hands out a key, or makes the caller one of the waiting before anyone can add one.
    fn take_or_wait(&self, woken: Option<Woken>) -> Next<'_, K> {
        let shared = &self.shared;
        let now = Instant::now();
        let mut state = shared.lock();
        if let Some(woken) = woken {
            state.arrive(woken);
        }
        let mut state = match self.hand_out(state, now) {
            Ok(item) => return Next::Item(item),
            Err(state) => state,
        };
        if state.slots.ended() {
            return Next::End;
        }
        state.waiting += 1;
        Next::Wait(Waiting { shared, keeps_until: state.keep_time(), over: false })
    }

    /// Hands out a key, and wakes another worker if there is more to do; else gives the lock back.
    fn hand_out<'a>(
        &self,
        mut state: MutexGuard<'a, State<K>>,
        now: Instant,
    ) -> Result<Item<K>, MutexGuard<'a, State<K>>> {
        state.slots.promote(now);
        let Some(taken) = state.slots.take(now) else { return Err(state) };
        let more = state.slots.has_ready() || state.needs_keeper();
        let call = more && state.call();
        drop(state);
        if call {
            self.shared.work.notify_one();
        }
        Ok(Item { shared: self.shared.clone(), taken, open: true })
    }
}

impl<K> Item<K> {
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

impl<K: fmt::Debug> fmt::Debug for Item<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Item").field("key", self.key()).field("priority", &self.priority()).finish_non_exhaustive()
    }
}

impl<K> Shared<K> {
    /// One step of the queue, and then whoever it concerns is woken, outside the lock.
    fn update<T>(&self, step: impl FnOnce(&mut Slots<K>, &Moment) -> T) -> T {
        let moment = Moment::default();
        self.update_at(&moment, |slots| step(slots, &moment))
    }

    fn update_at<T>(&self, moment: &Moment, step: impl FnOnce(&mut Slots<K>) -> T) -> T {
        let mut state = self.lock();
        let adds = state.slots.adds();
        state.slots.promote_at(moment);
        let result = step(&mut state.slots);
        let signal = Signal {
            one: (state.slots.adds() != adds || state.needs_keeper()) && state.call(),
            keeper: state.keeper_oversleeps(),
            all: state.slots.is_closing(),
            drained: state.slots.is_drained(),
        };
        drop(state);
        self.send(signal);
        result
    }

    fn send(&self, signal: Signal) {
        if signal.all {
            self.work.notify_waiters();
        }
        if signal.drained {
            self.drained.notify_waiters();
        }
        if signal.keeper {
            self.earlier.notify_one();
        }
        if signal.one {
            self.work.notify_one();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State<K>> {
        // Only a key's own Eq or Clone can panic under the lock, and both are called between steps.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Eq + Hash> Shared<K> {
    fn trigger(&self, key: K, trigger: impl FnOnce(Instant) -> Trigger) -> bool {
        let hash = self.hasher.hash_one(&key);
        let moment = Moment::default();
        let trigger = trigger(moment.now());
        let (accepted, _key_dropped_outside_the_lock) =
            self.update_at(&moment, |slots| slots.trigger(hash, key, trigger));
        accepted
    }
}

impl<K> State<K> {
    /// Whether a worker is to be called, which the caller does then.
    fn call(&mut self) -> bool {
        let call = self.waiting > 0 && !self.called;
        self.called |= call;
        call
    }

    /// A worker has ended its wait.
    fn arrive(&mut self, woken: Woken) {
        self.waiting -= 1;
        self.called = false;
        if woken.kept_time {
            self.keeper = None;
        }
    }

    fn needs_keeper(&self) -> bool {
        self.keeper.is_none() && self.slots.next_due().is_some()
    }

    fn keeper_oversleeps(&self) -> bool {
        let Some(until) = self.keeper else { return false };
        self.slots.next_due().is_some_and(|due| due < until)
    }

    /// Makes the caller the keeper of the time if there is a timer and nobody keeps it yet.
    fn keep_time(&mut self) -> Option<Instant> {
        if self.keeper.is_some() {
            return None;
        }
        self.keeper = self.slots.next_due();
        self.keeper
    }
}

/// Whom a step concerns.
struct Signal {
    one: bool,
    keeper: bool,
    all: bool,
    drained: bool,
}

/// What a worker meets when it asks for a key.
enum Next<'a, K> {
    Item(Item<K>),
    End,
    Wait(Waiting<'a, K>),
}

/// A worker whose wait is over.
struct Woken {
    kept_time: bool,
}

/// A worker that waits. If it is dropped while it keeps the time, another one takes that over; if it is dropped after
/// it was called, the call goes to another by itself.
struct Waiting<'a, K> {
    shared: &'a Shared<K>,
    keeps_until: Option<Instant>,
    over: bool,
}

impl<K> Waiting<'_, K> {
    async fn wait(mut self, work: Notified<'_>) -> Woken {
        match self.keeps_until {
            None => work.await,
            Some(due) => tokio::select! {
                biased;
                () = work => {}
                () = self.shared.earlier.notified() => {}
                () = sleep_until(due) => {}
            },
        }
        self.over = true;
        Woken { kept_time: self.keeps_until.is_some() }
    }
}

impl<K> Drop for Waiting<'_, K> {
    fn drop(&mut self) {
        if self.over {
            return;
        }
        let mut state = self.shared.lock();
        state.waiting -= 1;
        if self.keeps_until.is_some() {
            state.keeper = None;
        }
        let call = state.needs_keeper() && state.call();
        drop(state);
        if call {
            self.shared.work.notify_one();
        }
    }
}
