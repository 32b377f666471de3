//! What is judged of nodes and of the replicas on them: a pure function of the objects and of how long who is silent.

use std::{sync::Arc, time::Duration};

use orion_model::{Condition, ConditionStatus, Timestamp};
use orion_types::{
    Node, Replica, Service, applied::CONFIG_LABEL, node::NodePhase, replica::Disposition, service::Disconnect,
};

use super::silence::Silent;
use crate::notice::Notice;

/// Until a node is unknown whose silence was there already when this controller began to look; otherwise the gateway
/// has waited before it said that the node is silent.
const UNKNOWN_AFTER: Duration = Duration::from_secs(20);
/// From the last contact until it is lost.
const LOST_AFTER: Duration = Duration::from_secs(60);
/// Twice the heartbeat: no service gives its replicas up earlier.
const SHORTEST_LOST_AFTER: Duration = Duration::from_secs(10);
/// How long an agent lets a singleton run after the last acknowledged heartbeat.
const SINGLETON_STOP_AFTER: Duration = Duration::from_secs(30);
/// What is added for a singleton, beside its own time to stop.
const SINGLETON_MARGIN: Duration = Duration::from_secs(5);
/// How long a node that is lost is kept, and how long it counts for the brake.
const KEPT: Duration = Duration::from_secs(24 * 3600);
/// So many silent nodes at least make the brake hold.
const BRAKE_FROM: usize = 3;
/// With more nodes than this, they are given up one at a time.
const PACED_ABOVE: usize = 10;
/// Between two of them.
const PACE: Duration = Duration::from_secs(10);

/// The condition that says whether a node can be used.
const READY: &str = "Ready";

/// A replica that may be judged, with the time its service grants.
#[derive(Clone, Debug)]
pub(crate) struct Charge {
    pub(crate) replica: Arc<Replica>,
    pub(crate) lost_after: Duration,
}

/// What is known of one node.
#[derive(Clone, Debug)]
pub(crate) struct NodeFacts {
    pub(crate) node: Arc<Node>,
    /// `None` where it is heard, or was never seen.
    pub(crate) silent: Option<Silent>,
    /// Its replicas that may have to be judged anew.
    pub(crate) replicas: Vec<Charge>,
}

pub(crate) struct Input<'a> {
    /// All nodes, by name.
    pub(crate) nodes: &'a [NodeFacts],
    /// Replicas of nodes that are no longer there, and for how long they have not been.
    pub(crate) stranded: &'a [(Charge, Duration)],
    /// Whether the brake held so far.
    pub(crate) brake: bool,
    /// How long ago a node was last given up.
    pub(crate) last_eviction: Option<Duration>,
    pub(crate) now: Timestamp,
}

/// What is judged, all in one commit: a node that is ready again has its replicas back in the same moment, so that
/// nothing is placed on what they hold.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    pub(crate) judgements: Vec<Judgement>,
    pub(crate) dispositions: Vec<(Arc<Replica>, Disposition)>,
    /// Nodes that are no longer kept.
    pub(crate) forgotten: Vec<Arc<Node>>,
    pub(crate) notices: Vec<(Arc<Node>, Notice)>,
    pub(crate) brake: bool,
    /// A node is given up now.
    pub(crate) evicts: bool,
    /// How long until this could come out otherwise though nothing has changed.
    pub(crate) wake: Option<Duration>,
}

/// What is said of one node.
#[derive(Clone, Debug)]
pub(crate) struct Judgement {
    pub(crate) node: Arc<Node>,
    pub(crate) phase: NodePhase,
    reason: &'static str,
    message: &'static str,
}

impl Judgement {
    pub(crate) fn condition(&self, now: Timestamp) -> Condition {
        let status = match self.phase {
            NodePhase::Ready => ConditionStatus::True,
            NodePhase::Unknown => ConditionStatus::Unknown,
            NodePhase::Lost => ConditionStatus::False,
        };
        Condition {
            kind: READY.to_owned(),
            status,
            reason: self.reason.to_owned(),
            message: self.message.to_owned(),
            last_transition_time: now,
            observed_generation: Some(self.node.metadata.generation),
        }
    }
}

/// After how long of silence a replica is given up: as its service says, but not within two heartbeats, and for a
/// singleton not before its agent has surely ended it.
pub(crate) fn lost_after(service: Option<&Service>, replica: &Replica) -> Duration {
    let said = service.map_or_else(Disconnect::default, |service| service.spec.disconnect).lost_after.get();
    let said = said.max(SHORTEST_LOST_AFTER);
    if service.is_some_and(|service| service.spec.singleton) {
        let stop = replica.spec.settings.stop.timeout.get();
        return said.max(SINGLETON_STOP_AFTER + stop + SINGLETON_MARGIN);
    }
    said
}

pub(crate) fn plan(input: &Input<'_>) -> Plan {
    let mut plan = Plan { brake: brake(input), ..Plan::default() };
    plan.tell_of_brake(input);
    let mut eviction = plan.next_eviction(input);
    for facts in input.nodes {
        let node = &facts.node;
        match facts.silent {
            None if node.status.observed.is_none() => {
                plan.judge(node, NodePhase::Unknown, "NeverSeen", "its agent has never connected");
            }
            None => {
                plan.judge(node, NodePhase::Ready, "Connected", "its agent is heard");
                plan.judge_replicas(facts, |_| Disposition::Active);
            }
            Some(silent) => plan.judge_silent(facts, silent, &mut eviction, input.now),
        }
    }
    plan.judge_stranded(input.stranded);
    plan
}

/// Whether this and the next nodes may be given up.
enum Eviction {
    Free,
    /// This long to wait; then one node.
    Paced(Duration),
    Held,
}

impl Plan {
    fn judge(&mut self, node: &Arc<Node>, phase: NodePhase, reason: &'static str, message: &'static str) {
        let said = node.status.conditions.get(READY);
        if node.status.phase == phase && said.is_some_and(|said| said.reason == reason) {
            return;
        }
        self.judgements.push(Judgement { node: node.clone(), phase, reason, message });
        if node.status.observed.is_some() && node.status.phase != phase {
            self.notices.push((node.clone(), notice(phase, node.status.phase)));
        }
    }

    fn judge_replicas(&mut self, facts: &NodeFacts, disposition: impl Fn(&Charge) -> Disposition) {
        for charge in &facts.replicas {
            let judged = disposition(charge);
            if charge.replica.status.disposition != judged {
                self.dispositions.push((charge.replica.clone(), judged));
            }
        }
    }

    fn judge_silent(&mut self, facts: &NodeFacts, silence: Silent, eviction: &mut Eviction, now: Timestamp) {
        let node = &facts.node;
        let silent = silence.lasted;
        let was_lost = node.status.phase == NodePhase::Lost;
        let due = silent >= LOST_AFTER || facts.replicas.iter().any(|charge| is_due(charge, silent));
        let graced = !silence.beginning_seen && silent < UNKNOWN_AFTER;
        if graced && !due && node.status.phase == NodePhase::Ready {
            return self.wake_for(facts, silent);
        }
        let gives_up = was_lost || (due && self.may_evict(eviction));
        let lost = was_lost || (silent >= LOST_AFTER && gives_up);
        if lost {
            self.judge(node, NodePhase::Lost, "Silent", "its agent has been silent for too long");
        } else {
            self.judge(node, NodePhase::Unknown, "Silent", "its agent is silent");
        }
        let forgotten = was_lost && self.forgets(node, now);
        self.judge_replicas(facts, |charge| judged(charge, silent, gives_up, forgotten));
        self.wake_for(facts, silent);
    }

    fn may_evict(&mut self, eviction: &mut Eviction) -> bool {
        match eviction {
            Eviction::Held => false,
            Eviction::Free => {
                self.evicts = true;
                true
            }
            Eviction::Paced(wait) if wait.is_zero() => {
                self.evicts = true;
                *wait = PACE;
                true
            }
            Eviction::Paced(wait) => {
                let wait = *wait;
                self.wake_in(wait);
                false
            }
        }
    }

    fn next_eviction(&self, input: &Input<'_>) -> Eviction {
        if self.brake {
            Eviction::Held
        } else if input.nodes.len() > PACED_ABOVE {
            Eviction::Paced(input.last_eviction.map_or(Duration::ZERO, |ago| PACE.saturating_sub(ago)))
        } else {
            Eviction::Free
        }
    }

    fn tell_of_brake(&mut self, input: &Input<'_>) {
        if self.brake == input.brake {
            return;
        }
        let Some(first) = input.nodes.iter().find(|facts| facts.silent.is_some()).or(input.nodes.first()) else {
            return;
        };
        let notice = if self.brake {
            let note = "over half of all nodes are silent: none is given up until fewer than half are";
            Notice::warning("ClusterPartitionSuspected", note)
        } else {
            Notice::normal("ClusterPartitionOver", "fewer than half of all nodes are silent")
        };
        self.notices.push((first.node.clone(), notice));
    }

    /// A node is kept for a day after it was lost; one that a config declares stays.
    fn forgets(&mut self, node: &Arc<Node>, now: Timestamp) -> bool {
        let is_declared = node.metadata.labels.contains_key(CONFIG_LABEL);
        let Some(since) = node.status.since.filter(|_| !is_declared) else { return false };
        let until = since.after(KEPT);
        if until > now {
            self.wake_in(until.since(now));
            return false;
        }
        self.forgotten.push(node.clone());
        true
    }

    /// Replicas of a node that is no longer there are given up as those of a silent one.
    fn judge_stranded(&mut self, stranded: &[(Charge, Duration)]) {
        for (charge, gone) in stranded {
            let disposition = judged(charge, *gone, true, false);
            if charge.replica.status.disposition != disposition {
                self.dispositions.push((charge.replica.clone(), disposition));
            }
            if disposition != Disposition::Lost {
                self.wake_in(charge.lost_after.saturating_sub(*gone));
            }
        }
    }

    /// Wakes at the next moment on the node's timeline.
    fn wake_for(&mut self, facts: &NodeFacts, silent: Duration) {
        let of_replicas = facts.replicas.iter().map(|charge| charge.lost_after);
        let next = [UNKNOWN_AFTER, LOST_AFTER].into_iter().chain(of_replicas).filter(|moment| *moment > silent).min();
        if let Some(next) = next {
            self.wake_in(next - silent);
        }
    }

    fn wake_in(&mut self, wait: Duration) {
        self.wake = Some(self.wake.map_or(wait, |known| known.min(wait)));
    }
}

fn judged(charge: &Charge, silent: Duration, gives_up: bool, forgotten: bool) -> Disposition {
    match charge.replica.status.disposition {
        Disposition::Lost => Disposition::Lost,
        _ if forgotten || (gives_up && is_due(charge, silent)) => Disposition::Lost,
        Disposition::Active | Disposition::Unknown => Disposition::Unknown,
    }
}

fn is_due(charge: &Charge, silent: Duration) -> bool {
    charge.replica.status.disposition != Disposition::Lost && silent >= charge.lost_after
}

/// Of the nodes that were ready in the last 24 h, at least three and over half are silent; once it holds, it does until
/// fewer than half are.
fn brake(input: &Input<'_>) -> bool {
    let recent = |facts: &&NodeFacts| {
        let gone = facts.node.status.phase != NodePhase::Ready;
        let since = facts.node.status.since.filter(|_| gone);
        facts.node.status.observed.is_some() && since.is_none_or(|since| since.after(KEPT) > input.now)
    };
    let all = input.nodes.iter().filter(recent).count();
    let is_silent = |facts: &&NodeFacts| facts.node.status.phase != NodePhase::Lost && facts.silent.is_some();
    let silent = input.nodes.iter().filter(recent).filter(is_silent).count();
    let engages = silent >= BRAKE_FROM && silent * 2 > all;
    engages || (input.brake && silent * 2 >= all && silent > 0)
}

fn notice(phase: NodePhase, before: NodePhase) -> Notice {
    match (phase, before) {
        (NodePhase::Ready, NodePhase::Lost) => Notice::normal("NodeReturned", "is heard again, after it was lost"),
        (NodePhase::Ready, _) => Notice::normal("NodeReady", "its agent is heard"),
        (NodePhase::Unknown, _) => Notice::warning("NodeUnknown", "its agent is silent"),
        (NodePhase::Lost, _) => Notice::warning("NodeLost", "its agent has been silent for too long"),
    }
}
