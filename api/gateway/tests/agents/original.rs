//! Agents that know the original's frames only.

use orion_types::replica::ProcessState;
use serde_json::{Value, json};

use crate::{
    client::Agent,
    world::{World, settings},
};

fn hello(node: &str) -> Value {
    json!({"nodeId": "n-1", "name": node, "address": "10.0.0.9", "labels": {"zone": "eu"}})
}

/// Only these are known there.
fn is_known(kind: &str) -> bool {
    ["launch", "stop", "update"].contains(&kind)
}

async fn next(agent: &mut Agent) -> (String, Value) {
    let (kind, payload) = agent.next().await;
    assert!(is_known(&kind), "an original agent does not know {kind}: {payload}");
    (kind, payload)
}

#[tokio::test]
async fn an_original_agent_gets_launch_with_the_whole_service_and_counts_as_running_it() {
    let world = World::start().await;
    world.service(json!({"entry": "main.js", "env": {"A": "1"}, "ports": [{"name": "http", "port": 8080}]})).await;
    let mut agent = Agent::say_hello(&world, hello("node-1")).await;
    let node = world.until_node("node-1", |node| node.is_connected()).await;
    assert!(node.is_legacy());
    world.replica("web-0-aaaaa", "node-1").await;
    let (kind, launch) = next(&mut agent).await;
    assert_eq!((kind.as_str(), &launch["replicaId"]), ("launch", &json!("web-0-aaaaa")));
    let mut fields: Vec<_> = launch.as_object().expect("an object").keys().cloned().collect();
    fields.sort();
    assert_eq!(fields, ["replicaId", "service"]);
    let service = &launch["service"];
    assert_eq!(
        (&service["name"], &service["type"], &service["runtime"]),
        (&json!("web"), &json!("node"), &json!("node"))
    );
    assert_eq!(
        (&service["entry"], &service["env"], &service["path"]),
        (&json!("main.js"), &json!({"A": "1"}), &json!("."))
    );
    assert_eq!((&service["ports"][0]["port"], &service["replicas"]), (&json!(8080), &json!(1)));
    let running = world.until_state("web-0-aaaaa", "ready").await;
    assert_eq!(running.status.phase.to_string(), "Ready");
    let observed = running.status.observed.expect("observed");
    assert!(observed.ready && observed.ready_since.is_some() && observed.ports["http"] == 8080);
}

#[tokio::test]
async fn a_stop_that_was_sent_counts_as_stopped() {
    let world = World::start().await;
    world.service(json!({})).await;
    world.replica("web-0-aaaaa", "node-1").await;
    let mut agent = Agent::say_hello(&world, hello("node-1")).await;
    assert_eq!(next(&mut agent).await.0, "launch");
    world.until_state("web-0-aaaaa", "ready").await;
    world.wish_stop("web-0-aaaaa").await;
    assert_eq!(next(&mut agent).await, ("stop".into(), json!({"serviceName": "web", "replicaId": "web-0-aaaaa"})));
    let stopped = world.until_state("web-0-aaaaa", "stopped").await;
    assert_eq!(stopped.status.phase.to_string(), "Stopped");
}

#[tokio::test]
async fn a_replica_is_launched_once_over_connections_and_servers() {
    let world = World::start().await;
    world.service(json!({})).await;
    world.replica("web-0-aaaaa", "node-1").await;
    let mut agent = Agent::say_hello(&world, hello("node-1")).await;
    assert_eq!(next(&mut agent).await.0, "launch");
    world.until_state("web-0-aaaaa", "ready").await;
    agent.leave().await;

    let mut again = Agent::say_hello(&world, hello("node-1")).await;
    world.replica("web-1-bbbbb", "node-1").await;
    let (kind, payload) = next(&mut again).await;
    assert_eq!(
        (kind.as_str(), &payload["replicaId"]),
        ("launch", &json!("web-1-bbbbb")),
        "the first is not launched again"
    );
    world.until_state("web-1-bbbbb", "ready").await;

    let world = world.restart(settings(|_| {})).await;
    let mut later = Agent::say_hello(&world, hello("node-1")).await;
    world.replica("web-2-ccccc", "node-1").await;
    let (kind, payload) = next(&mut later).await;
    assert_eq!((kind.as_str(), &payload["replicaId"]), ("launch", &json!("web-2-ccccc")));
}

#[tokio::test]
async fn a_stop_wished_while_nobody_was_connected_is_sent_on_the_next_connection() {
    let world = World::start().await;
    world.service(json!({})).await;
    world.replica("web-0-aaaaa", "node-1").await;
    let mut agent = Agent::say_hello(&world, hello("node-1")).await;
    next(&mut agent).await;
    world.until_state("web-0-aaaaa", "ready").await;
    agent.leave().await;
    world.wish_stop("web-0-aaaaa").await;
    let never_launched = world.replica("web-1-bbbbb", "node-1").await;
    world.client.delete(&never_launched).await.expect("asked for");
    let mut again = Agent::say_hello(&world, hello("node-1")).await;
    assert_eq!(next(&mut again).await.1["replicaId"], "web-0-aaaaa");
    world.until_state("web-0-aaaaa", "stopped").await;
    world.until_state("web-1-bbbbb", "stopped").await;
    world.replica("web-2-ccccc", "node-1").await;
    assert_eq!(next(&mut again).await.1["replicaId"], "web-2-ccccc", "no stop was sent for what was never launched");
}

#[tokio::test]
async fn changed_settings_are_an_update_with_the_config() {
    let world = World::start().await;
    world.service(json!({})).await;
    world.replica("web-0-aaaaa", "node-1").await;
    let mut agent = Agent::say_hello(&world, hello("node-1")).await;
    next(&mut agent).await;
    world.until_state("web-0-aaaaa", "ready").await;
    let resources: orion_types::process::Resources = serde_json::from_value(json!({"memory": 64})).expect("resources");
    let edited = world.edit("web-0-aaaaa", |replica| replica.spec.settings.resources = resources).await;
    let (kind, update) = next(&mut agent).await;
    assert_eq!(
        (kind.as_str(), &update["serviceName"], &update["replicaId"]),
        ("update", &json!("web"), &json!("web-0-aaaaa"))
    );
    assert_eq!(update["config"]["resources"], json!({"memory": 64}));
    let said = |replica: &orion_types::Replica| replica.status.observed.as_ref().map(|observed| observed.spec_version);
    world.until("web-0-aaaaa", |replica| said(replica) == Some(edited.metadata.spec_version)).await;
}

#[tokio::test]
async fn its_own_words_about_a_replica_are_understood() {
    let world = World::start().await;
    world.service(json!({})).await;
    world.replica("web-0-aaaaa", "node-1").await;
    let mut agent = Agent::say_hello(&world, hello("node-1")).await;
    next(&mut agent).await;
    world.until_state("web-0-aaaaa", "ready").await;
    let says = |state: &str| json!({"service": "web", "replicaId": "web-0-aaaaa", "state": state});
    agent.report(says("crashed")).await;
    let crashed = world.until_state("web-0-aaaaa", "failed").await;
    assert_eq!(crashed.status.phase.to_string(), "Backoff");
    agent.report(says("singing")).await;
    agent.report(says("running")).await;
    let again = world.until_state("web-0-aaaaa", "ready").await.status.observed.expect("observed");
    assert_eq!((again.state, again.restarts), (ProcessState::Ready, 1));
    agent.send("status", json!("not even an object")).await;
    agent.send("heartbeat", json!({"timestamp": 5, "metrics": {"cpu": 0.25, "memory": 100}})).await;
    crate::world::eventually("its numbers are known", || async {
        world.gateway.live().node("node-1").filter(|live| live.metrics.cpu == 0.25)
    })
    .await;
}

#[tokio::test]
async fn what_it_cannot_do_is_not_sent_and_the_replica_says_why() {
    let world = World::start().await;
    world.service(json!({"ports": [{"name": "http", "allocation": "dynamic"}]})).await;
    world.run().await;
    let _agent = Agent::say_hello(&world, hello("node-1")).await;
    world.replica("web-0-aaaaa", "node-1").await;
    world.attempt("migrate-1-1-aaaaa", "node-1").await;
    for (name, says) in [("web-0-aaaaa", "not static"), ("migrate-1-1-aaaaa", "attempt of a Run")] {
        let refused = world.until_state(name, "failed").await.status.observed.expect("observed");
        assert!(refused.message.is_some_and(|message| message.contains(says)), "{name}");
    }
}

#[tokio::test]
async fn a_replica_that_vanishes_is_stopped_and_one_given_up_only_when_its_end_is_wished() {
    let world = World::start().await;
    world.service(json!({})).await;
    world.replica("web-0-aaaaa", "node-1").await;
    world.replica("web-1-bbbbb", "node-1").await;
    let mut agent = Agent::say_hello(&world, hello("node-1")).await;
    next(&mut agent).await;
    next(&mut agent).await;
    world.until_state("web-0-aaaaa", "ready").await;
    world.until_state("web-1-bbbbb", "ready").await;
    world.give_up("web-0-aaaaa").await;
    world.remove("web-1-bbbbb").await;
    assert_eq!(next(&mut agent).await, ("stop".into(), json!({"serviceName": "web", "replicaId": "web-1-bbbbb"})));
    world.wish_stop("web-0-aaaaa").await;
    assert_eq!(next(&mut agent).await, ("stop".into(), json!({"serviceName": "web", "replicaId": "web-0-aaaaa"})));
}

#[tokio::test]
async fn a_stop_that_has_not_reached_the_socket_does_not_count() {
    let world = World::with(settings(|settings| settings.queue_bytes = 64 * 1024 * 1024)).await;
    world.service(json!({"env": {"BIG": "x".repeat(200_000)}})).await;
    let mut agent = Agent::say_hello(&world, hello("node-1")).await;
    world.until_node("node-1", |node| node.is_connected()).await;
    // More launches than the kernel's buffers hold, none of which the agent reads.
    for index in 0..100 {
        world.replica(&format!("web-{index}-aaaaa"), "node-1").await;
    }
    world.until_state("web-99-aaaaa", "ready").await;
    world.wish_stop("web-0-aaaaa").await;
    // Time passes: another node's agent connects, and a replica of its is launched and stopped.
    let mut other = Agent::say_hello(&world, hello("node-2")).await;
    world.replica("web-100-bbbbb", "node-2").await;
    next(&mut other).await;
    world.until_state("web-100-bbbbb", "ready").await;
    world.wish_stop("web-100-bbbbb").await;
    world.until_state("web-100-bbbbb", "stopped").await;
    let waiting = world.read("web-0-aaaaa").await.expect("it is there");
    assert_eq!(waiting.status.phase.to_string(), "Stopping");
    assert_eq!(agent.find("stop").await["replicaId"], "web-0-aaaaa");
    world.until_state("web-0-aaaaa", "stopped").await;
}
