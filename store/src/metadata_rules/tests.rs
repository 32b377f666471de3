use orion_model::{Lease, Resource, ResourceVersion};
use serde_json::json;

use super::*;

fn at(secs: i64) -> Timestamp {
    Timestamp::from_millis(secs * 1000 + 1)
}

fn key() -> ObjectKey {
    ObjectKey::new(Lease::KIND, "default", "a")
}

fn stored() -> Metadata {
    Metadata {
        uid: "u1".into(),
        resource_version: ResourceVersion::new(7),
        generation: 3,
        spec_version: ResourceVersion::new(5),
        creation_timestamp: Some(at(1).to_seconds()),
        namespace: "default".into(),
        ..Metadata::named("a")
    }
}

#[test]
fn what_only_the_store_says_is_taken_from_no_writer() {
    let forged = Metadata {
        uid: "forged".into(),
        resource_version: ResourceVersion::new(99),
        generation: 99,
        spec_version: ResourceVersion::new(99),
        creation_timestamp: Some(at(99)),
        deletion_timestamp: Some(at(99)),
        deletion_grace_period_seconds: Some(99),
        ..Metadata::default()
    };
    let made = created(forged.clone(), &key(), "u1".into(), at(1));
    let expected = Metadata {
        generation: 0,
        resource_version: ResourceVersion::ZERO,
        spec_version: ResourceVersion::ZERO,
        ..stored()
    };
    assert_eq!(made, expected);
    let changed = updated(Metadata { uid: "".into(), ..forged }, &stored(), &key()).expect("it is allowed");
    assert_eq!(changed, stored());
}

#[test]
fn a_writer_changes_labels_annotations_finalizers_and_owners() {
    let owner = OwnerReference::controller(&Lease::KIND, &stored());
    let written = Metadata {
        labels: [("app".to_owned(), "web".to_owned())].into(),
        annotations: [("note".to_owned(), "x".to_owned())].into(),
        finalizers: vec!["orion/process".into()],
        owner_references: vec![owner],
        ..Metadata::default()
    };
    let changed = updated(written.clone(), &stored(), &key()).expect("it is allowed");
    assert_eq!(
        changed,
        Metadata {
            uid: "u1".into(),
            ..Metadata {
                labels: written.labels,
                annotations: written.annotations,
                finalizers: written.finalizers,
                owner_references: written.owner_references,
                ..stored()
            }
        }
    );
}

#[test]
fn names_and_incarnations_do_not_change() {
    for (written, path) in [
        (Metadata::named("b"), "metadata.name"),
        (Metadata { namespace: "other".into(), ..Metadata::default() }, "metadata.namespace"),
    ] {
        let refused = updated(written, &stored(), &key()).expect_err(path);
        assert!(matches!(&refused, ClientError::Invalid { issues, .. } if issues[0].path == path), "{refused}");
    }
    let other = Metadata { uid: "u2".into(), ..Metadata::default() };
    assert!(matches!(updated(other, &stored(), &key()), Err(ClientError::Conflict { current: Some(_), .. })));
}

#[test]
fn k12_a_dying_object_gets_no_new_finalizer_but_may_lose_one() {
    let mut dying = Metadata { finalizers: vec!["a/1".into(), "a/2".into()], ..stored() };
    mark_deleted(&mut dying, at(9));
    let with = |finalizers: &[&str]| Metadata {
        finalizers: finalizers.iter().map(|name| (*name).to_owned()).collect(),
        ..Metadata::default()
    };
    assert!(matches!(updated(with(&["a/1", "a/3"]), &dying, &key()), Err(ClientError::BeingDeleted { .. })));
    let fewer = updated(with(&["a/2"]), &dying, &key()).expect("one may go");
    assert!(!is_released(&fewer));
    assert!(is_released(&updated(with(&[]), &dying, &key()).expect("all may go")));
}

#[test]
fn a_second_deletion_keeps_the_time_of_the_first() {
    let mut metadata = stored();
    mark_deleted(&mut metadata, at(5));
    let first = metadata.clone();
    mark_deleted(&mut metadata, at(6));
    assert_eq!(metadata, first);
    assert_eq!(metadata.deletion_timestamp, Some(at(5).to_seconds()));
}

#[test]
fn k7_times_of_managed_fields_are_no_change_and_managers_are() {
    let managed = |manager: &str, time: &str| Metadata {
        managed_fields: vec![json!({"manager": manager, "time": time, "fieldsV1": {}})],
        ..stored()
    };
    assert!(same(&managed("cli", "t1"), &managed("cli", "t2")));
    assert!(!same(&managed("cli", "t1"), &managed("other", "t1")));
    assert!(!same(&stored(), &Metadata { labels: [("a".to_owned(), "b".to_owned())].into(), ..stored() }));
}

#[test]
fn managed_fields_are_kept_where_a_writer_sends_none() {
    let current = Metadata { managed_fields: vec![json!({"manager": "cli"})], ..stored() };
    let changed = updated(Metadata::default(), &current, &key()).expect("it is allowed");
    assert_eq!(changed.managed_fields, current.managed_fields);
}

#[test]
fn names_are_dns_subdomains() {
    let fine = ["a", "web-1", "web.example.org", "1", &"a".repeat(253)];
    let wrong = ["", "Web", "a_b", "-a", "a-", "a..b", ".a", "a b", "../../etc", "ä", &"a".repeat(254)];
    for name in fine {
        assert_eq!(wrong_name(name), None, "{name}");
    }
    for name in wrong {
        assert!(wrong_name(name).is_some(), "{name}");
    }
}

#[test]
fn wrong_metadata_is_named_with_its_path() {
    let owner = |name: &str| OwnerReference { controller: true, name: name.into(), ..OwnerReference::default() };
    let wrong = Metadata {
        namespace: "A".into(),
        labels: [("a b".to_owned(), "x".to_owned()), ("ok".to_owned(), "-".to_owned())].into(),
        annotations: [("/x".to_owned(), "anything at all".to_owned())].into(),
        finalizers: vec!["".into()],
        owner_references: vec![owner("one"), owner("two")],
        ..Metadata::named("B")
    };
    let found = issues(&Lease::KIND, &wrong);
    let paths: Vec<_> = found.iter().map(|issue| &*issue.path).collect();
    let expected = [
        "metadata.name",
        "metadata.namespace",
        "metadata.labels[a b]",
        "metadata.labels[ok]",
        "metadata.annotations[/x]",
        "metadata.finalizers[0]",
        "metadata.ownerReferences",
        "metadata.ownerReferences[0]",
        "metadata.ownerReferences[1]",
    ];
    assert_eq!(paths, expected);
    assert_eq!(issues(&Lease::KIND, &stored()), []);
}

#[test]
fn annotations_are_bounded_together() {
    let annotations = |size: usize| [("a".to_owned(), "x".repeat(size - 1))].into();
    assert_eq!(issues(&Lease::KIND, &Metadata { annotations: annotations(ANNOTATIONS_BYTES), ..stored() }), []);
    assert!(
        !issues(&Lease::KIND, &Metadata { annotations: annotations(ANNOTATIONS_BYTES + 1), ..stored() }).is_empty()
    );
}

#[test]
fn a_generated_name_leaves_room_for_its_end() {
    assert_eq!(generated_base("web-"), "web-");
    assert_eq!(generated_base(&"a".repeat(100)).len() + GENERATED_SUFFIX, 63);
}
