//! An agent, as far as its words go: a WebSocket client that says and expects frames.

use std::time::Duration;

use futures::{SinkExt, StreamExt};
use orion_types::Replica;
use serde_json::{Value, json};
use tokio::{net::TcpStream, time::timeout};
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, connect_async,
    tungstenite::{Error, Message},
};

use crate::world::{SOON, World};

pub(crate) struct Agent {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    /// The session, once welcomed.
    pub(crate) session: String,
}

/// What an agent of protocol 1 says first.
pub(crate) fn hello(node: &str) -> Value {
    json!({
        "nodeId": format!("id-{node}"), "name": node, "address": "10.0.0.1", "labels": {"zone": "eu"},
        "protocol": {"min": 1, "max": 1}, "agentVersion": "0.1.0", "agentId": format!("agent-{node}"),
        "instanceId": "1", "capacity": {"cpu": 4, "memory": "8Gi"}
    })
}

/// A hello with other fields.
pub(crate) fn hello_with(node: &str, fields: Value) -> Value {
    let mut hello = hello(node);
    orion_model::patch::merge(&mut hello, &fields);
    hello
}

/// What an agent reports of a replica.
pub(crate) fn report(replica: &Replica, seq: u64, state: &str) -> Value {
    json!({
        "service": "web", "replicaId": replica.metadata.name, "namespace": replica.metadata.namespace,
        "uid": replica.metadata.uid, "specVersion": replica.metadata.spec_version, "attempt": 1, "seq": seq,
        "state": state
    })
}

/// A report with other fields.
pub(crate) fn report_with(replica: &Replica, seq: u64, state: &str, fields: Value) -> Value {
    let mut report = report(replica, seq, state);
    orion_model::patch::merge(&mut report, &fields);
    report
}

impl Agent {
    /// A socket on which nothing was said.
    pub(crate) async fn open(world: &World) -> Self {
        let (socket, _) = connect_async(format!("ws://{}/ws", world.address)).await.expect("the server takes sockets");
        Self { socket, session: String::new() }
    }

    /// A socket on which this hello was said.
    pub(crate) async fn say_hello(world: &World, hello: Value) -> Self {
        let mut agent = Self::open(world).await;
        agent.send("hello", hello).await;
        agent
    }

    /// An agent that is welcome.
    pub(crate) async fn welcomed(world: &World, hello: Value) -> Self {
        let mut agent = Self::say_hello(world, hello).await;
        let welcome = agent.expect("welcome").await;
        agent.session = welcome["sessionId"].as_str().expect("a session").to_owned();
        agent
    }

    /// An agent that has worked through its first sync: it wants what it lacks, and is given it.
    pub(crate) async fn synced(world: &World, hello: Value) -> (Self, Vec<Value>) {
        let holds = hello["replicas"].as_array().cloned().unwrap_or_default();
        let mut agent = Self::welcomed(world, hello).await;
        let launches = agent.sync(&holds).await;
        (agent, launches)
    }

    /// An agent that has nothing and of which nothing is wished yet.
    pub(crate) async fn idle(world: &World, node: &str) -> Self {
        let (agent, launches) = Self::synced(world, hello(node)).await;
        assert!(launches.is_empty());
        agent
    }

    /// Works through a sync as an agent does that holds these; gives the launches it got for what it wanted.
    pub(crate) async fn sync(&mut self, holds: &[Value]) -> Vec<Value> {
        let wanted = self.lacking(holds).await;
        if !wanted.is_empty() {
            self.send("want", json!({ "uids": wanted })).await;
        }
        let mut launches = Vec::new();
        for _ in &wanted {
            launches.push(self.command("launch").await);
        }
        self.say_synced().await;
        launches
    }

    pub(crate) async fn say_synced(&mut self) {
        let session = self.session.clone();
        self.send("synced", json!({ "sessionId": session })).await;
    }

    /// What the next sync names that these do not cover.
    pub(crate) async fn lacking(&mut self, holds: &[Value]) -> Vec<Value> {
        let named = self.named().await;
        let version = |value: &Value| value["specVersion"].as_str().and_then(|text| text.parse::<u64>().ok());
        let covers =
            |entry: &Value| holds.iter().any(|held| held["uid"] == entry["uid"] && version(held) >= version(entry));
        named.into_iter().filter(|entry| !covers(entry)).map(|entry| entry["uid"].clone()).collect()
    }

    /// All that the next sync names.
    pub(crate) async fn named(&mut self) -> Vec<Value> {
        let mut named = Vec::new();
        loop {
            let part = self.expect("sync").await;
            named.extend(part["replicas"].as_array().expect("a list").iter().cloned());
            if part["last"] == true {
                return named;
            }
        }
    }

    pub(crate) async fn send(&mut self, kind: &str, payload: Value) {
        self.send_text(json!({ "type": kind, "payload": payload }).to_string()).await;
    }

    pub(crate) async fn send_text(&mut self, text: String) {
        self.send_message(Message::text(text)).await;
    }

    pub(crate) async fn send_message(&mut self, message: Message) {
        self.socket.send(message).await.expect("the socket is open");
    }

    /// Sends what the server may refuse to take to its end.
    pub(crate) async fn try_send(&mut self, message: Message) {
        // The send stalls where the server reads no further; its reason is read meanwhile.
        let sent = timeout(Duration::from_millis(300), self.socket.send(message)).await;
        drop(sent);
    }

    /// Waits for the server's next ping; the answer goes out with the next look at the socket.
    pub(crate) async fn ping(&mut self) {
        loop {
            match self.message().await {
                Some(Ok(Message::Ping(_))) => return self.socket.flush().await.expect("the socket is open"),
                Some(Ok(Message::Text(_) | Message::Pong(_))) => {}
                other => panic!("a ping was expected, not {other:?}"),
            }
        }
    }

    pub(crate) async fn report(&mut self, report: Value) {
        self.send("status", report).await;
    }

    pub(crate) async fn ack(&mut self, command: &Value) {
        self.send("ack", json!({ "id": command["id"] })).await;
    }

    /// The next frame: its type and payload.
    pub(crate) async fn next(&mut self) -> (String, Value) {
        timeout(SOON, self.next_frame()).await.expect("the server says something beside its pings in time")
    }

    async fn next_frame(&mut self) -> (String, Value) {
        loop {
            match self.message().await {
                Some(Ok(Message::Text(text))) => {
                    let frame: Value = serde_json::from_str(&text).expect("a frame is JSON");
                    let kind = frame["type"].as_str().expect("a frame has a type").to_owned();
                    return (kind, frame["payload"].clone());
                }
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                other => panic!("a frame was expected, not {other:?}"),
            }
        }
    }

    /// The next frame, or nothing where the server ends the socket instead.
    pub(crate) async fn try_next(&mut self) -> Option<(String, Value)> {
        match self.message().await {
            Some(Ok(Message::Text(text))) => {
                let frame: Value = serde_json::from_str(&text).expect("a frame is JSON");
                Some((frame["type"].as_str()?.to_owned(), frame["payload"].clone()))
            }
            _ => None,
        }
    }

    /// The payload of the next frame, which must be of this type.
    pub(crate) async fn expect(&mut self, kind: &str) -> Value {
        let (found, payload) = self.next().await;
        assert_eq!(found, kind, "{payload}");
        payload
    }

    /// The payload of the next frame of this type; others before it are passed over.
    pub(crate) async fn find(&mut self, kind: &str) -> Value {
        loop {
            let (found, payload) = self.next().await;
            if found == kind {
                return payload;
            }
        }
    }

    /// The payload of the next command, which must be of this type.
    pub(crate) async fn command(&mut self, kind: &str) -> Value {
        loop {
            let (found, payload) = self.next().await;
            if found != "statusAck" {
                assert_eq!(found, kind, "{payload}");
                return payload;
            }
        }
    }

    /// No command came before the launch of a replica that is bound now.
    pub(crate) async fn expect_no_command(&mut self, world: &World, of_node: &str) {
        let marker = world.replica(&format!("marker-{}", world.client.randomness().suffix(8)), of_node).await;
        let launch = self.command("launch").await;
        assert_eq!(launch["replicaId"], marker.metadata.name, "{launch}");
        self.ack(&launch).await;
    }

    /// Nothing was said before what is said now: asks for a sign that comes after all that was queued.
    pub(crate) async fn expect_nothing(&mut self, world: &World, of_node: &str) {
        let marker = world.replica(&format!("marker-{}", world.client.randomness().suffix(8)), of_node).await;
        let launch = self.expect("launch").await;
        assert_eq!(launch["replicaId"], marker.metadata.name, "{launch}");
        self.ack(&launch).await;
    }

    /// Waits for the end; gives the code and the reason the server gave.
    pub(crate) async fn closed(mut self) -> (u16, String) {
        loop {
            match self.message().await {
                Some(Ok(Message::Close(Some(frame)))) => return (frame.code.into(), frame.reason.to_string()),
                Some(Ok(Message::Text(_) | Message::Ping(_) | Message::Pong(_))) => {}
                other => panic!("a close with a reason was expected, not {other:?}"),
            }
        }
    }

    /// Ends the connection as an agent does that is told to end.
    pub(crate) async fn leave(mut self) {
        self.socket.close(None).await.expect("the socket is open");
        while self.message().await.is_some_and(|message| message.is_ok()) {}
    }

    async fn message(&mut self) -> Option<Result<Message, Error>> {
        timeout(SOON, self.socket.next()).await.expect("the server says something in time")
    }
}
