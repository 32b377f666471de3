use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use orion_model::{DecodeError, Kind, LabelSelector, Meta, Metadata, Object, Raw, Resource, Whole};
use orion_runtime::{Action, Change, Controller, Informer, Select, Subscription};
use tokio::sync::Notify;

use crate::world::{Probe, Region, RegionSpec, Running, Site, World, eventually, probe, quiet, site, site_key};

/// A change as text, so that a whole list of them reads in one line.
fn told(change: &Change<Site>) -> String {
    match change {
        Change::Added(new) => format!("+{} {}", new.name(), new.spec.number),
        Change::Modified { old, new } => format!("~{} {}→{}", new.name(), old.spec.number, new.spec.number),
        Change::Deleted(old) => format!("-{} {}", old.name(), old.spec.number),
    }
}

async fn next(subscription: &mut Subscription<Site>) -> Vec<String> {
    let changes = tokio::time::timeout(Duration::from_secs(60), subscription.next()).await.expect("changes come");
    changes.expect("the manager runs").changes.iter().map(told).collect()
}

async fn numbered(world: &World, name: &str, number: u64) {
    let site = world.get(&site_key(name)).await.expect("it is there");
    world.direct.edit(&site, |site| site.spec.number = number).await.expect("nobody else writes");
}

async fn create(world: &World, names: &[&str]) {
    for name in names {
        world.direct.create(&site(name, &[])).await.expect("it is new");
    }
}

async fn follow(world: &World) -> (Running, Informer<Site>, Subscription<Site>) {
    let manager = world.manager();
    let sites = manager.informer::<Site>(Select::all());
    let subscription = sites.subscribe();
    (Running::start(manager), sites, subscription)
}

#[tokio::test(start_paused = true)]
async fn c3_a_relist_yields_the_exact_difference_with_the_last_known_object_of_what_is_gone() {
    let world = World::new().await;
    create(&world, &["changed", "gone", "same"]).await;
    numbered(&world, "gone", 7).await;
    let (_running, _sites, mut subscription) = follow(&world).await;
    assert_eq!(next(&mut subscription).await, ["+changed 0", "+gone 7", "+same 0"]);

    world.faults.flow(false);
    numbered(&world, "changed", 2).await;
    world.direct.delete_any(&site_key("gone")).await.expect("it is there");
    create(&world, &["new"]).await;
    world.faults.expire();
    world.faults.flow(true);
    assert_eq!(next(&mut subscription).await, ["~changed 0→2", "-gone 7", "+new 0"]);
}

#[tokio::test(start_paused = true)]
async fn c4_what_was_deleted_and_made_anew_in_a_gap_is_two_changes() {
    let world = World::new().await;
    create(&world, &["a"]).await;
    let (_running, _sites, mut subscription) = follow(&world).await;
    next(&mut subscription).await;

    world.faults.flow(false);
    numbered(&world, "a", 1).await;
    world.direct.delete_any(&site_key("a")).await.expect("it is there");
    create(&world, &["a"]).await;
    world.faults.expire();
    world.faults.flow(true);
    assert_eq!(next(&mut subscription).await, ["-a 0", "+a 0"]);
}

/// Mappers hear of each single change, whether it came by the stream or out of a gap.
#[tokio::test(start_paused = true)]
async fn c4_a_mapper_sees_both_incarnations_and_never_an_update_from_one_to_the_other() {
    let world = World::new().await;
    create(&world, &["a"]).await;
    let mut manager = world.manager();
    let sites = manager.informer::<Site>(Select::all());
    let log = Arc::new(Mutex::new(Vec::new()));
    let heard = log.clone();
    let mapper = move |change: &Change<Site>| {
        heard.lock().expect("not poisoned").push(told(change));
        None
    };
    manager
        .add(Controller::<()>::keyed("c").watches(&sites, mapper).reconcile(|_| Box::pin(async { Ok(Action::Done) })));
    let _running = Running::start(manager);
    sites.synced().await;
    for gap in [false, true] {
        world.faults.flow(!gap);
        numbered(&world, "a", 1).await;
        world.direct.delete_any(&site_key("a")).await.expect("it is there");
        create(&world, &["a"]).await;
        if gap {
            world.faults.expire();
            world.faults.flow(true);
        }
        quiet().await;
    }
    let expected = ["+a 0", "~a 0→1", "-a 1", "+a 0", "-a 0", "+a 0"];
    assert_eq!(*log.lock().expect("not poisoned"), expected);
}

#[tokio::test(start_paused = true)]
async fn c4_a_slow_subscriber_does_not_take_a_new_incarnation_for_an_update() {
    let world = World::new().await;
    create(&world, &["a"]).await;
    let (_running, _sites, mut subscription) = follow(&world).await;
    next(&mut subscription).await;
    world.direct.delete_any(&site_key("a")).await.expect("it is there");
    create(&world, &["a"]).await;
    quiet().await;
    assert_eq!(next(&mut subscription).await, ["-a 0", "+a 0"]);
}

#[tokio::test(start_paused = true)]
async fn c9_a_late_subscriber_gets_what_is_there_and_then_what_follows() {
    let world = World::new().await;
    create(&world, &["a", "b"]).await;
    let (_running, sites, mut early) = follow(&world).await;
    next(&mut early).await;
    numbered(&world, "b", 3).await;
    next(&mut early).await;

    let mut late = sites.subscribe();
    numbered(&world, "a", 4).await;
    let first = late.next().await.expect("the manager runs");
    assert!(first.initial);
    let first: Vec<_> = first.changes.iter().map(told).collect();
    assert_eq!(first, ["+a 0", "+b 3"]);
    assert_eq!(next(&mut late).await, ["~a 0→4"]);
}

#[tokio::test(start_paused = true)]
async fn c9_a_subscription_ends_with_its_manager() {
    let world = World::new().await;
    let (running, _sites, mut subscription) = follow(&world).await;
    subscription.next().await.expect("the first list, empty");
    running.stop().await.expect("it stops");
    assert!(subscription.next().await.is_none());
}

/// Random writes while the watch breaks at random: per key the cache only moves forward, and ends as the store is.
#[tokio::test(start_paused = true)]
async fn c1_c2_a_cache_never_goes_back_and_ends_equal_to_the_store() {
    for seed in 1..=5 {
        let world = World::seeded(seed).await;
        let (_running, sites, mut subscription) = follow(&world).await;
        let mut versions = BTreeMap::new();
        for _ in 0..200 {
            disturb(&world).await;
            tokio::time::sleep(Duration::from_millis(world.direct.randomness().u64() % 300)).await;
            while let Ok(changes) = tokio::time::timeout(Duration::ZERO, subscription.next()).await {
                for change in changes.expect("the manager runs").changes {
                    let object = change.either();
                    let before = versions.insert(object.name().to_owned(), object.version());
                    assert!(
                        before.is_none_or(|before| before <= object.version()),
                        "seed {seed}: {change:?} goes back"
                    );
                }
            }
        }
        world.faults.flow(true);
        let stored = world.direct.list::<Site>().await.expect("the store answers");
        let stored: Vec<_> = stored.iter().map(|site| (site.name().to_owned(), site.version())).collect();
        eventually("the cache equals the store", || async {
            let latest = sites.lister().latest();
            latest.list().map(|site| (site.name().to_owned(), site.version())).collect::<Vec<_>>() == stored
        })
        .await;
    }
}

async fn disturb(world: &World) {
    let random = world.direct.randomness().u64();
    let name = format!("s{}", random / 8 % 5);
    match random % 8 {
        0 => world.faults.expire(),
        1 => world.faults.disconnect(),
        2 => world.faults.flow(random.is_multiple_of(3)),
        3 => drop(world.direct.delete_any(&site_key(&name)).await),
        _ => match world.get(&site_key(&name)).await {
            Some(_) => numbered(world, &name, random).await,
            None => create(world, &[name.as_str()]).await,
        },
    }
}

#[tokio::test(start_paused = true)]
async fn c5_an_index_shows_a_change_before_anyone_is_told_of_it() {
    let world = World::new().await;
    let mut manager = world.manager();
    let sites = manager.informer::<Site>(Select::all());
    let by_region = sites.index(|site| site.spec.regions.clone());
    let found = Arc::new(Mutex::new(Vec::new()));
    let seen = found.clone();
    let mapper = move |change: &Change<Site>| {
        let keys =
            change.new().map(|_| by_region.keys("eu").iter().map(|key| key.name().to_owned()).collect::<Vec<_>>());
        seen.lock().expect("not poisoned").push(keys);
        None
    };
    manager
        .add(Controller::<()>::keyed("c").watches(&sites, mapper).reconcile(|_| Box::pin(async { Ok(Action::Done) })));
    let _running = Running::start(manager);
    sites.synced().await;
    world.direct.create(&site("a", &["eu"])).await.expect("it is new");
    world.direct.create(&site("b", &["us", "eu"])).await.expect("it is new");
    eventually("both were told", || async { found.lock().expect("not poisoned").len() == 2 }).await;
    let found = found.lock().expect("not poisoned").clone();
    assert_eq!(found, [Some(vec!["a".to_owned()]), Some(vec!["a".to_owned(), "b".to_owned()])]);
}

#[tokio::test(start_paused = true)]
async fn readers_find_by_namespace_owner_and_index() {
    let world = World::new().await;
    let manager = world.manager();
    let sites = manager.informer::<Site>(Select::all());
    let probes = manager.informer::<Probe>(Select::all());
    let by_region = probes.index(|probe| [probe.spec.region.clone()]);
    let _running = Running::start(manager);
    let owner = world.direct.create(&site("a", &[])).await.expect("it is new");
    world.direct.create(&site("a", &[]).in_namespace("other")).await.expect("it is new");
    world.direct.create(&probe("mine", "eu").owned_by(&owner)).await.expect("it is new");
    world.direct.create(&probe("free", "us")).await.expect("it is new");
    eventually("all is cached", || async { probes.lister().latest().len() == 2 }).await;
    let (sites, probes) = (sites.lister().latest(), probes.lister().latest());
    let names = |found: Vec<Arc<Probe>>| found.iter().map(|probe| probe.name().to_owned()).collect::<Vec<_>>();
    assert_eq!(sites.in_namespace("default").count(), 1);
    assert_eq!(sites.in_namespace("none").count(), 0);
    assert_eq!(names(probes.owned_by(&owner).to_vec()), ["mine"]);
    assert_eq!(names(probes.by(&by_region, "us").cloned().collect()), ["free"]);
    assert_eq!(names(probes.list().cloned().collect()), ["free", "mine"]);
}

#[tokio::test(start_paused = true)]
async fn c6_no_reconcile_before_every_source_has_synced() {
    let world = World::new().await;
    create(&world, &["a"]).await;
    world.direct.create(&probe("p", "eu")).await.expect("it is new");
    world.faults.read(false);
    let mut manager = world.manager();
    let sites = manager.informer::<Site>(Select::all());
    let probes = manager.informer::<Probe>(Select::all());
    let (runs, lister) = (Arc::new(Mutex::new(Vec::new())), probes.lister());
    let seen = runs.clone();
    manager.add(Controller::new("c", &sites).owns(&probes).reconcile(move |run| {
        seen.lock().expect("not poisoned").push(run.read(&lister).len());
        Box::pin(async { Ok(Action::Done) })
    }));
    let _running = Running::start(manager);
    tokio::time::sleep(Duration::from_secs(30)).await;
    assert!(runs.lock().expect("not poisoned").is_empty());
    world.faults.read(true);
    eventually("it runs", || async { !runs.lock().expect("not poisoned").is_empty() }).await;
    assert_eq!(*runs.lock().expect("not poisoned"), [1], "the first run sees the other kind");
}

#[tokio::test(start_paused = true)]
async fn c6_a_source_added_later_holds_nothing_up_and_its_first_list_triggers_what_it_maps_to() {
    let world = World::new().await;
    create(&world, &["a"]).await;
    world.direct.create(&Region::new("eu", RegionSpec { open: true })).await.expect("it is new");
    let (running, sites, mut subscription) = follow(&world).await;
    sites.synced().await;
    next(&mut subscription).await;

    world.faults.refuse(Some(Region::KIND));
    let regions = running.handle.informer::<Region>(Select::all());
    let (runs, lister) = (Arc::new(Mutex::new(BTreeSet::new())), regions.lister());
    let names = runs.clone();
    let mapper = |_: &Change<Region>| [site_key("mapped")];
    running.handle.add(Controller::new("late", &sites).watches(&regions, mapper).reconcile(move |run| {
        assert_eq!(run.read(&lister).len(), 1, "no run before all its sources are there");
        names.lock().expect("not poisoned").insert(run.key().name().to_owned());
        Box::pin(async { Ok(Action::Done) })
    }));
    quiet().await;
    numbered(&world, "a", 1).await;
    assert_eq!(next(&mut subscription).await, ["~a 0→1"], "the others go on");
    assert!(!regions.is_synced() && runs.lock().expect("not poisoned").is_empty());
    assert!(running.handle.why_of(&site_key("a"))[0].last.is_none());
    assert!(running.handle.health().problems()[0].contains("Region.test.orion is not synced"));

    world.faults.refuse(None);
    eventually("the late one runs for all", || async { runs.lock().expect("not poisoned").len() == 2 }).await;
    assert!(running.handle.health().is_ready());
}

#[tokio::test(start_paused = true)]
async fn c7_two_readers_share_one_object() {
    let world = World::new().await;
    create(&world, &["a"]).await;
    let (_running, sites, _subscription) = follow(&world).await;
    sites.synced().await;
    let (one, other) = (sites.lister().latest(), sites.lister().latest());
    let (one, other) = (one.get(&site_key("a")).expect("there"), other.get(&site_key("a")).expect("there"));
    assert!(Arc::ptr_eq(&one, &other));
}

#[tokio::test(start_paused = true)]
async fn c8_a_slow_controller_delays_no_other_and_what_it_misses_coalesces() {
    let world = World::new().await;
    create(&world, &["a"]).await;
    let mut manager = world.manager();
    let sites = manager.informer::<Site>(Select::all());
    let (slow, fast, gate) = (Arc::new(AtomicUsize::new(0)), Arc::new(Mutex::new(0)), Arc::new(Notify::new()));
    let (runs, open) = (slow.clone(), gate.clone());
    manager.add(Controller::new("slow", &sites).reconcile(move |_| {
        let (runs, open) = (runs.clone(), open.clone());
        Box::pin(async move {
            if runs.fetch_add(1, Ordering::SeqCst) == 0 {
                open.notified().await;
            }
            Ok(Action::Done)
        })
    }));
    let number = fast.clone();
    manager.add(Controller::new("fast", &sites).reconcile(move |run| {
        *number.lock().expect("not poisoned") = run.object().map_or(0, |site| site.spec.number);
        Box::pin(async { Ok(Action::Done) })
    }));
    let _running = Running::start(manager);
    eventually("the slow one runs", || async { slow.load(Ordering::SeqCst) == 1 }).await;
    for number in 1..=100 {
        numbered(&world, "a", number).await;
    }
    eventually("the fast one is through", || async { *fast.lock().expect("not poisoned") == 100 }).await;
    assert_eq!(slow.load(Ordering::SeqCst), 1);
    gate.notify_one();
    quiet().await;
    assert_eq!(slow.load(Ordering::SeqCst), 2, "a hundred changes, one more run");
}

#[tokio::test(start_paused = true)]
async fn c10_a_backend_that_always_fails_is_not_called_in_a_hot_loop() {
    let world = World::new().await;
    let (_running, sites, _subscription) = follow(&world).await;
    sites.synced().await;
    let (lists, watches) = (&world.faults.lists, &world.faults.watches);
    let before = lists.load(Ordering::SeqCst) + watches.load(Ordering::SeqCst);
    world.faults.read(false);
    world.faults.disconnect();
    tokio::time::sleep(Duration::from_secs(100)).await;
    let calls = lists.load(Ordering::SeqCst) + watches.load(Ordering::SeqCst) - before;
    assert!((10..60).contains(&calls), "{calls} calls in 100 s");
}

#[tokio::test(start_paused = true)]
async fn c10_a_watch_that_expires_each_time_backs_off() {
    let world = World::new().await;
    let (_running, sites, _subscription) = follow(&world).await;
    sites.synced().await;
    let before = world.faults.lists.load(Ordering::SeqCst);
    for _ in 0..1000 {
        world.faults.expire();
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let lists = world.faults.lists.load(Ordering::SeqCst) - before;
    assert!((2..20).contains(&lists), "{lists} lists in 10 s");
}

#[tokio::test(start_paused = true)]
async fn c12_one_informer_a_kind_and_selection_serves_all_and_metadata_may_be_cached_alone() {
    let world = World::new().await;
    world.direct.create(&site("a", &[]).with_label("tier", "front")).await.expect("it is new");
    create(&world, &["b"]).await;
    let manager = world.manager();
    let front = LabelSelector::equals("tier", "front");
    let all = manager.informer::<Site>(Select::all());
    let again = manager.informer::<Site>(Select::all());
    let metadata = manager.informer::<Meta<Site>>(Select::all());
    let labelled = manager.informer::<Site>(Select::all().labels(front.clone()));
    let _running = Running::start(manager);
    labelled.synced().await;
    assert_eq!(world.faults.last_list.lock().expect("not poisoned").len(), 2, "two selections of three informers");
    let (one, other) = (all.lister().latest(), again.lister().latest());
    let key = site_key("a");
    assert!(Arc::ptr_eq(&one.get(&key).expect("there"), &other.get(&key).expect("there")));
    assert_eq!(metadata.lister().latest().get(&key.cast()).expect("there").metadata().labels.len(), 1);
    assert_eq!(labelled.lister().latest().len(), 1);

    let b = world.get(&site_key("b")).await.expect("there");
    world
        .direct
        .edit(&b, |site| drop(site.metadata.labels.insert("tier".into(), "front".into())))
        .await
        .expect("edits");
    eventually("it comes into the selection", || async { labelled.lister().latest().len() == 2 }).await;
    let a = world.get(&key).await.expect("there");
    world.direct.edit(&a, |site| site.metadata.labels.clear()).await.expect("edits");
    eventually("it leaves the selection", || async { labelled.lister().latest().get(&key).is_none() }).await;
    assert_eq!(all.lister().latest().len(), 2);
}

/// One commit moves a site and its probe together; no view ever shows one without the other, nor moves under a run.
#[tokio::test(start_paused = true)]
async fn c13_all_kinds_move_together_and_a_view_stands_still() {
    let world = World::new().await;
    let site = world.direct.create(&site("a", &[])).await.expect("it is new");
    let probe = world.direct.create(&probe("a", "eu")).await.expect("it is new");
    let mut manager = world.manager();
    let sites = manager.informer::<Site>(Select::all());
    let probes = manager.informer::<Probe>(Select::all());
    let (lister, seen) = (probes.lister(), Arc::new(Mutex::new(Vec::new())));
    let pairs = seen.clone();
    manager.add(Controller::new("c", &sites).owns(&probes).reconcile(move |run| {
        let (lister, pairs) = (lister.clone(), pairs.clone());
        Box::pin(async move {
            let site = run.object().expect("it is there").spec.number;
            // Writes go on meanwhile.
            tokio::time::sleep(Duration::from_millis(5)).await;
            let probe = run.read(&lister).get(&orion_model::Key::new("default", "a")).expect("it is there").spec.number;
            pairs.lock().expect("not poisoned").push((site, probe));
            Ok(Action::Done)
        })
    }));
    let _running = Running::start(manager);
    let (site_key, probe_key) = (site.object_key(), probe.object_key());
    for number in 1..=200_u64 {
        let merge = |key: &orion_model::ObjectKey| orion_model::Write {
            key: key.clone(),
            op: orion_model::Op::Merge(serde_json::json!({"spec": {"number": number}}), orion_model::Part::Main),
            precondition: orion_model::Precondition::NONE,
        };
        let writes = vec![merge(&probe_key), merge(&site_key)];
        world
            .direct
            .commit(orion_model::Commit { writes, ..orion_model::Commit::default() })
            .await
            .expect("it commits");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    quiet().await;
    let pairs = seen.lock().expect("not poisoned").clone();
    assert!(pairs.len() > 20, "{} runs", pairs.len());
    assert!(pairs.iter().all(|(site, probe)| site == probe), "{pairs:?}");
    assert_eq!(pairs.last(), Some(&(200, 200)));
}

/// A view of a site that cannot read some urls.
#[derive(Clone, Debug)]
struct Strict {
    metadata: Metadata,
    url: String,
}

impl Object for Strict {
    fn static_kind() -> Option<Kind> {
        Some(Site::KIND)
    }

    fn kind(&self) -> Kind {
        Site::KIND
    }

    fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    fn decode(raw: &Raw) -> Result<Self, DecodeError> {
        let url = Site::decode(raw)?.spec.url;
        if url.contains("bad") {
            return Err(DecodeError { key: raw.key(), path: "spec.url".into(), message: "is bad".into() });
        }
        Ok(Self { metadata: raw.metadata().clone(), url })
    }
}

#[tokio::test(start_paused = true)]
async fn c15_an_object_that_does_not_decode_is_skipped_and_counted_and_ends_nothing() {
    let world = World::new().await;
    create(&world, &["bad", "good"]).await;
    let manager = world.manager();
    let strict = manager.informer::<Strict>(Select::all());
    let running = Running::start(manager);
    strict.synced().await;
    let names = || strict.lister().latest().list().map(|site| site.url.clone()).collect::<Vec<_>>();
    assert_eq!(names(), ["https://good"]);
    assert_eq!(running.handle.health().informers[0].undecodable, 1);

    let bad = world.get(&site_key("bad")).await.expect("there");
    world.direct.edit(&bad, |site| site.spec.url = "https://fine".into()).await.expect("edits");
    eventually("it is mended", || async { names() == ["https://fine", "https://good"] }).await;
    assert_eq!(running.handle.health().informers[0].undecodable, 0);
}
