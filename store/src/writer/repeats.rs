//! Commits that have been made before: they are answered with the outcome of the one that took effect.

use std::collections::VecDeque;

use orion_model::{ChangeKind, ClientError, CommitId, Committed, ObjectKey, Stored, Written};

use super::Writer;
use crate::{
    error::without_effect,
    journal::{Journal, Seq, Tail},
    limits::{COMMIT_ID_SKEW, TAIL_BYTES},
    load,
    record::Outcome,
    round::Pending,
};

impl<J: Journal> Writer<J> {
    /// Answers the waiting commits whose id says that they are old.
    pub(super) async fn answer_repeats(&mut self, waiting: &mut VecDeque<Pending>) {
        let mut fresh = VecDeque::with_capacity(waiting.len());
        for pending in waiting.drain(..) {
            match self.repeated(&pending).await {
                Some(answer) => pending.answer(answer),
                None => fresh.push_back(pending),
            }
        }
        *waiting = fresh;
    }

    async fn repeated(&self, pending: &Pending) -> Option<Result<Committed, ClientError>> {
        let id = &pending.id;
        if pending.commit.dry_run {
            return None;
        }
        if let Some(seq) = self.ids.get(id) {
            return Some(self.outcome(*seq, id).await);
        }
        let now = self.clock.now();
        if self.state.history.may_have_forgotten(id, now) {
            return Some(Err(self.expired(id)));
        }
        (id.time() > now.after(COMMIT_ID_SKEW)).then(|| {
            let ahead = id.time().since(now);
            Err(ClientError::BadRequest(format!("commit id {id} was made {ahead:?} ahead of the store's clock")))
        })
    }

    fn expired(&self, id: &CommitId) -> ClientError {
        ClientError::Expired { what: format!("commit {id}"), oldest: self.state.history.oldest() }
    }

    /// The outcome of a commit that took effect.
    async fn outcome(&self, seq: Seq, id: &CommitId) -> Result<Committed, ClientError> {
        let Tail::Dense(entries) = self.shared.journal.tail(seq.previous(), 1).await.map_err(without_effect)? else {
            return Err(self.expired(id));
        };
        let records = entries.first().map(|entry| load::records(&self.shared.registry, entry)).transpose();
        let records = records.map_err(without_effect)?.unwrap_or_default();
        let record = records.into_iter().find(|record| record.id == *id).ok_or_else(|| self.expired(id))?;
        let mut results = Vec::with_capacity(record.results.len());
        for outcome in &record.results {
            results.push(match outcome {
                Outcome::Changed(index) => {
                    let change = &record.changes[*index];
                    Written { object: change.object.clone(), gone: change.kind == ChangeKind::Deleted }
                }
                Outcome::Same(key) => self.as_it_stands(key, seq).await?.ok_or_else(|| self.expired(id))?,
            });
        }
        Ok(Committed { id: id.clone(), versions: Some(record.versions), results })
    }

    /// An object that a commit left as it was, as it is now; if it is gone since, its last state.
    async fn as_it_stands(&self, key: &ObjectKey, since: Seq) -> Result<Option<Written>, ClientError> {
        if let Some(object) = self.state.objects.get(key) {
            return Ok(Some(Written { object: object.clone(), gone: false }));
        }
        let last = self.last_state(key, since).await?;
        Ok(last.map(|object| Written { object, gone: true }))
    }

    async fn last_state(&self, key: &ObjectKey, since: Seq) -> Result<Option<Stored>, ClientError> {
        let mut after = since;
        let mut last = None;
        while let Tail::Dense(entries) = self.shared.journal.tail(after, TAIL_BYTES).await.map_err(without_effect)? {
            let Some(newest) = entries.last() else { break };
            after = newest.mark.seq;
            for entry in &entries {
                let records = load::records(&self.shared.registry, entry).map_err(without_effect)?;
                let changes = records.iter().flat_map(|record| record.changes.iter());
                let of_key = changes.filter(|change| change.object.key() == *key);
                last = of_key.map(|change| change.object.clone()).next_back().or(last);
            }
        }
        Ok(last)
    }
}
