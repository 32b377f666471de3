//! The scheduler: binds Replicas that wait for a node to one, each once, and keeps why it could not.
//!
//! ```text
//! unbound replicas, nodes with what they hold ──► filter ──► score ──► bind, in one commit with `unchanged(node)`
//!                                                   └─ nobody left: condition Placed=False, a sentence a node
//! ```
//!
//! It has one key and places all that wait in one run, in the order of their creation: what each node holds is summed
//! once for all of them, and one commit binds many.

mod fleet;
mod plan;
mod refusal;

#[cfg(test)]
mod tests;

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use orion_model::{ConditionStatus, Key, Object};
use orion_runtime::{Action, Batch, Change, Reconciler, Result, Run};
use orion_types::{
    Node, Replica, Service,
    process::{PortSpec, Template},
    replica::PLACED,
    service::Placement,
};

use self::{
    fleet::{Demand, Fleet},
    plan::{Judged, Pending, Verdict, plan},
};
use crate::{
    listers::{Listers, is_unbound},
    placed,
};

/// How many verdicts one run writes at most: a commit has its bounds, and the next run goes on.
const A_RUN: usize = 500;

/// Until the run that goes on.
const SOON: Duration = Duration::from_millis(1);

/// Places what waits for a node.
pub(crate) struct SchedulerReconciler {
    listers: Listers,
    /// The node taken last: ties go to the next. Only fairness hangs on it.
    cursor: Mutex<String>,
}

impl SchedulerReconciler {
    pub(crate) fn new(listers: Listers) -> Self {
        Self { listers, cursor: Mutex::default() }
    }
}

impl Reconciler for SchedulerReconciler {
    type Key = ();

    async fn reconcile(&self, (): &(), run: &Run<()>) -> Result<Action> {
        let mut waiting: Vec<_> = run.read(&self.listers.replicas).by(&self.listers.unbound, &()).cloned().collect();
        if waiting.is_empty() {
            return Ok(Action::Done);
        }
        waiting.sort_by(|a, b| turn(a).cmp(&turn(b)));
        let pending: Vec<_> = waiting.iter().filter_map(|replica| self.pending(replica, run)).collect();
        let mut fleet = self.fleet(run);
        let cursor = self.cursor.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let plan = plan(&pending, &mut fleet, cursor);
        let news = plan.news();
        run.commit(batch(&news[..news.len().min(A_RUN)], &fleet, run)).await?;
        let more = news.len() > A_RUN;
        *self.cursor.lock().unwrap_or_else(PoisonError::into_inner) = plan.cursor;
        Ok(if more { Action::After(SOON) } else { Action::Done })
    }
}

impl SchedulerReconciler {
    /// A replica with what it asks of a node; `None` where its creator is gone, and so it will be.
    fn pending(&self, replica: &Arc<Replica>, run: &Run<()>) -> Option<Pending> {
        let namespace = replica.namespace();
        let (placement, singleton) = match (&replica.spec.service_name, &replica.spec.run_name) {
            (Some(name), _) => {
                let service = run.read(&self.listers.services).get(&Key::new(namespace, name.as_str()))?;
                (service.spec.placement.clone(), service.spec.singleton)
            }
            (None, Some(name)) => {
                let of = run.read(&self.listers.runs).get(&Key::new(namespace, name.as_str()))?;
                (of.spec.placement.clone(), false)
            }
            (None, None) => (Placement::default(), false),
        };
        let ports = self.ports(replica, run);
        let plain = ports.as_ref().is_some_and(|ports| ports.iter().all(|port| port.exclusive().is_some()));
        let modern = replica.spec.run_name.is_some() || singleton || !plain;
        let demand = ports.map(|ports| Demand::of(replica, &ports));
        Some(Pending { replica: replica.clone(), placement, demand, modern })
    }

    /// The ports of a replica's template; `None` where that is not known.
    fn ports(&self, replica: &Replica, run: &Run<()>) -> Option<Vec<PortSpec>> {
        let namespace = replica.namespace();
        let ports = |template: &Template| template.ports.clone();
        match &replica.spec.run_name {
            Some(name) => {
                let of = run.read(&self.listers.runs).get(&Key::new(namespace, name.as_str()))?;
                Some(ports(&of.spec.template))
            }
            None => {
                let key = Key::new(namespace, replica.spec.revision.as_str());
                Some(ports(&run.read(&self.listers.revisions).get(&key)?.spec.template))
            }
        }
    }

    /// All nodes, with what their replicas hold.
    fn fleet(&self, run: &Run<()>) -> Fleet {
        let mut fleet = Fleet::of(run.read(&self.listers.nodes).list());
        for replica in run.read(&self.listers.replicas).list().filter(|replica| replica.holds_resources()) {
            let ports = self.ports(replica, run).unwrap_or_default();
            if let Some(node) = &replica.spec.node_name {
                fleet.hold(node, replica, &Demand::of(replica, &ports));
            }
        }
        fleet
    }
}

fn batch(news: &[&Judged], fleet: &Fleet, run: &Run<()>) -> Batch {
    let mut batch = Batch::new();
    for node in fleet.taken() {
        batch.unchanged(node);
    }
    for Judged { replica, verdict } in news {
        let (status, reason, message) = match verdict {
            Verdict::Bound(node) => {
                batch.edit(replica, |replica| replica.spec.node_name = Some(node.clone()));
                (ConditionStatus::True, placed::BOUND, node.clone())
            }
            Verdict::Refused { reason, message } => (ConditionStatus::False, *reason, message.clone()),
        };
        let mut condition = run.condition(PLACED, status, reason, message);
        condition.observed_generation = Some(replica.metadata.generation);
        let mut status = replica.status.clone();
        status.conditions.set(condition);
        batch.status(replica, status);
    }
    batch
}

/// The order in which replicas are placed.
fn turn(replica: &Replica) -> impl Ord + use<'_> {
    let spec = &replica.spec;
    let owner = spec.service_name.as_deref().or(spec.run_name.as_deref());
    (replica.metadata.creation_timestamp, replica.namespace(), owner, spec.index, replica.name())
}

/// A replica came to wait for a node, or one gave room back.
pub(crate) fn on_replica(change: &Change<Replica>) -> Option<()> {
    let (old, new) = (change.old(), change.new());
    let waits = new.is_some_and(|new| {
        is_unbound(new) && old.is_none_or(|old| old.metadata.spec_version != new.metadata.spec_version)
    });
    let held = |replica: Option<&Arc<Replica>>| {
        replica.filter(|replica| replica.holds_resources()).map(|replica| replica.spec.settings.resources)
    };
    let freed = held(old).is_some_and(|old| held(new) != Some(old));
    (waits || freed).then_some(())
}

/// A node may run what it could not before, or has more room.
pub(crate) fn on_node(change: &Change<Node>) -> Option<()> {
    let matters = |node: &Node| {
        let observed = node.status.observed.as_ref();
        let reported = observed.map(|observed| (observed.labels.clone(), observed.capacity, observed.legacy));
        (node.spec.clone(), node.status.phase, reported)
    };
    let same = change.old().zip(change.new()).is_some_and(|(old, new)| matters(old) == matters(new));
    (!same).then_some(())
}

/// A service may stand elsewhere than before.
pub(crate) fn on_service(change: &Change<Service>) -> Option<()> {
    let moved = change.old().zip(change.new()).is_some_and(|(old, new)| old.spec.placement != new.spec.placement);
    moved.then_some(())
}
