use std::{os::unix::process::CommandExt as _, process::Command};

use serde_json::json;

use crate::support::{Answer, SECRET, Server, WIDGETS};

#[tokio::test]
async fn the_servers_own_user_needs_no_token_and_anyone_with_it_is_let_in() {
    let server = Server::start().await;
    assert_eq!(server.get("/apis").await.code, 200);
    assert_eq!(Answer::of(server.request("GET", "/apis").bearer_auth(SECRET)).await.code, 200);
    let answer = Answer::of(server.request("GET", "/apis").bearer_auth("wrong")).await;
    answer.fails(401, "Unauthorized");
    assert_eq!(answer.header("www-authenticate"), "Bearer");
}

/// Runs curl as another user; only root can.
fn as_another_user(arguments: &[&str]) -> Option<String> {
    if std::fs::metadata("/proc/self").map(|own| std::os::unix::fs::MetadataExt::uid(&own)).ok()? != 0 {
        eprintln!("skipped: only root can act as another user");
        return None;
    }
    let mut curl = Command::new("curl");
    curl.args([
        "--silent",
        "--show-error",
        "--noproxy",
        "*",
        "--max-time",
        "10",
        "--write-out",
        "%{http_code}",
        "--output",
        "/dev/null",
    ]);
    let output = curl.args(arguments).uid(54_321).gid(54_321).current_dir("/").output().ok()?;
    let text = String::from_utf8(output.stdout).expect("is text");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Some(text)
}

#[tokio::test(flavor = "multi_thread")]
async fn another_user_of_the_machine_needs_the_token() {
    let server = Server::start().await;
    let url = |path: &str| format!("http://{}{path}", server.address);
    let Some(code) = as_another_user(&[&url("/apis")]) else { return };
    assert_eq!(code, "401");
    assert_eq!(as_another_user(&[&url("/healthz")]).as_deref(), Some("200"));
    let authorization = format!("authorization: Bearer {SECRET}");
    assert_eq!(as_another_user(&["--header", &authorization, &url("/apis")]).as_deref(), Some("200"));
    let body = json!({"metadata": {"name": "a"}, "spec": {}}).to_string();
    let post = ["--header", "content-type: application/json", "--data", &body, &url(WIDGETS)];
    assert_eq!(as_another_user(&post).as_deref(), Some("401"));
    assert_eq!(server.get(&format!("{WIDGETS}/a")).await.code, 404);
}

#[tokio::test]
async fn what_a_page_in_a_browser_could_send_is_refused() {
    let server = Server::start().await;
    let body = json!({"metadata": {"name": "a"}, "spec": {}}).to_string();
    let post = || server.request("POST", WIDGETS).body(body.clone());
    let json = |request: reqwest::RequestBuilder| request.header("content-type", "application/json");
    Answer::of(json(post()).header("host", "evil.example")).await.fails(403, "Forbidden");
    Answer::of(json(post()).header("origin", "http://evil.example")).await.fails(403, "Forbidden");
    Answer::of(json(post()).header("via", "1.1 proxy")).await.fails(401, "Unauthorized");
    Answer::of(post().header("content-type", "text/plain")).await.fails(415, "UnsupportedMediaType");
    Answer::of(post().header("sec-fetch-site", "cross-site")).await.fails(415, "UnsupportedMediaType");
    let upgrade = server.request("GET", "/ws").header("connection", "upgrade").header("upgrade", "websocket");
    Answer::of(upgrade.header("origin", "http://evil.example")).await.fails(403, "Forbidden");
    assert_eq!(server.get(&format!("{WIDGETS}/a")).await.code, 404, "nothing was made");
    let own = format!("http://{}", server.address);
    assert_eq!(Answer::of(json(post()).header("origin", own)).await.code, 201);
}

#[tokio::test]
async fn the_unix_socket_serves_the_same_to_the_servers_own_user() {
    let server = Server::start().await;
    let mode =
        std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&server.socket).expect("is there").permissions());
    assert_eq!(mode & 0o777, 0o600);
    let client = reqwest::Client::builder().unix_socket(server.socket.clone()).build().expect("a client");
    let answer = Answer::of(client.get("http://anything/apis")).await;
    assert_eq!((answer.code, &answer.body["kind"]), (200, &json!("APIGroupList")));
    assert!(orion_apiserver::Listener::unix(&server.socket).is_err(), "it is taken");
}

#[tokio::test]
async fn a_store_that_has_stopped_is_told_as_such() {
    let server = Server::start().await;
    server.widget("a", 1).await;
    server.close_store().await;
    let answer = server.send("POST", WIDGETS, &json!({"metadata": {"name": "b"}, "spec": {}})).await;
    assert!(answer.code >= 500, "{}", answer.text);
    assert_eq!((&answer.body["kind"], &answer.body["status"]), (&json!("Status"), &json!("Failure")));
}
