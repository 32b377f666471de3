//! Webhook plugins: a hook that stands before a start may refuse it or add to its environment.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

use serde_json::{Value, json};

use crate::harness::{SOON, World, eventually, holds_for};

/// A webhook that answers what it is told to and keeps what it was asked.
#[derive(Clone)]
struct Webhook {
    address: SocketAddr,
    answer: Arc<Mutex<Value>>,
    asked: Arc<Mutex<Vec<Call>>>,
}

#[derive(Clone, Debug)]
struct Call {
    head: String,
    body: Value,
}

impl Webhook {
    fn new(answer: Value) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("is bound");
        let webhook = Self { address, answer: Arc::new(Mutex::new(answer)), asked: Arc::default() };
        let serving = webhook.clone();
        // It ends with the test's process.
        thread::spawn(move || listener.incoming().flatten().for_each(|stream| serving.serve(stream)));
        webhook
    }

    fn serve(&self, mut stream: TcpStream) {
        let mut reader = BufReader::new(stream.try_clone().expect("a socket"));
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") && matches!(reader.read_line(&mut head), Ok(1..)) {}
        let length = head.lines().filter_map(|line| line.split_once(": "));
        let length = length.filter(|(name, _)| name.eq_ignore_ascii_case("content-length"));
        let length = length.filter_map(|(_, value)| value.parse().ok()).next().unwrap_or(0);
        let mut body = vec![0; length];
        if reader.read_exact(&mut body).is_err() {
            return;
        }
        let body = serde_json::from_slice(&body).expect("calls are JSON");
        self.asked.lock().expect("nobody panics with it").push(Call { head, body });
        let answer = self.answer.lock().expect("nobody panics with it").to_string();
        let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n";
        // A caller that is gone hears nothing.
        drop(write!(stream, "{head}Content-Length: {}\r\n\r\n{answer}", answer.len()));
    }

    fn asked(&self) -> Vec<Call> {
        self.asked.lock().expect("nobody panics with it").clone()
    }

    fn config(&self, version: u32) -> String {
        format!(
            "
metadata: {{ name: hooked }}
spec:
  services:
    - name: web
      type: exec
      command: sleep 100000
      env: {{ VERSION: {version} }}
      hooks: {{ beforeStart: ['audit:check'] }}
      plugins: [audit]
      update: {{ minReady: 100ms }}
  plugins:
    - name: audit
      webhook: {{ url: 'http://{}/hook', secret: key }}
      config: {{ level: 3 }}
",
            self.address
        )
    }
}

#[test]
fn a_hook_that_allows_a_start_is_asked_before_it_and_adds_environment() {
    let world = World::new();
    let server = world.server();
    let agent = world.agent(&server, "node-1");
    let webhook = Webhook::new(json!({"allowed": true, "env": {"FROM_HOOK": "yes"}}));
    server.api().applied(&webhook.config(1));
    eventually("it runs", SOON, || server.api().is_running("web"));
    let process = world.processes_of("web").remove(0);
    assert_eq!(process.environment.get("FROM_HOOK").map(String::as_str), Some("yes"), "{process:?}");
    let calls = webhook.asked();
    assert_eq!(calls.len(), 1, "once for one placement: {calls:#?}");
    let (head, body) = (calls[0].head.to_ascii_lowercase(), &calls[0].body);
    assert!(head.starts_with("post /hook") && head.contains("x-orion-signature: sha256="), "{head}");
    let data = &body["data"];
    let told = (&body["specversion"], &data["hook"], &data["service"], &data["config"]["level"]);
    assert_eq!(told, (&json!("1.0"), &json!("audit:check"), &json!("web"), &json!(3)), "{body:#}");
    world.end([agent, server.daemon]);
}

#[test]
fn a_hook_that_refuses_a_start_keeps_the_process_away_and_says_why() {
    let world = World::new();
    let server = world.server();
    let agent = world.agent(&server, "node-1");
    let webhook = Webhook::new(json!({"allowed": false, "reason": "not on a Friday"}));
    server.api().applied(&webhook.config(1));
    let why = eventually("the reason is told", SOON, || {
        let why = world.orion(&server, &["why", "service/web"]).ok();
        if why.contains("not on a Friday") { Ok(why) } else { Err(why) }
    });
    assert!(why.contains("audit:check") || why.contains("refused"), "{why}");
    holds_for("nothing starts", Duration::from_secs(2), || world.counts("web", 0).map(drop));

    *webhook.answer.lock().expect("nobody panics with it") = json!({});
    server.api().applied(&webhook.config(2));
    eventually("a new version is asked for anew", SOON, || world.counts("web", 1));
    world.end([agent, server.daemon]);
}
