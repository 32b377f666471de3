use orion_http::{Deletion, HttpClient, WriteOptions};
use orion_model::{ClientError, LabelSelector, ObjectKey, Part, Selection};
use serde_json::json;

use crate::support::{SECRET, Server, all, key, widget};

const PLAIN: WriteOptions = WriteOptions { dry_run: false, strict: false };

#[tokio::test]
async fn kinds_are_learned_from_the_server_and_go_by_their_names() {
    let server = Server::start().await;
    server.make("a").await;
    let kinds = server.client().kinds().await.expect("discovers");
    for word in ["wg", "widget", "widgets", "Widget", "widgets.example.org"] {
        let kind = kinds.resolve(word).expect(word);
        let key = ObjectKey::new(kind, "default", "a");
        assert_eq!(server.client().get(&key).await.expect("is read")["metadata"]["name"], "a", "{word}");
    }
    assert!(kinds.resolve("gadget").expect_err("is unknown").to_string().contains("widgets (wg)"));
}

#[tokio::test]
async fn a_long_list_is_read_to_its_end_as_objects_and_as_a_table() {
    let server = Server::start().await;
    server.fill(1203).await;
    let client = server.client();
    let listing = client.list(&all()).await.expect("lists");
    let names: Vec<_> = listing.items.iter().map(|item| item["metadata"]["name"].as_str().expect("a name")).collect();
    let expected: Vec<_> = (0..1203).map(|index| format!("w{index:04}")).collect();
    assert_eq!(names, expected);
    let table = client.list_table(&all()).await.expect("lists");
    let names: Vec<_> = table.rows.iter().map(|row| row.name()).collect();
    assert_eq!(names, expected);
    assert_eq!((table.version(), table.rows[7].namespace()), (listing.version, "default"));
    let columns: Vec<_> = table.column_definitions.iter().map(|column| column.name.as_str()).collect();
    assert_eq!((columns.as_slice(), &table.rows[7].cells[1]), (&["Name", "SIZE", "Age"][..], &json!(7)));
    assert_eq!(client.get_table(&key("w0003")).await.expect("reads").rows[0].cells[1], 3);
    let none = Selection::all(all().kind).with_labels(LabelSelector::equals("app", "x"));
    assert!(client.list(&none).await.expect("lists").items.is_empty());
}

#[tokio::test]
async fn an_object_lives_its_life_over_http() {
    let server = Server::start().await;
    let client = server.client();
    let made = client.create(&key(""), &widget("a", 1), PLAIN).await.expect("is made").object;
    assert_eq!(client.get(&key("a")).await.expect("is read"), made);
    let error = client.create(&key("a"), &widget("a", 1), PLAIN).await.expect_err("is there");
    assert!(matches!(error, ClientError::AlreadyExists(there) if there == key("a")));

    let patch = json!({"spec": {"size": 2}, "metadata": {"finalizers": ["example.org/hold"]}});
    let merged = client.merge(&key("a"), &patch, Part::Main, PLAIN).await.expect("is merged").object;
    assert_eq!(merged["spec"]["size"], 2);
    let error = client.replace(&key("a"), &made, Part::Main, PLAIN).await.expect_err("is stale");
    let current = merged["metadata"]["resourceVersion"].as_str().expect("a version").parse().expect("a number");
    assert!(matches!(error, ClientError::Conflict { current: Some(is), .. } if is == current), "{error}");

    let patch = json!({"status": {"phase": "Ready"}});
    let ready = client.merge(&key("a"), &patch, Part::Status, PLAIN).await.expect("is merged").object;
    assert_eq!((&ready["status"]["phase"], &ready["spec"]["size"]), (&json!("Ready"), &json!(2)));
    let mut done = ready.clone();
    done["status"]["phase"] = json!("Done");
    let done = client.replace(&key("a"), &done, Part::Status, PLAIN).await.expect("is replaced").object;
    assert_eq!(done["status"]["phase"], "Done");

    let Deletion::Pending(dying) = client.delete(&key("a"), PLAIN).await.expect("is deleted") else {
        panic!("a finalizer holds it");
    };
    assert!(dying["metadata"]["deletionTimestamp"].is_string());
    let free = json!({"metadata": {"finalizers": null}});
    client.merge(&key("a"), &free, Part::Main, PLAIN).await.expect("is set free");
    assert!(client.get(&key("a")).await.expect_err("is gone").is_not_found());
    client.create(&key(""), &widget("b", 1), PLAIN).await.expect("is made");
    assert_eq!(client.delete(&key("b"), PLAIN).await.expect("is deleted"), Deletion::Gone);
    assert!(client.delete(&key("b"), PLAIN).await.expect_err("is gone").is_not_found());
}

#[tokio::test]
async fn what_a_writer_says_beside_the_object_is_heard() {
    let server = Server::start().await;
    let client = server.client();
    let mut typo = widget("a", 1);
    typo["spec"]["sise"] = json!(3);
    let trial = WriteOptions { dry_run: true, strict: false };
    let tried = client.create(&key(""), &typo, trial).await.expect("would be made");
    assert_eq!(tried.warnings, ["unknown field \"spec.sise\" (did you mean \"size\"?)"]);
    assert!(client.get(&key("a")).await.expect_err("was not made").is_not_found());
    let strict = WriteOptions { dry_run: false, strict: true };
    let error = client.create(&key(""), &typo, strict).await.expect_err("is refused");
    assert!(matches!(&error, ClientError::BadRequest(text) if text.contains("spec.sise")), "{error}");
    let error = client.create(&key(""), &json!({"metadata": {"name": "a"}, "spec": {"size": "big"}}), PLAIN).await;
    let Err(ClientError::Invalid { issues, .. }) = error else { panic!("{error:?}") };
    assert_eq!(issues[0].path, "spec.size");
}

#[tokio::test]
async fn a_token_and_the_socket_let_in() {
    let server = Server::start().await;
    server.make("a").await;
    let with = |token: &str| HttpClient::new(&server.url(), Some(token.to_owned())).expect("a client");
    assert!(with(SECRET).get(&key("a")).await.is_ok());
    assert!(matches!(with("wrong").get(&key("a")).await, Err(ClientError::Unauthorized(_))));
    let over_socket = HttpClient::over_socket(&server.socket).expect("a client");
    assert!(over_socket.get(&key("a")).await.is_ok());
    let nowhere = HttpClient::over_socket(&server.dir().join("none")).expect("a client");
    let error = nowhere.get(&key("a")).await.expect_err("nobody listens");
    assert!(matches!(&error, ClientError::Unavailable(text) if text.contains("none")), "{error}");
}
