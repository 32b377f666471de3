use orion_model::{Key, Object, OwnerReference, Whole};
use orion_runtime::Manager;

use crate::world::{Probe, Region, RegionSpec, Running, World, eventually, probe, quiet, site};

fn probe_key(name: &str) -> Key<Probe> {
    Key::new("default", name)
}

async fn start(world: &World) -> Running {
    Running::start(Manager::new(world.client.clone()))
}

#[tokio::test(start_paused = true)]
async fn what_belonged_to_the_deleted_goes_and_what_belonged_to_that_too() {
    let world = World::new().await;
    let _running = start(&world).await;
    let owner = world.direct.create(&site("a", &[])).await.expect("it is new");
    let child = world.direct.create(&probe("child", "eu").owned_by(&owner)).await.expect("it is new");
    world.direct.create(&probe("grandchild", "eu").owned_by(&child)).await.expect("it is new");
    world.direct.create(&probe("stranger", "eu")).await.expect("it is new");
    quiet().await;
    assert_eq!(world.direct.list::<Probe>().await.expect("lists").len(), 3, "all owners are there");
    world.direct.delete(&owner).await.expect("deletes");
    eventually("both are gone", || async { world.direct.list::<Probe>().await.expect("lists").len() == 1 }).await;
    assert!(world.get(&probe_key("stranger")).await.is_some());
}

#[tokio::test(start_paused = true)]
async fn an_orphan_found_at_the_start_goes_although_its_owners_name_was_taken_again() {
    let world = World::new().await;
    let owner = world.direct.create(&site("a", &[])).await.expect("it is new");
    world.direct.create(&probe("orphan", "eu").owned_by(&owner)).await.expect("it is new");
    world.direct.delete(&owner).await.expect("deletes");
    world.direct.create(&site("a", &[])).await.expect("it is new");
    let _running = start(&world).await;
    eventually("it is gone", || async { world.get(&probe_key("orphan")).await.is_none() }).await;
}

#[tokio::test(start_paused = true)]
async fn an_object_stays_while_one_owner_lives_or_may_live() {
    let world = World::new().await;
    let _running = start(&world).await;
    let (one, other) = (site("one", &[]), site("other", &[]));
    let one = world.direct.create(&one).await.expect("it is new");
    let other = world.direct.create(&other).await.expect("it is new");
    let mut shared = probe("shared", "eu").owned_by(&one).owned_by(&other);
    shared.metadata.owner_references[0].controller = false;
    world.direct.create(&shared).await.expect("it is new");
    let region = world.direct.create(&Region::new("eu", RegionSpec::default())).await.expect("it is new");
    world.direct.create(&probe("of-cluster", "eu").owned_by(&region)).await.expect("it is new");
    let mut foreign = probe("foreign", "eu");
    foreign.metadata.owner_references.push(OwnerReference {
        api_version: "elsewhere.org/v1".into(),
        kind: "Unknown".into(),
        name: "x".into(),
        uid: "u".into(),
        ..OwnerReference::default()
    });
    world.direct.create(&foreign).await.expect("it is new");
    world.direct.delete(&one).await.expect("deletes");
    quiet().await;
    assert_eq!(world.direct.list::<Probe>().await.expect("lists").len(), 3);
    world.direct.delete(&other).await.expect("deletes");
    world.direct.delete(&region).await.expect("deletes");
    eventually("both are gone", || async { world.direct.list::<Probe>().await.expect("lists").len() == 1 }).await;
    assert_eq!(world.get(&probe_key("foreign")).await.expect("of an unknown kind").name(), "foreign");
}
