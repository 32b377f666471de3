//! Commands and their level-triggered rules.

use std::time::Duration;

use orion_model::Object;
use serde_json::{Value, json};

use crate::{
    client::{Agent, hello, hello_with, report},
    world::{World, replica, settings},
};

#[tokio::test]
async fn a_bound_replica_is_named_and_launched_with_its_whole_definition() {
    let world = World::start().await;
    world.service(json!({"entry": "main.js", "env": {"A": "1"}, "ports": [{"name": "http", "port": 8080}]})).await;
    let hooked = |replica: &mut orion_types::Replica| drop(replica.spec.env.insert("TOKEN".into(), "x".into()));
    let web = world.replica_with("web-0-aaaaa", "node-1", hooked).await;
    world.replica("web-1-bbbbb", "node-2").await;

    let mut agent = Agent::say_hello(&world, hello("node-1")).await;
    let welcome = agent.expect("welcome").await;
    assert_eq!(
        (&welcome["protocol"], &welcome["clusterId"], &welcome["storeEpoch"]),
        (&json!(1), &json!("cluster-1"), &json!(7))
    );
    assert_eq!(welcome["heartbeatIntervalMs"], 5000);
    let named = agent.named().await;
    let entry = json!({"uid": web.metadata.uid, "replicaId": "web-0-aaaaa", "specVersion": web.metadata.spec_version});
    assert_eq!(named, [entry], "what is bound to another node is not named");
    agent.send("want", json!({"uids": [web.metadata.uid, "unheard-of"]})).await;
    let launch = agent.expect("launch").await;
    let service = &launch["service"];
    assert_eq!(
        (&service["name"], &service["entry"], &service["labels"]["tier"]),
        (&json!("web"), &json!("main.js"), &json!("front"))
    );
    assert_eq!((&service["env"]["A"], &service["hookEnv"]["TOKEN"]), (&json!("1"), &json!("x")));
    assert_eq!((&service["ports"][0]["port"], service.get("once")), (&json!(8080), None));
    assert_eq!((&launch["uid"], &launch["namespace"]), (&json!(web.metadata.uid), &json!("default")));
    assert_eq!(launch["specVersion"], json!(web.metadata.spec_version));
}

#[tokio::test]
async fn what_is_bound_later_is_launched_and_told_once() {
    let world = World::start().await;
    world.service(json!({})).await;
    let mut agent = Agent::idle(&world, "node-1").await;
    let web = world.replica("web-0-aaaaa", "node-1").await;
    let launch = agent.expect("launch").await;
    assert_eq!(launch["uid"], json!(web.metadata.uid));
    agent.ack(&launch).await;
    agent.report(report(&web, 1, "running")).await;
    agent.expect("statusAck").await;
    agent.expect_nothing(&world, "node-1").await;
}

#[tokio::test]
async fn changed_settings_go_out_as_an_update_with_the_whole_definition_and_a_higher_version() {
    let world = World::start().await;
    world.service(json!({"entry": "main.js"})).await;
    let mut agent = Agent::idle(&world, "node-1").await;
    let web = world.replica("web-0-aaaaa", "node-1").await;
    let launch = agent.expect("launch").await;
    agent.ack(&launch).await;
    let edited = world
        .edit("web-0-aaaaa", |replica| replica.spec.settings.stop.timeout = orion_types::Duration::from_secs(3))
        .await;
    assert!(edited.metadata.spec_version > web.metadata.spec_version);
    let update = agent.expect("update").await;
    assert_eq!((&update["serviceName"], &update["replicaId"]), (&json!("web"), &json!("web-0-aaaaa")));
    assert_eq!((&update["config"]["entry"], &update["config"]["stop"]["timeout"]), (&json!("main.js"), &json!("3s")));
    assert_eq!(
        (&update["uid"], &update["specVersion"]),
        (&json!(web.metadata.uid), &json!(edited.metadata.spec_version))
    );
}

#[tokio::test]
async fn nothing_is_launched_while_a_gate_is_left() {
    let world = World::start().await;
    world.service(json!({})).await;
    let gated = |replica: &mut orion_types::Replica| replica.spec.gates = vec!["vault:lease".into()];
    world.replica_with("web-0-aaaaa", "node-1", gated).await;
    let mut agent = Agent::idle(&world, "node-1").await;
    agent.expect_nothing(&world, "node-1").await;
    world.edit("web-0-aaaaa", |replica| replica.spec.gates.clear()).await;
    assert_eq!(agent.expect("launch").await["replicaId"], "web-0-aaaaa");
}

#[tokio::test]
async fn a_wished_end_is_told_with_its_reason_and_forgotten_once_it_is_committed() {
    let world = World::start().await;
    world.service(json!({})).await;
    let web = world.replica("web-0-aaaaa", "node-1").await;
    let holds = json!([report(&web, 1, "ready")]);
    let (mut agent, launches) = Agent::synced(&world, hello_with("node-1", json!({"replicas": holds}))).await;
    assert!(launches.is_empty(), "it runs as it should");
    agent.expect("statusAck").await;
    let wished = world.wish_stop("web-0-aaaaa").await;
    let stop = agent.expect("stop").await;
    assert_eq!((&stop["reason"], &stop["serviceName"]), (&json!("ScaledDown"), &json!("web")));
    assert_eq!((&stop["uid"], &stop["specVersion"]), (&json!(web.metadata.uid), &json!(wished.metadata.spec_version)));
    agent.ack(&stop).await;
    agent.report(report(&web, 2, "stopping")).await;
    assert_eq!(agent.expect("statusAck").await["seq"], 2);
    agent.report(report(&web, 3, "stopped")).await;
    let (first, second) = (agent.next().await, agent.next().await);
    let stopped = world.read("web-0-aaaaa").await.expect("its creator has not removed it");
    assert_eq!(stopped.status.phase.to_string(), "Stopped", "before it is forgotten");
    let kinds = [first.0.as_str(), second.0.as_str()];
    assert!(kinds.contains(&"statusAck") && kinds.contains(&"forget"), "{kinds:?}");
    let forget = if first.0 == "forget" { first.1 } else { second.1 };
    assert_eq!(forget, json!({"uid": web.metadata.uid, "replicaId": "web-0-aaaaa"}));
}

#[tokio::test]
async fn what_is_to_end_is_named_by_what_the_agent_has_and_then_stopped() {
    let world = World::start().await;
    world.service(json!({})).await;
    let web = world.replica("web-0-aaaaa", "node-1").await;
    world.wish_stop("web-0-aaaaa").await;
    world.replica("web-1-bbbbb", "node-1").await;
    world.wish_stop("web-1-bbbbb").await;
    let holds = json!([report(&web, 1, "ready")]);
    let mut agent = Agent::welcomed(&world, hello_with("node-1", json!({"replicas": holds}))).await;
    let named = agent.named().await;
    let entry = json!({"uid": web.metadata.uid, "replicaId": "web-0-aaaaa", "specVersion": web.metadata.spec_version});
    assert_eq!(named, [entry], "it asks for no definition, and takes it for nobody's neither");
    agent.say_synced().await;
    let stopped = [agent.command("stop").await, agent.command("stop").await].map(|stop| stop["replicaId"].clone());
    assert!(stopped.contains(&json!("web-0-aaaaa")) && stopped.contains(&json!("web-1-bbbbb")), "{stopped:?}");
}

#[tokio::test]
async fn a_deletion_is_a_wished_end_also_of_what_the_agent_never_had() {
    let world = World::start().await;
    world.service(json!({})).await;
    let web = world.replica("web-0-aaaaa", "node-1").await;
    world.client.delete(&web).await.expect("asked for");
    let mut agent = Agent::idle(&world, "node-1").await;
    let stop = agent.expect("stop").await;
    assert_eq!((&stop["reason"], &stop["uid"]), (&json!("Deleted"), &json!(web.metadata.uid)));
    agent.report(report(&web, 1, "stopped")).await;
    world.until_state("web-0-aaaaa", "stopped").await;
}

#[tokio::test]
async fn a_replica_that_vanishes_from_the_store_is_stopped_and_forgotten() {
    let world = World::start().await;
    world.service(json!({})).await;
    let mut agent = Agent::idle(&world, "node-1").await;
    let web = world.replica("web-0-aaaaa", "node-1").await;
    agent.expect("launch").await;
    agent.report(report(&web, 1, "running")).await;
    agent.expect("statusAck").await;
    world.remove("web-0-aaaaa").await;
    let stop = agent.find("stop").await;
    assert_eq!(stop["uid"], json!(web.metadata.uid));
    agent.report(report(&web, 2, "stopped")).await;
    assert_eq!(agent.find("forget").await["uid"], json!(web.metadata.uid));
}

#[tokio::test]
async fn what_was_given_up_and_still_runs_is_left_alone_until_its_end_is_wished() {
    let world = World::start().await;
    world.service(json!({})).await;
    let web = world.replica("web-0-aaaaa", "node-1").await;
    let surplus = world.replica("web-1-bbbbb", "node-1").await;
    world.give_up("web-0-aaaaa").await;
    world.wish_stop("web-1-bbbbb").await;
    world.give_up("web-1-bbbbb").await;
    let holds = json!([report(&web, 5, "running"), report(&surplus, 6, "running")]);
    let mut agent = Agent::welcomed(&world, hello_with("node-1", json!({"replicas": holds}))).await;
    let named: Vec<_> = agent.named().await.into_iter().map(|entry| entry["replicaId"].clone()).collect();
    assert!(named.contains(&json!("web-0-aaaaa")), "an agent ends what it is not told of: {named:?}");
    agent.say_synced().await;
    let stop = agent.command("stop").await;
    assert_eq!((&stop["replicaId"], &stop["reason"]), (&json!("web-1-bbbbb"), &json!("ScaledDown")));
    agent.ack(&stop).await;
    agent.report(report(&surplus, 7, "stopped")).await;
    assert_eq!(agent.command("forget").await["replicaId"], "web-1-bbbbb");
    let late = world.until_state("web-0-aaaaa", "running").await;
    assert_eq!(late.status.phase.to_string(), "Lost", "a late report does not undo it");
    agent.expect_no_command(&world, "node-1").await;
    // The Node controller has it back, and the Service controller keeps the other one.
    world.take_back("web-0-aaaaa").await;
    agent.expect_no_command(&world, "node-1").await;
    world.wish_stop("web-0-aaaaa").await;
    assert_eq!(agent.command("stop").await["replicaId"], "web-0-aaaaa");
}

#[tokio::test]
async fn what_was_given_up_and_removed_is_named_no_more() {
    let world = World::start().await;
    world.service(json!({})).await;
    let web = world.replica("web-0-aaaaa", "node-1").await;
    world.give_up("web-0-aaaaa").await;
    world.remove("web-0-aaaaa").await;
    let holds = json!([report(&web, 5, "running")]);
    let mut agent = Agent::welcomed(&world, hello_with("node-1", json!({"replicas": holds}))).await;
    assert!(agent.named().await.is_empty(), "so its agent ends it");
}

#[tokio::test]
async fn a_command_is_sent_again_until_it_is_acknowledged() {
    let world = World::with(settings(|settings| settings.resend_after = Duration::from_millis(50))).await;
    world.service(json!({})).await;
    let mut agent = Agent::idle(&world, "node-1").await;
    world.replica("web-0-aaaaa", "node-1").await;
    let first = agent.expect("launch").await;
    assert_eq!(agent.expect("launch").await, first, "a copy is the same in every word");
    agent.ack(&first).await;
    // Another one that is not acknowledged shows how time passes.
    let other = world.replica("web-1-bbbbb", "node-1").await;
    let mut copies = 0;
    while copies < 5 {
        let launch = agent.expect("launch").await;
        let is_other = launch["uid"] == json!(other.metadata.uid);
        assert!(is_other || copies == 0, "what was acknowledged is sent again");
        copies += usize::from(is_other);
    }
}

#[tokio::test]
async fn an_agent_that_comes_back_is_told_only_what_differs() {
    let world = World::start().await;
    world.service(json!({})).await;
    let [kept, moved, lacking] = [
        world.replica("web-0-aaaaa", "node-1").await,
        world.replica("web-1-bbbbb", "node-1").await,
        world.replica("web-2-ccccc", "node-1").await,
    ];
    let edited = world
        .edit("web-1-bbbbb", |replica| replica.spec.settings.stop.timeout = orion_types::Duration::from_secs(3))
        .await;
    let holds = json!([report(&kept, 1, "ready"), report(&moved, 2, "ready")]);
    let (mut agent, launches) = Agent::synced(&world, hello_with("node-1", json!({"replicas": holds}))).await;
    let told: Vec<(&Value, &Value)> = launches.iter().map(|launch| (&launch["uid"], &launch["specVersion"])).collect();
    let mut expected = [
        (json!(moved.metadata.uid), json!(edited.metadata.spec_version)),
        (json!(lacking.metadata.uid), json!(lacking.metadata.spec_version)),
    ];
    expected.sort_by_key(|(uid, _)| uid.to_string());
    let mut told: Vec<_> = told.into_iter().map(|(uid, version)| (uid.clone(), version.clone())).collect();
    told.sort_by_key(|(uid, _)| uid.to_string());
    assert_eq!(told, expected);
    agent.expect_no_command(&world, "node-1").await;
}

#[tokio::test]
async fn what_was_stopped_with_its_agent_is_launched_anew() {
    let world = World::start().await;
    world.service(json!({})).await;
    let web = world.replica("web-0-aaaaa", "node-1").await;
    let holds = json!([report(&web, 9, "stopped")]);
    let mut agent = Agent::welcomed(&world, hello_with("node-1", json!({"replicas": holds}))).await;
    assert_eq!(agent.expect("forget").await["uid"], json!(web.metadata.uid), "the record goes first");
    let launches = agent.sync(&[]).await;
    assert_eq!(launches[0]["uid"], json!(web.metadata.uid));
}

#[tokio::test]
async fn an_agent_that_has_lost_its_data_begins_its_numbers_anew() {
    let world = World::start().await;
    world.service(json!({})).await;
    let web = world.replica("web-0-aaaaa", "node-1").await;
    let (mut agent, _) = Agent::synced(&world, hello("node-1")).await;
    agent.report(report(&web, 500, "ready")).await;
    world.until_state("web-0-aaaaa", "ready").await;
    agent.leave().await;
    let (mut agent, launches) = Agent::synced(&world, hello_with("node-1", json!({"instanceId": "2"}))).await;
    assert_eq!(launches.len(), 1);
    agent.report(report(&web, 1, "backoff")).await;
    world.until_state("web-0-aaaaa", "backoff").await;
}

#[tokio::test]
async fn an_agent_that_does_not_obey_is_told_nothing_but_the_sync() {
    let world = World::with(settings(|settings| settings.resend_after = Duration::from_millis(20))).await;
    world.service(json!({})).await;
    let web = world.replica("web-0-aaaaa", "node-1").await;
    let strange = hello_with("node-1", json!({"clusterId": "another", "replicas": [report(&web, 1, "running")]}));
    let mut agent = Agent::welcomed(&world, strange).await;
    agent.named().await;
    agent.expect("statusAck").await;
    world.wish_stop("web-0-aaaaa").await;
    world.replica("web-1-bbbbb", "node-1").await;
    agent.send("heartbeat", json!({"timestamp": 1, "metrics": {"cpu": 0.5, "memory": 1}})).await;
    agent.report(report(&web, 2, "ready")).await;
    let (kind, _) = agent.next().await;
    assert_eq!(kind, "statusAck", "no command came before it");
}

#[tokio::test]
async fn an_unknown_replica_that_runs_is_left_to_the_agents_own_rules() {
    let world = World::start().await;
    world.service(json!({})).await;
    let stranger = replica("old-0-zzzzz", "node-1");
    let mut strange = report(&stranger, 3, "running");
    strange["uid"] = json!("gone");
    let (mut agent, _) = Agent::synced(&world, hello_with("node-1", json!({"replicas": [strange]}))).await;
    assert_eq!(agent.expect("statusAck").await["seq"], 3);
    agent.expect_nothing(&world, "node-1").await;
    let mut ended = report(&stranger, 4, "stopped");
    ended["uid"] = json!("gone");
    agent.report(ended).await;
    assert_eq!(agent.find("forget").await["uid"], "gone");
    assert_eq!(agent.find("statusAck").await["seq"], 4);
}

#[tokio::test]
async fn a_large_desired_set_is_named_in_parts_of_which_only_the_last_says_so() {
    let world = World::start().await;
    world.service(json!({})).await;
    let creations = |from: usize| orion_model::Commit {
        writes: (from..from + 700).map(|n| creation(&format!("web-{n}-aaaaa"))).collect(),
        ..Default::default()
    };
    for from in [0, 700, 1400] {
        world.client.commit(creations(from)).await.expect("written");
    }
    let last = world.read("web-2099-aaaaa").await.expect("written");
    let mut agent = Agent::welcomed(&world, hello("node-1")).await;
    let first = agent.expect("sync").await;
    assert_eq!(
        (&first["part"], &first["last"], first["replicas"].as_array().map(Vec::len)),
        (&json!(0), &json!(false), Some(2000))
    );
    let second = agent.expect("sync").await;
    assert_eq!(
        (&second["part"], &second["last"], second["replicas"].as_array().map(Vec::len)),
        (&json!(1), &json!(true), Some(100))
    );
    let named = |part: &Value| {
        part["replicas"].as_array().expect("a list").iter().any(|entry| entry["uid"] == json!(last.uid()))
    };
    assert!(named(&first) || named(&second));
}

fn creation(name: &str) -> orion_model::Write {
    let replica = replica(name, "node-1");
    let body = orion_model::Whole::encode(&replica).expect("it encodes");
    orion_model::Write {
        key: replica.object_key(),
        op: orion_model::Op::Create(body),
        precondition: Default::default(),
    }
}

#[tokio::test]
async fn a_definition_that_is_too_large_is_not_sent_and_the_replica_says_why() {
    let world = World::start().await;
    world.service(json!({})).await;
    let mut agent = Agent::idle(&world, "node-1").await;
    let big = |replica: &mut orion_types::Replica| drop(replica.spec.env.insert("BIG".into(), "x".repeat(300_000)));
    world.replica_with("web-0-aaaaa", "node-1", big).await;
    let refused = world.until_state("web-0-aaaaa", "failed").await;
    let exit = refused.status.observed.expect("observed").exit.expect("an exit");
    assert!(exit.permanent && exit.message.contains("more than 262144"), "{exit:?}");
    agent.expect_nothing(&world, "node-1").await;
}

#[tokio::test]
async fn an_attempt_of_a_run_is_launched_once_for_good_and_its_exit_code_is_known() {
    let world = World::start().await;
    world.run().await;
    let attempt = world.attempt("migrate-1-1-aaaaa", "node-1").await;
    let (agent, launches) = Agent::synced(&world, hello("node-1")).await;
    assert_eq!((&launches[0]["service"]["name"], &launches[0]["service"]["once"]), (&json!("migrate"), &json!(true)));
    agent.leave().await;
    // It ends while nobody listens; the next hello says so.
    let mut ended = report(&attempt, 4, "exited");
    ended["exit"] = json!({"code": 3, "reason": "Error"});
    let again = hello_with("node-1", json!({"instanceId": "2", "replicas": [ended]}));
    let (mut agent, launches) = Agent::synced(&world, again).await;
    assert!(launches.is_empty(), "it is not run again");
    assert_eq!(agent.find("forget").await["uid"], json!(attempt.metadata.uid));
    let failed = world.read("migrate-1-1-aaaaa").await.expect("it is there");
    assert_eq!(failed.status.phase.to_string(), "Failed");
    assert_eq!(failed.status.observed.and_then(|observed| observed.exit).and_then(|exit| exit.code), Some(3));
}
