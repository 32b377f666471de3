//! What the handles of a queue share, and how its workers wait and are woken.
//!
//! A worker that finds nothing waits to be called. Calls go out one at a time: who was called takes a key and, on its way
//! out, calls the next if there is more to do. One of the waiting workers keeps the time: it sleeps until the earliest
//! timer is due, and is told if an earlier one comes. If it leaves, another is called and takes that over.

use std::{
    hash::{BuildHasher, Hash},
    sync::{Mutex, MutexGuard, PoisonError},
};

use hashbrown::DefaultHashBuilder;
use tokio::{
    sync::{Notify, futures::Notified},
    time::{Instant, sleep_until},
};

use super::{
    Config, Inspection,
    moment::Moment,
    slot::Trigger,
    slots::{Slots, Taken},
};

/// A queue behind its lock.
pub(super) struct Shared<K> {
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

impl<K> Shared<K> {
    pub(super) fn new(config: Config) -> Self {
        let slots = Slots::new(config, Instant::now());
        Self {
            state: Mutex::new(State { slots, waiting: 0, called: false, keeper: None }),
            hasher: DefaultHashBuilder::default(),
            work: Notify::new(),
            earlier: Notify::new(),
            drained: Notify::new(),
        }
    }

    /// Waits until the queue is shut down and empty.
    pub(super) async fn drained(&self) {
        loop {
            // Made before the look, so that it sees what happens after it.
            let drained = self.drained.notified();
            if self.lock().slots.is_drained() {
                return;
            }
            drained.await;
        }
    }

    /// One step of the queue, and then whoever it concerns is woken, outside the lock.
    pub(super) fn update<T>(&self, step: impl FnOnce(&mut Slots<K>, &Moment) -> T) -> T {
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
    pub(super) fn forget(&self, key: &K) {
        let hash = self.hasher.hash_one(key);
        self.update(|slots, _| slots.forget(hash, key));
    }

    pub(super) fn inspect(&self, key: &K) -> Option<Inspection> {
        let hash = self.hasher.hash_one(key);
        self.update(|slots, _| slots.inspect(hash, key))
    }

    pub(super) fn trigger(&self, key: K, trigger: impl FnOnce(Instant) -> Trigger) -> bool {
        let hash = self.hasher.hash_one(&key);
        let moment = Moment::default();
        let trigger = trigger(moment.now());
        let (accepted, _key_dropped_outside_the_lock) =
            self.update_at(&moment, |slots| slots.trigger(hash, key, trigger));
        accepted
    }
}

impl<K: Clone> Shared<K> {
    /// Waits for a key; `None` if none will come any more.
    pub(super) async fn get(&self) -> Option<Taken<K>> {
        if let Some(taken) = self.take() {
            return Some(taken);
        }
        let mut woken = None;
        loop {
            // Made before the look, so that it sees a shutdown after it; of other calls one is stored.
            let work = self.work.notified();
            match self.take_or_wait(woken) {
                Next::Taken(taken) => return Some(taken),
                Next::End => return None,
                Next::Wait(waiting) => woken = Some(waiting.wait(work).await),
            }
        }
    }

    /// Hands out a key if one is ready.
    fn take(&self) -> Option<Taken<K>> {
        self.hand_out(self.lock(), Instant::now()).ok()
    }

    /// Hands out a key, or makes the caller one of the waiting before anyone can add one.
    fn take_or_wait(&self, woken: Option<Woken>) -> Next<'_, K> {
        let now = Instant::now();
        let mut state = self.lock();
        if let Some(woken) = woken {
            state.arrive(woken);
        }
        let mut state = match self.hand_out(state, now) {
            Ok(taken) => return Next::Taken(taken),
            Err(state) => state,
        };
        if state.slots.ended() {
            return Next::End;
        }
        state.waiting += 1;
        Next::Wait(Waiting { shared: self, keeps_until: state.keep_time(), over: false })
    }

    /// Hands out a key, and wakes another worker if there is more to do; else gives the lock back.
    fn hand_out<'a>(
        &self,
        mut state: MutexGuard<'a, State<K>>,
        now: Instant,
    ) -> Result<Taken<K>, MutexGuard<'a, State<K>>> {
        state.slots.promote(now);
        let Some(taken) = state.slots.take(now) else { return Err(state) };
        let more = state.slots.has_ready() || state.needs_keeper();
        let call = more && state.call();
        drop(state);
        if call {
            self.work.notify_one();
        }
        Ok(taken)
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
    Taken(Taken<K>),
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
