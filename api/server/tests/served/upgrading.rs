//! What others merge beside the resources: WebSockets and routes with limits of their own.

use axum::{
    Extension, Router,
    extract::{
        DefaultBodyLimit,
        ws::{Message, WebSocketUpgrade},
    },
    routing::{get, post},
};
use futures::{SinkExt as _, StreamExt as _};
use orion_apiserver::{Caller, Closing};
use tokio::time::timeout;
use tokio_tungstenite::{
    connect_async,
    tungstenite::{self, client::IntoClientRequest as _},
};

use crate::support::{Answer, PATIENCE, Server, Setup};

/// Tells who calls, echoes what it gets, and says goodbye at shutdown.
fn echo() -> Router {
    let handler = |upgrade: WebSocketUpgrade,
                   Extension(caller): Extension<Caller>,
                   Extension(closing): Extension<Closing>| async move {
        upgrade.on_upgrade(move |mut socket| async move {
            let _ = socket.send(Message::text(caller.to_string())).await;
            loop {
                tokio::select! {
                    () = closing.closed() => {
                        let _ = socket.send(Message::text("goodbye")).await;
                        return;
                    }
                    message = socket.recv() => match message {
                        Some(Ok(message)) => drop(socket.send(message).await),
                        _ => return,
                    },
                }
            }
        })
    };
    Router::new().route("/ws", get(handler))
}

#[tokio::test]
async fn a_websocket_goes_through_the_guard_and_hears_of_the_shutdown() {
    let server = Server::with(Setup { more: echo(), ..Setup::default() }).await;
    let url = format!("ws://{}/ws", server.address);
    let (mut socket, _) = timeout(PATIENCE, connect_async(&url)).await.expect("in time").expect("is let in");
    let own =
        format!("uid:{}", std::os::unix::fs::MetadataExt::uid(&std::fs::metadata("/proc/self").expect("is there")));
    let mut hear = async || {
        let message = timeout(PATIENCE, socket.next()).await.expect("in time").expect("goes on").expect("reads");
        message.into_text().expect("is text").to_string()
    };
    assert_eq!(hear().await, own);
    server.shutdown.cancel();
    assert_eq!(hear().await, "goodbye");
}

#[tokio::test]
async fn a_websocket_of_a_foreign_page_is_refused() {
    let server = Server::with(Setup { more: echo(), ..Setup::default() }).await;
    let url = format!("ws://{}/ws", server.address);
    for (name, value) in [("origin", "http://evil.example"), ("host", "evil.example")] {
        let mut request = url.as_str().into_client_request().expect("a request");
        request.headers_mut().insert(name, value.parse().expect("a value"));
        match timeout(PATIENCE, connect_async(request)).await.expect("in time") {
            Err(tungstenite::Error::Http(response)) => assert_eq!(response.status().as_u16(), 403, "{name}"),
            other => panic!("{name}: {other:?}"),
        }
    }
    let (mut socket, _) = connect_async(&url).await.expect("is let in");
    socket.send(tungstenite::Message::text("x")).await.expect("sends");
}

#[tokio::test]
async fn a_route_may_take_larger_bodies_than_the_resources() {
    let large = post(async |body: String| body.len().to_string()).layer(DefaultBodyLimit::max(3 << 20));
    let small = post(async |body: String| body.len().to_string());
    let more = Router::new().route("/large", large).route("/small", small);
    let server = Server::with(Setup { more, ..Setup::default() }).await;
    let send = |path: &str, size: usize| {
        let request = server.request("POST", path).header("content-type", "application/json");
        Answer::of(request.body("x".repeat(size)))
    };
    assert_eq!(send("/large", 2 << 20).await.text, (2 << 20).to_string());
    send("/large", 4 << 20).await.fails(413, "RequestEntityTooLarge");
    assert_eq!(send("/small", 1 << 20).await.text, (1 << 20).to_string());
    send("/small", (1 << 20) + 1).await.fails(413, "RequestEntityTooLarge");
}
