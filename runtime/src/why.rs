//! Why a key is as it is: what triggered it, how it ended, what it waits for.

use std::{
    any::Any,
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use orion_model::Timestamp;
use serde::Serialize;
use tokio::time::Instant;

use crate::ReconcileKey;

/// More different causes of one run than this are only counted.
const CAUSES_KEPT: usize = 8;

/// What a controller knows of one key.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Why {
    /// The controller.
    pub controller: String,
    /// What the key is doing.
    pub state: Doing,
    /// What triggered the run that waits or is under way or, where none is, the last one.
    pub causes: Vec<Cause>,
    /// How the last run ended.
    pub last: Option<LastRun>,
    /// Failures in a row.
    pub failures: u32,
}

/// What a key is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase", tag = "state")]
pub enum Doing {
    /// Nothing, until something changes.
    Idle,
    /// It waits for a time: a requeue or the end of its backoff.
    Delayed {
        /// How long still.
        wait: Duration,
    },
    /// It waits for a worker.
    Queued {
        /// For how long it has.
        since: Duration,
    },
    /// It runs.
    Running {
        /// For how long it has.
        since: Duration,
    },
    /// Its run is over; its own writes have to settle and show in the cache before the next.
    Settling {
        /// For how long they have.
        since: Duration,
        /// Whether that is longer than it should take.
        overdue: bool,
    },
    /// It failed for good: it runs again when something changes.
    Terminal,
}

/// Something that triggered a run, and how often.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Cause {
    /// What: `Probe changed`.
    pub what: Arc<str>,
    /// How often it was folded into the one run.
    pub count: u32,
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LastRun {
    /// When it ended.
    pub at: Timestamp,
    /// How long it took.
    pub took: Duration,
    /// How it ended.
    pub end: End,
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", tag = "end", content = "detail")]
pub enum End {
    /// It succeeded.
    Done,
    /// It succeeded and asked to run again after this long.
    After(Duration),
    /// It succeeded and waits for this.
    Waiting(String),
    /// It failed with this and is tried again.
    Failed(String),
    /// It failed with this for good.
    Terminal(String),
    /// It panicked with this and is tried again.
    Panicked(String),
    /// It was cancelled at the controller's timeout and is tried again.
    TimedOut(Duration),
    /// It was cancelled by a shutdown.
    Cancelled,
}

type LastKnown = Arc<dyn Any + Send + Sync>;

/// What a controller remembers of its keys: those that wait or run, those whose object is there, those that failed.
pub(crate) struct Records<K>(Mutex<HashMap<K, Record>>);

#[derive(Default)]
struct Record {
    /// Of the run that is to come.
    coming: Vec<Cause>,
    /// Of the run under way or the last one.
    causes: Vec<Cause>,
    phase: Phase,
    last: Option<LastRun>,
    last_known: Option<LastKnown>,
}

#[derive(Clone, Copy, Default)]
enum Phase {
    #[default]
    Idle,
    Running(Instant),
    Settling(Instant, bool),
}

/// What a trigger says of the key's own object.
pub(crate) enum News {
    /// Nothing.
    None,
    /// It is there.
    There,
    /// It is gone; this is how it was last.
    Gone(LastKnown),
}

impl<K: ReconcileKey> Records<K> {
    pub(crate) fn new() -> Self {
        Self(Mutex::default())
    }

    /// Notes why a run is to come.
    pub(crate) fn trigger(&self, key: &K, what: &Arc<str>, news: News) {
        let mut records = self.lock();
        if !records.contains_key(key) {
            records.insert(key.clone(), Record::default());
        }
        let record = records.get_mut(key).expect("it was just put there");
        match news {
            News::None => {}
            News::There => record.last_known = None,
            News::Gone(object) => record.last_known = Some(object),
        }
        record.caused_by(what);
    }

    /// Begins a run: its causes for the span, and the last known object if it is gone.
    pub(crate) fn start(&self, key: &K) -> Option<LastKnown> {
        let mut records = self.lock();
        let record = records.entry(key.clone()).or_default();
        record.causes = std::mem::take(&mut record.coming);
        record.phase = Phase::Running(Instant::now());
        record.last_known.clone()
    }

    /// The causes of the run under way, for its span.
    pub(crate) fn causes(&self, key: &K) -> String {
        let records = self.lock();
        let causes = records.get(key).map(|record| record.causes.as_slice()).unwrap_or_default();
        let shown: Vec<_> = causes.iter().map(|cause| format!("{} ×{}", cause.what, cause.count)).collect();
        shown.join(", ")
    }

    pub(crate) fn settling(&self, key: &K, overdue: bool) {
        if let Some(record) = self.lock().get_mut(key) {
            record.phase = match record.phase {
                Phase::Settling(since, _) => Phase::Settling(since, overdue),
                Phase::Idle | Phase::Running(_) => Phase::Settling(Instant::now(), overdue),
            };
        }
    }

    /// Ends a run. Without `keep`, the key is forgotten unless another run is to come.
    pub(crate) fn finish(&self, key: &K, last: Option<LastRun>, keep: bool) {
        let mut records = self.lock();
        let Some(record) = records.get_mut(key) else { return };
        if !keep && record.coming.is_empty() {
            records.remove(key);
            return;
        }
        record.phase = Phase::Idle;
        record.last = last.or(record.last.take());
    }

    /// How many keys wait for their own writes for longer than that should take.
    pub(crate) fn overdue(&self) -> usize {
        self.lock().values().filter(|record| matches!(record.phase, Phase::Settling(_, true))).count()
    }

    /// The keys that have been running since before `since`.
    pub(crate) fn running_since(&self, since: Instant) -> Vec<K> {
        let records = self.lock();
        let stuck = records.iter().filter(|(_, record)| matches!(record.phase, Phase::Running(at) if at <= since));
        let mut keys: Vec<_> = stuck.map(|(key, _)| key.clone()).collect();
        keys.sort();
        keys
    }

    /// What is known of a key beside the queue's state.
    pub(crate) fn why(&self, key: &K, controller: &str) -> Option<Why> {
        let records = self.lock();
        let record = records.get(key)?;
        let causes = if record.coming.is_empty() { &record.causes } else { &record.coming };
        let state = match record.phase {
            Phase::Idle => Doing::Idle,
            Phase::Running(since) => Doing::Running { since: since.elapsed() },
            Phase::Settling(since, overdue) => Doing::Settling { since: since.elapsed(), overdue },
        };
        let (causes, last) = (causes.clone(), record.last.clone());
        Some(Why { controller: controller.to_owned(), state, causes, last, failures: 0 })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<K, Record>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Record {
    fn caused_by(&mut self, what: &Arc<str>) {
        let full = self.coming.len() >= CAUSES_KEPT;
        match self.coming.iter_mut().find(|cause| Arc::ptr_eq(&cause.what, what) || cause.what == *what) {
            Some(cause) => cause.count = cause.count.saturating_add(1),
            None if full => self.coming[CAUSES_KEPT - 1].count = self.coming[CAUSES_KEPT - 1].count.saturating_add(1),
            None => self.coming.push(Cause { what: what.clone(), count: 1 }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn k6_causes_are_counted_and_bounded() {
        let records = Records::<u32>::new();
        let probe: Arc<str> = "Probe changed".into();
        for _ in 0..5 {
            records.trigger(&1, &probe, News::None);
        }
        for n in 0..100 {
            records.trigger(&1, &format!("cause {n}").into(), News::None);
        }
        let causes = records.why(&1, "c").expect("it was triggered").causes;
        assert_eq!(causes.len(), CAUSES_KEPT);
        assert_eq!((causes[0].what.as_ref(), causes[0].count), ("Probe changed", 5));
        assert_eq!(causes.iter().map(|cause| cause.count).sum::<u32>(), 105);
    }

    #[test]
    fn a_key_without_an_object_is_forgotten_unless_a_run_is_to_come() {
        let records = Records::<u32>::new();
        let cause: Arc<str> = "x".into();
        records.trigger(&1, &cause, News::None);
        records.start(&1);
        records.trigger(&1, &cause, News::None);
        records.finish(&1, None, false);
        assert!(records.why(&1, "c").is_some());
        records.start(&1);
        records.finish(&1, None, false);
        assert!(records.why(&1, "c").is_none());
    }
}
