//! Nodes: who is heard, who is not, and what becomes of the replicas of those who are not.
//!
//! The gateway says that a node has fallen silent or is back; this controller judges it, by its own monotonic clock:
//!
//! ```text
//!            silent, 20 s since contact     60 s                     24 h
//!  ready ─────────────────────────▶ unknown ─────▶ lost ───────────────────▶ gone
//!    ▲   replicas: Unknown                 replicas: Lost, each after its service's lostAfter
//!    └──────────────────── heard again: replicas Active ────────────┘
//! ```
//!
//! It has one key: whether a node may be given up depends on how many others are silent.

mod plan;
mod silence;

#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, PoisonError},
};

use orion_model::{Key, Object, Timestamp};
use orion_runtime::{Action, Batch, Change, Lister, Reconciler, Result, Run};
use orion_types::{Node, Replica, node::NodePhase, replica::Disposition};
use tokio::time::Instant;

use self::{
    plan::{Charge, Input, NodeFacts, Plan, plan},
    silence::{Silence, Silent},
};
use crate::listers::{Listers, service_of};

/// How many replicas one run judges anew at most: a commit has its bounds, and the next run goes on.
const A_RUN: usize = 500;

/// Judges nodes.
pub(crate) struct NodeReconciler {
    listers: Listers,
    memory: Mutex<Memory>,
}

/// What only this process can know: when it saw nodes fall silent, by its own clock.
#[derive(Debug, Default)]
struct Memory {
    silence: Silence,
    /// Since when nodes that replicas name are not there.
    missing: BTreeMap<String, Instant>,
    brake: bool,
    last_eviction: Option<Instant>,
}

impl NodeReconciler {
    pub(crate) fn new(listers: Listers) -> Self {
        Self { listers, memory: Mutex::default() }
    }

    fn facts(&self, node: &Arc<Node>, silent: Option<Silent>, run: &Run<()>) -> NodeFacts {
        // A node that is heard and judged so has nothing to be judged anew.
        let replicas = run.read(&self.listers.replicas);
        let on_node = replicas.by(&self.listers.by_node, node.name());
        let judged = on_node.filter(|replica| match silent {
            None => replica.status.disposition != Disposition::Active,
            Some(_) => !replica.status.phase.is_finished(),
        });
        NodeFacts { node: node.clone(), silent, replicas: judged.map(|replica| self.charge(replica, run)).collect() }
    }

    fn charge(&self, replica: &Arc<Replica>, run: &Run<()>) -> Charge {
        let service = service_of(replica).and_then(|key| run.read(&self.listers.services).get(&key));
        Charge { replica: replica.clone(), lost_after: plan::lost_after(service.as_deref(), replica) }
    }

    /// Replicas that name nodes that are not there.
    fn stranded(&self, nodes: &[Arc<Node>], run: &Run<()>) -> Vec<(String, Charge)> {
        let known: BTreeSet<&str> = nodes.iter().map(|node| node.name()).collect();
        let replicas = run.read(&self.listers.replicas);
        let placed = replicas.list().filter(|replica| replica.is_placed());
        let stranded = placed.filter_map(|replica| {
            let node = replica.spec.node_name.as_ref().filter(|node| !known.contains(node.as_str()))?;
            Some((node.clone(), self.charge(replica, run)))
        });
        stranded.collect()
    }

    fn plan(&self, run: &Run<()>) -> Plan {
        let now = Instant::now();
        let nodes: Vec<_> = run.read(&self.listers.nodes).list().cloned().collect();
        let mut memory = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
        memory.silence.observe(&nodes, now, run.now());
        let facts: Vec<_> = nodes.iter().map(|node| self.facts(node, memory.silence.of(node, now), run)).collect();
        let stranded = self.stranded(&nodes, run);
        memory.missing.retain(|name, _| stranded.iter().any(|(node, _)| node == name));
        let stranded: Vec<_> = stranded
            .into_iter()
            .map(|(node, charge)| (charge, now.duration_since(*memory.missing.entry(node).or_insert(now))))
            .collect();
        let last_eviction = memory.last_eviction.map(|at| now.duration_since(at));
        let plan =
            plan(&Input { nodes: &facts, stranded: &stranded, brake: memory.brake, last_eviction, now: run.now() });
        memory.brake = plan.brake;
        if plan.evicts {
            memory.last_eviction = Some(now);
        }
        plan
    }
}

impl Reconciler for NodeReconciler {
    type Key = ();

    async fn reconcile(&self, (): &(), run: &Run<()>) -> Result<Action> {
        let plan = self.plan(run);
        run.commit(batch(&plan, run.now())).await?;
        for (node, notice) in &plan.notices {
            if notice.warning {
                run.warning_for(node, notice.reason, &notice.note);
            } else {
                run.event_for(node, notice.reason, &notice.note);
            }
        }
        Ok(plan.wake.map_or(Action::Done, Action::After))
    }
}

fn batch(plan: &Plan, now: Timestamp) -> Batch {
    let mut batch = Batch::new();
    for judgement in &plan.judgements {
        let mut status = judgement.node.status.clone();
        if status.phase != judgement.phase || status.since.is_none() {
            status.since = Some(now);
        }
        status.phase = judgement.phase;
        status.conditions.set(judgement.condition(now));
        batch.status(&judgement.node, status);
    }
    for (replica, disposition) in plan.dispositions.iter().take(A_RUN) {
        let mut status = replica.status.clone();
        status.disposition = *disposition;
        batch.status(replica, status);
    }
    for node in &plan.forgotten {
        batch.delete(node);
    }
    batch
}

/// The gateway has something new to say of a node, or a node came or went.
pub(crate) fn on_node(change: &Change<Node>) -> Option<()> {
    let said = |node: &Node| {
        let observed = node.status.observed.as_ref();
        (observed.map(|observed| (observed.contact, observed.contact_since)), node.status.phase)
    };
    let same = change.old().zip(change.new()).is_some_and(|(old, new)| said(old) == said(new));
    (!same).then_some(())
}

/// A replica was bound to a node that is not ready, or is judged otherwise than its node is.
pub(crate) fn on_replica(change: &Change<Replica>, nodes: &Lister<Node>) -> Option<()> {
    let new = change.new()?;
    let said = |replica: &Replica| (replica.spec.node_name.clone(), replica.status.disposition);
    if change.old().is_some_and(|old| said(old) == said(new)) {
        return None;
    }
    let node = nodes.latest().get(&Key::new("", new.spec.node_name.as_deref()?));
    let is_ready = node.is_some_and(|node| node.status.phase == NodePhase::Ready);
    (is_ready != (new.status.disposition == Disposition::Active)).then_some(())
}
