//! Where a service or a job stands, by its status alone: there, on the way and what it waits for, or failed and why.

use orion_model::{Condition, Conditions, ObjectKey, Resource};
use orion_types::{
    Job, Service,
    run::RunPhase,
    service::{DEGRADED, PROGRESSING},
};
use serde_json::Value;

use crate::{failure::Failure, remote::decoded};

/// The condition by which a job names the Run of its present template.
const STARTED: &str = "Started";

/// Where something stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// It is as wished.
    Done(String),
    /// It is on the way, and this is what it waits for.
    Waiting(String),
    /// It will not get there by itself.
    Failed(String),
}

impl Standing {
    /// Of an object that is a service or a job.
    pub(crate) fn of(key: &ObjectKey, object: Value) -> Result<Self, Failure> {
        if key.kind == Job::KIND { Ok(of_job(&decoded(object)?)) } else { Ok(of_service(&decoded(object)?)) }
    }
}

/// Of a service.
pub(crate) fn of_service(service: &Service) -> Standing {
    let status = &service.status;
    if service.metadata.is_being_deleted() {
        return Standing::Waiting("it is being deleted".into());
    }
    if status.observed_generation < service.metadata.generation {
        return Standing::Waiting("the controllers to see it".into());
    }
    if status.current.is_some() && status.failed == status.current {
        return Standing::Failed(said(&status.conditions, PROGRESSING));
    }
    let (desired, available) = (status.desired, status.available);
    if available == desired && status.rollout.is_none() {
        return Standing::Done(format!("{available} of {desired} available"));
    }
    let counts = match available.saturating_sub(desired) {
        0 => format!("{} of {desired} updated, {available} available", status.updated),
        more => format!("{available} available, {more} more than wished"),
    };
    Standing::Waiting(match waits_for(&status.conditions) {
        Some(reason) => format!("{counts}: {reason}"),
        None => counts,
    })
}

/// What holds a service up: what is wrong with a replica, or what has to come first.
fn waits_for(conditions: &Conditions) -> Option<String> {
    let in_order = |condition: &&Condition| matches!(condition.reason.as_str(), "Done" | "RollingOut");
    let holds_up = conditions.get(PROGRESSING).filter(|condition| !in_order(condition));
    let reason = if conditions.is_true(DEGRADED) { said(conditions, DEGRADED) } else { told(holds_up?) };
    Some(reason).filter(|reason| !reason.is_empty())
}

/// Of a job. One with a schedule is as wished when it is there.
pub(crate) fn of_job(job: &Job) -> Standing {
    let status = &job.status;
    if job.metadata.is_being_deleted() {
        return Standing::Waiting("it is being deleted".into());
    }
    if status.observed_generation < job.metadata.generation {
        return Standing::Waiting("the controllers to see it".into());
    }
    if job.spec.suspend {
        return Standing::Done("suspended".into());
    }
    if job.spec.schedule.is_some() {
        return Standing::Done("waits for its time".into());
    }
    let newest = status.last_run.as_deref().unwrap_or_default();
    if let Some(before) = run_before(&status.conditions, newest) {
        return Standing::Done(format!("{before} has run before, and is not run again"));
    }
    match status.last_phase {
        Some(RunPhase::Succeeded) => Standing::Done(format!("{newest} succeeded")),
        Some(RunPhase::Failed) => Standing::Failed(match status.last_exit_code {
            Some(code) => format!("{newest} failed with exit code {code}"),
            None => format!("{newest} failed"),
        }),
        Some(RunPhase::Pending) => Standing::Waiting(format!("{newest} to start")),
        Some(RunPhase::Running) => Standing::Waiting(format!("{newest} to end")),
        None => Standing::Waiting(match said(&status.conditions, STARTED) {
            reason if reason.is_empty() => "its run".into(),
            reason => reason,
        }),
    }
}

/// The Run of a job's present template, where it is not the newest Run: that template had its turn before.
fn run_before<'a>(conditions: &'a Conditions, newest: &str) -> Option<&'a str> {
    let started = conditions.get(STARTED).filter(|_| conditions.is_true(STARTED))?;
    Some(started.message.as_str()).filter(|run| !run.is_empty() && *run != newest)
}

/// The sentence of a condition, or its reason; empty where it is not there.
pub(crate) fn said(conditions: &Conditions, kind: &str) -> String {
    conditions.get(kind).map(told).unwrap_or_default()
}

fn told(condition: &Condition) -> String {
    if condition.message.is_empty() { condition.reason.clone() } else { condition.message.clone() }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn service(status: Value) -> Standing {
        let object = json!({"apiVersion": "orion/v1", "kind": "Service",
            "metadata": {"name": "web", "generation": 2}, "spec": {}, "status": status});
        of_service(&decoded(object).expect("a service"))
    }

    fn condition(kind: &str, status: &str, message: &str) -> Value {
        json!([{"type": kind, "status": status, "reason": "R", "message": message,
            "lastTransitionTime": "2026-11-24T09:31:12Z"}])
    }

    #[test]
    fn a_service_is_done_when_enough_is_available_and_nothing_rolls() {
        let done = json!({"observedGeneration": 2, "desired": 2, "available": 2, "current": "a", "stable": "a"});
        assert_eq!(service(done), Standing::Done("2 of 2 available".into()));
        let old = json!({"observedGeneration": 1, "desired": 2, "available": 2});
        assert!(matches!(service(old), Standing::Waiting(_)), "the status is of an older spec");
        let rollout = json!({"revision": "b", "since": "2026-11-24T09:31:12Z"});
        let rolling = json!({"observedGeneration": 2, "desired": 2, "available": 2, "rollout": rollout});
        assert!(matches!(service(rolling), Standing::Waiting(_)));
    }

    #[test]
    fn what_a_service_waits_for_is_said() {
        let waiting = |available: u32, conditions: Value| {
            service(json!({"observedGeneration": 2, "desired": 2, "available": available, "updated": 2,
                "conditions": conditions}))
        };
        let unplaceable = condition("Degraded", "True", "web-1-abcde: node-1: needs 1Gi, free 1Mi");
        let expected = "2 of 2 updated, 1 available: web-1-abcde: node-1: needs 1Gi, free 1Mi";
        assert_eq!(waiting(1, unplaceable), Standing::Waiting(expected.into()));
        let first = condition("Progressing", "Unknown", "service/db has not started");
        let expected = "2 of 2 updated, 0 available: service/db has not started";
        assert_eq!(waiting(0, first), Standing::Waiting(expected.into()));
        let expected = "5 available, 3 more than wished";
        assert_eq!(waiting(5, json!([])), Standing::Waiting(expected.into()));
    }

    #[test]
    fn a_refused_revision_is_a_failure_with_its_reason() {
        let failed = json!({
            "observedGeneration": 2, "desired": 1, "available": 1, "current": "b", "stable": "a", "failed": "b",
            "conditions": condition("Progressing", "False", "no such file: ./x")
        });
        assert_eq!(service(failed), Standing::Failed("no such file: ./x".into()));
    }

    #[test]
    fn a_job_is_done_when_its_run_has_succeeded() {
        let job = |phase: &str, conditions: Value| {
            let object = json!({"apiVersion": "orion/v1", "kind": "Job",
                "metadata": {"name": "load", "generation": 1}, "spec": {}, "status":
                {"observedGeneration": 1, "lastRun": "r", "lastPhase": phase, "lastExitCode": 3, "conditions": conditions}});
            of_job(&decoded(object).expect("a job"))
        };
        assert_eq!(job("Succeeded", json!([])), Standing::Done("r succeeded".into()));
        assert_eq!(job("Running", json!([])), Standing::Waiting("r to end".into()));
        assert_eq!(job("Failed", json!([])), Standing::Failed("r failed with exit code 3".into()));
        let back = job("Failed", condition("Started", "True", "q"));
        assert!(matches!(back, Standing::Done(_)), "the failure is another template's");
    }
}
