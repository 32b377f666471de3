//! Nodes end to end: silent, unknown, lost and replaced, and the return without duplicates and without a gap.

use std::time::Duration;

use orion_model::Object;
use orion_types::{
    Node,
    node::{Contact, NodePhase},
    replica::{Disposition, Phase},
};
use serde_json::json;
use tokio::time::Instant;

use crate::world::{World, eventually, pass};

async fn phase(world: &World, node: &str) -> NodePhase {
    world.get::<Node>("", node).await.expect("it is there").status.phase
}

async fn until_phase(world: &World, node: &str, wanted: NodePhase) {
    eventually("its phase", || async { phase(world, node).await == wanted }).await;
}

#[tokio::test(start_paused = true)]
async fn a_silent_node_is_unknown_then_lost_and_its_replicas_run_elsewhere() {
    let world = World::new(2).await;
    world.serve("web", "good", json!({"replicas": 2})).await;
    world.settled("web", 2).await;
    // The gateway has waited 10 s since the socket was closed.
    let silent = Instant::now();
    world.contact("node-2", Contact::Silent).await;
    until_phase(&world, "node-2", NodePhase::Unknown).await;
    assert!(silent.elapsed() < Duration::from_secs(2));
    let on_node = || async {
        let all = world.replicas().await;
        all.into_iter().find(|replica| replica.spec.node_name.as_deref() == Some("node-2")).expect("one is there")
    };
    assert_eq!(on_node().await.status.phase, Phase::Unknown);
    pass(45).await;
    assert_eq!((phase(&world, "node-2").await, world.processes()), (NodePhase::Unknown, 2), "not yet");
    until_phase(&world, "node-2", NodePhase::Lost).await;
    let since_contact = 10 + silent.elapsed().as_secs();
    assert!((59..=61).contains(&since_contact), "{since_contact}");
    assert_eq!(on_node().await.status.phase, Phase::Lost);
    eventually("it is replaced", || async {
        let unfinished = world.unfinished().await;
        unfinished.len() == 2
            && unfinished.iter().all(|one| one.is_ready() && one.spec.node_name.as_deref() == Some("node-1"))
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn within_lost_after_nothing_restarts() {
    let world = World::new(2).await;
    world.serve("web", "good", json!({"replicas": 2})).await;
    world.settled("web", 2).await;
    world.contact("node-2", Contact::Silent).await;
    pass(40).await;
    world.contact("node-2", Contact::Connected).await;
    world.settled("web", 2).await;
    pass(120).await;
    assert_eq!(world.fleet().started.len(), 2);
    assert!(world.replicas().await.iter().all(|replica| replica.status.disposition == Disposition::Active));
}

/// What comes back after it was given up: no duplicates within 20 s, and a ready process at every instant where there
/// was one; whether or not its agent has ended what was given up.
#[tokio::test(start_paused = true)]
async fn a_late_return_leaves_one_copy_and_no_instant_without_one() {
    for (ends_lost, elsewhere) in [(false, true), (true, true), (false, false), (true, false)] {
        let case = format!("ends lost: {ends_lost}, another node: {elsewhere}");
        let world = World::new(if elsewhere { 2 } else { 1 }).await;
        world.fleet().ends_lost = ends_lost;
        world.serve("web", "good", json!({"replicas": 1, "ports": [{"port": 8080}]})).await;
        world.settled("web", 1).await;
        let original = world.unfinished().await.remove(0);
        let node = original.spec.node_name.clone().expect("bound");
        world.contact(&node, Contact::Silent).await;
        until_phase(&world, &node, NodePhase::Lost).await;
        if elsewhere {
            eventually("it is replaced", || async { world.ready_processes("web") == 2 }).await;
            pass(10).await;
        }
        world.contact(&node, Contact::Connected).await;
        let returned = Instant::now();
        while returned.elapsed() < Duration::from_secs(20) {
            let has_one = world.ready_processes("web") >= 1;
            // The only process there was ended with its agent: another one comes, but no instant can be promised.
            assert!(has_one || (ends_lost && !elsewhere), "{case}, after {:?}", returned.elapsed());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        assert_eq!((world.processes(), world.unfinished().await.len()), (1, 1), "{case}");
        let kept = world.unfinished().await.remove(0);
        assert_eq!(kept.uid() == original.uid(), !ends_lost, "{case}: the original is kept where it still runs");
        assert!(kept.metadata.finalizers.len() == 1 && kept.is_ready(), "{case}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_newer_revision_is_kept_over_what_returns() {
    let world = World::new(2).await;
    world.serve("web", "good", json!({"replicas": 1})).await;
    world.settled("web", 1).await;
    let original = world.unfinished().await.remove(0);
    let node = original.spec.node_name.clone().expect("bound");
    world.contact(&node, Contact::Silent).await;
    until_phase(&world, &node, NodePhase::Lost).await;
    world.deploy("web", "good-2").await;
    eventually("the new one is stable", || async {
        let status = world.service("web").await.status;
        status.rollout.is_none() && status.stable == status.current && status.available == 1
    })
    .await;
    world.contact(&node, Contact::Connected).await;
    pass(15).await;
    assert_eq!((world.processes(), world.ready_processes("web")), (1, 1));
    assert_ne!(world.unfinished().await[0].uid(), original.uid());
    let stopped = world.get::<orion_types::Replica>("default", original.name()).await.expect("kept for an hour");
    assert_eq!(stopped.spec.stop.expect("stopped").reason, "DuplicateAfterReturn");
}

#[tokio::test(start_paused = true)]
async fn controllers_that_start_give_everybody_a_full_period_of_grace() {
    let mut world = World::new(2).await;
    world.serve("web", "good", json!({"replicas": 2})).await;
    world.settled("web", 2).await;
    world.stop().await;
    world.contact("node-2", Contact::Silent).await;
    pass(600).await;
    world.start();
    let started = Instant::now();
    pass(15).await;
    assert_eq!(phase(&world, "node-2").await, NodePhase::Ready);
    until_phase(&world, "node-2", NodePhase::Unknown).await;
    assert!((19..=22).contains(&started.elapsed().as_secs()), "{:?}", started.elapsed());
    until_phase(&world, "node-2", NodePhase::Lost).await;
    assert!((59..=62).contains(&started.elapsed().as_secs()), "{:?}", started.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_partition_gives_nobody_up() {
    let world = World::new(5).await;
    world.serve("web", "good", json!({"replicas": 5})).await;
    world.settled("web", 5).await;
    for node in ["node-1", "node-2", "node-3"] {
        world.contact(node, Contact::Silent).await;
    }
    pass(600).await;
    assert_eq!(world.fleet().started.len(), 5);
    let events: Vec<orion_model::Event> = world.client.list().await.expect("the store answers");
    assert!(events.iter().any(|event| event.reason == "ClusterPartitionSuspected"));
    world.contact("node-1", Contact::Connected).await;
    eventually("the others are given up", || async {
        phase(&world, "node-2").await == NodePhase::Lost && phase(&world, "node-3").await == NodePhase::Lost
    })
    .await;
    eventually("and replaced", || async {
        world.unfinished().await.len() == 5 && world.unfinished().await.iter().all(orion_types::Replica::is_ready)
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn cordoned_nodes_and_nodes_never_seen_are_not_chosen() {
    let world = World::new(2).await;
    world.client.create(&Node::new("declared", orion_types::node::NodeSpec::default())).await.expect("a new node");
    world.edit::<Node>("", "node-1", |node| node.spec.cordoned = true).await;
    eventually("the declared one is judged", || async {
        let node = world.get::<Node>("", "declared").await.expect("it is there");
        node.status.conditions.get("Ready").is_some_and(|said| said.reason == "NeverSeen")
    })
    .await;
    world.serve("web", "good", json!({"replicas": 3})).await;
    world.settled("web", 3).await;
    assert!(world.unfinished().await.iter().all(|replica| replica.spec.node_name.as_deref() == Some("node-2")));
    world.edit::<Node>("", "node-2", |node| node.spec.cordoned = true).await;
    pass(30).await;
    assert_eq!(world.processes(), 3, "what runs on a cordoned node goes on");
}
