//! Services end to end: up, scaled, rolled out, rolled back, in order, and gone.

use std::{collections::BTreeMap, time::Instant};

use orion_model::{Event, Key, Object};
use orion_types::{
    Revision, Service,
    applied::CONFIG_LABEL,
    replica::{PROCESS_FINALIZER, Phase},
    service::Replicas,
};
use serde_json::json;

use crate::world::{World, eventually, pass};

#[tokio::test(start_paused = true)]
async fn a_service_comes_up_spread_over_its_nodes() {
    let world = World::new(2).await;
    let service = world.serve("web", "good", json!({"replicas": 3, "labels": {"tier": "front"}})).await;
    world.settled("web", 3).await;
    let mut replicas = world.unfinished().await;
    replicas.sort_by_key(|replica| replica.spec.index);
    let nodes: Vec<_> = replicas.iter().map(|replica| replica.spec.node_name.clone().expect("bound")).collect();
    assert_eq!(nodes, ["node-1", "node-2", "node-1"]);
    for (index, replica) in replicas.iter().enumerate() {
        assert_eq!(replica.spec.index as usize, index);
        assert!(replica.metadata.is_owned_by(service.uid()));
        assert_eq!(replica.metadata.finalizers, [PROCESS_FINALIZER]);
        assert_eq!(replica.metadata.labels["orion/service"], "web");
        assert_eq!(replica.metadata.labels["tier"], "front");
        assert!(replica.status.conditions.is_true("Placed"));
    }
    let status = world.service("web").await.status;
    assert_eq!((status.ready, status.available, status.updated, status.desired), (3, 3, 3, 3));
    assert_eq!((status.stable.is_some(), status.stable), (true, status.current));
    assert!(status.conditions.is_true("Available") && status.conditions.is_true("Progressing"));
    let revisions: Vec<Revision> = world.client.list().await.expect("the store answers");
    assert_eq!((revisions.len(), revisions[0].spec.number), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn scaling_and_deleting_leave_exactly_what_is_wished() {
    let world = World::new(2).await;
    world.serve("web", "good", json!({"replicas": 2})).await;
    world.settled("web", 2).await;
    for replicas in [5, 2, 0, 3] {
        world.edit::<Service>("default", "web", |service| service.spec.replicas = Replicas::Count(replicas)).await;
        eventually("the scaling is seen", || async { world.service("web").await.status.desired == replicas }).await;
        world.settled("web", replicas as usize).await;
    }
    world.client.delete_any::<Service>(&Key::new("default", "web")).await.expect("deleted");
    eventually("nothing is left", || async {
        let revisions: Vec<Revision> = world.client.list().await.expect("the store answers");
        world.replicas().await.is_empty() && revisions.is_empty() && world.processes() == 0
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_rollout_replaces_one_by_one_and_a_failing_one_is_rolled_back_and_not_retried() {
    let world = World::new(3).await;
    world.serve("web", "good", json!({"replicas": 3})).await;
    world.settled("web", 3).await;
    world.deploy("web", "good-2").await;
    eventually("it is rolled out", || async {
        assert!(world.ready_processes("web") >= 3);
        let status = world.service("web").await.status;
        status.rollout.is_none() && status.stable == status.current && status.conditions.is_true("Available")
    })
    .await;
    world.settled("web", 3).await;
    let before: Vec<String> = world.unfinished().await.iter().map(|replica| replica.name().to_owned()).collect();

    world.deploy("web", "missing").await;
    eventually("it fails", || async {
        assert!(world.ready_processes("web") >= 3);
        world.service("web").await.status.failed.is_some()
    })
    .await;
    world.settled("web", 3).await;
    let after: Vec<String> = world.unfinished().await.iter().map(|replica| replica.name().to_owned()).collect();
    assert_eq!(before, after, "healthy old ones are untouched");
    let started = world.replicas().await.len();
    world.edit::<Service>("default", "web", |service| drop(service.spec.labels.insert("x".into(), "y".into()))).await;
    pass(1800).await;
    assert_eq!(world.replicas().await.len(), started, "nothing tries it again");
    let events: Vec<Event> = world.client.list().await.expect("the store answers");
    let failed = events.iter().find(|event| event.reason == "RolloutFailed").expect("told");
    assert!(failed.note.contains("no such file: missing") && failed.note.contains("going back to"), "{}", failed.note);
    assert_eq!(failed.regarding.name, "web");
}

#[tokio::test(start_paused = true)]
async fn a_static_port_on_one_node_is_handed_on_with_a_gap_and_no_more() {
    let world = World::new(1).await;
    world.serve("web", "good", json!({"replicas": 1, "ports": [{"port": 8080}]})).await;
    world.settled("web", 1).await;
    world.deploy("web", "good-2").await;
    eventually("it is rolled out", || async {
        assert!(world.processes() <= 1);
        let status = world.service("web").await.status;
        status.rollout.is_none() && status.stable == status.current && status.available == 1
    })
    .await;
    let events: Vec<Event> = world.client.list().await.expect("the store answers");
    assert!(events.iter().any(|event| event.reason == "SurgeImpossible"));
}

#[tokio::test(start_paused = true)]
async fn dependents_start_after_what_they_depend_on() {
    let world = World::new(1).await;
    world.serve("web", "good", json!({"dependencies": ["api"]})).await;
    world.serve("api", "good", json!({"dependencies": ["db", "migrate"]})).await;
    pass(30).await;
    assert!(world.replicas().await.is_empty());
    let said = world.service("api").await.status.conditions.get("Progressing").expect("said").message.clone();
    assert_eq!(said, "waits for db and migrate to exist");
    let why = world.handle().why(&world.service("web").await.object_key());
    let why = serde_json::to_string(&why).expect("it serialises");
    assert!(why.contains("waits for api to start"), "{why}");
    world.job("migrate", "exit0", json!({})).await;
    world.serve("db", "good", json!({})).await;
    world.settled("web", 1).await;
    let begun: Vec<String> =
        world.fleet().started.iter().map(|name| name.split('-').next().expect("a name").to_owned()).collect();
    let place = |name: &str| begun.iter().position(|one| one == name).expect("it started");
    assert!(place("db") < place("api") && place("migrate") < place("api") && place("api") < place("web"), "{begun:?}");
}

#[tokio::test(start_paused = true)]
async fn settings_and_labels_reach_live_replicas_without_a_restart() {
    let world = World::new(1).await;
    world.serve("web", "good", json!({"replicas": 2})).await;
    world.settled("web", 2).await;
    world
        .edit::<Service>("default", "web", |service| {
            service.spec.process.settings.stop.timeout = orion_types::Duration::from_secs(3);
            service.metadata.labels.insert(CONFIG_LABEL.into(), "shop".into());
        })
        .await;
    eventually("they are told", || async {
        world.unfinished().await.iter().all(|replica| {
            replica.spec.settings.stop.timeout == orion_types::Duration::from_secs(3)
                && replica.metadata.labels.get(CONFIG_LABEL).map(String::as_str) == Some("shop")
        })
    })
    .await;
    assert_eq!(world.fleet().started.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn what_is_settled_writes_nothing() {
    let world = World::new(2).await;
    world.serve("web", "good", json!({"replicas": 3})).await;
    world.job("migrate", "exit0", json!({})).await;
    world.settled("web", 3).await;
    pass(60).await;
    let versions = || async {
        let service = world.service("web").await.version();
        let replicas: BTreeMap<_, _> =
            world.replicas().await.iter().map(|one| (one.name().to_owned(), one.version())).collect();
        (service, replicas, world.run_of("migrate").await.map(|run| run.version()))
    };
    let before = versions().await;
    pass(1200).await;
    assert_eq!(versions().await, before);
}

#[tokio::test(start_paused = true)]
async fn a_controller_that_is_cut_off_at_any_moment_goes_on_where_it_was() {
    for moment in [0, 1, 2, 3, 5, 8, 13, 21] {
        let mut world = World::new(2).await;
        world.serve("web", "good", json!({"replicas": 3})).await;
        world.job("migrate", "exit0", json!({})).await;
        tokio::time::sleep(std::time::Duration::from_millis(moment * 100)).await;
        world.crash().await;
        world.start();
        world.settled("web", 3).await;
        eventually("the job has run", || async {
            world.run_of("migrate").await.is_some_and(|run| run.status.phase.is_finished())
        })
        .await;
        let begun = world.fleet().started.len();
        assert_eq!(begun, 4, "after {moment}: {:?}", world.fleet().started);
    }
}

#[tokio::test(start_paused = true)]
async fn a_thousand_replicas_are_placed_over_a_hundred_nodes_in_seconds() {
    let world = World::new(0).await;
    for number in 0..100 {
        world.join(&format!("node-{number:03}"), json!({"cpu": 32, "memory": 65536})).await;
    }
    let begun = Instant::now();
    for number in 0..10 {
        let spec = json!({"replicas": 100, "resources": {"cpu": 1, "memory": 64}});
        world.serve(&format!("s{number}"), "good", spec).await;
    }
    eventually("all are bound", || async {
        let all = world.replicas().await;
        all.len() == 1000 && all.iter().all(|replica| replica.spec.node_name.is_some())
    })
    .await;
    let took = begun.elapsed();
    let mut on: BTreeMap<String, u32> = BTreeMap::new();
    for replica in world.replicas().await {
        *on.entry(replica.spec.node_name.expect("bound")).or_default() += 1;
    }
    assert!(on.len() == 100 && on.values().all(|count| *count == 10), "{on:?}");
    assert!(took.as_secs() < 60, "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn what_has_no_room_waits_with_its_reason_and_is_placed_when_there_is_some() {
    let world = World::new(0).await;
    world.join("node-3", json!({"memory": 1024})).await;
    world.serve("big", "good", json!({"resources": {"memory": 724}})).await;
    world.settled("big", 1).await;
    world.serve("web", "good", json!({"resources": {"memory": 512}})).await;
    let reason = || async {
        let waiting = world.replicas().await.into_iter().find(|replica| replica.status.phase == Phase::Pending)?;
        Some(waiting.status.conditions.get("Placed")?.message.clone())
    };
    eventually("it is refused", || async { reason().await.is_some() }).await;
    assert_eq!(reason().await.as_deref(), Some("node-3: needs 512Mi, free 300Mi"));
    let degraded = || async { world.service("web").await.status.conditions.get("Degraded").cloned() };
    eventually("the service says so", || async { degraded().await.is_some_and(|said| said.reason == "Unplaceable") })
        .await;
    world.client.delete_any::<Service>(&Key::new("default", "big")).await.expect("deleted");
    world.settled("web", 1).await;
}
