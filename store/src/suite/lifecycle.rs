//! From creation to deletion.

use orion_model::{
    ChangeKind, Client, ClientError, Object, Op, OwnerReference, Part, Precondition, Resource, Selection, Whole,
};
use serde_json::json;

use super::{Batch, Seen, Widget, widget, zone};

/// The object stays, marked, until its last finalizer is gone.
pub async fn a_finalizer_holds_a_deleted_object(client: Client) {
    let made = client.create(&widget("a").with_finalizer("suite/one").with_finalizer("suite/two")).await;
    let made = made.expect("it is made");
    let mut seen = Seen::after(&client, vec![Selection::all(Widget::KIND)], made.version()).await;
    client.delete(&made).await.expect("its deletion is asked for");
    let dying = client.get(&made.key()).await.expect("it answers").expect("it is still there");
    assert!(dying.is_being_deleted());
    assert_eq!(dying.metadata.deletion_grace_period_seconds, Some(0));
    assert_eq!(dying.metadata.generation, made.metadata.generation);
    assert_eq!(dying.metadata.spec_version, dying.version(), "the deletion is of the specVersion's writes");
    let one_less = client.edit(&dying, |widget| widget.metadata.finalizers.retain(|name| name != "suite/one")).await;
    let one_less = one_less.expect("one is removed");
    let last = client.edit(&one_less, |widget| widget.metadata.finalizers.clear()).await.expect("the last is removed");
    assert_eq!(client.get(&made.key()).await.expect("it answers").map(|widget| widget.version()), None);
    let kinds: Vec<_> = [seen.commit().await, seen.commit().await, seen.commit().await].into();
    let told: Vec<_> =
        kinds.iter().map(|(version, changes)| (*version, changes[0].kind, changes[0].object.version())).collect();
    let expected = [
        (dying.version(), ChangeKind::Modified, dying.version()),
        (one_less.version(), ChangeKind::Modified, one_less.version()),
        (last.version(), ChangeKind::Deleted, last.version()),
    ];
    assert_eq!(told, expected, "a deletion has its own version, and its object carries it");
}

/// Both in one commit: the object goes at once.
pub async fn removing_the_last_finalizer_while_deleting_is_one_commit(client: Client) {
    let made = client.create(&widget("a").with_finalizer("suite/one")).await.expect("it is made");
    let batch = Batch::new().delete(&made).merge(&made, json!({"metadata": {"finalizers": null}}));
    let committed = batch.send(&client).await.expect("it goes");
    assert!(committed.results.iter().all(|written| written.gone));
    let versions = committed.versions.expect("one version");
    assert_eq!(versions.first, versions.last);
    assert!(client.get(&made.key()).await.expect("it answers").is_none());
}

/// Nobody may hold up what is dying.
pub async fn k12_a_dying_object_gets_no_new_finalizer(client: Client) {
    let made = client.create(&widget("a").with_finalizer("suite/one")).await.expect("it is made");
    client.delete(&made).await.expect("its deletion is asked for");
    let patch = json!({"metadata": {"finalizers": ["suite/one", "suite/two"]}});
    let refused = Batch::new().merge(&made, patch).send(&client).await.expect_err("it is dying");
    assert!(matches!(&refused, ClientError::BeingDeleted { .. }), "{refused:?}");
    let change = Op::Merge(json!({"status": {"ready": 1}}), Part::Status);
    Batch::new().write(&made, change, Precondition::NONE).send(&client).await.expect("its status is free");
}

/// The second deletion of a dying object.
pub async fn deleting_twice_is_no_change(client: Client) {
    let made = client.create(&widget("a").with_finalizer("suite/one")).await.expect("it is made");
    client.delete(&made).await.expect("its deletion is asked for");
    let again = Batch::new().delete(&made).send(&client).await.expect("it is being deleted");
    assert!(again.versions.is_none());
    assert!(!again.results[0].gone);
}

/// Two incarnations under one name.
pub async fn delete_and_recreate_gives_another_uid(client: Client) {
    let first = client.create(&widget("a")).await.expect("it is made");
    let mut seen = Seen::after(&client, vec![Selection::all(Widget::KIND)], first.version()).await;
    client.delete(&first).await.expect("it is deleted");
    let second = client.create(&widget("a")).await.expect("it is made again");
    assert_ne!(first.uid(), second.uid());
    assert_eq!(second.metadata.generation, 1);
    assert_eq!(seen.changes().await, [(ChangeKind::Deleted, "a".to_owned())]);
    assert_eq!(seen.changes().await, [(ChangeKind::Added, "a".to_owned())], "never merged into an update");
}

/// Owners are kept as they are written, checked for what they must say, and not acted upon.
pub async fn owner_references_are_kept(client: Client) {
    let owner = client.create(&zone("owner")).await.expect("it is made");
    let owned = client.create(&widget("a").owned_by(&owner)).await.expect("it is made");
    assert_eq!(owned.metadata.owner_references, [OwnerReference::controller(&owner.kind(), owner.metadata())]);
    let kept = client.edit(&owned, |widget| widget.spec.note = "x".into()).await.expect("it is changed");
    assert_eq!(kept.metadata.owner_references, owned.metadata.owner_references);
    client.delete(&owner).await.expect("it is deleted");
    let left = client.get(&owned.key()).await.expect("it answers").expect("collecting is a controller's work");
    assert!(left.metadata.is_owned_by(owner.uid()));
    let refused = client.create(&widget("b").owned_by(&widget("never-made"))).await.expect_err("it has no uid");
    assert!(matches!(&refused, ClientError::Invalid { issues, .. } if issues[0].path == "metadata.ownerReferences[0]"));
}
