//! The one task that writes.
//!
//! ```text
//! waiting commits -> repeats answered -> Round: judged in order -> one group -> append
//!        ^                                                            |
//!        |                    Taken: catch up, judge again            | Done: apply, publish, answer
//!        +------------------------------------------------------------+
//! ```
//!
//! Nothing of a round is visible before its group is appended. A round without a group (refusals, dry runs, writes that
//! change nothing) is a read: it is answered only at a confirmed head.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

use futures::{StreamExt, stream::BoxStream};
use orion_model::{
    ChangeKind, ClientError, Clock, CommitId, Committed, ObjectKey, Op, Randomness, Resource, Stored, Written,
};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep_until},
};
use tokio_util::sync::CancellationToken;

use crate::{
    error::without_effect,
    journal::{Append, Error, Journal, Mark, Nonce, Seq, Tail},
    judge::World,
    limits::{COMMIT_ID_SKEW, COMPACTION_PAUSE, TAIL_BYTES, WAITING_COMMITS},
    load::{self, Beginning},
    record::{self, Outcome, Record},
    round::{Pending, Round},
    shared::{Phase, Shared},
    state::State,
};

/// The writer and all that only it knows.
pub(crate) struct Writer<J> {
    shared: Arc<Shared<J>>,
    commits: mpsc::Receiver<Pending>,
    clock: Clock,
    randomness: Randomness,
    state: State,
    mark: Mark,
    ids: HashMap<CommitId, Seq>,
    materialised: Seq,
    /// No step of compaction before this.
    rested: Instant,
}

/// How a round ended.
enum Settled {
    /// Its answers stand.
    Stands,
    /// Others have written meanwhile: judge again.
    Moved,
    /// Nothing of it took effect.
    Failed(ClientError),
    /// The journal broke; whether its group took effect nobody can say.
    Unknown(Arc<str>),
}

impl<J: Journal> Writer<J> {
    pub(crate) fn new(
        shared: Arc<Shared<J>>,
        commits: mpsc::Receiver<Pending>,
        beginning: Beginning,
        clock: Clock,
        randomness: Randomness,
    ) -> Self {
        let Beginning { state, mark, materialised } = beginning;
        let ids = load::commit_ids(&state.history);
        let rested = Instant::now();
        Self { shared, commits, clock, randomness, state, mark, ids, materialised, rested }
    }

    /// Runs until the store is closed or every handle is gone, and answers what was accepted before.
    pub(crate) async fn run(mut self, closing: CancellationToken) {
        let mut doorbell = self.shared.journal.doorbell();
        let mut received = Vec::new();
        while self.turn(&mut received, &mut doorbell, &closing).await {}
        self.commits.close();
        while self.commits.recv_many(&mut received, WAITING_COMMITS).await > 0 {
            self.serve(std::mem::take(&mut received)).await;
        }
        self.shared.end(Phase::Closed);
    }

    /// Waits for the next thing to do and does it; `false` at the end.
    async fn turn(
        &mut self,
        received: &mut Vec<Pending>,
        doorbell: &mut BoxStream<'static, ()>,
        closing: &CancellationToken,
    ) -> bool {
        let due = self.compaction_due();
        tokio::select! {
            biased;
            () = closing.cancelled() => return false,
            count = self.commits.recv_many(received, WAITING_COMMITS) => {
                if count == 0 {
                    return false;
                }
                self.serve(std::mem::take(received)).await;
            }
            () = self.shared.rung() => self.look_for_others().await,
            Some(()) = doorbell.next() => self.look_for_others().await,
            () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {}
        }
        // Not a branch's work alone: commits that never cease must not keep the history from being bounded.
        if due.is_some_and(|due| due <= Instant::now()) {
            self.compact().await;
        }
        true
    }

    async fn serve(&mut self, received: Vec<Pending>) {
        let mut waiting = VecDeque::from(received);
        // Leases first: a renewal that waits behind a large group may come too late. The sort keeps all else in order.
        waiting.make_contiguous().sort_by_key(|pending| !renews_lease(pending));
        while !waiting.is_empty() {
            if let Some(end) = self.shared.ended() {
                waiting.drain(..).for_each(|pending| pending.answer(Err(end.clone())));
                return;
            }
            self.answer_repeats(&mut waiting).await;
            self.serve_round(&mut waiting).await;
        }
    }

    async fn serve_round(&mut self, waiting: &mut VecDeque<Pending>) {
        let world = World { registry: &self.shared.registry, now: self.clock.now(), randomness: &self.randomness };
        let mut round = Round::judge(waiting, &self.state, &world, self.shared.journal.max_group());
        match self.settle(&mut round).await {
            Settled::Stands => round.judged.into_iter().for_each(|(pending, answer)| pending.answer(answer)),
            Settled::Failed(error) => {
                round.judged.into_iter().for_each(|(pending, _)| pending.answer(Err(error.clone())));
            }
            Settled::Unknown(reason) => {
                for (pending, _) in round.judged {
                    let unknown = ClientError::Unknown { id: pending.id.clone(), reason: reason.to_string() };
                    pending.answer(Err(unknown));
                }
            }
            Settled::Moved => {
                round.give_back(waiting);
                if let Err(error) = self.catch_up().await {
                    let error = self.failed(error);
                    waiting.drain(..).for_each(|pending| pending.answer(Err(error.clone())));
                }
            }
        }
    }

    /// Makes a round's outcome fact, or finds that it is none.
    async fn settle(&mut self, round: &mut Round) -> Settled {
        if round.records.is_empty() {
            return if round.judged.is_empty() { Settled::Stands } else { self.confirm().await };
        }
        let group = record::group(Nonce(self.randomness.u64()), std::mem::take(&mut round.encoded));
        match self.shared.journal.append(self.mark, group).await {
            Ok(Append::Done(mark)) => {
                self.take_in(mark, std::mem::take(&mut round.records));
                self.publish();
                Settled::Stands
            }
            // Unsettled is no other case here: ids are looked up, and forgotten ones refused, before every judgement.
            Ok(Append::Taken | Append::Unsettled) => Settled::Moved,
            Err(Error::Stopped(source)) => {
                let reason: Arc<str> = source.to_string().into();
                self.stop(reason.clone());
                Settled::Unknown(reason)
            }
            Err(error) => Settled::Failed(without_effect(error)),
        }
    }

    /// Whether what was judged was judged at the head.
    async fn confirm(&mut self) -> Settled {
        match self.shared.journal.head().await {
            Ok(head) if head.seq == self.mark.seq => Settled::Stands,
            Ok(head) if head.seq > self.mark.seq => Settled::Moved,
            Ok(head) => Settled::Failed(self.stop(self.gone_back(head))),
            Err(error) => Settled::Failed(self.failed(error)),
        }
    }

    fn gone_back(&self, head: Mark) -> Arc<str> {
        let seen = self.mark.seq;
        format!("its journal has gone back from group {seen} to {}: was it restored?", head.seq).into()
    }

    fn take_in(&mut self, mark: Mark, records: Vec<Record>) {
        self.mark = mark;
        self.ids.extend(records.iter().map(|record| (record.id.clone(), mark.seq)));
        self.state.apply(mark.seq, records);
    }

    fn publish(&self) {
        self.shared.publish(self.state.clone());
    }

    /// Stops writing for good.
    fn stop(&self, reason: Arc<str>) -> ClientError {
        tracing::error!(%reason, "the store has stopped");
        self.shared.end(Phase::Stopped(reason.clone()));
        ClientError::Stopped(reason.to_string())
    }

    /// What a failure outside an append means: the end, where the journal is broken.
    fn failed(&self, error: Error) -> ClientError {
        match error {
            Error::Stopped(source) => self.stop(source.to_string().into()),
            error => without_effect(error),
        }
    }

    async fn look_for_others(&mut self) {
        let looked = match self.shared.journal.head().await {
            Ok(head) if head.seq < self.mark.seq => {
                self.stop(self.gone_back(head));
                return;
            }
            Ok(head) if head.seq == self.mark.seq => return,
            Ok(_) => self.catch_up().await,
            Err(error) => Err(error),
        };
        if let Err(error) = looked {
            let error = self.failed(error);
            tracing::warn!(%error, "the journal does not answer");
        }
    }

    /// Takes in all that others have appended.
    async fn catch_up(&mut self) -> Result<(), Error> {
        loop {
            match self.shared.journal.tail(self.mark.seq, TAIL_BYTES).await? {
                Tail::Dense(entries) if entries.is_empty() => return Ok(()),
                Tail::Dense(entries) => {
                    for entry in entries {
                        let records = load::records(&self.shared.registry, &entry)?;
                        self.take_in(entry.mark, records);
                    }
                    self.publish();
                }
                Tail::Compacted { .. } => self.reload().await?,
            }
        }
    }

    /// Begins anew from the readable copy: what lies between is no longer kept.
    async fn reload(&mut self) -> Result<(), Error> {
        let Beginning { state, mark, materialised } = load::load(&self.shared.journal, &self.shared.registry).await?;
        self.ids = load::commit_ids(&state.history);
        (self.state, self.mark, self.materialised) = (state, mark, materialised);
        self.publish();
        Ok(())
    }
}

/// Commits that have been made before.
impl<J: Journal> Writer<J> {
    /// Answers the waiting commits whose id says that they are old.
    async fn answer_repeats(&mut self, waiting: &mut VecDeque<Pending>) {
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
        if self.state.history.may_have_forgotten(id) {
            return Some(Err(self.expired(id)));
        }
        let now = self.clock.now();
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

/// Bounding the history.
impl<J: Journal> Writer<J> {
    fn compaction_due(&self) -> Option<Instant> {
        let wait = self.state.history.due()?.since(self.clock.now());
        Some(self.rested.max(Instant::now() + wait))
    }

    /// One small step.
    async fn compact(&mut self) {
        self.rested = Instant::now() + COMPACTION_PAUSE;
        let Some(floor) = self.state.history.floor_at(self.clock.now()) else { return };
        if let Err(error) = self.drop_before(floor.seq).await {
            let error = self.failed(error);
            tracing::warn!(%error, "the history could not be shortened");
            return;
        }
        for id in self.state.history.forget_through(&floor) {
            self.ids.remove(&id);
        }
        self.mark.floor = floor.seq;
        self.publish();
    }

    async fn drop_before(&mut self, floor: Seq) -> Result<(), Error> {
        if !J::MATERIALISES_ON_APPEND {
            self.materialise(floor).await?;
        }
        self.shared.journal.compact(floor).await
    }

    /// Brings the readable copy to `to`, or beyond where another does it too.
    async fn materialise(&mut self, to: Seq) -> Result<(), Error> {
        while self.materialised < to {
            let Tail::Dense(entries) = self.shared.journal.tail(self.materialised, TAIL_BYTES).await? else {
                self.materialised = self.shared.journal.load().await?.0;
                continue;
            };
            let entries: Vec<_> = entries.into_iter().take_while(|entry| entry.mark.seq <= to).collect();
            let Some(newest) = entries.last().map(|entry| entry.mark.seq) else { return Ok(()) };
            let records = entries.iter().map(|entry| load::records(&self.shared.registry, entry));
            let records: Vec<_> = records.collect::<Result<Vec<_>, _>>()?.concat();
            let moved = self.shared.journal.materialise(self.materialised, newest, record::moves(&records)).await?;
            self.materialised = if moved { newest } else { self.shared.journal.load().await?.0 };
        }
        Ok(())
    }
}

/// Whether a commit only writes leases.
fn renews_lease(pending: &Pending) -> bool {
    let writes = &pending.commit.writes;
    let lease = orion_model::Lease::KIND;
    !writes.is_empty() && writes.iter().all(|write| write.key.kind == lease && !matches!(write.op, Op::Delete))
}
