//! Triggers: how keys get into a controller's queue, and what is remembered of why.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio_util::sync::CancellationToken;

use crate::{
    ReconcileKey,
    why::{News, Records},
    workqueue::{Priority, WorkQueue},
};

/// Runs keys of a controller from outside: for what is no object, such as a clock or a connection.
///
/// A key that is poked before the controller runs is kept for its start. Pokes after its end are nothing.
pub struct Trigger<K> {
    inlet: Arc<Mutex<Inlet<K>>>,
}

enum Inlet<K> {
    Early(BTreeSet<K>),
    Open { to: Arc<Intake<K>>, cause: Arc<str> },
}

/// A controller's queue and its memory of causes.
pub(crate) struct Intake<K> {
    pub(crate) queue: WorkQueue<K>,
    pub(crate) records: Records<K>,
    pub(crate) stop: CancellationToken,
}

impl<K: ReconcileKey> Intake<K> {
    pub(crate) fn add(&self, key: K, cause: &Arc<str>, news: News, priority: Priority) {
        // First the cause: the run that the queue starts takes it along.
        self.records.trigger(&key, cause, news);
        self.queue.add_with(key, priority);
    }
}

impl<K: ReconcileKey> Trigger<K> {
    pub(crate) fn new() -> Self {
        Self { inlet: Arc::new(Mutex::new(Inlet::Early(BTreeSet::new()))) }
    }

    /// Runs a key soon. Many pokes before its run are one; one during its run makes one more.
    pub fn poke(&self, key: K) {
        match &mut *self.lock() {
            Inlet::Early(keys) => {
                keys.insert(key);
            }
            Inlet::Open { to, cause } => to.add(key, cause, News::None, Priority::Normal),
        }
    }

    pub(crate) fn open(&self, to: &Arc<Intake<K>>) {
        let cause: Arc<str> = "poked".into();
        let early = std::mem::replace(&mut *self.lock(), Inlet::Open { to: to.clone(), cause });
        if let Inlet::Early(keys) = early {
            keys.into_iter().for_each(|key| self.poke(key));
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inlet<K>> {
        self.inlet.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K> Clone for Trigger<K> {
    fn clone(&self) -> Self {
        Self { inlet: self.inlet.clone() }
    }
}

impl<K> std::fmt::Debug for Trigger<K> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Trigger")
    }
}
