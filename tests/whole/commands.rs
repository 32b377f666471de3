//! The commands as scripts and people use them: shapes, words and exit statuses.

use std::{collections::BTreeSet, fs};

use serde_json::Value;

use crate::harness::{SOON, Server, World, eventually, free_port};

const CONFIG: &str = "
metadata: { name: shop }
spec:
  services:
    - name: web
      type: exec
      shell: true
      command: 'echo up $ORION_REPLICA_INDEX; echo oops >&2; while [ ! -e more ]; do sleep 0.1; done; echo more; exec sleep 100000'
      replicas: 2
      labels: { tier: front }
      update: { minReady: 100ms }
    - { name: db, type: exec, command: sleep 100000, labels: { tier: back }, update: { minReady: 100ms } }
  jobs:
    - { name: migrate, type: exec, shell: true, command: 'echo migrating; exit 3', backoffLimit: 0 }
";

/// A server, an agent and everything of [`CONFIG`] as it should be.
fn shop(world: &World) -> (Server, crate::harness::Daemon) {
    let server = world.server();
    let agent = world.agent(&server, "node-1");
    let api = server.api();
    api.applied(CONFIG);
    eventually("all is as it should be", SOON, || {
        api.is_running("web")?;
        api.is_running("db")?;
        let runs = api.list("runs");
        if runs.first().is_some_and(|run| run["status"]["phase"] == "Failed") {
            Ok(())
        } else {
            Err(format!("{runs:#?}"))
        }
    });
    (server, agent)
}

fn items(list: &Value) -> Vec<Value> {
    assert_eq!(list["kind"], "List", "{list:#}");
    list["items"].as_array().cloned().expect("items")
}

#[track_caller]
fn has(object: &Value, pointers: &[&str]) {
    for pointer in pointers {
        assert!(object.pointer(pointer).is_some(), "{pointer} of {object:#}");
    }
}

const METADATA: [&str; 6] = [
    "/metadata/name",
    "/metadata/uid",
    "/metadata/resourceVersion",
    "/metadata/generation",
    "/metadata/creationTimestamp",
    "/kind",
];

#[test]
fn get_as_json_has_the_shapes_that_scripts_rely_on() {
    let world = World::new();
    let (server, agent) = shop(&world);
    let get = |kind: &str| items(&world.orion(&server, &["get", kind, "-o", "json"]).json());

    let replicas = get("replicas");
    let own: Vec<_> = replicas.iter().filter(|replica| replica["spec"]["serviceName"] == "web").collect();
    assert_eq!(own.len(), 2, "{replicas:#?}");
    for replica in own {
        has(replica, &METADATA);
        has(replica, &["/metadata/namespace", "/metadata/ownerReferences/0/uid", "/spec/index", "/spec/revision"]);
        has(replica, &["/status/disposition", "/status/observed/startedAt", "/status/observed/readySince"]);
        has(
            replica,
            &["/status/observed/attempt", "/status/observed/restarts", "/status/observed/seq", "/spec/settings"],
        );
        assert_eq!((&replica["spec"]["nodeName"], &replica["status"]["phase"]), (&"node-1".into(), &"Ready".into()));
        let observed = &replica["status"]["observed"];
        assert_eq!((&observed["state"], &observed["ready"]), (&"ready".into(), &true.into()));
        let pid = observed["pid"].as_u64().and_then(|pid| u32::try_from(pid).ok()).expect("a pid");
        let process = world.processes_of("web").into_iter().find(|process| process.pid == pid);
        assert_eq!(process.expect("is alive").environment["ORION_REPLICA_ID"], replica["metadata"]["name"]);
    }
    let attempt = replicas.iter().find(|replica| replica["spec"]["runName"].is_string()).expect("of the run");
    let exit = &attempt["status"]["observed"]["exit"];
    assert_eq!((&exit["code"], &attempt["status"]["phase"]), (&3.into(), &"Failed".into()), "{attempt:#}");
    has(exit, &["/reason", "/at"]);

    let services = get("services");
    let web = services.iter().find(|service| service["metadata"]["name"] == "web").expect("web");
    has(web, &METADATA);
    let status = &web["status"];
    for count in ["ready", "available", "updated", "desired"] {
        assert_eq!(status[count], 2, "{count} of {status:#}");
    }
    assert!(status["stable"].is_string() && status["stable"] == status["current"], "{status:#}");
    assert_eq!(status["observedGeneration"], web["metadata"]["generation"]);
    let conditions: BTreeSet<_> = status["conditions"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|condition| condition["type"].as_str())
        .collect();
    assert!(conditions.contains("Available"), "{status:#}");

    let runs = get("runs");
    has(&runs[0], &METADATA);
    has(&runs[0], &["/status/attempts/0", "/status/startedAt", "/status/finishedAt"]);
    assert_eq!((&runs[0]["status"]["phase"], &runs[0]["status"]["exitCode"]), (&"Failed".into(), &3.into()));

    let nodes = get("nodes");
    has(&nodes[0], &METADATA);
    has(&nodes[0], &["/status/conditions/0/type", "/status/observed/capacity"]);
    assert_eq!((&nodes[0]["metadata"]["name"], &nodes[0]["status"]["phase"]), (&"node-1".into(), &"ready".into()));

    let one = world.orion(&server, &["get", "service/web", "-o", "json"]).json();
    assert_eq!((&one["kind"], &one["metadata"]["name"]), (&"Service".into(), &"web".into()));
    world.end([agent, server.daemon]);
}

#[test]
fn get_shows_tables_names_yaml_and_selections_for_kinds_by_all_their_names() {
    let world = World::new();
    let (server, agent) = shop(&world);
    let get = |arguments: &[&str]| world.orion(&server, &[&["get"], arguments].concat()).ok();

    let table = get(&["services"]);
    let header = table.lines().next().unwrap_or_default();
    assert!(header.starts_with("NAME") && header.contains("AGE"), "{table}");
    let names = |text: &str| text.lines().map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(table.lines().count(), 3, "{table}");
    assert!(!table.contains('\u{1b}'), "no colours where there is no terminal");
    assert!(get(&["replicas", "-o", "wide"]).lines().next().is_some_and(|wide| wide.contains("REVISION")));
    assert_eq!(names(&get(&["services", "-o", "name"])), ["service/db", "service/web"]);
    assert_eq!(names(&get(&["svc", "-l", "tier=front", "-o", "name"])), ["service/web"]);
    assert_eq!(names(&get(&["services", "-l", "tier!=front", "-o", "name"])), ["service/db"]);
    for words in [&["service", "web"][..], &["service/web"], &["services/web"], &["svc/web"]] {
        assert_eq!(names(&get(&[words, &["-o", "name"]].concat())), ["service/web"], "{words:?}");
    }
    let yaml = get(&["service/web", "-o", "yaml"]);
    assert!(yaml.contains("kind: Service\n") && yaml.contains("  replicas: 2\n"), "{yaml}");
    assert_eq!(names(&get(&["services,jobs", "-o", "name"])), ["service/db", "service/web", "job/migrate"]);
    let elsewhere = world.orion(&server, &["get", "services", "-n", "elsewhere"]);
    assert_eq!((elsewhere.status, elsewhere.stdout.as_str()), (0, ""), "{elsewhere:?}");
    assert!(elsewhere.stderr.contains("elsewhere"), "{elsewhere:?}");
    world.end([agent, server.daemon]);
}

#[test]
fn a_watch_goes_on_with_what_changes() {
    let world = World::new();
    let server = world.server();
    server.api().applied("metadata: { name: a }\nspec: { services: [{ name: web, type: exec, command: run }] }\n");
    let mut watch = world.follow(&server, &["get", "services", "-w", "-o", "json"]);
    let replicas = |count: u64| {
        move |line: &str| {
            let object: Value = serde_json::from_str(line).expect("one object a line");
            (object["spec"]["replicas"] == count).then_some(())
        }
    };
    watch.says("what is", replicas(1));
    world.orion(&server, &["scale", "web", "--replicas", "7"]).ok();
    watch.says("what changed", replicas(7));
    watch.kill();
    world.end([server.daemon]);
}

#[test]
fn logs_shows_both_streams_of_each_replica_and_follows() {
    let world = World::new();
    let (server, agent) = shop(&world);
    let logs = world.orion(&server, &["logs", "web"]).ok();
    for words in ["up 0", "up 1", "oops"] {
        assert!(logs.contains(words), "{words}: {logs}");
    }
    assert!(logs.lines().all(|line| line.starts_with("web-")), "each line has its replica's name: {logs}");
    let job = world.orion(&server, &["logs", "job/migrate"]).ok();
    assert!(job.contains("migrating"), "what a finished process has written is kept: {job}");
    let tail = world.orion(&server, &["logs", "web", "--tail", "1"]).ok();
    assert_eq!(tail.lines().count(), 2, "one line of each: {tail}");

    let mut follow = world.follow(&server, &["logs", "-f", "web"]);
    follow.says("what was", |line| line.contains("up 0").then_some(()));
    fs::write(world.path("work/more"), "").expect("can be written");
    follow.says("what comes", |line| line.ends_with("more").then_some(()));
    follow.kill();
    assert_eq!(world.orion(&server, &["logs", "nobody"]).status, 1);
    world.end([agent, server.daemon]);
}

#[test]
fn why_and_events_tell_what_runs_what_failed_and_which_apply_it_was() {
    let world = World::new();
    let (server, agent) = shop(&world);
    let why = |what: &str| world.orion(&server, &["why", what]).ok();
    let web = why("service/web");
    for words in ["2 of 2 available", "node-1", "config/shop"] {
        assert!(web.contains(words), "{words}: {web}");
    }
    let job = why("job/migrate");
    assert!(job.contains("exit code 3"), "{job}");
    assert!(why("node/node-1").contains("ready"));
    assert!(why("db").contains("1 of 1 available"), "a bare name is found");

    server.api().applied("metadata: { name: big }\nspec: { services: [{ name: huge, type: exec, command: run, resources: { memory: 900Gi } }] }\n");
    eventually("the refusal is told", SOON, || {
        let huge = why("service/huge");
        if huge.contains("node-1") && huge.contains("900Gi") { Ok(()) } else { Err(huge) }
    });
    let events = eventually("events are told", SOON, || {
        let events = world.orion(&server, &["events"]).ok();
        if events.contains("service/") { Ok(events) } else { Err(events) }
    });
    assert!(events.lines().next().is_some_and(|header| header.contains("REASON")), "{events}");
    world.end([agent, server.daemon]);
}

#[test]
fn without_a_server_files_are_made_and_checked_and_the_version_told() {
    let world = World::new();
    let orion = |arguments: &[&str]| {
        let nobody = format!("http://127.0.0.1:{}", free_port());
        world.run(world.command().env("ORION_API_URL", nobody).args(arguments))
    };
    orion(&["init"]).ok();
    assert!(orion(&["init"]).fails_with(1).contains("--force"));
    assert!(orion(&["validate"]).ok().contains("orion.yaml is valid"));
    let unsupported = orion(&["validate", "--unsupported"]).ok();
    assert!(unsupported.contains("autoscaling") && unsupported.contains("health"), "{unsupported}");
    let version = orion(&["version"]).ok();
    assert!(version.starts_with(&format!("orion {}", env!("CARGO_PKG_VERSION"))), "{version}");
    let help = orion(&["--help"]).ok();
    for command in [
        "up", "down", "server", "agent", "init", "validate", "apply", "get", "why", "delete", "scale", "restart",
        "logs", "events", "version",
    ] {
        assert!(help.lines().any(|line| line.trim_start().starts_with(&format!("{command} "))), "{command}: {help}");
    }
    orion(&["get", "services"]).fails_with(2);
    world.end([]);
}

#[test]
fn apply_shows_changes_and_waits_until_all_is_available() {
    let world = World::new();
    let server = world.server();
    let agent = world.agent(&server, "node-1");
    let good = CONFIG.replace("exit 3", "exit 0");
    world.write("orion.yaml", &good);
    let trial = world.orion(&server, &["apply", "--dry-run"]).ok();
    assert!(trial.contains("service/web created") && trial.contains("dry run"), "{trial}");
    assert!(server.api().list("services").is_empty());
    let applied = world.orion(&server, &["apply", "--wait"]).ok();
    for words in ["service/web created", "service/web ready: 2 of 2 available", "job/migrate ready"] {
        assert!(applied.contains(words), "{words}: {applied}");
    }
    world.counts("web", 2).expect("they run when it returns");
    assert!(world.orion(&server, &["apply"]).ok().contains("nothing to change"));
    let json = world.orion(&server, &["apply", "--dry-run", "-o", "json"]).json();
    assert_eq!(json["status"], "accepted");

    world.write("orion.yaml", &CONFIG.replace("exit 3", "echo last words; exit 4"));
    let failed = world.orion(&server, &["apply", "--wait"]).fails_with(1);
    for words in ["job/migrate", "exit code 4", "last words"] {
        assert!(failed.contains(words), "{words}: {failed}");
    }
    world.write("orion.yaml", &CONFIG.replace("web", "{}{"));
    world.orion(&server, &["apply"]).fails_with(1);

    let set = ["apply", "-f", "set.yaml", "--set", "spec.services.web.replicas=1", "--wait"];
    world.write("set.yaml", &good.replace("echo migrating", "echo migrating again"));
    world.orion(&server, &set).ok();
    eventually("what was set counts", SOON, || world.counts("web", 1));
    world.end([agent, server.daemon]);
}
