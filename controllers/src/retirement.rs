//! The end of a Replica, as its creator sees to it: the finalizer, and the mark that retention counts from.

use std::sync::Arc;

use orion_model::{Object, Timestamp};
use orion_runtime::Batch;
use orion_types::{Replica, replica::PROCESS_FINALIZER};

use crate::labels;

/// What is due about a Replica's finalizer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Finalizer {
    /// It was given up and taken back.
    Add,
    /// Its end is known.
    Remove,
}

/// What is due about a Replica's finalizer, whoever created it.
pub(crate) fn due(replica: &Replica) -> Option<Finalizer> {
    match (replica.status.phase.is_finished(), is_held(replica)) {
        (true, true) => Some(Finalizer::Remove),
        (false, false) if !replica.is_being_deleted() => Some(Finalizer::Add),
        (true, false) | (false, true | false) => None,
    }
}

/// Does what is due.
pub(crate) fn apply(finalizer: Finalizer, replica: &mut Replica, now: Timestamp) {
    match finalizer {
        Finalizer::Add => {
            replica.metadata.finalizers.push(PROCESS_FINALIZER.to_owned());
            replica.metadata.annotations.remove(labels::FINISHED_AT);
        }
        Finalizer::Remove => {
            release(replica);
            replica.metadata.annotations.insert(labels::FINISHED_AT.to_owned(), now.to_string());
        }
    }
}

/// What is to be done about Replicas whose creator is gone: they are deleted, which ends their processes, and let go
/// when nothing of them is left.
pub(crate) fn of_orphans(replicas: &[Arc<Replica>]) -> Batch {
    let mut batch = Batch::new();
    for replica in replicas {
        if replica.status.phase.is_finished() && is_held(replica) {
            batch.edit(replica, release);
        }
        if !replica.is_being_deleted() {
            batch.delete(replica);
        }
    }
    batch
}

fn is_held(replica: &Replica) -> bool {
    replica.metadata.finalizers.iter().any(|name| name == PROCESS_FINALIZER)
}

fn release(replica: &mut Replica) {
    replica.metadata.finalizers.retain(|name| name != PROCESS_FINALIZER);
}
