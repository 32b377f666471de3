//! One round of the writer: waiting commits judged in order, each on what the ones before it would leave behind. What
//! it comes to stands only once its group has been appended.

use std::collections::{BTreeSet, VecDeque};

use orion_model::{ClientError, Commit, CommitId, Committed, ResourceVersion, Versions};
use tokio::sync::oneshot;

use crate::{
    judge::{self, Verdict, World},
    limits::{COMMIT_BYTES, GROUP_BYTES},
    objects::Objects,
    record::{self, Encoded, Record},
    state::{State, change_objects},
};

/// A commit and who waits for it.
pub(crate) struct Pending {
    pub(crate) id: CommitId,
    pub(crate) commit: Commit,
    pub(crate) reply: oneshot::Sender<Result<Committed, ClientError>>,
}

impl Pending {
    pub(crate) fn answer(self, answer: Result<Committed, ClientError>) {
        // A caller that no longer waits settles the outcome by repeating the commit with its id.
        self.reply.send(answer).ok();
    }
}

/// What a round has come to so far.
pub(crate) struct Round {
    objects: Objects,
    version: ResourceVersion,
    bytes: usize,
    ids: BTreeSet<CommitId>,
    pub(crate) records: Vec<Record>,
    pub(crate) encoded: Vec<Encoded>,
    pub(crate) judged: Vec<(Pending, Result<Committed, ClientError>)>,
}

impl Round {
    /// Judges waiting commits until the group is full. One that repeats another of this round waits for the next.
    pub(crate) fn judge(waiting: &mut VecDeque<Pending>, state: &State, world: &World<'_>, max_group: usize) -> Self {
        let mut round = Self {
            objects: state.objects.clone(),
            version: state.version,
            bytes: 0,
            ids: BTreeSet::new(),
            records: Vec::new(),
            encoded: Vec::new(),
            judged: Vec::new(),
        };
        let limit = COMMIT_BYTES.min(max_group);
        while round.bytes < GROUP_BYTES.min(max_group) {
            let Some(pending) = waiting.pop_front_if(|pending| !round.ids.contains(&pending.id)) else { break };
            let draft = round.draft(&pending, world, limit);
            let too_much = draft.as_ref().is_ok_and(|draft| round.bytes + draft.size() > max_group);
            if too_much {
                waiting.push_front(pending);
                break;
            }
            let answer = draft.map(|draft| round.take(draft));
            round.judged.push((pending, answer));
        }
        round
    }

    fn draft(&self, pending: &Pending, world: &World<'_>, limit: usize) -> Result<Draft, ClientError> {
        let Verdict { changes, versions, results } = judge::judge(&pending.commit, &self.objects, self.version, world)?;
        let (outcomes, written) = results.into_iter().unzip();
        let committed = Committed { id: pending.id.clone(), versions, results: written };
        let Some(versions) = versions else { return Ok(Draft { committed, appended: None }) };
        let id = pending.id.clone();
        let record = Record { id, at: world.now, versions, changes: changes.into(), results: outcomes };
        let encoded = record::encode(&record);
        if encoded.len() > limit {
            let (size, limit) = (encoded.len() as u64, limit as u64);
            return Err(ClientError::TooLarge { what: format!("commit {}", pending.id), size, limit });
        }
        Ok(Draft { committed, appended: Some((versions, record, encoded)) })
    }

    fn take(&mut self, draft: Draft) -> Committed {
        if let Some((versions, record, encoded)) = draft.appended {
            change_objects(&mut self.objects, &record);
            self.version = versions.last;
            self.bytes += encoded.len();
            self.ids.insert(record.id.clone());
            self.records.push(record);
            self.encoded.push(encoded);
        }
        draft.committed
    }

    /// The round given up: its commits wait again, in their order, before those that waited behind them.
    pub(crate) fn give_back(self, waiting: &mut VecDeque<Pending>) {
        for (pending, _) in self.judged.into_iter().rev() {
            waiting.push_front(pending);
        }
    }
}

/// One judged commit that has not been taken into the round yet.
struct Draft {
    committed: Committed,
    appended: Option<(Versions, Record, Encoded)>,
}

impl Draft {
    fn size(&self) -> usize {
        self.appended.as_ref().map_or(0, |(_, _, encoded)| encoded.len())
    }
}
