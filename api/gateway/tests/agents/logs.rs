//! `GET …/replicas/{name}/log`.

use futures::StreamExt;
use serde_json::{Value, json};

use crate::{
    client::{Agent, hello},
    world::{SOON, World},
};

fn path(name: &str, query: &str) -> String {
    format!("/apis/orion/v1/namespaces/default/replicas/{name}/log{query}")
}

async fn refused(world: &World, name: &str, query: &str) -> (u16, String) {
    let response = reqwest::get(world.url(&path(name, query))).await.expect("it answers");
    let code = response.status().as_u16();
    let status: Value = serde_json::from_str(&response.text().await.expect("a body")).expect("a Status");
    assert_eq!((&status["kind"], &status["code"]), (&json!("Status"), &json!(code)));
    (code, status["message"].as_str().expect("a message").to_owned())
}

/// A world with a replica on a connected node.
async fn world() -> (World, Agent) {
    let world = World::start().await;
    world.service(json!({})).await;
    world.replica("web-0-aaaaa", "node-1").await;
    let (agent, _) = Agent::synced(&world, hello("node-1")).await;
    world.until_node("node-1", |node| node.is_connected()).await;
    (world, agent)
}

#[tokio::test]
async fn a_log_is_what_the_agent_sends() {
    let (world, mut agent) = world().await;
    let url = world.url(&path("web-0-aaaaa", "?tail=2&since=2026-11-24T09:00:00Z"));
    let reading =
        tokio::spawn(async move { reqwest::get(url).await.expect("it answers").text().await.expect("whole") });
    let asked = agent.find("logs").await;
    assert_eq!(
        (&asked["replicaId"], &asked["follow"], &asked["tail"]),
        (&json!("web-0-aaaaa"), &json!(false), &json!(2))
    );
    assert_eq!((&asked["since"], &asked["credit"]), (&json!("2026-11-24T09:00:00Z"), &json!(256 * 1024)));
    for line in ["one\n", "two\n"] {
        agent.send("logChunk", json!({"id": asked["id"], "data": line})).await;
    }
    agent.send("logEnd", json!({"id": asked["id"]})).await;
    assert_eq!(reading.await.expect("read"), "one\ntwo\n");
}

#[tokio::test]
async fn a_followed_log_gives_lines_as_they_come_and_its_reader_ends_it() {
    let (world, mut agent) = world().await;
    let response = reqwest::get(world.url(&path("web-0-aaaaa", "?follow"))).await.expect("it begins without a line");
    let asked = agent.find("logs").await;
    assert_eq!(asked["follow"], true);
    let mut body = response.bytes_stream();
    for line in ["one\n", "two\n"] {
        agent.send("logChunk", json!({"id": asked["id"], "data": line})).await;
        let piece = tokio::time::timeout(SOON, body.next()).await.expect("in time").expect("more").expect("whole");
        assert_eq!(piece, line);
    }
    drop(body);
    let cancelled = agent.find("logs").await;
    assert_eq!((&cancelled["id"], &cancelled["cancel"]), (&asked["id"], &json!(true)));
}

#[tokio::test]
async fn a_long_log_comes_by_credit() {
    let (world, mut agent) = world().await;
    let url = world.url(&path("web-0-aaaaa", ""));
    let reading =
        tokio::spawn(async move { reqwest::get(url).await.expect("it answers").bytes().await.expect("whole") });
    let asked = agent.find("logs").await;
    let line = format!("{}\n", "x".repeat(1023));
    let (mut credit, mut sent) = (asked["credit"].as_u64().expect("bytes"), 0_u64);
    while sent < 4 * 1024 * 1024 {
        if credit < 1024 {
            credit += agent.find("logCredit").await["bytes"].as_u64().expect("bytes");
        }
        agent.send("logChunk", json!({"id": asked["id"], "data": line})).await;
        (credit, sent) = (credit - 1024, sent + 1024);
    }
    agent.send("logEnd", json!({"id": asked["id"]})).await;
    assert_eq!(reading.await.expect("read").len() as u64, sent);
}

#[tokio::test]
async fn what_has_no_log_says_why() {
    let (world, mut agent) = world().await;
    let (code, message) = refused(&world, "web-9-zzzzz", "").await;
    assert!(code == 404 && message.contains("web-9-zzzzz"), "{code} {message}");
    world.replica_with("web-1-bbbbb", "", |replica| replica.spec.node_name = None).await;
    world.replica("web-2-ccccc", "node-2").await;
    crate::world::eventually("the cache has them", || async {
        let (code, message) = refused(&world, "web-1-bbbbb", "").await;
        (code == 409 && message.contains("not placed")).then_some(())
    })
    .await;
    crate::world::eventually("the cache has them", || async {
        let (code, message) = refused(&world, "web-2-ccccc", "").await;
        (code == 503 && message.contains("node-2")).then_some(())
    })
    .await;
    for query in ["?tail=x", "?follow=maybe", "?since=yesterday"] {
        assert_eq!(refused(&world, "web-0-aaaaa", query).await.0, 422, "{query}");
    }
    let reading = refused(&world, "web-0-aaaaa", "");
    let answering = async {
        let asked = agent.find("logs").await;
        agent.send("logEnd", json!({"id": asked["id"], "error": "no such file"})).await;
    };
    let ((code, message), ()) = tokio::join!(reading, answering);
    assert!(code == 502 && message.contains("no such file"), "{code} {message}");
}

#[tokio::test]
async fn a_log_breaks_off_with_its_agents_session() {
    let (world, mut agent) = world().await;
    let response = reqwest::get(world.url(&path("web-0-aaaaa", "?follow=true"))).await.expect("it begins");
    let asked = agent.find("logs").await;
    agent.send("logChunk", json!({"id": asked["id"], "data": "one\n"})).await;
    let mut body = response.bytes_stream();
    assert_eq!(body.next().await.expect("more").expect("whole"), "one\n");
    agent.leave().await;
    let end = tokio::time::timeout(SOON, body.next()).await.expect("in time");
    assert!(end.is_some_and(|end| end.is_err()), "a reader must not take it for the whole");
}

#[tokio::test]
async fn an_original_agent_has_no_logs_to_send() {
    let world = World::start().await;
    world.service(json!({})).await;
    world.replica("web-0-aaaaa", "node-1").await;
    let hello = json!({"nodeId": "n", "name": "node-1", "address": "", "labels": {}});
    let mut agent = Agent::say_hello(&world, hello).await;
    agent.expect("launch").await;
    world.until_node("node-1", |node| node.is_connected()).await;
    crate::world::eventually("it says so", || async {
        let (code, message) = refused(&world, "web-0-aaaaa", "").await;
        (code == 501 && message.contains("original")).then_some(())
    })
    .await;
}
