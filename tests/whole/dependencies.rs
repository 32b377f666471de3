//! What depends on something starts after it, and says what it waits for meanwhile.

use std::time::Duration;

use crate::harness::{SOON, World, eventually, holds_for};

/// `web` needs `db`, which at first fits on no node.
fn config(memory: &str) -> String {
    format!(
        "
metadata: {{ name: chain }}
spec:
  services:
    - {{ name: web, type: exec, command: sleep 100000, dependencies: [db], update: {{ minReady: 100ms }} }}
    - {{ name: db, type: exec, command: sleep 100000, resources: {{ memory: {memory} }} }}
"
    )
}

#[test]
fn a_service_waits_for_what_it_depends_on_and_is_left_alone_once_it_runs() {
    let world = World::new();
    let server = world.server();
    let agent = world.agent(&server, "node-1");
    let api = server.api();
    api.applied(&config("900Gi"));
    eventually("it says what it waits for", SOON, || {
        let why = world.orion(&server, &["why", "service/web"]).ok();
        if why.contains("db") { Ok(()) } else { Err(why) }
    });
    holds_for("it waits", Duration::from_secs(1), || world.counts("web", 0).map(drop));

    api.applied(&config("1Mi"));
    eventually("both run", SOON, || {
        api.is_running("db")?;
        api.is_running("web")
    });
    let before = world.pids_of("web");
    world.orion(&server, &["scale", "db", "--replicas", "0", "--wait"]).ok();
    holds_for("a dependency is never a tie at run time", Duration::from_secs(1), || {
        let now = world.pids_of("web");
        if now == before { Ok(()) } else { Err(format!("{now:?} instead of {before:?}")) }
    });
    world.end([agent, server.daemon]);
}
