//! Which replicas of a node a session has yet to look at: bounded, and coalesced by replica.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use orion_model::{Key, Uid};
use orion_types::Replica;

/// The replicas that changed since the session last looked. Whoever marks more than `max` has made it too long: then
/// nothing is kept but that everything has to be looked at.
pub(super) struct Backlog {
    max: usize,
    marked: Mutex<Marked>,
}

#[derive(Default)]
struct Marked {
    replicas: BTreeMap<Uid, Key<Replica>>,
    overflown: bool,
}

impl Backlog {
    pub(super) fn new(max: usize) -> Self {
        Self { max, marked: Mutex::default() }
    }

    /// A replica is to be looked at.
    pub(super) fn mark(&self, uid: &Uid, key: Key<Replica>) {
        let mut marked = self.lock();
        if marked.overflown {
            return;
        }
        marked.replicas.insert(uid.clone(), key);
        if marked.replicas.len() > self.max {
            *marked = Marked { replicas: BTreeMap::new(), overflown: true };
        }
    }

    /// Whether it overflew since this was last asked: then everything is to be looked at.
    pub(super) fn take_overflow(&self) -> bool {
        std::mem::take(&mut self.lock().overflown)
    }

    /// The next replica to look at.
    pub(super) fn pop(&self) -> Option<(Uid, Key<Replica>)> {
        self.lock().replicas.pop_first()
    }

    fn lock(&self) -> MutexGuard<'_, Marked> {
        self.marked.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_replica_marked_often_is_looked_at_once_and_too_many_are_all() {
        let backlog = Backlog::new(2);
        let mark = |name: &str| backlog.mark(&Uid::new(name), Key::new("default", name));
        for name in ["a", "b", "a", "a"] {
            mark(name);
        }
        assert!(!backlog.take_overflow());
        assert_eq!(backlog.pop().expect("marked").0, Uid::new("a"));
        for name in ["a", "b", "c", "d"] {
            mark(name);
        }
        assert!(backlog.pop().is_none());
        assert!(backlog.take_overflow() && !backlog.take_overflow());
        mark("e");
        assert_eq!(backlog.pop().expect("marked").0, Uid::new("e"));
    }
}
