//! Commits take effect at most once.

use std::time::Duration;

use futures::future::join_all;
use orion_model::{Client, ClientError, Commit, CommitId, Committed, Object};
use serde_json::json;

use super::{Batch, Widget, version, widget, zone};

fn with_id(client: &Client, batch: Batch) -> Commit {
    let id = CommitId::fresh(client.clock().now(), client.randomness());
    Commit { id: Some(id), ..batch.commit() }
}

fn told(committed: &Committed) -> Vec<(String, bool)> {
    committed.results.iter().map(|written| (format!("{:?}", written.object), written.gone)).collect()
}

/// The repeat tells what the first did, also of objects that it left as they were or deleted.
pub async fn s6_a_repeated_commit_gives_its_first_outcome(client: Client) {
    let gone = client.create(&widget("gone")).await.expect("it is made");
    let same = client.create(&zone("same")).await.expect("it is made");
    let batch = Batch::new().create(&widget("new")).merge(&same, json!({"spec": {"note": ""}})).delete(&gone);
    let commit = with_id(&client, batch);
    let first = client.commit(commit.clone()).await.expect("it is made");
    let after = version(&client).await;
    let again = client.commit(commit.clone()).await.expect("it was made");
    assert_eq!((&again.id, again.versions), (&first.id, first.versions));
    assert_eq!(told(&again), told(&first));
    assert_eq!(version(&client).await, after, "nothing happened twice");
}

/// The same commit many times at once.
pub async fn s6_repeats_at_once_take_effect_once(client: Client) {
    let counter = client.create(&widget("a")).await.expect("it is made");
    let mut named = widget("");
    named.metadata.generate_name = "made-".into();
    let commit = with_id(&client, Batch::new().create(&named).merge(&counter, json!({"spec": {"note": "x"}})));
    let outcomes = join_all((0..8).map(|_| client.commit(commit.clone()))).await;
    let told: Vec<_> = outcomes.into_iter().map(|outcome| told(&outcome.expect("it is made"))).collect();
    assert!(told.iter().all(|one| *one == told[0]), "{told:?}");
    assert_eq!(client.list::<Widget>().await.expect("it lists").len(), 2);
}

/// A lost answer is learned even when the object is gone since.
pub async fn s6_a_repeat_after_deletion_tells_what_was_made(client: Client) {
    let same = client.create(&zone("same")).await.expect("it is made");
    let commit = with_id(&client, Batch::new().create(&widget("a")).merge(&same, json!({})));
    let first = client.commit(commit.clone()).await.expect("it is made");
    Batch::new().delete(&widget("a")).delete(&zone("same")).send(&client).await.expect("they are deleted");
    let again = client.commit(commit).await.expect("it was made");
    assert_eq!(again.versions, first.versions);
    assert_eq!(again.results[0].object.body(), first.results[0].object.body());
    assert!(again.results[1].gone, "an object that was left as it was is told as it stands");
    assert_eq!(again.results[1].object.metadata().uid, *same.uid());
    assert!(client.list::<Widget>().await.expect("it lists").is_empty(), "it is not made again");
}

/// A refusal takes no effect, so it does not settle the id.
pub async fn s6_a_refused_commit_may_be_made_later(client: Client) {
    let commit = with_id(&client, Batch::new().merge(&widget("a"), json!({"spec": {"note": "x"}})));
    client.commit(commit.clone()).await.expect_err("there is nothing to change");
    client.create(&widget("a")).await.expect("it is made");
    let made = client.commit(commit).await.expect("now it can be made");
    assert!(made.versions.is_some());
}

/// An id that is far ahead could not be told from a forgotten one later.
pub async fn an_id_from_the_future_is_refused(client: Client) {
    let ahead = |minutes: u64| {
        CommitId::fresh(client.clock().now().after(Duration::from_secs(minutes * 60)), client.randomness())
    };
    let commit =
        |name: &str, minutes| Commit { id: Some(ahead(minutes)), ..Batch::new().create(&widget(name)).commit() };
    client.commit(commit("a", 4)).await.expect("clocks differ");
    let refused = client.commit(commit("b", 6)).await.expect_err("not so much");
    assert!(matches!(&refused, ClientError::BadRequest(said) if said.contains("ahead")), "{refused:?}");
}
