//! What is to be done about a Job: a pure function of the objects and the time.

use std::sync::Arc;

use orion_model::{Condition, ConditionStatus, Object, Timestamp};
use orion_types::{
    Job, JobRun,
    job::{ConcurrencyPolicy, JobStatus, KEPT_HASHES},
    process::template_hash,
};

use crate::names;

/// The condition that says whether the job's present template has been run, and what it waits for otherwise.
const STARTED: &str = "Started";

pub(crate) struct Input<'a> {
    pub(crate) job: &'a Job,
    /// The Runs that name the job.
    pub(crate) runs: &'a [Arc<JobRun>],
    /// What has not started yet and comes first, in a sentence.
    pub(crate) waits: Option<&'a str>,
    pub(crate) now: Timestamp,
}

/// What is to be done, all in one commit: the Run and the note that it was made stand or fall together.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) new_run: Option<NewRun>,
    /// Unfinished Runs whose settings are to be the job's.
    pub(crate) stale_settings: Vec<Arc<JobRun>>,
    pub(crate) status: JobStatus,
    /// What keeps the job from being run.
    pub(crate) waits: Option<String>,
}

/// A Run to make.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct NewRun {
    pub(crate) name: String,
    pub(crate) hash: String,
}

/// Whether the present template is run now.
enum Decision {
    Ran,
    Run,
    Wait { reason: &'static str, why: String },
}

pub(crate) fn plan(input: &Input<'_>) -> Plan {
    let Input { job, runs, .. } = *input;
    let hash = template_hash(&job.spec.process.template);
    let name = names::run(job.name(), &hash);
    let mut status = job.status.clone();
    let decision = decide(input, &hash, &name);
    let saying = match &decision {
        Decision::Ran | Decision::Run => (ConditionStatus::True, "Started", name.clone()),
        Decision::Wait { reason, why } => (ConditionStatus::False, *reason, why.clone()),
    };
    if matches!(decision, Decision::Ran | Decision::Run) && !status.ran_hashes.contains(&hash) {
        status.ran_hashes.insert(0, hash.clone());
        status.ran_hashes.truncate(KEPT_HASHES);
    }
    let new_run = matches!(decision, Decision::Run).then(|| NewRun { name, hash: hash.clone() });
    say_of_newest(&mut status, runs, new_run.as_ref());
    status.observed_generation = job.metadata.generation;
    status.conditions.set(condition(saying, input));
    let stale = |run: &&Arc<JobRun>| {
        !run.status.phase.is_finished()
            && !run.is_being_deleted()
            && run.spec.hash == hash
            && run.spec.settings != job.spec.process.settings
    };
    let waits = match decision {
        Decision::Wait { why, .. } => Some(why),
        Decision::Ran | Decision::Run => None,
    };
    Plan { new_run, stale_settings: runs.iter().filter(stale).cloned().collect(), status, waits }
}

fn decide(input: &Input<'_>, hash: &String, name: &str) -> Decision {
    let Input { job, runs, .. } = *input;
    let wait = |reason, why: &str| Decision::Wait { reason, why: why.to_owned() };
    if job.spec.schedule.is_some() {
        return wait("NotScheduled", "schedules have no effect yet: the job never comes due");
    }
    // A Run of that name is this template's, even if this status never heard of it.
    if job.status.ran_hashes.contains(hash) || runs.iter().any(|run| run.name() == name) {
        return Decision::Ran;
    }
    if job.is_being_deleted() {
        return wait("BeingDeleted", "the job is being deleted");
    }
    if job.spec.suspend {
        return wait("Suspended", "the job is suspended");
    }
    if let Some(waits) = input.waits {
        return wait("WaitsForDependencies", waits);
    }
    let unfinished = runs.iter().find(|run| !run.status.phase.is_finished());
    match (job.spec.concurrency_policy, unfinished) {
        (ConcurrencyPolicy::Forbid, Some(run)) => {
            wait("WaitsForRun", &format!("waits for {}, of an earlier template, to end", run.name()))
        }
        (ConcurrencyPolicy::Forbid | ConcurrencyPolicy::Allow | ConcurrencyPolicy::Replace, _) => Decision::Run,
    }
}

/// What the status says of the newest Run; of one that was swept it goes on saying what it said.
fn say_of_newest(status: &mut JobStatus, runs: &[Arc<JobRun>], new_run: Option<&NewRun>) {
    if let Some(new) = new_run {
        status.last_run = Some(new.name.clone());
        status.last_phase = Some(orion_types::run::RunPhase::Pending);
        status.last_exit_code = None;
        return;
    }
    let newest = runs.iter().max_by_key(|run| {
        (run.metadata.creation_timestamp, Some(run.name()) == status.last_run.as_deref(), run.name())
    });
    if let Some(newest) = newest {
        status.last_run = Some(newest.name().to_owned());
        status.last_phase = Some(newest.status.phase);
        status.last_exit_code = newest.status.exit_code;
    }
}

fn condition((status, reason, message): (ConditionStatus, &str, String), input: &Input<'_>) -> Condition {
    Condition {
        kind: STARTED.to_owned(),
        status,
        reason: reason.to_owned(),
        message,
        last_transition_time: input.now,
        observed_generation: Some(input.job.metadata.generation),
    }
}

#[cfg(test)]
mod tests {
    use orion_types::{
        job::JobSpec,
        process::Command,
        run::{RunPhase, RunSpec},
    };

    use super::*;

    const NOW: Timestamp = Timestamp::UNIX_EPOCH;

    fn job(command: &str, change: impl FnOnce(&mut Job)) -> Job {
        let mut job = Job::new("migrate", JobSpec::default());
        job.spec.process.template.command = Some(command_of(command));
        change(&mut job);
        job
    }

    fn command_of(line: &str) -> Command {
        serde_json::from_value(line.into()).expect("a command")
    }

    fn hash(job: &Job) -> String {
        template_hash(&job.spec.process.template)
    }

    fn run(job: &Job, phase: RunPhase) -> Arc<JobRun> {
        let spec = RunSpec { job_name: "migrate".into(), hash: hash(job), ..RunSpec::default() };
        let mut run = JobRun::new(names::run("migrate", &hash(job)), spec);
        run.status.phase = phase;
        run.spec.settings = job.spec.process.settings.clone();
        Arc::new(run)
    }

    fn planned(job: &Job, runs: &[Arc<JobRun>], waits: Option<&str>) -> Plan {
        plan(&Input { job, runs, waits, now: NOW })
    }

    #[test]
    fn a_template_is_run_once_and_never_again() {
        let mut job = job("./migrate", |_| {});
        let first = planned(&job, &[], None);
        let expected = NewRun { name: names::run("migrate", &hash(&job)), hash: hash(&job) };
        assert_eq!(first.new_run, Some(expected));
        assert_eq!(first.status.ran_hashes, [hash(&job)]);

        job.status = first.status;
        for runs in [vec![run(&job, RunPhase::Running)], vec![run(&job, RunPhase::Failed)], vec![]] {
            let again = planned(&job, &runs, None);
            assert_eq!(again.new_run, None, "with {runs:?}");
            assert_eq!(again.status.ran_hashes.len(), 1);
        }
    }

    #[test]
    fn a_run_that_the_status_never_heard_of_is_not_made_twice() {
        let job = job("./migrate", |_| {});
        let plan = planned(&job, &[run(&job, RunPhase::Running)], None);
        assert_eq!((plan.new_run, plan.status.ran_hashes), (None, vec![hash(&job)]));
    }

    #[test]
    fn each_reason_not_to_run_is_said_and_makes_no_run() {
        let earlier = run(&job("./old", |_| {}), RunPhase::Running);
        let table = [
            (job("./m", |_| {}), None, vec![], None),
            (job("./m", |job| job.spec.suspend = true), None, vec![], Some("suspended")),
            (job("./m", |_| {}), Some("waits for db to start"), vec![], Some("waits for db to start")),
            (job("./m", |_| {}), None, vec![earlier.clone()], Some("of an earlier template")),
            (
                job("./m", |job| job.spec.concurrency_policy = ConcurrencyPolicy::Allow),
                None,
                vec![earlier.clone()],
                None,
            ),
            (
                job("./m", |job| job.spec.schedule = serde_json::from_value("@daily".into()).expect("a schedule")),
                None,
                vec![],
                Some("no effect yet"),
            ),
        ];
        for (job, waits, runs, why) in table {
            let plan = planned(&job, &runs, waits);
            assert_eq!(plan.new_run.is_none(), why.is_some());
            let said = plan.waits.unwrap_or_default();
            assert!(said.contains(why.unwrap_or_default()), "{said}");
            let condition = plan.status.conditions.get(STARTED).expect("said");
            assert!(condition.message.contains(why.unwrap_or_default()));
            assert_eq!(plan.status.ran_hashes.is_empty(), why.is_some());
        }
    }

    #[test]
    fn the_last_hundred_hashes_are_kept_newest_first() {
        let mut job = job("./new", |_| {});
        job.status.ran_hashes = (0..KEPT_HASHES).map(|number| number.to_string()).collect();
        let plan = planned(&job, &[], None);
        assert_eq!(plan.status.ran_hashes.len(), KEPT_HASHES);
        assert_eq!((plan.status.ran_hashes[0].clone(), plan.status.ran_hashes[99].clone()), (hash(&job), "98".into()));
    }

    #[test]
    fn the_status_follows_the_newest_run_and_keeps_what_was_swept() {
        let mut job = job("./m", |_| {});
        job.status = planned(&job, &[], None).status;
        let mut ended = run(&job, RunPhase::Failed).as_ref().clone();
        ended.status.exit_code = Some(3);
        job.status = planned(&job, &[Arc::new(ended)], None).status;
        let swept = planned(&job, &[], None).status;
        assert_eq!((swept.last_phase, swept.last_exit_code), (Some(RunPhase::Failed), Some(3)));
        assert_eq!(swept.last_run, Some(names::run("migrate", &hash(&job))));
    }

    #[test]
    fn settings_reach_the_run_of_the_present_template_while_it_is_unfinished() {
        let mut job = job("./m", |_| {});
        let runs = [run(&job, RunPhase::Running)];
        job.spec.process.settings.stop.timeout = orion_types::Duration::from_secs(3);
        assert_eq!(planned(&job, &runs, None).stale_settings.len(), 1);
        let finished = [run(&self::job("./m", |_| {}), RunPhase::Succeeded)];
        assert_eq!(planned(&job, &finished, None).stale_settings.len(), 0);
    }
}
