//! Services: as many replicas as wished, of the template as written, replaced step by step.
//!
//! ```text
//! service, revisions, replicas, nodes, now ──► plan (pure) ──► one commit
//!                                               ├ census       what each replica still means
//!                                               ├ course       which revision it is on the way to
//!                                               ├ surge        whether new can stand beside old
//!                                               ├ rollout      one step within the bounds
//!                                               └ conditions   what is said of it
//! ```

mod census;
mod conditions;
mod course;
mod plan;
mod rollout;
mod surge;
mod trouble;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use orion_model::{Key, Object, Timestamp, Whole};
use orion_runtime::{Action, Batch, Reconciler, Result, Run};
use orion_types::{
    Replica, Revision, Service,
    replica::{PROCESS_FINALIZER, ReplicaSpec, Stop},
    revision::RevisionSpec,
};

use self::plan::{Edit, Input, Plan, plan};
use crate::{dependency, labels, listers::Listers, names, plugin, retirement};

/// How many replicas one commit changes at most: each is written as it was read, and the more there are, the likelier
/// one of them has moved. The next run goes on.
const EDITS_A_RUN: usize = 200;

/// Keeps services as they are wished.
pub(crate) struct ServiceReconciler {
    pub(crate) listers: Listers,
}

impl Reconciler for ServiceReconciler {
    type Key = Key<Service>;

    async fn reconcile(&self, key: &Key<Service>, run: &Run<Key<Service>>) -> Result<Action> {
        let replicas: Vec<_> = run.read(&self.listers.replicas).by(&self.listers.by_service, key).cloned().collect();
        let Some(service) = run.object() else {
            run.commit(retirement::of_orphans(&replicas)).await?;
            return Ok(Action::Done);
        };
        let revisions: Vec<_> = run.read(&self.listers.revisions).by(&self.listers.of_service, key).cloned().collect();
        let nodes: Vec<_> = run.read(&self.listers.nodes).list().cloned().collect();
        let waits = self.waits(&service, run);
        let input = Input {
            service: &service,
            revisions: &revisions,
            replicas: &replicas,
            nodes: &nodes,
            waits: waits.as_deref(),
            now: run.now(),
        };
        let plan = plan(&input);
        run.commit(self.batch(&service, &plan, run)).await?;
        for notice in &plan.notices {
            if notice.warning {
                run.warning(notice.reason, &notice.note);
            } else {
                run.event(notice.reason, &notice.note);
            }
        }
        Ok(match (waits, plan.wake.moment()) {
            (Some(waits), None) if replicas.is_empty() => Action::waiting(waits),
            _ => plan.wake.action(),
        })
    }
}

impl ServiceReconciler {
    fn waits(&self, service: &Service, run: &Run<Key<Service>>) -> Option<String> {
        let namespace = service.namespace();
        dependency::waits_for(&service.spec.dependencies, |name| self.listers.standing(run, namespace, name))
    }

    fn batch(&self, service: &Arc<Service>, plan: &Plan, run: &Run<Key<Service>>) -> Batch {
        let mut batch = Batch::new();
        if let Some(new) = &plan.new_revision {
            batch.create(&revision(service, new));
        }
        for old in &plan.old_revisions {
            batch.delete(old);
        }
        let gates = if plan.starts.is_empty() {
            Vec::new()
        } else {
            plugin::gates(&service.spec.hooks, service.namespace(), &run.read(&self.listers.plugins))
        };
        let labels = plan::child_labels(service);
        for index in &plan.starts {
            let name = names::replica(service.name(), *index, run.client().randomness());
            let spec = ReplicaSpec {
                service_name: Some(service.name().to_owned()),
                index: *index,
                revision: plan.target.clone(),
                gates: gates.clone(),
                settings: service.spec.process.settings.clone(),
                ..ReplicaSpec::default()
            };
            let mut replica = Replica::new(name, spec).owned_by(service.as_ref()).with_finalizer(PROCESS_FINALIZER);
            replica.metadata.labels.clone_from(&labels);
            batch.create(&replica);
        }
        for edit in plan.edits.iter().take(EDITS_A_RUN) {
            batch.edit(&edit.replica, |replica| change(replica, edit, service, run.now()));
        }
        for replica in plan.sweeps.iter().take(EDITS_A_RUN) {
            batch.delete(replica);
        }
        if !batch.is_empty() {
            // What is done about replicas was decided by the service as it was read.
            batch.unchanged(service);
        }
        batch.status(service, plan.status.clone());
        batch
    }
}

fn revision(service: &Service, new: &plan::NewRevision) -> Revision {
    let spec = RevisionSpec {
        service_name: service.name().to_owned(),
        number: new.number,
        hash: new.hash.clone(),
        template: service.spec.process.template.clone(),
    };
    Revision::new(new.name.as_str(), spec).owned_by(service).with_label(labels::SERVICE, service.name())
}

fn change(replica: &mut Replica, edit: &Edit, service: &Service, now: Timestamp) {
    if let Some(reason) = edit.stop {
        replica.spec.stop = Some(Stop { reason: reason.as_str().to_owned() });
    }
    if let Some(finalizer) = edit.finalizer {
        retirement::apply(finalizer, replica, now);
    }
    if edit.refresh {
        replica.spec.settings.clone_from(&service.spec.process.settings);
        replica.metadata.labels = plan::child_labels(service);
    }
}
