//! Runs: one execution of a Job, attempt after attempt until one succeeds or none is left.
//!
//! ```text
//!            ┌──── failed: wait 10 s, doubling to 6 min ────┐
//!            ▼                                              │
//! Pending ──► Running: attempt n, a Replica ────────────────┤
//!                         │ exit 0      │ node lost: at once again, not counted
//!                         ▼             ▼
//!                     Succeeded      Running     … limit, deadline, stopped by a person ──► Failed
//! ```

mod attempts;
mod plan;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use orion_model::{Key, Object, Whole};
use orion_runtime::{Action, Batch, Reconciler, Result, Run};
use orion_types::{
    Job, JobRun, Replica,
    replica::{PROCESS_FINALIZER, ReplicaSpec, Stop},
};

use self::plan::{Input, Plan, plan};
use crate::{labels, listers::Listers, names, plugin, retirement};

/// Sees Runs through.
pub(crate) struct RunReconciler {
    pub(crate) listers: Listers,
}

impl Reconciler for RunReconciler {
    type Key = Key<JobRun>;

    async fn reconcile(&self, key: &Key<JobRun>, run: &Run<Key<JobRun>>) -> Result<Action> {
        let replicas: Vec<_> = run.read(&self.listers.replicas).by(&self.listers.by_run, key).cloned().collect();
        let Some(of) = run.object() else {
            run.commit(retirement::of_orphans(&replicas)).await?;
            return Ok(Action::Done);
        };
        let job = run.read(&self.listers.jobs).get(&Key::new(of.namespace(), of.spec.job_name.as_str()));
        let plan = plan(&Input { run: &of, job: job.as_deref(), replicas: &replicas, now: run.now() });
        run.commit(self.batch(&of, job.as_deref(), &plan, run)).await?;
        if let Some(notice) = &plan.notice {
            if notice.warning {
                run.warning(notice.reason, &notice.note);
            } else {
                run.event(notice.reason, &notice.note);
            }
        }
        Ok(plan.wake.action())
    }
}

impl RunReconciler {
    fn batch(&self, of: &Arc<JobRun>, job: Option<&Job>, plan: &Plan, run: &Run<Key<JobRun>>) -> Batch {
        let mut batch = Batch::new();
        if let Some(number) = plan.start {
            batch.create(&self.attempt(of, job, number, run));
        }
        for edit in &plan.edits {
            batch.edit(&edit.replica, |replica| {
                if let Some(reason) = edit.stop {
                    replica.spec.stop = Some(Stop { reason: reason.to_owned() });
                }
                if let Some(finalizer) = edit.finalizer {
                    retirement::apply(finalizer, replica, run.now());
                }
                if edit.refresh {
                    replica.spec.settings.clone_from(&of.spec.settings);
                }
            });
        }
        for replica in &plan.sweeps {
            batch.delete(replica);
        }
        if plan.is_swept {
            batch.delete(of);
            return batch;
        }
        if !batch.is_empty() {
            batch.unchanged(of);
        }
        batch.status(of, plan.status.clone());
        batch
    }

    fn attempt(&self, of: &JobRun, job: Option<&Job>, number: u32, run: &Run<Key<JobRun>>) -> Replica {
        let name = names::attempt(of.name(), number, run.client().randomness());
        let gates = job.map(|job| plugin::gates(&job.spec.hooks, of.namespace(), &run.read(&self.listers.plugins)));
        let spec = ReplicaSpec {
            run_name: Some(of.name().to_owned()),
            index: number,
            gates: gates.unwrap_or_default(),
            settings: of.spec.settings.clone(),
            ..ReplicaSpec::default()
        };
        let mut replica = Replica::new(name, spec).owned_by(of).with_finalizer(PROCESS_FINALIZER);
        replica.metadata.labels.clone_from(&of.metadata.labels);
        replica.with_label(labels::RUN, of.name())
    }
}
