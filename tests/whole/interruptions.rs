//! Servers, agents and nodes that go and come back: what runs is left alone, what ended is known, nothing runs twice.

use std::{collections::BTreeSet, fs, time::Duration};

use serde_json::Value;

use crate::harness::{Api, SOON, World, eventually, holds_for};

/// How long the server is away.
const AWAY: Duration = Duration::from_secs(4);

/// How long nothing may change for it to count as left alone.
const LEFT_ALONE: Duration = Duration::from_secs(3);

/// The shortest `lostAfter`, and twice that for its node to be noticed.
const GIVEN_UP_WITHIN: Duration = Duration::from_secs(45);

const CONFIG: &str = "
metadata: { name: fleet }
spec:
  services:
    - name: web
      type: exec
      command: sleep 100000
      replicas: 2
      update: { minReady: 100ms }
      disconnect: { lostAfter: 10s }
";

fn ready_nodes(api: Api, expected: &[&str]) -> Result<(), String> {
    let nodes = api.get("/api/nodes").json();
    let ready: BTreeSet<_> = nodes["items"]
        .as_array()
        .into_iter()
        .flatten()
        .filter(|node| node["status"] == "ready")
        .filter_map(|node| node["name"].as_str())
        .collect();
    if ready == expected.iter().copied().collect() { Ok(()) } else { Err(nodes.to_string()) }
}

fn unchanged(world: &World, service: &str, before: &[u32]) -> Result<(), String> {
    let now = world.pids_of(service);
    if now == before { Ok(()) } else { Err(format!("{now:?} instead of {before:?}")) }
}

#[test]
fn kill_9_of_the_server_changes_no_pid_and_its_agents_come_back() {
    let world = World::new();
    let mut server = world.server();
    let agent = world.agent(&server, "node-1");
    let api = server.api();
    api.applied(CONFIG);
    eventually("two replicas run", SOON, || api.is_running("web"));
    let before = world.pids_of("web");

    server.daemon.kill();
    holds_for("without a server", AWAY, || unchanged(&world, "web", &before));
    let server = world.server_at(server.address, "server");
    eventually("the agent is back", SOON, || ready_nodes(api, &["node-1"]));
    holds_for("with a new server", LEFT_ALONE, || unchanged(&world, "web", &before));
    eventually("all is as it was", SOON, || api.is_running("web"));
    world.end([agent, server.daemon]);
}

#[test]
fn while_the_server_is_away_the_agent_starts_again_what_ends() {
    let world = World::new();
    let mut server = world.server();
    let agent = world.agent(&server, "node-1");
    let api = server.api();
    api.applied(CONFIG);
    eventually("two replicas run", SOON, || api.is_running("web"));
    let before = world.pids_of("web");
    server.daemon.kill();
    world.kill(before[0]);
    let now = eventually("what was killed comes back", SOON, || {
        let now = world.counts("web", 2)?;
        if now.contains(&before[0]) { Err(format!("{now:?}")) } else { Ok(now) }
    });

    let server = world.server_at(server.address, "server");
    eventually("the server knows of it", SOON, || {
        let known: BTreeSet<_> =
            api.list("replicas").iter().filter_map(|r| r["status"]["observed"]["pid"].as_u64()).collect();
        let expected: BTreeSet<_> = now.iter().map(|pid| u64::from(*pid)).collect();
        if known == expected { Ok(()) } else { Err(format!("{known:?} instead of {expected:?}")) }
    });
    world.end([agent, server.daemon]);
}

#[test]
fn kill_9_of_an_agent_changes_no_pid_and_an_exit_meanwhile_is_known() {
    let world = World::new();
    let server = world.server();
    let mut agent = world.agent(&server, "node-1");
    let api = server.api();
    let job = "
  jobs:
    - { name: count, type: exec, shell: true, command: 'while [ ! -e go ]; do sleep 0.1; done; exit 3', backoffLimit: 0 }
";
    api.applied(&format!("{CONFIG}{job}"));
    eventually("two replicas and a job run", SOON, || {
        api.is_running("web")?;
        world.counts("count", 1).or_else(|_| world.counts("count", 2))
    });
    let before = world.pids_of("web");

    agent.kill();
    fs::write(world.path("work/go"), "").expect("can be written");
    eventually("the job's process ends", SOON, || world.counts("count", 0));
    unchanged(&world, "web", &before).expect("processes outlive their agent");
    let agent = world.agent(&server, "node-1");
    let run = eventually("its exit is known", SOON, || {
        let runs = api.list("runs");
        let run = runs.first().cloned().unwrap_or_default();
        if run["status"]["phase"] == "Failed" { Ok(run) } else { Err(format!("{runs:#?}")) }
    });
    assert_eq!(run["status"]["exitCode"], 3, "{run:#}");
    assert_eq!(run["status"]["attempts"].as_array().map(Vec::len), Some(1), "{run:#}");
    holds_for("with a new agent", LEFT_ALONE, || unchanged(&world, "web", &before));
    world.end([agent, server.daemon]);
}

/// Long: about 40 s, most of it the shortest time after which a node is given up.
#[test]
fn replicas_of_a_lost_node_run_elsewhere_and_its_return_leaves_no_duplicate() {
    let world = World::new();
    let server = world.server();
    let mut lost = world.agent(&server, "node-1");
    let other = world.agent(&server, "node-2");
    let api = server.api();
    eventually("both nodes are ready", SOON, || ready_nodes(api, &["node-1", "node-2"]));
    api.applied(CONFIG);
    eventually("two replicas run", SOON, || api.is_running("web"));
    let on = |node: &str| {
        let mut pids: Vec<_> = world.processes_of("web").iter().filter(|p| p.node() == node).map(|p| p.pid).collect();
        pids.sort_unstable();
        pids
    };
    let (lonely, original) = (on("node-1"), on("node-2"));
    assert_eq!((lonely.len(), original.len()), (1, 1));

    lost.kill();
    eventually("a replacement runs on the other node", GIVEN_UP_WITHIN, || {
        let now = on("node-2");
        if now.len() == 2 && api.is_running("web").is_ok() {
            Ok(())
        } else {
            Err(format!("{now:?} {:#?}", api.list("replicas")))
        }
    });
    assert_eq!(on("node-1"), lonely, "nobody could reach it to end it");
    assert!(on("node-2").contains(&original[0]), "what was well is left alone");

    let back = world.agent(&server, "node-1");
    eventually("no duplicate is left", Duration::from_secs(20), || {
        let now = world.counts("web", 2);
        assert!(world.pids_of("web").len() >= 2, "one copy of each is kept at every instant");
        now
    });
    holds_for("and so it stays", LEFT_ALONE, || world.counts("web", 2).map(drop));
    eventually("all is as it should be", SOON, || api.is_running("web"));
    world.end([back, other, server.daemon]);
}

#[test]
fn a_server_on_an_empty_folder_ends_nothing_of_an_agent_that_knows_another() {
    let world = World::new();
    let mut server = world.server();
    let agent = world.agent(&server, "node-1");
    let api = server.api();
    api.applied(CONFIG);
    eventually("two replicas run", SOON, || api.is_running("web"));
    let before = world.pids_of("web");
    server.daemon.kill();

    let mut stranger = world.server_at(server.address, "stranger");
    eventually("the agent has met it", SOON, || {
        let said = agent.stderr();
        if said.iter().any(|line| line.contains("ForeignControlPlane")) { Ok(()) } else { Err(format!("{said:#?}")) }
    });
    holds_for("under a stranger", LEFT_ALONE, || unchanged(&world, "web", &before));
    let services: Vec<Value> = api.list("services");
    assert!(services.is_empty(), "{services:#?}");

    stranger.daemon.kill();
    let server = world.server_at(server.address, "server");
    eventually("it obeys its own again", SOON, || {
        api.is_running("web")?;
        ready_nodes(api, &["node-1"])
    });
    unchanged(&world, "web", &before).expect("nothing was started anew");
    world.end([agent, server.daemon]);
}
