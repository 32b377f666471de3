//! A job runs once, whatever is killed and started around its end.

use std::{fs, time::Duration};

use crate::harness::{SOON, World, eventually, holds_for};

/// Says that it was here, waits for a word, and ends.
const JOB: &str = "
metadata: { name: jobs }
spec:
  jobs:
    - name: migrate
      type: exec
      shell: true
      command: 'echo run >> runs; while [ ! -e go ]; do sleep 0.1; done; exit 0'
";

fn executions(world: &World) -> usize {
    fs::read_to_string(world.path("work/runs")).unwrap_or_default().lines().count()
}

fn once(world: &World) -> Result<(), String> {
    let executions = executions(world);
    if executions == 1 { Ok(()) } else { Err(format!("{executions} executions")) }
}

#[test]
fn a_job_runs_once_though_it_is_applied_again_and_server_and_agent_are_killed_around_its_end() {
    let world = World::new();
    let mut server = world.server();
    let mut agent = world.agent(&server, "node-1");
    let api = server.api();
    api.applied(JOB);
    eventually("it runs", SOON, || once(&world));
    let again = api.applied(JOB);
    assert_eq!(again["changes"][0]["action"], "unchanged", "{again:#}");

    agent.kill();
    server.daemon.kill();
    fs::write(world.path("work/go"), "").expect("can be written");
    eventually("its process ends", SOON, || world.counts("migrate", 0));
    let agent = world.agent(&server, "node-1");
    let server = world.server_at(server.address, "server");
    eventually("its exit code is known", SOON, || {
        let runs = world.orion(&server, &["get", "runs", "-o", "json"]).json();
        let items = runs["items"].as_array().cloned().unwrap_or_default();
        assert_eq!(items.len(), 1, "{runs:#}");
        let status = &items[0]["status"];
        let known = status["phase"] == "Succeeded" && status["exitCode"] == 0 && status["finishedAt"].is_string();
        if known { Ok(()) } else { Err(format!("{status:#}")) }
    });
    api.applied(JOB);
    holds_for("and it is not run again", Duration::from_secs(3), || once(&world));
    assert_eq!(api.object("jobs", "migrate")["status"]["lastExitCode"], 0);

    fs::remove_file(world.path("work/runs")).expect("is there");
    api.applied(&JOB.replace("exit 0", "exit 5").replace("shell: true", "shell: true\n      backoffLimit: 0"));
    eventually("a changed job runs once more", SOON, || {
        once(&world)?;
        let job = api.object("jobs", "migrate");
        if job["status"]["lastExitCode"] == 5 { Ok(()) } else { Err(format!("{:#}", job["status"])) }
    });
    assert_eq!(api.list("runs").len(), 2);
    world.end([agent, server.daemon]);
}
