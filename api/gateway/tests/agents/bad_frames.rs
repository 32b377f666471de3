//! What is no conversation: each gets a close with a reason, and the server goes on.

use std::time::Duration;

use orion_types::protocol::MAX_FRAME;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};
use tokio_tungstenite::tungstenite::Message;

use crate::{
    client::{Agent, hello, hello_with, report},
    world::{SOON, World, settings},
};

/// The server goes on: another agent is served as if nothing had been.
async fn goes_on(world: &World) {
    let agent = Agent::idle(world, "bystander").await;
    agent.leave().await;
}

#[tokio::test]
async fn a_first_frame_that_is_no_hello_is_refused_with_what_is_wrong() {
    let world = World::start().await;
    let frame = |kind: &str, payload: Value| json!({"type": kind, "payload": payload}).to_string();
    let table = [
        ("not JSON".to_owned(), 1002, "not a JSON object"),
        ("[\"hello\", {}]".to_owned(), 1002, "not a JSON object"),
        ("[".repeat(100_000), 1002, "not a JSON object"),
        (json!({"payload": hello("node-1")}).to_string(), 1002, "no type"),
        (frame("heartbeat", json!({"timestamp": 1})), 1002, "first frame must be hello"),
        (frame("status", json!({"replicaId": "x"})), 1002, "first frame must be hello"),
        (frame("greet", json!({})), 1002, "\"greet\""),
        (frame("hello", json!("node-1")), 1008, "hello: payload: is not an object"),
        (frame("hello", hello_with("node-1", json!({"labels": 5}))), 1008, "hello: labels"),
        (frame("hello", hello("../../etc")), 1008, "\"../../etc\" is not a DNS label; use \"etc\""),
        (frame("hello", json!({})), 1008, "not a DNS label"),
        (frame("hello", hello_with("node-1", json!({"protocol": {"min": 2, "max": 5}}))), 1002, "2 to 5"),
    ];
    for (text, code, says) in table {
        let mut agent = Agent::open(&world).await;
        agent.send_text(text.clone()).await;
        let (found, reason) = agent.closed().await;
        assert!(found == code && reason.contains(says), "{}: {found} {reason}", &text[..text.len().min(80)]);
    }
    assert!(world.node("node-1").await.is_none(), "nothing was written");
    goes_on(&world).await;
}

#[tokio::test]
async fn a_frame_over_1_mib_is_refused_with_1009_before_and_after_the_hello() {
    let world = World::start().await;
    world.service(json!({})).await;
    for size in [MAX_FRAME + 1, 8 * MAX_FRAME] {
        let mut agent = Agent::open(&world).await;
        agent.try_send(Message::text("x".repeat(size))).await;
        let (code, reason) = agent.closed().await;
        assert!(code == 1009 && reason.contains("1048576"), "{code} {reason}");
    }
    let mut agent = Agent::idle(&world, "node-1").await;
    agent.try_send(Message::text("x".repeat(2 * MAX_FRAME))).await;
    assert_eq!(agent.closed().await.0, 1009);
    let mut agent = Agent::idle(&world, "node-1").await;
    agent.send("heartbeat", json!({"timestamp": 1, "padding": "x".repeat(MAX_FRAME - 200)})).await;
    agent.expect_no_command(&world, "node-1").await;
    goes_on(&world).await;
}

#[tokio::test]
async fn what_comes_later_and_is_no_frame_ends_the_session() {
    let world = World::start().await;
    let table = [
        (Message::text("not JSON"), 1002, "not a JSON object"),
        (Message::text("{}"), 1002, "no type"),
        (Message::text(json!({"type": "status", "payload": {"seq": "five"}}).to_string()), 1008, "status: seq"),
        (Message::binary(b"{}".to_vec()), 1003, "text"),
    ];
    for (message, code, says) in table {
        let mut agent = Agent::idle(&world, "node-1").await;
        agent.send_message(message.clone()).await;
        let (found, reason) = agent.closed().await;
        assert!(found == code && reason.contains(says), "{message:?}: {found} {reason}");
    }
    goes_on(&world).await;
}

#[tokio::test]
async fn a_frame_of_an_unknown_type_is_passed_over_after_the_hello() {
    let world = World::start().await;
    world.service(json!({})).await;
    let web = world.replica("web-0-aaaaa", "node-1").await;
    let (mut agent, _) = Agent::synced(&world, hello("node-1")).await;
    agent.send("telemetry", json!([1, 2])).await;
    agent.report(report(&web, 1, "ready")).await;
    assert_eq!(agent.expect("statusAck").await["seq"], 1);
}

#[tokio::test]
async fn a_socket_that_says_nothing_is_closed_after_its_time() {
    let world = World::with(settings(|settings| settings.hello_timeout = Duration::from_millis(50))).await;
    let (code, reason) = Agent::open(&world).await.closed().await;
    assert!(code == 1008 && reason.contains("no hello within 50ms"), "{code} {reason}");
}

#[tokio::test]
async fn an_agent_that_answers_no_ping_is_closed_with_the_reason() {
    let world = World::with(settings(|settings| settings.ping_interval = Duration::from_millis(30))).await;
    let mut socket = Mute::connect(&world).await;
    socket.send(&json!({"type": "hello", "payload": hello("node-1")}).to_string()).await;
    let mut pings = 0;
    loop {
        let (opcode, payload) = socket.frame().await;
        match opcode {
            0x9 => {
                pings += 1;
                assert!(pings <= 2, "a third ping was sent");
            }
            0x8 => {
                let reason = String::from_utf8_lossy(&payload[2..]).into_owned();
                assert_eq!((u16::from_be_bytes([payload[0], payload[1]]), pings), (1008, 2), "{reason}");
                assert!(reason.contains("pings"), "{reason}");
                return;
            }
            _ => {}
        }
    }
}

#[tokio::test]
async fn an_agent_that_answers_pings_stays() {
    let world = World::with(settings(|settings| settings.ping_interval = Duration::from_millis(20))).await;
    world.service(json!({})).await;
    let mut agent = Agent::idle(&world, "node-1").await;
    for _ in 0..10 {
        agent.ping().await;
    }
    agent.expect_no_command(&world, "node-1").await;
}

/// A WebSocket client without a library, which never answers a ping.
struct Mute(TcpStream);

impl Mute {
    async fn connect(world: &World) -> Self {
        let mut stream = TcpStream::connect(world.address).await.expect("it listens");
        let request = format!(
            "GET /ws HTTP/1.1\r\nHost: {}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
            world.address
        );
        stream.write_all(request.as_bytes()).await.expect("sent");
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.expect("an answer"));
        }
        assert!(head.starts_with(b"HTTP/1.1 101"), "{}", String::from_utf8_lossy(&head));
        Self(stream)
    }

    async fn send(&mut self, text: &str) {
        let length = u16::try_from(text.len()).expect("a short text").to_be_bytes();
        // Final text frame, masked (with zeros, which change nothing), 16 bits of length.
        let mut frame = vec![0x81, 0x80 | 126, length[0], length[1], 0, 0, 0, 0];
        frame.extend_from_slice(text.as_bytes());
        self.0.write_all(&frame).await.expect("sent");
    }

    async fn frame(&mut self) -> (u8, Vec<u8>) {
        timeout(SOON, self.read()).await.expect("a frame in time")
    }

    async fn read(&mut self) -> (u8, Vec<u8>) {
        let opcode = self.0.read_u8().await.expect("a frame") & 0x0f;
        let length = match self.0.read_u8().await.expect("a length") {
            126 => usize::from(self.0.read_u16().await.expect("a length")),
            127 => panic!("no frame of this test is so long"),
            short => usize::from(short),
        };
        let mut payload = vec![0; length];
        self.0.read_exact(&mut payload).await.expect("a payload");
        (opcode, payload)
    }
}
