//! The original's surface: what its clients read and send, and what an apply does and says.

use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::{Api, Request, SOON, World, eventually, holds_for};

const CONFIG: &str = "
metadata: { name: shop }
spec:
  services:
    - name: web
      type: exec
      command: sleep 100000
      replicas: 3
      ports: [{ name: http, allocation: dynamic }]
      env: { MODE: test }
      labels: { tier: front }
      update: { minReady: 100ms }
    - { name: db, type: exec, command: sleep 100000, update: { minReady: 100ms } }
    - { name: nightly, type: exec, command: sleep 1, schedule: '@daily' }
  jobs:
    - { name: migrate, type: exec, command: 'true' }
";

fn change<'a>(answer: &'a Value, name: &str) -> &'a Value {
    let changes = answer["changes"].as_array().expect("a list");
    changes.iter().find(|change| change["name"] == name).unwrap_or_else(|| panic!("nothing of {name} in {answer:#}"))
}

fn millis(value: &Value) -> bool {
    value.as_i64().is_some_and(|at| at > 1_700_000_000_000)
}

#[test]
fn health_services_and_nodes_have_the_shapes_the_originals_clients_read() {
    let world = World::new();
    let server = world.server();
    let agent = world.agent(&server, "node-1");
    let api = server.api();
    let health = Request::new("GET", "/health").header("Host", "any.example").send(server.address);
    assert_eq!((health.status, health.json()), (200, json!({"status": "ok"})), "open to all");
    assert!(health.header("content-type").is_some_and(|kind| kind.starts_with("application/json")));
    assert_eq!(api.get("/api/services").json(), json!({"items": []}));

    api.applied(CONFIG);
    eventually("web runs", SOON, || api.is_running("web"));
    let web = api.service("web");
    let expected = json!({
        "name": "web", "type": "exec", "path": ".", "command": "sleep 100000", "replicas": 3, "status": "running",
        "env": {"MODE": "test"}, "labels": {"tier": "front"},
    });
    for (field, value) in expected.as_object().expect("a mapping") {
        assert_eq!(&web[field], value, "{field} of {web:#}");
    }
    assert!(web["id"].as_str().is_some_and(|id| !id.is_empty()), "{web:#}");
    assert!(millis(&web["createdAt"]) && millis(&web["updatedAt"]), "{web:#}");
    assert_eq!(web["ports"][0]["name"], "http");
    let observed = &web["observed"];
    assert_eq!((&observed["ready"], &observed["available"], &observed["updated"]), (&json!(3), &json!(3), &json!(3)));
    assert_eq!(observed["replicas"].as_array().map(Vec::len), Some(3), "{observed:#}");
    api.service("nightly");

    eventually("a heartbeat has come", SOON, || {
        let nodes = api.get("/api/nodes").json();
        let node = &nodes["items"][0];
        let strings = ["id", "name", "address", "status"].iter().all(|field| node[*field].is_string());
        let capacity = node["capacity"]["cpu"].is_number() && node["capacity"]["memory"].is_number();
        let right = node["name"] == "node-1" && node["status"] == "ready" && node["labels"].is_object();
        if strings && capacity && right && millis(&node["lastHeartbeat"]) { Ok(()) } else { Err(nodes.to_string()) }
    });

    world.orion(&server, &["scale", "web", "--replicas", "0", "--wait"]).ok();
    eventually("web counts as stopped", SOON, || {
        let web = api.service("web");
        if web["status"] == "stopped" && web["replicas"] == 0 { Ok(()) } else { Err(format!("{web:#}")) }
    });
    world.end([agent, server.daemon]);
}

#[test]
fn an_apply_says_what_it_changes_a_dry_run_changes_nothing_and_the_second_has_nothing_to_do() {
    let world = World::new();
    let server = world.server();
    let api = server.api();
    let empty = api.state();
    let trial = api.apply("dryRun=true", CONFIG);
    assert_eq!(trial.status, 202, "{}", trial.text());
    let trial = trial.json();
    assert_eq!(trial["dryRun"], true);
    holds_for("a trial changes nothing", Duration::from_millis(300), || {
        if api.state() == empty { Ok(()) } else { Err(format!("{:?}", api.state())) }
    });

    let answer = api.applied(CONFIG);
    assert_eq!(answer["status"], "accepted");
    assert_eq!(answer["changes"], trial["changes"], "a trial answers the same");
    assert!(answer["orphaned"].as_array().is_some_and(Vec::is_empty), "{answer:#}");
    assert!(answer["warnings"].is_array(), "{answer:#}");
    let web = change(&answer, "web");
    assert_eq!(
        (&web["kind"], &web["action"], &web["effect"]),
        (&json!("Service"), &json!("created"), &json!("starts 3"))
    );
    assert_eq!(change(&answer, "nightly")["kind"], "Job", "a service with a schedule is a job");
    let config = api.object("configs", "shop");
    assert_eq!(answer["resourceVersion"], config["metadata"]["resourceVersion"], "{answer:#}");
    assert_eq!(config["status"]["applies"].as_array().map(Vec::len), Some(1), "{config:#}");

    let before = settled(api);
    let again = api.applied(CONFIG);
    let actions: Vec<_> = again["changes"].as_array().into_iter().flatten().map(|change| &change["action"]).collect();
    assert!(actions.iter().all(|action| **action == "unchanged"), "{again:#}");
    holds_for("the second changes nothing", Duration::from_millis(500), || {
        if api.state() == before { Ok(()) } else { Err(format!("{:?}", api.state())) }
    });

    let changed = api.applied(&CONFIG.replace("MODE: test", "MODE: live"));
    let web = change(&changed, "web");
    assert_eq!((&web["action"], web["fields"].to_string().contains("env")), (&json!("changed"), true), "{changed:#}");
    assert_eq!(change(&changed, "db")["action"], "unchanged");
    world.end([server.daemon]);
}

/// The state once controllers have done what they had to.
fn settled(api: Api) -> std::collections::BTreeMap<String, String> {
    let mut last = api.state();
    let mut since = std::time::Instant::now();
    eventually("the state comes to rest", SOON, || {
        let now = api.state();
        if now != last {
            (last, since) = (now, std::time::Instant::now());
        }
        if since.elapsed() > Duration::from_secs(1) { Ok(last.clone()) } else { Err("it moves".to_owned()) }
    })
}

#[test]
fn a_scaled_service_keeps_its_replicas_until_the_files_own_value_changes() {
    let world = World::new();
    let server = world.server();
    let api = server.api();
    let replicas = || api.object("services", "web")["spec"]["replicas"].clone();
    api.applied(CONFIG);
    world.orion(&server, &["scale", "web", "--replicas", "5"]).ok();
    let kept = api.applied(&CONFIG.replace("MODE: test", "MODE: live"));
    let said = change(&kept, "web")["fields"].to_string();
    assert!(said.contains("5 kept (scaled; file: 3)"), "{kept:#}");
    assert_eq!(replicas(), 5);
    api.applied(&CONFIG.replace("replicas: 3", "replicas: 4"));
    assert_eq!(replicas(), 4, "the file's own value has changed");
    let no_longer = api.applied(&CONFIG.replace("      replicas: 3\n", ""));
    assert_eq!(replicas(), 4, "a file that no longer says keeps it: {no_longer:#}");
    world.end([server.daemon]);
}

#[test]
fn what_the_file_no_longer_says_is_reset_and_what_it_never_said_is_left() {
    let world = World::new();
    let server = world.server();
    let api = server.api();
    let spec = || api.object("services", "web")["spec"].clone();
    let config = |fields: &str| {
        format!(
            "metadata: {{ name: shop }}\nspec: {{ services: [{{ name: web, type: exec, command: run, {fields} }}] }}\n"
        )
    };
    api.applied(&config("env: { A: 1, B: 2 }, stop: { timeout: 3s }"));
    let patch = json!({"spec": {"env": {"BY_HAND": "x"}, "logs": {"maxFiles": 9}}}).to_string();
    let path = "/apis/orion/v1/namespaces/default/services/web";
    let patched = Request::new("PATCH", path).body("application/merge-patch+json", patch).send(server.address);
    assert_eq!(patched.status, 200, "{}", patched.text());
    api.applied(&config("env: { A: 3 }"));
    assert_eq!(spec()["env"], json!({"A": "3", "BY_HAND": "x"}), "set, reset and left");
    assert_eq!(spec()["stop"]["timeout"], "10s", "reset to its default");
    assert_eq!(spec()["logs"]["maxFiles"], 9, "left as another writer set it");
    world.end([server.daemon]);
}

#[test]
fn nothing_is_deleted_without_prune_nor_taken_from_another_without_force() {
    let world = World::new();
    let server = world.server();
    let api = server.api();
    api.applied(CONFIG);
    let smaller = "metadata: { name: shop }\nspec: { services: [{ name: db, type: exec, command: sleep 100000, update: { minReady: 100ms } }] }\n";
    let orphaned = api.applied(smaller)["orphaned"].clone();
    let orphaned: std::collections::BTreeSet<_> =
        orphaned.as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    assert_eq!(orphaned, ["job/migrate", "job/nightly", "service/web"].into());
    assert_eq!(api.list("services").len(), 2);

    let pruned = api.apply("prune=true", smaller);
    assert_eq!(pruned.status, 202, "{}", pruned.text());
    assert_eq!(change(&pruned.json(), "web")["action"], "deleted");
    eventually("what was pruned goes", SOON, || {
        let names: Vec<_> = api.list("services").iter().map(|service| service["metadata"]["name"].clone()).collect();
        if names == ["db"] && api.list("jobs").is_empty() { Ok(()) } else { Err(format!("{names:?}")) }
    });

    let other = smaller.replace("name: shop", "name: other");
    let refused = api.apply("", &other);
    assert_eq!(refused.status, 409, "{}", refused.text());
    assert!(refused.text().contains("shop"), "says whose it is: {}", refused.text());
    let forced = api.apply("force=true", &other);
    assert_eq!(forced.status, 202, "{}", forced.text());
    assert_eq!(api.object("services", "db")["metadata"]["labels"]["orion/config"], "other");
    world.end([server.daemon]);
}

#[test]
fn an_expected_version_refuses_when_the_config_has_moved() {
    let world = World::new();
    let server = world.server();
    let api = server.api();
    api.applied(CONFIG);
    let version =
        || api.object("configs", "shop")["metadata"]["resourceVersion"].as_str().unwrap_or_default().to_owned();
    let first = version();
    let moved = CONFIG.replace("MODE: test", "MODE: live");
    let answer = api.apply(&format!("expectVersion={first}"), &moved);
    assert_eq!(answer.status, 202, "{}", answer.text());
    let stale = api.apply(&format!("expectVersion={first}"), CONFIG);
    assert_eq!(stale.status, 409, "{}", stale.text());
    assert!(stale.text().contains(&version()), "says the current version: {}", stale.text());
    assert_eq!(api.service("web")["env"]["MODE"], "live", "nothing has changed");
    world.end([server.daemon]);
}

#[test]
fn apply_takes_yaml_and_json_by_every_name_they_have() {
    let world = World::new();
    let server = world.server();
    let yaml = "metadata: { name: a }\nspec: { services: [] }\n";
    let json = r#"{"metadata": {"name": "a"}, "spec": {"services": []}}"#;
    let types = [
        ("application/yaml", yaml),
        ("application/x-yaml", yaml),
        ("text/yaml", yaml),
        ("text/yaml; charset=utf-8", yaml),
        ("application/json", json),
    ];
    for (content_type, text) in types {
        let answer = Request::new("POST", "/api/apply").body(content_type, text).send(server.address);
        assert_eq!(answer.status, 202, "{content_type}: {}", answer.text());
    }
    world.end([server.daemon]);
}

#[test]
fn deleting_a_config_ends_all_it_holds() {
    let world = World::new();
    let server = world.server();
    let agent = world.agent(&server, "node-1");
    let api = server.api();
    api.applied(CONFIG);
    eventually("all runs", SOON, || {
        api.is_running("web")?;
        api.is_running("db")
    });
    world.orion(&server, &["delete", "config/shop"]).ok();
    eventually("all has ended", SOON, || {
        world.counts("web", 0)?;
        world.counts("db", 0)?;
        let left = (api.list("services").len(), api.list("jobs").len(), api.list("configs").len());
        if left == (0, 0, 0) { Ok(()) } else { Err(format!("{left:?}")) }
    });
    world.end([agent, server.daemon]);
}
