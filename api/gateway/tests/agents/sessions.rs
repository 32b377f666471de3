//! Which of several sessions of a node counts.

use serde_json::{Value, json};

use crate::{
    client::{Agent, hello, hello_with},
    world::{World, settings},
};

fn instance(node: &str, instance: &str) -> Value {
    hello_with(node, json!({ "instanceId": instance }))
}

#[tokio::test]
async fn a_later_start_supersedes_and_the_close_of_the_older_one_takes_nothing_from_it() {
    let world = World::start().await;
    world.service(json!({})).await;
    let old = Agent::welcomed(&world, instance("node-1", "9")).await;
    let (mut new, _) = Agent::synced(&world, instance("node-1", "10")).await;
    let (code, reason) = old.closed().await;
    assert_eq!(code, 4409, "{reason}");
    world.replica("web-0-aaaaa", "node-1").await;
    assert_eq!(new.expect("launch").await["replicaId"], "web-0-aaaaa", "the newer session is the node's");
}

#[tokio::test]
async fn the_same_start_on_a_new_socket_replaces_the_old_socket() {
    let world = World::start().await;
    world.service(json!({})).await;
    let old = Agent::welcomed(&world, instance("node-1", "1")).await;
    let (mut new, _) = Agent::synced(&world, instance("node-1", "1")).await;
    assert_eq!(old.closed().await.0, 1000);
    world.replica("web-0-aaaaa", "node-1").await;
    new.expect("launch").await;
}

#[tokio::test]
async fn an_older_start_is_turned_away_with_4409() {
    let world = World::start().await;
    world.service(json!({})).await;
    let (mut new, _) = Agent::synced(&world, instance("node-1", "2")).await;
    let old = Agent::say_hello(&world, instance("node-1", "1")).await;
    assert_eq!(old.closed().await.0, 4409);
    new.expect_nothing(&world, "node-1").await;
}

#[tokio::test]
async fn another_agent_does_not_get_the_name_of_a_node_that_is_not_lost() {
    let world = World::start().await;
    let other = || hello_with("node-1", json!({"agentId": "another"}));
    let first = Agent::idle(&world, "node-1").await;
    let (code, reason) = Agent::say_hello(&world, other()).await.closed().await;
    assert_eq!(code, 4403, "{reason}");
    world.until_node("node-1", |node| node.is_connected()).await;
    first.leave().await;
    let (code, reason) = Agent::say_hello(&world, other()).await.closed().await;
    assert_eq!((code, reason.contains("until the node is lost")), (4403, true), "{reason}");

    let node = world.node("node-1").await.expect("it is there");
    let mut status = node.status.clone();
    status.phase = orion_types::node::NodePhase::Lost;
    world.client.update_status(&node, status).await.expect("written");
    crate::world::eventually("the name is free", || async {
        let mut agent = Agent::say_hello(&world, other()).await;
        agent.try_next().await.filter(|(kind, _)| kind == "welcome")
    })
    .await;
    world.until_node("node-1", |node| node.status.observed.as_ref().is_some_and(|o| o.agent_id == "another")).await;
}

#[tokio::test]
async fn a_shutdown_closes_every_socket_as_going_away() {
    let world = World::start().await;
    let (one, two) = (Agent::idle(&world, "node-1").await, Agent::open(&world).await);
    world.shutdown.cancel();
    assert_eq!(one.closed().await.0, 1001);
    assert_eq!(two.closed().await.0, 1001, "one that has not said hello too");
    world.worker.await.expect("the worker ends when they have");
}

#[tokio::test]
async fn more_sockets_than_there_are_places_are_refused_and_a_place_that_is_left_can_be_had() {
    let world = World::with(settings(|settings| settings.max_sessions = 1)).await;
    let first = Agent::welcomed(&world, hello("node-1")).await;
    let refused = tokio_tungstenite::connect_async(format!("ws://{}/ws", world.address)).await;
    match refused {
        Err(tokio_tungstenite::tungstenite::Error::Http(response)) => assert_eq!(response.status(), 503),
        other => panic!("it was to be refused, not {other:?}"),
    }
    first.leave().await;
    crate::world::eventually("the place is free", || async {
        tokio_tungstenite::connect_async(format!("ws://{}/ws", world.address)).await.ok()
    })
    .await;
}

#[tokio::test]
async fn a_request_that_is_no_upgrade_gets_a_status() {
    let world = World::start().await;
    let response = reqwest::get(world.url("/ws")).await.expect("it answers");
    assert!(response.status().is_client_error());
    let status: Value = serde_json::from_str(&response.text().await.expect("a body")).expect("a Status");
    assert_eq!(status["kind"], "Status");
}
