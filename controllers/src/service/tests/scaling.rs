//! How many there are: scaling, replacing what is lost, what comes back, refreshing in place, and the end.

use std::collections::BTreeSet;

use orion_types::replica::{Phase, ProcessState};

use super::world::World;
use crate::labels;

#[test]
fn replicas_take_the_lowest_free_indices_and_the_highest_go_first() {
    let mut world = World::settled(3, 2);
    assert_eq!(world.indices_of("good-1"), [0, 1, 2]);
    for (replicas, indices) in [(5, vec![0, 1, 2, 3, 4]), (2, vec![0, 1]), (0, vec![]), (3, vec![0, 1, 2])] {
        world.scale(replicas);
        world.run_for(10);
        assert_eq!(world.indices_of("good-1"), indices);
        assert_eq!((world.unfinished(), world.ready()), (indices.len(), indices.len()));
    }
    let stopped = world.names(|replica| replica.status.phase == Phase::Stopped);
    assert!(stopped.iter().all(|name| world.stop_reason(name) == Some("ScaledDown")));
}

#[test]
fn scaled_to_zero_nothing_is_left_and_the_status_says_so() {
    let mut world = World::settled(2, 1);
    world.scale(0);
    world.reconcile();
    assert_eq!(world.live(), []);
    world.run_for(3);
    assert_eq!(world.unfinished(), 0);
    let status = &world.service.status;
    assert_eq!((status.desired, status.ready, status.available, status.updated), (0, 0, 0, 0));
    assert!(status.conditions.is_true("Available"));
}

#[test]
fn names_carry_service_index_and_five_characters() {
    let world = World::settled(2, 1);
    for (name, replica) in &world.replicas {
        let rest = name.strip_prefix(&format!("web-{}-", replica.spec.index)).expect("service and index first");
        assert_eq!(rest.len(), 5, "{name}");
    }
}

#[test]
fn a_lost_replica_is_replaced_at_its_index_and_let_go() {
    let mut world = World::settled(3, 3);
    let lost = world.only(1);
    world.lose(&lost);
    world.run_for(5);
    assert_eq!(world.indices_of("good-1"), [0, 1, 2]);
    assert_ne!(world.only(1), lost);
    assert!(world.replicas[&lost].metadata.finalizers.is_empty());
    assert!(world.replicas[&lost].metadata.annotations.contains_key(labels::FINISHED_AT));
}

#[test]
fn what_returns_after_its_replacement_is_kept_as_the_original_and_the_replacement_stops() {
    let mut world = World::settled(1, 2);
    let original = world.only(0);
    world.lose(&original);
    world.run_for(5);
    let replacement = world.only(0);
    world.find_again(&original);
    world.run_for(4);
    assert_eq!(world.live().len(), 2, "what is known of it may be from before it was lost");
    world.run_for(2);
    assert_eq!(world.only(0), original);
    assert_eq!(world.stop_reason(&replacement), Some("DuplicateAfterReturn"));
    assert_eq!(world.replicas[&original].metadata.finalizers, ["orion/process"]);
    world.run_for(3);
    assert_eq!((world.unfinished(), world.ready()), (1, 1));
}

#[test]
fn one_ready_copy_is_kept_at_every_instant_of_a_return() {
    // The replacement waits for a node, as on a fleet of one; the process of the original ran on.
    let mut world = World::settled(1, 1);
    let original = world.only(0);
    world.slots = 0;
    world.lose(&original);
    world.run_for(5);
    assert_eq!(world.ready(), 0);
    world.find_again(&original);
    for _ in 0..10 {
        assert!(world.ready() >= 1);
        world.second();
    }
    assert_eq!(world.only(0), original);

    // The original ends in the moment of its return, which is not known yet: the replacement stays.
    let mut world = World::settled(1, 2);
    let original = world.only(0);
    world.lose(&original);
    world.run_for(5);
    let replacement = world.only(0);
    world.find_again(&original);
    world.reconcile();
    world.edit(&original, |replica| {
        let observed = replica.status.observed.as_mut().expect("it ran");
        (observed.state, observed.ready) = (ProcessState::Stopped, false);
    });
    world.run_for(10);
    assert_eq!(world.only(0), replacement);
}

#[test]
fn of_an_older_revision_nothing_is_kept_once_the_newer_one_is_ready() {
    let mut world = World::settled(1, 2);
    let original = world.only(0);
    world.lose(&original);
    world.deploy("good-2");
    world.run_for(20);
    let newer = world.only(0);
    world.find_again(&original);
    world.reconcile();
    assert_eq!(world.only(0), newer);
    assert_eq!(world.stop_reason(&original), Some("DuplicateAfterReturn"));
}

#[test]
fn a_copy_that_was_ended_before_it_was_taken_back_is_replaced() {
    let mut world = World::settled(1, 1);
    let original = world.only(0);
    world.edit(&original, |replica| {
        replica.status.observed.as_mut().expect("it ran").state = ProcessState::Stopped;
    });
    world.run_for(10);
    assert_ne!(world.only(0), original);
    assert_eq!(world.ready(), 1);
}

#[test]
fn settings_and_labels_change_in_place() {
    let mut world = World::settled(2, 1);
    let before: BTreeSet<String> = world.replicas.keys().cloned().collect();
    world.service.spec.process.settings.stop.timeout = orion_types::Duration::from_secs(3);
    world.service.spec.labels.insert("tier".into(), "front".into());
    world.service.metadata.labels.insert("orion/config".into(), "shop".into());
    world.run_for(3);
    assert_eq!(world.replicas.keys().cloned().collect::<BTreeSet<_>>(), before);
    for replica in world.replicas.values() {
        assert_eq!(replica.spec.settings, world.service.spec.process.settings);
        let label = |name: &str| replica.metadata.labels.get(name).map(String::as_str);
        assert_eq!(
            (label("tier"), label("orion/config"), label("orion/service")),
            (Some("front"), Some("shop"), Some("web"))
        );
    }
    assert!(world.reconcile().edits.is_empty(), "saying it again changes nothing");
}

#[test]
fn nothing_starts_before_what_it_depends_on_and_nothing_is_tied_to_it_later() {
    let mut world = World::new(2, 1);
    world.waits = Some("waits for db to start".into());
    world.run_for(400);
    assert_eq!(world.replicas.len(), 0);
    assert_eq!(world.condition("Progressing").message, "waits for db to start");
    assert_eq!(world.service.status.rollout, None, "waiting is no rollout: no deadline runs");
    world.waits = None;
    world.run_for(10);
    assert_eq!(world.ready(), 2);

    world.waits = Some("waits for db to start".into());
    let name = world.only(1);
    world.lose(&name);
    world.scale(3);
    world.run_for(10);
    assert_eq!(world.ready(), 3);
}

#[test]
fn a_settled_service_plans_nothing_and_writes_nothing() {
    let mut world = World::settled(3, 2);
    let status = world.service.status.clone();
    let plan = world.reconcile();
    assert!(plan.starts.is_empty() && plan.edits.is_empty() && plan.sweeps.is_empty() && plan.notices.is_empty());
    assert_eq!(plan.status, status);
    assert_eq!(plan.wake.moment(), None);
}

#[test]
fn replicas_of_an_earlier_service_of_the_same_name_are_let_go_and_count_until_they_are_gone() {
    let mut world = World::settled(2, 1);
    world.service.metadata.uid = "another".into();
    world.service.status = orion_types::service::ServiceStatus::default();
    world.revisions.clear();
    let plan = world.reconcile();
    // Two are on their way out; with a surge of one there is room for one.
    assert_eq!(plan.starts, [0]);
}

#[test]
fn a_service_that_is_being_deleted_starts_nothing_and_stops_all() {
    let mut world = World::settled(2, 1);
    world.service.metadata.deletion_timestamp = Some(world.now);
    world.run_for(3);
    assert_eq!(world.unfinished(), 0);
}

#[test]
fn refused_replicas_are_replaced_ever_later() {
    let mut world = World::new(1, 1);
    let mut starts = Vec::new();
    let begin = world.now;
    for _ in 0..40 {
        for name in world.names(|replica| !replica.status.phase.is_finished()) {
            let made = world.replicas[&name].metadata.creation_timestamp.expect("the world gives one");
            starts.push(made.since(begin).as_secs());
            world.edit(&name, |replica| replica.status.refused = Some("hook p:check: frozen".into()));
        }
        world.second();
    }
    assert_eq!(starts[..5], [0, 1, 3, 7, 15], "each wait is twice the last");
    // Three refusals fail the rollout; what never was stable goes on trying.
    assert_eq!(world.service.status.failed, world.service.status.current);
    assert!(world.condition("Degraded").message.contains("hook p:check: frozen"));
}

#[test]
fn what_was_given_up_is_kept_while_nothing_stands_in_for_it() {
    let mut world = World::settled(1, 1);
    let original = world.only(0);
    world.slots = 0;
    world.lose(&original);
    world.run_for(2);
    world.now = world.now.after(std::time::Duration::from_secs(2 * 3600));
    world.run_for(1);
    assert!(world.replicas.contains_key(&original), "its process may be the only one");
    world.slots = 1;
    world.run_for(3);
    assert!(!world.replicas.contains_key(&original));
}
