//! Reports of one agent on their way into the store.
//!
//! ```text
//! say, make ──► newest of each replica ──► one commit of those that are there ──► settled: ack, forget
//!                        ▲                             │
//!                        └──── backoff, unless a newer one came meanwhile ◄── refused
//! ```
//!
//! One commit at a time, so that the states of a replica are written in the order in which they were said. What is
//! kept is bounded by the replicas of the node: of each, only the newest report waits.

use std::{collections::BTreeMap, sync::Arc};

use orion_model::{
    Client, ClientError, Commit, Committed, Key, Object, Op, Part, Precondition, Resource, Uid, Write,
    backoff::{Backoff, Retry},
};
use orion_types::{Replica, protocol::StatusReport, replica::Observed};
use serde_json::json;
use tokio::time::Instant;

use super::{
    observed::{changes, is_over, observe},
    own_writes::OwnWrites,
    world::NodeView,
};

/// Replicas written by one commit at most: far below what a store takes, and small enough to be fast.
const MAX_GROUP: usize = 128;

/// A report that needs no more care: it is in the store, says nothing new, or is of a replica that is gone.
#[derive(Clone, Debug)]
pub(super) struct Settled {
    pub(super) uid: Uid,
    pub(super) key: Key<Replica>,
    /// The replica after it; `None` where it is gone.
    pub(super) replica: Option<Arc<Replica>>,
    /// Whether the agent said that the process has ended for good.
    pub(super) over: bool,
}

/// The reports of one session that are not settled.
pub(super) struct Reports {
    client: Client,
    view: NodeView,
    waiting: BTreeMap<Uid, Report>,
    in_flight: BTreeMap<Uid, Report>,
    own: OwnWrites<Replica>,
    /// The highest number said.
    heard: u64,
    /// The highest number settled.
    settled: u64,
    /// The number last acknowledged.
    acked: u64,
    retry: Retry,
    not_before: Option<Instant>,
    /// Replicas of the next commit at most; fewer after one that was too large for the store.
    group: usize,
}

#[derive(Clone, Debug)]
struct Report {
    key: Key<Replica>,
    /// The lowest number that is settled only with this one.
    oldest: u64,
    content: Content,
}

#[derive(Clone, Debug)]
enum Content {
    /// What the agent said. `afresh`: it began anew with a definition of this session, so that numbers of before do
    /// not count.
    Said { report: Box<StatusReport>, afresh: bool },
    /// What the gateway concludes by itself.
    Made(Box<Observed>),
}

impl Report {
    fn seq(&self) -> u64 {
        match &self.content {
            Content::Said { report, .. } => report.seq,
            Content::Made(_) => 0,
        }
    }

    fn is_over(&self) -> bool {
        match &self.content {
            Content::Said { report, .. } => report.process_state().is_some_and(is_over),
            Content::Made(observed) => is_over(observed.state),
        }
    }

    fn is_afresh(&self) -> bool {
        matches!(self.content, Content::Said { afresh: true, .. })
    }

    fn begins_afresh(&mut self, earlier: bool) {
        if let Content::Said { afresh, .. } = &mut self.content {
            *afresh |= earlier;
        }
    }
}

impl Reports {
    pub(super) fn new(client: Client, view: NodeView) -> Self {
        let retry = Retry::new(Backoff::reconnecting(), client.randomness().clone());
        Self {
            client,
            view,
            waiting: BTreeMap::new(),
            in_flight: BTreeMap::new(),
            own: OwnWrites::default(),
            heard: 0,
            settled: 0,
            acked: 0,
            retry,
            not_before: None,
            group: MAX_GROUP,
        }
    }

    /// The newest known state of a replica of this node: what was written, or what the cache shows.
    pub(super) fn replica(&mut self, key: &Key<Replica>, uid: &Uid) -> Option<Arc<Replica>> {
        let seen = self.view.replica(key, uid);
        self.own.newest(key, seen.object, seen.version).filter(|replica| replica.metadata.uid == *uid)
    }

    /// Takes a report. It is settled at once where the store does not know the replica.
    pub(super) fn say(&mut self, report: StatusReport, afresh: bool) -> Option<Settled> {
        self.heard = self.heard.max(report.seq);
        let key = Key::new(report.namespace.as_str(), report.replica_id.as_str());
        let (uid, oldest) = (report.uid.clone(), report.seq);
        let report = Report { key, oldest, content: Content::Said { report: Box::new(report), afresh } };
        if self.replica(&report.key, &uid).is_none() {
            return Some(self.end(&uid, &report, None));
        }
        self.keep(uid, report);
        None
    }

    /// Takes a state the gateway concludes by itself.
    pub(super) fn make(&mut self, replica: &Replica, observed: Observed) {
        let report = Report { key: replica.key(), oldest: u64::MAX, content: Content::Made(Box::new(observed)) };
        self.keep(replica.metadata.uid.clone(), report);
    }

    fn keep(&mut self, uid: Uid, mut report: Report) {
        if let Some(earlier) = self.waiting.remove(&uid) {
            let oldest = report.oldest.min(earlier.oldest);
            let afresh = earlier.is_afresh();
            if earlier.seq() > report.seq() {
                report = earlier;
            }
            report.oldest = oldest;
            report.begins_afresh(afresh);
        }
        self.waiting.insert(uid, report);
    }

    /// The next commit, unless one is under way or has to wait; beside it, what is settled without one.
    pub(super) fn next_commit(&mut self, now: Instant) -> (Option<Commit>, Vec<Settled>) {
        let mut settled = Vec::new();
        if !self.in_flight.is_empty() || self.not_before.is_some_and(|at| now < at) {
            return (None, settled);
        }
        self.not_before = None;
        let mut writes = Vec::new();
        while self.in_flight.len() < self.group {
            let Some((uid, report)) = self.waiting.pop_first() else { break };
            let Some(replica) = self.replica(&report.key, &uid) else {
                settled.push(self.end(&uid, &report, None));
                continue;
            };
            match self.observed(&replica, &report) {
                Some(observed) => {
                    writes.extend(status_writes(&replica, &observed));
                    self.in_flight.insert(uid, report);
                }
                None => settled.push(self.end(&uid, &report, Some(replica))),
            }
        }
        let commit = (!writes.is_empty()).then(|| Commit { writes, ..Commit::default() });
        (commit, settled)
    }

    fn observed(&self, replica: &Replica, report: &Report) -> Option<Observed> {
        let old = replica.status.observed.as_ref();
        match &report.content {
            Content::Said { report, afresh } => {
                let floor = old.filter(|_| !afresh).map_or(0, |old| old.seq);
                observe(old, report, floor, self.client.clock().now())
            }
            Content::Made(observed) => changes(old, observed).then(|| (**observed).clone()),
        }
    }

    /// Takes the outcome of the commit; what was not written waits again.
    pub(super) fn committed(&mut self, outcome: Result<Committed, ClientError>, now: Instant) -> Vec<Settled> {
        let written = std::mem::take(&mut self.in_flight);
        match outcome {
            Ok(committed) => {
                self.retry.reset();
                self.group = (self.group * 2).min(MAX_GROUP);
                self.note(&committed);
                let end = |(uid, report): (&Uid, &Report)| {
                    let replica = self.replica(&report.key, uid);
                    self.end(uid, report, replica)
                };
                written.iter().map(end).collect()
            }
            Err(error) => self.refused(written, &error, now),
        }
    }

    fn note(&mut self, committed: &Committed) {
        for written in committed.results.iter().filter(|written| !written.gone) {
            match Replica::decode(&written.object) {
                Ok(replica) => self.own.note(Arc::new(replica)),
                Err(error) => tracing::warn!(%error, "a replica that was just written does not decode"),
            }
        }
    }

    /// One report that can never be written must not keep the others from it.
    fn refused(&mut self, mut group: BTreeMap<Uid, Report>, error: &ClientError, now: Instant) -> Vec<Settled> {
        let mut settled = Vec::new();
        match culprit(error, &group).and_then(|uid| group.remove_entry(&uid)) {
            Some((uid, report)) => {
                tracing::warn!(replica = %report.key, %error, "a report was not written");
                let replica = self.replica(&report.key, &uid).filter(|_| !is_absence(error));
                settled.push(self.end(&uid, &report, replica));
            }
            None if matches!(error, ClientError::TooLarge { .. }) => self.group = (group.len() / 2).max(1),
            None => {
                let delay = self.retry.next_delay();
                tracing::warn!(%error, ?delay, "reports wait: they could not be written");
                self.not_before = Some(now + delay);
            }
        }
        for (uid, report) in group {
            match self.waiting.get_mut(&uid) {
                Some(newer) => {
                    newer.oldest = newer.oldest.min(report.oldest);
                    newer.begins_afresh(report.is_afresh());
                }
                None => drop(self.waiting.insert(uid, report)),
            }
        }
        settled
    }

    fn end(&mut self, uid: &Uid, report: &Report, replica: Option<Arc<Replica>>) -> Settled {
        self.settled = self.settled.max(report.seq());
        Settled { uid: uid.clone(), key: report.key.clone(), replica, over: report.is_over() }
    }

    /// When waiting reports may be tried again, where they have to wait.
    pub(super) fn retry_at(&self) -> Option<Instant> {
        self.not_before
    }

    /// The number up to which everything is settled, if that is more than was acknowledged last.
    pub(super) fn ack(&mut self) -> Option<u64> {
        let open = self.waiting.values().chain(self.in_flight.values()).map(|report| report.oldest).min();
        let up_to = open.map_or(self.heard, |oldest| self.settled.min(oldest.saturating_sub(1)));
        (up_to > self.acked).then(|| {
            self.acked = up_to;
            up_to
        })
    }

    /// Lets go of what the cache shows by now.
    pub(super) fn prune(&mut self) {
        self.own.prune(self.view.version());
    }
}

/// A state replaces the one before whole: first everything goes, then the new one is set, as one version.
fn status_writes(replica: &Replica, observed: &Observed) -> [Write; 2] {
    let key = replica.object_key();
    let write = |patch| Write {
        key: key.clone(),
        op: Op::Merge(patch, Part::Status),
        precondition: Precondition { version: None, uid: Some(replica.metadata.uid.clone()) },
    };
    [write(json!({"status": {"observed": null}})), write(json!({"status": {"observed": observed}}))]
}

/// The report a commit failed on, where the failure is that one's.
fn culprit(error: &ClientError, group: &BTreeMap<Uid, Report>) -> Option<Uid> {
    let key = match error {
        ClientError::NotFound(key)
        | ClientError::Conflict { key, .. }
        | ClientError::Invalid { key, .. }
        | ClientError::BeingDeleted { key, .. } => Some(key),
        _ => None,
    };
    let is_culprit = |report: &Report| match key {
        Some(key) => report.key.of_kind(Replica::KIND) == *key,
        None => matches!(error, ClientError::TooLarge { .. }) && group.len() == 1,
    };
    group.iter().find(|(_, report)| is_culprit(report)).map(|(uid, _)| uid.clone())
}

/// Whether the object was not there, or another was in its place.
fn is_absence(error: &ClientError) -> bool {
    matches!(error, ClientError::NotFound(_) | ClientError::Conflict { .. })
}
