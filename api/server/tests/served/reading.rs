use serde_json::{Value, json};

use crate::support::{Answer, Server, Setup, WIDGETS, names, version_of};

const TABLE: &str =
    "application/json;as=Table;v=v1;g=meta.k8s.io,application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json";

async fn get_as(server: &Server, accept: &str, path: &str) -> Answer {
    Answer::of(server.request("GET", path).header("accept", accept)).await
}

#[tokio::test]
async fn an_object_is_read_by_its_path_with_or_without_a_trailing_slash() {
    let server = Server::start().await;
    let made = server.widget("a", 3).await;
    for path in
        [format!("{WIDGETS}/a"), format!("{WIDGETS}/a/"), format!("{WIDGETS}/a/status"), format!("{WIDGETS}/%61")]
    {
        let answer = server.get(&path).await;
        assert_eq!((answer.code, &answer.body), (200, &made), "{path}");
        assert_eq!(answer.header("content-type"), "application/json");
    }
    assert_eq!((&made["kind"], &made["apiVersion"]), (&json!("Widget"), &json!("example.org/v1")));
}

#[tokio::test]
async fn a_list_carries_its_version_and_selects_by_labels_and_fields() {
    let server = Server::start().await;
    let body = json!({"metadata": {"name": "a", "labels": {"app": "x"}}, "spec": {"colour": "red"}});
    server.send("POST", WIDGETS, &body).await;
    let body = json!({"metadata": {"name": "b"}, "spec": {"colour": "blue"}});
    let last = server.send("POST", &WIDGETS.replace("default", "other"), &body).await.body;
    let all = server.get("/apis/example.org/v1/widgets").await.body;
    assert_eq!((&all["kind"], &all["apiVersion"]), (&json!("WidgetList"), &json!("example.org/v1")));
    assert_eq!(version_of(&all), version_of(&last));
    let table = [
        ("/apis/example.org/v1/widgets".to_owned(), vec!["a", "b"]),
        (WIDGETS.to_owned(), vec!["a"]),
        ("/apis/example.org/v1/widgets?labelSelector=app%3Dx".to_owned(), vec!["a"]),
        ("/apis/example.org/v1/widgets?labelSelector=!app".to_owned(), vec!["b"]),
        ("/apis/example.org/v1/widgets?fieldSelector=spec.colour%3Dblue".to_owned(), vec!["b"]),
        ("/apis/example.org/v1/widgets?fieldSelector=metadata.name%3Da".to_owned(), vec!["a"]),
        ("/apis/example.org/v1/namespaces/none/widgets".to_owned(), vec![]),
    ];
    for (path, expected) in table {
        assert_eq!(names(&server.get(&path).await.body), expected, "{path}");
    }
}

#[tokio::test]
async fn a_list_comes_in_pages_and_every_page_carries_the_first_ones_version() {
    let server = Server::start().await;
    for name in ["a", "b", "c", "d", "e"] {
        server.widget(name, 1).await;
    }
    let first = server.get(&format!("{WIDGETS}?limit=2")).await.body;
    let (version, mut all) = (version_of(&first).to_owned(), names(&first).join(""));
    let mut next = first["metadata"]["continue"].as_str().map(str::to_owned);
    server.widget("b1", 1).await;
    server.widget("f", 1).await;
    while let Some(token) = next {
        let page = server.get(&format!("{WIDGETS}?limit=2&continue={token}")).await.body;
        assert_eq!(version_of(&page), version);
        all.push_str(&names(&page).join(""));
        next = page["metadata"]["continue"].as_str().map(str::to_owned);
    }
    assert_eq!(all, "abb1cdef", "what is there when a page is read is in it, once");
    server.get(&format!("{WIDGETS}?continue=nonsense")).await.fails(400, "BadRequest");
    // A token whose version this store never gave is like one that it no longer keeps.
    let forged = "eyJ2IjoiMSIsIm5zIjoiZGVmYXVsdCIsIm4iOiJhIn0";
    server.get(&format!("{WIDGETS}?continue={forged}")).await.fails(410, "Expired");
}

#[tokio::test]
async fn a_read_waits_for_the_version_it_names_but_not_for_ever() {
    let server = Server::start().await;
    let made = server.widget("a", 1).await;
    let version: u64 = version_of(&made).parse().expect("a number");
    for query in [String::new(), "?resourceVersion=0".into(), format!("?resourceVersion={version}")] {
        assert_eq!(server.get(&format!("{WIDGETS}{query}")).await.code, 200, "{query}");
        assert_eq!(server.get(&format!("{WIDGETS}/a{query}")).await.code, 200, "{query}");
    }
    let exact = format!("?resourceVersionMatch=Exact&resourceVersion={version}");
    assert_eq!(server.get(&format!("{WIDGETS}{exact}")).await.code, 200);
    server.widget("b", 1).await;
    server.get(&format!("{WIDGETS}{exact}")).await.fails(410, "Expired");
    let future = format!("{WIDGETS}?resourceVersion={}", version + 1000);
    let answer = server.get(&future).await;
    answer.fails(504, "Timeout");
    assert_eq!(answer.body["details"]["causes"][0]["reason"], "ResourceVersionTooLarge", "informers list anew by it");
    assert_eq!(answer.header("retry-after"), "1");
}

#[tokio::test]
async fn a_table_has_the_columns_of_the_definition_and_an_age() {
    let server = Server::start().await;
    server.widget("a", 3).await;
    server.merge(&format!("{WIDGETS}/a/status"), &json!({"status": {"phase": "Ready"}})).await;
    let table = get_as(&server, TABLE, WIDGETS).await.body;
    assert_eq!((&table["kind"], &table["apiVersion"]), (&json!("Table"), &json!("meta.k8s.io/v1")));
    let columns: Vec<_> = table["columnDefinitions"].as_array().expect("columns").iter().map(|c| &c["name"]).collect();
    assert_eq!(columns, ["Name", "SIZE", "PHASE", "Age"]);
    let row = &table["rows"][0];
    assert_eq!(row["cells"].as_array().expect("cells")[..3], [json!("a"), json!(3), json!("Ready")]);
    assert!(row["cells"][3].as_str().expect("an age").ends_with('s'));
    assert_eq!(row["object"]["kind"], "PartialObjectMetadata");
    assert_eq!(row["object"]["metadata"]["name"], "a");
    assert_eq!(row["object"]["spec"], Value::Null);
    let whole = get_as(&server, TABLE, &format!("{WIDGETS}/a?includeObject=Object")).await.body;
    assert_eq!(whole["rows"][0]["object"]["spec"]["size"], 3);
    let bare = get_as(&server, TABLE, &format!("{WIDGETS}/a?includeObject=None")).await.body;
    assert_eq!(bare["rows"][0]["object"], Value::Null);
}

#[tokio::test]
async fn a_table_comes_in_pages_too() {
    let server = Server::start().await;
    for name in ["a", "b", "c"] {
        server.widget(name, 1).await;
    }
    let first = get_as(&server, TABLE, &format!("{WIDGETS}?limit=2")).await.body;
    assert_eq!(first["rows"].as_array().expect("rows").len(), 2);
    let token = first["metadata"]["continue"].as_str().expect("goes on");
    let second = get_as(&server, TABLE, &format!("{WIDGETS}?limit=2&continue={token}")).await.body;
    assert_eq!(second["rows"][0]["cells"][0], "c");
    assert_eq!(second["metadata"]["continue"], Value::Null);
}

#[tokio::test]
async fn what_is_not_there_or_makes_no_sense_is_a_status() {
    let server = Server::start().await;
    server.widget("a", 1).await;
    let table = [
        ("GET", format!("{WIDGETS}/none"), 404, "NotFound", "widgets.example.org \"none\" not found"),
        ("GET", "/apis/example.org/v1/gadgets".into(), 404, "NotFound", "could not find"),
        ("GET", "/apis/example.org/v2/widgets".into(), 404, "NotFound", "could not find"),
        ("GET", "/apis/example.org/v1/widgets/a".into(), 404, "NotFound", "could not find"),
        ("GET", "/apis/example.org/v1/namespaces/default/regions".into(), 404, "NotFound", "could not find"),
        ("GET", format!("{WIDGETS}/a/scale"), 404, "NotFound", "could not find"),
        ("GET", "/apis/example.org/v1/regions/x/status".into(), 404, "NotFound", "could not find"),
        ("GET", "/apis/nobody".into(), 404, "NotFound", "could not find"),
        ("GET", "/nowhere".into(), 404, "NotFound", "/nowhere"),
        ("GET", format!("{WIDGETS}?labelSelector=a%20b"), 400, "BadRequest", "selector"),
        (
            "GET",
            format!("{WIDGETS}?fieldSelector=spec.size%3D1"),
            400,
            "BadRequest",
            "field label not supported: spec.size",
        ),
        ("GET", format!("{WIDGETS}?resourceVersion=abc"), 400, "BadRequest", "abc"),
        ("GET", format!("{WIDGETS}?limit=-1"), 400, "BadRequest", "limit"),
        ("GET", format!("{WIDGETS}?resourceVersionMatch=Exact"), 422, "Invalid", "resourceVersionMatch"),
        ("POST", format!("{WIDGETS}/a"), 405, "MethodNotAllowed", "GET, PUT, PATCH, DELETE"),
        ("PUT", WIDGETS.to_owned(), 405, "MethodNotAllowed", "GET, POST, DELETE"),
        ("POST", "/apis/example.org/v1/widgets".into(), 405, "MethodNotAllowed", "GET"),
        ("POST", "/apis".into(), 405, "MethodNotAllowed", "GET"),
        ("POST", "/healthz".into(), 405, "MethodNotAllowed", "/healthz"),
    ];
    for (method, path, code, reason, expected) in table {
        let answer = server.send(method, &path, &json!({})).await;
        let message = answer.fails(code, reason);
        assert!(message.contains(expected), "{method} {path}: {message}");
        assert_eq!(answer.headers.contains_key("allow"), code == 405, "{method} {path}");
    }
    get_as(&server, "text/html", WIDGETS).await.fails(406, "NotAcceptable");
}

#[tokio::test]
async fn discovery_says_what_there_is_in_both_forms() {
    let server = Server::start().await;
    let groups = server.get("/apis/").await.body;
    let names: Vec<_> = groups["groups"].as_array().expect("groups").iter().map(|group| &group["name"]).collect();
    assert_eq!(names, ["coordination.k8s.io", "events.k8s.io", "example.org"]);
    assert_eq!(groups["groups"][2]["preferredVersion"]["groupVersion"], "example.org/v1");
    assert_eq!(server.get("/apis/example.org").await.body["kind"], "APIGroup");
    assert_eq!(server.get("/api").await.body["kind"], "APIVersions");
    let resources = server.get("/apis/example.org/v1").await.body;
    let names: Vec<_> = resources["resources"].as_array().expect("resources").iter().map(|r| &r["name"]).collect();
    assert_eq!(names, ["regions", "widgets", "widgets/status"]);
    assert_eq!(resources["resources"][1]["shortNames"], json!(["wg"]));
    assert_eq!(resources["resources"][0]["namespaced"], false);

    for version in ["v2", "v2beta1"] {
        let accept =
            format!("application/json;g=apidiscovery.k8s.io;v={version};as=APIGroupDiscoveryList,application/json");
        let answer = get_as(&server, &accept, "/apis").await;
        let content_type = format!("application/json;g=apidiscovery.k8s.io;v={version};as=APIGroupDiscoveryList");
        assert_eq!(answer.header("content-type"), content_type);
        assert_eq!(answer.body["apiVersion"], format!("apidiscovery.k8s.io/{version}"));
        let widget = &answer.body["items"][2]["versions"][0]["resources"][1];
        assert_eq!((&widget["resource"], &widget["scope"]), (&json!("widgets"), &json!("Namespaced")));
        assert_eq!(widget["responseKind"], json!({"group": "example.org", "version": "v1", "kind": "Widget"}));
        assert_eq!(widget["subresources"][0]["subresource"], "status");
    }
    let version = server.get("/version/").await.body;
    assert!(version["gitVersion"].as_str().expect("a version").starts_with("v1.37.0+orion"));
}

#[tokio::test]
async fn more_specific_routes_go_before_the_resources_and_share_their_errors() {
    let log = "/apis/example.org/v1/namespaces/{namespace}/widgets/{name}/log";
    let more = axum::Router::new().route(log, axum::routing::get(|| async { "a line\n" }));
    let server = Server::with(Setup { more, ..Setup::default() }).await;
    server.widget("a", 1).await;
    assert_eq!(server.get(&format!("{WIDGETS}/a/log")).await.text, "a line\n");
    assert_eq!(server.get(&format!("{WIDGETS}/a/status")).await.code, 200);
    assert_eq!(server.get(&format!("{WIDGETS}/a")).await.code, 200);
    assert_eq!(server.get("/apis/example.org/v1/regions").await.code, 200);
    server.send("POST", &format!("{WIDGETS}/a/log"), &json!({})).await.fails(405, "MethodNotAllowed");
}
