//! What a store holds in memory at one version: one value, cheap to clone, swapped as a whole.

use std::sync::Arc;

use orion_model::{ChangeKind, ResourceVersion};
use tokio::time::Instant;

use crate::{
    history::{History, Note},
    journal::Seq,
    objects::Objects,
    record::Record,
    ring::Ring,
};

/// Objects, newest commits and kept history as of one group.
#[derive(Clone)]
pub(crate) struct State {
    /// The newest group in it.
    pub(crate) seq: Seq,
    /// The end of the newest commit in it.
    pub(crate) version: ResourceVersion,
    pub(crate) objects: Objects,
    pub(crate) ring: Ring,
    pub(crate) history: History,
}

impl State {
    /// The state before the first group that `history` will hold.
    pub(crate) fn before(seq: Seq, history: History) -> Self {
        let version = history.oldest();
        Self { seq, version, objects: Objects::default(), ring: Ring::new(version), history }
    }

    /// Takes in the next group.
    pub(crate) fn apply(&mut self, seq: Seq, records: Vec<Record>) {
        for record in &records {
            change_objects(&mut self.objects, record);
        }
        self.note(seq, records);
    }

    /// Takes in the next group where its objects are there already.
    pub(crate) fn note(&mut self, seq: Seq, records: Vec<Record>) {
        self.seq = seq;
        let Some(newest) = records.last() else { return };
        self.version = newest.versions.last;
        let ids = records.iter().map(|record| record.id.clone()).collect();
        self.history.push(Note { seq, last: self.version, at: newest.at, known: Instant::now(), ids });
        for record in records {
            self.ring.push(Arc::new(record));
        }
    }
}

/// What a commit does to the objects.
pub(crate) fn change_objects(objects: &mut Objects, record: &Record) {
    for change in record.changes.iter() {
        let key = change.object.key();
        match change.kind {
            ChangeKind::Added | ChangeKind::Modified => objects.put(&key, change.object.clone()),
            ChangeKind::Deleted => objects.remove(&key),
        }
    }
}
