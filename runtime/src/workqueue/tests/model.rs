//! Random operations, seeded, on the queue and on a plain model of it: lists that are searched from end to end.
//!
//! After each operation both must agree on every key's state, failures, due time and priority, and on which key is
//! handed out. Beside that, whatever both say: no key runs beside itself (Q1), every event is followed by a run that
//! starts after it (Q3), and the queue knows no more keys than there are (Q12).

use std::collections::{BTreeMap, BTreeSet};

use super::*;

type Key = u8;

const KEYS: u64 = 6;

/// What the model knows of a key: each wish on its own.
#[derive(Clone, Debug, Default)]
struct Known {
    /// It should run now; the number orders it among its equals.
    wanted: Option<u64>,
    /// It should run then; the number orders timers of one time.
    wanted_at: Option<(Instant, u64, Timer)>,
    running: Option<Run>,
    failures: u32,
    backoff_until: Option<Instant>,
    priority: Priority,
    terminal: bool,
}

#[derive(Clone, Debug)]
struct Run {
    early: bool,
    event: Option<Priority>,
    resync: Option<Priority>,
    later: Option<(Instant, Priority)>,
}

#[derive(Default)]
struct Model {
    keys: BTreeMap<Key, Known>,
    number: u64,
}

impl Model {
    fn number(&mut self) -> u64 {
        self.number += 1;
        self.number
    }

    fn promote(&mut self, now: Instant) {
        while let Some(key) = self.first_due(now) {
            let number = self.number();
            let known = self.keys.get_mut(&key).expect("it has a timer");
            (known.wanted, known.wanted_at) = (Some(number), None);
        }
    }

    fn first_due(&self, now: Instant) -> Option<Key> {
        let timers = self.keys.iter().filter_map(|(key, known)| Some((known.wanted_at?, *key)));
        timers
            .filter(|((due, ..), _)| *due <= now)
            .min_by_key(|((due, number, _), _)| (*due, *number))
            .map(|(_, key)| key)
    }

    fn event(&mut self, key: Key, priority: Priority) {
        if let Some(run) = self.keys.get_mut(&key).and_then(|known| known.running.as_mut()) {
            run.event = run.event.max(Some(priority));
            return;
        }
        self.want(key, priority);
    }

    fn resync(&mut self, key: Key) -> bool {
        match self.keys.get_mut(&key) {
            Some(Known { terminal: true, .. }) => return false,
            Some(Known { running: Some(run), .. }) => run.resync = Some(Priority::Low),
            _ => self.want(key, Priority::Low),
        }
        true
    }

    fn want(&mut self, key: Key, priority: Priority) {
        let number = self.number();
        let fresh = !self.keys.contains_key(&key);
        let known = self.keys.entry(key).or_default();
        let before = known.priority;
        known.priority = if fresh || known.terminal { priority } else { before.max(priority) };
        known.terminal = false;
        known.wanted_at = None;
        if known.wanted.is_none() || known.priority > before {
            known.wanted = Some(number);
        }
    }

    fn add_after(&mut self, key: Key, due: Instant) -> bool {
        let number = self.number();
        let fresh = !self.keys.contains_key(&key);
        let known = self.keys.entry(key).or_default();
        if known.terminal {
            return false;
        }
        if let Some(run) = &mut known.running {
            let later = run.later.map_or(due, |(before, _)| before.min(due));
            run.later = Some((later, Priority::Normal));
            return true;
        }
        let before = known.priority;
        known.priority = if fresh { Priority::Normal } else { before.max(Priority::Normal) };
        if known.wanted.is_some() {
            if known.priority > before {
                known.wanted = Some(number);
            }
        } else if known.wanted_at.is_none_or(|(at, ..)| due < at) {
            known.wanted_at = Some((due, number, Timer::Added));
        }
        true
    }

    fn get(&mut self, now: Instant) -> Option<Key> {
        let ready = self.keys.iter().filter_map(|(key, known)| Some((known.priority, known.wanted?, *key)));
        let (_, _, key) = ready.max_by_key(|(priority, number, _)| (*priority, std::cmp::Reverse(*number)))?;
        let known = self.keys.get_mut(&key).expect("just found");
        assert!(known.running.is_none(), "the model runs a key twice");
        known.wanted = None;
        let early = known.backoff_until.is_some_and(|until| now < until);
        known.running = Some(Run { early, event: None, resync: None, later: None });
        Some(key)
    }

    fn done(&mut self, key: Key, outcome: Outcome, now: Instant) {
        let number = self.number();
        let known = self.keys.get_mut(&key).expect("it runs");
        let run = known.running.take().expect("it runs");
        match outcome {
            Outcome::Forget | Outcome::Terminal => (known.failures, known.backoff_until) = (0, None),
            Outcome::After(delay) => {
                (known.failures, known.backoff_until) = (0, None);
                known.wanted_at = Some((now + delay, number, Timer::Requeue));
            }
            Outcome::Retry => {
                if !run.early {
                    known.failures += 1;
                    let wait =
                        (5 * MS).saturating_mul(1 << (known.failures - 1).min(25)).min(Duration::from_secs(1000));
                    known.backoff_until = Some(now + wait);
                }
                known.wanted_at = known.backoff_until.map(|until| (until, number, Timer::Backoff));
            }
            Outcome::Again => known.wanted = Some(number),
        }
        let ended = known.wanted.is_none() && known.wanted_at.is_none();
        known.terminal = outcome == Outcome::Terminal;
        let terminal = known.terminal;
        if ended && !terminal {
            self.keys.remove(&key);
        }
        self.apply(key, &run, terminal);
        self.promote(now);
    }

    /// What came during a run, all of it at the highest priority among it.
    fn apply(&mut self, key: Key, run: &Run, terminal: bool) {
        let priority = run.event.max(run.resync).max(run.later.map(|(_, priority)| priority));
        let Some(priority) = priority else { return };
        match (run.event.is_some(), run.resync.is_some(), run.later) {
            (true, ..) => self.want(key, priority),
            (false, ..) if terminal => {}
            (false, true, _) => self.want(key, priority),
            (false, false, Some((due, _))) => assert!(self.add_after(key, due)),
            (false, false, None) => unreachable!("there is a priority"),
        }
    }

    fn forget(&mut self, key: Key) {
        let Some(known) = self.keys.get_mut(&key) else { return };
        if known.terminal {
            self.keys.remove(&key);
        } else {
            (known.failures, known.backoff_until) = (0, None);
            // With nothing left to wait for, the run is no longer ahead of it.
            known.running.iter_mut().for_each(|run| run.early = false);
        }
    }
}

/// The queue, the model, and what holds whatever both say.
struct Pair {
    queue: WorkQueue<Key>,
    model: Model,
    random: Randomness,
    held: Vec<Item<Key>>,
    used: BTreeSet<Key>,
    owed: BTreeSet<Key>,
    log: Vec<String>,
}

impl Pair {
    fn new(seed: u64) -> Self {
        Self {
            queue: WorkQueue::new(Config { passed_over: u32::MAX, ..config() }),
            model: Model::default(),
            random: Randomness::seeded(seed),
            held: Vec::new(),
            used: BTreeSet::new(),
            owed: BTreeSet::new(),
            log: Vec::new(),
        }
    }

    async fn step(&mut self) {
        let (key, pick) = (self.random.below(KEYS) as Key, self.random.below(100));
        self.model.promote(Instant::now());
        match pick {
            0..25 => self.event(key),
            25..32 => {
                self.log.push(format!("resync {key}"));
                self.used.insert(key);
                assert_eq!(self.queue.resync(key), self.model.resync(key), "{:#?}", self.log);
            }
            32..42 => self.add_after(key),
            42..62 => self.get(),
            62..82 => self.done(),
            82..85 => {
                self.log.push(format!("forget {key}"));
                self.queue.forget(&key);
                self.model.forget(key);
            }
            _ => {
                let step = Duration::from_millis(self.random.below(40));
                self.log.push(format!("advance {step:?}"));
                advance(step).await;
                self.model.promote(Instant::now());
            }
        }
        self.compare();
    }

    fn event(&mut self, key: Key) {
        let priority = Priority::ALL[self.random.below(3) as usize];
        self.log.push(format!("add {key} {priority:?}"));
        self.used.insert(key);
        self.owed.insert(key);
        assert!(self.queue.add_with(key, priority));
        self.model.event(key, priority);
    }

    fn add_after(&mut self, key: Key) {
        let delay = Duration::from_millis(1 + self.random.below(60));
        self.log.push(format!("add {key} after {delay:?}"));
        self.used.insert(key);
        let accepted = self.model.add_after(key, Instant::now() + delay);
        assert_eq!(self.queue.add_after(key, delay), accepted, "{:#?}", self.log);
    }

    fn get(&mut self) {
        let item = try_get(&self.queue);
        let got = item.as_ref().map(|item| *item.key());
        self.log.push(format!("get {got:?}"));
        assert_eq!(got, self.model.get(Instant::now()), "{:#?}", self.log);
        let Some(item) = item else { return };
        assert!(self.held.iter().all(|held| held.key() != item.key()), "{} runs twice: {:#?}", item.key(), self.log);
        self.owed.remove(item.key());
        self.held.push(item);
    }

    fn done(&mut self) {
        if self.held.is_empty() {
            return;
        }
        let item = self.held.swap_remove(self.random.below(self.held.len() as u64) as usize);
        let delay = Duration::from_millis(self.random.below(50));
        let outcomes = [Outcome::Forget, Outcome::After(delay), Outcome::Retry, Outcome::Terminal, Outcome::Again];
        let outcome = outcomes[self.random.below(5) as usize];
        self.log.push(format!("done {} {outcome:?}", item.key()));
        self.model.done(*item.key(), outcome, Instant::now());
        match outcome {
            Outcome::Retry => drop(item),
            outcome => item.done(outcome),
        }
    }

    fn compare(&self) {
        for key in 0..KEYS as Key {
            let found = self.queue.inspect(&key);
            let expected = self.model.keys.get(&key);
            let agree = match (&found, expected) {
                (None, None) => true,
                (Some(found), Some(expected)) => agrees(found, expected),
                (Some(_), None) | (None, Some(_)) => false,
            };
            assert!(agree, "{key}: {found:?}, not {expected:?}\n{:#?}", self.log);
        }
        assert!(self.queue.len() <= self.used.len());
    }

    /// Runs all that is left to its end: nothing that was added may be left over.
    async fn settle(&mut self) {
        for item in self.held.drain(..) {
            item.done(Outcome::Forget);
        }
        for _ in 0..3 {
            while let Some(item) = try_get(&self.queue) {
                self.owed.remove(item.key());
                item.done(Outcome::Forget);
            }
            advance(Duration::from_secs(2000)).await;
        }
        assert!(self.owed.is_empty(), "{:?} lost an event: {:#?}", self.owed, self.log);
        assert_eq!(self.queue.len(), self.queue.metrics().terminal);
    }
}

fn agrees(found: &Inspection, expected: &Known) -> bool {
    let state = match &found.state {
        KeyState::Delayed { due, timer } => {
            expected.wanted_at.is_some_and(|(at, _, kind)| at == *due && kind == *timer) && expected.wanted.is_none()
        }
        KeyState::Ready { .. } => expected.wanted.is_some(),
        KeyState::Running { again, .. } => expected
            .running
            .as_ref()
            .is_some_and(|run| *again == (run.event.is_some() || run.resync.is_some() || run.later.is_some())),
        KeyState::Terminal => expected.terminal,
    };
    state
        && found.failures == expected.failures
        && found.backoff_until == expected.backoff_until
        && found.priority == expected.priority
}

#[tokio::test(start_paused = true)]
async fn q1_q2_q3_q4_q5_q6_q9_q12_random_operations_do_what_a_plain_model_does() {
    for seed in 0..300 {
        let mut pair = Pair::new(seed);
        for _ in 0..300 {
            pair.step().await;
        }
        pair.settle().await;
    }
}
