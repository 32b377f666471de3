//! Jobs end to end: once for each template, tried again, and never again.

use orion_types::{Job, JobRun, node::Contact, replica::Phase, run::RunPhase};
use serde_json::json;

use crate::world::{World, eventually, pass};

async fn finished(world: &World, job: &str) -> JobRun {
    eventually("its run has finished", || async {
        world.run_of(job).await.is_some_and(|run| run.status.phase.is_finished())
    })
    .await;
    world.run_of(job).await.expect("it has one")
}

#[tokio::test(start_paused = true)]
async fn a_job_runs_once_for_each_template_whatever_is_applied_or_restarted() {
    let mut world = World::new(1).await;
    world.job("migrate", "exit0", json!({})).await;
    let run = finished(&world, "migrate").await;
    assert_eq!((run.status.phase, run.status.exit_code), (RunPhase::Succeeded, Some(0)));
    assert!(run.metadata.name.starts_with("migrate-"));
    world.edit::<Job>("default", "migrate", |job| drop(job.spec.labels.insert("applied".into(), "again".into()))).await;
    world.stop().await;
    world.start();
    pass(600).await;
    assert_eq!(world.fleet().started.len(), 1);
    eventually("the job says how it went", || async {
        let status = world.get::<Job>("default", "migrate").await.expect("it is there").status;
        (status.last_phase, status.last_exit_code, status.ran_hashes.len()) == (Some(RunPhase::Succeeded), Some(0), 1)
    })
    .await;
    // Its Run is swept after a day, and still it is not run again.
    pass(25 * 3600).await;
    assert!(world.run_of("migrate").await.is_none());
    assert!(world.replicas().await.is_empty());
    world
        .edit::<Job>("default", "migrate", |job| drop(job.spec.labels.insert("applied".into(), "thrice".into())))
        .await;
    pass(600).await;
    assert_eq!(world.fleet().started.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn failed_attempts_are_repeated_to_the_limit_and_the_exit_code_is_kept() {
    let world = World::new(1).await;
    world.job("flaky", "exit3", json!({"backoffLimit": 2})).await;
    let run = finished(&world, "flaky").await;
    assert_eq!((run.status.phase, run.status.exit_code), (RunPhase::Failed, Some(3)));
    assert_eq!(run.status.reason, "BackoffLimitExceeded");
    assert_eq!(run.status.attempts.iter().map(|attempt| attempt.number).collect::<Vec<_>>(), [1, 2, 3]);
    let took = run.status.finished_at.expect("set").since(run.status.started_at.expect("set")).as_secs();
    assert!((30..35).contains(&took), "10 s and 20 s apart: {took}");
    let names = world.fleet().started.clone();
    for (number, name) in (1..).zip(names) {
        assert!(name.starts_with(&format!("{}-{number}-", run.metadata.name)), "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_attempt_on_a_lost_node_is_made_anew_elsewhere_and_the_old_one_stopped_when_it_returns() {
    let world = World::new(2).await;
    world.job("long", "slow", json!({"backoffLimit": 0})).await;
    eventually("it runs", || async { world.processes() == 1 }).await;
    let first = world.replicas().await.remove(0);
    let node = first.spec.node_name.clone().expect("bound");
    world.contact(&node, Contact::Silent).await;
    eventually("it is made anew", || async { world.fleet().started.len() == 2 }).await;
    world.contact(&node, Contact::Connected).await;
    eventually("the old one is stopped", || async {
        let old = world.replicas().await.into_iter().find(|replica| replica.metadata.uid == first.metadata.uid);
        old.is_none_or(|old| old.status.phase == Phase::Stopped)
    })
    .await;
    let run = finished(&world, "long").await;
    assert_eq!((run.status.phase, run.status.exit_code), (RunPhase::Succeeded, Some(0)));
    assert_eq!(run.status.attempts.iter().map(|attempt| attempt.lost).collect::<Vec<_>>(), [true, false]);
}

#[tokio::test(start_paused = true)]
async fn a_new_template_waits_for_the_old_run_to_end_and_then_runs_once() {
    let world = World::new(1).await;
    world.job("migrate", "slow", json!({})).await;
    eventually("it runs", || async { world.processes() == 1 }).await;
    world
        .edit::<Job>("default", "migrate", |job| {
            job.spec.process.template.command = Some(serde_json::from_value(json!("exit0")).expect("a command"));
        })
        .await;
    pass(20).await;
    assert_eq!(world.fleet().started.len(), 1);
    eventually("both have run", || async {
        let runs: Vec<JobRun> = world.client.list().await.expect("the store answers");
        runs.len() == 2 && runs.iter().all(|run| run.status.phase == RunPhase::Succeeded)
    })
    .await;
    assert_eq!(world.fleet().started.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn deleting_a_job_ends_its_run_and_leaves_nothing() {
    let world = World::new(1).await;
    world.job("long", "slow", json!({})).await;
    eventually("it runs", || async { world.processes() == 1 }).await;
    world.client.delete_any::<Job>(&orion_model::Key::new("default", "long")).await.expect("deleted");
    eventually("nothing is left", || async {
        world.run_of("long").await.is_none() && world.replicas().await.is_empty() && world.processes() == 0
    })
    .await;
}
