//! Versions that cannot run: the rollout fails and says why, the old version runs on, and nobody tries it again unasked.

use std::{collections::BTreeSet, time::Duration};

use crate::harness::{Api, SOON, Server, World, eventually, holds_for};

fn config(command: &str) -> String {
    format!(
        "
metadata: {{ name: rollout }}
spec:
  services:
    - name: web
      type: exec
      command: {command}
      update: {{ minReady: 100ms }}
      restart: {{ initialDelay: 100ms, maxDelay: 200ms }}
"
    )
}

fn uids(api: Api) -> BTreeSet<String> {
    api.list("replicas").iter().map(|replica| replica["metadata"]["uid"].to_string()).collect()
}

/// Applies a version that fails beside one that runs, and looks at everything that is promised of it.
fn a_failing_version(command: &str, reason: &str) {
    let world = World::new();
    let server = world.server();
    let agent = world.agent(&server, "node-1");
    let api = server.api();
    world.write("orion.yaml", &config("sleep 100000"));
    world.orion(&server, &["apply", "--wait"]).ok();
    let old = world.counts("web", 1).expect("it runs");
    let stable = api.object("services", "web")["status"]["stable"].clone();

    world.write("orion.yaml", &config(command));
    let said = world.orion(&server, &["apply", "--wait"]).fails_with(1);
    assert!(said.contains(reason), "{said}");
    let status = eventually("the failed one is gone", SOON, || {
        let status = api.object("services", "web")["status"].clone();
        let left = world.pids_of("web");
        if left == old && status["available"] == 1 { Ok(status) } else { Err(format!("{left:?} {status:#}")) }
    });
    assert_eq!(status["stable"], stable, "{status:#}");
    assert!(status["failed"].is_string() && status["failed"] == status["current"], "{status:#}");
    let why = world.orion(&server, &["why", "service/web"]).ok();
    assert!(why.contains("failed") && why.contains(reason), "{why}");
    assert_eq!(api.service("web")["status"], "failed");

    not_tried_again(&world, &server, &old);

    world.write("orion.yaml", &config("sleep 200000"));
    world.orion(&server, &["apply", "--wait"]).ok();
    eventually("only the good version runs", SOON, || match world.counts("web", 1)? {
        now if now == old => Err(format!("{now:?}")),
        _ => Ok(()),
    });
    let status = api.object("services", "web")["status"].clone();
    assert!(status["failed"] != status["current"] && status["stable"] == status["current"], "{status:#}");
    world.end([agent, server.daemon]);
}

fn not_tried_again(world: &World, server: &Server, old: &[u32]) {
    let api = server.api();
    let before = uids(api);
    let again = world.orion(server, &["apply", "--wait"]).fails_with(1);
    assert!(again.contains("tried and refused"), "{again}");
    holds_for("nothing tries it again", Duration::from_secs(2), || {
        let (now, running) = (uids(api), world.pids_of("web"));
        if now.is_subset(&before) && running == old { Ok(()) } else { Err(format!("{now:?} {running:?}")) }
    });
}

#[test]
fn a_command_that_does_not_exist_fails_at_once_and_the_old_version_runs_on() {
    a_failing_version("./does-not-exist", "does-not-exist");
}

#[test]
fn a_command_that_exits_at_once_fails_after_some_tries_and_the_old_version_runs_on() {
    a_failing_version("[sh, -c, 'echo no such luck; exit 7']", "exit code 7");
}

#[test]
fn a_template_change_restarts_one_at_a_time_and_any_other_change_restarts_nothing() {
    let world = World::new();
    let server = world.server();
    let agent = world.agent(&server, "node-1");
    let api = server.api();
    let config = |fields: &str| {
        format!(
            "
metadata: {{ name: rollout }}
spec:
  services:
    - {{ name: web, type: exec, command: sleep 100000, replicas: 3, {fields} }}
"
        )
    };
    api.applied(&config("update: { minReady: 100ms }"));
    eventually("three run", SOON, || api.is_running("web"));
    let before = world.pids_of("web");

    let in_place = "update: { minReady: 200ms }, stop: { timeout: 3s }, labels: { tier: front }";
    let answer = api.applied(&config(in_place));
    assert_eq!(answer["changes"][0]["effect"], "in place", "{answer:#}");
    holds_for("what changes in place keeps its process", Duration::from_secs(2), || {
        let now = world.pids_of("web");
        if now == before { Ok(()) } else { Err(format!("{now:?} instead of {before:?}")) }
    });

    let answer = api.applied(&config(&format!("env: {{ A: 1 }}, {in_place}")));
    assert_eq!(answer["changes"][0]["effect"], "restarts 3 one at a time", "{answer:#}");
    eventually("all are replaced", SOON, || {
        let available = api.object("services", "web")["status"]["available"].as_u64().unwrap_or(0);
        assert!(available >= 3, "maxUnavailable is 0, and {available} of 3 are available");
        let now = world.pids_of("web");
        assert!(now.len() <= 4, "maxSurge is 1, and {now:?} run");
        api.is_running("web")?;
        if now.len() == 3 && now.iter().all(|pid| !before.contains(pid)) { Ok(()) } else { Err(format!("{now:?}")) }
    });

    let before = world.pids_of("web");
    world.orion(&server, &["restart", "web", "--wait"]).ok();
    eventually("restart replaces all", SOON, || {
        let now = world.counts("web", 3)?;
        if now.iter().all(|pid| !before.contains(pid)) { Ok(()) } else { Err(format!("{now:?}")) }
    });
    world.end([agent, server.daemon]);
}

#[test]
fn a_service_whose_port_leaves_no_room_for_two_is_stopped_first_and_told_so() {
    let world = World::new();
    let server = world.server();
    let agent = world.agent(&server, "node-1");
    let api = server.api();
    let port = crate::harness::free_port();
    let config = |word: &str| {
        format!(
            "
metadata: {{ name: rollout }}
spec:
  services:
    - name: web
      type: exec
      command: sleep 100000
      ports: [{{ name: http, port: {port} }}]
      env: {{ WORD: {word} }}
      update: {{ minReady: 100ms }}
"
        )
    };
    api.applied(&config("one"));
    eventually("it runs", SOON, || api.is_running("web"));
    let before = world.pids_of("web");
    let answer = api.applied(&config("two"));
    let told = answer["warnings"].to_string();
    assert!(told.contains("stopped before its successor"), "{told}");
    eventually("its successor runs", SOON, || {
        let now = world.pids_of("web");
        assert!(now.len() <= 1, "a static port has one holder: {now:?}");
        api.is_running("web")?;
        if now != before { Ok(()) } else { Err(format!("{now:?}")) }
    });
    let process = world.processes_of("web").remove(0);
    assert_eq!(process.environment["PORT"], port.to_string());
    let events = world.orion(&server, &["events"]).ok();
    assert!(events.contains("SurgeImpossible"), "{events}");
    world.end([agent, server.daemon]);
}
