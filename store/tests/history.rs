//! The kept history: watches far behind, and what is forgotten.

use std::time::{Duration, SystemTime};

use futures::{StreamExt, TryStreamExt};
use orion_model::{
    Client, ClientError, Clock, Commit, CommitId, Committed, Object, Op, Precondition, Randomness, Resource,
    ResourceVersion, Selection, Timestamp, Watch, Whole, Write, backend::Event,
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

/// Makes what [`many`] says, in a store on this journal whose clock reads `at`, and closes it.
async fn fill(journal: &Memory, at: SystemTime, groups: usize) -> Vec<Commit> {
    let store = open_at(journal, at).await;
    let client = store.client();
    let mut made = Vec::new();
    for n in 0..groups {
        let commit = many(&client, &format!("z{n}"), 1000);
        client.commit(commit.clone()).await.expect("it is made");
        made.push(commit);
    }
    store.close().await;
    made
}

async fn open_at(journal: &Memory, at: SystemTime) -> Store<Memory> {
    let randomness = Randomness::system();
    Store::open(journal.clone(), registry(), Clock::starting_at(at), randomness).await.expect("it opens")
}

async fn is_forgotten(journal: &Memory) -> bool {
    journal.head().await.expect("it answers").floor.get() > 1
}

fn outcome(answer: &Result<Committed, ClientError>) -> &'static str {
    match answer {
        Ok(_) => "made",
        Err(ClientError::Expired { .. }) => "expired",
        Err(_) => "refused",
    }
}

#[tokio::test]
async fn s6_a_clock_set_back_stops_no_commit_and_makes_no_old_one_again() {
    let start = SystemTime::now();
    let journal = Memory::new(&Clock::starting_at(start), &Randomness::system());
    let made = fill(&journal, start, 13).await;
    let store = open_at(&journal, start + 11 * MINUTE).await;
    until("forgetting", async || is_forgotten(&journal).await).await;
    let floor = journal.head().await.expect("it answers").floor;
    assert_eq!(floor.get(), 3);
    store.close().await;
    let (old, kept) = (&made[0], &made[12]);
    for back in [0, 600, 3600] {
        let store = open_at(&journal, start + 11 * MINUTE - Duration::from_secs(back)).await;
        let client = store.client();
        client.create(&widget(&format!("w{back}"))).await.expect("the client's own ids are fresh");
        let nameless = Commit { id: None, ..many(&client, &format!("by-store-{back}"), 1) };
        orion_model::Backend::commit(&store, nameless).await.expect("the store's own ids are fresh");
        let again = client.commit(kept.clone()).await.expect("what is kept is known, whatever the clock reads");
        assert_eq!(again.id, *kept.id.as_ref().expect("it has one"));
        let stale = CommitId::fresh(Timestamp::from(start - 120 * MINUTE), client.randomness());
        let stale = Commit { id: Some(stale), ..many(&client, "stale", 1) };
        assert_eq!(outcome(&client.commit(stale).await), "expired", "set back by {back} s");
        // Set back by 600 s, the clock reads the old commit's time again: nobody can tell that id from a fresh one.
        if back != 600 {
            let answer = client.commit(old.clone()).await;
            assert_eq!(outcome(&answer), if back == 0 { "expired" } else { "refused" }, "set back by {back} s");
        }
        store.close().await;
    }
}

#[tokio::test]
async fn s7_a_clock_that_was_ahead_does_not_stop_compaction() {
    let now = SystemTime::now();
    let journal = Memory::new(&Clock::starting_at(now), &Randomness::system());
    fill(&journal, now + 600 * MINUTE, 13).await;
    let store = open_at(&journal, now).await;
    pass(9 * MINUTE).await;
    store.client().create(&widget("a")).await.expect("it is made");
    assert!(!is_forgotten(&journal).await, "ten minutes are kept all the same");
    pass(2 * MINUTE).await;
    until("forgetting", async || is_forgotten(&journal).await).await;
    store.client().create(&widget("b")).await.expect("it goes on");
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
