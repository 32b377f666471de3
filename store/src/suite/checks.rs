//! Checks without writes.

use orion_model::{Check, Client, ClientError, Object};
use serde_json::json;

use super::{Batch, widget, zone};

/// `unchanged` holds at exactly the version that is there.
pub async fn s10_unchanged_holds_only_at_that_version(client: Client) {
    let guarded = client.create(&zone("guarded")).await.expect("it is made");
    let guard = || Check::Unchanged(guarded.object_key(), guarded.version());
    Batch::new().check(guard()).create(&widget("a")).send(&client).await.expect("it is unchanged");

    let moved = client.edit(&guarded, |zone| zone.spec.note = "moved".into()).await.expect("it is changed");
    let refused = Batch::new().check(guard()).create(&widget("b")).send(&client).await.expect_err("it has moved");
    assert!(
        matches!(&refused, ClientError::Conflict { key, expected, current }
            if *key == guarded.object_key() && *expected == Some(guarded.version()) && *current == Some(moved.version())),
        "{refused:?}"
    );

    client.delete(&moved).await.expect("it is deleted");
    let refused = Batch::new().check(guard()).create(&widget("b")).send(&client).await.expect_err("it is gone");
    assert!(matches!(&refused, ClientError::Conflict { current: None, .. }), "{refused:?}");
}

/// `absent` holds while there is no such object.
pub async fn s10_absent_holds_only_while_nothing_is_there(client: Client) {
    let key = zone("a").object_key();
    Batch::new().check(Check::Absent(key.clone())).create(&widget("a")).send(&client).await.expect("it is absent");
    let there = client.create(&zone("a")).await.expect("it is made");
    let refused =
        Batch::new().check(Check::Absent(key)).create(&widget("b")).send(&client).await.expect_err("it is there");
    assert!(
        matches!(&refused, ClientError::Conflict { expected: None, current, .. } if *current == Some(there.version())),
        "{refused:?}"
    );
}

/// Nothing of a commit happens whose check fails.
pub async fn s10_a_failed_check_undoes_the_whole_commit(client: Client) {
    let a = client.create(&widget("a")).await.expect("it is made");
    let batch = Batch::new()
        .merge(&a, json!({"spec": {"note": "x"}}))
        .create(&widget("b"))
        .check(Check::Absent(a.object_key()));
    batch.send(&client).await.expect_err("the check fails");
    let left = client.list::<super::Widget>().await.expect("it lists");
    assert_eq!(left.iter().map(|widget| (widget.name(), widget.version())).collect::<Vec<_>>(), [("a", a.version())]);
}

/// Two writers that each make what the other one's check forbids: one of them wins, whatever the timing.
pub async fn s10_of_two_commits_with_opposite_checks_one_wins(client: Client) {
    for round in 0..20 {
        let (one, two) = (widget(&format!("one-{round}")), widget(&format!("two-{round}")));
        let first = Batch::new().check(Check::Absent(two.object_key())).create(&one);
        let second = Batch::new().check(Check::Absent(one.object_key())).create(&two);
        let (first, second) = tokio::join!(first.send(&client), second.send(&client));
        assert!(first.is_ok() != second.is_ok(), "round {round}: {first:?} and {second:?}");
    }
}
