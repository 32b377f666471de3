use std::sync::Arc;

use futures::{FutureExt as _, future::BoxFuture};
use orion_apiserver::{Caller, WriteAnswer, WriteHandler, WriteRequest};
use orion_model::{Client, ClientError, Op, Resource as _};
use serde_json::{Value, json};
use tokio::sync::OnceCell;

use crate::support::{Answer, Server, Setup, WIDGETS, Widget, names, version_of, widget};

#[tokio::test]
async fn a_body_may_leave_out_what_the_path_says() {
    let server = Server::start().await;
    let made = server.widget("a", 1).await;
    assert_eq!((&made["kind"], &made["metadata"]["namespace"]), (&json!("Widget"), &json!("default")));
    let bare = json!({"spec": {"size": 2}});
    let replaced = server.send("PUT", &format!("{WIDGETS}/a"), &bare).await;
    assert_eq!((replaced.code, &replaced.body["spec"]["size"]), (200, &json!(2)));
    let region =
        server.send("POST", "/apis/example.org/v1/regions", &json!({"metadata": {"name": "r"}, "spec": {}})).await;
    assert_eq!((region.code, &region.body["metadata"]["namespace"]), (201, &Value::Null));
    let generated = server.send("POST", WIDGETS, &json!({"metadata": {"generateName": "w-"}, "spec": {}})).await;
    assert!(generated.body["metadata"]["name"].as_str().expect("a name").starts_with("w-"), "{}", generated.text);
}

#[tokio::test]
async fn no_content_type_is_json() {
    let server = Server::start().await;
    let answer = Answer::of(server.request("POST", WIDGETS).body(widget("a", 1).to_string())).await;
    assert_eq!((answer.code, answer.header("content-type")), (201, "application/json"));
    let answer = Answer::of(server.request("DELETE", &format!("{WIDGETS}/a"))).await;
    assert_eq!(answer.code, 200);
}

#[tokio::test]
async fn yaml_is_read_as_well_as_json() {
    let server = Server::start().await;
    for content_type in ["application/yaml", "application/x-yaml", "text/yaml; charset=utf-8"] {
        let name = content_type.len();
        let body = format!("metadata:\n  name: w{name}\nspec: {{size: 7}}\n");
        let request = server.request("POST", WIDGETS).header("content-type", content_type).body(body);
        let answer = Answer::of(request).await;
        assert_eq!((answer.code, &answer.body["spec"]["size"]), (201, &json!(7)), "{}", answer.text);
    }
}

#[tokio::test]
async fn bad_bodies_are_refused_with_their_place_and_change_nothing() {
    let server = Server::start().await;
    let deep = format!("{{\"spec\": {}1{}}}", "[".repeat(100_000), "]".repeat(100_000));
    let bomb = "a: &a [x,x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b,*b]\n\
        d: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c,*c]\ne: &e [*d,*d,*d,*d,*d,*d,*d,*d,*d,*d]\nf: [*e,*e,*e,*e,*e,*e,*e,*e,*e,*e]\n";
    let json = "application/json";
    let table: [(&str, &[u8], u16, &str); 14] = [
        (json, b"", 400, "empty"),
        (json, b"{\n  \"metadata\": }", 400, "line 2, column 15"),
        (json, b"[]", 400, "not an object"),
        (json, b"{\"spec\": {\"size\": 1e400}}", 400, "line 1"),
        (json, b"{\"metadata\": {\"name\": \"a\\u0000\"}}", 400, "U+0000"),
        (json, b"{\"metadata\": 3}", 422, "metadata"),
        (json, b"{\"metadata\": {}, \"spec\": {}}", 422, "name or generateName"),
        (json, b"{\"kind\": \"Gadget\", \"metadata\": {\"name\": \"a\"}}", 400, "kind"),
        (json, b"{\"apiVersion\": \"example.org/v2\", \"metadata\": {\"name\": \"a\"}}", 400, "apiVersion"),
        (json, b"{\"metadata\": {\"name\": \"a\", \"namespace\": \"other\"}}", 400, "namespace"),
        (json, deep.as_bytes(), 400, "nested too deeply"),
        ("application/yaml", b"a: [1\n", 400, "line"),
        ("application/yaml", b"a: 1\n---\nb: 2\n", 400, "more than one"),
        ("application/yaml", bomb.as_bytes(), 400, "aliases"),
    ];
    for (content_type, body, code, expected) in table {
        let request = server.request("POST", WIDGETS).header("content-type", content_type).body(body.to_vec());
        let answer = Answer::of(request).await;
        let message = answer.fails(code, if code == 400 { "BadRequest" } else { "Invalid" });
        assert!(message.contains(expected), "{message}");
    }
    assert!(names(&server.get(WIDGETS).await.body).is_empty());
}

#[tokio::test]
async fn an_invalid_object_is_refused_with_all_its_causes() {
    let server = Server::start().await;
    let body = json!({"metadata": {"name": "a"}, "spec": {"size": "big", "colour": 3}});
    let answer = server.send("POST", WIDGETS, &body).await;
    answer.fails(422, "Invalid");
    let details = &answer.body["details"];
    assert_eq!(
        (&details["name"], &details["group"], &details["kind"]),
        (&json!("a"), &json!("example.org"), &json!("Widget"))
    );
    let fields: Vec<_> = details["causes"].as_array().expect("causes").iter().map(|cause| &cause["field"]).collect();
    assert_eq!(fields, ["spec.size", "spec.colour"]);
    let answer = server.send("POST", WIDGETS, &widget("a", 101)).await;
    assert!(answer.fails(422, "Invalid").contains("spec.size: must be at most 100"));
}

#[tokio::test]
async fn conflicts_say_which_version_there_is() {
    let server = Server::start().await;
    let made = server.widget("a", 1).await;
    server.send("POST", WIDGETS, &widget("a", 1)).await.fails(409, "AlreadyExists");
    let path = format!("{WIDGETS}/a");
    let mut changed = made.clone();
    changed["spec"]["size"] = json!(2);
    let moved = server.send("PUT", &path, &changed).await;
    assert_eq!(moved.code, 200, "{}", moved.text);
    let stale = server.send("PUT", &path, &changed).await;
    assert!(stale.fails(409, "Conflict").starts_with("Operation cannot be fulfilled on widgets.example.org \"a\""));
    assert_eq!(stale.body["details"]["currentVersion"], moved.body["metadata"]["resourceVersion"]);
    let stale_patch = json!({"metadata": {"resourceVersion": version_of(&made)}, "spec": {"size": 3}});
    server.merge(&path, &stale_patch).await.fails(409, "Conflict");
    let stranger = json!({"metadata": {"uid": "another"}, "spec": {"size": 3}});
    server.merge(&path, &stranger).await.fails(409, "Conflict");
    let body = json!({"preconditions": {"uid": "another"}});
    server.send("DELETE", &path, &body).await.fails(409, "Conflict");
    assert_eq!(server.get(&path).await.body["spec"]["size"], 2);
}

#[tokio::test]
async fn a_merge_patch_changes_what_it_names_and_nulls_remove() {
    let server = Server::start().await;
    server.widget("a", 1).await;
    let path = format!("{WIDGETS}/a");
    let patched = server.merge(&path, &json!({"metadata": {"labels": {"x": "y"}}, "spec": {"size": 5}})).await;
    assert_eq!((patched.code, &patched.body["spec"]), (200, &json!({"size": 5, "colour": "red"})));
    let patched = server.merge(&path, &json!({"metadata": {"labels": {"x": null}}})).await;
    assert_eq!((&patched.body["metadata"]["labels"], patched.header("warning")), (&Value::Null, ""));
    server.merge(&format!("{WIDGETS}/none"), &json!({})).await.fails(404, "NotFound");
    server.merge(&path, &json!({"metadata": {"name": "b"}})).await.fails(400, "BadRequest");
    for other in ["application/strategic-merge-patch+json", "application/json-patch+json", "application/json"] {
        let request = server.request("PATCH", &path).header("content-type", other).body("{}");
        let answer = Answer::of(request).await;
        let message = answer.fails(415, "UnsupportedMediaType");
        assert!(message.ends_with("accepted media types include: application/merge-patch+json"), "{message}");
    }
}

#[tokio::test]
async fn status_and_the_rest_are_written_apart() {
    let server = Server::start().await;
    let made =
        server.send("POST", WIDGETS, &json!({"metadata": {"name": "a"}, "spec": {}, "status": {"phase": "X"}})).await;
    assert_ne!(made.body["status"]["phase"], "X", "a create does not write the status");
    let path = format!("{WIDGETS}/a");
    let both = json!({"spec": {"size": 9}, "status": {"phase": "Ready"}});
    let main = server.merge(&path, &both).await.body;
    assert_eq!((&main["spec"]["size"], &main["status"]["phase"]), (&json!(9), &made.body["status"]["phase"]));
    let both = json!({"spec": {"size": 10}, "status": {"phase": "Ready"}});
    let status = server.merge(&format!("{path}/status"), &both).await.body;
    assert_eq!((&status["spec"]["size"], &status["status"]["phase"]), (&json!(9), &json!("Ready")));
    assert_eq!(status["metadata"]["generation"], main["metadata"]["generation"]);
    let mut whole = status.clone();
    whole["status"]["phase"] = json!("Done");
    let replaced = server.send("PUT", &format!("{path}/status"), &whole).await;
    assert_eq!((replaced.code, &replaced.body["status"]["phase"]), (200, &json!("Done")));
    server.send("DELETE", &format!("{path}/status"), &json!({})).await.fails(405, "MethodNotAllowed");
}

#[tokio::test]
async fn unknown_fields_warn_are_refused_or_pass_as_asked() {
    let server = Server::start().await;
    let body = |name| json!({"metadata": {"name": name}, "spec": {"sise": 1, "x-note": 1}});
    let warned = server.send("POST", WIDGETS, &body("a")).await;
    let warning = r#"299 - "unknown field \"spec.sise\" (did you mean \"size\"?)""#;
    assert_eq!((warned.code, warned.header("warning")), (201, warning));
    let quiet = server.send("POST", &format!("{WIDGETS}?fieldValidation=Ignore"), &body("b")).await;
    assert_eq!((quiet.code, quiet.header("warning")), (201, ""));
    let strict = server.send("POST", &format!("{WIDGETS}?fieldValidation=Strict"), &body("c")).await;
    let message = strict.fails(400, "BadRequest");
    assert!(message.contains("strict decoding error: unknown field \"spec.sise\""), "{message}");
    let strict = format!("{WIDGETS}/a?fieldValidation=Strict");
    server.merge(&strict, &json!({"spec": {"sise": 2}})).await.fails(400, "BadRequest");
    assert_eq!(server.merge(&strict, &json!({"spec": {"sise": null}})).await.code, 200, "removing one is no mistake");
    assert_eq!(names(&server.get(WIDGETS).await.body), ["a", "b"]);
}

#[tokio::test]
async fn a_dry_run_answers_and_changes_nothing() {
    let server = Server::start().await;
    let dry = format!("{WIDGETS}?dryRun=All");
    let answer = server.send("POST", &dry, &widget("a", 1)).await;
    assert_eq!((answer.code, &answer.body["spec"]["size"]), (201, &json!(1)));
    server.send("POST", &dry, &widget("a", 101)).await.fails(422, "Invalid");
    assert!(names(&server.get(WIDGETS).await.body).is_empty());
    server.widget("a", 1).await;
    let path = format!("{WIDGETS}/a");
    assert_eq!(
        server.merge(&format!("{path}?dryRun=All"), &json!({"spec": {"size": 2}})).await.body["spec"]["size"],
        2
    );
    assert_eq!(server.send("DELETE", &path, &json!({"dryRun": ["All"]})).await.code, 200);
    assert_eq!(server.get(&path).await.body["spec"]["size"], 1);
    server.send("POST", &format!("{WIDGETS}?dryRun=Some"), &widget("b", 1)).await.fails(422, "Invalid");
}

#[tokio::test]
async fn a_deletion_is_answered_by_a_status_or_by_what_waits_for_finalizers() {
    let server = Server::start().await;
    let made = server.widget("a", 1).await;
    let gone = server.send("DELETE", &format!("{WIDGETS}/a"), &json!({"propagationPolicy": "Background"})).await;
    assert_eq!((gone.code, &gone.body["status"]), (200, &json!("Success")));
    let details = json!({"name": "a", "namespace": "default", "group": "example.org", "kind": "widgets", "uid": made["metadata"]["uid"]});
    assert_eq!(gone.body["details"], details);
    server.send("DELETE", &format!("{WIDGETS}/a"), &json!({})).await.fails(404, "NotFound");
    let held = json!({"metadata": {"name": "b", "finalizers": ["example.org/hold"]}, "spec": {}});
    server.send("POST", WIDGETS, &held).await;
    let waits = server.send("DELETE", &format!("{WIDGETS}/b"), &json!({})).await;
    assert_eq!((waits.code, &waits.body["kind"]), (200, &json!("Widget")));
    assert!(waits.body["metadata"]["deletionTimestamp"].is_string());
    server.merge(&format!("{WIDGETS}/b"), &json!({"metadata": {"finalizers": null}})).await;
    server.get(&format!("{WIDGETS}/b")).await.fails(404, "NotFound");
    server.widget("c", 1).await;
    for policy in ["Orphan", "Foreground"] {
        let answer = server.send("DELETE", &format!("{WIDGETS}/c?propagationPolicy={policy}"), &json!({})).await;
        answer.fails(501, "NotImplemented");
    }
    assert_eq!(names(&server.get(WIDGETS).await.body), ["c"]);
}

#[tokio::test]
async fn a_collection_is_deleted_by_selection() {
    let server = Server::start().await;
    for (name, colour) in [("a", "red"), ("b", "blue"), ("c", "red")] {
        server.send("POST", WIDGETS, &json!({"metadata": {"name": name}, "spec": {"colour": colour}})).await;
    }
    let answer = server.send("DELETE", &format!("{WIDGETS}?fieldSelector=spec.colour%3Dred"), &json!({})).await;
    assert_eq!((answer.code, &answer.body["kind"]), (200, &json!("WidgetList")));
    assert_eq!(names(&answer.body), ["a", "c"]);
    assert_eq!(names(&server.get(WIDGETS).await.body), ["b"]);
}

#[tokio::test]
async fn a_write_that_is_sent_twice_by_its_id_acts_once() {
    let server = Server::start().await;
    let id = orion_model::CommitId::fresh(server.client.clock().now(), server.client.randomness()).to_string();
    let create = || {
        let body = json!({"metadata": {"generateName": "w-"}, "spec": {}}).to_string();
        Answer::of(server.request("POST", WIDGETS).header("orion-commit-id", &id).body(body))
    };
    let (first, second) = (create().await, create().await);
    assert_eq!(first.body["metadata"]["uid"], second.body["metadata"]["uid"], "{} {}", first.text, second.text);
    assert_eq!(names(&server.get(WIDGETS).await.body).len(), 1);
    let bad = server.request("POST", WIDGETS).header("orion-commit-id", "x").body(widget("a", 1).to_string());
    Answer::of(bad).await.fails(400, "BadRequest");
}

/// Doubles every size, says so, and knows who asked.
struct Doubling(Arc<OnceCell<Client>>);

impl WriteHandler for Doubling {
    fn write(&self, mut request: WriteRequest) -> BoxFuture<'static, Result<WriteAnswer, ClientError>> {
        let client = self.0.get().expect("is set").clone();
        async move {
            if request.caller != Caller::Token {
                return Err(ClientError::Forbidden("only with the token".into()));
            }
            let mut warnings = Vec::new();
            if let Op::Create(body) = &mut request.write.op {
                let size = body["spec"]["size"].as_u64().unwrap_or_default();
                body["spec"]["size"] = json!(size * 2);
                warnings.push(format!("size {size} was doubled"));
            }
            let committed = client.commit(request.into_commit()).await?;
            Ok(WriteAnswer { written: committed.into_single().expect("one write"), warnings })
        }
        .boxed()
    }
}

#[tokio::test]
async fn every_write_of_a_kind_goes_through_its_handler() {
    let cell = Arc::new(OnceCell::new());
    let handler: Arc<dyn WriteHandler> = Arc::new(Doubling(cell.clone()));
    let server = Server::with(Setup { handler: Some((Widget::KIND, handler)), ..Setup::default() }).await;
    cell.set(server.client.clone()).expect("set once");
    let with_token = |method: &str, path: &str, body: Value| {
        let request = server.request(method, path).bearer_auth(crate::support::SECRET);
        Answer::of(request.header("content-type", "application/json").body(body.to_string()))
    };
    let made = with_token("POST", WIDGETS, widget("a", 4)).await;
    assert_eq!((made.code, &made.body["spec"]["size"]), (201, &json!(8)));
    assert_eq!(made.header("warning"), "299 - \"size 4 was doubled\"");
    server.send("POST", WIDGETS, &widget("b", 4)).await.fails(403, "Forbidden");
    server.merge(&format!("{WIDGETS}/a"), &json!({})).await.fails(403, "Forbidden");
    server.send("PUT", &format!("{WIDGETS}/a"), &widget("a", 1)).await.fails(403, "Forbidden");
    server.send("DELETE", &format!("{WIDGETS}/a"), &json!({})).await.fails(403, "Forbidden");
    server.send("DELETE", WIDGETS, &json!({})).await.fails(403, "Forbidden");
    let region =
        server.send("POST", "/apis/example.org/v1/regions", &json!({"metadata": {"name": "r"}, "spec": {}})).await;
    assert_eq!(region.code, 201, "other kinds have none");
}
