//! Tables over the plan of a Run, and one life after another in small steps.

use std::{collections::BTreeMap, time::Duration as Std};

use orion_model::Timestamp;
use orion_types::{
    Duration,
    job::{ConcurrencyPolicy, JobSpec},
    process::template_hash,
    replica::{Disposition, Exit, Observed, Phase, ProcessState, phase},
    run::{RunPhase, RunSpec},
};

use super::*;
use crate::{retirement::Finalizer, run::plan::Edit};

struct World {
    run: JobRun,
    job: Job,
    replicas: BTreeMap<String, Replica>,
    now: Timestamp,
    swept: bool,
}

impl World {
    fn new(change: impl FnOnce(&mut RunSpec)) -> Self {
        let job = Job::new("migrate", JobSpec::default()).in_namespace("default");
        let hash = template_hash(&job.spec.process.template);
        let mut spec = RunSpec {
            job_name: "migrate".into(),
            hash: hash.clone(),
            backoff_limit: 6,
            ttl_after_finished: Some(Duration::from_hours(24)),
            ..RunSpec::default()
        };
        change(&mut spec);
        let now = Timestamp::from_millis(1_790_000_000_000);
        let mut run = JobRun::new(names::run("migrate", &hash), spec).in_namespace("default");
        run.metadata.uid = "run-uid".into();
        run.metadata.creation_timestamp = Some(now);
        Self { run, job, replicas: BTreeMap::new(), now, swept: false }
    }

    /// One run of the controller.
    fn reconcile(&mut self) -> Plan {
        let replicas: Vec<_> = self.replicas.values().cloned().map(Arc::new).collect();
        let plan = plan(&Input { run: &self.run, job: Some(&self.job), replicas: &replicas, now: self.now });
        for Edit { replica, stop, finalizer, .. } in &plan.edits {
            self.edit(replica.name(), |replica| {
                if let Some(reason) = stop {
                    replica.spec.stop = Some(Stop { reason: (*reason).to_owned() });
                }
            });
            let replica = self.replicas.get_mut(replica.name()).expect("it is there");
            if let Some(finalizer) = finalizer {
                retirement::apply(*finalizer, replica, self.now);
            }
        }
        plan.sweeps.iter().for_each(|replica| drop(self.replicas.remove(replica.name())));
        if let Some(number) = plan.start {
            let name = format!("migrate-{number}");
            let spec = ReplicaSpec { run_name: Some("r".into()), index: number, ..ReplicaSpec::default() };
            let mut replica = Replica::new(name.as_str(), spec).owned_by(&self.run).with_finalizer(PROCESS_FINALIZER);
            replica.spec.settings.clone_from(&self.run.spec.settings);
            replica.spec.node_name = Some("node-1".into());
            replica.status.phase = phase(&replica);
            self.replicas.insert(name, replica);
        }
        self.run.status = plan.status.clone();
        self.swept |= plan.is_swept;
        plan
    }

    fn edit(&mut self, name: &str, change: impl FnOnce(&mut Replica)) {
        let replica = self.replicas.get_mut(name).expect("it is there");
        change(replica);
        replica.status.phase = phase(replica);
    }

    fn says(&mut self, number: u32, state: ProcessState, code: Option<i32>) {
        let at = self.now;
        self.edit(&format!("migrate-{number}"), |replica| {
            let exit = code.map(|code| Exit { code: Some(code), reason: "Error".into(), ..Exit::default() });
            let started_at = Some(at);
            replica.status.observed = Some(Observed { state, exit, started_at, ..Observed::default() });
        });
        self.reconcile();
    }

    fn exits(&mut self, number: u32, code: i32) {
        self.says(number, ProcessState::Running, None);
        self.says(number, ProcessState::Exited, Some(code));
    }

    fn pass(&mut self, seconds: u64) -> Plan {
        self.now = self.now.after(Std::from_secs(seconds));
        self.reconcile()
    }

    fn attempts(&self) -> Vec<(u32, Option<i32>, bool)> {
        let attempts = self.run.status.attempts.iter();
        attempts.map(|a| (a.number, a.exit.as_ref().and_then(|exit| exit.code), a.lost)).collect()
    }

    fn ended(&self) -> (RunPhase, &str, Option<i32>) {
        (self.run.status.phase, &self.run.status.reason, self.run.status.exit_code)
    }
}

#[test]
fn a_run_succeeds_with_its_first_attempt_and_keeps_its_exit_code() {
    let mut world = World::new(|_| {});
    assert_eq!(world.reconcile().start, Some(1));
    assert_eq!(world.run.status.phase, RunPhase::Pending);
    world.says(1, ProcessState::Running, None);
    assert_eq!(world.run.status.phase, RunPhase::Running);
    assert!(world.run.status.started_at.is_some());
    world.says(1, ProcessState::Exited, Some(0));
    assert_eq!(world.ended(), (RunPhase::Succeeded, "", Some(0)));
    assert_eq!(world.attempts(), [(1, Some(0), false)]);
    assert!(world.replicas["migrate-1"].metadata.finalizers.is_empty());
    assert_eq!(world.pass(3600).start, None, "never again");
}

#[test]
fn failed_attempts_are_repeated_after_10_s_doubling_to_6_min_and_the_limit_ends_it() {
    let mut world = World::new(|_| {});
    world.reconcile();
    let mut waits = Vec::new();
    for number in 1..=6 {
        world.exits(number, 3);
        let mut waited = 0;
        while world.pass(1).start.is_none() {
            waited += 1;
        }
        waits.push(waited + 1);
    }
    assert_eq!(waits, [10, 20, 40, 80, 160, 320]);
    world.exits(7, 4);
    assert_eq!(world.ended(), (RunPhase::Failed, "BackoffLimitExceeded", Some(4)));
    assert_eq!(world.run.status.attempts.len(), 7);
    assert_eq!(world.pass(3600).start, None);
}

#[test]
fn the_longest_delay_is_6_min_and_forgotten_attempts_still_count() {
    let mut world = World::new(|spec| spec.backoff_limit = 30);
    world.reconcile();
    for number in 1..=30 {
        world.exits(number, 1);
        world.replicas.clear();
        if number > 6 {
            assert_eq!(world.pass(359).start, None);
            assert_eq!(world.pass(1).start, Some(number + 1));
        } else {
            world.pass(400);
        }
    }
    assert_eq!(world.run.status.attempts.len(), 20);
    world.exits(31, 1);
    assert_eq!(world.ended().1, "BackoffLimitExceeded");
}

#[test]
fn the_delay_counts_from_when_the_failure_was_seen_whatever_the_agents_clock_says() {
    let mut world = World::new(|_| {});
    world.reconcile();
    let hours_ahead = world.now.after(Std::from_secs(7200));
    world.edit("migrate-1", |replica| {
        let exit = Some(Exit { code: Some(1), at: Some(hours_ahead), ..Exit::default() });
        replica.status.observed = Some(Observed { state: ProcessState::Exited, exit, ..Observed::default() });
    });
    world.reconcile();
    world.pass(5);
    assert_eq!(world.pass(5).start, Some(2));
}

#[test]
fn a_lost_node_does_not_count_and_the_lost_attempt_is_to_stop_when_it_comes_back() {
    let mut world = World::new(|spec| spec.backoff_limit = 0);
    world.reconcile();
    world.says(1, ProcessState::Running, None);
    world.edit("migrate-1", |replica| replica.status.disposition = Disposition::Lost);
    assert_eq!(world.reconcile().start, Some(2), "at once");
    assert_eq!(world.replicas["migrate-1"].spec.stop.as_ref().map(|stop| stop.reason.as_str()), Some("Lost"));
    world.edit("migrate-1", |replica| replica.status.disposition = Disposition::Active);
    world.reconcile();
    assert_eq!(world.replicas["migrate-1"].status.phase, Phase::Stopping);
    world.says(1, ProcessState::Stopped, None);
    assert_eq!(world.run.status.phase, RunPhase::Running, "a lost attempt's end is not the Run's");
    world.exits(2, 0);
    assert_eq!(world.ended(), (RunPhase::Succeeded, "", Some(0)));
    assert_eq!(world.attempts(), [(1, None, true), (2, Some(0), false)]);
}

#[test]
fn an_attempt_that_ended_with_its_agent_does_not_count() {
    let mut world = World::new(|spec| spec.backoff_limit = 0);
    world.reconcile();
    world.edit("migrate-1", |replica| {
        let exit = Some(Exit { reason: "EndedWithAgent".into(), ..Exit::default() });
        replica.status.observed = Some(Observed { state: ProcessState::Exited, exit, ..Observed::default() });
        replica.status.phase = phase(replica);
    });
    assert_eq!(world.reconcile().start, Some(2), "at once");
    world.exits(2, 0);
    assert_eq!(world.ended(), (RunPhase::Succeeded, "", Some(0)));
    assert_eq!(world.attempts(), [(1, None, true), (2, Some(0), false)]);
}

#[test]
fn a_lost_attempt_that_turns_out_to_have_succeeded_ends_the_run() {
    let mut world = World::new(|_| {});
    world.reconcile();
    world.edit("migrate-1", |replica| replica.status.disposition = Disposition::Lost);
    world.reconcile();
    world.edit("migrate-1", |replica| replica.status.disposition = Disposition::Active);
    world.says(1, ProcessState::Exited, Some(0));
    assert_eq!(world.run.status.phase, RunPhase::Succeeded);
    assert_eq!(world.replicas["migrate-2"].spec.stop.as_ref().map(|stop| stop.reason.as_str()), Some("Replaced"));
}

#[test]
fn the_deadline_ends_a_run_and_its_attempt() {
    let mut world = World::new(|spec| spec.active_deadline = Some(Duration::from_secs(60)));
    world.reconcile();
    world.says(1, ProcessState::Running, None);
    assert_eq!(world.pass(59).wake.moment(), Some(world.now.after(Std::from_secs(1))));
    world.pass(1);
    assert_eq!(world.ended(), (RunPhase::Failed, "DeadlineExceeded", None));
    assert_eq!(world.replicas["migrate-1"].spec.stop.as_ref().map(|s| s.reason.as_str()), Some("DeadlineExceeded"));
}

#[test]
fn an_attempt_that_a_person_stops_or_deletes_ends_the_run() {
    for gone in [false, true] {
        let mut world = World::new(|_| {});
        world.reconcile();
        world.says(1, ProcessState::Running, None);
        if gone {
            world.replicas.clear();
        } else {
            world.edit("migrate-1", |replica| replica.metadata.deletion_timestamp = Some(Timestamp::UNIX_EPOCH));
            world.reconcile();
            assert_eq!(world.run.status.phase, RunPhase::Running, "until it has ended");
            world.says(1, ProcessState::Stopped, None);
        }
        world.reconcile();
        assert_eq!(world.ended(), (RunPhase::Failed, "Stopped", None));
    }
}

#[test]
fn a_refusal_by_a_hook_is_a_failed_attempt() {
    let mut world = World::new(|spec| spec.backoff_limit = 0);
    world.reconcile();
    world.edit("migrate-1", |replica| replica.status.refused = Some("hook p:check: frozen".into()));
    world.reconcile();
    assert_eq!(world.ended(), (RunPhase::Failed, "BackoffLimitExceeded", None));
    assert_eq!(world.run.status.attempts[0].exit.as_ref().map(|exit| exit.reason.as_str()), Some("HookRefused"));
}

#[test]
fn a_newer_template_takes_over_by_policy() {
    let table = [
        (ConcurrencyPolicy::Allow, true, RunPhase::Running),
        (ConcurrencyPolicy::Forbid, true, RunPhase::Running),
        (ConcurrencyPolicy::Replace, true, RunPhase::Failed),
        (ConcurrencyPolicy::Allow, false, RunPhase::Running),
        (ConcurrencyPolicy::Forbid, false, RunPhase::Failed),
    ];
    for (policy, running, expected) in table {
        let mut world = World::new(|_| {});
        world.reconcile();
        if running {
            world.says(1, ProcessState::Running, None);
        } else {
            world.exits(1, 1);
        }
        world.job.spec.concurrency_policy = policy;
        world.job.spec.process.template.entry = "other.ts".into();
        world.reconcile();
        assert_eq!(world.run.status.phase, expected, "{policy:?}, running: {running}");
    }
}

#[test]
fn suspended_nothing_new_is_started_and_what_runs_goes_on() {
    let mut world = World::new(|_| {});
    world.job.spec.suspend = true;
    assert_eq!(world.reconcile().start, None);
    world.job.spec.suspend = false;
    assert_eq!(world.reconcile().start, Some(1));
    world.job.spec.suspend = true;
    world.exits(1, 0);
    assert_eq!(world.run.status.phase, RunPhase::Succeeded);
}

#[test]
fn a_finished_run_goes_after_its_time_and_never_changes_until_then() {
    let mut world = World::new(|_| {});
    world.reconcile();
    world.exits(1, 0);
    let status = world.run.status.clone();
    world.pass(3600 * 23);
    assert_eq!((world.run.status.clone(), world.swept), (status, false));
    assert!(world.replicas.is_empty(), "attempts are kept for an hour");
    world.pass(3600);
    assert!(world.swept);
}

#[test]
fn settings_reach_a_running_attempt() {
    let mut world = World::new(|_| {});
    world.reconcile();
    world.run.spec.settings.stop.timeout = Duration::from_secs(3);
    let plan = world.reconcile();
    assert!(plan.edits.iter().any(|edit| edit.refresh && edit.finalizer.is_none()));
    assert_ne!(plan.edits[0].finalizer, Some(Finalizer::Remove));
}
