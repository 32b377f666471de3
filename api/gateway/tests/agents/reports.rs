//! Reports on their way into the store.

use orion_types::replica::ProcessState;
use serde_json::{Value, json};

use crate::{
    client::{Agent, hello, hello_with, report, report_with},
    gate::Mood,
    world::{World, eventually},
};

#[tokio::test]
async fn a_report_stands_in_the_store_before_it_is_acknowledged() {
    let world = World::start().await;
    world.service(json!({})).await;
    let web = world.replica("web-0-aaaaa", "node-1").await;
    let (mut agent, _) = Agent::synced(&world, hello("node-1")).await;
    world.until_node("node-1", |_| true).await;
    world.gate.set(Mood::Held);
    let tried = world.gate.tried();
    agent.report(report_with(&web, 1, "running", json!({"pid": 42, "ports": {"http": 8080}}))).await;
    eventually("the commit is tried", || async { (world.gate.tried() > tried).then_some(()) }).await;
    // The commit is under way and nothing is acknowledged: the next frame is the launch of a marker.
    agent.expect_nothing(&world, "node-1").await;
    world.gate.set(Mood::Open);
    assert_eq!(agent.expect("statusAck").await["seq"], 1);
    let observed = world.read("web-0-aaaaa").await.and_then(|web| web.status.observed).expect("observed");
    assert_eq!((observed.state, observed.pid, observed.seq), (ProcessState::Running, Some(42), 1));
    assert_eq!((observed.ports["http"], observed.spec_version), (8080, web.metadata.spec_version));
}

#[tokio::test]
async fn reports_that_wait_together_are_one_commit_of_the_newest_of_each_replica() {
    let world = World::start().await;
    world.service(json!({})).await;
    let [a, b] = [world.replica("web-0-aaaaa", "node-1").await, world.replica("web-1-bbbbb", "node-1").await];
    let (mut agent, _) = Agent::synced(&world, hello("node-1")).await;
    world.until_node("node-1", |_| true).await;
    world.gate.set(Mood::Held);
    let tried = world.gate.tried();
    agent.report(report(&a, 1, "starting")).await;
    eventually("the commit is tried", || async { (world.gate.tried() > tried).then_some(()) }).await;
    for (replica, seq, state) in [(&a, 2, "running"), (&b, 3, "starting"), (&a, 4, "ready"), (&b, 5, "running")] {
        agent.report(report(replica, seq, state)).await;
    }
    agent.expect_nothing(&world, "node-1").await;
    world.gate.set(Mood::Open);
    assert_eq!(agent.expect("statusAck").await["seq"], 1, "number 2 is not settled yet");
    assert_eq!(agent.expect("statusAck").await["seq"], 5);
    let [a, b] = [world.read("web-0-aaaaa").await.expect("there"), world.read("web-1-bbbbb").await.expect("there")];
    let state = |replica: &orion_types::Replica| replica.status.observed.as_ref().map(|o| (o.state, o.seq));
    assert_eq!(state(&a), Some((ProcessState::Ready, 4)));
    assert_eq!(state(&b), Some((ProcessState::Running, 5)));
    assert_eq!(world.gate.tried(), tried + 2);
    assert!(a.metadata.resource_version.get().abs_diff(b.metadata.resource_version.get()) == 1, "one commit");
}

#[tokio::test]
async fn reports_wait_out_a_store_that_is_away() {
    let world = World::start().await;
    world.service(json!({})).await;
    let web = world.replica("web-0-aaaaa", "node-1").await;
    let (mut agent, _) = Agent::synced(&world, hello("node-1")).await;
    world.until_node("node-1", |_| true).await;
    world.gate.set(Mood::Refusing);
    let tried = world.gate.tried();
    agent.report(report(&web, 1, "running")).await;
    eventually("it is tried again", || async { (world.gate.tried() > tried + 1).then_some(()) }).await;
    agent.report(report(&web, 2, "ready")).await;
    agent.expect_nothing(&world, "node-1").await;
    world.gate.set(Mood::Open);
    assert_eq!(agent.expect("statusAck").await["seq"], 2);
    world.until_state("web-0-aaaaa", "ready").await;
}

#[tokio::test]
async fn an_older_report_changes_nothing_and_the_same_one_makes_no_version() {
    let world = World::start().await;
    world.service(json!({})).await;
    let web = world.replica("web-0-aaaaa", "node-1").await;
    let (mut agent, _) = Agent::synced(&world, hello("node-1")).await;
    agent.report(report(&web, 5, "ready")).await;
    assert_eq!(agent.expect("statusAck").await["seq"], 5);
    let written = world.read("web-0-aaaaa").await.expect("there");
    agent.report(report(&web, 4, "backoff")).await;
    agent.report(report(&web, 6, "ready")).await;
    assert_eq!(agent.expect("statusAck").await["seq"], 6);
    let now = world.read("web-0-aaaaa").await.expect("there");
    assert_eq!(now.metadata.resource_version, written.metadata.resource_version);
}

#[tokio::test]
async fn every_field_of_a_later_report_replaces_the_earlier_ones() {
    let world = World::start().await;
    world.service(json!({})).await;
    let web = world.replica("web-0-aaaaa", "node-1").await;
    let (mut agent, _) = Agent::synced(&world, hello("node-1")).await;
    let exit = json!({"code": 1, "reason": "Error", "message": "it failed"});
    let first = json!({"pid": 7, "exit": exit, "message": "starts again", "ports": {"a": 1, "b": 2}});
    agent.report(report_with(&web, 1, "backoff", first)).await;
    agent.expect("statusAck").await;
    let second = json!({"exit": {"signal": "SIGKILL", "reason": "Signalled"}, "ports": {"b": 3}});
    agent.report(report_with(&web, 2, "running", second)).await;
    agent.expect("statusAck").await;
    let observed = world.read("web-0-aaaaa").await.and_then(|web| web.status.observed).expect("observed");
    assert_eq!((observed.pid, observed.message), (None, None));
    assert_eq!(serde_json::to_value(&observed.ports).expect("encodes"), json!({"b": 3}));
    let exit = observed.exit.expect("an exit");
    assert_eq!((exit.code, exit.signal.as_deref(), exit.message.as_str()), (None, Some("SIGKILL"), ""));
}

#[tokio::test]
async fn others_fields_of_the_status_stay_as_they_are() {
    let world = World::start().await;
    world.service(json!({})).await;
    let web = world.replica("web-0-aaaaa", "node-1").await;
    let (mut agent, _) = Agent::synced(&world, hello("node-1")).await;
    let mut status = web.status.clone();
    status.refused = Some("the hook said no".into());
    world.client.update_status(&web, status).await.expect("written");
    agent.report(report(&web, 1, "ready")).await;
    let written = world.until_state("web-0-aaaaa", "ready").await;
    assert_eq!(written.status.refused.as_deref(), Some("the hook said no"));
}

#[tokio::test]
async fn an_agent_writes_only_what_is_bound_to_its_node() {
    let world = World::start().await;
    world.service(json!({})).await;
    let other = world.replica("web-0-aaaaa", "node-2").await;
    let mut agent = Agent::idle(&world, "node-1").await;
    agent.report(report(&other, 1, "ready")).await;
    assert_eq!(agent.expect("statusAck").await["seq"], 1);
    let mut impostor = report(&world.replica("web-1-bbbbb", "node-1").await, 2, "ready");
    impostor["uid"] = json!("another-incarnation");
    agent.report(impostor).await;
    assert_eq!(agent.find("statusAck").await["seq"], 2);
    for name in ["web-0-aaaaa", "web-1-bbbbb"] {
        assert_eq!(world.read(name).await.expect("there").status.observed, None, "{name}");
    }
}

#[tokio::test]
async fn ready_since_is_the_servers_time_of_the_first_ready_report() {
    let world = World::start().await;
    world.service(json!({})).await;
    let web = world.replica("web-0-aaaaa", "node-1").await;
    let (mut agent, _) = Agent::synced(&world, hello("node-1")).await;
    let before = world.client.clock().now();
    let odd_clock = json!({"ready": true, "startedAt": "1999-01-01T00:00:00Z"});
    agent.report(report_with(&web, 1, "running", odd_clock)).await;
    let ready = world.until_state("web-0-aaaaa", "ready").await.status.observed.expect("observed");
    let since = ready.ready_since.expect("ready");
    assert!(ready.ready && since >= before && since <= world.client.clock().now());
    agent.leave().await;
    let again = hello_with("node-1", json!({"replicas": [report_with(&web, 2, "ready", json!({"restarts": 1}))]}));
    let (_agent, _) = Agent::synced(&world, again).await;
    let later = world.until("web-0-aaaaa", |web| web.status.observed.as_ref().is_some_and(|o| o.restarts == 1)).await;
    assert_eq!(later.status.observed.expect("observed").ready_since, Some(since));
}

#[tokio::test]
async fn what_a_hello_says_is_committed_as_reports_are() {
    let world = World::start().await;
    world.service(json!({})).await;
    let replicas: Vec<_> = [("web-0-aaaaa", 1), ("web-1-bbbbb", 2), ("web-2-ccccc", 3)].to_vec();
    let mut said: Vec<Value> = Vec::new();
    for (name, seq) in &replicas {
        said.push(report(&world.replica(name, "node-1").await, *seq, "ready"));
    }
    let (mut agent, launches) = Agent::synced(&world, hello_with("node-1", json!({"replicas": said}))).await;
    assert!(launches.is_empty());
    assert_eq!(agent.expect("statusAck").await["seq"], 3);
    for (name, _) in replicas {
        assert_eq!(world.read(name).await.expect("there").status.phase.to_string(), "Ready", "{name}");
    }
}
