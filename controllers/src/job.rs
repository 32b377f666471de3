//! Jobs: each template is run once, as a Run of its own, and never again unasked.

mod plan;

use std::sync::Arc;

use orion_model::{Key, Object, Whole};
use orion_runtime::{Action, Batch, Reconciler, Result, Run};
use orion_types::{Job, JobRun, run::RunSpec};

use self::plan::{Input, Plan, plan};
use crate::{dependency, labels, listers::Listers};

/// Makes the Runs of jobs.
pub(crate) struct JobReconciler {
    pub(crate) listers: Listers,
}

impl Reconciler for JobReconciler {
    type Key = Key<Job>;

    async fn reconcile(&self, key: &Key<Job>, run: &Run<Key<Job>>) -> Result<Action> {
        let Some(job) = run.object() else { return Ok(Action::Done) };
        let runs: Vec<_> = run.read(&self.listers.runs).by(&self.listers.of_job, key).cloned().collect();
        let namespace = job.namespace();
        let waits = dependency::waits_for(&job.spec.dependencies, |name| self.listers.standing(run, namespace, name));
        let plan = plan(&Input { job: &job, runs: &runs, waits: waits.as_deref(), now: run.now() });
        run.commit(batch(&job, &plan)).await?;
        Ok(plan.waits.map_or(Action::Done, Action::waiting))
    }
}

fn batch(job: &Arc<Job>, plan: &Plan) -> Batch {
    let mut batch = Batch::new();
    if let Some(new) = &plan.new_run {
        batch.create(&make(job, new));
    }
    for stale in &plan.stale_settings {
        batch.edit(stale, |run| run.spec.settings.clone_from(&job.spec.process.settings));
    }
    if !batch.is_empty() {
        batch.unchanged(job);
    }
    batch.status(job, plan.status.clone());
    batch
}

fn make(job: &Job, new: &plan::NewRun) -> JobRun {
    let spec = RunSpec {
        job_name: job.name().to_owned(),
        hash: new.hash.clone(),
        template: job.spec.process.template.clone(),
        settings: job.spec.process.settings.clone(),
        backoff_limit: job.spec.backoff_limit,
        active_deadline: job.spec.active_deadline,
        ttl_after_finished: Some(job.spec.ttl_after_finished),
        placement: job.spec.placement.clone(),
        due: None,
    };
    let mut run = JobRun::new(new.name.as_str(), spec).owned_by(job);
    run.metadata.labels = labels::inherited(&job.metadata.labels, &job.spec.labels, &[(labels::JOB, job.name())]);
    run
}
