//! All keys of a queue and where each stands: one slot a key, found by its hash or its number, and in at most one of
//! three orders: by due time, by priority, by start.
//!
//! Nothing here waits or locks. Each call is one step of one slot (only shutting down walks over all), after which the
//! slot is moved to the order its new state belongs to, or dropped if nothing of it need be known.

use std::time::Duration;

use hashbrown::HashTable;
use slab::Slab;
use tokio::time::Instant;

use super::{
    Config, Inspection, KeyState, Metrics, Outcome, Priority, Shutdown,
    list::Id,
    moment::Moment,
    pace::Pace,
    ready::Ready,
    runs::Runs,
    slot::{Ending, Input, Running, Slot, State, Trigger},
    timers::Timers,
};

/// From how many free places on an empty queue gives its memory back.
const SPARE: usize = 4096;

/// The keys of a queue.
pub(super) struct Slots<K> {
    entries: Slab<Entry<K>>,
    ids: HashTable<Id>,
    timers: Timers,
    ready: Ready,
    runs: Runs,
    pace: Pace,
    closing: bool,
    /// Running keys that are still owed a run while the queue drains.
    owed: usize,
    terminal: usize,
    adds: u64,
    triggers: u64,
    retries: u64,
}

struct Entry<K> {
    key: K,
    hash: u64,
    slot: Slot,
    /// Tells apart timers of the same due time.
    timer: u64,
}

/// A key that was handed out.
pub(super) struct Taken<K> {
    pub(super) id: Id,
    pub(super) key: K,
    pub(super) priority: Priority,
    pub(super) triggers: u32,
    pub(super) failures: u32,
    pub(super) waiting_since: Instant,
    pub(super) started: Instant,
}

/// The order a slot is kept in.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Nowhere,
    Timers(Instant),
    Ready(Priority),
    Running(Instant),
    Terminal,
}

impl<K> Slots<K> {
    pub(super) fn new(config: Config, now: Instant) -> Self {
        Self {
            entries: Slab::new(),
            ids: HashTable::new(),
            timers: Timers::default(),
            ready: Ready::new(config.passed_over),
            runs: Runs::new(now),
            pace: Pace::new(config.backoff, config.randomness, config.bucket),
            closing: false,
            owed: 0,
            terminal: 0,
            adds: 0,
            triggers: 0,
            retries: 0,
        }
    }

    /// Makes ready what is due.
    pub(super) fn promote(&mut self, now: Instant) {
        while let Some(id) = self.timers.due(now) {
            self.step(id, Input::Due);
        }
    }

    /// Makes ready what is due, without reading the clock if nothing waits for it.
    pub(super) fn promote_at(&mut self, moment: &Moment) {
        if self.timers.len() > 0 {
            self.promote(moment.now());
        }
    }

    /// Ends a run; the key comes back if nothing of it need be known. Without effect after an abort.
    pub(super) fn done(&mut self, id: Id, priority: Priority, outcome: Outcome, moment: &Moment) -> Option<K> {
        let slot = &mut self.entries.get_mut(id)?.slot;
        slot.priority = priority;
        let ending = if self.closing {
            self.owed -= usize::from(slot.owes_a_run());
            Ending::Forgotten
        } else {
            self.pace.ending(slot, outcome, moment)
        };
        self.retries += u64::from(ending.is_delayed());
        self.step(id, Input::Done(ending));
        self.drop_if_idle(id)
    }

    /// Shuts the queue down, or tightens a shutdown under way.
    pub(super) fn close(&mut self, how: Shutdown) {
        self.closing = true;
        let ids: Vec<Id> = self.entries.iter().map(|(id, _)| id).collect();
        for id in ids {
            self.step(id, Input::Close(how));
            self.drop_if_idle(id);
        }
        self.owed = self.entries.iter().filter(|(_, entry)| entry.slot.owes_a_run()).count();
    }

    /// Whether no key will be handed out any more.
    pub(super) fn ended(&self) -> bool {
        self.closing && self.ready.len() == 0 && self.owed == 0
    }

    pub(super) fn is_drained(&self) -> bool {
        self.closing && self.entries.is_empty()
    }

    pub(super) fn is_closing(&self) -> bool {
        self.closing
    }

    /// When the next timer is due.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.timers.next_due()
    }

    pub(super) fn has_ready(&self) -> bool {
        self.ready.len() > 0
    }

    /// How many times a key became ready.
    pub(super) fn adds(&self) -> u64 {
        self.adds
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn metrics(&self, now: Instant) -> Metrics {
        Metrics {
            depth: Priority::ALL.map(|priority| self.ready.len_at(priority)),
            delayed: self.timers.len(),
            running: self.runs.len(),
            terminal: self.terminal,
            adds: self.adds,
            triggers: self.triggers,
            retries: self.retries,
            unfinished_work: self.runs.unfinished(now),
            longest_running: self.runs.oldest().map_or(Duration::ZERO, |since| now.duration_since(since)),
        }
    }

    fn insert(&mut self, hash: u64, key: K) -> Id {
        let id = self.entries.insert(Entry { key, hash, slot: Slot::new(), timer: 0 });
        let entries = &self.entries;
        self.ids.insert_unique(hash, id, |id| entries[*id].hash);
        id
    }

    /// Lets a key go of which nothing need be known.
    fn drop_if_idle(&mut self, id: Id) -> Option<K> {
        if self.entries[id].place() != Place::Nowhere {
            return None;
        }
        let Entry { key, hash, .. } = self.entries.remove(id);
        if let Ok(found) = self.ids.find_entry(hash, |other| *other == id) {
            found.remove();
        }
        if self.entries.is_empty() && self.entries.capacity() > SPARE {
            self.give_memory_back();
        }
        Some(key)
    }

    /// What grew with the most keys there ever were at a time; only for an empty queue.
    fn give_memory_back(&mut self) {
        self.entries = Slab::new();
        self.ids = HashTable::new();
        self.ready.give_memory_back();
        self.runs.give_memory_back();
    }

    /// One step of one slot, and its move to where it then belongs.
    fn step(&mut self, id: Id, input: Input) -> bool {
        let entry = &mut self.entries[id];
        let before = entry.place();
        let accepted = entry.slot.step(input);
        let after = entry.place();
        if before != after {
            self.leave(id, before);
            self.enter(id, after);
            self.adds += u64::from(after.is_ready() && !before.is_ready());
        }
        accepted
    }

    fn leave(&mut self, id: Id, place: Place) {
        match place {
            Place::Nowhere => {}
            Place::Timers(due) => self.timers.remove(due, self.entries[id].timer),
            Place::Ready(priority) => self.ready.remove(id, priority),
            Place::Running(since) => self.runs.remove(id, since),
            Place::Terminal => self.terminal -= 1,
        }
    }

    fn enter(&mut self, id: Id, place: Place) {
        match place {
            Place::Nowhere => {}
            Place::Timers(due) => self.entries[id].timer = self.timers.push(id, due),
            Place::Ready(priority) => self.ready.push(id, priority),
            Place::Running(since) => self.runs.push(id, since),
            Place::Terminal => self.terminal += 1,
        }
    }
}

impl<K: Eq> Slots<K> {
    /// Takes a trigger in; false if it is refused. The key comes back if its slot has one already.
    pub(super) fn trigger(&mut self, hash: u64, key: K, trigger: Trigger) -> (bool, Option<K>) {
        if self.closing {
            return (false, Some(key));
        }
        let (id, key) = match self.find(hash, &key) {
            Some(id) => (id, Some(key)),
            None => (self.insert(hash, key), None),
        };
        let accepted = self.step(id, Input::Trigger(trigger));
        self.triggers += u64::from(accepted);
        self.retries += u64::from(accepted && trigger.is_delayed());
        (accepted, key)
    }

    /// Forgets the failures of a key, and that it ended for good.
    pub(super) fn forget(&mut self, hash: u64, key: &K) -> Option<K> {
        let id = self.find(hash, key)?;
        self.step(id, Input::Forget);
        self.drop_if_idle(id)
    }

    pub(super) fn inspect(&self, hash: u64, key: &K) -> Option<Inspection> {
        let slot = &self.entries[self.find(hash, key)?].slot;
        let state = match &slot.state {
            State::Idle => return None,
            State::Delayed { due, timer, .. } => KeyState::Delayed { due: *due, timer: *timer },
            State::Ready { since, .. } => KeyState::Ready { since: *since },
            State::Running(Running { since, pending, .. }) => {
                KeyState::Running { since: *since, again: pending.is_some() }
            }
            State::Terminal => KeyState::Terminal,
        };
        Some(Inspection {
            state,
            priority: slot.priority,
            failures: slot.failures(),
            backoff_until: slot.standing.map(|standing| standing.due),
            triggers: slot.triggers(),
        })
    }

    fn find(&self, hash: u64, key: &K) -> Option<Id> {
        self.ids.find(hash, |id| self.entries[*id].key == *key).copied()
    }
}

impl<K: Clone> Slots<K> {
    /// Hands out a key.
    pub(super) fn take(&mut self, now: Instant) -> Option<Taken<K>> {
        let id = self.ready.pick()?;
        // Cloned first: if that panics, the key still waits.
        let key = self.entries[id].key.clone();
        self.step(id, Input::Take { now });
        let slot = &self.entries[id].slot;
        let State::Running(Running { waiting_since, triggers, .. }) = slot.state else { return None };
        let (priority, failures) = (slot.priority, slot.failures());
        Some(Taken { id, key, priority, triggers, failures, waiting_since, started: now })
    }
}

impl<K> Entry<K> {
    fn place(&self) -> Place {
        match &self.slot.state {
            State::Idle => Place::Nowhere,
            State::Delayed { due, .. } => Place::Timers(*due),
            State::Ready { .. } => Place::Ready(self.slot.priority),
            State::Running(run) => Place::Running(run.since),
            State::Terminal => Place::Terminal,
        }
    }
}

impl Place {
    fn is_ready(self) -> bool {
        matches!(self, Self::Ready(_))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workqueue::slot::{Cause, When};

    #[tokio::test(start_paused = true)]
    async fn q12_a_queue_that_empties_after_a_flood_gives_its_memory_back() {
        let now = Instant::now();
        let mut slots = Slots::new(Config::default(), now);
        let event = Trigger::new(When::Now { since: now, cause: Cause::Event }, Priority::Normal);
        for round in 0..2u64 {
            for key in 0..2 * SPARE as u64 {
                slots.trigger(key, key, event);
            }
            while let Some(taken) = slots.take(now) {
                slots.done(taken.id, taken.priority, Outcome::Forget, &Moment::default());
            }
            assert_eq!((slots.len(), slots.entries.capacity(), slots.ids.capacity()), (0, 0, 0), "round {round}");
        }
    }
}
