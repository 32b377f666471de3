//! Watches.

use std::time::Duration;

use orion_model::{
    ChangeKind::{Added, Deleted, Modified},
    Client, ClientError, FieldSelector, LabelSelector, Object, Resource, ResourceVersion, Selection, Watch, Whole,
    backend::Event,
};
use serde_json::json;

use super::{Batch, Seen, Widget, Zone, version, widget, zone};

fn widgets() -> Selection {
    Selection::all(Widget::KIND)
}

/// Several kinds, one batch, in order.
pub async fn s2_a_watch_delivers_a_commit_as_one_batch(client: Client) {
    let start = version(&client).await;
    let mut seen = Seen::after(&client, vec![widgets(), Selection::all(Zone::KIND)], start).await;
    let committed = Batch::new().create(&zone("b")).create(&widget("a")).create(&widget("c")).send(&client).await;
    let versions = committed.expect("it is made").versions.expect("it made some");
    let (version, changes) = seen.commit().await;
    assert_eq!(version, versions.last);
    let told: Vec<_> = changes.iter().map(|change| (change.kind, &*change.object.metadata().name)).collect();
    assert_eq!(told, [(Added, "b"), (Added, "a"), (Added, "c")]);
}

/// From any version on, whether the events are past or to come.
pub async fn s5_each_later_event_comes_once_and_in_order(client: Client) {
    let start = version(&client).await;
    let mut made = Vec::new();
    for n in 0..30 {
        made.push(client.create(&widget(&format!("w{n}"))).await.expect("it is made").version());
    }
    for (skipped, from) in [(0, start), (1, made[0]), (15, made[14])] {
        let mut seen = Seen::after(&client, vec![widgets()], from).await;
        for expected in &made[skipped..] {
            assert_eq!(seen.commit().await.0, *expected);
        }
    }
    let mut seen = Seen::after(&client, vec![widgets()], made[29]).await;
    let next = client.create(&widget("next")).await.expect("it is made");
    assert_eq!(seen.commit().await.0, next.version());
}

/// What was after it comes.
pub async fn s5_a_watch_may_begin_inside_a_commit(client: Client) {
    let batch = ["a", "b", "c"].iter().fold(Batch::new(), |batch, name| batch.create(&widget(name)));
    let versions = batch.send(&client).await.expect("they are made").versions.expect("it made some");
    let mut seen = Seen::after(&client, vec![widgets()], versions.first).await;
    assert_eq!(seen.changes().await, [(Added, "b".to_owned()), (Added, "c".to_owned())]);
}

/// A version that has not been given yet.
pub async fn s5_a_watch_from_beyond_the_head_is_expired(client: Client) {
    let head = client.create(&widget("a")).await.expect("it is made").version();
    let beyond = Watch::after(vec![widgets()], head.next());
    let refused = client.watch(beyond).await.map(drop).expect_err("nothing is there yet");
    assert!(matches!(refused, ClientError::Expired { .. }), "{refused:?}");
    Seen::after(&client, vec![widgets()], head).await;
}

/// A version that nobody has ever kept.
pub async fn s5_a_watch_from_before_the_history_is_expired(client: Client) {
    let start = version(&client).await;
    let refused = client.watch(Watch::after(vec![widgets()], ResourceVersion::new(1))).await.map(drop);
    let refused = refused.expect_err("it is older than the store");
    assert!(matches!(refused, ClientError::Expired { oldest, .. } if oldest == start), "{refused:?}");
}

/// Other kinds and namespaces.
pub async fn s5_a_watch_sees_no_event_of_others(client: Client) {
    let start = version(&client).await;
    let mut seen = Seen::after(&client, vec![widgets().in_namespace("default")], start).await;
    client.create(&zone("a")).await.expect("it is made");
    client.create(&widget("b").in_namespace("other")).await.expect("it is made");
    let both = Batch::new().create(&zone("c")).create(&widget("d"));
    let last = both.send(&client).await.expect("they are made").versions.expect("it made some").last;
    let (version, changes) = seen.commit().await;
    assert_eq!((version, changes.len()), (last, 1), "the batch ends where its commit does");
    assert_eq!(changes[0].object.metadata().name, "d");
}

/// By label and by field.
pub async fn leaving_a_selection_is_a_deletion_and_entering_an_addition(client: Client) {
    let start = version(&client).await;
    let by_label = widgets().with_labels(LabelSelector::equals("app", "web"));
    let by_field = widgets().with_fields(FieldSelector::default().and_equals("spec.color", "red"));
    let label = |value| json!({"metadata": {"labels": {"app": value}}});
    let color = |value| json!({"spec": {"color": value}});
    for (name, selection, enter, leave) in [
        ("labelled", by_label, label(json!("web")), label(json!(null))),
        ("coloured", by_field, color("red"), color("blue")),
    ] {
        let mut seen = Seen::after(&client, vec![selection], start).await;
        let made = widget(name);
        client.create(&made).await.expect("it is made");
        for patch in [&enter, &json!({"spec": {"note": "x"}}), &leave, &json!({"spec": {"note": "y"}}), &enter] {
            Batch::new().merge(&made, patch.clone()).send(&client).await.expect("it is changed");
        }
        let deleted = Batch::new().delete(&made).send(&client).await.expect("it is deleted");
        let mut told = Vec::new();
        let mut last = None;
        for _ in 0..5 {
            let (version, changes) = seen.commit().await;
            last = Some(version);
            told.extend(changes.iter().map(|change| (change.kind, change.object.metadata().name.clone())));
        }
        let kinds = [Added, Modified, Deleted, Added, Deleted];
        assert_eq!(told, kinds.map(|kind| (kind, name.to_owned())));
        assert_eq!(last, deleted.versions.map(|versions| versions.last));
    }
}

/// Even as an object goes from one to the other.
pub async fn a_watch_of_several_selections_sees_each_change_once(client: Client) {
    let start = version(&client).await;
    let of = |value: &str| widgets().with_labels(LabelSelector::equals("app", value));
    let mut seen =
        Seen::after(&client, vec![of("web"), of("api"), widgets().with_fields(FieldSelector::name("a"))], start).await;
    let made = widget("a").with_label("app", "web");
    client.create(&made).await.expect("it is made");
    for value in [json!("api"), json!(null)] {
        let patch = json!({"metadata": {"labels": {"app": value}}});
        Batch::new().merge(&made, patch).send(&client).await.expect("it is changed");
    }
    let told = [seen.changes().await, seen.changes().await, seen.changes().await].concat();
    assert_eq!(told, [Added, Modified, Modified].map(|kind| (kind, "a".to_owned())));
}

/// One batch, a bookmark, and then what follows.
pub async fn an_initial_watch_begins_with_what_exists(client: Client) {
    client.create(&widget("a")).await.expect("it is made");
    let b = client.create(&widget("b")).await.expect("it is made");
    client.create(&zone("z")).await.expect("it is made");
    let head = version(&client).await;
    let initial = |after| Watch { selections: vec![widgets()], after, initial: true, bookmarks: None };
    for after in [None, Some(ResourceVersion::ZERO), Some(b.version())] {
        let mut seen = Seen::of(client.watch(initial(after)).await.expect("it begins"));
        let (version, changes) = seen.commit().await;
        assert_eq!(version, head);
        assert_eq!(
            changes.iter().map(|change| (change.kind, &*change.object.metadata().name)).collect::<Vec<_>>(),
            [(Added, "a"), (Added, "b")]
        );
        assert!(matches!(seen.item().await, Some(Ok(Event::Bookmark(version))) if version == head));
    }
    let mut seen = Seen::of(client.watch(initial(None)).await.expect("it begins"));
    seen.commit().await;
    seen.item().await;
    let next = client.edit(&b, |widget| widget.spec.note = "x".into()).await.expect("it is changed");
    assert_eq!(seen.commit().await.0, next.version());
    let none = Watch { selections: vec![widgets().in_namespace("empty")], ..initial(None) };
    let mut seen = Seen::of(client.watch(none).await.expect("it begins"));
    assert!(matches!(seen.item().await, Some(Ok(Event::Bookmark(_)))), "nothing exists there");
}

/// So that it does not expire while others write.
pub async fn a_quiet_watch_gets_bookmarks(client: Client) {
    let start = version(&client).await;
    let quiet =
        Watch { bookmarks: Some(Duration::from_millis(5)), ..Watch::after(vec![Selection::all(Zone::KIND)], start) };
    let mut seen = Seen::of(client.watch(quiet).await.expect("it begins"));
    let made = client.create(&widget("a")).await.expect("it is made");
    loop {
        match seen.item().await {
            Some(Ok(Event::Bookmark(version))) if version == made.version() => break,
            Some(Ok(Event::Bookmark(version))) => assert_eq!(version, start),
            other => panic!("a bookmark was expected, and this came: {other:?}"),
        }
    }
}
