//! The kept history: watches far behind, and what is forgotten.

use std::time::{Duration, SystemTime};

use futures::{StreamExt, TryStreamExt};
use orion_model::{
    Client, ClientError, Clock, Commit, CommitId, Object, Op, Precondition, Randomness, Resource, ResourceVersion,
    Selection, Watch, Whole, Write, backend::Event,
};
use orion_store::{
    Memory, Sqlite, Store,
    journal::{Journal, Tail},
    suite::{Widget, Zone, registry, widget, zone},
};

const MINUTE: Duration = Duration::from_secs(60);

/// A commit that makes `count` zones.
fn many(client: &Client, prefix: &str, count: usize) -> Commit {
    let write = |n: usize| {
        let made = zone(&format!("{prefix}-{n}"));
        let op = Op::Create(made.encode().expect("it encodes"));
        Write { key: made.object_key(), op, precondition: Precondition::NONE }
    };
    let id = CommitId::fresh(client.clock().now(), client.randomness());
    Commit { id: Some(id), writes: (0..count).map(write).collect(), ..Commit::default() }
}

async fn watch(client: &Client, after: ResourceVersion) -> Result<orion_model::backend::Watching, ClientError> {
    let watch = Watch {
        bookmarks: None,
        ..Watch::after(vec![Selection::all(Zone::KIND), Selection::all(Widget::KIND)], after)
    };
    client.watch(watch).await
}

/// Lets time pass at once. It must not be paused for longer: what SQLite does takes real time.
async fn pass(time: Duration) {
    tokio::time::pause();
    tokio::time::advance(time).await;
    tokio::time::resume();
}

/// Waits for what a store does by itself.
async fn until(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let waiting = async {
        while !is_so().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(MINUTE, waiting).await.unwrap_or_else(|_| panic!("{what} did not come"));
}

async fn is_expired(client: &Client, version: ResourceVersion) -> bool {
    matches!(watch(client, version).await, Err(ClientError::Expired { oldest, .. }) if oldest > version)
}

/// Writes 12 000 versions, lets ten minutes pass, and sees the first 2 000 forgotten.
async fn forgets<J: Journal>(store: &Store<J>) -> (CommitId, ResourceVersion) {
    let client = store.client();
    let early = many(&client, "early", 1000);
    let first = client.commit(early.clone()).await.expect("it is made").versions.expect("it made some");
    let mut slow = watch(&client, first.first).await.expect("it begins");
    let mut ends = vec![first.last];
    for n in 0..11 {
        let made = client.commit(many(&client, &format!("late-{n}"), 1000)).await.expect("it is made");
        ends.push(made.versions.expect("it made some").last);
    }
    pass(9 * MINUTE).await;
    assert!(watch(&client, first.first).await.is_ok(), "ten minutes are kept, whatever their versions");
    client.commit(early.clone()).await.expect("its id is known still");
    pass(2 * MINUTE).await;
    until("forgetting", async || is_expired(&client, first.first).await).await;
    assert!(is_expired(&client, ends[0]).await);
    let event = slow.next().await;
    assert!(matches!(event, Some(Err(ClientError::Expired { .. }))), "s5: a watch that was not read ends: {event:?}");
    assert!(slow.next().await.is_none(), "an error is its last word");
    let kept = watch(&client, ends[1]).await.expect("10 000 versions are kept");
    let seen: Vec<_> = kept.take(10).try_collect().await.expect("each of them");
    let versions = seen.iter().map(|event| match event {
        Event::Commit { version, .. } | Event::Bookmark(version) => *version,
    });
    assert!(versions.eq(ends[2..].iter().copied()));
    let repeated = client.commit(early.clone()).await.expect_err("its id is forgotten");
    assert!(matches!(repeated, ClientError::Expired { .. }), "{repeated:?}");
    client.create(&widget("fresh")).await.expect("a fresh id is not taken for a forgotten one");
    (early.id.expect("it has one"), ends[1])
}

fn clock() -> Clock {
    Clock::starting_at(SystemTime::now())
}

#[tokio::test]
async fn s7_a_memory_store_forgets_what_is_old_and_much() {
    let (clock, randomness) = (clock(), Randomness::seeded(1));
    let journal = Memory::new(&clock, &randomness);
    let store = Store::open(journal.clone(), registry(), clock.clone(), randomness.clone()).await.expect("it opens");
    let (_, oldest) = forgets(&store).await;
    let floor = journal.head().await.expect("it answers").floor;
    assert!(matches!(journal.tail(orion_store::journal::Seq::ZERO, 1).await, Ok(Tail::Compacted { .. })));
    assert_eq!(floor.get(), 2, "the floor group tells where history begins");

    let late = Store::open(journal, registry(), clock, randomness).await.expect("it opens on what is left");
    assert_eq!(late.client().list::<Zone>().await.expect("it lists").len(), 12_000, "objects are not forgotten");
    assert!(is_expired(&late.client(), ResourceVersion::new(oldest.get() - 1)).await);
    assert!(watch(&late.client(), oldest).await.is_ok());
}

#[tokio::test]
async fn s7_a_sqlite_store_forgets_what_is_old_and_much() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("state.sqlite");
    let (clock, randomness) = (clock(), Randomness::seeded(1));
    let open = async || {
        let journal = Sqlite::open(&file, &clock, &randomness).await.expect("it opens");
        Store::open(journal, registry(), clock.clone(), randomness.clone()).await.expect("it opens")
    };
    let store = open().await;
    let (forgotten, oldest) = forgets(&store).await;
    store.close().await;

    let store = open().await;
    let client = store.client();
    assert_eq!(client.list::<Zone>().await.expect("it lists").len(), 12_000);
    assert!(is_expired(&client, ResourceVersion::new(oldest.get() - 1)).await);
    assert!(watch(&client, oldest).await.is_ok());
    let repeated = Commit { id: Some(forgotten), ..many(&client, "again", 1) };
    let refused = client.commit(repeated).await.expect_err("it stays forgotten");
    assert!(matches!(refused, ClientError::Expired { .. }), "{refused:?}");
    store.close().await;
}

/// More than the ring in memory holds.
async fn far_behind<J: Journal>(store: Store<J>) {
    let client = store.client();
    let start = client.create(&widget("start")).await.expect("it is made").version();
    let mut slow = watch(&client, start).await.expect("it begins");
    let mut made = Vec::new();
    for n in 0..36 {
        let mut large = widget(&format!("w{n}"));
        large.spec.note = "x".repeat(1_000_000);
        made.push(client.create(&large).await.expect("a watch that is not read holds nobody up").version());
    }
    let mut late = watch(&client, start).await.expect("it is kept");
    for expected in made {
        for seen in [&mut slow, &mut late] {
            let event = seen.next().await;
            assert!(matches!(&event, Some(Ok(Event::Commit { version, .. })) if *version == expected), "{event:?}");
        }
    }
    store.close().await;
}

#[tokio::test]
async fn s5_a_watch_far_behind_reads_the_journal_in_memory() {
    far_behind(orion_store::memory(registry()).await.expect("it opens")).await;
}

#[tokio::test]
async fn s5_a_watch_far_behind_reads_the_journal_of_a_file() {
    let folder = tempfile::tempdir().expect("a folder");
    far_behind(orion_store::sqlite(folder.path().join("state.sqlite"), registry()).await.expect("it opens")).await;
}
