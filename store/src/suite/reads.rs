//! Gets and lists.

use orion_model::{
    Client, ClientError, FieldSelector, Freshness, Get, Kind, LabelSelector, List, Object, ObjectKey, Op, Precondition,
    Resource, Selection, Watch, Whole,
    kind::{Names, Scope},
};
use serde_json::json;

use super::{Batch, Widget, Zone, version, widget, zone};

async fn names(client: &Client, list: List) -> (Vec<String>, bool) {
    let listed = client.list_raw(list).await.expect("it lists");
    let path = |object: &orion_model::Stored| format!("{}/{}", object.metadata().namespace, object.metadata().name);
    (listed.items.iter().map(path).collect(), listed.more)
}

fn widgets() -> Selection {
    Selection::all(Widget::KIND)
}

/// By kind, namespace and name, in pages.
pub async fn lists_are_ordered_and_cut_by_a_limit(client: Client) {
    for name in ["c", "a", "b"] {
        client.create(&widget(name).in_namespace("two")).await.expect("it is made");
    }
    client.create(&widget("z").in_namespace("one")).await.expect("it is made");
    client.create(&zone("y")).await.expect("it is made");
    let all = || List::all(widgets());
    assert_eq!(
        names(&client, all()).await,
        (vec!["one/z".into(), "two/a".into(), "two/b".into(), "two/c".into()], false)
    );
    let mut pages = Vec::new();
    let mut after = None;
    loop {
        let selections = vec![Selection::all(Zone::KIND), widgets()];
        let page = List { limit: Some(2), after: after.clone(), ..List::snapshot(selections) };
        let listed = client.list_raw(page).await.expect("it lists");
        pages.push(listed.items.iter().map(|item| item.metadata().name.clone()).collect::<Vec<_>>());
        after = listed.items.last().map(|item| item.key());
        if !listed.more {
            break;
        }
    }
    assert_eq!(pages, [vec!["z", "a"], vec!["b", "c"], vec!["y"]]);
}

/// The three ways to select.
pub async fn lists_select_by_namespace_labels_and_fields(client: Client) {
    let red = |name: &str| {
        let mut red = widget(name).with_label("app", "web");
        red.spec.color = "red".into();
        red
    };
    client.create(&red("a")).await.expect("it is made");
    client.create(&red("b").in_namespace("other")).await.expect("it is made");
    client.create(&widget("c")).await.expect("it is made");
    let table = [
        (widgets().in_namespace("default"), vec!["default/a", "default/c"]),
        (widgets().in_namespace("nowhere"), vec![]),
        (widgets().with_labels(LabelSelector::equals("app", "web")), vec!["default/a", "other/b"]),
        (widgets().with_fields(FieldSelector::name("c")), vec!["default/c"]),
        (
            widgets().with_fields(FieldSelector::default().and_equals(".spec.color", "red")),
            vec!["default/a", "other/b"],
        ),
        (widgets().with_fields("spec.color!=red".parse().expect("it parses")), vec!["default/c"]),
    ];
    for (selection, expected) in table {
        assert_eq!(names(&client, List::all(selection.clone())).await.0, expected, "{selection:?}");
    }
}

/// Overlapping selections.
pub async fn a_list_of_several_selections_names_each_object_once(client: Client) {
    client.create(&widget("a").with_label("app", "web")).await.expect("it is made");
    client.create(&widget("b")).await.expect("it is made");
    let both = vec![
        widgets().with_labels(LabelSelector::equals("app", "web")),
        widgets().in_namespace("default"),
        widgets().with_fields(FieldSelector::name("a")),
    ];
    assert_eq!(names(&client, List::snapshot(both)).await.0, ["default/a", "default/b"]);
}

/// `AtLeast` waits, `Any` does not.
pub async fn reads_wait_for_the_version_they_ask_for(client: Client) {
    let made = client.create(&widget("a")).await.expect("it is made");
    for freshness in [Freshness::Any, Freshness::Confirmed, Freshness::AtLeast(made.version())] {
        let get = Get { key: made.object_key(), freshness };
        let found = client.backend().get(get).await.expect("it answers");
        assert_eq!(found.map(|found| found.version()), Some(made.version()), "{freshness:?}");
    }
    let ahead = Freshness::AtLeast(made.version().next());
    let waiting = client.backend().list(List { freshness: ahead, ..List::all(widgets()) });
    let b = widget("b");
    let (listed, second) = tokio::join!(waiting, client.create(&b));
    assert_eq!(listed.expect("it waits").version, second.expect("it is made").version());
    let never = Freshness::AtLeast(orion_model::ResourceVersion::new(1 << 52));
    let refused = client.backend().get(Get { key: made.object_key(), freshness: never }).await;
    let refused = refused.expect_err("nothing is there yet");
    assert!(matches!(&refused, ClientError::Unavailable(_)), "{refused:?}");
}

/// What watches could not follow, lists do not answer.
pub async fn a_field_that_is_not_selectable_is_refused(client: Client) {
    let by_note = widgets().with_fields(FieldSelector::default().and_equals("spec.note", "x"));
    for refused in [
        client.list_raw(List::all(by_note.clone())).await.map(drop),
        client.watch(Watch::after(vec![by_note], version(&client).await)).await.map(drop),
    ] {
        let refused = refused.expect_err("it is not selectable");
        assert!(matches!(&refused, ClientError::BadRequest(said) if said.contains("spec.note")), "{refused:?}");
    }
}

/// A kind nobody registered.
pub async fn an_unknown_kind_is_refused_everywhere(client: Client) {
    let names = Names {
        group: "nowhere".into(),
        version: "v1".into(),
        kind: "Thing".into(),
        plural: "things".into(),
        singular: "thing".into(),
        short: [].as_slice().into(),
        scope: Scope::Namespaced,
    };
    let kind = Kind::shared(names);
    let key = ObjectKey::new(kind.clone(), "default", "a");
    let write = orion_model::Commit::of(key.clone(), Op::Create(json!({})), Precondition::NONE);
    let all = Selection::all(kind);
    for refused in [
        client.commit(write).await.map(drop),
        client.get_raw(key).await.map(drop),
        client.list_raw(List::all(all.clone())).await.map(drop),
        client.watch(Watch::after(vec![all], version(&client).await)).await.map(drop),
    ] {
        let refused = refused.expect_err("nobody knows it");
        assert!(matches!(refused, ClientError::UnknownKind(_)), "{refused:?}");
    }
    Batch::new().create(&widget("a")).send(&client).await.expect("others go on");
}
