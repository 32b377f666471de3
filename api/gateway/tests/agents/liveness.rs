//! Nodes: what is written of them, and when they are silent.

use std::time::{Duration, Instant};

use orion_gateway::Settings;
use orion_types::{
    Node,
    node::{Contact, NodeObserved, NodeSpec},
};
use serde_json::json;

use crate::{
    client::{Agent, hello, hello_with},
    gate::Mood,
    world::{World, eventually, settings},
};

/// A silence long enough for a loaded machine, short enough for a test.
const SILENCE: Duration = Duration::from_millis(800);

fn impatient() -> Settings {
    settings(|settings| {
        settings.heartbeat = SILENCE / 8;
        settings.silence = SILENCE;
        settings.closed_silence = SILENCE / 2;
    })
}

fn silent(node: &Node) -> bool {
    node.status.observed.as_ref().is_some_and(|observed| observed.contact == Contact::Silent)
}

fn beat() -> serde_json::Value {
    json!({"timestamp": 1, "metrics": {"cpu": 0.5, "memory": 1_000_000}})
}

#[tokio::test]
async fn a_hello_makes_the_node_and_says_all_of_it() {
    let world = World::start().await;
    let said = json!({"labels": {"zone": "eu", "orion/node": "forged"}});
    let _agent = Agent::welcomed(&world, hello_with("node-1", said)).await;
    let node = world.until_node("node-1", Node::is_connected).await;
    let observed = node.status.observed.clone().expect("observed");
    assert_eq!((observed.node_id.as_str(), observed.address.as_str()), ("id-node-1", "10.0.0.1"));
    assert_eq!((observed.agent_id.as_str(), observed.instance_id.as_str()), ("agent-node-1", "1"));
    assert_eq!(serde_json::to_value(&observed.labels).expect("encodes"), json!({"zone": "eu"}), "orion/ is Orion's");
    assert_eq!(observed.capacity.cpu.map(|cpu| cpu.millis()), Some(4000));
    assert!(!observed.legacy && observed.contact_since.is_some());
}

#[tokio::test]
async fn what_people_declared_of_a_node_stays_and_a_hello_adds_to_it() {
    let world = World::start().await;
    let spec = NodeSpec { cordoned: true, ..NodeSpec::default() };
    world.client.create(&Node::new("node-1", spec)).await.expect("declared");
    let _agent = Agent::welcomed(&world, hello("node-1")).await;
    let node = world.until_node("node-1", Node::is_connected).await;
    assert!(node.spec.cordoned);
}

#[tokio::test]
async fn a_node_whose_write_panicked_is_written_again() {
    let world = World::start().await;
    world.gate.set(Mood::Panicking);
    let _agent = Agent::welcomed(&world, hello("node-1")).await;
    eventually("its write is tried", || async { (world.gate.tried() > 0).then_some(()) }).await;
    world.gate.set(Mood::Open);
    world.until_node("node-1", Node::is_connected).await;
}

#[tokio::test]
async fn only_changes_are_written_whatever_the_heartbeats_say() {
    let world = World::start().await;
    let mut agent = Agent::idle(&world, "node-1").await;
    let written = world.until_node("node-1", Node::is_connected).await.metadata.resource_version;
    agent.send("heartbeat", beat()).await;
    let live =
        eventually("it is heard", || async { world.gateway.live().node("node-1").filter(|l| l.metrics.cpu > 0.0) })
            .await;
    assert_eq!((live.metrics.cpu, live.metrics.memory), (0.5, 1_000_000.0));
    agent.leave().await;
    let again = Agent::idle(&world, "node-1").await;
    again.leave().await;
    let moved = hello_with("node-1", json!({"address": "10.0.0.2"}));
    let _agent = Agent::welcomed(&world, moved).await;
    let node =
        world.until_node("node-1", |node| node.status.observed.as_ref().is_some_and(|o| o.address == "10.0.0.2")).await;
    assert_eq!(node.metadata.resource_version.get(), written.get() + 1, "one write for one change");
}

#[tokio::test]
async fn live_numbers_of_replicas_are_kept_by_node_and_uid() {
    let world = World::start().await;
    let mut agent = Agent::idle(&world, "node-1").await;
    let mut beat = beat();
    beat["replicas"] = json!({"uid-1": {"cpu": 1.5, "memory": 77}});
    agent.send("heartbeat", beat).await;
    let live = world.gateway.live();
    let uid = orion_model::Uid::new("uid-1");
    let numbers = eventually("they are known", || async { live.replica("node-1", &uid) }).await;
    assert_eq!((numbers.cpu, numbers.memory), (1.5, 77));
    assert_eq!(live.nodes().len(), 1);
    assert!(live.node("node-2").is_none());
}

#[tokio::test]
async fn a_node_that_says_nothing_is_silent_after_its_time_and_back_with_the_next_word() {
    let world = World::with(impatient()).await;
    let mut agent = Agent::idle(&world, "node-1").await;
    let connected = world.until_node("node-1", Node::is_connected).await;
    let last_word = Instant::now();
    agent.send("heartbeat", beat()).await;
    let gone = world.until_node("node-1", silent).await;
    let took = last_word.elapsed();
    assert!(took >= SILENCE - Duration::from_millis(5), "silent after {took:?}");
    assert!(
        gone.status.observed.expect("observed").contact_since
            > connected.status.observed.expect("observed").contact_since
    );
    agent.send("heartbeat", beat()).await;
    world.until_node("node-1", Node::is_connected).await;
}

#[tokio::test]
async fn heartbeats_keep_a_node_connected() {
    let world = World::with(impatient()).await;
    let mut agent = Agent::idle(&world, "node-1").await;
    let node = world.until_node("node-1", Node::is_connected).await;
    let begin = Instant::now();
    let mut beats = tokio::time::interval(SILENCE / 8);
    while begin.elapsed() < SILENCE * 2 {
        beats.tick().await;
        agent.send("heartbeat", beat()).await;
    }
    let now = world.node("node-1").await.expect("it is there");
    assert_eq!(now.metadata.resource_version, node.metadata.resource_version);
}

#[tokio::test]
async fn a_closed_socket_is_silence_after_a_shorter_time_and_a_new_one_ends_it() {
    let world = World::with(impatient()).await;
    let agent = Agent::idle(&world, "node-1").await;
    world.until_node("node-1", Node::is_connected).await;
    let closing = Instant::now();
    agent.leave().await;
    world.until_node("node-1", silent).await;
    assert!(closing.elapsed() >= SILENCE / 2 - Duration::from_millis(5));
    let _agent = Agent::idle(&world, "node-1").await;
    world.until_node("node-1", Node::is_connected).await;
}

#[tokio::test]
async fn a_node_that_was_connected_when_the_server_started_has_a_full_period_to_come_back() {
    let world = World::with(impatient()).await;
    let agent = Agent::idle(&world, "node-1").await;
    world.until_node("node-1", Node::is_connected).await;
    drop(agent);
    let start = Instant::now();
    let world = world.restart(impatient()).await;
    world.until_node("node-1", silent).await;
    assert!(start.elapsed() >= SILENCE, "the whole period, not the short one of a closed socket");
}

#[tokio::test]
async fn the_servers_own_end_makes_nobody_silent() {
    let world = World::with(impatient()).await;
    let agent = Agent::idle(&world, "node-1").await;
    let node = world.until_node("node-1", Node::is_connected).await;
    world.shutdown.cancel();
    assert_eq!(agent.closed().await.0, 1001);
    world.worker.await.expect("it ends");
    let now: Option<Node> = world.client.get(&orion_model::Key::new("", "node-1")).await.expect("the store answers");
    assert_eq!(now.expect("there").metadata.resource_version, node.metadata.resource_version);
}

#[tokio::test]
async fn a_declared_node_that_was_never_seen_is_left_alone() {
    let world = World::with(impatient()).await;
    world.client.create(&Node::new("node-9", NodeSpec::default())).await.expect("declared");
    let agent = Agent::idle(&world, "node-1").await;
    agent.leave().await;
    world.until_node("node-1", silent).await;
    assert_eq!(world.node("node-9").await.expect("there").status.observed, None);
}

#[tokio::test]
async fn a_connected_node_that_is_deleted_is_made_again_and_one_that_left_is_forgotten() {
    let world = World::with(impatient()).await;
    let mut agent = Agent::idle(&world, "node-1").await;
    let node = world.until_node("node-1", Node::is_connected).await;
    world.client.delete(&node).await.expect("deleted");
    let again = world.until_node("node-1", Node::is_connected).await;
    assert_ne!(again.metadata.uid, node.metadata.uid);
    agent.send("heartbeat", beat()).await;
    agent.leave().await;
    let gone = world.until_node("node-1", silent).await;
    world.client.delete(&gone).await.expect("deleted");
    let live = world.gateway.live();
    eventually("its numbers are forgotten", || async { live.node("node-1").is_none().then_some(()) }).await;
    assert!(world.node("node-1").await.is_none());
}

#[tokio::test]
async fn a_node_in_the_store_that_nobody_here_ever_heard_goes_silent_too() {
    let world = World::with(impatient()).await;
    let mut node = Node::new("node-7", NodeSpec::default());
    node.status.observed = Some(NodeObserved { contact: Contact::Connected, ..NodeObserved::default() });
    world.put(&node).await;
    world.until_node("node-7", silent).await;
}
