use std::time::Duration;

use orion_apiserver::Limits;
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::support::{Answer, PATIENCE, Server, Setup, WIDGETS, version_of};

/// A watch, line by line.
struct Lines {
    response: reqwest::Response,
    buffer: Vec<u8>,
}

impl Lines {
    async fn open(server: &Server, query: &str) -> Self {
        let request = server.request("GET", &format!("{WIDGETS}?watch=true&{query}"));
        let response = timeout(PATIENCE, request.send()).await.expect("headers at once").expect("is answered");
        assert_eq!(response.status().as_u16(), 200);
        assert_eq!(response.headers()["content-type"], "application/json");
        Self { response, buffer: Vec::new() }
    }

    /// The next event; `None` at a clean end.
    async fn next(&mut self) -> Option<Value> {
        loop {
            if let Some(end) = self.buffer.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.buffer.drain(..=end).collect();
                return Some(serde_json::from_slice(&line).expect("a line is JSON"));
            }
            let chunk = timeout(PATIENCE, self.response.chunk()).await.expect("goes on in time");
            self.buffer.extend_from_slice(&chunk.expect("ends cleanly")?);
        }
    }

    /// The next event as `TYPE name`.
    async fn told(&mut self) -> String {
        let event = self.next().await.expect("goes on");
        let name = event["object"]["metadata"]["name"].as_str().unwrap_or_default();
        format!("{} {name}", event["type"].as_str().expect("a type")).trim().to_owned()
    }
}

#[tokio::test]
async fn a_watch_without_a_version_begins_with_what_exists() {
    let server = Server::start().await;
    server.widget("a", 1).await;
    for query in ["", "resourceVersion=0"] {
        let mut watch = Lines::open(&server, query).await;
        assert_eq!(watch.told().await, "ADDED a", "{query}");
    }
    let mut watch = Lines::open(&server, "").await;
    assert_eq!(watch.told().await, "ADDED a");
    server.widget("b", 1).await;
    server.merge(&format!("{WIDGETS}/a"), &json!({"spec": {"size": 2}})).await;
    server.send("DELETE", &format!("{WIDGETS}/b"), &json!({})).await;
    assert_eq!(watch.told().await, "ADDED b");
    assert_eq!(watch.told().await, "MODIFIED a");
    assert_eq!(watch.told().await, "DELETED b");
}

#[tokio::test]
async fn s5_a_watch_from_a_version_yields_each_later_event_once() {
    let server = Server::start().await;
    let first = server.widget("a", 1).await;
    let second = server.widget("b", 1).await;
    server.send("DELETE", &format!("{WIDGETS}/a"), &json!({})).await;
    let mut watch = Lines::open(&server, &format!("resourceVersion={}", version_of(&first))).await;
    let event = watch.next().await.expect("goes on");
    assert_eq!(event, json!({"type": "ADDED", "object": second}));
    let deleted = watch.next().await.expect("goes on");
    assert_eq!((&deleted["type"], &deleted["object"]["metadata"]["name"]), (&json!("DELETED"), &json!("a")));
    let version = |object: &Value| version_of(object).parse::<u64>().expect("a number");
    assert!(version(&deleted["object"]) > version(&second), "a deletion carries a version of its own");
    let mut resumed = Lines::open(&server, &format!("resourceVersion={}", version_of(&second))).await;
    assert_eq!(resumed.next().await, Some(deleted));
}

#[tokio::test]
async fn a_watch_sees_only_its_selection_and_what_leaves_it() {
    let server = Server::start().await;
    let mut watch = Lines::open(&server, "labelSelector=app%3Dx").await;
    let labelled = |app: &str| json!({"metadata": {"name": "a", "labels": {"app": app}}, "spec": {}});
    server.send("POST", WIDGETS, &labelled("y")).await;
    server.send("PUT", &format!("{WIDGETS}/a"), &labelled("x")).await;
    server.send("PUT", &format!("{WIDGETS}/a"), &labelled("z")).await;
    assert_eq!(watch.told().await, "ADDED a");
    assert_eq!(watch.told().await, "DELETED a");
}

#[tokio::test]
async fn one_object_is_watched_by_its_path() {
    let server = Server::start().await;
    server.widget("a", 1).await;
    server.widget("b", 1).await;
    let answer = server.get(&format!("{WIDGETS}/b?watch=true&timeoutSeconds=1")).await;
    let event: Value = serde_json::from_str(answer.text.trim()).expect("one line");
    assert_eq!(event["object"]["metadata"]["name"], "b");
}

#[tokio::test]
async fn initial_events_end_with_a_marked_bookmark() {
    let server = Server::start().await;
    let made = server.widget("a", 1).await;
    let streaming = "sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true";
    let version = format!("&resourceVersion={}", version_of(&made));
    for from in ["", "&resourceVersion=0", &version] {
        let mut watch = Lines::open(&server, &format!("{streaming}{from}")).await;
        assert_eq!(watch.told().await, "ADDED a", "{from}");
        let bookmark = watch.next().await.expect("goes on");
        let object = json!({
            "kind": "Widget", "apiVersion": "example.org/v1",
            "metadata": {"resourceVersion": version_of(&made), "creationTimestamp": null,
                "annotations": {"k8s.io/initial-events-end": "true"}},
        });
        assert_eq!(bookmark, json!({"type": "BOOKMARK", "object": object}), "{from}");
    }
    server.get(&format!("{WIDGETS}?watch=true&sendInitialEvents=true")).await.fails(422, "Invalid");
}

#[tokio::test]
async fn too_old_and_too_new_a_version_is_told_within_the_watch() {
    let server = Server::start().await;
    let made = server.widget("a", 1).await;
    let newer = version_of(&made).parse::<u64>().expect("a number") + 1000;
    for version in [1, newer] {
        let mut watch = Lines::open(&server, &format!("resourceVersion={version}")).await;
        let event = watch.next().await.expect("an event");
        assert_eq!(event["type"], "ERROR");
        let status = &event["object"];
        assert_eq!(
            (&status["kind"], &status["code"], &status["reason"]),
            (&json!("Status"), &json!(410), &json!("Expired"))
        );
        assert_eq!(watch.next().await, None);
    }
}

#[tokio::test]
async fn a_watch_ends_in_time_with_a_bookmark_to_go_on_from() {
    let server = Server::start().await;
    let made = server.widget("a", 1).await;
    let query = format!("resourceVersion={}&allowWatchBookmarks=true&timeoutSeconds=1", version_of(&made));
    let mut watch = Lines::open(&server, &query).await;
    let mut last = Value::Null;
    while let Some(event) = watch.next().await {
        last = event;
    }
    assert_eq!((&last["type"], &last["object"]["kind"]), (&json!("BOOKMARK"), &json!("Widget")));
    assert_eq!(version_of(&last["object"]), version_of(&made));
    let quiet = format!("{WIDGETS}?watch=true&timeoutSeconds=1&resourceVersion={}", version_of(&made));
    assert_eq!(server.get(&quiet).await.text, "", "bookmarks are sent only to those who ask");
}

#[tokio::test]
async fn a_table_watch_sends_tables_of_one_row() {
    let server = Server::start().await;
    server.widget("a", 3).await;
    let request = server.request("GET", &format!("{WIDGETS}?watch=true&timeoutSeconds=1"));
    let answer = Answer::of(request.header("accept", "application/json;as=Table;v=v1;g=meta.k8s.io")).await;
    let event: Value = serde_json::from_str(answer.text.trim()).expect("one line");
    assert_eq!((&event["type"], &event["object"]["kind"]), (&json!("ADDED"), &json!("Table")));
    assert_eq!(event["object"]["rows"][0]["cells"][1], 3);
}

#[tokio::test]
async fn shutdown_ends_watches_cleanly_and_lets_requests_finish() {
    // The drain is long: only streams that end themselves end in time.
    let limits = Limits { drain: Duration::from_secs(600), ..Limits::default() };
    let server = Server::with(Setup { limits, ..Setup::default() }).await;
    let made = server.widget("a", 1).await;
    let mut watch = Lines::open(&server, "allowWatchBookmarks=true").await;
    assert_eq!(watch.told().await, "ADDED a");
    let bookmark = watch.next().await.expect("what exists is followed by a bookmark");
    assert_eq!(version_of(&bookmark["object"]), version_of(&made));
    server.shutdown.cancel();
    assert_eq!(watch.told().await, "BOOKMARK");
    assert_eq!(watch.next().await, None, "the body was terminated");
    drop(watch);
    timeout(PATIENCE, server.serving).await.expect("stops in time").expect("did not panic");
    assert!(!server.socket.exists());
}
