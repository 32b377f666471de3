//! The replicas of a service, sorted by what they still mean to it.

use std::{cmp::Reverse, sync::Arc, time::Duration};

use orion_model::{ConditionStatus, Object, Timestamp, Uid};
use orion_types::{
    Node, Replica,
    node::NodePhase,
    replica::{PLACED, Phase, ProcessState},
};

use crate::{placed, wake::Wake};

/// All replicas of one service.
pub(super) struct Census {
    /// Those that are to run, by index and age.
    pub(super) live: Vec<Copy>,
    /// Those whose end is wished and not reached; they still hold what they hold.
    pub(super) stopping: Vec<Arc<Replica>>,
    /// Those that are over.
    pub(super) finished: Vec<Arc<Replica>>,
}

/// One live replica.
#[derive(Clone)]
pub(super) struct Copy {
    pub(super) replica: Arc<Replica>,
    /// Ready and, where it replaces another, for long enough.
    pub(super) available: bool,
    /// Its node came back a moment ago, so what is known of it may be from before: until when it is not believed.
    pub(super) doubted_until: Option<Timestamp>,
}

/// By what a replica counts as available.
pub(super) struct Availability<'a> {
    pub(super) stable: Option<&'a str>,
    pub(super) min_ready: Duration,
    pub(super) nodes: &'a [Arc<Node>],
    pub(super) now: Timestamp,
}

/// How long after a node's return its reports may still be on their way.
const DOUBTED_FOR: Duration = Duration::from_secs(5);

impl Census {
    /// Sorts the replicas that name this service. Those of an earlier service of the same name count as stopping: they
    /// are on their way out, and until they are gone they hold what they hold.
    pub(super) fn take(replicas: &[Arc<Replica>], owner: &Uid, counts: &Availability<'_>, wake: &mut Wake) -> Self {
        let mut census = Self { live: Vec::new(), stopping: Vec::new(), finished: Vec::new() };
        for replica in replicas {
            if replica.status.phase.is_finished() {
                census.finished.push(replica.clone());
            } else if replica.is_stop_wished() || !replica.metadata.is_owned_by(owner) {
                census.stopping.push(replica.clone());
            } else {
                let available = counts.is_available(replica, wake);
                let doubted_until = counts.doubted_until(replica);
                census.live.push(Copy { replica: replica.clone(), available, doubted_until });
            }
        }
        census.live.sort_by(|a, b| a.order().cmp(&b.order()));
        census
    }

    /// How many are there and not over, bound to a node or about to be.
    pub(super) fn unfinished(&self) -> u32 {
        count(self.live.len() + self.stopping.len())
    }

    /// How many are available.
    pub(super) fn available(&self) -> u32 {
        count(self.live.iter().filter(|copy| copy.available).count())
    }

    /// How many are ready.
    pub(super) fn ready(&self) -> u32 {
        count(self.live.iter().filter(|copy| copy.replica.is_ready()).count())
    }

    /// How many of a revision are placed and to run.
    pub(super) fn placed_of(&self, revision: &str) -> u32 {
        count(self.live.iter().filter(|copy| copy.is_of(revision) && copy.replica.is_placed()).count())
    }

    /// Whether each index below `desired` has an available copy of this revision, and nothing else is to run.
    pub(super) fn is_exactly(&self, revision: &str, desired: u32) -> bool {
        let covered = |index| self.live.iter().any(|copy| copy.index() == index && copy.available);
        self.live.iter().all(|copy| copy.is_of(revision) && copy.index() < desired) && (0..desired).all(covered)
    }

    /// The replicas of a revision that hooks have refused, oldest first.
    pub(super) fn refused_of(&self, revision: &str) -> Vec<&Arc<Replica>> {
        let refused = |replica: &&Arc<Replica>| replica.spec.revision == revision && replica.status.refused.is_some();
        let mut found: Vec<_> = self.finished.iter().filter(refused).collect();
        found.sort_by_key(|replica| replica.metadata.creation_timestamp);
        found
    }
}

impl Copy {
    pub(super) fn index(&self) -> u32 {
        self.replica.spec.index
    }

    pub(super) fn is_of(&self, revision: &str) -> bool {
        self.replica.spec.revision == revision
    }

    /// Its process was ended, though nobody wishes it any more: a copy given up and taken back too late. It will not
    /// run again.
    pub(super) fn is_dead(&self) -> bool {
        self.replica.status.observed.as_ref().is_some_and(|observed| observed.state == ProcessState::Stopped)
    }

    /// The scheduler found no node with room for it.
    pub(super) fn has_no_room(&self) -> bool {
        let condition = self.replica.status.conditions.get(PLACED);
        self.replica.spec.node_name.is_none()
            && condition.is_some_and(|c| c.status == ConditionStatus::False && c.reason == placed::NO_ROOM)
    }

    /// Which of several copies of one index and revision is kept, the greatest: the one furthest on its way and, among
    /// equals, the original.
    pub(super) fn worth(&self) -> impl Ord + use<> {
        let age = Reverse((self.replica.metadata.creation_timestamp, self.replica.name().to_owned()));
        (!self.is_dead(), self.available, progress(self.replica.status.phase), age)
    }

    fn order(&self) -> (u32, Option<Timestamp>, &str) {
        (self.index(), self.replica.metadata.creation_timestamp, self.replica.name())
    }
}

impl Availability<'_> {
    /// A copy of the stable revision, or of the first there is, counts as soon as it is ready.
    fn is_available(&self, replica: &Replica, wake: &mut Wake) -> bool {
        if !replica.is_ready() {
            return false;
        }
        if self.stable.is_none_or(|stable| stable == replica.spec.revision) {
            return true;
        }
        let since = replica.status.observed.as_ref().and_then(|observed| observed.ready_since).unwrap_or(self.now);
        let from = since.after(self.min_ready);
        if from > self.now {
            wake.at(from);
        }
        from <= self.now
    }

    fn doubted_until(&self, replica: &Replica) -> Option<Timestamp> {
        let name = replica.spec.node_name.as_deref()?;
        let node = self.nodes.iter().find(|node| node.name() == name && node.status.phase == NodePhase::Ready)?;
        let returned =
            node.status.since.filter(|since| replica.metadata.creation_timestamp < Some(since.to_seconds()))?;
        Some(returned.after(DOUBTED_FOR)).filter(|until| *until > self.now)
    }
}

fn progress(phase: Phase) -> u8 {
    match phase {
        Phase::Ready => 6,
        Phase::Running => 5,
        Phase::Unknown => 4,
        Phase::Starting => 3,
        Phase::Backoff | Phase::Scheduled => 2,
        Phase::Gated => 1,
        Phase::Pending | Phase::Stopping | Phase::Stopped | Phase::Lost | Phase::Succeeded | Phase::Failed => 0,
    }
}

pub(super) fn count(items: usize) -> u32 {
    u32::try_from(items).unwrap_or(u32::MAX)
}
