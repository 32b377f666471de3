//! What a key is doing and what may happen to it next: the queue's rules, apart from its lists and clocks.
//!
//! ```text
//!            trigger                take
//!   Idle ───────────────► Ready ───────────► Running ──┬─ forget ───► Idle
//!     │                     ▲                          ├─ terminal ─► Terminal
//!     │ add after           │ due, or a trigger        ├─ again ────► Ready
//!     └───────► Delayed ────┘                          └─ after, retry ► Delayed
//! ```
//!
//! What comes while a key runs is kept with the run, folded into one, and applied to whatever the run leaves behind by
//! the same rules. So no outcome can hide it.

use std::mem;

use tokio::time::Instant;

use super::{Priority, Shutdown, Timer};

/// All that the queue knows of a key.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) state: State,
    pub(super) priority: Priority,
    pub(super) standing: Option<Standing>,
}

/// Where a key is.
#[derive(Debug)]
pub(super) enum State {
    /// Nothing is known but the key: as a slot starts and ends.
    Idle,
    /// It waits for a time.
    Delayed { due: Instant, timer: Timer, triggers: u32 },
    /// It waits for a worker.
    Ready { since: Instant, triggers: u32 },
    /// It was handed out.
    Running(Running),
    /// It ended for good, until something changes.
    Terminal,
}

/// A key that was handed out and is not done.
#[derive(Debug)]
pub(super) struct Running {
    pub(super) since: Instant,
    pub(super) waiting_since: Instant,
    /// It runs before its backoff is over, because something triggered it: its failure is not one more.
    pub(super) early: bool,
    pub(super) triggers: u32,
    pub(super) pending: Option<Trigger>,
}

/// Failures in a row and until when the last of them keeps the key waiting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Standing {
    pub(super) failures: u32,
    pub(super) due: Instant,
}

/// A reason to run a key, or several folded into one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Trigger {
    pub(super) when: When,
    pub(super) priority: Priority,
    pub(super) count: u32,
}

/// When a trigger wants its run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum When {
    Now { since: Instant, cause: Cause },
    At(Instant),
}

/// What a trigger came from; only something new wakes a key that ended for good.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Cause {
    Resync,
    Event,
}

/// What can happen to a key.
#[derive(Debug)]
pub(super) enum Input {
    Trigger(Trigger),
    Due,
    Take {
        now: Instant,
    },
    Done(Ending),
    /// Failures and the end for good are forgotten; what is scheduled stays scheduled.
    Forget,
    Close(Shutdown),
}

/// How a run ended, with the times worked out.
#[derive(Debug)]
pub(super) enum Ending {
    Forgotten,
    Requeued { due: Instant },
    Failed(Standing),
    Terminal,
    Again { now: Instant },
}

impl Slot {
    pub(super) fn new() -> Self {
        Self { state: State::Idle, priority: Priority::Low, standing: None }
    }

    /// The one place where a key's state changes; false if the input was refused or means nothing in this state.
    pub(super) fn step(&mut self, input: Input) -> bool {
        let state = mem::replace(&mut self.state, State::Idle);
        let (state, accepted) = match (state, input) {
            (State::Idle, Input::Trigger(trigger)) => (self.start(trigger), true),
            (State::Terminal, Input::Trigger(trigger)) => match trigger.when {
                When::Now { cause: Cause::Event, .. } => (self.start(trigger), true),
                When::Now { cause: Cause::Resync, .. } | When::At(_) => (State::Terminal, false),
            },
            (State::Delayed { due, timer, triggers }, Input::Trigger(trigger)) => {
                (self.hasten(due, timer, triggers, trigger), true)
            }
            (State::Ready { since, triggers }, Input::Trigger(trigger)) => {
                self.raise(trigger.priority);
                (State::Ready { since, triggers: triggers.saturating_add(trigger.count) }, true)
            }
            (State::Running(run), Input::Trigger(trigger)) => (State::Running(run.keep(trigger)), true),

            (State::Delayed { due, timer: _, triggers }, Input::Due) => (State::Ready { since: due, triggers }, true),
            (State::Ready { since, triggers }, Input::Take { now }) => (self.run(now, since, triggers), true),
            (State::Running(run), Input::Done(ending)) => return self.finish(run, ending),

            (State::Terminal, Input::Forget) => (State::Idle, true),
            (
                state @ (State::Idle | State::Delayed { .. } | State::Ready { .. } | State::Running(_)),
                Input::Forget,
            ) => {
                self.standing = None;
                (state, true)
            }

            (State::Idle | State::Delayed { .. } | State::Terminal, Input::Close(_)) => (State::Idle, true),
            (State::Ready { since, triggers }, Input::Close(Shutdown::Drain)) => {
                (State::Ready { since, triggers }, true)
            }
            (State::Ready { .. }, Input::Close(Shutdown::FinishRunning)) => (State::Idle, true),
            (State::Running(run), Input::Close(Shutdown::Drain)) => (State::Running(run.only_what_is_owed()), true),
            (State::Running(run), Input::Close(Shutdown::FinishRunning)) => {
                (State::Running(Running { pending: None, ..run }), true)
            }
            (State::Ready { .. } | State::Running(_), Input::Close(Shutdown::Abort)) => (State::Idle, true),

            (state @ (State::Idle | State::Ready { .. } | State::Running(_) | State::Terminal), Input::Due)
            | (
                state @ (State::Idle | State::Delayed { .. } | State::Running(_) | State::Terminal),
                Input::Take { .. },
            )
            | (state @ (State::Idle | State::Delayed { .. } | State::Ready { .. } | State::Terminal), Input::Done(_)) => {
                (state, false)
            }
        };
        self.state = state;
        accepted
    }

    /// What a failure of the current run leaves: one more failure if the run was due, else what stood before (Q5).
    pub(super) fn after_failure(&self, due: impl FnOnce(u32) -> Instant) -> Standing {
        let early = matches!(self.state, State::Running(Running { early: true, .. }));
        match self.standing {
            Some(standing) if early => standing,
            Some(Standing { failures, .. }) => Standing::after(failures.saturating_add(1), due),
            None => Standing::after(1, due),
        }
    }

    pub(super) fn failures(&self) -> u32 {
        self.standing.map_or(0, |standing| standing.failures)
    }

    /// How many triggers are folded into the run that waits or is under way.
    pub(super) fn triggers(&self) -> u32 {
        match &self.state {
            State::Idle | State::Terminal => 0,
            State::Delayed { triggers, .. } | State::Ready { triggers, .. } => *triggers,
            State::Running(run) => run.triggers,
        }
    }

    pub(super) fn owes_a_run(&self) -> bool {
        matches!(self.state, State::Running(Running { pending: Some(_), .. }))
    }

    fn start(&mut self, trigger: Trigger) -> State {
        self.priority = trigger.priority;
        match trigger.when {
            When::Now { since, .. } => State::Ready { since, triggers: trigger.count },
            When::At(due) => State::Delayed { due, timer: Timer::Added, triggers: trigger.count },
        }
    }

    /// A trigger while a timer runs: now absorbs it, the earlier of two times stands (Q4).
    fn hasten(&mut self, due: Instant, timer: Timer, triggers: u32, trigger: Trigger) -> State {
        self.raise(trigger.priority);
        let triggers = triggers.saturating_add(trigger.count);
        match trigger.when {
            When::Now { since, .. } => State::Ready { since, triggers },
            When::At(at) if at < due => State::Delayed { due: at, timer: Timer::Added, triggers },
            When::At(_) => State::Delayed { due, timer, triggers },
        }
    }

    fn run(&self, now: Instant, waiting_since: Instant, triggers: u32) -> State {
        let early = self.standing.is_some_and(|standing| now < standing.due);
        State::Running(Running { since: now, waiting_since, early, triggers, pending: None })
    }

    fn finish(&mut self, run: Running, ending: Ending) -> bool {
        self.state = match ending {
            Ending::Forgotten => {
                self.standing = None;
                State::Idle
            }
            Ending::Requeued { due } => {
                self.standing = None;
                State::Delayed { due, timer: Timer::Requeue, triggers: 0 }
            }
            Ending::Failed(standing) => {
                self.standing = Some(standing);
                State::Delayed { due: standing.due, timer: Timer::Backoff, triggers: 0 }
            }
            Ending::Terminal => {
                self.standing = None;
                State::Terminal
            }
            Ending::Again { now } => State::Ready { since: now, triggers: 0 },
        };
        if let Some(pending) = run.pending {
            self.step(Input::Trigger(pending));
        }
        true
    }

    /// An add may raise the priority; only a run's result lowers it (Q9).
    fn raise(&mut self, priority: Priority) {
        self.priority = self.priority.max(priority);
    }
}

impl Running {
    fn keep(self, trigger: Trigger) -> Self {
        let pending = self.pending.map_or(trigger, |pending| pending.and(trigger));
        Self { pending: Some(pending), ..self }
    }

    /// A drained queue runs once more what was triggered, but waits for no timer.
    fn only_what_is_owed(self) -> Self {
        let pending = self.pending.filter(|pending| matches!(pending.when, When::Now { .. }));
        Self { pending, ..self }
    }
}

impl Ending {
    pub(super) fn is_delayed(&self) -> bool {
        matches!(self, Self::Requeued { .. } | Self::Failed(_))
    }
}

impl Standing {
    fn after(failures: u32, due: impl FnOnce(u32) -> Instant) -> Self {
        Self { failures, due: due(failures) }
    }
}

impl Trigger {
    pub(super) fn new(when: When, priority: Priority) -> Self {
        Self { when, priority, count: 1 }
    }

    pub(super) fn is_delayed(&self) -> bool {
        matches!(self.when, When::At(_))
    }

    /// Both in one: the earlier time, the higher priority.
    fn and(self, other: Self) -> Self {
        let when = match (self.when, other.when) {
            (When::Now { since: a, cause: one }, When::Now { since: b, cause: two }) => {
                When::Now { since: a.min(b), cause: one.max(two) }
            }
            (now @ When::Now { .. }, When::At(_)) | (When::At(_), now @ When::Now { .. }) => now,
            (When::At(a), When::At(b)) => When::At(a.min(b)),
        };
        Self { when, priority: self.priority.max(other.priority), count: self.count.saturating_add(other.count) }
    }
}
