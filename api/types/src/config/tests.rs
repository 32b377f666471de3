use serde_json::json;

use super::*;
use crate::{
    process::{Command, EnvValue},
    service::{Replicas, Strategy},
};

fn parse(text: &str) -> Result<Parsed, Vec<Issue>> {
    OrionConfig::parse(text, Format::Auto, &Options::default())
}

fn good(text: &str) -> Parsed {
    parse(text).unwrap_or_else(|issues| panic!("{text}\n{}", listed(&issues)))
}

fn listed(issues: &[Issue]) -> String {
    issues.iter().map(|issue| format!("{issue}\n")).collect()
}

/// A configuration with one service `web` of these fields, which begin on line 4 and column 5.
fn service(fields: &str) -> String {
    let fields: String = fields.lines().map(|line| format!("    {line}\n")).collect();
    format!("spec:\n  services:\n  - name: web\n{fields}")
}

fn job(fields: &str) -> String {
    service(fields).replace("services:", "jobs:")
}

/// Where the last occurrence of some words begins; counted by hand in characters, from 1.
#[track_caller]
fn place_of(text: &str, words: &str) -> (usize, usize) {
    let before = &text[..text.rfind(words).unwrap_or_else(|| panic!("{words:?} stands in {text}"))];
    let column = before.chars().rev().take_while(|c| *c != '\n').count() + 1;
    (before.matches('\n').count() + 1, column)
}

#[track_caller]
fn assert_issue(text: &str, path: &str, says: &str, at: &str) {
    let issues = parse(text).expect_err(text);
    let found = issues.iter().find(|issue| issue.path == path && issue.message.contains(says));
    let found =
        found.unwrap_or_else(|| panic!("no issue at {path:?} that says {says:?} in\n{text}\nbut\n{}", listed(&issues)));
    assert_eq!(found.place.map(|place| (place.line, place.column)), Some(place_of(text, at)), "{text}\n{found}");
    assert_eq!(issues.len(), 1, "only what is wrong is an issue in\n{text}\n{}", listed(&issues));
}

#[track_caller]
fn assert_warning(text: &str, path: &str, says: &str) {
    let parsed = good(text);
    let found = parsed
        .warnings
        .iter()
        .any(|warning| warning.path == path && warning.message.contains(says) && warning.place.is_some());
    assert!(found, "no warning at {path:?} that says {says:?} in\n{text}\nbut\n{}", listed(&parsed.warnings));
    assert_eq!(parsed.warnings.len(), 1, "{text}\n{}", listed(&parsed.warnings));
}

/// Every field of the specification, with a value that is not its default.
const EVERYTHING: &str = r#"
apiVersion: orion/v1
kind: Config
metadata: { name: shop, namespace: prod, description: all of it, environment: production }
x-note: free
spec:
  services:
    - name: api
      type: exec
      release: 2026.10
      path: releases/{release}
      entry: main.ts
      command: ./serve --release {release}
      shell: false
      runtime: none
      artifact: { url: "https://example.org/api-{release}.tar.gz", sha256: 0f1e000000000000000000000000000000000000000000000000000000000000 }
      env: { NUMBER: 1.10, HEX: 0x1F, FLAG: yes, BOOL: true, TEXT: "1.10" }
      envFrom: [{ secret: api-prod, optional: true }]
      ports:
        - { name: http, port: 8080, protocol: tcp, targetPort: 8080, allocation: static }
        - { name: admin, allocation: dynamic }
        - { name: sock, port: 9000, allocation: socket, bind: 127.0.0.1 }
      user: www-data
      restart: { initialDelay: 2s, maxDelay: 90s }
      stop: { signal: int, timeout: 1m30s, killMode: process, preStop: ./drain }
      health:
        startup: { http: { path: /up, port: http }, failureThreshold: 9 }
        readiness: { tcp: { port: 8080 }, period: 5s, timeout: 2s, successThreshold: 2 }
        liveness: { exec: { command: [./alive] } }
      logs: { maxFiles: 2, maxFileSize: 1Mi, keepFor: 1h }
      resources: { cpu: 500m, memory: 256, limits: { cpu: 1, memory: 1G, pids: 64 } }
      replicas: 2
      labels: { tier: back }
      placement: { packing: binpack, nodes: "zone=eu,!gpu", node: null, prefer: [{ nodes: disk=ssd, weight: 50 }], antiAffinity: hard, spread: zone, maxSkew: 2 }
      update: { strategy: recreate, maxSurge: 2, maxUnavailable: 1, minReady: 10s, deadline: 10m, autoRollback: false, historyLimit: 3 }
      disconnect: { lostAfter: 2m }
      singleton: false
      autoscaling: { enabled: true, minReplicas: 2, maxReplicas: 4, scaleUpThreshold: 0.5, scaleDownThreshold: 0.1, scaleDownDelaySeconds: 30 }
      serverless: { enabled: true, trigger: queue, queue: work }
      warmPool: { size: 0 }
      hooks: { beforeStart: "audit:check", afterDeploy: ["audit:note"], onFailure: "audit:page", beforeStop: "audit:drain" }
      plugins: [audit, "@orion/plugin-metrics"]
      dependencies: [db, { name: migrate, condition: completed }]
    - name: db
    - name: nightly
      schedule: "@daily"
      command: ./report
  jobs:
    - name: migrate
      command: [./migrate, --all]
      completions: 2
      parallelism: 2
      completionMode: Indexed
      backoffLimit: 1
      activeDeadline: 1h
      ttlAfterFinished: 2h
      suspend: true
      failurePolicy: [{ exitCodes: [3, 42], action: FailJob }]
      schedule: "*/5 * * * *"
      timeZone: Europe/Berlin
      concurrencyPolicy: Replace
      startingDeadline: 10m
      missedRunPolicy: skip
      successfulRunsHistoryLimit: 1
      failedRunsHistoryLimit: 2
      dependencies: [db]
  nodes:
    - { name: node-1, address: 10.0.0.1, labels: { zone: eu }, capacity: { cpu: 4, memory: 8Gi } }
  plugins:
    - "@orion/plugin-metrics"
    - { name: audit, webhook: { url: "http://127.0.0.1:9/hook", secret: s }, timeout: 5s }
"#;

#[test]
fn every_field_is_read_and_kept() {
    let parsed = good(EVERYTHING);
    assert_eq!((parsed.name.as_str(), parsed.namespace.as_str()), ("shop", "prod"));
    assert_eq!((parsed.content.description.as_str(), parsed.content.environment.as_str()), ("all of it", "production"));
    assert_eq!(parsed.services.iter().map(|service| service.name.as_str()).collect::<Vec<_>>(), ["api", "db"]);
    assert_eq!(parsed.jobs.iter().map(|job| job.name.as_str()).collect::<Vec<_>>(), ["nightly", "migrate"]);
    assert_eq!(parsed.nodes[0].spec.capacity.memory.map(crate::MemoryQuantity::bytes), Some(8 << 30));
    assert_eq!(parsed.plugins.iter().map(|plugin| plugin.name.as_str()).collect::<Vec<_>>(), ["audit"]);
    assert_eq!(
        parsed.content.plugins[0],
        json!({"name": "@orion/plugin-metrics"}).as_object().cloned().expect("a mapping")
    );

    // What the typed spec says is what the file says: nothing was lost on the way.
    let api = &parsed.services[0];
    let typed = serde_json::to_value(&api.spec).expect("serialises");
    for (field, value) in &api.sparse {
        match field.as_str() {
            "ports" | "hooks" | "health" => {}
            _ => assert_eq!(&typed[field], value, "{field}"),
        }
    }
    let template = &api.spec.process.template;
    assert_eq!(template.env["NUMBER"], EnvValue::from("1.10"));
    assert_eq!(template.env["HEX"], EnvValue::from("0x1F"));
    assert_eq!((template.env["FLAG"].as_str(), template.env["BOOL"].as_str()), ("yes", "true"));
    assert_eq!(template.argv().expect("runs"), ["./serve", "--release", "2026.10"]);
    assert_eq!(template.ports[1].port, None);
    assert_eq!(api.spec.hooks.before_start[0].parts(), Some(("audit", "check")));
    assert_eq!(api.spec.update.strategy, Strategy::Recreate);
    let migrate = serde_json::to_value(&parsed.jobs[1].spec).expect("serialises");
    for (field, value) in &parsed.jobs[1].sparse {
        assert_eq!(&migrate[field], value, "{field}");
    }
}

#[test]
fn every_field_of_the_schema_stands_in_the_test_of_every_field() {
    let parsed = good(EVERYTHING);
    let spec = shape::CONFIG.object().and_then(|config| config.within("spec")).expect("has a spec");
    for (list, entry) in [("services", &parsed.content.services[0]), ("jobs", &parsed.content.jobs[0])] {
        let process = ["restart", "restartedAt", "schedule"];
        for field in spec.within(list).expect("a list of mappings").fields.keys() {
            let elsewhere =
                process.contains(&field.as_str()) || (list == "jobs" && parsed.content.services[0].contains_key(field));
            assert!(entry.contains_key(field) || elsewhere, "spec.{list}[].{field}");
        }
    }
}

#[test]
fn a_name_is_all_a_service_needs() {
    let parsed = good("spec: { services: [{ name: web }], jobs: [{ name: once }] }");
    let typed = serde_json::to_value(&parsed.services[0].spec).expect("serialises");
    let expected = json!({
        "type": "node", "path": ".", "entry": "index.ts", "shell": false, "env": {}, "ports": [],
        "restart": {"initialDelay": "1s", "maxDelay": "1m"},
        "stop": {"signal": "SIGTERM", "timeout": "10s", "killMode": "group"},
        "logs": {"maxFiles": 5, "maxFileSize": 10, "keepFor": "24h"},
        "resources": {}, "replicas": 1, "labels": {},
        "placement": {"packing": "spread", "antiAffinity": "soft", "maxSkew": 1},
        "update": {"strategy": "rolling", "maxSurge": 1, "maxUnavailable": 0, "minReady": "5s", "deadline": "5m", "autoRollback": true, "historyLimit": 10},
        "disconnect": {"lostAfter": "1m"}, "singleton": false,
        "autoscaling": {"enabled": false, "minReplicas": 1, "maxReplicas": 5, "scaleUpThreshold": 0.75, "scaleDownThreshold": 0.25, "scaleDownDelaySeconds": 60},
        "warmPool": {"size": 0},
    });
    assert_eq!(typed, expected);
    assert!(parsed.services[0].sparse.is_empty());
    let job = &parsed.jobs[0].spec;
    assert_eq!(
        (job.completions, job.parallelism, job.backoff_limit, job.ttl_after_finished.to_string().as_str()),
        (1, 1, 6, "24h")
    );
    assert_eq!((parsed.name.as_str(), parsed.namespace.as_str(), parsed.warnings.len()), ("default", "default", 0));
}

#[test]
fn json_and_yaml_say_the_same() {
    let json = r#"{"spec": {"services": [{"name": "web", "env": {"A": 1.10}, "replicas": 2, "ports": [{"port": 8080, "allocation": "dynamic"}]}]}}"#;
    let yaml = "spec:\n  services:\n  - name: web\n    env: {A: 1.10}\n    replicas: 2\n    ports: [{port: 8080, allocation: dynamic}]\n";
    assert_eq!(good(json).content, good(yaml).content);
    assert_eq!(good(json).services[0].spec.process.template.env["A"].as_str(), "1.10");
    assert!(OrionConfig::parse(yaml, Format::Json, &Options::default()).is_err());
    assert!(parse("{spec: {services: [{name: web}]}}").is_ok(), "YAML may begin with a brace");
}

#[test]
fn a_value_of_the_wrong_form_says_so_with_its_place() {
    let table = [
        ("ports: [{port: 70000}]", "ports[0].port", "must be 1 to 65535, not 70000", "port:"),
        ("ports: [{port: 0}]", "ports[0].port", "must be 1 to 65535, not 0", "port:"),
        ("ports: [{port: -1}]", "ports[0].port", "must be 1 to 65535, not -1", "port:"),
        ("ports: [{port: http}]", "ports[0].port", "a whole number, not the string \"http\"", "port:"),
        ("ports: [{port: 80.5}]", "ports[0].port", "a whole number, not 80.5", "port:"),
        ("ports: 80", "ports", "must be a list, not a number", "ports:"),
        ("ports: [80]", "ports[0]", "must be a mapping, not a number", "80]"),
        ("ports: [{}]", "ports[0].port", "is missing", "{}"),
        (
            "ports: [{port: 80, protocol: tpc}]",
            "ports[0].protocol",
            "must be one of tcp, udp, not \"tpc\"; did you mean \"tcp\"?",
            "protocol:",
        ),
        ("replicas: -1", "replicas", "must be 0 or more, not -1", "replicas:"),
        ("replicas: 1.5", "replicas", "whole number", "replicas:"),
        ("replicas: many", "replicas", "`eachNode`", "replicas:"),
        ("path: 5", "path", "must be a string; write \"5\"", "path:"),
        ("path: 1.10", "path", "write \"1.10\"", "path:"),
        ("singleton: \"yes\"", "singleton", "must be true or false", "singleton:"),
        ("type: python", "type", "must be one of node, nextjs, bun, deno, vite, worker, exec", "type:"),
        ("env: [A]", "env", "must be a mapping", "env:"),
        ("env: {A: [1]}", "env.A", "must be one value, not a list", "A:"),
        ("env: {A: }", "env.A", "has no value", "A:"),
        ("env: {\"A=B\": 1}", "env.A=B", "is no name of a variable", "\"A=B"),
        ("env: {\"\": 1}", "env[]", "is no name of a variable", "\"\""),
        ("labels: {a: 1}", "labels.a", "must be a string; write \"1\"", "a:"),
        ("resources: {cpu: -1}", "resources.cpu", "negative", "cpu:"),
        ("resources: {memory: lots}", "resources.memory", "no amount of memory", "memory:"),
        ("stop: {timeout: -5s}", "stop.timeout", "negative", "timeout:"),
        ("stop: {timeout: 99999999999999999999h}", "stop.timeout", "too long", "timeout:"),
        ("stop: {timeout: 10}", "stop.timeout", "write \"10s\"", "timeout:"),
        ("stop: {signal: SIGFOO}", "stop.signal", "no signal", "signal:"),
        ("placement: {nodes: \"a b\"}", "placement.nodes", "is not a label name", "nodes:"),
        ("command: [sleep, 5]", "command", "word 2 must be a string; write \"5\"", "command:"),
        ("release: ../x", "release", "no release", "release:"),
        ("autoscaling: {scaleUpThreshold: -0.1}", "autoscaling.scaleUpThreshold", "at least 0", "scaleUpThreshold:"),
        (
            "autoscaling: {scaleDownDelaySeconds: -1}",
            "autoscaling.scaleDownDelaySeconds",
            "must be 0 to",
            "scaleDownDelaySeconds:",
        ),
        ("artifact: {}", "artifact.url", "is missing", "artifact:"),
        ("dependencies: [{condition: ready}]", "dependencies[0]", "has no name", "{cond"),
        ("hooks: {beforeStart: 5}", "hooks.beforeStart", "plugin:action", "beforeStart:"),
        ("health: {liveness: {exec: {}}}", "health.liveness.exec.command", "is missing", "exec:"),
    ];
    for (fields, path, says, at) in table {
        assert_issue(&service(fields), &format!("spec.services[0].{path}"), says, at);
    }
}

#[test]
fn what_cannot_hold_together_says_so() {
    let table = [
        ("update: {maxSurge: 0, maxUnavailable: 0}", "update.maxUnavailable", "both 0", "maxUnavailable:"),
        (
            "autoscaling: {minReplicas: 6}",
            "autoscaling.minReplicas",
            "is 6, more than maxReplicas, which is 5",
            "minReplicas:",
        ),
        ("singleton: true\nreplicas: 2", "replicas", "at most 1", "replicas:"),
        ("singleton: true\nreplicas: eachNode", "replicas", "at most 1", "replicas:"),
        ("type: exec", "command", "is missing", "name: web"),
        ("type: nextjs", "command", "next start", "name: web"),
        ("type: vite", "command", "vite preview", "name: web"),
        ("runtime: none", "command", "is missing", "name: web"),
        ("command: \"echo 'x\"", "command", "not closed", "command:"),
        ("command: [a]\nshell: true", "command", "must be one string", "command:"),
        ("path: a/{release}", "path", "no release is set", "path:"),
        ("ports: [{port: 80}, {port: 80}]", "ports[1].port", "80/tcp is ports[0] too", "port:"),
        (
            "ports: [{port: 80, name: a}, {port: 81, name: a}]",
            "ports[1].name",
            "\"a\" is the name of ports[0] too",
            "name: a}]",
        ),
        ("ports: [{allocation: dynamic}]\nenv: {PORT: 80}", "env.PORT", "first port is dynamic", "PORT:"),
        ("warmPool: {size: 1}\nports: [{port: 80}]", "warmPool.size", "dynamic", "size:"),
        ("envFrom: [{file: .env}]", "envFrom[0].file", "orion apply", "file:"),
        ("envFrom: [{}]", "envFrom[0]", "neither", "{}"),
        ("envFrom: [{file: a, secret: b}]", "envFrom[0]", "both", "{file"),
        ("health: {readiness: {}}", "health.readiness", "asks nothing", "readiness:"),
        ("health: {readiness: {tcp: {}, http: {}}}", "health.readiness", "more than one", "readiness:"),
        ("health: {readiness: {tcp: {port: web}}}", "health.readiness.tcp.port", "name of no port", "port:"),
        ("health: {http: /up}", "health.http", "there is none", "http:"),
        ("restart: {initialDelay: 2m}", "restart.initialDelay", "more than maxDelay", "initialDelay:"),
        ("resources: {memory: 512, limits: {memory: 256}}", "resources.limits.memory", "less than", "memory:"),
        ("artifact: {url: \"ftp://x\"}", "artifact.url", "https://", "url:"),
        ("artifact: {url: \"http://x\", sha256: abc}", "artifact.sha256", "64 digits", "sha256:"),
    ];
    for (fields, path, says, at) in table {
        assert_issue(&service(fields), &format!("spec.services[0].{path}"), says, at);
    }
    assert_issue(
        &job("failurePolicy: [{exitCodes: [], action: Ignore}]"),
        "spec.jobs[0].failurePolicy[0].exitCodes",
        "no exit code",
        "exitCodes:",
    );
}

#[test]
fn what_only_looks_wrong_is_accepted() {
    let table = [
        "update: {strategy: recreate, maxSurge: 0}",
        "update: {maxSurge: 0, maxUnavailable: 1}",
        "ports: [{port: 80}, {allocation: dynamic}]\nenv: {PORT: 81}",
        "ports: [{port: 80}, {port: 80, protocol: udp}]",
        "singleton: true\nreplicas: 0",
        "warmPool: {size: 1}\nports: [{allocation: dynamic}]",
        "resources: {cpu: 1, limits: {cpu: 1}}",
        "health: {http: /up}\nports: [{port: 80}]",
        "type: nextjs\ncommand: next start",
    ];
    for fields in table {
        good(&service(fields));
    }
}

#[test]
fn a_bad_schedule_or_time_zone_is_refused() {
    let table = [
        ("schedule: \"0 0 30 2 *\"", "schedule", "never comes due"),
        ("schedule: \"61 * * * *\"", "schedule", "minute"),
        ("schedule: \"* * *\"", "schedule", "five fields"),
        ("schedule: \"@every -5m\"", "schedule", "negative"),
        ("schedule: 5", "schedule", "must be a string"),
        ("timeZone: Mars/Olympus", "timeZone", "no time zone"),
    ];
    for (fields, field, says) in table {
        assert_issue(&job(fields), &format!("spec.jobs[0].{field}"), says, fields);
    }
    assert_issue(&service("schedule: \"0 0 31 4 *\""), "spec.services[0].schedule", "never comes due", "schedule:");
}

#[test]
fn names_are_labels_and_given_once() {
    assert_issue("spec: {services: [{name: ../../etc}]}", "spec.services[0].name", "use \"etc\"", "name:");
    assert_issue("spec: {services: [{name: My_App}]}", "spec.services[0].name", "use \"my-app\"", "name:");
    assert_issue("spec: {services: [{name: \"\"}]}", "spec.services[0].name", "must not be empty", "name:");
    assert_issue("spec: {services: [{name: 5}]}", "spec.services[0].name", "must be a string; write \"5\"", "name:");
    assert_issue("spec: {services: [{replicas: 2}]}", "spec.services[0].name", "is missing", "{replicas");
    assert_issue("spec: {services: [{name: }]}", "spec.services[0].name", "is missing", "name:");
    assert_issue(
        &format!("spec: {{jobs: [{{name: {}}}]}}", "a".repeat(51)),
        "spec.jobs[0].name",
        "at most 50",
        "name:",
    );
    assert_issue("spec: {nodes: [{name: n_1}]}", "spec.nodes[0].name", "use \"n-1\"", "name:");
    assert_issue(
        "spec:\n  services: [{name: a}, {name: a}]",
        "spec.services[1].name",
        "\"a\" is the name of spec.services[0] too",
        "name:",
    );
    assert_issue(
        "spec:\n  services: [{name: a}]\n  jobs: [{name: a}]",
        "spec.jobs[0].name",
        "\"a\" is the name of spec.services[0] too",
        "name:",
    );
    assert_issue("spec: {nodes: [{name: a}, {name: a}]}", "spec.nodes[1].name", "spec.nodes[0] too", "name:");
    assert_issue("spec: {plugins: [{name: a b}]}", "spec.plugins[0].name", "no plugin's name", "name:");
    assert_issue(
        "spec: {plugins: [{name: \"@a/b\", webhook: {url: \"http://x\"}}]}",
        "spec.plugins[0].name",
        "use \"a-b\"",
        "name:",
    );
    assert_issue("metadata: {name: A}\nspec: {}", "metadata.name", "use \"a\"", "name: A");
    assert_issue("metadata: {namespace: a/b}\nspec: {}", "metadata.namespace", "use \"a-b\"", "namespace:");
    assert!(parse("spec: {services: [{name: a}], nodes: [{name: a}], plugins: [a]}").is_ok());
}

#[test]
fn dependencies_lead_to_what_is_there_and_not_in_circles() {
    let text = |of: &[(&str, &str)]| {
        let services: Vec<String> =
            of.iter().map(|(name, on)| format!("    - {{name: {name}, dependencies: [{on}]}}\n")).collect();
        format!("spec:\n  jobs: [{{name: task}}]\n  services:\n{}", services.concat())
    };
    assert_issue(&text(&[("a", "a")]), "spec.services[0].dependencies[0]", "is \"a\" itself", "a]}");
    assert_issue(
        &text(&[("web", "wev")]),
        "spec.services[0].dependencies[0]",
        "no service or job here; did you mean \"web\"?",
        "wev]}",
    );
    assert_issue(
        &text(&[("a", "b"), ("b", "c"), ("c", "task, a"), ("d", "a")]),
        "spec.services[0].dependencies[0]",
        "is a cycle: a -> b -> c -> a",
        "b]}\n    - {name: b, ",
    );
    assert_issue(
        &text(&[("a", "{name: b, condition: completed}"), ("b", "")]),
        "spec.services[0].dependencies[0]",
        "never does",
        "{name: b, cond",
    );
    assert_issue(
        &text(&[("a", "{name: task, condition: ready}")]),
        "spec.services[0].dependencies[0]",
        "condition: completed",
        "{name: task",
    );
    let two = parse(&text(&[("a", "b"), ("b", "a"), ("c", "d"), ("d", "c")])).expect_err("two cycles");
    assert_eq!(
        two.iter().map(|issue| issue.message.as_str()).collect::<Vec<_>>(),
        ["is a cycle: a -> b -> a", "is a cycle: c -> d -> c"]
    );
    assert!(parse(&text(&[("a", "b, task"), ("b", "task"), ("c", "a, b")])).is_ok());
}

#[test]
fn a_long_chain_of_dependencies_does_not_use_the_stack() {
    let services: String = (0..10_000).map(|i| format!("    - {{name: s{i}, dependencies: [s{}]}}\n", i + 1)).collect();
    assert!(parse(&format!("spec:\n  services:\n{services}    - name: s10000\n")).is_ok());
    assert_eq!(
        parse(&format!("spec:\n  services:\n{services}    - {{name: s10000, dependencies: [s0]}}\n"))
            .expect_err("one circle")
            .len(),
        1
    );
}

#[test]
fn a_text_that_is_no_configuration_is_refused() {
    let table = [
        ("", "", "is empty", None),
        ("# nothing\n", "", "is empty", None),
        ("---\n", "", "is empty", None),
        ("null", "", "must be a mapping", Some((1, 1))),
        ("[]", "", "must be a mapping, not a list", Some((1, 1))),
        ("hello", "", "must be a mapping, not the string", Some((1, 1))),
        ("{}", "spec", "is missing", Some((1, 1))),
        ("kind: Deployment\nspec: {}", "kind", "must be \"Config\", not \"Deployment\"", Some((1, 1))),
        ("apiVersion: v1\nspec: {}", "apiVersion", "must be \"orion/v1\", not \"v1\"", Some((1, 1))),
        ("spec: 5", "spec", "must be a mapping, not a number", Some((1, 1))),
        ("spec: {services: 5}", "spec.services", "must be a list", Some((1, 8))),
        ("spec: {services: [5]}", "spec.services[0]", "must be a mapping", Some((1, 19))),
        ("spec: {}\n---\nspec: {}", "", "2 documents", Some((3, 1))),
        ("spec: {services: [", "", "", Some((1, 19))),
        ("{\"spec\": {\"services\": [}", "", "expected a JSON value", Some((1, 24))),
        ("{spec: {services: [{name: a}, :]}, }}", "", "", Some((1, 37))),
        ("spec: {services: [{name: a, env: {A: .inf}}]}", "", "infinite", Some((1, 38))),
        ("spec: {services: [{name: a, env: {A: 1e400}}]}", "", "too large", Some((1, 38))),
        ("spec: {services: [{name: a, command: \"a\\0b\"}]}", "", "U+0000", Some((1, 38))),
        ("spec: {services: [{name: a, name: b}]}", "", "already", Some((1, 29))),
    ];
    for (text, path, says, place) in table {
        let issues = parse(text).expect_err(text);
        let found = issues.iter().find(|issue| issue.path == path && issue.message.contains(says));
        let found = found.unwrap_or_else(|| panic!("{text:?}\n{}", listed(&issues)));
        assert_eq!(found.place.map(|place| (place.line, place.column)), place, "{text:?}: {found}");
        assert_eq!(issues.len(), 1, "{text:?}\n{}", listed(&issues));
    }
}

#[test]
fn a_definition_of_more_than_256_kib_is_refused() {
    let text = |bytes: usize| service(&format!("command: run\nenv: {{A: {}}}", "x".repeat(bytes)));
    assert_issue(&text(256 * 1024), "spec.services[0]", "at most 256 KiB", "name: web");
    assert!(parse(&text(255 * 1024)).is_ok());
    assert_issue(&text(256 * 1024).replace("services", "jobs"), "spec.jobs[0]", "at most 256 KiB", "name: web");
}

#[test]
fn all_errors_are_reported_at_once_in_the_order_of_the_text() {
    let text = "\
apiVersion: v2
spec:
  services:
    - name: Web
      ports: [{port: 99999}]
      replicas: -1
      update: {maxSurge: 0, maxUnavailable: 0}
    - name: db
      type: exec
      dependencies: [cache]
  jobs:
    - name: db
      schedule: never
";
    let issues = parse(text).expect_err("much is wrong");
    let found: Vec<(&str, usize)> =
        issues.iter().map(|issue| (issue.path.as_str(), issue.place.expect("stands in the text").line)).collect();
    let expected = [
        ("apiVersion", 1),
        ("spec.services[0].name", 4),
        ("spec.services[0].ports[0].port", 5),
        ("spec.services[0].replicas", 6),
        ("spec.services[0].update.maxUnavailable", 7),
        ("spec.services[1].command", 8),
        ("spec.jobs[0].name", 12),
        ("spec.jobs[0].schedule", 13),
    ];
    assert_eq!(found, expected, "{}", listed(&issues));
}

#[test]
fn an_unknown_field_is_a_warning_with_a_proposal_and_strictly_an_error() {
    let table = [
        (service("replcas: 2"), "spec.services[0].replcas", "did you mean \"replicas\"?"),
        (
            service("ports: [{port: 80, potocol: udp}]"),
            "spec.services[0].ports[0].potocol",
            "did you mean \"protocol\"?",
        ),
        (service("update: {maxsurge: 2}"), "spec.services[0].update.maxsurge", "did you mean \"maxSurge\"?"),
        (service("image: nginx"), "spec.services[0].image", "unknown field"),
        (service("timeZone: UTC"), "spec.services[0].timeZone", "it is a field of jobs"),
        (job("replicas: 2"), "spec.jobs[0].replicas", "it is a field of services"),
        ("spec: {}\nservices: []".to_owned(), "services", "belongs under spec: spec.services"),
        ("spec: {servics: []}".to_owned(), "spec.servics", "did you mean \"services\"?"),
        ("spec: {}\nmetadata: {nam: a}".to_owned(), "metadata.nam", "did you mean \"name\"?"),
    ];
    let strict = Options { strict: true, ..Options::default() };
    for (text, path, says) in table {
        assert_warning(&text, path, says);
        let issues = OrionConfig::parse(&text, Format::Auto, &strict).expect_err("strict");
        assert_eq!(issues.iter().map(|issue| issue.path.as_str()).collect::<Vec<_>>(), [path]);
    }
}

#[test]
fn keys_that_begin_with_x_and_what_kubectl_adds_are_free() {
    let text = "\
x-base: &base { command: run, x-inner: 1 }
apiVersion: orion/v1
kind: Config
metadata:
  name: a
  namespace: default
  annotations: { kubectl.kubernetes.io/last-applied-configuration: \"{}\" }
  labels: { team: a }
  resourceVersion: \"5\"
  uid: u
  creationTimestamp: \"2026-11-24T10:00:00Z\"
  managedFields: [{ manager: kubectl }]
spec:
  x-note: [1]
  source: orion.yaml
  services:
    - <<: *base
      name: web
      x-owner: me
status: { applies: [] }
";
    let parsed =
        OrionConfig::parse(text, Format::Yaml, &Options { strict: true, ..Options::default() }).expect("is accepted");
    assert_eq!(parsed.warnings, []);
    assert_eq!(parsed.services[0].spec.process.template.command, Some(Command::Line("run".to_owned())));
    assert_eq!(Value::Object(parsed.content.services[0].clone()), json!({"command": "run", "name": "web"}));
    assert_eq!(parsed.content.source.as_deref(), Some("orion.yaml"));
}

#[test]
fn what_is_accepted_but_hardly_meant_is_a_warning() {
    let table = [
        (service("replicas: 3\nports: [{port: 80}]"), "spec.services[0].ports[0].port", "3 replicas need 3 nodes"),
        (service("ports: [{port: 80, targetPort: 81}]"), "spec.services[0].ports[0].targetPort", "forwards nothing"),
        (service("disconnect: {lostAfter: 5s}"), "spec.services[0].disconnect.lostAfter", "raised to 10s"),
        (service("plugins: [\"@orion/plugin-x\"]"), "spec.services[0].plugins[0]", "nobody registered"),
        (
            service("hooks: {beforeStart: [\"audit:check\"]}"),
            "spec.services[0].hooks.beforeStart[0]",
            "nobody registered",
        ),
        (service("hooks: {beforeStart: check}"), "spec.services[0].hooks.beforeStart[0]", "calls nothing"),
        (service("restartedAt: \"2026-11-24T10:00:00Z\""), "spec.services[0].restartedAt", "orion restart"),
        (job("restart: {maxDelay: 5s}"), "spec.jobs[0].restart", "backoffLimit"),
        ("spec: {plugins: [\"@orion/plugin-x\"]}".to_owned(), "spec.plugins[0]", "nobody registered"),
    ];
    for (text, path, says) in table {
        assert_warning(&text, path, says);
    }
}

#[test]
fn what_the_caller_knows_silences_a_warning() {
    let parse = |text: &str, options: Options| {
        OrionConfig::parse(text, Format::Auto, &options).expect("is accepted").warnings.len()
    };
    let ports = service("replicas: 3\nports: [{port: 80}]");
    assert_eq!(parse(&ports, Options { nodes: Some(3), ..Options::default() }), 0);
    assert_eq!(parse(&ports, Options { nodes: Some(2), ..Options::default() }), 1);
    let plugins = "spec: {plugins: [\"@orion/plugin-x\"], services: [{name: a, plugins: [\"@orion/plugin-x\"]}]}";
    assert_eq!(parse(plugins, Options { plugins: ["@orion/plugin-x".to_owned()].into(), ..Options::default() }), 0);
    assert_eq!(parse(&service("envFrom: [{file: .env}]"), Options { env_files: true, ..Options::default() }), 0);
}

#[test]
fn a_service_with_a_schedule_is_a_job() {
    let parsed = good(&service("schedule: \"@daily\"\ncommand: run\nreplicas: 2\nlabels: {a: b}"));
    assert!(parsed.services.is_empty());
    let job = &parsed.jobs[0];
    assert_eq!((job.name.as_str(), job.path.as_str()), ("web", "spec.services[0]"));
    assert_eq!(
        Value::Object(job.sparse.clone()),
        json!({"schedule": "@daily", "command": "run", "labels": {"a": "b"}})
    );
    let says = |path: &str, words: &str| {
        parsed.warnings.iter().any(|warning| warning.path == path && warning.message.contains(words))
    };
    assert!(says("spec.services[0].replicas", "is a job"), "{}", listed(&parsed.warnings));

    let parsed = good(&service("serverless: {enabled: true, trigger: cron}\nschedule: \"@daily\""));
    assert_eq!((parsed.services.len(), parsed.jobs.len()), (0, 1));
    let parsed = good(&service("serverless: {enabled: true, trigger: cron}"));
    assert!(parsed.jobs[0].spec.suspend, "without a schedule it never comes due");
    let parsed = good(&service("serverless: {enabled: false, trigger: cron}"));
    assert_eq!((parsed.services.len(), parsed.jobs.len()), (1, 0));
}

#[test]
fn a_field_without_an_effect_yet_is_a_warning_that_says_so() {
    let table = [
        (service("health: {readiness: {exec: {command: ok}}}"), "spec.services[0].health", "probes are not built"),
        (service("replicas: eachNode"), "spec.services[0].replicas", "no replica is made"),
        (
            service("ports: [{port: 80}, {port: 81, allocation: socket}]"),
            "spec.services[0].ports[1].allocation",
            "static",
        ),
        (service("envFrom: [{secret: a}]"), "spec.services[0].envFrom[0].secret", "secrets"),
        (service("autoscaling: {enabled: true}"), "spec.services[0].autoscaling.enabled", "not built"),
        (job("timeZone: Europe/Berlin"), "spec.jobs[0].timeZone", "cron"),
        (service("singleton: true"), "spec.services[0].singleton", "cut off"),
        ("spec: {plugins: [{name: p, command: [x]}]}".to_owned(), "spec.plugins[0].command", "command plugins"),
    ];
    for (text, path, says) in table {
        assert_warning(&text, path, says);
    }
}

#[test]
fn a_field_said_at_its_default_is_no_warning() {
    let defaults = "\
singleton: false
user: null
warmPool: {size: 0}
placement: {packing: spread, antiAffinity: soft, maxSkew: 1, prefer: []}
autoscaling: {enabled: false}
hooks: {afterDeploy: []}
ports: [{port: 80, allocation: static}]";
    assert_eq!(listed(&good(&service(defaults)).warnings), "");
    let job_defaults = "suspend: false\ncompletions: 1\ntimeZone: UTC\nconcurrencyPolicy: Forbid\nfailurePolicy: []\nsuccessfulRunsHistoryLimit: 3";
    assert_eq!(listed(&good(&job(job_defaults)).warnings), "");
}

#[test]
fn every_unsupported_field_is_one_that_exists() {
    let spec = shape::CONFIG.object().and_then(|config| config.within("spec")).expect("has a spec");
    for line in unsupported::all() {
        let path = line.path.split(": ").next().expect("has a path");
        let (list, field) =
            path.strip_prefix("spec.").and_then(|path| path.split_once("[].")).expect("spec.LIST[].FIELD");
        let mut at = spec.within(list).expect("a list of mappings");
        let mut steps = field.split('.').map(|step| step.trim_end_matches("[]")).peekable();
        while let Some(step) = steps.next() {
            assert!(at.fields.contains_key(step), "{path}");
            match (steps.peek(), at.within(step)) {
                (Some(_), Some(inner)) => at = inner,
                // A dependency's condition: read by the dependency itself.
                (Some(_), None) => break,
                (None, _) => {}
            }
        }
        assert!(!line.reason.is_empty());
    }
    let paths: Vec<String> = unsupported::all().into_iter().map(|line| line.path).collect();
    for path in
        ["spec.services[].health", "spec.jobs[].health", "spec.services[].replicas: eachNode", "spec.plugins[].command"]
    {
        assert!(paths.iter().any(|listed| listed == path), "{path}");
    }
}

#[test]
fn a_field_that_is_nothing_is_one_that_is_not_said() {
    let parsed = good(&service("replicas:\npath: ~\nports: null\nplacement: {node: null}"));
    assert_eq!(Value::Object(parsed.services[0].sparse.clone()), json!({"placement": {}}));
    assert_eq!(parsed.services[0].spec.replicas, Replicas::Count(1));
}

#[test]
fn the_content_is_normalised_and_says_the_same_again() {
    let parsed = good(&service(
        "env: {A: 0x10, B: true}\nstop: {timeout: 90s, signal: term}\nresources: {cpu: 250m, memory: 1Gi}\nports: [{port: 80, protocol: tcp}]\ndependencies: []",
    ));
    let expected = json!({
        "name": "web",
        "env": {"A": "0x10", "B": "true"},
        "stop": {"timeout": "1m30s", "signal": "SIGTERM"},
        "resources": {"cpu": 0.25, "memory": 1024},
        "ports": [{"port": 80, "protocol": "tcp"}],
        "dependencies": [],
    });
    assert_eq!(Value::Object(parsed.content.services[0].clone()), expected);
    let again = json!({"metadata": {"name": parsed.name}, "spec": parsed.content});
    assert_eq!(good(&again.to_string()).content, parsed.content);
    let all = good(EVERYTHING);
    assert_eq!(good(&json!({"spec": all.content}).to_string()).content, all.content);
}

#[test]
fn a_document_that_came_from_no_text_is_checked_without_places() {
    let document = Document::without_places(json!({"spec": {"services": [{"name": "web", "replicas": -1}]}}));
    let issues = OrionConfig::check(&document, &Options::default()).expect_err("negative");
    assert_eq!((issues.len(), issues[0].path.as_str(), issues[0].place), (1, "spec.services[0].replicas", None));
}

#[test]
fn the_schema_describes_every_field() {
    let schema = OrionConfig::json_schema();
    let service = &schema["properties"]["spec"]["properties"]["services"]["items"]["properties"];
    for (name, field) in service.as_object().expect("properties") {
        assert!(field["description"].as_str().is_some_and(|text| !text.is_empty()), "{name}");
    }
}

#[test]
fn no_text_makes_the_check_panic() {
    const PIECES: [&str; 30] = [
        "null",
        "-1",
        "1e300",
        "true",
        "[]",
        "{}",
        "\"\"",
        "name: x",
        "- ",
        ": ",
        "\n",
        "    ",
        "{",
        "}",
        "[",
        "]",
        ",",
        "x-y: 1",
        "eachNode",
        "90s",
        "@every 1s",
        "0 0 30 2 *",
        "{release}",
        "'",
        "é",
        "*a",
        "&a ",
        "<<: ",
        "9999999999999999999999",
        "a=b,!c",
    ];
    let mut random = fastrand::Rng::with_seed(11);
    let options = Options { limits: Limits { nodes: 5000, ..Limits::default() }, ..Options::default() };
    let mut accepted = 0;
    for _ in 0..1500 {
        let mut text: Vec<char> = EVERYTHING.chars().collect();
        for _ in 0..random.usize(1..4) {
            let at = random.usize(..=text.len());
            let end = (at + random.usize(..20)).min(text.len());
            match random.u8(..3) {
                0 => drop(text.drain(at..end)),
                1 => drop(text.splice(at..end, PIECES[random.usize(..PIECES.len())].chars())),
                _ => drop(text.splice(at..at, text[at..end].to_vec())),
            }
        }
        let text: String = text.into_iter().collect();
        match OrionConfig::parse(&text, Format::Auto, &options) {
            Ok(_) => accepted += 1,
            Err(issues) => assert!(!issues.is_empty(), "{text}"),
        }
    }
    assert!(accepted > 15, "the mutations are mild enough to get past the parser: {accepted}");
}

#[test]
fn what_is_told_is_bounded_however_much_is_wrong() {
    let ports = vec!["{port: 0}"; 3000].join(", ");
    let issues = parse(&service(&format!("ports: [{ports}]"))).expect_err("much is wrong");
    assert_eq!((issues.len(), issues.last().map(|issue| issue.message.as_str())), (1001, Some("and 2000 more")));
    let long = "x".repeat(1_000_000);
    for fields in [
        format!("stop: {{timeout: {long}}}"),
        format!("timeZone: {long}"),
        format!("ports: [{{port: 1, protocol: {long}}}]"),
    ] {
        let issues =
            OrionConfig::parse(&service(&fields), Format::Yaml, &Options { strict: true, ..Options::default() })
                .expect_err("is wrong");
        assert!(issues.iter().all(|issue| issue.message.len() < 1000), "{}", issues[0].message.len());
    }
}

#[test]
fn where_names_are_hidden_by_an_error_nobody_is_called_nobody() {
    for services in ["5", "[5]", "[{nam: db}]"] {
        let text = format!("spec:\n  services: {services}\n  jobs: [{{name: a, dependencies: [db]}}]");
        let issues = parse(&text).expect_err(&text);
        assert_eq!(issues.len(), 1, "{text}\n{}", listed(&issues));
        assert!(issues[0].path.starts_with("spec.services"), "{text}");
    }
}
