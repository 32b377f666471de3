//! Template changes: bounds, stop-first, recreate, failing, rolling back, overtaking.

use orion_types::{
    Duration,
    change::SurgeBlock,
    replica::Phase,
    service::{Strategy, UpdatePolicy},
};

use super::world::World;
use crate::labels;

/// Runs until the rollout has ended, and gives the most unfinished and the fewest ready replicas on the way.
fn extremes(world: &mut World, seconds: u64) -> (usize, usize) {
    let (mut most, mut fewest) = (0, usize::MAX);
    for _ in 0..seconds {
        world.second();
        most = most.max(world.unfinished());
        fewest = fewest.min(world.ready());
    }
    (most, fewest)
}

#[test]
fn a_rollout_stays_within_surge_and_unavailable() {
    let table = [(1, 0, 4, 3), (2, 0, 5, 3), (0, 1, 3, 2), (1, 1, 4, 2), (3, 0, 6, 3), (0, 3, 3, 0)];
    for (surge, unavailable, most, fewest) in table {
        let mut world = World::settled(3, 4);
        world.service.spec.update.max_surge = surge;
        world.service.spec.update.max_unavailable = unavailable;
        world.deploy("good-2");
        let seen = extremes(&mut world, 80);
        let case = format!("surge {surge}, unavailable {unavailable}: {seen:?}");
        assert!(seen.0 <= most && seen.1 >= fewest, "{case}");
        assert_eq!(world.indices_of("good-2"), [0, 1, 2], "{case}");
        assert_eq!(world.service.status.stable, Some(world.revision("good-2")), "{case}");
        assert_eq!(world.service.status.rollout, None);
        assert!(world.said().contains("RolloutDone") && !world.said().contains("SurgeImpossible"), "{case}");
    }
}

#[test]
fn a_surge_copy_shares_the_index_of_the_one_it_replaces() {
    let mut world = World::settled(2, 2);
    world.deploy("good-2");
    world.run_for(2);
    let live = world.live();
    assert_eq!(live, [(0, "good-1".into()), (0, "good-2".into()), (1, "good-1".into())]);
}

#[test]
fn the_old_copy_whose_successor_is_available_goes_first() {
    let mut world = World::settled(3, 4);
    world.deploy("good-2");
    for index in 0..3 {
        let old = world.names(|replica| replica.spec.index == index && replica.is_ready());
        while world.stop_reason(&old[0]).is_none() {
            let stopped = world.names(|replica| replica.spec.index > index && replica.is_stop_wished());
            assert!(stopped.is_empty(), "before {index}: {stopped:?}");
            world.second();
        }
    }
}

#[test]
fn a_new_replica_counts_only_after_min_ready() {
    let mut world = World::settled(1, 2);
    world.service.spec.update.min_ready = Duration::from_secs(20);
    world.deploy("good-2");
    world.run_for(15);
    assert_eq!(world.live().len(), 2, "ready, but not for long enough");
    assert_eq!((world.service.status.ready, world.service.status.available), (2, 1));
    world.run_for(15);
    assert_eq!(world.indices_of("good-2"), [0]);
}

#[test]
fn revisions_are_numbered_reused_and_kept_within_the_history() {
    let mut world = World::settled(1, 2);
    world.service.spec.update.history_limit = 2;
    for program in ["good-2", "good-1", "good-3"] {
        world.deploy(program);
        world.run_for(20);
    }
    let numbers: Vec<_> = world.revisions.iter().map(|revision| revision.spec.number).collect();
    assert_eq!(numbers, [1, 2, 3], "the second good-1 is the first");
    assert_eq!(world.service.status.stable, Some(world.revision("good-3")));
    for program in ["good-4", "good-5"] {
        world.deploy(program);
        world.run_for(20);
    }
    let numbers: Vec<_> = world.revisions.iter().map(|revision| revision.spec.number).collect();
    assert_eq!(numbers, [3, 4, 5]);
}

#[test]
fn a_static_port_on_the_only_node_stops_the_old_one_first() {
    let mut world = World::settled_with(1, 1, World::static_port);
    world.deploy("good-2");
    let (most, fewest) = extremes(&mut world, 20);
    assert_eq!((most, fewest), (1, 0), "never two at a time");
    assert_eq!(world.indices_of("good-2"), [0]);
    let note = &world.notices.iter().find(|notice| notice.reason == "SurgeImpossible").expect("told").note;
    assert!(note.contains(&SurgeBlock::StaticPort { port: 8080, nodes: 1 }.to_string()), "{note}");
}

#[test]
fn stop_first_takes_one_at_a_time() {
    let mut world = World::settled_with(3, 3, World::static_port);
    world.deploy("good-2");
    let (most, fewest) = extremes(&mut world, 60);
    assert_eq!((most, fewest), (3, 2));
    assert_eq!(world.indices_of("good-2"), [0, 1, 2]);
}

#[test]
fn a_static_port_with_a_node_to_spare_needs_no_stop_first() {
    let mut world = World::settled_with(1, 2, World::static_port);
    world.deploy("good-2");
    assert_eq!(extremes(&mut world, 20), (2, 1));
    assert!(!world.said().contains("SurgeImpossible"));
}

#[test]
fn a_full_node_stops_the_old_one_first_once_the_scheduler_has_said_so() {
    let mut world = World::settled_with(2, 1, |world| world.slots = 2);
    world.deploy("good-2");
    let (_, fewest) = extremes(&mut world, 60);
    assert_eq!(fewest, 1);
    assert_eq!(world.indices_of("good-2"), [0, 1]);
    assert!(world.said().contains("SurgeImpossible"));
}

#[test]
fn nothing_is_stopped_first_while_room_is_on_its_way() {
    let mut world = World::settled_with(3, 1, |world| world.slots = 3);
    world.service.spec.update.max_surge = 2;
    world.scale(2);
    world.deploy("good-2");
    world.reconcile();
    world.schedule();
    world.reconcile();
    assert_eq!(world.ready(), 2, "the third is stopping, and leaves room enough");
    world.run_for(60);
    assert_eq!(world.indices_of("good-2"), [0, 1]);
    assert!(!world.said().contains("SurgeImpossible"));
}

#[test]
fn nothing_is_stopped_first_where_its_successor_could_not_stand_either() {
    let mut world = World::settled_with(1, 1, |world| world.slots = 1);
    let mut cordoned = world.nodes[0].as_ref().clone();
    cordoned.spec.cordoned = true;
    world.nodes = vec![std::sync::Arc::new(cordoned)];
    world.deploy("good-2");
    world.run_for(60);
    assert_eq!(world.ready(), 1);
    assert_eq!(world.live().first(), Some(&(0, "good-1".into())));
}

#[test]
fn a_singleton_is_stopped_before_its_successor_starts() {
    let mut world = World::settled_with(1, 3, |world| world.service.spec.singleton = true);
    world.deploy("good-2");
    assert_eq!(extremes(&mut world, 20), (1, 0));
    assert_eq!(world.indices_of("good-2"), [0]);
}

#[test]
fn recreate_stops_all_before_it_starts_any() {
    let mut world = World::settled(3, 2);
    world.service.spec.update.strategy = Strategy::Recreate;
    world.deploy("good-2");
    for _ in 0..30 {
        world.second();
        let of = |program: &str| {
            let revision = world.revision(program);
            world.names(|replica| replica.spec.revision == revision && !replica.status.phase.is_finished()).len()
        };
        assert!(of("good-1") == 0 || of("good-2") == 0);
    }
    assert_eq!(world.indices_of("good-2"), [0, 1, 2]);
}

#[test]
fn a_start_error_fails_at_once_and_the_healthy_old_ones_are_untouched() {
    let mut world = World::settled(3, 4);
    let before = world.names(orion_types::Replica::is_ready);
    world.deploy("missing-1");
    let (_, fewest) = extremes(&mut world, 6);
    assert_eq!(fewest, 3);
    let status = &world.service.status;
    assert_eq!(status.failed, Some(world.revision("missing-1")));
    assert_eq!((status.stable.clone(), status.rollout.clone()), (Some(world.revision("good-1")), None));
    assert_eq!(world.names(orion_types::Replica::is_ready), before);
    let condition = world.condition("Degraded");
    assert_eq!(condition.reason, "RolloutFailed");
    assert!(condition.message.contains("no such file: missing"), "{}", condition.message);
    assert!(!status.conditions.is_true("Progressing"));
    let failed = world.names(|replica| replica.spec.revision == world.revision("missing-1"));
    assert_eq!(failed.iter().map(|name| world.stop_reason(name)).collect::<Vec<_>>(), [Some("RolledBack")]);
}

#[test]
fn five_exits_fail_a_rollout() {
    let mut world = World::settled(2, 2);
    world.deploy("crash-1");
    let mut exits = 0;
    while world.service.status.failed.is_none() {
        assert!(exits < 5, "five are enough");
        world.second();
        let new = world.names(|replica| replica.spec.revision == world.revision("crash-1"));
        exits = new.iter().map(|name| world.exits(name)).sum();
    }
    assert_eq!((exits, world.service.status.failed.clone()), (5, Some(world.revision("crash-1"))));
    assert!(world.condition("Progressing").message.contains("exit code 3"));
    world.run_for(5);
    assert_eq!(world.indices_of("good-1"), [0, 1]);
}

#[test]
fn the_deadline_fails_a_rollout() {
    let mut world = World::settled(2, 2);
    world.service.spec.update.deadline = Duration::from_secs(60);
    world.deploy("slow-1");
    world.run_for(55);
    assert_eq!(world.service.status.failed, None);
    world.run_for(10);
    assert_eq!(world.service.status.failed, Some(world.revision("slow-1")));
    assert!(world.condition("Degraded").message.contains("not done after 1m"), "{:?}", world.condition("Degraded"));
    world.run_for(5);
    assert_eq!((world.indices_of("good-1"), world.ready()), (vec![0, 1], 2));
}

#[test]
fn a_rollout_that_fails_half_way_goes_back_within_the_same_bounds() {
    let mut world = World::settled_with(3, 3, World::static_port);
    world.deploy("missing-1");
    let (most, fewest) = extremes(&mut world, 40);
    assert_eq!((most, fewest), (3, 2), "one was stopped first, and it alone comes back");
    assert_eq!((world.indices_of("good-1"), world.ready()), (vec![0, 1, 2], 3));
}

#[test]
fn a_failed_revision_is_not_tried_again_by_anything_but_a_new_template_or_a_retry() {
    let mut world = World::settled(2, 2);
    world.deploy("missing-1");
    world.run_for(10);
    world.started.clear();
    // An unchanged apply, a scale, a loss, hours: none starts it again.
    world.service.metadata.generation += 1;
    world.scale(3);
    let name = world.only(0);
    world.lose(&name);
    world.run_for(20);
    world.now = world.now.after(std::time::Duration::from_secs(7200));
    world.run_for(20);
    let failed = world.revision("missing-1");
    assert!(world.started.iter().all(|(_, revision)| *revision != failed), "{:?}", world.started);
    assert_eq!((world.ready(), world.service.status.failed.clone()), (3, Some(failed.clone())));

    world.service.metadata.annotations.insert(labels::RETRY.into(), world.now.to_string());
    world.run_for(1);
    assert!(world.started.iter().any(|(_, revision)| *revision == failed));
    world.run_for(10);
    assert_eq!(world.service.status.failed, Some(failed.clone()), "it failed again, and the retry is used up");
    world.started.clear();
    world.run_for(20);
    assert!(world.started.iter().all(|(_, revision)| *revision != failed), "{:?}", world.started);

    world.deploy("good-2");
    world.run_for(60);
    assert_eq!((world.indices_of("good-2"), world.service.status.failed.clone()), (vec![0, 1, 2], None));
}

#[test]
fn the_reason_of_a_failure_stays_when_its_replicas_are_gone() {
    let mut world = World::settled(1, 2);
    world.deploy("missing-1");
    world.run_for(5);
    let (said, since) = (world.condition("Degraded").message.clone(), world.condition("Degraded").last_transition_time);
    world.replicas.retain(|_, replica| !replica.status.phase.is_finished());
    world.run_for(10);
    assert_eq!(
        (&world.condition("Degraded").message, world.condition("Degraded").last_transition_time),
        (&said, since)
    );
}

#[test]
fn going_back_to_the_stable_template_ends_a_failure() {
    let mut world = World::settled(1, 2);
    world.deploy("missing-1");
    world.run_for(5);
    world.deploy("good-1");
    world.run_for(2);
    assert_eq!(world.service.status.failed, None);
    assert_eq!(world.condition("Degraded").reason, "AsWished");
    assert_eq!(world.revisions.len(), 2);
}

#[test]
fn without_auto_rollback_all_stays_as_it_is() {
    let mut world = World::settled(2, 2);
    world.service.spec.update.auto_rollback = false;
    world.deploy("crash-1");
    world.run_for(60);
    assert_eq!(world.service.status.failed, Some(world.revision("crash-1")));
    let live = world.live();
    assert_eq!(live, [(0, "crash-1".into()), (0, "good-1".into()), (1, "good-1".into())]);
    assert_eq!(world.started.len(), 1);
    // What is missing is started as what was stable.
    let name = world.only(1);
    world.lose(&name);
    world.run_for(5);
    assert_eq!(world.live(), live);
}

#[test]
fn a_first_rollout_that_fails_is_tried_by_its_agents_and_recovers_by_itself() {
    let mut world = World::new(1, 1);
    world.deploy("missing-1");
    world.run_for(10);
    let name = world.only(0);
    let status = &world.service.status;
    assert_eq!((status.failed.clone(), status.stable.clone()), (Some(world.revision("missing-1")), None));
    assert_eq!(world.replicas[&name].status.phase, Phase::Backoff);
    assert_eq!(world.started.len(), 1, "it is the agent that tries again");
    // Somebody installs the program.
    world.edit(&name, |replica| {
        let observed = replica.status.observed.as_mut().expect("it was tried");
        observed.state = orion_types::replica::ProcessState::Ready;
        observed.ready = true;
    });
    world.reconcile();
    let status = &world.service.status;
    assert_eq!((status.failed.clone(), status.stable.clone()), (None, Some(world.revision("missing-1"))));
}

#[test]
fn a_newer_revision_overtakes_at_once() {
    let mut world = World::settled(3, 4);
    world.deploy("slow-1");
    world.run_for(4);
    let since = world.service.status.rollout.as_ref().expect("under way").since;
    world.deploy("good-3");
    world.reconcile();
    let rollout = world.service.status.rollout.as_ref().expect("under way");
    assert_eq!((rollout.revision.clone(), rollout.since > since), (world.revision("good-3"), true));
    assert!(world.live().iter().all(|(_, program)| program != "slow-1"), "{:?}", world.live());
    let (_, fewest) = extremes(&mut world, 60);
    assert_eq!(fewest, 3);
    assert_eq!(world.indices_of("good-3"), [0, 1, 2]);
}

#[test]
fn scaling_during_a_rollout_is_part_of_it() {
    let mut world = World::settled(3, 4);
    world.deploy("good-2");
    world.run_for(3);
    world.scale(5);
    world.run_for(3);
    world.scale(2);
    let (most, _) = extremes(&mut world, 60);
    assert!(most <= 7, "{most}");
    assert_eq!(world.indices_of("good-2"), [0, 1]);
}

#[test]
fn old_replicas_that_are_not_ready_go_first_and_free() {
    let mut world = World::settled(3, 4);
    let broken = world.only(2);
    world.edit(&broken, |replica| {
        let observed = replica.status.observed.as_mut().expect("it ran");
        (observed.state, observed.ready) = (orion_types::replica::ProcessState::Unready, false);
    });
    world.deploy("good-2");
    world.reconcile();
    assert_eq!(world.stop_reason(&broken), Some("Replaced"));
    assert_eq!(world.ready(), 2, "the ready ones stay");
}

#[test]
fn a_rollout_without_replicas_is_done_at_once() {
    let mut world = World::settled(2, 2);
    world.scale(0);
    world.run_for(5);
    world.deploy("missing-1");
    world.run_for(2);
    assert_eq!(world.service.status.stable, Some(world.revision("missing-1")));
    assert_eq!(UpdatePolicy::default().history_limit, 10);
}
