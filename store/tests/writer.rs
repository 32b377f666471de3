//! What the one writer owes to those who wait for it.

use std::time::Duration;

use futures::{future, stream::BoxStream};
use orion_model::{
    Client, ClientError, Clock, Commit, Lease, LeaseSpec, Object, Op, Part, Precondition, Randomness, Resource,
    ResourceVersion, Selection, Watch, Whole, Write,
};
use orion_store::{
    Memory, Store,
    journal::{Append, Error, Group, Identity, Journal, Loaded, Mark, Move, Seq, Tail},
    suite::{Widget, registry, widget, zone},
};
use serde_json::json;

#[tokio::test]
async fn leases_go_first_in_a_group() {
    let client = orion_store::memory(registry()).await.expect("it opens").client();
    let lease = Lease::new("leader", LeaseSpec { holder_identity: Some("a".into()), ..LeaseSpec::default() });
    // On one thread both wait before the writer runs.
    let (made, renewed, last) = (widget("a"), lease.in_namespace("default"), widget("b"));
    let (made, renewed, last) = tokio::join!(client.create(&made), client.create(&renewed), client.create(&last));
    let [made, renewed, last] =
        [made.map(|w| w.version()), renewed.map(|l| l.version()), last.map(|w| w.version())].map(Result::unwrap);
    assert!(renewed < made, "the lease at {renewed} overtakes the widget at {made}");
    assert!(made < last, "all else keeps its order");
}

/// A journal whose appends take a moment, so that others wait behind each one.
struct Slow(Memory);

impl Journal for Slow {
    const MATERIALISES_ON_APPEND: bool = Memory::MATERIALISES_ON_APPEND;

    fn identity(&self) -> Identity {
        self.0.identity()
    }

    fn max_group(&self) -> usize {
        self.0.max_group()
    }

    async fn append(&self, after: Mark, group: Group) -> Result<Append, Error> {
        for _ in 0..20 {
            tokio::task::yield_now().await;
        }
        self.0.append(after, group).await
    }

    async fn tail(&self, after: Seq, max_bytes: usize) -> Result<Tail, Error> {
        self.0.tail(after, max_bytes).await
    }

    async fn head(&self) -> Result<Mark, Error> {
        self.0.head().await
    }

    async fn load(&self) -> Result<Loaded, Error> {
        self.0.load().await
    }

    async fn materialise(&self, from: Seq, to: Seq, moves: Vec<Move>) -> Result<bool, Error> {
        self.0.materialise(from, to, moves).await
    }

    async fn compact(&self, floor: Seq) -> Result<(), Error> {
        self.0.compact(floor).await
    }

    fn doorbell(&self) -> BoxStream<'static, ()> {
        Box::pin(futures::stream::pending())
    }

    async fn close(&self) {
        self.0.close().await;
    }
}

/// Changes an object for ever: the next commit waits as soon as the last is answered.
async fn never_cease(client: Client, name: &'static str) {
    client.create(&widget(name)).await.expect("it is made");
    for round in 0_u64.. {
        let note = Op::Merge(json!({"spec": {"note": round.to_string()}}), Part::Main);
        let commit = Commit::of(widget(name).object_key(), note, Precondition::NONE);
        client.commit(commit).await.expect("it is made");
    }
}

async fn is_kept(client: &Client, version: ResourceVersion) -> bool {
    let watch = Watch { bookmarks: None, ..Watch::after(vec![Selection::all(Widget::KIND)], version) };
    !matches!(client.watch(watch).await, Err(ClientError::Expired { .. }))
}

#[tokio::test]
async fn s7_commits_that_never_cease_do_not_keep_the_history_from_being_bounded() {
    let (clock, randomness) = (Clock::starting_at(std::time::SystemTime::now()), Randomness::seeded(1));
    let journal = Slow(Memory::new(&clock, &randomness));
    let store = Store::open(journal, registry(), clock, randomness).await.expect("it opens");
    let client = store.client();
    let first = client.create(&widget("first")).await.expect("it is made").version();
    for group in 0..12 {
        let write = |n: usize| {
            let made = zone(&format!("z-{group}-{n}"));
            let op = Op::Create(made.encode().expect("it encodes"));
            Write { key: made.object_key(), op, precondition: Precondition::NONE }
        };
        let commit = Commit { writes: (0..1000).map(write).collect(), ..Commit::default() };
        client.commit(commit).await.expect("it is made");
    }
    let busy = ["a", "b", "c"].map(|name| tokio::spawn(never_cease(client.clone(), name)));
    // They wait one behind the other before time passes.
    for name in ["a", "b", "c"] {
        while client.get(&widget(name).key()).await.expect("it answers").is_none() {
            tokio::task::yield_now().await;
        }
    }
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(660)).await;
    tokio::time::resume();
    let forgotten = async {
        while is_kept(&client, first).await {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), forgotten).await.expect("the history is bounded");
    busy.iter().for_each(|task| task.abort());
    future::join_all(busy).await;
    store.close().await;
}
