//! Leases and the epochs that fence their holders.

use orion_model::{Check, Client, ClientError, Lease, LeaseSpec, Object, Timestamp};

use super::{Batch, Widget, widget};

fn held_by(holder: &str) -> Lease {
    let mut lease = Lease::new("leader", LeaseSpec { holder_identity: Some(holder.into()), ..LeaseSpec::default() });
    lease.metadata.namespace = "default".into();
    lease
}

/// A renewal keeps the epoch, another holder begins a new one, a release ends it.
pub async fn f1_the_epoch_is_the_version_of_the_acquiring_write(client: Client) {
    let acquired = client.create(&held_by("a")).await.expect("it is free");
    assert_eq!(acquired.spec.epoch, Some(acquired.version()));
    let renewed = client.edit(&acquired, |lease| lease.spec.renew_time = Some(Timestamp::from_millis(1))).await;
    let renewed = renewed.expect("it is renewed");
    assert!(renewed.version() > acquired.version());
    assert_eq!(renewed.spec.epoch, acquired.spec.epoch);
    let taken =
        client.edit(&renewed, |lease| lease.spec.holder_identity = Some("b".into())).await.expect("it is taken");
    assert_eq!(taken.spec.epoch, Some(taken.version()));
    let released = client.edit(&taken, |lease| lease.spec.holder_identity = None).await.expect("it is released");
    assert_eq!(released.spec.epoch, Some(released.version()));
}

/// What an old leader still sends changes nothing.
pub async fn f1_an_older_epoch_is_refused_with_its_commit(client: Client) {
    let lease = client.create(&held_by("a")).await.expect("it is free");
    let epoch = lease.spec.epoch.expect("it is stamped");
    let as_leader = |name: &str| Batch::new().check(Check::Lease(lease.object_key(), epoch)).create(&widget(name));
    as_leader("a").send(&client).await.expect("it leads");
    let taken = client.edit(&lease, |lease| lease.spec.holder_identity = Some("b".into())).await.expect("it is taken");
    let refused = as_leader("b").send(&client).await.expect_err("it leads no more");
    assert!(matches!(&refused, ClientError::NotLeader { epoch: told, .. } if *told == epoch), "{refused:?}");
    client.delete(&taken).await.expect("it is deleted");
    as_leader("c").send(&client).await.expect_err("nobody leads");
    assert_eq!(client.list::<Widget>().await.expect("it lists").len(), 1);
}

/// A forged epoch is ignored.
pub async fn f1_no_writer_sets_the_epoch(client: Client) {
    let mut forged = held_by("a");
    forged.spec.epoch = Some(orion_model::ResourceVersion::new(7));
    let made = client.create(&forged).await.expect("it is made");
    assert_eq!(made.spec.epoch, Some(made.version()));
    let mut forged = made.clone();
    forged.spec.epoch = Some(orion_model::ResourceVersion::new(7));
    let same = client.update(&forged).await.expect("it is nothing");
    assert_eq!((same.spec.epoch, same.version()), (made.spec.epoch, made.version()));
}
