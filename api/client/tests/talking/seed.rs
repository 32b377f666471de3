use axum::{
    Json, Router,
    body::Body,
    extract::{Path, RawQuery},
    http::{HeaderMap, StatusCode},
    routing::{get, post},
};
use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use orion_http::{ApplyError, ApplyOptions, LogOptions};
use orion_model::{ClientError, ResourceVersion};
use serde_json::{Value, json};

use crate::support::{Server, key};

/// Says what it heard.
async fn apply(RawQuery(query): RawQuery, headers: HeaderMap, body: String) -> (StatusCode, Json<Value>) {
    if body == "bad" {
        let issues = json!([{"path": "spec.services[0].name", "message": "is missing", "line": 3, "column": 5}]);
        return (StatusCode::BAD_REQUEST, Json(json!({"message": "Invalid configuration", "issues": issues})));
    }
    let content_type = headers["content-type"].to_str().expect("is text").to_owned();
    (StatusCode::ACCEPTED, Json(json!({"status": "accepted", "query": query, "type": content_type, "body": body})))
}

async fn log(Path((_, name)): Path<(String, String)>, RawQuery(query): RawQuery) -> Body {
    let query = query.unwrap_or_default();
    let lines = ["one\nt".to_owned(), "wo\n".to_owned(), format!("{name}?{query}\n")];
    Body::from_stream(stream::iter(lines).map(Ok::<_, std::convert::Infallible>))
}

fn routes() -> Router {
    Router::new()
        .route("/api/apply", post(apply))
        .route("/health", get(|| async { Json(json!({"status": "ok"})) }))
        .route("/api/services", get(|| async { Json(json!({"items": [{"id": "a"}]})) }))
        .route("/api/nodes", get(|| async { Json(json!({"items": [{"id": "n"}]})) }))
        .route("/apis/example.org/v1/namespaces/{namespace}/widgets/{name}/log", get(log))
}

#[tokio::test]
async fn apply_sends_the_file_as_it_is_with_what_was_asked_beside_it() {
    let server = Server::with(routes()).await;
    let all = ApplyOptions {
        dry_run: true,
        prune: true,
        force: true,
        strict: true,
        expect_version: Some(ResourceVersion::new(7)),
    };
    let answer: Value = server.client().apply("a: 1\n", "application/yaml", all).await.expect("is accepted");
    assert_eq!(answer["query"], "dryRun=true&prune=true&force=true&strict=true&expectVersion=7");
    assert_eq!((&answer["type"], &answer["body"]), (&json!("application/yaml"), &json!("a: 1\n")));
    let answer: Value =
        server.client().apply("{}", "application/json", ApplyOptions::default()).await.expect("is accepted");
    assert_eq!(answer["query"], Value::Null);
}

#[tokio::test]
async fn a_wrong_configuration_is_refused_with_every_place() {
    let server = Server::with(routes()).await;
    let refused = server.client().apply::<Value>("bad", "application/yaml", ApplyOptions::default()).await;
    let Err(error) = refused else { panic!("is wrong") };
    assert_eq!(error.to_string(), "Invalid configuration\n  line 3, column 5: spec.services[0].name: is missing");
    let refused = server.client().apply::<Value>("{}", "text/plain", ApplyOptions::default()).await;
    assert!(matches!(refused, Err(ApplyError::Client(ClientError::BadRequest(_)))));
}

#[tokio::test]
async fn health_services_and_nodes_are_read() {
    let server = Server::with(routes()).await;
    let client = server.client();
    client.health().await.expect("is well");
    assert_eq!(client.services::<Value>().await.expect("lists"), [json!({"id": "a"})]);
    assert_eq!(client.nodes::<Value>().await.expect("lists"), [json!({"id": "n"})]);
}

#[tokio::test]
async fn logs_come_line_by_line() {
    let server = Server::with(routes()).await;
    let options = LogOptions { follow: true, tail: Some(10), since: Some("5m".into()) };
    let lines = server.client().logs(&key("a"), &options).await.expect("is there");
    let lines: Vec<Bytes> = lines.try_collect().await.expect("reads to the end");
    assert_eq!(lines, ["one", "two", "a?follow=true&tail=10&since=5m"]);
    let server = Server::start().await;
    let missing = server.client().logs(&key("a"), &LogOptions::default()).await;
    assert!(matches!(missing.map(drop), Err(ClientError::NotFound(_))));
}
