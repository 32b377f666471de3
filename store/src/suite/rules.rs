//! Kubernetes' rules for objects, and what a registry says of kinds.

use orion_model::{
    Client, ClientError, Commit, Dynamic, Issue, Object, ObjectKey, Op, Part, Precondition, Resource, Selection, Whole,
};
use serde_json::{Value, json};

use super::{Batch, Seen, Widget, Zone, version, widget, zone};

fn merge(object: &impl Object, patch: Value, part: Part) -> Commit {
    Commit::of(object.object_key(), Op::Merge(patch, part), Precondition::NONE)
}

async fn refusal(client: &Client, commit: Commit) -> ClientError {
    client.commit(commit).await.expect_err("it is refused")
}

async fn issues(client: &Client, commit: Commit) -> Vec<Issue> {
    match refusal(client, commit).await {
        ClientError::Invalid { issues, .. } => issues,
        other => panic!("issues were expected, and this came: {other:?}"),
    }
}

/// By every way to write.
pub async fn k7_a_write_that_changes_nothing_makes_no_version_and_no_event(client: Client) {
    let made = client.create(&widget("a").with_label("app", "web")).await.expect("it is made");
    let made =
        client.update_status(&made, super::kinds::WidgetStatus { ready: 3, phase: None }).await.expect("it is set");
    let mut seen = Seen::after(&client, vec![Selection::all(Widget::KIND)], made.version()).await;
    let body = made.encode().expect("it encodes");
    let mut without_default = body.clone();
    without_default["spec"].as_object_mut().expect("it has a spec").remove("color");
    let writes = [
        Op::Merge(json!({}), Part::Main),
        Op::Merge(json!({"spec": {"size": 1, "gone": null}, "metadata": {"labels": {"app": "web"}}}), Part::Main),
        Op::Merge(json!({"status": {"ready": 3}}), Part::Status),
        Op::Replace(body.clone(), Part::Main),
        Op::Replace(body, Part::Whole),
        Op::Replace(without_default, Part::Main),
    ];
    for op in writes {
        let committed = client.commit(Commit::of(made.object_key(), op.clone(), Precondition::NONE)).await;
        let committed = committed.expect("it is fine");
        assert!(committed.versions.is_none(), "{op:?}");
        assert_eq!(committed.results[0].object.version(), made.version());
    }
    assert_eq!(version(&client).await, made.version());
    seen.nothing_before_a_marker(&client).await;
}

/// Preconditions come first.
pub async fn k7_a_stale_version_conflicts_even_if_nothing_would_change(client: Client) {
    let made = client.create(&widget("a")).await.expect("it is made");
    client.edit(&made, |widget| widget.spec.note = "x".into()).await.expect("it is changed");
    let nothing = Op::Merge(json!({}), Part::Main);
    let refused = refusal(&client, Commit::of(made.object_key(), nothing, Precondition::version(made.version()))).await;
    assert!(refused.is_conflict(), "{refused:?}");
}

/// Labels and status leave them alone.
pub async fn generation_and_spec_version_rise_with_the_spec_alone(client: Client) {
    let made = client.create(&widget("a")).await.expect("it is made");
    assert_eq!((made.metadata.generation, made.metadata.spec_version), (1, made.version()));
    assert!(made.metadata.creation_timestamp.is_some_and(|time| time == time.to_seconds()));
    let labelled = client.edit(&made, |widget| drop(widget.metadata.labels.insert("a".into(), "b".into()))).await;
    let labelled = labelled.expect("it is labelled");
    assert_eq!((labelled.metadata.generation, labelled.metadata.spec_version), (1, made.version()));
    let reported = client.update_status(&labelled, super::kinds::WidgetStatus { ready: 1, phase: None }).await;
    let reported = reported.expect("its status is set");
    assert_eq!((reported.metadata.generation, reported.metadata.spec_version), (1, made.version()));
    let changed = client.edit(&reported, |widget| widget.spec.note = "x".into()).await.expect("it is changed");
    assert_eq!((changed.metadata.generation, changed.metadata.spec_version), (2, changed.version()));
    assert_eq!(changed.metadata.creation_timestamp, made.metadata.creation_timestamp);
    assert_eq!(changed.uid(), made.uid());
}

/// Neither side writes the other's part.
pub async fn a_status_is_written_apart(client: Client) {
    let sent = json!({"spec": {"size": 5}, "status": {"ready": 9}});
    let key = |name: &str| widget(name).object_key();
    let result = async |commit: Commit| {
        let written = client.commit(commit).await.expect("it is fine").into_single().expect("one result");
        let widget = Widget::decode(&written.object).expect("it decodes");
        (widget.spec.size, widget.status.ready)
    };
    let write = |name: &str, op: Op| Commit::of(key(name), op, Precondition::NONE);
    assert_eq!(result(write("a", Op::Create(sent.clone()))).await, (5, 0), "a creation drops the status");
    assert_eq!(result(write("b", Op::CreateWhole(sent.clone()))).await, (5, 9), "unless it is whole");
    let next = json!({"spec": {"size": 6}, "status": {"ready": 2}});
    assert_eq!(result(write("b", Op::Merge(next.clone(), Part::Main))).await, (6, 9));
    assert_eq!(
        result(write("b", Op::Merge(json!({"spec": {"size": 7}, "status": {"ready": 3}}), Part::Status))).await,
        (6, 3)
    );
    assert_eq!(result(write("b", Op::Replace(json!({"spec": {"size": 8}}), Part::Main))).await, (8, 3));
    assert_eq!(result(write("b", Op::Replace(json!({"status": {"ready": 4}}), Part::Status))).await, (8, 4));
    assert_eq!(
        result(write("b", Op::Replace(json!({"spec": {"size": 9}, "status": {"ready": 5}}), Part::Whole))).await,
        (9, 5)
    );
    let zone = client.create(&zone("z")).await.expect("it is made");
    let refused = refusal(&client, merge(&zone, json!({"status": {}}), Part::Status)).await;
    assert!(matches!(refused, ClientError::BadRequest(_)), "{refused:?}");
}

/// Names of the store's making.
pub async fn a_generated_name_is_made(client: Client) {
    let mut wanted = widget("");
    wanted.metadata.generate_name = "web-".into();
    let (one, two) =
        (client.create(&wanted).await.expect("it is made"), client.create(&wanted).await.expect("it is made"));
    for made in [&one, &two] {
        let suffix = made.name().strip_prefix("web-").expect("it begins so");
        assert_eq!(suffix.len(), 5, "{}", made.name());
    }
    assert_ne!(one.name(), two.name());
    wanted.metadata.generate_name = "x".repeat(80);
    assert_eq!(client.create(&wanted).await.expect("it is cut").name().len(), 63);
    wanted.metadata.generate_name = "Web-".into();
    let refused = client.create(&wanted).await.expect_err("it would be no name");
    assert!(
        matches!(&refused, ClientError::Invalid { issues, .. } if issues[0].path == "metadata.name"),
        "{refused:?}"
    );
    wanted.metadata.generate_name.clear();
    let refused = client.create(&wanted).await.expect_err("it has no name");
    assert!(
        matches!(&refused, ClientError::Invalid { issues, .. } if issues[0].path == "metadata.name"),
        "{refused:?}"
    );
}

/// Where nobody asks for another.
pub async fn a_new_object_goes_to_the_default_namespace(client: Client) {
    let made = client.create(&Widget::new("a", widget("a").spec)).await.expect("it is made");
    assert_eq!(made.namespace(), "default");
    assert!(client.get(&made.key()).await.expect("it answers").is_some());
    let refused = client.create(&widget("a").in_namespace("A_b")).await.expect_err("it is no namespace");
    assert!(matches!(&refused, ClientError::Invalid { issues, .. } if issues[0].path == "metadata.namespace"));
}

/// And may not be given one.
pub async fn cluster_kinds_have_no_namespace(client: Client) {
    let made = client.create(&zone("a")).await.expect("it is made");
    assert_eq!(made.namespace(), "");
    let refused = client.create(&zone("b").in_namespace("default")).await.expect_err("it has one");
    assert!(matches!(&refused, ClientError::Invalid { issues, .. } if issues[0].path == "metadata.namespace"));
    assert_eq!(client.list::<Zone>().await.expect("it lists").len(), 1);
}

/// Whatever a patch says.
pub async fn names_and_uids_do_not_change(client: Client) {
    let made = client.create(&widget("a")).await.expect("it is made");
    for (field, path) in [("name", "metadata.name"), ("namespace", "metadata.namespace")] {
        let found = issues(&client, merge(&made, json!({"metadata": {field: "other"}}), Part::Main)).await;
        assert_eq!(found[0].path, path);
    }
    let other = merge(&made, json!({"metadata": {"uid": "other"}}), Part::Main);
    assert!(refusal(&client, other).await.is_conflict(), "it means another incarnation");
    let forged = json!({"metadata": {
        "resourceVersion": "1", "generation": 99, "specVersion": "1", "creationTimestamp": null,
        "deletionTimestamp": "2020-01-01T00:00:00Z",
    }});
    let committed = client.commit(merge(&made, forged, Part::Main)).await.expect("what only the store says is ignored");
    assert!(committed.versions.is_none());
}

/// Metadata and schema together, each with its path.
pub async fn all_that_is_wrong_is_told_at_once(client: Client) {
    let body = json!({"metadata": {"labels": {"a": "not a label"}}, "spec": {"size": "big", "color": 7}});
    let create = Commit::of(ObjectKey::new(Widget::KIND, "default", "Bad"), Op::Create(body), Precondition::NONE);
    let found = issues(&client, create).await;
    let mut paths: Vec<_> = found.iter().map(|issue| &*issue.path).collect();
    paths.sort_unstable();
    assert_eq!(paths, ["metadata.labels[a]", "metadata.name", "spec.color", "spec.size"]);
    let create =
        Commit::of(widget("a").object_key(), Op::Create(json!({"metadata": {"labels": 7}})), Precondition::NONE);
    assert_eq!(issues(&client, create).await[0].path, "metadata.labels");
    assert!(client.list::<Widget>().await.expect("it lists").is_empty());
}

/// What was fine once may be wrong as a change.
pub async fn a_kinds_check_sees_old_and_new(client: Client) {
    let made = client.create(&widget("a")).await.expect("it is made");
    let grown = client.edit(&made, |widget| widget.spec.size = 5).await.expect("it may grow");
    let shrunk = issues(&client, merge(&grown, json!({"spec": {"size": 4}}), Part::Main)).await;
    assert_eq!(shrunk, [Issue::at("spec.size", "cannot shrink")]);
    let huge = issues(&client, merge(&grown, json!({"spec": {"size": 2000}}), Part::Main)).await;
    assert_eq!(huge, [Issue::at("spec.size", "is over 1000")]);
    client.edit(&grown, |widget| widget.spec.note = "x".into()).await.expect("all else goes on");
}

/// The store adds what is missing and drops nothing.
pub async fn defaults_are_filled_and_unknown_fields_kept(client: Client) {
    let body = json!({"spec": {"size": 1, "strange": {"deep": [1, null]}}, "extra": true});
    let create = Commit::of(widget("a").object_key(), Op::Create(body), Precondition::NONE);
    let written = client.commit(create).await.expect("it is made").into_single().expect("one result");
    let made = Dynamic::decode(&written.object).expect("it decodes");
    assert_eq!(made.data["spec"], json!({"size": 1, "strange": {"deep": [1, null]}, "color": "grey"}));
    assert_eq!(made.data["extra"], json!(true));
    let changed = client.commit(merge(&made, json!({"spec": {"note": "x"}}), Part::Main)).await.expect("it is changed");
    let changed = changed.into_single().expect("one result").object.to_value();
    assert_eq!(changed["spec"]["strange"], json!({"deep": [1, null]}));
    assert_eq!((&changed["apiVersion"], &changed["kind"]), (&json!("suite.orion/v1"), &json!("Widget")));
}

/// Spec writes and status writes alike.
pub async fn derived_fields_follow_each_write(client: Client) {
    let phase = |widget: &Widget| widget.status.phase.clone().unwrap_or_default();
    let made = client.create(&widget("a")).await.expect("it is made");
    assert_eq!(phase(&made), "Partial");
    let ready =
        client.update_status(&made, super::kinds::WidgetStatus { ready: 1, phase: Some("Forged".into()) }).await;
    let ready = ready.expect("its status is set");
    assert_eq!(phase(&ready), "Whole");
    let grown = client.edit(&ready, |widget| widget.spec.size = 2).await.expect("it grows");
    assert_eq!((phase(&grown), grown.status.ready), ("Partial".to_owned(), 1));
}

/// A body says what it is, or nothing.
pub async fn a_body_of_another_kind_or_name_is_refused(client: Client) {
    for body in [
        json!({"kind": "Zone", "spec": {"size": 1}}),
        json!({"apiVersion": "other/v1", "spec": {"size": 1}}),
        json!({"metadata": {"name": "b"}, "spec": {"size": 1}}),
        json!({"metadata": {"namespace": "other"}, "spec": {"size": 1}}),
        json!("no object"),
    ] {
        let create = Commit::of(widget("a").object_key(), Op::Create(body.clone()), Precondition::NONE);
        let refused = refusal(&client, create).await;
        assert!(matches!(refused, ClientError::BadRequest(_)), "{body}: {refused:?}");
    }
    Batch::new().create(&widget("a")).send(&client).await.expect("nothing was made");
}
