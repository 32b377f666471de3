//! A server and two agents as processes of their own, counted in `/proc` after every step.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use crate::harness::{SOON, World, eventually, holds_for};

/// Within this a killed process is back, says the specification; on a machine busy with other tests it may take longer.
const BACK_WITHIN: Duration = Duration::from_secs(2);
const SLACK: Duration = Duration::from_secs(3);

const CONFIG: &str = "
metadata: { name: fleet }
spec:
  services:
    - { name: web, type: exec, command: sleep 100000, replicas: 2, update: { minReady: 100ms } }
";

fn by_node(world: &World) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for process in world.processes_of("web") {
        *counts.entry(process.node().to_owned()).or_default() += 1;
    }
    counts
}

#[test]
fn replicas_spread_come_back_scale_and_go() {
    let world = World::new();
    let server = world.server();
    let agents = [world.agent(&server, "node-1"), world.agent(&server, "node-2")];
    let api = server.api();
    eventually("both nodes are ready", SOON, || {
        let nodes = api.get("/api/nodes").json();
        let ready = nodes["items"].as_array().into_iter().flatten().filter(|node| node["status"] == "ready").count();
        if ready == 2 { Ok(()) } else { Err(nodes.to_string()) }
    });
    api.applied(CONFIG);
    eventually("two replicas run", SOON, || api.is_running("web"));
    assert_eq!(by_node(&world), BTreeMap::from([("node-1".into(), 1), ("node-2".into(), 1)]));

    let pids = world.counts("web", 2).expect("one process a replica");
    let killed = Instant::now();
    world.kill(pids[0]);
    eventually("what is killed comes back", BACK_WITHIN + SLACK, || {
        let now = world.counts("web", 2)?;
        if now.contains(&pids[0]) { Err(format!("{now:?}")) } else { Ok(()) }
    });
    println!("back after {:?}; promised are {BACK_WITHIN:?}", killed.elapsed());
    assert!(world.pids_of("web").contains(&pids[1]), "the other one is left alone");
    eventually("its restart is counted", SOON, || {
        let replicas = api.list("replicas");
        let restarts: u64 =
            replicas.iter().filter_map(|replica| replica["status"]["observed"]["restarts"].as_u64()).sum();
        if restarts == 1 && replicas.len() == 2 { Ok(()) } else { Err(format!("{replicas:#?}")) }
    });

    for count in [5, 2, 0, 3] {
        world.orion(&server, &["scale", "web", "--replicas", &count.to_string(), "--wait"]).ok();
        eventually(&format!("{count} run"), SOON, || world.counts("web", count));
        holds_for("and no other", Duration::from_secs(1), || world.counts("web", count).map(drop));
        let most = by_node(&world).values().copied().max().unwrap_or(0);
        assert_eq!(most, count.div_ceil(2), "spread over both nodes: {:?}", by_node(&world));
    }
    let indexes: Vec<_> =
        world.processes_of("web").iter().map(|p| p.environment["ORION_REPLICA_INDEX"].clone()).collect();
    assert_eq!(indexes.iter().collect::<std::collections::BTreeSet<_>>().len(), 3, "{indexes:?}");

    world.orion(&server, &["delete", "service/web"]).ok();
    assert!(api.list("services").is_empty());
    eventually("its processes end", SOON, || world.counts("web", 0));
    let [first, second] = agents;
    world.end([first, second, server.daemon]);
}

#[test]
fn an_agent_that_is_told_to_end_leaves_its_processes_running() {
    let world = World::new();
    let server = world.server();
    let api = server.api();
    let agent = |more: &[&str]| {
        let arguments = ["agent", "--name", "node-1", "--data-dir", "node-1", "--workspace-root", "work"];
        world.follow(&server, &[&arguments, more].concat())
    };
    let mut lasting = agent(&[]);
    api.applied(CONFIG);
    eventually("two replicas run", SOON, || api.is_running("web"));
    let before = world.pids_of("web");
    lasting.signal(rustix::process::Signal::TERM);
    assert!(lasting.ends().success());
    holds_for("they run on", Duration::from_secs(1), || {
        let now = world.pids_of("web");
        if now == before { Ok(()) } else { Err(format!("{now:?} instead of {before:?}")) }
    });
    let ending = agent(&["--stop-all"]);
    eventually("they are taken over", SOON, || api.is_running("web"));
    assert_eq!(world.pids_of("web"), before);
    world.end([ending, server.daemon]);
}
