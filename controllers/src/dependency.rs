//! What has to come before a workload starts: only ever before its first start, never a tie at run time.

use orion_types::{Job, Replica, process::template_hash, replica::Phase, run::RunPhase, service::Dependency};

use crate::names;

/// How far a dependency has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// There is no service or job of that name.
    Missing,
    /// It is there, and has not started.
    Waiting,
    /// It has started.
    Started,
}

/// What a workload waits for, in a sentence; `None` where all it depends on has started.
pub(crate) fn waits_for(dependencies: &[Dependency], standing: impl Fn(&str) -> Standing) -> Option<String> {
    let mut waiting = Vec::new();
    let mut missing = Vec::new();
    for dependency in dependencies {
        match standing(&dependency.name) {
            Standing::Started => {}
            Standing::Waiting => waiting.push(dependency.name.as_str()),
            Standing::Missing => missing.push(dependency.name.as_str()),
        }
    }
    let start = (!waiting.is_empty()).then(|| format!("{} to start", waiting.join(" and ")));
    let exist = (!missing.is_empty()).then(|| format!("{} to exist", missing.join(" and ")));
    let all: Vec<String> = start.into_iter().chain(exist).collect();
    (!all.is_empty()).then(|| format!("waits for {}", all.join(", and for ")))
}

/// A service has started when a replica of it runs.
pub(crate) fn of_service<'a>(replicas: impl IntoIterator<Item = &'a Replica>) -> Standing {
    let started = replicas.into_iter().any(|replica| matches!(replica.status.phase, Phase::Running | Phase::Ready));
    if started { Standing::Started } else { Standing::Waiting }
}

/// A job has started when its Run for the present template has, or has been swept since. One with a schedule is due at
/// its own times and holds nothing up.
pub(crate) fn of_job(job: &Job, run: impl FnOnce(&str) -> Option<RunPhase>) -> Standing {
    if job.spec.schedule.is_some() {
        return Standing::Started;
    }
    let hash = template_hash(&job.spec.process.template);
    let started = match run(&names::run(&job.metadata.name, &hash)) {
        Some(phase) => phase != RunPhase::Pending,
        None => job.status.ran_hashes.contains(&hash),
    };
    if started { Standing::Started } else { Standing::Waiting }
}

#[cfg(test)]
mod tests {
    use orion_types::{job::JobSpec, replica::ReplicaSpec, service::DependencyCondition};

    use super::*;

    fn on(names: &[&str]) -> Vec<Dependency> {
        let dependency = |name: &&str| Dependency { name: (*name).into(), condition: DependencyCondition::Started };
        names.iter().map(dependency).collect()
    }

    #[test]
    fn the_reason_names_all_that_is_waited_for() {
        let standing = |name: &str| match name {
            "db" | "cache" => Standing::Waiting,
            "ghost" => Standing::Missing,
            _ => Standing::Started,
        };
        let table = [
            (on(&[]), None),
            (on(&["up"]), None),
            (on(&["db"]), Some("waits for db to start")),
            (on(&["db", "up", "cache"]), Some("waits for db and cache to start")),
            (on(&["db", "ghost"]), Some("waits for db to start, and for ghost to exist")),
        ];
        for (dependencies, expected) in table {
            assert_eq!(waits_for(&dependencies, standing).as_deref(), expected);
        }
    }

    #[test]
    fn a_service_has_started_when_a_replica_runs() {
        let replica = |phase| {
            let mut replica = Replica::new("db-0-x", ReplicaSpec::default());
            replica.status.phase = phase;
            replica
        };
        for (phase, expected) in [
            (Phase::Pending, Standing::Waiting),
            (Phase::Starting, Standing::Waiting),
            (Phase::Backoff, Standing::Waiting),
            (Phase::Stopped, Standing::Waiting),
            (Phase::Running, Standing::Started),
            (Phase::Ready, Standing::Started),
        ] {
            assert_eq!(of_service([&replica(phase)]), expected, "{phase}");
        }
        assert_eq!(of_service([]), Standing::Waiting);
    }

    #[test]
    fn a_job_has_started_when_its_run_of_this_template_has_or_is_swept() {
        let mut job = Job::new("migrate", JobSpec::default());
        let name = names::run("migrate", &template_hash(&job.spec.process.template));
        let with = |job: &Job, phase: Option<RunPhase>| {
            of_job(job, |asked| {
                assert_eq!(asked, name);
                phase
            })
        };
        assert_eq!(with(&job, None), Standing::Waiting);
        assert_eq!(with(&job, Some(RunPhase::Pending)), Standing::Waiting);
        assert_eq!(with(&job, Some(RunPhase::Running)), Standing::Started);
        assert_eq!(with(&job, Some(RunPhase::Failed)), Standing::Started);
        job.status.ran_hashes = vec![template_hash(&job.spec.process.template)];
        assert_eq!(with(&job, None), Standing::Started);
    }
}
