//! Every bad input of the specification: a 4xx or an exit status, with what and where; nothing changes and the server
//! goes on.

use std::{collections::BTreeMap, fs, net::SocketAddr, time::Duration};

use serde_json::{Value, json};

use crate::harness::{Answer, Api, Received, Request, SOON, Server, Socket, World, eventually, exchange};

const GOOD: &str = "
metadata: { name: good }
spec:
  services:
    - { name: web, type: exec, command: sleep 100000, replicas: 2, dependencies: [db] }
    - { name: db, type: exec, command: sleep 100000 }
";

const YAML: &str = "application/yaml";

/// A server whose state has come to rest, and that state.
struct Bench {
    world: World,
    server: Server,
    state: BTreeMap<String, String>,
}

impl Bench {
    fn new() -> Self {
        let world = World::new();
        let server = world.server();
        let api = server.api();
        api.applied(GOOD);
        let mut last = BTreeMap::new();
        let mut since = std::time::Instant::now();
        let state = eventually("the state comes to rest", SOON, || {
            let now = api.state();
            if now != last {
                (last, since) = (now, std::time::Instant::now());
            }
            if since.elapsed() > Duration::from_secs(1) { Ok(last.clone()) } else { Err("it moves".to_owned()) }
        });
        Self { world, server, state }
    }

    fn api(&self) -> Api {
        self.server.api()
    }

    fn address(&self) -> SocketAddr {
        self.server.address
    }

    #[track_caller]
    fn nothing_changed(&self, case: &str) {
        assert_eq!(self.api().get("/health").status, 200, "{case}: the server goes on");
        assert_eq!(self.api().state(), self.state, "{case}: nothing changes");
    }

    fn end(self) {
        self.world.end([self.server.daemon]);
    }
}

/// A configuration with one service `web` of these fields.
fn service(fields: &str) -> String {
    format!(
        "metadata: {{ name: good }}\nspec:\n  services:\n    - {{ name: web, type: exec, command: run, {fields} }}\n"
    )
}

fn job(fields: &str) -> String {
    service(fields).replace("services", "jobs")
}

#[track_caller]
fn assert_refused(case: &str, answer: &Answer, path: &str) {
    assert_eq!(answer.status, 400, "{case}: {}", answer.text());
    let body = answer.json();
    assert_eq!(body["message"], "Invalid configuration", "{case}: {body:#}");
    let issues = body["issues"].as_array().cloned().unwrap_or_default();
    let found = issues.iter().find(|issue| issue["path"] == path);
    let found = found.unwrap_or_else(|| panic!("{case}: nothing at {path:?} in {body:#}"));
    assert!(found["message"].as_str().is_some_and(|message| !message.is_empty()), "{case}: {body:#}");
}

#[test]
fn a_configuration_that_is_wrong_is_refused_with_its_place_and_changes_nothing() {
    let bench = Bench::new();
    let web = "spec.services[0]";
    let table: Vec<(&str, String, String)> = vec![
        ("port out of range", service("ports: [{ port: 70000 }]"), format!("{web}.ports[0].port")),
        ("wrong type", service("replicas: many"), format!("{web}.replicas")),
        ("wrong type", "spec: { services: 5 }".into(), "spec.services".into()),
        ("missing name", "spec: { services: [{ replicas: 2 }] }".into(), format!("{web}.name")),
        ("duplicate names", "spec: { services: [{ name: a }, { name: a }] }".into(), "spec.services[1].name".into()),
        ("no label", "spec: { services: [{ name: ../../etc }] }".into(), format!("{web}.name")),
        ("wrong kind", "kind: Deployment\nspec: {}".into(), "kind".into()),
        ("wrong apiVersion", "apiVersion: v1\nspec: {}".into(), "apiVersion".into()),
        ("negative replicas", service("replicas: -1"), format!("{web}.replicas")),
        ("min > max", service("autoscaling: { minReplicas: 6 }"), format!("{web}.autoscaling.minReplicas")),
        ("a dependency on itself", service("dependencies: [web]"), format!("{web}.dependencies[0]")),
        ("a dependency on nobody", service("dependencies: [nobody]"), format!("{web}.dependencies[0]")),
        (
            "dependencies in a cycle",
            "spec: { services: [{ name: a, dependencies: [b] }, { name: b, dependencies: [a] }] }".into(),
            format!("{web}.dependencies[0]"),
        ),
        (
            "no way to roll out",
            service("update: { maxSurge: 0, maxUnavailable: 0 }"),
            format!("{web}.update.maxUnavailable"),
        ),
        ("a definition over 256 KiB", service(&format!("env: {{ A: {} }}", "x".repeat(256 * 1024))), web.into()),
        ("an impossible cron", job("schedule: '0 0 30 2 *'"), "spec.jobs[0].schedule".into()),
        ("an unknown time zone", job("timeZone: Mars/Olympus"), "spec.jobs[0].timeZone".into()),
        ("a negative duration", service("stop: { timeout: -5s }"), format!("{web}.stop.timeout")),
        ("an overflowing duration", service("stop: { timeout: 99999999999999999999h }"), format!("{web}.stop.timeout")),
        ("an env name with =", service("env: { 'A=B': 1 }"), format!("{web}.env.A=B")),
        ("a bad selector", service("placement: { nodes: 'a b' }"), format!("{web}.placement.nodes")),
        ("1e400", service("env: { A: 1e400 }"), String::new()),
        (".inf", service("resources: { cpu: .inf }"), String::new()),
        ("NUL in a string", service("env: { A: \"a\\0b\" }"), String::new()),
        ("NUL in an env name", service("env: { \"A\\0B\": 1 }"), String::new()),
        ("YAML that does not parse", "spec: { services: [".into(), String::new()),
        ("two documents", "spec: {}\n---\nspec: {}".into(), String::new()),
        ("empty body", String::new(), String::new()),
        ("an alias bomb", alias_bomb(), String::new()),
        ("100 000 levels of nesting", format!("spec: {}", "[".repeat(100_000)), String::new()),
    ];
    for (case, text, path) in &table {
        assert_refused(case, &bench.api().apply("", text), path);
        bench.nothing_changed(case);
    }
    bench.end();
}

fn alias_bomb() -> String {
    let mut text = "x-0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..10 {
        let aliases = vec![format!("*a{}", level - 1); 10].join(", ");
        text.push_str(&format!("x-{level}: &a{level} [{aliases}]\n"));
    }
    text + "spec: { services: [{ name: web, env: *a9 }] }\n"
}

#[test]
fn a_body_that_is_no_text_or_no_json_is_refused_and_changes_nothing() {
    let bench = Bench::new();
    let utf16: Vec<u8> = "spec: {}".encode_utf16().flat_map(u16::to_le_bytes).collect();
    let with_mark = [&[0xFF, 0xFE], utf16.as_slice()].concat();
    let json = "application/json";
    let table: [(&str, &str, Vec<u8>); 8] = [
        ("invalid UTF-8", YAML, b"spec: { services: [{ name: \"\xFF\xFE\" }] }".to_vec()),
        ("UTF-16", YAML, utf16),
        ("UTF-16 with its mark", YAML, with_mark),
        ("JSON that does not parse", json, b"{\"spec\": {\"services\": [}".to_vec()),
        ("JSON, empty", json, Vec::new()),
        ("JSON of two documents", json, b"{\"spec\": {}} {\"spec\": {}}".to_vec()),
        ("JSON, nested deeply", json, format!("{{\"spec\": {}", "[".repeat(100_000)).into_bytes()),
        ("YAML sent as JSON", json, b"spec: {}".to_vec()),
    ];
    for (case, content_type, body) in table {
        let answer = Request::new("POST", "/api/apply").body(content_type, body).send(bench.address());
        assert_refused(case, &answer, "");
        bench.nothing_changed(case);
    }
    let answer =
        Request::new("POST", "/api/apply").body(json, "{\n  \"spec\": {\n    \"services\": 5 }}").send(bench.address());
    let issue = &answer.json()["issues"][0];
    assert_eq!((&issue["path"], &issue["line"], &issue["column"]), (&json!("spec.services"), &json!(3), &json!(5)));
    bench.end();
}

#[test]
fn all_errors_of_a_file_are_told_at_once_with_line_and_column() {
    let bench = Bench::new();
    let text = "spec:\n  services:\n    - name: Web\n      replicas: -1\n      ports: [{ port: 99999 }]\n";
    let body = bench.api().apply("", text).json();
    let issues = body["issues"].as_array().expect("a list");
    let told: Vec<_> = issues
        .iter()
        .map(|i| (i["path"].as_str().unwrap_or_default(), i["line"].as_u64(), i["column"].as_u64()))
        .collect();
    let expected = [
        ("spec.services[0].name", Some(3), Some(7)),
        ("spec.services[0].replicas", Some(4), Some(7)),
        ("spec.services[0].ports[0].port", Some(5), Some(17)),
    ];
    assert_eq!(told, expected, "{body:#}");
    bench.nothing_changed("several errors");
    bench.end();
}

#[test]
fn an_unknown_field_is_a_warning_with_a_proposal_and_strictly_an_error() {
    let bench = Bench::new();
    let text = GOOD.replace("replicas: 2", "replcas: 2");
    let answer = bench.api().apply("dryRun=true", &text);
    assert_eq!(answer.status, 202, "{}", answer.text());
    let warnings = answer.json()["warnings"].clone();
    let warning = warnings.as_array().into_iter().flatten().find(|w| w["path"] == "spec.services[0].replcas");
    let message = warning.and_then(|warning| warning["message"].as_str()).unwrap_or_default();
    assert!(message.contains("\"replicas\""), "{warnings:#}");
    assert_refused("strict", &bench.api().apply("strict=true", &text), "spec.services[0].replcas");
    bench.nothing_changed("an unknown field");
    bench.end();
}

#[test]
fn a_request_that_is_wrong_is_refused_with_its_status_and_changes_nothing() {
    let bench = Bench::new();
    let post = || Request::new("POST", "/api/apply");
    let good = || post().body(YAML, GOOD);
    let resource = "/apis/orion/v1/namespaces/default/services";
    let merge = "application/merge-patch+json";
    let table: Vec<(&str, Request, u16, &str)> = vec![
        ("wrong content type", post().body("text/plain", GOOD), 415, "text/plain"),
        ("a form's content type", post().body("application/x-www-form-urlencoded", GOOD), 415, "application/json"),
        ("wrong method", Request::new("DELETE", "/api/apply"), 405, "DELETE"),
        ("wrong method", Request::new("POST", "/health").body(YAML, ""), 405, "POST"),
        ("unknown path", Request::new("GET", "/api/nothing"), 404, "/api/nothing"),
        ("unknown path", Request::new("GET", "/nothing"), 404, "/nothing"),
        ("unknown object", Request::new("GET", &format!("{resource}/nobody")), 404, "nobody"),
        ("64 MB", post().body(YAML, vec![b'#'; 64 << 20]), 413, ""),
        ("a foreign Host", good().header("Host", "evil.example"), 403, "evil.example"),
        ("no Host", good().header("Host", ""), 403, ""),
        ("a foreign Origin", good().header("Origin", "http://evil.example"), 403, "origin"),
        ("a null Origin", good().header("Origin", "null"), 403, "origin"),
        ("through a proxy", good().header("X-Forwarded-For", "10.0.0.1"), 401, "token"),
        ("a wrong token", good().header("Authorization", "Bearer guess"), 401, "token"),
        ("a foreign Origin on a socket", upgrade().header("Origin", "http://evil.example"), 403, "origin"),
        ("a foreign Host on a socket", upgrade().header("Host", "evil.example"), 403, "evil.example"),
        ("a bad selector", Request::new("GET", &format!("{resource}?labelSelector=a%20b%3D%3D%3Dc")), 400, "a b"),
        ("a bad version", Request::new("GET", &format!("{resource}?resourceVersion=soon")), 400, "soon"),
        (
            "a bad expectVersion",
            Request::new("POST", "/api/apply?expectVersion=x").body(YAML, GOOD),
            422,
            "expectVersion",
        ),
        ("prune of default", Request::new("POST", "/api/apply?prune=true").body(YAML, "spec: {}"), 400, "default"),
        (
            "a patch of a wrong type",
            Request::new("PATCH", &format!("{resource}/web")).body(merge, r#"{"spec":{"replicas":"x"}}"#),
            422,
            "replicas",
        ),
        ("a patch that is no JSON", Request::new("PATCH", &format!("{resource}/web")).body(merge, "{"), 400, ""),
        (
            "an object without a name",
            Request::new("POST", resource).body("application/json", r#"{"spec":{}}"#),
            422,
            "name",
        ),
    ];
    for (case, request, status, says) in table {
        let answer = request.send(bench.address());
        assert_eq!(answer.status, status, "{case}: {}", answer.text());
        assert!(answer.text().contains(says), "{case}: says {says:?}: {}", answer.text());
        bench.nothing_changed(case);
    }
    bench.end();
}

fn upgrade() -> Request {
    let request = Request::new("GET", "/ws").header("Connection", "Upgrade").header("Upgrade", "websocket");
    request.header("Sec-WebSocket-Version", "13").header("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")
}

#[test]
fn bytes_that_are_no_request_end_their_connection_and_nothing_else() {
    let bench = Bench::new();
    let address = bench.address();
    let long = format!("GET / HTTP/1.1\r\nHost: {address}\r\nX-Long: {}\r\n\r\n", "x".repeat(1 << 20));
    let many: String = (0..2000).map(|i| format!("X-{i}: 1\r\n")).collect();
    let many = format!("GET / HTTP/1.1\r\nHost: {address}\r\n{many}\r\n");
    let negative = format!("POST /api/apply HTTP/1.1\r\nHost: {address}\r\nContent-Length: -1\r\n\r\n");
    for (case, bytes) in [
        ("no HTTP", "\u{1}\u{2}hello\r\n\r\n"),
        ("a long header", &long),
        ("many headers", &many),
        ("a negative length", &negative),
    ] {
        let answer = exchange(address, bytes.as_bytes()).unwrap_or_default();
        let head = String::from_utf8_lossy(&answer).lines().next().unwrap_or_default().to_owned();
        assert!(head.is_empty() || head.starts_with("HTTP/1.1 4"), "{case}: {head}");
        bench.nothing_changed(case);
    }
    bench.end();
}

fn hello() -> Value {
    json!({"type": "hello", "payload": {"nodeId": "n", "name": "node-1", "address": "127.0.0.1", "labels": {}}})
}

#[test]
fn a_frame_that_is_wrong_closes_its_socket_with_the_reason() {
    let bench = Bench::new();
    let beat = json!({"type": "heartbeat", "payload": {"timestamp": 1}}).to_string();
    let table: [(&str, String, u16, &str); 6] = [
        ("before hello", beat, 1002, "hello"),
        ("not JSON", "hello".into(), 1002, "JSON"),
        ("no type", "{\"payload\":{}}".into(), 1002, "type"),
        ("no object", "[1, 2]".into(), 1002, "JSON"),
        ("a name that is no string", hello().to_string().replace("\"node-1\"", "5"), 1008, "name"),
        ("too large", format!("{{\"type\":\"{}\"}}", "x".repeat(2 << 20)), 1009, "larger"),
    ];
    for (case, text, code, says) in &table {
        let mut socket = Socket::connect(bench.address());
        socket.say_text(text.as_str());
        assert_closed(case, &socket.hear(SOON), *code, says);
        bench.nothing_changed(case);
    }
    bench.end();
}

#[track_caller]
fn assert_closed(case: &str, received: &Received, expected: u16, says: &str) {
    match received {
        Received::Closed(code, reason) => {
            assert_eq!(*code, expected, "{case}: {reason}");
            assert!(reason.contains(says), "{case}: says {says:?}: {reason}");
        }
        other => panic!("{case}: {other:?}"),
    }
}

#[test]
fn after_a_good_hello_a_wrong_frame_closes_the_socket_too() {
    let bench = Bench::new();
    let table: [(&str, String, u16, &str); 3] = [
        ("not JSON", "beat".into(), 1002, "JSON"),
        ("no type", "{}".into(), 1002, "type"),
        ("too large", format!("{{\"type\":\"{}\"}}", "x".repeat(2 << 20)), 1009, "larger"),
    ];
    for (case, text, code, says) in &table {
        let mut socket = Socket::connect(bench.address());
        socket.say(&hello());
        socket.say_text(text.as_str());
        let closed = eventually(case, SOON, || match socket.hear(Duration::from_secs(1)) {
            closed @ Received::Closed(..) => Ok(closed),
            other => Err(format!("{other:?}")),
        });
        assert_closed(case, &closed, *code, says);
        assert_eq!(bench.api().get("/health").status, 200, "{case}: the server goes on");
    }
    bench.end();
}

#[test]
fn commands_refuse_bad_files_with_1_and_wrong_usage_with_2() {
    let bench = Bench::new();
    let Bench { world, server, .. } = &bench;
    world.write(
        "bad.yaml",
        "metadata: { name: bad }\nspec:\n  services:\n    - name: web\n      ports: [{ port: 70000 }]\n",
    );
    world.write("torn.yaml", "spec: { services: [");
    world.write(
        "unset.yaml",
        "metadata: { name: bad }\nspec: { services: [{ name: web, env: { A: \"${NOT_SET_ANYWHERE}\" } }] }\n",
    );
    world.write("typo.yaml", "metadata: { name: good }\nspec: { services: [{ name: web, replcas: 2 }] }\n");
    fs::write(world.path("latin.yaml"), b"spec: { services: [{ name: \"\xFF\" }] }").expect("can be written");
    let table: [(&[&str], i32, &str); 20] = [
        (&["validate", "-f", "bad.yaml"], 1, "bad.yaml:5:17: error: spec.services[0].ports[0].port"),
        (&["apply", "-f", "bad.yaml"], 1, "bad.yaml:5:17: error: spec.services[0].ports[0].port"),
        (&["apply", "-f", "torn.yaml"], 1, "torn.yaml:1:"),
        (&["apply", "-f", "unset.yaml"], 1, "NOT_SET_ANYWHERE"),
        (&["apply", "-f", "latin.yaml"], 1, "UTF-8"),
        (&["apply", "-f", "typo.yaml", "--strict"], 1, "did you mean \"replicas\"?"),
        (&["validate", "-f", "typo.yaml", "--strict"], 1, "did you mean \"replicas\"?"),
        (&["apply", "-f", "nowhere.yaml"], 2, "nowhere.yaml"),
        (&["apply"], 2, "orion init"),
        (&["apply", "-f", "bad.yaml", "--nonsense"], 2, "--nonsense"),
        (&["get"], 2, "KIND"),
        (&["get", "gadgets"], 2, "gadgets"),
        (&["get", "service/nobody"], 1, "nobody"),
        (&["get", "services", "-l", "a b"], 2, "a b"),
        (&["get", "services", "-o", "xml"], 2, "xml"),
        (&["scale", "web", "--replicas", "-1"], 2, "-1"),
        (&["scale", "nobody", "--replicas", "1"], 1, "nobody"),
        (&["delete", "services"], 2, "-l"),
        (&["why", "service/nobody"], 1, "nobody"),
        (&["frobnicate"], 2, "frobnicate"),
    ];
    for (arguments, status, says) in table {
        let said = world.orion(server, arguments).fails_with(status);
        assert!(said.contains(says), "{arguments:?} says {says:?}: {said}");
        bench.nothing_changed(&arguments.join(" "));
    }
    let nobody = format!("http://127.0.0.1:{}", crate::harness::free_port());
    let unreachable = world.run(world.command().args(["get", "services", "--server", &nobody])).fails_with(2);
    assert!(unreachable.contains(&nobody["http://".len()..]), "{unreachable}");
    bench.end();
}

#[test]
fn a_second_server_on_the_same_state_is_refused_and_told_who_holds_it() {
    let bench = Bench::new();
    let listen = format!("127.0.0.1:{}", crate::harness::free_port());
    let mut second = bench.world.command();
    second.args(["server", "--listen", &listen, "--data-dir", "server"]);
    let said = bench.world.run(&mut second).fails_with(1);
    let holder = bench.server.daemon.pid().to_string();
    assert!(said.contains("state.sqlite") && said.contains(&holder), "names file and holder: {said}");
    bench.nothing_changed("a second server");
    bench.end();
}

#[test]
fn a_port_that_is_taken_is_said_with_by_whom() {
    let bench = Bench::new();
    let mut second = bench.world.command();
    second.args(["server", "--listen", &bench.address().to_string(), "--data-dir", "second"]);
    let said = bench.world.run(&mut second).fails_with(1);
    let holder = bench.server.daemon.pid().to_string();
    assert!(said.contains(&bench.address().port().to_string()) && said.contains(&holder), "{said}");
    bench.end();
}

#[test]
fn a_state_file_that_is_no_database_is_refused_and_left_as_it_is() {
    let world = World::new();
    fs::create_dir(world.path("server")).expect("a folder");
    let text = "this is a letter, not a database\n".repeat(200);
    let file = world.write("server/state.sqlite", &text);
    let mut server = world.command();
    server.args(["server", "--listen", "127.0.0.1:0", "--data-dir", "server"]);
    let said = world.run(&mut server).fails_with(1);
    assert!(said.contains("state.sqlite"), "{said}");
    assert_eq!(fs::read_to_string(file).expect("is there"), text);
    world.end([]);
}

#[test]
fn a_server_refuses_addresses_beyond_loopback_unless_told_insecure() {
    let world = World::new();
    let mut server = world.command();
    server.args(["server", "--listen", "0.0.0.0:0", "--data-dir", "server"]);
    let said = world.run(&mut server);
    assert!(matches!(said.status, 1 | 2), "{said:#?}");
    assert!(said.stderr.contains("--insecure"), "{said:#?}");
    world.end([]);
}
