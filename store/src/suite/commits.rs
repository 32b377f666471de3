//! Atomic, conditional commits and their versions.

use std::collections::BTreeSet;

use futures::future::join_all;
use orion_model::{
    ChangeKind, Client, ClientError, Commit, List, Object, Op, Part, Precondition, Resource, ResourceVersion,
    Selection, Whole, Write,
};
use serde_json::json;

use super::{Batch, Seen, Widget, Zone, version, widget, zone};

/// One refused write, and none of the commit's happens.
pub async fn s2_a_refused_write_undoes_the_whole_commit(client: Client) {
    let before = version(&client).await;
    let batch = Batch::new().create(&widget("a")).create(&zone("b")).merge(&widget("missing"), json!({}));
    let refused = batch.send(&client).await.expect_err("one is refused");
    assert!(refused.is_not_found(), "{refused:?}");
    assert!(client.list::<Widget>().await.expect("it lists").is_empty());
    assert!(client.list::<Zone>().await.expect("it lists").is_empty());
    assert_eq!(version(&client).await, before);
}

/// Two kinds that always change together are always seen together.
pub async fn s2_lists_never_see_half_a_commit(client: Client) {
    let (a, b) = (widget("a"), zone("b"));
    Batch::new().create(&a).create(&b).send(&client).await.expect("they are made");
    let writer = async {
        for round in 0..50 {
            let patch = json!({"spec": {"note": round.to_string()}});
            let batch = Batch::new().merge(&a, patch.clone()).merge(&b, patch);
            batch.send(&client).await.expect("they are changed");
        }
    };
    let reader = async {
        for _ in 0..50 {
            let both = List::snapshot(vec![Selection::all(Widget::KIND), Selection::all(Zone::KIND)]);
            let listed = client.list_raw(both).await.expect("they are listed");
            let note =
                |item: &orion_model::Stored| item.to_value()["spec"]["note"].as_str().unwrap_or_default().to_owned();
            let notes: BTreeSet<_> = listed.items.iter().map(note).collect();
            assert_eq!(notes.len(), 1, "of one commit: {notes:?}");
        }
    };
    tokio::join!(writer, reader);
}

/// Versions of a commit.
pub async fn s3_each_write_has_its_own_version_and_a_commit_a_contiguous_range(client: Client) {
    let first = Batch::new().create(&widget("a")).create(&zone("b")).create(&widget("c")).send(&client).await;
    let first = first.expect("it is made");
    let versions = first.versions.expect("it made some");
    let of_each: Vec<_> = first.results.iter().map(|written| written.object.version()).collect();
    assert_eq!(of_each, [versions.first, versions.first.next(), versions.last]);
    assert_eq!(versions.last, versions.first.next().next());
    assert_eq!(version(&client).await, versions.last, "lists stand at commit ends");
    let second = client.create(&widget("d")).await.expect("it is made");
    assert_eq!(second.version(), versions.last.next());
}

/// Many writers at once: no version twice, and each sees its own rise.
pub async fn s3_versions_rise_in_commit_order_under_concurrency(client: Client) {
    let writer = async |writer: usize| {
        let mut own = Vec::new();
        for n in 0..10 {
            let made = client.create(&widget(&format!("w{writer}-{n}"))).await.expect("it is made");
            own.push(made.version());
        }
        assert!(own.is_sorted(), "{own:?}");
        own
    };
    let all: Vec<ResourceVersion> = join_all((0..16).map(writer)).await.concat();
    assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), all.len(), "no version is given twice");
}

/// Exactly one of many writers with the same expected version wins; each other learns the current one.
pub async fn s4_of_concurrent_writes_at_one_version_exactly_one_wins(client: Client) {
    let mut current = client.create(&widget("a")).await.expect("it is made");
    for round in 0..10 {
        let write = async |writer: usize| client.edit(&current, |w| w.spec.note = format!("{round}-{writer}")).await;
        let outcomes = join_all((0..8).map(write)).await;
        let (won, lost): (Vec<_>, Vec<_>) = outcomes.into_iter().partition(Result::is_ok);
        assert_eq!(won.len(), 1, "round {round}");
        let winner = won.into_iter().next().and_then(Result::ok).expect("there is one");
        for refused in lost {
            let refused = refused.expect_err("it has lost");
            assert!(
                matches!(&refused, ClientError::Conflict { current, .. } if *current == Some(winner.version())),
                "{refused:?}"
            );
        }
        current = winner;
    }
}

/// A version that was read from an earlier incarnation does not fit a later one.
pub async fn s4_a_stale_version_conflicts_also_across_delete_and_recreate(client: Client) {
    let first = client.create(&widget("a")).await.expect("it is made");
    client.delete(&first).await.expect("it is deleted");
    let second = client.create(&widget("a")).await.expect("it is made again");
    for refused in [
        client.edit(&first, |widget| widget.spec.note = "late".into()).await.map(drop),
        client.update(&first).await.map(drop),
        client.delete(&first).await,
    ] {
        let refused = refused.expect_err("it is another one");
        assert!(
            matches!(&refused, ClientError::Conflict { current, .. } if *current == Some(second.version())),
            "{refused:?}"
        );
    }
    let uid = Precondition { version: None, uid: Some(first.uid().clone()) };
    let refused = client.commit(Commit::of(first.object_key(), Op::Delete, uid)).await.expect_err("another uid");
    assert!(refused.is_conflict(), "{refused:?}");
}

/// Spec twice and status once, in one commit.
pub async fn several_writes_of_one_object_make_one_version_and_one_event(client: Client) {
    let made = client.create(&widget("a")).await.expect("it is made");
    let mut seen = Seen::after(&client, vec![Selection::all(Widget::KIND)], made.version()).await;
    let batch = Batch::new()
        .merge(&made, json!({"spec": {"note": "x"}}))
        .merge_status(&made, json!({"status": {"ready": 1}}))
        .merge(&made, json!({"spec": {"color": "red"}}));
    let committed = batch.send(&client).await.expect("it is changed");
    let versions = committed.versions.expect("it made one");
    assert_eq!((versions.first, versions.last), (made.version().next(), made.version().next()));
    assert_eq!(committed.results.len(), 3);
    for written in &committed.results {
        let after = Widget::decode(&written.object).expect("it decodes");
        assert_eq!((&*after.spec.note, &*after.spec.color, after.status.ready), ("x", "red", 1));
        assert_eq!(after.metadata.generation, 2, "one change of the spec");
    }
    assert_eq!(seen.changes().await, [(ChangeKind::Modified, "a".to_owned())]);
    seen.nothing_before_a_marker(&client).await;
}

/// Two writes of one object with the same precondition.
pub async fn preconditions_are_judged_before_the_commits_own_writes(client: Client) {
    let made = client.create(&widget("a")).await.expect("it is made");
    let at = || Precondition::version(made.version());
    let both = Batch::new().write(&made, Op::Merge(json!({"spec": {"note": "x"}}), Part::Main), at()).write(
        &made,
        Op::Merge(json!({"status": {"ready": 1}}), Part::Status),
        at(),
    );
    both.send(&client).await.expect("both fit the state before");
    let refused = client.commit(Commit::of(made.object_key(), Op::Delete, at())).await.expect_err("it has moved");
    assert!(refused.is_conflict(), "{refused:?}");
}

/// Every write but a creation needs the object.
pub async fn what_is_not_there_is_not_found(client: Client) {
    let missing = widget("missing");
    let body = missing.encode().expect("it encodes");
    for op in [Op::Replace(body, Part::Main), Op::Merge(json!({}), Part::Main), Op::Delete] {
        let refused = client.commit(Commit::of(missing.object_key(), op.clone(), Precondition::NONE)).await;
        let refused = refused.expect_err("it is not there");
        assert!(refused.is_not_found(), "{op:?}: {refused:?}");
    }
    assert_eq!(client.get(&missing.key()).await.expect("it answers").map(|widget| widget.version()), None);
}

/// A creation needs the name to be free, also within its own commit.
pub async fn what_is_there_already_exists(client: Client) {
    client.create(&widget("a")).await.expect("it is made");
    let refused = client.create(&widget("a")).await.expect_err("it is there");
    assert!(matches!(&refused, ClientError::AlreadyExists(key) if &*key.name == "a"), "{refused:?}");
    let twice = Batch::new().create(&widget("b")).create(&widget("b")).send(&client).await;
    assert!(matches!(twice, Err(ClientError::AlreadyExists(_))));
    let again = Batch::new().delete(&widget("a")).create(&widget("a")).send(&client).await;
    assert!(matches!(again, Err(ClientError::AlreadyExists(_))), "one commit makes one version of an object");
    let mut other = widget("a");
    other.metadata.namespace = "other".into();
    client.create(&other).await.expect("another namespace is another object");
}

/// A dry run says what would be.
pub async fn a_dry_run_answers_and_changes_nothing(client: Client) {
    let made = client.create(&widget("a")).await.expect("it is made");
    let batch = Batch::new().merge(&made, json!({"spec": {"note": "x"}})).create(&widget("b"));
    let mut commit = batch.commit();
    commit.dry_run = true;
    let answer = client.commit(commit.clone()).await.expect("it would be fine");
    assert!(answer.versions.is_none());
    let [changed, new] = answer.results.as_slice() else { panic!("a result for each write") };
    assert_eq!(Widget::decode(&changed.object).expect("it decodes").spec.note, "x");
    assert_eq!(changed.object.version(), made.version(), "no version that another will have");
    assert!(new.object.version().is_zero() && !new.object.metadata().uid.is_empty());
    assert_eq!(version(&client).await, made.version());
    let left = client.list::<Widget>().await.expect("it lists");
    assert_eq!(left.iter().map(|widget| (widget.name(), &*widget.spec.note)).collect::<Vec<_>>(), [("a", "")]);
    client.create(&widget("b")).await.expect("it was not made");
    let refused = client.commit(commit).await.expect_err("now it is there");
    assert!(matches!(refused, ClientError::AlreadyExists(_)));
}

/// It makes no version and no event.
pub async fn an_object_made_and_deleted_in_one_commit_was_never_there(client: Client) {
    let before = version(&client).await;
    let answer = Batch::new().create(&widget("a")).delete(&widget("a")).send(&client).await.expect("it is nothing");
    assert!(answer.versions.is_none());
    assert!(answer.results.iter().all(|written| written.gone));
    assert_eq!(version(&client).await, before);
}

/// An object over 1 MiB, a commit over 8 MiB, one of over 10 000 writes.
pub async fn too_large_is_refused_by_name(client: Client) {
    let noted = |name: &str, size: usize| {
        let mut widget = widget(name);
        widget.spec.note = "x".repeat(size);
        widget
    };
    client.create(&noted("fits", 1_000_000)).await.expect("just under 1 MiB fits");
    let refused = client.create(&noted("big", 1 << 20)).await.expect_err("it is over 1 MiB");
    assert!(
        matches!(&refused, ClientError::TooLarge { what, size, limit: 1_048_576 }
            if what.contains("default/big") && *size > 1 << 20),
        "{refused:?}"
    );
    let nine = (0..9).fold(Batch::new(), |batch, n| batch.create(&noted(&format!("part-{n}"), 1_000_000)));
    let refused = nine.send(&client).await.expect_err("together they are over 8 MiB");
    assert!(matches!(&refused, ClientError::TooLarge { limit: 8_388_608, .. }), "{refused:?}");
    let write = Write {
        key: widget("fits").object_key(),
        op: Op::Merge(json!({}), Part::Main),
        precondition: Precondition::NONE,
    };
    let many = Commit { writes: vec![write; 10_001], ..Commit::default() };
    let refused = client.commit(many).await.expect_err("it is too many");
    assert!(refused.to_string().contains("10000"), "{refused}");
    let left = client.list::<Widget>().await.expect("it lists");
    assert_eq!(left.iter().map(Object::name).collect::<Vec<_>>(), ["fits"]);
}
