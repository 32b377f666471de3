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

mod compaction;
mod repeats;

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

use futures::{
    StreamExt,
    stream::{BoxStream, Fuse},
};
use orion_model::{ClientError, Clock, CommitId, Op, Randomness, Resource};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep_until},
};
use tokio_util::sync::CancellationToken;

use crate::{
    error::without_effect,
    journal::{Append, Error, Journal, Mark, Nonce, Seq, Tail},
    judge::World,
    limits::{TAIL_BYTES, WAITING_COMMITS},
    load::{self, Beginning},
    record::{self, Record},
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
        let mut doorbell = self.shared.journal.doorbell().fuse();
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
        doorbell: &mut Fuse<BoxStream<'static, ()>>,
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

/// Whether a commit only writes leases.
fn renews_lease(pending: &Pending) -> bool {
    let writes = &pending.commit.writes;
    let lease = orion_model::Lease::KIND;
    !writes.is_empty() && writes.iter().all(|write| write.key.kind == lease && !matches!(write.op, Op::Delete))
}
