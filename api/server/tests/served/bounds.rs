use std::{io::ErrorKind, sync::Arc, time::Duration};

use orion_apiserver::Limits;
use serde_json::json;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    sync::Notify,
    time::{Instant, timeout},
};

use crate::support::{Answer, PATIENCE, Server, Setup, WIDGETS};

const SOON: Duration = Duration::from_millis(300);

async fn server(limits: Limits) -> Server {
    Server::with(Setup { limits, ..Setup::default() }).await
}

/// Sends text and reads whatever comes until the other end closes.
async fn exchange(server: &Server, text: &str) -> String {
    let mut stream = TcpStream::connect(server.address).await.expect("connects");
    stream.write_all(text.as_bytes()).await.expect("writes");
    rest(&mut stream).await
}

async fn rest(stream: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    match timeout(PATIENCE, stream.read_to_end(&mut answer)).await.expect("ends in time") {
        Err(error) if error.kind() != ErrorKind::ConnectionReset => panic!("{error}"),
        _ => String::from_utf8(answer).expect("is text"),
    }
}

#[tokio::test]
async fn a_head_that_does_not_come_is_not_waited_for() {
    let server = server(Limits { head_timeout: SOON, ..Limits::default() }).await;
    let started = Instant::now();
    exchange(&server, "GET /healthz HTTP/1.1\r\nhost: localhost\r\nx-slow: ").await;
    assert!(started.elapsed() >= SOON, "it was given its time");
    assert_eq!(server.get("/healthz").await.code, 200);
}

#[tokio::test]
async fn a_body_that_does_not_come_is_not_waited_for() {
    let server = server(Limits { body_timeout: SOON, ..Limits::default() }).await;
    let head = format!("POST {WIDGETS} HTTP/1.1\r\nhost: localhost\r\ncontent-length: 100\r\n\r\n{{");
    let answer = exchange(&server, &head).await;
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
    assert!(answer.contains("\"kind\":\"Status\""), "{answer}");
}

#[tokio::test]
async fn a_head_that_is_too_large_is_refused() {
    let server = server(Limits { head_bytes: 16 * 1024, ..Limits::default() }).await;
    let answer = exchange(
        &server,
        &format!("GET /healthz HTTP/1.1\r\nhost: localhost\r\nx-long: {}\r\n\r\n", "x".repeat(64 * 1024)),
    )
    .await;
    assert!(answer.starts_with("HTTP/1.1 431"), "{answer}");
}

#[tokio::test]
async fn a_body_that_is_too_large_is_refused_and_the_client_hears_it() {
    let server = server(Limits::default()).await;
    let body = vec![b' '; 64 * 1024 * 1024];
    let request = server.request("POST", WIDGETS).header("content-type", "application/json").body(body);
    let answer = Answer::of(request).await;
    answer.fails(413, "RequestEntityTooLarge");
    // One that writes everything before it reads anything hears it too.
    let mut stream = TcpStream::connect(server.address).await.expect("connects");
    let head = format!("POST {WIDGETS} HTTP/1.1\r\nhost: localhost\r\ncontent-length: 8000000\r\n\r\n");
    stream.write_all(head.as_bytes()).await.expect("writes");
    stream.write_all(&vec![b' '; 8_000_000]).await.expect("is read away, or the connection would be reset");
    assert!(rest(&mut stream).await.starts_with("HTTP/1.1 413"));
}

#[tokio::test]
async fn connections_above_the_limit_are_told_to_come_back() {
    let server = server(Limits { connections: 2, ..Limits::default() }).await;
    let mut held = Vec::new();
    for _ in 0..2 {
        let mut stream = TcpStream::connect(server.address).await.expect("connects");
        stream.write_all(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n").await.expect("writes");
        let mut first = [0; 12];
        stream.read_exact(&mut first).await.expect("is answered");
        held.push(stream);
    }
    let mut refused = TcpStream::connect(server.address).await.expect("connects");
    let answer = rest(&mut refused).await;
    assert!(answer.starts_with("HTTP/1.1 503") && answer.contains("retry-after: 1"), "{answer}");
    let body = answer.split_once("\r\n\r\n").expect("has a body").1;
    let status: serde_json::Value = serde_json::from_str(body).expect("is JSON");
    assert_eq!((&status["kind"], &status["code"]), (&json!("Status"), &json!(503)));
    held.clear();
    let served =
        async { while server.request("GET", "/healthz").send().await.map_or(503, |r| r.status().as_u16()) != 200 {} };
    timeout(PATIENCE, served).await.expect("there is room again");
}

#[tokio::test]
async fn a_client_that_does_not_read_is_dropped() {
    let server = server(Limits { write_stall: SOON, connections: 1, ..Limits::default() }).await;
    let colour = "x".repeat(200_000);
    for name in 0..100 {
        let widget = json!({"metadata": {"name": format!("w{name}")}, "spec": {"colour": colour}});
        let kind = <crate::support::Widget as orion_model::Resource>::KIND;
        let key = orion_model::ObjectKey::new(kind, "default", format!("w{name}"));
        let op = orion_model::Op::Create(widget);
        let commit = orion_model::Commit::of(key, op, orion_model::Precondition::NONE);
        server.client.commit(commit).await.expect("commits");
    }
    let mut deaf = TcpStream::connect(server.address).await.expect("connects");
    let request = format!("GET {WIDGETS} HTTP/1.1\r\nhost: localhost\r\n\r\n");
    deaf.write_all(request.as_bytes()).await.expect("writes");
    // There is room for one connection: when somebody else is served, the deaf one is gone.
    let served =
        async { while server.request("GET", "/healthz").send().await.map_or(503, |r| r.status().as_u16()) != 200 {} };
    timeout(PATIENCE, served).await.expect("the deaf client was dropped");
}

#[tokio::test]
async fn what_does_not_end_by_itself_is_dropped_after_the_drain() {
    let begun = Arc::new(Notify::new());
    let begin = begun.clone();
    let stuck = axum::routing::get(move || async move {
        begin.notify_one();
        std::future::pending::<()>().await;
    });
    let more = axum::Router::new().route("/stuck", stuck);
    let limits = Limits { drain: SOON, ..Limits::default() };
    let server = Server::with(Setup { limits, more, ..Setup::default() }).await;
    let mut stream = TcpStream::connect(server.address).await.expect("connects");
    stream.write_all(b"GET /stuck HTTP/1.1\r\nhost: localhost\r\n\r\n").await.expect("writes");
    timeout(PATIENCE, begun.notified()).await.expect("begins");
    server.shutdown.cancel();
    timeout(PATIENCE, server.serving).await.expect("stops in time").expect("did not panic");
    assert_eq!(rest(&mut stream).await, "");
}
