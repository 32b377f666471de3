//! An agent that knows only the original's frames: `launch`, `stop` and `update`, in the original's words.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::harness::{Received, SOON, Socket, World, eventually};

const CONFIG: &str = "
metadata: { name: fleet }
spec:
  services:
    - name: web
      type: bun
      path: web
      entry: main.ts
      ports: [{ name: http, port: 8123 }]
      env: { MODE: test, LEVEL: 3 }
      resources: { cpu: 0.5, memory: 64 }
      labels: { tier: front }
      update: { minReady: 100ms }
";

/// The node's end of a socket, which keeps every frame it was sent.
struct Original {
    socket: Socket,
    heard: Vec<Value>,
}

impl Original {
    fn connect(to: std::net::SocketAddr) -> Self {
        let mut socket = Socket::connect(to);
        let hello = json!({"nodeId": "id-1", "name": "old-1", "address": "10.1.2.3", "labels": {"zone": "eu"}});
        socket.say(&json!({"type": "hello", "payload": hello}));
        let beat = json!({"timestamp": 1_700_000_000_000_u64, "metrics": {"cpu": 0.25, "memory": 1_048_576}});
        socket.say(&json!({"type": "heartbeat", "payload": beat}));
        Self { socket, heard: Vec::new() }
    }

    /// Listens for a while, or until a frame of this type comes.
    fn listen(&mut self, until: Option<&str>, within: Duration) -> Option<Value> {
        let deadline = Instant::now() + within;
        while Instant::now() < deadline {
            match self.socket.hear(deadline.saturating_duration_since(Instant::now())) {
                Received::Frame(frame) => {
                    self.heard.push(frame.clone());
                    if until.is_some_and(|kind| frame["type"] == kind) {
                        return Some(frame["payload"].clone());
                    }
                }
                Received::Closed(code, reason) => panic!("closed: {code} {reason}"),
                Received::Nothing => {}
            }
        }
        None
    }

    #[track_caller]
    fn hears(&mut self, kind: &str) -> Value {
        self.listen(Some(kind), SOON).unwrap_or_else(|| panic!("no {kind}, but {:#?}", self.heard))
    }

    fn types(&self) -> BTreeSet<&str> {
        self.heard.iter().filter_map(|frame| frame["type"].as_str()).collect()
    }
}

fn keys(value: &Value) -> BTreeSet<&str> {
    value.as_object().into_iter().flat_map(|fields| fields.keys().map(String::as_str)).collect()
}

#[test]
fn an_original_agent_is_sent_the_originals_frames_only_and_its_service_counts_as_running() {
    let world = World::new();
    let server = world.server();
    let api = server.api();
    let mut agent = Original::connect(server.address);
    eventually("its node is ready", SOON, || {
        let nodes = api.get("/api/nodes").json();
        let node = &nodes["items"][0];
        let known = node["name"] == "old-1" && node["id"] == "id-1" && node["status"] == "ready";
        if known && node["lastHeartbeat"].as_i64().is_some_and(|beat| beat > 0) {
            Ok(())
        } else {
            Err(nodes.to_string())
        }
    });

    api.applied(CONFIG);
    let launch = agent.hears("launch");
    assert_eq!(keys(&launch), BTreeSet::from(["service", "replicaId"]), "{launch:#}");
    let replica = launch["replicaId"].as_str().expect("a name").to_owned();
    assert!(replica.starts_with("web-0-"), "{replica}");
    let service = &launch["service"];
    let expected = json!({
        "name": "web", "type": "bun", "path": "web", "entry": "main.ts", "runtime": "bun", "replicas": 1,
        "env": {"MODE": "test", "LEVEL": "3"}, "labels": {"tier": "front"}, "resources": {"cpu": 0.5, "memory": 64},
    });
    for (field, value) in expected.as_object().expect("a mapping") {
        assert_eq!(&service[field], value, "{field} of {service:#}");
    }
    assert_eq!((&service["ports"][0]["name"], &service["ports"][0]["port"]), (&json!("http"), &json!(8123)));
    let known = BTreeSet::from([
        "name",
        "path",
        "type",
        "entry",
        "command",
        "runtime",
        "replicas",
        "ports",
        "env",
        "resources",
        "schedule",
        "hooks",
        "plugins",
        "autoscaling",
        "serverless",
        "labels",
        "dependencies",
    ]);
    assert!(keys(service).is_subset(&known), "only fields of the original: {service:#}");
    eventually("it counts as running", SOON, || {
        let web = api.service("web");
        if web["status"] == "running" && web["observed"]["available"] == 1 { Ok(()) } else { Err(format!("{web:#}")) }
    });

    drop(std::mem::replace(&mut agent, Original::connect(server.address)));
    assert_eq!(
        agent.listen(Some("launch"), Duration::from_secs(2)),
        None,
        "a replica is launched once: agents do not check"
    );

    world.orion(&server, &["scale", "web", "--replicas", "0"]).ok();
    let stop = agent.hears("stop");
    assert_eq!(stop, json!({"serviceName": "web", "replicaId": replica}));
    eventually("a stop that was sent counts as stopped", SOON, || {
        let web = api.service("web");
        if web["status"] == "stopped" { Ok(()) } else { Err(format!("{web:#}")) }
    });
    agent.listen(None, Duration::from_secs(1));
    assert!(agent.types().is_subset(&BTreeSet::from(["launch", "stop", "update"])), "{:#?}", agent.heard);
    world.end([server.daemon]);
}

#[test]
fn what_an_original_agent_cannot_run_waits_and_says_why() {
    let world = World::new();
    let server = world.server();
    let api = server.api();
    let mut agent = Original::connect(server.address);
    api.applied(
        "
metadata: { name: fleet }
spec:
  services: [{ name: free, type: exec, command: sleep 1, ports: [{ name: http, allocation: dynamic }] }]
  jobs: [{ name: once, type: exec, command: sleep 1 }]
",
    );
    assert_eq!(agent.listen(Some("launch"), Duration::from_secs(3)), None);
    let why = world.orion(&server, &["why", "service/free"]).ok();
    assert!(why.contains("old-1"), "{why}");
    assert!(world.orion(&server, &["why", "job/once"]).status == 0);
    drop(agent);
    world.end([server.daemon]);
}
