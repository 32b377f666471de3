//! Several stores on one journal, as several servers on one database: whoever loses an append catches up and judges
//! again.

use futures::{StreamExt, future::join_all};
use orion_model::{
    Client, Clock, Commit, CommitId, Freshness, Get, Object, Op, Part, Precondition, Randomness, Resource, Selection,
    Watch, Whole, backend::Event,
};
use orion_store::{
    Memory, Store,
    suite::{Widget, registry, widget},
};
use serde_json::json;

async fn stores(count: usize) -> (Memory, Vec<Store<Memory>>) {
    let (clock, randomness) = (Clock::system(), Randomness::system());
    let journal = Memory::new(&clock, &randomness);
    let open = || Store::open(journal.clone(), registry(), clock.clone(), randomness.clone());
    let stores = join_all((0..count).map(|_| open())).await;
    (journal, stores.into_iter().map(|store| store.expect("it opens")).collect())
}

/// Adds one to a widget's size, again and again until it succeeds.
async fn grow(client: &Client) {
    loop {
        let current = client.get(&widget("a").key()).await.expect("it answers").expect("it is there");
        match client.edit(&current, |widget| widget.spec.size += 1).await {
            Ok(_) => return,
            Err(error) => assert!(error.is_conflict(), "{error}"),
        }
    }
}

#[tokio::test]
async fn s4_no_write_is_lost_between_stores() {
    let (_, stores) = stores(3).await;
    let clients: Vec<_> = stores.iter().map(Store::client).collect();
    clients[0].create(&widget("a")).await.expect("it is made");
    let writer = async |client: &Client| {
        for _ in 0..20 {
            grow(client).await;
        }
    };
    join_all(clients.iter().map(writer)).await;
    for client in &clients {
        let grown = client.get(&widget("a").key()).await.expect("it answers").expect("it is there");
        assert_eq!(grown.spec.size, 61);
    }
}

#[tokio::test]
async fn a_confirmed_read_sees_what_another_store_has_acknowledged() {
    let (_, stores) = stores(2).await;
    let (one, two) = (stores[0].client(), stores[1].client());
    let mut current = one.create(&widget("a")).await.expect("it is made");
    for round in 0..50 {
        let (writer, reader) = if round % 2 == 0 { (&two, &one) } else { (&one, &two) };
        current = writer.edit(&current, |widget| widget.spec.note = round.to_string()).await.expect("it is current");
        let read = reader.get(&current.key()).await.expect("it answers").expect("it is there");
        assert_eq!(read.version(), current.version(), "round {round}");
    }
}

#[tokio::test]
async fn a_refusal_is_given_at_the_head_only() {
    let (_, stores) = stores(2).await;
    let (one, two) = (stores[0].client(), stores[1].client());
    for round in 0..20 {
        let name = format!("w{round}");
        one.create(&widget(&name)).await.expect("it is made");
        let label = Op::Merge(json!({"metadata": {"labels": {"a": "b"}}}), Part::Main);
        let commit = Commit::of(widget(&name).object_key(), label, Precondition::NONE);
        two.commit(commit).await.expect("it is there, whatever the second store has seen so far");
    }
}

#[tokio::test]
async fn watches_of_one_store_see_what_the_other_writes() {
    let (_, stores) = stores(2).await;
    let (one, two) = (stores[0].client(), stores[1].client());
    let first = one.create(&widget("a")).await.expect("it is made");
    let mut seen =
        two.watch(Watch::after(vec![Selection::all(Widget::KIND)], first.version())).await.expect("it begins");
    let next = one.create(&widget("b")).await.expect("it is made");
    let event = seen.next().await;
    assert!(matches!(&event, Some(Ok(Event::Commit { version, .. })) if *version == next.version()), "{event:?}");
    let get = Get { key: next.object_key(), freshness: Freshness::Any };
    assert!(two.backend().get(get).await.expect("it answers").is_some(), "what is watched is there to be read");
}

#[tokio::test]
async fn s6_a_commit_repeated_at_another_store_is_not_made_again() {
    let (_, stores) = stores(2).await;
    let mut named = widget("");
    named.metadata.generate_name = "made-".into();
    let id = CommitId::fresh(Clock::system().now(), &Randomness::system());
    let op = Op::Create(named.encode().expect("it encodes"));
    let commit = Commit { id: Some(id), ..Commit::of(named.object_key(), op, Precondition::NONE) };
    let repeats = stores.iter().chain(&stores).map(|store| {
        let (client, commit) = (store.client(), commit.clone());
        async move { client.commit(commit).await.expect("it is made").into_single().expect("one result").object.key() }
    });
    let keys = join_all(repeats).await;
    assert!(keys.iter().all(|key| *key == keys[0]), "{keys:?}");
}

#[tokio::test]
async fn a_store_that_opens_later_reads_all_that_was_written() {
    let (journal, stores) = stores(1).await;
    let client = stores[0].client();
    let made = client.create(&widget("a")).await.expect("it is made");
    client.create(&widget("b")).await.expect("it is made");
    client.delete(&made).await.expect("it is deleted");
    let late = Store::open(journal, registry(), Clock::system(), Randomness::system()).await.expect("it opens");
    let read = late.client().list::<Widget>().await.expect("it lists");
    assert_eq!(read.iter().map(Object::name).collect::<Vec<_>>(), ["b"]);
    assert_eq!(late.identity(), stores[0].identity());
}
