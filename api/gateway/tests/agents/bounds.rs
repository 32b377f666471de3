//! A slow agent costs a bounded queue, and gets what is wished now instead of what was wished once.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::{
    client::{Agent, hello},
    world::{World, settings},
};

/// Enough that neither the kernel's buffers nor the queue hold all of it.
const REPLICAS: usize = 120;

fn name(index: usize) -> String {
    format!("web-{index}-aaaaa")
}

#[tokio::test]
async fn an_agent_that_reads_nothing_is_synchronised_anew_when_it_reads_again() {
    let world = World::with(settings(|settings| {
        settings.queue_bytes = 1024 * 1024;
        settings.backlog = 16;
    }))
    .await;
    world.service(json!({"env": {"BIG": "x".repeat(200_000)}})).await;
    let mut agent = Agent::idle(&world, "node-1").await;
    // 24 MB of launches, of which the agent reads nothing for now.
    for index in 0..REPLICAS {
        world.replica(&name(index), "node-1").await;
    }
    // What is wished changes while it does not read.
    for index in 0..REPLICAS / 2 {
        world.wish_stop(&name(index)).await;
    }

    let mut syncs = 0;
    let mut held: BTreeMap<String, Value> = BTreeMap::new();
    let mut stopped = 0;
    while held.len() < REPLICAS / 2 || stopped < REPLICAS / 2 {
        let (kind, payload) = agent.next().await;
        match kind.as_str() {
            "launch" => {
                agent.ack(&payload).await;
                held.insert(payload["replicaId"].to_string(), payload.clone());
            }
            "stop" => {
                agent.ack(&payload).await;
                held.remove(&payload["replicaId"].to_string());
                let report = json!({
                    "uid": payload["uid"], "replicaId": payload["replicaId"], "namespace": "default",
                    "seq": stopped + 1, "state": "stopped", "specVersion": payload["specVersion"]
                });
                agent.report(report).await;
                stopped += 1;
            }
            "sync" => {
                syncs += 1;
                let named = payload["replicas"].as_array().expect("a list");
                let lacking: Vec<_> =
                    named.iter().filter(|entry| !held.contains_key(&entry["replicaId"].to_string())).collect();
                let uids: Vec<_> = lacking.iter().map(|entry| entry["uid"].clone()).collect();
                agent.send("want", json!({ "uids": uids })).await;
                if payload["last"] == true {
                    agent.say_synced().await;
                }
            }
            _ => {}
        }
    }
    assert!(syncs > 0, "the queue overflowed and the agent was synchronised anew");
    let expected: Vec<String> = {
        let mut names: Vec<_> = (REPLICAS / 2..REPLICAS).map(|index| json!(name(index)).to_string()).collect();
        names.sort();
        names
    };
    assert_eq!(held.into_keys().collect::<Vec<_>>(), expected);
}

#[tokio::test]
async fn many_replicas_at_once_are_all_launched_through_a_small_queue() {
    let world = World::with(settings(|settings| settings.queue_frames = 4)).await;
    world.service(json!({})).await;
    for index in 0..50 {
        world.replica(&name(index), "node-1").await;
    }
    let (_agent, launches) = Agent::synced(&world, hello("node-1")).await;
    assert_eq!(launches.len(), 50);
}
